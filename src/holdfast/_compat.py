"""Pairs for the twins: what differs between threads and asyncio, under two names of the same shape.

A source of truth (`_async.py`) uses the `A...` names; tools/unasync.py turns them into the others. Only this
file, the transports and the hub know both worlds. The asyncio halves may be used from several event loops in
several threads at once: `fire` and `release` are safe from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

monotonic = time.monotonic

if hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds on a clock that is never set and, unlike `monotonic`, goes on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    boottime = time.monotonic


def sleep(delay: float) -> None:
    """Rest `delay` seconds in this thread."""
    time.sleep(delay)


async def asleep(delay: float) -> None:
    """Rest `delay` seconds in this task."""
    await asyncio.sleep(delay)


def scope() -> str:
    """The place whose waiters may share futures: all threads of the process."""
    return "process"


def ascope() -> asyncio.AbstractEventLoop:
    """The place whose waiters may share futures: the running event loop."""
    return asyncio.get_running_loop()


def run(result: T) -> T:
    """The result of a call already made: in threads, work is done by whoever asked first."""
    return result


async def arun(work: Coroutine[Any, Any, T]) -> T:
    """Do `work` in a task of its own, so that it survives the cancellation of whoever asked first."""
    return await asyncio.shield(_kept(work))


# The loop holds tasks weakly; an unreferenced one may vanish in mid-air.
_KEPT: dict[asyncio.AbstractEventLoop, set[asyncio.Task[Any]]] = {}


def _kept(work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work, name=name)
    if loop not in _KEPT:
        _end_what_loops_left()
    _KEPT.setdefault(loop, set()).add(task)
    task.add_done_callback(_forget)
    return task


def _end_what_loops_left() -> None:
    """End the tasks of loops that were closed in the middle: what they hold would be held for ever."""
    for loop in [one for one in list(_KEPT) if one.is_closed()]:
        for task in _KEPT.pop(loop, set()):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            if inspect.iscoroutine(coroutine):
                with contextlib.suppress(Exception):  # one that awaits in its last words
                    coroutine.close()


def _forget(task: asyncio.Task[Any]) -> None:
    _KEPT.get(task.get_loop(), set()).discard(task)
    if not task.cancelled():
        task.exception()  # seen: its waiters got it through the flight, nobody needs "never retrieved"


def off_loop(work: Callable[[], T]) -> T:
    """Do work that blocks: here, since a thread may."""
    return work()


async def aoff_loop(work: Callable[[], T]) -> T:
    """Do work that blocks, without blocking the event loop."""
    return await asyncio.to_thread(work)


def current_task() -> None:
    """What `cancel` may stop: nothing, a thread cannot be stopped."""
    return


def acurrent_task() -> asyncio.Task[Any] | None:
    """What `cancel` may stop: the running task."""
    return asyncio.current_task()


def me() -> Hashable:
    """Who calls: this thread."""
    return threading.get_ident()


def ame() -> Hashable:
    """Who calls: this task."""
    return asyncio.current_task()


def is_async(function: Callable[..., Any]) -> bool:
    """Does calling `function` give something to await?"""
    called = inspect.unwrap(function)
    while isinstance(called, functools.partial):
        called = called.func
    return inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(type(called).__call__)


class Signal:
    """A flag that threads can wait for; `fire` may be called from any thread."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def fire(self) -> bool:
        """Wake whoever waits, now or later; True, since a thread can always be woken."""
        self._event.set()
        return True

    @property
    def is_over(self) -> bool:
        """Can nobody wait for it any more? A thread always can."""
        return False

    def clear(self) -> None:
        """Forget earlier calls of `fire`."""
        self._event.clear()

    def wait(self, timeout: float | None) -> bool:
        """Wait until fired, at most `timeout` seconds; True if fired."""
        return self._event.wait(timeout)


class ASignal:
    """A flag that tasks of one event loop can wait for; `fire` may be called from any thread."""

    __slots__ = ("_event", "_loop")

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def fire(self) -> bool:
        """Wake whoever waits, now or later; False if nobody can, because the event loop has ended."""
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            return False
        return True

    @property
    def is_over(self) -> bool:
        """Can nobody wait for it any more, since its event loop was closed?"""
        return self._loop.is_closed()

    def clear(self) -> None:
        """Forget earlier calls of `fire`."""
        self._event.clear()

    async def wait(self, timeout: float | None) -> bool:
        """Wait until fired, at most `timeout` seconds; True if fired."""
        if self._event.is_set():
            return True
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return self._event.is_set()
        return True


class _Permits:
    """`permits` permits handed out first come, first served; `release` may be called from any thread."""

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._permits = permits
        self._mutex = threading.Lock()
        self._queue: deque[Any] = deque()

    @property
    def in_use(self) -> int:
        """Permits handed out at this moment."""
        return self._permits - self._free

    def _take(self) -> bool:
        with self._mutex:
            if self._free and not self._queue:
                self._free -= 1
                return True
            return False

    def _enqueue(self, signal: Any) -> bool:
        with self._mutex:
            if self._free and not self._queue:
                self._free -= 1
                return False
            self._queue.append(signal)
            return True

    def _give_up(self, signal: Any) -> bool:
        """Leave the queue; False if the permit had already been handed over."""
        with self._mutex:
            try:
                self._queue.remove(signal)
            except ValueError:
                return False
            return True

    def release(self) -> None:
        """Give a permit back: straight to whoever waits longest."""
        with self._mutex:
            while self._queue:
                if self._queue.popleft().fire():  # False: its event loop ended without waking it
                    return
            self._free += 1


class Semaphore(_Permits):
    """Permits for threads."""

    def acquire(self, timeout: float) -> bool:
        """Take a permit, waiting at most `timeout` seconds; False if there was none."""
        if self._take():
            return True
        signal = Signal()
        if not self._enqueue(signal):
            return True
        try:
            fired = signal.wait(timeout)
        except BaseException:  # KeyboardInterrupt
            if not self._give_up(signal):
                self.release()
            raise
        return fired or not self._give_up(signal)


class ASemaphore(_Permits):
    """Permits for tasks of any event loop of this process."""

    async def acquire(self, timeout: float) -> bool:
        """Take a permit, waiting at most `timeout` seconds; False if there was none."""
        if self._take():
            return True
        _end_what_loops_left()
        if self._take():
            return True
        signal = ASignal()
        if not self._enqueue(signal):
            return True
        try:
            fired = await signal.wait(timeout)
        except BaseException:
            if not self._give_up(signal):
                self.release()  # handed over in the instant of the cancellation: pass it on
            raise
        return fired or not self._give_up(signal)


def spawn(name: str, work: Callable[[], None]) -> None:
    """Run `work`, which must not raise, in a daemon thread that carries this context's variables."""
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name=name, daemon=True)
    thread.start()


def aspawn(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work`, which must not raise, in a task that is kept alive until it ends."""
    _ = _kept(work(), name)


def gather(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What `calls` return, one after the other."""
    return [call() for call in calls]


async def agather(calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
    """What `calls` return, side by side; the first error is raised once all have ended."""
    results = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]
