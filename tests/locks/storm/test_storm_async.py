# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Many clients on one lock while everything around it fails; what each of them saw is judged.

`python -m tests.locks.storm.run` has longer ones, and tells how often what happened.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from holdfast import AsyncHoldfast, HoldfastError, LockLost, LockTimeout
from holdfast._compat import asleep, boottime
from holdfast.embedded import Server
from holdfast.testing import FaultProxy, start
from holdfast.testing.servers import wanted
from tests.locks.storm.record import PERMITS, Hold, Judgement, judge
from tests.locks.storm.weather import FAULTS, WHATS, Plan, Weather
from tests.locks.storm.world import AsyncTogether, Look

LATEST = 3.0  # seconds that a storm may last longer than planned, until enough has happened


class AsyncCrowd:
    """The clients of a storm and their tasks."""

    def __init__(self, plan: Plan, clients: list[AsyncHoldfast], name: str = "") -> None:
        self._plan, self._clients, self._name = plan, clients, name
        self.holds: list[Hold] = []
        self.note: Callable[[Hold], object] = bool  # told of each change, before what comes next
        self.errors: list[BaseException] = []
        self._end = boottime() + plan.lasting

    async def run(self) -> None:
        """Return when all are done."""
        await AsyncTogether.run(
            [
                partial(self._work, client, f"{self._name}{number}{'abcdefgh'[place]}")
                for number, client in enumerate(self._clients)
                for place in range(self._plan.each)
            ]
        )

    async def _work(self, client: AsyncHoldfast, name: str) -> None:
        count, dice = 0, random.Random(f"{self._plan.seed} {name}")
        while self._goes_on():
            key = f"k{dice.randrange(self._plan.keys)}"
            op = dice.choice(("read", "read", "write")) if self._plan.what == "rwlock" else "acquire"
            hold = Hold(who=f"{name}{count}", key=key, op=op)
            self.holds.append(hold)
            count += 1
            try:
                await self._hold(lock_of(client, self._plan, key, op, hold.who), hold, dice)
            except HoldfastError as error:
                if hold.granted is None and isinstance(error, LockTimeout):
                    hold.refused, hold.holder = boottime(), error.holder
                elif hold.granted is None:
                    hold.failed, hold.ended = type(error).__name__, boottime()
                self.note(hold)
            except BaseException as error:
                self.errors.append(error)
                return
            await asleep(dice.choice((0.0, 0.0, 0.01)))

    def _goes_on(self) -> bool:
        slow = len(self.holds) < self._plan.least  # a busy machine: some more time, then
        return boottime() < self._end + (LATEST if slow else 0.0)

    async def _hold(self, lock: Any, hold: Hold, dice: random.Random) -> None:
        way = dice.choice(("with", "with", "acquire", "try"))
        hold.call = boottime()
        self.note(hold)
        if way == "with":
            try:
                async with lock as lease:
                    hold.got(lease)
                    await self._stay(lease, hold, dice)
                    hold.release = boottime()
                    self.note(hold)
                hold.released = boottime()
            except LockLost as error:
                hold.lost, hold.cause = hold.lost or boottime(), hold.cause or error.cause
            self.note(hold)
            return
        lease = await (lock.try_acquire() if way == "try" else lock.acquire())
        if lease is None:
            hold.refused = boottime()
            self.note(hold)
            return
        hold.got(lease)
        await self._stay(lease, hold, dice)
        hold.release = boottime()
        self.note(hold)
        await lease.release()
        hold.released = boottime()
        self.note(hold)

    async def _stay(self, lease: Any, hold: Hold, dice: random.Random) -> None:
        plan = self._plan
        how_long = dice.choice((0.0, 0.0, 0.001, 0.001, 0.003, 0.003, 0.01, 0.01, 0.03))
        if dice.random() < plan.long:
            how_long = plan.staying or min(2 * plan.ttl, 0.6)  # it has to be renewed
        end = boottime() + how_long * dice.uniform(0.5, 1.5)
        while hold.look(lease) and boottime() < end:
            self.note(hold)
            await asleep(min(0.005, how_long))


def lock_of(client: AsyncHoldfast, plan: Plan, key: str, op: str, label: str = "") -> Any:
    """What the storm is about."""
    common: dict[str, Any] = {"ttl": plan.ttl, "wait": plan.wait, "label": label}
    if plan.what == "rwlock":
        sides = client.rwlock(key, **common)
        return sides.read() if op == "read" else sides.write()
    if plan.what == "semaphore":
        return client.semaphore(key, permits=PERMITS, **common)
    return client.lock(key, fair=plan.what == "fair", replicas=plan.replicas, **common)


async def storm(plan: Plan, server: Server) -> tuple[Judgement, Look]:
    """What a storm of this plan shows, and what it leaves."""
    look = Look(server, f"storm{secrets.token_hex(4)}")
    with ExitStack() as stack:
        proxies = [stack.enter_context(FaultProxy(server)) for _ in range(plan.clients)]
        more: dict[str, Any] = {"namespace": look.namespace, "timeout": plan.timeout, "require_server": False}
        clients = [AsyncHoldfast(proxy.url, **more) for proxy in proxies]
        crowd = AsyncCrowd(plan, clients)
        with Weather(plan, server, proxies, look.ask) as weather:
            await crowd.run()
        for client in clients:
            await client.close()
        await asleep(0.05)
        look.now()
    assert crowd.errors == []
    return judge(plan.what, crowd.holds, weather.wipes, ttl=plan.ttl), look


@pytest.fixture(scope="module")
def ground() -> Iterator[Server]:
    """A server for these storms alone."""
    with start(wanted()[0]) as server:
        yield server


def short(seed: int, what: str, kind: str) -> Plan:
    """A storm that fits into a suite."""
    plan = Plan.drawn(seed, kind, what)
    return replace(plan, lasting=0.2, timeout=0.3, clients=3, each=2, keys=1, least=24)


async def weathered(plans: list[Plan], server: Server) -> None:
    """Have these storms, side by side, and see that all is well."""
    done: list[tuple[Plan, Judgement, list[str]]] = []

    async def one(plan: Plan) -> None:
        seen, left = await storm(plan, server)
        done.append((plan, seen, left.faults(seen)))

    await AsyncTogether.run([partial(one, plan) for plan in plans])
    assert len(done) == len(plans), "one of them did not come to its end"
    for plan, seen, left_behind in done:
        assert (seen.faults, left_behind) == ([], []), plan
        assert seen.crowd > 1, plan


KINDS = ("mixed", *FAULTS)


@pytest.mark.parametrize("what", WHATS)
async def test_two_never_have_it_while_the_server_remembers(what: str, ground: Server):
    """Planted and found: see planted.py."""
    mine = [kind for place, kind in enumerate(KINDS) if WHATS[place % len(WHATS)] == what]
    await weathered([short(seed, what, kind) for seed, kind in enumerate(mine)], ground)


@pytest.mark.parametrize(("what", "kind"), [*zip(WHATS, ("flush", "restart", "wild", "flush"), strict=True)])
async def test_when_the_server_forgets_fences_still_grow_and_nobody_relies_on_it_for_long(
    what: str, kind: str, ground: Server
):
    """Planted and found: see planted.py."""
    await weathered([short(1, what, kind)], ground)
