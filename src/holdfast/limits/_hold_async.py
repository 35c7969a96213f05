# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncHold: waiting for the moment at which a cost fits in, first come, first served."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from holdfast._compat import arun, asleep, monotonic
from holdfast._coord.naming import Key, text
from holdfast.errors import HoldfastError
from holdfast.limits import rules
from holdfast.limits._desk_async import AsyncDesk
from holdfast.limits._plans_async import AsyncPlans
from holdfast.limits.decision import Decision
from holdfast.limits.rules import Table


class Booking(NamedTuple):
    """What hold.lua has booked: microseconds to wait, the moment on the subject's clock, its state before and
    after.
    """

    wait: int
    moment: int
    before: bytes
    after: bytes


class AsyncHold:
    """A place in the queue of a subject; see `AsyncLimiter.hold`."""

    __slots__ = ("_cost", "_desk", "_key", "_plan", "_plans", "_subject", "_tag", "_wait")

    def __init__(
        self, desk: AsyncDesk, plans: AsyncPlans, plan: str | None, subject: Key, cost: int, wait: int
    ) -> None:
        """`wait`: microseconds. Raises: ConfigurationError."""
        self._desk = desk
        self._plans = plans
        self._plan = plan
        self._subject = subject
        self._tag = text(subject)
        self._key = desk.key(self._tag)
        self._cost = cost
        self._wait = wait

    async def __aenter__(self) -> Decision:
        desk, begun = self._desk, monotonic()
        table = await self._plans.table(self._plan)
        if not desk.breaker.allow(begun):
            return await self._without(table, begun)
        try:
            booking, decision = await book(desk, table, self._key, self._cost, self._wait)
        except HoldfastError as error:
            desk.failed(error, self._key)
            return await self._without(table, begun)
        desk.count(decision)
        if booking is None:
            raise rules.limited(desk.name, str(self._subject), decision)
        if booking.wait:
            await self._wait_for(booking)
        return decision

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing: what was done is charged, however it ended."""

    async def _wait_for(self, booking: Booking) -> None:
        """Sleep until the moment has come. If that is cut short, it is given back."""
        end = monotonic() + booking.wait / rules.MICROS
        try:
            while (left := end - monotonic()) > 0:
                await asleep(left)
        except BaseException:
            self._desk.counters.given_up += 1
            await arun(self._cancel(booking))
            raise
        self._desk.counters.held += 1

    async def _cancel(self, booking: Booking) -> bool:
        """Give back what was booked. If the server is not told, it stays charged: nobody gets too much."""
        args = (booking.before, booking.after, str(booking.moment), str(self._cost))
        with suppress(HoldfastError):
            await self._desk.wire.run(rules.CANCEL, (self._key,), args)
        self._desk.denials.drop(self._tag, monotonic())
        return True

    async def _without(self, table: Table, begun: float) -> Decision:
        """What `on_error` decides; counting locally, one can wait too. Raises: RateLimited."""
        desk, end = self._desk, begun + self._wait / rules.MICROS
        while True:
            decision = desk.without(table, self._tag, self._cost)
            left = end - monotonic()
            if decision.allowed:
                return desk.count(decision)
            if not decision.violated or decision.retry_after > left:
                raise rules.limited(desk.name, str(self._subject), desk.count(decision))
            await asleep(max(0.001, decision.retry_after))


async def book(
    desk: AsyncDesk, table: Table, key: str, cost: int, wait: int
) -> tuple[Booking | None, Decision]:
    """Charge `cost` for the first moment at which it fits in, at most `wait` microseconds from now.

    None: it would be later. Raises: as the wire does.
    """
    reply = await desk.ask(
        table, key, lambda: (table.hold, (table.text, str(cost), str(wait))), desk.deadline
    )
    desk.answered()
    delay, moment, before, after, report = reply
    if delay < 0 and not table.shadow:
        return None, table.summed(False, report)
    return Booking(max(0, delay), moment, before, after), table.summed(True, report)
