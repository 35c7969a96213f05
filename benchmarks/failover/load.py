"""What each client does all the time: lanes, each a thread that calls, notes what it came to, and waits.

Writers SET, each time a key of its own. A counter INCRs, which nobody may repeat. A reader GETs. In a
Cluster they use keys of the shard that will fail, and one writer more uses those of the others. A lane that
fell behind does not catch up: after an outage it goes on at its pace.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.failover.clients import CLIENTS, Client, verdict
from benchmarks.failover.plan import Op, Order, Track
from benchmarks.harness import Candidate, Handler

READY = 15.0  # seconds for a client to write for the first time
GRACE = 0.3  # seconds for a call that is under way when the round ends


@dataclass
class Lane:
    """One thread's task and its notes."""

    track: Track
    act: Callable[[Track, int], Any]
    pending: tuple[float, int] | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    def start(self, over: threading.Event, period: float) -> None:
        """Go, until `over`."""
        self.thread = threading.Thread(target=self._run, args=(over, period), daemon=True)
        self.thread.start()

    def _run(self, over: threading.Event, period: float) -> None:
        number, due = 0, time.monotonic() + random.uniform(0, period)
        while not over.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            number += 1
            self._once(number)
            due = max(due + period, time.monotonic())

    def _once(self, number: int) -> None:
        start = time.monotonic()
        self.pending = (start, number)
        try:
            value = self.act(self.track, number)
        except Exception as error:  # noqa: BLE001 (noted by its name)
            name, maybe = verdict(error)
            op = Op(start, time.monotonic(), number, 0, name, maybe)
        else:
            op = Op(start, time.monotonic(), number, value if isinstance(value, int) else 0)
        self.track.ops.append(op)
        self.pending = None

    def notes(self) -> Track:
        """All that was noted until now."""
        return self.track._replace(ops=list(self.track.ops), pending=self.pending)


class Party:
    """One client and its lanes."""

    def __init__(self, client: Client, order: Order) -> None:
        self._client = client
        self._over = threading.Event()
        acts: dict[str, Callable[[Track, int], Any]] = {
            "set": lambda track, number: client.set(track.key(number), number),
            "incr": lambda track, _: client.incr(track.counter),
            "get": lambda track, _: client.get(f"{track.prefixes[0]}:ready"),
        }
        tracks = [
            Track("w1", "set", order.faulted, False, []),
            Track("w2", "set", order.faulted, False, []),
            Track("count", "incr", order.faulted, False, []),
            Track("read", "get", order.faulted, False, []),
        ]
        if order.healthy:
            tracks.append(Track("healthy", "set", order.healthy, True, []))
        self._lanes = [Lane(track, acts[track.kind]) for track in tracks]
        for prefix in order.faulted + order.healthy:
            self._until_written(f"{prefix}:ready")
        for lane in self._lanes:
            lane.start(self._over, 1 / order.rate)

    def _until_written(self, key: str) -> None:
        give_up = time.monotonic() + READY
        while True:
            try:
                self._client.set(key, 1)
            except Exception:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> tuple[list[Track], float]:
        """What was noted, and the seconds that closing took; where a call hangs, nothing is closed."""
        self._over.set()
        give_up = time.monotonic() + GRACE
        for lane in self._lanes:
            assert lane.thread is not None
            lane.thread.join(max(0.0, give_up - time.monotonic()))
        tracks = [lane.notes() for lane in self._lanes]
        begun = time.monotonic()
        if all(track.pending is None for track in tracks):
            self._client.close()
        return tracks, time.monotonic() - begun


@asynccontextmanager
async def _serve(name: str, _url: str) -> AsyncIterator[Handler]:
    parties: list[Party] = []

    async def handle(verb: str, *arguments: Any) -> Any:
        # In this thread: between two orders nothing runs on this loop.
        if verb == "open":
            order = Order(*arguments)
            try:
                client = CLIENTS[name](order.url)
                parties.append(Party(client, order))
            except Exception as error:  # noqa: BLE001 (the round is void, the others go on)
                return f"{type(error).__name__}: {error}"
            return ""
        return parties.pop().stop()

    yield handle


def candidate(name: str) -> Candidate:
    """The process of a client: told ("open", *order), it works; told ("stop",), it says what it came to."""
    return Candidate(name, partial(_serve, name))
