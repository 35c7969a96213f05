"""tests/locks/explorer.py for streams: its server, and what it holds, with streams and their groups.

A stream is a part of a state as a mapping: `last` its last id, `e <id>` the fields of an entry, `g <group>`
what was delivered last, `c <group> <name>` a consumer, `p <group> <id>` who has an entry pending, and its
deliveries. When an entry was delivered is no part of it: no script of ours looks at that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.locks.explorer import CLOCK, Explorer
from tests.locks.explorer_server import Command, Frozen, Line, _ordered, _written

_READ = """
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, items = redis.call('TYPE', key).ok, {}
  if kind == 'string' then items = {redis.call('GET', key)}
  elseif kind == 'hash' then items = redis.call('HGETALL', key)
  elseif kind == 'zset' then items = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'list' then items = redis.call('LRANGE', key, 0, -1)
  else
    local function put(name, value) items[#items + 1] = name; items[#items + 1] = value end
    local about = redis.call('XINFO', 'STREAM', key)
    for at = 1, #about, 2 do
      if about[at] == 'last-generated-id' then put('last', about[at + 1]) end
    end
    for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
      put('e ' .. entry[1], cmsgpack.pack(entry[2]))
    end
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      local name, last = group[2], nil
      for at = 1, #group, 2 do
        if group[at] == 'last-delivered-id' then last = group[at + 1] end
      end
      put('g ' .. name, last)
      for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', key, name)) do
        put('c ' .. name .. ' ' .. one[2], '')
      end
      for _, row in ipairs(redis.call('XPENDING', key, name, '-', '+', 100)) do
        put('p ' .. name .. ' ' .. row[1], row[2] .. ' ' .. row[4])
      end
    end
  end
  out[#out + 1] = {key, kind, items, redis.call('PTTL', key) >= 0 and 1 or 0}
end
return out
"""
_UNPACK = "return cmsgpack.unpack(ARGV[1])"


class StreamLine(Line):
    """A server that holds streams as well."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._read = self.load(_READ)
        self._unpack = self.load(_UNPACK)
        self._fields: dict[bytes, list[bytes]] = {}

    def apply(self, store: tuple[Frozen, ...], commands: Sequence[Command]) -> tuple[Any, tuple[Frozen, ...]]:
        restore = [("FLUSHDB",), *(command for one in store for command in self._restored(one))]
        replies = self._talk([*restore, *commands, ("EVALSHA", self._read, 0)])
        for reply in replies[: len(restore)]:
            assert not isinstance(reply, Exception), reply
        found = (
            Frozen(
                key.decode(),
                kind.decode(),
                _ordered(b"hash" if kind == b"stream" else kind, items),
                bool(ends),
            )
            for key, kind, items, ends in replies[-1]
        )
        return replies[-2], tuple(sorted(found))

    def _restored(self, one: Frozen) -> Iterator[Command]:
        if one.kind != "stream":
            yield from _written(one)
            return
        parts = {name.decode(): value for name, value in zip(one.items[::2], one.items[1::2], strict=True)}
        entries = {name[2:]: value for name, value in parts.items() if name.startswith("e ")}
        groups = {name[2:]: value.decode() for name, value in parts.items() if name.startswith("g ")}
        pending = [
            (name.split()[1:], value.decode().split()) for name, value in parts.items() if name[:2] == "p "
        ]
        for (group, id), _ in pending:
            entries.setdefault(id, b"")  # deleted, and still pending
        if not entries:
            yield ("XGROUP", "CREATE", one.key, "~", 0, "MKSTREAM")
            yield ("XGROUP", "DESTROY", one.key, "~")
        for id in sorted(entries, key=lambda id: [*map(int, id.split("-"))]):
            yield ("XADD", one.key, id, *(self._of(entries[id]) or ("x", "")))
        if parts["last"] != b"0-0":
            yield ("XSETID", one.key, parts["last"])
        for group, last in groups.items():
            yield ("XGROUP", "CREATE", one.key, group, last)
        for name in parts:
            if name.startswith("c "):
                yield ("XGROUP", "CREATECONSUMER", one.key, *name.split()[1:])
        for (group, id), (consumer, count) in pending:
            yield ("XCLAIM", one.key, group, consumer, 0, id, "FORCE", "JUSTID", "RETRYCOUNT", count)
        for id, packed in entries.items():
            if not packed:
                yield ("XDEL", one.key, id)
        for group, last in groups.items():
            yield ("XGROUP", "SETID", one.key, group, last)

    def _of(self, packed: bytes) -> list[bytes]:
        if not packed:
            return []
        if packed not in self._fields:
            (self._fields[packed],) = self._talk([("EVALSHA", self._unpack, 0, packed)])
        return self._fields[packed]


class StreamExplorer(Explorer):
    """An explorer of models with streams."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._line.close()
        self._line = StreamLine(url)


def staged(text: str) -> str:
    """The script `text` with ids of the stage's clock."""
    return text.replace("'*'", f"'{CLOCK * 1000}-*'")


def pending(view: Any, stream: str, group: str) -> dict[str, tuple[str, int]]:
    """Who has what, and its deliveries."""
    found = view.get(stream) or {}
    rows = {
        name.split()[2]: value.decode().split()
        for name, value in found.items()
        if name.startswith(f"p {group} ")
    }
    return {id: (who, int(count)) for id, (who, count) in rows.items()}


def entries(view: Any, stream: str) -> list[str]:
    """The ids of what is in a stream."""
    return [name[2:] for name in view.get(stream) or {} if name.startswith("e ")]
