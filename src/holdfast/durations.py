"""Durations as people write them: 0.5, timedelta, "150ms", "10m", "7d" -> seconds. Pure."""

from __future__ import annotations

import functools
import re
from datetime import timedelta
from math import isfinite

from holdfast.errors import ConfigurationError

Duration = float | int | str | timedelta

LONGEST = (
    100 * 365.25 * 86400.0
)  # seconds; beyond it, sums of milliseconds no longer fit the server's integers
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)\s*")


def seconds(value: Duration, name: str = "duration", *, zero: bool = False) -> float:
    """Seconds in `value`: a number of seconds, a timedelta, or text such as "150ms", "10m", "1h30m", "7d".

    Raises: ConfigurationError, naming `name` and the value, for anything else, for a negative or infinite
    duration, and for zero unless `zero` allows it.
    """
    result = _parse(value, name)
    if not isfinite(result) or result < 0 or (result == 0 and not zero) or result > LONGEST:
        least = "at least 0" if zero else "more than 0"
        raise ConfigurationError(f"{name}={value!r}: a duration must be {least} and at most 100 years")
    return result


def optional_seconds(value: Duration | None, name: str = "duration", *, zero: bool = False) -> float | None:
    """As `seconds`, but None stays None (for ever, or not set)."""
    return None if value is None else seconds(value, name, zero=zero)


def _parse(value: Duration, name: str) -> float:
    if isinstance(value, bool):
        pass
    elif isinstance(value, timedelta):
        return value.total_seconds()
    elif isinstance(value, int | float):
        return float(value)
    elif isinstance(value, str):
        total = _read(value)
        if total is not None:
            return total
    raise ConfigurationError(
        f'{name}={value!r} is no duration; write seconds (2.5), a timedelta, or text such as "150ms", "10m"'
    )


@functools.lru_cache(1024)
def _read(text: str) -> float | None:
    """Seconds in `text`; None if it is no duration."""
    total, at = 0.0, 0
    while found := _PART.match(text, at):
        total += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    return total if at and at == len(text) else None
