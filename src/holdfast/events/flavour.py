"""What differs between the twins and is no token. Both halves by hand."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, Self, TypeVar

from holdfast.events.effects import ProjectionEffects
from holdfast.events.options import StoredEvent

T = TypeVar("T")

AsyncHandler = Callable[[ProjectionEffects, StoredEvent[Any]], Coroutine[Any, Any, None]]
Handler = Callable[[ProjectionEffects, StoredEvent[Any]], None]


class AsyncIteration(Generic[T]):
    """Iterates with `async for` over what `_next` gives, until that is None."""

    async def _next(self) -> T | None:
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        found = await self._next()
        if found is None:
            raise StopAsyncIteration
        return found


class Iteration(Generic[T]):
    """Iterates with `for` over what `_next` gives, until that is None."""

    def _next(self) -> T | None:
        raise NotImplementedError

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        found = self._next()
        if found is None:
            raise StopIteration
        return found
