"""What can be chosen about events and projections, and what their methods hand out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

from holdfast._values.evolution import Evolution, Upcast
from holdfast._wire.durability import Durability
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.events.kinds import Kinds

T = TypeVar("T")
S = TypeVar("S")

Expected = int | Literal["exists"] | None
OnError = Literal["stop", "park"]

LEAST_LEASE = 0.2  # seconds; below it a busy machine changes its runner all the time
LONGEST_ERROR = 2_000  # characters of an error that are kept
MOST_PARTITIONS = 1024


class EventsKeywords(TypedDict, total=False):
    """What `hf.events(...)` takes besides the name and `type`; see EventsOptions."""

    version: int | Mapping[str, int]
    upcast: Upcast | Mapping[str, Upcast]
    partitions: int
    state: Any
    state_version: int
    state_upcast: Upcast
    snapshot_every: int | None
    durability: Durability | None
    accept_loss: bool


class ProjectionKeywords(TypedDict, total=False):
    """What `log.projection(...)` takes besides the name; see ProjectionOptions."""

    version: int
    batch: int
    lease: Duration
    retry: tuple[Duration, Duration]
    max_attempts: int | None
    on_error: OnError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EventsOptions:
    """The settings of a log of events.

    type            what events are: a type, a union of classes, or a mapping from the name under which a type
                    is stored to the type. By default plain msgpack types, under any name.
    version, upcast schema versions, and functions that lead from one to the next, of the only type, or by
                    name: `version={"paid": 2}, upcast={"paid": {1: function}}`.
    partitions      over how many slots of a Cluster the streams are spread, by their names; the order of all
                    events, appends to several streams, and each projection are within one of them. It stands
                    in the server with the first use, and is then the same for everybody, for ever.
    state           the type of snapshots; `state_version`, `state_upcast`: as for events. A snapshot that
                    cannot be read is ignored.
    snapshot_every  `load` takes a snapshot by itself once it had to go through so many events.
    durability      when an append counts as done; None: a failover may lose it.
    accept_loss     be content with a server that evicts.
    """

    type: Any = Any
    version: int | Mapping[str, int] = 1
    upcast: Upcast | Mapping[str, Upcast] | None = None
    partitions: int = 1
    state: Any = Any
    state_version: int = 1
    state_upcast: Upcast | None = None
    snapshot_every: int | None = None
    durability: Durability | None = None
    accept_loss: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        whole("partitions", self.partitions, MOST_PARTITIONS)
        if self.snapshot_every is not None:
            whole("snapshot_every", self.snapshot_every)
        self.kinds()
        self.states()

    def kinds(self) -> Kinds:
        """The types of events. Raises: ConfigurationError."""
        return Kinds(self.type, self.version, self.upcast)

    def states(self) -> Evolution[Any]:
        """The type of snapshots. Raises: ConfigurationError."""
        return Evolution(self.state_version, self.state_upcast, type=self.state)

    def difference(self, other: EventsOptions) -> str:
        """What `other` wants otherwise, in words; "" if both describe the same log. Types and functions must
        be the same objects, or equal.
        """
        names = [one.name for one in fields(self) if getattr(self, one.name) != getattr(other, one.name)]
        return ", ".join(f"{name}={getattr(self, name)!r}, not {getattr(other, name)!r}" for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionOptions:
    """The settings of a projection. Durations are kept as seconds.

    version       of what the handler makes of events; raise it when the handler changes, and it is built anew
                  beside the older one, which is read until the new one is level with it.
    batch         events whose effects are written in one step, at most.
    lease         how long a process that runs it may be silent before another one takes over.
    retry         the first and the longest rest after the handler failed, doubled in between.
    max_attempts  after so many failures at one event (with these rests: six minutes): see on_error. None: it
                  is tried for ever.
    on_error      "stop": the projection stops there, and `failure` says why. "park": the event is put aside
                  and the projection goes on without it.
    """

    version: int = 1
    batch: int = 200
    lease: Duration = "10s"
    retry: tuple[Duration, Duration] = ("100ms", "30s")
    max_attempts: int | None = 20
    on_error: OnError = "stop"

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        whole("version", self.version)
        whole("batch", self.batch, 10_000)
        if self.max_attempts is not None:
            whole("max_attempts", self.max_attempts)
        if self.on_error not in ("stop", "park"):
            raise ConfigurationError(f'on_error={self.on_error!r} must be "stop" or "park"')
        lease = seconds(self.lease, "lease")
        if lease < LEAST_LEASE:
            raise ConfigurationError(f"lease={self.lease!r} must be at least {LEAST_LEASE} s")
        object.__setattr__(self, "lease", lease)
        if not isinstance(self.retry, tuple) or len(self.retry) != 2:
            raise ConfigurationError(
                f'retry={self.retry!r} must be the first and the longest rest, as ("100ms", "30s")'
            )
        object.__setattr__(self, "retry", tuple(seconds(one, "retry", zero=True) for one in self.retry))

    def rest(self, failures: int) -> float:
        """Seconds to rest after so many failures, 1 or more."""
        first, longest = (seconds(one, "retry", zero=True) for one in self.retry)
        return min(longest, first * 2.0 ** min(failures - 1, 30))


def whole(name: str, value: Any, most: int = 2**53 - 1) -> int:
    """`value`, a count. Raises: ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        limit = f"from 1 to {most}" if most < 2**31 else "1 or more"
        raise ConfigurationError(f"{name}={value!r} must be a whole number, {limit}")
    return value


