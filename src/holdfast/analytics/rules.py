"""What analytics are: figures of what happens, in buckets of time, at several resolutions.

Promised:

* `count` and its sisters touch only the memory of this process. Every `flush` (half a second) what was
  gathered is written in the background: one call of a script for each metric, all of them sent together.
* Each event is in the bucket of each resolution that its time lies in, by the server's clock; with `at=` by
  that, in every resolution that still holds its bucket. A clock of this machine that is wrong does no harm.
* A call whose reply was lost is sent again, and the server recognises it by its number, so nothing is counted
  twice. It does so for six hours; a call that is in doubt for longer is given up, and that is told.
* While the server is away, events are kept and written later, up to `max_pending` entries (what comes again
  in the same bucket takes no more room); then as `on_full` says. `close` writes what is there.
* The totals of a metric hold all its events, whatever their tags. Beyond `max_series` combinations of tags
  the rest is one series, "(other)", and that is told once.
* Buckets go by themselves, not before `resolutions` says; an old one may be seen for a while longer.
* The child of a fork begins with nothing; what was gathered before the fork its parent writes, once.

Not promised:

* That anything survives a process which is killed before its flush, or ends without `close`: it loses what it
  gathered since the last one. Nor what the server confirmed and lost again in a failover, or evicted: each
  bucket has a time to live, so a server without `noeviction` may take it away.
* That an event in the last moments of a bucket is not seen in the next one: the server's clock is measured to
  within half a round trip; what comes before it was measured first, is placed to within a second.
* That `max_series` is kept to exactly where combinations of tags come for the first time in many processes at
  once, and fall out of use again: they are known for as long as the longest resolution is kept.
* The order of events, or who they were of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.analytics.buckets import Calendar, Resolution
from holdfast.analytics.kinds import REMEMBER_MS, Cell, Gathered
from holdfast.analytics.layout import ALL
from holdfast.analytics.options import AnalyticsOptions
from holdfast.analytics.window import Steps
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError

ADMIT = Script.load(__package__, "admit")
LOOK = Script.load(__package__, "look")

AHEAD = 86_400.0  # seconds by which `at` may lie in the future; beyond it is a mistake
NOTED = 3600.0  # seconds after which a metric and its series are noted again as in use
FEW = 10_000  # metrics that may be known without a look whether they still come
REFUSED = 60.0  # seconds after which a series that was one too many is tried again
DOUBT = 0.9 * REMEMBER_MS / 1000  # seconds for which a call in doubt may still be repeated
PAGE = 500  # commands sent in one write
MOST_POINTS = 1_000_000
FIRST, LAST = -2_208_988_800, 32_503_680_000  # the years 1900 and 3000: nobody asks beyond them


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsDelayed(Signal):
    """What was counted cannot be written just now, and is kept: `pending` entries. Told once, until a flush
    succeeds again.
    """

    level = "warning"
    analytics: str
    cause: str
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsLost(Signal):
    """Entries were given up: `reason` is "full" (they made room for newer ones), "doubt" (a reply was missing
    for so long that a repeated call might count twice), "closed" (the server was away when the client was
    closed), "late" (too old for every resolution, or far in the future), "refused" (by the server).
    """

    level = "warning"
    analytics: str
    reason: str
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesOverflow(Signal):
    """A metric has more combinations of tags than `max_series`; the rest is counted as "(other)". Told once
    by each process.
    """

    level = "warning"
    analytics: str
    metric: str
    max_series: int


def settings(options: AnalyticsOptions) -> str:
    """What somebody has to know who only looks, as `options_of` reads it."""
    return json.dumps({"resolutions": dict(options.resolutions), "tz": str(options.tz)})


def options_of(text: str) -> AnalyticsOptions:
    """What `settings` has written. Raises: ConfigurationError if it was something else."""
    try:
        told = json.loads(text)
        return AnalyticsOptions(resolutions=told["resolutions"], tz=told["tz"])
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(f"these are no settings of analytics: {text!r:.200}") from error


# --- from events to buckets ---------------------------------------------------------------------------------


class Folded(NamedTuple):
    """The buckets in which events go; `late`: entries for which there is none."""

    cells: list[tuple[Cell, Any]]
    late: int


def fold(calendar: Calendar, events: Iterable[tuple[str, Gathered]], now: float) -> Folded:
    """The buckets of every resolution that still holds them, of each series and of all; `now` is the
    server's.
    """
    cells: list[tuple[Cell, Any]] = []
    late = 0
    places: dict[int, list[tuple[str, int, int]]] = {}
    for series, one in events:
        found = places.get(one.cell)
        if found is None:
            found = places[one.cell] = _places(calendar, one.cell, now)
        late += not found
        for name, start, ttl in found:
            cells.append((Cell(ALL, name, start, ttl), one.aggregate))
            if series != ALL:
                cells.append((Cell(series, name, start, ttl), one.aggregate))
    return Folded(cells, late)


def _places(calendar: Calendar, cell: int, now: float) -> list[tuple[str, int, int]]:
    """Of each resolution: its name, the start of its bucket, and for how many milliseconds it is kept."""
    found = []
    if cell > now + AHEAD:
        return []
    for resolution in calendar.resolutions:
        start = calendar.start(resolution, cell)
        end = calendar.end(resolution, start)
        if calendar.holds(resolution, end, now):
            found.append((resolution.name, start, int((end + resolution.keeps - now) * 1000)))
    return found


# --- what is asked ------------------------------------------------------------------------------------------


def moment(value: Any, name: str) -> float:
    """An aware datetime as seconds since 1970. Raises: ConfigurationError."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigurationError(
            f"{name}={value!r:.80} must be a datetime with a time zone, as datetime.now(UTC)"
        )
    if not FIRST <= value.timestamp() < LAST:
        raise ConfigurationError(f"{name}={value!r:.80} must lie between the years 1900 and 3000")
    return value.timestamp()


