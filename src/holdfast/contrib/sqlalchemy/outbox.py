"""The outbox: invalidations and messages as rows, written by the transaction that makes them necessary.

Promised, to a service that has a Relay running somewhere: an invalidation that was collected with an outbox
happens if and only if its transaction commits, whoever dies when. At least once: usually the writer does it
right after its commit, and the relay again.

Promised, to a service that has a StreamRelay running: a message that was added is published if and only if
its transaction commits; once, see _outbox_async.py. Messages of one key are published in the order in which
they were added, by transactions of which one had committed when the other began. Of two that overlap, that of
their commits, or that in which they were added: whoever needs more locks a row for the key first.

How it holds: the rows are inserted before COMMIT, in the same transaction, inside of the savepoint that the
changes are in. A relay deletes a row after the cache or the stream has confirmed it.

What a row says, and how others may share the table, stands in ../rows.py and outbox_letters.py.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    event,
    func,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, registry, scoped_session

from holdfast.contrib.ledger import Wanted
from holdfast.contrib.rows import row
from holdfast.contrib.sqlalchemy.outbox_letters import PUBLISH, Letter, bell_of, topic_of
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import Closed, ConfigurationError
from holdfast.streams import record
from holdfast.streams._stream_async import AsyncStream
from holdfast.streams._stream_sync import Stream
from holdfast.streams.layout import text_of

_KEY: Final = "holdfast.contrib.sqlalchemy.outbox"
_AT_ONCE: Final = 1000  # rows in one INSERT


class Outbox:
    """The table of an outbox. Give it your own `metadata` to have Alembic or `create_all` make it.

    One object for each table, shared by all: those that write, and the relays. A table serves one namespace:
    its topics do not name it. A session with `binds=` needs one for `table` too.
    """

    def __init__(
        self,
        name: str = "holdfast_outbox",
        *,
        metadata: MetaData | None = None,
        schema: str | None = None,
    ) -> None:
        self.table = Table(
            name,
            MetaData() if metadata is None else metadata,
            Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
            Column("topic", String(255), nullable=False),
            Column("kind", String(32), nullable=False),
            Column("key", String(255), nullable=False),
            Column("payload", LargeBinary, nullable=False),
            Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
            Index(f"ix_{name}_order", "topic", "key", "id"),
            schema=schema,
            # Else SQLite gives a deleted row's number to the next one, and a relay that is slow to delete
            # what another one has deleted before deletes that.
            sqlite_autoincrement=True,
        )

    def __repr__(self) -> str:
        return f"Outbox({self.table.fullname!r})"

    def create(self, bind: Engine | Connection) -> None:
        """Make the table if it is not there. With an AsyncConnection: `await c.run_sync(outbox.create)`."""
        self.table.create(bind, checkfirst=True)

    def add(
        self,
        session: Session | AsyncSession | scoped_session[Any] | async_scoped_session[Any],
        stream: Stream[Any] | AsyncStream[Any],
        value: Any,
        *,
        id: str | None = None,
        key: str | int | None = None,
        headers: Mapping[str, str] | None = None,
        delay: Duration | None = None,
    ) -> str:
        """Publish `value` to `stream` if the transaction of `session` commits, and when it has.

            with Session(engine) as session, session.begin():
                session.add(order)
                outbox.add(session, orders, OrderPlaced(order.id))

        Plain also with an AsyncSession: the row is flushed with the session's other objects. `id`: the
        message's dedup id, else a UUID; this returns it. `key`, `headers`: as of `stream.publish`. `delay`
        counts from when the relay publishes it.

        Raises: ConfigurationError, CodecError: nothing was added.
        """
        if not isinstance(stream, Stream | AsyncStream):
            raise ConfigurationError(f"outbox.add(session, stream, value): {stream!r:.80} is not a stream")
        dedup = str(uuid.uuid4()) if id is None else text_of(id, "id")
        when = "" if delay is None else record.later(optional_seconds(delay, "delay", zero=True), None)
        part, fields = stream._letter(value, key=key, headers=headers, dedup=dedup)
        letter = Letter(part.number, when, dedup, list(fields))
        row = {"topic": topic_of(stream), "kind": PUBLISH, "key": letter.lane, "payload": letter.encode()}
        inner = _inner(session)
        inner.add(self._mapped(**row))
        inner.info.setdefault(_KEY, {})[stream] = None
        return dedup

    @functools.cached_property
    def _mapped(self) -> type[_Row]:
        """A class for the rows: as objects they follow their session's savepoints, flushes and flavour."""
        mapped = type("OutboxRow", (_Row,), {})
        registry().map_imperatively(mapped, self.table)
        return mapped

    def _insert(self, session: Session, wanted: Iterable[Wanted]) -> None:
        """Write `wanted`, with the transaction of `session`."""
        rows = [row(one)._asdict() for one in wanted]
        with session.no_autoflush:  # a flush in here would collect what is not in `wanted`
            for start in range(0, len(rows), _AT_ONCE):
                session.execute(self.table.insert().values(rows[start : start + _AT_ONCE]))


def _inner(session: Any) -> Session:
    """The Session that `session` is, or stands for."""
    if isinstance(session, scoped_session | async_scoped_session):
        session = session()
    inner: Session = session.sync_session if isinstance(session, AsyncSession) else session
    return inner


class _Row:
    """A row that is to be inserted."""

    def __init__(self, **columns: Any) -> None:
        for name, value in columns.items():
            setattr(self, name, value)


def _after_commit(session: Session) -> None:
    """Ring for the relays of the streams that were added to, unless only a savepoint has ended.

    The hub's thread does it: no commit waits for Redis. If nobody hears it, relays look by themselves.
    """
    if session.in_nested_transaction():
        return
    for stream in session.info.pop(_KEY, ()):
        bell = bell_of(stream)
        with contextlib.suppress(Closed):
            stream._desk.wire.hub.deliver(bell, ("SPUBLISH", bell, ""), _rung)


def _rung() -> None:
    """Nothing more is to be done."""


event.listen(Session, "after_commit", _after_commit)
