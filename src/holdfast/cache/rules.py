"""What a cache is, without any I/O: what it promises, and every decision it takes.

Promised, for every process that uses the cache through Holdfast:

* Once `invalidate`, `set`, `expire` or `invalidate_tags` has returned True, or `clear`, `put` or `remove` has
  returned, no read that starts later, in any process, gets what was there before, or what was loaded before;
  from a near cache of another process, for at most its `max_staleness` (near.py). A fill commits only under
  its own lease, and all of these remove the lease (so does `UNLINK <key> <key>:f` by hand); tags: see
  tags.py.
* For one missing key one load in the whole fleet at a time; the others wait and are woken. If the loader
  dies, the next takes over when its lease ends. A load that outlasts its lease is not stored; then there may
  be two.
* Nothing is served after its ttl unless `stale` allows it, and after that never. What is stale was true at
  the end of its ttl: an invalidation ends it like anything else.
* An older version never replaces a newer one, as far as both say theirs.
* A lookup never fails because Redis is away, full or read-only: it becomes a miss, loads under `max_loads`,
  and the database sees at most one load per key, event loop and process at a time.
* A value that cannot be read is a miss. Two versions of a type side by side do not replace each other's
  entries: the version that cannot read an entry keeps its own beside it (`<key>:s<schema>`), which dies with
  the entry.

The exception, when Redis is away: an invalidation that is not confirmed is kept. `invalidate`, `set`,
`expire` and `invalidate_tags` then return False; `put` and `remove` return all the same, since the source has
it. Until it is delivered (`stats().undelivered` counts those that are not)
* this process neither serves nor fills that key, or what has that tag, from Redis; it loads;
* every other process may still see the old value. It is delivered as soon as Redis is back and this process
  lives; if this process dies before, the old value lives until its ttl and its grace end.

Not promised:

* After a failover to a replica that had not received the invalidation, or after a crash within the server's
  fsync window, an invalidated entry may be back until its ttl ends.
* A writer that dies after its commit and before its invalidation leaves the old value until its ttl ends. (A
  `put` that dies does not: the entry is removed, and fills are refused, before the source is written. But
  its lease may end before it has written, or an `invalidate` of the same key may come in between.) The outbox
  of holdfast.contrib closes this hole.
* A loader that reads from a lagging replica of the database loads, and caches, what the replica says, unless
  versions are told (`invalidate(version=, hold=)`).
* `set` of a value computed from an older read stores it: only loads given to the cache are fenced.
* When Redis is full or read-only, no lease can be had: then one load per process, not one in the fleet.
* Where the server's clock is set back, entries live longer; nothing else depends on it.
* What is written behind has promises of its own (behind/rules.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from math import log
from typing import Any, NamedTuple

from holdfast._values.envelope import (
    EXPIRED,
    GRACE_AT,
    HEADER,
    IDENTITY,
    NEGATIVE,
    STAMP,
    Envelope,
    pack,
    unpack,
)  # fmt: skip
from holdfast._wire.script import Script
from holdfast.cache.entry import MISSING, Entry, Missing
from holdfast.cache.shape import Shape
from holdfast.errors import CodecError, ConfigurationError, OutOfMemory, ReadOnly, Refused

ABANDON = Script.load(__package__, "abandon")
BEGIN = Script.load(__package__, "begin")
CLAIM = Script.load(__package__, "claim")
EXPIRE = Script.load(__package__, "expire")
FILL = Script.load(__package__, "fill")
FINISH = Script.load(__package__, "finish")
INVALIDATE = Script.load(__package__, "invalidate")
LEASE = Script.load(__package__, "lease")
SET = Script.load(__package__, "set")
TELL = Script.load(__package__, "tell")

OFF = b"\0off\0off"  # the epoch of a cache that the whole fleet goes without
SHARDS = 16  # epochs of one cache, so that no node of a Cluster is hot
RETRY_FOR = 0.1  # seconds in which a question is asked again: with Redis away, the database answers sooner
PROBE = 0.25  # seconds that one question may take while we find out whether Redis is back
FOREVER = 1e6  # seconds; locks and selectors refuse infinity
LATE = 0.05  # seconds, at most, after a lease's end: so that those who wait for it do not all ask at once
FIRST_POLL, LONGEST_POLL = 0.02, 1.0  # seconds, where the server refuses to push
GUARDED_LOADS = 64  # without a tag that was not announced; then nobody looks out for one any more
VERSIONED_HOLD = 10.0  # seconds for which an invalidation with a version keeps older ones out

# --- reading ------------------------------------------------------------------------------------------------


class Kind(Enum):
    """What a reader may do with what it found."""

    HIT = "hit"
    NOTHING = "nothing"  # no entry, or one of another epoch, or with a tag of another version: removed since
    STALE = "stale"  # its ttl is over: `value` may serve while it is loaded anew, if the cache allows it
    EXPIRED = "expired"  # load again; `value` serves if that fails
    OTHER = "other"  # somebody else's schema: look at our variant
    UNREADABLE = "unreadable"  # may be replaced


class Verdict(NamedTuple):
    """`value` of what can be served; `reason` why one cannot be read; `entry` what it stands in."""

    kind: Kind
    value: Any = MISSING
    reason: str = ""
    entry: Envelope | None = None


NOTHING = Verdict(Kind.NOTHING)


def unpacked(raw: bytes | None, epoch: bytes | None) -> Envelope | Verdict:
    """The entry `raw`, read together with its shard's `epoch`; a verdict if it cannot be a hit."""
    if raw is None:
        return NOTHING
    try:
        entry = unpack(raw)
    except CodecError as error:
        return Verdict(Kind.UNREADABLE, reason=error.reason)
    if (
        epoch is None or epoch == OFF or entry.epoch != epoch
    ):  # an epoch that was evicted makes misses, never stale hits
        return NOTHING
    return entry


