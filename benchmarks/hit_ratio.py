"""What the near cache's shelf keeps, on real traces, and what a hit, an eviction, an invalidation cost there.

    HOLDFAST_TRACES=DIRECTORY python -m benchmarks hit_ratio
    python -m benchmarks.hit_ratio DIRECTORY

The traces are no part of the repository: files `*.trace.xz` as cache2k-benchmark has them (Jens Wilke,
headissue GmbH, CC BY 4.0), one big-endian integer of 32 bits per request. They hold reads only: whatever is
missed is put.
"""

from __future__ import annotations

import lzma
import os
import sys
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.harness import Run
from benchmarks.report import Promise, Section
from holdfast.cache.shelf import Node, Shelf

VARIABLE = "HOLDFAST_TRACES"
ABSENT = f"Not measured: set {VARIABLE} to a directory with traces, *.trace.xz of cache2k-benchmark."
SIZES = (0.01, 0.1)  # capacity, as a part of the trace's different keys
SLACK = 0.01  # of the ratio that LRU may be ahead
QUICK = 100_000  # requests
ENTRIES = 20_000  # for the costs
BATCH = 200  # discards in a row
MOST_HIT, MOST_DISCARDS = 150.0, 2.0  # ns, ms


class Cache(NamedTuple):
    """How to use a cache: `get` gives None for a miss."""

    get: Callable[[str], Any]
    put: Callable[[str], Any]
    drop: Callable[[str], Any]


@contextmanager
def lru(size: int) -> Iterator[Cache]:
    """The textbook's, in Python and without a lock."""
    kept: OrderedDict[str, str] = OrderedDict()

    def get(key: str) -> str | None:
        if key in kept:
            kept.move_to_end(key)
            return key
        return None

    def put(key: str) -> None:
        if len(kept) >= size:
            kept.popitem(last=False)
        kept[key] = key

    yield Cache(get, put, kept.pop)


@contextmanager
def boxed(kind: str, size: int) -> Iterator[Cache]:
    import cachebox

    kept = getattr(cachebox, kind)(size)
    yield Cache(kept.get, lambda key: kept.insert(key, key), kept.pop)


@contextmanager
def tiny_lfu(size: int) -> Iterator[Cache]:
    import theine  # here, as it starts a thread

    kept: theine.Cache[str, str] = theine.Cache(size)
    yield Cache(lambda key: kept.get(key)[0], lambda key: kept.set(key, key), kept.delete)
    kept.close()


@contextmanager
def shelf(size: int) -> Iterator[Cache]:
    kept: Shelf[Node] = Shelf(size)
    find = kept.nodes.get

    def get(key: str) -> Node | None:
        node = find(key)
        if node is not None:
            node.uses += 1
        return node

    yield Cache(get, lambda key: kept.put(Node(key, 1)), kept.discard)


POLICIES: dict[str, Callable[[int], AbstractContextManager[Cache]]] = {
    "LRU": lru,
    "cachebox LRU": partial(boxed, "LRUCache"),
    "cachebox LFU": partial(boxed, "LFUCache"),
    "theine": tiny_lfu,
    "Holdfast": shelf,
}


def measure(run: Run) -> list[Section]:
    """Two tables: what is kept, what it costs."""
    return [ratios(run, os.environ.get(VARIABLE)), costs(run.rounds, ENTRIES)]


# --- what is kept -------------------------------------------------------------------------------------------


def ratios(run: Run | None, directory: str | None) -> Section:
    """Hit ratios on all traces in `directory`; on the beginning of each if the run is to be quick."""
    paths = sorted(Path(directory).glob("*.trace.xz")) if directory else []
    if not paths:
        return Section("Hit ratio of the near cache", ABSENT, [("policy", "hit ratio"), ("Holdfast", "-")])
    heading, columns = ["policy"], []
    for path in paths:
        requests = read(path, QUICK if run and run.quick else None)
        different = len(set(requests))
        for part in SIZES:
            name = f"{path.name.partition('.')[0]} @{part:.0%}"
            heading.append(name)
            columns.append([_ratio(policy, requests, int(different * part)) for policy in POLICIES])
            print(f"... {name}", file=sys.stderr, flush=True)
    found = {policy: [column[place] for column in columns] for place, policy in enumerate(POLICIES)}
    rows = [heading, *([policy, *(f"{one:.4f}" for one in each)] for policy, each in found.items())]
    text = (
        "Hits per request at a capacity of 1 % and 10 % of the different keys; whatever is missed is put. "
        "Traces: an e-commerce application's reads of database objects (orm-busy) and of product pages "
        "(web12); headissue GmbH, Jens Wilke, cache2k-benchmark, CC BY 4.0."
    )
    return Section("Hit ratio of the near cache", text, rows, [_ahead(found)], found)


