"""Many who want one lock for a millisecond each: 4 processes with 25 callers, 5 sections for each.

A caller waits for the lock, stays 1 ms, gives it up, and begins anew, until it had its five: so nobody who
starves is left out of the figures. Every section notes when it began and ended: no two may overlap.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from statistics import median
from typing import NamedTuple

import redis

from benchmarks import harness
from benchmarks.harness import Candidate, Handler, Run, Worker, ratio
from benchmarks.locks import libraries
from benchmarks.locks.libraries import OURS, OURS_TASKS, THEIRS, THEIRS_TASKS, Library, Make
from benchmarks.report import Promise, Section

PROCESSES, CALLERS, EACH = 4, 25, 5
STAY = 0.001
LIBRARIES = (
    OURS_TASKS, "Holdfast, asyncio, fair", THEIRS_TASKS, "redis-py, asyncio, sleep=0.01", "pottery, asyncio",
    OURS, "Holdfast, fair", THEIRS, "python-redis-lock",
)  # fmt: skip


class Stay(NamedTuple):
    """One section: whose, and when it was asked for, begun and ended; in seconds on the common clock."""

    caller: str
    asked: float
    begun: float
    ended: float


class Outcome(NamedTuple):
    """Of one visit. Times in ms."""

    rate: float
    each: float
    tries: float
    p50: float
    p99: float
    jain: float
    overlaps: int


@dataclass(frozen=True)
class Crowd:
    """One process of the crowd. An object, so that it can travel to a worker."""

    library: Library

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        async with self.library.open(url) as make:

            async def handle(name: str, callers: int, each: int, start: float) -> list[Stay]:
                run = _tasks if self.library.tasks else _threads
                return await run(make, name, callers, each, start)

            yield handle


async def _tasks(make: Make, name: str, callers: int, each: int, start: float) -> list[Stay]:
    stays: list[Stay] = []

    async def caller(me: str) -> None:
        lock = make(name)
        await asyncio.sleep(start - time.monotonic())
        for _ in range(each):
            asked = time.monotonic()
            async with lock:
                begun = time.monotonic()
                await asyncio.sleep(STAY)
                ended = time.monotonic()
            stays.append(Stay(me, asked, begun, ended))

    await asyncio.gather(*(caller(f"{os.getpid()}:{place}") for place in range(callers)))
    return stays


async def _threads(make: Make, name: str, callers: int, each: int, start: float) -> list[Stay]:
    stays: list[Stay] = []

    def caller(me: str) -> None:
        lock = make(name)
        time.sleep(max(0.0, start - time.monotonic()))
        for _ in range(each):
            asked = time.monotonic()
            with lock:
                begun = time.monotonic()
                time.sleep(STAY)
                ended = time.monotonic()
            stays.append(Stay(me, asked, begun, ended))

    crowd = [threading.Thread(target=caller, args=(f"{os.getpid()}:{place}",)) for place in range(callers)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    return stays


def measure(run: Run) -> list[Section]:
    """One table."""
    those = libraries.there(*LIBRARIES)
    found: dict[str, list[Outcome]] = {one.name: [] for one in those}
    processes, callers = (2, 3) if run.quick else (PROCESSES, CALLERS)
    _, cpu = harness.cpus()
    crews: dict[str, list[Worker]] = {}
    with ExitStack() as stack:
        for one in those:
            candidate = Candidate(one.name, Crowd(one))
            crews[one.name] = [stack.enter_context(Worker(candidate, run.url, cpu)) for _ in range(processes)]
            for worker in crews[one.name]:
                worker.run(f"crowd:{time.time_ns()}", callers, 1, 0.0)  # opens its connections
        for number in range(run.rounds):
            run.say(f"crowd, round {number + 1} of {run.rounds}")
            for one in run.dice.sample(those, len(those)):
                found[one.name].append(_visit(run, one, crews[one.name], callers))
    return [_section(found)]


def _visit(run: Run, one: Library, crew: Sequence[Worker], callers: int) -> Outcome:
    with redis.Redis(**harness.address(run.url)) as server:
        before = _calls(server)
        name, start = f"crowd:{time.time_ns()}", time.monotonic() + 0.1
        for worker in crew:
            worker.send(name, callers, 2 if run.quick else EACH, start)
        stays: list[Stay] = list(chain.from_iterable(worker.result() for worker in crew))
        spent = {name: calls - before.get(name, 0) for name, calls in _calls(server).items()}
    stays.sort(key=lambda stay: stay.begun)
    waits = sorted(1e3 * (stay.begun - stay.asked) for stay in stays)
    seconds, early = stays[-1].ended - start, Counter(stay.caller for stay in stays[: len(stays) // 2])
    return Outcome(
        rate=len(stays) / seconds,
        each=1e3 * seconds / len(stays),
        tries=_tries(one, spent, len(stays)) / len(stays),
        p50=waits[len(waits) // 2],
        p99=waits[int(0.99 * (len(waits) - 1))],
        jain=early.total() ** 2 / (len(crew) * callers * sum(count * count for count in early.values())),
        overlaps=sum(second.begun < first.ended for first, second in pairwise(stays)),
    )


def _calls(server: redis.Redis) -> dict[str, int]:
    stats: dict[str, dict[str, int]] = server.info("commandstats")
    return {name.removeprefix("cmdstat_"): about["calls"] for name, about in stats.items()}


def _tries(one: Library, spent: dict[str, int], sections: int) -> int:
    """Scripts that are no release; where the lock is taken by a bare SET, those."""
    if one.package == "holdfast":
        return spent.get("evalsha", 0) + spent.get("eval", 0) - sections
    return spent.get("set", 0)


def _section(found: dict[str, list[Outcome]]) -> Section:
    rows: list[Sequence[str]] = [
        ("crowd", "sections/s", "ratio", "ms each", "tries each", "wait p50 ms", "p99 ms", "Jain's index")
    ]
    for name, outcomes in found.items():
        base = THEIRS_TASKS if "asyncio" in name else THEIRS
        times = ratio([one.rate for one in outcomes], [one.rate for one in found[base]])
        each, tries, p50, p99, jain = (
            median(one[place] for one in outcomes) for place in range(1, len(Outcome._fields) - 1)
        )
        rows.append((
            name, f"{median(one.rate for one in outcomes):,.0f}", str(times), f"{each:.2f}", f"{tries:.1f}",
            f"{p50:,.0f}", f"{p99:,.0f}", f"{jain:.2f}",
        ))  # fmt: skip
    promises = []
    for name in (one for one in found if "Holdfast" in one):
        overlaps = sum(one.overlaps for one in found[name])
        promises.append(Promise(
            f"{name}, crowd: no two sections at once", f"{overlaps} overlaps", overlaps == 0, safety=True
        ))  # fmt: skip
    for name, base in ((OURS_TASKS, THEIRS_TASKS), (OURS, THEIRS)):
        times = ratio([one.rate for one in found[name]], [one.rate for one in found[base]])
        text = f"{name}, crowd: at least 1 x the sections of {base}"
        promises.append(Promise(text, times.whole, times.middle >= 1))
    text = (
        f"{PROCESSES} processes with {CALLERS} tasks or threads each; every one of them wants the lock "
        f"{EACH} times, for {1e3 * STAY:g} ms. Medians of the rounds; the ratio is to redis-py's Lock of the "
        "same flavour, which asks every 100 ms. Tries: attempts that reach the server, for one section; "
        "of Holdfast the renewals, too. "
        "Jain's index of the sections that each had when half of all were done: 1 if all had equally many, "
        "0.01 if one of a hundred had them all. It is easy to be quick and unfair: who has the lock takes it "
        "again before the others ask."
    )
    data = [{"name": name, "rounds": [one._asdict() for one in outcomes]} for name, outcomes in found.items()]
    return Section("Locks: a crowd", text, rows, promises, data)
