"""What others do about a cold key, each in the way its documentation recommends against a stampede.

A reader is `read(key, load)`: the value under `key`, from `load()` if there is none. Values are numbers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio

from benchmarks import harness

Load = Callable[[], Awaitable[int]]
Reader = Callable[[str, Load], Awaitable[int]]


class Textbook:
    """Cache-aside as articles print it: GET, else load and SET; the writer commits, then DELs."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def get_or_set(self, key: str, load: Load) -> int:
        """The reader."""
        found = await self._client.get(key)
        if found is not None:
            return int(json.loads(found))
        value = await load()
        await self._client.set(key, json.dumps(value), ex=60)
        return value

    async def invalidate(self, key: str) -> None:
        """What the writer does after its commit."""
        await self._client.delete(key)


@asynccontextmanager
async def textbook(url: str) -> AsyncIterator[Reader]:
    """See Textbook."""
    async with redis.asyncio.Redis(**harness.address(url)) as client:
        yield Textbook(client).get_or_set


@asynccontextmanager
async def aiocache(url: str) -> AsyncIterator[Reader]:
    """aiocache's `cached_stampede`, whose lease outlasts the load."""
    from aiocache import Cache
    from aiocache import cached_stampede as cached

    where = harness.address(url)

    def build_key(_function: Any, key: str, _load: Load) -> str:
        return key

    @cached(lease=10, ttl=60, cache=Cache.REDIS, endpoint=where["host"], port=where["port"],
            key_builder=build_key)  # fmt: skip
    async def read(_key: str, load: Load) -> int:
        return await load()

    yield read
    await read.cache.close()


@asynccontextmanager
async def cashews(url: str) -> AsyncIterator[Reader]:
    """cashews' `cache(lock=True)`."""
    from cashews import Cache

    cache = Cache()
    cache.setup(url)

    @cache(ttl="1m", key="bench:{key}", lock=True)
    async def read(key: str, load: Load) -> int:
        assert key
        return await load()

    yield read
    await cache.close()
