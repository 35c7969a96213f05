"""What the tests of events share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast._signals import Signal

S = TypeVar("S", bound=Signal)

QUICK: dict[str, Any] = {"retry": ("10ms", "50ms")}


@dataclass
class Placed:
    item: str
    amount: int = 1


@dataclass
class Paid:
    cents: int


class Observer:
    """Remembers every signal of a client."""

    def __init__(self, hf: Any) -> None:
        self.seen: list[Signal] = []
        hf.observers.add(self)

    def notify(self, signal: Signal) -> None:
        self.seen.append(signal)

    def of(self, kind: type[S]) -> list[S]:
        return [one for one in self.seen if isinstance(one, kind)]


def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until `true()`, at most `seconds`."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.005)


def add(state: int, event: Any) -> int:
    """A fold: the sum of what plain events carry."""
    return state + int(event.value["n"])


def ns(*numbers: int) -> list[dict[str, int]]:
    """Plain events."""
    return [{"n": number} for number in numbers]
