# Generated from _limiter_async.py by tools/unasync.py. Do not edit.
"""Limiter: how often whom may do what. What it promises stands in rules.py."""

from __future__ import annotations

from holdfast._compat import monotonic
from holdfast._coord.naming import Key, text
from holdfast._wire._sync import Wire
from holdfast.durations import Duration
from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.limits import rules
from holdfast.limits._desk_sync import Desk
from holdfast.limits._hold_sync import Hold
from holdfast.limits._plans_sync import Planning, Plans
from holdfast.limits._reserve_sync import Reserve
from holdfast.limits.counters import LimiterStats
from holdfast.limits.decision import Decision
from holdfast.limits.options import LimiterOptions


class Limiter(Planning):
    """Decides, for the whole fleet, whether a subject may do something now.

        limiter = hf.limiter("api", [Limit(10, "1s", burst=20), Limit(1000, "1h")])
        decision = limiter.check("user:42")
        if not decision:
            ...                                            # decision.retry_after, decision.violated

    Made by `hf.limiter(name, limits)`. What is promised, and what is not, stands in holdfast.limits.rules.
    A subject is a str, or another key (an int, a UUID, a tuple, ...). `plan`: the limits of that name,
    instead of the limiter's own. `cost`: a whole number, 1 or more.
    """

    def __init__(self, wire: Wire, name: str, options: LimiterOptions) -> None:
        """Raises: ConfigurationError."""
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'a limiter needs a name that is not empty, as "api", not {name!r}')
        self.name = name
        self.options = options
        self._desk = Desk(wire, name, options)
        self._plans = Plans(self._desk)

    def check(self, subject: Key, cost: int = 1, *, plan: str | None = None) -> Decision:
        """May `subject` do what costs `cost`? If so, it is charged; if not, nothing is.

        Never longer than the deadline, and no exception because the server is away: then the decision is made
        by `on_error`, and says `degraded`. What was asked may have been charged then.
        Raises: ConfigurationError; Closed; NoPermission, if the server does not let us.
        """
        desk, asked = self._desk, monotonic()
        table, within = desk.default, desk.deadline
        give_up = asked + within
        if plan is not None:
            known = self._plans.known(plan, asked)
            table = known or self._plans.table(plan)
            within = within if known else max(0.001, give_up - monotonic())
        tag = text(subject)
        if type(cost) is not int or not 0 < cost < rules.MOST_COST:
            rules.check_cost(cost)
        denial = desk.denials.find(tag, cost, plan, asked)
        if denial is not None:
            desk.counters.denied += 1
            desk.counters.denied_here += 1
            return rules.aged(denial.decision, asked - denial.asked)
        if not desk.breaker.allow(asked):
            return desk.count(desk.without(table, tag, cost))
        key = f"{desk.prefix}{tag}}}"
        try:
            reply = desk.wire.run(table.check, (key, f"{key}:o"), table.args(cost), within)
            if reply[0] < -1 and table.is_outdated(reply):
                reply = desk.check(table, key, cost, max(0.001, give_up - monotonic()))
        except HoldfastError as error:
            desk.failed(error, key)
            return desk.count(desk.without(table, tag, cost))
        desk.answered()
        decision = table.decide(reply)
        if not decision.allowed and desk.remembers:
            desk.denials.put(tag, cost, plan, decision, decision.retry_after, asked)
        return desk.count(decision)

    def peek(self, subject: Key, cost: int = 1, *, plan: str | None = None) -> Decision:
        """What `check` would answer now; nothing is charged, and nobody is asked but the server.

        Raises: as `check`.
        """
        desk, table, tag = self._desk, self._plans.table(plan), text(subject)
        rules.check_cost(cost)
        key = desk.key(tag)
        try:
            reply = desk.ask(
                table, key, lambda: (table.check, (table.text, str(cost), "0")), desk.deadline
            )
        except HoldfastError as error:
            desk.failed(error, key)
            return desk.without(table, tag, cost, take=False)
        desk.answered()
        return table.decide(reply)

    def refund(self, subject: Key, cost: int = 1, *, plan: str | None = None) -> bool:
        """Give back `cost` that was charged a moment ago, for something that was not done after all.

        False: there was nothing to give back, or somebody waits for a moment that was booked with it.
        Not repeated when the reply is lost. Raises: ConfigurationError; Unavailable, Unconfirmed, Refused.
        """
        desk, table, tag = self._desk, self._plans.table(plan), text(subject)
        rules.check_cost(cost)
        if table.local is not None:
            table.local.refund(tag, cost, monotonic())
        try:
            reply = desk.ask(
                table, desk.key(tag), lambda: (rules.ADJUST, (table.text, str(-cost), "")), desk.wire.timeout
            )
        finally:
            desk.denials.drop(tag, monotonic())
        return bool(reply)

    def reset(self, subject: Key) -> bool:
        """Forget what `subject` has used; its own limits stay. False: nothing was known.

        Raises: Unavailable, Refused.
        """
        desk, tag = self._desk, text(subject)
        for table in (desk.default, *desk.tables.values()):
            if table.local is not None:
                table.local.reset(tag)
        try:
            return bool(desk.wire.run(rules.RESET, (desk.key(tag),)))
        finally:
            desk.denials.drop(tag, monotonic())

    def hold(
        self, subject: Key, cost: int = 1, *, wait: Duration = "2s", plan: str | None = None
    ) -> Hold:
        """Wait for the moment at which `cost` fits in, and take it: `with limiter.hold("user:42"):`.

        A plain call. First come, first served, in the whole fleet: the moment is booked when it is entered;
        if it would come later than `wait`, that raises RateLimited at once. Entering gives the Decision.
        Cancelled while it waits, it gives back what it has booked. While the server is away `on_error`
        decides.

        Raises: ConfigurationError. On entering: RateLimited, Closed, NoPermission.
        """
        rules.check_cost(cost)
        return Hold(self._desk, self._plans, plan, subject, cost, rules.wait_micros(wait))

    def reserve(self, subject: Key, cost: int, *, plan: str | None = None) -> Reserve:
        """Charge an estimate, and settle it once the true cost is known:

            with limiter.reserve("user:42", 500) as reservation:
                answer = model(prompt)
                reservation.settle(answer.tokens)

        A plain call. If it is not settled, the estimate stays charged.

        Raises: ConfigurationError. On entering: RateLimited, Closed, NoPermission.
        """
        rules.check_cost(cost)
        return Reserve(self._desk, self._plans, plan, subject, cost)

    def stats(self) -> LimiterStats:
        """What this process has done with it."""
        return self._desk.counters.snapshot()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
