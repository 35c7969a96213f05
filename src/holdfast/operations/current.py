"""The operation in which the running code is, for functions that take no argument for it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

CURRENT: ContextVar[Any] = ContextVar("holdfast_operation", default=None)


def current_operation() -> Any:
    """The operation (an AsyncOperation or an Operation) of the idempotent function that is running, or None.

    For its `checkpoints`, `attempt` and `fence`: a function that is run again after a crash can go on where
    it was.
    """
    return CURRENT.get()
