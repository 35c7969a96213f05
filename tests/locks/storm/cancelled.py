"""Acquires that are cancelled at random points: nothing of them may be left.

python -m tests.locks.storm.cancelled --count 10000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import sys
from collections import Counter
from typing import Any

from holdfast import AsyncHoldfast, LockTimeout
from holdfast._compat import monotonic
from holdfast.embedded import Server, admin
from holdfast.testing import FaultProxy, start
from tests.locks.storm.test_storm_async import lock_of
from tests.locks.storm.weather import Plan
from tests.locks.storm.world import Look

LAG = 0.001  # seconds that a reply takes
AT_ONCE = 20


async def cancel_many(
    server: Server, count: int, *, what: str = "lock", seed: int = 0, op: str = "acquire"
) -> dict[str, Any]:
    """Begin `count` acquires, cancel each at a random point; what became of them, and what is left."""
    dice, seen = random.Random(seed), Counter[str]()
    look = Look(server, f"cancel{secrets.token_hex(4)}")
    plan = Plan(seed=seed, kind="cancel", what=what, ttl=60.0, patience=10.0)
    room = asyncio.Semaphore(AT_ONCE)
    with FaultProxy(server) as proxy:
        proxy.delay(LAG)
        async with AsyncHoldfast(proxy.url, namespace=look.namespace) as client:

            async def use(key: str) -> None:
                try:
                    async with lock_of(client, plan, key, op):
                        seen["held"] += 1
                        await asyncio.sleep(0.001)
                except LockTimeout:
                    seen["timed out"] += 1

            async def one(number: int) -> None:
                # Some alone, some in each other's way.
                key = dice.choice((f"alone{number}", f"one{number % 7}"))
                async with room:
                    task = asyncio.create_task(use(key))
                    await asyncio.sleep(dice.choice((0.0, dice.random() * 0.002, dice.random() * 0.008)))
                    if not task.done():
                        seen["cancelled"] += 1
                    task.cancel()
                    await asyncio.wait([task], timeout=20)
                    assert task.done()
                    if not task.cancelled() and task.exception() is not None:
                        seen[type(task.exception()).__name__] += 1

            await asyncio.gather(*(one(number) for number in range(count)))
            give_up = monotonic() + 10
            while client._wire.hub.undelivered() and monotonic() < give_up:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        look.now()
    stats = admin.facts(look.ask("INFO", "commandstats"))
    calls = {
        name: int(stats.get(f"cmdstat_{command}", "calls=0").split(",")[0][6:])
        for name, command in (("scripts", "evalsha"), ("abandoned", "eval"))
    }
    return dict(seen) | calls | {"orphans": len(look.held), "timeless": len(look.timeless)}


def main(words: list[str] | None = None) -> int:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--what", default="lock")
    parser.add_argument("--op", default="acquire")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    with start("valkey") as server:
        found = asyncio.run(cancel_many(server, asked.count, what=asked.what, seed=asked.seed, op=asked.op))
    print(json.dumps(found))
    return 1 if found["orphans"] or found["timeless"] else 0


if __name__ == "__main__":
    sys.exit(main())
