"""One who locks, for the probes: every library behind the same few verbs, its locks used as documented.

An actor of a library with threads has a thread of its own, in which all is done: redis-py keeps the owner's
token per thread. `second()` is somebody else in the same process, with the same client.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import redis
import redis.asyncio

from benchmarks import harness
from holdfast import AsyncHoldfast, Holdfast
from holdfast.errors import LockTimeout

TTL = 30.0  # seconds, where the probe does not say


class Actor:
    """Who takes and gives back locks. A lock is what the library calls so, a grip what stands for holding it.

    `library` and `tasks` say whose it is; `renews`: whether it renews by itself; `durable`: whether a grant
    can be made to wait for replicas; `prefix`: what the keys of its locks begin with.
    """

    library: ClassVar[str]
    tasks: ClassVar[bool]
    renews: ClassVar[bool] = False
    durable: ClassVar[bool] = False
    prefix: ClassVar[str] = ""

    def __init__(self, url: str, client: Any = None) -> None:
        self.url = url
        self._borrowed = client is not None
        self._client = client or self._connect(url)
        self._thread = None if self.tasks else ThreadPoolExecutor(1)

    def _connect(self, url: str) -> Any:
        kind = redis.asyncio.Redis if self.tasks else redis.Redis
        return kind(max_connections=1000, **harness.address(url))

    def key(self, name: str) -> str:
        """The lock's key on the server."""
        return f"{self.prefix}{name}"

    def acquire_mark(self, name: str) -> bytes:  # noqa: ARG002
        """What the write that acquires `name` contains."""
        return b"NX"

    def release_mark(self, name: str) -> bytes:  # noqa: ARG002
        """What the write that releases `name` contains."""
        return b"EVALSHA"

    def second(self) -> Self:
        """Somebody else in this process."""
        return type(self)(self.url, self._client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._borrowed:
            await self._close()
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    async def _close(self) -> None:
        await (self._client.aclose() if self.tasks else self._do(self._client.close))

    async def _do(self, work: Callable[..., Any], *about: Any) -> Any:
        """In our thread, or as part of this task."""
        if self._thread is None:
            return await work(*about)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *about)

    # --- what each library has its own way of ---

    def lock(self, name: str, *, ttl: float = TTL, renew: bool = False, replicas: int = 0) -> Any:
        """A lock, renewed while held if the library can."""
        raise NotImplementedError

    def plain(self, name: str) -> Any:
        """A lock of which nothing but the name is said."""
        raise NotImplementedError

    def section(self, name: str, wait: float, /) -> Any:
        """What stands behind `with`, and waits for `wait` seconds; who knows no such thing does not wait."""
        raise NotImplementedError

    async def take(self, lock: Any, wait: float) -> Any:
        """A grip, or None if that took too long."""
        return lock if await self._do(self._acquire, lock, wait) else None

    def _acquire(self, lock: Any, wait: float) -> Any:
        raise NotImplementedError

    async def give(self, grip: Any) -> None:
        """Release it. Raises: what the library raises."""
        await self._do(grip.release)

    def told(self, _: Any) -> bool:
        """Does whoever holds it know, without asking the server, that it is lost?"""
        return False

    def fence(self, _: Any) -> int | None:
        """The number that a resource compares."""
        return None

    async def enters(self, name: str, wait: float) -> bool:
        """Does `with` let us in?"""
        section = self.section(name, wait)

        def inside() -> None:
            with section:
                pass

        async def inside_task() -> None:
            async with section:
                pass

        try:
            await self._do(inside_task if self.tasks else inside)
        except Exception:  # noqa: BLE001 - whatever the library raises: it did not let us in
            return False
        return True


