"""asyncio: many tasks share one client. Promised, against redis.asyncio's own GET of 100 bytes:

* 100 tasks: `hf.execute("GET")` at least 6 times as many per second; `cache.get`, which brings a decoded,
  typed value, at least 4 times.
* 1 task: not slower. 1,000 tasks: no errors. Sparse load, where nothing can be batched: less CPU.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
import redis.asyncio

from benchmarks import harness
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Results, Run, ratio
from benchmarks.limit import AsyncLimit
from benchmarks.report import Promise, Section
from holdfast import AsyncHoldfast

KEYS = 100
VALUE = b"x" * 100
SPARSE = 2500  # operations per second
SLEEPERS = 200

LOADS: dict[Cell, float] = {("tasks", 1): 1, ("tasks", 100): 1, ("tasks", 1000): 1, ("sparse", SPARSE): 3}


class Airport(msgspec.Struct):
    """What the cache holds: 100 bytes as msgpack."""

    code: str
    name: str
    city: str
    latitude: float
    longitude: float
    runways: list[int]


AIRPORT = Airport("BOS", "General Edward Lawrence Logan", "Boston", 42.3643, -71.0052, [3073, 2396])


class Talk(NamedTuple):
    """`ask(key)` gives `answer` for each of `keys`."""

    ask: Callable[[str], Awaitable[Any]]
    keys: list[str]
    answer: Any


# --- the candidates -----------------------------------------------------------------------------------------


async def _store(client: redis.asyncio.Redis) -> list[str]:
    keys = [f"bench:{number}" for number in range(KEYS)]
    await client.mset(dict.fromkeys(keys, VALUE))
    return keys


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Handler]:
    """redis-py as `Redis(host, port)` makes it: with hiredis, RESP3, and at most 100 connections."""
    async with redis.asyncio.Redis(**harness.address(url)) as client:
        yield await handler(Talk(client.get, await _store(client), VALUE))


@asynccontextmanager
async def holdfast_get(url: str) -> AsyncIterator[Handler]:
    """A raw command."""
    async with redis.asyncio.Redis(**harness.address(url)) as client:
        keys = await _store(client)
    async with AsyncHoldfast(url) as hf:
        yield await handler(Talk(partial(hf.execute, "GET"), keys, VALUE))


@asynccontextmanager
async def holdfast_cache(url: str) -> AsyncIterator[Handler]:
    """A hit in Redis: entry and epoch in one round trip, checked and decoded into an Airport."""
    async with AsyncHoldfast(url) as hf:
        airports = hf.cache("airports", ttl="1h", type=Airport)
        keys = [f"{number:03}" for number in range(KEYS)]
        for key in keys:
            assert await airports.set(key, AIRPORT)
        yield await handler(Talk(airports.get, keys, AIRPORT))


@asynccontextmanager
async def limit(url: str) -> AsyncIterator[Handler]:
    """See limit.py."""
    where = harness.address(url)
    async with redis.asyncio.Redis(**where) as client:
        keys = await _store(client)
    _, protocol = await asyncio.get_running_loop().create_connection(AsyncLimit, where["host"], where["port"])
    yield await handler(Talk(partial(protocol.ask, "GET"), keys, VALUE))
    protocol.close()


@asynccontextmanager
async def nothing(url: str) -> AsyncIterator[Handler]:
    """No client at all: what the sparse load itself costs."""
    assert url

    async def answer(key: str) -> str:
        return key

    async def handle(load: str, size: int, seconds: float) -> Figures:
        return await _sparse(Talk(answer, [""], ""), size, seconds) if load == "sparse" else Meter().figures()

    yield handle


# --- the loads ----------------------------------------------------------------------------------------------


async def handler(talk: Talk) -> Handler:
    """The function that runs one cell, after a look whether the answer is right."""
    assert await talk.ask(talk.keys[0]) == talk.answer

    async def handle(load: str, size: int, seconds: float) -> Figures:
        return await (closed if load == "tasks" else _sparse)(talk, size, seconds)

    return handle


async def closed(talk: Talk, tasks: int, seconds: float) -> Figures:
    """`tasks` that ask one thing after another."""
    meter = Meter()
    keys = cycle(talk.keys)

    async def caller() -> None:
        while meter.running:
            try:
                await talk.ask(next(keys))
                meter.done += 1
            except Exception as error:  # noqa: BLE001 (counted by its name)
                meter.errors[type(error).__name__] += 1
                await asyncio.sleep(0.01)  # whoever was refused tries again a little later

    asyncio.get_running_loop().call_later(seconds, setattr, meter, "running", False)
    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(caller())
    return meter.figures()


async def _sparse(talk: Talk, rate: int, seconds: float) -> Figures:
    """`rate` questions per second at random moments, from tasks that mostly sleep."""
    meter = Meter()
    keys = cycle(talk.keys)
    dice = random.Random(1)

    async def caller() -> None:
        while True:
            await asyncio.sleep(dice.expovariate(rate / SLEEPERS))
            if not meter.running:
                return
            begun = perf_counter()
            try:
                await talk.ask(next(keys))
            except Exception as error:  # noqa: BLE001 (counted by its name)
                meter.errors[type(error).__name__] += 1
                continue
            meter.latencies.append(perf_counter() - begun)
            meter.done += 1

    async with asyncio.TaskGroup() as group:
        sleepers = [group.create_task(caller()) for _ in range(SLEEPERS)]
        await asyncio.sleep(seconds)
        meter.running = False
        figures = meter.figures()
        await asyncio.sleep(0.05)  # until the last answer is there: all of them sleep now
        for sleeper in sleepers:
            sleeper.cancel()
    return figures


# --- what comes out -----------------------------------------------------------------------------------------

_KINDS = {
    "redis-py": redis_py,
    "execute": holdfast_get,
    "cache.get": holdfast_cache,
    "limit": limit,
    "nothing": nothing,
}


def candidates() -> list[Candidate]:
    """Everything, on asyncio's own loop and on uvloop where that is installed."""
    loops = ["", ", uvloop"] if find_spec("uvloop") else [""]
    return [Candidate(kind + loop, opener, bool(loop)) for loop in loops for kind, opener in _KINDS.items()]


