# Generated from _sketches_async.py by tools/unasync.py. Do not edit.
"""Sketches: what analytics know besides counters. See uniques.py, actives.py, tops.py, quantiles.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from holdfast._wire._sync import Wire
from holdfast._wire.transport import Command, Reply
from holdfast.analytics import actives, periods, tops, uniques
from holdfast.analytics.actives import Cohort, Retained
from holdfast.analytics.buckets import Calendar
from holdfast.analytics.kinds import Kind, Place
from holdfast.analytics.options import Point
from holdfast.analytics.periods import Period
from holdfast.analytics.quantiles import (
    QUANTILE,
    Distribution,
    Held,
    check_quantiles,
    check_value,
    distribution,
    held,
)
from holdfast.analytics.tops import Top, TopItem
from holdfast.analytics.window import Steps, When, Window
from holdfast.errors import ConfigurationError

Tags = Mapping[str, Any] | None

COMMANDS = 200  # in one pipeline


class Sketches:
    """Uniques, active users, tops and quantiles of the analytics that this is a part of.

    `since`, `until`, `tags` and `at` mean in all methods what they mean in `query` and `count`.
    """

    _wire: Wire
    _calendar: Calendar
    _top: Top

    # --- what is counted ------------------------------------------------------------------------------------

    def unique(
        self, metric: str, member: Any, *, tags: Tags = None, at: datetime | None = None
    ) -> None:
        """Count `member`, once however often it comes; 1 and "1" are two.

        Raises: ConfigurationError, Overloaded, Closed.
        """
        self._record(uniques.UNIQUE, metric, uniques.member(member), 1, tags, at)

    def active(self, metric: str, id: Any, *, tags: Tags = None, at: datetime | None = None) -> None:
        """Note that `id`, an int or a str, was active. Small ints without large gaps take the least memory.

        Raises: ConfigurationError, Overloaded, Closed.
        """
        self._record(actives.ACTIVE, metric, actives.identity(id), 1, tags, at)

    def top(
        self, metric: str, item: str, n: int = 1, *, tags: Tags = None, at: datetime | None = None
    ) -> None:
        """Count `item`, `n` times, to find out which ones are the most frequent.

        Raises: ConfigurationError, Overloaded, Closed.
        """
        self._record(self._top, metric, tops.check_item(item, n), n, tags, at)

    def observe(
        self, metric: str, value: float, n: int = 1, *, tags: Tags = None, at: datetime | None = None
    ) -> None:
        """Take in an observed `value` (a duration, a size, a price), `n` times.

        Raises: ConfigurationError, also for what is not finite; Overloaded, Closed.
        """
        self._record(QUANTILE, metric, check_value(value, n), n, tags, at)

    # --- how many different ones ----------------------------------------------------------------------------

    def uniques(
        self,
        metric: str,
        *,
        since: When,
        until: When | None = None,
        resolution: str | None = None,
        tags: Tags = None,
    ) -> int:
        """How many different members were counted, with an error of 0.81 %.

        `resolution`: look only at buckets of that length; None: at the fewest that cover the period.
        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        window = self._window(uniques.UNIQUE, metric, since, until, resolution, tags)
        return self._members(list(window.keys(uniques.UNIQUE.name)))

    def actives(
        self,
        metric: str,
        *,
        since: When,
        until: When | None = None,
        resolution: str | None = None,
        tags: Tags = None,
    ) -> int:
        """How many different ids were active, exactly. `resolution`: as for `uniques`.

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        window = self._window(actives.ACTIVE, metric, since, until, resolution, tags)
        (count,) = self._ids(window.place, "each", [list(window.keys(actives.ACTIVE.name))])
        return count

    def uniques_by(
        self, metric: str, period: Period, *, since: When, until: When | None = None, tags: Tags = None
    ) -> list[Point]:
        """How many different members each whole "day", "week" (from Monday) or "month" had.

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        window = self._window(uniques.UNIQUE, metric, since, until, None, tags)
        found = self._periods(window, period, uniques.UNIQUE)
        return [Point(start, self._members(keys)) for start, keys in found]

    def actives_by(
        self, metric: str, period: Period, *, since: When, until: When | None = None, tags: Tags = None
    ) -> list[Point]:
        """How many different ids were active in each whole "day", "week" (from Monday) or "month".

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        window = self._window(actives.ACTIVE, metric, since, until, None, tags)
        found = self._periods(window, period, actives.ACTIVE)
        counts = self._ids(window.place, "each", [keys for _, keys in found])
        return [Point(start, count) for (start, _), count in zip(found, counts, strict=True)]

    # --- who came back --------------------------------------------------------------------------------------

    def was_active(
        self, metric: str, id: Any, *, since: When, until: When | None = None, tags: Tags = None
    ) -> bool:
        """Was `id` active in that period?

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        who = actives.identity(id)
        window = self._window(actives.ACTIVE, metric, since, until, None, tags)
        keys, numbers = list(window.keys(actives.ACTIVE.name)), actives.numbers(window.place)
        for at in range(0, len(keys), actives.PAGE):
            page = keys[at : at + actives.PAGE]
            if self._wire.run(actives.LOOK, (numbers, *page), (who,)):
                return True
        return False

    def retained(
        self, metric: str, first: tuple[When, When], then: tuple[When, When], *, tags: Tags = None
    ) -> Retained:
        """Of those who were active from `first[0]` to `first[1]`, how many were so in the period `then`?

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        groups = []
        for name, given in (("first", first), ("then", then)):
            if not isinstance(given, tuple) or len(given) != 2:
                raise ConfigurationError(f"{name}={given!r:.80} must be a period: a tuple of since and until")
            window = self._window(actives.ACTIVE, metric, given[0], given[1], None, tags)
            groups.append(list(window.keys(actives.ACTIVE.name)))
        return Retained(*self._ids(window.place, "both", groups))

    def retention(
        self, metric: str, period: Period, *, since: When, until: When | None = None, tags: Tags = None
    ) -> list[Cohort]:
        """Of those who were active in each whole period, how many were so in each later one?

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        window = self._window(actives.ACTIVE, metric, since, until, None, tags)
        found = self._periods(window, period, actives.ACTIVE)
        cohorts = []
        for place, (start, _) in enumerate(found):
            counts = self._ids(window.place, "both", [keys for _, keys in found[place:]])
            cohorts.append(Cohort(start, counts[0], tuple(counts[1:])))
        return cohorts

    # --- what is frequent, and how values are distributed ---------------------------------------------------

    def top_items(
        self, metric: str, k: int = 10, *, since: When, until: When | None = None, tags: Tags = None
    ) -> list[TopItem]:
        """The `k` most frequent items, the most frequent first; of each, how often it came, and by how much
        that may be too high.

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ConfigurationError(f"k={k!r} must be a whole number of items, at least 1")
        window = self._window(self._top, metric, since, until, None, tags)
        keys = [one for key in window.keys(self._top.name) for one in (key, key + tops.ERRORS)]
        cells = []
        step = 2 * self._top.page
        for at in range(0, len(keys), step):
            page = self._wire.run(tops.READ, keys[at : at + step])
            cells += [tops.kept(one) for one in page]
        return tops.ranked(cells, k)

    def quantiles(
        self,
        metric: str,
        quantiles: Sequence[float] = (0.5, 0.9, 0.99),
        *,
        since: When,
        until: When | None = None,
        tags: Tags = None,
    ) -> Distribution:
        """How the observed values are distributed: the `quantiles` within 1 %, and count, total, lowest,
        highest and mean.

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        asked = check_quantiles(quantiles)
        window = self._window(QUANTILE, metric, since, until, None, tags)
        return distribution(self._held(window.keys(QUANTILE.name)), asked)

    # --- reading --------------------------------------------------------------------------------------------

    def _read_series(self, kind: str, steps: Steps) -> list[float]:
        """What `query` shows of a metric of that kind: one figure for each bucket."""
        if not steps.series:
            return [0.0] * len(steps.starts)
        groups = [steps.keys(kind, start) for start in steps.starts]
        if kind == actives.ACTIVE.name:
            return list(self._ids(steps.place, "each", groups))
        if kind == uniques.UNIQUE.name:
            return [int(count) for count in self._many([("PFCOUNT", *keys) for keys in groups])]
        if kind == QUANTILE.name:
            return [sum((self._held(keys)).steps.values()) for keys in groups]
        raise ConfigurationError("a top has no figure for each bucket; ask for top_items(metric, since=...)")

    def _periods(self, window: Window, period: Period, kind: Kind) -> list[tuple[datetime, list[str]]]:
        """Each whole period of the window, and the keys that cover it."""
        found = []
        for start, end in periods.stretches(self._calendar, period, window.since, window.until):
            cover = self._calendar.cover(start, end, window.now)
            part = window._replace(buckets=[(resolution.name, at) for resolution, at in cover])
            found.append((self._calendar.moment(start), list(part.keys(kind.name))))
        return found

    def _members(self, keys: Sequence[str]) -> int:
        return int(self._wire.execute("PFCOUNT", *keys, retry="safe")) if keys else 0

    def _ids(self, place: Place, mode: str, groups: Sequence[Sequence[str]]) -> list[int]:
        """How many ids are in each group of cells; "both": and in the first one, too."""
        distinct = list(dict.fromkeys(key for keys in groups for key in keys))
        replies = self._many([("SMEMBERS", key) for key in distinct])
        chunks = {key: {int(chunk) for chunk in reply} for key, reply in zip(distinct, replies, strict=True)}
        within = [sorted(set().union(*(chunks[key] for key in keys))) for keys in groups]
        counts: dict[tuple[int, ...], list[int]] = {}
        for share, keys, args in actives.questions(place, mode, groups, within):
            found = self._wire.run(actives.COUNT, keys, args)
            before = counts.get(share) or [0] * len(share)
            counts[share] = [one + more for one, more in zip(before, found, strict=True)]
        result = [0] * len(groups)
        for share, found in counts.items():
            for number, count in zip(share, found, strict=True):
                result[number] = count
        return result

    def _held(self, keys: Iterable[str]) -> Held:
        return held(self._many([("HGETALL", key) for key in keys]))

    def _many(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to questions of any number."""
        replies: list[Reply] = []
        for at in range(0, len(commands), COMMANDS):
            replies += self._wire.execute_many(commands[at : at + COMMANDS], retry="safe")
        return replies

    # --- what the whole has to offer ------------------------------------------------------------------------

    def _record(
        self, kind: Kind, metric: str, item: Any, n: int, tags: Tags, at: datetime | None
    ) -> None:
        raise NotImplementedError

    def _window(
        self,
        kind: Kind,
        metric: str,
        since: When,
        until: When | None,
        resolution: str | None,
        tags: Tags,
    ) -> Window:
        raise NotImplementedError
