"""Typed values to bytes and back: msgpack through msgspec. Pure. No pickle, ever.

A type may be what msgspec knows (builtins, Struct, dataclass, attrs, TypedDict, NamedTuple, Enum, datetime,
UUID, Decimal, unions, Annotated), a pydantic model, or Any. None is a value of every type: a source says so
when it has nothing.

Evolution: a field the reader does not know is ignored, one that is missing takes its default, so most changes
of a type leave every entry readable in both directions. Where the bytes do not fit, `decode` says "schema",
and the fingerprint in the envelope tells another version's entry from a broken one.

`encode` refuses what nobody could read back as it was: a value that does not fit the declared type, and under
Any one that plain msgpack would turn into something else (a Struct into a dict, a Decimal into a str). A
caller that fills would otherwise see another value than one that hits. What remains: an aware datetime comes
back in UTC, the same instant; under Any a tuple comes back as a list; a dict with the fields of a User is a
User when it comes back; an Any inside a declared type is not looked into.

Not in the fingerprint: checks in code (`__post_init__`, validators). When such a check starts to refuse what
is already stored, rename the cache.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, Optional, TypeVar, cast

import msgspec
from msgspec import inspect

from holdfast._values.envelope import MSGPACK
from holdfast.errors import CodecError, ConfigurationError

T = TypeVar("T")


class Codec(Generic[T]):
    """Values of one type as msgpack; made by `codec_for`.

    `id` and `schema` go into the envelope. `read` is the bare method of the decoder, for the hot path: after
    any Exception from it, `decode` of the same bytes raises the CodecError that says why.
    """

    __slots__ = ("_check", "_name", "_write", "id", "read", "schema")

    id: int
    schema: int
    read: Callable[[bytes], T]

    def __init__(self, kind: Any, schema: int) -> None:
        self.id = MSGPACK
        self.schema = schema
        or_none = kind if kind is Any else Optional[kind]  # noqa: UP045 - not every type has `|`
        self.read = cast("Callable[[bytes], T]", msgspec.msgpack.Decoder(or_none, dec_hook=_load).decode)
        self._write = msgspec.msgpack.Encoder(enc_hook=_dump).encode
        self._check = _stays_itself if kind is Any else None
        self._name = _name(kind)

    def encode(self, value: T) -> bytes:
        """The payload of `value`.

        Raises: CodecError (unencodable) if there is none, or if what comes back from it would be no `T`.
        """
        try:
            payload = self._write(value)
            self._check(value) if self._check else self.read(payload)
        except Exception as error:  # also from the value's own code, such as a property that fails
            text = f"{_name(type(value))} as {self._name}: {error}"
            raise CodecError(text, reason="unencodable") from error
        return payload

    def decode(self, payload: bytes) -> T:
        """The value in `payload`.

        Raises: CodecError: `schema` if the bytes are msgpack but no `T`, `corrupt` if they are no msgpack.
        """
        try:
            return self.read(payload)
        except Exception as error:  # also from the type's own code, such as __post_init__
            reason = "schema" if _is_msgpack(payload) else "corrupt"
            raise CodecError(f"bytes that are no {self._name}: {error}", reason=reason) from error


def codec_for(kind: Any) -> Codec[Any]:
    """The codec of the type `kind`; Any stands for plain msgpack types.

    Raises: ConfigurationError, naming the type and the fix, if msgspec cannot decode such a type.
    """
    try:
        schema = _fingerprint(inspect.type_info(kind))
    except ConfigurationError:
        raise
    except Exception as error:  # TypeError mostly; NameError for an annotation that leads nowhere
        raise ConfigurationError(f"type={_name(kind)} cannot be stored: {error}; {_FIX}") from error
    return Codec(kind, schema)


_FIX = (
    "use builtins, a dataclass, a msgspec.Struct (with tag=True in a union), a TypedDict, a NamedTuple, "
    "an Enum, or a pydantic model"
)


def _name(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) and not hasattr(kind, "__origin__") else str(kind)


def _is_msgpack(payload: bytes) -> bool:
    try:
        msgspec.msgpack.decode(payload)
    except Exception:  # noqa: BLE001 - DecodeError, UnicodeDecodeError, RecursionError, what comes next
        return False
    return True


# --- Any: what comes back is what went in -------------------------------------------------------------------

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


def _stays_itself(value: object) -> None:
    """Raise TypeError for what msgpack would silently change. Runs after encoding, so there is no cycle."""
    left = [value]
    while left:
        item = left.pop()
        kind = type(item)
        if kind in _PLAIN or (isinstance(item, datetime) and item.tzinfo is not None):
            continue
        if isinstance(item, dict):
            left.extend(item)
            left.extend(item.values())
        elif isinstance(item, list | tuple) and kind in (list, tuple):
            left.extend(item)
        else:
            naive = " without a time zone" if isinstance(item, datetime) else ""
            raise TypeError(f"a {_name(kind)}{naive} would come back as another type; declare type=")


# --- pydantic, without importing it -------------------------------------------------------------------------


def _dump(value: Any) -> Any:
    if not _is_model(type(value)):
        raise TypeError(f"a {_name(type(value))} has no bytes; {_FIX}")
    return value.model_dump(by_alias=True, round_trip=True)


def _load(kind: Any, plain: Any) -> Any:
    return kind.model_validate(plain)


def _is_model(kind: Any) -> bool:
    return hasattr(kind, "model_dump") and hasattr(kind, "model_validate")


# --- the fingerprint ----------------------------------------------------------------------------------------


_WITH_FIELDS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)


def _fingerprint(root: inspect.Type) -> int:
    """32 bits of all that decides which bytes fit: fields, types, constraints, tags; not names, order or
    defaults.

    Every class is described once and referred to by its name, so types may be recursive; what has no order
    for msgspec (fields of an object, members of a union, the classes themselves) is sorted.
    """
    classes: dict[int, str] = {}
    text = _describe(root, classes)
    return zlib.crc32("\n".join([text, *sorted(classes.values())]).encode())


def _describe(node: inspect.Type, classes: dict[int, str]) -> str:
    match node:
        case inspect.Metadata(type=inner):
            return _describe(inner, classes)
        case inspect.UnionType(types=types):
            return f"({'|'.join(sorted(_describe(item, classes) for item in types))})"
        case inspect.EnumType(cls=cls):
            return f"enum{sorted(repr(member.value) for member in cls)}"
        case inspect.CustomType(cls=cls):
            return _describe_model(cls)
    if not isinstance(node, _WITH_FIELDS):
        return _describe_plain(node, classes)
    if id(node) not in classes:
        classes[id(node)] = ""  # being described: a recursive type meets itself here
        classes[id(node)] = _describe_fields(node, classes)
    return f"class {_class(node.cls)}"


def _describe_fields(node: Any, classes: dict[int, str]) -> str:
    by_place = isinstance(node, inspect.NamedTupleType) or getattr(node, "array_like", False)
    fields = [
        f"{field.encode_name}{':' if field.required else '?:'}{_describe(field.type, classes)}"
        for field in node.fields
    ]
    rest = [str(getattr(node, name, None)) for name in ("tag_field", "tag", "forbid_unknown_fields")]
    return f"{_class(node.cls)}{fields if by_place else sorted(fields)}{rest}{by_place}"


def _describe_plain(node: inspect.Type, classes: dict[int, str]) -> str:
    parts = []
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if isinstance(value, inspect.Type):
            parts.append(_describe(value, classes))
        elif isinstance(node, inspect.TupleType):
            parts.extend(_describe(item, classes) for item in value)
        elif value is not None:
            parts.append(f"{name}={value!r}")
    return f"{type(node).__name__}({','.join(parts)})"


def _describe_model(cls: Any) -> str:
    if not _is_model(cls):
        raise ConfigurationError(f"type={_name(cls)} cannot be stored: msgspec does not know it; {_FIX}")
    try:
        return json.dumps(cls.model_json_schema(), sort_keys=True)
    except Exception:  # noqa: BLE001 - a field without a JSON schema: the name must do
        return _class(cls)


def _class(cls: Any) -> str:
    return str(getattr(cls, "__origin__", cls).__qualname__)
