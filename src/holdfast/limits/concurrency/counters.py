"""What this process has seen of a concurrency limiter. By hand, for both flavours."""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast._wire.mutex import MUTEX


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyStats:
    """What this process has seen of a concurrency limiter.

    `acquired`: slots got, of them `degraded` while the server was away. `denied`: attempts that got none.
    `waiting`: callers that wait at this moment. `held`: slots held at this moment. `wait_seconds`: waited in
    all. `lost`: slots lost, by cause.
    """

    acquired: int = 0
    degraded: int = 0
    denied: int = 0
    waiting: int = 0
    held: int = 0
    wait_seconds: float = 0.0
    lost: Mapping[str, int] = field(default_factory=dict)


class Counters:
    """Counts; a lost count in a race of threads does no harm."""

    __slots__ = ("acquired", "degraded", "denied", "ended", "lost", "wait_seconds", "waiting")

    def __init__(self) -> None:
        self.acquired = self.degraded = self.denied = self.ended = self.waiting = 0
        self.wait_seconds = 0.0
        self.lost: Counter[str] = Counter()

    def snapshot(self) -> ConcurrencyStats:
        """The numbers of this moment."""
        return ConcurrencyStats(
            acquired=self.acquired,
            degraded=self.degraded,
            denied=self.denied,
            waiting=self.waiting,
            held=max(0, self.acquired - self.ended),
            wait_seconds=self.wait_seconds,
            lost=dict(self.lost),
        )


class LocalSlots:
    """The slots of this process alone, while the server is away. Thread-safe.

    They are referred to weakly: one that was forgotten instead of given back is free again.
    """

    __slots__ = ("_out", "_pid")

    def __init__(self) -> None:
        self._out: dict[str, weakref.WeakSet[Any]] = {}
        self._pid = os.getpid()

    def take(self, subject: str, slot: object, limit: float = float("inf")) -> bool:
        """Count `slot`, if fewer than `limit` are out."""
        with MUTEX:
            if self._pid != os.getpid():  # in the child of a fork: those are the parent's
                self._pid = os.getpid()
                self._out.clear()
            out = self._out.setdefault(subject, weakref.WeakSet())
            if len(out) >= limit:
                return False
            out.add(slot)
            return True

    def give_back(self, subject: str, slot: object) -> None:
        """Count `slot` no more. May be repeated."""
        with MUTEX:
            out = self._out.get(subject)
            if out is not None:
                out.discard(slot)
                if not out:
                    del self._out[subject]
