"""A limit in the whole numbers that Lua counts with. Pure.

Lua has doubles only, which are exact up to 2**53. So time is counted in a `unit` of whole microseconds, as
fine as the limit's numbers allow, and every sum that can come up stays below 2**53:

* gcra: a bucket leaks. A cost of 1 fills in `token`; each unit of time drains `drain`; it holds `capacity`.
  token / drain is the time per cost, in lowest terms, so that nothing is ever rounded.
* sliding: the window before counts by the part of it that the sliding window still covers. Multiplied by the
  window, that is a whole number too.
* fixed and log: counts, and points in time in microseconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

MOST = 1 << 51  # a quarter of what doubles count exactly: sums of four stay exact
DEEPEST = 1 << 52  # no debt and no reservation reaches further
LONGEST_LOG = 100_000  # each entry of a log is kept

_UNITS = tuple(10**power for power in range(7))  # microseconds; up to a second


class Measure(NamedTuple):
    """`unit`: microseconds per unit of time. `window`: units per window (gcra: per `quota`).

    gcra: see above. sliding: `token` is the window, `capacity` quota * window. fixed and log: `token` is 1,
    `capacity` the quota.
    """

    unit: int
    window: int
    token: int
    drain: int
    capacity: int


def gcra(quota: int, burst: int, micros: int) -> Measure | None:
    """For `quota` per `micros`, `burst` at once; None if no unit is coarse enough."""
    for unit in _UNITS:
        if micros % unit:
            return None
        window = micros // unit
        shared = math.gcd(window, quota) if quota else window
        token, drain = window // shared, quota // shared
        if burst * token < MOST and drain < MOST:
            return Measure(unit, window, token, drain, burst * token)
    return None


def sliding(quota: int, micros: int) -> Measure | None:
    """For `quota` per `micros`; None if no unit is coarse enough."""
    for unit in _UNITS:
        if micros % unit:
            return None
        window = micros // unit
        if max(quota, 1) * window < MOST:
            return Measure(unit, window, window, 1, quota * window)
    return None


def counted(quota: int, micros: int) -> Measure | None:
    """For a fixed window or a log; None if the quota is too large."""
    return Measure(1, micros, 1, 0, quota) if quota < MOST else None
