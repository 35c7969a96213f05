"""The recorder for dynamic consistency boundaries of the library `eventsourcing`, on Redis or Valkey.

Promised: what `append` is given is recorded, all of it or none, and only if no event after `after` matches
the condition at that moment. A request that the client repeats changes nothing. Positions are 1, 2, 3, ... in
the order of commits, without a hole. `read` shows the log as it was when it began: no event up to `head` that
matches is missing, also while others append.

Not promised: as in recorders.py. A condition costs what is after `after` in the shortest of the indexes of
its tags, so give `after`. Each tag and type of an event costs an entry of a sorted set beside the event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
    DCBSubscription,
)
from eventsourcing.persistence import IntegrityError, ProgrammingError

from holdfast._compat import Signal
from holdfast._wire.hub_ledger import AnyWatch
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg
from holdfast.contrib.eventsourcing.datastore import HoldfastDatastore
from holdfast.contrib.eventsourcing.recorders import MOST_EVENTS, HoldfastRecorder
from holdfast.contrib.eventsourcing.subscription import BATCH, Follower

APPEND = Script.load(__package__, "dcb_append")
READ = Script.load(__package__, "dcb_read")

_PAGE: Final = 1000  # events in one answer
_LARGEST: Final = 1 << 53

_Page = tuple[int, bool, int, list[DCBSequencedEvent]]


class HoldfastDCBRecorder(HoldfastRecorder, DCBRecorder):
    """Records events that have tags in place of an aggregate."""

    def __init__(self, datastore: HoldfastDatastore) -> None:
        super().__init__(datastore)
        self._log = datastore.key("dcb")

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        """Record `events` unless `condition` fails; returns the position of the last one.

        Raises: IntegrityError if an event matches the condition; ProgrammingError for no event, or more than
        MOST_EVENTS; OperationalError if there was no answer: they may be recorded.
        """
        if not 1 <= len(events) <= MOST_EVENTS:
            raise ProgrammingError(f"append takes 1 to {MOST_EVENTS} events at once, not {len(events)}")
        indexes = _Indexes(self._log)
        after = 0 if condition is None else condition.after or 0
        items = [] if condition is None else _items(condition.fail_if_events_match, indexes)
        words: list[Arg] = []
        for event in events:
            which = indexes.of(event.tags, (event.type,))
            words += (event.type, event.data, msgspec.msgpack.encode(event.tags), len(which), *which)
        datastore = self.datastore
        told = (datastore.remember_ms, after, len(items), *sum(items, ()), *words)
        position: int = datastore.write(APPEND, (self._log, datastore.request(), *indexes.keys), told)
        if not position:
            raise IntegrityError(condition)
        return position

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> HoldfastDCBResponse:
        """The events after `after` that match `query`, in order, read page by page as they are wanted.

        With a `limit`, `head` is the position of the last of them; else that of the log.
        Raises: OperationalError.
        """
        if limit is not None and limit <= 0:
            return HoldfastDCBResponse(iter(()), None)
        first = self.page(query, after or 0, None, _PAGE if limit is None else limit)
        events = self._go_on(query, first, limit)
        if limit is None:
            return HoldfastDCBResponse(events, first[0] or None)
        found = list(events)
        return HoldfastDCBResponse(iter(found), found[-1].position if found else None)

    def subscribe(
        self, query: DCBQuery | None = None, *, after: int | None = None
    ) -> HoldfastDCBSubscription:
        """Every event after `after` that matches `query`, those to come included."""
        return HoldfastDCBSubscription(self, query, after)

    def watch(self, signal: Signal) -> AnyWatch:
        """Fire `signal` whenever something was recorded, until what this returns is closed."""
        return self.datastore.watch(self._log, signal)

    def page(self, query: DCBQuery | None, after: int, to: int | None, limit: int) -> _Page:
        """The head of the log, whether there may be more, up to where this goes, and the events."""
        indexes = _Indexes(self._log)
        items = _items(query, indexes)
        told = (after, "+inf" if to is None else to, min(limit, _PAGE), len(items), *sum(items, ()))
        head, more, seen, page = self.datastore.read(READ, (self._log, *indexes.keys), told)
        return head, bool(more), seen, [_event(*fields) for fields in page]

    def _go_on(self, query: DCBQuery | None, first: _Page, limit: int | None) -> Iterator[DCBSequencedEvent]:
        """The events of `first`, and those behind it up to its head: what came later is not in the answer."""
        head, more, seen, page = first
        left = _LARGEST if limit is None else limit
        while True:
            yield from page
            left -= len(page)
            if not more or seen >= head or left <= 0:
                return
            _head, more, seen, page = self.page(query, seen, head, left)


class HoldfastDCBResponse(DCBReadResponse):
    """What `read` returns: an iterator of events, and a `head`."""

    def __init__(self, events: Iterator[DCBSequencedEvent], head: int | None) -> None:
        self._events = events
        self._head = head

    @property
    def head(self) -> int | None:
        """The position up to which no event that matches is missing; None if there is none."""
        return self._head

    def __next__(self) -> DCBSequencedEvent:
        return next(self._events)


class HoldfastDCBSubscription(DCBSubscription[HoldfastDCBRecorder]):
    """Iterates over the events that match, and waits for those to come; also while the server is away."""

    def __init__(
        self, recorder: HoldfastDCBRecorder, query: DCBQuery | None = None, after: int | None = None
    ) -> None:
        super().__init__(recorder, query, after)
        self._follower = Follower(recorder.watch)
        self._items = self._follower.follow(self._look)

    def __next__(self) -> DCBSequencedEvent:
        return next(self._items)

    def stop(self) -> None:
        """End the iteration; any thread may call it, and again."""
        super().stop()
        self._follower.stop()

    def _look(self) -> list[DCBSequencedEvent]:
        more, found = True, list[DCBSequencedEvent]()
        while more and not found:
            _head, more, self._last_position, found = self._recorder.page(
                self._query, self._last_position, None, BATCH
            )
        return found


class _Indexes:
    """The indexes that a request names, and the number of each."""

    def __init__(self, log: str) -> None:
        self._log = log
        self.keys: dict[str, int] = {}

    def of(self, tags: Sequence[str], types: Sequence[str]) -> list[int]:
        names = [f"{self._log}:tag:{tag}" for tag in tags] + [f"{self._log}:type:{one}" for one in types]
        return [self.keys.setdefault(name, len(self.keys) + 1) for name in dict.fromkeys(names)]


def _items(query: DCBQuery | None, indexes: _Indexes) -> list[tuple[int, ...]]:
    """`query` as the scripts read it: of each item, the indexes that all, and of which one, must have it."""
    items: list[tuple[int, ...]] = []
    for item in (query and query.items) or [DCBQueryItem()]:
        some: list[Any] = list(dict.fromkeys(item.types))
        if not item.tags and some:  # one index to walk for each type
            items += [(1, *indexes.of((), (one,)), 0) for one in some]
            continue
        all_of, any_of = indexes.of(item.tags, ()), indexes.of((), some)
        items.append((len(all_of), *all_of, len(any_of), *any_of))
    return items


def _event(position: int, kind: bytes, data: bytes, tags: bytes) -> DCBSequencedEvent:
    event = DCBEvent(kind.decode(), data, msgspec.msgpack.decode(tags, type=list[str]))
    return DCBSequencedEvent(event, position)
