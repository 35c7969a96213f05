"""From one holder to the next: how long after a release begins the one who waits has the lock.

Between two processes, and between two threads or tasks of one. Clocks are CLOCK_MONOTONIC, which processes of
a machine share. The lock is given up at a random moment, so that who asks every 100 ms is met at any point
between two questions.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import harness
from benchmarks.harness import Candidate, Handler, Run, Worker
from benchmarks.locks import libraries
from benchmarks.locks.libraries import OURS, OURS_TASKS, THEIRS, THEIRS_TASKS, Library, Make
from benchmarks.report import Promise, Section

LIBRARIES = (
    OURS, "Holdfast, fair", THEIRS, "python-redis-lock", "pottery",
    OURS_TASKS, "Holdfast, asyncio, fair", THEIRS_TASKS, "pottery, asyncio",
)  # fmt: skip
SAMPLES = 12  # of one visit
LEAST, SPAN = 0.02, 0.1  # seconds until the release: at least, and what chance adds at most
TARGET = 1.0  # ms


@dataclass(frozen=True)
class Relay:
    """Holds, frees and gets a lock on demand. An object, so that it can travel to a worker."""

    library: Library

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        async with self.library.open(url) as make:
            kind = TaskRunner if self.library.tasks else ThreadRunner
            runner = kind(make)

            async def handle(what: str, *about: Any) -> float:
                found: float = await getattr(runner, what)(*about)
                return found

            yield handle


class TaskRunner:
    """What a runner of the relay does, where it is a task."""

    def __init__(self, make: Make) -> None:
        self._make = make

    async def hold(self, name: str) -> float:
        """Take it."""
        self._held = self._make(name)
        await self._held.__aenter__()
        return 0.0

    async def free(self) -> float:
        """Give it up; the moment before that."""
        begun = time.monotonic()
        await self._held.__aexit__(None, None, None)
        return begun

    async def get(self, name: str) -> float:
        """Wait for it and give it up; the moment it was there."""
        async with self._make(name):
            return time.monotonic()

    async def pair(self, name: str, pause: float) -> float:
        """Both in one process; seconds from the release."""
        await self.hold(name)
        waiter = asyncio.create_task(self.get(name))
        await asyncio.sleep(pause)
        begun = await self.free()
        return await waiter - begun


class ThreadRunner:
    """What a runner of the relay does, where it is a thread."""

    def __init__(self, make: Make) -> None:
        self._make = make

    async def hold(self, name: str) -> float:
        """Take it."""
        self._held = self._make(name)
        self._held.__enter__()
        return 0.0

    async def free(self) -> float:
        """Give it up; the moment before that."""
        begun = time.monotonic()
        self._held.__exit__(None, None, None)
        return begun

    async def get(self, name: str) -> float:
        """Wait for it and give it up; the moment it was there."""
        with self._make(name):
            return time.monotonic()

    async def pair(self, name: str, pause: float) -> float:
        """Both in one process; seconds from the release."""
        await self.hold(name)
        found: list[float] = []
        waiter = threading.Thread(target=lambda: found.append(asyncio.run(self.get(name))))
        waiter.start()
        time.sleep(pause)  # noqa: ASYNC251 - no loop runs here
        begun = await self.free()
        waiter.join()
        return found[0] - begun


def measure(run: Run) -> list[Section]:
    """One table."""
    those = libraries.there(*LIBRARIES)
    found: dict[tuple[str, str], list[list[float]]] = {
        (one.name, where): [] for one in those for where in ("apart", "together")
    }
    samples = 3 if run.quick else SAMPLES
    _, cpu = harness.cpus()
    pairs: dict[str, list[Worker]] = {}
    with ExitStack() as stack:
        for one in those:
            candidate = Candidate(one.name, Relay(one))
            pairs[one.name] = [stack.enter_context(Worker(candidate, run.url, cpu)) for _ in range(2)]
            for worker in pairs[one.name]:
                worker.run("pair", f"warm:{one.name}", LEAST)
        for number in range(-1, run.rounds):
            run.say(f"hand-off, round {number + 1} of {run.rounds}")
            for name, where in run.dice.sample(list(found), len(found)):
                lock = f"handoff:{name}:{where}"
                times = _visit(run, pairs[name], where, lock, samples if number >= 0 else 1)
                if number >= 0:  # the first opens the connections
                    found[name, where].append(times)
    return [_section(those, found)]


def _visit(run: Run, pair: Sequence[Worker], where: str, name: str, samples: int) -> list[float]:
    times = []
    for _ in range(samples):
        pause = LEAST + run.dice.uniform(0, SPAN)
        holder, waiter = run.dice.sample(list(pair), 2)
        if where == "together":
            times.append(holder.run("pair", name, pause))
            continue
        holder.run("hold", name)
        waiter.send("get", name)
        time.sleep(pause)
        begun = holder.run("free")
        times.append(waiter.result() - begun)
    return times


def _section(those: Sequence[Library], found: dict[tuple[str, str], list[list[float]]]) -> Section:
    rows: list[Sequence[str]] = [
        ("hand-off, ms", "2 processes, p50", "p99", "highest", "1 process, p50", "p99", "highest")
    ]
    rows += [(one.name, *_spread(found[one.name, "apart"]), *_spread(found[one.name, "together"]))
             for one in those]  # fmt: skip
    promises = []
    for name in (OURS, OURS_TASKS):
        middles = [1e3 * median(times) for times in found[name, "apart"]]
        promises.append(Promise(
            f"{name}: hand-off between two processes, p50 at most {TARGET:g} ms",
            f"{median(middles):.2f} ms ({min(middles):.2f} to {max(middles):.2f})",
            median(middles) <= TARGET,
        ))  # fmt: skip
    count = sum(map(len, found[OURS, "apart"]))
    text = (
        f"Milliseconds from before one holder's release until the one who waits has the lock; {count} "
        "samples over all rounds. One process: its threads or its tasks. redis-py asks every 100 ms, "
        "pottery within 200 ms; python-redis-lock waits in BLPOP, with a connection for each who "
        "waits."
    )
    data = [{"name": name, "where": where, "rounds": times} for (name, where), times in found.items()]
    return Section("Locks: from one holder to the next", text, rows, promises, data)


def _spread(rounds: Sequence[Sequence[float]]) -> tuple[str, str, str]:
    ordered = sorted(1e3 * one for times in rounds for one in times)
    last = len(ordered) - 1
    return tuple(f"{ordered[round(part * last)]:.2f}" for part in (0.5, 0.99, 1))  # type: ignore[return-value]
