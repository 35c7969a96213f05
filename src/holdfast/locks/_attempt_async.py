# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncAttempt: one acquire, with all its repetitions under one token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast._compat import boottime
from holdfast._coord._ask_async import Asked, ask
from holdfast._coord._wait_async import Busy
from holdfast._coord.owner import token as new_token
from holdfast._wire.hub_keeping import DANGER, certain
from holdfast.errors import LockTimeout, NotDurable, Refused, Unavailable
from holdfast.locks import holder, rules
from holdfast.locks._lease_async import AsyncLease

if TYPE_CHECKING:
    from holdfast.locks._member_async import AsyncMember


class AsyncAttempt(Asked):
    """See the file's docstring. `waits`: may it stand in a queue on the server?"""

    def __init__(self, member: AsyncMember, *, waits: bool) -> None:
        super().__init__()
        self.token = new_token()
        self.waits = waits
        self.was_busy = False
        self.others: list[str] = []  # of a fair lock: for whom this one speaks too
        self._in_doubt = False
        self._member = member

    async def __call__(self, timeout: float) -> AsyncLease | Busy:
        """The lease, or who is in the way."""
        member, ttl = self._member, self._member.options.ttl_s
        asked = boottime()
        before, self._in_doubt = self._in_doubt, True  # what an earlier answer left there stays in doubt
        try:
            reply = await self._ask(timeout)
        except NotDurable:
            raise  # it is ours, and to be given back
        except Unavailable:
            self._in_doubt = before or self.stray
            raise
        except Refused as error:
            self._in_doubt = before or self.stray
            raise rules.no_lock(error, member.what, member.key) from error
        if reply[0] != 1:
            return self._refused(reply)
        if certain(asked, ttl) - boottime() < ttl * DANGER:
            return Busy(ttl=0.0)  # ours, but its time is nearly over: asking again is renewing
        return AsyncLease(
            member, self.token, int(reply[1]), asked=asked, stray=self.stray, rest=member._rest(reply)
        )

    async def _ask(self, timeout: float) -> Any:
        """The answer. Raises: as `ask`; NotDurable only if it is ours: for who was refused it does not
        matter.
        """
        member = self._member
        try:
            return await ask(member._wire, self, *member._request(self), timeout, member._policy)
        except NotDurable:
            reply = await ask(member._wire, self, *member._request(self), timeout)
            if reply[0] == 1:
                raise
            return reply

    def _refused(self, reply: Any) -> Busy:
        self._member._check(reply)
        # A stray request may be executed later; and who waits may stand in a queue.
        self._in_doubt = self.stray or (self.waits and self._member.leaves_a_trace)
        if reply[0] == -1:
            return Busy(ttl=0.0)
        self.was_busy = True
        who, tells = holder.owner(reply[2])
        return Busy(ttl=float("inf") if reply[1] < 0 else reply[1] / 1000, silent=not tells, holder=who)

    def timed_out(self, busy: Busy | None) -> LockTimeout:
        """What says that it was not acquired."""
        who = busy.holder if busy is not None else ""
        held = f"it is held by {who}" if who else "it is in use"
        member = self._member
        message = f"{member.what} was not acquired within the wait; {held}"
        return LockTimeout(message, name=member.name, holder=who)

    def give_up(self) -> None:
        """Nobody will use what may have been granted."""
        if self._in_doubt:
            terms = self._member._terms(self.token)
            self._member._place.abandon((terms.key, self.token), *terms.undo(self.token))
