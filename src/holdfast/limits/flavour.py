"""The functions that can be limited, of both flavours. By hand."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

AsyncFunction = Callable[P, Coroutine[Any, Any, R]]
Function = Callable[P, R]
