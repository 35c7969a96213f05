"""Session data in pieces: one for each top-level key, so that only what changed is written. Pure.

A piece is the msgpack of one value. What a type does not know (fields of a newer release) stays in the server
untouched; what it has beyond what is stored (fields with defaults) is no change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from holdfast._values.evolution import Evolution, Upcast
from holdfast._values.models import is_model, type_name
from holdfast.errors import CodecError, ConfigurationError

T = TypeVar("T")
Pieces = Mapping[str, bytes]

_apart = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_together = msgspec.msgpack.Encoder().encode


class Delta(NamedTuple):
    """What is to be written. `whole`: these are all there is, and what else is there has to go."""

    written: Pieces
    removed: tuple[str, ...]
    whole: bool = False

    def __bool__(self) -> bool:
        return bool(self.written or self.removed or self.whole)


NOTHING = Delta({}, ())


class Shape(Generic[T]):
    """How values of one type are taken apart and put together; `version` is their schema's."""

    __slots__ = ("_evolution", "_kind", "_plain", "version")

    def __init__(self, kind: Any, version: int = 1, upcast: Upcast | None = None) -> None:
        """Raises: ConfigurationError, naming the type or the version, and the fix."""
        self._kind = kind
        self._plain = kind is dict
        # Any refuses what would come back as something else: a dict may hold anything.
        self._evolution: Evolution[Any] = Evolution(version, upcast, type=Any if self._plain else kind)
        self.version = version
        if not self._plain and not _has_keys(kind):
            raise ConfigurationError(
                f"type={type_name(kind)} has no top-level keys; session data is a dict, a TypedDict, a "
                f"msgspec.Struct, a dataclass or a model of pydantic"
            )

    @property
    def is_plain(self) -> bool:
        """Is it a dict, of whatever keys?"""
        return self._plain

    def empty(self) -> T:
        """The value of a session that nothing is known of. Raises: ConfigurationError if there is none."""
        try:
            return self.join({}, self.version)
        except CodecError as error:
            raise ConfigurationError(
                f"data=None: a {type_name(self._kind)} has fields without a default; give data= to create()"
            ) from error

    def split(self, value: T) -> dict[str, bytes]:
        """The pieces of `value`. Raises: CodecError (unencodable)."""
        if self._plain and not isinstance(value, dict):
            raise CodecError(f"data is a {type_name(type(value))}, not a dict", reason="unencodable")
        payload = self._evolution.encode(value)
        try:
            found = _apart(payload)
        except msgspec.MsgspecError as error:
            raise CodecError(
                f"the top-level keys of data must be str: {error}", reason="unencodable"
            ) from error
        return {name: bytes(piece) for name, piece in found.items()}

    def join(self, pieces: Pieces, schema: int) -> T:
        """The value in `pieces`, which were written as version `schema`. Raises: CodecError."""
        payload = _together({name: msgspec.Raw(piece) for name, piece in pieces.items()})
        value: T = self._evolution.decode(payload, schema)
        return value

    def delta(self, pieces: Pieces, schema: int, value: T) -> Delta:
        """What of `value` is not what `pieces` of version `schema` say. Raises: CodecError."""
        new = self.split(value)
        if schema == self.version and new == pieces:
            return NOTHING
        # What the pieces are when nobody has changed anything: defaults, order of sets, unknown fields.
        base = pieces if self._plain and schema == self.version else self.split(self.join(pieces, schema))
        if new == base:
            return NOTHING
        if schema != self.version:
            return Delta(new, tuple(name for name in pieces if name not in new), whole=True)
        written = {name: piece for name, piece in new.items() if base.get(name) != piece}
        return Delta(written, tuple(name for name in base if name not in new))

    def piece(self, value: bytes) -> Any:
        """The value in one piece of a dict. Raises: CodecError."""
        try:
            return msgspec.msgpack.decode(value)
        except msgspec.MsgspecError as error:
            raise CodecError(f"a piece that is no value: {error}", reason="corrupt") from error


def _has_keys(kind: Any) -> bool:
    if is_model(kind):
        return True
    node = inspect.type_info(kind)
    if isinstance(node, inspect.Metadata):
        node = node.type
    if isinstance(node, inspect.StructType):
        return not node.array_like
    if isinstance(node, inspect.DictType):
        return isinstance(node.key_type, inspect.StrType)
    return isinstance(node, inspect.DataclassType | inspect.TypedDictType)
