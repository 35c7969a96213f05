"""What can be chosen about streams and their subscribers, and what their methods hand out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict

from holdfast._values.codecs import Format
from holdfast._wire.durability import Durability
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError
from holdfast.sizes import Size, size

LEAST_LEASE = 0.1  # seconds; below it a busy machine loses memberships all the time
LONGEST_ERROR = 2_000  # characters of an error that are kept

Order = Literal["none", "key", "partition"]
Start = Literal["first", "new"]


class Backoff:
    """The pauses after the first, second, ... failure: `Backoff("1s", "10s", "2m")`; the last one repeats."""

    __slots__ = ("pauses",)

    def __init__(self, *pauses: Duration) -> None:
        """Durations; a bare number is seconds. Raises: ConfigurationError."""
        if not pauses:
            raise ConfigurationError('Backoff() needs at least one pause, as Backoff("1s", "10s", "2m")')
        self.pauses = tuple(seconds(one, "Backoff pause", zero=True) for one in pauses)

    def after(self, failures: int) -> float:
        """Seconds to rest after so many failures, 1 or more."""
        return self.pauses[min(failures, len(self.pauses)) - 1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backoff) and self.pauses == other.pauses

    def __hash__(self) -> int:
        return hash(self.pauses)

    def __repr__(self) -> str:
        return f"Backoff({', '.join(f'{one:g}' for one in self.pauses)})"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a stream keeps entries; made by `limits`, `work_queue` or `interest`.

    What a group has not read or not acknowledged is never removed, unless `drop_unread` asks for it.
    """

    kind: Literal["limits", "work_queue", "interest"]
    _: KW_ONLY
    max_entries: int | None = None
    max_age: float | None = None  # seconds
    max_bytes: int | None = None
    drop_unread: bool = False

    @classmethod
    def limits(
        cls,
        *,
        max_entries: int | None = None,
        max_age: Duration | None = None,
        max_bytes: Size | None = None,
        drop_unread: bool = False,
    ) -> Retention:
        """Keep at most so many entries, for so long, of so many bytes in each partition.

        Older ones that every group has acknowledged are removed from time to time, so there may be a few
        more. `drop_unread`: remove them though nobody has read them yet. Raises: ConfigurationError.
        """
        if max_entries is None and max_age is None and max_bytes is None:
            raise ConfigurationError('Retention.limits() needs a limit, as in Retention.limits(max_age="7d")')
        if max_entries is not None and (
            isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1
        ):
            raise ConfigurationError(f"max_entries={max_entries!r} must be a whole number from 1 on")
        return cls(
            "limits",
            max_entries=max_entries,
            max_age=optional_seconds(max_age, "max_age"),
            max_bytes=None if max_bytes is None else size(max_bytes, "max_bytes"),
            drop_unread=drop_unread,
        )

    @classmethod
    def work_queue(cls) -> Retention:
        """Remove each entry when it is acknowledged; such a stream has one group."""
        return cls("work_queue")

    @classmethod
    def interest(cls) -> Retention:
        """Remove entries that every group has acknowledged."""
        return cls("interest")


class StreamKeywords(TypedDict, total=False):
    """What `hf.stream(...)` takes besides the name and `type`; see StreamOptions."""

    partitions: int
    key: Callable[[Any], str | int] | None
    retention: Retention | None
    dedup: Duration
    version: int
    upcast: Mapping[int, Callable[[Any], Any]] | None
    codec: Format
    durability: Durability | None
    accept_loss: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamOptions:
    """The settings of a stream. Durations may be given as people write them; they are kept as seconds.

    type            what values are; by default plain msgpack types.
    partitions      over how many slots of a Cluster the stream is spread. It stands in the server with the
                    first use and is then the same for everybody.
    key             the key of a value, a str or an int: values of one key are in one partition, in order.
    retention       how long entries are kept; see Retention. None: for ever.
    dedup           how long the `id` of a publish is remembered: so long a duplicate is recognised.
    version         of the type; written into each entry.
    upcast          from each older version a function that makes plain data of the next one of it.
    codec           "msgpack", or "json" for readers in other languages.
    durability      when a publish counts as done; None: a failover may lose it.
    accept_loss     be content with a server that evicts.
    """

    type: Any = Any
    partitions: int = 1
    key: Callable[[Any], str | int] | None = None
    retention: Retention | None = None
    dedup: Duration = "10m"
    version: int = 1
    upcast: Mapping[int, Callable[[Any], Any]] | None = None
    codec: Format = "msgpack"
    durability: Durability | None = None
    accept_loss: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        object.__setattr__(self, "dedup", seconds(self.dedup, "dedup"))
        for name, most in (("partitions", 1024), ("version", 1_000_000)):
            _whole(name, getattr(self, name), most)
        if self.key is not None and not callable(self.key):
            raise ConfigurationError(
                f"key={self.key!r} must be a function of the value, as lambda order: order.id"
            )
        if self.retention is not None and not isinstance(self.retention, Retention):
            raise ConfigurationError(
                f"retention={self.retention!r} must be Retention.limits(...), .work_queue() or .interest()"
            )
        if self.codec not in ("msgpack", "json"):
            raise ConfigurationError(f'codec={self.codec!r} must be "msgpack" or "json"')

    @property
    def deletes(self) -> bool:
        """Is an entry removed when it is acknowledged?"""
        return self.retention is not None and self.retention.kind == "work_queue"

    def difference(self, other: StreamOptions) -> str:
        """What `other` wants otherwise, in words; '' nothing. Two lambdas are never the same."""
        return ", ".join(
            f"{one.name}={getattr(self, one.name)!r}, not {getattr(other, one.name)!r}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(other, one.name)
        )


