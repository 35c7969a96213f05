"""A primary fails, and a replica takes over that has not heard of the lock; see mishaps.py."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from benchmarks.locks.actors import Actor
from benchmarks.locks.mishaps import MISHAPS, Kind, is_told, mishap, parting
from benchmarks.locks.stage import Stage, Verdict, beside, elsewhere, pair


@dataclass
class Takeover:
    """What came of one failover to a replica that has not heard of the lock."""

    refused: bool = False
    twice: bool = False
    told: float | None = None
    grown: bool = False


async def take_overs(kind: Kind, stage: Stage, replicas: int = 0) -> list[Takeover]:
    """`stage.rounds` failovers; whoever asks again learns of the same."""
    task = stage.memory.get((kind, replicas))
    if task is None:
        task = stage.memory[kind, replicas] = asyncio.create_task(_take_over(kind, stage, replicas))
    rounds: list[Takeover] = await task
    return rounds


async def _take_over(kind: Kind, stage: Stage, replicas: int) -> list[Takeover]:
    rounds: list[Takeover] = []
    async with elsewhere(pair()) as servers, kind(servers.url) as actor, kind(servers.url) as rival:
        for _ in range(stage.rounds):
            name, found = stage.name("failover"), Takeover()
            await beside(servers.whole)
            for one in (actor, rival):
                with suppress(Exception):  # its connection was reset
                    await one.give(await one.take(one.lock(f"{name}-first"), 5))
            await beside(servers.lag)
            rounds.append(found)
            try:
                grip = await actor.take(actor.lock(name, renew=actor.renews, replicas=replicas), 0.5)
            except Exception:  # noqa: BLE001 - the replica does not confirm it
                found.refused = True
                continue
            await beside(servers.fail_over)
            other = await _insist(rival, name)
            found.twice = other is not None
            found.told = await is_told(actor, grip)
            fences = (actor.fence(grip), rival.fence(other) if other is not None else None)
            found.grown = None not in fences and cast(int, fences[0]) < cast(int, fences[1])
            await parting(actor, grip)
            await parting(rival, other)
    return rounds


async def _insist(rival: Actor, name: str) -> Any:
    """Its connection was reset, which some report and some repeat."""
    for _ in range(3):
        with suppress(Exception):
            return await rival.take(rival.lock(name), 1)
    return None


@mishap(
    "failover loses it: told",
    "A replica that has not heard of it takes over: is the first holder told?",
)
async def failover_told(kind: Kind, stage: Stage) -> Verdict:
    """Replication is asynchronous: an acknowledged lock may be gone."""
    rounds = await take_overs(kind, stage)
    twice = sum(one.twice for one in rounds)
    untold = sum(one.told is None for one in rounds)
    detail = f"granted twice {twice} of {len(rounds)}"
    if untold:
        return Verdict(False, "two holders, untold", detail)
    return Verdict(True, "ok", f"{detail}, told within {max(one.told or 0.0 for one in rounds):.0f} ms")


@mishap(
    "failover loses it: fence",
    "Has the second holder a number by which a resource can refuse the first?",
)
async def failover_fence(kind: Kind, stage: Stage) -> Verdict:
    """A counter that the replica has not heard of counts from where it was."""
    rounds = await take_overs(kind, stage)
    grown = sum(one.grown for one in rounds)
    if grown == len(rounds):
        return Verdict(True, "ok", f"{grown} of {len(rounds)}")
    return Verdict(False, "no fence" if not grown else f"{grown} of {len(rounds)} grow")


@mishap("failover, replicas=1", "Can a lock be had that only counts once a replica has it?")
async def failover_refused(kind: Kind, stage: Stage) -> Verdict:
    """Who would rather have no lock than one that may be lost."""
    if not kind.durable:
        return Verdict(False, "no such option")
    rounds = await take_overs(kind, stage, 1)
    twice = sum(one.twice for one in rounds)
    return Verdict(not twice, "ok" if not twice else f"{twice} granted twice", f"{len(rounds)} refused")


ALL = MISHAPS  # those of mishaps.py, and these
