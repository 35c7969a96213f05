"""What a process has counted and not yet handed over to be written. Clocks are arguments.

Events are gathered by cell: a stretch of time within which every resolution has one bucket. So what comes
again needs no more room, and hundreds of thousands of events a second become a few entries.

Which cell it is "now" the server's clock decides. `ahead` is the difference between that clock and one of
this process which is never set (see `boottime`); it is measured at each flush, and a cell is looked for anew
at least once a second. Before the first flush it is not known; then events wait in slices of a second of our
own clock, and get their cells later. A clock of this machine that is hours off changes nothing.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from holdfast._wire.mutex import MUTEX
from holdfast.analytics.buckets import Calendar
from holdfast.analytics.counters import COUNTER
from holdfast.analytics.kinds import Base, Gathered, Items

NEVER = float("-inf")
LOOK = 1.0  # seconds for which a cell is taken for the current one without a look at the clock
JUMP = 0.5  # seconds by which a new measurement has to differ to be more than noise


class Entry:
    """Where the events of one metric, one combination of tags and one cell are gathered."""

    __slots__ = ("aggregate", "base", "items", "weight")

    def __init__(self, base: Base, items: Items) -> None:
        self.base = base
        self.items = items
        self.aggregate = base.kind.fresh()
        self.weight = 1


class Pending:
    """See the file's docstring. `lock` guards all of it; every method but `put` expects it to be held."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.ahead: float | None = None
        self.generation = 0  # grows when all of it was forgotten
        self.reset()
        with MUTEX:
            _ALL.add(self)

    def reset(self) -> None:
        """Begin with nothing: also in the child of a fork, since the parent writes what was there."""
        self.lock = (
            threading.RLock()
        )  # re-entrant: a signal handler, or the garbage collector, may count, too
        self.counts: dict[Hashable, list[int]] = {}  # of the current cell; hot path
        self.until = NEVER  # on our clock: until then that cell is the current one
        self._entries: dict[Hashable, Entry] = {}  # the same, of every kind
        self._cells: dict[int, dict[Hashable, Entry]] = {}
        self._slices: dict[int, dict[Hashable, Entry]] = {}
        self._late: tuple[int, int] = (0, 0)
        self.size = 0  # entries, those handed over included until they are done
        self.generation += 1

    # --- counting -------------------------------------------------------------------------------------------

    def entry(
        self, key: Hashable, make: Callable[[], tuple[Base, Items]], at: float | None, now: float
    ) -> Entry:
        """Where to gather events with `key` that happened at `at` (None: at this moment, `now`)."""
        entries = self._current(now) if at is None else self._cells.setdefault(self._cell(at), {})
        found = entries.get(key)
        if found is None:
            found = entries[key] = Entry(*make())
            self.size += 1
            if found.base.kind is COUNTER and at is None:
                self.counts[key] = found.aggregate
        return found

    def put(self, entry: Entry, item: Any, n: int) -> None:
        """Take one event into it."""
        grown = entry.base.kind.add(entry.aggregate, item, n)
        entry.weight += grown
        self.size += grown

    def knows(self, key: Hashable, at: float | None, now: float) -> bool:
        """Is there an entry for it, so that a counter needs no more room?"""
        entries = self._current(now) if at is None else self._cells.get(self._cell(at), {})
        return key in entries

    def _current(self, now: float) -> dict[Hashable, Entry]:
        if now < self.until:
            return self._entries
        ahead = self.ahead
        if ahead is None:
            place, kept, self.until = int(now), self._slices, int(now) + LOOK
        else:
            place, end = self._calendar.cell(now + ahead)
            kept, self.until = self._cells, min(end - ahead, now + LOOK)
        self._entries = entries = kept.setdefault(place, {})
        self.counts = {key: one.aggregate for key, one in entries.items() if one.base.kind is COUNTER}
        return entries

    def _cell(self, at: float) -> int:
        start, end = self._late
        if not start <= at < end:
            start, _ = self._late = self._calendar.cell(at)
        return start

    def renew(self) -> None:
        """Whatever comes next finds its entries anew."""
        self.until = NEVER
        self.counts = {}

    def measured(self, ahead: float) -> None:
        """The server's clock is so much ahead of ours."""
        if self.ahead is None or abs(ahead - self.ahead) > JUMP:
            self.renew()
        self.ahead = ahead

    # --- handing over ---------------------------------------------------------------------------------------

    def take(self, blocked: Callable[[Base], bool], most: int) -> dict[Base, list[Gathered]]:
        """The events of `most` entries, the oldest first, but none of metrics that are `blocked`. Their size
        counts until `done`.
        """
        assert self.ahead is not None
        for place, entries in self._slices.items():
            self._join(self._cell(place + LOOK / 2 + self.ahead), entries)
        self._slices = {}
        taken: dict[Base, list[Gathered]] = {}
        left: dict[int, dict[Hashable, Entry]] = {}
        count = 0
        for cell, entries in sorted(self._cells.items()):
            for key, one in entries.items():
                if count >= most or blocked(one.base):
                    left.setdefault(cell, {})[key] = one
                    continue
                count += 1
                taken.setdefault(one.base, []).append(Gathered(cell, one.items, one.aggregate, one.weight))
        self._cells = left
        self.renew()
        return taken

    def _join(self, cell: int, entries: dict[Hashable, Entry]) -> None:
        known = self._cells.setdefault(cell, {})
        for key, one in entries.items():
            found = known.setdefault(key, one)
            if found is not one:
                found.base.kind.merge(found.aggregate, one.aggregate)
                found.weight += one.weight

    def done(self, weight: int) -> None:
        """So many of the entries handed over are written, or given up."""
        self.size = max(0, self.size - weight)

    def drop_oldest(self, weight: int) -> int:
        """Forget the oldest entries, of `weight` together or a little more; how many it were."""
        gone = 0
        for kept in (self._slices, self._cells):
            for place in sorted(kept):
                for key in list(kept[place]):
                    if gone >= weight:
                        break
                    gone += kept[place].pop(key).weight
        self.size -= gone
        self.renew()
        return gone


_ALL: weakref.WeakSet[Pending] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pending in list(_ALL):
        pending.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
