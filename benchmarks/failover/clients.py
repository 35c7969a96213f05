"""redis-py and Holdfast, each as a service would use it, behind the few calls that the load needs."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from benchmarks import harness
from holdfast import AsyncHoldfast, Durability, Holdfast
from holdfast.errors import NotDurable, Refused, Unconfirmed

TIMEOUT = "2s"
DEADLINE = 5.0  # seconds that a well configured application gives one operation, all its attempts included
PAUSES = (0.02, 0.25)

# What a service with its eyes open tells redis-py; no retries inside, for these go to the dead address.
_SHORT: dict[str, Any] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.3}


class Client(Protocol):
    """What the load needs of a client. All of it may raise whatever the client raises."""

    def set(self, key: str, value: int) -> object: ...

    def incr(self, key: str) -> int: ...

    def get(self, key: str) -> object: ...

    def close(self) -> object: ...


# --- redis-py -----------------------------------------------------------------------------------------------


def _redis(url: str, *, careful: bool) -> Any:
    split = urlsplit(url)
    password: dict[str, Any] = {"password": unquote(split.netloc.rpartition("@")[0].partition(":")[2])}
    more = _SHORT if careful else {}
    if "sentinel" not in split.scheme:
        if careful:
            more = {**more, "retry": Retry(NoBackoff(), 1)}
        nodes = [ClusterNode(**one) for one in harness.addresses(url)]  # type: ignore[no-untyped-call]
        return RedisCluster(startup_nodes=nodes, **password, **more)
    if careful:
        more = {**more, "retry": Retry(NoBackoff(), 0)}
    watched = {"password": parse_qs(split.query)["sentinel_password"][0], **more}
    where = [(one["host"], one["port"]) for one in harness.addresses(url)]
    sentinels: Any = Sentinel(where, sentinel_kwargs=watched, **password, **more)  # type: ignore[no-untyped-call]
    return sentinels.master_for(split.path.strip("/").partition("/")[0])


class RedisPy:
    """redis-py with its defaults."""

    def __init__(self, url: str, *, careful: bool = False) -> None:
        self._redis = _redis(url, careful=careful)
        self.set: Callable[[str, int], object] = self._redis.set
        self.incr: Callable[[str], int] = self._redis.incr
        self.get: Callable[[str], object] = self._redis.get
        self.close: Callable[[], object] = self._redis.close


class CarefulRedisPy(RedisPy):
    """redis-py with short timeouts, in an application that repeats what it may repeat, until a deadline."""

    def __init__(self, url: str) -> None:
        super().__init__(url, careful=True)
        self.set = partial(_patiently, self._redis.set)
        self.get = partial(_patiently, self._redis.get)


def _patiently(call: Callable[..., Any], *arguments: Any) -> Any:
    give_up, pause = time.monotonic() + DEADLINE, PAUSES[0]
    while True:
        try:
            return call(*arguments)
        except redis.RedisError:
            if time.monotonic() + pause > give_up:
                raise
        time.sleep(random.uniform(0, pause))
        pause = min(2 * pause, PAUSES[1])


# --- Holdfast -----------------------------------------------------------------------------------------------


class Ours:
    """Holdfast with its defaults: SET is not repeated when its reply is lost, GET is."""

    def __init__(self, url: str, durability: Durability | None = None) -> None:
        self._hf = Holdfast(url, timeout=TIMEOUT).connect()
        self._write = partial(self._hf.execute, durability=durability)
        self.close: Callable[[], object] = self._hf.close

    def set(self, key: str, value: int) -> object:
        return self._write("SET", key, value)

    def incr(self, key: str) -> int:
        answer = self._write("INCR", key, retry="never")
        assert isinstance(answer, int)
        return answer

    def get(self, key: str) -> object:
        return self._hf.execute("GET", key)


class OursAsync:
    """The same for asyncio, on an event loop in a thread of its own; the lanes wait for it."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="loop", daemon=True).start()
        self._hf = AsyncHoldfast(url, timeout=TIMEOUT)
        self._do(self._hf.connect())

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    def set(self, key: str, value: int) -> object:
        return self._do(self._hf.execute("SET", key, value))

    def incr(self, key: str) -> int:
        answer: int = self._do(self._hf.execute("INCR", key, retry="never"))
        return answer

    def get(self, key: str) -> object:
        return self._do(self._hf.execute("GET", key))

    def close(self) -> None:
        self._do(self._hf.close())
        self._loop.call_soon_threadsafe(self._loop.stop)


def _durable(url: str) -> Ours:
    return Ours(url, Durability(replicas=1, within="100ms"))


CLIENTS: dict[str, Callable[[str], Client]] = {
    "redis-py": RedisPy,
    "redis-py, careful": CarefulRedisPy,
    "Holdfast": Ours,
    "Holdfast, durable": _durable,
    "Holdfast, asyncio": OursAsync,
}


def verdict(error: BaseException) -> tuple[str, bool]:
    """The name of an error, and whether what failed may have happened nevertheless.

    redis-py never says, so there it always may; Holdfast does, and is held to it.
    """
    name = type(error).__name__
    if isinstance(error, redis.RedisError):
        return name, True
    if isinstance(error, Refused):
        return f"{name} {error.code}", False
    if isinstance(error, NotDurable):
        return name, True
    return name, isinstance(error, Unconfirmed)
