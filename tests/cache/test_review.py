"""What a second hostile reader of the cache found, where only tasks and loops can do harm: undo the guard and
the test fails. The rest is in test_review_async.py.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from holdfast import L1, MISSING, AsyncHoldfast
from tests.cache.crowd import AsyncCrowd
from tests.cache.test_bulk_async import AsyncRows
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_faults_async import AsyncGate
from tests.cache.test_l1_async import bring_near
from tests.cache.test_stale_async import PATIENT, outdate


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("options", [{"hard_timeout": "20s"}, {"stale": "30s", "soft_timeout": "20s"}])
async def test_a_leader_that_is_cancelled_before_anybody_is_free(ahf: AsyncHoldfast, options: Any):
    """Found: its followers waited for a load that nobody did, and so did all who came later."""
    cache: Any = ahf.cache("users", ttl="1h", max_loads=1, wait="10s", **options)
    gate, loads, entry = AsyncGate("busy"), cache._loads, cache._store.entry("k")
    busy = [asyncio.create_task(cache.get_or_set(key, gate)) for key in ("a", "b")]
    await AsyncCrowd.until(lambda: loads.crews.in_use, 2)

    def waiting() -> list[int]:
        return [one.waiting for where, one in loads._flights._air.items() if where[1] == entry]

    leader = asyncio.create_task(cache.get_or_set("k", AsyncCounting("never")))
    await AsyncCrowd.until(lambda: len(loads.crews._queue), 1)
    follower = asyncio.create_task(cache.get_or_set("k", AsyncCounting("own")))
    await AsyncCrowd.until(waiting, [2])
    await cancelled(leader)
    gate.go.fire()
    async with asyncio.timeout(5):
        assert await follower == "own"
        assert await asyncio.gather(*busy) == ["busy", "busy"]


async def test_a_load_of_many_that_is_cancelled_before_its_loader(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Some leases were granted. Found: they were kept, and others waited until they had ended."""
    cache: Any = ahf.cache("users", ttl="1h", lease="60s", wait="10s")
    asked = asyncio.Event()

    async def stuck(*_: Any) -> None:
        asked.set()
        await asyncio.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(cache._store, "look_at_tags", stuck)
        task = asyncio.create_task(cache.get_or_set_many(["a", "b"], AsyncRows()))
        await asyncio.wait_for(asked.wait(), 20)
        await cancelled(task)
    async with asyncio.timeout(5):
        for key in ("a", "b"):
            assert await cache.get_or_set(key, AsyncCounting("own")) == "own"


async def test_a_read_of_many_that_is_cancelled_leaves_no_ticket(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Found: one for every key that was asked for, for ever."""
    cache: Any = ahf.cache("users", ttl="1h", l1=L1())
    await cache.set("k", 1)
    await bring_near(cache)
    near, asked = cache._store.near, asyncio.Event()

    async def stuck(_: Any) -> None:
        asked.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(cache._bulk, "_read", stuck)
    task = asyncio.create_task(cache.get_many(range(100)))
    await asyncio.wait_for(asked.wait(), 20)
    assert len(near._pending) == 100
    await cancelled(task)
    assert len(near._pending) == 0


async def test_a_load_together_that_is_cancelled(ahf: AsyncHoldfast):
    """Found: everybody got, and the cache kept, that there is nothing."""
    broken = [True]

    class Source(AsyncTable):
        async def load_many(self, keys):
            if broken:  # its own connection gave up, say
                task = asyncio.create_task(asyncio.sleep(60))
                task.cancel()
                await task
            return dict.fromkeys(keys, "row")

    cache = ahf.cache("rows", ttl="1h", source=Source(), coalesce="1ms")
    async with asyncio.timeout(5):
        found = await asyncio.gather(cache.get("a"), cache.get("b"), return_exceptions=True)
        assert [type(one) for one in found] == [asyncio.CancelledError] * 2
        broken.clear()
        assert [await cache.peek(key) for key in ("a", "b")] == [MISSING] * 2
        assert [*await asyncio.gather(cache.get("a"), cache.get("b"))] == ["row", "row"]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # nor do such loops close their connections
@pytest.mark.parametrize("many", [False, True])
def test_loops_that_are_closed_while_they_load_take_no_place_along(server, namespace: str, many: bool):
    """Not asyncio.run(), which ends its tasks. Found: after `max_loads` such loops nobody could load."""

    async def leave(cache: Any, key: str) -> None:
        gate = AsyncGate("never")

        async def loader(keys: list[str]) -> dict[str, Any]:
            return dict.fromkeys(keys, await gate())

        await outdate(cache, key)
        if many:
            assert await cache.get_or_set_many([key], loader) == {key: "old"}
        else:
            assert await cache.get_or_set(key, gate) == "old"
        assert await gate.reading.wait(3)

    def in_a_loop(cache: Any, key: str) -> None:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(leave(cache, key))
        finally:
            loop.close()

    async def main() -> None:
        async with AsyncHoldfast(server.url, namespace=namespace) as client:
            cache: Any = client.cache("users", **PATIENT | {"wait": "3s"}, max_loads=1)
            assert await cache.get_or_set("warm", AsyncCounting("warm")) == "warm"
            for key in ("a", "b", "c"):
                await asyncio.to_thread(in_a_loop, cache, key)
            assert await cache.get_or_set("k", AsyncCounting("new")) == "new"
            assert cache._loads.crews.in_use == cache._loads._slots.in_use == 0

    asyncio.run(main())
    gc.collect()
