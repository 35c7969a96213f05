# Generated from _wait_async.py by tools/unasync.py. Do not edit.
"""Waiting: try, and if it is taken wait for the push that says it is free, and try again.

Promise
* One deadline over all of it. Between two attempts nobody asks: whoever waits is woken by a message of the
  channel, whose subscription is confirmed before the attempt on which the waiting begins.
* What no message tells (a holder that crashed, keys that were deleted, a lost message) costs at most the rest
  of the holder's ttl, and at most `SAFETY` seconds. So a process asks at most once in `SAFETY` seconds while
  nothing happens, however many of its callers wait.
* A wake-up is never lost with a waiter that was cancelled: it stays in the queue for the next one.
* While the server is away, waiting goes on.

Not promised: an order between processes. Within one, callers go first come, first served.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast._compat import Semaphore, Signal, sleep, monotonic
from holdfast._coord.backoff import rest
from holdfast._coord.queue import Queue, Queues
from holdfast._wire._sync import Wire
from holdfast._wire.hub_ledger import AnyWatch
from holdfast.errors import Closed, NotDurable, Unavailable

T = TypeVar("T")

SAFETY = 2.0  # seconds after which the first of a queue asks although nothing was heard
LEAST = 0.1  # seconds that an attempt may take, however short the wait
LATE = 0.002  # seconds after the end of a ttl: the server counts in milliseconds
LONGEST = 1_000_000.0  # seconds; what "for ever" is to a timer


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else has it: for `ttl` seconds at most (inf: nobody knows). `holder` says who.

    `silent`: whoever has it will not say when it is free, so that has to be asked.
    """

    ttl: float = float("inf")
    silent: bool = False
    holder: str = ""


class Waiting:
    """Waits for what others hold, for all callers of one client."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.queues = Queues(lambda: Semaphore(1))

    def obtain(
        self,
        attempt: Callable[[float], Any],
        *,
        key: str,
        channel: str,
        give_up: float,
        timed_out: Callable[[Busy | None], Exception],
    ) -> Any:
        """What `attempt(timeout)` returns, once that is not Busy.

        `key`: what is waited for, in this process. `give_up`: monotonic; inf waits for ever.
        Raises: what `timed_out` returns; Unavailable if the server was away at the end; whatever else
        `attempt` raises.
        """
        busy: Busy | None = None
        if not self.queues.busy(key):
            found = self._try_for_an_answer(attempt, give_up)
            if not isinstance(found, Busy | Unavailable):
                return found
            if monotonic() >= give_up:
                raise self._end(found, timed_out)
            busy = found if isinstance(found, Busy) else None
        queue = self.queues.join(key)
        try:
            while not queue.turn.acquire(min(LONGEST, max(0.0, give_up - monotonic()))):
                if monotonic() >= give_up:
                    raise timed_out(busy or queue.busy)
            signal: Signal | None = None
            try:
                signal = Signal()
                queue.take_front(signal)
                if busy is not None and queue.until == 0.0:
                    self._learn(queue, busy)
                return self._as_first(queue, signal, attempt, channel, give_up, timed_out)
            finally:
                queue.leave_front(signal)
        finally:
            self.queues.leave(key, queue)

    def _as_first(
        self,
        queue: Queue,
        signal: Signal,
        attempt: Callable[[float], Any],
        channel: str,
        give_up: float,
        timed_out: Callable[[Busy | None], Exception],
    ) -> Any:
        """What `attempt` returns, for the first of a queue."""
        watch = queue.watch(self._wire.hub, channel)
        failures, found = 0, queue.busy
        while True:
            signal.clear()
            now = monotonic()
            if now >= give_up:
                raise self._end(found, timed_out)
            until = min(queue.until, give_up)
            if not queue.news and now < until:
                pause = self._pause(watch, queue.busy, failures)
                if pause is not None and now + pause < until:
                    signal.wait(pause)
                    queue.news = True  # nobody would have told us
                else:
                    signal.wait(min(LONGEST, until - now))
                    continue
            queue.news = False
            found = self._try_as_first(queue, attempt, give_up)
            if not isinstance(found, Busy | Unavailable):
                return found
            failures += 1

    def _pause(self, watch: AnyWatch, busy: Busy | None, failures: int) -> float | None:
        """Seconds after which to ask, where nobody tells; None where somebody does."""
        if watch.pushing and (busy is None or not busy.silent):
            return None
        return rest(failures, random.random())

    def _try_as_first(self, queue: Queue, attempt: Callable[[float], Any], give_up: float) -> Any:
        """Try, and leave what was learned with the queue."""
        asked = monotonic()
        try:
            found = self._try(attempt, give_up)
        except BaseException:
            queue.news = True  # what happened is not known: the next one looks
            raise
        if isinstance(found, Busy):
            self._learn(queue, found)
        elif isinstance(found, Unavailable):
            queue.until = monotonic() + rest(3, random.random())
        else:
            # Ours: its release will be told, its end not.
            queue.busy, queue.until = None, asked + min(SAFETY, getattr(found, "rest", SAFETY) + LATE)
        return found

    def _try_for_an_answer(self, attempt: Callable[[float], Any], give_up: float) -> Any:
        """What `attempt` returns. Whoever got no answer asks again before he stands behind others: they may
        be waiting for what he was granted without knowing it.
        """
        failures = 0
        while True:
            found = self._try(attempt, give_up)
            if not isinstance(found, Unavailable) or monotonic() >= give_up:
                return found
            failures += 1
            sleep(min(rest(failures, random.random()), max(0.0, give_up - monotonic())))

    def _try(self, attempt: Callable[[float], Any], give_up: float) -> Any:
        """What `attempt` returns; or why the server did not answer, if there is time to ask again."""
        left = give_up - monotonic()
        try:
            return attempt(min(self._wire.timeout, max(left, LEAST)))
        except (Closed, NotDurable):
            raise
        except Unavailable as error:
            return error

    @staticmethod
    def _learn(queue: Queue, busy: Busy) -> None:
        queue.busy = busy
        queue.until = monotonic() + min(SAFETY, busy.ttl + LATE)

    @staticmethod
    def _end(found: object, timed_out: Callable[[Busy | None], Exception]) -> Exception:
        """Why it ends without success."""
        return (
            found if isinstance(found, Unavailable) else timed_out(found if isinstance(found, Busy) else None)
        )
