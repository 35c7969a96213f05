"""What an operator is told of a stream and its groups, and how it is reckoned. Pure.

Promise
* A lag is counted, not taken from the server, whose own number may be null or wrong (after XDEL, a trim, or
  XGROUP SETID). Up to EXACTLY entries in each partition, and whenever nothing or little stands before what is
  unread, it is exact; else it is a lower bound, and says so.
* A dead letter that is replayed is in the stream or among the dead letters, never in both or in neither,
  whatever dies in between; only its group handles it again.
* Retention removes nothing that a group has not read or not acknowledged, but for `drop_unread=True`.

Not promised
* A group counts from its first run on: what retention removes before that, it never sees.
* Limits are kept to from time to time, by whoever consumes or publishes: there may be a few entries more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.durations import seconds
from holdfast.errors import ConfigurationError
from holdfast.streams.layout import LATER
from holdfast.streams.options import Lag, Retention

BEGIN = Script.load(__package__, "begin")
DEAD = Script.load(__package__, "dead")
DROP = Script.load(__package__, "drop")
LAG = Script.load(__package__, "lag")
SEEK = Script.load(__package__, "seek")
SUM = Script.load(__package__, "sum")
TIDY = Script.load(__package__, "tidy")
WHO = Script.load(__package__, "who")

COUNTED = 1_000  # entries that one run of lag.lua counts
EXACTLY = 10_000  # entries of a partition that are counted, at most
PAGE = 200  # entries in one reply of lists
MANY = 1_000  # publishes after which a publisher tidies up
OFTEN = 10.0  # seconds after which it does so, and a consumer at the latest
SELDOM = 1.0  # seconds after which a consumer does so, at the earliest
REMIND = 60.0  # seconds between two signals of the same matter
WATCHED = 120.0  # seconds for which a lag is kept up to date after somebody has asked for it

_ID = re.compile(r"(\d+)(?:-(\d+))?")
_LAST = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionHeld(Signal):
    """A partition keeps more than its limits say, since `group` has not read or not acknowledged it."""

    level = "warning"
    stream: str
    group: str
    partition: int


class GroupMember(NamedTuple):
    """One of those who consume for a group. `lease`: seconds until it counts as dead if it is silent, 0.0 if
    it does; None for a consumer that is another program's. `pending`: what it has and has not acknowledged.
    """

    name: str
    host: str
    pid: int | None
    partitions: tuple[int, ...]
    pending: int
    lease: float | None


class StreamEntry(NamedTuple):
    """An entry of a stream; `value` is None where it cannot be read, and `error` says why."""

    id: str
    value: Any
    key: str | None
    headers: Mapping[str, str]
    dedup_id: str | None
    partition: int
    published_at: datetime
    error: str


class StreamPart(NamedTuple):
    """What is in a partition; see StreamInfo."""

    partition: int
    entries: int
    bytes: int | None
    age: float
    delayed: int
    groups: tuple[str, ...]


class StreamInfo(NamedTuple):
    """What is in a stream. `bytes`: about, by the server; None if that may not be asked. `age`: seconds since
    the oldest entry was published; `delayed`: entries that are not due yet.
    """

    entries: int
    bytes: int | None
    age: float
    delayed: int
    groups: tuple[str, ...]
    partitions: tuple[StreamPart, ...]


# --- lag ----------------------------------------------------------------------------------------------------


class Count(NamedTuple):
    """What lag.lua answers; told there."""

    exists: int
    unread: int
    cursor: bytes
    last: bytes
    removed: int
    age: int
    pending: int
    oldest: int


def total(counts: Iterable[Count]) -> Lag:
    """The lag over all partitions."""
    found = list(counts)
    return Lag(
        entries=sum(one.unread for one in found),
        exact=not any(one.cursor for one in found),
        age=max((one.age for one in found), default=0) / 1000,
        pending=sum(one.pending for one in found),
        oldest_pending=max((one.oldest for one in found), default=0) / 1000,
    )


def more(before: Count, after: Count) -> Count:
    """A count that was gone on with. What was removed meanwhile may have been in it: then it is no more than
    a lower bound of what it was at the beginning.
    """
    cursor = after.cursor or (b"" if after.removed == before.removed else b"?")
    return before._replace(unread=before.unread + after.unread, cursor=cursor)


# --- members ------------------------------------------------------------------------------------------------


def members(rows: Iterable[tuple[int, Sequence[Any]]], everybody: Iterable[str] = ()) -> list[GroupMember]:
    """Who consumes, of rows of who.lua with the number of their partition. `everybody`: those who have said
    that they do, though they may have no partition yet.
    """
    found: dict[str, GroupMember] = {name: GroupMember(name, *_place(name), (), 0, 0.0) for name in everybody}
    for partition, (raw, left, pending) in rows:
        name = raw.decode("utf-8", "replace")
        if name == LATER:
            continue
        known = found.get(name) or GroupMember(name, *_place(name), (), 0, 0.0)
        lease = None if left < 0 else max(left / 1000, known.lease or 0.0)
        parts = (*known.partitions, partition)
        found[name] = known._replace(partitions=parts, pending=known.pending + pending, lease=lease)
    return sorted(found.values(), key=lambda one: (one.host, one.pid or 0, one.name))


def _place(name: str) -> tuple[str, int | None]:
    """Host and pid in a member's name, as _coord/owner.py makes them."""
    host, _, rest = name.partition(":")
    pid = rest.partition(":")[0]
    return (host, int(pid)) if rest and pid.isdigit() else ("", None)


