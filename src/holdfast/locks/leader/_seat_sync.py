# Generated from _seat_async.py by tools/unasync.py. Do not edit.
"""Seat: the lock whose holder leads, as one candidate sees it."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from holdfast._coord._wait_sync import Busy
from holdfast._wire.hub_keeping import RENEWALS, certain
from holdfast._wire.mutex import MUTEX
from holdfast.errors import HoldfastError
from holdfast.locks._attempt_sync import Attempt
from holdfast.locks._lease_sync import Lease
from holdfast.locks._lock_sync import Lock
from holdfast.locks._place_sync import Place
from holdfast.locks.leader import rules
from holdfast.locks.leader._term_sync import Term
from holdfast.locks.options import LockOptions

STEPPED_DOWN, STOPPED = "stepped_down", "stopped"
_numbers = itertools.count()


class Stopped(Exception):
    """The candidate does not want to lead any more."""


class Seat(Lock):
    """The lock whose holder leads, as one candidate sees it. Its lease ends for us at two thirds of it."""

    def __init__(self, place: Place, name: str, options: LockOptions) -> None:
        super().__init__(place, name, options, room=rules.ROOM)
        self.stop_for: str | None = None
        self.stray = False
        # Every candidate is the first of a queue of its own: only the first can be called off.
        self._own_queue = f"{self.key}#{next(_numbers)}"
        self._term: Term | None = None

    @property
    def observers(self) -> str:
        """The channel that tells of elections; the key itself is the one that tells of ends."""
        return f"{self.key}:w:observers"

    def call_off(self, why: str, *, for_good: bool) -> bool:
        """End the term, if there is one, and with `for_good` the campaign. From any thread. Was there one?"""
        with MUTEX:
            if for_good:
                self.stop_for = why
            term = self._term
        if term is not None:
            term._ask(why)
        if for_good:
            queues = self._place.waiting.queues
            queue = queues.join(self._own_queue)
            queue.fire()
            queues.leave(self._own_queue, queue)
        return term is not None

    def begin(self, lease: Lease) -> Term:
        """The term that begins with `lease`. Raises: Stopped if nobody wants it any more."""
        term = Term(lease)
        with MUTEX:
            if self.stop_for is not None:
                raise Stopped
            self._term = term
        with contextlib.suppress(HoldfastError):  # closed: the term is told, too
            self._wire.hub.deliver(("leader", self.key), ("EVAL", rules.TELL.text, 1, self.key), lambda: None)
        self._place.notify(rules.LeaderElected(name=self.name, fence=lease.fence))
        return term

    def end(self) -> None:
        """There is no term any more."""
        with MUTEX:
            self._term = None

    def hand_over(self, lease: Lease) -> None:
        """Let others lead: what the term was for has ended."""
        lease._stray = self.stray
        lease._end()
        if lease.cause in rules.LATE_FOR:
            lease._leave_it_to_the_hub()  # it may be ours for another third of the ttl: nobody needs to wait

    def _obtain(self, attempt: Attempt, give_up: float) -> Any:
        def ask(timeout: float) -> Lease | Busy:
            if self.stop_for is not None:
                raise Stopped
            return attempt(timeout)

        return self._place.waiting.obtain(
            ask, key=self._own_queue, channel=self.key, give_up=give_up, timed_out=attempt.timed_out
        )

    def _granted(self, lease: Lease, waited: float, *, contended: bool) -> Lease:
        ttl, keeping = self.options.ttl_s, lease._keeping
        keeping.ttl = ttl * rules.TERM
        keeping.every = keeping.ttl / RENEWALS
        asked = keeping.until - certain(0.0, ttl)
        keeping.until = certain(asked, keeping.ttl)
        # What a stray request left is undone when `fn` has ended, not when the term is lost: others wait.
        self.stray, lease._stray = lease._stray, False
        lease._on_wanted = lambda _: self.call_off(STEPPED_DOWN, for_good=False)
        return super()._granted(lease, waited, contended=contended)
