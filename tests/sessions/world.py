"""What the tests of sessions share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast import Holdfast
from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.sessions import rules

S = TypeVar("S", bound=Signal)

SCRIPTS = tuple(name for name, one in vars(rules).items() if isinstance(one, Script))
FUTURE = 5_000_000_000_000  # ms: so far ahead that no PEXPIREAT has passed


class Observer:
    """Remembers every signal of a client."""

    def __init__(self, hf: Any) -> None:
        self.seen: list[Signal] = []
        hf.observers.add(self)

    def notify(self, signal: Signal) -> None:
        self.seen.append(signal)

    def of(self, kind: type[S]) -> list[S]:
        return [one for one in self.seen if isinstance(one, kind)]


class Ring:
    """A cipher with a ring of keys, as the docstring of wrapping.py has it."""

    def __init__(self, *ids: bytes) -> None:
        self._keys = {id: AESGCM(id * 4) for id in ids}

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        id, nonce = list(self._keys)[-1], os.urandom(12)
        return id + nonce + self._keys[id].encrypt(nonce, data, id + associated)

    def decrypt(self, data: bytes, associated: bytes) -> bytes:
        id, nonce = data[:4], data[4:16]
        return self._keys[id].decrypt(nonce, data[16:], id + associated)


def staged(monkeypatch: Any, clock: str) -> None:
    """From now on all scripts of sessions go by the hash `clock`: s, us."""
    for name in SCRIPTS:
        script: Script = getattr(rules, name)
        text, count = re.subn(
            r"redis\.call\('TIME'\)", f"redis.call('HMGET', '{clock}', 's', 'us')", script.text
        )
        assert count == script.text.count("TIME')")
        monkeypatch.setattr(rules, name, Script.parse(script.name, text))


def at(clock: str, ms: int) -> tuple[Any, ...]:
    """The command that sets such a clock."""
    return ("HSET", clock, "s", ms // 1000, "us", ms % 1000 * 1000)


def words(reply: Any) -> Iterator[bytes]:
    """Every string in a reply."""
    if isinstance(reply, bytes | str):
        yield reply if isinstance(reply, bytes) else reply.encode()
    elif isinstance(reply, dict):
        for pair in reply.items():
            yield from words(list(pair))
    elif isinstance(reply, list | tuple | set):
        for one in reply:
            yield from words(one)


def dump(url: str, namespace: str) -> dict[bytes, list[bytes]]:
    """Every key of a namespace on one server, and what is in it."""
    read = {b"hash": ("HGETALL",), b"string": ("GET",), b"zset": ("ZRANGE", 0, -1)}
    found = {}
    with Holdfast(url) as reader:
        for key in reader.execute("KEYS", f"{namespace}:*"):
            command, *rest = read[reader.execute("TYPE", key)]
            found[bytes(key)] = list(words(reader.execute(command, key, *rest)))
    return found