class SubscriberKeywords(TypedDict, total=False):
    """What `stream.subscriber(...)` takes besides the group; see SubscriberOptions."""

    max_deliveries: int | None
    retry: Backoff
    lease: Duration
    concurrency: int
    batch: int | None
    max_in_flight: int
    order: Order | None
    start: Start
    timeout: Duration | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberOptions:
    """The settings of a subscriber.

    max_deliveries  after so many deliveries without success a message becomes a dead letter; one whose worker
                    died counts. None: it is tried for ever.
    retry           the pauses after failures; see Backoff.
    lease           how long a process may be silent before others take what it has. It is renewed in the
                    background, so it may be much shorter than a handler takes.
    concurrency     handlers at a time in this process.
    batch           hand the handler lists of at most so many values and messages. None: one at a time.
    max_in_flight   messages that this process has taken and not finished yet, at most.
    order           "none": any process, any order. "key": messages of one key one after the other, in order
                    (also over failures); a partition is then read by one process at a time. "partition":
                    the same for all messages of a partition. None: "key" if the stream has a key function,
                    else "none".
    start           where a new group begins: with the "first" entry there is, or with what is "new".
    timeout         after so long a handler counts as failed; a task is cancelled, a thread only told. None:
                    it may take for ever.
    """

    max_deliveries: int | None = 8
    retry: Backoff = field(default_factory=lambda: Backoff("1s", "10s", "1m"))
    lease: Duration = "20s"
    concurrency: int = 1
    batch: int | None = None
    max_in_flight: int = 500
    order: Order | None = None
    start: Start = "first"
    timeout: Duration | None = None

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        put(self, "lease", seconds(self.lease, "lease"))
        put(self, "timeout", optional_seconds(self.timeout, "timeout"))
        if seconds(self.lease) < LEAST_LEASE:
            raise ConfigurationError(f"lease={self.lease!r} must be at least {LEAST_LEASE} s")
        _whole("concurrency", self.concurrency, 10_000)
        _whole("max_in_flight", self.max_in_flight, 5_000)
        if self.max_deliveries is not None:
            _whole("max_deliveries", self.max_deliveries, 1_000_000)
        if self.batch is not None:
            _whole("batch", self.batch, 5_000)
        if not isinstance(self.retry, Backoff):
            raise ConfigurationError(f'retry={self.retry!r} must be a Backoff, as Backoff("1s", "10s", "2m")')
        if self.order not in (None, "none", "key", "partition"):
            raise ConfigurationError(f'order={self.order!r} must be "none", "key" or "partition"')
        if self.start not in ("first", "new"):
            raise ConfigurationError(f'start={self.start!r} must be "first" or "new"')
        if self.max_in_flight < self.concurrency * (self.batch or 1):
            raise ConfigurationError(
                f"max_in_flight={self.max_in_flight!r} must be at least concurrency * batch "
                f"({self.concurrency * (self.batch or 1)})"
            )


def _whole(name: str, value: Any, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigurationError(f"{name}={value!r} must be a whole number from 1 to {most}")


class Published(NamedTuple):
    """What became of a publish: the entry's `id`, and whether it was a `duplicate` of an earlier one."""

    id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A value to be published with settings of its own; see `publish`."""

    value: Any
    _: KW_ONLY
    id: str | None = None
    key: str | int | None = None
    delay: Duration | None = None
    at: datetime | None = None
    headers: Mapping[str, str] | None = None


class Lag(NamedTuple):
    """How far a group is behind.

    `entries`: not delivered yet; a lower bound unless `exact`. `age`: seconds since the oldest of them was
    published, 0.0 if there is none. `pending`: delivered and not acknowledged, those that wait for a retry
    included. `oldest_pending`: seconds since the oldest of these was published.
    """

    entries: int
    exact: bool
    age: float
    pending: int
    oldest_pending: float


class DeadMessage(NamedTuple):
    """A message that nobody could handle. `id` names it among the dead letters, `message_id` in its stream;
    `value` is None where it cannot be read, and `error` says so.
    """

    id: str
    message_id: str
    value: Any
    error: str
    deliveries: int
    died_at: datetime
    key: str | None
    headers: Mapping[str, str]
    partition: int
