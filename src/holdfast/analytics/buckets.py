"""Where one bucket of time ends and the next begins. Pure; all times are seconds since 1970.

A day begins at midnight in the zone of the analytics; with a change of the clock it has 23 or 25 hours.

* Steps up to an hour are counted from midnight, so every hour of such a day is a bucket of its own.
* Steps of several hours follow the clock on the wall: "6h" always begins at 0, 6, 12 and 18 o'clock, and one
  of these is an hour shorter or longer on such a day.
* A week begins on Monday.

So each bucket is one stretch of time, each moment lies in exactly one bucket of each resolution, and days
consist of whole buckets.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

HOUR, DAY, WEEK = 3600, 86400, 604800

_EPOCH = date(1970, 1, 1).toordinal()


class Resolution(NamedTuple):
    """Buckets of `step` seconds, each kept for `keeps` seconds after its end."""

    name: str
    step: int
    keeps: int


class Day(NamedTuple):
    """A day of the calendar: from `start` to the next one's, `end`."""

    start: int
    end: int
    ordinal: int


class Calendar:
    """The buckets of some resolutions, the finest first, in one time zone."""

    def __init__(self, resolutions: Sequence[Resolution], zone: tzinfo) -> None:
        self.resolutions = tuple(sorted(resolutions, key=lambda one: one.step))
        self.zone = zone
        self._named = {one.name: one for one in self.resolutions}
        self._is_utc = zone is UTC or str(zone) == "UTC"
        self._midnight = lru_cache(4096)(self._find_midnight)
        self._walls = lru_cache(512)(self._find_walls)

    def named(self, name: str) -> Resolution:
        """The resolution called so. Raises: KeyError."""
        return self._named[name]

    # --- one bucket -----------------------------------------------------------------------------------------

    def start(self, resolution: Resolution, at: float) -> int:
        """Where the bucket begins in which `at` lies."""
        step = resolution.step
        day = self.day(at)
        if step <= HOUR:
            return day.start + int(at - day.start) // step * step
        if step < DAY:
            starts = self._walls(day, step)
            return starts[bisect.bisect_right(starts, at) - 1]
        if step == DAY:
            return day.start
        return self._midnight(day.ordinal - (day.ordinal - 1) % 7)

    def end(self, resolution: Resolution, start: int) -> int:
        """Where the bucket ends that begins at `start`."""
        step = resolution.step
        day = self.day(start)
        if step <= HOUR:
            return min(start + step, day.end)
        if step < DAY:
            starts = self._walls(day, step)
            behind = bisect.bisect_right(starts, start)
            return starts[behind] if behind < len(starts) else day.end
        if step == DAY:
            return day.end
        return self._midnight(day.ordinal - (day.ordinal - 1) % 7 + 7)

    def cell(self, at: float) -> tuple[int, int]:
        """Start and end of the longest stretch of time around `at` within which all resolutions have one
        bucket.
        """
        starts = [self.start(one, at) for one in self.resolutions]
        ends = [self.end(one, start) for one, start in zip(self.resolutions, starts, strict=True)]
        return max(starts), min(ends)

    # --- many -----------------------------------------------------------------------------------------------

    def starts(self, resolution: Resolution, since: float, until: float) -> list[int]:
        """Starts of all buckets that have a part between `since` and `until`."""
        found: list[int] = []
        at = self.start(resolution, since)
        while at < until:
            if resolution.step <= HOUR:
                end = self.day(at).end
                found += range(at, min(end, _whole(until)), resolution.step)
                at = end
            else:
                found.append(at)
                at = self.end(resolution, at)
        return found

    def cover(self, since: float, until: float, now: float) -> list[tuple[Resolution, int]]:
        """The fewest buckets that together hold all of `since` to `until`: coarse ones in the middle, finer
        ones at the edges, as far as these are still kept at `now`. What they hold beyond is less than one
        bucket of the finest that is kept there, at either end. What no resolution keeps is left out.
        """
        found = []
        at = max(since, now - self.resolutions[-1].keeps)  # what is coarser is kept as long at least
        while at < until:
            resolution, start, end = self._longest(at, until, now)
            found.append((resolution, start))
            at = end
        return found

    def _longest(self, at: float, until: float, now: float) -> tuple[Resolution, int, int]:
        """The longest bucket from `at` on within `until`; or the finest one around `at`."""
        for resolution in reversed(self.resolutions):
            start = self.start(resolution, at)
            end = self.end(resolution, start)
            if start == at and end <= until and self.holds(resolution, end, now):
                return resolution, start, end
        around = [(one, self.start(one, at)) for one in self.resolutions]
        ends = [(one, start, self.end(one, start)) for one, start in around]
        return next((one for one in ends if self.holds(one[0], one[2], now)), ends[-1])

    @staticmethod
    def holds(resolution: Resolution, end: float, now: float) -> bool:
        """Is a bucket that ended at `end` still kept at `now`?"""
        return end + resolution.keeps > now

    # --- days -----------------------------------------------------------------------------------------------

    def day(self, at: float) -> Day:
        """The day in which `at` lies."""
        ordinal = int(at // DAY) + _EPOCH
        if self._is_utc:
            start = (ordinal - _EPOCH) * DAY
            return Day(start, start + DAY, ordinal)
        while self._midnight(ordinal) > at:
            ordinal -= 1
        # The last one: where a zone has left out a day, it begins and ends at the same moment.
        while self._midnight(ordinal + 1) <= at:
            ordinal += 1
        return Day(self._midnight(ordinal), self._midnight(ordinal + 1), ordinal)

    def _find_midnight(self, ordinal: int) -> int:
        """The first moment of a day; where the clock skips midnight, that of the change."""
        return int(datetime.combine(date.fromordinal(ordinal), datetime.min.time(), self.zone).timestamp())

    def _find_walls(self, day: Day, step: int) -> list[int]:
        midnight = datetime.combine(date.fromordinal(day.ordinal), datetime.min.time(), self.zone)
        walls = (int((midnight + timedelta(seconds=at)).timestamp()) for at in range(0, DAY, step))
        return sorted({day.start, *(wall for wall in walls if day.start < wall < day.end)})

    def moment(self, at: float) -> datetime:
        """`at` as people of the zone write it."""
        return datetime.fromtimestamp(at, self.zone)


def _whole(at: float) -> int:
    """The first whole second from `at` on."""
    return -int(-at // 1)
