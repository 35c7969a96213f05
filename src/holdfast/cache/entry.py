"""What a cache hands out: Entry, MISSING, and the shapes of loaders and functions. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Missing(Enum):
    """The type of MISSING, for annotations: `User | Missing`."""

    MISSING = "missing"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "MISSING"

    __str__ = __repr__


MISSING: Final = Missing.MISSING
"""There is nothing here. Not None, which is a value."""


class Entry(NamedTuple):
    """What `peek` found. Times are seconds on the server's clock.

    `age` counts from the moment before the value was loaded; `ttl` is what is left of its life; `stale` says
    that it was softly expired and waits to be loaded again; `layer` is where it was found; `version` is the
    user's, or None. `value` is MISSING where the entry says that the source has nothing.
    """

    value: Any
    age: float
    ttl: float
    stale: bool
    layer: str
    version: int | None


AsyncManyLoader = Callable[[list[Any]], Awaitable[Mapping[Any, Any]]]
ManyLoader = Callable[[list[Any]], Mapping[Any, Any]]
AsyncLoader = Callable[[], Awaitable[R]]
Loader = Callable[[], R]
AsyncFunction = Callable[P, Coroutine[Any, Any, R]]
Function = Callable[P, R]
