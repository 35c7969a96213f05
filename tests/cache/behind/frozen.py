"""A process that writes behind, for a test that freezes it in the middle: `frozen.py URL NAMESPACE DATABASE`.

It stops between its look at the clock and the commit, where nothing but the fence can help.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from holdfast import Behind, Holdfast
from holdfast.errors import ConflictError

LEASE = "300ms"


class Rows:
    """Rows in SQLite, and the fence of each partition in the same transaction; `fenced`: it is looked at."""

    def __init__(self, path: str, *, fenced: bool = True) -> None:
        self._path = path
        self._fenced = fenced
        self.before_commit = lambda: None
        with self._open() as database:
            database.execute("CREATE TABLE IF NOT EXISTS fences (part TEXT PRIMARY KEY, fence INTEGER)")
            database.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value INTEGER)")
            database.execute("CREATE TABLE IF NOT EXISTS seen (key TEXT, value INTEGER)")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=20)) as database, database:
            yield database

    def load_many(self, keys: Iterable[str]) -> dict[str, Any]:
        with self._open() as database:
            rows = dict(database.execute("SELECT key, value FROM rows"))
        return {key: rows[key] for key in keys if key in rows}

    def save_many(self, mapping: dict[str, int], *, fence: int, partition: str) -> None:
        self.before_commit()
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            known = database.execute("SELECT fence FROM fences WHERE part = ?", (partition,)).fetchone()
            if self._fenced and known and known[0] > fence:
                raise ConflictError("an older writer", expected=fence, actual=known[0])
            database.execute("REPLACE INTO fences VALUES (?, ?)", (partition, fence))
            database.executemany("REPLACE INTO rows VALUES (?, ?)", mapping.items())
            database.executemany("INSERT INTO seen VALUES (?, ?)", mapping.items())

    def delete_many(self, keys: Iterable[str]) -> None:
        raise AssertionError("nothing is removed here")

    def seen(self) -> list[int]:
        """The values in the order in which they were committed."""
        with self._open() as database:
            return [value for (value,) in database.execute("SELECT value FROM seen ORDER BY rowid")]


def cache(hf: Holdfast, source: Rows) -> Any:
    return hf.cache("rows", ttl="1h", source=source, write=Behind(delay=0, partitions=1, lease=LEASE))


if __name__ == "__main__":
    _, url, namespace, path, fenced = sys.argv
    rows = Rows(path, fenced=fenced == "fenced")

    def freeze() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.2)  # it may take a moment, and then must not find us in the middle of the transaction

    rows.before_commit = freeze
    with Holdfast(url, namespace=namespace) as hf:
        cache(hf, rows).put("a", 1)
        time.sleep(60)
