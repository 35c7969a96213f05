"""What the server tells of events, as values. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast._values.codecs import codec_for
from holdfast._wire.reply import mapping, text
from holdfast._wire.transport import Arg
from holdfast.errors import CodecError, ConfigurationError
from holdfast.events.kinds import Kinds
from holdfast.events.layout import read
from holdfast.events.options import Parked, PositionTrimmed, ProjectionStatus, StoredEvent

_HEADERS = codec_for(dict[str, str])
_NOTHING: Mapping[str, str] = {}


def headers(given: Mapping[str, str]) -> bytes:
    """Headers as they are stored; none are no bytes. Raises: ConfigurationError."""
    if not given:
        return b""
    try:
        return _HEADERS.encode(dict(given))
    except (CodecError, TypeError, ValueError) as error:
        raise ConfigurationError(f"headers={given!r:.80} must map str to str") from error


def number(id: bytes) -> int:
    """The version or position in the id of an entry."""
    return int(id.partition(b"-")[0])


def stored(
    kinds: Kinds, stream: str, partition: int, version: int, fields: Sequence[bytes]
) -> StoredEvent[Any]:
    """The event in the fields of an entry. Raises: CodecError."""
    known = dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        name, schema = known[b"type"].decode(), int(known[b"schema"])
        batch, place, raw = known[b"batch"].decode(), known[b"n"], known[b"headers"]
        at = datetime.fromtimestamp(int(known[b"at"]) / 1000, UTC)
        position, payload = int(known[b"position"]), known[b"data"]
    except (KeyError, ValueError) as error:
        why = f"version {version} of stream {stream!r} was not written by Holdfast: {error!r}"
        raise CodecError(why, reason="foreign") from error
    return StoredEvent(
        stream,
        version,
        kinds.decode(name, payload, schema),
        batch if place == b"0" else f"{batch}:{place.decode()}",
        name,
        at,
        position,
        partition,
        _HEADERS.decode(raw) if raw else _NOTHING,
    )


@dataclass(frozen=True, slots=True)
class Ref:
    """An entry of the log, with the event that it names; `fields` None: that is gone."""

    position: int
    stream: str
    version: int
    fields: Sequence[bytes] | None


@dataclass(frozen=True, slots=True)
class Page:
    """What page.lua answered; `last` is the position of the newest event there is."""

    after: int
    last: int
    refs: Sequence[Ref]


def page(reply: Any, after: int, what: str, *, limited: bool) -> Page:
    """The next entries of a log after `after`; `what` it is, for messages. `limited`: not all were asked for.

    Raises: PositionTrimmed if the next one is not among them, although it was there once.
    """
    born, last, found = reply
    # Positions begin at the time of the first append: one below is that of a log that was flushed.
    at = born if after == 0 else after
    refs = [Ref(number(id), read(name.decode()), number(v), fields) for id, name, v, fields in found]
    if at < born or at > last:
        why = f"position {after} of {what} belongs to a history that is gone; now it is {born + 1} to {last}"
        raise PositionTrimmed(why, after=after, first=born + 1 if last > born else None)
    for place, ref in enumerate(refs):
        if ref.position != at + 1 + place:
            raise _missing(what, at + place, ref.position)
    if not refs and at < last and not limited:
        raise _missing(what, at, None)
    return Page(at, last, refs)


def _missing(what: str, after: int, first: int | None) -> PositionTrimmed:
    why = f"{what}: the entries of the log after position {after} are gone"
    return PositionTrimmed(why, after=after, first=first)


def archived(ref: Ref, what: str) -> PositionTrimmed:
    """Why the event of `ref` cannot be read."""
    why = (
        f"{what}: the event at position {ref.position} (version {ref.version} of stream {ref.stream!r}) was "
        f"archived; after={ref.position} goes on behind it"
    )
    return PositionTrimmed(why, after=ref.position - 1, first=ref.position + 1)


class Walk:
    """A walk over the versions of a stream, which makes sure that none is left out.

    `at`: the last version that was read; backward, the one below it is next.
    """

    def __init__(self, stream: str, after: int, *, backward: bool = False) -> None:
        """Raises: ConfigurationError."""
        if isinstance(after, bool) or not isinstance(after, int) or after < 0:
            raise ConfigurationError(f"after={after!r} must be a version, 0 or more")
        self.at = -1 if backward else after
        self._stream = stream
        self._after = after
        self._step = -1 if backward else 1

    def ends(self) -> tuple[str, str]:
        """What to ask for next, as ids of entries."""
        if self._step > 0:
            return f"{self.at + 1}-0", "+"
        return "+" if self.at < 0 else f"({self.at}-0", f"{self._after + 1}-0"

    def follow(self, version: int, entries: Sequence[Any], size: int) -> list[int]:
        """The versions of the next entries; `version` is that of the stream, `size` how many were asked for.

        Raises: PositionTrimmed.
        """
        if self.at < 0:
            self.at = version + 1
        found = [number(id) for id, _ in entries]
        for one in found:
            if one != self.at + self._step:
                raise self._trimmed(one)
            self.at = one
        reached = (
            self.at >= version if self._step > 0 else self.at <= self._after + 1 or version <= self._after
        )
        if len(found) < size and not reached:
            raise self._trimmed(None if self._step > 0 or not found else self.at)
        return found

    def _trimmed(self, first: int | None) -> PositionTrimmed:
        after = self.at if self._step > 0 else self._after
        why = f"stream {self._stream!r}: events after version {after} were archived or deleted; see load()"
        return PositionTrimmed(why, after=after, first=first, stream=self._stream)


def at_least_0(limit: int | None) -> int:
    """`limit`, which may be None for none. Raises: ConfigurationError."""
    if limit is None:
        return sys.maxsize
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigurationError(f"limit={limit!r} must be a whole number, 0 or more, or None")
    return limit


def statuses(
    name: str, escaped: str, partition: int, progress: Any, active: Any, ends: Any
) -> list[ProjectionStatus]:
    """How each version of a projection stands in a partition."""
    known = mapping(progress)
    now, off = (int(one or 0) for one in active)
    born, last = (int(one or 0) for one in ends)
    found = []
    for field, raw in known.items():
        what, _, own = field.partition(":")
        owner, _, number = own.rpartition(":")
        if what != "at" or owner != escaped:
            continue
        version, at = int(number), max(int(raw), born)
        error = text(known.get(f"error:{own}", b""))
        replaced = version < now or (version != now and version <= off)
        behind = max(0, last - at)
        found.append(ProjectionStatus(name, version, partition, version == now, replaced, at, behind, error))
    return sorted(found)


def parked(partition: int, reply: Any) -> list[Parked]:
    """The events that a projection has put aside."""
    return sorted(Parked(partition, int(at), text(why)) for at, why in mapping(reply).items())


def streams(batches: Sequence[tuple[str, Any, Sequence[tuple[Arg, ...]]]]) -> list[Arg]:
    """Stream names, expected versions and encoded events, as append.lua is told them."""
    args: list[Arg] = []
    for name, expected, events in batches:
        args += (name, "" if expected is None else expected, len(events))
        for event in events:
            args += event
    return args
