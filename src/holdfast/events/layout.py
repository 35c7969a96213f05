"""Where events live: their keys. Pure.

A log is spread over a fixed number of partitions, by the name of the stream; the keys of one partition share
the slot of `{<name>:<p>}`, so that one script can append to several of its streams:

    <ns>:1:events:{<name>:<p>}:s:<stream>        the events of a stream; entry `<version>-0`
    <ns>:1:events:{<name>:<p>}:b:<stream>        its batches that have an id of the user's
    <ns>:1:events:{<name>:<p>}:snap:<stream>     its newest snapshot
    <ns>:1:events:{<name>:<p>}:log               all in their order: entry `<position>-0` names stream and
                                                 version; a channel as well
    <ns>:1:events:{<name>:<p>}:versions, :meta   the version of each stream; the positions
    <ns>:1:events:{<name>:<p>}:req:<token>       what a request was answered, for a minute
    <ns>:1:events:{<name>:<p>}:progress, :active how far projections are, and which version of each is read
    <ns>:1:events:{<name>:<p>}:run:<projection>:<version>        the lease of who runs it
    <ns>:1:events:{<name>:<p>}:p:<projection>:<version>:<part>   what it has written
    <ns>:1:events:{<name>}:meta                  how many partitions there are
"""

from __future__ import annotations

from urllib.parse import unquote
from zlib import crc32

from holdfast._wire.keys import Keys, escape_name
from holdfast.errors import ConfigurationError

LONGEST = 1024  # bytes of a stream's name, a batch's id, or the part of a key


class Partition:
    """The keys of one partition."""

    __slots__ = ("active", "base", "log", "meta", "number", "progress", "streams", "versions")

    def __init__(self, base: str, number: int) -> None:
        self.base = base
        self.number = number
        self.log, self.meta, self.versions = f"{base}:log", f"{base}:meta", f"{base}:versions"
        self.progress, self.active = f"{base}:progress", f"{base}:active"
        self.streams = f"{base}:s:"

    def events(self, stream: str) -> str:
        """The events of `stream`, which is escaped, as everywhere here."""
        return self.streams + stream

    def batches(self, stream: str) -> str:
        """Its batches."""
        return f"{self.base}:b:{stream}"

    def snapshot(self, stream: str) -> str:
        """Its snapshot."""
        return f"{self.base}:snap:{stream}"

    def memo(self, token: str) -> str:
        """What the request `token` was answered."""
        return f"{self.base}:req:{token}"

    def lease(self, own: str) -> str:
        """Who runs `own`, a projection and its version."""
        return f"{self.base}:run:{own}"

    def models(self, projection: str) -> str:
        """What the keys of all versions of `projection` start with."""
        return f"{self.base}:p:{projection}:"


class Layout:
    """The partitions of the log `name`."""

    __slots__ = ("meta", "parts")

    def __init__(self, keys: Keys, name: str, partitions: int) -> None:
        bases = [keys.tagged("events", f"{name}:{number}") for number in range(partitions)]
        self.parts = tuple(Partition(base, number) for number, base in enumerate(bases))
        self.meta = keys.tagged("events", name, ":meta")

    def of(self, stream: str) -> Partition:
        """Where `stream`, escaped, is."""
        return self.parts[crc32(stream.encode()) % len(self.parts)]


def written(value: object, what: str) -> str:
    """`value` as a part of a key. Raises: ConfigurationError."""
    if isinstance(value, str) and value and _is_text(value) and len(value.encode()) <= LONGEST:
        return escape_name(str.__str__(value))
    raise ConfigurationError(f"{what}={value!a:.80} must be text of at most {LONGEST} bytes, and not empty")


def read(text: str) -> str:
    """What `written` made `text` of."""
    return unquote(text)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
