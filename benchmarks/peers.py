"""What others do about a cold key, each in the way its documentation recommends against a stampede.

A reader is `read(key, load)`: the value under `key`, from `load()` if there is none. Values are numbers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
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


# --- those of threads ---------------------------------------------------------------------------------------

THREADS = 50


def region(url: str, **options: Any) -> Any:
    """dogpile's region in Redis."""
    from dogpile.cache import make_region

    options = {**harness.address(url), "redis_expiration_time": 7200, **options}
    made = make_region(key_mangler=lambda key: f"dogpile:{key}")  # others use the same server
    return made.configure("dogpile.cache.redis", expiration_time=3600, arguments=options)


def django_cache(url: str) -> Any:
    """django-redis as a project's settings make it."""
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    from django_redis.cache import RedisCache

    return RedisCache(url, {"TIMEOUT": 3600})


class Threaded:
    """Has what blocks done by threads, for callers that are tasks; `load` runs where the callers are."""

    def __init__(self, pool: ThreadPoolExecutor, get_or_set: Callable[..., Any],
                 delete: Callable[[str], Any]) -> None:  # fmt: skip
        self._pool, self._get_or_set, self._delete = pool, get_or_set, delete

    async def get_or_set(self, key: str, load: Load) -> int:
        """The reader."""
        loop = asyncio.get_running_loop()

        async def loading() -> int:
            return await load()

        def blocking() -> int:
            return asyncio.run_coroutine_threadsafe(loading(), loop).result()

        return await loop.run_in_executor(self._pool, self._get_or_set, key, blocking)

    async def invalidate(self, key: str) -> None:
        """What the writer does after its commit."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._delete, key)


def threaded_dogpile(url: str, pool: ThreadPoolExecutor, **options: Any) -> Threaded:
    """`region.get_or_create` and `region.delete`."""
    made = region(url, **options)
    return Threaded(pool, made.get_or_create, made.delete)


def threaded_django(url: str, pool: ThreadPoolExecutor) -> Threaded:
    """`cache.get_or_set` and `cache.delete`."""
    made = django_cache(url)
    return Threaded(pool, made.get_or_set, made.delete)


@asynccontextmanager
async def dogpile(url: str) -> AsyncIterator[Reader]:
    """dogpile's `get_or_create` with `distributed_lock=True`; its callers are threads."""
    lock = {"distributed_lock": True, "thread_local_lock": False, "lock_timeout": 10}
    with ThreadPoolExecutor(THREADS) as pool:
        yield threaded_dogpile(url, pool, **lock).get_or_set


@asynccontextmanager
async def django_redis(url: str) -> AsyncIterator[Reader]:
    """Django's `get_or_set`, which has nothing against a stampede; its callers are threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield threaded_django(url, pool).get_or_set
