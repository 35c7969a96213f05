"""What can be chosen about a cache, checked when it is chosen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, TypedDict

from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError

Write = Literal["through"]


class Source(Protocol):
    """Where the truth lives, for read-through and write-through. Keys are those the caller gave."""

    def load_many(self, keys: Iterable[Any], /) -> Mapping[Any, Any]:
        """The values of `keys`; a key that is left out has none."""

    def save_many(self, mapping: Mapping[Any, Any], /) -> Any:
        """Make the values of `mapping` durable before returning."""

    def delete_many(self, keys: Iterable[Any], /) -> Any:
        """Delete `keys` durably before returning; a key that is not there is no error."""


class AsyncSource(Protocol):
    """Where the truth lives, for read-through and write-through. Keys are those the caller gave."""

    async def load_many(self, keys: Iterable[Any], /) -> Mapping[Any, Any]:
        """The values of `keys`; a key that is left out has none."""

    async def save_many(self, mapping: Mapping[Any, Any], /) -> Any:
        """Make the values of `mapping` durable before returning."""

    async def delete_many(self, keys: Iterable[Any], /) -> Any:
        """Delete `keys` durably before returning; a key that is not there is no error."""


class CacheKeywords(TypedDict, total=False):
    """What `hf.cache(...)` takes besides `ttl` and `type`; see CacheOptions."""

    jitter: float
    negative_ttl: Duration | None
    lease: Duration
    max_loads: int
    wait: Duration | None
    timeout: Duration | None
    source: Any
    write: Write | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CacheOptions:
    """The settings of one cache. Durations may be given as people write them; they are kept as seconds.

    ttl           how long a value may live. Required: an entry that never ends is a leak, and the last line
    of defence
                  against an invalidation that somebody forgot.
    jitter        shortens each ttl by a random part of up to this fraction, so that what was filled together
    does not
                  end together; it never lengthens one.
    negative_ttl  ttl of None and of absence (MISSING); None: as ttl; 0: they are not cached.
    lease         how long one load may take before another process may try. Make it longer than the slowest
    load. max_loads     loads under way at once in this process and cache. What protects the database when
    Redis is away. wait          the longest a reader waits for somebody else's load or for a free load;
    None: for ever, on purpose. timeout       deadline of one question to the server; None: the client's.
    type          what the values are; Any: plain msgpack types.
    source        loads, saves and deletes (read-through); see `Source`.
    write         "through": `put` and `remove` write to the source first.
    """

    ttl: Duration
    jitter: float = 0.1
    negative_ttl: Duration | None = None
    lease: Duration = "10s"
    max_loads: int = 32
    wait: Duration | None = "30s"
    timeout: Duration | None = None
    type: Any = Any
    source: Any = None
    write: Write | None = None

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        put(self, "ttl", seconds(self.ttl, "ttl"))
        put(self, "negative_ttl", optional_seconds(self.negative_ttl, "negative_ttl", zero=True))
        put(self, "lease", seconds(self.lease, "lease"))
        put(self, "wait", optional_seconds(self.wait, "wait", zero=True))
        put(self, "timeout", optional_seconds(self.timeout, "timeout"))
        if (
            isinstance(self.jitter, bool)
            or not isinstance(self.jitter, int | float)
            or not 0 <= self.jitter < 1
        ):
            raise ConfigurationError(
                f"jitter={self.jitter!r} must be a number from 0 up to, but not including, 1"
            )
        if isinstance(self.max_loads, bool) or not isinstance(self.max_loads, int) or self.max_loads < 1:
            raise ConfigurationError(f"max_loads={self.max_loads!r} must be a whole number, at least 1")
        if seconds(self.lease) < 0.001:
            raise ConfigurationError(f"lease={self.lease!r} must be at least a millisecond")
        self._check_source()

    def _check_source(self) -> None:
        if self.write not in (None, "through"):
            raise ConfigurationError(f'write={self.write!r} must be None or "through"')
        if self.write and self.source is None:
            raise ConfigurationError(
                'write="through" needs a source=: an object with load_many, save_many, delete_many'
            )
        if self.source is not None:
            needed = ["load_many", *(["save_many", "delete_many"] if self.write else [])]
            absent = [name for name in needed if not callable(getattr(self.source, name, None))]
            if absent:
                raise ConfigurationError(f"source={self.source!r} has no {', '.join(absent)}")

    def same_as(self, other: CacheOptions) -> bool:
        """Do both describe the same cache? Types and sources must be the same objects, or equal."""
        return not self._differing(other)

    def difference(self, other: CacheOptions) -> str:
        """What `other` wants otherwise, in words."""
        return ", ".join(
            f"{name}={getattr(self, name)!r}, not {getattr(other, name)!r}" for name in self._differing(other)
        )

    def _differing(self, other: CacheOptions) -> list[str]:
        return [
            field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)
        ]
