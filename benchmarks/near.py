"""Hits in this process, against what others keep in theirs. Promised:

* a hit in at most 2 us from a thread and 3 us from a task;
* at least 5 times as fast as the fastest peer that, too, hears of what other processes change.

A cache that hears of no change is easily quick, and wrong for as long as its ttl. So the table says what each
hears. What Holdfast serves here, and for how long at most, stands in `holdfast/cache/near.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from threading import RLock
from typing import Any, NamedTuple

import redis
from redis.cache import CacheConfig

from benchmarks import harness
from benchmarks.harness import Candidate, Handler, Meter, Opener, Results, Run, ratio
from benchmarks.report import Promise, Section
from holdfast import L1, AsyncHoldfast, Holdfast

KEYS = [f"A{number:02}" for number in range(100)]
MOST = {"threads": 2.0, "tasks": 3.0}  # microseconds
LEAST = 5.0  # times as fast
SHARE = 0.15  # of a usual visit: no network, so that little is enough
PROOF = 5.0  # seconds that a near cache may take to hear


@dataclass(frozen=True)
class Fixed:
    """A value that nobody can change: all hits share it."""

    code: str
    name: str
    runways: tuple[int, ...]


@dataclass
class Loose:
    """A value that can be changed: with Holdfast each hit decodes its own, with others all share one."""

    code: str
    name: str
    runways: list[int]


VALUES: dict[str, Any] = {
    "str": "General Edward Lawrence Logan",
    "frozen": Fixed("BOS", "General Edward Lawrence Logan", (3073, 2396)),
    "mutable": Loose("BOS", "General Edward Lawrence Logan", [3073, 2396]),
}

Ask = Callable[[str], Any]
AsyncAsk = Callable[[str], Awaitable[Any]]


# --- the loads ----------------------------------------------------------------------------------------------


def handler(asks: Mapping[str, Ask]) -> Handler:
    """The function that runs one cell in this thread; `asks[kind](key)` gives VALUES[kind]."""
    for kind, ask in asks.items():
        assert all(ask(key) == VALUES[kind] for key in KEYS), kind

    async def handle(kind: str, seconds: float) -> harness.Figures:
        if kind not in asks:
            return Meter().figures()
        ask, meter, until = asks[kind], Meter(), time.perf_counter() + seconds
        while time.perf_counter() < until:
            for key in KEYS:
                ask(key)
            meter.done += len(KEYS)
        return meter.figures()

    return handle


async def async_handler(asks: Mapping[str, AsyncAsk]) -> Handler:
    """As `handler`, in a task."""
    for kind, ask in asks.items():
        for key in KEYS:
            assert await ask(key) == VALUES[kind], kind

    async def handle(kind: str, seconds: float) -> harness.Figures:
        ask, meter, until = asks[kind], Meter(), time.perf_counter() + seconds
        while time.perf_counter() < until:
            for key in KEYS:
                await ask(key)
            meter.done += len(KEYS)
            await asyncio.sleep(0)  # whoever listens for news in a task gets a turn
        return meter.figures()

    return handle


# --- Holdfast -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def threads_get(url: str) -> AsyncIterator[Handler]:
    """`cache.get`."""
    with Holdfast(url) as hf:
        caches = {kind: hf.cache(f"near-{kind}", ttl="1h", type=type(value), l1=L1())
                  for kind, value in VALUES.items()}  # fmt: skip
        for kind, cache in caches.items():
            cache.set_many(dict.fromkeys(KEYS, VALUES[kind]))
            until = time.monotonic() + PROOF
            while cache.stats().l1_entries < len(KEYS):
                assert time.monotonic() < until, "the near cache hears nothing"
                cache.get_many(KEYS)
        yield handler({kind: cache.get for kind, cache in caches.items()})


@asynccontextmanager
async def threads_function(url: str) -> AsyncIterator[Handler]:
    """A cached function."""
    with Holdfast(url) as hf:
        cache = hf.cache("near-function", ttl="1h", l1=L1())

        @cache.cached("str:{code}")
        def text(code: str) -> str:
            assert code
            return str(VALUES["str"])

        @cache.cached("frozen:{code}")
        def fixed(code: str) -> Fixed:
            assert code
            return VALUES["frozen"]  # type: ignore[no-any-return]

        @cache.cached("mutable:{code}")
        def loose(code: str) -> Loose:
            assert code
            return VALUES["mutable"]  # type: ignore[no-any-return]

        asks: dict[str, Ask] = {"str": text, "frozen": fixed, "mutable": loose}
        until = time.monotonic() + PROOF
        while cache.stats().l1_entries < len(KEYS) * len(asks):
            assert time.monotonic() < until, "the near cache hears nothing"
            for ask in asks.values():
                for key in KEYS:
                    ask(key)
        yield handler(asks)


@asynccontextmanager
async def tasks_get(url: str) -> AsyncIterator[Handler]:
    """`cache.get`."""
    async with AsyncHoldfast(url) as hf:
        caches = {kind: hf.cache(f"near-{kind}", ttl="1h", type=type(value), l1=L1())
                  for kind, value in VALUES.items()}  # fmt: skip
        for kind, cache in caches.items():
            await cache.set_many(dict.fromkeys(KEYS, VALUES[kind]))
            async with asyncio.timeout(PROOF):
                while cache.stats().l1_entries < len(KEYS):
                    await cache.get_many(KEYS)
        yield await async_handler({kind: cache.get for kind, cache in caches.items()})


@asynccontextmanager
async def tasks_function(url: str) -> AsyncIterator[Handler]:
    """A cached function."""
    async with AsyncHoldfast(url) as hf:
        cache = hf.cache("near-function", ttl="1h", l1=L1())

        @cache.cached("str:{code}")
        async def text(code: str) -> str:
            assert code
            return str(VALUES["str"])

        @cache.cached("frozen:{code}")
        async def fixed(code: str) -> Fixed:
            assert code
            return VALUES["frozen"]  # type: ignore[no-any-return]

        @cache.cached("mutable:{code}")
        async def loose(code: str) -> Loose:
            assert code
            return VALUES["mutable"]  # type: ignore[no-any-return]

        asks: dict[str, AsyncAsk] = {"str": text, "frozen": fixed, "mutable": loose}
        async with asyncio.timeout(PROOF):
            while cache.stats().l1_entries < len(KEYS) * len(asks):
                for ask in asks.values():
                    await asyncio.gather(*map(ask, KEYS))
        yield await async_handler(asks)


# --- others -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Handler]:
    """redis-py's client-side cache: strings, as it keeps replies."""
    options = {**harness.address(url), "protocol": 3, "decode_responses": True}
    with redis.Redis(**options, cache_config=CacheConfig()) as client:
        client.mset(dict.fromkeys(KEYS, VALUES["str"]))
        yield handler({"str": client.get})


