"""The inbox: which messages a transaction has handled already.

Promised: what a handler does in the transaction in which it asked `once` happens once for each message of
its group, however often the message is delivered: the row that says so commits with it, or not at all. A
second delivery while the first is still at work waits for its end (PostgreSQL), or fails and comes again
(SQLite: the database is locked).

    transaction committed, acknowledgement lost      the next delivery is not fresh, and acknowledges
    transaction rolled back, or its process killed   no row, so the next delivery is fresh

Not promised: anything that the handler does elsewhere, and anything after `prune` has removed the row. A
message is known by its partition and the id of its entry, unless `identity` says otherwise. So one that was
published twice, beyond what the stream's `dedup` catches, is two. Where dedup ids are never used again, as
those that an Outbox makes up, they are the better identity: `Inbox(identity=lambda message:
message.dedup_id)` also knows what was published twice, or replayed from dead letters.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Protocol

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    Index,
    MetaData,
    String,
    Table,
    delete,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast._compat import is_async
from holdfast.contrib.rows import shortened
from holdfast.contrib.sqlalchemy.fences import insert_for
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError

_KEPT: Final = "30d"


class Received(Protocol):
    """A Message or an AsyncMessage: what `once` has to know of it."""

    id: str

    @property
    def stream(self) -> str:
        """The name of its stream."""

    @property
    def group(self) -> str:
        """The group it is delivered to."""

    @property
    def partition(self) -> int:
        """The number of its partition."""

    @property
    def dedup_id(self) -> str | None:
        """The id with which it was published."""


class Inbox:
    """The table of an inbox. Give it your own `metadata` to have Alembic or `create_all` make it.

    `identity`: what names a message within its stream and group, in place of partition and id of its entry.
    One table may serve all groups of all streams.
    """

    def __init__(
        self,
        name: str = "holdfast_inbox",
        *,
        metadata: MetaData | None = None,
        schema: str | None = None,
        identity: Callable[[Any], str | None] | None = None,
    ) -> None:
        self._identity = identity
        self.table = Table(
            name,
            MetaData() if metadata is None else metadata,
            Column("consumer", String(255), primary_key=True),
            Column("message", String(255), primary_key=True),
            Column("done_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
            Index(f"ix_{name}_done_at", "done_at"),
            schema=schema,
        )

    def __repr__(self) -> str:
        return f"Inbox({self.table.fullname!r})"

    def create(self, bind: Engine | Connection) -> None:
        """Make the table if it is not there. With an AsyncConnection: `await c.run_sync(inbox.create)`."""
        self.table.create(bind, checkfirst=True)

    def once(self, session: Any, message: Received) -> Once:
        """Whether the transaction of `session` is the first to handle `message`; a context manager.

            with Session(engine) as session, session.begin(), inbox.once(session, message) as fresh:
                if fresh:
                    session.add(Invoice(order.id))

        With an AsyncSession: `async with`. If the body raises, the transaction must not be committed.
        Entering raises: ConfigurationError for a database without ON CONFLICT; what the database raises.
        """
        return Once(self, session, message)

    def handler(self, sessions: Any) -> Callable[[Callable[..., Any]], Callable[[Any, Any], Any]]:
        """Decorate a handler that takes session, value and message: it is called once for each message, in a
        transaction of its own, which is committed when it returns.

            @orders.subscriber(group="billing")
            @inbox.handler(Session)
            def bill(session, order, message): ...

        `sessions`: a sessionmaker, or an async_sessionmaker for an `async def`.
        Raises: ConfigurationError if the two do not fit.
        """

        def decorate(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
            if not isinstance(sessions, async_sessionmaker if is_async(function) else sessionmaker):
                kind = "an async_sessionmaker" if is_async(function) else "a sessionmaker"
                raise ConfigurationError(f"{function!r} needs {kind}, not {sessions!r}")

            begin: Any = sessions.begin

            async def ahandle(value: Any, message: Any) -> Any:
                async with begin() as session, self.once(session, message) as fresh:
                    return await function(session, value, message) if fresh else None

            def handle(value: Any, message: Any) -> Any:
                with begin() as session, self.once(session, message) as fresh:
                    return function(session, value, message) if fresh else None

            # Not functools.wraps: whoever looks at the signature shall see two parameters, not three.
            chosen = ahandle if is_async(function) else handle
            chosen.__name__, chosen.__doc__ = function.__name__, function.__doc__
            chosen.__qualname__, chosen.__module__ = function.__qualname__, function.__module__
            return chosen

        return decorate

    def prune(self, connection: Connection | Session, older_than: Duration = _KEPT) -> int:
        """Remove rows of messages that were handled `older_than` ago, by the clock of the database; returns
        how many. Nothing may be delivered any more that is so old.
        """
        now = connection.execute(select(func.now())).scalar_one()
        result: Any = connection.execute(self._before(now, older_than))
        return int(result.rowcount)

    async def aprune(self, connection: AsyncConnection | AsyncSession, older_than: Duration = _KEPT) -> int:
        """As `prune`, for asyncio."""
        now = (await connection.execute(select(func.now()))).scalar_one()
        result: Any = await connection.execute(self._before(now, older_than))
        return int(result.rowcount)

    def _before(self, now: Any, older_than: Duration) -> Any:
        age = timedelta(seconds=seconds(older_than, "older_than", zero=True))
        return delete(self.table).where(self.table.c.done_at < now - age)

    def _insert(self, dialect: str, message: Received) -> Any:
        """The statement that says that `message` is handled: it returns a row if nobody has said so."""
        name = f"{message.partition}/{message.id}"
        if self._identity is not None:
            chosen = self._identity(message)
            if not isinstance(chosen, str) or not chosen:
                raise ConfigurationError(f"identity= of {self!r} returned {chosen!r} for {message!r}")
            name = chosen
        row = {"consumer": shortened(f"{message.stream}/{message.group}"), "message": shortened(name)}
        statement = insert_for(dialect)(self.table).values(**row)
        return statement.on_conflict_do_nothing().returning(self.table.c.message)


class Once:
    """What `once` returns."""

    def __init__(self, inbox: Inbox, session: Any, message: Received) -> None:
        if isinstance(message, list):
            raise ConfigurationError(
                "once(session, message) takes one message; with batch=, call it for each"
            )
        if isinstance(session, scoped_session | async_scoped_session):
            session = session()
        self._session = session
        self._statement = inbox._insert(session.get_bind().dialect.name, message)

    def __enter__(self) -> bool:
        if not isinstance(self._session, Session):
            raise ConfigurationError(f"`with` goes with a Session; with {self._session!r} write `async with`")
        return self._session.execute(self._statement).first() is not None

    def __exit__(self, *_: object) -> None:
        """Nothing: the transaction decides."""

    async def __aenter__(self) -> bool:
        if not isinstance(self._session, AsyncSession):
            raise ConfigurationError(
                f"`async with` goes with an AsyncSession; with {self._session!r} write `with`"
            )
        return (await self._session.execute(self._statement)).first() is not None

    async def __aexit__(self, *_: object) -> None:
        """As `__exit__`."""
