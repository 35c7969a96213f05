"""Calls to several nodes at once: lost replies, interruptions, forks, many callers with few connections."""

import asyncio
import gc
import os
import random
import signal
import threading
import time

import pytest

from holdfast import AsyncHoldfast, Closed, Holdfast, Unavailable, Unconfirmed
from holdfast._compat import Signal
from holdfast.testing.plugin import TRANSPORTS
from tests.wire.cluster.fleet import FLAVOURS, Fleet, keys_of, until
from tests.wire.lab import child_status


def one_each(lab, stem):
    """A key at each primary, in the order of these."""
    keys = keys_of(lab, stem)
    return [keys[node.name][0] for node in lab.primaries]


async def batch(fleet, keys, timeout=10.0):
    """INCR of each of `keys` at once, never repeated."""
    replies = fleet.client._wire.execute_many([("INCR", key) for key in keys], timeout)
    return await replies if asyncio.iscoroutine(replies) else replies


@pytest.mark.parametrize(
    ("flavour", "transport"), [("threads", "native"), ("tasks", "native"), ("threads", "redis-py")]
)
def test_what_must_not_be_repeated_is_not(lab, flavour, transport):
    """Of a batch over three nodes one does not answer, or cannot even be reached: that is Unconfirmed, and
    the others have counted once. Found: "cannot connect" to the second was taken for "nobody has seen it".
    """
    keys = one_each(lab, f"{flavour}{transport}")
    node = lab.primaries[1]
    with Fleet(lab.url, flavour, transport=transport, timeout=5) as fleet:
        assert fleet.do(batch(fleet, keys)) == [1, 1, 1]
        node.freeze()
        with pytest.raises(Unconfirmed):
            fleet.do(batch(fleet, keys, 0.1))
        with pytest.raises(Unavailable):  # whether the others were asked depends on who comes first
            fleet.do(fleet.ask("DEL", keys[1], "other1", "other2", "other3", timeout=0.1))
        node.resume()
        assert fleet.now("MGET", keys[0], keys[2]) == [b"2", b"2"]
        node = lab.primary_of(keys[1])  # on a slow machine it may be another one by now
        node.kill()
        with pytest.raises(Unconfirmed):
            fleet.do(batch(fleet, keys))
        node.restart()
        assert fleet.now("MGET", keys[0], keys[2]) == [b"3", b"3"]


@pytest.mark.parametrize("flavour", ["tasks"])
def test_a_redirection_into_the_void(lab, flavour):
    """One of a batch has moved to a node that is gone: the others have counted, so it is Unconfirmed. Found:
    nothing could be sent there, so the whole was sent again.
    """
    from holdfast._wire.cluster.slots import slot_of

    first, second, _ = one_each(lab, flavour)
    _, other, gone = lab.primaries
    with Fleet(lab.url, flavour, timeout=5) as fleet:
        assert fleet.do(batch(fleet, [first, second])) == [1, 1]
        lab.move_slot(slot_of(second), gone)
        gone.kill()
        with pytest.raises(Unconfirmed):
            fleet.do(batch(fleet, [first, second]))
        assert fleet.now("GET", first) == b"2"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_was_refused_in_part_is_not_repeated(lab, flavour):
    """Found: "try again" for one of a batch sent all of it again, and INCR counted twice."""
    here, other = one_each(lab, flavour)[:2]
    source, to = lab.primaries[:2]
    slot_key = f"{{{here}}}"
    with Fleet(lab.url, flavour, timeout=1) as fleet:
        for n in range(4):
            fleet.now("SET", f"{slot_key}{n}", n)
        from holdfast._wire.cluster.slots import slot_of

        lab.begin_move(slot_of(here), to)
        lab.move_keys(slot_of(here), to, limit=2)
        split = ("MSET", *(word for n in range(4) for word in (f"{slot_key}{n}", "x")))

        async def part():
            replies = fleet.client._wire.execute_many([("INCR", other), split])
            return await replies if asyncio.iscoroutine(replies) else replies

        with pytest.raises(Unconfirmed, match="in part"):
            fleet.do(part())
        with pytest.raises(Unconfirmed, match="in part"):
            fleet.now("DEL", other, *(f"{slot_key}{n}" for n in range(4)))
        assert fleet.now("EXISTS", other) == 0
        with pytest.raises(Unavailable, match="TRYAGAIN|deadline") as caught:
            fleet.do(fleet.ask(*split))
        assert not isinstance(caught.value, Unconfirmed)
        lab.finish_move(slot_of(here), to)
        assert fleet.now("EXISTS", *(f"{slot_key}{n}" for n in range(4))) == 4


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_task_is_cancelled_in_the_middle(lab, transport):
    """Its connections answer nobody else's questions with what it was owed."""
    keys = one_each(lab, transport)
    async with AsyncHoldfast(lab.url, transport=transport, max_connections=2, timeout=5) as ahf:
        for n, key in enumerate(keys):
            await ahf.execute("SET", key, n)
        node = lab.primaries[random.randrange(3)]
        for _ in range(5):
            node.freeze()
            tasks = [asyncio.create_task(ahf.execute("MGET", *keys)) for _ in range(4)]
            await asyncio.sleep(random.uniform(0, 0.02))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            node.resume()
            assert await ahf.execute("MGET", *reversed(keys)) == [b"2", b"1", b"0"]
        for _, one in ahf._wire._transport._nodes.values():
            assert one._permits.in_use == 0


