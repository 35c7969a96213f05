"""Several processes that do the same work: started, started again, stopped together.

Each is a new Python that imports the client for itself; nothing is forked, so no connection, lock or thread
is shared. Each is in a session of its own: a Ctrl-C at the terminal reaches the supervisor alone, which tells
them all. They are told by a line, not by signals: one that was signalled already, by a `kill` of the whole
service, would take the second signal for haste.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from holdfast._ending import INTERRUPTS, Bell
from holdfast.cli.worker import rules
from holdfast.cli.worker.health import PATIENCE, has_prometheus
from holdfast.cli.worker.line import Line, Message
from holdfast.cli.worker.options import Options

log = logging.getLogger("holdfast.worker")

_LOOK = 0.5  # seconds between two looks, though nothing was heard


class Process:
    """One place among the processes, and who fills it."""

    def __init__(self, number: int, options: Options, changed: Callable[[], None]) -> None:
        self.number = number
        self.failed = ""  # what it said when it gave up
        self.ready: Message | None = None
        self.deaths = self.restarts = 0
        self.due = 0.0
        self._options = options
        self._changed = changed
        self._began = 0.0
        self._program: subprocess.Popen[bytes] | None = None
        self._line: Line

    @property
    def alive(self) -> bool:
        """Does it run?"""
        return self._program is not None

    @property
    def pid(self) -> int | None:
        """Its number, if it runs."""
        program = self._program
        return None if program is None else program.pid

    def start(self) -> None:
        """Start it."""
        self._began = monotonic()
        ours, theirs = socket.socketpair()
        options = dataclasses.asdict(self._options)
        told = json.dumps({"number": self.number, "line": theirs.fileno(), "options": options}, default=str)
        with theirs:
            try:
                program = subprocess.Popen(
                    [sys.executable, "-P", "-m", "holdfast.cli.worker.child", told],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        self.ready, self.failed = None, ""
        self._line = Line(ours, self._hear, self._changed)
        self._program = program  # at the end: another thread may ask us

    def _hear(self, message: Message) -> None:
        self.failed = message.get("failed", self.failed)
        if "ready" in message:
            self.ready = message
            self._changed()

    def ended(self) -> int | None:
        """Its exit code, once, if it has ended."""
        code = None if self._program is None else self._program.poll()
        if code is not None:
            self._line.end(PATIENCE)  # and so its last words are heard
            self._program = None
            self.count_death()
        return code

    def count_death(self) -> None:
        """It has died."""
        self.deaths = rules.deaths(self.deaths, monotonic() - self._began)
        self.due = monotonic() + rules.rest(self.deaths)

    def stop(self, how: str) -> None:
        """Tell it to stop, or to stop at once."""
        if self._program is not None and not self._line.tell(stop=how):
            self._program.terminate()

    def kill(self) -> None:
        """End it."""
        if self._program is not None:
            self._program.kill()

    def ask(self, what: str) -> Callable[[float], Any]:
        """Ask it; see Line."""
        return self._line.ask(what) if self._program is not None else lambda _: None


class Supervisor:
    """See the file's docstring."""

    def __init__(self, options: Options, ready: Callable[[Message], object]) -> None:
        self._options = options
        self._ready = ready
        self._told = False
        self._bell = Bell()
        self._signals = 0
        self._stop_told = ""  # what all were told: "", "in peace", "at once"
        self._kill_at: float | None = None
        self._code = rules.OK
        numbers = range(1, options.processes + 1)
        self._all = [Process(number, options, self._bell.ring) for number in numbers]

    def run(self) -> int:
        """Until all have ended; the exit code."""
        before = signal.signal(signal.SIGCHLD, lambda *_: self._bell.ring())
        try:
            with INTERRUPTS.told_to(self._interrupt):
                while not (self._stop_told and not any(one.alive for one in self._all)):
                    self._step()
        finally:
            for one in self._all:
                one.kill()
            signal.signal(signal.SIGCHLD, before)
        return self._code

    def _interrupt(self) -> None:
        self._signals += 1
        self._bell.ring()

    def _step(self) -> None:
        if self._signals:
            self._stop("in peace" if self._signals == 1 else "at once")
        for one in self._all:
            if (code := one.ended()) is not None:
                self._bury(one, code)
        self._start_what_is_due()
        self._tell_when_ready()
        self._kill_what_lasts()
        self._bell.wait(_LOOK)

    def _start_what_is_due(self) -> None:
        for one in self._all:
            if not self._stop_told and not one.alive and monotonic() >= one.due:
                try:
                    one.start()
                except OSError as error:  # the machine has no room for it
                    one.failed = str(error)
                    one.count_death()
                    self._bury(one, rules.FAILED)

    def _bury(self, one: Process, code: int) -> None:
        ended, why = rules.ending(code), f": {one.failed}" if one.failed else ""
        fields = {"event": "worker_process_died", "number": one.number, "code": code, "deaths": one.deaths}
        told = {"holdfast": fields}
        if self._stop_told:
            if code:
                self._code = self._code or rules.FAILED
                log.error("process %d %s%s", one.number, ended, why, extra=told)
        elif rules.is_hopeless(one.deaths, code):
            self._code = rules.WRONG_USAGE if code == rules.WRONG_USAGE else rules.FAILED
            log.critical("process %d %s%s; gave up: all are stopped", one.number, ended, why, extra=told)
            self._stop("in peace")
        else:
            one.restarts += 1
            rest = rules.rest(one.deaths)
            log.error("process %d %s%s; again in %.1f s", one.number, ended, why, rest, extra=told)

    def _stop(self, how: str) -> None:
        """Tell all of them, once."""
        if self._stop_told in {how, "at once"}:
            return
        self._stop_told = how
        patience = self._options.patience if how == "in peace" else 0.0
        self._kill_at = monotonic() + patience + rules.GRACE
        for one in self._all:
            one.stop(how)
        log.info("all processes are told to stop %s", how)

    def _kill_what_lasts(self) -> None:
        if self._kill_at is not None and monotonic() >= self._kill_at:
            self._kill_at = None
            for one in self._all:
                if one.alive:
                    log.error("process %d does not end; it is killed", one.number)
                    one.kill()

    def _tell_when_ready(self) -> None:
        for one in self._all:
            if one.ready is not None and not self._told:
                self._told = True
                self._ready(one.ready)

    # --- in the threads of those who ask -----------------------------------------------------------------

    def processes(self) -> list[Mapping[str, Any]]:
        """How each of them is."""
        asked = [(one, one.ask("health")) for one in self._all]
        give_up = monotonic() + PATIENCE + 1.0  # their own patience, and the way
        return [
            {
                **(answer(max(0.0, give_up - monotonic())) or self._silent(one)),
                "restarts": one.restarts,
            }
            for one, answer in asked
        ]

    def _silent(self, one: Process) -> Mapping[str, Any]:
        """What is known of one that has not answered."""
        status = "dead" if not one.alive else "starting" if one.ready is None else "no answer"
        return {"process": one.number, "pid": one.pid, "status": status}

    def metrics(self) -> str | None:
        """Those of all of them, with the label `process`."""
        asked = [(one, one.ask("metrics")) for one in self._all]
        give_up = monotonic() + PATIENCE
        texts = {one.number: answer(max(0.0, give_up - monotonic())) for one, answer in asked}
        found = {number: text for number, text in texts.items() if text is not None}
        return rules.merged(found) if found or has_prometheus() else None
