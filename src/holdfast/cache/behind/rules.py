"""Write-behind, without any I/O: what it promises, and every decision it takes.

`put` and `remove` are journaled in Redis and shown to readers in one step; a writer applies them to the
source a moment later. One record per key waits: the last put wins, the others never reach the source.

Promised:

* A put or removal that has returned reaches the source, or ends as a dead letter, whoever is killed in
  between: this process, the writer, or (with AOF, see below) the server.
* Per key the source gets them in the order in which the server took them. `put; remove` ends removed,
  `remove; put` ends put. It may get the same one twice (a writer that died between commit and
  acknowledgement), so saving and deleting must be idempotent, as they are for rows.
* Readers see what waits, also when the entry was evicted, invalidated or cleared: the journal is asked, under
  the lease of the fill, before the source.
* One writer per partition in the whole fleet. It has a fence, an integer that only grows, and a
  source whose methods take `fence=` (and `partition=`, as "prices:3") is told.
* `flush` returns when the source has, for every key, what was put before the call or something newer, or when
  that is a dead letter.
* A source that is away loses nothing and makes no dead letters. One that refuses a record (and takes others,
  or at least answers reads) is asked `attempts` times for it, while the others go on; then it is a dead
  letter. From then on readers see what the source has; a newer put of the key takes the dead letter's place.

Not promised:

* That a put survives a failover to a replica that had not received it: `durability=Durability(replicas=1)`
  waits for the replica. Or the crash of a server without AOF. With `appendfsync everysec` a killed server
  process loses nothing while its disk keeps up; a killed machine loses a second; `always` loses nothing.
* Order, where a writer is frozen for longer than its lease between its last look at the clock and the commit,
  or where a call of the source that failed takes effect later all the same, or for up to one lease after a
  failover that has lost the lease. Only a source that checks the fence in the transaction that writes (as the
  TableSource of holdfast.contrib.sqlalchemy does) refuses what comes too late: a new writer has a higher one,
  and so has the same writer after a call that failed.
* Order between keys: the source may get them in any.
* That a call of the source ever ends: one without a deadline of its own holds up its partition. (In asyncio
  it is cancelled when the lease has ended, which a renewal prevents as long as this process gets through.)
* That a put which raised Unavailable or NotDurable was not journaled: its answer may be what was lost.
* Anything while Redis is away: puts raise Unavailable, and reads come from the source, which lacks what
  waits.
* A dead letter for a record whose errors say that the source is away (`is_away`): it is tried for ever.
* That a refused record and a source that takes nothing are always told apart (see Evidence). Several that are
  refused, where nothing else is put, are kept and tried until another record is taken. One alone, at a source
  that answers reads but takes no writes, and says so with an error of its own kind, ends as a dead letter.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError, Unavailable

ACK = Script.load(__package__, "ack")
CLAIM = Script.load(__package__, "claim")
FAIL = Script.load(__package__, "fail")
HASTEN = Script.load(__package__, "hasten")
PUT = Script.load(__package__, "put")
RELEASE = Script.load(__package__, "release")
REPLAY = Script.load(__package__, "replay")
TAKE = Script.load(__package__, "take")

LATE, TAKEN, FULL = range(3)  # what put.lua answers
GONE: Final = -1  # what ack.lua and fail.lua answer where the lease is not ours any more
DEAD: Final = -2  # what fail.lua answers
NOT_OURS: Final = -2  # what take.lua answers in place of a rest

SAFETY_POLL = 2.0  # seconds after which a writer looks although nobody has pushed
ROOM_POLL = 0.25  # the same for who waits for room or for a flush
KEEP_MS = 60_000  # for which an id is remembered where the caller's deadline is unknown
BATCH_BYTES = 8 << 20  # of records in one batch, about
MARGIN = 1 / 3  # part of the lease that must be left for a call of the source to begin
RENEWALS = 3  # in one lease
SMALL = 3  # records in a batch that may all be refused although the source is there
FULL_RETRY = 1.0  # seconds: what Overloaded suggests


class Nothing(Enum):
    """The type of NOTHING."""

    NOTHING = "nothing"

    def __bool__(self) -> bool:
        return False


NOTHING: Final = Nothing.NOTHING
"""Nothing waits under this key: ask the source. (MISSING: it waits to be removed.)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettered(Signal):
    """A record was refused as often as it may be; it waits in `dead_letters()`."""

    level = "error"
    cache: str
    key: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailed(Signal):
    """The source took nothing of a batch; the writer of this partition tries again in `rest` seconds."""

    level = "warning"
    cache: str
    partition: int
    error: str
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStumbled(Signal):
    """An unexpected error (a bug) in a writer; it goes on."""

    level = "error"
    cache: str
    cause: str


