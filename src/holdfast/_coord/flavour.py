"""What differs between the twins and is no token: which functions each takes. Both halves by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from holdfast._compat import is_async
from holdfast.errors import ConfigurationError

R = TypeVar("R")


class AsyncFlavour:
    """Functions must be `async def`."""

    @staticmethod
    def check(function: Callable[..., Any], what: str) -> None:
        """Raises: ConfigurationError if calling `function` would block the event loop."""
        if not is_async(function):
            raise ConfigurationError(
                f"{what} {_name(function)} must be `async def`; for `def` use Holdfast, not AsyncHoldfast"
            )

    @staticmethod
    def outcome(result: Awaitable[R]) -> Awaitable[R]:
        """What a function returned, to be awaited."""
        return result

    @staticmethod
    def ends(error: BaseException) -> bool:
        """Does `error` mean that this task is to end? Not a CancelledError that came from elsewhere."""
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            return task is not None and task.cancelling() > 0
        return not isinstance(error, Exception)


class Flavour:
    """Functions must be `def`."""

    @staticmethod
    def check(function: Callable[..., Any], what: str) -> None:
        """Raises: ConfigurationError if calling `function` would only make a coroutine."""
        if is_async(function):
            raise ConfigurationError(
                f"{what} {_name(function)} must be `def`; for `async def` use AsyncHoldfast"
            )

    @staticmethod
    def outcome(result: R) -> R:
        """What a function returned. Raises: ConfigurationError if that is a coroutine, which nobody runs."""
        if hasattr(result, "__await__"):
            close = getattr(result, "close", None)
            if callable(close):
                close()  # spares the warning "never awaited"
            raise ConfigurationError("the function returned something to await; use AsyncHoldfast")
        return result

    @staticmethod
    def ends(error: BaseException) -> bool:  # noqa: ARG004 (the twin's)
        """Does `error` mean that this thread is to end? Never: sys.exit() in a function is a mistake."""
        return False


def _name(function: Callable[..., Any]) -> str:
    return cast(str, getattr(function, "__qualname__", None) or repr(function))
