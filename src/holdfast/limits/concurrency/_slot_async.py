# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncSlot: the right to be one of so many, for as long as it is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._coord._held_async import AsyncHeld, Renewal
from holdfast._coord.tenant import WeakTenant
from holdfast._wire.hub_keeping import Keeping
from holdfast.errors import LockLost, Refused, Unavailable, Unconfirmed
from holdfast.limits.concurrency import rules
from holdfast.limits.concurrency.options import ConcurrencyDecision

if TYPE_CHECKING:
    from holdfast.limits.concurrency._bid_async import AsyncBid
    from holdfast.limits.concurrency._desk_async import AsyncDesk

FOREVER = float("inf")


class AsyncSlot(AsyncHeld):
    """The right to be one of so many. `decision`: how things stood when it was granted.

    `lost` is an asyncio.Event that is set when the slot is lost, `cause` then says why; `async with slot`
    gives it back at the end, and cancels the body when it is lost. `degraded`: the server was away, so the
    slot is counted by nobody there; such a one cannot be lost.
    """

    def __init__(
        self,
        desk: AsyncDesk,
        bid: AsyncBid,
        decision: ConcurrencyDecision,
        *,
        until: float,
        stray: bool = False,
    ) -> None:
        names, self.degraded = bid.names, until == FOREVER
        args = (bid.token, desk.ttl_ms)
        super().__init__(
            desk.wire,
            what=f"slot of {desk.what} for {bid.subject!r}",
            name=desk.name,
            ttl=desk.ttl,
            until=until,
            renewal=None if self.degraded else Renewal(rules.KEEP, (names.alarm, names.slots), args),
        )
        self.subject = bid.subject
        self._tag = bid.tag
        self.decision = decision
        self._desk = desk
        self._names = names
        self._token = bid.token
        self._stray = stray  # a request for it may still be on its way

    @property
    def cause(self) -> str | None:
        """Why it was lost, in a word; None if it was not."""
        cause = self._keeping.cause
        return None if self._bears(cause) else cause

    def ensure(self) -> None:
        """Make sure that it is ours, by what is known here: no question to the server.

        Raises: LockLost.
        """
        if not self._bears(self._keeping.cause):
            super().ensure()

    async def release(self) -> None:
        """Give it back; may be repeated. If the server is away, the client goes on trying by itself.

        Raises: LockLost if it was lost before.
        """
        await self._end()
        if self.cause is not None:
            raise self._error()

    def _bears(self, cause: str | None) -> bool:
        """Does the body go on, though the slot can be renewed no more?"""
        if self._desk.options.on_error == "deny":
            return False
        # Who was told that it is in danger did not stand still: the server did.
        return cause == "unreachable" or (cause == "expired" and self._keeping.warned)

    async def _give_back(self) -> bool:
        if self.degraded:
            return True
        script, keys = rules.FREE, self._names.attempt(self._token)
        args = (self._token, rules.STRAY_MS if self._stray else 0)
        try:
            try:
                return bool(await self._wire.run(script, keys, args) == 1)
            except Unconfirmed:
                await self._wire.run(rules.FREE_AGAIN, keys, args)
                return True
        except (Unavailable, Refused):
            self._leave_it_to_the_hub()
            return True
        except BaseException:
            self._leave_it_to_the_hub()
            raise

    def _leave_it_to_the_hub(self) -> None:
        if not self.degraded:
            self._desk.abandon(self._names, self._token)
        self._desk.local.give_back(self._tag, self)

    def _over(self, held: float) -> None:  # noqa: ARG002 (nobody asks how long)
        self._desk.counters.ended += 1
        if self.degraded:
            self._desk.local.give_back(self._tag, self)
        if self.cause is not None:
            self._desk.counters.lost[self.cause] += 1
            if self._stray and self.cause != "forked":  # then it is the parent's
                self._leave_it_to_the_hub()

    def _lost(self, cause: str) -> None:
        if not self._bears(cause):
            super()._lost(cause)
            return
        self._desk.local.take(self._tag, self)
        self.degraded = True
        self._kept = False
        self._keeping = Keeping(WeakTenant(self), None, (), (), ttl=self.ttl, until=FOREVER)
        self._desk.counters.degraded += 1
        self._desk.wire.observer.notify(rules.SlotDegraded(name=self.name, subject=self.subject))

    def _loss_error(self, message: str, cause: str) -> Exception:
        return LockLost(message, name=self.name, cause=cause)

    def __del__(self) -> None:
        if self.__dict__.get("_kept"):
            self._desk.counters.ended += 1
        super().__del__()

    def __repr__(self) -> str:
        left = "degraded" if self.degraded else f"{self.remaining():.3g} s left"
        what = self._what.removeprefix("slot ")
        return f"<{type(self).__name__} {what}, {f'lost: {self.cause}' if self.cause else left}>"
