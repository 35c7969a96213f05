"""The outbox: invalidations as rows, written by the transaction that makes them necessary.

Promised, to a service that has a Relay running somewhere: an invalidation that was collected with an outbox
happens if and only if its transaction commits, whoever dies when. At least once: usually the writer does it
right after its commit, and the relay again.

How it holds: the rows are inserted before COMMIT, in the same transaction, inside of the savepoint that the
changes are in. A relay deletes a row after the cache has confirmed the invalidation.

What a row says, and how others may share the table, stands in ../rows.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

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
    func,
)
from sqlalchemy.orm import Session

from holdfast.contrib.ledger import Wanted
from holdfast.contrib.rows import row

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
        )

    def __repr__(self) -> str:
        return f"Outbox({self.table.fullname!r})"

    def create(self, bind: Engine | Connection) -> None:
        """Make the table if it is not there. With an AsyncConnection: `await c.run_sync(outbox.create)`."""
        self.table.create(bind, checkfirst=True)

    def _insert(self, session: Session, wanted: Iterable[Wanted]) -> None:
        """Write `wanted`, with the transaction of `session`."""
        rows = [row(one)._asdict() for one in wanted]
        with session.no_autoflush:  # a flush in here would collect what is not in `wanted`
            for start in range(0, len(rows), _AT_ONCE):
                session.execute(self.table.insert().values(rows[start : start + _AT_ONCE]))
