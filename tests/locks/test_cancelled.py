"""Acquires that are given up at any moment leave nothing behind: no lock without a holder, no key without an
end.

Cancelled tasks, event loops that end, KeyboardInterrupt in threads, clients that are closed. Guards were
removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Holdfast, LockLost, LockTimeout, Unavailable
from holdfast._wire.transport import WireFailure
from holdfast.testing import FaultProxy
from tests.embedded.lab import until

# A loop that ends leaves its connections to the garbage collector.
leaves = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

SOON = 10.0  # seconds, of ttls of two minutes
TTL = "120s"


def locked(hf: Holdfast, names: list[str]) -> list[str]:
    """Those of `names` that somebody has, or still stands in the queue of."""
    found = []
    for name in names:
        of = hf.lock(name)._names
        if hf.execute("EXISTS", of.key) or hf.execute("ZCARD", of.queue):
            found.append(name)
    return found


def endless(hf: Holdfast, namespace: str) -> list[bytes]:
    """The keys of a namespace that never end."""
    found: Any = hf.execute("KEYS", f"{namespace}:*")
    return [key for key in found if hf.execute("PTTL", key) < 0]


async def give_up_at_random(
    hf: AsyncHoldfast, names: list[str], count: int, longest: float, rng: random.Random
) -> int:
    """Cancel `count` acquires at random moments; how many had succeeded before."""
    granted = 0

    async def once() -> None:
        nonlocal granted
        lock = hf.lock(rng.choice(names), ttl=TTL, wait="20s", fair=rng.random() < 0.5)
        how = rng.random()

        async def work() -> None:
            nonlocal granted
            if how < 0.4:
                async with lock:
                    granted += 1
                    await asyncio.sleep(longest / 4)
            elif how < 0.8:
                lease = await lock.acquire()
                granted += 1
                await lease.release()
            else:
                found = await lock.try_acquire()
                if found is not None:
                    granted += 1
                    await found.release()

        task = asyncio.create_task(work())
        await asyncio.sleep(rng.uniform(0, longest))
        task.cancel()
        await asyncio.wait([task], timeout=30)
        assert task.done()
        if not task.cancelled():
            task.result()

    for _ in range(count // 50):
        await asyncio.gather(*(once() for _ in range(50)))
    return granted


@pytest.mark.parametrize(("lag", "count"), [(0.0, 1500), (0.003, 1500), (0.02, 600)])
async def test_cancelled_acquires_leave_nothing(
    faults: FaultProxy, hf: Holdfast, namespace: str, lag: float, count: int
):
    """found: without abandon.lua, without its tombstone, and without taking the ticket back."""
    names = [f"n{number}" for number in range(5)]
    rng = random.Random(lag)
    async with AsyncHoldfast(faults.url, namespace=namespace) as mine:
        faults.delay(lag)
        granted = await give_up_at_random(mine, names, count, 0.02 + 3 * lag, rng)
        faults.delay(0)
        assert await asyncio.to_thread(until, lambda: not locked(hf, names), SOON), locked(hf, names)
    assert granted > 3
    assert endless(hf, namespace) == []


async def test_a_cancelled_acquire_that_arrives_late_is_refused(
    faults: FaultProxy, hf: Holdfast, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """It is stuck in the network, and gets there after everything that was done to undo it."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as mine:
        for fair in (False, True):
            await (await mine.lock("x", ttl=TTL, fair=fair).acquire()).release()
        for fair in (False, True):
            stuck: list[tuple[Any, ...]] = []
            whole = mine._wire._transport.execute

            async def lose(command: Any, deadline: float) -> Any:
                stuck.append(command)
                await asyncio.sleep(30)

            monkeypatch.setattr(mine._wire._transport, "execute", lose)
            task = asyncio.create_task(mine.lock("x", ttl=TTL, fair=fair).acquire())
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.wait([task])
            monkeypatch.setattr(mine._wire._transport, "execute", whole)
            assert await asyncio.to_thread(until, lambda: mine._wire.hub.undelivered() == 0, SOON)
            assert hf.execute(*stuck[0]) == [-1]
            assert locked(hf, ["x"]) == []


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("end", ["released", "lost", "timed out"])
async def test_an_acquire_that_arrives_after_its_repetition_has_ended_is_refused(
    server, hf: Holdfast, namespace: str, monkeypatch: pytest.MonkeyPatch, fair: bool, end: str
):
    """Stuck in the network, repeated on another connection, granted there, over: then it arrives. Found by
    the storm: granted to nobody, for its whole ttl.
    """
    async with AsyncHoldfast(server.url, namespace=namespace) as mine:
        lock = mine.lock("x", ttl=TTL, fair=fair)
        await (await lock.acquire()).release()
        stuck: list[tuple[Any, ...]] = []
        whole = mine._wire._transport.execute

        async def lose(command: Any, deadline: float) -> Any:
            if stuck or command[0] != "EVALSHA":
                return await whole(command, deadline)
            stuck.append(command)
            raise WireFailure("it is stuck", sent=True)

        monkeypatch.setattr(mine._wire._transport, "execute", lose)
        if end == "timed out":
            held = hf.lock("x", ttl=TTL).acquire()
            with pytest.raises(LockTimeout):
                await lock.acquire(wait="200ms")
            held.release()
        else:
            lease = await lock.acquire(wait="10s")
            if end == "lost":
                hf.lock("x").force_release()
            with contextlib.suppress(LockLost):
                await lease.release()
            assert (lease.cause is None) == (end == "released")
        assert await asyncio.to_thread(until, lambda: mine._wire.hub.undelivered() == 0, SOON)
        assert hf.execute(*stuck[0]) == [-1]
        assert locked(hf, ["x"]) == []