@asynccontextmanager
async def cachetools_function(url: str) -> AsyncIterator[Handler]:
    """`@cached(TTLCache, lock=RLock())`, as its documentation has it for threads."""
    from cachetools import TTLCache, cached

    assert url

    def remembering(value: Any) -> Ask:
        @cached(TTLCache(10_000, 3600), lock=RLock())
        def function(code: str) -> Any:
            assert code
            return value

        return function

    yield handler({kind: remembering(value) for kind, value in VALUES.items()})


def _dogpile() -> Any:
    from dogpile.cache import make_region

    return make_region().configure("dogpile.cache.memory", expiration_time=3600)


@asynccontextmanager
async def dogpile_get(url: str) -> AsyncIterator[Handler]:
    """`region.get`, in memory."""
    assert url
    regions = {kind: _dogpile() for kind in VALUES}
    for kind, region in regions.items():
        region.set_multi(dict.fromkeys(KEYS, VALUES[kind]))
    yield handler({kind: region.get for kind, region in regions.items()})


@asynccontextmanager
async def dogpile_function(url: str) -> AsyncIterator[Handler]:
    """`@region.cache_on_arguments`, in memory."""
    assert url

    def remembering(value: Any) -> Ask:
        @_dogpile().cache_on_arguments()  # type: ignore[untyped-decorator]
        def function(code: str) -> Any:
            assert code
            return value

        return function  # type: ignore[no-any-return]

    yield handler({kind: remembering(value) for kind, value in VALUES.items()})


