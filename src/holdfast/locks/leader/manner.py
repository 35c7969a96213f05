"""What differs between the twins and is no token: which functions lead, and how one iterates. By hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast._compat import is_async
from holdfast.errors import ConfigurationError
from holdfast.locks.holder import Holder

T = TypeVar("T")

AsyncWork = Callable[[Any], Awaitable[T]]
Work = Callable[[Any], T]


class Ended:
    """Stands where the next change would: there is none any more."""


class AsyncManner:
    """Of asyncio."""

    @staticmethod
    def check(function: Callable[..., Any], what: str) -> None:
        """Raises: ConfigurationError if `function` would block the event loop."""
        if not is_async(function):
            raise ConfigurationError(f"{what}: run() takes an `async def`; for `def` use Holdfast")


class Manner:
    """Of threads."""

    @staticmethod
    def check(function: Callable[..., Any], what: str) -> None:
        """Raises: ConfigurationError if calling `function` would do nothing."""
        if not callable(function) or is_async(function):
            raise ConfigurationError(f"{what}: run() takes a `def`; for `async def` use AsyncHoldfast")


class AsyncIterating:
    """`async for` over what `_next` gives, and `async with`, which closes it."""

    async def _next(self) -> Holder | Ended | None:
        raise NotImplementedError

    def close(self) -> None:
        """End it."""
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Holder | None:
        found = await self._next()
        if isinstance(found, Ended):
            raise StopAsyncIteration
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Iterating:
    """`for` over what `_next` gives, and `with`, which closes it."""

    def _next(self) -> Holder | Ended | None:
        raise NotImplementedError

    def close(self) -> None:
        """End it."""
        raise NotImplementedError

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Holder | None:
        found = self._next()
        if isinstance(found, Ended):
            raise StopIteration
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
