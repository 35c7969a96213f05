"""What one subscriber has heard and not read yet, and how far it has come.

The hub's thread writes (`fire`, `heard`), the subscriber reads (`take`), the process's mutex guards it. There
is no I/O here: where only the history can say how it goes on, `take` says Turn.LOOK, and `learn` is told what
was found.

Eras. Whenever something may have been missed, a new era begins (`fire`). What was heard in the era of the
last look follows on what is known, so it is delivered by its number. What was heard in a later one may not:
then the history is read first, as it is at a moment of that era, and what was heard in eras before is
dropped, since it was read.

It must not refer to the client: the hub's thread holds it, and a client that is forgotten shall end.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import NamedTuple

from holdfast._wire.hub_ledger import Waker
from holdfast._wire.mutex import MUTEX
from holdfast.topics import rules
from holdfast.topics.options import Counters, Gap, Listening
from holdfast.topics.rules import START, Page, Position

ENDED = 16  # epochs: more beginnings anew than that are not under way at once


class Turn(enum.Enum):
    """What the reader has to do."""

    LOOK = "read the history"
    CLOSE = "the subscriber was too slow"


class Item(NamedTuple):
    """A message. `at` None: of a plain topic."""

    body: bytes
    at: Position | None
    era: int = 0
    hole: int = 0  # this many messages were dropped in its place; it is none itself


class Inbox:
    """See the file's docstring. A Listener of the hub."""

    def __init__(
        self, signal: Waker, listening: Listening, counters: Counters, *, history: int, at: Position | None
    ) -> None:
        self.at = at or START
        self.era = 0
        self._signal = signal
        self._rung = False
        self._listening = listening
        self._counters = counters
        self._history = history
        self._queue: deque[Item] = deque()
        self._ready: deque[Item] = deque()  # read from the history
        self._seen = 0 if at is None else -1  # the era up to which the history was read
        self._sought: Item | None = None  # what does not follow: the history was asked about it,
        self._barren = False  # and knows nothing of it
        self._gap: Gap | None = None
        self._ended: deque[str] = deque(maxlen=ENDED)  # epochs before ours; what is heard of them is too late
        self._dropped: Item | None = None  # the last one that was dropped from the head of the queue
        self._slow = False

    # --- the hub's thread -----------------------------------------------------------------------------------

    def fire(self) -> None:
        """Something may have been missed."""
        with MUTEX:
            self.era += 1
        self._ring()

    def heard(self, payload: bytes) -> None:
        """This was said."""
        found = rules.unpack(payload) if self._history else (None, payload)
        with MUTEX:
            if found is None:
                self._counters.unreadable += 1
                return
            item = Item(found[1], found[0], self.era)
            if len(self._queue) < self._listening.queue or self._make_room(item):
                self._queue.append(item)
        self._ring()

    def _make_room(self, item: Item) -> bool:
        """The queue is full: may `item` still come?"""
        how = self._listening.on_full
        if how == "catch_up":
            self._counters.deferred += 1
            self.era += 1
            return False
        if how == "close":
            self._slow = True
            return False
        self._counters.dropped += 1
        if how == "drop_oldest":
            gone, before = self._queue.popleft(), self._dropped
            self._dropped = gone._replace(hole=1 + (before.hole if before else 0))
            return True
        # The hole stands behind the queue, as one item however many are dropped there.
        hole = self._queue.pop().hole if self._queue[-1].hole else 0
        self._queue.append(item._replace(hole=hole + 1))
        return False

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            self._signal.fire()

    # --- the reader -----------------------------------------------------------------------------------------

    def hush(self) -> None:
        """Called before `take`, with the signal cleared, so that no later ring is lost."""
        self._rung = False

    def take(self) -> Item | Gap | Turn | None:
        """What comes next; None if that is still to come."""
        with MUTEX:
            if self._slow:
                return Turn.CLOSE
            if self._gap is not None:
                gap, self._gap = self._gap, None
                return gap
            return self._take_plain() if not self._history else self._take()

    def _take_plain(self) -> Item | Gap | None:
        if self._dropped is not None:
            dropped, self._dropped = self._dropped, None
            return Gap("slow", dropped.hole)
        if not self._queue:
            return None
        if self._queue[0].era != self._seen:
            return self.reconnected()
        item = self._queue.popleft()
        return Gap("slow", item.hole) if item.hole else item

    def reconnected(self) -> Gap | None:
        """Of a plain topic: what was said while there was no connection, if there was none, is missing."""
        with MUTEX:
            era = self._queue[0].era if self._queue else self.era
            told, self._seen = self._seen == era, era
            return None if told else Gap("disconnected")

    def begun(self) -> None:
        """Of a plain topic: from here on everything is heard."""
        with MUTEX:
            self._seen = self.era

    def _take(self) -> Item | Gap | Turn | None:
        if self._dropped is not None:
            dropped, self._dropped = self._dropped, None
            if self._is_ours(dropped) and not self._is_known(dropped):
                gap = self._skip(dropped)
                while self._ready and self._is_known(self._ready[0]):
                    self._ready.popleft()
                return gap
        if self._ready:
            return self._in_turn(self._ready)
        while self._queue or self.era != self._seen:
            era = self._queue[0].era if self._queue else self.era
            if era > self._seen:
                return Turn.LOOK
            head = self._queue[0]
            if head.era < self._seen or self._is_known(head):
                self._queue.popleft()
            elif head.hole and self._is_ours(head):
                return self._skip(self._queue.popleft())
            elif not head.hole and self._follows(head):
                return self._in_turn(self._queue)
            elif head is self._sought and self._barren:
                self._queue.popleft()  # nobody but us has it: it was lost in a failover
            else:
                self._sought, self._barren = head, False
                return Turn.LOOK
        return None

    def _is_known(self, item: Item) -> bool:
        at = _place(item)
        return at.epoch in self._ended or (at.epoch == self.at.epoch and at.offset <= self.at.offset)

    def _is_ours(self, item: Item) -> bool:
        return self.at.epoch in (_place(item).epoch, START.epoch)  # whatever begins first follows on nothing

    def _follows(self, item: Item) -> bool:
        return self._is_ours(item) and _place(item).offset == self.at.offset + 1

    def _in_turn(self, items: deque[Item]) -> Item | Gap:
        at, known = _place(items[0]), self.at
        missed = at.offset - known.offset - 1
        if missed:
            self.at = Position(at.epoch, 0, at.offset - 1)
            return Gap("trimmed", missed, self.at.text)
        self.at = at
        return items.popleft()

    def _skip(self, hole: Item) -> Gap:
        """Go on behind what was dropped."""
        known, self.at = self.at, _place(hole)
        return Gap("slow", self.at.offset - known.offset, self.at.text)

    def asked(self) -> tuple[Position, int]:
        """What to look for in the history: what is behind this position; to be told to `learn` with it."""
        with MUTEX:
            return self.at, self.era

    def learn(self, found: Page, era: int) -> int:
        """What a look has found, that was asked for in `era`; how many messages that are."""
        with MUTEX:
            known = rules.resume(self.at, found, self._history)
            if known.at.epoch != self.at.epoch:
                self._ended.append(self.at.epoch)
                # Nobody knows what of all this was said before that look, and what after it: look again.
                self._queue.clear()
                self.era += 1
            self.at, self._gap = known.at, known.gap
            self._barren = not known.messages and known.gap is None
            self._ready.extend(Item(body, at, era) for at, body in known.messages)
            if known.done:
                self._seen = era
            return len(known.messages)


def _place(item: Item) -> Position:
    assert item.at is not None
    return item.at
