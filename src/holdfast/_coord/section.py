"""A body that has to stop when a lease is lost: what differs between threads and tasks. Both halves by hand.

In asyncio the body is cancelled, in the manner of `asyncio.timeout`: the cancellation is ours, is taken back
at the end of the body, and is told from one of somebody else's. A thread cannot be stopped: it is told by an
event, and asks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from holdfast._wire.mutex import MUTEX

log = logging.getLogger("holdfast.leases")


class AsyncSection:
    """What one task does under a lease. `tell` and `call` may be used from any thread."""

    __slots__ = ("_before", "_done", "_interrupted", "_loop", "_lost", "_task", "_wanted", "asked")

    def __init__(self) -> None:
        self._lost: asyncio.Event | None = None  # made when somebody looks: few do
        self._wanted: asyncio.Event | None = None
        self.asked = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self._interrupted = self._done = False

    @property
    def lost(self) -> asyncio.Event:
        """Set when the lease is lost."""
        self._lost = event = self._lost or asyncio.Event()
        return event

    @property
    def wanted(self) -> asyncio.Event:
        """Set when somebody wants it back."""
        self._wanted = event = self._wanted or asyncio.Event()
        return event

    @property
    def is_touched(self) -> bool:
        """Has anybody asked, or told? Else it may be used again."""
        return self._lost is not None or self._wanted is not None

    @property
    def is_over(self) -> bool:
        """Was the event loop closed in the middle of the body? Then nobody will ever leave it."""
        return self._loop.is_closed()

    def enter(self) -> None:
        """The body begins, in the running task."""
        self._task = asyncio.current_task()
        assert self._task is not None
        self._before = self._task.cancelling()
        self._done = False
        if self._lost is not None and self._lost.is_set():
            # Soon, not now: a task that cancels itself is cancelled at its next await, perhaps after us.
            self._loop.call_soon(self._stop)

    def leave(self, kind: type[BaseException] | None) -> bool:
        """The body has ended, with an exception of `kind`; True if that was our cancellation."""
        self._done = True
        task, self._task = self._task, None
        if task is None or not self._interrupted:
            return False
        self._interrupted = False
        ours = task.uncancel() <= self._before
        return ours and kind is not None and issubclass(kind, asyncio.CancelledError)

    def tell(self) -> None:
        """The lease is lost."""
        self.call(self._be_lost)

    def ask(self) -> None:
        """Somebody wants it back."""
        self.asked = True
        self.call(self._be_wanted)

    def call(self, callback: Callable[[], object]) -> None:
        """Run `callback` in the body's event loop, soon."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # it has ended, and so has the body
            if not self._loop.is_closed():
                raise

    def _be_wanted(self) -> None:
        self.wanted.set()

    def _be_lost(self) -> None:
        self.lost.set()
        self._stop()

    def _stop(self) -> None:
        if self._task is not None and not self._done and not self._interrupted:
            self._interrupted = True
            self._task.cancel()


class Section:
    """What one thread does under a lease."""

    __slots__ = ("_lost", "_wanted", "asked")

    def __init__(self) -> None:
        self._lost: threading.Event | None = None  # made when somebody looks: few do
        self._wanted: threading.Event | None = None
        self.asked = False

    @property
    def lost(self) -> threading.Event:
        """Set when the lease is lost."""
        if self._lost is None:
            with MUTEX:
                self._lost = self._lost or threading.Event()
        return self._lost

    @property
    def wanted(self) -> threading.Event:
        """Set when somebody wants it back."""
        if self._wanted is None:
            with MUTEX:
                self._wanted = self._wanted or threading.Event()
        return self._wanted

    @property
    def is_touched(self) -> bool:
        """Has anybody asked, or told? Else it may be used again."""
        return self._lost is not None or self._wanted is not None

    @property
    def is_over(self) -> bool:
        """A thread always comes to the end of its body."""
        return False

    def enter(self) -> None:
        """The body begins."""

    def leave(self, kind: type[BaseException] | None) -> bool:  # noqa: ARG002 (the twin's)
        """The body has ended; it was not stopped by us: a thread cannot be."""
        return False

    def tell(self) -> None:
        """The lease is lost."""
        self.lost.set()

    def ask(self) -> None:
        """Somebody wants it back."""
        self.asked = True
        self.wanted.set()

    def call(self, callback: Callable[[], object]) -> None:
        """Run `callback` now, in the thread that renews leases: it must be quick. An error is logged."""
        try:
            callback()
        except Exception:
            log.exception("a callback of a lease raised")
