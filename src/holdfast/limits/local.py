"""The limits counted in this process alone, while the server is away (`on_error="local"`). Pure.

The algorithms are those of check.lua, in the same whole numbers (see measure.py), so that a limit means the
same here as there. Only the clock and the state are this process's own.

Promise
* One process admits no more than its `share` of each limit (quota and burst; at least 1), all limits or none:
  a check that is denied is charged nowhere.
* At most `most` subjects are counted; of more, whoever was not asked about for longest is forgotten.

Not promised: that what the server had counted before is known here, or the other way round: each begins with
nothing. Windows of the calendar are windows of the same length here, which begin anywhere.

Thread-safe; the clock is an argument (monotonic seconds). One that goes backwards counts as one that stands.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final, Protocol

from holdfast._wire.mutex import MUTEX
from holdfast.limits.decision import Decision, LimitState, summed
from holdfast.limits.options import Limit

MICROS: Final = 1_000_000
NEVER: Final = float("inf")


# units until the cost is allowed (0 now, inf never), the cost that is left, units until it is as if unused
Outlook = tuple[float, int, int]


class Rule(Protocol):
    """One limit of one algorithm. A state is what is kept for one subject; `at` is a time in units."""

    limit: Limit
    unit: int  # microseconds

    def __init__(self, limit: Limit) -> None: ...

    def fresh(self, at: int) -> Any:
        """The state of a subject that was never heard of."""

    def settle(self, state: Any, at: int) -> Any:
        """The state after the time up to `at` has passed; the other two want it so."""

    def look(self, state: Any, cost: int, at: int) -> Outlook:
        """How it stands, for a `cost`."""

    def take(self, state: Any, cost: int, at: int) -> Any:
        """The state after `cost` was charged; less than nothing gives it back."""


class _Gcra:
    """A bucket that leaks; the state is (written, backlog)."""

    __slots__ = ("capacity", "drain", "limit", "token", "unit")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.unit, _, self.token, self.drain, self.capacity = limit.measure

    def fresh(self, at: int) -> tuple[int, int]:
        return at, 0

    def settle(self, state: tuple[int, int], at: int) -> tuple[int, int]:
        written, backlog = state
        if at <= written:
            return state
        backlog -= (at - written) * self.drain
        return at, backlog if backlog > 0 else 0  # noqa: FURB136 (max() takes longer)

    def look(self, state: tuple[int, int], cost: int, at: int) -> Outlook:  # noqa: ARG002 (settled)
        backlog, drain = state[1], self.drain
        room = self.capacity - backlog
        left = room // self.token if room > 0 else 0
        reset = -(-backlog // drain) if backlog else 0
        if left >= cost:
            return 0, left, reset
        needed = cost * self.token
        return NEVER if needed > self.capacity else -((room - needed) // drain), left, reset

    def take(self, state: tuple[int, int], cost: int, at: int) -> tuple[int, int]:  # noqa: ARG002 (settled)
        return state[0], max(0, state[1] + cost * self.token)


class _Sliding:
    """Two windows, of which the older counts by the part still covered; the state is (number of the window,
    count of the one before, count).
    """

    __slots__ = ("limit", "quota", "unit", "window")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.unit, self.window, self.quota = limit.measure.unit, limit.measure.window, limit.quota

    def fresh(self, at: int) -> tuple[int, int, int]:
        return at // self.window, 0, 0

    def settle(self, state: tuple[int, int, int], at: int) -> tuple[int, int, int]:
        current = at // self.window
        if current <= state[0]:
            return state
        return current, state[2] if current == state[0] + 1 else 0, 0

    def look(self, state: tuple[int, int, int], cost: int, at: int) -> Outlook:
        number, before, count = state
        window, quota = self.window, self.quota
        rest = min(window, (number + 1) * window - at)  # of this window
        left = quota - count - -(-before * rest // window)
        reset = window + rest if count else rest if before else 0
        if left >= cost:
            return 0, left, reset
        if cost > quota:
            return NEVER, max(0, left), reset
        if quota - count >= cost:  # enough of the window before has to be left behind
            wait = rest - (quota - count - cost) * window // before
        else:  # and of this one too
            wait = rest + window - (quota - cost) * window // count
        return wait, max(0, left), reset

    def take(self, state: tuple[int, int, int], cost: int, at: int) -> tuple[int, int, int]:  # noqa: ARG002
        number, before, count = state
        count += cost
        return (number, before, count) if count >= 0 else (number, max(0, before + count), 0)


class _Fixed:
    """Windows that begin at a multiple of their length; the state is (number of the window, count)."""

    __slots__ = ("limit", "quota", "unit", "window")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.unit, self.window, self.quota = limit.measure.unit, limit.measure.window, limit.quota

    def fresh(self, at: int) -> tuple[int, int]:
        return at // self.window, 0

    def settle(self, state: tuple[int, int], at: int) -> tuple[int, int]:
        current = at // self.window
        return (current, 0) if current > state[0] else state

    def look(self, state: tuple[int, int], cost: int, at: int) -> Outlook:
        number, count = state
        left = self.quota - count
        reset = min(self.window, (number + 1) * self.window - at) if count else 0
        if left >= cost:
            return 0, left, reset
        return NEVER if cost > self.quota else reset, max(0, left), reset

    def take(self, state: tuple[int, int], cost: int, at: int) -> tuple[int, int]:  # noqa: ARG002 (settled)
        return state[0], max(0, state[1] + cost)


class _Hits:
    """What was let through, oldest first: [time, cost], and the sum of it."""

    __slots__ = ("all", "total")

    def __init__(self) -> None:
        self.all: deque[list[int]] = deque()
        self.total = 0


class _Log:
    """Every hit is kept; the state changes in place."""

    __slots__ = ("limit", "quota", "unit", "window")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.unit, self.window, self.quota = limit.measure.unit, limit.measure.window, limit.quota

    def fresh(self, at: int) -> _Hits:  # noqa: ARG002 (nothing of it is dated)
        return _Hits()

    def settle(self, state: _Hits, at: int) -> _Hits:
        hits = state.all
        while hits and hits[0][0] <= at - self.window:
            state.total -= hits.popleft()[1]
        return state

    def look(self, state: _Hits, cost: int, at: int) -> Outlook:
        hits, left = state.all, self.quota - state.total
        at = max(at, hits[-1][0]) if hits else at
        reset = hits[-1][0] + self.window - at if hits else 0
        if left >= cost:
            return 0, left, reset
        if cost > self.quota:
            return NEVER, max(0, left), reset
        short = cost - left
        for time, charged in hits:
            short -= charged
            if short <= 0:
                return time + self.window - at, max(0, left), reset
        raise AssertionError(f"{state.total} is not the sum of the hits")

    def take(self, state: _Hits, cost: int, at: int) -> _Hits:
        hits = state.all
        if cost > 0:
            hits.append([max(at, hits[-1][0]) if hits else at, cost])
            state.total += cost
        while cost < 0 and hits:  # the latest first: they would have counted for longest
            part = min(-cost, hits[-1][1])
            hits[-1][1] -= part
            state.total -= part
            cost += part
            if not hits[-1][1]:
                hits.pop()
        return state


_RULES: Final[dict[str, type[Rule]]] = {"gcra": _Gcra, "sliding": _Sliding, "fixed": _Fixed, "log": _Log}


class LocalLimits:
    """See the file's docstring. `share`: of quota and burst, more than 0 and at most 1; `most`: subjects."""

    __slots__ = ("_all", "_label", "_most", "_only", "_rules")

    def __init__(self, limits: tuple[Limit, ...], share: float, most: int) -> None:
        self._rules: tuple[Rule, ...] = tuple(
            _RULES[one.algorithm](one if share == 1 else one.scaled(share)) for one in limits
        )
        # Most limiters have one limit, and then there is less to put together.
        self._only = self._rules[0] if len(limits) == 1 and not limits[0].shadow else None
        self._label = (limits[0].label,)
        self._most = most
        self._all: OrderedDict[str, list[Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def decide(self, subject: str, cost: int, now: float, *, take: bool = True) -> Decision:
        """May `subject` have `cost`? If so it is charged, unless `take` says that this is only a look."""
        micros = int(now * MICROS)
        with MUTEX:
            states = self._all.get(subject)
            if states is None:
                states = [rule.fresh(micros // rule.unit) for rule in self._rules]
            else:
                self._all.move_to_end(subject)
            if self._only is not None:
                return self._decide_one(self._only, subject, states, cost, micros, take=take)
            return self._decide_all(subject, states, cost, micros, take=take)

    def refund(self, subject: str, cost: int, now: float) -> None:
        """Give `cost` back."""
        micros = int(now * MICROS)
        with MUTEX:
            states = self._all.get(subject, [])
            for place, state in enumerate(states):
                rule = self._rules[place]
                at = micros // rule.unit
                states[place] = rule.take(rule.settle(state, at), -cost, at)

    def reset(self, subject: str) -> None:
        """Forget what `subject` has done."""
        with MUTEX:
            self._all.pop(subject, None)

    def _decide_one(
        self, rule: Rule, subject: str, states: list[Any], cost: int, micros: int, *, take: bool
    ) -> Decision:
        """As `_decide_all`, for the one limit there is."""
        at = micros // rule.unit
        states[0] = state = rule.settle(states[0], at)
        wait, left, reset = rule.look(state, cost, at)
        if not wait and take:
            states[0] = state = rule.take(state, cost, at)
            self._keep(subject, states)
            _, left, reset = rule.look(state, 0, at)
        limit, second = rule.limit, rule.unit / MICROS
        wait, after = wait * second, reset * second
        told = (LimitState(limit, left, wait, after),)
        return Decision(not wait, left, wait, after, self._label if wait else (), True, limit, told)

    def _decide_all(self, subject: str, states: list[Any], cost: int, micros: int, *, take: bool) -> Decision:
        """All limits say yes, or nothing is charged; one in shadow mode is charged if it would say yes."""
        outlooks = []
        for place, rule in enumerate(self._rules):
            at = micros // rule.unit
            states[place] = rule.settle(states[place], at)
            outlooks.append(rule.look(states[place], cost, at))
        rows = list(zip(self._rules, outlooks, strict=True))
        allowed = not any(wait and not rule.limit.shadow for rule, (wait, _, _) in rows)
        told = []
        for place, (rule, outlook) in enumerate(rows):
            wait, left, reset = outlook
            if allowed and take and not wait:
                at = micros // rule.unit
                states[place] = rule.take(states[place], cost, at)
                _, left, reset = rule.look(states[place], 0, at)
            told.append(LimitState(rule.limit, left, wait * rule.unit / MICROS, reset * rule.unit / MICROS))
        if allowed and take:
            self._keep(subject, states)
        return summed(tuple(told), allowed=allowed, degraded=True)

    def _keep(self, subject: str, states: list[Any]) -> None:
        self._all[subject] = states
        if len(self._all) > self._most:
            self._all.popitem(last=False)
