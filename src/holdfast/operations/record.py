"""What the server tells of operations, as values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast._values.codecs import codec_for
from holdfast._wire.reply import mapping
from holdfast._wire.reply import text as plain
from holdfast.errors import CodecError
from holdfast.operations.layout import Place
from holdfast.operations.options import Failure, OperationStatus, State

_NUMBER = 8  # digits of a checkpoint's number
_MS = 13  # digits of a failure's time
MOST = 10**_NUMBER - 1

Read = Callable[[bytes], Any]
PLAIN: Read = codec_for(Any).decode
"""Plain msgpack types: what checkpoints are."""


@dataclass(frozen=True, slots=True)
class Grant:
    """An attempt that is ours. `interrupted`: whose lease ended before it, or "". `checkpoints` are raw."""

    place: Place
    fence: int
    attempt: int
    interrupted: str
    data: bytes
    checkpoints: Mapping[str, bytes]
    number: int  # of the last checkpoint


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody else is at it, for at most `left` seconds more."""

    left: float
    holder: str


@dataclass(frozen=True, slots=True)
class Done:
    """It was done before; the result is raw."""

    result: bytes


@dataclass(frozen=True, slots=True)
class Buried:
    """It is dead; `fresh`: this question found it so."""

    error: str
    attempts: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Other:
    """The key belongs to another request, whose fingerprint this is."""

    fingerprint: str


Begun = Grant | Taken | Done | Buried | Other


def begun(reply: Any, place: Place, data: bytes) -> Begun:
    """What begin.lua answered; `data` is what was sent."""
    code, *rest = reply
    match code:
        case 1:
            fence, attempt, interrupted, fields = rest
            return grant(place, fence, attempt, interrupted, fields, data)
        case 0:
            return Taken(rest[0] / 1000, plain(rest[1]))
        case 2:
            return Done(rest[0])
        case 3:
            return Buried(plain(rest[0]), rest[1], bool(rest[2]))
        case _:
            return Other(plain(rest[0]))


def grant(place: Place, fence: int, attempt: int, interrupted: Any, fields: Any, data: bytes = b"") -> Grant:
    """An attempt as begin.lua and claim.lua tell it; without `fields` it is the first, with `data`."""
    known = mapping(fields)
    raw = _checkpoints(known)
    last = max((number for number, _ in raw.values()), default=0)
    points = {name: one for name, (_, one) in sorted(raw.items(), key=lambda item: item[1][0])}
    return Grant(place, fence, attempt, plain(interrupted), known.get("data", data), points, last)


def _checkpoints(known: Mapping[str, Any]) -> dict[str, tuple[int, bytes]]:
    return {
        name[2:]: (int(raw[:_NUMBER]), raw[_NUMBER:]) for name, raw in known.items() if name.startswith("c:")
    }


def status(place: Place, reply: Any, now: float, read: Read, read_result: Read) -> OperationStatus | None:
    """The operation in the reply to HGETALL, at `now` (server seconds); None if there is none."""
    known = mapping(reply)
    if "state" not in known:
        return None
    state: State = plain(known["state"])  # type: ignore[assignment]
    pending = state in ("running", "waiting")
    left = int(known["until"]) / 1000 - now if pending else 0.0
    if state == "running" and left <= 0:
        state = "interrupted"
    points = sorted(_checkpoints(known).items(), key=lambda item: item[1][0])
    return OperationStatus(
        resource=place.resource,
        id=place.id,
        state=state,
        attempt=int(known["attempt"]),
        fence=int(known["fence"]),
        holder=plain(known.get("holder", b"")),
        left=max(0.0, left),
        begun_at=_when(known.get("begun", known["changed"])),
        changed_at=_when(known["changed"]),
        data=_readable(read, known.get("data")),
        checkpoints={name: _readable(PLAIN, raw) for name, (_, raw) in points},
        result=_readable(read_result, known.get("result")),
        error=plain(known.get("error", b"")),
        failures=_failures(known),
    )


def _failures(known: Mapping[str, Any]) -> tuple[Failure, ...]:
    found = [
        Failure(int(name[2:]), plain(raw[_MS:]), _when(raw[:_MS]))
        for name, raw in known.items()
        if name.startswith("e:")
    ]
    return tuple(sorted(found))


def _when(raw: bytes) -> datetime:
    return datetime.fromtimestamp(int(raw) / 1000, UTC)


def _readable(read: Read, raw: bytes | None) -> Any:
    """What is in `raw`; None where there is nothing, or what this version cannot read."""
    if raw is None:
        return None
    try:
        return read(raw)
    except CodecError:
        return None


def numbered(number: int) -> str:
    """The number of a checkpoint as checkpoint.lua compares it."""
    return f"{number:0{_NUMBER}d}"
