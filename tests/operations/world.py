"""What the tests of operations share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from holdfast._signals import Signal

S = TypeVar("S", bound=Signal)


class Observer:
    """Remembers every signal of a client."""

    def __init__(self, hf: Any) -> None:
        self.seen: list[Signal] = []
        hf.observers.add(self)

    def notify(self, signal: Signal) -> None:
        self.seen.append(signal)

    def of(self, kind: type[S]) -> list[S]:
        return [one for one in self.seen if isinstance(one, kind)]


def overdue(ops: Any, resource: Any, id: Any, *, later: bool = False) -> list[tuple[Any, ...]]:
    """The commands that end the lease, or the rest, of an operation now; or in a minute (`later`)."""
    place = ops._desk.layout.place(resource, id)
    at = int(time.time() * 1000) + (60_000 if later else -1000)
    return [("HSET", place.record, "until", at), ("ZADD", place.part.due, "XX", at, place.name)]


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `true()`, at most `seconds`."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.005)
