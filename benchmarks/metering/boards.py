"""Leaderboards of a million members: submit and around-me, against plain commands by hand."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

import redis.asyncio

from benchmarks import harness
from benchmarks.harness import Candidate, Cell, Figures, Handler, Results, Run, ratio
from benchmarks.metering.memory import of_all
from benchmarks.report import Promise, Section
from benchmarks.tasks import Talk, closed
from holdfast import AsyncHoldfast, Holdfast

MANY, FEW = 1_000_000, 20_000
SAMPLE = 100_000  # members, to see what each kind of ties takes
ASKED = 1000

CELLS: dict[Cell, float] = {
    ("submit", 1): 1, ("submit", 100): 1, ("around", 1): 1, ("around", 100): 1,
}  # fmt: skip

Step = Callable[[str], Awaitable[Any]]


def _score(number: int) -> int:
    return number * 7919 % MANY


async def _handler(submit: Step, around: Step, members: int) -> Handler:
    dice = random.Random(1)
    asked = [f"player:{dice.randrange(members)}" for _ in range(ASKED)]
    assert len(await around(asked[0])) == 11

    async def handle(load: str, size: int, seconds: float) -> Figures:
        return await closed(Talk(submit if load == "submit" else around, asked, None), size, seconds)

    return handle


@asynccontextmanager
async def holdfast_board(url: str, *, members: int, ties: str = "competition") -> AsyncIterator[Handler]:
    """`submit` tells both ranks; `around` ranks everybody by the board's ties."""
    async with AsyncHoldfast(url, timeout="60s") as hf:
        board = hf.leaderboard(f"bench {ties}", ties=ties)  # type: ignore[arg-type]
        if await board.count() < members:
            for first in range(0, members, 5000):
                numbers = range(first, min(members, first + 5000))
                await board.submit_many({f"player:{number}": _score(number) for number in numbers})
        dice = random.Random(2)

        async def submit(member: str) -> Any:
            return await board.submit(member, dice.randrange(MANY))

        async def around(member: str) -> Any:
            return await board.around(member, 5)

        yield await _handler(submit, around, members)


@asynccontextmanager
async def by_hand(url: str, *, members: int) -> AsyncIterator[Handler]:
    """redis-py: ZADD and two ZREVRANKs in one pipeline; ZREVRANK, then ZREVRANGE. Ranks are places."""
    key = "plain board"
    async with redis.asyncio.Redis(**harness.address(url)) as client:
        await _fill(client, key, members)
        dice = random.Random(2)

        async def submit(member: str) -> Any:
            async with client.pipeline(transaction=False) as pipe:
                pipe.zrevrank(key, member).zadd(key, {member: dice.randrange(MANY)}).zrevrank(key, member)
                return await pipe.execute()

        async def around(member: str) -> Any:
            place = await client.zrevrank(key, member)
            return await client.zrevrange(key, max(0, place - 5), place + 5, withscores=True)

        yield await _handler(submit, around, members)


@asynccontextmanager
async def by_execute(url: str, *, members: int) -> AsyncIterator[Handler]:
    """The same commands through Holdfast's own client."""
    async with redis.asyncio.Redis(**harness.address(url)) as client:
        await _fill(client, "plain board", members)
    async with AsyncHoldfast(url) as hf:
        key, dice = "plain board", random.Random(2)

        async def submit(member: str) -> Any:
            was = await hf.execute("ZREVRANK", key, member)
            await hf.execute("ZADD", key, dice.randrange(MANY), member)
            return was, await hf.execute("ZREVRANK", key, member)

        async def around(member: str) -> Any:
            place = await hf.execute("ZREVRANK", key, member)
            assert isinstance(place, int)
            reply = await hf.execute("ZREVRANGE", key, max(0, place - 5), place + 5, "WITHSCORES")
            assert isinstance(reply, list)
            return reply if len(reply) < 22 else reply[::2]

        yield await _handler(submit, around, members)


