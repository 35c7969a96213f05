# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Operations that are recovered in the background, and bodies that lose theirs."""

from __future__ import annotations

import pytest

from holdfast import AlreadyDone, AsyncHoldfast, ConfigurationError, OperationBusy
from holdfast._compat import asleep, monotonic
from holdfast.operations.options import OperationLost
from holdfast.operations.rules import SweepStumbled
from tests.operations.crew import AsyncCrew
from tests.operations.test_operations_async import QUICK, AsyncClerk, leave, make
from tests.operations.world import Observer

PATIENCE = 10.0


async def settled(ops, count: int) -> None:
    """Wait until `count` operations are done."""
    give_up = monotonic() + PATIENCE
    while len(await ops.done()) < count:
        assert monotonic() < give_up, await ops.backlog()
        await asleep(0.01)


@pytest.mark.everywhere
async def test_a_watcher_recovers_what_was_left_and_what_is_left_later(ahf: AsyncHoldfast):
    ops, clerk = make(ahf, lease="400ms"), AsyncClerk()
    for id in range(3):
        await leave(ops, f"r{id}", id)
    async with ops.watch(clerk) as watcher:
        assert watcher.alive
        await settled(ops, 3)
        op = await ops._entry.begin(ops.run("r", "later")._request)
        op._let_go()  # of which nobody is told: its lease has to end
        await settled(ops, 4)
    assert not watcher.alive
    assert sorted(one[3] for one in clerk.seen) == [2, 2, 2, 2]


async def test_a_failure_is_told_to_watchers_who_sleep(ahf: AsyncHoldfast):
    """Without the message of fail.lua it would be found by the next look, up to two seconds later."""
    ops, clerk = make(ahf, **QUICK), AsyncClerk()
    async with ops.watch(clerk):
        await asleep(0.3)  # now it sleeps
        async with ops.run("r", "1") as op:
            await op.fail("once")
            begun = monotonic()
        await settled(ops, 1)
        assert monotonic() - begun < 1.5


async def test_at_most_so_many_at_once_and_none_is_forgotten(ahf: AsyncHoldfast):
    ops = make(ahf)
    inside = most = 0

    async def handler(op) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asleep(0.02)
        inside -= 1
        await op.complete()

    for id in range(12):
        await leave(ops, f"r{id}", id)
    begun = monotonic()
    async with ops.watch(handler, concurrency=3) as watcher:
        await settled(ops, 12)
        assert watcher.running <= 3
    assert 1 < most <= 3
    assert monotonic() - begun < 1.9  # whoever ends wakes the watcher: it need not look after two seconds


async def test_two_watchers_share_and_none_is_recovered_twice(ahf: AsyncHoldfast):
    ops, clerks = make(ahf), [AsyncClerk(), AsyncClerk()]
    for id in range(40):
        await leave(ops, f"r{id % 7}", id)
    async with ops.watch(clerks[0]), make(ahf).watch(clerks[1]):
        await settled(ops, 40)
    seen = [one[1] for clerk in clerks for one in clerk.seen]
    assert sorted(seen) == list(range(40))


async def test_closing_waits_for_the_handlers(ahf: AsyncHoldfast):
    ops = make(ahf)

    async def handler(op) -> None:
        await asleep(0.3)
        await op.complete("slow")

    await leave(ops)
    watcher = ops.watch(handler)
    give_up = monotonic() + PATIENCE
    while not watcher.running:
        assert monotonic() < give_up
        await asleep(0.005)
    await ops._aclose(5.0)
    assert not watcher.running and not watcher.alive
    assert (await ops.inspect("r", "1")).result == "slow"
    await watcher.close()


async def test_a_handler_that_fails_is_followed_by_the_next_attempt(ahf: AsyncHoldfast):
    ops = make(ahf, **QUICK)
    attempts = []

    async def handler(op) -> None:
        attempts.append(op.attempt)
        if op.attempt < 4:
            raise ValueError(op.attempt)
        await op.complete()

    await leave(ops)
    async with ops.watch(handler):
        await settled(ops, 1)
    assert attempts == [2, 3, 4]


async def test_a_watcher_with_other_partitions_gives_up_and_says_so(ahf: AsyncHoldfast):
    await make(ahf, partitions=2).pending()
    observer = Observer(ahf)
    watcher = make(ahf, partitions=3).watch(AsyncClerk())
    give_up = monotonic() + PATIENCE
    while watcher.alive:
        assert monotonic() < give_up
        await asleep(0.005)
    assert "partitions" in observer.of(SweepStumbled)[0].cause
    await watcher.close()


async def test_handlers_are_checked_at_once(ahf: AsyncHoldfast):
    ops = make(ahf)

    async def takes_nothing() -> None: ...

    for wrong in (takes_nothing, "handler"):
        with pytest.raises(ConfigurationError):
            ops.watch(wrong)
        with pytest.raises(ConfigurationError):
            await ops.recover(wrong)
    with pytest.raises(ConfigurationError, match="concurrency"):
        ops.watch(AsyncClerk(), concurrency=0)


# --- leases ------------------------------------------------------------------------------------------------


async def test_a_body_may_take_longer_than_its_lease(ahf: AsyncHoldfast):
    ops, clerk = make(ahf, lease="400ms"), AsyncClerk()
    async with ops.watch(clerk), ops.run("r", "1") as op:
        await asleep(1.2)
        op.ensure()
        with pytest.raises(OperationBusy):
            async with ops.run("r", "1"):
                raise AssertionError("entered")
        await op.complete("mine")
    assert clerk.seen == [] and (await ops.inspect("r", "1")).result == "mine"


async def test_a_body_that_lost_its_operation_is_told(ahf: AsyncHoldfast):
    ops = make(ahf, lease="1s")
    with pytest.raises(OperationLost) as told:
        async with ops.run("r", "1") as op:
            await asleep(0.4)  # looked at once: from then on a change is told at once
            await ahf.execute("HSET", op._place.record, "fence", "9")
            await op.lost.wait()
            op.ensure()
    assert told.value.cause == "taken"
    assert ops.stats().lost == 1


async def test_a_refused_checkpoint_is_a_loss_and_is_told_once(ahf: AsyncHoldfast):
    ops = make(ahf, lease="600ms")
    with pytest.raises(OperationLost):
        async with ops.run("r", "1") as op:
            await ahf.execute("HSET", op._place.record, "fence", "9")
            await op.checkpoint("late")
    assert op.cause == "taken"
    await asleep(0.4)  # a renewal that goes on would find it lost once more
    assert ops.stats().lost == 1


async def test_an_operation_that_is_held_too_long_counts_as_stuck(ahf: AsyncHoldfast):
    ops, clerk = make(ahf, lease="300ms", max_hold="300ms"), AsyncClerk()
    with pytest.raises(OperationLost) as told:
        async with ops.watch(clerk), ops.run("r", "1") as op:
            await op.lost.wait()
            await settled(ops, 1)
            op.ensure()
    assert told.value.cause == "max_hold"


async def test_side_by_side_one_of_many_enters(ahf: AsyncHoldfast):
    ops = make(ahf)
    entered: list[int] = []

    async def one() -> None:
        try:
            async with ops.run("r", "1") as op:
                entered.append(op.attempt)
                await asleep(0.2)
                await op.complete()
        except (OperationBusy, AlreadyDone):
            pass

    await AsyncCrew.all([one] * 10)
    assert entered == [1]
