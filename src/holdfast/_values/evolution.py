"""Evolution: a type that changes over time, and the payloads of its older versions. Pure.

What is stored for years outlives its type. A field that is new and has a default, or that nobody reads any
more, needs nothing: codecs.py reads it either way. For all else the type gets a `version`, which is stored
beside each payload, and for every step a function that makes plain values of version n out of those of
version n - 1:

    Evolution(version=3, upcast={1: split_name, 2: cents}, type=User)

A payload of version 1 is read as plain builtins, goes through `split_name` and `cents`, and then becomes a
User. History is never rewritten: upcasters are kept for as long as payloads of their version are. One of a
newer version than ours is refused and not guessed: it was written by a release that this process is not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from holdfast._values.codecs import Codec, Format, codec_for
from holdfast._values.envelope import JSON, MSGPACK
from holdfast._values.models import dump, type_name
from holdfast.errors import CodecError, ConfigurationError

T = TypeVar("T")
Upcast = Mapping[int, Callable[[Any], Any]]

HIGHEST = 2**31 - 1

_READ: Mapping[int, Callable[[bytes], Any]] = {JSON: msgspec.json.decode, MSGPACK: msgspec.msgpack.decode}
_WRITE: Mapping[int, Callable[[Any], bytes]] = {
    JSON: msgspec.json.Encoder(enc_hook=dump).encode,
    MSGPACK: msgspec.msgpack.Encoder(enc_hook=dump).encode,
}


class Evolution(Generic[T]):
    """The versions of one type: `version` is what is written now, `upcast[n]` leads from n to n + 1."""

    __slots__ = ("_name", "_upcast", "codec", "version")

    def __init__(
        self,
        version: int = 1,
        upcast: Upcast | None = None,
        *,
        type: Any = Any,
        format: Format = "msgpack",
    ) -> None:
        """`upcast` may begin above 1, if nothing older is stored; from there on it has no gaps.

        Raises: ConfigurationError that names the version and the fix, also for a type that cannot be stored.
        """
        self.codec: Codec[T] = codec_for(type, format)
        self.version = checked(version)
        self._name = type_name(type)
        self._upcast = dict(upcast or {})
        _check_chain(self._upcast, self.version)
        if self._upcast and self.codec.id not in _READ:
            raise ConfigurationError(
                f'upcast= needs values that have a structure, and format="{format}" has none; use "msgpack"'
            )

    def encode(self, value: T) -> bytes:
        """The payload of `value`, of the version that is written now. Raises: CodecError."""
        return self.codec.encode(value)

    def decode(self, payload: bytes, version: int) -> T:
        """The value in `payload`, which was written as `version`.

        Raises: CodecError: `version` if it is newer than ours, or older than the first upcaster; `upcast` if
        an upcaster raised; `schema` or `corrupt` as Codec.decode.
        """
        if version == self.version:
            return self.codec.decode(payload)
        if version > self.version:
            raise CodecError(
                f"a {self._name} of version {version}, but this process knows versions up to "
                f"{self.version}: a newer release wrote it; update this one first",
                reason="version",
            )
        if version not in self._upcast:
            raise CodecError(
                f"a {self._name} of version {version}, but there is no upcaster from it; add "
                f"upcast={{{version}: ...}}",
                reason="version",
            )
        return self.codec.decode(self._raised(payload, version))

    def _raised(self, payload: bytes, version: int) -> bytes:
        """`payload`, as the version that is written now would have it."""
        try:
            plain = _READ[self.codec.id](payload)
        except Exception as error:
            text = f"bytes of version {version} that are no {self._name}: {error}"
            raise CodecError(text, reason="corrupt") from error
        at = version
        try:
            for at in range(version, self.version):
                plain = self._upcast[at](plain)
            # Back to bytes: so one decoder reads all, pydantic's models and unions of them as well.
            return _WRITE[self.codec.id](plain)
        except Exception as error:  # the user's code
            text = f"the upcaster of {self._name} from version {at} failed: {error!r}"
            raise CodecError(text, reason="upcast") from error


def checked(version: Any) -> int:
    """`version`, of a schema. Raises: ConfigurationError."""
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= HIGHEST:
        raise ConfigurationError(f"version={version!r} must be a whole number, 1 or more")
    return version


def _check_chain(upcast: Upcast, version: int) -> None:
    for known, function in upcast.items():
        if isinstance(known, bool) or not isinstance(known, int) or not 1 <= known < version:
            raise ConfigurationError(
                f"upcast={{{known!r}: ...}} leads from version {known!r} to the next, but version={version} "
                f"is the newest; say version={known + 1 if type(known) is int else 2}, or leave it out"
            )
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ConfigurationError(
                f"upcast[{known}]={function!r} must be a plain function of one argument, the older value"
            )
    missing = [one for one in range(min(upcast, default=version), version) if one not in upcast]
    if missing:
        raise ConfigurationError(
            f"upcast= has a gap: nothing leads from version {missing[0]} to {missing[0] + 1}"
        )
