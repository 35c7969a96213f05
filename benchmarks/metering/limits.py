"""Limits: checks per second, and how many are let through when eight processes race for them.

Promised: at 100 tasks at least twice as many checks per second as the best library of equal or stronger
semantics; and never one more than the limit.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import cycle
from statistics import median
from typing import Any

import limits as alisaifee
import pyrate_limiter
import redis.asyncio
import throttled.asyncio as throttled
from limits.aio import strategies
from limits.aio.storage import RedisStorage

from benchmarks import harness
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Results, Run, Worker, ratio
from benchmarks.report import Promise, Section
from benchmarks.tasks import Talk, closed
from holdfast import AsyncHoldfast, Limit

SUBJECTS = 100
PLENTY = 10_000_000  # per day: nobody is denied
RACERS, EACH, QUOTA = 8, 400, 1000

CELLS: dict[Cell, float] = {
    ("check", 1): 1, ("check", 100): 1, ("check three", 100): 1, ("denied", 1): 0.5, ("denied", 100): 0.5,
}  # fmt: skip

Ask = Callable[[str], Awaitable[bool]]
Make = Callable[[int], Ask]
"""A limiter with that quota a day: does it let a subject through?"""


# --- the candidates -----------------------------------------------------------------------------------------

GCRA = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local tat = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now))
local step = ARGV[1] / ARGV[2]
if tat + step - now > ARGV[1] + 0 then return 0 end
redis.call('SET', KEYS[1], string.format('%.17g', tat + step), 'EX', math.ceil(tat + step - now))
return 1
"""


@asynccontextmanager
async def by_hand(url: str) -> AsyncIterator[Handler]:
    """The script of a blog, in floating point, through redis-py: one limit, a yes or a no."""
    async with redis.asyncio.Redis(**harness.address(url)) as client:
        script = client.register_script(GCRA)

        def make(quota: int) -> Ask:
            async def ask(key: str) -> bool:
                return bool(await script(keys=[f"hand:{quota}:{key}"], args=[86400, quota]))

            return ask

        yield await handler(make)


@asynccontextmanager
async def holdfast(url: str, *, deny_cache: str = "1s") -> AsyncIterator[Handler]:
    """As it comes: exact, all limits together, a full decision; denials remembered here."""
    async with AsyncHoldfast(url) as hf:

        def limiter(name: str, limits: Any) -> Ask:
            # The deadline: a busy machine shall not decide by itself.
            made = hf.limiter(f"{name} {deny_cache}", limits, deadline="10s", deny_cache=deny_cache)

            async def ask(key: str) -> bool:
                return (await made.check(key)).allowed

            return ask

        three = [Limit(PLENTY, "1d"), Limit(PLENTY, "1h"), Limit(PLENTY, "1m")]
        yield await handler(lambda quota: limiter(str(quota), Limit(quota, "1d")), limiter("three", three))


@asynccontextmanager
async def limits_library(url: str, *, strategy: str) -> AsyncIterator[Handler]:
    """`limits`: True or False; how much is left takes a second round trip."""
    storage = RedisStorage(f"async+{url}", implementation="redispy")
    limiter = getattr(strategies, strategy)(storage)
    yield await handler(lambda quota: partial(limiter.hit, alisaifee.RateLimitItemPerDay(quota), strategy))


@asynccontextmanager
async def throttled_py(url: str) -> AsyncIterator[Handler]:
    """`throttled-py`, its GCRA."""
    store = throttled.RedisStore(server=f"{url.rstrip('/')}/0")

    def make(quota: int) -> Ask:
        rate, kind = throttled.per_day(quota, burst=quota), throttled.RateLimiterType.GCRA.value
        limiter = throttled.Throttled(using=kind, quota=rate, store=store)

        async def ask(key: str) -> bool:
            return not (await limiter.limit(f"{quota}:{key}")).limited

        return ask

    yield await handler(make)


@asynccontextmanager
async def pyrate(url: str) -> AsyncIterator[Handler]:
    """`pyrate-limiter`: an exact log in a sorted set; a bucket for each subject."""
    async with redis.asyncio.Redis(**harness.address(url)) as client:

        def make(quota: int) -> Ask:
            rates = [pyrate_limiter.Rate(quota, pyrate_limiter.Duration.DAY)]
            known: dict[str, Any] = {}

            async def ask(key: str) -> bool:
                bucket = known.get(key)
                if bucket is None:
                    made: Any = pyrate_limiter.RedisBucket.init(rates, client, f"pyrate:{quota}:{key}")
                    bucket = known[key] = await made
                return bool(await bucket.put(pyrate_limiter.RateItem(key, math.floor(time.time() * 1000))))

            return ask

        yield await handler(make)