# --- places in a stream -------------------------------------------------------------------------------------


def behind(after: str | datetime, what: str) -> str:
    """The id behind which to go on, of an id or a point in time. Raises: ConfigurationError."""
    return before(after, what) if isinstance(after, datetime) else "{}-{}".format(*parsed(after, what))


def before(place: str | datetime, what: str) -> str:
    """The last id before `place`: an id, or a point in time. Raises: ConfigurationError."""
    if isinstance(place, datetime):
        if place.tzinfo is None:
            raise ConfigurationError(f"{what}={place!r} has no time zone; use datetime.now(UTC) and the like")
        ms, seq = max(0, round(place.timestamp() * 1000)), 0
    else:
        ms, seq = parsed(place, what)
    if seq:
        return f"{ms}-{seq - 1}"
    return f"{ms - 1}-{_LAST}" if ms else "0-0"


def parsed(id: Any, what: str) -> tuple[int, int]:
    """An id of a stream as two numbers. Raises: ConfigurationError."""
    found = _ID.fullmatch(id) if isinstance(id, str) else None
    if found is None or int(found[1]) > _LAST or int(found[2] or 0) > _LAST:
        raise ConfigurationError(f'{what}={id!r} must be an id of this stream, as "1795689174386-0"')
    return int(found[1]), int(found[2] or 0)


def start_of(place: Any) -> str:
    """The place from which a group is to go on, as seek.lua is told it. Raises: ConfigurationError."""
    if place in ("first", "new"):
        return "0" if place == "first" else "$"
    if not isinstance(place, datetime) and not (isinstance(place, str) and _ID.fullmatch(place)):
        raise ConfigurationError(
            f'seek({place!r}) must be "first", "new", a point in time, or the id of a message'
        )
    return before(place, "seek")


# --- dead letters -------------------------------------------------------------------------------------------


def letter_id(partition: int, id: bytes) -> str:
    """The id of a dead letter: ids of entries are unique in one partition only."""
    return f"{partition}:{id.decode()}"


def letter_place(id: Any, partitions: int) -> tuple[int, str]:
    """Partition and entry of a dead letter. Raises: ConfigurationError."""
    number, _, entry = id.partition(":") if isinstance(id, str) else ("", "", "")
    if not number.isdigit() or not _ID.fullmatch(entry) or int(number) >= partitions:
        raise ConfigurationError(
            f'{id!r} is no id of a dead letter, as "0:1795689174386-0"; list() tells them'
        )
    return int(number), entry


# --- retention ----------------------------------------------------------------------------------------------


def limits(retention: Retention | None) -> tuple[int, ...]:
    """What is kept, as tidy.lua is told it: acked, entries, age, bytes, drop."""
    if retention is None:
        return (0, 0, 0, 0, 0)
    age = 0 if retention.max_age is None else max(1, round(seconds(retention.max_age) * 1000))
    acked, drop = int(retention.kind != "limits"), int(retention.drop_unread)
    return (acked, retention.max_entries or 0, age, retention.max_bytes or 0, drop)


def rest(lease: float, dice: float) -> float:
    """Seconds until a consumer tidies up again."""
    return max(SELDOM, min(OFTEN, lease / 3)) * (0.75 + dice / 2)
