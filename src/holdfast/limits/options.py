"""What can be chosen about limits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Any, Final, Literal, TypedDict, get_args
from zoneinfo import ZoneInfo

from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError
from holdfast.limits import measure
from holdfast.limits.measure import Measure

Algorithm = Literal["gcra", "sliding", "fixed", "log"]
OnError = Literal["allow", "deny", "local"]
Calendar = Literal["day", "week", "month", "year"]

MOST_LIMITS = 16  # of one subject: a script that looks at more keeps everybody waiting

_DAY = 86400.0
_CALENDAR: Final[Mapping[str, float]] = {
    "day": _DAY,
    "week": 7 * _DAY,
    "month": 30 * _DAY,
    "year": 365 * _DAY,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/#*+-]{0,63}")
_NAME_RULE = "letters, digits or _.:/#*+- , the first a letter or digit"


@dataclass(frozen=True, slots=True)
class Limit:
    """So much (`quota`) per so long (`per`): `Limit(10, "1s", burst=20)`, `Limit(1000, "1h")`.

    - `quota`: the cost that is allowed per `per`; 0 blocks.
    - `per`: a duration; kept as seconds. Or "day", "week", "month", "year": windows of the calendar of `tz`.
    - `burst`: gcra only: the cost that is allowed at once, after a rest; None: the quota. Over a long time it
      is still `quota` per `per`.
    - `algorithm`: "gcra": a leaking bucket; smooth, exact, nothing bursts at the edge of a window; the
      default. "sliding": what the last window had counts by the part of it that is still covered; for "n per
      hour" as people read it; approximate, in that it takes the last window for even. "fixed": windows that
      all begin at a round time; up to twice the quota around an edge. The only one that a calendar has.
      "log": every hit is kept; exact over any window, for small quotas.
    - `name`: how it is called in decisions and headers; by default its `per`, as "1s". It also says which
      limit goes on when the limits change: give two limits of one subject different ones.
    - `shadow`: count and tell, but never deny.
    - `tz`: the zone of a calendar period, as "Europe/Berlin".

    Its `label` is the name, or else its `per` as people write it: "1s", "90s", "1h", "month". `measure` is
    what it is in whole numbers.
    """

    quota: int
    per: Duration
    _: KW_ONLY
    burst: int | None = None
    algorithm: Algorithm = "gcra"
    name: str | None = None
    shadow: bool = False
    tz: str = "UTC"
    measure: Measure = field(init=False, repr=False, compare=False)
    label: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        _whole("quota", self.quota, 0)
        if self.algorithm not in get_args(Algorithm):
            known = ", ".join(f'"{one}"' for one in get_args(Algorithm))
            raise ConfigurationError(f"algorithm={self.algorithm!r} must be one of {known}")
        if self.calendar is not None:
            self._check_calendar()
            put(self, "algorithm", "fixed")
        else:
            put(self, "per", round(seconds(self.per, "per"), 6))
            if self.window <= 0:
                raise ConfigurationError(f"per={self.per!r} must be at least a microsecond")
        if self.burst is not None:
            _whole("burst", self.burst, 1)
            if self.algorithm != "gcra" or not self.quota:
                raise ConfigurationError(
                    f'burst={self.burst!r} is for algorithm="gcra" with a quota; leave it out'
                )
        if self.name is not None and not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise ConfigurationError(f"name={self.name!r} must be 1 to 64 {_NAME_RULE}")
        put(self, "measure", self._measured())
        put(self, "label", self.name or self._period)

    @property
    def calendar(self) -> Calendar | None:
        """The period of the calendar; None: `per` is a duration."""
        return self.per if self.per in _CALENDAR else None  # type: ignore[return-value]

    @property
    def window(self) -> float:
        """Seconds per `quota`; of a month or a year of the calendar, those of one with 30 or 365 days."""
        return _CALENDAR[self.per] if isinstance(self.per, str) else float(self.per)  # type: ignore[arg-type]

    @property
    def most(self) -> int:
        """The cost that can ever be allowed at once."""
        return self.quota if self.burst is None else self.burst

    @property
    def _period(self) -> str:
        return self.per if isinstance(self.per, str) else spelled(self.window)

    def __str__(self) -> str:
        return f"{self.quota} per {self._period}"

    def scaled(self, share: float) -> Limit:
        """The same with a `share` of its quota and burst, rounded down, at least 1 (0 stays 0)."""
        if not self.quota:
            return self
        burst = None if self.burst is None else max(1, int(self.burst * share))
        return replace(self, quota=max(1, int(self.quota * share)), burst=burst)

    def _measured(self) -> Measure:
        micros = round(self.window * 1e6)
        found: Measure | None
        if self.algorithm == "gcra":
            found = measure.gcra(self.quota, self.most, micros)
        elif self.algorithm == "sliding":
            found = measure.sliding(self.quota, micros)
        else:
            found = measure.counted(self.quota, micros)
        if found is None:
            raise ConfigurationError(
                f"{self!r}: quota and burst are too large to be counted exactly over this time; take a "
                f"rounder `per`, or a smaller quota in a larger unit of cost"
            )
        if self.algorithm == "log" and self.quota > measure.LONGEST_LOG:
            raise ConfigurationError(
                f'quota={self.quota!r} with algorithm="log" keeps as many hits for each subject; at most '
                f'{measure.LONGEST_LOG}: take "sliding" or "gcra"'
            )
        return found

    def _check_calendar(self) -> None:
        if self.algorithm not in ("gcra", "fixed"):
            raise ConfigurationError(
                f'algorithm={self.algorithm!r} has no calendar; per={self.per!r} is a "fixed" window'
            )
        try:
            ZoneInfo(self.tz)
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise ConfigurationError(f'tz={self.tz!r} is no time zone, as "Europe/Berlin"') from error


def spelled(duration: float) -> str:
    """Seconds as people write them: 3600.0 is "1h", 90.0 "90s", 0.25 "250ms"."""
    micros = round(duration * 1e6)
    for unit, size in (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)):
        if micros % size == 0:
            return f"{micros // size}{unit}"
    return f"{micros}us" if micros % 1000 else f"{micros // 1000}ms"


def agreed(limits: Limit | Sequence[Limit], where: str = "limits") -> tuple[Limit, ...]:
    """`limits` as a tuple, or one limit as a tuple of it.

    Raises: ConfigurationError if there is none, too many, or two of one label.
    """
    chosen = tuple(limits) if isinstance(limits, Iterable) else (limits,)
    if not chosen or not all(isinstance(one, Limit) for one in chosen):
        raise ConfigurationError(
            f'{where}={limits!r} must be limits, as [Limit(10, "1s"), Limit(1000, "1h")]'
        )
    if len(chosen) > MOST_LIMITS:
        raise ConfigurationError(f"{where} has {len(chosen)} limits; at most {MOST_LIMITS}")
    labels = [one.label for one in chosen]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"{where} has two limits called {twice!r}; give one of them a `name`")
    return chosen


class LimiterKeywords(TypedDict, total=False):
    """What `hf.limiter(...)` takes besides the name and the limits; see LimiterOptions."""

    plans: Mapping[str, Limit | Sequence[Limit]] | None
    on_error: OnError
    deadline: Duration
    shadow: bool
    deny_cache: Duration
    deny_entries: int
    local_share: float
    local_subjects: int
    breaker: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LimiterOptions:
    """The settings of a limiter. Durations may be given as people write them; they are kept as seconds.

    limits          what a subject may do; all of them at once, or nothing is charged. One or several.
    plans           other limits by name, for `check(subject, plan=...)`; see also `set_plan`.
    on_error        what is decided when the server is away or too slow: "allow"; "deny"; or "local": this
                    process counts by itself, with `local_share` of each limit.
    deadline        how long a check may take; then `on_error` decides. The first one of a process, which may
                    have to connect, may take the client's `timeout`.
    shadow          count and tell, but never deny: to try limits out.
    deny_cache      for so long at most a subject that was denied is denied here, without asking the server,
                    while it could not be allowed anyway. 0: always ask.
    deny_entries    denied subjects remembered at most.
    local_share     of quota and burst, with on_error="local": 1 / (number of processes) keeps the sum.
    local_subjects  subjects counted here at most, with on_error="local".
    breaker         after so many checks in a row that got no answer, the server is left alone for a moment,
                    and `on_error` decides at once.
    """

    limits: Limit | Sequence[Limit]
    plans: Mapping[str, Limit | Sequence[Limit]] | None = None
    on_error: OnError = "allow"
    deadline: Duration = "50ms"
    shadow: bool = False
    deny_cache: Duration = "1s"
    deny_entries: int = 10_000
    local_share: float = 1.0
    local_subjects: int = 10_000
    breaker: int = 3

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        put(self, "limits", agreed(self.limits))
        put(self, "deadline", seconds(self.deadline, "deadline"))
        put(self, "deny_cache", seconds(self.deny_cache, "deny_cache", zero=True))
        plans = {} if self.plans is None else dict(self.plans)
        for name, limits in plans.items():
            check_plan(name)
            plans[name] = agreed(limits, f"plans[{name!r}]")
        put(self, "plans", plans)
        if self.on_error not in get_args(OnError):
            known = ", ".join(f'"{one}"' for one in get_args(OnError))
            raise ConfigurationError(f"on_error={self.on_error!r} must be one of {known}")
        for setting in ("deny_entries", "local_subjects", "breaker"):
            _whole(setting, getattr(self, setting), 1)
        share = self.local_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise ConfigurationError(f"local_share={share!r} must be more than 0 and at most 1")

    @property
    def all_limits(self) -> tuple[Limit, ...]:
        """`limits`, as a tuple."""
        return self.limits  # type: ignore[return-value]

    @property
    def all_plans(self) -> Mapping[str, tuple[Limit, ...]]:
        """`plans`, each as a tuple."""
        return self.plans  # type: ignore[return-value]

    def difference(self, other: LimiterOptions) -> str:
        """What `other` wants otherwise, in words; "" if both describe the same limiter."""
        return ", ".join(
            f"{one.name}={getattr(self, one.name)!r}, not {getattr(other, one.name)!r}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(other, one.name)
        )


def check_plan(name: Any) -> None:
    """Raises: ConfigurationError if `name` is no name of a plan."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(f"plan={name!r} must be 1 to 64 {_NAME_RULE}")


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name}={value!r} must be a whole number, at least {least}")
