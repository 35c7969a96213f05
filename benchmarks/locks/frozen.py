"""A process that holds a lock and says when it knows that it is lost; see `stage.another_process`."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from benchmarks.locks.actors import EVERYBODY
from benchmarks.locks.mishaps import is_told


async def main(kind: str, url: str, name: str, ttl: str) -> None:
    """Take it, watch, give it back."""
    [made] = [one for one in EVERYBODY if one.__name__ == kind]
    async with made(url) as actor:
        grip = await actor.take(actor.lock(name, ttl=float(ttl), renew=actor.renews), 5)
        last = time.monotonic()
        print("held", flush=True)
        while time.monotonic() - last < 1.0:  # a gap: we were frozen
            last = time.monotonic()
            await asyncio.sleep(0.01)
        told = await is_told(actor, grip)
        print("untold" if told is None else f"told {told:.1f}", flush=True)
        try:
            await actor.give(grip)
        except Exception as error:  # noqa: BLE001 - whatever the library raises
            print(type(error).__name__, flush=True)
        else:
            print("released", flush=True)


if __name__ == "__main__":
    threading.excepthook = lambda _: None  # a peer's renewal ends with one
    asyncio.run(main(*sys.argv[1:]))
