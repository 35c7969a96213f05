"""The recorders of the library `eventsourcing`, on Redis or Valkey.

Promised
* `insert_events` records all of its events or none, and an event that exists (same originator, same version)
  is an IntegrityError. A reply that is lost and a request that is repeated by the client change nothing: who
  has recorded is told so, and never that he conflicts with himself.
* Notification ids are 1, 2, 3, ... in the order of commits, without a hole: a reader that has seen id n will
  never find anything new below it. What one call records has consecutive ids.
* A position of another log is recorded together with the events that came of it (`insert_events(...,
  tracking=)`), or with the commands that came of it (`apply`), and only if it is greater than the last one.
* A subscription misses nothing, and is told of new events by a push.

Not promised
* More than one primary's worth of writes for one application: its keys share a slot of a Cluster. Another
  application is in another slot.
* That a primary which dies has told its replicas: give the datastore a `durability`. A write that then
  raises OperationalError may exist nevertheless.
* Any end: nothing is trimmed. An entry that somebody deletes from the log makes `select_events` raise.
* More than MOST_EVENTS events in one call: it is refused, since in pieces it would not be atomic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any, Final
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DatabaseError,
    DataError,
    IntegrityError,
    Notification,
    ProcessRecorder,
    ProgrammingError,
    StoredEvent,
    Tracking,
    TrackingRecorder,
    WaitInterruptedError,
)

from holdfast._compat import Signal, monotonic
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg
from holdfast.contrib.eventsourcing.datastore import HoldfastDatastore
from holdfast.contrib.eventsourcing.subscription import HoldfastSubscription

APPEND = Script.load(__package__, "append")
SELECT = Script.load(__package__, "select")
NOTIFICATIONS = Script.load(__package__, "notifications")
TRACK = Script.load(__package__, "track")

MOST_EVENTS: Final = 10_000  # in one call: while a script runs, the server serves nobody else
_MOST_WORDS: Final = 1000  # of one command of `apply`
_PAGE: Final = 1000  # events in one answer
_LARGEST: Final = 1 << 53  # what Lua and sorted sets count to without error
_SAFETY: Final = 2.0  # seconds after which who waits looks, although nothing was heard
_BLINK: Final = 0.1  # seconds between two looks at `interrupt`


class HoldfastRecorder:
    """What all recorders have: a datastore."""

    def __init__(self, datastore: HoldfastDatastore) -> None:
        self.datastore = datastore

    def create_table(self) -> None:
        """Nothing: there are no tables. The library's recorders have it, so their users may call it."""


