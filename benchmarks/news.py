"""What the near cache costs besides hits. Promised: the news of 200 changed keys, with 20,000 entries cached,
takes less than 2 ms.

A cache that looks through all its entries for each key that changed holds up every reader meanwhile; so the
longest hit while another process changes 200 keys is measured, too.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from statistics import median
from threading import Thread
from typing import Any, NamedTuple

from redis.cache import CacheConfig, CacheEntry, CacheEntryStatus, CacheFactory, CacheKey

from benchmarks.harness import Candidate, Handler, Run, Worker
from benchmarks.near import PROOF, Loose
from benchmarks.report import Promise, Section
from holdfast import L1, Cache, Holdfast
from holdfast.cache.near import Copy, Near
from holdfast.cache.stats import Counters

ENTRIES, CHANGED, MOST = 20_000, 200, 2.0  # the last in ms
SMALL = 10_000  # entries whose memory is measured
SLOW = 3  # rounds of what takes seconds
NAME = "news"


def measure(run: Run) -> list[Section]:
    """Two tables: news, memory."""
    return [_news(run), _memory(run)]


# --- news ---------------------------------------------------------------------------------------------------


def _near() -> Callable[[list[str]], float]:
    """Holdfast: what the hub's thread does when it is told."""
    near = Near(L1(max_entries=ENTRIES), "news:{", "", Counters())
    near.found()
    keys = [f"user:{number}" for number in range(ENTRIES)]

    def put(key: str) -> None:
        ticket = near.begin(key)
        assert ticket is not None
        assert near.keep(Copy(key, 100, None, key, float("inf"), (), None), ticket)

    for key in keys:
        put(key)

    def told(changed: list[str]) -> float:
        raw = [f"news:{{{key}}}".encode() for key in changed]
        begun = time.perf_counter()
        near.invalidated(raw)
        took = time.perf_counter() - begun
        assert len(near.nodes) == ENTRIES - len(changed)
        for key in changed:
            put(key)
        return took

    return told


def _redis_py() -> Callable[[list[str]], float]:
    """redis-py: what a reader does who finds the news in its connection, with the cache's lock held."""
    cache = CacheFactory(CacheConfig(max_size=ENTRIES)).get_cache()

    def put(key: str) -> None:
        named = CacheKey("GET", (key,), ("GET", key))
        cache.set(CacheEntry(named, key.encode(), CacheEntryStatus.VALID, None))

    for number in range(ENTRIES):
        put(f"user:{number}")

    def told(changed: list[str]) -> float:
        raw = [key.encode() for key in changed]
        begun = time.perf_counter()
        for one in raw:  # one message per key
            cache.delete_by_redis_keys([one])
        took = time.perf_counter() - begun
        assert cache.size == ENTRIES - len(changed)
        for key in changed:
            put(key)
        return took

    return told


