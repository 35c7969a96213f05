"""What a storm has left on the server."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import msgspec

from holdfast import Holdfast
from holdfast.errors import HoldfastError
from holdfast.streams.record import milliseconds, named
from holdfast.testing.histories_messages import Dead, Effect
from tests.streams.storm.diary import entry_of
from tests.streams.storm.plan import COURSES, RESULTS

# What may stay: the streams and their counts; what has an end; dead letters; the place of a group.
MAY_STAY = re.compile(r":meta$|\}$|:g:\w+:(dead|saved|turns)$|:outbox$|:user:")
MAY_STAY_A_WHILE = re.compile(r":bell$|:id:|:req:|:fx:")


class World:
    """The storm's streams, seen by somebody who is not part of it."""

    def __init__(self, url: str, namespace: str) -> None:
        self.hf = Holdfast(url, namespace=namespace, timeout="5s", require_server=False)
        self.namespace = namespace
        self.streams = {course.name: self.hf.stream(course.name, **course.options) for course in COURSES}
        self.streams["results"] = self.hf.stream("results", **RESULTS)

    def ask(self, *words: Any) -> Any:
        return self.hf.execute(*words, retry="safe")

    def parts(self, name: str) -> Any:
        return self.streams[name]._desk.layout.parts

    # --- is everything handled? -----------------------------------------------------------------------------

    def left(self) -> str:
        """What is still to be done; "" if nothing is."""
        for course in COURSES:
            for part in self.parts(course.name):
                where = part.stream.rpartition("stream:")[2]
                try:
                    if found := self._left_of(part, course.groups):
                        return f"{where}: {found}"
                except HoldfastError as error:
                    return f"{where}: {error}"
        return ""

    def _left_of(self, part: Any, groups: tuple[str, ...]) -> str:
        if count := self.ask("ZCARD", part.at):
            return f"{count} delayed"
        if count := self.ask("XLEN", part.outbox):
            return f"{count} in the outbox"
        if not self.ask("EXISTS", part.stream):
            return ""
        known = {one[b"name"].decode(): one for one in map(pairs, self.ask("XINFO", "GROUPS", part.stream))}
        last = self.ask("XREVRANGE", part.stream, "+", "-", "COUNT", 1)
        for group in groups:
            if group not in known:
                if last:
                    return f"no group {group}"
                continue
            if count := known[group][b"pending"]:
                return f"{count} pending in {group}"
            delivered = known[group][b"last-delivered-id"].decode()
            if last and entry_of(delivered) < entry_of(last[0][0].decode()):
                return f"unread in {group}"
        return ""

    def await_all(self, patience: float) -> str:
        """Wait until nothing is left; what is left after `patience` seconds without progress."""
        give_up, before = time.monotonic() + patience, None
        while left := self.left():
            if left != before:
                give_up, before = time.monotonic() + patience, left
            if time.monotonic() > give_up:
                return left
            time.sleep(0.05)
        return ""

    # --- what was done --------------------------------------------------------------------------------------

    def effects(self) -> dict[str, list[Effect]]:
        """Of each stream, what billing has left behind, each key in order."""
        found: dict[str, list[Effect]] = {course.name: [] for course in COURSES}
        for part in self.parts("results"):
            for id, flat in self._pages(part.stream):
                one = msgspec.msgpack.decode(named(flat)[b"data"])
                at = milliseconds(id) / 1000
                entry = entry_of(one["entry"])
                found[one["stream"]].append(Effect(one["group"], one["id"], entry, one["key"], at))
        return found

    def totals(self) -> Counter[str]:
        """How often each message was counted."""
        found: Counter[str] = Counter()
        for course in COURSES:
            for part in self.parts(course.name):
                flat = self.ask("HGETALL", part.user("totals"))
                rows = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
                for name, count in rows:
                    found[name.decode().partition("/")[2]] += int(count)
        return found

    def dead(self, stream: str, groups: tuple[str, ...]) -> list[Dead]:
        """The dead letters of a stream."""
        found = []
        for part in self.parts(stream):
            for group in groups:
                for _, flat in self._pages(part.group(group).dead):
                    one = named(flat)
                    value = msgspec.msgpack.decode(one[b"data"])
                    entry, at = entry_of(one[b"~id"].decode()), int(one[b"~at"]) / 1000
                    found.append(Dead(group, value["id"], entry, value["key"], at))
        return found

    def _pages(self, key: str) -> Any:
        start = "-"
        while rows := self.ask("XRANGE", key, start, "+", "COUNT", 1000):
            yield from rows
            start = f"({rows[-1][0].decode()}"

    # --- what is left behind --------------------------------------------------------------------------------

    def litter(self) -> list[str]:
        """Keys and consumers that should not be there any more."""
        found = []
        for course in COURSES:
            for part in self.parts(course.name):
                found += self._litter_of(course.name, part, course.groups)
        return found

    def _litter_of(self, name: str, part: Any, groups: tuple[str, ...]) -> list[str]:
        found = []
        for group in groups:
            keys = part.group(group)
            for key in (keys.members, keys.retries, keys.errors):
                if count := self.ask("EXISTS", key):
                    found.append(f"{key} is there: {self._dump(key)}")
            turns = self.ask("HKEYS", keys.turns)
            if others := [one for one in turns if one != b"~epoch"]:
                found.append(f"{keys.turns}: {len(others)} members, as {self.ask('HGETALL', keys.turns)}")
            if self.ask("EXISTS", part.stream):
                for one in self.ask("XINFO", "GROUPS", part.stream):
                    if pairs(one)[b"name"].decode() == group:
                        rows = map(pairs, self.ask("XINFO", "CONSUMERS", part.stream, group))
                        names = [row[b"name"].decode() for row in rows]
                        found += [f"{keys.base}: consumer {one}" for one in names if one != "~later"]
        for key in (part.at, part.later):
            if self.ask("EXISTS", key):
                found.append(f"{key} is there")
        if name == "queue" and (count := self.ask("XLEN", part.stream)):
            found.append(f"{part.stream}: {count} entries that were acknowledged")
        return found

    def _dump(self, key: str) -> Any:
        kind = self.ask("TYPE", key)
        if kind == b"zset":
            return self.ask("ZRANGE", key, 0, 5, "WITHSCORES")
        return self.ask("HGETALL", key) if kind == b"hash" else kind

    def strange(self, keys: list[str]) -> list[str]:
        """Those of `keys` that are of no known kind, or should have an end and have none."""
        found = []
        for key in keys:
            if MAY_STAY.search(key):
                continue
            if not MAY_STAY_A_WHILE.search(key):
                found.append(f"{key} is left")
            elif self.ask("PTTL", key) == -1:
                found.append(f"{key} has no end")
        return found


def pairs(flat: Any) -> dict[bytes, Any]:
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
