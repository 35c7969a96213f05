# Generated from _lease_async.py by tools/unasync.py. Do not edit.
"""Lease: the right to a lock, a side of an rwlock, a permit, for as long as it is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._coord._held_sync import Held, Renewal
from holdfast._coord.guard import Guard
from holdfast._wire.hub_keeping import certain
from holdfast.errors import ConfigurationError, Refused, Unavailable, Unconfirmed
from holdfast.locks import rules
from holdfast.locks.terms import again

if TYPE_CHECKING:
    from holdfast.locks._member_sync import Member


class Lease(Held):
    """The right to a lock. `fence`: a number that is greater than that of every earlier holder.

    `lost` is an asyncio.Event that is set when the lease is lost, `cause` then says why; `wanted` is one that
    is set when somebody asks for it back. `with lease` gives it back at the end, and cancels the body
    when it is lost.
    """

    def __init__(
        self, member: Member, token: str, fence: int, *, asked: float, stray: bool, rest: float
    ) -> None:
        options, terms = member.options, member._terms(token)
        args = (token, rules.milliseconds(options.ttl_s))
        super().__init__(
            member._wire,
            what=member.what,
            name=member.name,
            ttl=options.ttl_s,
            until=certain(asked, options.ttl_s),
            renewal=Renewal(terms.keep, terms.keep_keys, args, terms.least) if options.renew else None,
            max_hold=options.max_hold_s,
            on_lost=options.on_lost,
            on_danger=options.on_danger,
            on_wanted=options.on_wanted,
        )
        self.fence = fence
        self.lock = member
        self.token = token
        self.rest = rest
        self._place = member._place
        self._terms = terms
        self._tally = member._tally
        self._stray = stray  # a request for it may still be on its way

    def key(self, name: str) -> str:
        """The key `name` in this client's namespace and the lock's slot, so that in a Cluster a transaction
        or script with `guard=lease` may name it.
        """
        return self._wire.keys.user(name, self._terms.tag)

    def guard(self) -> Guard:
        """For `hf.transaction(guard=lease)` and `script.run(guard=lease)`, which take the lease itself.

        Raises: LockLost; ConfigurationError for a lease that several can have.
        """
        if not self.lock.guards:
            raise ConfigurationError(
                f"{self._what}: guard= is for leases that only one can have; have the resource check "
                f"lease.fence, or take a lock"
            )
        self.ensure()
        return Guard(self.name, self._terms.key, self.token)

    def release(self) -> None:
        """Give it back; may be repeated. If the server is away, the client goes on trying by itself.

        Raises: LockLost if it was lost before.
        """
        self._end()
        if self.cause is not None:
            raise self._error()

    def _give_back(self) -> bool:
        script, keys, args = self._terms.give_back(self.token, stray=self._stray)
        try:
            try:
                return bool(self._wire.run(script, keys, args) == 1)
            except Unconfirmed:
                self._wire.run(again(script), keys, args)
                return True
        except (Unavailable, Refused):
            self._leave_it_to_the_hub()
            return True
        except BaseException:
            self._leave_it_to_the_hub()
            raise

    def _leave_it_to_the_hub(self) -> None:
        self._place.abandon((self._terms.key, self.token), *self._terms.undo(self.token))

    def _renewed(self, until: float) -> None:  # noqa: ARG002 (the keeping knows)
        self._tally.renewals += 1

    def _over(self, held: float) -> None:
        if self._stray and self.cause not in (None, "forked"):  # then it is the parent's
            self._leave_it_to_the_hub()
        advice = self._tally.ended(held, self.cause, self.ttl, renewed=self.lock.options.renew)
        if advice is not None:
            self._place.notify(advice)

    def __repr__(self) -> str:
        state = f"lost: {self.cause}" if self.cause else f"{self.remaining():.3g} s left"
        return f"<{type(self).__name__} of {self._what}, fence {self.fence}, {state}>"
