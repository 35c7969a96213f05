"""When a day, a week, a month or a year of the calendar begins and ends. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from holdfast.limits.options import Calendar


def period(name: Calendar, tz: str, micros: int) -> tuple[int, int]:
    """The first microsecond of the period `name` in the zone `tz` in which `micros` is, and the one behind
    its last. Weeks begin on Monday. Where the clocks are changed, a day has 23 or 25 hours.
    """
    zone = ZoneInfo(tz)
    now = datetime.fromtimestamp(micros // 1_000_000, UTC).astimezone(zone)
    first = datetime(now.year, now.month, now.day)  # noqa: DTZ001 (the zone comes in `_micros`)
    if name == "week":
        first -= timedelta(days=first.weekday())
    elif name == "month":
        first = first.replace(day=1)
    elif name == "year":
        first = first.replace(month=1, day=1)
    begin, end = _micros(first, zone), _micros(_following(name, first), zone)
    while micros >= end:  # an hour that comes twice around midnight
        first = _following(name, first)
        begin, end = end, _micros(_following(name, first), zone)
    return begin, end


def _following(name: Calendar, first: datetime) -> datetime:
    if name == "day":
        return first + timedelta(days=1)
    if name == "week":
        return first + timedelta(days=7)
    if name == "month":
        return (first + timedelta(days=32)).replace(day=1)
    return first.replace(year=first.year + 1)


def _micros(local: datetime, zone: ZoneInfo) -> int:
    return int(local.replace(tzinfo=zone).timestamp()) * 1_000_000
