"""What a stream holds after a million messages that were handled and acknowledged, as a work queue.

In steps: so many are published, all are handled, and the server is asked what it still holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import redis

from benchmarks import harness
from benchmarks.harness import Candidate, Handler, Run, Worker
from benchmarks.report import Promise, Section
from benchmarks.streams import libraries
from benchmarks.streams.libraries import Library
from benchmarks.streams.rates import fill, unacknowledged

LIBRARIES = {
    "Holdfast, work queue": 1_000_000, "Holdfast, work queue, asyncio": 1_000_000,
    "taskiq-redis": 20_000, "FastStream": 20_000, "arq": 5_000, "streaq": 5_000,
}  # fmt: skip
SIZE, STEPS = 100, 10
FLAT = 10_000  # bytes of keys that stay, in a queue with nothing in it


@dataclass(frozen=True)
class Life:
    """Publishes and handles, step by step. An object, so that it can travel to a worker."""

    library: Library

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        async def handle(count: int) -> None:
            payload: Any = "x" * SIZE if self.library.text else b"x" * SIZE
            done, loop, seen = asyncio.Event(), asyncio.get_running_loop(), 0

            def on_message(_: Any) -> None:
                nonlocal seen
                seen += 1
                if seen == count:
                    loop.call_soon_threadsafe(done.set)

            async with self.library.open(url, "memory") as station:
                await fill(self.library, station, payload, count)
                async with station.consuming(on_message):
                    await asyncio.wait_for(done.wait(), 50)

        yield handle


def measure(run: Run) -> list[Section]:
    """One table."""
    those = [one for one in libraries.there() if one.name in LIBRARIES]
    rows: list[Sequence[str]] = [(
        "acknowledged", "messages", "keys that stay, after 1/10, bytes", "after 1/2", "after all",
        "for each message", "keys with a ttl", "server's memory, MB", "left unacknowledged",
    )]  # fmt: skip
    promises, data = [], {}
    with redis.Redis(**harness.address(run.url)) as aside:
        for one in those:
            total = LIBRARIES[one.name] // (1000 if run.quick else 1)
            aside.flushall()
            before = aside.info("memory")["used_memory"]
            found = _live(run, aside, one, total)
            held = [stays for stays, _, _ in found]
            grown = (held[-1] - held[0]) / (total * (STEPS - 1) / STEPS)
            served = (found[-1][2] - before) / 1e6
            left = unacknowledged(aside)
            data[one.name] = found
            rows.append((one.name, f"{total:,}", f"{held[0]:,}", f"{held[STEPS // 2 - 1]:,}", f"{held[-1]:,}",
                         f"{grown:.1f}", f"{found[-1][1]:,}", f"{served:+.1f}", f"{left}"))  # fmt: skip
            if not one.peer:
                text = f"{one.name}: at most {FLAT:,} bytes stay after {total:,} messages"
                promises.append(Promise(text, f"{held[-1]:,}", held[-1] <= FLAT and not left, safety=True))
    text = (
        f"Messages of {SIZE} bytes, published and handled in {STEPS} steps; after each step MEMORY USAGE of "
        "all keys on the server that have no ttl, at the end also of those that have one, and how much more "
        "memory the server uses than before the first. Holdfast's with a ttl are the requests of each "
        "client, remembered for a minute: the last 1,000, so that a repeated one is recognised."
    )
    return [Section("Streams: memory", text, rows, promises, data)]


def _live(run: Run, aside: Any, one: Library, total: int) -> list[tuple[int, int, int]]:
    found = []
    _, cpu = harness.cpus()
    with Worker(Candidate(one.name, Life(one)), run.url, cpu) as worker:
        for step in range(STEPS):
            run.say(f"memory: {one.name}, step {step + 1} of {STEPS}")
            worker.run(total // STEPS)
            stays, goes = 0, 0
            for key in aside.scan_iter(count=1000):
                held = aside.memory_usage(key, samples=0) or 0
                stays, goes = (stays + held, goes) if aside.pttl(key) == -1 else (stays, goes + held)
            found.append((stays, goes, aside.info("memory")["used_memory"]))
    return found
