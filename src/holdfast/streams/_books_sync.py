# Generated from _books_async.py by tools/unasync.py. Do not edit.
"""Group: a group of consumers as an operator sees it; and what there is to see of a stream itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from holdfast._compat import gather
from holdfast._coord.owner import token
from holdfast.errors import ConfigurationError, ConflictError
from holdfast.streams import books, record, rules
from holdfast.streams._desk_sync import Desk
from holdfast.streams.books import GroupMember, StreamEntry, StreamInfo, StreamPart
from holdfast.streams.layout import Partition
from holdfast.streams.options import Lag, Start


class Group:
    """A group of consumers; made by `stream.group(name)`."""

    def __init__(self, desk: Desk, name: str, start: Start = "first") -> None:
        """`start`: where it begins if nobody has consumed yet. Raises: ConfigurationError."""
        self.name = check_group(name)
        self._desk = desk
        self._start = books.start_of(start)

    def lag(self) -> Lag:
        """How far it is behind, over all partitions; see Lag. A group that has not begun yet has all of it
        before it.

        What is unread is counted: see holdfast.streams.books. Raises: Unavailable, Refused, Closed.
        """
        agree(self._desk)
        counts = gather([partial(self._count, part) for part in self._desk.layout.parts])
        return books.total(counts)

    def _count(self, part: Partition) -> books.Count:
        keys = (part.stream, part.group(self.name).saved)
        run, args = self._desk.wire.run, (self.name, self._start, books.COUNTED)
        found = books.Count(*run(books.LAG, keys, (*args, "", "")))
        while found.cursor and found.unread < books.EXACTLY:
            after = books.Count(*run(books.LAG, keys, (*args, found.cursor, found.last)))
            found = books.more(found, after)
            if not after.cursor:
                break
        return found

    def members(self) -> list[GroupMember]:
        """Who consumes for it, in which partitions; also those whose lease has ended and who have something.

        Raises: Unavailable, Refused, Closed.
        """
        agree(self._desk)
        layout, run = self._desk.layout, self._desk.wire.run
        everybody = self._desk.wire.execute("ZRANGE", layout.consumers(self.name), 0, -1, retry="safe")
        rows: list[tuple[int, Any]] = []
        for part in layout.parts:
            found = run(books.WHO, (part.stream, part.group(self.name).members), (self.name,))
            rows += [(part.number, one) for one in found]
        return books.members(rows, [one.decode("utf-8", "replace") for one in everybody])

    def seek(self, place: str | datetime, *, force: bool = False) -> int:
        """Have it go on from another place, in all partitions: "first", the first entry; "new", what is
        published from now on; a point in time; or the id of a message, which is the next one then. Returns
        how many deliveries that were pending are forgotten.

        What lies behind the place is delivered, again if it was before, with deliveries counted anew; what
        lies before it is not, though it was pending. Dead letters stay. While members are at work it is
        refused, as ConflictError; `force`: what they have at hand does not count any more, and they go on
        from there. Should it fail halfway, some partitions have moved and others not: do it again.

        Raises: ConflictError, ConfigurationError, Unavailable, Refused, Closed.
        """
        where = books.start_of(place)
        agree(self._desk)
        if not force:
            self._refuse_if_busy("seek")
        forgotten = 0
        for part in self._desk.layout.parts:
            of = part.group(self.name)
            keys = (part.stream, of.members, of.retries, of.errors, of.saved, of.turns, part.bell)
            args = (self.name, where, int(force), token())
            count, alive = self._desk.wire.run(books.SEEK, keys, args)
            if alive:
                raise self._busy("seek", alive)
            forgotten += count
        return forgotten

    def delete(self, *, force: bool = False) -> None:
        """Delete it with all that is its, its dead letters too; retention waits for it no more.

        While members are at work it is refused, as ConflictError; with `force` they make it anew, and begin
        where they would if it had never been. Raises: ConflictError, Unavailable, Refused, Closed.
        """
        agree(self._desk)
        if not force:
            self._refuse_if_busy("delete")
        for part in self._desk.layout.parts:
            of = part.group(self.name)
            keys = (part.stream, of.members, of.retries, of.errors, of.saved, of.turns, of.dead)
            alive = self._desk.wire.run(books.DROP, keys, (self.name, int(force)))
            if alive:
                raise self._busy("delete", alive)
        self._desk.wire.execute("UNLINK", self._desk.layout.consumers(self.name), retry="safe")

    def _refuse_if_busy(self, what: str) -> None:
        """Look at all partitions before one is changed. Raises: ConflictError."""
        alive = [one.name for one in self.members() if one.lease]
        if alive:
            raise self._busy(what, alive)

    def _busy(self, what: str, alive: Sequence[Any]) -> ConflictError:
        names = [one if isinstance(one, str) else one.decode("utf-8", "replace") for one in alive]
        return ConflictError(
            f"group {self.name!r} of stream {self._desk.name!r} is at work ({', '.join(names[:3])}"
            f"{', ...' if len(names) > 3 else ''}); stop its workers, or say {what}(..., force=True)",
            expected=0,
            actual=len(names),
        )


def agree(desk: Desk) -> None:
    """Make sure that the stream has as many partitions as `desk` thinks. Raises: ConfigurationError."""
    found = desk.wire.execute("GET", desk.layout.meta, retry="safe")
    rules.check_count(desk.name, desk.options.partitions, found)


def check_group(name: object) -> str:
    """`name` as that of a group. Raises: ConfigurationError."""
    if not isinstance(name, str) or not name or name.startswith("~"):
        raise ConfigurationError(f'group={name!r} must be a name that is not empty, as "billing"')
    return name


# --- the stream itself --------------------------------------------------------------------------------------


def info(desk: Desk) -> StreamInfo:
    """What is in it. Raises: Unavailable, Refused, Closed."""
    agree(desk)
    parts = []
    for part in desk.layout.parts:
        keys = (part.stream, part.at, part.outbox)
        entries, size, age, delayed, _, groups = desk.wire.run(books.SUM, keys)
        names = tuple(sorted(one.decode("utf-8", "replace") for one in groups))
        parts.append(StreamPart(part.number, entries, None if size < 0 else size, age / 1000, delayed, names))
    sizes = [one.bytes for one in parts if one.bytes is not None]
    return StreamInfo(
        entries=sum(one.entries for one in parts),
        bytes=sum(sizes) if len(sizes) == len(parts) else None,
        age=max(one.age for one in parts),
        delayed=sum(one.delayed for one in parts),
        groups=tuple(sorted({name for one in parts for name in one.groups})),
        partitions=tuple(parts),
    )


def read(
    desk: Desk,
    after: str | datetime,
    until: str | datetime | None,
    limit: int,
    partition: int | None,
    *,
    reverse: bool,
) -> list[StreamEntry]:
    """See Stream.read."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigurationError(f"limit={limit!r} must be a whole number from 1 on")
    parts = desk.layout.parts
    if partition is not None:
        if partition not in range(len(parts)):
            raise ConfigurationError(f"partition={partition!r} must be one of 0 to {len(parts) - 1}")
        parts = (parts[partition],)
    low = f"({books.behind(after, 'after')}"
    high = "+" if until is None else books.before(until, "until")
    ends = (high, low) if reverse else (low, high)
    agree(desk)
    found: list[StreamEntry] = []
    for part in parts:
        question = ("XREVRANGE" if reverse else "XRANGE", part.stream, *ends, "COUNT", limit)
        rows = desk.wire.execute(*question, retry="safe")
        found += [_entry(desk, part, id, flat) for id, flat in rows]
    found.sort(key=lambda one: books.parsed(one.id, "id"), reverse=reverse)
    return found[:limit]


def _entry(desk: Desk, part: Partition, id: bytes, flat: Sequence[Any]) -> StreamEntry:
    found = record.named(flat)
    value, error = value_of(desk, found)
    return StreamEntry(
        id=id.decode(),
        value=value,
        key=record.text(found.get(b"key")),
        headers=record.headers_of(found.get(b"headers")),
        dedup_id=record.text(found.get(b"id")),
        partition=part.number,
        published_at=record.moment(record.milliseconds(id)),
        error=error,
    )


def value_of(desk: Desk, found: dict[bytes, Any]) -> tuple[Any, str]:
    """The value in an entry's fields; None, and why, where it cannot be read."""
    try:
        version = record.version_of(found.get(b"version"))
        return desk.values.decode(found.get(b"data", b""), version), ""
    except Exception as error:  # noqa: BLE001 (upcasters are the user's)
        return None, rules.described(error)
