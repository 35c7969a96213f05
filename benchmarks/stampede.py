"""A cold key, asked for by 4 processes with 50 callers each at one moment: exactly one load is promised.

Where everybody loads, a popular key that ends its life puts the whole fleet on the database at once. Who
waits should not poll either, so the commands that the server received are counted as well.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import NamedTuple

import redis

from benchmarks import harness, peers
from benchmarks.harness import Candidate, Handler, Run, Worker
from benchmarks.report import Promise, Section
from holdfast import AsyncHoldfast, Holdfast

PROCESSES, CALLERS = 4, 50
LOAD = 0.1  # seconds that a load takes
PEERS = ("aiocache", "cashews", "dogpile", "django_redis")


class Rush(NamedTuple):
    """How it went in one process: loads, and seconds until the last caller had its value."""

    loads: int
    seconds: float


class Outcome(NamedTuple):
    """How it went in all of them, with the commands that the server received."""

    loads: int
    seconds: float
    commands: int


def _rushing(read: peers.Reader) -> Handler:
    async def handle(key: str) -> Rush:
        loads = 0

        async def load() -> int:
            nonlocal loads
            loads += 1
            await asyncio.sleep(LOAD)
            return 42

        begun = time.perf_counter()
        values = await asyncio.gather(*(read(key, load) for _ in range(CALLERS)))
        assert set(values) == {42}
        return Rush(loads, time.perf_counter() - begun)

    return handle


@dataclass(frozen=True)
class Peer:
    """Opens a reader of peers.py as a candidate; an object, so that it can travel to a worker."""

    open: Callable[[str], AbstractAsyncContextManager[peers.Reader]]

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        async with self.open(url) as read:
            yield _rushing(read)


@asynccontextmanager
async def tasks(url: str) -> AsyncIterator[Handler]:
    """Holdfast, callers are tasks."""
    async with AsyncHoldfast(url) as hf:
        yield _rushing(hf.cache("stampede", ttl="1m", type=int).get_or_set)


@asynccontextmanager
async def threads(url: str) -> AsyncIterator[Handler]:
    """Holdfast, callers are threads."""
    with Holdfast(url, max_connections=CALLERS) as hf, ThreadPoolExecutor(CALLERS) as pool:
        cache = hf.cache("stampede", ttl="1m", type=int)

        async def handle(key: str) -> Rush:
            lock, loads = threading.Lock(), 0
            start = threading.Barrier(CALLERS)

            def load() -> int:
                nonlocal loads
                with lock:
                    loads += 1
                time.sleep(LOAD)
                return 42

            def caller() -> int:
                start.wait(harness.PATIENCE)
                return cache.get_or_set(key, load)

            begun = time.perf_counter()
            values = [each.result() for each in [pool.submit(caller) for _ in range(CALLERS)]]
            assert set(values) == {42}
            return Rush(loads, time.perf_counter() - begun)

        yield handle


def measure(run: Run) -> list[Section]:
    """One table. Every candidate gets a new key per round."""
    rows = [("cold key", "loads", "most in a round", "last value after ms", "commands per key")]
    promises = []
    peers_there = [Candidate(name, Peer(getattr(peers, name))) for name in PEERS if find_spec(name)]
    ours = [Candidate("Holdfast, tasks", tasks), Candidate("Holdfast, threads", threads)]
    for candidate in (*ours, Candidate("textbook", Peer(peers.textbook)), *peers_there):
        run.say(f"cold key: {candidate.name}")
        found = _rounds(run, candidate, run.rounds * (4 if candidate in ours and not run.quick else 1))
        loads = [one.loads for one in found]
        rows.append((
            candidate.name,
            f"{median(loads):g}",
            f"{max(loads)}",
            f"{1000 * median(one.seconds for one in found):.0f}",
            f"{median(one.commands for one in found):,.0f}",
        ))  # fmt: skip
        if candidate in ours:
            text = f"{candidate.name}, cold key, {PROCESSES} processes x {CALLERS} callers: 1 load"
            span = f"{min(loads)} to {max(loads)} in {len(loads)} rounds"
            promises.append(Promise(text, span, set(loads) == {1}, safety=True))
    text = (
        f"{PROCESSES} processes with {CALLERS} callers each ask for a key that nobody has; a load takes "
        f"{1000 * LOAD:.0f} ms. Median of the rounds. aiocache: `cached_stampede(lease=10)`; cashews: "
        "`cache(lock=True)`; dogpile: `distributed_lock=True`, from threads; all as their documentation "
        "recommends against this. django-redis: `get_or_set`, from threads."
    )
    return [Section("A cold key", text, rows, promises)]


def _rounds(run: Run, candidate: Candidate, rounds: int) -> list[Outcome]:
    outcomes = []
    with ExitStack() as stack:
        server = stack.enter_context(redis.Redis(**harness.address(run.url)))
        crew = [stack.enter_context(Worker(candidate, run.url, None)) for _ in range(PROCESSES)]
        for number in range(-1, rounds):
            before = _commands(server)
            for worker in crew:
                worker.send(f"{candidate.name}:{number}")
            rushes: list[Rush] = [worker.result() for worker in crew]
            if number >= 0:  # the first one opens the connections
                outcomes.append(
                    Outcome(
                        sum(rush.loads for rush in rushes),
                        max(rush.seconds for rush in rushes),
                        _commands(server) - before - 1,
                    )
                )
    return outcomes


def _commands(server: redis.Redis) -> int:
    return int(server.info("stats")["total_commands_processed"])
