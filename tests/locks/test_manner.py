"""How a body in asyncio is stopped when its lease is lost: in the manner of asyncio.timeout.

Ours is the cancellation that tells of the loss, and no other. Whoever else cancels the task is obeyed:
neither swallowed nor turned into LockLost. Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import AsyncHoldfast, AsyncLease, LockLost

LONG = 20.0  # seconds that nobody sleeps to the end


async def lose(lease: AsyncLease) -> None:
    """Have the keeper say that it is lost, as it would after a DEL; what the body is told follows soon."""
    lease._keeping.lose("vanished")


async def in_task(work: Callable[[], Any]) -> Any:
    """What `work()` ends with in a task of its own, as (value, error, cancellations left)."""

    async def run() -> tuple[Any, BaseException | None, int]:
        task = asyncio.current_task()
        assert task is not None
        try:
            value, error = await work(), None
        except BaseException as caught:
            value, error = None, caught
        return value, error, task.cancelling()

    return await asyncio.wait_for(asyncio.create_task(run()), 30)


async def test_the_body_is_cancelled_and_the_loss_raised(ahf: AsyncHoldfast):
    """With the real server, from the DEL on."""
    seen: list[str] = []

    async def work() -> None:
        async with ahf.lock("x", ttl="60s") as lease:
            await asyncio.sleep(0.4)
            await ahf.execute("DEL", ahf.lock("x").key)
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                seen.append(str(lease.cause))
                raise

    begun = time.monotonic()
    _, error, left = await in_task(work)
    assert time.monotonic() - begun < 10
    assert isinstance(error, LockLost) and (error.cause, error.name, left) == ("vanished", "x", 0)
    assert isinstance(error.__cause__, asyncio.CancelledError) and seen == ["vanished"]


async def test_after_the_loss_the_task_lives_on(ahf: AsyncHoldfast):
    """Found without uncancel: asyncio.timeout around it took the cancellation for its own, or the next await
    failed.
    """

    async def work() -> str:
        async with asyncio.timeout(LONG):
            try:
                async with ahf.lock("x") as lease:
                    await lose(lease)
                    await asyncio.sleep(LONG)
            except LockLost:
                await asyncio.sleep(0.01)
                return "lives"
        return "ended"

    assert await in_task(work) == ("lives", None, 0)


async def test_an_exception_of_the_body_is_kept_and_noted(ahf: AsyncHoldfast):
    async def work() -> None:
        async with ahf.lock("x") as lease:
            await lose(lease)
            try:
                await asyncio.sleep(LONG)
            finally:
                raise KeyError("mine")

    _, error, left = await in_task(work)
    assert isinstance(error, KeyError) and left == 0
    assert error.__notes__ == ["lock 'x' was lost meanwhile (vanished)"]


async def test_an_exception_before_the_loss_is_heard_of_is_kept(ahf: AsyncHoldfast):
    async def work() -> None:
        async with ahf.lock("x") as lease:
            await lose(lease)
            raise KeyError("mine")

    _, error, left = await in_task(work)
    assert isinstance(error, KeyError) and left == 0 and "vanished" in error.__notes__[0]
    await asyncio.sleep(0)


async def test_a_body_that_ends_before_it_is_cancelled_tells_of_the_loss(ahf: AsyncHoldfast):
    """Found: LockLost, and the task was cancelled at its next await: its cancellation came too late."""

    async def work(name: str) -> None:
        async with ahf.lock(name) as lease:
            await lose(lease)

    _, error, left = await in_task(lambda: work("x"))
    assert isinstance(error, LockLost) and left == 0

    async def goes_on() -> str:
        with pytest.raises(LockLost):
            await work("y")
        await asyncio.sleep(0.01)
        return "lives"

    assert await in_task(goes_on) == ("lives", None, 0)


@pytest.mark.parametrize("awaits", [True, False])
async def test_a_lease_that_is_lost_before_it_is_entered(ahf: AsyncHoldfast, awaits: bool):
    """Found: a body without await left the cancellation to whatever awaited next (Python 3.11, 3.12)."""

    async def work() -> str:
        lease = await ahf.lock("x").acquire()
        await lose(lease)
        await lease.lost.wait()
        with pytest.raises(LockLost):
            async with lease:
                if awaits:
                    await asyncio.sleep(LONG)
        await asyncio.sleep(0.01)
        return "lives"

    assert await in_task(work) == ("lives", None, 0)


# --- others who cancel --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["cancel", "cancel, then lost", "lost, then cancel", "lost in the cleanup"])
async def test_who_cancels_the_task_is_obeyed(ahf: AsyncHoldfast, order: str):
    """Found with `ours` that ignores how often the task was cancelled: LockLost, and the task went on."""
    entered: asyncio.Future[AsyncLease] = asyncio.get_running_loop().create_future()
    cleaning = asyncio.Event()

    async def work() -> None:
        async with ahf.lock("x") as lease:
            entered.set_result(lease)
            try:
                await asyncio.sleep(LONG)
            finally:
                if order == "lost in the cleanup":
                    cleaning.set()
                    await asyncio.sleep(LONG)

    task = asyncio.create_task(work())
    lease = await entered
    if order == "lost, then cancel":
        await lose(lease)  # told by call_soon: not before the cancel() below
    task.cancel("from outside")
    if order == "cancel, then lost":
        await lose(lease)
    elif order == "lost in the cleanup":
        await cleaning.wait()
        await lose(lease)
    with pytest.raises(asyncio.CancelledError) as caught:
        await asyncio.wait_for(task, 20)
    assert task.cancelled()
    if order != "cancel":
        assert (
            any("was lost meanwhile" in note for note in getattr(caught.value, "__notes__", ()))
            or lease.cause
        )
    assert task.cancelling() == 1


@pytest.mark.parametrize("lost", [False, True])
async def test_a_timeout_around_it_is_a_timeout(ahf: AsyncHoldfast, lost: bool):
    async def work() -> None:
        async with asyncio.timeout(0.2):
            async with ahf.lock("x") as lease:
                try:
                    await asyncio.sleep(LONG)
                finally:
                    if lost:
                        await lose(lease)
                        await asyncio.sleep(0.05)

    _, error, left = await in_task(work)
    assert isinstance(error, TimeoutError) and not isinstance(error, LockLost) and left == 0
    assert await ahf.lock("x").inspect() is None or lost


async def test_a_timeout_inside_is_a_timeout(ahf: AsyncHoldfast):
    async def work() -> None:
        async with ahf.lock("x"), asyncio.timeout(0.05):
            await asyncio.sleep(LONG)

    _, error, left = await in_task(work)
    assert isinstance(error, TimeoutError) and left == 0
    assert await ahf.lock("x").inspect() is None


async def test_a_task_group_ends_as_it_should(ahf: AsyncHoldfast):
    """A sibling that fails ends the holder; the loss of a lease ends the group. Found: either without
    uncancel.
    """
    holding = asyncio.Event()

    async def hold(lost: bool) -> None:
        async with ahf.lock("x") as lease:
            holding.set()
            if lost:
                await lose(lease)
            await asyncio.sleep(LONG)

    async def fail() -> None:
        await holding.wait()
        raise KeyError("sibling")

    async def work(lost: bool) -> None:
        holding.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(hold(lost))
            group.create_task(asyncio.sleep(LONG) if lost else fail())

    _, error, _ = await in_task(lambda: work(False))
    assert isinstance(error, ExceptionGroup) and isinstance(error.exceptions[0], KeyError)
    assert await ahf.lock("x").inspect() is None
    _, error, _ = await in_task(lambda: work(True))
    assert isinstance(error, ExceptionGroup)
    assert [type(one) for one in error.exceptions] == [LockLost]


async def test_a_group_inside_is_ended_by_the_loss(ahf: AsyncHoldfast):
    ended: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append("child")

    async def work() -> None:
        async with ahf.lock("x") as lease, asyncio.TaskGroup() as group:
            group.create_task(child())
            await asyncio.sleep(0.01)
            await lose(lease)

    _, error, left = await in_task(work)
    assert isinstance(error, LockLost) and left == 0 and ended == ["child"]


async def test_a_body_that_swallows_the_cancellation_cannot_hide_the_loss(ahf: AsyncHoldfast):
    async def work() -> None:
        async with ahf.lock("x") as lease:
            await lose(lease)
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                pass
            await asyncio.sleep(0.01)

    _, error, left = await in_task(work)
    assert isinstance(error, LockLost) and left == 0


# --- one in the other ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["inner", "outer", "both", "both, outer first", "outer, while inside ends"])
async def test_nested_leases(ahf: AsyncHoldfast, lost: str):
    """What is raised is the loss of the outermost that was lost; what is inside and ours is given back."""
    seen: dict[str, BaseException | None] = {"inner": None, "outer": None}

    async def work() -> None:
        try:
            async with ahf.lock("outer") as outer:
                try:
                    async with ahf.lock("inner") as inner:
                        if lost in ("inner", "both"):
                            await lose(inner)
                        if "outer" in lost or lost == "both":
                            await lose(outer)
                        if lost == "both, outer first":
                            await lose(inner)
                        if lost != "outer, while inside ends":
                            await asyncio.sleep(LONG)
                except BaseException as error:
                    seen["inner"] = error
                    raise
                await asyncio.sleep(LONG)
        except BaseException as error:
            seen["outer"] = error
            raise

    _, error, left = await in_task(work)
    assert isinstance(error, LockLost) and left == 0
    assert error.name == ("inner" if lost == "inner" else "outer")
    if lost == "inner":
        assert isinstance(seen["inner"], LockLost)
        assert await ahf.lock("outer").inspect() is None
    elif lost == "outer":
        assert isinstance(seen["inner"], asyncio.CancelledError)
        assert await ahf.lock("inner").inspect() is None
    elif lost != "outer, while inside ends":
        assert isinstance(seen["inner"], asyncio.CancelledError)
        assert "inner" in seen["inner"].__notes__[0]


async def test_who_was_cancelled_before_it_enters_is_not_cancelled_anew(ahf: AsyncHoldfast):
    """A body in the cleanup of a cancelled task, with a count of its own. Found: `_before` taken for 0."""

    async def work() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(LONG)
        with pytest.raises(LockLost):
            async with ahf.lock("x") as lease:
                await lose(lease)
                await asyncio.sleep(LONG)
        assert task.cancelling() == 1
        task.uncancel()
        return "lives"

    assert await in_task(work) == ("lives", None, 0)


async def test_a_release_that_is_cancelled_is_done_by_the_hub(ahf: AsyncHoldfast, server, namespace: str):
    """Found: a cancelled release that was left undone held it for the whole ttl."""
    for _ in range(20):
        lease = await ahf.lock("x", ttl="60s").acquire(wait="10s")
        task = asyncio.create_task(lease.release())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert lease.cause is None and not lease.lost.is_set()


async def test_a_blocked_event_loop_does_not_cost_the_lease(ahf: AsyncHoldfast):
    """Found with renewals that run in the loop."""
    async with ahf.lock("x", ttl="600ms") as lease:
        time.sleep(1.5)
        lease.ensure()
        assert lease.remaining() > 0.1
    assert ahf.lock("x").stats().renewals >= 3


async def test_callbacks_run_in_the_loop(ahf: AsyncHoldfast):
    loops: list[Any] = []
    lease = await ahf.lock("x", on_lost=lambda one: loops.append((one, asyncio.get_running_loop()))).acquire()
    await lose(lease)
    await lease.lost.wait()
    await asyncio.sleep(0)
    assert loops == [(lease, asyncio.get_running_loop())]
