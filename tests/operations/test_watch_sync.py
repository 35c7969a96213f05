# Generated from test_watch_async.py by tools/unasync.py. Do not edit.
"""Operations that are recovered in the background, and bodies that lose theirs."""

from __future__ import annotations

import pytest

from holdfast import AlreadyDone, Holdfast, ConfigurationError, OperationBusy
from holdfast._compat import sleep, monotonic
from holdfast.operations.options import OperationLost
from holdfast.operations.rules import SweepStumbled
from tests.operations.crew import Crew
from tests.operations.test_operations_sync import QUICK, Clerk, leave, make
from tests.operations.world import Observer

PATIENCE = 10.0


def settled(ops, count: int) -> None:
    """Wait until `count` operations are done."""
    give_up = monotonic() + PATIENCE
    while len(ops.done()) < count:
        assert monotonic() < give_up, ops.backlog()
        sleep(0.01)


@pytest.mark.everywhere
def test_a_watcher_recovers_what_was_left_and_what_is_left_later(hf: Holdfast):
    ops, clerk = make(hf, lease="400ms"), Clerk()
    for id in range(3):
        leave(ops, f"r{id}", id)
    with ops.watch(clerk) as watcher:
        assert watcher.alive
        settled(ops, 3)
        op = ops._entry.begin(ops.run("r", "later")._request)
        op._let_go()  # of which nobody is told: its lease has to end
        settled(ops, 4)
    assert not watcher.alive
    assert sorted(one[3] for one in clerk.seen) == [2, 2, 2, 2]


def test_a_failure_is_told_to_watchers_who_sleep(hf: Holdfast):
    """Without the message of fail.lua it would be found by the next look, up to two seconds later."""
    ops, clerk = make(hf, **QUICK), Clerk()
    with ops.watch(clerk):
        sleep(0.3)  # now it sleeps
        with ops.run("r", "1") as op:
            op.fail("once")
            begun = monotonic()
        settled(ops, 1)
        assert monotonic() - begun < 1.5


def test_at_most_so_many_at_once_and_none_is_forgotten(hf: Holdfast):
    ops = make(hf)
    inside = most = 0

    def handler(op) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        sleep(0.02)
        inside -= 1
        op.complete()

    for id in range(12):
        leave(ops, f"r{id}", id)
    begun = monotonic()
    with ops.watch(handler, concurrency=3) as watcher:
        settled(ops, 12)
        assert watcher.running <= 3
    assert 1 < most <= 3
    assert monotonic() - begun < 1.9  # whoever ends wakes the watcher: it need not look after two seconds


def test_two_watchers_share_and_none_is_recovered_twice(hf: Holdfast):
    ops, clerks = make(hf), [Clerk(), Clerk()]
    for id in range(40):
        leave(ops, f"r{id % 7}", id)
    with ops.watch(clerks[0]), make(hf).watch(clerks[1]):
        settled(ops, 40)
    seen = [one[1] for clerk in clerks for one in clerk.seen]
    assert sorted(seen) == list(range(40))


def test_closing_waits_for_the_handlers(hf: Holdfast):
    ops = make(hf)

    def handler(op) -> None:
        sleep(0.3)
        op.complete("slow")

    leave(ops)
    watcher = ops.watch(handler)
    give_up = monotonic() + PATIENCE
    while not watcher.running:
        assert monotonic() < give_up
        sleep(0.005)
    ops._aclose(5.0)
    assert not watcher.running and not watcher.alive
    assert (ops.inspect("r", "1")).result == "slow"
    watcher.close()


def test_a_handler_that_fails_is_followed_by_the_next_attempt(hf: Holdfast):
    ops = make(hf, **QUICK)
    attempts = []

    def handler(op) -> None:
        attempts.append(op.attempt)
        if op.attempt < 4:
            raise ValueError(op.attempt)
        op.complete()

    leave(ops)
    with ops.watch(handler):
        settled(ops, 1)
    assert attempts == [2, 3, 4]


def test_a_watcher_with_other_partitions_gives_up_and_says_so(hf: Holdfast):
    make(hf, partitions=2).pending()
    observer = Observer(hf)
    watcher = make(hf, partitions=3).watch(Clerk())
    give_up = monotonic() + PATIENCE
    while watcher.alive:
        assert monotonic() < give_up
        sleep(0.005)
    assert "partitions" in observer.of(SweepStumbled)[0].cause
    watcher.close()


def test_handlers_are_checked_at_once(hf: Holdfast):
    ops = make(hf)

    def takes_nothing() -> None: ...

    for wrong in (takes_nothing, "handler"):
        with pytest.raises(ConfigurationError):
            ops.watch(wrong)
        with pytest.raises(ConfigurationError):
            ops.recover(wrong)
    with pytest.raises(ConfigurationError, match="concurrency"):
        ops.watch(Clerk(), concurrency=0)


# --- leases ------------------------------------------------------------------------------------------------


def test_a_body_may_take_longer_than_its_lease(hf: Holdfast):
    ops, clerk = make(hf, lease="400ms"), Clerk()
    with ops.watch(clerk), ops.run("r", "1") as op:
        sleep(1.2)
        op.ensure()
        with pytest.raises(OperationBusy):
            with ops.run("r", "1"):
                raise AssertionError("entered")
        op.complete("mine")
    assert clerk.seen == [] and (ops.inspect("r", "1")).result == "mine"


def test_a_body_that_lost_its_operation_is_told(hf: Holdfast):
    ops = make(hf, lease="1s")
    with pytest.raises(OperationLost) as told:
        with ops.run("r", "1") as op:
            sleep(0.4)  # looked at once: from then on a change is told at once
            hf.execute("HSET", op._place.record, "fence", "9")
            op.lost.wait()
            op.ensure()
    assert told.value.cause == "taken"
    assert ops.stats().lost == 1


def test_a_refused_checkpoint_is_a_loss_and_is_told_once(hf: Holdfast):
    ops = make(hf, lease="600ms")
    with pytest.raises(OperationLost):
        with ops.run("r", "1") as op:
            hf.execute("HSET", op._place.record, "fence", "9")
            op.checkpoint("late")
    assert op.cause == "taken"
    sleep(0.4)  # a renewal that goes on would find it lost once more
    assert ops.stats().lost == 1


def test_an_operation_that_is_held_too_long_counts_as_stuck(hf: Holdfast):
    ops, clerk = make(hf, lease="300ms", max_hold="300ms"), Clerk()
    with pytest.raises(OperationLost) as told:
        with ops.watch(clerk), ops.run("r", "1") as op:
            op.lost.wait()
            settled(ops, 1)
            op.ensure()
    assert told.value.cause == "max_hold"


def test_side_by_side_one_of_many_enters(hf: Holdfast):
    ops = make(hf)
    entered: list[int] = []

    def one() -> None:
        try:
            with ops.run("r", "1") as op:
                entered.append(op.attempt)
                sleep(0.2)
                op.complete()
        except (OperationBusy, AlreadyDone):
            pass

    Crew.all([one] * 10)
    assert entered == [1]