class HoldfastAggregateRecorder(HoldfastRecorder, AggregateRecorder):
    """Records events of aggregates; `purpose` keeps snapshots apart from events."""

    def __init__(self, datastore: HoldfastDatastore, purpose: str = "events") -> None:
        super().__init__(datastore)
        self._log = datastore.key(purpose)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Record `stored_events`, all or none.

        Raises: IntegrityError if one of them exists; DataError; ProgrammingError if they are more than
        MOST_EVENTS; OperationalError if there was no answer: they may be recorded, and are if one of them is.
        """
        self._insert(stored_events, **kwargs)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of `originator_id`, in the order of versions. Raises: OperationalError."""
        low = "-inf" if gt is None else f"({gt}"
        high = "+inf" if lte is None else f"{lte}"
        found: list[StoredEvent] = []
        while limit is None or len(found) < limit:
            count = _PAGE if limit is None else min(_PAGE, limit - len(found))
            bounds = (high, low) if desc else (low, high)
            keys = (self._log, self._index(str(originator_id)))
            more, page = self.datastore.read(SELECT, keys, ("REV" if desc else "", *bounds, count))
            if more < 0:
                raise DatabaseError(f"event {int(page)} of {originator_id} is gone from {self._log}")
            for version, topic, state in page:
                found.append(StoredEvent(originator_id, int(version), topic.decode(), state))
            if not more and len(page) < count:
                break
            edge = f"({found[-1].originator_version}"
            low, high = (low, edge) if desc else (edge, high)
        return found

    def _insert(self, events: Sequence[StoredEvent], tracking: Tracking | None = None, **_: Any) -> list[int]:
        """Record `events` and `tracking`; returns the notification ids."""
        if not events and tracking is None:
            return []
        if len(events) > MOST_EVENTS:
            raise ProgrammingError(
                f"{len(events)} events in one call are more than {MOST_EVENTS}, and in pieces they would not "
                "be recorded all or none; call insert_events more than once"
            )
        originators: dict[str, tuple[int, str]] = {}
        told: list[Arg] = []
        for event in events:
            text, kind = str(event.originator_id), "uuid" if isinstance(event.originator_id, UUID) else "id"
            which, _kind = originators.setdefault(text, (len(originators) + 1, kind))
            told += (which, _number(event.originator_version), event.topic, event.state)
        if len({*zip(told[::4], told[1::4], strict=True)}) < len(events):
            raise IntegrityError(f"the same version of an aggregate twice in {events!r}")
        datastore = self.datastore
        indexes = [self._index(text) for text in originators]
        keys = (self._log, datastore.request(), datastore.key("tracking"), *indexes)
        position = ("", "") if tracking is None else _tracked(tracking)
        kinds = [word for text, (_which, kind) in originators.items() for word in (kind, text)]
        args = (datastore.remember_ms, *position, len(originators), *kinds, *told)
        done, number = datastore.write(APPEND, keys, args)
        if not done and not number:
            raise _processed(tracking)
        if not done:
            raise IntegrityError(f"stored event already recorded: {events[number - 1]!r}")
        return list(range(number - len(events) + 1, number + 1))

    def _index(self, originator: str) -> str:
        return f"{self._log}:of:{originator}"