class HoldfastThreads(Actor):
    """Holdfast."""

    library, tasks, renews, durable = "Holdfast", False, True, True

    def _connect(self, url: str) -> Any:
        return Holdfast(url)

    def acquire_mark(self, name: str) -> bytes:
        return name.encode()

    def release_mark(self, name: str) -> bytes:
        return name.encode()

    def lock(self, name: str, *, ttl: float = TTL, renew: bool = False, replicas: int = 0) -> Any:
        return self._client.lock(name, key=name, ttl=ttl, renew=renew, replicas=replicas)

    def plain(self, name: str) -> Any:
        return self._client.lock(name, key=name)

    def section(self, name: str, wait: float) -> Any:
        return self._client.lock(name, key=name, wait=wait)

    async def take(self, lock: Any, wait: float) -> Any:
        try:
            return await self._do(lock.acquire, wait)
        except LockTimeout:
            return None

    def told(self, grip: Any) -> bool:
        return bool(grip.lost.is_set())

    def fence(self, grip: Any) -> int | None:
        fence: int = grip.fence
        return fence


class HoldfastTasks(HoldfastThreads):
    """AsyncHoldfast."""

    tasks = True

    def _connect(self, url: str) -> Any:
        return AsyncHoldfast(url)

    async def _close(self) -> None:
        await self._client.close()


class RedisPyThreads(Actor):
    """redis-py's Lock, with a ttl."""

    library, tasks = "redis-py", False

    def lock(self, name: str, *, ttl: float = TTL, **_: Any) -> Any:
        return self._client.lock(name, timeout=ttl)

    def plain(self, name: str) -> Any:
        return self._client.lock(name)

    def section(self, name: str, wait: float) -> Any:
        return self._client.lock(name, timeout=TTL, blocking_timeout=wait)

    def _acquire(self, lock: Any, wait: float) -> Any:
        return lock.acquire(blocking_timeout=wait)


class RedisPyTasks(RedisPyThreads):
    """redis-py's Lock for asyncio, with a ttl."""

    tasks = True


class PythonRedisLock(Actor):
    """python-redis-lock; whole seconds only. Its `with` knows no deadline, so it does not wait here."""

    library, tasks, renews, prefix = "python-redis-lock", False, True, "lock:"

    def _lock(self, name: str, **options: Any) -> Any:
        return import_module("redis_lock").Lock(self._client, name, **options)

    def lock(self, name: str, *, ttl: float = TTL, renew: bool = False, **_: Any) -> Any:
        return self._lock(name, expire=math.ceil(ttl), auto_renewal=renew)

    def plain(self, name: str) -> Any:
        return self._lock(name)

    def section(self, name: str, _: float) -> Any:
        return self._lock(name, expire=math.ceil(TTL), blocking=False)

    def _acquire(self, lock: Any, wait: float) -> Any:
        return lock.acquire(timeout=math.ceil(wait)) if wait else lock.acquire(blocking=False)


class PotteryThreads(Actor):
    """pottery's Redlock on one server."""

    library, tasks, prefix = "pottery", False, "redlock:"

    def _lock(self, name: str, **options: Any) -> Any:
        pottery = import_module("pottery")  # not `import`: the suite's type check does without the peers
        kind = pottery.AIORedlock if self.tasks else pottery.Redlock
        return kind(key=name, masters={self._client}, **options)

    def lock(self, name: str, *, ttl: float = TTL, **_: Any) -> Any:
        return self._lock(name, auto_release_time=ttl)

    def plain(self, name: str) -> Any:
        return self._lock(name)

    def section(self, name: str, wait: float) -> Any:
        return self._lock(name, auto_release_time=TTL, context_manager_timeout=wait)

    def _acquire(self, lock: Any, wait: float) -> Any:
        return lock.acquire(timeout=wait) if wait else lock.acquire(blocking=False)


class PotteryTasks(PotteryThreads):
    """pottery's AIORedlock on one server."""

    tasks = True


OURS: tuple[type[Actor], ...] = (HoldfastThreads, HoldfastTasks)
_MODULES = {"redis-py": "redis", "python-redis-lock": "redis_lock"}
EVERYBODY: tuple[type[Actor], ...] = (
    *OURS, RedisPyThreads, RedisPyTasks, PythonRedisLock, PotteryThreads, PotteryTasks,
)  # fmt: skip


def there() -> list[type[Actor]]:
    """All that are installed."""
    return [one for one in EVERYBODY if find_spec(_MODULES.get(one.library, one.library.lower()))]
