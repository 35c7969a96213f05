"""What limits are, in exact fractions and as slowly as it pleases: what the scripts are held to.

A moment is found by trying: `fits` says by definition whether a cost fits in at a moment, and while nothing
but time passes, it fits in from some moment on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

from holdfast.limits.options import Limit

FAR = 1 << 50


def first(true: Any, start: int, step: int) -> int:
    """The first of `start`, and the multiples of `step` behind it, for which `true` holds from there on."""
    if true(start):
        return start
    low = start // step  # does not hold
    high = low + 1
    while not true(high * step):
        low, high = high, high + 2 * (high - low)
        assert high * step < FAR * 4
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if true(middle * step) else (middle, high)
    return high * step


class Gcra:
    """A bucket of `most`, that leaks `quota` per window; time goes in steps of the limit's unit."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.unit = limit.measure.unit
        self.rate = Fraction(limit.quota, round(limit.window * 1e6))  # per microsecond
        self.level, self.at = Fraction(0), 0

    def at_moment(self, moment: int) -> Fraction:
        passed = max(0, moment // self.unit * self.unit - self.at)
        return max(Fraction(0), self.level - passed * self.rate)

    def fits(self, cost: int, moment: int) -> bool:
        return self.at_moment(moment) + cost <= self.limit.most

    def charge(self, cost: int, moment: int) -> None:
        self.level = self.at_moment(moment) + cost
        self.at = max(self.at, moment // self.unit * self.unit)

    def refund(self, cost: int, moment: int) -> None:
        self.level, self.at = max(Fraction(0), self.at_moment(moment) - cost), moment // self.unit * self.unit

    def left(self, moment: int) -> int:
        return max(0, floor(self.limit.most - self.at_moment(moment)))

    def rest(self, now: int) -> int:
        level = self.at_moment(now)
        if not level:
            return 0
        return first(lambda moment: not self.at_moment(moment), now, self.unit) - now


class Counted:
    """Windows by number, and what was used in them."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.unit = limit.measure.unit
        self.window = round(limit.window * 1e6)
        self.used: dict[int, int] = {}

    def number(self, moment: int) -> int:
        return moment // self.window

    def charge(self, cost: int, moment: int) -> None:
        number = self.number(moment)
        self.used[number] = self.used.get(number, 0) + cost


class Sliding(Counted):
    """The window that ends now has a part of the one before, taken for even, and all of this one."""

    def weight(self, moment: int) -> Fraction:
        moment = moment // self.unit * self.unit
        number = self.number(moment)
        gone = Fraction(moment - number * self.window, self.window)
        return self.used.get(number - 1, 0) * (1 - gone) + self.used.get(number, 0)

    def fits(self, cost: int, moment: int) -> bool:
        return self.weight(moment) + cost <= self.limit.quota

    def refund(self, cost: int, moment: int) -> None:
        number = self.number(moment)
        here = min(cost, self.used.get(number, 0))
        self.used[number] = self.used.get(number, 0) - here
        self.used[number - 1] = max(0, self.used.get(number - 1, 0) - (cost - here))

    def left(self, moment: int) -> int:
        return max(0, floor(self.limit.quota - self.weight(moment)))

    def rest(self, now: int) -> int:
        used = [number for number, count in self.used.items() if count and number >= self.number(now) - 1]
        return max(0, (max(used) + 2) * self.window - now) if used else 0


class Fixed(Counted):
    """Each window has the quota."""

    def fits(self, cost: int, moment: int) -> bool:
        return self.used.get(self.number(moment), 0) + cost <= self.limit.quota

    def refund(self, cost: int, moment: int) -> None:
        number = self.number(moment)
        self.used[number] = max(0, self.used.get(number, 0) - cost)

    def left(self, moment: int) -> int:
        return max(0, self.limit.quota - self.used.get(self.number(moment), 0))

    def rest(self, now: int) -> int:
        used = [number for number, count in self.used.items() if count and number >= self.number(now)]
        return (max(used) + 1) * self.window - now if used else 0


class Log:
    """Every hit counts for exactly a window."""

    unit = 1

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.window = round(limit.window * 1e6)
        self.hits: list[tuple[int, int]] = []

    def total(self, moment: int) -> int:
        return sum(cost for at, cost in self.hits if at > moment - self.window)

    def fits(self, cost: int, moment: int) -> bool:
        return self.total(moment) + cost <= self.limit.quota

    def charge(self, cost: int, moment: int) -> None:
        self.hits.append((moment, cost))

    def refund(self, cost: int, moment: int) -> None:
        hits = [hit for hit in self.hits if hit[0] > moment - self.window]
        while cost and hits:
            at, had = hits.pop()
            if had > cost:
                hits.append((at, had - cost))
            cost -= min(cost, had)
        self.hits = hits

    def left(self, moment: int) -> int:
        return max(0, self.limit.quota - self.total(moment))

    def rest(self, now: int) -> int:
        hits = [at for at, _ in self.hits if at > now - self.window]
        return max(hits) + self.window - now if hits else 0


KINDS: dict[str, Any] = {"gcra": Gcra, "sliding": Sliding, "fixed": Fixed, "log": Log}


@dataclass
class Exact:
    """A subject with these limits. Its time never goes backwards."""

    limits: tuple[Limit, ...]
    offset: int = 0
    written: int = -1
    booked: int = 0
    each: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.each = [KINDS[one.algorithm](one) for one in self.limits]

    def time(self, clock: int) -> int:
        return max(clock + self.offset, self.written)

    def write(self, clock: int) -> None:
        now = self.time(clock)
        self.offset, self.written = now - clock, now

    def moments(self, cost: int, at: int) -> list[int | None]:
        found: list[int | None] = []
        for one in self.each:
            can = cost <= one.limit.most
            found.append(first(lambda t, one=one: one.fits(cost, t), at, one.unit) if can else None)
        return found

    def check(self, cost: int, clock: int, *, take: bool = True, wait: int = 0) -> tuple[int, list[int]]:
        """Microseconds to wait, -1 denied; and the report."""
        now = self.time(clock)
        at = max(now, self.booked)
        moments = self.moments(cost, at)
        real = [moment for one, moment in zip(self.limits, moments, strict=True) if not one.shadow]
        moment = None if None in real else max([at, *[one for one in real if one is not None]])
        if moment is None or moment - now > wait or not take:
            if take and clock + self.offset < self.written:
                self.write(clock)
            return (0 if moment == now else -1), self.report(moments, now, now)
        for one, slot in zip(self.each, moments, strict=True):
            if slot is not None and slot <= moment:
                one.charge(cost, moment)
        if moment > now:
            self.booked = moment
        self.write(clock)
        return moment - now, self.report(moments, now, moment)

    def report(self, moments: list[int | None], now: int, moment: int) -> list[int]:
        told: list[int] = []
        for one, slot in zip(self.each, moments, strict=True):
            told.append(0 if self.booked > now else one.left(now))
            told.append(-1 if slot is None else 0 if slot <= moment else slot - now)
            told.append(one.rest(now))
        return told

    def adjust(self, cost: int, clock: int) -> int:
        now = self.time(clock)
        at = max(now, self.booked)
        if cost < 0 and (self.written < 0 or at > now):
            return 0
        for one in self.each:
            if cost < 0:
                one.refund(-cost, now)
            else:
                one.charge(cost, at)
        self.write(clock)
        return 1

    def ttl(self, clock: int) -> int:
        now = self.time(clock)
        return ceil(max([self.booked - now, 0, *[one.rest(now) for one in self.each]]) / 1000) + 1
