"""Fences in the database: a writer whose right has passed to another cannot write any more.

Write-behind and locks give each holder of a right a number that only grows. Before a holder writes, it shows
its number, and the table remembers the greatest that it has seen. Who shows a smaller one has been replaced,
even if it does not know: a paused process, a late packet.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, Select, String, Table, select
from sqlalchemy.sql.dml import Insert as AnyInsert

from holdfast.errors import ConfigurationError


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


def insert_for(dialect: str) -> Any:
    """The `insert` that knows ON CONFLICT. Raises: ConfigurationError for a database that does not."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert
    raise ConfigurationError(f"writing needs PostgreSQL or SQLite (ON CONFLICT), not {dialect}")
