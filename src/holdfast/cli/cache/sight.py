"""One entry as it stands on the server, and what it is for a reader. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from holdfast._values import chunks
from holdfast._values.envelope import (
    CHUNKED,
    COMPRESSED,
    EXPIRED,
    JSON,
    MSGPACK,
    NEGATIVE,
    RAW,
    SEALED,
    Envelope,
    unpack,
)
from holdfast._wire.transport import Command
from holdfast.cache import rules
from holdfast.cli.cache.walk import PAGE, Named, Questions, pages
from holdfast.errors import CodecError

ENOUGH = 16 * 1024  # bytes of an entry that are read: the header, and its tags
TOGETHER = 64  # entries asked for in one write
CODECS = {RAW: "raw", MSGPACK: "msgpack", JSON: "json"}
_FLAGS = ((NEGATIVE, "negative"), (COMPRESSED, "compressed"), (CHUNKED, "chunked"), (SEALED, "sealed"))

# What an entry is for a reader, and what that means.
STATES = {
    "fresh": "it is served",
    "stale": "its ttl is over; served while it is loaded anew, if the cache has stale=",
    "expired": "softly expired; loaded again at its next use, kept for when that fails",
    "invalidated": "one of its tags was invalidated; it is a miss",
    "cleared": "the cache was cleared, or its epoch evicted; it is a miss",
    "off": "the cache is off; it is not read",
    "unreadable": "it is a miss",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """`entry`: None if `trouble` says why it cannot be read. `left`: ms of its life, -1: it has no end.

    `size`: bytes it takes. `epoch`: of its shard today, `versions`: of its tags. `now`: ms of the server.
    """

    key: str
    tag: str
    entry: Envelope | None
    trouble: str
    left: int
    size: int
    epoch: bytes | None
    now: int
    versions: Mapping[str, bytes | None] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """One of STATES."""
        entry = self.entry
        if entry is None:
            return "unreadable"
        if self.epoch == rules.OFF:
            return "off"
        if entry.epoch != self.epoch:
            return "cleared"
        if not rules.is_current(entry.tags, self.versions):
            return "invalidated"
        if entry.flags & EXPIRED:
            return "expired"
        return "stale" if entry.grace and -1 < self.left <= entry.grace else "fresh"

    @property
    def weight(self) -> int:
        """Bytes it takes, its chunks included."""
        entry = self.entry
        if entry is None or not entry.flags & CHUNKED:
            return self.size
        try:
            return self.size + chunks._read(entry.payload).total
        except CodecError:
            return self.size

    @property
    def age(self) -> float:
        """Seconds since the moment before its load."""
        return 0.0 if self.entry is None else max(0, self.now - self.entry.loaded_at) / 1000

    @property
    def fresh_for(self) -> float | None:
        """Seconds of its ttl that are left; None: it has no end."""
        grace = 0 if self.entry is None else self.entry.grace
        return None if self.left < 0 else max(0, self.left - grace) / 1000

    @property
    def stale_for(self) -> float:
        """Seconds for which it may be served as something stale, from now or from the end of its ttl on."""
        grace = 0 if self.entry is None else self.entry.grace
        return min(max(0, self.left), grace) / 1000

    @property
    def flags(self) -> list[str]:
        """What it says of itself."""
        flags = 0 if self.entry is None else self.entry.flags
        return [word for flag, word in _FLAGS if flags & flag]

    @property
    def carries(self) -> dict[str, bool]:
        """Its tags, and whether each is what it was."""
        tags = () if self.entry is None else self.entry.tags
        return {name: self.versions.get(name) == version for name, version in tags}


def parsed(raw: bytes) -> tuple[Envelope | None, str]:
    """The entry in `raw`, or why there is none."""
    try:
        return unpack(raw), ""
    except CodecError as error:
        return None, error.reason


def shard_of(tag: str) -> int:
    """Which epoch the entry with `tag` belongs to."""
    return rules.shard(crc32(tag.encode()))


def look(
    entries: Sequence[Named], epochs: Sequence[str], tag_key: Any, weigh: str = "STRLEN"
) -> Questions[list[Sight]]:
    """The `entries` that are still there. `tag_key(name)` is the key of a tag's version; `weigh` the command
    that tells sizes: STRLEN, or MEMORY USAGE, which counts what the server needs around the bytes as well.
    """
    *told_epochs, (whole, micros) = yield [*(("GET", epoch) for epoch in epochs), ("TIME",)]
    now = int(whole) * 1000 + int(micros) // 1000
    found: list[Sight] = []
    for page in pages(entries, TOGETHER):
        questions: list[Command] = []
        for one in page:
            head = ("GETRANGE", one.key, 0, ENOUGH - 1)
            questions += [head, ("PTTL", one.key), (*weigh.split(), one.key)]
        replies = yield questions
        for at, one in enumerate(page):
            raw, left, size = replies[3 * at : 3 * at + 3]
            if raw:
                entry, trouble = parsed(raw)
                epoch = told_epochs[shard_of(one.label)]
                found.append(Sight(one.key, one.label, entry, trouble, left, size or len(raw), epoch, now))
    return (yield from _with_versions(found, tag_key))


def _with_versions(found: Sequence[Sight], tag_key: Any) -> Questions[list[Sight]]:
    names = sorted({name for one in found for name in one.carries})
    versions: dict[str, bytes | None] = {}
    for page in pages(names, PAGE):
        versions |= dict(zip(page, (yield [("GET", tag_key(name)) for name in page]), strict=True))
    return [
        Sight(
            one.key, one.tag, one.entry, one.trouble, one.left, one.size, one.epoch, one.now,
            {name: versions[name] for name in one.carries},
        )
        for one in found
    ]  # fmt: skip
