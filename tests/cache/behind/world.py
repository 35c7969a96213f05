"""What the tests of write-behind stand on: envelopes, a source that remembers, waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from holdfast.errors import CodecError

LONG = 60_000  # ms


def envelope(value: Any) -> bytes:
    """What readers find: as much of an envelope as write-behind cares for."""
    return bytes(8) + os.urandom(8) + msgspec.msgpack.encode(value)


def read(raw: bytes) -> Any:
    """The value of an envelope."""
    try:
        return msgspec.msgpack.decode(raw[16:])
    except msgspec.DecodeError as error:
        raise CodecError(str(error)) from error


class Memory:
    """Rows, and what was asked for; `refuse(keys)` says what to raise for a call."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.saved: list[Any] = []  # every key of every save that was taken, in order
        self.calls: list[int] = []  # how many keys each call had, refused ones included
        self.fences: dict[str, list[int]] = {}
        self.refuse: Callable[[list[Any]], Exception | None] = lambda keys: None
        self.go = threading.Event()
        self.go.set()

    def load(self, keys: Iterable[Any]) -> dict[Any, Any]:
        return {key: self.rows[key] for key in keys if key in self.rows}

    def save(self, mapping: dict[Any, Any], fence: int = 0, partition: str = "") -> None:
        self._begin(list(mapping), fence, partition)
        self.saved += mapping
        self.rows.update(mapping)

    def delete(self, keys: list[Any]) -> None:
        self._begin(list(keys))
        for key in keys:
            self.rows.pop(key, None)

    def _begin(self, keys: list[Any], fence: int = 0, partition: str = "") -> None:
        self.calls.append(len(keys))
        if fence:
            self.fences.setdefault(partition, []).append(fence)
        if error := self.refuse(keys):
            raise error


class Watcher:
    """Remembers every signal by the name of its class."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def notify(self, signal: Any) -> None:
        self.seen.append(signal)

    def named(self, name: str) -> list[Any]:
        return [one for one in self.seen if type(one).__name__ == name]


def until(condition: Callable[[], Any], patience: float = 20.0) -> None:
    """Wait for `condition`."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
