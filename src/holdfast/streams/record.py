"""An entry of a stream: the fields as they stand on the server, readable there. Pure.

data     the value, as its codec writes it
key      its key, if it has one
id       the dedup id with which it was published, if there was one
headers  a msgpack map of str to str, if there are any
version  of the value's type, if it is not 1
only     the one group that is to handle it: it was replayed from that one's dead letters
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from holdfast._wire.transport import Arg
from holdfast.errors import ConfigurationError

_HEADERS = msgspec.msgpack.Decoder(dict[str, str])


class Item(NamedTuple):
    """One entry to be published: `when` as publish.lua is told it, `fields` in pairs."""

    when: str
    dedup: str | None
    fields: Sequence[Arg]


def fields(
    data: bytes,
    *,
    key: str | None = None,
    dedup: str | None = None,
    headers: Mapping[str, str] | None = None,
    version: int = 1,
) -> list[Arg]:
    """The fields of an entry. Raises: ConfigurationError for headers that are no str."""
    made: list[Arg] = ["data", data]
    if key is not None:
        made += ("key", key)
    if dedup is not None:
        made += ("id", dedup)
    if version != 1:
        made += ("version", version)
    if headers:
        if not isinstance(headers, Mapping) or not all(
            isinstance(one, str) for pair in headers.items() for one in pair
        ):
            raise ConfigurationError(f"headers={headers!r:.200} must be a mapping of str to str")
        made += ("headers", msgspec.msgpack.encode(dict(headers)))
    return made


def named(flat: Sequence[Any]) -> dict[bytes, Any]:
    """Fields in pairs as a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=False))


def headers_of(raw: bytes | None) -> Mapping[str, str]:
    """The headers in a field; none where there is none, or what somebody else wrote there."""
    if raw is None:
        return {}
    try:
        return _HEADERS.decode(raw)
    except msgspec.MsgspecError:
        return {}


def text(raw: bytes | None) -> str | None:
    """A field that is text."""
    return None if raw is None else raw.decode("utf-8", "replace")


def version_of(raw: bytes | None) -> int:
    """The schema version in a field; 0, which no reader knows, for what is no number."""
    if raw is None:
        return 1
    return int(raw) if raw.isdigit() else 0


def milliseconds(id: str | bytes) -> int:
    """The server time at which an entry was added, by its id."""
    return int((id if isinstance(id, bytes) else id.encode()).partition(b"-")[0])


def place(id: str) -> tuple[int, int]:
    """Where an entry stands in its stream, to be compared."""
    ms, _, number = id.partition("-")
    return int(ms), int(number)


def moment(ms: float) -> datetime:
    """Milliseconds of the server's clock as a point in time."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def later(delay: float | None, at: datetime | None) -> str:
    """When an entry is due, as publish.lua is told it. `delay`: seconds. Raises: ConfigurationError."""
    if delay is not None and at is not None:
        raise ConfigurationError(f"delay={delay!r} and at={at!r} cannot both be given")
    if at is not None:
        if not isinstance(at, datetime):
            raise ConfigurationError(f"at={at!r} must be a datetime with a time zone")
        if at.tzinfo is None:
            raise ConfigurationError(f"at={at!r} has no time zone; use datetime.now(UTC) and the like")
        return f"={at.timestamp() * 1000:.0f}"
    return f"+{delay * 1000:.0f}" if delay else ""
