# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncLatch: opens once all have arrived."""

from __future__ import annotations

from typing import Any

from holdfast._compat import monotonic
from holdfast._coord._wait_async import Busy
from holdfast._coord.owner import token as new_token
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import LockTimeout
from holdfast.locks._place_async import AsyncPlace
from holdfast.locks.latch import rules
from holdfast.locks.latch.rules import LatchOptions, LatchState, Names
from holdfast.locks.options import AS_CHOSEN, check_name


class AsyncLatch:
    """Opens once `count` different parties have arrived, wherever they are.

        latch = hf.latch("migrated", count=3)
        await latch.arrive("worker-1")         # in each of the three
        await latch.wait("1m")                 # anywhere

    A cheap description, as a lock is. What is promised, and what is not, stands in
    `holdfast.locks.latch.rules`.
    """

    def __init__(self, place: AsyncPlace, name: str, options: LatchOptions) -> None:
        self.name = check_name(name, "latch")
        self.options = options
        self._place = place
        self._wire = place.wire
        self._names = Names(place.wire.keys, name)

    @property
    def key(self) -> str:
        """The latch's key on the server."""
        return self._names.key

    async def arrive(self, party: str | None = None) -> int:
        """Count `party` in, and return how many are still missing.

        The same party may arrive again; it counts once per round. None: one that nobody else is.
        Raises: ConflictError if the latch awaits another count; Unavailable: arriving again (with the same
        name) is then safe; Refused.
        """
        request, options = new_token(), self.options
        who = request if party is None else check_name(party, "party")
        args = (who, request, options.count, options.ttl_ms)
        reply = await self._wire.run(rules.ARRIVE, self._names.all(), args)
        return rules.missing(self.name, options.count, reply)

    async def wait(self, wait: Duration | None = AS_CHOSEN) -> None:
        """Return once all have arrived; waits for `wait` at most (None: for ever).

        Raises: LockTimeout if some are missing then, ConflictError if the latch awaits another count,
        Unavailable if the server was away at the end, Refused, Closed.
        """
        longest = optional_seconds(self.options.wait if wait is AS_CHOSEN else wait, "wait", zero=True)
        give_up = float("inf") if longest is None else monotonic() + longest
        watching = _Watching(self)
        await self._place.waiting.obtain(
            watching,
            key=f"{self.key}:{new_token()}",  # all who wait may go on at once: each looks for itself
            channel=self.key,
            give_up=give_up,
            timed_out=watching.timed_out,
        )

    async def missing(self) -> int:
        """How many are still missing. Raises: as `inspect`."""
        return (await self.inspect()).missing

    async def inspect(self) -> LatchState:
        """How it stands. Raises: ConflictError if the latch awaits another count, Unavailable, Refused."""
        return await self._look(self._wire.timeout)

    async def reset(self) -> int:
        """Close it again, for another round; returns its generation, 0 if nobody has arrived yet at all.

        Who waits for the round before, which had not opened, waits for this one.
        Raises: Unavailable, Refused.
        """
        args = (new_token(), self.options.ttl_ms)
        return int(await self._wire.run(rules.RESET, self._names.all(), args))

    async def _look(self, timeout: float) -> LatchState:
        reply = await self._wire.run(rules.LOOK, self._names.look(), (), timeout)
        return rules.state(self.name, self.options.count, reply)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, count={self.options.count})"


class _Watching:
    """One wait: it looks again until the latch has opened since it looked first."""

    def __init__(self, latch: AsyncLatch) -> None:
        self._latch = latch
        self._since: int | None = None
        self._missing = latch.options.count

    async def __call__(self, timeout: float) -> Any:
        """The state in which it had opened, or Busy."""
        found = await self._latch._look(timeout)
        if self._since is None:
            self._since = found.generation
        self._missing = found.missing
        return found if rules.opened_since(self._since, found) else Busy()

    def timed_out(self, busy: Busy | None) -> LockTimeout:  # noqa: ARG002 (nobody holds it)
        """What says that some are missing."""
        name, count = self._latch.name, self._latch.options.count
        message = f"latch {name!r} did not open within the wait: {self._missing} of {count} are missing"
        return LockTimeout(message, name=name)
