"""Threads: at least 1.3 times as many GETs per second as redis-py, with 1 thread and with 8."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle
from statistics import median
from threading import Barrier, Thread
from time import sleep
from typing import Any

import redis

from benchmarks import harness
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Results, Run, ratio
from benchmarks.limit import Limit
from benchmarks.report import Promise, Section
from benchmarks.tasks import AIRPORT, KEYS, VALUE, Airport
from holdfast import Holdfast

LOADS: dict[Cell, float] = {(1,): 1, (8,): 1}
LEAST = 1.3

Ask = Callable[[str], Any]


def _store(client: redis.Redis) -> list[str]:
    keys = [f"bench:{number}" for number in range(KEYS)]
    client.mset(dict.fromkeys(keys, VALUE))
    return keys


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Handler]:
    """redis-py as `Redis(host, port)` makes it; all threads share it."""
    with redis.Redis(**harness.address(url)) as client:
        yield handler(lambda: client.get, _store(client), VALUE)


@asynccontextmanager
async def holdfast_get(url: str) -> AsyncIterator[Handler]:
    """A raw command; all threads share the client."""
    with redis.Redis(**harness.address(url)) as client:
        keys = _store(client)
    with Holdfast(url) as hf:
        yield handler(lambda: partial(hf.execute, "GET"), keys, VALUE)


@asynccontextmanager
async def holdfast_cache(url: str) -> AsyncIterator[Handler]:
    """A hit in Redis, decoded into an Airport."""
    with Holdfast(url) as hf:
        airports = hf.cache("airports", ttl="1h", type=Airport)
        keys = [f"{number:03}" for number in range(KEYS)]
        for key in keys:
            assert airports.set(key, AIRPORT)
        yield handler(lambda: airports.get, keys, AIRPORT)


@asynccontextmanager
async def limit(url: str) -> AsyncIterator[Handler]:
    """A bare socket per thread."""
    where = harness.address(url)
    with redis.Redis(**where) as client:
        keys = _store(client)
    yield handler(lambda: Limit(**where).get, keys, VALUE)


def handler(mine: Callable[[], Ask], keys: list[str], answer: Any) -> Handler:
    """The function that runs one cell; each thread asks through what `mine()` gives it."""

    async def handle(threads: int, seconds: float) -> Figures:
        return closed(mine, keys, answer, threads, seconds)

    return handle


def closed(mine: Callable[[], Ask], keys: list[str], answer: Any, threads: int, seconds: float) -> Figures:
    meter = Meter()
    ready = Barrier(threads + 1)
    counts = [0] * threads

    def caller(place: int) -> None:
        ask, done, ring = mine(), 0, cycle(keys[place:] + keys[:place])
        assert ask(keys[0]) == answer
        ready.wait()
        while meter.running:
            ask(next(ring))
            done += 1
        counts[place] = done

    crew = [Thread(target=caller, args=(place,)) for place in range(threads)]
    for thread in crew:
        thread.start()
    ready.wait(harness.PATIENCE)
    meter.start()
    sleep(seconds)
    meter.running = False
    for thread in crew:
        thread.join()
    meter.done = sum(counts)
    return meter.figures()


_KINDS = {"redis-py": redis_py, "execute": holdfast_get, "cache.get": holdfast_cache, "limit": limit}


def measure(run: Run) -> list[Section]:
    """One table."""
    everything = [Candidate(kind, opener) for kind, opener in _KINDS.items()]
    run.say("threads")
    found = harness.interleave(run, everything, LOADS)
    rows: list[Sequence[str]] = [
        ("GET, 100 bytes", "1 thread /s", "ratio", "CPU us", "8 threads /s", "ratio", "CPU us")
    ]
    promises = []
    for name in _KINDS:
        row = [name]
        for threads in (1, 8):
            times = _times(found, name, threads)
            figures = found[name, (threads,)]
            row += [f"{median(one.rate for one in figures):,.0f}", str(times),
                    f"{median(one.cost for one in figures):.1f}"]  # fmt: skip
            if name in {"execute", "cache.get"}:
                text = f"{name}, {threads} thread{'s' * (threads > 1)}: at least {LEAST} x redis-py"
                promises.append(Promise(text, f"{times} ({times.low:.2f} to {times.high:.2f})",
                                        times.middle >= LEAST))  # fmt: skip
        rows.append(tuple(row))
    text = "As above; all threads share one client, and Python runs one of them at a time."
    return [Section("Threads", text, rows, promises)]


def _times(found: Results, name: str, threads: int) -> harness.Ratio:
    ours, theirs = ([one.rate for one in found[of, (threads,)]] for of in (name, "redis-py"))
    return ratio(ours, theirs)
