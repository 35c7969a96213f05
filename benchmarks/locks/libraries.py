"""The locks that are compared, each as its documentation recommends it, all as what stands behind `with`.

`open(url)` connects and gives `make(name)`: a lock of that name for one caller, to be used again and again
with `with` or, where callers are tasks, with `async with`. All have a ttl of 30 s and wait for a minute, or
for as long as it takes where `with` knows no deadline.

redis-py's clients have a pool as large as it takes: the default of 100 connections refuses the rest.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Self

import redis
import redis.asyncio

from benchmarks import harness
from holdfast import AsyncHoldfast, Holdfast

TTL, WAIT = 30, 60
POOL = 2000

Make = Callable[[str], Any]
Open = Callable[[str], AbstractAsyncContextManager[Make]]


@dataclass(frozen=True)
class Library:
    """One way to lock. `tasks`: its callers are tasks, else threads; `package`: where it comes from."""

    name: str
    tasks: bool
    package: str
    open: Open


# --- Holdfast -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def holdfast(url: str) -> AsyncIterator[Make]:
    """Holdfast as it comes: renewed while held."""
    with Holdfast(url) as hf:
        yield lambda name: hf.lock(name, ttl=TTL, wait=WAIT)


@asynccontextmanager
async def holdfast_fair(url: str) -> AsyncIterator[Make]:
    """Holdfast, first come, first served."""
    with Holdfast(url) as hf:
        yield lambda name: hf.lock(name, ttl=TTL, wait=WAIT, fair=True)


@asynccontextmanager
async def holdfast_tasks(url: str) -> AsyncIterator[Make]:
    """Holdfast as it comes: renewed while held."""
    async with AsyncHoldfast(url) as hf:
        yield lambda name: hf.lock(name, ttl=TTL, wait=WAIT)


@asynccontextmanager
async def holdfast_tasks_fair(url: str) -> AsyncIterator[Make]:
    """Holdfast, first come, first served."""
    async with AsyncHoldfast(url) as hf:
        yield lambda name: hf.lock(name, ttl=TTL, wait=WAIT, fair=True)


# --- redis-py -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Make]:
    """redis-py's Lock with a ttl, which it does not have by itself."""
    with redis.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: client.lock(name, timeout=TTL, blocking_timeout=WAIT)


@asynccontextmanager
async def redis_py_tasks(url: str) -> AsyncIterator[Make]:
    """As `redis_py`."""
    async with redis.asyncio.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: client.lock(name, timeout=TTL, blocking_timeout=WAIT)


@asynccontextmanager
async def redis_py_tasks_keen(url: str) -> AsyncIterator[Make]:
    """As `redis_py`, asking every 10 ms."""
    async with redis.asyncio.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: client.lock(name, timeout=TTL, blocking_timeout=WAIT, sleep=0.01)


# --- others -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def python_redis_lock(url: str) -> AsyncIterator[Make]:
    """python-redis-lock with a ttl."""
    redis_lock = import_module("redis_lock")  # it has no types
    with redis.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: redis_lock.Lock(client, name, expire=TTL)


@asynccontextmanager
async def python_redis_lock_renewed(url: str) -> AsyncIterator[Make]:
    """python-redis-lock with a ttl, renewed by a thread for each lock."""
    redis_lock = import_module("redis_lock")
    with redis.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: redis_lock.Lock(client, name, expire=TTL, auto_renewal=True)


@asynccontextmanager
async def pottery(url: str) -> AsyncIterator[Make]:
    """pottery's Redlock on one server."""
    from pottery import Redlock

    with redis.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: Redlock(
            key=name, masters={client}, auto_release_time=TTL, context_manager_timeout=WAIT
        )


@asynccontextmanager
async def pottery_tasks(url: str) -> AsyncIterator[Make]:
    """pottery's AIORedlock on one server."""
    from pottery import AIORedlock

    async with redis.asyncio.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: AIORedlock(
            key=name, masters={client}, auto_release_time=TTL, context_manager_timeout=WAIT
        )


# --- the floor ----------------------------------------------------------------------------------------------

UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Bare:
    """SET NX PX, and GET and DEL in a script: two commands through redis-py, and nothing else."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client, self._name = client, name
        self._unlock = client.register_script(UNLOCK)

    def __enter__(self) -> Self:
        self._token = secrets.token_hex(16)
        while not self._client.set(self._name, self._token, nx=True, px=1000 * TTL):
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._unlock([self._name], [self._token])


class BareTasks:
    """As `Bare`, for tasks. Nobody waits where it is used."""

    def __init__(self, client: redis.asyncio.Redis, name: str) -> None:
        self._client, self._name = client, name
        self._unlock = client.register_script(UNLOCK)

    async def __aenter__(self) -> Self:
        self._token = secrets.token_hex(16)
        assert await self._client.set(self._name, self._token, nx=True, px=1000 * TTL)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._unlock([self._name], [self._token])


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Make]:
    """See Bare."""
    with redis.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: Bare(client, name)


@asynccontextmanager
async def bare_tasks(url: str) -> AsyncIterator[Make]:
    """See BareTasks."""
    async with redis.asyncio.Redis(max_connections=POOL, **harness.address(url)) as client:
        yield lambda name: BareTasks(client, name)


# --- all of them --------------------------------------------------------------------------------------------

OURS, OURS_TASKS = "Holdfast", "Holdfast, asyncio"
THEIRS, THEIRS_TASKS = "redis-py", "redis-py, asyncio"

_ALL = (
    Library(OURS, False, "holdfast", holdfast),
    Library("Holdfast, fair", False, "holdfast", holdfast_fair),
    Library(THEIRS, False, "redis", redis_py),
    Library("python-redis-lock", False, "python-redis-lock", python_redis_lock),
    Library("python-redis-lock, renewed", False, "python-redis-lock", python_redis_lock_renewed),
    Library("pottery", False, "pottery", pottery),
    Library("SET NX and DEL", False, "redis", bare),
    Library(OURS_TASKS, True, "holdfast", holdfast_tasks),
    Library("Holdfast, asyncio, fair", True, "holdfast", holdfast_tasks_fair),
    Library(THEIRS_TASKS, True, "redis", redis_py_tasks),
    Library("redis-py, asyncio, sleep=0.01", True, "redis", redis_py_tasks_keen),
    Library("pottery, asyncio", True, "pottery", pottery_tasks),
    Library("SET NX and DEL, asyncio", True, "redis", bare_tasks),
)
_MODULES = {"python-redis-lock": "redis_lock"}


def there(*names: str) -> list[Library]:
    """Those of `names` that are installed, in their order."""
    known = {one.name: one for one in _ALL}
    return [known[name] for name in names if _installed(known[name].package)]


def _installed(package: str) -> bool:
    return find_spec(_MODULES.get(package, package)) is not None


def versions() -> str:
    """What is installed of the others."""
    packages = dict.fromkeys(one.package for one in _ALL if one.package != "holdfast")
    return ", ".join(f"{one} {version(one)}" for one in packages if _installed(one))
