"""The outbox, for Django: the table that contrib.sqlalchemy uses too, and what it promises is told there.

The rows are written when they are collected, in the transaction that is open; a savepoint that is rolled back
takes them along. It needs no model and no migration: `Outbox().create()` makes the table, or a `RunSQL` of
your own with what `Outbox().statements()` returns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction  # type: ignore[import-untyped]

from holdfast.cache._sync import Cache
from holdfast.contrib._pending_sync import settle
from holdfast.contrib._relaying_sync import keep_going
from holdfast.contrib.ledger import Wanted, by_cache
from holdfast.contrib.rows import KINDS, row, topic_of, wanted_of
from holdfast.durations import Duration
from holdfast.errors import ConfigurationError, HoldfastError, Unavailable

_atomic: Any = transaction.atomic  # (Django ships no types)

# vendor: (type of id, type of payload, type of created_at)
_TYPES = {
    "postgresql": ("BIGSERIAL PRIMARY KEY", "BYTEA", "TIMESTAMPTZ"),
    "sqlite": ("INTEGER PRIMARY KEY", "BLOB", "DATETIME"),
}


class Outbox:
    """The table `name`, in whatever database the transaction is in."""

    def __init__(self, name: str = "holdfast_outbox") -> None:
        """Raises: ConfigurationError unless `name` is an identifier."""
        if not name.isidentifier():
            raise ConfigurationError(f"name={name!r} must be an identifier: letters, digits, underscores")
        self.name = name

    def __repr__(self) -> str:
        return f"Outbox({self.name!r})"

    def statements(self, using: str = DEFAULT_DB_ALIAS) -> list[str]:
        """What makes the table. Raises: ConfigurationError for a database that we do not know."""
        vendor = connections[using].vendor
        if vendor not in _TYPES:
            raise ConfigurationError(f"an outbox needs {' or '.join(_TYPES)}, not {vendor}")
        id, payload, moment = _TYPES[vendor]
        table = (
            f"CREATE TABLE IF NOT EXISTS {self.name} (id {id}, topic VARCHAR(255) NOT NULL, "
            f"kind VARCHAR(32) NOT NULL, key VARCHAR(255) NOT NULL, payload {payload} NOT NULL, "
            f"created_at {moment} NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        index = f"CREATE INDEX IF NOT EXISTS ix_{self.name}_order ON {self.name} (topic, key, id)"
        return [table, index]

    def create(self, using: str = DEFAULT_DB_ALIAS) -> None:
        """Make the table if it is not there."""
        connection = connections[using]
        with _atomic(using), connection.cursor() as cursor:
            for statement in self.statements(using):
                cursor.execute(statement)

    def _insert(self, connection: Any, wanted: Iterable[Wanted]) -> None:
        """Write `wanted`, with the transaction that is open on `connection`."""
        rows = [row(one) for one in wanted]
        sql = f"INSERT INTO {self.name} (topic, kind, key, payload) VALUES (%s, %s, %s, %s)"  # noqa: S608
        with connection.cursor() as cursor:
            cursor.executemany(sql, [(one.topic, one.kind, one.key, one.payload) for one in rows])


class Relay:
    """Delivers the invalidations that stand in `outbox` to `caches`; as Relay of contrib.sqlalchemy does."""

    def __init__(
        self,
        caches: Iterable[Cache[Any]],
        outbox: Outbox | None = None,
        *,
        using: str = DEFAULT_DB_ALIAS,
        batch: int = 500,
    ) -> None:
        self._caches = {topic_of(cache): cache for cache in caches}
        self._name = (outbox or Outbox()).name
        self._using = using
        self._batch = batch

    def run_once(self) -> int:
        """Deliver up to one batch for each cache, and return how many rows that was; 0 if there were none.

        Raises: Unavailable if a cache did not confirm, or Refused: its rows stay, those of others are done;
        what the database raises.
        """
        count, trouble = 0, None
        for topic, cache in self._caches.items():
            try:
                count += self._deliver(topic, cache)
            except HoldfastError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble
        return count

    def run(self, until: Callable[[], bool] | None = None, *, poll: Duration = "500ms") -> None:
        """Deliver until `until()` is true (None: for ever); look every `poll` when idle.

        Trouble with the cache or the database is logged, and tried again after 0.1 to 10 s.
        """

        def once() -> int:
            try:
                return self.run_once()
            except Exception:
                connections[self._using].close_if_unusable_or_obsolete()
                raise

        keep_going(once, until, poll, random.random)

    def _deliver(self, topic: str, cache: Cache[Any]) -> int:
        connection = connections[self._using]
        with _atomic(self._using), connection.cursor() as cursor:
            locked = connection.features.has_select_for_update_skip_locked
            cursor.execute(
                f"SELECT id, kind, payload FROM {self._name} WHERE topic = %s AND kind IN (%s, %s) "  # noqa: S608
                f"ORDER BY id LIMIT %s {'FOR UPDATE SKIP LOCKED' if locked else ''}",
                [topic, *KINDS, self._batch],
            )
            rows = cursor.fetchall()
            if rows:
                wanted = dict.fromkeys(wanted_of(cache, kind, bytes(payload)) for _, kind, payload in rows)
                if not settle(cache, *by_cache(wanted)[cache]):
                    raise Unavailable(f"{cache!r} did not confirm; its rows stay in {self._name}")
                sql = f"DELETE FROM {self._name} WHERE id = %s"  # noqa: S608
                cursor.executemany(sql, [(number,) for number, _, _ in rows])
        return len(rows)