async def test_a_release_that_is_cancelled_before_it_leaves(faults: FaultProxy, hf: Holdfast, namespace: str):
    """found: without leaving it to the hub: held for two minutes."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as mine:
        lease = await mine.lock("x", ttl=TTL).acquire()
        faults.blackhole()
        task = asyncio.create_task(lease.release())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        faults.cut()  # what was on its way is gone
        faults.heal()
        assert await asyncio.to_thread(until, lambda: not locked(hf, ["x"]), SOON)


async def test_an_acquire_that_ends_without_answer_leaves_nothing(
    faults: FaultProxy, hf: Holdfast, namespace: str
):
    """The wait is over, the outcome unknown. found: without give_up() in acquire."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as mine:
        await (await mine.lock("x", ttl=TTL).acquire()).release()
        for ask in (
            lambda: mine.lock("x", ttl=TTL).acquire(wait="100ms"),
            mine.lock("x", ttl=TTL).try_acquire,
        ):
            before = hf.execute("GET", hf.lock("x")._names.fence)
            faults.swallow_replies()
            with pytest.raises(Unavailable):
                await ask()
            assert hf.execute("GET", hf.lock("x")._names.fence) != before  # it was granted
            faults.cut()
            faults.heal()
            assert await asyncio.to_thread(until, lambda: not locked(hf, ["x"]), SOON)
            await mine.execute("PING")


# --- event loops --------------------------------------------------------------------------------------------


@leaves
def test_an_event_loop_that_ends_while_many_wait(server, hf: Holdfast, namespace: str):
    """With one client for all the loops; whoever waits in the next one is served."""
    client = AsyncHoldfast(server.url, namespace=namespace)
    held = hf.lock("x", ttl=TTL).acquire()

    left: list[Any] = []

    async def leave() -> None:
        for fair in (False, True) * 5:
            left.append(asyncio.ensure_future(client.lock("x", ttl=TTL, fair=fair, wait=None).acquire()))
        await asyncio.sleep(0.1)

    for _ in range(3):
        asyncio.run(leave())
    held.release()

    async def arrive() -> None:
        for fair in (False, True):
            await (await client.lock("x", ttl=TTL, fair=fair).acquire(wait=SOON)).release()
        await client.close()

    asyncio.run(arrive())
    gc.collect()
    assert until(lambda: not locked(hf, ["x"]), SOON)


