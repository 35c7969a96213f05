"""The journal's keys and records, as bytes. Pure.

A partition's keys share the slot of `{<name>:<p>}`, so that one script can write an entry and its record:

    <ns>:1:cache:<name>:{<name>:<p>}{<tag>}      an entry; its lease is the same with `:f` behind it
    <ns>:1:cache:<name>:{<name>:<p>}:pending     and so on: no tag starts without its brace, so none can be
    one of these <ns>:1:cache:<name>:{#}:p                    the number of partitions

A record is `seq (16) op (1) stamp (8) ttl (13) length of key (5) key envelope`; put.lua writes it. The key is
the one that the caller gave, so that the source gets it back: a str, int, float, bool, None, bytes, UUID,
date, datetime, Decimal, or a tuple of these. What cannot be made again from text has no place here: Enum
members, whose class another process may not have, and named tuples.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

import msgspec

from holdfast._wire.keys import Keys
from holdfast.errors import CodecError, ConfigurationError

PUT, REMOVE = b"p", b"r"
LONGEST_KEY = 99_999  # bytes: five digits
LONGEST_ERROR = 2_000  # characters of an error that are kept

_OP, _KEY = 16, 43  # where op and key start
_TTL_DIGITS, _LENGTH_DIGITS = 13, 5
_BURIED = 23  # bytes before the error of a dead letter


class Partition:
    """The keys of one partition. Those that scripts push on are channels as well."""

    __slots__ = ("dead", "ids", "lease", "number", "order", "pending", "prefix", "state", "tries")

    def __init__(self, keys: Keys, name: str, number: int) -> None:
        self.number = number
        self.prefix = keys.make("cache", name, f"{name}:{number}")
        self.pending = f"{self.prefix}:pending"  # told of work
        self.order = f"{self.prefix}:order"  # told when something was applied
        self.lease = f"{self.prefix}:lease"  # told when the writer leaves
        self.state, self.ids = f"{self.prefix}:state", f"{self.prefix}:ids"
        self.tries, self.dead = f"{self.prefix}:tries", f"{self.prefix}:dead"

    def entry(self, tag: str) -> str:
        """The key of the entry with `tag`, which is escaped already."""
        return f"{self.prefix}{{{tag}}}"


class Layout:
    """The partitions of one cache."""

    __slots__ = ("count", "partitions")

    def __init__(self, keys: Keys, name: str, partitions: int) -> None:
        self.partitions = tuple(Partition(keys, name, number) for number in range(partitions))
        self.count = keys.make("cache", name, "#", ":p")

    def of(self, tag: str) -> Partition:
        """Where `tag` belongs."""
        return self.partitions[crc32(tag.encode()) % len(self.partitions)]


class Record(NamedTuple):
    """One put or removal that waits. `seq` is its number as the server writes it."""

    tag: bytes
    seq: bytes
    removed: bool
    key: Any
    envelope: bytes


def record(tag: bytes, raw: bytes) -> Record:
    """The record in `raw`. Raises: CodecError."""
    try:
        end = _KEY + int(raw[_KEY - _LENGTH_DIGITS : _KEY])
        return Record(tag, raw[:_OP], raw[_OP : _OP + 1] == REMOVE, read_key(raw[_KEY:end]), raw[end:])
    except (ValueError, TypeError, ArithmeticError, KeyError, IndexError, msgspec.MsgspecError) as error:
        raise CodecError(f"no record of a journal: {error}", reason="corrupt") from error


class Buried(NamedTuple):
    """A dead letter as it is kept."""

    since: datetime
    attempts: int
    error: str
    record: bytes


def buried(raw: bytes) -> Buried:
    """The dead letter in `raw`. Raises: CodecError."""
    try:
        end = _BURIED + int(raw[18:_BURIED])
        since = datetime.fromtimestamp(int(raw[:13]) / 1000, UTC)
        return Buried(since, int(raw[13:18]), raw[_BURIED:end].decode("utf-8", "replace"), raw[end:])
    except (ValueError, OverflowError, OSError) as error:
        raise CodecError(f"no dead letter: {error}", reason="corrupt") from error


def arguments(key: Any, ttl_ms: int) -> tuple[str, str, bytes]:
    """What put.lua is told of `key` and `ttl_ms`. Raises: ConfigurationError."""
    written = write_key(key)
    if len(written) > LONGEST_KEY:
        raise ConfigurationError(f"a key of {len(written)} bytes is too long for the journal of write-behind")
    return f"{ttl_ms:0{_TTL_DIGITS}d}", f"{len(written):0{_LENGTH_DIGITS}d}", written


# --- keys ---------------------------------------------------------------------------------------------------


def write_key(key: Any) -> bytes:
    """`key` with its type. Raises: ConfigurationError if it could not be made again."""
    return msgspec.msgpack.encode(_written(key))


def read_key(data: bytes) -> Any:
    """The key in `data`; what is wrong with it raises as it comes."""
    return _read(msgspec.msgpack.decode(data))


_TEXTUAL: tuple[tuple[type, str, Callable[[Any], str], Callable[[str], Any]], ...] = (
    (UUID, "u", str, UUID),
    (datetime, "t", lambda value: value.isoformat(), datetime.fromisoformat),  # before date, its base
    (date, "d", lambda value: value.isoformat(), date.fromisoformat),
    (Decimal, "D", str, Decimal),
    (int, "i", int.__repr__, int),
)
_READERS = {mark: read for _, mark, _, read in _TEXTUAL}


def _written(key: Any) -> Any:
    """str, float, bool, None and bytes as they are, the others as [mark, ...]."""
    if isinstance(key, Enum):
        raise ConfigurationError(
            f"key={key!r}: an Enum member is no key for write-behind, whose writers may not know it; "
            f"use its value"
        )
    if key is None or isinstance(key, bool):
        return key
    if isinstance(key, str):  # a subclass counts as its base
        return str.__str__(key)
    if isinstance(key, float | bytes):
        return float(key) if isinstance(key, float) else bytes(key)
    for kind, mark, show, _ in _TEXTUAL:
        if isinstance(key, kind):
            return [mark, show(key)]
    if type(key) is tuple:
        return ["T", *map(_written, key)]
    raise ConfigurationError(
        f"key={key!r}: a {type(key).__name__} is no key for write-behind; use a plain tuple or str"
    )


def _read(shown: Any) -> Any:
    if not isinstance(shown, list):
        return shown
    mark, *rest = shown
    return tuple(map(_read, rest)) if mark == "T" else _READERS[mark](*rest)