class Interruption(Exception):
    """What a signal handler raises."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it hits finalizers too
def test_a_thread_is_interrupted_in_the_middle(lab):
    """Whatever a signal handler raises in whichever line, no connection and no place for one is lost."""
    keys = one_each(lab, "signal")

    def interrupt(*_):
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    with Holdfast(lab.url, max_connections=2, timeout=5) as hf:
        try:
            for n, key in enumerate(keys):
                hf.execute("SET", key, n)
            interrupted, end = 0, time.monotonic() + 1.5
            while time.monotonic() < end:
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.002))
                    for _ in range(10):
                        assert hf.execute("MGET", *keys) == [b"0", b"1", b"2"]
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Interruption:
                    interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert interrupted > 20
        assert hf.execute("MGET", *keys) == [b"0", b"1", b"2"]
        gc.collect()
        pools = [pool for _, pool in hf._wire._transport._nodes.values()]
        assert [(pool._open, len(pool._all)) for pool in pools] == [(len(pool._idle),) * 2 for pool in pools]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_one_connection_is_enough_for_everybody(lab, flavour, transport):
    """Callers that need several nodes take them in one order. Found by planting: in their own, they wait for
    each other until the deadline.
    """
    keys = one_each(lab, "few")

    async def work(fleet):
        for _ in range(30):
            mixed = random.sample(keys, 3)
            assert await fleet.ask("MGET", *mixed) == [None] * 3

            async def many():
                replies = fleet.client._wire.execute_many([("GET", key) for key in mixed])
                return await replies if asyncio.iscoroutine(replies) else replies

            assert await many() == [None] * 3

    with Fleet(lab.url, flavour, transport=transport, max_connections=1, timeout=10) as fleet:
        begun = time.monotonic()
        for _ in range(8):
            fleet.begin(work)
        fleet.finish()
        assert fleet.errors == []
        assert time.monotonic() - begun < 9


def test_two_event_loops_share_a_client(lab):
    """Each has connections of its own; both are closed."""
    keys = one_each(lab, "loops")
    ahf = AsyncHoldfast(lab.url, timeout=10)
    good = []

    async def work(name):
        for n in range(100):
            mine = [f"{{{key}}}{name}" for key in keys]
            await ahf._wire.execute_many([("SET", key, n) for key in mine])
            assert await ahf.execute("MGET", *mine) == [b"%d" % n] * 3
        good.append(name)
        while len(good) < 2:
            await asyncio.sleep(0.01)
        if name == "a":
            await ahf.close()
            good.append("closed")
        while len(good) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the other loop closes its own

    threads = [threading.Thread(target=lambda name=name: asyncio.run(work(name))) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(good) == ["a", "b", "closed"]
    gc.collect()  # an open transport would be reported now


def test_the_child_of_a_fork_goes_on(lab):
    """With connections, threads and waiters of its own, while the parent goes on with its."""
    keys = one_each(lab, "fork")
    with Holdfast(lab.url, timeout=10) as hf:
        heard, done = Signal(), []
        with hf._hub.watch(keys[0], heard):
            assert heard.wait(10)
            hf._hub.deliver("d", ("SET", keys[1], "parent"), lambda: done.append(1))
            until(lambda: done)
            hf._place.doubt()
            child = os.fork()
            if child == 0:
                try:
                    assert hf.execute("MGET", *keys)[1] == b"parent"
                    mine = Signal()
                    with hf._hub.watch(keys[0], mine) as watch:
                        assert mine.wait(10) and watch.pushing
                        time.sleep(0.05)
                        mine.clear()
                        hf.execute("SPUBLISH", keys[0], "x")
                        assert mine.wait(10)
                    hf._hub.deliver("d", ("SET", keys[2], "child"), lambda: done.append(2))
                    until(lambda: 2 in done)
                    hf._place._layout = None
                    assert hf.execute("MGET", *keys)[2] == b"child"
                    os._exit(0)
                finally:
                    os._exit(1)
            for n in range(200):
                assert hf.execute("MGET", *keys)[1] == b"parent"
            assert child_status(child) == 0
            heard.clear()
            hf.execute("SPUBLISH", keys[0], "x")
            assert heard.wait(10)
            assert hf.execute("GET", keys[2]) == b"child"


def ours():
    """The threads of clients."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("holdfast-")]


def test_a_client_that_is_closed_during_a_reading(lab):
    """Ends its threads; later calls are refused."""
    until(lambda: not [name for name in ours() if "lab" not in name and "relay" not in name])
    before = len(ours())
    keys = one_each(lab, "closed")
    for _ in range(5):
        hf = Holdfast(lab.url, timeout=5)
        hf.execute("SET", keys[0], 1)
        with hf._hub.watch(keys[1], Signal()):
            hf._place.doubt()
            hf.close()
        with pytest.raises(Closed):
            hf.execute("GET", keys[0])
        with pytest.raises(Closed):
            hf.execute("MGET", *keys)
        with pytest.raises(Closed):
            hf._hub.watch("x", Signal())
    until(lambda: len(ours()) <= before)


def test_a_client_that_is_forgotten(lab):
    """Leaves no thread behind, nor a connection."""
    until(lambda: not [name for name in ours() if "lab" not in name and "relay" not in name])
    before = len(ours())
    hf = Holdfast(lab.url, timeout=5)
    watches = [hf._hub.watch(key, Signal()) for key in one_each(lab, "forgotten")]
    done = []
    hf._hub.deliver("d", ("SET", "a", 1), lambda: done.append(1))
    until(lambda: done and all(watch.pushing for watch in watches))
    assert len(ours()) >= before + 3
    hf = watches = None
    gc.collect()
    until(lambda: len(ours()) <= before)
