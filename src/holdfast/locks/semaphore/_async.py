# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncSemaphore: so many at a time, in the whole fleet."""

from __future__ import annotations

from typing import Any

from holdfast._coord.owner import owner
from holdfast.locks._attempt_async import AsyncAttempt
from holdfast.locks._member_async import AsyncMember
from holdfast.locks._place_async import AsyncPlace
from holdfast.locks.options import check_name
from holdfast.locks.rules import LockDropped, milliseconds
from holdfast.locks.semaphore import rules
from holdfast.locks.semaphore.options import SemaphoreOptions
from holdfast.locks.semaphore.rules import Names, Permits
from holdfast.locks.terms import Request, Terms


class AsyncSemaphore(AsyncMember):
    """So many at a time, in the whole fleet; each under a lease of its own.

        async with hf.semaphore("exports", permits=3, ttl="30s") as lease:
            ...

    A cheap description, as a lock is. What is promised, and what is not, stands in
    `holdfast.locks.semaphore.rules`.
    """

    options: SemaphoreOptions
    _names: Names
    guards = False

    def __init__(self, place: AsyncPlace, name: str, options: SemaphoreOptions) -> None:
        names = Names(place.wire.keys, check_name(name, "semaphore"))
        super().__init__(place, name, options, names, f"semaphore {name}")
        self.what = f"semaphore {name!r}"

    async def inspect(self) -> Permits:
        """Who has a permit. Raises: Unavailable, Refused."""
        return rules.permits(self.name, await self._wire.run(*self._names.look()))

    async def force_release(self) -> int:
        """Take all permits away, and return how many were out. Their holders are told that they are lost.

        Raises: Unavailable, Unconfirmed, Refused.
        """
        out = int(await self._wire.run(rules.BREAK, self._names.all()))
        if out:
            self._place.notify(LockDropped(name=self.name, holder=f"{out} of semaphore"))
        return out

    def _request(self, attempt: AsyncAttempt) -> Request:
        options = self.options
        ttl_ms = milliseconds(options.ttl_s)
        return self._names.ask(attempt.token, ttl_ms, owner(options.label), options.permits)

    def _terms(self, token: str) -> Terms:
        return self._names.terms(token)

    def _refuse_nesting(self) -> None:
        if self.options.permits == 1:  # with more, having several is no mistake
            super()._refuse_nesting()

    def _rest(self, reply: Any) -> float:
        # One message may stand for several permits that came back: the next looks at once if some are left.
        return 0.0 if reply[2] else super()._rest(reply)
