"""What is in an entry, as far as it can be told without its type. Pure."""

from __future__ import annotations

import msgspec

from holdfast._values.envelope import CHUNKED, JSON, MSGPACK, NEGATIVE, SEALED, Envelope
from holdfast._values.wrapping import Wrapping
from holdfast.errors import CodecError


def shown(entry: Envelope) -> tuple[str, str]:
    """The value of `entry` in a line, and why there is none."""
    if entry.flags & NEGATIVE:
        return "", "the source had nothing"
    if entry.flags & SEALED:
        return "", "sealed: only the application can open it"
    if entry.flags & CHUNKED:
        return "", "in chunks, not fetched"
    try:
        body = Wrapping().unwrap(entry.flags, entry.payload, b"")
        if entry.codec == MSGPACK:
            return repr(msgspec.msgpack.decode(body)), ""
        return (repr(msgspec.json.decode(body)) if entry.codec == JSON else _text(body)), ""
    except (CodecError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        return "", f"cannot be decoded: {error}"


def _text(body: bytes) -> str:
    try:
        return repr(body.decode())
    except UnicodeDecodeError:
        return repr(body)
