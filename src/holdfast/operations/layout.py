"""Where operations live: their names and keys. Pure.

The operations of one name are spread over a fixed number of partitions, by their resource; the keys of one
partition share the slot of `{<name>:<p>}`, so that one script can take whatever is due in it:

    <ns>:1:ops:{<name>:<p>}:op:<resource>:<id>   the record of an operation; a channel as well
    <ns>:1:ops:{<name>:<p>}:due                  and so on: the index, and the last fence
    <ns>:1:ops:{<name>:<p>}:call:op:...          the same for calls of idempotent functions, by their key
    <ns>:1:ops:{<name>}:partitions               how many there are
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import unquote
from uuid import UUID
from zlib import crc32

from holdfast._wire.keys import Keys, escape_name
from holdfast.errors import ConfigurationError

Id = str | int | UUID
Family = Literal["op", "call"]

LONGEST = 8192  # bytes of a resource or an id, escaped
_FAMILIES = {"op": "", "call": "call:"}


class Partition:
    """The keys of one family in one partition."""

    __slots__ = ("dead", "done", "due", "fence", "gone", "memos", "names", "records")

    def __init__(self, base: str, family: Family) -> None:
        prefix = f"{base}:{_FAMILIES[family]}"
        self.records = f"{prefix}op:"
        self.due, self.names = f"{prefix}due", f"{prefix}names"
        self.dead, self.done = f"{prefix}dead", f"{prefix}done"
        self.memos, self.gone = f"{prefix}claim:", f"{prefix}gone:"  # and a token
        self.fence = f"{base}:fence"


class Place:
    """Where one operation is."""

    __slots__ = ("id", "name", "part", "record", "resource")

    def __init__(self, part: Partition, resource: Id, id: Id, name: str) -> None:
        self.part = part
        self.resource = resource
        self.id = id
        self.name = name
        self.record = part.records + name


class Layout:
    """The partitions of the operations called `name`."""

    __slots__ = ("_parts", "count", "prefix")

    def __init__(self, keys: Keys, name: str, partitions: int) -> None:
        bases = [keys.tagged("ops", f"{name}:{number}") for number in range(partitions)]
        families: tuple[Family, ...] = ("op", "call")
        self._parts = {family: tuple(Partition(base, family) for base in bases) for family in families}
        self.prefix = keys.tagged("ops", f"{name}:").removesuffix("}")  # of all keys but the count
        self.count = keys.tagged("ops", name, ":partitions")

    def parts(self, family: Family = "op") -> tuple[Partition, ...]:
        """All of them."""
        return self._parts[family]

    def of(self, resource: Id) -> Partition:
        """Where the operations of `resource` are."""
        return self._pick("op", written(resource, "resource"))

    def place(self, resource: Id, id: Id, family: Family = "op") -> Place:
        """Where that operation is. Raises: ConfigurationError for what makes no name."""
        first = written(resource, "resource")
        name = f"{first}:{written(id, 'operation_id')}"
        return Place(self._pick(family, first if family == "op" else name), resource, id, name)

    def found(self, part: Partition, name: bytes | str) -> Place:
        """The operation called `name` in the index of `part`."""
        text = name.decode() if isinstance(name, bytes) else name
        resource, _, id = text.partition(":")
        return Place(part, read(resource), read(id), text)

    def _pick(self, family: Family, text: str) -> Partition:
        parts = self._parts[family]
        return parts[crc32(text.encode()) % len(parts)]


def written(value: Id, what: str) -> str:
    """`value` as a part of a name: a str as it is, escaped; others with their type, `%int(7)`.

    Raises: ConfigurationError.
    """
    if isinstance(value, str):
        text = escape_name(str.__str__(value)) if _is_text(value) else ""
        if not 0 < len(text.encode()) <= LONGEST:
            raise ConfigurationError(f"{what}={value!a:.80} must be text of at most {LONGEST} bytes")
        return text
    if isinstance(value, int) and not isinstance(value, bool):
        return f"%int({int(value)})"
    if isinstance(value, UUID):
        return f"%uuid({value})"
    raise ConfigurationError(f"{what}={value!r} must be a str, an int or a UUID")


def read(text: str) -> Id:
    """What `written` made `text` of."""
    if text.startswith("%int("):
        return int(text[5:-1])
    if text.startswith("%uuid("):
        return UUID(text[6:-1])
    return "" if text == "%" else unquote(text)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