class HoldfastApplicationRecorder(HoldfastAggregateRecorder, ApplicationRecorder):
    """Records events of aggregates, and numbers them for whoever follows the application."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Record `stored_events`, all or none; returns their notification ids.

        Raises: as HoldfastAggregateRecorder.
        """
        return self._insert(stored_events, **kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """At most `limit` notifications from `start` to `stop`, in order. Raises: OperationalError."""
        first = (start or 0) + (not inclusive_of_start)
        found: list[Notification] = []
        for _seen, page in self.pages(first, limit, stop, topics):
            found += page
        return found

    def pages(
        self, first: int, limit: int, stop: int | None = None, topics: Sequence[str] = ()
    ) -> Iterator[tuple[int, list[Notification]]]:
        """The same from `first`, page by page, each with the last id that was looked at."""
        more, first = 1, max(1, first)
        to = "+" if stop is None else max(0, stop)
        while more and limit > 0 and (stop is None or first <= stop):
            args = (first, to, min(limit, _PAGE), *topics)
            more, seen, page = self.datastore.read(NOTIFICATIONS, (self._log,), args)
            limit -= len(page)
            first = seen + 1
            yield seen, [_notification(*fields) for fields in page]

    def max_notification_id(self) -> int | None:
        """The id of the last notification; None if there is none. Raises: OperationalError."""
        last: Any = self.datastore.ask("XREVRANGE", self._log, "+", "-", "COUNT", 1)
        return _position(last[0][0]) if last else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> HoldfastSubscription:
        """Every notification after `gt`, those to come included; a context manager and an iterator."""
        return HoldfastSubscription(self, gt, topics)

    def watch(self, signal: Signal) -> Any:
        """Fire `signal` whenever something was recorded, until what this returns is closed."""
        return self.datastore.watch(self._log, signal)


class HoldfastTrackingRecorder(HoldfastRecorder, TrackingRecorder):
    """Records how far logs of other applications have been processed. Subclass it for a read model:

    class Counters(HoldfastTrackingRecorder):
        def count(self, tracking):
            self.apply(tracking, [("HINCRBY", self.key("counters"), "orders", 1)])

    The position and the commands are one script: neither is ever there without the other.
    """

    def insert_tracking(self, tracking: Tracking) -> None:
        """Record `tracking`.

        Raises: IntegrityError unless it is greater than the last one of its application; OperationalError.
        """
        self.apply(tracking, ())

    def apply(self, tracking: Tracking, commands: Sequence[Sequence[Arg]]) -> None:
        """Record `tracking` and execute `commands` with it: a name, one key made by `key`, arguments.

        Nothing is undone when the server refuses a command, as Redis never does; then the position is not
        recorded, and those before it are done.
        Raises: IntegrityError, as `insert_tracking`: no command was executed; ProgrammingError for a command
        that has no key or too many words; DatabaseError if the server refused one; OperationalError.
        """
        keys: dict[Arg, int] = {}
        words: list[Arg] = []
        for command in commands:
            if not 2 <= len(command) <= _MOST_WORDS:
                raise ProgrammingError(
                    f"{command!r:.80} has {len(command)} words; a name, a key and arguments are 2 to "
                    f"{_MOST_WORDS}"
                )
            name, key, *arguments = command
            words += (len(command), name, keys.setdefault(key, len(keys) + 1), *arguments)
        datastore = self.datastore
        told = (datastore.remember_ms, *_tracked(tracking), *words)
        names = (datastore.key("tracking"), datastore.request(), *map(str, keys))
        if not datastore.write(TRACK, names, told):
            raise _processed(tracking)

    def key(self, name: str) -> str:
        """A key for `apply`, in the slot of this application."""
        return self.datastore.key("view", f":{name}")

    def max_tracking_id(self, application_name: str) -> int | None:
        """The last notification id of `application_name` that was processed. Raises: OperationalError."""
        found: Any = self.datastore.ask("HGET", self.datastore.key("tracking"), application_name)
        return None if found is None else int(found)

    def wait(
        self,
        application_name: str,
        notification_id: int | None,
        timeout: float = 1.0,
        interrupt: Event | None = None,
    ) -> None:
        """Wait until `notification_id` has been processed, for `timeout` seconds; a push ends the wait.

        Raises: TimeoutError; WaitInterruptedError once `interrupt` is set; OperationalError.
        """
        signal, deadline = Signal(), monotonic() + timeout
        with self.datastore.watch(self.datastore.key("tracking"), signal):
            while True:
                signal.clear()
                if self.has_tracking_id(application_name, notification_id):
                    return
                look = min(deadline, monotonic() + _SAFETY)
                while not signal.wait(max(0.0, min(_BLINK if interrupt else _SAFETY, look - monotonic()))):
                    if interrupt and interrupt.is_set():
                        raise WaitInterruptedError
                    if monotonic() >= look:
                        break
                if monotonic() >= deadline and not self.has_tracking_id(application_name, notification_id):
                    raise TimeoutError(
                        f"notification {notification_id} of {application_name!r} was not processed within "
                        f"{timeout} s"
                    )


class HoldfastProcessRecorder(HoldfastTrackingRecorder, HoldfastApplicationRecorder, ProcessRecorder):
    """Records events together with the position in another log that they came of."""

    def __init__(self, datastore: HoldfastDatastore, purpose: str = "events") -> None:
        HoldfastApplicationRecorder.__init__(self, datastore, purpose)


def _number(number: int) -> int:
    if not -_LARGEST < number < _LARGEST:
        raise DataError(f"{number} is not within 2**53, as versions and positions must be")
    return number


def _tracked(tracking: Tracking) -> tuple[str, int]:
    return tracking.application_name, _number(tracking.notification_id)


def _position(entry: bytes) -> int:
    return int(entry[2:])  # "0-<position>"


def _notification(
    number: bytes, kind: bytes, originator: bytes, version: bytes, topic: bytes, state: bytes
) -> Notification:
    text = originator.decode()
    return Notification(
        originator_id=UUID(text) if kind == b"uuid" else text,
        originator_version=int(version),
        topic=topic.decode(),
        state=state,
        id=int(number),
    )


def _processed(tracking: Tracking | None) -> IntegrityError:
    return IntegrityError(f"{tracking!r} is not greater than what has been processed already")
