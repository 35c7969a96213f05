"""Work in the background, of both flavours. Both halves by hand."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class AsyncBackground:
    """Work in a task of the running event loop, with a context of its own."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Raises: RuntimeError if no event loop is running."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(work(), name=name, context=contextvars.Context())

    @property
    def alive(self) -> bool:
        """Does it go on?"""
        return not self._task.done() and not self._loop.is_closed()

    def cancel(self) -> None:
        """Stop it in the middle, from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)


class Background:
    """Work in a daemon thread, with a context of its own."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        context = contextvars.Context()
        self._thread = threading.Thread(target=context.run, args=(work,), name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Does it go on? Not in the child of a fork."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """A thread cannot be stopped."""
