"""What becomes of a payload between codec and envelope: it is compressed, then sealed. Pure.

Compressed, a payload is

    offset  size  field      little endian
         0     1  algorithm  1 zlib, 2 zstd
         1     4  length     of the plain payload, at most 1 GiB
         5     -  data       one stream of that algorithm

so that readers with other settings understand it, and know how much memory it takes before they begin.

Sealed, it is whatever the user's cipher made of it. The cipher is theirs, and so are the keys: Holdfast
brings none. It must authenticate (AEAD). With `cryptography`:

    class Seal:
        def __init__(self, keys: dict[bytes, bytes]) -> None:  # ids of 4 bytes; the last one seals
            self._keys = {id: AESGCM(key) for id, key in keys.items()}

        def encrypt(self, data: bytes, associated: bytes) -> bytes:
            id, nonce = list(self._keys)[-1], os.urandom(12)
            return id + nonce + self._keys[id].encrypt(nonce, data, id + associated)

        def decrypt(self, data: bytes, associated: bytes) -> bytes:
            id, nonce = data[:4], data[4:16]
            return self._keys[id].decrypt(nonce, data[16:], id + associated)

To rotate: give every process the new key before the current one, then after it, then take the old one away.

Promised, with such a cipher: what is served was sealed by somebody who has a key, for this very name (key,
codec and schema; see `name_of`). Anything else is a miss: other bytes, a value moved from another key, one
that was never sealed.

Not promised: that it is the newest. Who may write to the server can put back an older value of the same key,
remove one, or say that the source has none; the header of the envelope is not sealed. Nor are names of keys
and sizes of values hidden, and compression makes the size tell more: where an attacker's words stand beside a
secret in one value, the length shows what they have in common (CRIME). Do not compress such values.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, Protocol, get_args

from holdfast._values.chunks import LARGEST
from holdfast._values.envelope import COMPRESSED, SEALED
from holdfast.errors import CodecError, ConfigurationError

Algorithm = Literal["zlib", "zstd"]

_HEAD = struct.Struct("<BI")
_NAME = struct.Struct("<BI")
_ZLIB, _ZSTD = 1, 2
# Measured on 10 KB of JSON: level 1 takes half the time of level 6 for a tenth more bytes.
_ZLIB_LEVEL, _ZSTD_LEVEL = 1, 3
_WORTH_IT = 0.9  # keep the plain form, which costs its readers nothing, unless a tenth is saved


class Cipher(Protocol):
    """Seals and opens. `associated` is authenticated, not hidden; both are called from any thread."""

    def encrypt(self, data: bytes, associated: bytes, /) -> bytes:
        """`data`, sealed together with `associated`."""

    def decrypt(self, data: bytes, associated: bytes, /) -> bytes:
        """What was sealed. Raises: any Exception unless `data` was sealed together with `associated`."""


def name_of(key: str, codec: int, schema: int) -> bytes:
    """What a sealed payload is bound to: the full key, and how its bytes are to be read."""
    return _NAME.pack(codec, schema) + key.encode()


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How a cache wraps its payloads; reading understands every algorithm, whatever this one writes.

    compress_above  compress payloads of more bytes than this, if it saves a tenth; None: never
    algorithm       what new payloads are compressed with
    cipher          seals every payload; then no payload that is not sealed is read

    Raises: ConfigurationError for other settings, or if `zstd` is not installed.
    """

    compress_above: int | None = None
    algorithm: Algorithm = "zlib"
    cipher: Cipher | None = None

    def __post_init__(self) -> None:
        above = self.compress_above
        if above is not None and (isinstance(above, bool) or not isinstance(above, int) or above < 0):
            raise ConfigurationError(
                f"compress_above={above!r} must be a number of bytes, 0 or more, or None"
            )
        if self.algorithm not in get_args(Algorithm):
            raise ConfigurationError(f'algorithm={self.algorithm!r} must be "zlib" or "zstd"')
        if self.algorithm == "zstd" and _zstd() is None:
            raise ConfigurationError(
                'algorithm="zstd" needs zstandard: pip install "holdfast[zstd]", or use "zlib"'
            )
        absent = [name for name in ("encrypt", "decrypt") if not callable(getattr(self.cipher, name, None))]
        if self.cipher is not None and absent:
            raise ConfigurationError(f"cipher={type(self.cipher).__name__} has no {', '.join(absent)}")

    def wrap(self, body: bytes, name: bytes) -> tuple[int, bytes]:
        """The flags to add to the envelope, and what to store instead of `body`. `name`: see `name_of`.

        Raises: CodecError (unencodable) if the cipher fails; the plain bytes are then stored nowhere.
        """
        flags, data = 0, body
        if self.compress_above is not None and self.compress_above < len(body) <= LARGEST:
            data = _compress(body, self.algorithm)
            if len(data) <= len(body) * _WORTH_IT:
                flags = COMPRESSED
            else:
                data = body
        if self.cipher is not None:
            data = _seal(self.cipher, data, _associated(flags, name))
            flags |= SEALED
        return flags, data

    def unwrap(self, flags: int, data: bytes, name: bytes) -> bytes:
        """The body in `data`, as an envelope with `flags`, found under `name`, holds it.

        Raises: CodecError, whatever the bytes are: `sealed` if they do not open, or are sealed on one side
        only; `compressed` if they are no such stream, or of an algorithm that is not installed here.
        """
        sealed = bool(flags & SEALED)
        if sealed is not (self.cipher is not None):  # in doubt, an attacker has stripped the seal
            here, there = ("", "not ") if sealed else ("not ", "")
            raise CodecError(f"the entry is {here}sealed, this cache's are {there}", reason="sealed")
        if self.cipher is not None:
            data = _open(self.cipher, data, _associated(flags & COMPRESSED, name))
        return _decompress(data) if flags & COMPRESSED else data


