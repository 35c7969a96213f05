# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Operations: begin, checkpoint, settle, recover, look and mend. What is promised stands in rules.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from holdfast import (
    AlreadyDone,
    AsyncHoldfast,
    ConfigurationError,
    ConflictError,
    HoldfastError,
    LockLost,
    NotSettled,
    OperationBusy,
    OperationDead,
    OperationError,
)
from holdfast._compat import asleep
from holdfast.operations._async import AsyncOperations
from holdfast.operations.options import OperationLost, OperationsOptions
from holdfast.operations.rules import OperationDied, OperationFailed, OperationInterrupted, WriteRejected
from tests.operations.world import Observer, overdue

QUICK: dict[str, Any] = {"retry": (0, 0)}


def make(ahf: AsyncHoldfast, name: str = "payments", **options: Any) -> Any:
    return AsyncOperations(ahf._wire, name, OperationsOptions(**{"lease": "1m", **options}))


class AsyncClerk:
    """A handler that remembers what it was given, and completes it with `result`."""

    def __init__(self, result: Any = "recovered", error: Exception | None = None) -> None:
        self.seen: list[Any] = []
        self._result, self._error = result, error

    async def __call__(self, op: Any) -> None:
        self.seen.append((op.resource, op.id, op.data, op.attempt, dict(op.checkpoints)))
        if self._error is not None:
            raise self._error
        await op.complete(self._result)


async def leave(ops: Any, resource: Any = "r", id: Any = "1", data: Any = None) -> Any:
    """Begin an operation and go away without a word, as a process that is killed; its lease has ended."""
    op = await ops._entry.begin(ops.run(resource, id, data)._request)
    op._let_go()
    await ops._desk.wire.execute_many(overdue(ops, resource, id))
    return op


# --- one operation -----------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_an_operation_is_recorded_and_its_result_is_kept(ahf: AsyncHoldfast):
    ops = make(ahf)
    async with ops.run("account:7", "p1", {"amount": 500}) as op:
        assert (op.resource, op.id, op.data, op.attempt) == ("account:7", "p1", {"amount": 500}, 1)
        await op.checkpoint("charged", {"ref": "x"})
        assert dict(op.checkpoints) == {"charged": {"ref": "x"}}
        (one,) = await ops.pending("account:7")
        assert (one.state, one.attempt, one.data, one.fence) == ("running", 1, {"amount": 500}, op.fence)
        assert one.checkpoints == {"charged": {"ref": "x"}} and 0 < one.left <= 60
        assert 0 < op.remaining() <= 60 and not op.lost.is_set()
        op.ensure()
        await op.complete({"status": "paid"})
    with pytest.raises(AlreadyDone) as told:
        async with ops.run("account:7", "p1", {"amount": 500}):
            raise AssertionError("entered")
    assert told.value.result == {"status": "paid"}
    assert await ops.pending("account:7") == []
    status = await ops.inspect("account:7", "p1")
    assert (status.state, status.result) == ("done", {"status": "paid"})
    assert [one.id for one in await ops.done()] == ["p1"]
    stats = ops.stats()
    assert (stats.started, stats.completed, stats.replayed, stats.running) == (1, 1, 1, 0)


async def test_whoever_comes_while_it_runs_is_told_who_has_it(ahf: AsyncHoldfast):
    ops = make(ahf, label="till-3")
    async with ops.run("r", "1") as op:
        with pytest.raises(OperationBusy) as told:
            async with ops.run("r", "1"):
                raise AssertionError("entered")
        assert told.value.holder.endswith(":till-3")
        async with ops.run("r", "2") as other, ops.run("s", "1") as third:
            await other.complete()
            await third.complete()
        await op.complete()


async def test_an_exception_is_a_failed_attempt_and_the_next_one_has_its_checkpoints(ahf: AsyncHoldfast):
    ops = make(ahf, **QUICK)
    observer = Observer(ahf)
    with pytest.raises(ZeroDivisionError):
        async with ops.run("r", "1", "data") as op:
            await op.checkpoint("b", 1)
            await op.checkpoint("a", 2)
            await op.checkpoint("b", 3)
            assert list(op.checkpoints.items()) == [("a", 2), ("b", 3)]
            raise ZeroDivisionError("by zero")
    first = op.fence
    status = await ops.inspect("r", "1")
    assert (status.state, status.error) == ("waiting", "ZeroDivisionError: by zero")
    assert observer.of(OperationFailed)[0].error == "ZeroDivisionError: by zero"
    async with ops.run("r", "1", "other data") as op:
        assert (op.attempt, op.data) == (2, "data")
        assert op.fence > first
        assert list(op.checkpoints.items()) == [("a", 2), ("b", 3)]
        await op.checkpoint("a", 4)
        await op.complete()
    status = await ops.inspect("r", "1")
    assert list(status.checkpoints.items()) == [("b", 3), ("a", 4)]
    assert [(one.attempt, one.error) for one in status.failures] == [(1, "ZeroDivisionError: by zero")]


