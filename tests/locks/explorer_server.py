"""The server of explorer.py: what it holds as a value, and how to get from one such value to the next."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import hiredis

CLOCK: Final = (
    5_000_000_000  # seconds: so far ahead that no PEXPIREAT has passed, in microseconds below 2**53
)

Command = Sequence[object]


class Value(NamedTuple):
    """What a key holds: `data` is bytes, or a dict, set or list; a sorted set is a dict of floats."""

    kind: str
    data: Any
    ends: bool


class Frozen(NamedTuple):
    """A key as a part of a state."""

    key: str
    kind: str
    items: tuple[bytes, ...]
    ends: bool


def thawed(one: Frozen) -> Value:
    """`one`, to be looked at."""
    if one.kind == "string":
        return Value(one.kind, one.items[0], one.ends)
    if one.kind == "list":
        return Value(one.kind, list(one.items), one.ends)
    if one.kind == "set":
        return Value(one.kind, {item.decode() for item in one.items}, one.ends)
    pairs = zip(one.items[::2], one.items[1::2], strict=True)
    if one.kind == "zset":
        return Value(one.kind, {member.decode(): float(score) for member, score in pairs}, one.ends)
    return Value(one.kind, {name.decode(): value for name, value in pairs}, one.ends)


def parted(store: tuple[Frozen, ...]) -> tuple[tuple[Frozen, ...], tuple[tuple[str, str], ...]]:
    """The state of the server, and what was published: (channel, message)."""
    kept = tuple(one for one in store if one.key != "~told")
    told = [one.items for one in store if one.key == "~told"]
    words = [word.decode() for word in told[0]] if told else []
    return kept, tuple(zip(words[::2], words[1::2], strict=True))


def plain(reply: Any) -> Any:
    """`reply` with every part of it hashable, and text in place of bytes."""
    if isinstance(reply, list):
        return tuple(plain(one) for one in reply)
    return reply.decode() if isinstance(reply, bytes) else reply


def staged(text: str) -> str:
    """The script `text` with the clock and the loudspeaker of the stage."""
    text = re.sub(r"redis\.p?call\('TIME'\)", "{redis.call('GET', '~clock'), '0'}", text)
    return re.sub(r"redis\.p?call\('SPUBLISH',", "redis.call('RPUSH', '~told',", text)


_READ = """
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, items = redis.call('TYPE', key).ok, nil
  if kind == 'string' then items = {redis.call('GET', key)}
  elseif kind == 'hash' then items = redis.call('HGETALL', key)
  elseif kind == 'zset' then items = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then items = redis.call('SMEMBERS', key)
  else items = redis.call('LRANGE', key, 0, -1) end
  out[#out + 1] = {key, kind, items, redis.call('PTTL', key) >= 0 and 1 or 0}
end
return out
"""
_WRITE = {"string": "SET", "hash": "HSET", "set": "SADD", "list": "RPUSH"}
_HOUR = 3_600_000


class Line:
    """One connection, by hand: tens of thousands of small pipelines are asked."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.hostname:
            self._socket = socket.create_connection((parts.hostname, parts.port or 6379))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(parts.path)
        self._socket.settimeout(30)
        self._reader = hiredis.Reader()
        if parts.password:
            self._talk([("AUTH", unquote(parts.password))])
        self._read = self.load(_READ)

    def close(self) -> None:
        self._socket.close()

    def load(self, text: str) -> str:
        (reply,) = self._talk([("SCRIPT", "LOAD", text)])
        if isinstance(reply, Exception):
            raise reply
        return str(reply.decode())

    def apply(self, store: tuple[Frozen, ...], commands: Sequence[Command]) -> tuple[Any, tuple[Frozen, ...]]:
        """The last reply to `commands` in a server that holds `store`, and what it holds then."""
        restore = [("FLUSHDB",), *(command for one in store for command in _written(one))]
        replies = self._talk([*restore, *commands, ("EVALSHA", self._read, 0)])
        for reply in replies[: len(restore)]:
            assert not isinstance(reply, Exception), reply
        found = (
            Frozen(key.decode(), kind.decode(), _ordered(kind, items), bool(ends))
            for key, kind, items, ends in replies[-1]
        )
        return replies[-2], tuple(sorted(found))

    def _talk(self, commands: Sequence[Command]) -> list[Any]:
        packed = (hiredis.pack_command(_packable(command)) for command in commands)
        self._socket.sendall(b"".join(packed))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                data = self._socket.recv(65536)
                assert data, "the server has gone"
                self._reader.feed(data)
            else:
                replies.append(reply)
        return replies


def _packable(command: Command) -> Any:
    return tuple(one if isinstance(one, bytes) else str(one).encode() for one in command)


def _ordered(kind: bytes, items: list[bytes]) -> tuple[bytes, ...]:
    """What has no order of its own, in one."""
    if kind == b"set":
        return tuple(sorted(items))
    if kind == b"hash":
        return tuple(word for pair in sorted(zip(items[::2], items[1::2], strict=True)) for word in pair)
    return tuple(items)


def _written(one: Frozen) -> Iterator[Command]:
    if one.kind == "zset":
        pairs = zip(one.items[1::2], one.items[::2], strict=True)
        yield ("ZADD", one.key, *(word for pair in pairs for word in pair))
    else:
        yield (_WRITE[one.kind], one.key, *one.items)
    if one.ends:
        yield ("PEXPIRE", one.key, _HOUR)
