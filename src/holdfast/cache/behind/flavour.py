"""What differs between the twins and is no token: work in the background. Both halves by hand."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")

LAST_WORDS = 1.0  # seconds that a cancelled call of the source may take to clean up


class AsyncBackground:
    """Work in a task of the event loop in which it was started."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._loop = asyncio.get_running_loop()
        # In a context of its own: the writer outlives the request that happened to come first.
        self._task = self._loop.create_task(work(), name=name, context=contextvars.Context())

    @property
    def alive(self) -> bool:
        """Does it go on? Not where its event loop stands still: it may never run again."""
        return not self._task.done() and self._loop.is_running()

    def cancel(self) -> None:
        """Stop it in the middle, from any thread."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._task.cancel)

    @staticmethod
    def possible() -> bool:
        """Is there an event loop to start it in?"""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    @staticmethod
    async def within(left: Callable[[], float], call: Awaitable[R]) -> R:
        """What `call` comes to; it is cancelled when no seconds are `left`. Raises: TimeoutError."""

        async def waited_for() -> R:
            return await call

        task = asyncio.ensure_future(waited_for())
        task.add_done_callback(lambda over: over.cancelled() or over.exception())  # nobody else may look
        try:
            while not task.done():
                if (patience := left()) <= 0:
                    task.cancel()
                    await asyncio.wait([task], timeout=LAST_WORDS)
                    raise TimeoutError("the lease of the partition has ended in the middle of a call")
                await asyncio.wait([task], timeout=patience)
            return task.result()
        finally:
            task.cancel()


class Background:
    """Work in a daemon thread."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(
            target=contextvars.Context().run, args=(work,), name=name, daemon=True
        )
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Does it go on? Not in the child of a fork."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """A thread cannot be stopped."""

    @staticmethod
    def possible() -> bool:
        """A thread can always be started."""
        return True

    @staticmethod
    def within(left: Callable[[], float], call: R) -> R:  # noqa: ARG004 (its twin needs it)
        """What `call` came to: a thread has made it already, however long that took."""
        return call
