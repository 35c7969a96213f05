# Generated from _dead_async.py by tools/unasync.py. Do not edit.
"""DeadLetters: what the source would not take."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from holdfast._coord.naming import Key, text
from holdfast.cache.behind import rules
from holdfast.cache.behind._desk_sync import Desk
from holdfast.cache.behind.journal import buried, record
from holdfast.cache.behind.options import DeadLetter
from holdfast.cache.entry import MISSING
from holdfast.errors import CodecError

PAGE = 200


class DeadLetters:
    """The records of one cache that its source refused as often as it may; made by `dead_letters()`.

    A newer put or removal of the same key takes a dead letter's place.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list(self, limit: int = 1000) -> list[DeadLetter]:
        """At most `limit` of them, in no order. Raises: Unavailable, Refused."""
        self._desk.agree()
        return [_letter(self._desk, tag, raw) for tag, raw in islice((self._all(limit)).items(), limit)]

    def replay(self, *keys: Key) -> int:
        """Have those of `keys` (none: all) tried again, as if they had been put now; how many that are.

        Raises: Unavailable, Refused. How many is a little less where a reply was lost and the request
        repeated.
        """
        self._desk.agree()
        done = 0
        for tag in self._tags(keys):
            part = self._desk.layout.of(tag)
            entry = part.entry(tag)
            names = (part.pending, part.order, part.state, part.dead, entry, f"{entry}:f")
            done += self._desk.wire.run(rules.REPLAY, names, (tag,))
        return done

    def purge(self, *keys: Key) -> int:
        """Forget those of `keys` (none: all); how many that were. Raises and counts: as `replay`."""
        self._desk.agree()
        done = 0
        for tag in self._tags(keys):
            part = self._desk.layout.of(tag)
            done += self._desk.wire.execute("HDEL", part.dead, tag, retry="safe")
        return done

    def _tags(self, keys: tuple[Key, ...]) -> Iterable[str]:
        if keys:
            return [text(key) for key in keys]
        return [tag.decode() for tag in self._all(None)]

    def _all(self, limit: int | None) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for part in self._desk.layout.partitions:
            cursor = b"0"
            while limit is None or len(found) < limit:
                question = ("HSCAN", part.dead, cursor, "COUNT", PAGE)
                cursor, flat = self._desk.wire.execute(*question, retry="safe")
                found.update(zip(flat[::2], flat[1::2], strict=True))
                if cursor in (b"0", 0):
                    break
        return found


def _letter(desk: Desk, tag: bytes, raw: bytes) -> DeadLetter:
    grave = buried(raw)
    fixed: dict[str, Any] = {"error": grave.error, "attempts": grave.attempts, "since": grave.since}
    try:
        one = record(tag, grave.record)
    except CodecError:
        return DeadLetter(key=tag.decode(), value=MISSING, removed=False, **fixed)
    try:
        value = (
            MISSING
            if one.removed
            else desk.read(one.envelope, desk.layout.of(tag.decode()).entry(tag.decode()))
        )
    except CodecError:
        value = MISSING
    return DeadLetter(key=one.key, value=value, removed=one.removed, **fixed)
