"""From the loss of a lock until its section knows: a task is cancelled, a thread has its event set.

Somebody deletes the lock, takes it over, or empties the server: counted from before that command is sent.
The link is dead or the server frozen: counted from the moment at which the server would give the lock to
somebody else; what is below zero is time that the section had left.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import redis

from benchmarks import harness
from benchmarks.harness import Run
from benchmarks.report import Promise, Section
from holdfast import AsyncHoldfast, Holdfast, embedded
from holdfast.errors import LockLost
from holdfast.testing import FaultProxy

OFTEN, SELDOM = 8, 2  # times in a round: what takes a moment, and what takes a ttl
TTL, SHORT = 30.0, 1.0
HELD = 0.4  # seconds that a lock is held before something happens to it
PATIENCE = 20.0
NEVER = float("inf")


@dataclass(frozen=True)
class Stage:
    """The server, a network in front of it, and a client that neither affects."""

    server: embedded.Server
    faults: FaultProxy
    aside: redis.Redis

    def heal(self) -> None:
        """End what goes on for longer than a moment."""
        self.server.resume()
        self.faults.heal()


Strike = Callable[[Stage, str], float]


def _delete(stage: Stage, key: str) -> float:
    begun = time.monotonic()
    stage.aside.delete(key)
    return begun


def _take(stage: Stage, key: str) -> float:
    begun = time.monotonic()
    stage.aside.set(key, "somebody else's", px=int(1000 * TTL))
    return begun


def _flush(stage: Stage, _: str) -> float:
    begun = time.monotonic()
    stage.aside.flushall()
    return begun


def _part(stage: Stage, key: str) -> float:
    stage.faults.blackhole()
    return time.monotonic() + stage.aside.pttl(key) / 1000


def _freeze(stage: Stage, key: str) -> float:
    end = time.monotonic() + stage.aside.pttl(key) / 1000
    stage.server.freeze()
    return end


@dataclass(frozen=True)
class Mishap:
    """What is done to a lock. `ttl` in seconds."""

    name: str
    strike: Strike
    ttl: float = TTL
    often: int = OFTEN
    held: float = HELD


MISHAPS = (
    Mishap("deleted (DEL)", _delete),
    Mishap("deleted in its first 10 ms", _delete, held=0.01),
    Mishap("taken over (SET)", _take),
    Mishap("emptied (FLUSHALL)", _flush),
    Mishap("link dead, lease ends", _part, SHORT, SELDOM),
    Mishap("server frozen, lease ends", _freeze, SHORT, SELDOM),
)


async def lose_task(hf: AsyncHoldfast, stage: Stage, mishap: Mishap, key: str) -> float:
    """Seconds until the task that holds it is cancelled."""
    held = asyncio.Event()
    told = NEVER

    async def section() -> None:
        nonlocal told
        async with hf.lock(key, key=key, ttl=mishap.ttl):
            held.set()
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                told = time.monotonic()
                raise

    task = asyncio.create_task(section())
    await held.wait()
    await asyncio.sleep(mishap.held)
    moment = await asyncio.to_thread(mishap.strike, stage, key)
    try:
        with suppress(LockLost):
            await task
    finally:
        await asyncio.to_thread(stage.heal)
    return told - moment


def lose_thread(hf: Holdfast, stage: Stage, mishap: Mishap, key: str) -> float:
    """Seconds until the thread that holds it has its event set."""
    held = threading.Event()
    told = NEVER

    def section() -> None:
        nonlocal told
        with suppress(LockLost), hf.lock(key, key=key, ttl=mishap.ttl) as lease:
            held.set()
            if lease.lost.wait(PATIENCE):
                told = time.monotonic()

    thread = threading.Thread(target=section)
    thread.start()
    held.wait(PATIENCE)
    time.sleep(mishap.held)
    moment = mishap.strike(stage, key)
    try:
        thread.join()
    finally:
        stage.heal()
    return told - moment


Found = dict[tuple[str, bool], list[float]]


def measure(run: Run) -> list[Section]:
    """One table."""
    found: Found = {(one.name, tasks): [] for one in MISHAPS for tasks in (True, False)}
    with (
        embedded.start(port=True, password="") as server,
        FaultProxy(server) as faults,
        redis.Redis(**harness.address(server.url)) as aside,
    ):
        stage = Stage(server, faults, aside)
        for number in range(run.rounds):
            run.say(f"losses, round {number + 1} of {run.rounds}")
            asyncio.run(_tasks(run, stage, found))
            _threads(run, stage, found)
    return [_section(found)]


def _plan(run: Run) -> list[tuple[Mishap, str]]:
    names = itertools.count(time.time_ns())
    plan = [(one, f"loss:{next(names)}") for one in MISHAPS for _ in range(1 if run.quick else one.often)]
    return run.dice.sample(plan, len(plan))


async def _tasks(run: Run, stage: Stage, found: Found) -> None:
    async with AsyncHoldfast(stage.faults.url) as hf:
        for mishap, key in _plan(run):
            found[mishap.name, True].append(await lose_task(hf, stage, mishap, key))


def _threads(run: Run, stage: Stage, found: Found) -> None:
    with Holdfast(stage.faults.url) as hf:
        for mishap, key in _plan(run):
            found[mishap.name, False].append(lose_thread(hf, stage, mishap, key))


def _section(found: Found) -> Section:
    rows: list[Sequence[str]] = [
        ("lost, ms", "asyncio p50", "p99", "highest", "thread p50", "p99", "highest", "the others")
    ]
    rows += [(one.name, *_spread(found[one.name, True]), *_spread(found[one.name, False]), "never")
             for one in MISHAPS]  # fmt: skip
    promises = []
    for one in MISHAPS:
        times = found[one.name, True] + found[one.name, False]
        middle, late = 1e3 * median(times), 1e3 * max(times)
        if one.ttl == SHORT:
            text = f"{one.name}: the section knows before the lock can be somebody else's"
            promises.append(Promise(text, f"{middle:.0f} ms, latest {late:.0f} ms", middle <= 0))
        else:
            when = "at once" if one.held == HELD else "at the first look"
            text = f"{one.name}: the section knows {when}, not at the next renewal"
            promises.append(Promise(text, f"{middle:.2f} ms, latest {late:.1f} ms", late < 1e3))
    counts = {one.often: len(found[one.name, True]) for one in MISHAPS}
    text = (
        "Until a section that is renewed knows that its lock is gone: its task is cancelled, or its "
        f"thread's `lease.lost` is set; {' and '.join(f'{one}' for one in counts.values())} samples each. "
        f"Those of a ttl of {TTL:g} s, held for {HELD:g} s before, are counted from before the command is "
        "sent; a lease is watched from a quarter of a second on. The last two have a ttl of "
        f"{SHORT:g} s and are counted from when the server would give the lock to somebody else. redis-py, "
        "python-redis-lock and pottery have nothing that tells a section."
    )
    data = [{"mishap": name, "tasks": tasks, "seconds": times} for (name, tasks), times in found.items()]
    return Section("Locks: from the loss to the section", text, rows, promises, data)


def _spread(times: Sequence[float]) -> tuple[str, str, str]:
    ordered = sorted(1e3 * one for one in times)
    last = len(ordered) - 1
    middle, late, latest = (ordered[round(part * last)] for part in (0.5, 0.99, 1))
    return _number(middle), _number(late), _number(latest)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"
