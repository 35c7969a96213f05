# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Slots on the move: what is asked for is found, whichever node has it, and nothing is done twice."""

import threading
import time

import pytest

from holdfast import AsyncHoldfast, ConflictError, Unavailable
from holdfast._compat import ASignal, asleep
from holdfast._wire.cluster.slots import slot_of
from tests.wire.cluster.conftest import KINDS_AND_TRANSPORTS

SUM = """-- sum: of two keys.
-- KEYS[1] one
-- KEYS[2] two
-- retry: never
redis.call('INCR', KEYS[1])
return redis.call('GET', KEYS[1]) + redis.call('GET', KEYS[2])"""


@pytest.fixture(params=KINDS_AND_TRANSPORTS)
def setting(request):
    """Which servers, and how they are spoken to."""
    return request.param


@pytest.fixture
def server_kind(setting):
    """The kind of server."""
    return setting[0]


@pytest.fixture
async def ahf(setting, lab, namespace):
    """A client of the lab."""
    async with AsyncHoldfast(lab.url, namespace=namespace, transport=setting[1], timeout=3) as client:
        yield client


def other_than(lab, slot):
    """A primary that does not serve `slot`."""
    here = lab.primary_of(slot)
    return next(node for node in lab.primaries if node is not here)


async def halfway(lab, client, key, count=6):
    """A slot of which half the keys have moved; the keys that have not and those that have."""
    keys = [f"{key}:{n}" for n in range(count)]
    for n, one in enumerate(keys):
        await client.execute("SET", one, n)
    slot, here = slot_of(key), lab.primary_of(slot_of(key))
    to = other_than(lab, slot)
    lab.begin_move(slot, to)
    lab.move_keys(slot, to, limit=count // 2)
    left = set(here.ask("CLUSTER", "GETKEYSINSLOT", slot, 100))
    return slot, to, [one for one in keys if one in left], [one for one in keys if one not in left]


def later(work, seconds=0.2):
    """Do `work` in a while."""
    thread = threading.Timer(seconds, work)
    thread.start()
    return thread


async def test_single_commands_are_answered_by_whoever_has_the_key(ahf, lab):
    """Moved, not moved and new keys, alone, together, and in scripts."""
    slot, to, here, there = await halfway(lab, ahf, ahf.key("k"))
    for one in (*here, *there):
        before = int(await ahf.execute("GET", one))
        assert await ahf.execute("INCR", one) == before + 1
        assert await ahf.execute("EVAL", "return redis.call('INCR', KEYS[1])", 1, one) == before + 2
        assert await ahf._wire.execute_many([("INCR", one), ("INCR", one)]) == [before + 3, before + 4]
    new = ahf.key("k") + "new"
    assert await ahf._wire.execute_many([("INCR", new), ("INCR", here[0]), ("INCR", ahf.key("else"))])
    assert await ahf.execute("GET", new) == b"1"
    assert await ahf.execute("MGET", here[0], ahf.key("else")) == [await ahf.execute("GET", here[0]), b"1"]
    assert await ahf.execute("MGET", there[0], ahf.key("else")) == [await ahf.execute("GET", there[0]), b"1"]
    assert await ahf.execute("DEL", there[0], ahf.key("else")) == 2
    assert await ahf.execute("RPUSH", ahf.key("k") + "list", 7) == 1
    assert await ahf.execute("BLPOP", ahf.key("k") + "list", 1) == [f"{ahf.key('k')}list".encode(), b"7"]
    lab.finish_move(slot, to)
    assert await ahf.execute("GET", new) == b"1"


async def test_keys_on_both_sides_are_waited_for(ahf, lab):
    """TRYAGAIN passes as soon as the move is over; until then the deadline counts."""
    slot, to, here, there = await halfway(lab, ahf, ahf.key("k"))
    with pytest.raises(Unavailable, match="TRYAGAIN|deadline"):
        await ahf.execute("MGET", here[0], there[0], timeout="200ms")
    with pytest.raises(Unavailable, match="TRYAGAIN|deadline"):
        await ahf.execute("MGET", here[0], there[0], ahf.key("elsewhere"), timeout="200ms")
    script = ahf.script("sum.lua", text=SUM)
    wanted = int(await ahf.execute("GET", here[0])) + int(await ahf.execute("GET", there[0]))
    thread = later(lambda: lab.finish_move(slot, to))
    assert await script.run([here[0], there[0]]) == wanted + 1
    thread.join()
    assert None not in await ahf.execute("MGET", here[0], there[0])


async def test_transactions_go_where_all_of_it_is(ahf, lab):
    """Or say that nothing happened."""
    slot, to, here, there = await halfway(lab, ahf, ahf.key("k"))
    async with ahf.transaction() as tx:
        tx.incr(here[0])
        tx.incr(here[1])
    async with ahf.transaction(there[0]) as tx:
        seen = int(await tx.read("GET", there[0]))
        tx.set(there[0], seen + 10)
        tx.get(there[0])
    assert tx.results == [b"OK", b"%d" % (seen + 10)]
    async with ahf.transaction() as tx:
        tx.set(ahf.key("k") + "new", 1)
    assert await ahf.execute("GET", ahf.key("k") + "new") == b"1"
    before = [int(await ahf.execute("GET", one)) for one in (here[0], there[0])]
    with pytest.raises(Unavailable, match="TRYAGAIN"):
        async with ahf.transaction() as tx:
            tx.incr(here[0])
            tx.incr(there[0])
    assert [int(await ahf.execute("GET", one)) for one in (here[0], there[0])] == before
    with pytest.raises(ConflictError):
        async with ahf.transaction(there[0]) as tx:
            await tx.read("GET", there[0])
            await ahf.execute("INCR", there[0])
            tx.set(there[0], 0)
    async with ahf._wire.conversation() as conversation:
        deadline = time.monotonic() + 5
        done, refused = await conversation.execute_many([("INCR", here[0]), ("INCR", there[0])], deadline)
        assert done == before[0] + 1
        assert str(refused).startswith("TRYAGAIN")
    assert await ahf.execute("GET", here[0]) == b"%d" % done
    # Watched here, and gone when it comes to the commands.
    with pytest.raises((ConflictError, Unavailable)):
        async with ahf.transaction(here[0]) as tx:
            seen = int(await tx.read("GET", here[0]))
            lab.finish_move(slot, to)
            tx.set(here[0], 1000)
    assert await ahf.execute("GET", here[0]) == b"%d" % seen
    async with ahf.transaction(here[0]) as tx:
        tx.incr(here[0])
    assert tx.results == [seen + 1]


async def test_who_blocks_goes_with_the_slot(ahf, lab):
    """A value pushed at the new place is the one that comes."""
    key = ahf.key("queue")
    slot = slot_of(key)
    to = other_than(lab, slot)

    def push():
        lab.move_slot(slot, to)
        time.sleep(0.1)
        lab.primary_of(slot).ask("RPUSH", key, "late")

    thread = later(push)
    assert await ahf.execute("BLPOP", key, 20) == [key.encode(), b"late"]
    thread.join()


@pytest.mark.parametrize("setting", KINDS_AND_TRANSPORTS[:1], indirect=True)
async def test_who_blocks_does_not_begin_anew(ahf, lab):
    """There is no more time at the new place than what was left."""
    key = ahf.key("queue")
    slot = slot_of(key)
    to = other_than(lab, slot)
    thread = later(lambda: lab.move_slot(slot, to), 1.1)  # once more for the whole time would be too long
    assert await ahf.execute("BLPOP", key, 1.4) is None
    thread.join()


async def test_a_watch_follows_its_channel(ahf, lab):
    """It fires when it is confirmed at the new place, and at every message from then on."""
    channel = ahf.key("channel")
    slot = slot_of(channel)
    signal = ASignal()
    with ahf._hub.watch(channel, signal) as watch:
        for _ in range(3):
            assert await signal.wait(10)
            signal.clear()
            await self_heard(ahf, channel, signal)
            give_up = time.monotonic() + 10
            while not watch.pushing:  # it may be on its way once more
                assert time.monotonic() < give_up
                await asleep(0.01)
            signal.clear()
            lab.move_slot(slot, other_than(lab, slot))
            # Nobody asks for anything there: only the node itself can tell.


async def self_heard(client, channel, signal):
    """Publish until it is heard: a message is missed only while the watch is on its way."""
    give_up = time.monotonic() + 10
    while not await signal.wait(0.05):
        assert time.monotonic() < give_up
        await client.execute("SPUBLISH", channel, "x")
    while True:  # whatever is left of the way
        signal.clear()
        if not await signal.wait(0.1):
            return


async def test_what_is_kept_follows_its_key(ahf, lab):
    """Also while the slot is on its way, and when a later one of the same name has taken its place."""
    slot, to, here, there = await halfway(lab, ahf, ahf.key("k"))
    done = []
    keys = [*here, *there, ahf.key("k") + "new"]
    for key in keys:
        ahf._hub.deliver(key, ("SET", key, "kept"), lambda key=key: done.append(key))
    await settled(ahf)
    lab.finish_move(slot, to)
    assert sorted(done) == sorted(keys)
    for key in keys:
        assert await ahf.execute("GET", key) == b"kept"
    lab.move_slot(slot, other_than(lab, slot))  # nobody has told the client
    for n in range(20):
        ahf._hub.deliver(keys[0], ("SET", keys[0], n), lambda n=n: done.append(n))
    await settled(ahf)
    assert await ahf.execute("GET", keys[0]) == b"19"
    assert done[-1] == 19


async def settled(client):
    """Nothing is kept any more."""
    give_up = time.monotonic() + 10
    while client._hub.undelivered():
        assert time.monotonic() < give_up
        await asleep(0.01)