async def _cashews(url: str, **options: Any) -> Any:
    from cashews import Cache

    cache = Cache()
    cache.setup(url, **options)
    await cache.init()
    return cache


async def _cashews_function(cache: Any) -> Handler:
    def remembering(kind: str) -> AsyncAsk:
        @cache(ttl="1h", key=kind + ":{code}")  # type: ignore[untyped-decorator]
        async def function(code: str) -> Any:
            assert code
            return VALUES[kind]

        return function  # type: ignore[no-any-return]

    return await async_handler({kind: remembering(kind) for kind in VALUES})


@asynccontextmanager
async def cashews_side_get(url: str) -> AsyncIterator[Handler]:
    """`cache.get` with `client_side=True`; "str" and the others are parts of one cache."""
    cache = await _cashews(url, client_side=True)
    for kind, value in VALUES.items():
        await cache.set_many({f"{kind}:{key}": value for key in KEYS}, expire=3600)

    def asking(kind: str) -> AsyncAsk:
        names = {key: f"{kind}:{key}" for key in KEYS}
        return lambda key: cache.get(names[key])

    yield await async_handler({kind: asking(kind) for kind in VALUES})
    await cache.close()


@asynccontextmanager
async def cashews_side_function(url: str) -> AsyncIterator[Handler]:
    """A cached function with `client_side=True`."""
    cache = await _cashews(url, client_side=True)
    yield await _cashews_function(cache)
    await cache.close()


@asynccontextmanager
async def cashews_memory(url: str) -> AsyncIterator[Handler]:
    """A cached function in memory."""
    assert url
    cache = await _cashews("mem://")
    yield await _cashews_function(cache)
    await cache.close()


@asynccontextmanager
async def aiocache_get(url: str) -> AsyncIterator[Handler]:
    """`cache.get` in memory."""
    from aiocache import SimpleMemoryCache

    assert url
    caches = {kind: SimpleMemoryCache(namespace=kind) for kind in VALUES}
    for kind, cache in caches.items():
        await cache.multi_set([(key, VALUES[kind]) for key in KEYS], ttl=3600)
    yield await async_handler({kind: cache.get for kind, cache in caches.items()})


@asynccontextmanager
async def aiocache_function(url: str) -> AsyncIterator[Handler]:
    """`@cached` in memory."""
    from aiocache import cached

    assert url

    def remembering(value: Any) -> AsyncAsk:
        @cached(ttl=3600)
        async def function(_code: str) -> Any:
            return value

        return function  # type: ignore[no-any-return]

    yield await async_handler({kind: remembering(value) for kind, value in VALUES.items()})


class _Kind(NamedTuple):
    """A way to a hit. `hears`: what it hears of other processes; "" is nothing."""

    open: Opener
    flavour: str
    hears: str = ""


BOUND, CHANGES = "changes, with a bound", "changes, no bound"
_KINDS = {
    "Holdfast, get": _Kind(threads_get, "threads", BOUND),
    "Holdfast, function": _Kind(threads_function, "threads", BOUND),
    "redis-py client-side, get": _Kind(redis_py, "threads", CHANGES),
    "cachetools, function": _Kind(cachetools_function, "threads"),
    "dogpile memory, get": _Kind(dogpile_get, "threads"),
    "dogpile memory, function": _Kind(dogpile_function, "threads"),
    "Holdfast, async get": _Kind(tasks_get, "tasks", BOUND),
    "Holdfast, async function": _Kind(tasks_function, "tasks", BOUND),
    "cashews client_side, get": _Kind(cashews_side_get, "tasks", CHANGES),
    "cashews client_side, function": _Kind(cashews_side_function, "tasks", CHANGES),
    "cashews memory, function": _Kind(cashews_memory, "tasks"),
    "aiocache memory, get": _Kind(aiocache_get, "tasks"),
    "aiocache memory, function": _Kind(aiocache_function, "tasks"),
}


