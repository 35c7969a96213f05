"""What of a session is written how: as it is, or sealed with the user's cipher. Pure.

Sealed, each part is bound to its session and its place there: none can be moved to another session, or from
one key to another. The names of keys become hashes that are keyed with random bytes, which are sealed beside
them and stay with the session when it is rotated.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from hmac import digest
from typing import Any

import msgspec

from holdfast._values.codecs import codec_for
from holdfast._values.envelope import MSGPACK, SEALED
from holdfast._values.wrapping import Cipher, Wrapping, name_of
from holdfast.errors import CodecError
from holdfast.sessions.record import Record
from holdfast.sessions.shape import Pieces

SALT = 16  # bytes
_NUMBERS = (b"c", b"b", b"l", b"e", b"i", b"v", b"s")

_pair = msgspec.msgpack.Decoder(tuple[str, bytes]).decode
_pack = msgspec.msgpack.Encoder().encode
_about = codec_for(dict[str, Any])


class Seal:
    """How the parts of a session are written. `cipher` None: as they are."""

    __slots__ = ("_wrapping",)

    def __init__(self, cipher: Cipher | None) -> None:
        self._wrapping = None if cipher is None else Wrapping(cipher=cipher)

    @property
    def is_on(self) -> bool:
        """Is anything sealed?"""
        return self._wrapping is not None

    # --- writing --------------------------------------------------------------------------------------------

    def field(self, salt: bytes, name: str) -> str:
        """The field of the data under the top-level key `name`."""
        if self._wrapping is None:
            return f":{name}"
        return f":{urlsafe_b64encode(digest(salt, name.encode(), sha256)[:12]).decode()}"

    def fields(self, key: str, salt: bytes, pieces: Pieces) -> Iterator[str | bytes]:
        """Names and values of `pieces`, for the session at `key`. Raises: CodecError if the cipher fails."""
        if self._wrapping is None:
            for name, piece in pieces.items():
                yield f":{name}"
                yield piece
            return
        for name, piece in pieces.items():
            field = self.field(salt, name)
            yield field
            yield self._close(key, field, _pack((name, piece)))

    def meta(self, key: str, record: Record) -> Iterator[str | bytes]:
        """Names and values of the rest, but for the times. Raises: CodecError."""
        yield from ("v", str(record.version), "s", str(record.schema))
        if record.user is not None:
            yield from ("g", str(record.generation), "u", self._close(key, "u", record.user.encode()))
        if record.about:
            yield from ("a", self._close(key, "a", _about.encode(dict(record.about))))
        if self._wrapping is not None:
            yield from ("k", self._close(key, "k", record.salt))

    def _close(self, key: str, what: str, body: bytes) -> bytes:
        if self._wrapping is None:
            return body
        return self._wrapping.wrap(body, _place(key, what))[1]

    # --- reading --------------------------------------------------------------------------------------------

    def read(self, key: str, flat: Iterable[bytes]) -> Record:
        """The session whose fields the server has at `key`. Raises: CodecError."""
        walk = iter(flat)
        meta: dict[bytes, bytes] = {}
        pieces: dict[str, bytes] = {}
        wrapping = self._wrapping
        try:
            for field, value in zip(walk, walk, strict=True):
                if field[:1] != b":":
                    meta[field] = value
                elif wrapping is None:
                    pieces[field[1:].decode()] = value
                else:
                    name, piece = _pair(self._open(key, field.decode(), value))
                    pieces[name] = piece
            created, born, last, ends, idle, version, schema = (int(meta[one]) for one in _NUMBERS)
            generation = int(meta.get(b"g", 0))
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            raise CodecError(f"no session: {error!r}", reason="corrupt") from error
        user, about, salt = self.about(key, meta.get(b"u"), meta.get(b"a"), meta.get(b"k"))
        times = (created, born, last, ends, idle)
        return Record(*times, version, schema, generation, user, about, salt, pieces)

    def about(
        self, key: str, user: bytes | None, about: bytes | None, salt: bytes | None
    ) -> tuple[str | None, Mapping[str, Any], bytes]:
        """User, `about` and the key of the names. Raises: CodecError."""
        if (salt is None) is self.is_on:
            here, there = ("", "not ") if salt is not None else ("not ", "")
            raise CodecError(f"the session is {here}sealed, these are {there}", reason="sealed")
        try:
            name = None if user is None else self._open(key, "u", user).decode()
        except UnicodeDecodeError as error:
            raise CodecError("a user that is no text", reason="corrupt") from error
        told = {} if about is None else _about.decode(self._open(key, "a", about))
        return name, told, b"" if salt is None else self._open(key, "k", salt)

    def piece(self, key: str, field: str, value: bytes) -> bytes:
        """One piece of the data. Raises: CodecError."""
        if self._wrapping is None:
            return value
        try:
            return _pair(self._open(key, field, value))[1]
        except msgspec.MsgspecError as error:
            raise CodecError(f"no piece of a session: {error}", reason="corrupt") from error

    def _open(self, key: str, what: str, data: bytes) -> bytes:
        if self._wrapping is None:
            return data
        return self._wrapping.unwrap(SEALED, data, _place(key, what))


def _place(key: str, what: str) -> bytes:
    return name_of(f"{key}#{what}", MSGPACK, 0)


def checked_about(about: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """`about` as it comes back. Raises: CodecError."""
    if not about:
        return {}
    found: Mapping[str, Any] = _about.decode(_about.encode(dict(about)))
    return found
