"""Who waits should not poll: what 50 and 1,000 who wait for a held lock cost the server.

One process holds the lock, another has all who wait. Counted are the commands that reach the server, as
MONITOR shows them without those that scripts call; so the renewals of the holder are in it. Connections: how
many more the server has once all wait than when that process had done nothing but held a lock for a moment.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, NamedTuple

import redis

from benchmarks import harness
from benchmarks.harness import Candidate, Handler, Run, Worker
from benchmarks.locks import libraries
from benchmarks.locks.libraries import OURS, OURS_TASKS, THEIRS, THEIRS_TASKS, Library, Make
from benchmarks.report import Promise, Section

LIBRARIES = (
    OURS, THEIRS, "python-redis-lock", "pottery", OURS_TASKS, THEIRS_TASKS, "pottery, asyncio",
)  # fmt: skip
CROWDS = (50, 1000)
TOO_MANY = {("pottery", 1000)}  # it starts a thread for each attempt of each thread
WINDOW, LONG_WINDOW = 1.0, 4.0  # seconds: for who polls; for who sends less than one command a second
SETTLE = {50: 1.0, 1000: 2.0}


class Cost(NamedTuple):
    """Of one visit: commands per second, and connections."""

    commands: float
    connections: int


@dataclass(frozen=True)
class Waiters:
    """Holds a lock for a moment (0 callers), to the end (1), or waits for it until it is killed (more). An
    object, so that it can travel to a worker.
    """

    library: Library

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        async with self.library.open(url) as make:
            held: list[Any] = []

            async def handle(name: str, callers: int) -> None:
                if callers > 1:
                    await (_tasks if self.library.tasks else _threads)(make, name, callers)
                    return
                held.append(make(name))
                await self._enter(held[0])
                if not callers:
                    await self._leave(held.pop())

            yield handle
            for one in held:
                await self._leave(one)

    async def _enter(self, lock: Any) -> None:
        if self.library.tasks:
            await lock.__aenter__()
        else:
            lock.__enter__()

    async def _leave(self, lock: Any) -> None:
        if self.library.tasks:
            await lock.__aexit__(None, None, None)
        else:
            lock.__exit__(None, None, None)


async def _tasks(make: Make, name: str, callers: int) -> None:
    async def caller() -> None:
        async with make(name):
            await asyncio.sleep(harness.PATIENCE)

    await asyncio.gather(*(caller() for _ in range(callers)))


async def _threads(make: Make, name: str, callers: int) -> None:
    def caller() -> None:
        with make(name):
            time.sleep(harness.PATIENCE)

    for _ in range(callers):
        threading.Thread(target=caller, daemon=True).start()
    await asyncio.sleep(harness.PATIENCE)


def measure(run: Run) -> list[Section]:
    """One table."""
    cells = [(one, crowd) for one in libraries.there(*LIBRARIES) for crowd in CROWDS
             if (one.name, crowd) not in TOO_MANY and not (run.quick and crowd > 50)]  # fmt: skip
    found: dict[tuple[str, int], list[Cost]] = {(one.name, crowd): [] for one, crowd in cells}
    for number in range(run.rounds):
        run.say(f"waiting, round {number + 1} of {run.rounds}")
        for one, crowd in run.dice.sample(cells, len(cells)):
            found[one.name, crowd].append(_visit(run, one, crowd, f"waiting:{number}:{time.time_ns()}"))
    return [_section(found)]


def _visit(run: Run, one: Library, crowd: int, name: str) -> Cost:
    candidate = Candidate(one.name, Waiters(one))
    window = LONG_WINDOW if one.package == "holdfast" else WINDOW
    window, settle = (0.5, 0.5) if run.quick else (window, SETTLE[crowd])
    with redis.Redis(**harness.address(run.url)) as server, Worker(candidate, run.url, None) as holder:
        holder.run(name, 1)
        waiters = Worker(candidate, run.url, harness.cpus()[1])
        try:
            waiters.run(f"{name}:idle", 0)
            before = _connections(server)
            waiters.send(name, crowd)
            _settle(server, before, settle)
            with Monitor(**harness.address(run.url)).counting() as monitor:
                time.sleep(window)
            return Cost(monitor.rate, _connections(server) - before)
        finally:
            waiters.kill()


def _settle(server: redis.Redis, before: int, seconds: float) -> None:
    """Until no connection was opened or had its first words for `seconds`, and the worker has begun."""
    last, since, give_up = (before, 0), time.monotonic(), time.monotonic() + harness.PATIENCE
    while time.monotonic() < since + seconds or last[0] == before:
        if (now := (_connections(server), _hellos(server))) != last:
            last, since = now, time.monotonic()
        assert time.monotonic() < give_up
        time.sleep(0.1)


def _hellos(server: redis.Redis) -> int:
    return int(server.info("commandstats").get("cmdstat_hello", {}).get("calls", 0))


def _connections(server: redis.Redis) -> int:
    return int(server.info("clients")["connected_clients"])


class Monitor:
    """Counts what clients send: MONITOR, without what scripts call."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"
        self._lines, self.rate = 0, 0.0

    @contextmanager
    def counting(self) -> Iterator[Monitor]:
        """Everything meanwhile; then `rate` is known."""
        begun = time.monotonic()
        reader = threading.Thread(target=self._read)
        reader.start()
        try:
            yield self
        finally:
            took = time.monotonic() - begun
            self._socket.shutdown(socket.SHUT_RDWR)
            reader.join()
            self._socket.close()
            self.rate = self._lines / took

    def _read(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                if b" lua] " not in line:
                    self._lines += 1


def _section(found: dict[tuple[str, int], list[Cost]]) -> Section:
    names = list(dict.fromkeys(name for name, _ in found))
    crowds = list(dict.fromkeys(crowd for _, crowd in found))
    rows: list[Sequence[str]] = [
        ("waiting", *(text for crowd in crowds for text in (f"{crowd:,}: commands/s", "connections")))
    ]
    for name in names:
        row = [name]
        for crowd in crowds:
            costs = found.get((name, crowd))
            row += [_number(mean(one.commands for one in costs)),
                    f"{median(one.connections for one in costs):.0f}"] if costs else ["-", "-"]  # fmt: skip
        rows.append(row)
    promises = []
    for name in (OURS, OURS_TASKS):
        for crowd in crowds:
            most = mean(one.commands for one in found[name, crowd])
            many = median(one.connections for one in found[name, crowd])
            promises.append(Promise(
                f"{name}, {crowd:,} waiting: at most 1 command per second",
                f"{most:.2f} (highest {max(one.commands for one in found[name, crowd]):.2f}), "
                f"{many:g} connection{'s' * (many != 1)}",
                most <= 1,
            ))  # fmt: skip
    text = (
        "A process holds the lock, another waits for it with 50 and with 1,000 threads or tasks. "
        "Commands that reach the server in a second, the holder's included; connections more than "
        "while nobody waited. Who polls has an unlimited pool here; a smaller one means fewer "
        "connections, and waiting for one of them. pottery starts a thread for each attempt, so a "
        "thousand of its threads were not tried."
    )
    data = [{"name": name, "crowd": crowd, "rounds": [one._asdict() for one in costs]}
            for (name, crowd), costs in found.items()]  # fmt: skip
    return Section("Locks: what waiting costs the server", text, rows, promises, data)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