def measure(run: Run) -> list[Section]:
    """Three tables: throughput, cost, sparse load."""
    everything = candidates()
    run.say("tasks")
    found = harness.interleave(run, everything, LOADS)
    names = [one.name for one in everything if one.open is not nothing]
    return [_throughput(found, names), _cost(found, names), _sparse_section(found, names)]


def _baseline(name: str) -> str:
    return "redis-py, uvloop" if name.endswith("uvloop") else "redis-py"


def _rates(found: Results, name: str, tasks: int) -> list[float]:
    return [one.rate for one in found[name, ("tasks", tasks)]]


def _throughput(found: Results, names: list[str]) -> Section:
    rows: list[Sequence[str]] = [
        ("GET, 100 bytes", "1 task /s", "ratio", "100 tasks /s", "ratio", "1,000 tasks /s", "errors")
    ]
    for name in names:
        row = [name]
        for tasks in (1, 100, 1000):
            rates = _rates(found, name, tasks)
            row.append(f"{median(rates):,.0f}")
            if tasks < 1000:
                row.append(str(ratio(rates, _rates(found, _baseline(name), tasks))))
        rows.append((*row, _errors(found, name)))
    text = (
        "Operations per second, and the median of the rounds' ratios to redis-py on the same event loop. "
        "`cache.get` brings a typed, decoded value; the others bring bytes. Errors: of all rounds at 1,000 "
        "tasks. There redis-py serves only those that get one of its 100 connections, so no ratio is given."
    )
    return Section("Tasks: throughput", text, rows, _promises(found, names))


def _errors(found: Results, name: str) -> str:
    kinds: dict[str, int] = {}
    for one in found[name, ("tasks", 1000)]:
        for kind, number in one.errors.items():
            kinds[kind] = kinds.get(kind, 0) + number
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds.items()) or "0"


def _promises(found: Results, names: list[str]) -> list[Promise]:
    promises = []
    for kind, tasks, least in (("execute", 100, 6.0), ("cache.get", 100, 4.0), ("execute", 1, 1.0)):
        for name in (one for one in names if one.partition(",")[0] == kind):
            times = ratio(_rates(found, name, tasks), _rates(found, _baseline(name), tasks))
            text = f"{name}, {tasks} task{'s' * (tasks > 1)}: at least {least:g} x redis-py"
            found_text = f"{times} ({times.low:.2f} to {times.high:.2f})"
            promises.append(Promise(text, found_text, times.middle >= least))
    for name in names:
        if name.startswith(("execute", "cache.get")):
            errors = _errors(found, name)
            promises.append(Promise(f"{name}, 1,000 tasks: no errors", errors, errors == "0", safety=True))
    return promises


def _cost(found: Results, names: list[str]) -> Section:
    rows: list[Sequence[str]] = [
        ("CPU per GET", "1 task us", "ratio", "100 tasks us", "ratio", "1,000 tasks us")
    ]
    for name in names:
        row = [name]
        for tasks in (1, 100, 1000):
            costs, theirs = ([one.cost for one in found[of, ("tasks", tasks)]]
                             for of in (name, _baseline(name)))  # fmt: skip
            row.append(f"{median(costs):.1f}")
            if tasks < 1000:
                row.append(str(ratio(costs, theirs)))
        rows.append(tuple(row))
    text = (
        "Microseconds of CPU of the client process per operation, and the ratio to redis-py: less is better."
    )
    return Section("Tasks: cost", text, rows)


def _sparse_section(found: Results, names: list[str]) -> Section:
    cell = ("sparse", SPARSE)
    rows = [("GET", "CPU us", "of redis-py's", "p50 us", "p99 us", "errors")]
    promises = []
    for name in names:
        costs, theirs = (_above_nothing(found, of) for of in (name, _baseline(name)))
        share = ratio(costs, theirs)
        figures = found[name, cell]
        p50, p99 = (1e6 * median(getattr(one, part) for one in figures) for part in ("p50", "p99"))
        errors = sum(sum(one.errors.values()) for one in figures)
        rows.append((name, f"{median(costs):.0f}", str(share), f"{p50:.0f}", f"{p99:.0f}", str(errors)))
        if name.startswith(("execute", "cache.get")):
            text = f"{name}, sparse load: less CPU than redis-py"
            promises.append(Promise(text, f"{share} of it ({share.low:.2f} to {share.high:.2f})",
                                    share.middle < 1))  # fmt: skip
    text = (
        f"{SLEEPERS} tasks sleep at random and then ask once, {SPARSE:,} times per second together, so that "
        "hardly two questions meet in one tick. CPU is above that of the same load without any client."
    )
    return Section("Tasks: sparse load", text, rows, promises)


def _above_nothing(found: Results, name: str) -> list[float]:
    idle = found["nothing, uvloop" if name.endswith("uvloop") else "nothing", ("sparse", SPARSE)]
    return [one.cost - other.cost for one, other in zip(found[name, ("sparse", SPARSE)], idle, strict=True)]
