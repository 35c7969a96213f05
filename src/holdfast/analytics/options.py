"""What can be chosen about analytics, and what their methods hand out. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypedDict, get_args
from zoneinfo import ZoneInfo

from holdfast.analytics.buckets import DAY, WEEK, Calendar, Resolution
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError

OnFull = Literal["wait", "drop_oldest", "raise"]

DEFAULT: Mapping[str, Duration] = MappingProxyType({"1m": "2d", "1h": "90d", "1d": "5y"})
MOST = 10_000_000  # entries in the buffer
MOST_SERIES = 100_000
YEAR = 365 * DAY

_OFFSET = re.compile(r"UTC([+-])(0\d|1\d|2[0-3]):([0-5]\d)")  # as a fixed offset is written


class AnalyticsKeywords(TypedDict, total=False):
    """What `hf.analytics(...)` takes besides the name; see AnalyticsOptions."""

    resolutions: Mapping[str, Duration]
    tz: str | tzinfo
    flush: Duration
    max_pending: int
    max_series: int
    on_full: OnFull
    wait: Duration
    top_capacity: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnalyticsOptions:
    """The settings of analytics. Durations may be given as people write them; they are kept as seconds.

    resolutions     lengths of buckets, and how long each is kept after its end ("5y": 5 times 365 days). A
                    bucket is as long as a part of the day ("10s", "5m", "6h"), a day or a week.
    tz              the time zone in which days begin, as "Europe/Berlin".
    flush           how long events are gathered before they are written; so much is lost at most when the
                    process is killed.
    max_pending     entries (a metric with its tags and its bucket; a member, an item) that wait to be
                    written at most.
    max_series      combinations of tags of one metric; what is more is counted as one, "other".
    on_full         what happens when one more entry comes. "wait": for `wait` at most, then Overloaded.
                    "raise": Overloaded. "drop_oldest": the oldest ones make room, and are counted.
    wait            see on_full.
    top_capacity    items that a bucket of a top keeps; see `top`.
    """

    resolutions: Mapping[str, Duration] = field(default_factory=lambda: DEFAULT)
    tz: str | tzinfo = "UTC"
    flush: Duration = "500ms"
    max_pending: int = 100_000
    max_series: int = 1000
    on_full: OnFull = "wait"
    wait: Duration = "1s"
    top_capacity: int = 1000

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        put(self, "resolutions", MappingProxyType(_resolutions(self.resolutions)))
        put(self, "tz", _zone(self.tz))
        put(self, "flush", seconds(self.flush, "flush"))
        put(self, "wait", seconds(self.wait, "wait", zero=True))
        if not 0.001 <= seconds(self.flush) <= 60:
            raise ConfigurationError(
                f"flush={self.flush!r} must be a millisecond to a minute: a killed process loses so much"
            )
        _whole_number("max_pending", self.max_pending, 1, MOST)
        _whole_number("max_series", self.max_series, 1, MOST_SERIES)
        _whole_number("top_capacity", self.top_capacity, 10, MOST_SERIES)
        if self.on_full not in get_args(OnFull):
            names = ", ".join(f'"{one}"' for one in get_args(OnFull))
            raise ConfigurationError(f"on_full={self.on_full!r} must be one of {names}")

    def calendar(self) -> Calendar:
        """The buckets of these resolutions."""
        zone = self.tz
        assert isinstance(zone, tzinfo)
        found = [
            Resolution(name, round(seconds(name)), round(seconds(keeps)))
            for name, keeps in self.resolutions.items()
        ]
        return Calendar(found, zone)

    def difference(self, other: AnalyticsOptions) -> str:
        """What `other` wants otherwise, in words; "" if both describe the same analytics."""
        return ", ".join(
            f"{one.name}={_said(getattr(self, one.name))}, not {_said(getattr(other, one.name))}"
            for one in fields(self)
            if _said(getattr(self, one.name)) != _said(getattr(other, one.name))
        )


def _said(value: Any) -> str:
    return (
        repr(dict(value))
        if isinstance(value, Mapping)
        else str(value)
        if isinstance(value, tzinfo)
        else repr(value)
    )


def _zone(tz: Any) -> tzinfo:
    if isinstance(tz, tzinfo):
        return tz
    if isinstance(tz, str) and (found := _OFFSET.fullmatch(tz)):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(offset if found[1] == "+" else -offset)
    try:
        return UTC if tz == "UTC" else ZoneInfo(tz)
    except (KeyError, ValueError, TypeError, OSError):
        raise ConfigurationError(
            f'tz={tz!r} is no time zone that this machine knows; write one as "Europe/Berlin" (where the '
            f"system has none, install the package tzdata)"
        ) from None


def _resolutions(given: Any) -> dict[str, float]:
    """Each resolution and how long it is kept, in seconds, the finest first."""
    if not isinstance(given, Mapping) or not given:
        raise ConfigurationError(
            f'resolutions={given!r:.200} must be a mapping, as in {{"1m": "2d", "1h": "90d", "1d": "5y"}}'
        )
    found: dict[str, tuple[float, float]] = {}
    for name, keeps in given.items():
        if not isinstance(name, str):
            raise ConfigurationError(f'resolutions: {name!r} must be text, as "1m" or "1h"')
        found[name] = _step(name), _keeps(keeps, f"resolutions[{name!r}]")
    if len({step for step, _ in found.values()}) < len(found):
        raise ConfigurationError(f"resolutions={dict(given)!r:.200} names one length twice; leave one out")
    ordered = sorted(found.items(), key=lambda one: one[1][0])
    for (finer, (_, short)), (coarser, (_, long)) in itertools.pairwise(ordered):
        if short > long:
            raise ConfigurationError(
                f"resolutions: {finer!r} would be kept longer than {coarser!r}; keep the coarser one at "
                f"least as long, it costs less"
            )
    return {name: keeps for name, (_, keeps) in ordered}


def _step(name: str) -> float:
    step = seconds(name, "resolutions")
    if step in (DAY, WEEK) or (step >= 1 and step == int(step) and step < DAY and DAY % step == 0):
        return step
    raise ConfigurationError(
        f"resolutions: {name!r} must be a day, a week, or whole seconds that a day can be divided into, as "
        f'"10s", "1m", "15m", "6h"'
    )


def _keeps(value: Any, name: str) -> float:
    """How long; here a year may be written as "1y"."""
    if isinstance(value, str) and value.strip().endswith("y") and value.strip()[:-1].isdigit():
        value = int(value.strip()[:-1]) * YEAR
    keeps = seconds(value, name)
    if keeps < 1:
        raise ConfigurationError(f"{name}={value!r} must be at least a second")
    return keeps


def _whole_number(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigurationError(f"{name}={value!r} must be a whole number from {least} to {most}")


class Point(NamedTuple):
    """What one bucket holds; `start` is aware, in the zone of the analytics."""

    start: datetime
    value: float


class Comparison(NamedTuple):
    """A total, that of the period of equal length before it, and by how much of that it has grown (None if
    that was nothing).
    """

    current: float
    previous: float
    change: float | None


class MetricInfo(NamedTuple):
    """A metric: what kinds of figures there are of it, its combinations of tags, and when it was last
    written, to the hour.
    """

    name: str
    kinds: tuple[str, ...]
    series: int
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsStats:
    """Counts since the object was made, of this process.

    `flushes`: that wrote something; `calls`: of scripts in them; `repeated`: those whose first reply was
    lost, and which the server recognised. `failures`: flushes that failed, to be tried again. `late`: entries
    too old for every resolution, or too far in the future. `dropped`: entries that made room for newer ones.
    `abandoned`: calls given up, since nobody would recognise them any more. `pending` is a gauge, of entries.
    """

    flushes: int = 0
    calls: int = 0
    repeated: int = 0
    failures: int = 0
    late: int = 0
    dropped: int = 0
    abandoned: int = 0
    pending: int = 0


class Counters:
    """The counts of AnalyticsStats, while they grow."""

    __slots__ = ("abandoned", "calls", "dropped", "failures", "flushes", "late", "repeated")

    def __init__(self) -> None:
        self.flushes = self.calls = self.repeated = self.failures = 0
        self.late = self.dropped = self.abandoned = 0

    def snapshot(self, pending: int) -> AnalyticsStats:
        """As they are now."""
        return AnalyticsStats(pending=pending, **{name: getattr(self, name) for name in self.__slots__})
