"""TLS: against redis-py over TLS, and against Holdfast without. Promised, against redis-py over TLS:

* 100 tasks: at least 4 times as many GETs per second; 8 threads: at least 1.3 times; 1 of either: not slower.
* A new client that asks once and is closed: not slower.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import redis
import redis.asyncio

from benchmarks import harness, tasks, threads
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Results, Run, ratio
from benchmarks.report import Promise, Section
from benchmarks.tasks import KEYS, VALUE, Talk
from holdfast import AsyncHoldfast, Holdfast, embedded

NAMES = [f"bench:{number}" for number in range(KEYS)]

TASKS: dict[Cell, float] = {("GET", 1): 1, ("GET", 100): 1, ("connect", 1): 1}
THREADS: dict[Cell, float] = {("GET", 1): 1, ("GET", 8): 1, ("connect", 1): 1}


def _options(url: str) -> dict[str, Any]:
    """What redis-py is to be told of the place `url`."""
    where, _, authority = url.partition("?tls_ca=")
    return harness.address(where.rpartition("/")[0]) | (
        {"ssl": True, "ssl_ca_certs": authority} if authority else {}
    )


# --- asyncio ------------------------------------------------------------------------------------------------


async def _connects(fresh: Callable[[], Awaitable[None]], seconds: float) -> Figures:
    """New clients, one after the other: each asks once and is closed, which counts too."""
    meter = Meter()
    give_up = perf_counter() + seconds
    while (begun := perf_counter()) < give_up:
        await fresh()
        meter.latencies.append(perf_counter() - begun)
        meter.done += 1
    return meter.figures()


def _tasks(talk: Talk, fresh: Callable[[], Awaitable[None]]) -> Handler:
    async def handle(load: str, size: int, seconds: float) -> Figures:
        return await (_connects(fresh, seconds) if load == "connect" else tasks.closed(talk, size, seconds))

    return handle


@asynccontextmanager
async def redis_py_tasks(url: str) -> AsyncIterator[Handler]:
    """redis-py with the authority's certificate."""

    async def fresh() -> None:
        async with redis.asyncio.Redis(**_options(url)) as one:
            assert await one.get(NAMES[0]) == VALUE

    async with redis.asyncio.Redis(**_options(url)) as client:
        await client.mset(dict.fromkeys(NAMES, VALUE))
        yield _tasks(Talk(client.get, NAMES, VALUE), fresh)


@asynccontextmanager
async def holdfast_tasks(url: str) -> AsyncIterator[Handler]:
    """A raw command."""

    async def fresh() -> None:
        one = AsyncHoldfast(url)
        assert await one.execute("GET", NAMES[0]) == VALUE
        await one.close()

    async with AsyncHoldfast(url) as hf:
        for name in NAMES:
            await hf.execute("SET", name, VALUE)
        yield _tasks(Talk(partial(hf.execute, "GET"), NAMES, VALUE), fresh)


# --- threads ------------------------------------------------------------------------------------------------


def _threads(ask: threads.Ask, fresh: Callable[[], None]) -> Handler:
    async def afresh() -> None:
        fresh()

    async def handle(load: str, size: int, seconds: float) -> Figures:
        if load == "connect":
            return await _connects(afresh, seconds)
        return threads.closed(lambda: ask, NAMES, VALUE, size, seconds)

    return handle


@asynccontextmanager
async def redis_py_threads(url: str) -> AsyncIterator[Handler]:
    """redis-py with the authority's certificate; all threads share the client."""

    def fresh() -> None:
        with redis.Redis(**_options(url)) as one:
            assert one.get(NAMES[0]) == VALUE

    with redis.Redis(**_options(url)) as client:
        client.mset(dict.fromkeys(NAMES, VALUE))
        yield _threads(client.get, fresh)


@asynccontextmanager
async def holdfast_threads(url: str) -> AsyncIterator[Handler]:
    """A raw command; all threads share the client."""

    def fresh() -> None:
        one = Holdfast(url)
        assert one.execute("GET", NAMES[0]) == VALUE
        one.close()

    with Holdfast(url) as hf:
        for name in NAMES:
            hf.execute("SET", name, VALUE)
        yield _threads(partial(hf.execute, "GET"), fresh)


# --- what comes out -----------------------------------------------------------------------------------------


@contextmanager
def _servers() -> Iterator[dict[str, str]]:
    """The same program twice, with TLS and without, on the server's CPU: where each is."""
    with ExitStack() as stack:
        secure = stack.enter_context(embedded.start(port=True, password="", tls=True))
        plain = stack.enter_context(embedded.start(port=True, password="", binary=secure.binary))
        for one in (secure, plain):
            harness.pin(one.pid or 0, harness.cpus()[0])
        authority = f"rediss://127.0.0.1:{secure.port}/0?tls_ca={secure.query['tls_ca']}"
        yield {"TLS": authority, "plain": plain.url, "program": f"{secure.kind} {secure.version}"}


def measure(run: Run) -> list[Section]:
    """A table for tasks and one for threads."""
    made: list[Section] = []
    with _servers() as where:
        for what, kinds, cells in (
            ("task", {"redis-py": redis_py_tasks, "Holdfast": holdfast_tasks}, TASKS),
            ("thread", {"redis-py": redis_py_threads, "Holdfast": holdfast_threads}, THREADS),
        ):
            run.say(f"tls: {what}s")
            candidates = [Candidate(f"{kind}, {how}", opener, url=where[how])
                          for how in ("TLS", "plain") for kind, opener in kinds.items()]  # fmt: skip
            found = harness.interleave(run, candidates, cells)
            made.append(_section(what, found, where["program"]))
    return made


def _load(cell: Cell, what: str) -> str:
    return "new client" if cell[0] == "connect" else f"GET, {cell[1]} {what}{'s' * (cell[1] > 1)}"


def _times(found: Results, name: str, other: str, cell: Cell) -> harness.Ratio:
    ours, theirs = ([one.rate for one in found[of, cell]] for of in (name, other))
    return ratio(ours, theirs)


def _section(what: str, found: Results, program: str) -> Section:
    cells = list(dict.fromkeys(cell for _, cell in found))
    rows: list[Sequence[str]] = [("load", "client", "/s", "of redis-py's", "of plain", "CPU us", "median ms")]
    for cell in cells:
        for name in dict.fromkeys(name for name, _ in found):
            kind, _, how = name.partition(", ")
            figures = found[name, cell]
            middle = 1000 * median(one.p50 or one.wall / max(1, one.done) * cell[1] for one in figures)
            rows.append((_load(cell, what), name, f"{median(one.rate for one in figures):,.0f}",
                         str(_times(found, name, f"redis-py, {how}", cell)),
                         str(_times(found, name, f"{kind}, plain", cell)),
                         f"{median(one.cost for one in figures):.1f}", f"{middle:.3f}"))  # fmt: skip
    promises = []
    for cell in cells:
        least = {("GET", 100): 4.0, ("GET", 8): 1.3}.get((cell[0], cell[1]), 1.0)
        times = _times(found, "Holdfast, TLS", "redis-py, TLS", cell)
        promises.append(Promise(f"Holdfast, TLS, {what}s, {_load(cell, what)}: at least {least:g} x redis-py",
                                times.whole, times.middle >= least))  # fmt: skip
    text = (
        f"{program}. A new client is made, asks once and is closed, one after the other: TCP, TLS, HELLO, "
        "GET; both check the server's certificate and show none. Ratios of rates: the median of the rounds'."
    )
    return Section(f"TLS: {what}s", text, rows, promises, harness.raw(found))
