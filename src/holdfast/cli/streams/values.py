"""Values of streams, as they are shown: nobody has told the command line which type they are. Pure."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from holdfast.cli.cache.words import safe, short
from holdfast.streams.books import StreamEntry
from holdfast.streams.options import DeadMessage

_READ = (msgspec.msgpack.decode, msgspec.json.decode)


class Anything:
    """Reads what any codec has written, of whatever version."""

    version = 1

    def decode(self, payload: bytes, version: int) -> Any:  # noqa: ARG002 (any will do)
        """The value, or the bytes that nobody can read."""
        for read in _READ:
            try:
                return read(payload)
            except msgspec.MsgspecError:
                pass
        return payload


def text(value: Any, most: int) -> str:
    """A value in a line."""
    return short(safe(json.dumps(plain(value), ensure_ascii=False)), most)


def plain(value: Any) -> Any:
    """A value that JSON can say."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {one if isinstance(one, str) else str(plain(one)): plain(of) for one, of in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def of_entry(one: StreamEntry) -> dict[str, Any]:
    """An entry for programs."""
    return {**one._asdict(), "value": plain(one.value), "published_at": one.published_at.isoformat()}


def of_letter(one: DeadMessage) -> dict[str, Any]:
    """A dead letter for programs."""
    return {**one._asdict(), "value": plain(one.value), "died_at": one.died_at.isoformat()}
