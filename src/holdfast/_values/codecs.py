"""Typed values to bytes and back: msgpack or JSON through msgspec, or bytes as they are. Pure. No pickle.

A type may be what msgspec knows (builtins, Struct, dataclass, attrs, TypedDict, NamedTuple, Enum, datetime,
UUID, Decimal, unions, Annotated), a pydantic model, a union of such models, or Any. None is a value of every
type: a source says so when it has nothing.

    msgpack  the default, the fastest and the smallest
    json     for readers that know nothing else
    raw      bytes, or str in UTF-8, as they are: pages, images, what is already encoded. No None

Evolution: a field the reader does not know is ignored, one that is missing takes its default, so most changes
of a type leave every entry readable in both directions. Where the bytes do not fit, `decode` says "schema",
and the fingerprint in the envelope tells another version's entry from a broken one.

`encode` refuses what nobody could read back as it was: a value that does not fit the declared type, and under
Any one that the format would turn into something else (a Struct into a dict, a Decimal into a str; in JSON
also bytes, datetimes, tuples, NaN, keys that are no str). A caller that fills would otherwise see another
value than one that hits. What remains: in msgpack an aware datetime comes back in UTC, the same instant, and
under Any a tuple as a list; a dict with the fields of a User is a User when it comes back, and so is one of a
subclass; private attributes of a model start anew; an Any inside a declared type is not looked into.

Not in the fingerprint: the format, which has its own place in the envelope, and checks in code
(`__post_init__`, validators). When such a check starts to refuse what is already stored, rename the cache.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, Optional, TypeVar, get_args

import msgspec
from msgspec import inspect

from holdfast._values.envelope import JSON, MSGPACK, RAW
from holdfast._values.models import (
    FIX,
    Adapter,
    dump,
    is_model,
    load,
    refuse_excluded,
    schema_text,
    type_name,
)
from holdfast.errors import CodecError, ConfigurationError

T = TypeVar("T")
Format = Literal["msgpack", "json", "raw"]


class Codec(Generic[T]):
    """Values of one type in one format; made by `codec_for`.

    `id` and `schema` go into the envelope. `read` is the bare method of the decoder, for the hot path: after
    any Exception from it, `decode` of the same bytes raises the CodecError that says why.
    """

    __slots__ = ("_form", "_name", "id", "read", "schema")

    id: int
    schema: int
    read: Callable[[bytes], T]

    def __init__(self, kind: Any, schema: int, form: _Form) -> None:
        self.id = form.id
        self.schema = schema
        self.read = form.read
        self._form = form
        self._name = type_name(kind)

    def encode(self, value: T) -> bytes:
        """The payload of `value`.

        Raises: CodecError (unencodable) if there is none, or if what comes back from it would be no `T`.
        """
        try:
            payload = self._form.write(value)
            self._form.check(value, payload)
        except Exception as error:  # also from the value's own code, such as a property that fails
            text = f"{type_name(type(value))} as {self._name}: {error}"
            raise CodecError(text, reason="unencodable") from error
        return payload

    def decode(self, payload: bytes) -> T:
        """The value in `payload`.

        Raises: CodecError: `schema` if the bytes are of the format but no `T`, `corrupt` if they are not.
        """
        try:
            return self.read(payload)
        except Exception as error:  # also from the type's own code, such as __post_init__
            reason = "schema" if self._is_of_format(payload) else "corrupt"
            raise CodecError(f"bytes that are no {self._name}: {error}", reason=reason) from error

    def _is_of_format(self, payload: bytes) -> bool:
        try:
            self._form.parse(payload)
        except Exception:  # noqa: BLE001 - DecodeError, UnicodeDecodeError, RecursionError, what comes next
            return False
        return True


def codec_for(kind: Any, format: Format = "msgpack") -> Codec[Any]:
    """The codec of the type `kind` in `format`; Any stands for its plain types, which are bytes for raw.

    Raises: ConfigurationError, naming the type and the fix, if there is no such format, or if it cannot hold
    such a type.
    """
    if format not in get_args(Format):
        raise ConfigurationError(f'format={format!r} must be "msgpack", "json" or "raw"')
    adapter = None
    try:
        schema = _fingerprint(inspect.type_info(kind))
    except ConfigurationError:
        raise
    except Exception as error:  # TypeError mostly; NameError for an annotation that leads nowhere
        adapter = Adapter.of(kind)
        if adapter is None:
            raise ConfigurationError(f"type={type_name(kind)} cannot be stored: {error}; {FIX}") from error
        schema = zlib.crc32(adapter.schema.encode())
    return Codec(kind, schema, _form(kind, format, adapter))


# --- the formats --------------------------------------------------------------------------------------------


_Read = Callable[[bytes], Any]
_Check = Callable[[Any, bytes], object]


class _Form(NamedTuple):
    """How one type is written in one format. `check` raises if reading would not give back the value; `parse`
    raises if the bytes are not of the format.
    """

    id: int
    write: Callable[[Any], bytes]
    read: _Read
    check: _Check
    parse: Callable[[bytes], object]


_pack = msgspec.msgpack.Encoder(enc_hook=dump).encode
_write_json = msgspec.json.Encoder(enc_hook=dump).encode


def _form(kind: Any, format: Format, adapter: Adapter | None) -> _Form:
    if format == "raw":
        return _raw(kind)
    if adapter is not None:
        return _adapted(adapter, format)
    read: _Read
    check: _Check
    or_none = kind if kind is Any else Optional[kind]  # noqa: UP045 - not every type has `|`
    if format == "json":
        read = msgspec.json.Decoder(or_none, dec_hook=load).decode
        check = _stays_itself_in_json if kind is Any else partial(_comes_back, read)
        return _Form(JSON, _write_json, read, check, msgspec.json.decode)
    read = msgspec.msgpack.Decoder(or_none, dec_hook=load).decode
    check = _stays_itself if kind is Any else partial(_fits, read)
    return _Form(MSGPACK, _pack, read, check, msgspec.msgpack.decode)


def _adapted(adapter: Adapter, format: Format) -> _Form:
    id, write, parse = (
        (JSON, _write_json, msgspec.json.decode)
        if format == "json"
        else (MSGPACK, _pack, msgspec.msgpack.decode)
    )

    def read(payload: bytes) -> Any:
        return adapter.load(parse(payload))

    def check(value: Any, payload: bytes) -> None:
        back = read(payload)
        if type(back) is not type(value) or back != value:  # it fits another member of the union as well
            raise ValueError(f"it would come back as a {type_name(type(back))}, or as another value")

    return _Form(id, lambda value: write(adapter.dump(value)), read, check, parse)


def _raw(kind: Any) -> _Form:
    if kind is bytes or kind is Any:
        return _as_it_is(bytes, bytes, bytes)
    if kind is str:  # the bare functions of C; both refuse what is no UTF-8
        return _as_it_is(str, str.encode, bytes.decode)
    raise ConfigurationError(
        f"type={type_name(kind)} cannot be stored as it is: "
        'format="raw" takes bytes or str; declare one of them, or use format="msgpack"'
    )


def _as_it_is(plain: type, to_bytes: Callable[[Any], bytes], read: _Read) -> _Form:
    def write(value: Any) -> bytes:
        if value is None:
            raise TypeError('raw bytes cannot say None; use format="msgpack", or let the source say MISSING')
        if type(value) is not plain:
            raise TypeError(f"it would come back as {type_name(plain)}; declare type=")
        return to_bytes(value)

    return _Form(RAW, write, read, lambda *_: None, bytes)


def _fits(read: _Read, _: Any, payload: bytes) -> None:
    """Raise unless `payload` can be read."""
    read(payload)


def _comes_back(read: _Read, value: Any, payload: bytes) -> None:
    """Raise unless JSON gives back what went in: NaN becomes null, a key that is no str may become one.

    What `==` calls different, such as instances of a class without it, may still be the same in msgpack.
    """
    back = read(payload)
    if back != value and _pack(back) != _pack(value):
        raise ValueError('it would come back as another value; use format="msgpack"')


# --- Any: what comes back is what went in -------------------------------------------------------------------

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


def _stays_itself(value: object, _: bytes) -> None:
    """Raise TypeError for what msgpack would silently change. Runs after encoding, so there is no cycle."""
    left: list[Any] = [value]
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
            raise TypeError(f"a {type_name(kind)}{naive} would come back as another type; declare type=")


def _stays_itself_in_json(value: object, _: bytes) -> None:
    """As `_stays_itself`, for JSON, which knows less."""
    left: list[Any] = [value]
    while left:
        item = left.pop()
        kind = type(item)
        if kind in {type(None), bool, int, str} or (kind is float and math.isfinite(item)):
            continue
        if isinstance(item, dict) and all(type(key) is str for key in item):
            left.extend(item.values())
        elif kind is list:
            left.extend(item)
        else:
            keys = " with keys that are no str" if isinstance(item, dict) else ""
            what = "a float that is no number" if kind is float else f"a {type_name(kind)}{keys}"
            raise TypeError(f'{what} would come back as another type; declare type=, or format="msgpack"')


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
    if not is_model(cls):
        raise ConfigurationError(f"type={type_name(cls)} cannot be stored: msgspec does not know it; {FIX}")
    refuse_excluded(cls)
    return schema_text(cls.model_json_schema, _class(cls))


def _class(cls: Any) -> str:
    return str(getattr(cls, "__origin__", cls).__qualname__)
