"""Sketches whose clock is an argument: what is recorded goes straight to a server, at any time of any day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from holdfast import Holdfast
from holdfast.analytics._sketches_sync import Sketches
from holdfast.analytics.buckets import Calendar, Resolution
from holdfast.analytics.kinds import ALL, Call, Cell, Kind
from holdfast.analytics.layout import Layout, matches, series_of, wanted
from holdfast.analytics.options import AnalyticsOptions
from holdfast.analytics.tops import CAPACITY, Top
from holdfast.analytics.window import Steps, When, Window

HOUR, DAY = 3600.0, 86400.0
DEFAULT = AnalyticsOptions().calendar().resolutions


class Sketchbook(Sketches):
    """The sketches of one client. `until` None is now, and now is `now`."""

    def __init__(
        self,
        hf: Holdfast,
        zone: tzinfo = UTC,
        *,
        now: float = 0.0,
        capacity: int = CAPACITY,
        resolutions: Iterable[Resolution] = DEFAULT,
        client: str = "me",
        name: str = "sketches",
    ) -> None:
        self._wire = hf._wire
        self._calendar = Calendar(tuple(resolutions), zone)
        self._top = Top(capacity)
        self._layout = Layout(hf._wire.keys, name)
        self._client = client
        self._gathered: dict[tuple[str, str], tuple[Kind, dict[tuple[str, int], Any]]] = {}
        self._seen: dict[str, set[str]] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self.now = now
        self.sent: list[Call] = []

    def _record(
        self, kind: Kind, metric: str, item: Any, n: int, tags: Mapping[str, Any] | None, at: datetime | None
    ) -> None:
        moment = at.timestamp() if at is not None else self.now
        series = series_of(tuple(tags.items())) if tags else ALL
        held = self._gathered.setdefault((metric, kind.name), (kind, {}))[1]
        for one in {series, ALL}:
            where = one, self._calendar.cell(moment)[0]
            kind.add(held.setdefault(where, kind.fresh()), item, n)
            self._seen.setdefault(metric, set()).add(one)

    def calls(self) -> list[Call]:
        """What a flush would send, the oldest first; it is forgotten here."""
        made: list[Call] = []
        for (metric, name), (kind, held) in self._gathered.items():
            cells = [
                (Cell(series, one.name, start, self._ttl(one, start)), aggregate)
                for (series, at), aggregate in held.items()
                for one in self._calendar.resolutions
                for start in [self._calendar.start(one, at)]
            ]

            def request(key: tuple[str, str] = (metric, name)) -> int:
                self._numbers[key] = self._numbers.get(key, 0) + 1
                return self._numbers[key]

            made += kind.calls(self._layout.place(metric, self._client), cells, request)
        self._gathered = {}
        return made

    def _ttl(self, resolution: Resolution, start: int) -> int:
        return max(60, int(self._calendar.end(resolution, start) + resolution.keeps - self.now)) * 1000

    def flush(self, times: int = 1) -> None:
        """Write what was recorded, each call `times`."""
        for call in self.calls():
            for _ in range(times):
                self._wire.run(call.script, call.keys, call.args)
            self.sent.append(call)

    def _moment(self, when: When | None) -> float:
        if isinstance(when, datetime):
            return when.timestamp()
        assert when is None, "these tests know only points in time"
        return self.now

    def _window(
        self,
        kind: Kind,
        metric: str,
        since: When,
        until: When | None,
        resolution: str | None,
        tags: Mapping[str, Any] | None,
    ) -> Window:
        self.flush()
        begin, end = self._moment(since), self._moment(until)
        if resolution is None:
            buckets = [(one.name, start) for one, start in self._calendar.cover(begin, end, self.now)]
        else:
            one = self._calendar.named(resolution)
            buckets = [(resolution, start) for start in self._calendar.starts(one, begin, end)]
        place = self._layout.place(metric, self._client)
        return Window(place, self._series(metric, tags), buckets, self.now, begin, end)

    def _series(self, metric: str, tags: Mapping[str, Any] | None) -> list[str]:
        if not tags:
            return [ALL]
        return sorted(one for one in self._seen.get(metric, ()) if matches(one, wanted(tags)))

    def series(
        self, kind: str, metric: str, resolution: str, since: datetime, until: datetime, **tags: Any
    ) -> list[float]:
        """What `query` would show."""
        self.flush()
        starts = self._calendar.starts(self._calendar.named(resolution), since.timestamp(), until.timestamp())
        place = self._layout.place(metric, self._client)
        return self._read_series(kind, Steps(place, self._series(metric, tags), resolution, starts))

    def at(self, moment: float) -> datetime:
        """A point in time."""
        return datetime.fromtimestamp(moment, UTC)
