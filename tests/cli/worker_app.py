"""A program for `holdfast worker`, copied into the folder of a test as shop.py. It writes what happens to
`said`; what it has in work is done once the file `done` is there.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from holdfast import AsyncHoldfast, Holdfast
from holdfast._running_async import AsyncRunning
from holdfast._running_sync import Running

HERE = Path(__file__).parent


def say(text: str) -> None:
    """A line for the test."""
    with (HERE / "said").open("a") as file:
        file.write(f"{text} {os.getpid()}\n")


class Job:
    """A subscriber with one message in work."""

    name, group, order = "orders/billing", "billing", "key"
    failure = None
    in_flight = 1

    def __init__(self) -> None:
        self.alive = self.hurried = False

    def start(self) -> None:
        self.alive = True
        say("started")

    def close(self, drain: float) -> None:
        say(f"closes {drain:g}")
        self.hurried = self.hurried or not drain
        while self.at_work():
            time.sleep(0.01)
        self.end()

    def at_work(self) -> bool:
        deaf = (HERE / "deaf").exists()
        return deaf or not (self.hurried or (HERE / "done").exists())

    def end(self) -> None:
        if self.alive:
            self.alive = False
            say("cut off" if self.hurried else "done")


class AsyncJob(Job):
    """As `Job`."""

    async def close(self, drain: float) -> None:  # type: ignore[override]
        say(f"closes {drain:g}")
        self.hurried = self.hurried or not drain
        while self.at_work():
            await asyncio.sleep(0.01)
        self.end()


say("imported")
if (HERE / "slow").exists():
    while (HERE / "slow").exists():
        time.sleep(0.01)
if (HERE / "dies").exists():
    sys.exit(3)
if (HERE / "impatient").exists():
    from holdfast import _running_sync
    from holdfast.cli.worker import rules

    rules.GRACE = 0.3
    _running_sync.LAST_WORDS = 1000.0  # as if it hung for good


def _prepared(client: Any, running: Any, *jobs: Any) -> Any:
    client._running = running
    client._runnables = lambda groups: [one for one in jobs if groups is None or one.group in groups]
    return client


hf = _prepared(Holdfast(), Running(), Job())
ahf = _prepared(AsyncHoldfast(), AsyncRunning(), AsyncJob())
idle = Holdfast()
number = 7


# --- the real thing --------------------------------------------------------------------------------------

shop = Holdfast(namespace=os.environ.get("SHOP", "holdfast"))
ashop = AsyncHoldfast(namespace=os.environ.get("SHOP", "holdfast"))


@shop.stream("orders").subscriber(group="billing", lease="1s", concurrency=2)
def bill(order: int) -> None:
    """Tells, and ends when the test says so."""
    say(f"bills {order}")
    while not (HERE / "done").exists():
        time.sleep(0.01)
    say(f"billed {order}")


@ashop.stream("orders").subscriber(group="billing", lease="1s", concurrency=2)
async def abill(order: int) -> None:
    """As `bill`."""
    say(f"bills {order}")
    while not (HERE / "done").exists():
        await asyncio.sleep(0.01)
    say(f"billed {order}")
