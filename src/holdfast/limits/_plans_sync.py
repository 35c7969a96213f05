# Generated from _plans_async.py by tools/unasync.py. Do not edit.
"""Plans: the plans of one limiter, as the fleet has them. What it promises stands in plans.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast._compat import spawn, monotonic
from holdfast._coord.naming import Key, text
from holdfast._wire.mutex import MUTEX
from holdfast.durations import Duration, seconds
from holdfast.errors import Closed, ConfigurationError, HoldfastError, Refused, Unavailable
from holdfast.limits import plans, rules
from holdfast.limits._limited_sync import Checks, LimitedFunction, Cost, Plan, limited
from holdfast.limits.flavour import Function, P, R
from holdfast.limits.options import Limit, agreed, check_plan
from holdfast.limits.rules import Table

if TYPE_CHECKING:
    from holdfast.limits._desk_sync import Desk


class Plans:
    """See the file's docstring."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._key = plans.key_of(desk.wire.keys, desk.name)
        self._due = 0.0  # monotonic: when to look for newer plans
        self._version: bytes | None = None
        self._limits: plans.Plans = desk.options.all_plans
        self._asked = 0.0  # monotonic: when that was asked which is in force

    # --- in the way of a check -----------------------------------------------------------------------------

    def known(self, plan: str, now: float) -> Table | None:
        """The limits of `plan` as they are known here; None if it is not. Has newer ones looked for."""
        if now >= self._due and not self._desk.wire.is_closed:
            self._due = now + plans.EVERY
            spawn("limiter-plans", self._look_beside)
        return self._desk.tables.get(plan)

    def table(self, plan: str | None) -> Table:
        """The limits of `plan`, which only others may know; None: the limiter's own. While the server is
        away, and nobody can tell, those are taken for a plan that is not known.

        Raises: ConfigurationError if there is no such plan; Closed, Refused.
        """
        desk = self._desk
        if plan is None:
            return desk.default
        found = self.known(plan, monotonic())
        if found is not None:
            return found
        check_plan(plan)
        if not desk.breaker.allow(monotonic()):
            return desk.default
        try:
            self.look(desk.deadline)
        except Closed:
            raise
        except Unavailable as error:
            desk.failed(error, self._key)
            return desk.default
        desk.answered()
        return desk.table(plan)

    # --- looking -------------------------------------------------------------------------------------------

    def look(self, timeout: float | None = None) -> None:
        """Learn what is in force. Raises: Unavailable, Refused, Closed."""
        desk, key, asked = self._desk, self._key, monotonic()
        self._due = asked + plans.EVERY
        version = desk.wire.execute("HGET", key, plans.VERSION, timeout=timeout)
        if version == self._version:
            return
        left = None if timeout is None else max(0.001, asked + timeout - monotonic())
        stored = plans.pairs(desk.wire.execute("HGETALL", key, timeout=left))
        self._learn(stored, asked)

    def _look_beside(self) -> None:
        try:
            self.look(plans.EVERY)
        except HoldfastError:
            return  # next time

    def _learn(self, stored: Mapping[bytes, bytes], asked: float) -> None:
        desk = self._desk
        with MUTEX:
            if asked < self._asked:
                return  # two have looked at once, and the other one may have seen more
            self._asked, self._version = asked, stored.get(plans.VERSION.encode())
            found, unreadable = plans.in_force(desk.options.all_plans, self._limits, stored)
            for name in [one for one in desk.tables if one not in found]:
                del desk.tables[name]
            for name, limits in found.items():
                if name not in desk.tables or self._limits.get(name) != limits:
                    desk.tables[name] = Table(limits, shadow=desk.options.shadow)
            self._limits = found
        desk.denials.drop_all(monotonic())
        for name in unreadable:
            desk.wire.observer.notify(plans.PlanUnreadable(limiter=desk.name, plan=name))

    # --- changing ------------------------------------------------------------------------------------------

    def set(self, plan: str, limits: Limit | Sequence[Limit] | None) -> bool:
        """See Planning.set_plan."""
        check_plan(plan)
        body = "" if limits is None else plans.written(agreed(limits, f"plan {plan!r}"))
        changed = self._desk.wire.run(plans.SET, (self._key,), (plan, body))
        self.look()
        return bool(changed)

    def all(self) -> dict[str, tuple[Limit, ...]]:
        """See Planning.plans."""
        self.look()
        return dict(self._limits)


class Planning:
    """What a limiter offers beside its checks: decorators, and limits that change while the fleet runs."""

    name: str
    _desk: Desk
    _plans: Plans

    def limited(
        self: Checks,
        template: str,
        *,
        cost: Cost = 1,
        wait: Duration | None = None,
        plan: Plan = None,
    ) -> Callable[[Function[P, R]], LimitedFunction[P, R]]:
        """Decorates a function so that each call is charged: `@limiter.limited("user:{user_id}")`.

        A plain call. `template`: who is charged, with the function's arguments or parts of them ({user.id},
        {row[id]}); others do not count. `cost`, `plan`: as in `check`, or functions of the call's arguments.
        `wait`: hold the call until its moment has come, for so long at most; None: check, and refuse.

        Raises: ConfigurationError; the function then raises RateLimited where a call is denied.
        """
        return limited(self, template, cost=cost, wait=wait, plan=plan)

    def set_plan(self, plan: str, limits: Limit | Sequence[Limit] | None) -> bool:
        """Have the whole fleet use `limits` for `plan`, whatever its options say; None: the options again.

        In this process at once, elsewhere within seconds. What subjects have used counts on. May be repeated.
        False: there was nothing to remove. Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        return self._plans.set(plan, limits)

    def plans(self) -> dict[str, tuple[Limit, ...]]:
        """The plans in force, by name. Raises: Unavailable, Refused, Closed."""
        return self._plans.all()

    def override(
        self,
        subject: Key,
        limits: Limit | Sequence[Limit] | None = None,
        *,
        plan: str | None = None,
        ttl: Duration | None = None,
    ) -> None:
        """Give one subject limits of its own, whatever plan it is asked for with: `limits`, or those that
        `plan` has now. Neither: it has none of its own any more.

        In force with the next check, everywhere. `ttl`: for how long; None: until it is changed. It has to
        be a limit of durations, not of the calendar. While the server is away it is not known.
        May be repeated. Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        if limits is not None and plan is not None:
            raise ConfigurationError(f"override: limits= and plan={plan!r} say the same; leave one out")
        desk, tag = self._desk, text(subject)
        life = () if ttl is None else ("PX", max(1, round(seconds(ttl, "ttl") * 1000)))
        if plan is not None:
            self._plans.look()
            limits = desk.table(plan).real
        try:
            key = f"{desk.key(tag)}:o"
            if limits is None:
                desk.wire.execute("DEL", key, retry="safe")
            else:
                own = rules.own_text(agreed(limits, "override"))
                desk.wire.execute("SET", key, own, *life, retry="safe")
        finally:
            desk.denials.drop(tag, monotonic())

    def overridden(self, subject: Key) -> tuple[Limit, ...] | None:
        """The limits of its own that `subject` has; None: it has none.

        Raises: Unavailable, Refused, Closed.
        """
        found = self._desk.wire.execute("GET", f"{self._desk.key(text(subject))}:o")
        if found is None:
            return None
        try:
            return rules.own_limits(found)
        except (ValueError, TypeError):
            raise Refused(
                f"limiter {self.name!r}: what stands for {subject!r} was not written by us", code="FOREIGN"
            ) from None
