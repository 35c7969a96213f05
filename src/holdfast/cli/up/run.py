"""`holdfast up` from the beginning to the end."""

from __future__ import annotations

import errno
import json
import os
import selectors
import shutil
import sys
import time
from contextlib import ExitStack

from holdfast.cli.up import command, pages
from holdfast.cli.up.options import Options
from holdfast.cli.up.orders import Orders
from holdfast.cli.up.screen import Part, Screen, for_people
from holdfast.cli.up.signals import Ears, Ended
from holdfast.cli.up.topology import Topology, start
from holdfast.cli.up.watch import Watch

_STEP = 0.05  # seconds between two looks at what happened
_DEAF = (errno.EPIPE, errno.EIO)  # nobody reads what we say: the reader of the pipe or the terminal is gone


def main(options: Options) -> int:
    """Start what was asked for, keep it as long as it is wanted, end it; the exit code.

    Raises: KeyboardInterrupt after Ctrl-C, when everything has ended.
    """
    if options.command is not None:
        command.check(options.command)
    screen = Screen() if options.json or options.command else for_people()
    try:
        try:
            code = _run(options, screen)
        except Ended:
            code = 0
        screen.say("ended; nothing is left running")
        return code
    except OSError as error:
        if error.errno not in _DEAF:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # at exit, Python would try once more
        return 0


def _run(options: Options, screen: Screen) -> int:
    with Ears() as ears, ExitStack() as stack:
        began = time.monotonic()
        with screen.starting():
            topology = start(options, screen.step)
        stack.callback(topology.stop)
        stack.callback(screen.close)
        stack.callback(ears.close)  # the first thing that happens at the end
        return _keep(options, topology, screen, time.monotonic() - began)


def _keep(options: Options, topology: Topology, screen: Screen, took: float) -> int:
    """Tell that it is ready, and keep it as long as it is wanted."""
    if options.command is not None:
        print(f"holdfast: {topology.name} is ready in {took:.1f} s ({topology.about})", file=sys.stderr)
        return command.run(options.command, command.environment(topology))
    with Watch(topology) as watch:
        if options.json:
            print(json.dumps(pages.as_data(topology, watch.sights, took)), flush=True)
        _Stay(options, topology, screen, watch).live(took)
    return 0


class _Stay:
    """The time from "ready" to the end: tells what happens, does what is typed."""

    def __init__(self, options: Options, topology: Topology, screen: Screen, watch: Watch) -> None:
        self._seconds, self._keep = options.seconds, options.keep
        self._topology = topology
        self._screen = screen
        self._watch = watch
        self._orders = Orders(topology, watch, screen, self._table)
        self._keys = selectors.DefaultSelector()
        self._listens = not options.json and sys.stdin.isatty() and sys.stdout.isatty()
        if self._listens:
            self._keys.register(sys.stdin, selectors.EVENT_READ)

    def live(self, took: float) -> None:
        """Return when the time is over, or `quit` was typed."""
        give_up = None if self._seconds is None else time.monotonic() + self._seconds
        self._welcome(took)
        while give_up is None or time.monotonic() < give_up:
            typed = self._keys.select(_STEP)
            for sentence in self._watch.news():
                self._screen.event(sentence)
            if typed and not self._obey():
                return

    def _welcome(self, took: float) -> None:
        say, topology = self._screen.say, self._topology
        say()
        name, ready = Part(topology.name, "bold"), Part(f"ready in {took:.1f} s", "green")
        say(name, f": {topology.about}. ", Part(topology.program.capitalize(), "dim"), ", ", ready)
        say()
        self._table()
        say()
        for line in pages.to_copy(topology, shutil.which):
            say(*line)
        if self._listens:
            say(Part("kill N, freeze N, resume N, restart N, list, help, quit", "dim"))
        end = "Ctrl-C ends it" if self._seconds is None else f"Ends in {self._seconds:g} s"
        say(Part(f"{end}; nothing is left" + (f" but {self._keep}" if self._keep else ""), "dim"))
        self._prompt()

    def _table(self) -> None:
        for line in pages.table(self._watch.sights):
            self._screen.say(*line)

    def _obey(self) -> bool:
        """Do what was typed; is it to go on?"""
        if (
            os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()
        ):  # we are in the background: reading would stop us
            time.sleep(_STEP)
            return True
        line = sys.stdin.readline()
        if not line:  # Ctrl-D
            return False
        if not self._orders.obey(line):
            return False
        self._prompt()
        return True

    def _prompt(self) -> None:
        if self._listens:
            self._screen.prompt()
