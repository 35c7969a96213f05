# Generated from _subscription_async.py by tools/unasync.py. Do not edit.
"""Subscription: the messages of a topic, as one subscriber gets them. What is promised: rules.py."""

from __future__ import annotations

import os
import random
import weakref
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from holdfast._compat import Signal, sleep, monotonic
from holdfast._coord.backoff import rest
from holdfast._wire.hub_ledger import AnyWatch, State
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import Closed, ConfigurationError, NoPermission, Unavailable
from holdfast.topics import rules
from holdfast.topics._desk_sync import Desk
from holdfast.topics.flavour import Walk
from holdfast.topics.inbox import Inbox, Item, Turn
from holdfast.topics.options import Gap, Listening, SlowSubscriber, TopicMessage
from holdfast.topics.rules import Position

T = TypeVar("T")

LONGEST = 1_000_000.0  # seconds; what "for ever" is to a timer
LOOKS = 0.05  # seconds between two looks at whether a plain subscription stands


class Subscription(Walk[T], Generic[T]):
    """The messages of a topic, for one reader: walk over it, or call `get`.

        with topic.subscribe() as messages:
            for message in messages: ...

    It begins when it is entered, or with the first message that is asked for, and ends with `close`, or with
    the client; then the loop ends.
    """

    def __init__(self, desk: Desk, at: Position | None, listening: Listening) -> None:
        self._desk = desk
        self._listening = listening
        self._from = at
        self._inbox: Inbox | None = None
        self._signal: Signal | None = None
        self._watch: AnyWatch | None = None
        self._forgotten: weakref.finalize[Any, Any] | None = None
        self._pid = 0
        self._closed = self._is_read = False

    @property
    def position(self) -> str:
        """The place behind what was got last: where a later `subscribe(after=...)` goes on. "" in a plain
        topic, and as long as nobody knows where it begins.
        """
        if self._desk.options.is_plain:
            return ""
        at = self._from if self._inbox is None else self._inbox.at
        return at.text if at else ""

    def get(self, timeout: Duration | None = "30s") -> TopicMessage[T] | Gap | None:
        """The next message, or None if there is none within `timeout` (None: wait for ever).

        Raises: SlowSubscriber, with on_full="close"; Closed; NoPermission, where nothing may be read;
        Unavailable, if it is the first call and the server is away.
        """
        patience = optional_seconds(timeout, "timeout", zero=True)
        return self._next(monotonic() + (LONGEST if patience is None else patience))

    def close(self) -> None:
        """Listen no more, and end the loop of whoever reads; from any thread; may be repeated."""
        self._closed = True
        self._leave()
        signal = self._signal
        if signal is not None:
            signal.fire()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the beginning --------------------------------------------------------------------------------------

    def _begin(self) -> Inbox:
        """Listen, if we do not yet, in this process. Raises: Closed, Unavailable, NoPermission."""
        self._check_open()
        if self._inbox is not None and self._pid == os.getpid():
            return self._inbox
        desk, options = self._desk, self._desk.options
        at = self._from if self._inbox is None else self._inbox.at
        self._signal = Signal()
        inbox = Inbox(self._signal, self._listening, desk.counters, history=options.history, at=at)
        self._watch = watch = desk.wire.hub.listen(desk.channel, inbox)
        try:
            if options.is_plain:
                self._wait_until_on(inbox, watch)
            elif at is None:
                inbox.at = desk.position()
        except BaseException:
            watch.close()
            raise
        self._inbox, self._pid = inbox, os.getpid()
        desk.counters.subscribers += 1
        self._forgotten = weakref.finalize(self, _leave, desk, watch)
        self._forgotten.atexit = False
        if self._closed:  # meanwhile: there was nothing to leave yet
            self._leave()
        return inbox

    def _check_open(self) -> None:
        """Raises: Closed."""
        if self._closed or self._desk.wire.is_closed:
            raise Closed(f"this subscription of topic {self._desk.name!r} was closed")

    def _wait_until_on(self, inbox: Inbox, watch: AnyWatch) -> None:
        """A plain topic begins when everything is heard. Raises: Unavailable, NoPermission."""
        wire = self._desk.wire
        give_up = monotonic() + wire.timeout
        signal = cast(Signal, self._signal)
        while watch.state is not State.ON or not inbox.era:
            if watch.state is State.REFUSED:
                raise NoPermission(
                    f"this user may not subscribe to {self._desk.channel}, and a topic without a history is "
                    f"nothing but that: ACL SETUSER ... &{self._desk.channel} +ssubscribe +sunsubscribe",
                    code="NOPERM",
                )
            self._check_open()
            if (left := give_up - monotonic()) <= 0:
                raise Unavailable(f"{wire.name} has not confirmed a subscription within {wire.timeout:.3g} s")
            signal.clear()
            inbox.hush()
            signal.wait(min(left, LOOKS))
        inbox.begun()

    def _leave(self) -> None:
        forgotten = self._forgotten
        if forgotten is not None:
            forgotten()

    # --- what comes next ------------------------------------------------------------------------------------

    def _next(self, give_up: float) -> TopicMessage[T] | Gap | None:
        """What comes next; None if nothing does until `give_up` (monotonic)."""
        if self._is_read:
            raise ConfigurationError(
                f"topic {self._desk.name!r}: a subscription has one reader at a time; subscribe once for each"
            )
        self._is_read = True
        try:
            return self._read(give_up)
        finally:
            self._is_read = False

    def _read(self, give_up: float) -> TopicMessage[T] | Gap | None:
        desk, failures = self._desk, 0
        while True:
            inbox = self._begin()
            signal = cast(Signal, self._signal)
            signal.clear()
            inbox.hush()
            self._check_open()  # after the signal was cleared: whoever closes from now on sets it again
            found = inbox.take()
            if isinstance(found, Item):
                desk.counters.delivered += 1
                message = desk.message(found)
                return message if isinstance(message, TopicMessage) else desk.told(message)
            if isinstance(found, Gap):
                return desk.told(found)
            if found is Turn.CLOSE:
                self.close()
                raise SlowSubscriber(
                    f"topic {desk.name!r}: more than queue={self._listening.queue} messages were waiting",
                    position=self.position,
                )
            if found is Turn.LOOK:
                if self._look(inbox, give_up, failures):
                    failures = 0
                    continue
                failures += 1
            elif gap := self._gap_of_plain(inbox):
                return desk.told(gap)
            left = give_up - monotonic()
            if left <= 0:
                return None
            if found is None:
                self._wait(inbox, signal, left)

    def _look(self, inbox: Inbox, give_up: float, failures: int) -> bool:
        """Read what is missing from the history; False, after a rest, if the server is away."""
        at, era = inbox.asked()
        timeout = min(self._desk.wire.timeout, max(rules.LEAST, give_up - monotonic()))
        try:
            page = self._desk.look(at, rules.PAGE, timeout)
        except Closed:
            raise
        except Unavailable:
            left = max(0.0, give_up - monotonic())
            sleep(min(rest(failures, random.random()), left))
            return False
        self._desk.counters.recovered += inbox.learn(page, era)
        return True

    def _wait(self, inbox: Inbox, signal: Signal, left: float) -> None:
        """Wait until something is heard; look now and then while nothing can be."""
        watch = self._watch
        if self._desk.options.is_plain or (watch is not None and watch.state is State.ON):
            signal.wait(min(left, LONGEST))
            return
        if watch is not None and watch.state is State.REFUSED:
            self._desk.warn()
        pause = rules.POLL * (0.75 + random.random() / 2)
        if not signal.wait(min(left, pause)) and left > pause:
            inbox.fire()

    def _gap_of_plain(self, inbox: Inbox) -> Gap | None:
        """Of a plain topic: there was no connection for a while, and there is one again."""
        watch = self._watch
        if self._desk.options.is_plain and watch is not None and watch.state is State.ON:
            return inbox.reconnected()
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._desk.name!r}, position={self.position!r})"


def _leave(desk: Desk, watch: AnyWatch) -> None:
    desk.counters.subscribers -= 1
    watch.close()
