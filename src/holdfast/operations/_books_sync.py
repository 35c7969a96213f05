# Generated from _books_async.py by tools/unasync.py. Do not edit.
"""Books: looking at operations, and mending them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from holdfast._values.codecs import Codec
from holdfast._wire.reply import text
from holdfast.operations import record, rules
from holdfast.operations._desk_sync import Desk
from holdfast.operations.layout import Family, Id, Partition, Place, written
from holdfast.operations.options import OperationsBacklog, OperationStatus

FAMILIES: tuple[Family, ...] = ("op", "call")

_GLOB = re.compile(r"[*?\[\]\\]")


class Books:
    """See the file's docstring."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._wire = desk.wire

    def inspect(self, place: Place, result: Codec[Any] | None = None) -> OperationStatus | None:
        """How it stands. Raises: Unavailable, Refused."""
        found = self._statuses([place], result)
        return found[0] if found else None

    def outcome(self, place: Place) -> tuple[str, bytes, str, str]:
        """State ("" if there is none), raw result, error and holder. Raises: Unavailable, Refused."""
        fields = ("state", "result", "error", "holder")
        state, result, error, holder = self._wire.execute("HMGET", place.record, *fields, retry="safe")
        return text(state or b""), result or b"", text(error or b""), text(holder or b"")

    def pending(self, resource: Id | None, limit: int) -> Sequence[OperationStatus]:
        """See Operations."""
        self._desk.agree()
        layout = self._desk.layout
        places: list[Place] = []
        if resource is not None:
            part, prefix = layout.of(resource), written(resource, "resource")
            ends = (f"[{prefix}:", f"({prefix};")  # the character behind the colon
            names = self._wire.execute(
                "ZRANGE", part.names, *ends, "BYLEX", "LIMIT", 0, limit, retry="safe"
            )
            places = [layout.found(part, name) for name in names]
            return self._statuses(places)
        first = self._firsts("due", limit, newest=False)
        return self._statuses([layout.found(part, name) for part, name in first])

    def settled(self, where: Literal["done", "dead"], limit: int) -> Sequence[OperationStatus]:
        """See Operations."""
        self._desk.agree()
        found = self._firsts(where, limit, newest=True)
        statuses = self._statuses([self._desk.layout.found(part, name) for part, name in found])
        return [one for one in statuses if one.state == where]

    def _firsts(self, where: str, limit: int, *, newest: bool) -> list[tuple[Partition, bytes]]:
        """The first `limit` names of an index over all partitions."""
        parts = self._desk.layout.parts()
        order = ("REV",) if newest else ()
        questions = [("ZRANGE", getattr(part, where), 0, limit - 1, *order, "WITHSCORES") for part in parts]
        replies = self._wire.execute_many(questions, retry="safe")
        found = [
            (score, part, name)
            for part, reply in zip(parts, replies, strict=True)
            for name, score in rules.scored(reply)
        ]
        found.sort(key=lambda one: one[0], reverse=newest)
        return [(part, name) for _, part, name in found[:limit]]

    def _statuses(
        self, places: Sequence[Place], result: Codec[Any] | None = None
    ) -> list[OperationStatus]:
        """How `places` stand, without those that are gone."""
        desk, found = self._desk, []
        read_result = (result or desk.result).decode
        for page in _pages(places):
            questions: list[Any] = [("HGETALL", place.record) for place in page]
            *replies, (whole, micros) = self._wire.execute_many([*questions, ("TIME",)], retry="safe")
            now = int(whole) + int(micros) / 1e6
            for place, reply in zip(page, replies, strict=True):
                status = record.status(place, reply, now, desk.data.decode, read_result)
                if status is not None:
                    found.append(status)
        return found

    def backlog(self) -> OperationsBacklog:
        """See Operations."""
        self._desk.agree()
        parts = self._desk.layout.parts()
        whole, micros = self._wire.execute("TIME", retry="safe")
        now = int(whole) * 1000 + int(micros) / 1000
        questions: list[Any] = []
        for part in parts:
            questions += [("ZCARD", part.due), ("ZCOUNT", part.due, "-inf", int(now)), ("ZCARD", part.dead)]
            questions += [
                ("ZCOUNT", part.done, now - self._desk.ttl_ms, "+inf"),
                ("ZRANGE", part.due, 0, 0, "WITHSCORES"),
            ]
        replies = self._wire.execute_many(questions, retry="safe")
        pending, overdue, dead, done = (sum(replies[at::5]) for at in range(4))
        scores = [score for reply in replies[4::5] for _, score in rules.scored(reply)]
        oldest = max(0.0, (now - min(scores)) / 1000) if scores else 0.0
        return OperationsBacklog(pending, overdue, oldest, dead, done)

    # --- mending --------------------------------------------------------------------------------------------

    def retry(self, place: Place) -> bool:
        """See Operations."""
        part = place.part
        keys = (place.record, part.due, part.names, part.dead)
        return bool(self._wire.run(rules.RETRY, keys, (place.name, self._desk.keep_ms)))

    def forget(self, place: Place) -> bool:
        """See Operations."""
        part = place.part
        return bool(self._wire.run(rules.FORGET, (place.record, part.dead, part.done), (place.name,)))

    def repair(self) -> int:
        """See Operations."""
        parts = [part for family in FAMILIES for part in self._desk.layout.parts(family)]
        prefix = self._desk.layout.prefix
        pattern = _GLOB.sub(lambda found: f"\\{found[0]}", prefix) + "*op:*"
        cursor, wrong = b"0", 0
        while True:
            question = ("SCAN", cursor, "MATCH", pattern, "COUNT", 5 * rules.PAGE)
            cursor, keys = self._wire.execute(*question, retry="safe")
            wrong += self._mend(parts, [key.decode("utf-8", "replace") for key in keys])
            if int(cursor) == 0:
                return wrong

    def _mend(self, parts: Iterable[Partition], keys: Sequence[str]) -> int:
        wrong = 0
        for part in parts:
            names = [key[len(part.records) :] for key in keys if key.startswith(part.records)]
            for page in _pages(names):
                records = [part.records + name for name in page]
                indexes = (part.due, part.names, part.dead, part.done)
                wrong += self._wire.run(rules.REPAIR, (*indexes, *records), page)
        return wrong


def _pages(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[at : at + rules.PAGE] for at in range(0, len(items), rules.PAGE)]
