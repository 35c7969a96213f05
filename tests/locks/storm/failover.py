"""Storms through a failover that loses what the old primary had granted last.

The replicas are cut off first, then the primary, and one of the replicas is promoted: what was granted in
between, only the old primary knew. (A frozen primary would not do: what it had sent still arrives.)

    python -m tests.locks.storm.failover --rounds 10 [--replicas 1] [--flavour sync]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from holdfast import AsyncHoldfast, Holdfast
from holdfast._compat import boottime
from holdfast.embedded import SentinelLab, sentinel
from holdfast.testing.histories import overlaps
from tests.locks.storm.record import Hold, Judgement, Wipe, judge
from tests.locks.storm.test_storm_async import AsyncCrowd
from tests.locks.storm.test_storm_sync import Crowd
from tests.locks.storm.weather import Plan

ALONE = 0.5  # seconds for which only the primary knows what it grants
TTL = 20.0  # longer than a failover takes, so that holders go on believing


def storm(lab: SentinelLab, *, seed: int, flavour: str, replicas: int) -> tuple[Judgement, list[Hold], Wipe]:
    """What one failover shows. The lab is of no further use."""
    plan = Plan(
        seed=seed, kind="failover", ttl=TTL, clients=3, each=4, keys=40, lasting=7.0, timeout=0.5,
        replicas=replicas, long=0.04, staying=5.0, patience=0.2,
    )  # fmt: skip
    holds: list[Hold] = []
    errors: list[BaseException] = []
    crowd = threading.Thread(target=_crowd, args=(plan, lab.url, flavour, holds, errors))
    crowd.start()
    time.sleep(0.5)
    old, replicas_of_it = lab.primary, lab.replicas
    begin = boottime()
    for node in replicas_of_it:
        node.cut_off()
    time.sleep(ALONE)
    old.cut_off()
    for node in replicas_of_it:
        node.heal()
    lab.await_failover(old)
    wipe = Wipe(begin, boottime(), sure=False)
    crowd.join(40)
    assert not crowd.is_alive() and errors == [], errors
    # An older renewal may be all that the new primary knows: it may end what it has until then.
    return judge(plan.what, holds, [Wipe(wipe.begin, wipe.end + TTL, sure=False)], ttl=TTL), holds, wipe


def _crowd(plan: Plan, url: str, flavour: str, holds: list[Hold], errors: list[BaseException]) -> None:
    more: dict[str, Any] = {"namespace": f"f{secrets.token_hex(4)}", "timeout": plan.timeout}

    async def several() -> None:
        clients = [AsyncHoldfast(url, **more) for _ in range(plan.clients)]
        crowd = AsyncCrowd(plan, clients)
        crowd.holds = holds
        await crowd.run()
        for client in clients:
            await client.close()

    try:
        if flavour == "async":
            asyncio.run(several())
        else:
            clients = [Holdfast(url, **more) for _ in range(plan.clients)]
            crowd = Crowd(plan, clients)
            crowd.holds = holds
            crowd.run()
            for client in clients:
                client.close()
    except BaseException as error:
        errors.append(error)


def told(seen: Judgement, holds: list[Hold], wipe: Wipe) -> dict[str, Any]:
    """One failover in figures. `learned`: the longest from the promotion until a holder knew that his was
    lost with it; `risked`: holds granted while only the old primary could know.
    """
    alone = [
        hold
        for hold in holds
        if hold.granted is not None and hold.call > wipe.begin and hold.granted < wipe.begin + ALONE
    ]
    learned = [
        hold.lost - wipe.end
        for hold in holds
        if hold.granted is not None
        and hold.granted < wipe.end
        and hold.lost is not None
        and hold.cause in {"vanished", "taken"}
    ]
    # What the servers granted twice, whether or not the older holder had been told before.
    served = [
        replace(hold.grant(), until=min(hold.until, hold.release or hold.until))
        for hold in holds
        if hold.granted is not None
    ]
    return {
        "verdict": seen.verdict,
        "regranted": len(overlaps(served)),
        "holds": seen.holds,
        "risked": len(alone),
        "double": len(seen.double) + len(seen.excused),
        "fences": len(seen.fences),
        "causes": dict(seen.causes),
        "failed": dict(Counter(hold.failed for hold in holds if hold.failed)),
        "learned": max(learned, default=0.0),
    }


def main(words: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replicas", type=int, default=0)
    parser.add_argument("--flavour", choices=("async", "sync"), default="async")
    asked = parser.parse_args(words)
    sums: Counter[str] = Counter()
    for seed in range(asked.seed, asked.seed + asked.rounds):
        with sentinel(cuttable=True) as lab:
            row = told(*storm(lab, seed=seed, flavour=asked.flavour, replicas=asked.replicas))
        print(json.dumps(row), flush=True)
        sums["rounds"] += 1
        sums["broken"] += row["verdict"] == "broken"
        sums["rounds with double grants"] += row["double"] > 0
        for name in ("holds", "risked", "regranted", "double", "fences"):
            sums[name] += row[name]
    print(json.dumps(dict(sums)), flush=True)
    return 1 if sums["fences"] or sums["broken"] else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
