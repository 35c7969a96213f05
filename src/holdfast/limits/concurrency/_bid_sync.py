# Generated from _bid_async.py by tools/unasync.py. Do not edit.
"""Bid: one attempt to get a slot, with all its repetitions under one token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._compat import boottime, monotonic
from holdfast._coord._ask_sync import Asked, ask
from holdfast._coord._wait_sync import Busy
from holdfast._coord.naming import Key, text
from holdfast._coord.owner import token as new_token
from holdfast._wire.hub_keeping import DANGER, certain
from holdfast._wire.transport import Arg
from holdfast.errors import Closed, OutOfMemory, RateLimited, ReadOnly, Refused, Unavailable
from holdfast.limits.concurrency import rules
from holdfast.limits.concurrency._slot_sync import Slot
from holdfast.limits.concurrency.options import ConcurrencyDecision
from holdfast.limits.concurrency.rules import Names

if TYPE_CHECKING:
    from holdfast.limits.concurrency._desk_sync import Desk


class Bid(Asked):
    """See the file's docstring. `waits`: may it stand in the queue? `found`: how things stood at last."""

    def __init__(self, desk: Desk, subject: Key, limit: int, *, waits: bool) -> None:
        super().__init__()
        self.token = f"{new_token()}:{limit}"  # so that whoever frees a slot sees whose turn it is
        self.others: list[str] = []
        self.subject = subject
        self.limit = limit
        self.waits = waits
        self.tag = text(subject)
        self.names = Names(desk.wire.keys, desk.name, self.tag)
        self.found: ConcurrencyDecision = rules.unknown(limit, allowed=False)
        self._begun = monotonic()
        self._desk = desk
        self._in_doubt = False

    def __call__(self, timeout: float) -> Slot | Busy:
        """The slot, or Busy.

        Raises: RateLimited if too many wait; Unavailable while the server is away and nobody is let in;
        Refused, Closed.
        """
        desk = self._desk
        if not desk.breaker.allow(monotonic()):
            return self._without(Unavailable(f"{desk.what}: the server was away a moment ago"))
        asked = boottime()
        before, self._in_doubt = self._in_doubt, True  # what an earlier answer left there stays in doubt
        args: tuple[Arg, ...] = (
            self.token,
            desk.ttl_ms,
            self.limit,
            rules.PATIENCE_MS if self.waits else 0,
            -1 if desk.options.max_queue is None else desk.options.max_queue,
            *self.others,
        )
        keys = self.names.attempt(self.token)
        try:
            reply = ask(desk.wire, self, rules.TAKE, keys, args, min(timeout, desk.timeout))
        except Closed:
            raise
        except (Unavailable, ReadOnly, OutOfMemory) as error:
            self._in_doubt = before or self.stray
            desk.failed(error, self.names)
            return self._without(error)
        except Refused:
            self._in_doubt = before or self.stray
            raise
        desk.answered()
        if reply[0] != 1:
            return self._refused(reply)
        self.found = rules.occupancy(desk.name, self.limit, reply)
        if certain(asked, desk.ttl) - boottime() < desk.ttl * DANGER:
            return Busy(ttl=0.0)  # ours, but its time is nearly over: asking again is renewing
        return Slot(desk, self, self.found, until=certain(asked, desk.ttl), stray=self.stray)

    def _refused(self, reply: list[int]) -> Busy:
        # A stray request may be executed later; and who waits stands in the queue.
        self._in_doubt = self.stray or (self.waits and reply[0] != rules.FULL)
        if reply[0] == rules.GIVEN_UP:
            return Busy(ttl=0.0)
        self.found = rules.occupancy(self._desk.name, self.limit, reply)
        if reply[0] == rules.FULL:
            raise self.refusal(full=True)
        return Busy(ttl=self.found.retry_after)

    def _without(self, error: Unavailable | ReadOnly | OutOfMemory) -> Slot | Busy:
        """What `on_error` says. Raises: `error`, as Unavailable."""
        desk, allows = self._desk, self._desk.options.on_error
        self.found = rules.unknown(self.limit, allowed=allows != "deny")
        if allows == "deny":
            if isinstance(error, Unavailable):
                raise error
            raise Unavailable(f"{desk.what}: {error}") from error
        most = float("inf") if allows == "allow" else rules.local_limit(self.limit, desk.options.local_share)
        slot = Slot(desk, self, self.found, until=float("inf"))
        if desk.local.take(self.tag, slot, most):
            return slot
        self.found = rules.unknown(self.limit, allowed=False)._replace(violated=(desk.name,))
        return Busy(silent=True)

    def timed_out(self, busy: Busy | None) -> RateLimited:  # noqa: ARG002 (it is known here, in more words)
        """What says that there was none within the wait."""
        return self.refusal()

    def refusal(self, *, full: bool = False) -> RateLimited:
        """What says that there was none."""
        found = self.found._replace(allowed=False)
        waited = monotonic() - self._begun if self.waits else 0.0
        message = rules.refusal(self._desk.name, self.subject, found, waited=waited, full=full)
        return RateLimited(message, decision=found, retry_after=found.retry_after)

    def give_up(self) -> None:
        """Nobody will use what may have been granted, nor wait any longer."""
        if self._in_doubt:
            self._desk.abandon(self.names, self.token)
