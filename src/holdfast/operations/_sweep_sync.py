# Generated from _sweep_async.py by tools/unasync.py. Do not edit.
"""Sweep: takes up what is due and hands it to a handler, once or all the time."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from holdfast._compat import Signal, boottime, monotonic
from holdfast._coord.background import Background
from holdfast._coord.flavour import Flavour
from holdfast._wire.hub_ledger import Waker
from holdfast._wire.mutex import MUTEX
from holdfast.durations import Duration, seconds
from holdfast.errors import Closed, ConfigurationError, HoldfastError
from holdfast.operations import rules
from holdfast.operations._desk_sync import Desk
from holdfast.operations._operation_sync import Operation, granted
from holdfast.operations.record import Grant

log = logging.getLogger("holdfast.operations")


class Sweep:
    """See the file's docstring. Raises: ConfigurationError for a handler of the other flavour."""

    def __init__(self, desk: Desk, handler: Callable[[Operation[Any]], Any]) -> None:
        Flavour.check(handler, f"operations {desk.name!r}: handler")
        rules.takes(handler)
        self.desk = desk
        self._handler = handler

    def prepare(self) -> None:
        """What comes before the first claim. Raises: Unavailable, Refused, ConfigurationError."""
        self.desk.check()
        self.desk.end_orphans()

    def once(self) -> int:
        """Take up all that is due now, one after the other; how many of these the handler completed."""
        self.prepare()
        done = 0
        parts = list(self.desk.layout.parts())
        random.shuffle(parts)  # sweeps that begin at the same moment shall not all stand at the same door
        for part in parts:
            before = 0
            while True:
                asked = boottime()
                now, _, grants = self.desk.claim(part, 1, before)
                before = before or now  # what fails now is due again later, in another sweep
                if not grants:
                    break
                done += self.handle(grants[0], asked)
        return done

    def handle(self, grant: Grant, asked: float) -> bool:
        """Hand it to the handler; True if that completed it. An error of the handler is a failed attempt."""
        desk = self.desk
        try:
            operation = granted(desk, grant, asked)
        except HoldfastError as error:  # its data cannot be read, or no thread can be started to renew it
            with contextlib.suppress(HoldfastError):
                desk.fail(grant.place, grant.fence, rules.described(error), 1.0, again=True)
            return False
        desk.counters.recovered += 1
        try:
            with operation:
                Flavour.outcome(self._handler(operation))
        except Exception as error:
            # The record has it, and whoever observes was told; but by default nobody does.
            log.warning("%r was not recovered", operation, exc_info=error)
            return False
        return operation.completed


class Watcher:
    """Takes up what is due in the background, until it is closed; made by `watch`. A context manager.

    It sleeps until the next lease or rest ends, and is woken by what fails sooner.
    """

    def __init__(self, sweep: Sweep, concurrency: int) -> None:
        self._sweep = sweep
        self._desk = sweep.desk
        self._concurrency = concurrency
        self._handlers: dict[int, Background | None] = {}
        self._number = 0
        self._waiting: list[Waker] = []
        self._closing = self._over = False
        self._wake = Signal()
        self._scout = Background(f"holdfast-operations-{sweep.desk.name}", self._run)

    @property
    def alive(self) -> bool:
        """Is it at work? Not once it is closed, and not in the child of a fork."""
        return not self._over and self._scout.alive

    @property
    def running(self) -> int:
        """Operations that its handler has at this moment."""
        return len(self._handlers)

    def close(self, drain: Duration = "10s") -> None:
        """Take up nothing more, and wait for the handlers at most `drain`. May be repeated.

        Then handlers that are threads are cancelled, which is a failed attempt. A thread cannot be stopped: its
        operation stays its own until it ends, or the process does.
        """
        give_up = monotonic() + seconds(drain, "drain", zero=True)
        self._closing = True
        self._wake.fire()
        if not self._until_over(give_up):
            for handler in list(self._handlers.values()):
                if handler is not None:
                    handler.cancel()
            self._until_over(monotonic() + rules.LAST_WORDS)

    def _until_over(self, give_up: float) -> bool:
        signal = Signal()
        with MUTEX:
            self._waiting.append(signal)
        self._tell()
        return self._is_over() or signal.wait(max(0.0, give_up - monotonic()))

    def _is_over(self) -> bool:
        """Has all of it ended? Also with its thread, and in the child of a fork."""
        at_it = list(self._handlers.values())
        return not self.alive and not any(one is None or one.alive for one in at_it)

    def _tell(self) -> None:
        """Wake whoever waits for the end, if it has come."""
        with MUTEX:
            ended = self._over and not self._handlers
            waiting = self._waiting if ended else []
            self._waiting = [] if ended else self._waiting
        for signal in waiting:
            signal.fire()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- in the background ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    self._sweep.prepare()
                    self._watch()
                    return
                except Closed:
                    return
                except ConfigurationError as error:  # of no use to go on: whoever calls is told as well
                    self._stumbled(error)
                    return
                except HoldfastError:
                    self._wake.wait(rules.STUMBLE)
                except Exception as error:  # noqa: BLE001 (nobody else would notice)
                    self._stumbled(error)
                    self._wake.wait(rules.STUMBLE)
        finally:
            self._over = True
            self._tell()

    def _stumbled(self, error: Exception) -> None:
        log.error("a sweep stumbled", exc_info=error)
        self._desk.notify(rules.SweepStumbled(operations=self._desk.name, cause=rules.described(error)))

    def _watch(self) -> None:
        desk = self._desk
        with ExitStack() as stack:
            for part in desk.layout.parts():
                stack.enter_context(desk.wire.hub.watch(part.due, self._wake))
            while not self._closing:
                self._wake.clear()  # before looking: what is told from now on fires again
                rests = self._look()
                if not self._closing:
                    self._wake.wait(rules.park(rests, desk.lease, random.random()))

    def _look(self) -> list[int]:
        """Take up what is due, as far as there are hands; milliseconds until there is more, of each
        partition.
        """
        rests = []
        parts = list(self._desk.layout.parts())
        random.shuffle(parts)
        for part in parts:
            free = self._concurrency - len(self._handlers)
            if free <= 0 or self._closing:
                return []  # whoever ends wakes us
            asked = boottime()
            _, rest, grants = self._desk.claim(part, free, 0)
            for grant in grants:
                self._hand_over(grant, asked)
            rests.append(rest)
        return rests

    def _hand_over(self, grant: Grant, asked: float) -> None:
        number = self._number = self._number + 1
        self._handlers[number] = None

        def work() -> None:
            try:
                self._sweep.handle(grant, asked)
            except Exception as error:  # noqa: BLE001 (nobody else would notice)
                self._stumbled(error)
            finally:
                self._handlers.pop(number, None)
                self._wake.fire()
                self._tell()

        background = Background(f"holdfast-operation-{grant.place.id}", work)
        if number in self._handlers:  # else it is over already
            self._handlers[number] = background
