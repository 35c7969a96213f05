"""Fences in the database: a writer whose right has passed to another cannot write any more.

Write-behind and locks give each holder of a right a number that only grows. Before a holder writes, it shows
its number, and the table remembers the greatest that it has seen. Who shows a smaller one has been replaced,
even if it does not know: a paused process, a late packet.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    Select,
    String,
    Table,
    Update,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.dml import Insert as AnyInsert

from holdfast.errors import ConfigurationError, ConflictError


class Fences:
    """The table of fences; give it your own `metadata` to have Alembic or `create_all` make it."""

    def __init__(
        self,
        name: str = "holdfast_fences",
        *,
        metadata: MetaData | None = None,
        schema: str | None = None,
    ) -> None:
        self.table = Table(
            name,
            MetaData() if metadata is None else metadata,
            Column("partition", String(255), primary_key=True),
            Column("fence", BigInteger, nullable=False),
            schema=schema,
        )

    def __repr__(self) -> str:
        return f"Fences({self.table.fullname!r})"

    def create(self, bind: Engine | Connection) -> None:
        """Make the table if it is not there. With an AsyncConnection: `await c.run_sync(fences.create)`."""
        self.table.create(bind, checkfirst=True)

    def show(self, connection: Connection | Session, what: str, fence: int) -> None:
        """Show `fence` for `what`, before the first write of the transaction; nobody with a smaller one gets
        past until it ends.

            with Session(engine) as session, session.begin(), hf.lock("report") as lease:
                fences.show(session, "report", lease.fence)

        Raises: ConflictError if a greater fence was shown before (`.actual`): let the transaction roll back.
        """
        found = connection.execute(self._raise_to(_dialect(connection), what, fence))
        if found.first() is None:
            raise replaced(what, fence, connection.execute(self._seen(what)).scalar())

    async def ashow(self, connection: AsyncConnection | AsyncSession, what: str, fence: int) -> None:
        """As `show`, for asyncio."""
        found = await connection.execute(self._raise_to(_dialect(connection), what, fence))
        if found.first() is None:
            seen = await connection.execute(self._seen(what))
            raise replaced(what, fence, seen.scalar())

    def _raise_to(self, dialect: str, partition: str, fence: int) -> AnyInsert:
        """The statement that shows `fence`. It returns a row unless a greater one was shown before, and
        locks the partition until the transaction ends.
        """
        table = self.table
        statement: Any = insert_for(dialect)(table).values(partition=partition, fence=fence)
        seen: AnyInsert = statement.on_conflict_do_update(
            index_elements=[table.c.partition],
            set_={"fence": statement.excluded.fence},
            where=table.c.fence <= statement.excluded.fence,
        ).returning(table.c.fence)
        return seen

    def _seen(self, partition: str) -> Select[Any]:
        return select(self.table.c.fence).where(self.table.c.partition == partition)


def fenced(statement: Update, column: ColumnElement[int] | InstrumentedAttribute[int], fence: int) -> Update:
    """`statement`, so that it changes only rows whose `column` holds no greater fence, and leaves ours there.

        result = connection.execute(fenced(update(jobs).where(jobs.c.id == 7).values(state="done"),
                                           jobs.c.fence, lease.fence))
        if result.rowcount == 0: ...      # no such row, or a newer holder was there

    A NULL there counts as no fence.
    """
    name = column.key
    return statement.where(or_(column.is_(None), column <= fence)).values({name: fence})


def replaced(what: str, fence: int, seen: object) -> ConflictError:
    """What says that a newer holder has been there."""
    return ConflictError(f"{what}: fence {fence} has been replaced by {seen}", expected=fence, actual=seen)


def _dialect(connection: Any) -> str:
    bind = connection.get_bind() if hasattr(connection, "get_bind") else connection
    name: str = bind.dialect.name
    return name


def insert_for(dialect: str) -> Any:
    """The `insert` that knows ON CONFLICT. Raises: ConfigurationError for a database that does not."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert
    raise ConfigurationError(f"writing needs PostgreSQL or SQLite (ON CONFLICT), not {dialect}")
