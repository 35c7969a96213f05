"""From before a message is published until its handler begins, between two processes, at a low rate.

Clocks are CLOCK_MONOTONIC, which processes of a machine share; a payload is the moment of its publishing.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import harness
from benchmarks.harness import Candidate, Handler, Run, Worker
from benchmarks.report import Section
from benchmarks.streams import libraries
from benchmarks.streams.libraries import LIMIT, LIMIT_TASKS, OURS, OURS_TASKS, Library

LIBRARIES = (
    LIMIT, OURS, "walrus", LIMIT_TASKS, OURS_TASKS, "FastStream", "taskiq-redis", "arq", "streaq",
)  # fmt: skip
RATE, SAMPLES = 100, 200  # a second; of one visit
PATIENCE = 20.0


@dataclass(frozen=True)
class End:
    """Publishes, or handles, on demand. An object, so that it can travel to a worker."""

    library: Library

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        async def handle(what: str, name: str, count: int) -> list[float]:
            async with self.library.open(url, name) as station:
                role = self._publish if what == "publish" else self._handle
                return await role(station, count)

        yield handle

    async def _publish(self, station: Any, count: int) -> list[float]:
        dice = random.Random()
        for _ in range(count):
            moment = f"{time.monotonic():016.6f}"
            sent = station.publish(moment if self.library.text else moment.encode())
            if self.library.tasks:
                await sent
            await asyncio.sleep(dice.uniform(0, 2 / RATE))
        return []

    async def _handle(self, station: Any, count: int) -> list[float]:
        found: list[float] = []
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def on_message(moment: Any) -> None:
            found.append(time.monotonic() - float(moment))
            if len(found) == count:
                loop.call_soon_threadsafe(done.set)

        async with AsyncExitStack() as stack:
            await stack.enter_async_context(station.consuming(on_message))
            await asyncio.wait_for(done.wait(), PATIENCE)
        return found


def measure(run: Run) -> list[Section]:
    """One table."""
    those = libraries.there(*LIBRARIES)
    found: dict[str, list[list[float]]] = {one.name: [] for one in those}
    samples = 20 if run.quick else SAMPLES
    names = itertools.count(time.time_ns())
    _, cpu = harness.cpus()
    with ExitStack() as stack:
        pairs = {
            one.name: [
                stack.enter_context(Worker(Candidate(one.name, End(one)), run.url, cpu)) for _ in range(2)
            ]
            for one in those
        }
        for number in range(run.rounds):
            run.say(f"latency, round {number + 1} of {run.rounds}")
            for one in run.dice.sample(those, len(those)):
                here, there = pairs[one.name]
                name = f"latency-{next(names)}"
                here.send("handle", name, samples + 5)
                time.sleep(0.5)  # it connects, and finds nothing yet
                there.run("publish", name, samples + 5)
                found[one.name].append(here.result()[5:])
    return [_section(those, found)]


def _section(those: Sequence[Library], found: dict[str, list[list[float]]]) -> Section:
    rows: list[Sequence[str]] = [
        ("from publish to handler, ms", "p50", "lowest, highest p50 of a round", "p99", "highest")
    ]
    rows += [(one.name, *_spread(found[one.name])) for one in those]
    count = sum(map(len, found[those[0].name]))
    text = (
        "Milliseconds from before publish is called in one process until the handler begins in another, at "
        f"{RATE} messages a second at random moments; {count} samples over all rounds. By hand, and in "
        "FastStream, taskiq-redis and streaq, the worker stands in a blocking XREADGROUP with a "
        "connection of its own. arq asks every 10 ms here; by itself, every 500 ms."
    )
    return Section("Streams: latency", text, rows, [], found)


def _spread(rounds: Sequence[Sequence[float]]) -> tuple[str, str, str, str]:
    ordered = sorted(1e3 * one for times in rounds for one in times)
    last = len(ordered) - 1
    middles = [1e3 * median(times) for times in rounds]
    p50, p99, most = (f"{ordered[round(part * last)]:.2f}" for part in (0.5, 0.99, 1))
    return p50, f"{min(middles):.2f} to {max(middles):.2f}", p99, most