def _changed(number: int) -> list[str]:
    """Some keys from all over, others in each round."""
    return [f"user:{place}" for place in range(number, ENTRIES, ENTRIES // CHANGED)]


def _news(run: Run) -> Section:
    run.say("news")
    rows: list[Sequence[str]] = [("news of 200 changed keys", "ms", "lowest", "highest", "rounds")]
    promises = []
    for name, make, rounds in (
        ("Holdfast", _near, run.rounds),
        ("redis-py", _redis_py, min(run.rounds, SLOW)),
    ):
        told = make()
        found = [1e3 * told(_changed(number)) for number in range(rounds)]
        rows.append(_row(f"{name}, in the process", found))
        if name == "Holdfast":
            text = f"near cache: news of {CHANGED} keys with {ENTRIES:,} entries: less than {MOST:g} ms"
            promises.append(Promise(text, f"{median(found):.2f} ms", median(found) < MOST))
    talks = _talks(run)
    rows.append(_row("Holdfast, from the other's call until all are gone", [1e3 * one.gone for one in talks]))
    rows.append(_row("Holdfast, longest hit meanwhile", [1e3 * one.longest for one in talks]))
    rows.append(_row("Holdfast, longest hit without news", [1e3 * one.quiet for one in talks]))
    text = (
        f"{ENTRIES:,} entries cached. In the process: the work when the news has arrived; redis-py's own "
        "cache object, which looks through all entries for each key while readers wait. From the other's "
        f"call: another process invalidates {CHANGED} keys by one call, while a thread here reads others "
        "without a pause, so that the thread that hears waits for Python's lock, up to 5 ms each time; as "
        "long a time without news shows what the machine itself adds to a hit."
    )
    return Section("Near cache: news", text, rows, promises)


def _row(name: str, found: list[float]) -> tuple[str, ...]:
    return (name, f"{median(found):,.2f}", f"{min(found):,.2f}", f"{max(found):,.2f}", str(len(found)))


@asynccontextmanager
async def writer(url: str) -> AsyncIterator[Handler]:
    """Another process, which invalidates."""
    with Holdfast(url) as hf:
        cache: Cache[str] = hf.cache(NAME, ttl="1h", type=str)

        async def handle(keys: list[str]) -> float:
            begun = time.time()  # the other process has the same clock
            assert cache.invalidate(*keys)
            return begun

        yield handle


class Talk(NamedTuple):
    """Seconds: until all were gone, the longest hit until then, the longest in as long a time without."""

    gone: float
    longest: float
    quiet: float


def _talks(run: Run) -> list[Talk]:
    with Holdfast(run.url) as hf, Worker(Candidate("writer", writer), run.url, None) as other:
        cache = hf.cache(NAME, ttl="1h", type=str, l1=L1(max_entries=ENTRIES))
        values = {f"user:{number}": f"{number}" for number in range(ENTRIES)}
        assert cache.set_many(values)
        _fetch(cache, list(values))
        other.run(["nobody"])
        found = []
        for number in range(1, run.rounds + 1):
            found.append(_talk(cache, other, _changed(number)))
            assert cache.set_many({key: values[key] for key in _changed(number)})
            time.sleep(0.2)  # for the news of that to be heard before the copies are made
            _fetch(cache, list(values))
        return found


def _fetch(cache: Cache[str], keys: list[str]) -> None:
    """Have all `keys` in the near cache; by the hundred, as no deadline fits all on a busy machine."""
    until = time.monotonic() + 4 * PROOF
    while cache.stats().l1_entries < len(keys):
        assert time.monotonic() < until, "the near cache hears nothing"
        for start in range(0, len(keys), 100):
            cache.get_many(keys[start : start + 100])


def _talk(cache: Cache[str], other: Worker, changed: list[str]) -> Talk:
    """One round: read what does not change until the last of `changed` is gone."""
    read = [f"user:{number}" for number in range(0, ENTRIES, ENTRIES // CHANGED)]  # _changed(0), never told
    begun: list[float] = []
    asking = Thread(target=lambda: begun.append(other.run(changed)))
    asking.start()
    longest = 0.0
    while cache.stats().l1_entries > ENTRIES - len(changed):
        longest = max(longest, _longest(cache, read))
    gone = time.time()
    asking.join()
    quiet, until = 0.0, time.time() + gone - begun[0]
    while time.time() < until:
        quiet = max(quiet, _longest(cache, read))
    return Talk(gone - begun[0], longest, quiet)


def _longest(cache: Cache[str], keys: list[str]) -> float:
    """The seconds of the slowest of some hits."""
    longest = 0.0
    for key in keys:
        begun = time.perf_counter()
        cache.get(key)
        longest = max(longest, time.perf_counter() - begun)
    return longest


# --- memory -------------------------------------------------------------------------------------------------


def _text(number: int) -> str:
    return f"{number:020}"


def _object(number: int) -> Loose:
    return Loose("BOS", f"{number:020}", [number])


@contextmanager
def _holdfast(run: Run, make: Callable[[int], Any]) -> Any:
    kind = type(make(0))
    with Holdfast(run.url) as hf:
        cache = hf.cache(f"memory-{kind.__name__}", ttl="1h", type=kind, l1=L1(max_entries=SMALL))
        cache.set_many({f"user:{number}": make(number) for number in range(SMALL)})
        cache.get_many(["user:0"])  # begins to hear
        time.sleep(0.2)

        def fill() -> Any:
            _fetch(cache, [f"user:{number}" for number in range(SMALL)])
            return None

        yield fill


@contextmanager
def _cachetools(_run: Run, make: Callable[[int], Any]) -> Any:
    from cachetools import TTLCache

    def fill() -> Any:
        cache: Any = TTLCache(SMALL, 3600)
        for number in range(SMALL):
            cache[f"user:{number}"] = make(number)
        return cache

    yield fill


@contextmanager
def _dogpile(_run: Run, make: Callable[[int], Any]) -> Any:
    from dogpile.cache import make_region

    def fill() -> Any:
        region = make_region().configure("dogpile.cache.memory", expiration_time=3600)
        for number in range(SMALL):
            region.set(f"user:{number}", make(number))
        return region

    yield fill


@contextmanager
def _cashews(_run: Run, make: Callable[[int], Any]) -> Any:
    from cashews.backends.memory import Memory

    def fill() -> Any:
        cache = Memory(size=SMALL)

        async def put() -> None:
            for number in range(SMALL):
                await cache.set(f"user:{number}", make(number), expire=3600)

        asyncio.run(put())
        return cache

    yield fill


_HOLDERS = {
    "Holdfast": _holdfast,
    "cachetools TTLCache": _cachetools,
    "dogpile memory": _dogpile,
    "cashews memory": _cashews,
}


def _bytes(open_: Callable[[], Any]) -> float:
    """Bytes that each entry holds, its key and its value included."""
    with open_() as fill:
        tracemalloc.start()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        kept = fill()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        del kept
    return used / SMALL


def _memory(run: Run) -> Section:
    run.say("memory")
    rows = [("memory, bytes per entry", "str", "times", "object", "times")]
    kinds = (_text, _object)
    found = {
        name: [_bytes(partial(holder, run, make)) for make in kinds] for name, holder in _HOLDERS.items()
    }
    base = found["cachetools TTLCache"]
    for name, sizes in found.items():
        row = [name]
        for size, other in zip(sizes, base, strict=True):
            row += [f"{size:,.0f}", f"{size / other:.2f} x"]
        rows.append((row[0], row[1], row[2], row[3], row[4]))
    text = (
        f"{SMALL:,} entries, key and value included, as tracemalloc counts; times: of cachetools. The str "
        "has 20 characters, the object is a dataclass that can be changed, of which Holdfast keeps the bytes."
    )
    return Section("Near cache: memory", text, rows, data=found)
