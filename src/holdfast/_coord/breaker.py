"""A breaker: while the server is away, not every call pays the timeout to find that out again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from holdfast._wire.mutex import MUTEX

BreakerState = Literal["closed", "open", "half-open"]


class Breaker:
    """Says whether asking the server is worth a try. Thread-safe; clock and dice are arguments.

    Promise: after `threshold` failures in a row calls are refused for a pause; then one call, the probe, may
    find out. If it fails the next pause is twice as long, up to `longest`; if it succeeds, or any other
    answer arrives, all calls are let through again. A probe that never reports (its caller was cancelled) is
    replaced by another one after a pause. So an outage is noticed to be over within `longest` seconds of use,
    and costs at most one timeout in each pause.
    Not promised: that the server answers the calls let through.

    `first`, `longest`: seconds; each pause is shortened by up to a half by `dice`, so that a fleet does not
    probe as one. `now` is a time of the monotonic clock. The idea is from M. Nygard's *Release It!*.
    """

    def __init__(
        self,
        threshold: int = 1,
        first: float = 0.1,
        longest: float = 1.0,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._threshold = threshold
        self._first = first
        self._longest = longest
        self._dice = dice
        self._failures = 0  # in a row, while closed
        self._pauses = 0  # in a row; 0 means closed
        self._until = 0.0  # end of the pause, while open
        self._probing = False

    def allow(self, now: float) -> bool:
        """May the server be asked? True while closed, and for one probe after each pause."""
        if not self._pauses:
            return True
        with MUTEX:
            if self._pauses and now < self._until:
                return False
            if self._pauses:
                self._probing = True
                self._until = now + self._pause()  # should this probe never report, the next one goes then
            return True

    def success(self) -> bool:
        """The server answered. Returns True if this closed the breaker."""
        if not self._failures and not self._pauses:
            return False
        with MUTEX:
            was_open = self._pauses > 0
            self._failures = self._pauses = 0
            self._probing = False
            return was_open

    def failure(self, now: float) -> bool:
        """The server did not answer. Returns True if this opened the breaker."""
        with MUTEX:
            if not self._pauses:
                self._failures += 1
                if self._failures < self._threshold:
                    return False
            elif not self._probing:
                return False  # one of the calls that were under way when it opened: nothing new
            opened = not self._pauses
            self._pauses += 1
            self._probing = False
            self._until = now + self._pause()
            return opened

    def state(self, now: float) -> BreakerState:
        """`half-open` is the time in which a probe may go, or is under way."""
        with MUTEX:
            if not self._pauses:
                return "closed"
            return "half-open" if self._probing or now >= self._until else "open"

    @property
    def probes_slowly(self) -> bool:
        """Have so many probes failed that the next should have more time? It may be slow, not away."""
        return self._pauses > 5

    def _pause(self) -> float:
        longest = min(self._longest, self._first * 2.0 ** min(self._pauses - 1, 30))
        return longest * (1.0 - 0.5 * self._dice())