CANDIDATES = [
    Candidate("holdfast", holdfast),
    Candidate("holdfast, deny_cache=0", partial(holdfast, deny_cache="0s")),
    Candidate("limits, fixed window", partial(limits_library, strategy="FixedWindowRateLimiter")),
    Candidate("limits, sliding counter", partial(limits_library, strategy="SlidingWindowCounterRateLimiter")),
    Candidate("limits, moving window", partial(limits_library, strategy="MovingWindowRateLimiter")),
    Candidate("throttled-py, gcra", throttled_py),
    Candidate("pyrate-limiter, log", pyrate),
    Candidate("a script by hand", by_hand),
]
PEERS = [one.name for one in CANDIDATES if not one.name.startswith(("holdfast", "a script", "limits, fixed"))]
"""Those that let no double quota through at the edge of a window."""


# --- the loads ----------------------------------------------------------------------------------------------


async def handler(make: Make, three: Ask | None = None) -> Handler:
    """The function that runs one cell. `three`: asks three limits at once."""
    keys = [f"user:{number}" for number in range(SUBJECTS)]
    plenty, once, quota = make(PLENTY), make(1), make(QUOTA)
    for key in keys:
        assert await plenty(key)
        await once(key)  # the first one ever; it is there for all candidates, and those after it are denied
        assert not await once(key)

    async def handle(load: str, size: Any, seconds: float) -> Figures:
        if load == "race":
            return await _race(quota, str(size))
        if load == "check three":
            return (
                Meter().figures() if three is None else await closed(Talk(three, keys, True), size, seconds)
            )
        return await closed(Talk(once if load == "denied" else plenty, keys, None), size, seconds)

    return handle


async def _denied(ask: Ask, keys: Sequence[str], tasks: int, seconds: float) -> Figures:
    """As `closed`, but it looks at the clock: what needs no round trip never lets the loop do so."""
    meter, subjects = Meter(), cycle(keys)

    async def caller() -> None:
        while meter.figures().wall < seconds:
            for _ in range(10):
                assert not await ask(next(subjects))
            meter.done += 10
            await asyncio.sleep(0)

    await asyncio.gather(*(caller() for _ in range(tasks)))
    return meter.figures()


async def _race(ask: Ask, key: str) -> Figures:
    """Try EACH times, twenty at a time; `done` is how many were let through."""
    meter = Meter()
    tries = iter(range(EACH))

    async def racer() -> None:
        for _ in tries:
            let_through = await ask(key)  # first: others count meanwhile
            meter.done += let_through

    await asyncio.gather(*(racer() for _ in range(20)))
    return meter.figures()


def _admitted(run: Run, candidate: Candidate) -> int:
    """How many of RACERS processes together were let through, of QUOTA."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(candidate, run.url, None)) for _ in range(RACERS)]
        for worker in workers:
            worker.run("check", 1, 0.05)
        for worker in workers:
            worker.send("race", "all of them", 0.0)
        return sum(worker.result().done for worker in workers)


# --- what comes out -----------------------------------------------------------------------------------------


def measure(run: Run) -> list[Section]:
    """Checks per second; and the race."""
    run.say("limits")
    found = harness.interleave(run, CANDIDATES, CELLS)
    run.say("eight processes race for one limit")
    admitted = {one.name: _admitted(run, one) for one in CANDIDATES}
    rows: list[Sequence[str]] = [
        ("checks per second", "1 task", "100 tasks", "holdfast is", "3 limits, 100 tasks", "denied, 1 task",
         "denied, 100 tasks", f"let through of {QUOTA:,}")
    ]  # fmt: skip
    for one in CANDIDATES:
        times = ratio(_rates(found, "holdfast", ("check", 100)), _rates(found, one.name, ("check", 100)))
        each = {cell: f"{median(_rates(found, one.name, cell)):,.0f}" for cell in CELLS}
        if one.name != "holdfast":
            each["check three", 100] = "-"
        one_task, tasks, three, denied_one, denied = each.values()
        let = f"{admitted[one.name]:,}"
        rows.append((one.name, one_task, tasks, str(times), three, denied_one, denied, let))
    text = (
        f"asyncio, {SUBJECTS} subjects. Holdfast answers with what is left, and when to come again, "
        "of every limit; `limits` with yes or no. The last column: eight processes together ask "
        f"{RACERS * EACH:,} times for one subject with a quota of {QUOTA:,} a day."
    )
    return [Section("Limits", text, rows, _promises(found, admitted))]


def _rates(found: Results, name: str, cell: Cell) -> list[float]:
    return [one.rate for one in found[name, cell]]


def _promises(found: Results, admitted: dict[str, int]) -> list[Promise]:
    best = max(PEERS, key=lambda name: median(_rates(found, name, ("check", 100))))
    times = ratio(_rates(found, "holdfast", ("check", 100)), _rates(found, best, ("check", 100)))
    over = admitted["holdfast"] - QUOTA
    return [
        Promise(
            "checks, 100 tasks: at least 2 x the best library", f"{times.whole} ({best})", times.middle >= 2
        ),
        Promise(
            f"{RACERS} processes, one limit: nothing over it",
            f"{max(0, over)} too many",
            over <= 0,
            safety=True,
        ),
    ]
