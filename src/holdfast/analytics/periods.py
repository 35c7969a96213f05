"""Days, weeks and months of a calendar, for what is counted once in each of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Literal, NamedTuple, get_args

from holdfast.analytics.buckets import Calendar, Day
from holdfast.errors import ConfigurationError

Period = Literal["day", "week", "month"]

MOST = 4000  # periods in one answer


class Stretch(NamedTuple):
    """A day, week or month: from `start` to `end`, in seconds since 1970."""

    start: int
    end: int


_SAME: Mapping[str, Callable[[int], Any]] = {
    "day": lambda ordinal: ordinal,
    "week": lambda ordinal: (ordinal - 1) // 7,  # from Monday on, as the buckets of a week
    "month": lambda ordinal: date.fromordinal(ordinal).month,
}


def stretches(calendar: Calendar, period: Period, since: float, until: float) -> list[Stretch]:
    """Those that have a part between `since` and `until`, whole ones. Raises: ConfigurationError."""
    if period not in get_args(Period):
        names = ", ".join(f'"{one}"' for one in get_args(Period))
        raise ConfigurationError(f"period={period!r} must be one of {names}")
    same = _SAME[period]
    day = calendar.day(since)
    begun = day.start
    while same((before := calendar.day(begun - 1)).ordinal) == same(day.ordinal):
        begun = before.start
    found: list[Stretch] = []
    while begun < until:
        if len(found) == MOST:
            raise ConfigurationError(
                f"since= to until= holds more than {MOST} {period}s; ask for a shorter time"
            )
        end = _end(calendar, day, same)
        found.append(Stretch(begun, end))
        begun, day = end, calendar.day(end)
    return found


def _end(calendar: Calendar, day: Day, same: Callable[[int], Any]) -> int:
    """Where the period ends in which `day` lies."""
    period, end = same(day.ordinal), day.end
    while same((day := calendar.day(end)).ordinal) == period:
        end = day.end
    return end
