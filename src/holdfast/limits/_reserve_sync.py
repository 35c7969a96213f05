# Generated from _reserve_async.py by tools/unasync.py. Do not edit.
"""Reserve: charging an estimate first, and what it really was later."""

from __future__ import annotations

from types import TracebackType

from holdfast._compat import monotonic
from holdfast._coord.naming import Key, text
from holdfast.errors import HoldfastError
from holdfast.limits import rules
from holdfast.limits._desk_sync import Desk
from holdfast.limits._hold_sync import book
from holdfast.limits._plans_sync import Plans
from holdfast.limits.decision import Decision
from holdfast.limits.rules import Table


class Reservation:
    """A cost that was charged as estimated. `decision`: of entering. `charged`: what is charged now."""

    __slots__ = ("_desk", "_key", "_since", "_table", "_tag", "charged", "decision")

    def __init__(
        self, desk: Desk, table: Table, tag: str, cost: int, decision: Decision, since: int
    ) -> None:
        self.decision = decision
        self.charged = cost
        self._desk = desk
        self._table = table
        self._tag = tag
        self._key = desk.key(tag)
        self._since = since

    def settle(self, cost: int) -> bool:
        """It was `cost`, 0 or more: the rest is given back, or charged, though it may not fit in: then what
        comes later waits for longer. May be called again when more is known.

        Within the deadline, and no exception because the server is away: then it is False, and what was
        charged stays. What is given back so late that it does not count any more is not given back.
        Raises: ConfigurationError, Closed, NoPermission.
        """
        rules.check_cost(cost, least=0)
        desk, more = self._desk, cost - self.charged
        if not more:
            return True
        if self.decision.degraded:
            return self._settle_here(cost)
        try:
            args = (str(more), str(self._since))
            desk.ask(
                self._table, self._key, lambda: (rules.ADJUST, (self._table.text, *args)), desk.deadline
            )
        except HoldfastError as error:
            desk.counters.unsettled += 1
            desk.failed(error, self._key)
            return False
        finally:
            desk.denials.drop(self._tag, monotonic())
        self.charged = cost
        return True

    def cancel(self) -> bool:
        """It was not done: give everything back. As `settle(0)`."""
        return self.settle(0)

    def _settle_here(self, cost: int) -> bool:
        """As `settle`, for what was never charged on the server, as far as we know."""
        if self._table.local is not None:
            self._table.local.refund(self._tag, self.charged - cost, monotonic())
        self.charged = cost
        return True


class Reserve:
    """Charges an estimate when it is entered, and gives the Reservation; see `Limiter.reserve`."""

    __slots__ = ("_cost", "_desk", "_plan", "_plans", "_subject", "_tag")

    def __init__(self, desk: Desk, plans: Plans, plan: str | None, subject: Key, cost: int) -> None:
        """Raises: ConfigurationError."""
        self._desk = desk
        self._plans = plans
        self._subject = subject
        self._tag = text(subject)
        self._cost = cost
        self._plan = plan

    def __enter__(self) -> Reservation:
        desk, tag, now = self._desk, self._tag, monotonic()
        table = self._plans.table(self._plan)
        decision, since = rules.ALLOWED_BLINDLY, 0
        denial = desk.denials.find(tag, self._cost, self._plan, now)
        if denial is not None:
            desk.counters.denied_here += 1
            decision = rules.aged(denial.decision, now - denial.asked)
        elif not desk.breaker.allow(now):
            decision = desk.without(table, tag, self._cost)
        else:
            key = desk.key(tag)
            try:
                booking, decision = book(desk, table, key, self._cost, 0)
                since = booking.moment if booking is not None else 0
            except HoldfastError as error:
                desk.failed(error, key)
                decision = desk.without(table, tag, self._cost)
        desk.count(decision)
        if not decision.allowed:
            raise rules.limited(desk.name, str(self._subject), decision)
        return Reservation(desk, table, tag, self._cost, decision, since)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing: what was not settled stays charged."""