async def _fill(client: redis.asyncio.Redis, key: str, members: int) -> None:
    if await client.zcard(key) >= members:
        return
    for first in range(0, members, 5000):
        numbers = range(first, min(members, first + 5000))
        await client.zadd(key, {f"player:{number}": _score(number) for number in numbers})


def measure(run: Run) -> list[Section]:
    """Speed; memory."""
    members = FEW if run.quick else MANY
    run.say(f"leaderboards of {members:,}")
    candidates = [
        Candidate("holdfast", _Opener(holdfast_board, members)),
        Candidate("holdfast, dense", _Opener(holdfast_board, members, ties="dense")),
        Candidate("redis-py by hand", _Opener(by_hand, members)),
        Candidate("execute by hand", _Opener(by_execute, members)),
    ]
    with Holdfast(run.url) as hf:
        _prepare(run, candidates)
        found = harness.interleave(run, candidates, CELLS)
        hf.execute("FLUSHALL", timeout="60s")
    rows: list[Sequence[str]] = [
        ("per second", *(f"{load}, {size} task{'s' * (size > 1)}" for load, size in CELLS))
    ]
    rows += [
        (one.name, *(f"{median(_rates(found, one.name, cell)):,.0f}" for cell in CELLS)) for one in candidates
    ]
    promises = []
    for cell in CELLS:
        times = ratio(_rates(found, "holdfast", cell), _rates(found, "redis-py by hand", cell))
        text = f"{cell[0]}, {cell[1]} task{'s' * (cell[1] > 1)}: not slower than redis-py by hand"
        promises.append(Promise(text, times.whole, times.middle >= 1))
    text = (
        f"{members:,} members, asyncio. By hand the ranks are those of an instant before and after, equals "
        "stand by their names, and around-me takes two round trips; Holdfast's are of one moment and by the "
        "board's ties."
    )
    return [Section("Leaderboards", text, rows, promises), _memory(run)]


class _Opener:
    """A candidate's function with its arguments, which can be sent to another process."""

    def __init__(self, open: Callable[..., Any], members: int, **told: Any) -> None:
        self._open, self._told = open, {"members": members, **told}

    def __call__(self, url: str) -> Any:
        return self._open(url, **self._told)


def _prepare(run: Run, candidates: Sequence[Candidate]) -> None:
    """Fill the boards, which takes longer than a worker may be silent."""
    import asyncio

    async def fill(candidate: Candidate) -> None:
        async with candidate.open(run.url):
            pass

    for candidate in candidates:
        run.say(f"filling: {candidate.name}")
        asyncio.run(fill(candidate))


def _memory(run: Run) -> Section:
    members = FEW if run.quick else SAMPLE
    rows: list[Sequence[str]] = [("ties", "bytes per member", "of a plain sorted set")]
    plain = 0.0
    with Holdfast(run.url, timeout="60s") as hf:
        scores = {f"player:{number}": _score(number) for number in range(members)}
        for ties in ("a plain sorted set", "competition", "ordinal", "dense", "first"):
            hf.execute("FLUSHALL")
            if ties == "a plain sorted set":
                for first in range(0, members, 1000):
                    part = [word for number in range(first, first + 1000)
                            for word in (_score(number), f"player:{number}")]  # fmt: skip
                    hf.execute("ZADD", "plain", *part)
            else:
                hf.leaderboard(f"memory {ties}", ties=ties).submit_many(scores)  # type: ignore[arg-type]
            each = of_all(hf) / members
            plain = plain or each
            rows.append((ties, f"{each:.0f}", f"{each / plain:.2f} x"))
        hf.execute("FLUSHALL")
    text = f"{members:,} members with names of 8 to 13 characters; the sum of MEMORY USAGE of all keys."
    return Section("Leaderboards: memory", text, rows)


def _rates(found: Results, name: str, cell: Cell) -> list[float]:
    return [one.rate for one in found[name, cell]]
