"""What differs between the twins and is no token: which functions each takes, and work in the background.

Both halves by hand.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from holdfast._compat import is_async
from holdfast.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")

AsyncFunction = Callable[P, Coroutine[Any, Any, R]]
Function = Callable[P, R]


class AsyncFlavour:
    """Functions must be `async def`."""

    @staticmethod
    def check(function: Callable[..., Any], what: str) -> None:
        """Raises: ConfigurationError if calling `function` would block the event loop."""
        if not is_async(function):
            raise ConfigurationError(
                f"{what} {_name(function)} must be `async def`; for `def` use Operations, of Holdfast"
            )

    @staticmethod
    def outcome(result: Awaitable[R]) -> Awaitable[R]:
        """What a function returned, to be awaited."""
        return result


class Flavour:
    """Functions must be `def`."""

    @staticmethod
    def check(function: Callable[..., Any], what: str) -> None:
        """Raises: ConfigurationError if calling `function` would only make a coroutine."""
        if is_async(function):
            raise ConfigurationError(
                f"{what} {_name(function)} must be `def`; for `async def` use AsyncOperations, of "
                f"AsyncHoldfast"
            )

    @staticmethod
    def outcome(result: R) -> R:
        """What a function returned. Raises: ConfigurationError if that is a coroutine, which nobody runs."""
        if hasattr(result, "__await__"):
            close = getattr(result, "close", None)
            if callable(close):
                close()  # spares the warning "never awaited"
            raise ConfigurationError("the function returned something to await; use AsyncOperations")
        return result


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


def _name(function: Callable[..., Any]) -> str:
    return cast(str, getattr(function, "__qualname__", None) or repr(function))
