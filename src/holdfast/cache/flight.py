"""One flight per key and place: many callers of this process, one of whom asks. Neither threads nor tasks:
both.

A flight's result may be shared only with callers who came before its decisive step (the start of the load,
or of the read that hit). Otherwise a reader that starts after another process's `invalidate` has returned
could be handed a value loaded before it. Callers are put in order by a tick, an integer that grows with
every such step: unlike a clock it never shows two of them the same.

    arrived = flights.tick                          at the very start of every call, free of locks
    flight, signal = flights.join(where, Signal)    signal is None: you lead, else wait for it
    flight.began = flights.step()                   just before the decisive step
    flights.land(flight, value=...)                 wakes who waits
    flights.leave(flight)                           every caller, at its end; the last one out stops the
    flight
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from holdfast._wire.mutex import MUTEX

S = TypeVar("S", bound="_Fires")


class _Fires(Protocol):
    def fire(self) -> object: ...


class Flight:
    """One attempt to get one value. `began` is 0 until its decisive step; `loaded`: that was a load."""

    __slots__ = (
        "abandoned",
        "began",
        "detached",
        "error",
        "landed",
        "loaded",
        "signals",
        "task",
        "value",
        "waiting",
        "where",
    )

    def __init__(self, where: Any) -> None:
        self.where = where
        self.began = 0
        self.loaded = False
        self.landed = False
        self.abandoned = False
        self.detached = False  # carried out by nobody who waits for it
        self.value: Any = None
        self.error: Exception | None = None
        self.task: Any = None
        self.signals: list[_Fires] = []
        self.waiting = 1


class Flights:
    """The flights in the air. A place is anything hashable; callers of one place can wake each other."""

    def __init__(self) -> None:
        self.tick = 1
        self._air: dict[Hashable, Flight] = {}

    def join(self, where: Hashable, make: Callable[[], S]) -> tuple[Flight, S | None]:
        """The flight at `where`, and a signal that fires when it lands; None instead: you lead it."""
        with MUTEX:
            flight = self._air.get(where)
            if flight is None:
                flight = self._air[where] = Flight(where)
                return flight, None
            signal = make()
            flight.waiting += 1
            flight.signals.append(signal)
            return flight, signal

    def follow(self, flight: Flight, make: Callable[[], S]) -> S:
        """A signal that fires when `flight`, which the caller leads but does not carry out, lands."""
        with MUTEX:
            signal = make()
            if flight.landed:
                signal.fire()
            flight.signals.append(signal)
            return signal

    def board(self, flight: Flight) -> None:
        """One more who waits, so that the flight goes on when all others have left."""
        with MUTEX:
            flight.waiting += 1

    def step(self) -> int:
        """The time of a decisive step that begins now; whoever comes later has no smaller `arrived`."""
        with MUTEX:
            self.tick += 1
            return self.tick

    def land(self, flight: Flight, value: Any = None, error: Exception | None = None) -> None:
        """End `flight` and wake its followers."""
        with MUTEX:
            flight.value, flight.error, flight.landed = value, error, True
            if self._air.get(flight.where) is flight:
                del self._air[flight.where]
            signals = flight.signals
        for signal in signals:
            signal.fire()

    def leave(self, flight: Flight) -> None:
        """The caller waits no longer; when nobody does, the flight's task is cancelled (a thread is not)."""
        with MUTEX:
            flight.waiting -= 1
            if flight.waiting or flight.landed:
                return
            flight.abandoned = True
            if self._air.get(flight.where) is flight:
                del self._air[flight.where]  # nobody may join a flight that is being stopped
        if flight.task is not None:
            flight.task.cancel()


_REFRESHED: weakref.WeakSet[Any] = weakref.WeakSet()


def refresh_after_fork(owner: Any) -> None:
    """Call `owner.after_fork()` in the child of every fork: what waits there waits for nobody."""
    _REFRESHED.add(owner)


def _after_fork() -> None:
    for owner in list(_REFRESHED):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
