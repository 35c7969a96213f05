"""What a check answers. Pure."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.limits.options import Limit


class LimitState(NamedTuple):
    """Where a subject stands with one of its limits, after the decision.

    `remaining`: the cost that would be allowed at this moment. `retry_after`: seconds until the cost that was
    asked for is allowed by this limit; 0.0 at once, inf never. `reset_after`: seconds until the whole quota
    (gcra: the whole burst) is there again, if nothing more is asked for.
    """

    limit: Limit
    remaining: int
    retry_after: float
    reset_after: float


class Decision(NamedTuple):
    """May it be done? `bool(decision)` says so too.

    - `allowed`: yes; then the cost was charged to every limit. If not, nothing was charged.
    - `remaining`: the cost that would be allowed at this moment, by every limit that counts.
    - `retry_after`: seconds until the cost that was asked for may be allowed; 0.0 if it was, inf if it never
      can: it is more than a limit ever lets through at once.
    - `reset_after`: seconds until every limit is as if unused.
    - `violated`: the labels of the limits that said no.
    - `degraded`: the server was not asked, or gave no answer in time: `on_error` decided.
    - `limit`: the tightest limit: the one that keeps the subject waiting longest or, if none does, the one of
      which the least is left. None where nothing is known (degraded, without a local count).
    - `states`: of every limit, in the order in which they were given.
    - `shadowed`: the labels of limits in shadow mode that would have said no.
    """

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: float
    violated: tuple[str, ...] = ()
    degraded: bool = False
    limit: Limit | None = None
    states: tuple[LimitState, ...] = ()
    shadowed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.allowed


def summed(states: tuple[LimitState, ...], *, allowed: bool, degraded: bool = False) -> Decision:
    """The decision of several limits at once. Those in shadow mode are only told of."""
    real = [one for one in states if not one.limit.shadow] or states
    tightest = max(real, key=_tightness)
    over = [one.limit for one in states if one.retry_after]
    return Decision(
        allowed,
        min(one.remaining for one in real),
        0.0 if allowed else max(one.retry_after for one in real),
        max(one.reset_after for one in real),
        () if allowed else tuple(one.label for one in over if not one.shadow),
        degraded,
        tightest.limit,
        states,
        tuple(one.label for one in over if one.shadow),
    )


def _tightness(state: LimitState) -> tuple[float, int]:
    return state.retry_after, -state.remaining


class Together(NamedTuple):
    """What `check_all` answers: may all of it be done? `bool(together)` says so too.

    `decisions`: one for each item, in their order; None for one that was not asked, because another had
    denied already. If `allowed` is False, nothing is charged anywhere.
    """

    allowed: bool
    decisions: tuple[Decision | None, ...]

    def __bool__(self) -> bool:
        return self.allowed
