"""Payloads too big for one key, cut into chunks, and the manifest that stands in their place. Pure.

A value of many megabytes in one key holds up everybody: the server while it copies it, the connection while
it travels, the answers behind it. So it is cut. The chunks are written first; the manifest, as the payload of
the entry, last: who sees a manifest finds its chunks, who does not sees the entry that was there before.

    chunk     stamp 8, index 4, body
    manifest  parts 2, size of a body 4, total length 8, CRC-32 of the whole 4      little endian

Fills of one entry use the same keys for their chunks, and they may overlap. The stamp, random per fill and
also in the envelope of the manifest, tells whose a chunk is: `join` gives what one fill has split, or
refuses. A fill that came in between, or a server that has evicted a chunk, makes a miss, never a mixture.

The checksum finds accidents. It is no protection against people who may write to the server; a cipher is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from holdfast.errors import CodecError

LARGEST = 1 << 30  # bytes of one payload
MOST = 65_535  # chunks of one payload
STAMP = 8

_MANIFEST = struct.Struct("<HIQI")
_HEAD = struct.Struct("<8sI")


class _Manifest(NamedTuple):
    parts: int
    size: int
    total: int
    checksum: int


def split(data: bytes, stamp: bytes, size: int) -> tuple[bytes, list[bytes]]:
    """The manifest of `data` and its chunks, each with `size` bytes of it (the last may have fewer).

    `stamp`: the 8 bytes of the fill, as in the envelope. Memory: one copy of `data`.

    Raises: CodecError (unencodable) for more than 1 GiB or more than 65,535 chunks; ValueError for a size
    below 1 or a stamp of another length.
    """
    if size < 1 or len(stamp) != STAMP:
        raise ValueError(f"chunks of {size} bytes with a stamp of {len(stamp)}: at least 1, exactly {STAMP}")
    needed = _count(len(data), size)
    if needed > MOST or len(data) > LARGEST:
        text = f"{len(data)} bytes in chunks of {size}: at most {LARGEST} bytes and {MOST} chunks"
        raise CodecError(text, reason="unencodable")
    view = memoryview(data)
    bodies = (view[at : at + size] for at in range(0, len(data), size))
    chunks = [b"".join((_HEAD.pack(stamp, index), body)) for index, body in enumerate(bodies)]
    return _MANIFEST.pack(needed, size, len(data), zlib.crc32(data)), chunks


def parts(manifest: bytes) -> int:
    """How many chunks belong to `manifest`.

    Raises: CodecError (incomplete) if it is none, or contradicts itself.
    """
    return _read(manifest).parts


def join(manifest: bytes, chunks: Sequence[bytes | None], stamp: bytes) -> bytes:
    """What was split into `chunks`, given in order; None stands for one that is gone. Memory: one copy.

    Raises: CodecError (incomplete) unless every one is there, is of this `stamp`, and has the right length,
    and all together have the right checksum.
    """
    expected, size, total, checksum = _read(manifest)
    if len(chunks) != expected:
        raise _incomplete(f"{len(chunks)} chunks of {expected}")
    bodies = [
        _body(chunk, stamp, index, min(size, total - index * size)) for index, chunk in enumerate(chunks)
    ]
    data = b"".join(bodies)
    if zlib.crc32(data) != checksum:
        raise _incomplete("the checksum is another")
    return data


def key(entry: str, index: int) -> str:
    """The key of a chunk of the entry under the key `entry`."""
    return f"{entry}:c{index}"


def _count(total: int, size: int) -> int:
    return -(-total // size)


def _read(manifest: bytes) -> _Manifest:
    if len(manifest) != _MANIFEST.size:
        raise _incomplete(f"{len(manifest)} bytes are no manifest")
    found = _Manifest(*_MANIFEST.unpack(manifest))
    if found.size < 1 or found.total > LARGEST or found.parts != _count(found.total, found.size):
        raise _incomplete(f"a manifest of {found.parts} chunks for {found.total} bytes by {found.size}")
    return found


def _body(chunk: bytes | None, stamp: bytes, index: int, length: int) -> memoryview:
    if chunk is None:
        raise _incomplete(f"chunk {index} is gone")
    if len(chunk) != _HEAD.size + length or chunk[: _HEAD.size] != _HEAD.pack(stamp, index):
        raise _incomplete(f"chunk {index} is of another fill, or not whole")
    return memoryview(chunk)[_HEAD.size :]


def _incomplete(why: str) -> CodecError:
    return CodecError(f"a value in chunks: {why}", reason="incomplete")
