"""`holdfast locks watch [PATTERN]`: who gets and gives what, as it happens.

The server tells which keys have changed (CLIENT TRACKING by prefix), so that they need not be sought; they
are looked at once in `--every` at most, `_MOST` at a time, and never for more than a tenth of the time. What
comes and goes between two looks is not seen. Where tracking is forbidden, the keys are walked again and
again, with pauses of ten times as long as that takes.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import islice
from typing import NoReturn

from holdfast import Holdfast
from holdfast.cli.cache.place import client
from holdfast.cli.locks import rooms
from holdfast.cli.locks.changes import Change, changes
from holdfast.cli.locks.find import find, see
from holdfast.cli.locks.live import View, view
from holdfast.cli.locks.rooms import Named
from holdfast.cli.locks.sight import Sight
from holdfast.cli.up.signals import Ears, Ended
from holdfast.durations import seconds
from holdfast.errors import ConfigurationError, Unavailable

_MOST = 500  # locks looked at in one round
_REMEMBERED = 100_000  # keys that have changed since the last round; beyond, walking is cheaper
_PART = 10  # times as long as a round takes, we rest
_WALK = 5.0  # seconds between two walks over all keys, where the server does not tell what has changed
_HEAR = 1.0  # seconds that tracking may take to begin
_LEAST = 0.1  # seconds between two rounds


def run(asked: argparse.Namespace) -> int:
    """Watch until Ctrl-C. Raises: ConfigurationError, Unavailable (at the start), Refused."""
    every = seconds(asked.every, "--every")
    if every < _LEAST:
        raise ConfigurationError(
            f"--every {asked.every}: at least {_LEAST} s, so that the server is left in peace"
        )
    try:
        with Ears(), client(asked) as hf, view(json=asked.json, pattern=asked.pattern) as shown:
            _watch(hf, asked.pattern, asked.limit, every, shown)
    except KeyboardInterrupt:
        return 0
    except Ended as end:  # a terminal that was closed, or SIGTERM: the cursor has to be shown again
        return 128 + end.number
    except BrokenPipeError:  # `| head`: whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _watch(hf: Holdfast, pattern: str | None, limit: int, every: float, shown: View) -> NoReturn:
    eye = Eye(hf, pattern, limit)
    with ExitStack() as stack:
        for prefix in rooms.prefixes(hf._wire.keys):
            stack.enter_context(hf._wire.hub.track(prefix, eye))
        eye.hears.wait(_HEAR)
        happened: list[Change] = eye.look()
        while True:
            shown.show(eye.seen(), happened)
            time.sleep(max(every, eye.took * _PART))
            try:
                happened = eye.look()
                shown.back()
            except Unavailable as error:
                shown.away(error)
                happened = []


class Eye:
    """Knows how the locks stood at the last look, and what has changed since. Hub threads tell it."""

    def __init__(
        self, hf: Holdfast, pattern: str | None, limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.hears = threading.Event()
        self.took = 0.0  # seconds, of the last round
        self._hf = hf
        self._pattern = pattern
        self._limit = limit
        self._clock = clock
        self._prefix = rooms.namespace(hf._wire.keys)
        self._known: dict[Named, Sight] = {}
        self._heard: set[bytes] = set()
        self._changed: dict[Named, None] = {}  # in the order in which it was heard of
        self._mutex = threading.Lock()
        self._walk_at = float("-inf")

    # --- hub threads ---

    def invalidated(self, keys: list[bytes] | None) -> None:
        """These keys have changed; None: perhaps all."""
        if keys is None:
            self._walk_at = float("-inf")
            return
        with self._mutex:  # what they are is found out in the watcher's thread, once for many
            self._heard.update(keys)
            if len(self._heard) > _REMEMBERED:
                self._heard.clear()
                self._walk_at = float("-inf")

    def lost(self) -> None:
        """Nothing is heard any more."""
        self.hears.clear()

    def found(self) -> None:
        """Everything is heard from now on; what was missed has to be sought."""
        self._walk_at = float("-inf")
        self.hears.set()

    # --- the watcher's ---

    def look(self) -> list[Change]:
        """What happened since the last time. Raises: Unavailable, Refused."""
        begun = self._clock()
        happened: list[Change] = []
        due = self._due(begun)
        try:
            seen = see(self._hf, due)
        except BaseException:
            self._note(due)  # what has changed has still to be looked at
            raise
        for one in seen:
            before = self._known.pop(one.named, None)
            happened += changes(before, one)
            if one.in_use:
                self._known[one.named] = one  # at the end: those not looked at for longest come first
        self.took = self._clock() - begun
        return happened

    def seen(self) -> list[Sight]:
        """What is held, as far as is known."""
        return list(self._known.values())

    def _due(self, now: float) -> list[Named]:
        """What to look at: what has changed first, then those not looked at for longest."""
        if now >= self._walk_at:
            self._walk_at = float("inf") if self.hears.is_set() else now + _WALK
            found = find(self._hf, self._pattern, self._limit).named
            if not self.hears.is_set():
                self._walk_at = max(self._walk_at, now + (self._clock() - now) * _PART)
            self._note(found)
        with self._mutex:
            heard, self._heard = self._heard, set()
        told = (rooms.named(key.decode("utf-8", "replace"), self._prefix) for key in heard)
        self._note(one[0] for one in told if one is not None)
        changed = list(islice(self._changed, _MOST))
        first = {*changed}
        for one in changed:
            del self._changed[one]
        rest = (one for one in self._known if one not in first)
        return [*changed, *islice(rest, _MOST - len(changed))]

    def _note(self, found: Iterable[Named]) -> None:
        self._changed.update((one, None) for one in found if rooms.fits(one.name, self._pattern))