# --- sealing ------------------------------------------------------------------------------------------------


def _associated(compressed: int, name: bytes) -> bytes:
    """The flag decides how the opened bytes are read, and stands outside of the seal: so it is bound, too."""
    return bytes((compressed,)) + name


def _seal(cipher: Cipher, data: bytes, associated: bytes) -> bytes:
    try:
        sealed = cipher.encrypt(data, associated)
    except Exception as error:
        raise CodecError(f"the cipher failed: {type(error).__name__}", reason="unencodable") from error
    if not isinstance(sealed, bytes):
        raise CodecError(f"the cipher made a {type(sealed).__name__}, not bytes", reason="unencodable")
    return sealed


def _open(cipher: Cipher, data: bytes, associated: bytes) -> bytes:
    try:
        opened = cipher.decrypt(data, associated)
    except Exception as error:  # of which kind, only the user's library knows
        raise CodecError(f"the payload does not open: {type(error).__name__}", reason="sealed") from error
    if not isinstance(opened, bytes):
        raise CodecError(f"the cipher made a {type(opened).__name__}, not bytes", reason="sealed")
    return opened


# --- compression --------------------------------------------------------------------------------------------


def _compress(body: bytes, algorithm: Algorithm) -> bytes:
    zstd = _zstd() if algorithm == "zstd" else None
    if zstd is None:
        return _HEAD.pack(_ZLIB, len(body)) + zlib.compress(body, _ZLIB_LEVEL)
    return _HEAD.pack(_ZSTD, len(body)) + zstd.compress(body)


def _decompress(data: bytes) -> bytes:
    try:
        algorithm, length = _HEAD.unpack_from(data)
        if length > LARGEST:
            raise ValueError(f"{length} bytes, at most {LARGEST} are read")
        body = _expand(algorithm, data[_HEAD.size :], length)
        if len(body) != length:
            raise ValueError(f"not the {length} bytes it said")
    except Exception as error:  # zlib.error, struct.error, ZstdError, MemoryError
        raise CodecError(f"no compressed payload: {error}", reason="compressed") from error
    return body


def _expand(algorithm: int, stream: bytes, length: int) -> bytes:
    """The bytes in `stream`, at most one more than `length`: so that a bomb is noticed, not unfolded."""
    if algorithm == _ZLIB:
        expander = zlib.decompressobj()
        body = expander.decompress(stream, length + 1)
        if not expander.eof or expander.unused_data:
            raise ValueError("the stream ends too late or too early")
        return body
    zstd = _zstd() if algorithm == _ZSTD else None
    if zstd is None:
        raise ValueError(f"algorithm {algorithm} is not installed")
    return zstd.expand(stream, length)


class _Zstd(NamedTuple):
    """zstd from either source. Contexts are made per call, since no two threads may share one."""

    compress: Callable[[bytes], bytes]
    expand: Callable[[bytes, int], bytes]


@cache  # a failing import would search the disk at every read
def _zstd() -> _Zstd | None:
    for source in (_zstd_of_python, _zstd_of_extra):
        try:
            return source()
        except ImportError:
            continue
    return None


def _zstd_of_python() -> _Zstd:
    zstd = importlib.import_module("compression.zstd")  # Python 3.14
    level, checksum = zstd.CompressionParameter.compression_level, zstd.CompressionParameter.checksum_flag

    def compress(body: bytes) -> bytes:
        packed: bytes = zstd.compress(body, options={level: _ZSTD_LEVEL, checksum: 1})
        return packed

    def expand(stream: bytes, length: int) -> bytes:
        expander = zstd.ZstdDecompressor()
        body: bytes = expander.decompress(stream, length + 1)
        if not expander.eof or expander.unused_data:
            raise ValueError("the stream ends too late or too early")
        return body

    return _Zstd(compress, expand)


def _zstd_of_extra() -> _Zstd:
    import zstandard

    def compress(body: bytes) -> bytes:
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(body)

    def expand(stream: bytes, length: int) -> bytes:
        if zstandard.frame_content_size(stream) not in (length, -1):  # -1: the stream does not say
            raise ValueError("the stream is of another length")
        expander = zstandard.ZstdDecompressor()
        return expander.decompress(stream, max_output_size=length + 1, allow_extra_data=False)

    return _Zstd(compress, expand)
