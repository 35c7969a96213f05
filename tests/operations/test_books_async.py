# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Looking at operations and mending them; what is kept, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import (
    AsyncHoldfast,
    ConfigurationError,
    Durability,
    HoldfastError,
    OperationBusy,
    OperationDead,
    OperationError,
    UnsafeServer,
)
from holdfast._compat import asleep
from holdfast.operations.options import OperationsOptions
from tests.operations.test_operations_async import QUICK, AsyncClerk, leave, make

# --- looking and mending -----------------------------------------------------------------------------------


async def test_pending_lists_one_resource_or_all(ahf: AsyncHoldfast):
    ops = make(ahf, partitions=1)
    for resource in ("a", "a:b", "a;"):
        for id in ("2", "1"):
            await leave(ops, resource, id)
    assert [(one.resource, one.id) for one in await ops.pending("a")] == [("a", "1"), ("a", "2")]
    assert [one.id for one in await ops.pending("a", limit=1)] == ["1"]
    assert len(await ops.pending()) == 6
    assert len(await ops.pending(limit=4)) == 4
    assert await ops.pending("c") == []


async def test_discard_frees_the_id_of_what_is_settled(ahf: AsyncHoldfast):
    ops = make(ahf)
    async with ops.run("r", "1") as op:
        assert await ops.discard("r", "1") is False
        await op.complete()
    assert await ops.discard("r", "1") is True
    assert await ops.discard("r", "1") is False
    assert await ops.inspect("r", "1") is None
    async with ops.run("r", "1") as op:
        assert op.attempt == 1
        await op.complete()


@pytest.mark.everywhere
async def test_a_lost_index_is_repaired(ahf: AsyncHoldfast):
    ops = make(ahf, partitions=2)
    for id in range(5):
        await leave(ops, f"r{id}", id)
    async with ops.run("r", "dead") as op:
        await op.fail(retry=False)
    async with ops.run("r", "done") as op:
        await op.complete()
    for part in ops._desk.layout.parts():
        for key in (part.due, part.names, part.dead, part.done):
            await ahf.execute("UNLINK", key)
    assert await ops.pending() == [] and await ops.recover(AsyncClerk()) == 0
    assert await ops.repair() == 7
    assert await ops.repair() == 0
    assert len(await ops.pending()) == 5 and len(await ops.dead()) == 1 and len(await ops.done()) == 1
    assert await ops.recover(AsyncClerk()) == 5


@pytest.mark.parametrize("half", ["due", "names"])
async def test_half_an_index_is_healed_by_a_sweep(ahf: AsyncHoldfast, half: str):
    ops = make(ahf, partitions=1)
    for id in range(3):
        await leave(ops, "r", id)
    (part,) = ops._desk.layout.parts()
    await ahf.execute("UNLINK", getattr(part, half))
    assert await ops.recover(AsyncClerk()) == 3


async def test_waiting_for_somebody_elses_result(ahf: AsyncHoldfast):
    ops = make(ahf, **QUICK)
    with pytest.raises(OperationError, match="does not exist"):
        await ops.wait("r", "1")
    async with ops.run("r", "1") as op:
        with pytest.raises(OperationBusy) as told:
            await ops.wait("r", "1", wait=0)
        assert told.value.holder
        await op.complete("done")
    assert await ops.wait("r", "1") == "done"
    async with ops.run("r", "2") as op:
        await op.fail("for good", retry=False)
    with pytest.raises(OperationDead, match="for good"):
        await ops.wait("r", "2")


# --- keeping ------------------------------------------------------------------------------------------------


async def test_a_ttl_ends_results_and_nothing_that_is_pending(ahf: AsyncHoldfast):
    ops = make(ahf, ttl="100ms")
    await leave(ops, "r", "pending")
    async with ops.run("r", "1") as op:
        await op.complete("x")
    await asleep(0.3)
    assert await ops.inspect("r", "1") is None
    assert (await ops.inspect("r", "pending")).state == "interrupted"
    async with ops.run("r", "1") as op:
        assert op.attempt == 1
        assert await ops.done() == []  # although the index may still know the earlier one
        await op.complete()
    assert (await ops.backlog()).done <= 1  # the index forgets them as well
    (part,) = {ops._desk.layout.of("r")}
    assert await ahf.execute("ZCARD", part.done) == 1


async def test_pending_operations_are_kept_for_ever_if_asked_to(ahf: AsyncHoldfast):
    kept, ended = make(ahf, keep=None), make(ahf, "other", keep="10m")
    for ops, least in ((kept, -1), (ended, 500_000)):
        op = await leave(ops)
        assert await ahf.execute("PTTL", op._place.record) == -1 or least > 0
        assert await ahf.execute("PTTL", op._place.record) >= least
        async with ops.run("r", "1") as op:
            await op.fail("x")
        assert (await ahf.execute("PTTL", op._place.record) == -1) is (least < 0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"lease": "1ms"}, "lease"),
        ({"ttl": 0}, "ttl"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"partitions": 0}, "partitions"),
        ({"partitions": 5000}, "partitions"),
        ({"retry": ("2s", "1s")}, "retry"),
        ({"retry": "1s"}, "retry"),
        ({"keep": "1m"}, "keep"),
        ({"slot": 7}, "slot"),
        ({"wait": -1}, "wait"),
    ],
)
def test_nonsense_is_refused_with_its_name(options: dict[str, Any], named: str):
    with pytest.raises(ConfigurationError, match=named):
        OperationsOptions(**{"lease": "1m", **options})


async def test_another_number_of_partitions_is_refused(ahf: AsyncHoldfast):
    ops, other = make(ahf, partitions=2), make(ahf, partitions=3)
    await ops.pending()
    with pytest.raises(ConfigurationError, match="partitions=3"):
        await other.pending()


async def test_a_server_that_evicts_is_refused(own_server, namespace: str):
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        await ahf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnsafeServer, match="allkeys-lru"):
            async with make(ahf).run("r", "1"):
                raise AssertionError("entered")
        async with make(ahf, accept_loss=True).run("r", "1") as op:
            await op.complete()


async def test_what_too_few_replicas_have_is_told(ahf: AsyncHoldfast):
    ops = make(ahf, durability=Durability(replicas=3, within="20ms"))
    with pytest.raises(HoldfastError, match="replicas"):
        async with ops.run("r", "1"):
            raise AssertionError("entered")
