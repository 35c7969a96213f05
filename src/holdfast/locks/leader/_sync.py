# Generated from _async.py by tools/unasync.py. Do not edit.
"""Leader: one of many that works."""

from __future__ import annotations

import random
from typing import TypeVar

from holdfast._compat import Signal
from holdfast._coord.backoff import rest
from holdfast._wire.mutex import MUTEX
from holdfast.errors import Closed, ConfigurationError, HoldfastError, LockLost
from holdfast.locks._lease_sync import Lease
from holdfast.locks._place_sync import Place
from holdfast.locks.holder import Holder
from holdfast.locks.leader import rules
from holdfast.locks.leader._observe_sync import Observation
from holdfast.locks.leader._seat_sync import STEPPED_DOWN, STOPPED, Seat, Stopped
from holdfast.locks.leader.manner import Manner, Work
from holdfast.locks.leader.options import LeaderOptions
from holdfast.locks.options import check_name

T = TypeVar("T")


class Leader:
    """One of many that works, and the others ready to take over.

        def work(term):
            while True:
                one_step(fence=term.fence)

        hf.leader("reports").run(work)

    It may be shared; what `stop` and `step_down` end are the runs of this very object. What is promised
    stands in `holdfast.locks.leader.rules`.
    """

    def __init__(self, place: Place, name: str, options: LeaderOptions) -> None:
        self.name = check_name(name, "leader")
        self.options = options
        self._place = place
        self._runs: list[tuple[Seat, Signal]] = []  # under way
        self._stopped = False

    @property
    def key(self) -> str:
        """The key on the server that says who leads."""
        return self._seat().key

    # --- leading -------------------------------------------------------------------------------------------

    def run(self, fn: Work[T]) -> T | None:
        """Campaign, and call `fn(term)` whenever elected; what `fn` returned, once it has and the leadership
        is given up. None if it was stopped before.

        If the term is over before `fn` has ended (`fn` is cancelled then), it campaigns again, whatever `fn`
        returns. An exception of `fn` is raised once the leadership is given up; but LockLost, as
        `term.ensure()` raises it when the term is over, is no error.

        Raises: Closed, ConfigurationError, and what `fn` raises. A server that is away ends nothing.
        """
        Manner.check(fn, f"leader {self.name!r}")
        seat, signal = self._seat(), Signal()
        with MUTEX:
            self._runs.append((seat, signal))
        try:
            while not self._stopped:
                lease = self._elected(seat, signal)
                done, result, cause = self._lead(fn, seat, lease)
                if done:
                    return result
                if cause == STEPPED_DOWN:
                    signal.wait(rules.step_back(self.options.seat.ttl_s))
        except Stopped:
            pass
        finally:
            with MUTEX:
                self._runs.remove((seat, signal))
        return None

    def _elected(self, seat: Seat, signal: Signal) -> Lease:
        """The lease of the one who leads, once that is us. Raises: Stopped, Closed, ConfigurationError."""
        failures = 0
        while True:
            try:
                return seat.acquire(wait=None)
            except (Closed, ConfigurationError):
                raise
            except HoldfastError as error:
                if not failures:
                    self._place.notify(rules.CampaignFailing(name=self.name, error=str(error)))
                failures += 1
                if signal.wait(rest(failures, random.random(), longest=2.0)):
                    raise Stopped from error

    def _lead(
        self, fn: Work[T], seat: Seat, lease: Lease
    ) -> tuple[bool, T | None, str | None]:
        """Has `fn` done what it wanted, what did it return, and why is the term over?"""
        try:
            term = seat.begin(lease)
        except Stopped:
            seat.hand_over(lease)
            raise
        section = lease._section
        section.enter()
        try:
            result = fn(term)
        except BaseException as error:
            ours, cause = section.leave(type(error)), term.cause
            seat.end()
            seat.hand_over(lease)
            if ours or (cause is not None and isinstance(error, LockLost) and error.name == self.name):
                return False, None, cause
            if cause is not None:
                error.add_note(f"{seat.what}: the term was over meanwhile ({cause})")
            raise
        section.leave(None)
        done, cause = term.cause in {None, STOPPED}, term.cause
        seat.end()
        seat.hand_over(lease)
        return done, result, cause

    def stop(self) -> None:
        """End every run of this object, for good: `fn` is cancelled (threads: `term.lost` is set), then
        somebody else may lead, and `run` returns. May be called from anywhere; does not wait.
        """
        self._stopped = True
        for seat, signal in self._all():
            seat.call_off(STOPPED, for_good=True)
            signal.fire()

    def step_down(self) -> bool:
        """End the term, if this object leads: `fn` is cancelled (threads: `term.lost` is set), then somebody
        else may lead. Its runs campaign again a moment later. False if it does not lead. May be called from
        anywhere; does not wait.
        """
        led = [seat.call_off(STEPPED_DOWN, for_good=False) for seat, _ in self._all()]
        return any(led)

    # --- seeing it -----------------------------------------------------------------------------------------

    def current(self) -> Holder | None:
        """Who leads, or None. Raises: Unavailable, Refused."""
        return self._seat().inspect()

    def observe(self) -> Observation:
        """Who leads, and every change of that, to be iterated over; None where nobody does. Close it in the
        end, or use it in `with`.
        """
        return Observation(self._seat())

    def request_step_down(self, reason: str = "") -> bool:
        """Ask whoever leads, in whatever process, to step down, as `step_down` does there. False if nobody
        does.

        Raises: Unavailable, Refused.
        """
        return self._seat().request_release(reason)

    def _seat(self) -> Seat:
        return Seat(self._place, self.name, self.options.seat)

    def _all(self) -> list[tuple[Seat, Signal]]:
        with MUTEX:
            return list(self._runs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
