# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncQueries: what analytics answer. A query first has what this process gathered written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

from holdfast._wire._async import AsyncWire
from holdfast._wire.reply import text
from holdfast._wire.transport import Command, Reply
from holdfast.analytics import counters, layout, rules
from holdfast.analytics._flusher_async import AsyncFlusher
from holdfast.analytics._sketches_async import AsyncSketches
from holdfast.analytics.actives import ACTIVE
from holdfast.analytics.buckets import Calendar
from holdfast.analytics.counters import COUNTER
from holdfast.analytics.kinds import Kind
from holdfast.analytics.layout import ALL, Layout
from holdfast.analytics.options import AnalyticsOptions, Comparison, MetricInfo, Point
from holdfast.analytics.pending import Pending
from holdfast.analytics.quantiles import QUANTILE
from holdfast.analytics.uniques import UNIQUE
from holdfast.analytics.window import Steps, When, Window

Tags = Mapping[str, str | int]

_SPECIAL = re.compile(r"[\\*?\[\]^]")


class AsyncQueries(AsyncSketches):
    """See the file's docstring."""

    name: str
    options: AnalyticsOptions
    _wire: AsyncWire
    _layout: Layout
    _calendar: Calendar
    _pending: Pending
    _flusher: AsyncFlusher

    # --- series of points -----------------------------------------------------------------------------------

    @overload
    async def query(
        self,
        metric: str,
        resolution: str | None = None,
        *,
        since: When,
        until: When | None = None,
        tags: Tags | None = None,
        by: None = None,
        rate: bool = False,
    ) -> list[Point]: ...

    @overload
    async def query(
        self,
        metric: str,
        resolution: str | None = None,
        *,
        since: When,
        until: When | None = None,
        tags: Tags | None = None,
        by: str | Sequence[str],
        rate: bool = False,
    ) -> dict[Any, list[Point]]: ...

    async def query(
        self,
        metric: str,
        resolution: str | None = None,
        *,
        since: When,
        until: When | None = None,
        tags: Tags | None = None,
        by: str | Sequence[str] | None = None,
        rate: bool = False,
    ) -> list[Point] | dict[Any, list[Point]]:
        """The metric over time: a point for each bucket, also where it holds nothing.

        `resolution`: None is the finest that is kept since then. `since`, `until`: points in time, or how
        long ago ("7d"); the first bucket is the one that holds `since`, the last one ends at or after `until`
        (None: now). `tags`: only what has all of these. `by`: a series for each value of this tag, or for
        each tuple of values of several; None where other tags were given, but not this one; "(other)" is what
        was one series too many. What was counted without any tags is in none of them. `rate`: values per
        second; in the bucket that has not ended, per second that is over.
        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        kind = await self._kind_of(metric)
        names = () if by is None else layout.names(by)
        now, steps = await self._steps(kind, metric, resolution, since, until, tags, every=by is not None)
        if by is None:
            return self._points(steps, await self._values(kind, steps), now if rate else None)
        groups = rules.grouped(steps.series, lambda one: layout.group(one, names))
        return {
            key: self._points(
                steps, await self._values(kind, steps._replace(series=series)), now if rate else None
            )
            for key, series in groups.items()
        }

    async def records(
        self,
        metric: str,
        resolution: str | None = None,
        *,
        since: When,
        until: When | None = None,
        tags: Tags | None = None,
        by: str | Sequence[str] | None = None,
        rate: bool = False,
    ) -> list[dict[str, Any]]:
        """As `query`, as rows for pandas.DataFrame(...): `start`, `value`, and a column for each tag in `by`.

        Raises: as `query`.
        """
        if by is None:
            return rules.rows(
                await self.query(metric, resolution, since=since, until=until, tags=tags, rate=rate), ()
            )
        names = rules.columns(layout.names(by))
        found = await self.query(metric, resolution, since=since, until=until, tags=tags, by=by, rate=rate)
        return rules.rows(found, names)

    async def total(
        self, metric: str, *, since: When, until: When | None = None, tags: Tags | None = None
    ) -> int:
        """How often something was counted in a period; at its edges whole buckets of the finest resolution
        that is still kept. Raises: as `query`.
        """
        window = await self._window(COUNTER, metric, since, until, None, tags)
        return await self._sum(window)

    async def compare(
        self, metric: str, *, since: When, until: When | None = None, tags: Tags | None = None
    ) -> Comparison:
        """The total of a period, and of the one of equal length before it. Raises: as `query`."""
        now, _ = await self._look(COUNTER, metric, every=False)
        first, last = self._span(since, until, now)
        times = [self._calendar.moment(one) for one in (2 * first - last, first, last)]
        previous = await self.total(metric, since=times[0], until=times[1], tags=tags)
        current = await self.total(metric, since=times[1], until=times[2], tags=tags)
        return Comparison(current, previous, (current - previous) / previous if previous else None)

    # --- metrics --------------------------------------------------------------------------------------------

    async def metrics(self) -> list[MetricInfo]:
        """All metrics that were written within the longest time that anything is kept.

        Raises: Unavailable, Refused, Closed.
        """
        await self._written()
        oldest = int((self._flusher.now() - self._flusher.keep) * 1000)
        index = self._layout.index
        await self._wire.execute("ZREMRANGEBYSCORE", index, "-inf", f"({oldest}", retry="safe")
        read: dict[str, dict[str, float]] = {}
        for member, score in _scored(await self._wire.execute("ZRANGE", index, 0, -1, "WITHSCORES")):
            metric, _, kind = text(member).partition("\0")
            read.setdefault(metric, {})[kind] = float(score) / 1000
        found = dict(sorted(read.items()))
        questions: list[Command] = [
            ("ZCARD", self._flusher.place(metric).own(kind, "series"))
            for metric, kinds in found.items()
            for kind in kinds
        ]
        series = iter(await self._ask(questions))
        return [
            MetricInfo(
                metric,
                tuple(sorted(kinds)),
                max(int(next(series)) for _ in kinds),
                self._calendar.moment(max(kinds.values())),
            )
            for metric, kinds in found.items()
        ]

    async def drop(self, metric: str) -> int:
        """Delete everything that is known of a metric; how many keys that were. Walks over all keys of the
        server, so it takes its time. What is counted meanwhile may stay.

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        layout.check_metric(metric)
        await self._written()
        pattern = _SPECIAL.sub(lambda found: f"\\{found[0]}", self._flusher.place(metric).base) + ":*"
        cursor: Any = 0
        gone = 0
        while True:
            cursor, keys = await self._wire.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if keys:
                gone += int(await self._wire.execute("UNLINK", *keys, retry="safe"))
            if text(cursor) == "0":
                break
        members = [f"{metric}\0{kind}" for kind in self._kinds()]
        await self._wire.execute("ZREM", self._layout.index, *members, retry="safe")
        self._flusher.forget(metric)
        return gone

    # --- what the kinds build on ----------------------------------------------------------------------------

    async def _steps(
        self,
        kind: Kind,
        metric: str,
        resolution: str | None,
        since: When,
        until: When | None,
        tags: Tags | None,
        *,
        every: bool,
    ) -> tuple[float, Steps]:
        """What time it is, the buckets of one resolution, and the series that are asked for; `every`: each
        one, and not their total.
        """
        now, series = await self._look(kind, metric, every=every or bool(tags), tags=tags)
        first, last = self._span(since, until, now)
        chosen = rules.resolution(self._calendar, resolution, first, last, now)
        starts = self._calendar.starts(chosen, first, last)
        return now, Steps(self._flusher.place(metric), series, chosen.name, starts)

    async def _window(
        self,
        kind: Kind,
        metric: str,
        since: When,
        until: When | None,
        resolution: str | None,
        tags: Tags | None,
    ) -> Window:
        """The buckets that together hold a period, and the series that are asked for."""
        now, series = await self._look(kind, metric, every=bool(tags), tags=tags)
        first, last = self._span(since, until, now)
        if resolution is None:
            cover = [
                (one.name, start)
                for one, start in self._calendar.cover(first, min(last, now + rules.AHEAD), now)
            ]
        else:
            chosen = rules.resolution(self._calendar, resolution, first, last, now)
            cover = [(chosen.name, start) for start in self._calendar.starts(chosen, first, last)]
        return Window(self._flusher.place(metric), series, cover, now, first, last)

    async def _look(
        self, kind: Kind, metric: str, *, every: bool, tags: Tags | None = None
    ) -> tuple[float, list[str]]:
        """What time it is, and the series that match `tags`; without `every` that of all events."""
        layout.check_metric(metric)
        parts = layout.wanted(tags)
        await self._written()
        key = self._flusher.place(metric).own(kind.name, "series")
        whole, micros, known = await self._wire.run(rules.LOOK, (key,), (int(every),))
        series = [one for one in map(text, known) if layout.matches(one, parts)] if every else [ALL]
        return whole + micros / 1e6, series

    async def _kind_of(self, metric: str) -> Kind:
        """What kind of figures there are of a metric; a counter, if nobody knows it."""
        layout.check_metric(metric)
        await self._written()
        known = self._flusher.kind_of(metric)
        if known is not None:
            return known
        kinds = self._kinds()
        members = [f"{metric}\0{name}" for name in kinds]
        scores = await self._wire.execute("ZMSCORE", self._layout.index, *members)
        return next((kinds[one] for one, score in zip(kinds, scores, strict=True) if score), COUNTER)

    def _kinds(self) -> dict[str, Kind]:
        """The kinds by their names."""
        every: tuple[Kind, ...] = (COUNTER, UNIQUE, ACTIVE, self._top, QUANTILE)
        return {one.name: one for one in every}

    async def _written(self) -> None:
        """Have everything written that this process has gathered."""
        if self._pending.size:
            await self._flusher.flush()

    def _span(self, since: When, until: When | None, now: float) -> tuple[float, float]:
        first = rules.before(since, "since", now)
        last = now if until is None else rules.before(until, "until", now)
        rules.check_span(first, last)
        return first, last

    def _points(self, steps: Steps, values: Sequence[float], now: float | None) -> list[Point]:
        told = values if now is None else rules.per_second(self._calendar, steps, values, now)
        return [Point(self._calendar.moment(at), value) for at, value in zip(steps.starts, told, strict=True)]

    async def _values(self, kind: Kind, steps: Steps) -> Sequence[float]:
        """What each bucket holds."""
        if kind is not COUNTER:
            return await self._read_series(kind.name, steps)
        questions = counters.questions(steps.place, steps.resolution, steps.starts, steps.series)
        counts = counters.answers(await self._ask(questions), steps.resolution, steps.starts)
        return [counts.get(start, 0) for start in steps.starts]

    async def _sum(self, window: Window) -> int:
        total = 0
        chosen: dict[str, list[int]] = {}
        for name, start in window.buckets:
            chosen.setdefault(name, []).append(start)
        for name, starts in chosen.items():
            questions = counters.questions(window.place, name, starts, window.series)
            counts = counters.answers(await self._ask(questions), name, starts)
            total += sum(counts.get(start, 0) for start in starts)
        return total

    async def _ask(self, questions: Sequence[Command]) -> list[Reply]:
        """The replies to many reads, in pages."""
        replies: list[Reply] = []
        for at in range(0, len(questions), rules.PAGE):
            replies += await self._wire.execute_many(questions[at : at + rules.PAGE], retry="safe")
        return replies


def _scored(reply: Any) -> Iterable[tuple[Any, Any]]:
    """Members and scores, whichever protocol made the reply."""
    if reply and isinstance(reply[0], list | tuple):
        return [(one[0], one[1]) for one in reply]
    return zip(reply[::2], reply[1::2], strict=True)
