"""What a cache is, without any I/O: what it promises, and every decision it takes.

Promised, for every process that uses the cache through Holdfast:

* Once `invalidate`, `set` or `expire` has returned True, or `clear`, `put` or `remove` has returned, no read
  that starts later, in any process, gets what was there before, nor what was loaded before. A fill commits
  only under its own lease, and all of these remove the lease (so does `UNLINK <key> <key>:f` by hand).
* For one missing key one load in the whole fleet at a time; the others wait and are woken. If the loader
  dies, the next takes over when its lease ends. A load that outlasts its lease is not stored; then there may
  be two.
* A lookup never fails because Redis is away, full or read-only: it becomes a miss, loads under `max_loads`,
  and the database sees at most one load per key, event loop and process at a time.
* A value that cannot be read is a miss. Two versions of a type side by side do not replace each other's
  entries: the version that cannot read an entry keeps its own beside it (`<key>:s<schema>`), which dies with
  the entry.

The exception, when Redis is away: an invalidation that is not confirmed is kept. `invalidate`, `set` and
`expire` then return False; `put` and `remove` return all the same, since the source has it. Until it is
delivered (`stats().undelivered` counts those that are not)
* this process neither serves nor fills that key from Redis; it loads;
* every other process may still see the old value. It is delivered as soon as Redis is back and this process
  lives; if this process dies before, the old value lives until its ttl ends.

Not promised:

* After a failover to a replica that had not received the invalidation, or after a crash within the server's
  fsync window, an invalidated entry may be back until its ttl ends.
* A writer that dies after its commit and before its invalidation leaves the old value until its ttl ends. (A
  `put` that dies does not: the entry is removed, and fills are refused, before the source is written. But
  its lease may end before it has written, or an `invalidate` of the same key may come in between.)
* A loader that reads from a lagging replica of the database loads, and caches, what the replica says.
* `set` of a value computed from an older read stores it: only loads given to the cache are fenced.
* When Redis is full or read-only, no lease can be had: then one load per process, not one in the fleet.
* Where the server's clock is set back, entries live longer; nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from holdfast._values.codecs import Codec, codec_for
from holdfast._values.envelope import (
    EXPIRED,
    HEADER,
    IDENTITY,
    NEGATIVE,
    STAMP,
    Envelope,
    head,
    pack,
    unpack,
)  # fmt: skip
from holdfast._wire.script import Script
from holdfast.cache.entry import MISSING, Entry, Missing
from holdfast.errors import CodecError, OutOfMemory, ReadOnly, Refused

ABANDON = Script.load(__package__, "abandon")
BEGIN = Script.load(__package__, "begin")
EXPIRE = Script.load(__package__, "expire")
FILL = Script.load(__package__, "fill")
FINISH = Script.load(__package__, "finish")
LEASE = Script.load(__package__, "lease")
SET = Script.load(__package__, "set")

SHARDS = 16  # epochs of one cache, so that no node of a Cluster is hot
RETRY_FOR = 0.1  # seconds in which a question is asked again: with Redis away, the database answers sooner
PROBE = 0.25  # seconds that one question may take while we find out whether Redis is back
FOREVER = 1e6  # seconds; locks and selectors refuse infinity
LATE = 0.05  # seconds, at most, after a lease's end: so that those who wait for it do not all ask at once
FIRST_POLL, LONGEST_POLL = 0.02, 1.0  # seconds, where the server refuses to push
MAX_LOAD_MS = 2**32 - 1

# --- reading ------------------------------------------------------------------------------------------------


class Kind(Enum):
    """What a reader may do with what it found."""

    HIT = "hit"
    NOTHING = "nothing"  # no entry, or one of another epoch: cleared since
    EXPIRED = "expired"  # load again; `value` serves if that fails
    OTHER = "other"  # somebody else's schema: look at our variant
    UNREADABLE = "unreadable"  # may be replaced


class Verdict(NamedTuple):
    """`value` of a hit or of an expired entry; `reason` of one that cannot be read."""

    kind: Kind
    value: Any = MISSING
    reason: str = ""


_NOTHING = Verdict(Kind.NOTHING)


class Shape:
    """What a caller takes an entry for: a type, its codec, and the header that goes with it.

    An entry that starts with `head` and carries the current epoch is a hit if `read(raw[56:])` succeeds.
    """

    __slots__ = ("codec", "head", "read", "variant")

    def __init__(self, type: Any) -> None:
        self.codec: Codec[Any] = codec_for(type)
        self.head = head(self.codec.id)
        self.read: Callable[[bytes], Any] = self.codec.read
        self.variant = f":s{self.codec.schema:08x}"


def judge(raw: bytes | None, epoch: bytes | None, shape: Shape) -> Verdict:
    """What the entry `raw`, read together with its shard's `epoch`, is for a reader with `shape`."""
    if raw is None:
        return _NOTHING
    try:
        entry = unpack(raw)
    except CodecError as error:
        return Verdict(Kind.UNREADABLE, reason=error.reason)
    if epoch is None or entry.epoch != epoch:  # an epoch that was evicted makes misses, never stale hits
        return _NOTHING
    verdict = _open(entry, shape)
    if entry.flags & EXPIRED:
        return Verdict(Kind.EXPIRED, verdict.value if verdict.kind is Kind.HIT else MISSING)
    return verdict