@leaves
def test_two_event_loops_share_a_client(server, namespace: str):
    """found: a semaphore of one loop woken from another never woke."""
    client = AsyncHoldfast(server.url, namespace=namespace)
    inside: list[int] = []
    most: list[int] = []
    errors: list[BaseException] = []

    async def work() -> None:
        async with client.lock("x", wait="20s"):
            inside.append(1)
            await asyncio.sleep(0.001)
            most.append(len(inside))
            inside.pop()

    async def many() -> None:
        await asyncio.gather(*(work() for _ in range(20)))

    def run() -> None:
        try:
            asyncio.run(asyncio.wait_for(many(), 30))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert errors == [] and len(most) == 60 and max(most) == 1
    asyncio.run(client.close())
    gc.collect()


@leaves
def test_a_lease_is_lost_in_the_loop_of_its_holder(server, hf: Holdfast, namespace: str):
    """Two loops, one client: each body is cancelled in its own."""
    client = AsyncHoldfast(server.url, namespace=namespace)
    ended: list[str] = []

    async def hold(name: str) -> None:
        try:
            async with client.lock(name, ttl=TTL):
                await asyncio.sleep(30)
        except Exception as error:
            ended.append(f"{name}: {type(error).__name__}")

    threads = [threading.Thread(target=lambda name=name: asyncio.run(hold(name))) for name in "ab"]
    for thread in threads:
        thread.start()
    assert until(lambda: all(client.lock_stats().get(n) and client.lock_stats()[n].renewals for n in "ab"))
    for name in "ab":
        hf.lock(name).force_release()
    for thread in threads:
        thread.join(20)
    assert sorted(ended) == ["a: LockLost", "b: LockLost"]
    asyncio.run(client.close())
    gc.collect()


# --- threads ----------------------------------------------------------------------------------------------


@contextmanager
def interrupts(after: Callable[[], float]) -> Iterator[Callable[[], None]]:
    """What arms a KeyboardInterrupt in this thread, `after()` seconds from then."""

    def raise_it(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, after())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("fair", [False, True])
def test_an_interrupted_wait_leaves_nothing(hf: Holdfast, server, namespace: str, fair: bool):
    """In the wait itself. found: an except Exception, which KeyboardInterrupt is not."""
    with Holdfast(server.url, namespace=namespace) as other, interrupts(lambda: 0.1) as arm:
        for _ in range(3):
            held = other.lock("x", ttl=TTL).acquire()
            arm()
            with pytest.raises(KeyboardInterrupt):
                hf.lock("x", ttl=TTL, wait="20s", fair=fair).acquire()
            held.release()
            assert until(lambda: not locked(other, ["x"]), SOON)
            hf.lock("x", ttl=TTL, fair=fair).acquire(wait=SOON).release()
        assert hf.lock("x").stats().waiting == 0


@leaves
def test_interrupts_at_any_moment_leave_no_lock_for_long(faults: FaultProxy, hf: Holdfast, namespace: str):
    """Also between two instructions, where a lease can be granted and forgotten: it then ends by itself."""
    rng = random.Random(3)
    names = ["a", "b"]
    with (
        Holdfast(faults.url, namespace=namespace) as mine,
        interrupts(lambda: rng.uniform(0.0001, 0.02)) as arm,
    ):
        faults.delay(0.002)
        for _ in range(150):
            lock = mine.lock(rng.choice(names), ttl="1s", wait="5s")
            try:
                arm()
                with lock:
                    time.sleep(0.03)
            except KeyboardInterrupt:
                pass
            except LockTimeout as error:  # pragma: no cover
                pytest.fail(f"{error}")
        faults.delay(0)
        assert until(lambda: not locked(hf, names), 5.0)
