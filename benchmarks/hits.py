"""Hits on the server and many keys at once, against the caches of others, each with its own way of writing
values. Promised: at least as many hits per second as the fastest of them, from 1 and from 100 tasks, from 1
and from 8 threads, also with `stale=`; with tags, which the others have not, it is shown what these cost.

`get_many` is held against MGET of redis-py, which neither checks nor decodes anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from itertools import count
from statistics import median
from typing import Any

import msgspec
import redis
import redis.asyncio

from benchmarks import harness, peers, tasks, threads
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Opener, Results, Run, ratio
from benchmarks.report import Promise, Section
from benchmarks.tasks import AIRPORT, VALUE, Airport, Talk
from holdfast import AsyncHoldfast, Holdfast

KEYS = [f"A{number:02}" for number in range(100)]
CASHEWS, AIOCACHE = (
    [f"{peer}:{key}" for key in KEYS] for peer in ("cashews", "aiocache")
)  # one server for all
PLAIN = msgspec.to_builtins(AIRPORT)  # for who cannot write objects
TAGS = ("airports", "europe")
TASKS: dict[Cell, float] = {("tasks", 1): 0.2, ("tasks", 100): 0.2}
THREADS: dict[Cell, float] = {(1,): 0.2, (8,): 0.2}
FORMS: dict[str, dict[str, Any]] = {"": {}, ", tags": {"tags": TAGS}, ", stale": {}}


async def _never() -> Airport:
    raise AssertionError("it is there")


def _never_sync() -> Airport:
    raise AssertionError("it is there")


# --- from tasks ---------------------------------------------------------------------------------------------


class Ours:
    """Holdfast: `get_or_set`, which has a hit. An object, so that it can travel to a worker."""

    def __init__(self, form: str) -> None:
        self.form = form

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        async with AsyncHoldfast(url) as hf:
            stale = "1m" if self.form == ", stale" else None
            cache = hf.cache(f"hits{self.form}", ttl="1h", type=Airport, stale=stale)
            await cache.set_many(dict.fromkeys(KEYS, AIRPORT), **FORMS[self.form])
            ask = partial(cache.get_or_set, loader=_never, **FORMS[self.form])
            yield await tasks.handler(Talk(ask, KEYS, AIRPORT))


@asynccontextmanager
async def cashews(url: str) -> AsyncIterator[Handler]:
    """cashews: `get`, pickled."""
    from cashews import Cache

    cache = Cache()
    cache.setup(url)
    await cache.set_many(dict.fromkeys(CASHEWS, AIRPORT), expire=3600)
    yield await tasks.handler(Talk(cache.get, CASHEWS, AIRPORT))
    await cache.close()


@asynccontextmanager
async def aiocache(url: str) -> AsyncIterator[Handler]:
    """aiocache: `get`, as JSON."""
    async with _aiocache(url) as cache:
        await cache.multi_set([(key, PLAIN) for key in AIOCACHE], ttl=3600)
        yield await tasks.handler(Talk(cache.get, AIOCACHE, PLAIN))


@asynccontextmanager
async def _aiocache(url: str) -> AsyncIterator[Any]:
    from aiocache import RedisCache
    from aiocache.serializers import JsonSerializer

    where = harness.address(url)
    cache = RedisCache(endpoint=where["host"], port=where["port"], serializer=JsonSerializer())
    yield cache
    await cache.close()


# --- from threads -------------------------------------------------------------------------------------------


class OursSync:
    """As `Ours`, from threads."""

    def __init__(self, form: str) -> None:
        self.form = form

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Handler]:
        with Holdfast(url) as hf:
            stale = "1m" if self.form == ", stale" else None
            cache = hf.cache(f"hits{self.form}", ttl="1h", type=Airport, stale=stale)
            cache.set_many(dict.fromkeys(KEYS, AIRPORT), **FORMS[self.form])
            ask = partial(cache.get_or_set, loader=_never_sync, **FORMS[self.form])
            yield threads.handler(lambda: ask, KEYS, AIRPORT)


@asynccontextmanager
async def dogpile(url: str) -> AsyncIterator[Handler]:
    """dogpile: `get`, pickled."""
    region = peers.region(url)
    region.set_multi(dict.fromkeys(KEYS, AIRPORT))
    yield threads.handler(lambda: region.get, KEYS, AIRPORT)


@asynccontextmanager
async def django_redis(url: str) -> AsyncIterator[Handler]:
    """django-redis: `get`, pickled; one cache object for all threads, as Django has one per thread."""
    made = peers.django_cache(url)
    made.set_many(dict.fromkeys(KEYS, AIRPORT))
    yield threads.handler(lambda: made.get, KEYS, AIRPORT)


# --- many at once -------------------------------------------------------------------------------------------

Deed = Callable[[], Awaitable[Any]]


def deeds(each: Mapping[str, Deed]) -> Handler:
    """The function that runs one cell: one of `each`, again and again. Each brings 100 values."""

    async def handle(kind: str, seconds: float) -> Figures:
        meter = Meter()
        if kind in each:
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                assert len(await each[kind]()) == len(KEYS)
                meter.done += 1
        return meter.figures()

    return handle


@asynccontextmanager
async def raw_many(url: str) -> AsyncIterator[Handler]:
    """redis-py, bytes."""
    async with redis.asyncio.Redis(**harness.address(url)) as client:
        names = [f"bench:{key}" for key in KEYS]
        await client.mset(dict.fromkeys(names, VALUE))
        yield deeds({"many": lambda: client.mget(names), "each": lambda: _gather(client.get, names)})


async def _gather(ask: Callable[[str], Awaitable[Any]], keys: Sequence[str]) -> list[Any]:
    return await asyncio.gather(*map(ask, keys))


@asynccontextmanager
async def ours_many(url: str) -> AsyncIterator[Handler]:
    """Holdfast; cold keys are new ones each time."""
    async with AsyncHoldfast(url) as hf:
        cache = hf.cache("many", ttl="1h", type=Airport, max_loads=200)
        await cache.set_many(dict.fromkeys(KEYS, AIRPORT))
        numbers = count(time.time_ns())

        def fresh() -> list[str]:
            prefix = next(numbers)
            return [f"{prefix}:{key}" for key in KEYS]

        async def load(missing: Sequence[str]) -> dict[str, Airport]:
            return dict.fromkeys(missing, AIRPORT)

        async def one() -> Airport:
            return AIRPORT

        yield deeds({
            "many": lambda: cache.get_many(KEYS),
            "each": lambda: _gather(cache.get, KEYS),
            "cold many": lambda: cache.get_or_set_many(fresh(), load),
            "cold each": lambda: _gather(lambda key: cache.get_or_set(key, one), fresh()),
        })  # fmt: skip


@asynccontextmanager
async def cashews_many(url: str) -> AsyncIterator[Handler]:
    """cashews; cold keys through its cached function, as it has no loader for many."""
    from cashews import Cache

    cache = Cache()
    cache.setup(url)
    await cache.set_many(dict.fromkeys(CASHEWS, AIRPORT), expire=3600)
    numbers = count(time.time_ns())

    @cache(ttl="1h", key="cold:{key}", lock=True)
    async def read(key: str) -> Airport:
        assert key
        return AIRPORT

    def cold() -> Awaitable[list[Any]]:
        prefix = next(numbers)
        return _gather(read, [f"{prefix}:{key}" for key in KEYS])

    yield deeds({
        "many": lambda: cache.get_many(*CASHEWS),
        "each": lambda: _gather(cache.get, CASHEWS),
        "cold each": cold,
    })  # fmt: skip
    await cache.close()


@asynccontextmanager
async def aiocache_many(url: str) -> AsyncIterator[Handler]:
    """aiocache: `multi_get`."""
    async with _aiocache(url) as cache:
        await cache.multi_set([(key, PLAIN) for key in AIOCACHE], ttl=3600)
        yield deeds({"many": lambda: cache.multi_get(AIOCACHE), "each": lambda: _gather(cache.get, AIOCACHE)})


async def _now(value: Any) -> Any:
    return value


@asynccontextmanager
async def dogpile_many(url: str) -> AsyncIterator[Handler]:
    """dogpile, in one thread: `get_multi`, gets one after the other."""
    region = peers.region(url)
    region.set_multi(dict.fromkeys(KEYS, AIRPORT))
    yield deeds({"many": lambda: _now(region.get_multi(KEYS)),
                 "each": lambda: _now([region.get(key) for key in KEYS])})  # fmt: skip


@asynccontextmanager
async def django_many(url: str) -> AsyncIterator[Handler]:
    """django-redis, in one thread: `get_many`, gets one after the other."""
    made = peers.django_cache(url)
    made.set_many(dict.fromkeys(KEYS, AIRPORT))
    yield deeds({"many": lambda: _now(made.get_many(KEYS)),
                 "each": lambda: _now([made.get(key) for key in KEYS])})  # fmt: skip


# --- what comes out -----------------------------------------------------------------------------------------

_TASKS: dict[str, Opener] = {
    **{f"Holdfast{form}": Ours(form) for form in FORMS}, "cashews": cashews, "aiocache": aiocache,
}  # fmt: skip
_THREADS: dict[str, Opener] = {
    **{f"Holdfast{form}": OursSync(form) for form in FORMS}, "dogpile": dogpile, "django-redis": django_redis,
}  # fmt: skip
_MANY: dict[str, Opener] = {
    "redis-py": raw_many, "Holdfast": ours_many, "cashews": cashews_many, "aiocache": aiocache_many,
    "dogpile": dogpile_many, "django-redis": django_many,
}  # fmt: skip
_BULK = {
    "many": "get_many",
    "each": "100 gets",
    "cold many": "cold, get_or_set_many",
    "cold each": "cold, 100",
}


def measure(run: Run) -> list[Section]:
    """Three tables."""
    return [
        _hits(run, "task", _TASKS, TASKS),
        _hits(run, "thread", _THREADS, THREADS),
        _many(run),
    ]


def _there(kinds: Mapping[str, Opener]) -> list[Candidate]:
    modules = {"redis-py": "redis", "django-redis": "django_redis"}
    return [Candidate(name, opener) for name, opener in kinds.items()
            if find_spec(modules.get(name, name.partition(",")[0].lower()))]  # fmt: skip


def _hits(run: Run, what: str, kinds: Mapping[str, Opener], cells: dict[Cell, float]) -> Section:
    run.say(f"hits, {what}s")
    found = harness.interleave(run, everything := _there(kinds), cells)
    names = [one.name for one in everything]
    rivals = [name for name in names if not name.startswith("Holdfast")]
    heading = ["hit on the server"]
    rows: list[list[str]] = [[name] for name in names]
    promises = []
    for cell in cells:
        load = f"{cell[-1]} {what}{'s' * (cell[-1] > 1)}"
        heading += [f"{load} /s", "of Holdfast's", "CPU us"]
        best = max(rivals, key=lambda name: median(_rates(found, name, cell)), default="")
        for name, row in zip(names, rows, strict=True):
            rates = _rates(found, name, cell)
            cost = median(one.cost for one in found[name, cell])
            row += [
                f"{median(rates):,.0f}",
                str(ratio(rates, _rates(found, "Holdfast", cell))),
                f"{cost:.1f}",
            ]
            if best and name not in rivals and "tags" not in name:  # the others have none here
                times = ratio(rates, _rates(found, best, cell))
                text = f"{name}, hits on the server, {load}: at least 1 x {best}"
                promises.append(Promise(text, times.whole, times.middle >= 1))
    text = (
        "One object of 100 bytes, a hundred keys in turn. Holdfast: `get_or_set`, plain, with two tags, with "
        "`stale=`; all read in one round trip. The others: `get`, as pickle, aiocache as JSON."
    )
    return Section(f"Hits on the server: {what}s", text, [heading, *rows], promises)


def _rates(found: Results, name: str, cell: Cell) -> list[float]:
    return [one.rate for one in found[name, cell]]


def _many(run: Run) -> Section:
    run.say("many at once")
    found = harness.interleave(run, everything := _there(_MANY), {(kind,): 0.1 for kind in _BULK})
    rows: list[Sequence[str]] = [
        ("100 keys", *(f"{name}, ms" for name in _BULK.values()), "get_many of MGET")
    ]
    for one in everything:
        cells = [_each_ms(found, one.name, kind) for kind in _BULK]
        times = ratio(_seconds(found, one.name, "many"), _seconds(found, "redis-py", "many"))
        rows.append((one.name, *cells, str(times)))
    cheaper = [
        ("get_many", ratio(_seconds(found, "Holdfast", "each"), _seconds(found, "Holdfast", "many"))),
        ("get_or_set_many", ratio(_seconds(found, "Holdfast", "cold each"),
                                  _seconds(found, "Holdfast", "cold many"))),
    ]  # fmt: skip
    promises = [Promise(f"{name} of 100 keys: quicker than 100 single ones at once", times.whole,
                        times.middle > 1) for name, times in cheaper]  # fmt: skip
    text = (
        "Milliseconds for 100 keys, from one task: by one call, and by 100 gathered calls; dogpile and "
        "django-redis: one after the other, from one thread. Cold: new keys each time, whose loader returns "
        "at once. redis-py: MGET and GET of bytes, for scale. The last column: get_many in times of MGET."
    )
    return Section("Many keys at once", text, rows, promises)


def _seconds(found: Results, name: str, kind: str) -> list[float]:
    return [one.wall / max(1, one.done) for one in found[name, (kind,)]]


def _each_ms(found: Results, name: str, kind: str) -> str:
    figures = found[name, (kind,)]
    return f"{1e3 * median(_seconds(found, name, kind)):.2f}" if figures[0].done else "-"
