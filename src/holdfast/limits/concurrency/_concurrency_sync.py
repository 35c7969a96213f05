# Generated from _concurrency_async.py by tools/unasync.py. Do not edit.
"""ConcurrencyLimiter: so many at a time for each subject. What it promises stands in rules.py."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from holdfast._compat import monotonic
from holdfast._coord._line_sync import obtain_in_line
from holdfast._coord._wait_sync import Busy
from holdfast._coord.naming import Key, text
from holdfast._wire._sync import Wire
from holdfast.durations import Duration, seconds
from holdfast.errors import Closed, RateLimited, Unavailable
from holdfast.limits._limited_sync import LimitedFunction, Plan
from holdfast.limits.concurrency import rules
from holdfast.limits.concurrency._bid_sync import Bid
from holdfast.limits.concurrency._desk_sync import Desk
from holdfast.limits.concurrency._slot_sync import Slot
from holdfast.limits.concurrency.counters import ConcurrencyStats
from holdfast.limits.concurrency.options import ConcurrencyDecision, ConcurrencyOptions
from holdfast.limits.concurrency.rules import Names
from holdfast.limits.flavour import Function, P, R


class SlotHold:
    """A slot that is got when the block is entered, and given back at its end. For one block at a time."""

    def __init__(
        self, limiter: ConcurrencyLimiter, subject: Key, wait: Duration | None, plan: str | None
    ) -> None:
        self._limiter = limiter
        self._asked = (subject, wait, plan)
        self._slots: list[Slot] = []

    def __enter__(self) -> Slot:
        subject, wait, plan = self._asked
        slot = self._limiter.acquire(subject, wait, plan=plan)
        try:
            self._slots.append(slot)
            return slot.__enter__()
        except BaseException:  # KeyboardInterrupt: nobody will ever leave, and it would be renewed for ever
            if slot._let_go():
                slot._leave_it_to_the_hub()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.pop().__exit__(kind, error, trace)


class ConcurrencyLimiter:
    """So many at a time for each subject, in the whole fleet.

        exports = hf.concurrency_limiter("exports", 10, ttl="60s")

        with exports.hold("user:42", wait="5s") as slot:   # RateLimited if there is none within 5 s
            ...                                                  # cancelled if the slot is lost

    Made by `hf.concurrency_limiter(name, limit)`. What is promised, and what is not, stands in
    holdfast.limits.concurrency.rules. A subject is a str, or another key (an int, a UUID, a tuple, ...).
    """

    def __init__(self, wire: Wire, name: str, options: ConcurrencyOptions) -> None:
        self.name = rules.check_name(name)
        self.options = options
        self._desk = Desk(wire, name, options)

    @property
    def limit(self) -> int:
        """How many slots a subject has, without a plan."""
        return self.options.limit

    def hold(
        self, subject: Key = "", *, wait: Duration | None = None, plan: str | None = None
    ) -> SlotHold:
        """A slot of `subject` for a block: `with limiter.hold("user:42") as slot`. A plain call.

        `wait`: how long to wait for it; None: as the limiter says. `plan`: by whose limit to go.
        Entering raises: as `acquire`. Raises: ConfigurationError.
        """
        text(subject)
        self.options.limit_of(plan)
        if wait is not None:
            seconds(wait, "wait", zero=True)
        return SlotHold(self, subject, wait, plan)

    def limited(
        self,
        template: str,
        *,
        wait: Duration | None = None,
        plan: Plan = None,
    ) -> Callable[[Function[P, R]], LimitedFunction[P, R]]:
        """Decorates a function so that each call holds a slot: `@limiter.limited("user:{user_id}")`.

        A plain call. `template`: whose slot, with the function's arguments or parts of them ({user.id},
        {row[id]}); others do not count. `wait`: as in `hold`. `plan`: the same, or a function of the call's
        arguments.

        Raises: ConfigurationError; the function then raises as `acquire` does.
        """
        if wait is not None:
            seconds(wait, "wait", zero=True)
        if not callable(plan):
            self.options.limit_of(plan)

        def entry(subject: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SlotHold:
            chosen = plan(*args, **kwargs) if callable(plan) else plan
            return self.hold(subject, wait=wait, plan=chosen)

        def decorate(function: Function[P, R]) -> LimitedFunction[P, R]:
            return LimitedFunction(function, template, entry)

        return decorate

    def acquire(
        self, subject: Key = "", wait: Duration | None = None, *, plan: str | None = None
    ) -> Slot:
        """A slot of `subject`, once there is one; to be given back by `release()` or as a context manager.

        `wait`: how long to wait for it; None: as the limiter says. `plan`: by whose limit to go.
        Raises: RateLimited if there was none within the wait, if too many wait, or if the server is away and
        nobody is let in (`.decision.degraded`); Refused, Closed, ConfigurationError.
        """
        desk, counters = self._desk, self._desk.counters
        limit = self.options.limit_of(plan)
        patience = seconds(self.options.wait if wait is None else wait, "wait", zero=True)
        begun = monotonic()
        bid = Bid(desk, subject, limit, waits=patience > 0)
        counters.waiting += 1
        try:
            slot = self._obtain(bid, begun + patience)
        except BaseException as error:
            bid.give_up()
            counters.denied += isinstance(error, RateLimited)
            raise
        finally:
            counters.waiting -= 1
        counters.acquired += 1
        counters.wait_seconds += monotonic() - begun
        return self._granted(slot, bid)

    def try_acquire(self, subject: Key = "", *, plan: str | None = None) -> Slot | None:
        """A slot of `subject` if there is one, else None; does not wait.

        Raises: Refused, Closed, ConfigurationError.
        """
        try:
            return self.acquire(subject, 0, plan=plan)
        except RateLimited:
            return None

    def peek(self, subject: Key = "", *, plan: str | None = None) -> ConcurrencyDecision:
        """How many slots of `subject` are in use; takes none.

        Raises: Refused, Closed, ConfigurationError; never because the server is away (`degraded`).
        """
        desk, limit = self._desk, self.options.limit_of(plan)
        names = Names(desk.wire.keys, self.name, text(subject))
        allows = self.options.on_error != "deny"
        if not desk.breaker.allow(monotonic()):
            return rules.unknown(limit, allowed=allows)
        try:
            reply = desk.wire.run(rules.LOOK, (names.slots, names.beats), (limit,), desk.timeout)
        except Closed:
            raise
        except Unavailable as error:
            desk.failed(error, names)
            return rules.unknown(limit, allowed=allows)
        desk.answered()
        return rules.occupancy(self.name, limit, reply)

    def reset(self, subject: Key = "") -> int:
        """Take all slots of `subject` away, and return how many were in use. Their holders are told that
        they are lost.

        Raises: Unavailable, Unconfirmed, Refused, ConfigurationError.
        """
        names = Names(self._desk.wire.keys, self.name, text(subject))
        return int(self._desk.wire.run(rules.RESET, (names.alarm, names.slots, names.queue)))

    def stats(self) -> ConcurrencyStats:
        """What this process has seen."""
        return self._desk.counters.snapshot()

    def _obtain(self, bid: Bid, give_up: float) -> Slot:
        """The slot. Raises: as `acquire`."""
        desk, names = self._desk, bid.names
        try:
            if bid.waits:
                channel = names.channel(bid.token)
                slot: Slot = obtain_in_line(
                    desk.wire, desk.lines, bid, key=names.queue, channel=channel, give_up=give_up
                )
                return slot
            found = bid(desk.timeout)
        except Closed:
            raise
        except Unavailable as error:
            raise bid.refusal() from error
        if isinstance(found, Busy):
            raise bid.refusal()
        return found

    def _granted(self, slot: Slot, bid: Bid) -> Slot:
        """`slot`, which is renewed from now on."""
        if slot.degraded:
            self._desk.counters.degraded += 1
            bid.give_up()  # what the server may have heard of it, it shall forget
            return slot
        try:
            slot._keep()
        except (Closed, Unavailable):
            slot._leave_it_to_the_hub()
            raise
        return slot

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.limit})"
