"""Messages per second: published one by one, published in hundreds, and handled with an acknowledgement.

Handled: a worker finds as many messages as it handles in about `run.seconds`; the clock runs from the first
call of its handler to the last. Afterwards nothing may be unacknowledged.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import redis

from benchmarks import harness
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Results, Run, ratio
from benchmarks.report import Promise, Section
from benchmarks.streams import libraries
from benchmarks.streams.libraries import LIMIT, LIMIT_TASKS, OURS, OURS_TASKS, Library

SIZES = (16, 1024)
HUNDRED = 100
LEAST, FIRST = 200, 500  # messages to handle: at least, and while the rate is not known
PATIENCE = 20.0  # seconds for a worker to handle what it was given
SHARE, TIMES = 0.5, 3.0  # of the limit, and of the best peer


@dataclass(frozen=True)
class Work:
    """What a candidate does in a cell. An object, so that it can travel to a worker."""

    library: Library

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        names = itertools.count(time.time_ns())
        known: dict[int, float] = {}  # rates by size
        with redis.Redis(**harness.address(url)) as aside:

            async def handle(what: str, size: int, seconds: float) -> Figures:
                aside.flushall()
                payload: Any = "x" * size if self.library.text else b"x" * size
                async with self.library.open(url, f"rates-{next(names)}") as station:
                    if what != "handle":
                        many = HUNDRED if what == "hundreds" else 1
                        return await _publish(self.library, station, payload, many, seconds)
                    count = max(LEAST, int(known.get(size, FIRST / seconds) * seconds))
                    found = await _handle(self.library, station, payload, count)
                left = unacknowledged(aside)
                known[size] = found.rate
                return found._replace(errors={**found.errors, **({"left": left} if left else {})})

            yield handle


async def _publish(library: Library, station: Any, payload: Any, many: int, seconds: float) -> Figures:
    payloads = [payload] * many

    def send() -> Any:
        return station.publish(payload) if many == 1 else station.publish_many(payloads)

    for _ in range(5):  # connects
        await send() if library.tasks else send()
    meter = Meter()
    over = time.perf_counter() + seconds
    while time.perf_counter() < over:
        await send() if library.tasks else send()
        meter.done += many
    return meter.figures()


async def fill(library: Library, station: Any, payload: Any, count: int) -> None:
    """`count` messages, as fast as the library can."""
    for begin in range(0, count, HUNDRED):
        sent = station.publish_many([payload] * min(HUNDRED, count - begin))
        if library.tasks:
            await sent


async def _handle(library: Library, station: Any, payload: Any, count: int) -> Figures:
    await fill(library, station, payload, count)
    done, loop, meter = asyncio.Event(), asyncio.get_running_loop(), Meter()
    figures: list[Figures] = []

    def on_message(value: Any) -> None:
        if not meter.done:
            meter.start()
        meter.done += 1
        if value != payload:
            meter.errors["wrong"] += 1
        if meter.done == count:
            figures.append(meter.figures())
            loop.call_soon_threadsafe(done.set)

    async with station.consuming(on_message):
        try:
            await asyncio.wait_for(done.wait(), PATIENCE)
        except TimeoutError:
            meter.errors["stuck"] += 1
    if not figures:
        return meter.figures()
    if meter.done > count:
        return figures[0]._replace(errors={"twice": meter.done - count})
    return figures[0]


def unacknowledged(aside: Any) -> int:
    """Entries that a group of any stream on the server has read and not acknowledged, or not read."""
    left = 0
    for key in aside.scan_iter(_type="stream"):
        for group in aside.xinfo_groups(key):
            left += int(group["pending"] + (group["lag"] or 0))
    return left + sum(int(aside.zcard(key)) for key in aside.scan_iter("rates-*", _type="zset"))


# --- tables -------------------------------------------------------------------------------------------------

WHATS = ("one", "hundreds", "handle")


def measure(run: Run) -> list[Section]:
    """Two tables for each flavour: 16 bytes and 1 KB."""
    return [
        *_sections(run, "threads", LIMIT, OURS, [one for one in libraries.there() if not one.tasks]),
        *_sections(run, "asyncio", LIMIT_TASKS, OURS_TASKS, [one for one in libraries.there() if one.tasks]),
    ]


def _sections(run: Run, flavour: str, limit: str, ours: str, those: Sequence[Library]) -> list[Section]:
    run.say(f"streams, {flavour}")
    cells: dict[Cell, float] = {(what, size): 1 for what in WHATS for size in SIZES}
    found = harness.interleave(run, [Candidate(one.name, Work(one)) for one in those], cells)
    text = (
        "Messages per second, and the median of the rounds' ratios to redis-py by hand. Published: one after "
        "the other, each confirmed, and in hundreds. Handled: the handler counts, and what it has handled is "
        f"acknowledged. {libraries.describe()}"
    )
    sections = []
    for size in SIZES:
        rows: list[Sequence[str]] = [(
            f"{size} bytes", "published /s", "ratio", "in hundreds /s", "ratio", "handled /s", "ratio",
            "CPU us", "round trips for each", "if killed",
        )]  # fmt: skip
        rows += [_row(found, one, limit, size) for one in those]
        promises = _promises(found, those, limit, ours, size)
        sections.append(
            Section(f"Streams, {flavour}: {size} bytes", text, rows, promises, harness.raw(found))
        )
        text = "As above."
    return sections


def _row(found: Results, one: Library, limit: str, size: int) -> Sequence[str]:
    cells: list[str] = []
    for what in WHATS:
        rate = median(each.rate for each in found[one.name, (what, size)])
        cells += [f"{rate:,.0f}", str(_ratio(found, one.name, limit, (what, size)))]
    cost = median(each.cost for each in found[one.name, ("handle", size)])
    return (one.name, *cells, f"{cost:.1f}", one.trips, one.if_killed)


def _ratio(found: Results, name: str, to: str, cell: Cell) -> harness.Ratio:
    ours, theirs = ([each.rate for each in found[of, cell]] for of in (name, to))
    return ratio(ours, theirs)


def _promises(found: Results, those: Sequence[Library], limit: str, ours: str, size: int) -> list[Promise]:
    cell = ("handle", size)
    share = _ratio(found, ours, limit, cell)
    promises = [
        Promise(
            f"{ours}, handled, {size} bytes: at least {SHARE:g} x {limit}", share.whole, share.middle >= SHARE
        )
    ]
    peers = [one.name for one in those if one.peer and not one.batch]
    if peers:
        best = max(peers, key=lambda name: median(each.rate for each in found[name, cell]))
        times = _ratio(found, ours, best, cell)
        text = f"{ours}, handled, {size} bytes: at least {TIMES:g} x the best peer, {best}"
        promises.append(Promise(text, times.whole, times.middle >= TIMES))
    bad = sum(sum(each.errors.values()) for one in those if one.name.startswith("Holdfast")
              for what in WHATS for each in found[one.name, (what, size)])  # fmt: skip
    text = f"{ours} and its like, {size} bytes: nothing left, wrong or twice"
    promises.append(Promise(text, f"{bad}", bad == 0, safety=True))
    return promises
