"""Analytics: events counted per second by one process, written in batches; and bytes per series.

Promised: at least 200,000 counted events per second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import redis

from benchmarks import harness
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Results, Run
from benchmarks.metering.memory import of_all
from benchmarks.report import Promise, Section
from holdfast import AsyncHoldfast, Holdfast

PLANS = ["free", "pro", "team", "trial", "gone"]
BATCH = 1000  # events between two looks at the clock, and turns of the loop
SERIES = 20

CELLS: dict[Cell, float] = {
    ("count", 1): 1,
    ("tags", 1): 1,
    ("unique", 1): 1,
    ("top", 1): 1,
    ("observe", 1): 1,
}


@asynccontextmanager
async def holdfast_thread(url: str) -> AsyncIterator[Handler]:
    """A thread counts; the writing in the background is part of it, and of its CPU."""
    with Holdfast(url) as hf:
        hits = hf.analytics("thread")

        def some(load: str, numbers: range) -> None:
            if load == "count":
                for _ in numbers:
                    hits.count("signup")
            elif load == "tags":
                for number in numbers:
                    hits.count("tagged", tags={"plan": PLANS[number % 5]})
            elif load == "unique":
                for number in numbers:
                    hits.unique("visitors", number % 5000)
            elif load == "top":
                for number in numbers:
                    hits.top("pages", f"/{number % 500}")
            else:
                for number in numbers:
                    hits.observe("seconds", number % 997 / 1000)

        async def handle(load: str, _: int, seconds: float) -> Figures:
            meter = Meter()
            while meter.figures().wall < seconds:
                some(load, range(meter.done, meter.done + BATCH))
                meter.done += BATCH
            hits.flush()
            return meter.figures()

        yield handle


@asynccontextmanager
async def holdfast_tasks(url: str) -> AsyncIterator[Handler]:
    """The same as coroutines."""
    async with AsyncHoldfast(url) as hf:
        hits = hf.analytics("tasks")

        async def some(load: str, numbers: range) -> None:
            if load == "count":
                for _ in numbers:
                    await hits.count("signup")
            elif load == "tags":
                for number in numbers:
                    await hits.count("tagged", tags={"plan": PLANS[number % 5]})
            elif load == "unique":
                for number in numbers:
                    await hits.unique("visitors", number % 5000)
            elif load == "top":
                for number in numbers:
                    await hits.top("pages", f"/{number % 500}")
            else:
                for number in numbers:
                    await hits.observe("seconds", number % 997 / 1000)

        async def handle(load: str, _: int, seconds: float) -> Figures:
            meter = Meter()
            while meter.figures().wall < seconds:
                await some(load, range(meter.done, meter.done + BATCH))
                await asyncio.sleep(0)
                meter.done += BATCH
            await hits.flush()
            return meter.figures()

        yield handle


@asynccontextmanager
async def by_hand(url: str) -> AsyncIterator[Handler]:
    """redis-py: HINCRBY of a minute, an hour and a day, in pipelines of 100 events."""
    with redis.Redis(**harness.address(url)) as client:

        async def handle(load: str, _: int, seconds: float) -> Figures:
            meter = Meter()
            while load == "count" and meter.figures().wall < seconds:
                with client.pipeline(transaction=False) as pipe:
                    for _ in range(100):
                        now = datetime.now(UTC)
                        for resolution, form in (("1m", "%d%H%M"), ("1h", "%d%H"), ("1d", "%d")):
                            pipe.hincrby(f"hand:{resolution}:{now:%Y%m}", f"{now:{form}}", 1)
                    pipe.execute()
                meter.done += 100
            return meter.figures()

        yield handle


def measure(run: Run) -> list[Section]:
    """Speed; memory."""
    run.say("analytics")
    candidates = [
        Candidate("holdfast, a thread", holdfast_thread),
        Candidate("holdfast, asyncio", holdfast_tasks),
        Candidate("redis-py, pipelines of 100", by_hand),
    ]
    found = harness.interleave(run, candidates, CELLS)
    rows: list[Sequence[str]] = [("events per second", *(cell[0] for cell in CELLS))]
    rows += [
        (one.name, *(f"{median(_rates(found, one.name, cell)):,.0f}" for cell in CELLS)) for one in candidates
    ]
    promises = [
        Promise(f"{name}: at least 200,000 counted events/s", f"{rate:,.0f}", rate >= 200_000)
        for name in ("holdfast, a thread", "holdfast, asyncio")
        if (rate := median(_rates(found, name, ("count", 1))))
    ]
    text = (
        "One process; to the end of the last write, at three resolutions. `tags`: one tag with five values. "
        "`unique`: 5,000 visitors, `top`: 500 pages, `observe`: 997 different values."
    )
    return [Section("Analytics", text, rows, promises), _memory(run)]


def _memory(run: Run) -> Section:
    """What a day of minutes takes, in the server, of each series."""
    rows: list[Sequence[str]] = [
        ("a day of minutes", "series", "bytes per series", "bytes per counted minute")
    ]
    with Holdfast(run.url, timeout="60s") as hf:
        for series in (1, SERIES):
            hf.execute("FLUSHALL")
            hits = hf.analytics(f"memory {series}", resolutions={"1m": "2d"}, max_pending=1_000_000)
            begin = datetime.now(UTC) - timedelta(days=1)
            for minute in range(1440):
                for number in range(series):
                    tags: Any = {"plan": f"plan {number}"} if series > 1 else None
                    hits.count("signup", 1 + minute % 100, tags=tags, at=begin + timedelta(minutes=minute))
            hits.flush()
            total = of_all(hf)
            each = total / (series + (series > 1))  # the totals are one more
            rows.append((f"{series} combination{'s' * (series > 1)} of tags", f"{series}", f"{each:,.0f}",
                         f"{each / 1440:.1f}"))  # fmt: skip
        hf.execute("FLUSHALL")
    text = "Every minute of a day has a count; the sum of MEMORY USAGE of all keys, the indexes included."
    return Section("Analytics: memory", text, rows)


def _rates(found: Results, name: str, cell: Cell) -> list[float]:
    return [one.rate for one in found[name, cell]]
