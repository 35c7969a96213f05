# Generated from _running_async.py by tools/unasync.py. Do not edit.
"""Running: runs what a client has to run (subscribers, projections, relays) until it is stopped.

Promised: everything is started, and everything that was started is closed before `run` returns, side by side,
whatever happens meanwhile: a stop, a signal, a cancellation, a failure of one of them. One that dies ends the
run and is its error; it never dies in silence. `stop` works from any thread and from a signal handler.

Not promised: that what is still in work after `drain` (and ten seconds for its last words) has ended. It is
left alone, and the log says so.

A run belongs to its process: in the child of a fork nothing runs, and `run` may be called anew. It belongs
to the thread that called it, too: a loop that was closed in the middle has ended it, and `stop` may be
called from any other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from holdfast._compat import Signal, monotonic
from holdfast._coord.background import Background
from holdfast._ending import INTERRUPTS, Bell
from holdfast._wire.mutex import MUTEX
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, HoldfastError

log = logging.getLogger("holdfast")

Until = Literal["stopped", "idle"]
Phase = Literal["none", "starting", "running", "stopping"]

LOOK = 0.25  # seconds between two looks whether all are alive; so long a signal may go unheard, at worst
LAST_WORDS = 10.0  # seconds beyond the drain that closing may take: it asks the server, too
ASK_SOON, ASK_LATE = 0.01, 0.1  # seconds, least and most, between two questions whether all are idle
AGAIN = 0.05  # seconds until the question is asked once more: what one handed to another has arrived by then
IDLE = 2  # answers in a row


class Runnable(Protocol):
    """Something that works in the background: a subscriber, a projection, a relay."""

    name: str

    @property
    def group(self) -> str | None:
        """Of a subscriber its group; None: it always runs."""

    def start(self) -> None:
        """Begin, in the background. May be called again after `close`. If it raises, nothing has begun."""

    def close(self, drain: float) -> None:
        """Take up nothing more, and wait for what is in work, `drain` seconds at most. May be called anew
        meanwhile, with less patience.
        """

    def is_idle(self) -> bool:
        """Is nothing unread, nothing in work, and does nothing wait for a retry?"""

    @property
    def alive(self) -> bool:
        """Does it work? From `start` to its end."""

    @property
    def failure(self) -> Exception | None:
        """Why it gave up, if it did."""


class Running:
    """The runs of one client, one at a time. May be shared by threads."""

    def __init__(self) -> None:
        self._latest: _Run | None = None
        self._asked = False

    def run(
        self,
        runnables: Iterable[Runnable],
        until: Until = "stopped",
        drain: Duration = "10s",
        *,
        signals: bool = True,
    ) -> None:
        """Start all `runnables`, and return when they were stopped, or have nothing left to do.

        `until`: "stopped", or "idle": once all of them say, twice in a row, that nothing is left. `drain`:
        how long what is in work may take at the end. `signals`: in the main thread, SIGTERM and SIGINT mean
        `stop`, and the second of them that nothing in work is waited for any more.

        Cancelled, it closes them as `stop` would; cancelled once more, at once.
        Raises: ConfigurationError; the failure of the first that failed, when all are closed.
        """
        patience = seconds(drain, "drain", zero=True)
        if until not in {"stopped", "idle"}:
            raise ConfigurationError(f'until={until!r}: write "stopped" or "idle"')
        run = self._begin(tuple(runnables))
        try:
            if signals:
                with INTERRUPTS.told_to(run.interrupt):
                    run.live(until, patience)
            else:
                run.live(until, patience)
        finally:
            run.end()
        if run.errors:
            raise run.errors[0]

    def _begin(self, runnables: Sequence[Runnable]) -> _Run:
        if not runnables:
            raise ConfigurationError("nothing to run: no subscriber was declared, or none of these groups")
        run = _Run(runnables)
        with MUTEX:
            before = self._latest
            if before is not None and before.goes_on:
                raise ConfigurationError(
                    "this client runs already: stop() it first, or name all groups in one run(groups=[...])"
                )
            self._latest = run  # first: a `stop` from now on finds it, an earlier one has left its wish
        if before is None and self._asked:
            run.stop()
        return run

    def stop(self, *, at_once: bool = False) -> None:
        """End the run that is under way, or the first one if there was none yet; after a run it does nothing.
        `at_once`: without waiting for what is in work. Does not wait. May be repeated, from anywhere.
        """
        self._asked = True
        run = self._latest
        if run is not None and run.goes_on:
            run.stop(at_once=at_once)

    def close(self, drain: float) -> None:
        """Stop, and wait `drain` seconds at most for what is in work; for the client's own `close`."""
        self.stop()
        run = self._latest
        if run is not None:
            run.until_over(drain)
            if run.goes_on:  # what is left has to be given back while there is a connection
                run.stop(at_once=True)
                run.until_over(LAST_WORDS)

    @property
    def phase(self) -> Phase:
        """How far the run is that is under way; "none" if none is."""
        run = self._latest
        return run.phase if run is not None and run.goes_on else "none"


