"""What can be chosen about write-behind, and what its methods hand out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from holdfast._wire.durability import Durability
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, Overloaded

LEAST_LEASE = 0.1  # seconds; below it a busy machine loses the lease all the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """How a write-behind cache brings what was put to its source.

    `delay`: how long a record rests, so that later puts of its key take its place. `batch`: records in one
    call of the source. `max_backlog`: records that may be waiting; each partition has its share, rounded up,
    and a put of a key that waits already always fits. `partitions`: how many writers there can be; it stands
    in the server with the first use and is then the same for everybody. `lease`: how long a killed writer's
    partition stays without one. `retry`: the first and the longest rest after a failure, doubled in between.
    `attempts`: failures of one record before it becomes a dead letter. `durability`: when a put counts as
    done; without it a failover may lose it. `accept_loss`: be content with a server that evicts.

    Raises: ConfigurationError that names the setting and its value.
    """

    delay: Duration = "50ms"
    batch: int = 500
    max_backlog: int = 100_000
    partitions: int = 8
    lease: Duration = "10s"
    retry: tuple[Duration, Duration] = ("50ms", "10s")
    attempts: int = 8
    durability: Durability | None = None
    accept_loss: bool = False

    def __post_init__(self) -> None:
        for name in ("batch", "max_backlog", "partitions", "attempts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"Behind({name}={value!r}) must be a whole number, at least 1")
        if self.partitions > 1024:
            raise ConfigurationError(f"Behind(partitions={self.partitions}) must be at most 1024")
        seconds(self.delay, "delay", zero=True)
        if seconds(self.lease, "lease") < LEAST_LEASE:
            raise ConfigurationError(f"Behind(lease={self.lease!r}) must be at least {LEAST_LEASE} s")
        if not isinstance(self.retry, tuple) or len(self.retry) != 2:
            raise ConfigurationError(
                f'Behind(retry={self.retry!r}) must be the first and the longest rest, as ("50ms", "10s")'
            )
        if seconds(self.retry[0], "retry") > seconds(self.retry[1], "retry"):
            raise ConfigurationError(
                f"Behind(retry={self.retry!r}): the first rest is longer than the longest"
            )

    @property
    def share(self) -> int:
        """Records that may wait in one partition."""
        return -(-self.max_backlog // self.partitions)


class Backlog(NamedTuple):
    """What the source has not got yet.

    `entries`: records that wait; `oldest_age`: seconds, by the server's clock, since the oldest put that is
    not applied, 0.0 when nothing waits; `dead`: dead letters.
    """

    entries: int
    oldest_age: float
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that the source would not take.

    `value` is MISSING if the key was to be removed (`removed`), and if the value cannot be read. `error` is
    what the source said last, `attempts` how often it was asked, `since` when that was (UTC).
    """

    key: Any
    value: Any
    removed: bool
    error: str
    attempts: int
    since: datetime


class NotFlushed(Overloaded, TimeoutError):
    """`flush` ran out of time; `left` keys that were put before it are not applied yet. They will be."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, left: int = 0) -> None:
        super().__init__(message, retry_after=retry_after)
        self.left = left
