"""Whether what the near cache holds may be handed out as it is. Pure.

A value that two callers share must not be changed by either. What cannot be changed is shared; of anything
else each caller gets one of his own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

_FIXED = (
    str,
    int,
    float,
    complex,
    bool,
    bytes,
    type(None),
    Enum,
    UUID,
    Decimal,
    date,
    time,
    timedelta,
    timezone,
)


def cannot_change(value: object) -> bool:
    """Is `value` one that nobody can change, down to its last part?"""
    if isinstance(value, _FIXED):
        return True
    if isinstance(value, tuple | frozenset):
        return all(map(cannot_change, value))
    config = getattr(type(value), "__struct_config__", None)  # a msgspec.Struct
    if config is not None:
        return bool(config.frozen) and all(
            cannot_change(getattr(value, name))
            for name in type(value).__struct_fields__  # type: ignore[attr-defined]
        )
    parameters = getattr(type(value), "__dataclass_params__", None)
    if is_dataclass(value) and parameters is not None and parameters.frozen:
        return all(cannot_change(getattr(value, field.name)) for field in fields(value))
    return False


def opener(isolation: str, value: Any, decode: Callable[[], Any]) -> Callable[[], Any] | None:
    """How to make each caller's own of `value`, which `decode` makes from its bytes; None: share it."""
    if isolation == "share" or (isolation == "auto" and cannot_change(value)):
        return None
    if isolation == "copy":
        own = copy.deepcopy(value)  # somebody has `value` already, and may change it
        return lambda: copy.deepcopy(own)
    return decode
