"""Limits, without any I/O: what they promise, and every decision that is taken in this process.

    limiter = hf.limiter("api", [Limit(10, "1s", burst=20), Limit(1000, "1h")])

    decision = limiter.check("user:42")
    if not decision:
        return too_many_requests(decision.retry_after)

A subject is whoever is limited: a user, an address, an API key. What it has used of all its limits is one
small string on the server, and a check is one script there: one round trip.

Promised:

* Never more than the limits say is let through by the whole fleet, to the microsecond of the server's clock,
  in whole numbers: nothing is rounded (see measure.py). A clock that was set back changes nothing of that.
* All limits of a subject together: a check is charged to each of them, or to none.
* `retry_after` is the moment from which the same check is allowed, if nobody else comes first.
* `hold` is first come, first served: who waits has his moment booked, and nobody comes before him. If he is
  cancelled, his place goes to those who come later, and those who wait already are never made a violation.
* A check takes `deadline` at most; the first one, which may have to connect, takes the client's timeout. It
  never fails because the server is away: then `on_error` decides, and the decision says so (`degraded`).
* Limits may be changed at any time, also to another algorithm: what was used counts on.
* A subject that is idle costs nothing: its state vanishes once all its limits are as if unused.

Not promised:

* That a check whose answer did not come in time was not charged. It is not repeated: that could charge
  twice.
* That what was charged survives a failover: the last changes may be lost, and then a little more is allowed.
* That "sliding" is exact: it takes the window before for even. Of one aligned window it never lets more than
  the quota through. "gcra" and "log" are exact.
* That a refund is remembered: what is given back may be used again at once, also if it was used long ago.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any, Final

from holdfast._wire.script import Script
from holdfast._wire.transport import Arg
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, RateLimited
from holdfast.limits.calendar import period
from holdfast.limits.decision import Decision, LimitState, summed
from holdfast.limits.local import LocalLimits
from holdfast.limits.options import Limit

MICROS: Final = 1_000_000
REST: Final = 1.0  # seconds after which somebody who was denied because the server is away may try again
LONGEST_WAIT: Final = 86400.0  # seconds that a hold may wait
MOST_COST: Final = 1 << 50

_LONG_AGO: Final = 365 * 86400 * MICROS  # in 1971: the first check is told what time it is

STALE: Final = -2  # a window of the calendar is over
MISSING: Final = -3  # the script lacks a kind

# --- scripts ------------------------------------------------------------------------------------------------

EVERY: Final = "gsfcl"
_FILES: Final = {"g": "gcra", "s": "sliding", "f": "fixed", "c": "calendar", "l": "log"}
_BOOK: Final = "-- book.lua comes here\n"
_THE_KINDS: Final = "-- kinds come here\n"


@functools.cache
def script(name: str, kinds: str = EVERY) -> Script:
    """The script `name`, with the book and these `kinds` in it: what is not there takes no time."""
    bare = Script.load(__package__, name)
    wanted = kinds.replace("c", "fc")  # a window of the calendar is a fixed one, mostly
    parts = "".join(_body(_FILES[kind]) for kind in EVERY if kind in wanted)
    return Script.parse(bare.name, bare.text.replace(_BOOK, _body("book").replace(_THE_KINDS, parts)))


def _body(name: str) -> str:
    lines = Script.load(__package__, name).text.splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if not line.startswith("--"))
    return "".join(lines[first:])


ADJUST: Final = script("adjust")
CANCEL: Final = script("cancel")
RESET: Final = script("reset")
TOGETHER: Final = script("together")

# --- limits as text -----------------------------------------------------------------------------------------


def pack(limits: Sequence[Limit], micros: int = _LONG_AGO) -> str:
    """`limits` as the scripts read them, at the time `micros`; see book.lua."""
    return "".join(_packed(one, micros) for one in limits)


def _packed(limit: Limit, micros: int) -> str:
    unit, window, token, drain, capacity = limit.measure
    kind = limit.algorithm[0]
    if limit.calendar is not None:
        kind = "c"
        unit, window = period(limit.calendar, limit.tz, micros)
    if kind != "g":
        token, drain, capacity = window, 1, limit.quota
    if limit.shadow:
        kind = kind.upper()
    return f"{kind} {limit.label} {unit} {token} {drain} {capacity};"


def own_text(limits: Sequence[Limit]) -> str:
    """What stands on the server for a subject with limits of its own. Raises: ConfigurationError."""
    if any(one.calendar for one in limits):
        raise ConfigurationError("limits of a subject's own have no calendar: take a duration, or a plan")
    told = [(one.quota, one.per, one.burst, one.algorithm, one.name, one.shadow) for one in limits]
    return f"{pack(limits)}|{json.dumps(told, separators=(',', ':'))}"


@functools.lru_cache(1024)
def own_limits(text: bytes) -> tuple[Limit, ...]:
    """The limits that `own_text` has written. Raises: ValueError, if it was somebody else."""
    packed, _, told = text.partition(b"|")
    limits = tuple(
        Limit(quota, per, burst=burst, algorithm=algorithm, name=name, shadow=shadow)
        for quota, per, burst, algorithm, name, shadow in json.loads(told)
    )
    if pack(limits).encode() != packed:
        raise ValueError(f"{text!r:.80} are no limits of ours")
    return limits


# --- what is known of a set of limits -----------------------------------------------------------------------


class Table:
    """Limits, and what checks of them need again and again. `shadow`: none of them denies.

    `local`: where this process counts them while the server is away, once it had to.
    """

    __slots__ = (
        "_plain",
        "check",
        "hold",
        "limits",
        "local",
        "once",
        "only",
        "quiet",
        "real",
        "shadow",
        "text",
    )

    def __init__(self, limits: tuple[Limit, ...], *, shadow: bool = False) -> None:
        self.limits = tuple(replace(one, shadow=True) for one in limits) if shadow else limits
        self.shadow = shadow
        self.only = limits[0] if len(limits) == 1 and not shadow and not limits[0].shadow else None
        self.check = script("check", _kinds(limits))
        self.hold = script("hold", _kinds(limits))
        self.local: LocalLimits | None = None
        self.real = limits
        self._plain = _plain(limits)
        self._turn(_LONG_AGO)

    def _turn(self, micros: int) -> None:
        # In shadow mode the script decides as if it were none: all or nothing. `decide` turns a no around.
        self.text = pack(self.real, micros)
        self.quiet = pack(self.limits, micros)
        self.once = (self.text, "1", "1", *self._plain)

    def is_outdated(self, reply: Any) -> bool:
        """Does a script ask for something newer than it was given? It is given next time."""
        if type(reply) is not list or type(reply[0]) is not int or reply[0] > STALE:
            return False
        if reply[0] == STALE:
            self._turn(reply[1])
        else:  # there are states, or limits of subjects' own, of other kinds
            self.check, self.hold = script("check"), script("hold")
        return True

    def args(self, cost: int) -> tuple[Arg, ...]:
        """The arguments of check.lua."""
        return self.once if cost == 1 else (self.text, str(cost), "1", *self._plain)

    def decide(self, reply: Sequence[Any]) -> Decision:
        """What check.lua has answered."""
        only = self.only
        if only is not None and len(reply) == 4:
            status, left, wait, rest = reply
            after = rest / MICROS
            if not status:
                return Decision(
                    True, left, 0.0, after, (), False, only, (LimitState(only, left, 0.0, after),)
                )
            again = inf if wait < 0 else wait / MICROS
            state = LimitState(only, left, again, after)
            return Decision(False, left, again, after, (only.label,), False, only, (state,))
        return self.summed(reply[0] >= 0, reply[1:])

    def summed(self, allowed: bool, report: Sequence[Any]) -> Decision:
        """The decision from the report of a script: three numbers for each limit, see check.lua."""
        limits = self.limits
        if len(report) % 3:
            try:
                limits, report = own_limits(report[-1]), report[:-1]
            except (ValueError, TypeError):
                return _of_foreign_limits(report[:-1], allowed=allowed or self.shadow)
            if self.shadow:
                limits = tuple(replace(one, shadow=True) for one in limits)
        states = tuple(
            LimitState(
                limit,
                report[at],
                inf if report[at + 1] < 0 else report[at + 1] / MICROS,
                report[at + 2] / MICROS,
            )
            for limit, at in zip(limits, range(0, len(report), 3), strict=True)
        )
        return summed(states, allowed=allowed or self.shadow)

    def each(self, report: Sequence[Any]) -> Decision:
        """The decision about one of several subjects that were asked about together."""
        decision = self.summed(True, report)
        over = tuple(one.limit.label for one in decision.states if one.retry_after and not one.limit.shadow)
        if not over:
            return decision
        return summed(decision.states, allowed=False)


def _of_foreign_limits(report: Sequence[int], *, allowed: bool) -> Decision:
    """The decision by limits that the script could read, and we cannot."""
    waits = [inf if wait < 0 else wait / MICROS for wait in report[1::3]]
    return Decision(allowed, min(report[::3]), 0.0 if allowed else max(waits), max(report[2::3]) / MICROS)


def _kinds(limits: Sequence[Limit]) -> str:
    return "".join(
        kind for kind in EVERY if any(kind == _packed(one, _LONG_AGO)[0].lower() for one in limits)
    )


def _plain(limits: Sequence[Limit]) -> tuple[str, ...]:
    """For the short way of check.lua: token, drain, capacity of each limit, if all are of the usual sort."""
    if all(
        one.algorithm == "gcra" and one.quota and one.measure.unit == 1 and not one.shadow for one in limits
    ):
        return tuple(str(number) for one in limits for number in one.measure[2:])
    return ()


# --- decisions without an answer ----------------------------------------------------------------------------

ALLOWED_BLINDLY: Final = Decision(allowed=True, remaining=0, retry_after=0.0, reset_after=0.0, degraded=True)
DENIED_BLINDLY: Final = Decision(
    allowed=False, remaining=0, retry_after=REST, reset_after=REST, degraded=True
)


def unshadowed(decision: Decision) -> Decision:
    """The decision of limits all in shadow mode, of which one would have denied."""
    limits = tuple(one.limit.label for one in decision.states if one.retry_after)
    return decision._replace(allowed=True, retry_after=0.0, violated=(), shadowed=limits)


def aged(decision: Decision, age: float) -> Decision:
    """A denial that was made `age` seconds ago, as it is now."""
    return Decision(
        decision.allowed,
        decision.remaining,
        max(0.0, decision.retry_after - age),
        max(0.0, decision.reset_after - age),
        decision.violated,
        decision.degraded,
        decision.limit,
        tuple(
            [
                LimitState(limit, left, max(0.0, again - age), max(0.0, after - age))
                for limit, left, again, after in decision.states
            ]
        ),
        decision.shadowed,
    )


# --- what callers give --------------------------------------------------------------------------------------


def check_cost(cost: Any, least: int = 1) -> None:
    """Raises: ConfigurationError unless `cost` is a whole number, from `least` on."""
    if isinstance(cost, bool) or not isinstance(cost, int) or not least <= cost <= MOST_COST:
        raise ConfigurationError(f"cost={cost!r} must be a whole number, at least {least} and at most 2**50")


def wait_micros(wait: Duration) -> int:
    """Microseconds in `wait`. Raises: ConfigurationError."""
    chosen = seconds(wait, "wait", zero=True)
    if chosen > LONGEST_WAIT:
        raise ConfigurationError(f"wait={wait!r} must be at most a day")
    return round(chosen * MICROS)


def limited(name: str, subject: str, decision: Decision) -> RateLimited:
    """What says that `subject` was denied by the limiter `name`."""
    if decision.degraded and not decision.violated:
        text = f"limiter {name!r} could not ask the server, and denies then (on_error)"
    else:
        which = ", ".join(f"{one.limit} ({one.limit.label})" for one in decision.states if one.retry_after)
        again = (
            "it never can: the cost is more than the limit"
            if decision.retry_after == inf
            else f"again in {decision.retry_after:.3g} s"
        )
        text = f"limiter {name!r} denies {subject!r}: {which or 'limited'}; {again}"
    return RateLimited(text, decision=decision, retry_after=decision.retry_after)