# --- is it the record or the source? ------------------------------------------------------------------------


def is_away(error: BaseException) -> bool:
    """Does `error` say that the source cannot be reached, whatever it was asked for?

    `connection_invalidated` is how SQLAlchemy tells it.
    """
    away = isinstance(error, ConnectionError | TimeoutError | Unavailable)
    return away or bool(getattr(error, "connection_invalidated", False))


class Blame(Enum):
    """Whose fault it is that a record was not taken, as fail.lua is told it."""

    RECORD = 1
    UNCLEAR = 2  # the record's, if it was proved to be before
    PERHAPS = 3  # the record's, but that proves nothing


class Evidence:
    """What the writers of one process know of their source: does it take anything?

    A failure is an attempt of its record if it cannot be the source's: another record was taken in the same
    batch, or since this one failed last; or, where a batch is SMALL, one that was put later. Failing that,
    and only if reads are answered, it is one if nothing else fails, or if the record was proved to be to
    blame before. A batch of which nothing is taken proves nothing: then the source is away.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._newest = 0
        self._failing: dict[Hashable, int] = {}

    def took(self, record: Hashable, seq: int) -> None:
        """The source took `record`, whose number is `seq`."""
        self._taken += 1
        self._newest = max(self._newest, seq)
        self._failing.pop(record, None)

    def failed(self, record: Hashable, seq: int, *, batch: int, took: bool) -> tuple[Blame, bool]:
        """Who is to blame, and is that certain even if nobody knows whether the source answers reads?

        `batch`: how many records it was tried with; `took`: was one of them taken?
        """
        before = self._failing.get(record)
        alone = batch == 1 and not self._failing.keys() - {record}
        self._failing[record] = self._taken
        since = before is not None and self._taken > before
        if took or since or (batch <= SMALL and self._newest > seq):
            return Blame.RECORD, True
        return (Blame.PERHAPS if alone else Blame.UNCLEAR), False

    def forget(self, records: Callable[[Hashable], bool]) -> None:
        """Others look after `records` now, or nobody."""
        for one in [one for one in list(self._failing) if records(one)]:
            self._failing.pop(one, None)


def budget(records: int, strain: int, *, away: bool) -> int:
    """How many calls may fail before a batch of `records` of which nothing was taken is given up.

    Enough to come down to single records twice; less if the error says that the source is away. `strain` is
    how often in a row that was not enough: a batch may be full of records that are refused, so it doubles.
    """
    least = 3 if away else 2 * math.ceil(math.log2(max(2, records))) + 2
    return min(2 * records, least << min(strain, 16))


def rest(failures: int, first: float, longest: float, dice: float) -> float:
    """Seconds to leave the source alone after so many failures in a row: exponential, with full jitter.

    Not less than a tenth: `dice` may be 0, and the source is in trouble.
    """
    return min(longest, first * 2.0 ** min(failures - 1, 40)) * max(0.1, dice)


# --- the rest -----------------------------------------------------------------------------------------------


def keywords(method: Callable[..., Any]) -> frozenset[str]:
    """Which of `fence` and `partition` the source's `method` takes."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):  # written in C: takes what Source says
        return frozenset()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return frozenset({"fence", "partition"})
    named = {one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}
    return frozenset(named & {"fence", "partition"})


def reader(read: Callable[..., Any]) -> Callable[[bytes, str], Any]:
    """`read`, to be told an envelope and the key of its entry; it may take the envelope alone."""
    parameters = inspect.signature(read).parameters.values()
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return read if len(places) > 1 else lambda envelope, _: read(envelope)


def check_count(name: str, wanted: int, found: bytes | None) -> None:
    """Raises: ConfigurationError if `found`, the server's number of partitions, is another than `wanted`."""
    if found is not None and found != str(wanted).encode():
        raise ConfigurationError(
            f"cache {name!r}: Behind(partitions={wanted}), but it was begun with partitions="
            f"{found.decode()}; all its clients must say the same, and it cannot be changed while "
            f"the journal is in use"
        )


def no_aof(name: str) -> str:
    """The consequence of a server without AOF."""
    return (
        f"off: if the server dies, write-behind of cache {name!r} loses what was put since its last "
        f"snapshot and is not in the source yet; set appendonly yes"
    )


def described(error: BaseException) -> str:
    """`error` in a line."""
    return f"{type(error).__name__}: {error}"


def oldest(reply: Any) -> float | None:
    """The score in the reply to ZRANGE 0 0 WITHSCORES, whichever protocol made it; None where it is empty."""
    if not reply:
        return None
    first = reply[0]
    return float(first[1] if isinstance(first, list | tuple) else reply[1])
