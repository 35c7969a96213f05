"""A lock that nobody else wants: `with lock: pass`, again and again."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

from benchmarks import harness
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Results, Run, ratio
from benchmarks.locks import libraries
from benchmarks.locks.libraries import OURS, OURS_TASKS, THEIRS, THEIRS_TASKS, Library, Make
from benchmarks.report import Promise, Section

THREADS = (
    OURS, THEIRS, "python-redis-lock", "python-redis-lock, renewed", "pottery", "SET NX and DEL",
)  # fmt: skip
TASKS = (OURS_TASKS, THEIRS_TASKS, "pottery, asyncio", "SET NX and DEL, asyncio")


@dataclass(frozen=True)
class Solo:
    """Callers with a lock each. An object, so that it can travel to a worker."""

    library: Library

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        async with self.library.open(url) as make:
            names = itertools.count(time.time_ns())

            async def handle(callers: int, seconds: float) -> Figures:
                mine = [f"solo:{next(names)}" for _ in range(callers)]
                run = _tasks if self.library.tasks else _threads
                return await run(make, mine, seconds)

            yield handle


async def _tasks(make: Make, names: Sequence[str], seconds: float) -> Figures:
    meter = Meter()

    async def caller(name: str) -> None:
        lock = make(name)
        while meter.running:
            begun = time.perf_counter()
            async with lock:
                pass
            meter.latencies.append(time.perf_counter() - begun)
            meter.done += 1

    async def stop() -> None:
        await asyncio.sleep(seconds)
        meter.running = False

    meter.start()
    await asyncio.gather(stop(), *map(caller, names))
    return meter.figures()


async def _threads(make: Make, names: Sequence[str], seconds: float) -> Figures:
    meter = Meter()
    latencies: list[list[float]] = [[] for _ in names]

    def caller(name: str, mine: list[float]) -> None:
        lock = make(name)
        while meter.running:
            begun = time.perf_counter()
            with lock:
                pass
            mine.append(time.perf_counter() - begun)

    crew = [threading.Thread(target=caller, args=pair) for pair in zip(names, latencies, strict=True)]
    meter.start()
    for one in crew:
        one.start()
    time.sleep(seconds)  # noqa: ASYNC251 - no loop runs here
    meter.running = False
    for one in crew:
        one.join()
    meter.latencies = list(itertools.chain(*latencies))
    meter.done = len(meter.latencies)
    return meter.figures()


def measure(run: Run) -> list[Section]:
    """Two tables: threads, tasks."""
    return [
        _section(run, "Locks: threads that do not meet", THREADS, (1, 8), "thread"),
        _section(run, "Locks: tasks that do not meet", TASKS, (1, 100), "task"),
    ]


def _section(run: Run, title: str, names: Sequence[str], callers: tuple[int, int], what: str) -> Section:
    run.say(title)
    those = libraries.there(*names)
    cells: dict[Cell, float] = {(number,): 0.5 for number in callers}
    found = harness.interleave(run, [Candidate(one.name, Solo(one)) for one in those], cells)
    rows: list[Sequence[str]] = [_heading(callers, what)]
    rows += [(one.name, *(text for number in callers for text in _row(found, one.name, names[1], number)))
             for one in those]  # fmt: skip
    promises = []
    for number in callers:
        times = _times(found, names[0], names[1], number)
        who = f"{number} {what}{'s' * (number > 1)}"
        text = f"{names[0]}, lock that nobody wants, {who}: at least 1 x {names[1]}'s"
        promises.append(Promise(text, times.whole, times.middle >= 1))
    text = (
        f"`with lock: pass` per second, on one lock object per {what}, and the median of the rounds' "
        "ratios to redis-py's Lock. Holdfast's lock is one that will be renewed and has a fence; of "
        "the others only `auto_renewal=True` of python-redis-lock is renewed, by a thread for each. "
        f"SET NX and DEL: two commands through redis-py and nothing else. {libraries.versions()}."
    )
    return Section(title, text, rows, promises, harness.raw(found))


def _heading(callers: tuple[int, int], what: str) -> Sequence[str]:
    few, many = callers
    return (
        "with lock", f"{few} {what} /s", "ratio", "CPU us", "p99 ms",
        f"{many} {what}s /s", "ratio", "CPU us", "p99 ms",
    )  # fmt: skip


def _row(found: Results, name: str, base: str, callers: int) -> tuple[str, str, str, str]:
    figures = found[name, (callers,)]
    return (
        f"{median(one.rate for one in figures):,.0f}",
        str(_times(found, name, base, callers)),
        f"{median(one.cost for one in figures):.0f}",
        f"{1e3 * median(one.p99 for one in figures):.2f}",
    )


def _times(found: Results, name: str, base: str, callers: int) -> harness.Ratio:
    ours, theirs = ([one.rate for one in found[of, (callers,)]] for of in (name, base))
    return ratio(ours, theirs)
