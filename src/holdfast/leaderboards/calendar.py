"""Which period a point in time belongs to: its name in keys, and from when to when it lasts. Pure.

A calendar period begins with the midnight of its first day in the time zone of the board: with the first one
where clocks are put back over it, and where they are put forward over it, when it would have been. So the
periods of a kind follow each other without a hole, whatever people do to their clocks: a day has 23, 24 or 25
hours, and one that a time zone has skipped has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from holdfast._wire.keys import escape_name
from holdfast.errors import ConfigurationError
from holdfast.leaderboards.options import CALENDAR, EPOCH, Period, Season, milliseconds

_DAY = timedelta(days=1)


class Window(NamedTuple):
    """One period. `begins` and `ends`, server milliseconds, are 0 where it has no bounds; `expires`: when its
    keys may go, 0 never. `is_sure`: there is always one of its kind, so a time outside means another one.
    """

    part: str
    begins: int
    ends: int
    expires: int
    is_sure: bool


class Calendar:
    """The periods of a board."""

    def __init__(self, periods: Iterable[Period], tz: tzinfo, keep_ms: int | None) -> None:
        self.periods = {name_of(one): one for one in periods}
        self.default = next(iter(self.periods))
        self._tz = tz
        self._keep = keep_ms

    def around(self, now: int) -> dict[str, Window]:
        """Of each period the one at `now`, server milliseconds; a season whether it runs or not."""
        return {name: self._window(one, now) for name, one in self.periods.items()}

    def named(self, period: Period | None) -> str:
        """The name of `period`; None: the default. Raises: ConfigurationError for one the board has not."""
        if period is None:
            return self.default
        name = name_of(period)
        if name not in self.periods:
            raise ConfigurationError(
                f"period={name!r} is none of this board's, which are {', '.join(self.periods)}; "
                f"name one of them, or add it to periods="
            )
        return name

    def at(self, name: str, when: datetime) -> Window:
        """The period of the kind `name` that holds `when`. Raises: ConfigurationError."""
        self._require_calendar(name, f"at={when!r}")
        moment = milliseconds(when, "at")
        try:
            return self._window(name, moment)
        except (OverflowError, ValueError) as error:
            raise ConfigurationError(f"at={when!r} is beyond the calendar") from error

    def back(self, name: str, window: Window, ago: int) -> Window:
        """The period `ago` periods before `window`. Raises: ConfigurationError."""
        self._require_calendar(name, f"ago={ago!r}")
        if isinstance(ago, bool) or not isinstance(ago, int) or ago < 0:
            raise ConfigurationError(f"ago={ago!r} must be a whole number, 0 for the period that runs")
        try:
            return self._of_day(name, self._days_back(name, self._date(window.begins), ago))
        except (OverflowError, ValueError) as error:
            raise ConfigurationError(f"ago={ago!r} is beyond the calendar") from error

    def season(self, season: Season) -> Window:
        """Also one that the board has no more, or not yet."""
        return self._window(season, 0)

    def _require_calendar(self, name: str, what: str) -> None:
        if name not in CALENDAR:
            raise ConfigurationError(
                f'{what} needs period="day", "week" or "month": there is only one {name!r}'
            )

    def _window(self, period: Period, now: int) -> Window:
        if isinstance(period, Season):
            begins, ends = milliseconds(period.start, "start"), milliseconds(period.end, "end")
            return Window(f":season:{escape_name(period.name)}", begins, ends, self._expires(ends), False)
        if period == "all":
            return Window(":all", 0, 0, 0, False)
        return self._of_day(period, self._date(now))

    def _date(self, now: int) -> date:
        """The day that holds `now`: by the bounds of days, since clocks that are put back near midnight show
        yesterday's date again.
        """
        day = (EPOCH + timedelta(milliseconds=now)).astimezone(self._tz).date()
        while now < self._begin(day):
            day -= _DAY
        while now >= self._begin(day + _DAY):
            day += _DAY
        return day

    def _begin(self, day: date) -> int:
        """Its first moment."""
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._tz)
        return (midnight.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)

    def _of_day(self, kind: str, day: date) -> Window:
        if kind == "day":
            first, label, after = day, day.isoformat(), day + _DAY
        elif kind == "week":
            year, week, weekday = day.isocalendar()
            first = day - (weekday - 1) * _DAY
            label, after = f"{year}-W{week:02}", first + 7 * _DAY
        else:
            first = day.replace(day=1)
            label, after = first.isoformat()[:7], (first + 31 * _DAY).replace(day=1)
        ends = self._begin(after)
        return Window(f":{kind}:{label}", self._begin(first), ends, self._expires(ends), True)

    @staticmethod
    def _days_back(kind: str, first: date, ago: int) -> date:
        if kind == "month":
            months = first.year * 12 + first.month - 1 - ago
            return date(months // 12, months % 12 + 1, 1)
        return first - timedelta(days=ago * (7 if kind == "week" else 1))

    def _expires(self, ends: int) -> int:
        return 0 if self._keep is None else ends + self._keep


def name_of(period: Period) -> str:
    """What a caller calls it. Raises: ConfigurationError for what is no period."""
    if isinstance(period, Season):
        return period.name
    if not isinstance(period, str):
        raise ConfigurationError(f'period={period!r} must be "day", "week", "month", "all" or a Season')
    return period
