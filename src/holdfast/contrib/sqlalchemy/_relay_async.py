# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncRelay: delivers what stands in an outbox."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select

from holdfast.cache._async import AsyncCache
from holdfast.contrib._pending_async import settle
from holdfast.contrib._relaying_async import keep_going
from holdfast.contrib.ledger import by_cache
from holdfast.contrib.rows import KINDS, topic_of, wanted_of
from holdfast.contrib.sqlalchemy._pairs import AsyncConnection, AsyncEngine
from holdfast.contrib.sqlalchemy.outbox import Outbox
from holdfast.durations import Duration
from holdfast.errors import HoldfastError, Unavailable


class AsyncRelay:
    """Delivers the invalidations that stand in `outbox` to `caches`, until each is confirmed.

    Run as many as you like, in any process that has these caches. On PostgreSQL (and wherever there is
    SELECT FOR UPDATE SKIP LOCKED) no two take the same row at one time; elsewhere they may, which only
    repeats invalidations. A relay that dies at any moment leaves its rows to the next: a row is deleted after
    the cache has confirmed, in the transaction that locked it.

    `batch`: rows taken at once from each cache, the oldest first. The rows of one key all say the same, so
    their order among several relays says nothing.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        caches: Mapping[str, AsyncCache[Any]] | Iterable[AsyncCache[Any]],
        outbox: Outbox | None = None,
        *,
        batch: int = 500,
    ) -> None:
        self._engine = engine
        given = caches.values() if isinstance(caches, Mapping) else caches
        self._caches = {topic_of(cache): cache for cache in given}
        self._table = (Outbox() if outbox is None else outbox).table
        self._batch = batch

    async def run_once(self) -> int:
        """Deliver up to one batch for each cache, and return how many rows that was; 0 if there were none.

        Raises: Unavailable if a cache did not confirm, or Refused: its rows stay, those of others are done;
        what the database raises.
        """
        count, trouble = 0, None
        for topic, cache in self._caches.items():
            try:
                count += await self._deliver(topic, cache)
            except HoldfastError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble
        return count

    async def _deliver(self, topic: str, cache: AsyncCache[Any]) -> int:
        async with self._engine.begin() as connection:
            rows = await self._take(connection, topic)
            if rows:
                wanted = dict.fromkeys(wanted_of(cache, row.kind, row.payload) for row in rows)
                if not await settle(cache, *by_cache(wanted)[cache]):
                    raise Unavailable(f"{cache!r} did not confirm; its rows stay in {self._table.fullname}")
                done = [row.id for row in rows]
                await connection.execute(delete(self._table).where(self._table.c.id.in_(done)))
        return len(rows)

    async def run(self, until: Callable[[], bool] | None = None, *, poll: Duration = "500ms") -> None:
        """Deliver batch after batch until `until()` is true (None: for ever); look every `poll` when idle.

        Trouble with the cache or the database is logged, and tried again after 0.1 to 10 s. `until` is asked
        about ten times a second: give it `event.is_set`.
        """
        await keep_going(self.run_once, until, poll, random.random)

    async def _take(self, connection: AsyncConnection, topic: str) -> list[Any]:
        table = self._table
        statement = (
            select(table.c.id, table.c.kind, table.c.payload)
            .where(table.c.topic == topic, table.c.kind.in_(KINDS))
            .order_by(table.c.id)
            .limit(self._batch)
            .with_for_update(skip_locked=True)
        )
        return list(await connection.execute(statement))
