"""Tags: what it takes to invalidate every entry that has one. Promised: it does not depend on how many there
are; nor does `clear()`.

    python -m benchmarks tags                           100,000 entries, half a minute
    python -m benchmarks.tags --entries 1000000         a million: some 500 MB of the server's memory

cashews keeps a set of keys per tag and deletes them by the hundred; so that is measured with few, to see how
it grows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median

import redis

from benchmarks import harness, report
from benchmarks.harness import Run, ratio
from benchmarks.report import Promise, Section
from holdfast import Cache, Holdfast

ENTRIES = 100_000
CHUNK = 1000  # entries written at once
SAMPLE = 50  # entries that are read before and after
THEIRS = (100, 1000)  # entries of cashews
SLOW = 5  # rounds of cashews, which have to be filled anew
GROWTH = 3.0  # times that the largest may take what the smallest does
QUICK = 2000


@dataclass
class Cell:
    """One cache, and what was measured there. Times in seconds; `bytes`: of the server, per entry."""

    cache: Cache[int]
    entries: int
    tags: list[str]
    sample: list[str]
    bytes: float
    invalidated: list[float] = field(default_factory=list)
    cleared: list[float] = field(default_factory=list)


def measure(run: Run, entries: int = ENTRIES) -> list[Section]:
    """One table."""
    most = QUICK if run.quick else entries
    with redis.Redis(**harness.address(run.url)) as server, Holdfast(run.url) as hf:
        cells = [_fill(run, server, hf, size) for size in (most // 100, most // 10, most)]
        for number in range(run.rounds):
            for cell in run.dice.sample(cells, len(cells)):
                _invalidate(cell, number)
        for _ in range(run.rounds):
            for cell in run.dice.sample(cells, len(cells)):
                _clear(cell)
    rows: list[Sequence[str]] = [
        ("entries with the tag", "invalidate_tags, ms", "highest", "clear, ms", "highest", "bytes per entry")
    ]
    rows += [(f"Holdfast, {one.entries:,}", *_span(one.invalidated), *_span(one.cleared), f"{one.bytes:,.0f}")
             for one in cells]  # fmt: skip
    if find_spec("cashews"):
        theirs = asyncio.run(_cashews(run))
        rows += [(f"cashews, {size:,}", *_span(found), "-", "-", "-") for size, found in theirs.items()]
    text = (
        f"Each entry of Holdfast has {run.rounds} tags, each round invalidates another of them: by one call, "
        "which also tells other processes' near caches. `clear()` is called as often. Some entries are read "
        "before and after. bytes: of the server's memory, keys and tags included. cashews: `delete_tags`, "
        f"filled anew for each of {min(run.rounds, SLOW)} rounds; from 100 keys on it takes several steps."
    )
    return [Section("Tags", text, rows, _flat(cells))]


def _span(found: list[float]) -> tuple[str, str]:
    return f"{1e3 * median(found):.2f}", f"{1e3 * max(found):.2f}"


def _flat(cells: list[Cell]) -> list[Promise]:
    few, many = cells[0], cells[-1]
    each = {
        "invalidate_tags": ratio(many.invalidated, few.invalidated),
        "clear": ratio(many.cleared, few.cleared),
    }
    return [
        Promise(
            f"{name} with {many.entries:,} entries: at most {GROWTH:g} x its time with {few.entries:,}",
            times.whole,
            times.middle <= GROWTH,
        )
        for name, times in each.items()
    ]


def _fill(run: Run, server: redis.Redis, hf: Holdfast, size: int) -> Cell:
    run.say(f"tags: {size:,} entries")
    cache = hf.cache(f"tags-{size}", ttl="1h", type=int)
    tags = [f"tag{number}" for number in range(run.rounds)]
    before = _used(server)
    for start in range(0, size, CHUNK):
        values = {f"{number}": number for number in range(start, min(start + CHUNK, size))}
        assert cache.set_many(values, tags=tags)
    sample = [f"{number}" for number in range(0, size, max(1, size // SAMPLE))]
    return Cell(cache, size, tags, sample, (_used(server) - before) / size)


def _invalidate(cell: Cell, number: int) -> None:
    assert len(cell.cache.get_many(cell.sample)) == (0 if number else len(cell.sample))
    begun = time.perf_counter()
    assert cell.cache.invalidate_tags(cell.tags[number])
    cell.invalidated.append(time.perf_counter() - begun)
    assert not cell.cache.get_many(cell.sample)


def _clear(cell: Cell) -> None:
    """With the entries of the sample there each time."""
    cell.cache.set_many(dict.fromkeys(cell.sample, 1))
    assert len(cell.cache.get_many(cell.sample)) == len(cell.sample)
    begun = time.perf_counter()
    cell.cache.clear()
    cell.cleared.append(time.perf_counter() - begun)
    assert not cell.cache.get_many(cell.sample)


def _used(server: redis.Redis) -> int:
    return int(server.info("memory")["used_memory"])


async def _cashews(run: Run) -> dict[int, list[float]]:
    from cashews import Cache as Theirs

    cache = Theirs()
    cache.setup(run.url)
    found: dict[int, list[float]] = {}
    for size in THEIRS:
        run.say(f"tags: {size:,} entries, cashews")
        found[size] = []
        for _ in range(min(run.rounds, SLOW)):
            for start in range(0, size, 50):
                numbers = range(start, start + 50)
                await asyncio.gather(*(cache.set(f"tags:{one}", one, expire=3600, tags=["tag"])
                                       for one in numbers))  # fmt: skip
            begun = time.perf_counter()
            await cache.delete_tags("tag")
            found[size].append(time.perf_counter() - begun)
            assert await cache.get("tags:0") is None
    await cache.close()
    return found


def main() -> int:
    """With so many entries as the argument says."""
    parser = argparse.ArgumentParser("python -m benchmarks.tags")
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    before = report.load()
    with harness.server() as running:
        run = Run(server=running, rounds=arguments.rounds, seconds=0.0)
        sections = measure(run, arguments.entries)
        facts = report.machine(before, f"{running.kind} {running.version}", f"{run.rounds} rounds")
    print(report.render(sections, facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
