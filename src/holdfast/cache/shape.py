"""What a caller takes an entry for: a type, its codec, its wrapping, and the header of such. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast._values.codecs import Codec, codec_for
from holdfast._values.envelope import GRACE, NEGATIVE, Envelope, head, unpack
from holdfast._values.wrapping import Wrapping, name_of
from holdfast.cache.entry import MISSING
from holdfast.cache.options import CacheOptions
from holdfast.sizes import size


class Shape:
    """An entry that starts with `head` and carries the current epoch is a hit if `read(raw[56:])` succeeds.

    So is one that starts with `graced` and is still within its ttl. Where values are sealed neither ever is,
    since only `decode` opens them.
    """

    __slots__ = ("_wrapping", "codec", "graced", "head", "read", "variant")

    def __init__(self, type: Any, options: CacheOptions) -> None:
        """Raises: ConfigurationError."""
        above = None if options.compress_above is None else size(options.compress_above)
        self.codec: Codec[Any] = codec_for(type, options.codec)
        self._wrapping = Wrapping(above, options.compression, options.cipher)
        is_open = options.cipher is None
        self.head = head(self.codec.id) if is_open else b""
        self.graced = head(self.codec.id, GRACE) if is_open else b""
        self.read: Callable[[bytes], Any] = self.codec.read
        self.variant = f":s{self.codec.schema:08x}"

    def decode(self, entry: Envelope, name: str) -> Any:
        """The value in `entry`, which stands under the key `name`. Raises: CodecError."""
        bound = name_of(name, entry.codec, entry.schema)
        return self.codec.decode(self._wrapping.unwrap(entry.flags, entry.payload, bound))

    def read_envelope(self, raw: bytes, name: str) -> Any:
        """The value in the entry `raw`, which stood under the key `name`; MISSING where it says so.

        Raises: CodecError.
        """
        entry = unpack(raw)
        return MISSING if entry.flags & NEGATIVE else self.decode(entry, name)

    def encode(self, value: Any, name: str) -> tuple[int, bytes]:
        """Flags and payload of `value` under the key `name`. Raises: CodecError (unencodable)."""
        bound = name_of(name, self.codec.id, self.codec.schema)
        return self._wrapping.wrap(self.codec.encode(value), bound)
