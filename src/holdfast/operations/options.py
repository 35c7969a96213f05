"""What can be chosen about operations, and what their methods hand out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict

from holdfast._wire.durability import Durability
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError, LockLost, OperationError
from holdfast.operations.layout import Id

LEAST_LEASE = 0.05  # seconds; below it a busy machine loses leases all the time
LONGEST_ERROR = 2_000  # characters of an error that are kept

State = Literal["running", "interrupted", "waiting", "done", "dead"]


class OperationsKeywords(TypedDict, total=False):
    """What `hf.operations(...)` takes besides the name and `type`; see OperationsOptions."""

    lease: Duration
    ttl: Duration
    max_attempts: int
    result: Any
    partitions: int
    retry: tuple[Duration, Duration] | None
    keep: Duration | None
    max_hold: Duration | None
    wait: Duration | None
    slot: str
    label: str
    durability: Durability | None
    accept_loss: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OperationsOptions:
    """The settings of operations. Durations may be given as people write them; they are kept as seconds.

    lease           how long a process may be silent before its operations count as interrupted. It is renewed
                    in the background, so it may be much shorter than an operation.
    ttl             how long what is done is remembered, with its result: so long a duplicate is recognised.
    max_attempts    after so many an operation is dead; one that was interrupted counts.
    type, result    what `data` and results are; by default plain msgpack types.
    partitions      over how many slots of a Cluster the operations are spread, by resource; a sweep asks each
                    of them. It stands in the server with the first use and is then the same for everybody.
    retry           the first and the longest rest after a failed attempt, doubled in between. None: a tenth
                    of the lease, and ten leases. What was interrupted has rested enough.
    keep            how long what is not done is kept without a sign of life: pending operations that nobody
                    recovers, and dead ones. None: for ever.
    max_hold        after so long an operation is not renewed any more: it counts as stuck. None: never.
    wait            the longest a duplicate of an idempotent call waits for the other; None: for ever, on
                    purpose.
    slot            a name that no two living processes share, as a pod of a StatefulSet has one. Then what an
                    earlier process of this slot left behind is recovered when this one begins to recover,
                    not when the leases end.
    label           tells people who we are, beside host and process.
    durability      when begin, checkpoint, complete and fail count as done; None: a failover may lose them.
    accept_loss     be content with a server that evicts.
    """

    lease: Duration = "30s"
    ttl: Duration = "5m"
    max_attempts: int = 5
    type: Any = Any
    result: Any = Any
    partitions: int = 4
    retry: tuple[Duration, Duration] | None = None
    keep: Duration | None = "30d"
    max_hold: Duration | None = None
    wait: Duration | None = "30s"
    slot: str = ""
    label: str = ""
    durability: Durability | None = None
    accept_loss: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        for name in ("lease", "ttl"):
            put(self, name, seconds(getattr(self, name), name))
        for name in ("keep", "max_hold"):
            put(self, name, optional_seconds(getattr(self, name), name))
        put(self, "wait", optional_seconds(self.wait, "wait", zero=True))
        for name, most in (("max_attempts", 10_000), ("partitions", 1024)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ConfigurationError(f"{name}={value!r} must be a whole number from 1 to {most}")
        for name in ("slot", "label"):
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > 128:
                raise ConfigurationError(f"{name}={value!r:.80} must be a str of at most 128 characters")
        lease = seconds(self.lease)
        if lease < LEAST_LEASE:
            raise ConfigurationError(f"lease={self.lease!r} must be at least {LEAST_LEASE} s")
        if seconds(self.ttl) < 0.001:
            raise ConfigurationError(f"ttl={self.ttl!r} must be at least a millisecond")
        if self.keep is not None and seconds(self.keep) < 2 * lease:
            raise ConfigurationError(
                f"keep={self.keep!r} must be at least two leases ({2 * lease:g} s): it cleans up, and must "
                f"not take away what is to be recovered"
            )
        put(self, "retry", _rests(self.retry, lease))

    @property
    def rests(self) -> tuple[float, float]:
        """The first and the longest rest, in seconds."""
        assert self.retry is not None
        first, longest = self.retry
        return seconds(first, zero=True), seconds(longest, zero=True)

    def same_as(self, other: OperationsOptions) -> bool:
        """Do both describe the same operations? Types must be the same objects, or equal."""
        return not self._differing(other)

    def difference(self, other: OperationsOptions) -> str:
        """What `other` wants otherwise, in words."""
        return ", ".join(
            f"{name}={getattr(self, name)!r}, not {getattr(other, name)!r}" for name in self._differing(other)
        )

    def _differing(self, other: OperationsOptions) -> list[str]:
        return [one.name for one in fields(self) if getattr(self, one.name) != getattr(other, one.name)]


def _rests(retry: Any, lease: float) -> tuple[float, float]:
    if retry is None:
        return lease / 10, lease * 10
    if not isinstance(retry, tuple) or len(retry) != 2:
        raise ConfigurationError(f'retry={retry!r} must be the first and the longest rest, as ("1s", "5m")')
    first, longest = (seconds(one, "retry", zero=True) for one in retry)
    if first > longest:
        raise ConfigurationError(f"retry={retry!r}: the first rest is longer than the longest")
    return first, longest


class OperationLost(LockLost, OperationError):
    """The operation is not this process's any more: its lease ended, and somebody else took it up, or it was
    settled, or removed. `cause` is the one of LockLost; what the attempt wrote outside may have happened.

    A LockLost, so that whoever can cope with a lost lease copes with this one; and an OperationError.
    """


class Failure(NamedTuple):
    """One attempt that did not complete: its number, what it said, and when (UTC)."""

    attempt: int
    error: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStatus:
    """One operation as the server knows it.

    `state`: running; interrupted (its lease has ended, and nobody has taken it up yet); waiting (for its next
    attempt, after a failure); done; dead. `left`: seconds until its lease or its rest ends, 0.0 when settled.
    `holder`: who had the last attempt. `data`, `checkpoints` and `result` are None, or lack, what cannot be
    read. `error`: of the last attempt that did not complete, "" for none; `failures`: of all of them. Times
    are UTC, of the server.
    """

    resource: Id
    id: Id
    state: State
    attempt: int
    fence: int
    holder: str
    left: float
    begun_at: datetime
    changed_at: datetime
    data: Any = None
    checkpoints: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    error: str = ""
    failures: tuple[Failure, ...] = ()


class OperationsBacklog(NamedTuple):
    """What the server has: `pending` operations, `overdue` ones among them (interrupted, or waiting for
    longer than they have to), seconds since the oldest of these is due (0.0 if none is), `dead` and `done`.
    """

    pending: int
    overdue: int
    oldest_overdue: float
    dead: int
    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsStats:
    """Counts since the object was made, of this process.

    `started`: attempts of this process, of which `recovered` came from a sweep and `resumed` from a later
    call with the same id; they `completed`, `failed` (an exception, or `fail`) or were `lost` (the lease
    ended, or somebody else had it); `running` is a gauge. `interrupted`: attempts that were found
    interrupted; `died`: operations that had their last attempt here, or were found to have had it. Calls that
    did not begin: `replayed` (done before), `busy`, `dead`, `conflicts` (another request under the same key).
    `waits`: calls that waited for another one. `rejected`: writes that the server refused because the fence
    was an older one.
    """

    started: int = 0
    recovered: int = 0
    resumed: int = 0
    completed: int = 0
    failed: int = 0
    lost: int = 0
    interrupted: int = 0
    died: int = 0
    replayed: int = 0
    busy: int = 0
    dead: int = 0
    conflicts: int = 0
    waits: int = 0
    rejected: int = 0
    running: int = 0


class Counters:
    """Plain integers to add to; see OperationsStats. Threads may lose a count, never more."""

    __slots__ = tuple(OperationsStats.__dataclass_fields__)

    started: int
    recovered: int
    resumed: int
    completed: int
    failed: int
    lost: int
    interrupted: int
    died: int
    replayed: int
    busy: int
    dead: int
    conflicts: int
    waits: int
    rejected: int
    running: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def snapshot(self) -> OperationsStats:
        """The counts at this moment."""
        return OperationsStats(**{name: getattr(self, name) for name in self.__slots__})
