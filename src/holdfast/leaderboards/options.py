"""What can be chosen about leaderboards, and what their methods hand out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, tzinfo
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar, get_args
from zoneinfo import ZoneInfo

from holdfast._values.codecs import Format
from holdfast._wire.durability import Durability
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import ConfigurationError

T = TypeVar("T")

Ties = Literal["competition", "dense", "ordinal", "first"]
Order = Literal["high", "low"]
Mode = Literal["set", "best", "add"]
Merge = Literal["max", "sum", "last"]
Number = int | float

CALENDAR = ("day", "week", "month")
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
MOST = 2**53  # beyond it, not every whole number is a score
LONGEST_MEMBER = 1024  # bytes


@dataclass(frozen=True, slots=True)
class Season:
    """A period of your own, from `start` to before `end`, both aware datetimes.

    Before and after it a submit leaves it alone; it can be read as long as it is kept. Its `name` says which
    it is: another season needs another one. Raises: ConfigurationError.
    """

    name: str
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name in (*CALENDAR, "all"):
            raise ConfigurationError(
                f'Season name={self.name!r} must be text, and none of "day", "week", "month", "all"'
            )
        for name in ("start", "end"):
            milliseconds(getattr(self, name), f"Season {self.name!r}: {name}")
        if self.start >= self.end:
            raise ConfigurationError(
                f"Season {self.name!r} must end after it starts, not from {self.start} to {self.end}"
            )


Period = str | Season


class LeaderboardKeywords(TypedDict, total=False):
    """What `hf.leaderboard(...)` takes besides the name and `type`; see LeaderboardOptions."""

    ties: Ties
    order: Order
    mode: Mode
    periods: Sequence[Period]
    tz: str
    keep: Duration | None
    max_size: int | None
    max_staleness: Duration | None
    codec: Format
    durability: Durability | None
    accept_loss: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeaderboardOptions:
    """The settings of a leaderboard. Durations may be given as people write them; they are kept as seconds.

    type            what the data of a member is; by default plain msgpack types.
    ties            which rank equals have: "competition" 1224; "dense" 1223; "ordinal" 1234, equals by their
                    names; "first" 1234, who reached the score first is ahead. Two programs that use a board
                    must agree on it; that on "dense" or "first" and that on the order cannot be changed.
    order           is the best score the "high"est or the "low"est, as with times?
    mode            what a submit does by default: "set" the score; keep the "best"; "add" to it.
    periods         "day", "week" (ISO, from Monday), "month", "all", or a Season: in each there is a board of
                    its own. The first is the one that is read, and told of, by default.
    tz              the time zone whose midnight begins a day, as "Europe/Berlin". Daylight saving is minded.
    keep            how long a period is kept after its end; None: for ever.
    max_size        so many members at most are in each period, the best ones; who is cut has no rank.
    max_staleness   let replicas answer reads, if they are at most so far behind. None: only the primary.
    codec           of the data: "msgpack", or "json" for readers in other languages.
    durability      when a submit counts as done; None: a failover may lose it.
    accept_loss     be content with a server that evicts.
    """

    type: Any = Any
    ties: Ties = "competition"
    order: Order = "high"
    mode: Mode = "set"
    periods: Sequence[Period] = ("all",)
    tz: str = "UTC"
    keep: Duration | None = "30d"
    max_size: int | None = None
    max_staleness: Duration | None = None
    codec: Format = "msgpack"
    durability: Durability | None = None
    accept_loss: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        for name, choice in (("ties", Ties), ("order", Order), ("mode", Mode)):
            one_of(name, getattr(self, name), get_args(choice))
        one_of("codec", self.codec, ("msgpack", "json"))
        put(self, "periods", _periods(self.periods))
        zone(self.tz)
        for name in ("keep", "max_staleness"):
            value = optional_seconds(getattr(self, name), name)
            put(self, name, value)
            if value is not None and value < 0.001:
                raise ConfigurationError(f"{name}={value!r} must be at least a millisecond")
        if self.max_size is not None:
            whole("max_size", self.max_size, 1, MOST)

    def difference(self, other: LeaderboardOptions) -> str:
        """What `other` wants otherwise, in words; "" if both describe the same board."""
        return ", ".join(
            f"{one.name}={getattr(self, one.name)!r}, not {getattr(other, one.name)!r}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(other, one.name)
        )


class Row(NamedTuple, Generic[T]):
    """A member of a board: its score, an int if it is a whole number, its rank, from 1, and its data."""

    member: str
    score: Number
    rank: int
    data: T | None = None


class Standing(NamedTuple):
    """Where a member stands after a submit.

    `rank`: None if it is not on the board: cut by `max_size`, or the season is not running. `score`: what the
    member has now. `previous_rank`: what it was just before; None if it was not on the board.
    """

    rank: int | None
    score: Number
    previous_rank: int | None


class Submission(NamedTuple, Generic[T]):
    """A member's score, and perhaps its data, for `submit_many`."""

    member: str
    score: Number
    data: T | None = None


class LeaderboardStats(NamedTuple):
    """What this process has done with a board.

    `submitted`: scores. `removed`: members. `reads`: questions. `corrected`: how often the server named
    another period than this process had in mind, which costs a round trip: once at its boundaries, and
    when a clock is off. `unreadable`: data that is not of `type`, and was handed out as None.
    """

    submitted: int = 0
    removed: int = 0
    reads: int = 0
    corrected: int = 0
    unreadable: int = 0


class Counters:
    """Plain integers to add to; see LeaderboardStats. Threads may lose a count, never more."""

    __slots__ = LeaderboardStats._fields

    submitted: int
    removed: int
    reads: int
    corrected: int
    unreadable: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def snapshot(self) -> LeaderboardStats:
        """The counts at this moment."""
        return LeaderboardStats(*(getattr(self, name) for name in self.__slots__))


def zone(tz: str) -> tzinfo:
    """The time zone `tz`. Raises: ConfigurationError."""
    try:
        return ZoneInfo(tz)
    except Exception as error:  # ZoneInfoNotFoundError, ValueError, TypeError, what the file system says
        raise ConfigurationError(
            f'tz={tz!r} must be the name of a time zone, as "Europe/Berlin" (where the system has none, '
            f"install tzdata)"
        ) from error


def milliseconds(at: datetime, name: str) -> int:
    """The point in time `at`, since 1970. Raises: ConfigurationError, also for a naive one."""
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise ConfigurationError(f"{name}={at!r} must be a datetime with a time zone, as datetime.now(UTC)")
    return (at - EPOCH) // timedelta(milliseconds=1)


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises: ConfigurationError unless `value` is one of them."""
    if value not in choices:
        names = ", ".join(f'"{one}"' for one in choices)
        raise ConfigurationError(f"{name}={value!r} must be one of {names}")


def whole(name: str, value: Any, least: int, most: int) -> None:
    """Raises: ConfigurationError unless `value` is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigurationError(f"{name}={value!r} must be a whole number from {least} to {most}")


def _periods(periods: Any) -> tuple[Period, ...]:
    if isinstance(periods, str | Season):
        periods = (periods,)
    try:
        found: tuple[Period, ...] = tuple(periods)
    except TypeError:
        found = ()
    if not found:
        raise ConfigurationError(f'periods={periods!r} must name at least one, as ("day", "all")')
    for one in found:
        if not isinstance(one, Season) and one not in (*CALENDAR, "all"):
            raise ConfigurationError(f'{one!r} in periods must be "day", "week", "month", "all" or a Season')
    names = [one.name if isinstance(one, Season) else one for one in found]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"periods={names!r} must not name one twice")
    return found
