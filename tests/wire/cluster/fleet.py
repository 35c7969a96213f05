"""Clients at work while things happen to a Cluster: the same work for threads and for tasks.

Work is written once, as a coroutine function. Threads drive theirs without an event loop: what it awaits
never waits anywhere but in the thread itself.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

from holdfast import AsyncHoldfast, Holdfast
from holdfast._wire.cluster.slots import slot_of

FLAVOURS = ("threads", "tasks")


def until(what: Callable[[], Any], timeout: float = 20.0) -> Any:
    """What `what()` returns once it is true."""
    end = time.monotonic() + timeout
    while not (found := what()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)
    return found


def drive(work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` returns; it does not really await anything."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the work of a thread awaited something")


class Fleet:
    """One client and its workers; a context manager."""

    def __init__(self, url: str, flavour: str, **options: Any) -> None:
        self._url = url
        self._flavour = flavour
        self._options = options
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._futures: list[Any] = []
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self.client: Any = None

    def __enter__(self) -> Self:
        if self._flavour == "threads":
            self.client = Holdfast(self._url, **self._options)
        else:
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=self._loop.run_forever)
            thread.start()
            self._threads.append(thread)
            self.client = AsyncHoldfast(self._url, **self._options)
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
        if self._loop is None:
            self.client.close(drain=1)
        else:
            self._run(self.client.close(drain=1)).result(30)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._threads[0].join(10)
            self._loop.close()

    async def ask(self, *command: Any, **options: Any) -> Any:
        """`execute` of the client, for work."""
        reply = self.client.execute(*command, **options)
        return reply if self._loop is None else await reply

    async def rest(self, seconds: float = 0.001) -> None:
        """A moment without work."""
        if self._loop is None:
            time.sleep(seconds)
        else:
            await asyncio.sleep(seconds)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do(self, work: Coroutine[Any, Any, Any], timeout: float = 30.0) -> Any:
        """What one piece of work returns."""
        return drive(work) if self._loop is None else self._run(work).result(timeout)

    def now(self, *command: Any, **options: Any) -> Any:
        """The reply to a command."""
        return self.do(self.ask(*command, **options))

    def begin(self, work: Callable[[Fleet], Coroutine[Any, Any, Any]]) -> None:
        """Begin a worker, which goes on until `stopping`."""

        async def careful() -> None:
            try:
                await work(self)
            except BaseException as error:  # noqa: BLE001
                self.errors.append(error)

        if self._loop is None:
            thread = threading.Thread(target=lambda: drive(careful()))
            thread.start()
            self._threads.append(thread)
        else:
            self._futures.append(self._run(careful()))

    def finish(self) -> None:
        """End all workers."""
        self.stopping.set()
        if self._loop is None:
            for thread in self._threads:
                thread.join(40)
                assert not thread.is_alive()
        else:
            for future in self._futures:
                future.result(40)
        self._futures = []


class Register:
    """A worker that writes ever larger numbers into a key, reads them back, and knows what was confirmed."""

    def __init__(self, key: str, **options: Any) -> None:
        self.key = key
        self._options = options
        self.confirmed = 0
        self.spans: list[tuple[float, float]] = []  # of each operation
        self.failures: list[tuple[float, Exception]] = []
        self.wrong: list[str] = []

    async def __call__(self, fleet: Fleet) -> None:
        n = 0
        while not fleet.stopping.is_set():
            n += 1
            begun = time.monotonic()
            try:
                await fleet.ask("SET", self.key, n, retry="safe", **self._options)
                self.confirmed = n
                read = int(await fleet.ask("GET", self.key, **self._options) or 0)
                if read < n:
                    self.wrong.append(f"{self.key} was confirmed as {n} and is {read}")
            except Exception as error:  # noqa: BLE001
                self.failures.append((time.monotonic(), error))
            self.spans.append((begun, time.monotonic()))
            await fleet.rest()

    def slowest(self, since: float, till: float = float("inf")) -> float:
        """The longest operation that ended after `since` and began before `till`."""
        return max((end - begun for begun, end in self.spans if end >= since and begun <= till), default=0.0)

    def works_since(self, moment: float) -> bool:
        """Has an operation that began after `moment` succeeded?"""
        failed = [at for at, _ in self.failures]
        ended = [end for begun, end in self.spans if begun > moment]
        return any(end not in failed for end in ended) and len(ended) > len(
            [at for at in failed if at > moment]
        )


class Counter:
    """A worker that counts with INCR, never repeated: the server's number lies between what was confirmed and
    that plus what was unclear.
    """

    def __init__(self, key: str, **options: Any) -> None:
        self.key = key
        self._options = options
        self.confirmed = 0
        self.unclear = 0
        self.refused: list[Exception] = []

    async def __call__(self, fleet: Fleet) -> None:
        from holdfast import Unavailable, Unconfirmed

        while not fleet.stopping.is_set():
            try:
                await fleet.ask("INCR", self.key, **self._options)
                self.confirmed += 1
            except Unconfirmed:
                self.unclear += 1
            except Unavailable as error:
                self.refused.append(error)
            await fleet.rest()

    def check(self, total: int) -> None:
        """Is `total`, which the server says, possible?"""
        assert self.confirmed <= total <= self.confirmed + self.unclear, (
            self.key,
            self.confirmed,
            self.unclear,
            total,
        )


def key_of(lab: Any, node: Any, stem: str) -> str:
    """A key at `node`."""
    return next(key for n in range(10_000) if lab.primary_of(slot_of(key := f"{stem}:{n}")) is node)


def keys_of(lab: Any, stem: str, each: int = 1) -> dict[str, list[str]]:
    """`each` keys for every primary, by its name."""
    ranges = {one.port: one.slots for one in lab.view() if one.slots}
    names = {node.port: node.name for node in lab.nodes}
    found: dict[str, list[str]] = {names[port]: [] for port in ranges}
    n = 0
    while any(len(keys) < each for keys in found.values()):
        n += 1
        slot = slot_of(f"{stem}:{n}")
        for port, parts in ranges.items():
            if any(slot in part for part in parts) and len(found[names[port]]) < each:
                found[names[port]].append(f"{stem}:{n}")
    return found
