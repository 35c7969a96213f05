"""Loads against invalidations: 10,000 races, and no stale read is promised.

A reader misses and starts its load; it reads the database; then a writer commits a newer version and
invalidates; then the load ends and is stored. With cache-aside as articles print it, the old version now sits
in the cache until its ttl ends. Three ways to race:

* forced: events put the commit, the invalidation and a first reading of the auditor between the load's
  reading of the database and its end, always;
* unread: the same without that first reading;
* free: everything takes its time at random, and nobody waits for anybody.

The auditor reads when the invalidation has returned, and again when the reader is done. Reader, writer and
auditor are separate clients, so that only the server can bring them together.

Planted once, found at once: a fill.lua that stores whatever the lease says is stale in every forced race.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import redis.asyncio

from benchmarks import harness, peers
from benchmarks.harness import Run
from benchmarks.peers import Load, Reader, Textbook, Threaded
from benchmarks.report import Promise, Section
from holdfast import AsyncHoldfast

RACES = 10_000
PEERS_RACES = 500  # forced ones: what always goes wrong needs no more
AT_ONCE = 50
SPREAD = 0.02  # seconds

OLD, NEW = 1, 2


class Side(NamedTuple):
    """One client's view of the cache."""

    read: Reader
    invalidate: Callable[[str], Awaitable[object]]


@asynccontextmanager
async def _textbook(url: str) -> AsyncIterator[list[Side]]:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(redis.asyncio.Redis(**harness.address(url))) for _ in range(3)
        ]
        caches = [Textbook(client) for client in clients]
        yield [Side(cache.get_or_set, cache.invalidate) for cache in caches]


@asynccontextmanager
async def _holdfast(url: str) -> AsyncIterator[list[Side]]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncHoldfast(url)) for _ in range(3)]
        caches = [hf.cache("races", ttl="1m", type=int) for hf in clients]
        yield [Side(cache.get_or_set, cache.invalidate) for cache in caches]


@asynccontextmanager
async def _threaded(
    url: str, make: Callable[[str, ThreadPoolExecutor], Threaded]
) -> AsyncIterator[list[Side]]:
    with ThreadPoolExecutor(3 * AT_ONCE) as pool:
        caches = [make(url, pool) for _ in range(3)]
        yield [Side(cache.get_or_set, cache.invalidate) for cache in caches]


class Database:
    """The committed versions."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}

    def load(self, key: str) -> Load:
        """A quick loader."""

        async def read() -> int:
            await asyncio.sleep(0)
            return self.versions[key]

        return read


async def _forced(sides: list[Side], key: str, _dice: random.Random) -> bool:
    """One race in the order that hurts; True if anybody then read what was out of date."""
    return await _in_order(sides, key, read_between=True)


async def _unread(sides: list[Side], key: str, _dice: random.Random) -> bool:
    """As `_forced`, but nobody reads in between: who stores only where nothing is, does so then."""
    return await _in_order(sides, key, read_between=False)


async def _in_order(sides: list[Side], key: str, *, read_between: bool) -> bool:
    reader, writer, auditor = sides
    database = Database()
    database.versions[key] = OLD
    has_read, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        value = database.versions[key]
        has_read.set()
        await may_end.wait()
        return value

    reading = asyncio.ensure_future(reader.read(key, slow))
    await has_read.wait()
    database.versions[key] = NEW
    await writer.invalidate(key)
    at_once = await auditor.read(key, database.load(key)) if read_between else NEW
    may_end.set()
    await reading
    return OLD in {at_once, await auditor.read(key, database.load(key))}


async def _free(sides: list[Side], key: str, dice: random.Random) -> bool:
    """One race at random; True if anybody then read what was out of date."""
    reader, writer, auditor = sides
    database = Database()
    database.versions[key] = OLD

    async def slow() -> int:
        value = database.versions[key]
        await asyncio.sleep(dice.uniform(0, SPREAD))
        return value

    async def read() -> None:
        await asyncio.sleep(dice.uniform(0, SPREAD))
        await reader.read(key, slow)

    async def write() -> int:
        await asyncio.sleep(dice.uniform(0, SPREAD))
        database.versions[key] = NEW
        await writer.invalidate(key)
        return await auditor.read(key, database.load(key))

    at_once, _ = await asyncio.gather(write(), read())
    return OLD in {at_once, await auditor.read(key, database.load(key))}


async def _run(url: str, open_sides: Callable[..., object], race: Callable[..., Awaitable[bool]],
               races: int) -> int:  # fmt: skip
    """How many of `races` ended with a stale read; many at once, each with a key of its own."""
    dice, numbers = random.Random(), iter(range(races))

    async def lane() -> int:
        return sum([await race(sides, f"{race.__name__}:{number}", dice) for number in numbers])

    async with open_sides(url) as sides, asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
        lanes = [group.create_task(lane()) for _ in range(AT_ONCE)]
    return sum(each.result() for each in lanes)


def measure(run: Run) -> list[Section]:
    """One table."""
    races = 500 if run.quick else RACES
    rows = [("races", "run", "stale: Holdfast", "stale: textbook", "stale: dogpile", "stale: django-redis")]
    promises = []
    for name, race in (("forced", _forced), ("unread", _unread), ("free", _free)):
        run.say(f"races: {name}")
        ours, theirs = (asyncio.run(_run(run.url, sides, race, races)) for sides in (_holdfast, _textbook))
        others = ["-" if race is _free else _peer(run, kind, race) for kind in ("dogpile", "django")]
        rows.append((name, f"{races:,}", f"{ours:,}", _share(theirs, races), others[0], others[1]))
        text = f"{races:,} {name} races of load against invalidate: 0 stale"
        promises.append(Promise(text, str(ours), ours == 0, safety=True))
    text = (
        "Races after which somebody read a version older than the one whose invalidation had returned. In a "
        "forced race the commit and the invalidation fall between the load's reading of the database and its "
        "end, and somebody reads before that; in an unread one nobody does; in a free one reader and writer "
        f"start at random, and the load lasts at random, up to {1000 * SPREAD:.0f} ms. dogpile "
        f"(`get_or_create`, `delete`) and django-redis (`get_or_set`, `delete`): {PEERS_RACES} each."
    )
    return [Section("Loads against invalidations", text, rows, promises)]


def _share(stale: int, races: int) -> str:
    return f"{stale:,} ({100 * stale / races:.0f} %)"


def _peer(run: Run, kind: str, race: Callable[..., Awaitable[bool]]) -> str:
    """The stale ones among races of a peer whose callers are threads."""
    if not find_spec({"django": "django_redis"}.get(kind, kind)):
        return "-"
    run.say(f"races: {kind}")
    sides = partial(_threaded, make=getattr(peers, f"threaded_{kind}"))
    return _share(asyncio.run(_run(run.url, sides, race, PEERS_RACES)), PEERS_RACES)