def before(value: Duration | datetime, name: str, now: float) -> float:
    """A point in time, or how long ago, as seconds since 1970. Raises: ConfigurationError."""
    if isinstance(value, datetime):
        return moment(value, name)
    if isinstance(value, str | timedelta) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return now - seconds(value, name, zero=True)
    raise ConfigurationError(
        f'{name}={value!r:.80} must be how long ago ("7d"), or a datetime with a time zone'
    )


def check_span(since: float, until: float) -> None:
    """Raises: ConfigurationError if nothing lies between them."""
    if since >= until:
        raise ConfigurationError(f"since={since:.0f} is not before until={until:.0f} (seconds since 1970)")


def resolution(calendar: Calendar, name: str | None, since: float, until: float, now: float) -> Resolution:
    """The resolution called so; without a name the finest that is kept since then, and has no more than
    MOST_POINTS buckets.

    Raises: ConfigurationError.
    """
    if name is None:
        for one in calendar.resolutions:
            if since + one.keeps > now and (until - since) / one.step <= MOST_POINTS:
                return one
        name = calendar.resolutions[-1].name
    try:
        found = calendar.named(name)
    except (KeyError, TypeError):
        known = ", ".join(repr(one.name) for one in calendar.resolutions)
        raise ConfigurationError(f"resolution={name!r:.80} must be one of {known}") from None
    if (until - since) / found.step > MOST_POINTS:
        raise ConfigurationError(
            f"resolution={name!r}: since= to until= are more than {MOST_POINTS} buckets; ask for a shorter "
            f"time, or a coarser one"
        )
    return found


def per_second(calendar: Calendar, steps: Steps, values: Sequence[float], now: float) -> list[float]:
    """`values` by the length of their buckets; of the one that has not ended `now`, by what is over."""
    named = calendar.named(steps.resolution)
    lengths = (max(1e-3, min(calendar.end(named, start), max(now, start)) - start) for start in steps.starts)
    return [value / length for value, length in zip(values, lengths, strict=True)]


def grouped(series: Iterable[str], key: Callable[[str], tuple[str | None, ...]]) -> dict[Any, list[str]]:
    """The series by `key`; a key of one part stands for itself."""
    groups: dict[Any, list[str]] = {}
    for one in series:
        parts = key(one)
        groups.setdefault(parts[0] if len(parts) == 1 else parts, []).append(one)
    return dict(sorted(groups.items(), key=lambda one: str(one[0])))


def columns(by: tuple[str, ...]) -> tuple[str, ...]:
    """The tags `by`, as names of columns. Raises: ConfigurationError."""
    if hidden := {"start", "value"}.intersection(by):
        raise ConfigurationError(
            f"by={by!r}: a tag called {min(hidden)!r} has no column of its own in records(); use query()"
        )
    return by


def rows(found: Any, by: tuple[str, ...]) -> list[dict[str, Any]]:
    """The points of a query as rows of a table."""
    if not isinstance(found, Mapping):
        return [{"start": start, "value": value} for start, value in found]
    return [
        {**dict(zip(by, key if len(by) > 1 else (key,), strict=True)), "start": start, "value": value}
        for key, points in found.items()
        for start, value in points
    ]
