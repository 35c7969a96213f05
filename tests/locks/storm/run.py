"""Many storms from the command line, and a table of what they showed.

    python -m tests.locks.storm.run --seeds 0:200 --kind mixed --what lock --flavour async
    python -m tests.locks.storm.run --seeds 0:200                # all else is drawn from the seed
    python -m tests.locks.storm.run --seeds 0:50 --planted "renewal makes it anew" --first

One line of JSON for each storm that showed a fault, then the table. Exit status 1 if there was any.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, nullcontext
from typing import Any

from holdfast.embedded import Server
from holdfast.testing import start
from tests.locks.storm import planted, processes
from tests.locks.storm.record import Judgement
from tests.locks.storm.test_storm_async import storm as storm_async
from tests.locks.storm.test_storm_sync import storm as storm_sync
from tests.locks.storm.weather import KINDS, WHATS, Plan
from tests.locks.storm.world import Look

SUMS = (
    "holds", "operations", "double", "excused", "fences", "deaf", "own", "alarms", "orphans",
    "timeless", "knew",
)  # fmt: skip
RENEWED = 25  # storms after which the server is a new one


def one(plan: Plan, flavour: str, server: Server, bug: str = "") -> tuple[Judgement, Look]:
    """What one storm shows."""
    if plan.kind in processes.KINDS:
        return processes.storm(plan, flavour, server, bug)
    return asyncio.run(storm_async(plan, server)) if flavour == "async" else storm_sync(plan, server)


def told(plan: Plan, flavour: str, seen: Judgement, left: Look) -> dict[str, Any]:
    """One storm in figures."""
    return {
        "seed": plan.seed,
        "kind": plan.kind,
        "what": plan.what,
        "flavour": flavour,
        "verdict": seen.verdict,
        "holds": seen.holds,
        "operations": seen.operations,
        "double": len(seen.double),
        "excused": len(seen.excused),
        "fences": len(seen.fences),
        "deaf": len(seen.deaf),
        "own": len(seen.own),
        "alarms": len(seen.false_alarms),
        "lost": dict(seen.causes),
        "learned": max(seen.learned, default=0.0),
        "knew": len(seen.learned),
        "crowd": seen.crowd,
        "stall": round(seen.stall, 3),
        "orphans": len(left.faults(seen)),
        "timeless": len(left.timeless),
    }


class Table:
    """Sums by kind of storm."""

    def __init__(self) -> None:
        self.sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.worst: defaultdict[str, float] = defaultdict(float)
        self.stall: defaultdict[str, float] = defaultdict(float)

    def add(self, row: dict[str, Any]) -> None:
        """Put in one storm."""
        for name in (row["kind"], "all"):
            sums = self.sums[name]
            sums["storms"] += 1
            sums["broken"] += row["verdict"] == "broken"
            sums["unknown"] += row["verdict"] == "unknown"
            for what in SUMS:
                sums[what] += row[what]
            sums["lost"] += sum(row["lost"].values())
            self.worst[name] = max(self.worst[name], row["learned"])
            sums["alone"] += row["crowd"] < 2
            self.stall[name] = max(self.stall[name], row["stall"])

    def __str__(self) -> str:
        heads = ("storms", "holds", "operations", "alone", "broken", "unknown", *SUMS[2:], "lost")
        lines = [
            f"{'kind':<10}" + "".join(f"{head:>11}" for head in heads) + f"{'knew after':>12}{'stalled':>12}"
        ]
        for name in sorted(self.sums, key=lambda name: (name == "all", name)):
            sums = self.sums[name]
            lines.append(
                f"{name:<10}"
                + "".join(f"{sums[head]:>11}" for head in heads)
                + f"{self.worst[name] * 1000:>9.1f} ms{self.stall[name] * 1000:>9.0f} ms"
            )
        return "\n".join(lines)


def _run(asked: argparse.Namespace, table: Table) -> int:
    """Run what was asked for; how many storms showed a fault."""
    first, end = map(int, asked.seeds.split(":"))
    faults, give_up = 0, time.monotonic() + asked.seconds
    with planted.BUGS[asked.planted]() if asked.planted else nullcontext(), ExitStack() as stack:
        server: Server | None = None
        for seed in range(first, end):
            if time.monotonic() > give_up or (faults and asked.first):
                break
            if server is None or (seed - first) % RENEWED == 0:
                stack.close()
                server = stack.enter_context(start("valkey"))
            dice = random.Random(seed + 2)
            flavour = asked.flavour or dice.choice(("async", "sync"))
            plan = Plan.drawn(seed, asked.kind or "", dice.choice(asked.what or WHATS))
            seen, left = one(plan, flavour, server, asked.planted or "")
            row = told(plan, flavour, seen, left)
            table.add(row)
            wrong = [*seen.faults, *left.faults(seen)]
            faults += bool(wrong)
            if wrong or asked.all:
                print(json.dumps(row), flush=True)
                print("\n".join(wrong), flush=True)
    return faults


def main(words: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0:20", help="first:end")
    parser.add_argument("--kind", choices=(*KINDS, *processes.KINDS))
    parser.add_argument("--what", choices=WHATS, action="append")
    parser.add_argument("--flavour", choices=("async", "sync"))
    parser.add_argument("--planted", choices=sorted(planted.BUGS))
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no more storms after so long")
    parser.add_argument("--first", action="store_true", help="end with the first fault")
    parser.add_argument("--all", action="store_true", help="tell every storm")
    asked = parser.parse_args(words)
    table = Table()
    try:
        faults = _run(asked, table)
    except KeyboardInterrupt:
        faults = -1
    print(table, flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the table is told all the same
    code = main()
    sys.stdout.flush()
    os._exit(code)  # whatever a storm left behind