async def test_leaving_without_a_word_is_a_failed_attempt(ahf: AsyncHoldfast):
    ops = make(ahf)
    with pytest.raises(NotSettled):
        async with ops.run("r", "1"):
            pass
    status = await ops.inspect("r", "1")
    assert status.state == "waiting" and status.error.startswith("NotSettled")


async def test_fail_says_so_without_an_exception(ahf: AsyncHoldfast):
    ops = make(ahf)
    async with ops.run("r", "1") as op:
        await op.fail("no funds")
        with pytest.raises(OperationError, match="settled already"):
            await op.complete()
    assert (await ops.inspect("r", "1")).error == "no funds"
    async with ops.run("r", "1") as op:
        await op.fail(ValueError("for good"), retry=False)
    assert (await ops.inspect("r", "1")).state == "dead"
    with pytest.raises(OperationDead, match="for good"):
        async with ops.run("r", "1"):
            raise AssertionError("entered")


async def test_with_its_last_attempt_it_is_dead_until_somebody_retries(ahf: AsyncHoldfast):
    ops = make(ahf, max_attempts=2, **QUICK)
    observer = Observer(ahf)
    for attempt in (1, 2):
        with pytest.raises(ValueError):
            async with ops.run("r", "1", "data") as op:
                assert op.attempt == attempt
                await op.checkpoint("step", attempt)
                raise ValueError(attempt)
    assert [(one.attempts, one.error) for one in observer.of(OperationDied)] == [(2, "ValueError: 2")]
    with pytest.raises(OperationDead):
        async with ops.run("r", "1"):
            raise AssertionError("entered")
    (one,) = await ops.dead()
    assert (one.id, one.state, len(one.failures)) == ("1", "dead", 2)
    clerk = AsyncClerk()
    assert await ops.recover(clerk) == 0
    assert await ops.retry("r", "1") is True
    assert await ops.retry("r", "1") is False
    assert await ops.recover(clerk) == 1
    assert clerk.seen == [("r", "1", "data", 1, {"step": 2})]
    assert await ops.dead() == []


async def test_a_type_is_kept_and_checked(ahf: AsyncHoldfast):
    ops = make(ahf, type=Payment, result=UUID, **QUICK)
    with pytest.raises(HoldfastError):
        ops.run("r", "1", {"amount": "much"})
    await leave(ops, "r", "1", Payment(500))
    found = UUID(int=7)
    assert await ops.recover(AsyncClerk(found)) == 1
    assert (await ops.inspect("r", "1")).data == Payment(500)
    with pytest.raises(AlreadyDone) as told:
        async with ops.run("r", "1", Payment(500)):
            raise AssertionError("entered")
    assert told.value.result == found


@dataclass
class Payment:
    amount: int


async def test_ids_are_told_apart_by_type_and_come_back_as_they_were(ahf: AsyncHoldfast):
    ops = make(ahf)
    ids = ["7", 7, UUID(int=7), "%int(7)", "", "a:b", "ä {x} %"]
    for id in ids:
        await leave(ops, "r:x", id)
    clerk = AsyncClerk()
    assert await ops.recover(clerk) == len(ids)
    assert sorted(map(repr, (one[1] for one in clerk.seen))) == sorted(map(repr, ids))
    for wrong in (None, True, 1.5, "\ud800", "x" * 9000):
        with pytest.raises(ConfigurationError):
            ops.run("r", wrong)


async def test_another_fingerprint_is_a_conflict(ahf: AsyncHoldfast):
    ops = make(ahf)
    async with ops.run("r", "1", fingerprint="a") as op:
        with pytest.raises(ConflictError) as told:
            async with ops.run("r", "1", fingerprint="b"):
                raise AssertionError("entered")
        assert told.value.expected == "a"
        await op.complete(1)
    with pytest.raises(ConflictError):
        async with ops.run("r", "1", fingerprint="b"):
            raise AssertionError("entered")
    with pytest.raises(AlreadyDone):
        async with ops.run("r", "1", fingerprint="a"):
            raise AssertionError("entered")


# --- recovering --------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_what_was_interrupted_is_recovered_with_its_checkpoints(ahf: AsyncHoldfast):
    ops = make(ahf)
    observer = Observer(ahf)
    zombie = await leave(ops, "account:7", "p1", {"amount": 500})
    await ahf._wire.execute_many(overdue(ops, "account:7", "p1", later=True))
    await zombie.checkpoint("charged", 1)
    await ahf._wire.execute_many(overdue(ops, "account:7", "p1"))
    assert (await ops.inspect("account:7", "p1")).state == "interrupted"
    assert (await ops.backlog())[:2] == (1, 1)
    clerk = AsyncClerk()
    assert await ops.recover(clerk) == 1
    assert clerk.seen == [("account:7", "p1", {"amount": 500}, 2, {"charged": 1})]
    (told,) = observer.of(OperationInterrupted)
    assert (told.resource, told.id, told.attempt) == ("account:7", "p1", 2) and told.holder
    with pytest.raises(AlreadyDone):
        async with ops.run("account:7", "p1"):
            raise AssertionError("entered")
    assert await ops.recover(clerk) == 0
    assert await ops.backlog() == (0, 0, 0.0, 0, 1)
    stats = ops.stats()
    assert (stats.recovered, stats.interrupted, stats.completed) == (1, 1, 1)


