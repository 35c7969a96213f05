"""A process of a storm that may be killed and stopped at any time: what it does it writes down first.

`python -m tests.locks.storm.worker '<plan and place, as JSON>'`; says "ready", and begins when it is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

from holdfast import AsyncHoldfast, Holdfast
from tests.locks.storm import planted
from tests.locks.storm.test_storm_async import AsyncCrowd
from tests.locks.storm.test_storm_sync import Crowd
from tests.locks.storm.weather import Plan


def main(told: dict[str, Any]) -> None:
    """Use the locks until the storm is over."""
    plan = Plan(**{one.name: told[one.name] for one in fields(Plan)})
    file = os.open(told["file"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    more: dict[str, Any] = {
        "namespace": told["namespace"],
        "timeout": plan.timeout,
        "require_server": False,
    }
    print("ready", flush=True)
    sys.stdin.readline()

    def note(hold: Any) -> None:
        os.write(file, hold.line().encode())  # in one go: whole or cut, never mixed with another's

    async def work() -> None:
        client = AsyncHoldfast(told["url"], **more)
        crowd = AsyncCrowd(plan, [client], name=told["name"])
        crowd.note = note
        await crowd.run()
        await client.close()

    if told["flavour"] == "async":
        asyncio.run(work())
        return
    with Holdfast(told["url"], **more) as client:
        crowd = Crowd(plan, [client], name=told["name"])
        crowd.note = note
        crowd.run()


if __name__ == "__main__":
    words = json.loads(sys.argv[1])
    with planted.BUGS[words["bug"]]() if words["bug"] else nullcontext():
        main(words)
