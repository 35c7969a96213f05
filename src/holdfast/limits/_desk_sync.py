# Generated from _desk_async.py by tools/unasync.py. Do not edit.
"""What the parts of a limiter share: its limits, where subjects are, and whether the server may be asked.

The server is away for a check when no answer came within the deadline. Then the breaker decides how often it
is tried again. Where no connection could be made in time, one is made beside the checks, which do not wait
for it: so a handshake that takes longer than a check may is no reason to be away for ever. Only the very
first question may take the client's own timeout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast._compat import spawn, monotonic
from holdfast._coord.breaker import Breaker
from holdfast._signals import BreakerChanged
from holdfast._wire._sync import Wire
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg
from holdfast.durations import seconds
from holdfast.errors import (
    Closed,
    ConfigurationError,
    HoldfastError,
    OutOfMemory,
    ReadOnly,
    Unavailable,
    Unconfirmed,
)
from holdfast.limits import rules
from holdfast.limits.counters import Counters
from holdfast.limits.decision import Decision
from holdfast.limits.denials import Denials
from holdfast.limits.local import LocalLimits
from holdfast.limits.options import LimiterOptions
from holdfast.limits.rules import Table

TRIES = (
    4  # of one question, each with what the script asked for; one is enough unless limits change meanwhile
)


class Desk:
    """See the file's docstring."""

    def __init__(self, wire: Wire, name: str, options: LimiterOptions) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.deadline = max(seconds(options.deadline), wire.timeout)  # of the first question; see `begun`
        self.prefix = wire.keys.prefix("limit", name)
        self.default = Table(options.all_limits, shadow=options.shadow)
        self.tables = {
            plan: Table(limits, shadow=options.shadow) for plan, limits in options.all_plans.items()
        }
        longest = seconds(options.deny_cache, zero=True)
        self.denials = Denials(options.deny_entries, longest)
        self.remembers = longest > 0
        self.breaker = Breaker(options.breaker)
        self.counters = Counters()
        self._connecting = False
        self._is_new = True

    def key(self, tag: str) -> str:
        """Where the state of the subject `tag` is; with `:o` behind it, its own limits."""
        return f"{self.prefix}{tag}}}"

    def table(self, plan: str | None) -> Table:
        """The limits of `plan`. Raises: ConfigurationError, if there is none."""
        if plan is None:
            return self.default
        found = self.tables.get(plan)
        if found is None:
            known = ", ".join(map(repr, sorted(self.tables))) or "none"
            raise ConfigurationError(f"limiter {self.name!r} has no plan {plan!r}; there are {known}")
        return found

    def ask(
        self,
        table: Table,
        key: str,
        question: Callable[[], tuple[Script, Sequence[Arg]]],
        timeout: float,
    ) -> Any:
        """The reply of a script about the subject at `key`; asked again if it wants something newer.

        Raises: as the wire does.
        """
        give_up = monotonic() + timeout
        for _ in range(TRIES):
            script, args = question()
            reply = self.wire.run(script, (key, f"{key}:o"), args, max(0.001, give_up - monotonic()))
            if not table.is_outdated(reply):
                return reply
        raise Unavailable(f"limiter {self.name!r}: the limits of {key!r} change all the time")

    def check(self, table: Table, key: str, cost: int, timeout: float) -> Any:
        """The reply of check.lua. Raises: as the wire does."""
        return self.ask(table, key, lambda: (table.check, table.args(cost)), timeout)

    def answered(self) -> None:
        """The server is there."""
        if self._is_new:
            self.begun()
        if self.breaker.success():
            self.wire.observer.notify(BreakerChanged(name=f"limiter {self.name}", state="closed"))

    def failed(self, error: HoldfastError, key: str) -> None:
        """The server gave no answer. Raises: what is not for `on_error` to decide."""
        if isinstance(error, OutOfMemory | ReadOnly):
            self.answered()
            return
        if not isinstance(error, Unavailable) or isinstance(error, Closed):
            raise error
        if self._is_new:
            self.begun()
        if self.breaker.failure(monotonic()):
            self.wire.observer.notify(BreakerChanged(name=f"limiter {self.name}", state="open"))
        if not isinstance(error, Unconfirmed) and not self._connecting and not self.wire.is_closed:
            self._connecting = True
            spawn("limiter-connects", lambda: self._connect(key))

    def begun(self) -> None:
        """From now on the deadline holds. The first question may have to wait for a connection: without that
        everybody would be let in, unasked, whenever a process starts.
        """
        self._is_new = False
        self.deadline = seconds(self.options.deadline)

    def _connect(self, key: str) -> None:
        """Have a connection made to where `key` is; however long that may take."""
        try:
            self.wire.execute("EXISTS", key)
            self.answered()
        except HoldfastError:
            return
        finally:
            self._connecting = False

    def without(self, table: Table, tag: str, cost: int, *, take: bool = True) -> Decision:
        """What `on_error` decides."""
        how = self.options.on_error
        if how == "allow":
            return rules.ALLOWED_BLINDLY
        if how == "deny":
            return rules.ALLOWED_BLINDLY if table.shadow else rules.DENIED_BLINDLY
        decision = self.local(table).decide(tag, cost, monotonic(), take=take)
        return rules.unshadowed(decision) if table.shadow and not decision.allowed else decision

    def local(self, table: Table) -> LocalLimits:
        """Where this process counts by itself."""
        if table.local is None:
            options = self.options
            table.local = LocalLimits(table.real, options.local_share, options.local_subjects)
        return table.local

    def count(self, decision: Decision) -> Decision:
        """`decision`, counted."""
        counters = self.counters
        if decision.allowed:
            counters.allowed += 1
        else:
            counters.denied += 1
        if decision.degraded:
            counters.degraded += 1
        if decision.shadowed:
            counters.shadowed += 1
        return decision
