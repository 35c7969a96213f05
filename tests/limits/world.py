"""What the tests of limits share."""

from __future__ import annotations

from typing import Any, TypeVar

from holdfast._signals import Signal
from holdfast.limits.decision import Decision

S = TypeVar("S", bound=Signal)


def left(decision: Decision) -> list[int]:
    """What is left of each limit."""
    return [one.remaining for one in decision.states]


def labels(decision: Decision) -> list[str]:
    """How its limits are called."""
    return [one.limit.label for one in decision.states]


class Observer:
    """Remembers every signal of a client."""

    def __init__(self, hf: Any) -> None:
        self.seen: list[Signal] = []
        hf.observers.add(self)

    def notify(self, signal: Signal) -> None:
        self.seen.append(signal)

    def of(self, kind: type[S]) -> list[S]:
        return [one for one in self.seen if isinstance(one, kind)]
