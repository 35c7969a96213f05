"""Acquires that are cancelled, and processes that are forked: nothing may stay behind. One flavour each."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import threading
import time
import warnings
from typing import Any

import pytest

from holdfast import LockLost
from holdfast.locks.redlock import fan
from holdfast.locks.redlock._async import AsyncRedlock
from holdfast.locks.redlock._sync import Redlock
from tests.cache.crowd import AsyncCrowd, Crowd
from tests.locks.redlock.some import AsyncOver, Over, left


async def test_cancelled_acquires_leave_nothing_on_any_node(lab, namespace: str):
    """Elsewhere the clean-up was cancelled with its caller, and 32 of 169 keys stayed, without an end.

    found: without `undo`, keys that stayed for 30 s.
    """
    dice = random.Random(7)
    async with AsyncOver(lab, namespace) as lock:
        async with lock:
            pass
        cancelled = 0
        for round_ in range(150):
            if round_ == 75:
                lab.nodes[0].freeze()
            task = asyncio.ensure_future(lock.acquire())
            await asyncio.sleep(dice.uniform(0, 0.004))
            task.cancel()
            try:
                lease = await task
            except asyncio.CancelledError:
                cancelled += 1
            else:
                await lease.release()
        lab.nodes[0].resume()
        assert cancelled > 20
        await AsyncCrowd.until(lambda: left(lab, lock), [])
        await asyncio.sleep(0.1)
        assert left(lab, lock) == []


async def test_a_release_that_is_cancelled_is_done_all_the_same(lab, namespace: str):
    async with AsyncOver(lab, namespace) as lock:
        for pause in (0.0, 0.0, 0.0003, 0.0006, 0.001):
            lease = await lock.acquire()
            task = asyncio.ensure_future(lease.release())
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.wait([task])
            await AsyncCrowd.until(lambda: left(lab, lock), [])


async def test_a_body_is_cancelled_when_it_is_lost(lab, namespace: str):
    """The cancellation is ours, and is told as LockLost."""
    async with AsyncOver(lab, namespace) as lock:
        with pytest.raises(LockLost):
            async with lock:
                await asyncio.sleep(0.5)
                for node in lab.nodes[:2]:
                    node.ask("DEL", lock.key)
                await asyncio.sleep(30)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # such loops do not close their connections
def test_one_object_serves_several_event_loops(lab, namespace: str):
    lock = AsyncRedlock(lab.urls, "x", ttl="30s", node_timeout="1s", namespace=namespace)
    seen: list[int] = []

    async def once() -> None:
        async with lock as lease:
            seen.append(lease.fence)

    with Crowd() as crowd:
        for job in [crowd.start(lambda: asyncio.run(once())) for _ in range(4)]:
            job.result()
    assert len(set(seen)) == 4
    asyncio.run(lock.close())
    gc.collect()


def test_a_lease_that_is_forgotten_ends(lab, namespace: str):
    """found: posts that keep their lease alive: it was renewed for ever."""
    with Over(lab, namespace, ttl="600ms") as lock:
        lease: Any = lock.acquire()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            del lease
            gc.collect()
        assert any("forgotten" in str(one.message) for one in told)
        Crowd.until(lambda: left(lab, lock), [])


# --- threads and forks --------------------------------------------------------------------------------------


def threads() -> list[threading.Thread]:
    """Those of all fans."""
    return [one for one in threading.enumerate() if one.name == "holdfast-redlock"]


def test_threads_are_used_again_and_end(lab, namespace: str, monkeypatch):
    monkeypatch.setattr(fan, "IDLE", 0.1)
    Crowd.until(lambda: threads() == [])
    with Over(lab, namespace) as lock:
        for _ in range(20):
            lock.acquire().release()
        assert 1 <= len(threads()) <= 9  # three, and some for rounds that did not wait for the slowest
        Crowd.until(lambda: threads() == [])
        lock.acquire().release()
    Crowd.until(lambda: threads() == [])


def test_where_no_thread_can_be_started_it_asks_one_after_the_other(lab, namespace: str, monkeypatch):
    with Over(lab, namespace) as lock:
        lock.acquire().release()  # the clients have theirs

        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        lock._fan.close()
        lock._fan = fan.Fan(3)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        lock.acquire().release()


def test_a_frozen_node_does_not_hold_up_the_threads_of_others(lab, namespace: str):
    """found: with one thread for each node, the second caller waited for the first one's timeout."""
    with Over(lab, namespace, "a", node_timeout="10s") as one, Crowd() as crowd:
        one.acquire().release()
        lab.nodes[0].freeze()
        begun = time.monotonic()
        for job in [crowd.start(lambda: one.acquire().release()) for _ in range(6)]:
            job.result()
        assert time.monotonic() - begun < 10
        lab.nodes[0].resume()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_child_of_a_fork_has_no_lease_and_can_ask_for_one(lab, namespace: str):
    """found: with the parent's threads, the child waited for ever."""
    with Over(lab, namespace) as lock:
        lease = lock.acquire()
        Crowd.until(lambda: left(lab, lock), [0, 1, 2])
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(25)  # ends it, should it wait for ever
            try:
                said = f"{lease.cause} {lock.try_acquire()} {left(lab, lock)}"
                os.write(writer, said.encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            assert told.read().decode() == "forked None [0, 1, 2]"
        os.waitpid(child, 0)
        lease.ensure()
        lease.release()
        assert isinstance(lock, Redlock)
        Crowd.until(lambda: left(lab, lock), [])
