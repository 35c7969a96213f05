"""What can be chosen about a cache, checked when it is chosen. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, TypedDict

from holdfast._values.envelope import LONGEST_GRACE
from holdfast._values.wrapping import Cipher
from holdfast.cache.behind.options import Behind
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError
from holdfast.sizes import Size, size

Write = Literal["through", "behind"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class L1:
    """A bounded map in this process, in front of the server: `hf.cache(..., l1=L1(max_staleness="2s"))`.

    A hit is served only while it is proved that every change older than `max_staleness` was heard; a cut,
    frozen or starved connection switches the map off by itself, and it starts empty afterwards.

    `max_entries`: entries it holds at most. `max_bytes`: bytes of encoded values it holds at most, as
    67108864 or "64MiB"; None: no bound but entries. `max_staleness`: how long after an invalidation has
    returned, in another process, this one may still serve what was there before; what this process
    invalidates, it never serves again.

    `isolation`: "encode": each hit decodes a value of its own; "copy": each hit makes a deep copy; "share":
    all hits get one object, which nobody may change; "auto": share what cannot be changed, encode the rest.

    `via`: "tracking": the server tells what changes; "pubsub": whoever changes an entry says so on a channel,
    for servers that forbid tracking; then every process that uses the cache must say it.
    """

    max_entries: int = 10_000
    max_bytes: Size | None = None
    max_staleness: Duration = "2s"
    isolation: Literal["auto", "share", "copy", "encode"] = "auto"
    via: Literal["tracking", "pubsub"] = "tracking"

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        _whole(self.max_entries, "max_entries")
        if self.max_bytes is not None:
            put(self, "max_bytes", size(self.max_bytes, "max_bytes"))
        put(self, "max_staleness", seconds(self.max_staleness, "max_staleness", zero=True))
        _one_of(self.isolation, "isolation", ("auto", "share", "copy", "encode"))
        _one_of(self.via, "via", ("tracking", "pubsub"))


class CacheKeywords(TypedDict, total=False):
    """What `hf.cache(...)` takes besides `ttl` and `type`; see CacheOptions."""

    jitter: float
    stale: Duration | None
    negative_ttl: Duration | None
    lease: Duration
    max_loads: int
    wait: Duration | None
    timeout: Duration | None
    soft_timeout: Duration | None
    hard_timeout: Duration | None
    throttle: Duration
    early: float
    warm: int | None
    l1: L1 | None
    codec: Literal["msgpack", "json", "raw"]
    compress_above: Size | None
    compression: Literal["zlib", "zstd"]
    chunk_above: Size
    cipher: Cipher | None
    source: Any
    write: Write | Behind | None
    coalesce: Duration | None
    load_scope: Callable[[], AbstractContextManager[Any]] | None
    audit: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CacheOptions:
    """The settings of one cache. Durations may be given as people write them; they are kept as seconds.

    ttl             how long a value is fresh. Required: an entry that never ends is a leak, and the last
                    line of defence against an invalidation that somebody forgot.
    jitter          shortens each ttl by a random part of up to this fraction, so that what was filled
                    together does not end together; it never lengthens one.
    stale           how long a value may be served after its ttl: at once, while one process of the fleet
                    loads it anew, and for as long as that fails. None: not at all.
    negative_ttl    ttl of None and of absence (MISSING); None: as ttl; 0: they are not cached.
    lease           how long one load may take before another process may try. Make it longer than the
                    slowest load.
    max_loads       loads under way at once in this process and cache. What protects the database when
                    Redis is away.
    wait            the longest a reader waits for somebody else's load or for a free load; None: for
                    ever, on purpose.
    timeout         deadline of one question to the server; None: the client's.
    soft_timeout    how long a reader of one key who could have something stale waits for the load first;
                    it goes on, and lands. (Of many keys, what is stale is served at once.)
    hard_timeout    how long any reader waits for a load; then something stale or expired, or LoadTimeout.
                    It goes on, and lands.
    throttle        with `stale`: after a failed load, how long the fleet serves what is stale before it
                    tries again.
    early           beta of XFetch: the closer the end and the longer a load takes, the likelier a reader
                    has the value loaded anew before it ends, in the background. 0: never; 1: what the
                    paper shows to be best.
    warm            a value that this process reads so often in the last fifth of its life is loaded anew
                    before its end, in the background, by one process of the fleet. None: never.
    l1              a map in this process in front of the server; see L1. None: none.
    type            what the values are; Any: plain msgpack types.
    codec           how values are written: "msgpack", "json", or "raw" for bytes and str as they are.
    compress_above  size from which a value is compressed; None: never.
    compression     "zlib", or "zstd" (extra `zstd`). Reading understands both.
    chunk_above     size from which a value is stored in pieces, so that it holds up nobody on the way.
    cipher          encrypts values and opens them, bound to their keys; see Cipher.
    source          loads, saves and deletes (read-through); see `Source`.
    write           "through": `put` and `remove` write to the source first. "behind" or Behind(...): they
                    return when the server has it, and writers in the background bring it to the source.
    coalesce        single gets that miss within so much time are loaded by one call of
                    `source.load_many`; None: not.
    load_scope      a context manager, made and entered around every load that runs in a thread or task of
                    its own.
    audit           fraction of the hits that are compared with the source, from 0 to 1; see
                    `stats().stale_reads`.
    """

    ttl: Duration
    jitter: float = 0.1
    stale: Duration | None = None
    negative_ttl: Duration | None = None
    lease: Duration = "10s"
    max_loads: int = 32
    wait: Duration | None = "30s"
    timeout: Duration | None = None
    soft_timeout: Duration | None = None
    hard_timeout: Duration | None = None
    throttle: Duration = "1s"
    early: float = 0.0
    warm: int | None = None
    l1: L1 | None = None
    type: Any = Any
    codec: Literal["msgpack", "json", "raw"] = "msgpack"
    compress_above: Size | None = None
    compression: Literal["zlib", "zstd"] = "zlib"
    chunk_above: Size = "512KiB"
    cipher: Cipher | None = None
    source: Any = None
    write: Write | Behind | None = None
    coalesce: Duration | None = None
    load_scope: Callable[[], AbstractContextManager[Any]] | None = None
    audit: float = 0.0

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        for name in ("ttl", "lease", "throttle"):
            put(self, name, seconds(getattr(self, name), name))
        for name in ("stale", "negative_ttl", "wait"):
            put(self, name, optional_seconds(getattr(self, name), name, zero=True))
        for name in ("timeout", "soft_timeout", "hard_timeout", "coalesce"):
            put(self, name, optional_seconds(getattr(self, name), name))
        if self.compress_above is not None:
            put(self, "compress_above", size(self.compress_above, "compress_above"))
        put(self, "chunk_above", size(self.chunk_above, "chunk_above", least=1024))
        for name, below in (("jitter", 1.0), ("early", 1000.0), ("audit", 1.000001)):
            _fraction(getattr(self, name), name, below)
        _whole(self.max_loads, "max_loads")
        if self.warm is not None:
            _whole(self.warm, "warm")
        _one_of(self.codec, "codec", ("msgpack", "json", "raw"))
        _one_of(self.compression, "compression", ("zlib", "zstd"))
        self._check_times()
        self._check_source()

    def _check_times(self) -> None:
        if seconds(self.lease) < 0.001:
            raise ConfigurationError(f"lease={self.lease!r} must be at least a millisecond")
        if self.stale is not None and seconds(self.stale, zero=True) * 1000 > LONGEST_GRACE:
            raise ConfigurationError(f"stale={self.stale!r} must be at most 49 days")
        soft, hard = self.soft_timeout, self.hard_timeout
        if soft is not None and hard is not None and seconds(soft) >= seconds(hard):
            raise ConfigurationError(f"soft_timeout={soft!r} must be less than hard_timeout={hard!r}")
        if self.l1 is not None and not isinstance(self.l1, L1):
            raise ConfigurationError(f"l1={self.l1!r} must be an L1, as in l1=L1(max_entries=10_000)")
        if self.load_scope is not None and not callable(self.load_scope):
            raise ConfigurationError(
                f"load_scope={self.load_scope!r} must be callable: a context manager's class"
            )

    @property
    def behind(self) -> Behind | None:
        """How to write behind; None: not."""
        return Behind() if self.write == "behind" else self.write if isinstance(self.write, Behind) else None

    def _check_source(self) -> None:
        if self.write not in (None, "through", "behind") and not isinstance(self.write, Behind):
            raise ConfigurationError(f'write={self.write!r} must be None, "through", "behind" or Behind(...)')
        if self.write and self.source is None:
            raise ConfigurationError(
                f"write={self.write!r} needs a source=: an object with load_many, save_many, delete_many"
            )
        if self.coalesce is not None and self.source is None:
            raise ConfigurationError(f"coalesce={self.coalesce!r} needs a source=, whose load_many it calls")
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


def _whole(value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}={value!r} must be a whole number, at least 1")


def _fraction(value: object, name: str, below: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        raise ConfigurationError(
            f"{name}={value!r} must be a number from 0 up to, but not including, {below:g}"
        )


def _one_of(value: object, name: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")