def judge(entry: Envelope, shape: Shape, name: str, left: int | None = None) -> Verdict:
    """What `entry`, under the key `name`, is for a reader with `shape`; the server keeps it for `left` ms
    yet.

    Its epoch and its tags are those of today, and its payload is whole.
    """
    verdict = _opened(entry, shape, name)
    kind = verdict.kind
    if entry.flags & EXPIRED:
        kind = Kind.EXPIRED
    elif kind is Kind.HIT and is_over(entry, left):
        kind = Kind.STALE
    value = verdict.value if verdict.kind is Kind.HIT else MISSING
    return Verdict(kind, value, verdict.reason, entry)


def is_over(entry: Envelope, left: int | None) -> bool:
    """Is the ttl of `entry` over, with `left` ms of its life on the server to go?"""
    return bool(entry.grace) and left is not None and left <= entry.grace


def variant_of(raw: bytes | None, main: bytes) -> Envelope | None:
    """Our variant `raw` of the entry `main`; it counts while it carries that entry's stamp."""
    if raw is None or len(raw) < HEADER or raw[STAMP] != main[STAMP]:
        return None
    try:
        return unpack(raw)
    except CodecError:
        return None


def judge_variant(entry: Envelope, shape: Shape, name: str) -> Verdict:
    """As `judge`, for our variant of another entry, which is whole."""
    verdict = _opened(entry, shape, name)
    return verdict._replace(entry=entry) if verdict.kind is Kind.HIT else NOTHING


def _opened(entry: Envelope, shape: Shape, name: str) -> Verdict:
    if entry.flags & NEGATIVE:
        return Verdict(Kind.HIT, MISSING)
    if entry.codec == shape.codec.id:
        try:
            return Verdict(Kind.HIT, shape.decode(entry, name))
        except CodecError as error:
            reason = error.reason
    else:
        reason = "codec"
    if entry.schema != shape.codec.schema:
        return Verdict(Kind.OTHER, reason="schema")
    return Verdict(Kind.UNREADABLE, reason=reason)


def is_current(tags: Iterable[tuple[str, bytes]], versions: Mapping[str, bytes | None]) -> bool:
    """Are all of an entry's `tags` what they were when it was filled? A tag that was evicted is not."""
    return all(versions.get(tag) == version for tag, version in tags)


def is_fresh(raw: bytes, left: int) -> bool:
    """Is an entry with a grace still within its ttl, with `left` ms of its life on the server to go?"""
    return left > int.from_bytes(raw[GRACE_AT], "little")


def may_serve(left: int | None, grace: int, stale: float) -> bool:
    """May a reader who allows `stale` seconds have an entry whose ttl is over?"""
    return left is not None and grace - left <= stale * 1000


def should_refresh(entry: Envelope, left: int, early: float, dice: float) -> bool:
    """Should this reader have a fresh entry loaded anew? XFetch: Vattani, Chierichetti and Lowenstein, VLDB
    2015.

    The longer a load takes and the closer the end, the likelier; so that of all readers about one does, about
    a load's time before the end. `dice` is from 0 (excluded) to 1.
    """
    return left - entry.grace <= early_by(entry, early, dice)


def early_by(entry: Envelope, early: float, dice: float) -> float:
    """How many ms before its end a reader has `entry` loaded anew; `dice` is from 0 (excluded) to 1."""
    return -early * entry.load_ms * log(dice)


def is_last_fifth(entry: Envelope, left: int) -> bool:
    """Is an entry in the part of its life in which its reads are counted, to see whether it is kept warm?"""
    return (left - entry.grace) * 5 <= entry.ttl


