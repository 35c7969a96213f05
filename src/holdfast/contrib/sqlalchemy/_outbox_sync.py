# Generated from _outbox_async.py by tools/unasync.py. Do not edit.
"""StreamRelay: publishes what stands in an outbox for streams.

Promised
* What was committed is published, whoever dies when: a row is deleted after its stream has confirmed it, in
  the transaction that locked it.
* Once: a row is published under a dedup id of its own, which the stream remembers for `remembered`. So a row
  that is published again (a relay died in between, a reply was lost) adds nothing.
* Messages of one key in the order of their rows. A message that cannot be published is tried again after 0.1
  to 10 s; until then those of its key wait, and no others. It is never given up.

How: one relay at a time works on a stream. It locks the oldest rows; another that finds one of them locked
takes only what is before it. So nobody overtakes. A relay that is frozen in the middle loses its transaction
after FROZEN seconds (PostgreSQL), and what it publishes when it thaws is known already. Where a database has
no row locks (SQLite), two relays publish the same rows, in the same order, and the second one adds nothing.
Never is anything read by `id > last`: numbers are given before the commit, so a smaller one may come later.

Not promised: once, if a relay dies between publishing and deleting, and for the time of `remembered` none
runs. Give consumers an Inbox if that must not matter.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Final

import msgspec
from sqlalchemy import delete, select, text

from holdfast._compat import Signal, sleep, monotonic
from holdfast._coord.background import Background
from holdfast.contrib.ledger import backoff
from holdfast.contrib.sqlalchemy._pairs import Connection, Engine
from holdfast.contrib.sqlalchemy.outbox import Outbox
from holdfast.contrib.sqlalchemy.outbox_letters import (
    PUBLISH,
    Letter,
    Resting,
    bell_of,
    letter_of,
    topic_of,
)
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, HoldfastError, NoPermission, OutOfMemory, ReadOnly, Refused
from holdfast.streams import rules
from holdfast.streams._stream_sync import Stream
from holdfast.streams.record import Item

_LOG = logging.getLogger("holdfast.contrib")

FROZEN: Final = 30  # seconds for which a relay may be silent in the middle of its transaction
_MOST_RESTING: Final = 1000  # keys; with more of them it is not the messages that are wrong
_OF_ALL: Final = (OutOfMemory, ReadOnly, NoPermission)  # what the server would say of any message
_BLINK: Final = 0.02  # seconds between two looks whether the background has ended


class _Batch:
    """Rows of one stream that are being published."""

    def __init__(self, stream: Stream[Any], resting: Resting) -> None:
        self.stream = stream
        self.resting = resting
        self.done: list[int] = []  # ids of rows that the stream has confirmed
        self.blocked: set[str] = set()  # keys of which a row could not be published

    def publish(self, rows: list[Any], window_ms: int) -> None:
        """Publish `rows`; `done` tells which, also if this raises what all of them have in common."""
        parts: dict[int, list[tuple[Any, Letter]]] = {}
        unreadable: dict[str, tuple[Any, Exception]] = {}
        for row in rows:
            if row.key in unreadable:
                continue
            try:
                letter = letter_of(row.payload)
                self.stream._desk.layout.parts[letter.partition]
            except (msgspec.MsgspecError, IndexError) as error:
                unreadable[row.key] = (row, error)
            else:
                parts.setdefault(letter.partition, []).append((row, letter))
        for number, pairs in parts.items():
            for first in range(0, len(pairs), rules.CHUNK):
                chunk = pairs[first : first + rules.CHUNK]
                if not self._send(number, chunk, window_ms):  # which of them is it?
                    for pair in chunk:
                        self._send(number, [pair], window_ms)
        for row, cause in unreadable.values():  # at last: what is before them has gone
            self._failed(row, cause)

    def _send(self, number: int, chunk: list[tuple[Any, Letter]], window_ms: int) -> bool:
        """Publish what is not blocked of `chunk`; False if it was refused, and more than one."""
        chunk = [pair for pair in chunk if pair[0].key not in self.blocked]
        if not chunk:
            return True
        desk = self.stream._desk
        items = [Item(letter.when, letter.dedup, letter.fields) for _row, letter in chunk]
        try:
            desk.publish(desk.layout.parts[number], items, window_ms)
        except _OF_ALL:
            raise
        except (Refused, ConfigurationError) as error:
            if len(chunk) > 1:
                return False
            self._failed(chunk[0][0], error)
            return True
        for row, _letter in chunk:
            self.resting.succeeded(row.key)
            self.done.append(row.id)
        return True

    def _failed(self, row: Any, error: Exception) -> None:
        self.blocked.add(row.key)
        attempts = self.resting.failed(row.key, str(error), monotonic(), random.random())
        if attempts & (attempts - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
            told = (row.id, self.stream.name, attempts, error)
            _LOG.warning("row %s of the outbox could not be published to %s, %d times: %s", *told)


class StreamRelay:
    """Publishes the messages that stand in `outbox` to `streams`. What it promises is told above.

    Run as many as you like, in any process that has these streams: in the background from `start` to `close`,
    or `run_once` from a job of your own. Rows of streams that no relay knows stay. `batch`: rows taken at
    once. `poll`: how long until it looks although nothing was heard; right after a commit it is told.
    `remembered`: how long a stream knows what was published.
    """

    group = None

    def __init__(
        self,
        engine: Engine,
        streams: Iterable[Stream[Any]],
        outbox: Outbox | None = None,
        *,
        batch: int = 500,
        poll: Duration = "1s",
        remembered: Duration = "1h",
    ) -> None:
        """Raises: ConfigurationError."""
        self._engine = engine
        self._streams = {topic_of(stream): stream for stream in streams}
        self._table = (Outbox() if outbox is None else outbox).table
        if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= 10_000:
            raise ConfigurationError(f"batch={batch!r} must be a whole number from 1 to 10000")
        self._batch = batch
        self._poll = seconds(poll, "poll")
        self._window_ms = round(seconds(remembered, "remembered") * 1000)
        self._resting = {topic: Resting() for topic in self._streams}
        self._signal: Signal | None = None
        self._background: Background | None = None
        self._closing = False
        self._failure: Exception | None = None
        self.name = f"outbox {self._table.fullname}"

    def run_once(self) -> int:
        """Publish up to one batch for each stream, and return how many rows that was.

        Raises: Unavailable, UnsafeServer, Refused of a stream: its rows stay, those of others are done; what
        the database raises.
        """
        count, trouble = 0, None
        for topic, stream in self._streams.items():
            try:
                count += self._relay(topic, stream)
            except HoldfastError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble
        return count

    @property
    def failing(self) -> Mapping[str, tuple[int, str]]:
        """By topic and key, messages that could not be published: how often, and the last error."""
        return {f"{topic}:{key}": told for topic, one in self._resting.items() for key, told in one.failing()}

    # --- in the background: an Runnable ---------------------------------------------------------------

    def start(self) -> None:
        """Begin, in the background. May be called again after `close`."""
        if not self.alive:
            self._closing, self._failure, self._signal = False, None, Signal()
            self._background = Background(f"holdfast-{self.name}", self._work)

    def close(self, drain: float = 10.0) -> None:
        """End after the batch that is in work, and wait for that, `drain` seconds at most."""
        self._closing = True
        if self._signal is not None:
            self._signal.fire()
        give_up = monotonic() + drain
        while self.alive and monotonic() < give_up:
            sleep(_BLINK)
        if self.alive and self._background is not None:
            self._background.cancel()

    def is_idle(self) -> bool:
        """Does no row stand there for these streams? Raises: what the database raises."""
        table = self._table
        mine = table.c.topic.in_(list(self._streams)), table.c.kind == PUBLISH
        with self._engine.connect() as connection:
            return (connection.execute(select(table.c.id).where(*mine).limit(1))).first() is None

    @property
    def alive(self) -> bool:
        """Does it work in the background?"""
        return self._background is not None and self._background.alive

    @property
    def failure(self) -> Exception | None:
        """Why it gave up: only for what is wrong with its settings."""
        return self._failure

    def _work(self) -> None:
        signal, failures = self._signal, 0
        assert signal is not None
        with ExitStack() as stack:
            for stream in self._streams.values():
                stack.enter_context(stream._desk.wire.hub.watch(bell_of(stream), signal))
            while True:
                signal.clear()
                if self._closing:
                    return
                try:
                    rest = 0.0 if self.run_once() else self._poll
                    failures = 0
                except ConfigurationError as error:
                    self._failure = error
                    return
                except Exception as error:  # noqa: BLE001 (whatever it is, it may pass)
                    failures += 1
                    rest = backoff(failures, random.random())
                    if failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                        _LOG.warning("%s failed %d times in a row: %r", self.name, failures, error)
                if rest:
                    signal.wait(rest)

    # --- one batch of one stream ----------------------------------------------------------------------------

    def _relay(self, topic: str, stream: Stream[Any]) -> int:
        stream._desk.check()
        batch = _Batch(stream, self._resting[topic])
        trouble: HoldfastError | None = None
        with self._engine.begin() as connection:
            rows = self._take(connection, topic)
            try:
                batch.publish(rows, self._window_ms)
            except HoldfastError as error:
                trouble = error  # what was published before it is deleted all the same
            if batch.done:
                connection.execute(delete(self._table).where(self._table.c.id.in_(batch.done)))
        if trouble is not None:
            raise trouble
        return len(batch.done)

    def _take(self, connection: Connection, topic: str) -> list[Any]:
        """Lock the oldest rows of `topic`, up to the first that somebody else has; not those that rest."""
        table = self._table
        resting = self._resting[topic].keys(monotonic())
        if len(resting) >= _MOST_RESTING:
            raise Refused(f"{topic}: the messages of {len(resting)} keys cannot be published; see `failing`")
        oldest = select(table.c.id).where(table.c.topic == topic, table.c.kind == PUBLISH)
        if resting:
            oldest = oldest.where(table.c.key.not_in(resting))
        found = connection.execute(oldest.order_by(table.c.id).limit(self._batch))
        ids = list(found.scalars())
        if not ids:
            return []
        if connection.dialect.name == "postgresql":
            limit = f"SET LOCAL idle_in_transaction_session_timeout = {FROZEN * 1000}"
            connection.execute(text(limit))
        locking = (
            select(table.c.id, table.c.key, table.c.payload)
            .where(table.c.id.in_(ids))
            .with_for_update(skip_locked=True)
        )
        locked = {row.id: row for row in connection.execute(locking)}
        rows: list[Any] = []
        for id in ids:
            if id not in locked:
                break
            rows.append(locked[id])
        return rows
