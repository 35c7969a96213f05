# Generated from _tags_async.py by tools/unasync.py. Do not edit.
"""The questions about tags that a cache asks the server; what they are for stands in tags.py."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from holdfast._wire._sync import Wire
from holdfast._wire.keys import escape_name
from holdfast._wire.transport import Arg
from holdfast.cache import rules
from holdfast.cache import tags as tagging
from holdfast.cache.near import Cell, Near, Ticket

Versions = dict[str, bytes | None]


class Tags:
    """The tags of one cache. Every method raises Unavailable, Refused and Closed."""

    def __init__(self, wire: Wire, name: str, near: Near | None, life: int) -> None:
        self._wire = wire
        self._name = name
        self._near = near
        self._life = life  # ms
        self._guards = tuple(self._key(shard, ":g") for shard in range(tagging.SHARDS))

    def _key(self, shard: int, part: str) -> str:
        return self._wire.keys.make("cache", self._name, f"#{shard}", part)

    def key(self, tag: str) -> str:
        """The key of the version of `tag`."""
        return self._key(tagging.shard(tag), f":t:{escape_name(tag)}")

    def known(self, names: Iterable[str], now: float) -> Versions | None:
        """The versions of the tags `names`, if all are known here for sure at the monotonic time `now`."""
        near = self._near
        if near is None or not near.trusts(now):
            return None
        found: Versions = {}
        for name in names:
            cell = near.cells.get(escape_name(name))
            if cell is None or not cell.alive:
                return None
            found[name] = cell.version
        return found

    def cells(self, tags: Iterable[tuple[str, bytes]], ticket: Ticket) -> tuple[Cell, ...] | None:
        """What a copy of an entry with `tags` holds of them; None if one may have changed meanwhile."""
        assert self._near is not None  # (a ticket is the near cache's)
        cells = [self._near.cell(escape_name(name), version, ticket) for name, version in tags]
        return None if None in cells else tuple(cell for cell in cells if cell is not None)

    def read(self, names: Sequence[str], timeout: float) -> Versions:
        """The versions of the tags `names`, None for one that has none."""
        return dict(
            zip(names, self._wire.mget([self.key(name) for name in names], timeout), strict=True)
        )

    def ensure(self, names: Sequence[str], timeout: float) -> dict[str, bytes]:
        """The versions of the tags `names`, made where there is none; they live on."""
        keys = [self.key(name) for name in names]
        asked = [(command, key) for key in keys for command in ("GET", "PTTL")]
        replies = self._wire.execute_many(asked, timeout=timeout, retry="safe")
        found, left = replies[::2], replies[1::2]
        # Rarely, not each time: to every near cache a new end looks like a new version.
        old = [key for key, one in zip(keys, left, strict=True) if 0 <= one < self._life // 2]
        if old:
            renewals = [("PEXPIRE", key, self._life) for key in old]
            self._wire.execute_many(renewals, timeout=timeout, retry="safe")
        versions = self._made(keys, found, ("PX", self._life), timeout)
        return dict(zip(names, versions, strict=True))

    def guards(self, timeout: float) -> tuple[bytes, ...]:
        """What guards the tags of each shard, made where there is none."""
        found = self._wire.mget(self._guards, timeout)
        return tuple(self._made(self._guards, found, (), timeout))

    def _made(
        self, keys: Sequence[str], found: list[bytes | None], end: tuple[Arg, ...], timeout: float
    ) -> list[bytes]:
        absent = [place for place, value in enumerate(found) if value is None]
        if absent:
            made = [os.urandom(8) for _ in absent]
            commands = [
                ("SET", keys[place], new, "NX", "GET", *end) for place, new in zip(absent, made, strict=True)
            ]
            there = self._wire.execute_many(commands, timeout=timeout, retry="safe")
            for place, new, other in zip(absent, made, there, strict=True):
                found[place] = other or new
        return [value for value in found if value is not None]

    def claim(
        self, names: Iterable[str], guards: Sequence[bytes], timeout: float
    ) -> dict[str, bytes] | None:
        """The versions of the tags `names`; None if one may be invalidated since `guards` were read."""
        found: dict[str, bytes] = {}
        for shard, mine in tagging.by_shard(names).items():
            keys = (self._guards[shard], *(self.key(name) for name in mine))
            fresh: list[Arg] = [guards[shard], self._life, *(os.urandom(8) for _ in mine)]
            versions = self._wire.run(rules.CLAIM, keys, fresh, timeout)
            if len(versions) != len(mine):
                return None
            found.update(zip(mine, versions, strict=True))
        return found

    def removal(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """The commands that invalidate the tags `names`."""
        return [
            ("UNLINK", self._guards[shard], *(self.key(name) for name in mine))
            for shard, mine in tagging.by_shard(names).items()
        ]
