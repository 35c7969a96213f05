"""What differs between the twins and is no token: how one walks over messages. Both halves by hand."""

from __future__ import annotations

import math
from typing import Generic, Self, TypeVar

from holdfast.errors import Closed
from holdfast.topics.options import Gap, TopicMessage

T = TypeVar("T")


class AsyncWalk(Generic[T]):
    """Walked over with `async for`; ends when it is closed."""

    async def _next(self, give_up: float) -> TopicMessage[T] | Gap | None:
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TopicMessage[T] | Gap:
        try:
            found = await self._next(math.inf)
        except Closed:
            found = None
        if found is None:
            raise StopAsyncIteration
        return found


class Walk(Generic[T]):
    """Walked over with `for`; ends when it is closed."""

    def _next(self, give_up: float) -> TopicMessage[T] | Gap | None:
        raise NotImplementedError

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TopicMessage[T] | Gap:
        try:
            found = self._next(math.inf)
        except Closed:
            found = None
        if found is None:
            raise StopIteration
        return found