class _Run:
    """One run, from its beginning to its end."""

    def __init__(self, runnables: Sequence[Runnable]) -> None:
        self.phase: Phase = "starting"
        self.errors: list[Exception] = []
        self._runnables = runnables
        self._open: set[int] = set()  # those that were started and are not closed yet, by number
        self._at_once = self._over = False
        self._patience = 0.0  # that those who are closed were told
        self._interrupts = 0
        self._bell = Bell()
        self._closers: list[Background] = []  # an unreferenced thread may vanish in mid-air
        self._process = os.getpid()
        self._waiting: list[Signal] = []

    # --- from anywhere; a signal handler may come in the middle of anything --------------------------------

    @property
    def goes_on(self) -> bool:
        """Is it under way? Not in the child of a fork, nor once its thread was closed."""
        return not self._over and self._process == os.getpid() and not self._bell.is_over

    @property
    def _stopping(self) -> bool:
        return self.phase == "stopping"

    def stop(self, *, at_once: bool = False) -> None:
        """See Running."""
        self._at_once = self._at_once or at_once
        self.phase = "stopping"
        self._bell.ring()

    def interrupt(self) -> None:
        """A signal came."""
        self._interrupts += 1
        self.stop(at_once=self._interrupts > 1)

    def until_over(self, patience: float) -> None:
        """Wait for its end, `patience` seconds at most."""
        signal = Signal()
        self._waiting.append(signal)
        if self.goes_on:
            signal.wait(patience)

    def end(self) -> None:
        """It is over."""
        self._over = True
        for signal in self._waiting:
            signal.fire()

    # --- by the one who runs -------------------------------------------------------------------------------

    def live(self, until: Until, drain: float) -> None:
        """Start all, wait, close all. What they fail of is in `errors`."""
        try:
            for number, one in enumerate(self._runnables):
                if self._stopping:
                    return
                self._open.add(number)  # first: a Ctrl-C may come in the middle of `start`
                try:
                    one.start()
                except Exception:
                    self._open.discard(number)
                    raise
            if not self._stopping:
                self.phase = "running"
            (self._until_idle() if until == "idle" else self._until_stopped())
        finally:
            self.phase = "stopping"
            self._close(drain)

    def _until_stopped(self) -> None:
        while not self._stopping and self._well():
            self._bell.wait(LOOK)

    def _until_idle(self) -> None:
        answers, pause = 0, ASK_SOON
        while not self._stopping and self._well():
            if self._idle():
                answers, pause = answers + 1, AGAIN
                if answers == IDLE:
                    return
            else:
                answers, pause = 0, min(ASK_LATE, 1.5 * pause)
            self._bell.wait(pause)

    def _idle(self) -> bool:
        """Do all say so? A server that does not answer has not said that nothing is left."""
        try:
            for one in self._runnables:
                if not one.is_idle():
                    return False
        except ConfigurationError:
            raise
        except HoldfastError:
            return False
        return True

    def _well(self) -> bool:
        """Are all at work? Whoever is not is among the errors then."""
        for one in self._runnables:
            if one.failure is not None:
                self._failed(one, one.failure)
            elif not one.alive:
                self._failed(one, HoldfastError(f"{one.name} has ended, though nobody stopped it"))
        return not self.errors

    def _failed(self, one: Runnable, error: Exception) -> None:
        if error not in self.errors:
            log.error("%s has failed", one.name, exc_info=error)
            self.errors.append(error)

    # --- closing -------------------------------------------------------------------------------------------

    def _close(self, drain: float) -> None:
        """Close all that were started, side by side."""
        self._begin_closing(0.0 if self._at_once else drain)
        try:
            self._until_closed()
        except BaseException:  # cancelled once more, or Ctrl-C: what is in work is given up
            self._begin_closing(0.0)
            self._until_closed()
            raise
        finally:
            for number in list(self._open):
                log.error("%s does not end; it is left alone", self._runnables[number].name)
        for one in self._runnables:
            if one.failure is not None:
                self._failed(one, one.failure)

    def _until_closed(self) -> None:
        give_up = monotonic() + self._patience + LAST_WORDS
        while self._open and monotonic() < give_up:
            if self._at_once and self._patience:
                self._begin_closing(0.0)
                give_up = monotonic() + LAST_WORDS
            self._bell.wait(LOOK)

    def _begin_closing(self, patience: float) -> None:
        self._patience = patience
        for number in list(self._open):
            self._close_one(number, patience)

    def _close_one(self, number: int, drain: float) -> None:
        one = self._runnables[number]

        def close() -> None:
            try:
                one.close(drain)
            except Exception as error:  # noqa: BLE001 (raised by `run`, when all are closed)
                self._failed(one, error)
            finally:
                self._open.discard(number)
                self._bell.ring()

        self._closers.append(Background(f"holdfast-close-{one.name}", close))
