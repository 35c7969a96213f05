"""The bytes of one cache entry: a header of 56 bytes, the versions of its tags, the payload. Pure.

    offset  size  field      little endian
         0     1  magic      0xF5
         1     1  wire       version of this layout, 1
         2     1  codec      how the payload is written: RAW, MSGPACK, JSON
         3     1  flags      see below
         4     4  schema     fingerprint of the payload's type (codecs.py)
         8     8  stamp      random per fill: names this very entry
        16     8  epoch      of the entry's shard when it was filled
        24     8  loaded_at  server time of the grant, before the load, in ms
        32     8  ttl        ms for which it is fresh
        40     8  version    signed, given by the user; 0 means none
        48     4  grace      ms for which the server keeps it beyond that, as something stale
        52     2  tags       how many
        54     2  load       how long the load took, in units of 2 ms

Each tag is the length of its name (2 bytes), the name in UTF-8, and its version (8 bytes). Behind the tags
stands the etag, if the flags say so: its length (2 bytes) and its UTF-8.

The first four bytes of an entry that needs no second thought are `head(codec)`: no flag is set, so it is a
value, not expired, and its payload starts at HEADER (an entry with tags, an etag or a grace says so by a flag
for that reason). The hot path of a read compares four bytes and the epoch, and never comes here. An entry is
stale once what is left of its life on the server is no more than its grace: no clock is compared.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from holdfast.errors import CodecError

MAGIC = 0xF5
WIRE_VERSION = 1
HEADER = 56

RAW, MSGPACK, JSON = 0, 1, 2

NEGATIVE = 1  # the source has nothing under this key; there is no payload
EXPIRED = 2  # softly expired: to be loaded again, kept for when that fails
COMPRESSED = 4  # of the payload: wrapping.py
CHUNKED = 8  # the payload is a manifest: chunks.py
TAGGED = 16  # tags stand between header and payload; set and removed here
GRACE = 32  # it outlives its ttl; set and removed here
ETAG = 64  # an etag stands before the payload; set and removed here
SEALED = 128  # of the payload: wrapping.py

HEAD = slice(0, 4)
FLAGS_AT = 3
STAMP = slice(8, 16)
EPOCH = slice(16, 24)
LOADED_AT = slice(24, 32)
VERSION = slice(40, 48)
GRACE_AT = slice(48, 52)
IDENTITY = slice(0, 24)  # differs whenever the entry was filled anew, flagged, or belongs to another epoch

_LAYOUT = struct.Struct("<BBBBI8s8sQQqIHH")
_LENGTH = struct.Struct("<H")
_LAID_OUT_HERE = TAGGED | GRACE | ETAG
_VERSION_SIZE = 8
LONGEST_GRACE = 2**32 - 1  # ms: 49 days
_LONGEST_LOAD = 2**16 - 1


class Envelope(NamedTuple):
    """One cache entry. `tags` are (name, version of 8 bytes); `version` is None where the user gave none.

    `load_ms` is kept to the next 2 ms, and no more than 131 s of it.
    """

    codec: int
    flags: int
    schema: int
    stamp: bytes
    epoch: bytes
    loaded_at: int
    ttl: int
    version: int | None
    load_ms: int
    tags: tuple[tuple[str, bytes], ...]
    payload: bytes
    grace: int = 0
    etag: str = ""


def head(codec: int, flags: int = 0) -> bytes:
    """The first four bytes of an entry; without flags, its payload starts at HEADER and may be served as it
    is.
    """
    return bytes((MAGIC, WIRE_VERSION, codec, flags))


def pack(envelope: Envelope) -> bytes:
    """The bytes of `envelope`.

    Raises: CodecError (unencodable) if a field does not fit the layout.
    """
    codec, flags, schema, stamp, epoch, loaded_at, ttl, version = envelope[:8]
    load_ms, tags, payload, grace, etag = envelope[8:]
    if len(stamp) != 8 or len(epoch) != 8 or version == 0 or flags & _LAID_OUT_HERE:
        raise _unfit(envelope, "stamp and epoch have 8 bytes, version 0 means none, some flags are set here")
    flags |= (TAGGED if tags else 0) | (GRACE if grace else 0) | (ETAG if etag else 0)
    try:
        start = (MAGIC, WIRE_VERSION, codec, flags, schema, stamp, epoch)
        load = min(_LONGEST_LOAD, (load_ms + 1) // 2)
        header = _LAYOUT.pack(*start, loaded_at, ttl, version or 0, grace, len(tags), load)
        if not (tags or etag):
            return header + payload
        return b"".join((header, *map(_pack_tag, tags), _pack_text(etag) if etag else b"", payload))
    except (struct.error, UnicodeEncodeError) as error:
        raise _unfit(envelope, str(error)) from error


def unpack(raw: bytes) -> Envelope:
    """The entry in `raw`.

    Raises: CodecError, whatever the bytes are; its reason is `foreign` (not written by Holdfast), `version`
    (written by a Holdfast that knows more than this one) or `corrupt`.
    """
    if not raw or raw[0] != MAGIC:
        raise CodecError("no entry of Holdfast", reason="foreign")
    if len(raw) > 1 and raw[1] != WIRE_VERSION:
        raise CodecError(f"wire version {raw[1]}; this Holdfast reads {WIRE_VERSION}", reason="version")
    if len(raw) < HEADER:
        raise CodecError(f"{len(raw)} bytes are less than a header", reason="corrupt")
    _, _, codec, flags, *rest, version, grace, count, load = _LAYOUT.unpack_from(raw)
    if codec > JSON:
        raise CodecError(f"codec {codec} is beyond this Holdfast", reason="version")
    if bool(flags & TAGGED) != bool(count) or bool(flags & GRACE) != bool(grace):
        raise CodecError(f"flags {flags} contradict {count} tags and {grace} ms of grace", reason="corrupt")
    tags, start = _unpack_tags(raw, count)
    etag, start = _unpack_text(raw, start) if flags & ETAG else ("", start)
    flags &= ~_LAID_OUT_HERE
    fixed = (codec, flags, *rest, version or None, 2 * load, tags)
    return Envelope._make((*fixed, raw[start:], grace, etag))


def _unfit(envelope: Envelope, why: str) -> CodecError:
    return CodecError(f"{envelope._replace(payload=b'')} is no entry: {why}", reason="unencodable")


def _pack_tag(tag: tuple[str, bytes]) -> bytes:
    name, version = tag[0].encode(), tag[1]
    if len(version) != _VERSION_SIZE:
        raise CodecError(f"tag {tag[0]!r}: a version has 8 bytes, not {len(version)}", reason="unencodable")
    return _LENGTH.pack(len(name)) + name + version


def _pack_text(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _unpack_text(raw: bytes, at: int) -> tuple[str, int]:
    try:
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(raw, at)[0]
        if end > len(raw):
            raise CodecError("the etag ends in mid-air", reason="corrupt")
        return raw[start:end].decode(), end
    except (struct.error, UnicodeDecodeError) as error:
        raise CodecError(f"unreadable etag: {error}", reason="corrupt") from error


def _unpack_tags(raw: bytes, count: int) -> tuple[tuple[tuple[str, bytes], ...], int]:
    tags: list[tuple[str, bytes]] = []
    at = HEADER
    try:
        for _ in range(count):
            name_at = at + _LENGTH.size
            name_end = name_at + _LENGTH.unpack_from(raw, at)[0]
            at = name_end + _VERSION_SIZE
            if at > len(raw):
                raise CodecError("the tags end in mid-air", reason="corrupt")
            tags.append((raw[name_at:name_end].decode(), raw[name_end:at]))
    except (struct.error, UnicodeDecodeError) as error:
        raise CodecError(f"unreadable tags: {error}", reason="corrupt") from error
    return tuple(tags), at
