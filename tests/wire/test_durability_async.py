# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Writes that count replicas, and reads that replicas may answer, on real replication."""

import pytest

from holdfast import (
    AsyncHoldfast,
    ConfigurationError,
    ConflictError,
    Durability,
    NotDurable,
    Refused,
    Unconfirmed,
    UnsafeServer,
)
from holdfast._compat import asleep, monotonic
from holdfast.testing import FaultProxy, start

ONE = Durability(replicas=1, within="5s")
TOO_MANY = Durability(replicas=9, within="50ms")
AT_ONCE = {"repl-diskless-sync-delay": "0"}  # the default is 5 s

COUNT = """-- count: add one.
-- KEYS[1] counter
-- retry: never
return redis.call('INCR', KEYS[1])"""


def gets(nodes):
    """How many GETs these nodes have executed."""
    told = [node.info("commandstats").get("cmdstat_get", "calls=0,") for node in nodes]
    return sum(int(one.split("calls=")[1].split(",")[0]) for one in told)


@pytest.fixture(params=["sentinel", "cluster"])
def lab(request):
    return request.getfixturevalue(f"{request.param}_lab")


@pytest.fixture(params=["native", "redis-py"])
async def hf(lab, namespace, request):
    async with AsyncHoldfast(lab.url, namespace=namespace, transport=request.param) as client:
        yield client


async def test_a_write_is_done_when_a_replica_has_it(hf):
    """Commands, scripts and transactions alike."""
    assert await hf.execute("SET", hf.key("a"), 1, durability=ONE) == b"OK"
    script = hf.script("count", text=COUNT)
    assert await script.run([hf.key("n")], durability=ONE) == 1
    async with hf.transaction(durability=ONE) as tx:
        tx.incr(hf.key("n"))
    assert tx.results == [2]


async def test_a_count_that_is_too_small_is_an_error_and_nothing_is_repeated(hf):
    """Found in the wild: WAIT called, and its answer overlooked."""
    for number in (1, 2):
        with pytest.raises(NotDurable, match="of 9 replicas") as caught:
            await hf.execute("INCR", hf.key("n"), durability=TOO_MANY, retry="safe")
        assert caught.value.wanted == 9
        assert caught.value.confirmed >= 1
        assert await hf.execute("GET", hf.key("n")) == b"%d" % number
    script = hf.script("count", text=COUNT)
    with pytest.raises(NotDurable):
        await script.run([hf.key("n")], durability=TOO_MANY)
    with pytest.raises(NotDurable):
        async with hf.transaction(durability=TOO_MANY) as tx:
            tx.incr(hf.key("n"))
    assert await hf.execute("GET", hf.key("n")) == b"4"


async def test_a_refused_write_is_refused_and_no_question_of_replicas(hf):
    await hf.execute("SET", hf.key("text"), "x")
    with pytest.raises(Refused, match="not an integer"):
        await hf.execute("INCR", hf.key("text"), durability=TOO_MANY)
    with pytest.raises(Refused, match="not an integer"):
        async with hf.transaction(durability=TOO_MANY) as tx:
            tx.incr(hf.key("text"))


async def test_disks_that_cannot_be_asked_are_an_error(hf):
    """The labs keep nothing on disk; the servers of Redis 7.0 do not know WAITAOF."""
    with pytest.raises(UnsafeServer, match="was executed"):
        await hf.execute("SET", hf.key("a"), 1, durability=Durability(disk=True))


async def test_a_conflict_asks_no_replica(hf):
    key = hf.key("watched")
    with pytest.raises(ConflictError):
        async with hf.transaction(key, durability=TOO_MANY) as tx:
            await hf.execute("SET", key, 1)
            tx.set(key, 2)


async def test_bare_wait_is_refused_with_the_way_to_do_it(hf):
    """On a shared connection it counts what others wrote, and lets them wait."""
    with pytest.raises(ConfigurationError, match="durability=Durability"):
        await hf.execute("WAIT", 1, 100)


async def test_a_replica_answers_and_is_never_staler_than_allowed(hf, lab, request):
    """Each read sees at least what was acknowledged the bound ago; and replicas do answer."""
    key, bound = hf.key("clock"), 0.5
    acknowledged = []  # (when, value)
    before = gets(lab.replicas)
    end = monotonic() + 1.5
    number = 0
    while monotonic() < end:
        number += 1
        await hf.execute("SET", key, number)
        acknowledged.append((monotonic(), number))
        read = int(await hf.execute("GET", key, max_staleness=bound) or 0)
        due = max((value for when, value in acknowledged if when <= monotonic() - bound), default=0)
        assert read >= due
    assert gets(lab.replicas) - before > number / 2


async def test_only_reads_may_be_stale(hf):
    with pytest.raises(ConfigurationError, match="max_staleness= is for reads"):
        await hf.execute("SET", hf.key("a"), 1, max_staleness="1s")


async def test_a_replica_that_hears_nothing_any_more_is_not_believed(namespace):
    """Its link seems to stand, it is listed as online and answers reads: only its offset tells."""
    with start(password="p", config=AT_ONCE) as primary, FaultProxy(primary) as link:
        follow = {"replicaof": f"127.0.0.1 {link.port}", "masterauth": "p"}
        with start(password="p", config=follow) as replica:
            async with AsyncHoldfast(primary.url, namespace=namespace) as hf:
                key = hf.key("clock")
                await hf.execute("SET", key, 1, durability=Durability(replicas=1, within="20s"))
                async with AsyncHoldfast(replica.url, namespace=namespace) as near:
                    await reads_of(hf, near, key)
                    link.blackhole()
                    await hf.execute("SET", key, 2)
                    written = monotonic()
                    while monotonic() < written + 1.0:
                        read = await hf.execute("GET", key, max_staleness="300ms")
                        assert read == b"2" or monotonic() - written < 0.3
                        await asleep(0.01)
                    assert await near.execute("GET", key) == b"1"
                    with pytest.raises(Unconfirmed):
                        await hf.execute("SET", key, 3, durability=Durability(replicas=1, within="50ms"))


async def reads_of(hf, replica, key):
    """Read until the replica has answered some of it."""
    end = monotonic() + 20
    while b"cmdstat_get:" not in await replica.execute("INFO", "commandstats"):
        assert monotonic() < end, "the replica was never asked"
        assert await hf.execute("GET", key, max_staleness="300ms") == b"1"
