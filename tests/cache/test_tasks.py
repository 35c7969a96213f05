"""What only tasks can do to a cache: be cancelled anywhere, and live in several event loops."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from holdfast import MISSING, AsyncHoldfast, ConfigurationError
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_faults_async import AsyncGate


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_leader_does_not_take_its_followers_along(ahf: AsyncHoldfast):
    """Found with the load in the leader's own task: the follower was cancelled, or loaded again."""
    cache, gate = ahf.cache("users", ttl="1h"), AsyncGate("value")
    leader = asyncio.create_task(cache.get_or_set("k", gate))
    follower = asyncio.create_task(cache.get_or_set("k", gate))
    await gate.reading.wait(20)
    await cancel(leader)
    gate.go.fire()
    assert await follower == "value"
    assert gate.calls == 1
    assert await cache.get("k") == "value"


async def test_when_nobody_waits_the_load_is_cancelled_and_the_lease_given_back(
    ahf: AsyncHoldfast, namespace: str
):
    """Found without abandon_later(): the next reader waited for the end of a lease that nobody used."""
    cache, gate = ahf.cache("users", ttl="1h", lease="60s"), AsyncGate("value")
    ended = asyncio.Event()

    async def loader() -> Any:
        try:
            return await gate()
        finally:
            ended.set()

    tasks = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(3)]
    await gate.reading.wait(20)
    for task in tasks:
        await cancel(task)
    async with asyncio.timeout(20):
        await ended.wait()
        assert await cache.get_or_set("k", AsyncCounting("next")) == "next"


async def test_cancelled_at_any_moment(ahf: AsyncHoldfast, server, namespace: str):
    """At every step of the event loop: nothing hangs, and nothing wrong is left behind."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        cache, other = ahf.cache("users", ttl="1h", lease="60s"), second.cache("users", ttl="1h", lease="60s")
        table = AsyncTable()
        through = second.cache("prices", ttl="1h", source=table, write="through")
        for steps in range(1, 12):  # at 0 the call has not begun
            for method, arguments in (
                ("get_or_set", (AsyncCounting("v"),)),
                ("set", ("v",)),
                ("expire", ()),
                ("invalidate", ()),
            ):
                key = f"{method}{steps}"
                await cache.set(key, "old")
                if method == "get_or_set":
                    await cache.invalidate(key)
                task = asyncio.create_task(getattr(cache, method)(key, *arguments))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                async with asyncio.timeout(20):
                    while cache.stats().undelivered:
                        await asyncio.sleep(0.005)
                    value = await other.get_or_set(key, AsyncCounting("fresh"))
                assert value != "old"
            await through.put(steps, "old")
            task = asyncio.create_task(through.put(steps, "new"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            async with asyncio.timeout(20):
                while through.stats().undelivered:
                    await asyncio.sleep(0.005)
                assert await through.get(steps) == table.rows[steps]


async def test_a_timeout_around_a_wait(ahf: AsyncHoldfast, namespace: str):
    cache = ahf.cache("users", ttl="1h")
    key = f"{namespace}:1:cache:users:{{k}}:f"
    await ahf.execute("SET", key, "F:somebody", "PX", 60000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await cache.get_or_set("k", AsyncCounting("value"))
    await ahf.execute("DEL", key)
    assert await cache.get_or_set("k", AsyncCounting("value")) == "value"


async def test_two_event_loops_share_a_cache(server, namespace: str):
    """Found with flights that did not ask for the loop: "attached to a different loop"."""
    client = AsyncHoldfast(server.url, namespace=namespace)
    cache = client.cache("users", ttl="1h")
    gate = AsyncGate("value")
    elsewhere: list[Any] = []
    over = threading.Event()

    async def second() -> None:
        elsewhere.append(await cache.get_or_set("k", AsyncCounting("second")))
        await asyncio.to_thread(over.wait, 20)  # a loop that ends closes no connection: the client does

    here = asyncio.create_task(cache.get_or_set("k", gate))
    await gate.reading.wait(20)
    thread = threading.Thread(target=lambda: asyncio.run(second()))
    thread.start()
    while cache.stats().waits == 0:
        await asyncio.sleep(0.01)
    gate.go.fire()
    assert await here == "value"
    while not elsewhere:
        await asyncio.sleep(0.01)
    assert elsewhere == ["value"]
    await client.close()
    over.set()
    await asyncio.to_thread(thread.join, 20)


async def test_a_cancellation_from_inside_the_loader_is_nobody_elses(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("users", ttl="1h"), AsyncGate()

    async def loader() -> Any:
        await gate()
        raise asyncio.CancelledError

    leader = asyncio.create_task(cache.get_or_set("k", loader))
    await gate.reading.wait(20)
    follower = asyncio.create_task(cache.get_or_set("k", AsyncCounting("value")))
    await asyncio.sleep(0.05)
    gate.go.fire()
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert await follower == "value"


async def test_functions_of_the_wrong_kind(ahf: AsyncHoldfast):
    cache: Any = ahf.cache("users", ttl="1h")
    with pytest.raises(ConfigurationError, match="async def"):
        cache.cached("k")(lambda: 1)
    with pytest.raises(ConfigurationError, match="async def"):
        await cache.get_or_set("k", lambda: 1)
    assert await cache.get_or_set("k", lambda: AsyncCounting(1)()) == 1
    assert await cache.get("other") is MISSING

    class Plain:
        def load_many(self, keys):
            return {}

    with pytest.raises(ConfigurationError, match="async def"):
        ahf.cache("prices", ttl="1h", source=Plain())  # type: ignore[arg-type]


async def test_a_closed_client(server):
    from holdfast.errors import Closed

    client = AsyncHoldfast(server.url)
    cache = client.cache("users", ttl="1h")
    gate = AsyncGate("value")
    task = asyncio.create_task(cache.get_or_set("k", gate))
    await gate.reading.wait(20)
    await client.close()
    gate.go.fire()
    assert await task == "value"  # it was loaded; that it cannot be stored is no concern of the reader
    for call in (cache.get("k"), cache.set("k", 1), cache.invalidate("k"), cache.get_or_set("k", gate)):
        with pytest.raises(Closed):
            await call