# --- what methods hand out ----------------------------------------------------------------------------------


class StoredEvent(NamedTuple, Generic[T]):
    """An event as it is stored.

    `version`: its place in its stream, from 1. `id`: that of its batch for the first event of it, with a
    number behind it for the others. `type`: the name under which it is stored. `position`: its place in the
    partition, one more than that of the event before it. `recorded_at`: UTC, of the server.
    """

    stream: str
    version: int
    value: T
    id: str
    type: str
    recorded_at: datetime
    position: int
    partition: int
    headers: Mapping[str, str]


class Appended(NamedTuple):
    """The versions that a batch has in `stream`, and the position of its last event in `partition`.

    `duplicate`: it had been appended before, under the same id.
    """

    stream: str
    first: int
    last: int
    position: int
    partition: int
    duplicate: bool = False


class NewBatch(NamedTuple):
    """Events for one stream, as one of several in `append_many`."""

    stream: str
    events: Any
    expected: Expected = None


class Loaded(NamedTuple, Generic[S]):
    """The state of a stream at `version` (0: there is no such stream); `folded`: events it took."""

    state: S
    version: int
    folded: int


class ProjectionStatus(NamedTuple):
    """How a version of a projection stands in a partition.

    `active`: it is the one that is read; `replaced`: another one is, for good. `position`: all up to it are
    in; `behind`: events that are not. `error`: why it stopped, "" if it did not.
    """

    projection: str
    version: int
    partition: int
    active: bool
    replaced: bool
    position: int
    behind: int
    error: str


class Parked(NamedTuple):
    """An event that a projection has put aside."""

    partition: int
    position: int
    error: str


class PositionTrimmed(HoldfastError):
    """What comes next after `after` is not there any more: it was archived, deleted or flushed, or was lost
    in a failover. Reading on from the event behind it would silently skip it.

    `after` is a version of `stream`, or, with `stream` None, a position of a partition; `first` is the first
    that can be read, or None if there is none.
    """

    def __init__(
        self, message: str = "", *, after: int = 0, first: int | None = None, stream: str | None = None
    ) -> None:
        super().__init__(message)
        self.after = after
        self.first = first
        self.stream = stream


class ProjectionBehind(HoldfastError, TimeoutError):
    """A projection did not reach `position` in time; it is at `reached`."""

    def __init__(self, message: str = "", *, position: int = 0, reached: int = 0) -> None:
        super().__init__(message)
        self.position = position
        self.reached = reached


class ProjectionFailed(HoldfastError):
    """A projection stopped at the event at `position` of `partition`, which its handler could not handle."""

    def __init__(self, message: str = "", *, partition: int = 0, position: int = 0) -> None:
        super().__init__(message)
        self.partition = partition
        self.position = position