def judge_variant(raw: bytes | None, main: bytes, shape: Shape) -> Verdict:
    """As `judge`, for our variant `raw` of `main`; it counts while it carries that entry's stamp."""
    if raw is None or len(raw) < HEADER or raw[STAMP] != main[STAMP]:
        return _NOTHING
    try:
        verdict = _open(unpack(raw), shape)
    except CodecError:
        return _NOTHING
    return verdict if verdict.kind is Kind.HIT else _NOTHING


def _open(entry: Envelope, shape: Shape) -> Verdict:
    if entry.flags & NEGATIVE:
        return Verdict(Kind.HIT, MISSING)
    if entry.codec == shape.codec.id:
        try:
            return Verdict(Kind.HIT, shape.codec.decode(entry.payload))
        except CodecError as error:
            reason = error.reason
    else:
        reason = "codec"
    if entry.schema != shape.codec.schema:
        return Verdict(Kind.OTHER, reason="schema")
    return Verdict(Kind.UNREADABLE, reason=reason)


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


def payload(value: Any, shape: Shape) -> bytes:
    """The encoded `value`. Raises: CodecError (unencodable)."""
    return b"" if value is MISSING else shape.codec.encode(value)


def envelope(
    value: Any,
    body: bytes,
    shape: Shape,
    *,
    stamp: bytes,
    epoch: bytes,
    loaded_at: int,
    ttl: int,
    took: float = 0.0,
) -> bytes:
    """The bytes of an entry that holds `value`, encoded as `body`. Times are ms, `took` is seconds."""
    flags = NEGATIVE if value is MISSING else 0
    took_ms = min(MAX_LOAD_MS, int(took * 1000))
    codec = shape.codec
    return pack(
        Envelope(codec.id, flags, codec.schema, stamp, epoch, loaded_at, ttl, None, took_ms, (), body)
    )


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


def peek(replies: list[Any], shape: Shape) -> Entry | Missing:
    """What `peek` shows, from the replies to GET entry, GET epoch, PTTL entry, TIME, GET variant."""
    raw, epoch, pttl, (whole, micros), variant = replies
    verdict = judge(raw, epoch, shape)
    if verdict.kind is Kind.OTHER:
        verdict, raw = judge_variant(variant, raw, shape), variant
    stale = verdict.kind is Kind.EXPIRED
    if not (stale or verdict.kind is Kind.HIT):
        return MISSING
    entry = unpack(raw)
    age = int(whole) + int(micros) / 1e6 - entry.loaded_at / 1000
    return Entry(verdict.value, max(0.0, age), max(0.0, pttl / 1000), stale, "l2", entry.version)


def is_off(name: str, switched_off: str) -> bool:
    """Does HOLDFAST_CACHE_OFF, names separated by commas or `*` for all, name this cache?"""
    names = {part.strip() for part in switched_off.split(",")}
    return "*" in names or name in names
