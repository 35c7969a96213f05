# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncObservation: who leads, and every change of that."""

from __future__ import annotations

import random

from holdfast._compat import ASignal
from holdfast._coord._wait_async import LATE, SAFETY
from holdfast._coord.backoff import rest
from holdfast._wire.hub_ledger import AnyWatch
from holdfast._wire.mutex import MUTEX
from holdfast.errors import Closed, Refused, Unavailable
from holdfast.locks.holder import Holder
from holdfast.locks.leader import rules
from holdfast.locks.leader._seat_async import AsyncSeat
from holdfast.locks.leader.manner import AsyncIterating, Ended


class AsyncObservation(AsyncIterating):
    """Who leads: first as it is now, then every change; None where nobody does. Ends with `close()`.

        async for holder in hf.leader("reports").observe():
            print(holder.owner if holder else "nobody")

    Nothing is asked while nothing is heard, but for a look every `SAFETY` seconds, and one at the end of a
    ttl that nobody renewed. While the server is away there is no news. Raises: Closed, once the client is.
    """

    def __init__(self, seat: AsyncSeat) -> None:
        self._seat = seat
        self._signal: ASignal | None = None
        self._watches: list[AnyWatch] = []
        self._known: Holder | None = None
        self._has_looked = self._closed = False
        self._failures = 0
        self._pause = 0.0

    async def _next(self) -> Holder | Ended | None:
        signal = self._signal or self._watch()
        while not self._closed:
            await signal.wait(self._pause)
            signal.clear()
            if self._closed:
                break
            try:
                found = await self._seat.inspect()
            except Closed:
                raise
            except (Unavailable, Refused):
                self._failures += 1
                self._pause = rest(self._failures, random.random(), longest=SAFETY)
                continue
            self._failures = 0
            self._pause = SAFETY if found is None or found.ttl is None else min(SAFETY, found.ttl + LATE)
            if not self._has_looked or rules.is_news(self._known, found):
                self._has_looked, self._known = True, found
                return found
        return Ended()

    def _watch(self) -> ASignal:
        """Have it told, before the first look."""
        self._signal = signal = ASignal()
        hub = self._seat._wire.hub
        self._watches = [hub.watch(channel, signal) for channel in (self._seat.key, self._seat.observers)]
        return signal

    def close(self) -> None:
        """End it; whoever waits for the next change gets none. From any thread; may be repeated."""
        self._closed = True
        for watch in self._watches:
            watch.close()
        if self._signal is not None:
            self._signal.fire()

    def __del__(self) -> None:
        # The collector must not wait for the mutex, see Keeping.forsake; a watch that is left does no harm.
        if MUTEX.acquire(blocking=False):
            try:
                for watch in self.__dict__.get("_watches", ()):
                    watch.close()
            finally:
                MUTEX.release()
