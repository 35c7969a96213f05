"""A Cluster of three primaries. Promised, against redis-py's RedisCluster and its GET of 100 bytes:

* 100 tasks: at least 4 times as many per second; 1 task, 1 thread: not slower.
* MGET of 100 keys in as many slots, which both take apart: not slower.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import redis.asyncio.cluster
import redis.cluster

from benchmarks import harness, tasks, threads
from benchmarks.harness import Candidate, Cell, Figures, Handler, Results, Run, ratio
from benchmarks.report import Promise, Section
from benchmarks.tasks import KEYS, VALUE, Talk
from holdfast import AsyncHoldfast, Holdfast, embedded

NAMES = [f"bench:{number}" for number in range(KEYS)]
VALUES = [VALUE] * KEYS

TASKS: dict[Cell, float] = {("GET", 1): 1, ("GET", 10): 1, ("GET", 100): 1, ("MGET", 1): 1, ("MGET", 10): 1}
THREADS: dict[Cell, float] = {("GET", 1): 1, ("GET", 8): 1, ("MGET", 1): 1}


# --- asyncio ------------------------------------------------------------------------------------------------


async def _tasks(talks: Mapping[str, Talk]) -> Handler:
    for talk in talks.values():
        assert await talk.ask(talk.keys[0]) == talk.answer

    async def handle(load: str, size: int, seconds: float) -> Figures:
        return await tasks.closed(talks[load], size, seconds)

    return handle


@asynccontextmanager
async def redis_py_tasks(url: str) -> AsyncIterator[Handler]:
    """redis-py as `RedisCluster(host, port)` makes it."""
    async with redis.asyncio.cluster.RedisCluster(**harness.address(url)) as client:
        for name in NAMES:
            await client.set(name, VALUE)
        every = Talk(lambda _: client.mget_nonatomic(NAMES), ["all"], VALUES)
        yield await _tasks({"GET": Talk(client.get, NAMES, VALUE), "MGET": every})


@asynccontextmanager
async def holdfast_tasks(url: str) -> AsyncIterator[Handler]:
    """A raw command."""
    async with AsyncHoldfast(url) as hf:
        for name in NAMES:
            await hf.execute("SET", name, VALUE)
        every = Talk(lambda _: hf.execute("MGET", *NAMES), ["all"], VALUES)
        yield await _tasks({"GET": Talk(partial(hf.execute, "GET"), NAMES, VALUE), "MGET": every})


# --- threads ------------------------------------------------------------------------------------------------


def _threads(asks: Mapping[str, threads.Ask]) -> Handler:
    keys = {"GET": NAMES, "MGET": ["all"]}
    answers: dict[str, Any] = {"GET": VALUE, "MGET": VALUES}

    async def handle(load: str, size: int, seconds: float) -> Figures:
        return threads.closed(lambda: asks[load], keys[load], answers[load], size, seconds)

    return handle


@asynccontextmanager
async def redis_py_threads(url: str) -> AsyncIterator[Handler]:
    """redis-py as `RedisCluster(host, port)` makes it; all threads share it."""
    client = redis.cluster.RedisCluster(**harness.address(url))
    for name in NAMES:
        client.set(name, VALUE)
    yield _threads({"GET": client.get, "MGET": lambda _: client.mget_nonatomic(NAMES)})
    client.close()


@asynccontextmanager
async def holdfast_threads(url: str) -> AsyncIterator[Handler]:
    """A raw command; all threads share the client."""
    with Holdfast(url) as hf:
        for name in NAMES:
            hf.execute("SET", name, VALUE)
        yield _threads({"GET": partial(hf.execute, "GET"), "MGET": lambda _: hf.execute("MGET", *NAMES)})


# --- what comes out -----------------------------------------------------------------------------------------


class Target(NamedTuple):
    """What is promised: of which candidate, in which cell, how many times redis-py."""

    name: str
    cell: Cell
    least: float


_KINDS = {"redis-py": redis_py_tasks, "Holdfast": holdfast_tasks}
_THREADED = {"redis-py": redis_py_threads, "Holdfast": holdfast_threads}


def measure(run: Run) -> list[Section]:
    """Two tables."""
    loops = ["", ", uvloop"] if find_spec("uvloop") else [""]
    with embedded.cluster(primaries=3, replicas=0, password="") as lab:
        for node in lab.nodes:
            harness.pin(node.pid or 0, harness.cpus()[0])
        run.say("cluster: tasks")
        many = [Candidate(kind + loop, opener, bool(loop), lab.url)
                for loop in loops for kind, opener in _KINDS.items()]  # fmt: skip
        found = harness.interleave(run, many, TASKS)
        run.say("cluster: threads")
        crews = [Candidate(kind, opener, url=lab.url) for kind, opener in _THREADED.items()]
        threaded = harness.interleave(run, crews, THREADS)
    targets = [Target(f"Holdfast{loop}", ("GET", size), least)
               for loop in loops for size, least in ((100, 4.0), (10, 1.0), (1, 1.0))]  # fmt: skip
    targets += [Target(f"Holdfast{loop}", ("MGET", 10), 1.0) for loop in loops]
    text = (
        "Three primaries. Calls per second, the median of the rounds' ratios to redis-py's RedisCluster on "
        "the same event loop, and microseconds of CPU per call. MGET: 100 keys in as many slots."
    )
    return [
        _section("Cluster: tasks", "task", text, found, targets),
        _section("Cluster: threads", "thread", "As above; all threads share one client.", threaded,
                 [Target("Holdfast", ("GET", size), 1.0) for size in (1, 8)]),
    ]  # fmt: skip


def _rates(found: Results, name: str, cell: Cell) -> list[float]:
    return [one.rate for one in found[name, cell]]


def _section(title: str, what: str, text: str, found: Results, targets: Sequence[Target]) -> Section:
    cells = list(dict.fromkeys(cell for _, cell in found))
    names = list(dict.fromkeys(name for name, _ in found))
    rows: list[Sequence[str]] = [("load", "client", "/s", "ratio", "CPU us", "errors")]
    for cell in cells:
        for name in names:
            figures = found[name, cell]
            times = ratio(_rates(found, name, cell), _rates(found, _baseline(name), cell))
            rows.append((f"{cell[0]}, {cell[1]} {what}{'s' * (cell[1] > 1)}", name,
                         f"{median(one.rate for one in figures):,.0f}", str(times),
                         f"{median(one.cost for one in figures):.1f}",
                         str(sum(sum(one.errors.values()) for one in figures))))  # fmt: skip
    promises = []
    for name, cell, least in targets:
        times = ratio(_rates(found, name, cell), _rates(found, _baseline(name), cell))
        load = f"{cell[0]}, {cell[1]} {what}{'s' * (cell[1] > 1)}"
        promises.append(Promise(f"{name}, cluster, {load}: at least {least:g} x redis-py", times.whole,
                                times.middle >= least))  # fmt: skip
    return Section(title, text, rows, promises, harness.raw(found))


def _baseline(name: str) -> str:
    return name.replace("Holdfast", "redis-py")
