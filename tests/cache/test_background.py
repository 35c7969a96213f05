"""Loads in the background and the near cache, where only tasks, threads, loops and forks can harm them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from typing import Any

import pytest

from holdfast import L1, AsyncHoldfast, Holdfast
from tests.cache.crowd import AsyncCrowd, Crowd
from tests.cache.test_cache_async import AsyncCounting
from tests.cache.test_cache_sync import Counting, Table
from tests.cache.test_faults_async import AsyncGate
from tests.cache.test_faults_sync import Gate
from tests.cache.test_l1_async import bring_near as abring_near
from tests.cache.test_l1_sync import bring_near
from tests.cache.test_stale_async import PATIENT
from tests.cache.test_stale_async import outdate as aoutdate
from tests.cache.test_stale_sync import outdate

# --- tasks and loops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["stale", "soft_timeout", "hard_timeout"])
async def test_the_cancellation_of_a_caller_stops_no_load_in_the_background(ahf: AsyncHoldfast, option: str):
    limits: dict[str, Any] = {} if option == "stale" else {option: "20s"}
    cache, gate = ahf.cache("users", **PATIENT, **limits), AsyncGate("new")
    if option != "hard_timeout":
        await aoutdate(cache)
    task = asyncio.create_task(cache.get_or_set("k", gate))
    assert await gate.reading.wait(20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    assert gate.calls == 1


async def test_a_load_of_many_that_is_cancelled_gives_its_leases_back(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("users", ttl="1h", lease="60s", wait="10s"), AsyncGate()

    async def loader(keys: list[Any]) -> dict[Any, Any]:
        await gate()
        return {}

    task = asyncio.create_task(cache.get_or_set_many(["a", "b"], loader))
    assert await gate.reading.wait(20)
    follower = asyncio.create_task(cache.get_or_set("a", AsyncCounting("own")))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await follower == "own"
    assert await cache.get_or_set("b", AsyncCounting("own")) == "own"


@pytest.mark.parametrize("many", [False, True])
def test_a_loop_that_ends_while_a_load_goes_on(server, namespace: str, many: bool):
    """No warning, no task that is destroyed; the load is over with its lease."""
    options = PATIENT | {"lease": "300ms"}

    async def main() -> None:
        client = AsyncHoldfast(server.url, namespace=namespace)
        cache, gate = client.cache("users", **options), AsyncGate("new")
        await aoutdate(cache)

        async def loader(keys: list[Any]) -> dict[Any, Any]:
            return {"k": await gate()}

        if many:
            assert await cache.get_or_set_many(["k"], loader) == {"k": "old"}
        else:
            assert await cache.get_or_set("k", gate) == "old"
        assert await gate.reading.wait(20)
        await client.close()

    asyncio.run(main())
    gc.collect()
    with Holdfast(server.url, namespace=namespace) as other:
        cache = other.cache("users", **options)
        loader = Counting("next")

        def loads() -> int:
            assert cache.get_or_set("k", loader) in {"old", "next"}
            return loader.calls

        Crowd.until(loads, 1)
        Crowd.until(lambda: cache.get("k"), "next")


async def test_two_loops_in_two_threads_share_one_near_cache(server, namespace: str):
    client = AsyncHoldfast(server.url, namespace=namespace)
    cache = client.cache("users", ttl="1h", stale="30s", jitter=0, l1=L1())
    await cache.set("k", {"a": 1})
    await abring_near(cache)
    seen: list[Any] = []
    over, warm, changed = threading.Event(), threading.Event(), threading.Event()

    async def second() -> None:
        before = cache.stats().l1_hits
        seen.append(await cache.get("k"))  # what the other loop has read
        seen.append(cache.stats().l1_hits > before)
        await cache.set("other", 1)
        await abring_near(cache, "other")
        await aoutdate(cache, "stale")
        seen.append(await cache.get_or_set("stale", AsyncCounting("new")))
        await AsyncCrowd.until(lambda: cache.get("stale"), "new")
        warm.set()
        await asyncio.to_thread(changed.wait, 20)
        seen.append(await cache.get("other"))
        await asyncio.to_thread(over.wait, 20)  # a loop that ends closes no connection: the client does

    thread = threading.Thread(target=lambda: asyncio.run(second()))
    thread.start()
    await asyncio.to_thread(warm.wait, 20)
    assert seen == [{"a": 1}, True, "old"]
    assert await cache.get("other") == 1
    await cache.set("other", 2)
    changed.set()
    await AsyncCrowd.until(lambda: seen[3:], [2])
    assert await cache.get("stale") == "new"
    await client.close()
    over.set()
    await asyncio.to_thread(thread.join, 20)


# --- forks --------------------------------------------------------------------------------------------------


def in_a_child(work: Any) -> bytes:
    """What `work()` returned in the child of a fork."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that hangs ends
        try:
            os.write(writer, work())
        finally:
            os._exit(0)
    os.close(writer)
    found = os.read(reader, 1000)
    os.close(reader)
    os.waitpid(child, 0)
    return found


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_near_cache_after_a_fork(hf: Holdfast, server, namespace: str):
    """The child hears for itself, serves nothing older than it may, and is heard by its parent."""
    cache = hf.cache("users", ttl="1h", l1=L1(max_staleness="500ms"))
    cache.set_many({"k": "old", "mine": 1})
    bring_near(cache, "k", "mine")

    def child() -> bytes:
        with Holdfast(server.url, namespace=namespace) as second:
            second.cache("users", ttl="1h").set("k", "new")
        Crowd.until(lambda: cache.get("k"), "new")
        bring_near(cache)  # again, by what it hears itself
        cache.set("mine", 2)
        return f"{cache.get('k')} {cache.get('mine')}".encode()

    assert in_a_child(child) == b"new 2"
    Crowd.until(lambda: (cache.get("k"), cache.get("mine")), ("new", 2))
    bring_near(cache)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_load_in_the_background_after_a_fork(hf: Holdfast):
    """Its thread is not in the child, which must not take that for a load under way."""
    cache, gate = hf.cache("users", **PATIENT | {"lease": "300ms"}), Gate("parent")
    outdate(cache)
    assert cache.get_or_set("k", gate) == "old"
    assert gate.reading.wait(20)

    def child() -> bytes:
        loader = Counting("child")

        def loads() -> int:
            assert cache.get_or_set("k", loader) in {"old", "child"}
            return loader.calls

        Crowd.until(loads, 1)
        Crowd.until(lambda: cache.get("k"), "child")
        return b"child"

    assert in_a_child(child) == b"child"
    gate.go.fire()
    Crowd.until(lambda: cache.stats().refused, {"lease_ended": 1})
    assert cache.get("k") == "child"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_loads_together_after_a_fork(hf: Holdfast):
    """Found: the child joined a batch whose thread it does not have, and waited for ever."""
    gate = Gate()

    class Slow(Table):
        def load_many(self, keys):
            gate()
            return dict.fromkeys(keys, "parent")

    cache = hf.cache("users", ttl="1h", lease="200ms", source=Slow(), coalesce="300ms")
    with Crowd() as crowd:
        job = crowd.start(lambda: cache.get("k"))
        Crowd.until(lambda: len(cache._source._gathering), 1)  # type: ignore[union-attr]

        def child() -> bytes:
            gate.go.fire()
            return str(cache.get("other")).encode()

        assert in_a_child(child) == b"parent"
        gate.go.fire()
        assert job.result() == "parent"


# --- threads ------------------------------------------------------------------------------------------------


def test_threads_share_one_near_cache_while_another_writes(hf: Holdfast, server, namespace: str):
    """No reader sees a value older than what was known before it asked; nor does the writer."""
    cache = hf.cache("rows", ttl="1h", l1=L1(max_entries=3))
    floor = dict.fromkeys(range(5), 0)
    for key in floor:
        cache.set(key, 0)
    bring_near(cache, 0)
    stop, wrong = threading.Event(), []

    def read() -> None:
        key = 0
        while not stop.is_set():
            key = (key + 1) % 5
            least = floor[key]
            value = cache.get_or_set(key, lambda key=key: floor[key])
            if value < least:
                wrong.append((key, least, value))

    with Crowd() as crowd:
        for _ in range(3):
            crowd.start(read)
        for round in range(1, 60):
            key = round % 5
            assert cache.set(key, round)
            floor[key] = round
        stop.set()
    assert wrong == [] and cache.stats().l1_hits > 0
