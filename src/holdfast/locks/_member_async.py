# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncMember: what the members of the family have in common: acquire, try_acquire, `async with`."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from holdfast._compat import monotonic
from holdfast._coord._wait_async import LONGEST, Busy
from holdfast._wire.durability import Durability
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import Closed, LockTimeout, Unavailable
from holdfast.locks._attempt_async import AsyncAttempt
from holdfast.locks._lease_async import AsyncLease
from holdfast.locks._place_async import AsyncPlace
from holdfast.locks.options import AS_CHOSEN, HoldOptions
from holdfast.locks.stats import LockStats
from holdfast.locks.terms import Request, Terms


class AsyncMember:
    """Something that is leased: a lock, a side of an rwlock, a permit.

    Whoever is derived from it says what is asked (`_request`), what keeps it and gives it back (`_terms`),
    and where one hears of it (`_queue`). `names`: its keys, with `key` and `tag`; `tally`: as what it is
    counted.
    """

    what: str
    guards = True  # does its lease stand in a key of its own, where a guard can look?
    leaves_a_trace = False  # does an attempt that was refused leave something on the server?

    def __init__(self, place: AsyncPlace, name: str, options: HoldOptions, names: Any, tally: str) -> None:
        self.name = name
        self.options = options
        self._place = place
        self._wire = place.wire
        self._names = names
        self._tally = place.tallies.of(tally)

    @property
    def key(self) -> str:
        """Its key on the server."""
        key: str = self._names.key
        return key

    # --- what differs --------------------------------------------------------------------------------------

    def _request(self, attempt: AsyncAttempt) -> Request:
        """What asks for it."""
        raise NotImplementedError

    def _terms(self, token: str) -> Terms:
        """What keeps it, and gives it back."""
        raise NotImplementedError

    def _queue(self, token: str) -> tuple[str, str]:  # noqa: ARG002 (some have a queue for each)
        """The queue of this process in which to wait, and the channel on which one is told."""
        return self.key, self.key

    def _refuse_nesting(self) -> None:
        """Make sure that this task does not wait for itself. Raises: LockError."""
        self._place.refuse_nesting(self.key, self.what, self.name)

    def _check(self, reply: Any) -> None:
        """Raises: what an answer means that is neither a grant nor a refusal."""

    def _rest(self, reply: Any) -> float:  # noqa: ARG002 (a semaphore looks)
        """After a grant: seconds for which the next of this process need not ask, unless it is told."""
        return self.options.ttl_s

    @property
    def _policy(self) -> Durability | None:
        """When a grant counts."""
        return None

    async def _obtain(self, attempt: AsyncAttempt, give_up: float) -> Any:
        """What `attempt` returns, once it is not Busy."""
        key, channel = self._queue(attempt.token)
        return await self._place.waiting.obtain(
            attempt, key=key, channel=channel, give_up=give_up, timed_out=attempt.timed_out
        )

    # --- having it -----------------------------------------------------------------------------------------

    async def acquire(self, wait: Duration | None = AS_CHOSEN) -> AsyncLease:
        """The lease, once nobody is in the way; waits for `wait` at most (None: for ever).

        Raises: LockTimeout (`.holder` says who has it), LockError if this very task would wait for itself,
        Unavailable if the server was away at the end, NotDurable, FenceHistoryLost, Refused, Closed.
        """
        self._refuse_nesting()
        chosen = self.options.wait_s if wait is AS_CHOSEN else optional_seconds(wait, "wait", zero=True)
        begun = monotonic()
        give_up = float("inf") if chosen is None else begun + chosen
        if not self._place.has_warned:
            await self._place.warn(LONGEST if chosen is None else chosen)
        attempt = AsyncAttempt(self, waits=chosen != 0)
        self._tally.waiting += 1
        try:
            lease = await self._obtain(attempt, give_up)
        except BaseException as error:
            if isinstance(error, LockTimeout):
                self._tally.gave_up()
            attempt.give_up()
            raise
        finally:
            self._tally.waiting -= 1
        return self._granted(lease, monotonic() - begun, contended=attempt.was_busy)

    async def try_acquire(self) -> AsyncLease | None:
        """The lease if nobody is in the way, else None; does not wait. Raises: as `acquire`."""
        attempt = AsyncAttempt(self, waits=False)
        try:
            found = await attempt(self._wire.timeout)
        except BaseException:
            attempt.give_up()
            raise
        if isinstance(found, Busy):
            self._tally.contended += 1
            attempt.give_up()
            return None
        return self._granted(found, 0.0, contended=False)

    def _granted(self, lease: AsyncLease, waited: float, *, contended: bool) -> AsyncLease:
        """`lease`, which is renewed from now on."""
        self._tally.granted(waited, contended=contended)
        try:
            lease._keep()
        except (Closed, Unavailable):
            lease._leave_it_to_the_hub()
            raise
        return lease

    async def __aenter__(self) -> AsyncLease:
        lease = await self.acquire()
        try:
            self._place.enter(self.key, lease)
            return await lease.__aenter__()
        except BaseException:  # KeyboardInterrupt: nobody will ever leave, and it would be renewed for ever
            self._place.forget(self.key, lease)
            if lease._let_go():
                lease._leave_it_to_the_hub()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._place.leave(self.key, self)
        await lease.__aexit__(kind, error, trace)

    def stats(self) -> LockStats:
        """What this process has seen of those of this family (the name up to the first colon)."""
        return self._tally.stats()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