def _ahead(found: dict[str, list[float]]) -> Promise:
    ahead = [ours - theirs for ours, theirs in zip(found["Holdfast"], found["LRU"], strict=True)]
    text = f"near cache: hit ratio nowhere more than {SLACK} behind LRU"
    return Promise(text, f"{min(ahead):+.4f} to {max(ahead):+.4f}", min(ahead) >= -SLACK)


def read(path: Path, most: int | None = None) -> list[str]:
    """The keys of a trace's requests."""
    with lzma.open(path) as file:
        numbers = array("i", file.read(-1 if most is None else 4 * most))
    if sys.byteorder == "little":
        numbers.byteswap()
    names: dict[int, str] = {}
    return [names.setdefault(number, str(number)) for number in numbers]


def _ratio(policy: str, requests: Sequence[str], size: int) -> float:
    hits = 0
    with POLICIES[policy](size) as cache:
        get, put, _ = cache
        for key in requests:
            if get(key) is None:
                put(key)
            else:
                hits += 1
    return hits / len(requests)


# --- what it costs ------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Nanoseconds for one hit, one put that evicts, one discard."""

    hit: float
    put: float
    discard: float


def costs(rounds: int, entries: int) -> Section:
    """What a full cache of `entries` takes for each."""
    each = {
        name: [_cost(name, entries) for _ in range(rounds)] for name in POLICIES if name != "cachebox LFU"
    }
    found = {name: Cost(*map(min, *some, some[0])) for name, some in each.items()}
    rows: list[Sequence[str]] = [("policy", "hit, ns", "put that evicts, ns", "discard, ns")]
    rows += [(name, *(f"{one:,.0f}" for one in cost)) for name, cost in found.items()]
    text = (
        f"The least of {rounds}, in one thread, with {entries:,} entries, all of them used, so that there is "
        "much to promote; the loop is included, and for a hit of Holdfast the addition to its uses."
    )
    hit, batch = found["Holdfast"].hit, found["Holdfast"].discard * BATCH / 1e6
    promises = [
        Promise(
            f"near cache: a hit in the shelf in at most {MOST_HIT:g} ns", f"{hit:.0f} ns", hit <= MOST_HIT
        ),
        Promise(
            f"near cache: {BATCH} invalidations with {entries:,} entries in less than {MOST_DISCARDS:g} ms",
            f"{batch:.2f} ms",
            batch < MOST_DISCARDS,
        ),
    ]
    return Section("Costs of the near cache's shelf", text, rows, promises, found)


def _cost(name: str, entries: int) -> Cost:
    keys = [f"users:{number}" for number in range(entries)]
    fresh = [f"fresh:{number}" for number in range(entries // 4)]
    with POLICIES[name](entries) as cache:
        for key in keys:
            cache.put(key)
        hit = _shelf_hits(keys) if name == "Holdfast" else _each(cache.get, keys)
        put = _each(cache.put, fresh)
        here = [key for key in keys if cache.get(key) is not None][:: len(keys) // (2 * BATCH)][:BATCH]
        discard = _each(cache.drop, here)
    return Cost(hit, put, discard)


def _each(call: Callable[[str], Any], keys: Sequence[str]) -> float:
    begun = perf_counter()
    for key in keys:
        call(key)
    return 1e9 * (perf_counter() - begun) / len(keys)


def _shelf_hits(keys: Sequence[str]) -> float:
    """As the near cache reads: no function around it."""
    kept: Shelf[Node] = Shelf(len(keys))
    for key in keys:
        kept.put(Node(key, 1))
    begun = perf_counter()
    for key in keys:
        node = kept.nodes.get(key)
        if node is not None:
            node.uses += 1
    return 1e9 * (perf_counter() - begun) / len(keys)


def main() -> int:
    """Without a server: the directory is the argument."""
    sections = [
        ratios(None, sys.argv[1] if len(sys.argv) > 1 else os.environ.get(VARIABLE)),
        costs(9, ENTRIES),
    ]
    print(report.render(sections, []))
    return 0


if __name__ == "__main__":
    sys.exit(main())
