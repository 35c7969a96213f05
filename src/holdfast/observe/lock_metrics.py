"""The metrics of locks, by family: what stands in their names before the first colon (see locks/stats.py).

`holdfast_lock_wait_duration_seconds` counts what was granted, `holdfast_lock_hold_duration_seconds` what has
ended, released or lost. A wait that ended in a LockTimeout is in `holdfast_lock_timeouts` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.observe.about import About, Sample

_BY_FAMILY = ("family",)

METRICS = {
    "holdfast_lock_acquired": About("counter", _BY_FAMILY, "Leases granted to this process"),
    "holdfast_lock_contended": About("counter", _BY_FAMILY, "Acquires that found the lock held"),
    "holdfast_lock_timeouts": About("counter", _BY_FAMILY, "Acquires that gave up after their wait"),
    "holdfast_lock_released": About("counter", _BY_FAMILY, "Leases given back"),
    "holdfast_lock_renewals": About("counter", _BY_FAMILY, "Renewals of leases"),
    "holdfast_lock_lost": About(
        "counter",
        ("family", "cause"),
        "Leases lost, by cause: expired, unreachable, vanished, taken, max_hold, closed, forked",
    ),
    "holdfast_lock_waiting": About("gauge", _BY_FAMILY, "Callers of this process that wait for a lock"),
    "holdfast_lock_wait_duration_seconds": About(
        "summary", _BY_FAMILY, "Grants, and the seconds that their callers waited"
    ),
    "holdfast_lock_hold_duration_seconds": About(
        "summary", _BY_FAMILY, "Leases that have ended, and the seconds for which they were held"
    ),
}
_PLAIN = ("acquired", "contended", "timeouts", "released", "renewals", "waiting")


def of_locks(family: str, stats: Any) -> Iterator[Sample]:
    """The numbers of one family."""
    for name in _PLAIN:
        yield f"holdfast_lock_{name}", (family,), getattr(stats, name)
    for cause, count in stats.lost.items():
        yield "holdfast_lock_lost", (family, cause), count
    yield "holdfast_lock_wait_duration_seconds_count", (family,), stats.acquired
    yield "holdfast_lock_wait_duration_seconds_sum", (family,), stats.wait_seconds
    yield "holdfast_lock_hold_duration_seconds_count", (family,), stats.released + sum(stats.lost.values())
    yield "holdfast_lock_hold_duration_seconds_sum", (family,), stats.hold_seconds
