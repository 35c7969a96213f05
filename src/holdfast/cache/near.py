"""The near cache (L1): copies of entries in this process, which know when they may not be trusted.

Promise: a copy is served only while every change that the server made more than `max_staleness` ago is known
to have arrived here. So what another process invalidated is served for at most that long, whatever becomes of
the connection: cut, half open, frozen at either end, or its thread starved. What this process itself changes
through the same client is never served again.

How it holds:
* The hub tracks the prefix of the cache and proves how far it hears: `as_of` is when the last PING left whose
  answer came back, and the server sends in order. A copy is served while `now - as_of <= max_staleness`.
* Before an entry is read from the server, a ticket is taken; any change of its key in between tears it up,
  and what was read is then not kept. So it does not matter that the reply and the news come on two
  connections, nor how late.
* Whenever nothing is heard, be it for a moment, all copies and tickets are gone: news may have been missed.
  The same goes for FLUSHALL, a failover, a slot that moves. A cleared cache changes its epochs, which are
  tracked like everything else, and that too drops all copies.
* A copy of an entry with tags holds the cells of those tags; the news that a tag changed kills its cell, and
  with it every copy, at a cost that does not depend on how many there are.
* A copy ends with the ttl of its entry, counted from what the server said was left of it.

* Where tracking is forbidden (`via="pubsub"`), whoever changes an entry says so on a channel, on every node,
  before the change counts as done; the rest is the same. What changes without a word (FLUSHALL, a key removed
  by hand, a process killed between the two) is then not heard of.

Not promised: that time goes on while the machine sleeps. A suspended laptop may serve for up to
`max_staleness` after it wakes what it knew before.

Written by hand and without a twin: threads and tasks of any event loop share one map, and only the hub's
thread tells it news. What is served must not be changed by who gets it; see `isolation.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakValueDictionary

from holdfast._wire.hub_ledger import AnyHub, AnyTracking, Waker
from holdfast._wire.mutex import MUTEX
from holdfast.cache.options import L1
from holdfast.cache.shelf import Node, Shelf
from holdfast.durations import seconds
from holdfast.sizes import size

NEVER = float("-inf")
CHECKS = 4  # proofs within max_staleness


class Cell:
    """What is known of one tag: its version, until it changes."""

    __slots__ = ("__weakref__", "alive", "version")

    def __init__(self, version: bytes) -> None:
        self.version = version
        self.alive = True


class Copy(Node):
    """A copy of one entry, good until the monotonic time `until`. `open()` makes a value of its own."""

    __slots__ = ("cells", "open", "shape", "until", "value")

    def __init__(
        self,
        key: str,
        weight: int,
        shape: Any,
        value: Any,
        until: float,
        cells: tuple[Cell, ...],
        open: Callable[[], Any] | None,
    ) -> None:
        super().__init__(key, weight)
        self.shape = shape
        self.value = value
        self.until = until
        self.cells = cells
        self.open = open


class Ticket:
    """The right to keep what was read since; torn up by any change of the entry. Readers share it."""

    __slots__ = ("epoch", "is_used", "tags")

    def __init__(self, epoch: int, tags: int) -> None:
        self.is_used = False
        self.epoch = epoch
        self.tags = tags


class _Counts(Protocol):
    l1_invalidations: int
    l1_resets: int


class Near:
    """See the file's docstring. `prefix` is what the keys of the cache start with, `{` included; `channel` is
    where changes are told if the options say so.
    """

    def __init__(self, options: L1, prefix: str, channel: str, counts: _Counts) -> None:
        bound = None if options.max_bytes is None else size(options.max_bytes)
        self.shelf: Shelf[Copy] = Shelf(options.max_entries, bound)
        self.nodes = self.shelf.nodes
        self.max_staleness = seconds(options.max_staleness, zero=True)
        self.trusted_until = NEVER  # a lower bound, so that a hit asks nobody
        self.hears = False
        self.was_awaited = False  # has a first reader waited until it hears?
        self._awaiting: list[Waker] = []
        self.cells: WeakValueDictionary[str, Cell] = WeakValueDictionary()
        self._prefix = prefix.encode()
        self._pending: dict[str, Ticket] = {}
        self._epoch = 0  # changes whenever all is lost
        self._tags = 0  # changes with every change of a tag
        self._counts = counts
        self._tracking: AnyTracking | None = None
        self.channel = channel if options.via == "pubsub" else ""

    # --- reading, from any thread ---------------------------------------------------------------------------

    def trusts(self, now: float) -> bool:
        """May copies be served at `now`?"""
        if now < self.trusted_until:
            return True
        tracking = self._tracking
        if tracking is None or not self.hears:
            return False
        epoch = self._epoch
        until = tracking.as_of + self.max_staleness
        with MUTEX:
            if self.hears and epoch == self._epoch:
                self.trusted_until = until
                return now < until
        return False

    @staticmethod
    def are_alive(cells: tuple[Cell, ...]) -> bool:
        """Has none of the tags changed?"""
        for cell in cells:  # noqa: SIM110 (part of every hit with tags: faster than all())
            if not cell.alive:
                return False
        return True

    def why_not(self) -> str:
        """Why copies may not be served now: one word for counting."""
        if self._tracking is None or not self.hears:
            refused = self._tracking is not None and self._tracking.is_refused
            return "refused" if refused else "deaf"
        return "outdated"

    def listen(self, hub: AnyHub) -> None:
        """Begin to hear of changes, if that has not been asked for. Raises: Closed."""
        if self._tracking is None and self.max_staleness > 0:
            with MUTEX:
                if self._tracking is None:
                    every = min(0.5, self.max_staleness / CHECKS)
                    self._tracking = hub.track(self._prefix.decode(), self, every, self.channel)

    def tell_when_heard(self, signal: Waker) -> None:
        """Fire `signal` once changes are heard of."""
        with MUTEX:
            self._awaiting.append(signal)
            heard = self.hears
        if heard:
            signal.fire()

    def begin(self, key: str) -> Ticket | None:
        """A ticket for what is read from now on under `key`; None while nothing may be kept."""
        if not self.hears:
            return None
        found = self._pending.get(key)
        if found is None:
            with MUTEX:
                if not self.hears:
                    return None
                found = self._pending.setdefault(key, Ticket(self._epoch, self._tags))
        return found

    def keep(self, copy: Copy, ticket: Ticket) -> bool:
        """Keep `copy`, which was read with `ticket`; False if something has changed since."""
        with MUTEX:
            if self._pending.get(copy.key) is not ticket or ticket.epoch != self._epoch:
                return False
            del self._pending[copy.key]
            ticket.is_used = True
            if copy.cells and not self.are_alive(copy.cells):
                return False
            self.shelf.put(copy)
            return True

    def give_up(self, key: str, ticket: Ticket) -> None:
        """Nothing is kept of what was read with `ticket`."""
        with MUTEX:
            if self._pending.get(key) is ticket:
                del self._pending[key]

    def cell(self, tag: str, version: bytes, ticket: Ticket) -> Cell | None:
        """The cell of `tag`, whose `version` was read with `ticket`; None if some tag has changed since."""
        with MUTEX:
            if ticket.tags != self._tags or ticket.epoch != self._epoch:
                return None
            cell = self.cells.get(tag)
            if cell is None or cell.version != version:
                if cell is not None:
                    cell.alive = False
                cell = self.cells[tag] = Cell(version)
            return cell

    def forget(self, key: str) -> None:
        """This process changes the entry `key`: no copy, and nothing that is being read, is worth keeping."""
        with MUTEX:
            self._pending.pop(key, None)
            self.shelf.discard(key)

    def forget_tag(self, tag: str) -> None:
        """This process changes `tag`."""
        with MUTEX:
            self._tags += 1
            cell = self.cells.pop(tag, None)
            if cell is not None:
                cell.alive = False

    def forget_all(self) -> None:
        """No copy is worth keeping."""
        with MUTEX:
            self._epoch += 1
            self._pending.clear()
            self.cells.clear()
            gone = self.shelf.clear()
            self._counts.l1_resets += 1
        del gone  # not before: to free a user's values may take long, and call anything

    def close(self) -> None:
        """Hear no more."""
        tracking, self._tracking = self._tracking, None
        self.lost()
        if tracking is not None:
            tracking.close()

    # --- news, from the hub's thread ------------------------------------------------------------------------

    def invalidated(self, keys: list[bytes] | None) -> None:
        """These keys have changed; None: all of them."""
        if keys is None:
            self.forget_all()
            return
        start = len(self._prefix)
        for key in keys:
            head, _, part = key[start:].decode(errors="surrogateescape").rpartition("}")
            tag = head.rpartition("{")[2]  # what is written behind has its partition in braces before it
            if part == "" or part.startswith(":s"):
                self.forget(tag)
                self._counts.l1_invalidations += 1
            elif part == ":e":
                self.forget_all()
            elif part.startswith(":t:"):
                self.forget_tag(part[3:])

    def lost(self) -> None:
        """Nothing is heard any more."""
        with MUTEX:
            self.hears = False
            self.trusted_until = NEVER
        self.forget_all()

    def found(self) -> None:
        """Everything is heard, from now on."""
        with MUTEX:
            self._epoch += 1
            self._pending.clear()
            self.hears = True
            awaiting, self._awaiting = self._awaiting, []
        for signal in awaiting:
            signal.fire()