async def test_a_zombie_can_write_nothing_more(ahf: AsyncHoldfast):
    """Without the comparison of the fence its result, or its failure, would take the place of the other's."""
    ops = make(ahf)
    observer = Observer(ahf)
    zombie = await leave(ops)
    async with ops.run("r", "1") as op:
        assert op.fence > zombie.fence
        await rejected(lambda: zombie.checkpoint("step", 1))
        await rejected(lambda: zombie.complete("late"))
        await rejected(lambda: zombie.fail("late"))
        await op.checkpoint("step", 2)
        await op.complete("in time")
    await rejected(lambda: zombie.complete("late"))
    await rejected(lambda: zombie.fail("late"))
    status = await ops.inspect("r", "1")
    assert (status.result, status.checkpoints) == ("in time", {"step": 2})
    assert [one.what for one in observer.of(WriteRejected)][:3] == ["checkpoint", "complete", "fail"]


async def test_who_was_late_but_not_replaced_may_complete(ahf: AsyncHoldfast):
    """The server decides: as long as nobody has taken it up, whoever has done the work may say so."""
    ops = make(ahf)
    late = await leave(ops)
    await late.complete("done")
    assert (await ops.inspect("r", "1")).result == "done"


async def test_a_lost_operation_is_told_by_its_own_error(ahf: AsyncHoldfast):
    ops = make(ahf)
    with pytest.raises(OperationLost) as told:
        async with ops.run("r", "1") as op:
            await ahf.execute("UNLINK", op._place.record)
            await op.complete()
    assert isinstance(told.value, LockLost) and isinstance(told.value, OperationError)
    assert told.value.cause == "vanished" and told.value.name == op._place.record
    await op.lost.wait()
    assert ops.stats().lost == 1


async def test_a_failing_handler_uses_up_attempts_and_does_not_stop_the_sweep(ahf: AsyncHoldfast):
    ops = make(ahf, max_attempts=3, **QUICK)
    for id in range(5):
        await leave(ops, f"r{id}", id)
    clerk = AsyncClerk(error=ValueError("no"))
    assert await ops.recover(clerk) == 0
    assert len(clerk.seen) == 5  # one attempt each, although they are due again in a millisecond
    await asleep(0.02)
    assert await ops.recover(clerk) == 0
    assert len(await ops.dead()) == 5


async def test_only_what_the_handler_completed_counts_as_recovered(ahf: AsyncHoldfast):
    ops = make(ahf)
    await leave(ops)

    async def handler(op: Any) -> None:
        await op.fail("no")

    assert await ops.recover(handler) == 0


async def test_crashes_use_up_attempts_as_well(ahf: AsyncHoldfast):
    """Without the limit of begin.lua and claim.lua, what kills its process would do so for ever."""
    ops = make(ahf, max_attempts=2)
    observer = Observer(ahf)
    for id in ("called", "swept"):
        for attempt in (1, 2):
            assert (await leave(ops, "r", id)).attempt == attempt
    with pytest.raises(OperationDead, match="interrupted"):
        async with ops.run("r", "called"):
            raise AssertionError("entered")
    assert await ops.recover(AsyncClerk()) == 0
    assert sorted(one.id for one in observer.of(OperationDied)) == ["called", "swept"]
    assert sorted(one.id for one in await ops.dead()) == ["called", "swept"]
    assert ops.stats().died == 2


async def test_what_has_failed_rests_and_a_caller_need_not_wait_for_that(ahf: AsyncHoldfast):
    ops = make(ahf, retry=("1h", "1h"))
    async with ops.run("r", "1") as op:
        await op.fail("not now")
    assert 1800 <= (await ops.inspect("r", "1")).left <= 3600
    assert await ops.recover(AsyncClerk()) == 0
    await ahf._wire.execute_many(overdue(ops, "r", "1"))
    assert await ops.recover(AsyncClerk()) == 1


async def test_what_an_earlier_life_of_the_slot_left_is_recovered_at_once(ahf: AsyncHoldfast):
    ops = make(ahf, slot="worker-0")
    for id in ("1", "2"):
        op = await ops._entry.begin(ops.run("r", id)._request)
        op._let_go()
    clerk = AsyncClerk()
    async with make(ahf, slot="worker-1").run("r", "3") as busy, make(ahf).run("r", "5") as plain:
        with pytest.raises(OperationLost):
            async with ops.run("r", "4") as ours:  # not dead, although it was promised
                assert await make(ahf).recover(clerk) == 0  # without a slot, leases have to end
                assert await ops.recover(clerk) == 0  # nor does it take away its own
                assert await make(ahf, slot="worker-0").recover(clerk) == 3
                await ours.complete()
        await busy.complete()
        await plain.complete()
    assert sorted(one[1] for one in clerk.seen) == ["1", "2", "4"]


async def rejected(write: Any) -> None:
    """The server refuses what `write` asks for."""
    with pytest.raises(OperationLost):
        await write()