# --- what comes out -----------------------------------------------------------------------------------------


def measure(run: Run) -> list[Section]:
    """One table."""
    refused = _refusal(run.url)
    skipped = {"redis-py client-side, get"} if refused else set()
    everything = [Candidate(name, kind.open) for name, kind in _KINDS.items()
                  if name not in skipped and find_spec(_package(name))]  # fmt: skip
    run.say("near")
    found = harness.interleave(run, everything, {(kind,): SHARE for kind in VALUES})
    names = [one.name for one in everything]
    peers = [name for name in names if _KINDS[name].hears == CHANGES]
    rows: list[Sequence[str]] = [("hit in this process", "hears of", *(f"{kind} us" for kind in VALUES),
                                  "times ours")]  # fmt: skip
    for name, way in _KINDS.items():
        hears = way.hears or "nothing"
        if name in names:
            rows.append((name, hears, *(_cost(found, name, kind) for kind in VALUES), _times(found, name)))
        elif name in skipped:
            rows.append((name, hears, "refuses this server", *["-"] * len(VALUES)))
    text = (
        "Microseconds of CPU of the whole process per hit, a hundred keys in turn; `times ours`: of the str, "
        "against Holdfast's way of the same kind (get or function, thread or task). Of a mutable value each "
        "caller of Holdfast gets one of its own, decoded; the others hand out one object, or a shallow copy. "
        "Only Holdfast bounds how long it may be wrong."
    ) + (f" redis-py: {refused}" if refused else "")
    return [Section("Near cache: hits", text, rows, _promises(found, peers))]


def _package(name: str) -> str:
    first = name.partition(" ")[0].strip(",")
    return {"redis-py": "redis"}.get(first, first.lower())


def _refusal(url: str) -> str:
    """Why redis-py keeps nothing of this server; empty if it does."""
    try:
        with redis.Redis(**harness.address(url), protocol=3, cache_config=CacheConfig()) as client:
            client.ping()
    except redis.RedisError as error:
        return str(error) or type(error).__name__
    return ""


def _costs(found: Results, name: str, kind: str) -> list[float]:
    return [one.cost for one in found[name, (kind,)]]


def _cost(found: Results, name: str, kind: str) -> str:
    """In microseconds; a dash where the candidate does not have that kind of value."""
    figures = found[name, (kind,)]
    return f"{median(one.cost for one in figures):.2f}" if figures[0].done else "-"


def _ours(name: str) -> str:
    """Holdfast's way of the same kind."""
    prefix = "Holdfast, async" if _KINDS[name].flavour == "tasks" else "Holdfast,"
    return f"{prefix} {name.rpartition(' ')[2]}"


def _times(found: Results, name: str) -> str:
    return str(ratio(_costs(found, name, "str"), _costs(found, _ours(name), "str")))


def _promises(found: Results, peers: list[str]) -> list[Promise]:
    promises = []
    for name in (one for one in _KINDS if one.startswith("Holdfast")):
        costs = _costs(found, name, "str")
        most, middle = MOST[_KINDS[name].flavour], median(costs)
        promises.append(Promise(f"{name}, near hit: at most {most:g} us", f"{middle:.2f} us", middle <= most))
        way = name.rpartition(" ")[2]
        rivals = [peer for peer in peers if peer.endswith(way)] or peers
        if rivals:
            best = min(rivals, key=lambda peer: median(_costs(found, peer, "str")))
            times = ratio(_costs(found, best, "str"), costs)
            text = f"{name}, near hit: at least {LEAST:g} x as fast as {best}"
            promises.append(Promise(text, times.whole, times.middle >= LEAST))
    return promises
