"""What differs between the twins and is no token: which functions each takes. Both halves by hand."""

from __future__ import annotations

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
                f"{what} {_name(function)} must be `async def`; for `def` use Cache, of Holdfast"
            )

    @staticmethod
    def outcome(result: Awaitable[R], loader: Callable[..., Any]) -> Awaitable[R]:
        """What `loader` returned, to be awaited. Raises: ConfigurationError if it cannot be."""
        if not hasattr(result, "__await__"):
            AsyncFlavour.check(loader, "loader")
            raise ConfigurationError(
                f"loader {_name(loader)} returned {type(result).__name__}, nothing to await"
            )
        return result


class Flavour:
    """Functions must be `def`."""

    @staticmethod
    def check(function: Callable[..., Any], what: str) -> None:
        """Raises: ConfigurationError if calling `function` would only make a coroutine."""
        if is_async(function):
            raise ConfigurationError(
                f"{what} {_name(function)} must be `def`; for `async def` use AsyncCache, of AsyncHoldfast"
            )

    @staticmethod
    def outcome(result: R, loader: Callable[..., Any]) -> R:
        """What `loader` returned. Raises: ConfigurationError if that is a coroutine: nobody would run it."""
        if hasattr(result, "__await__"):
            close = getattr(result, "close", None)
            if callable(close):
                close()  # spares the warning "never awaited"
            Flavour.check(loader, "loader")
            raise ConfigurationError(f"loader {_name(loader)} returned something to await; use AsyncCache")
        return result


def _name(function: Callable[..., Any]) -> str:
    return cast(str, getattr(function, "__qualname__", None) or repr(function))
