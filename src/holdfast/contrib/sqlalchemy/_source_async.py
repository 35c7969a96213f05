# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncTableSource: a table of a database as the source of a cache."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError

from holdfast.contrib.sqlalchemy._pairs import AsyncConnection, AsyncEngine
from holdfast.contrib.sqlalchemy.fences import Fences, insert_for
from holdfast.contrib.sqlalchemy.values import Rows, chunks
from holdfast.errors import Unavailable


class AsyncTableSource:
    """A table as the `source` of a cache: what is read, written and removed there happens to its rows.

        source = AsyncTableSource(engine, Price, value="price")
        prices = hf.cache("prices", ttl="5m", source=source, write="through")

    `table`: a Table or a mapped class; `key`: the column of the cache's keys, unique, and with values of the
    type that the cache is asked for. `value`: the column that is the value; without it the value is the row,
    as a dict or as `type` (see values.py). Keys that no row has are absent. Loading works on every database,
    writing on PostgreSQL and SQLite.

    `fences`: the table in which `fence` is checked, in the transaction that writes. `name`: what partitions
    are told apart by there, for two sources of one table.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: Any,
        key: str = "id",
        *,
        value: str | None = None,
        type: Any = None,
        fences: Fences | None = None,
        name: str | None = None,
    ) -> None:
        """Raises: ConfigurationError."""
        self._engine = engine
        self._rows = Rows(table, key, value, type)
        self._fences = Fences() if fences is None else fences
        self._name = name or self._rows.table.fullname

    async def load_many(self, keys: Iterable[Any]) -> Mapping[Any, Any]:
        """The values of those `keys` that have a row. Raises: Unavailable without a connection to
        the database; what the database raises.
        """
        rows, found = self._rows, {}
        async with self._transaction() as connection:
            for some in chunks(keys):
                result = await connection.execute(select(*rows.wanted).where(rows.key.in_(some)))
                found.update({row[rows.key.name]: rows.read(dict(row)) for row in result.mappings()})
        return found

    async def save_many(
        self, mapping: Mapping[Any, Any], *, fence: int | None = None, partition: str | int | None = None
    ) -> None:
        """Insert or update the rows of `mapping`, in one transaction; columns not named keep their values.

        Raises: ConflictError if `fence` is older than one that was shown for `partition`: nothing is written;
        Unavailable without a connection to the database; what the database raises.
        """
        batches = self._rows.batches(mapping)
        async with self._transaction() as connection:
            await self._show(connection, fence, partition)
            for rows in batches:
                await connection.execute(self._upsert(rows[0]), rows)

    async def delete_many(
        self, keys: Iterable[Any], *, fence: int | None = None, partition: str | int | None = None
    ) -> None:
        """Delete the rows of `keys`, all in one transaction. Raises: as `save_many`."""
        async with self._transaction() as connection:
            await self._show(connection, fence, partition)
            for some in chunks(keys):
                await connection.execute(delete(self._rows.table).where(self._rows.key.in_(some)))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection with a transaction. Raises: Unavailable if none can be had: the database is away."""
        try:
            connection = await self._engine.connect()
        except (OperationalError, InterfaceError, TimeoutError, OSError) as error:
            raise Unavailable(f"no connection to the database of {self._rows.table.fullname}") from error
        try:
            async with connection.begin():
                yield connection
        finally:
            await connection.close()

    async def _show(
        self, connection: AsyncConnection, fence: int | None, partition: str | int | None
    ) -> None:
        if fence is None:
            return
        where = f"{self._name}/{'' if partition is None else partition}"
        await self._fences.ashow(connection, where, fence)

    def _upsert(self, row: Mapping[str, Any]) -> Any:
        rows = self._rows
        statement = insert_for(self._engine.dialect.name)(rows.table)
        new = {name: statement.excluded[name] for name in row if name != rows.key.name}
        if not new:
            return statement.on_conflict_do_nothing(index_elements=[rows.key])
        return statement.on_conflict_do_update(index_elements=[rows.key], set_=new)