def seen(raw: bytes | None) -> bytes:
    """What names the entry `raw` in a request for the lease: it changes with every fill, flag and epoch."""
    return b"" if raw is None else raw[IDENTITY]


def may_share(arrived: int, began: int) -> bool:
    """May who came at `arrived` share a flight whose decisive step was at `began` (0: had none)?"""
    return arrived < began


# --- writing -----------------------------------------------------------------------------------------------


def store_for(value: Any, ttl: float, negative_ttl: float | None, jitter: float, dice: float) -> int:
    """Milliseconds for which to store `value`; 0: not at all. `dice`, from 0 to 1, shortens."""
    if negative_ttl is not None and (value is None or value is MISSING):
        ttl = negative_ttl
    return 0 if ttl <= 0 else max(1, int(ttl * 1000 * (1 - jitter * dice)))


class Draft(NamedTuple):
    """What is known of an entry before it is written; times are ms, `took` is seconds."""

    stamp: bytes
    epoch: bytes
    loaded_at: int
    ttl: int
    grace: int = 0
    took: float = 0.0
    version: int | None = None
    tags: tuple[tuple[str, bytes], ...] = ()
    etag: str = ""

    @property
    def lives(self) -> int:
        """Milliseconds for which the server keeps it."""
        return self.ttl + self.grace


def payload(value: Any, shape: Shape, name: str) -> tuple[int, bytes]:
    """Flags and bytes of `value` under the key `name`. Raises: CodecError (unencodable)."""
    return (NEGATIVE, b"") if value is MISSING else shape.encode(value, name)


def envelope(draft: Draft, flags: int, body: bytes, shape: Shape) -> bytes:
    """The bytes of the entry that `draft` describes, with the payload `body`."""
    codec = shape.codec
    start = (codec.id, flags, codec.schema, draft.stamp, draft.epoch, draft.loaded_at, draft.ttl)
    took = int(draft.took * 1000)
    return pack(Envelope(*start, draft.version, took, draft.tags, body, draft.grace, draft.etag))


def version_bytes(version: int | None) -> bytes:
    """`version` as scripts compare it; eight zeros for none."""
    return (version or 0).to_bytes(8, "little", signed=True)


def check_version(version: int | None) -> int | None:
    """`version`, if it can be one. Raises: ConfigurationError."""
    if version is not None and (
        isinstance(version, bool) or not isinstance(version, int) or not 0 < abs(version) < 1 << 63
    ):
        raise ConfigurationError(
            f"version={version!r} must be a whole number of 64 bits other than 0, such as a row's version"
        )
    return version


def why_refused(error: Refused) -> str | None:
    """The word to count a refused fill under; None if the refusal is the operator's mistake: raise it."""
    if isinstance(error, OutOfMemory):
        return "out_of_memory"
    if isinstance(error, ReadOnly):
        return "misconf" if error.code == "MISCONF" else "read_only"
    return None


# --- waiting -----------------------------------------------------------------------------------------------


def left(deadline: float, now: float) -> float:
    """Seconds until `deadline`, never negative, and never more than a lock can wait."""
    return min(FOREVER, max(0.0, deadline - now))


def park(pttl_ms: int, remaining: float, dice: float) -> float:
    """Seconds to wait for the push: until the other's lease has ended, at most `remaining`."""
    return min(remaining, LONGEST_POLL, max(0.0, pttl_ms / 1000) + LATE * dice)


def poll(attempt: int, remaining: float, dice: float) -> float:
    """Seconds to wait where nobody pushes: exponential backoff with full jitter, at most `remaining`."""
    longest = min(LONGEST_POLL, FIRST_POLL * 2.0 ** min(attempt, 16))
    return min(remaining, longest * max(0.1, dice))


def shard(tag_crc: int) -> int:
    """Which epoch an entry belongs to, from the CRC-32 of its tag."""
    return tag_crc % SHARDS


# --- the rest ----------------------------------------------------------------------------------------------


def shown(verdict: Verdict, left: int, now: int, layer: str = "l2") -> Entry | Missing:
    """What `peek` shows of `verdict`; the entry's life on the server goes on for `left` ms, `now` is server
    ms.
    """
    entry = verdict.entry
    if entry is None or verdict.kind not in {Kind.HIT, Kind.STALE, Kind.EXPIRED}:
        return MISSING
    age = max(0, now - entry.loaded_at) / 1000
    ttl = max(0, left - entry.grace) / 1000
    return Entry(verdict.value, age, ttl, verdict.kind is not Kind.HIT, layer, entry.version)


def is_off(name: str, switched_off: str) -> bool:
    """Does HOLDFAST_CACHE_OFF, names separated by commas or `*` for all, name this cache?"""
    names = {part.strip() for part in switched_off.split(",")}
    return "*" in names or name in names
