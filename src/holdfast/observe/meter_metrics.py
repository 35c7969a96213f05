"""The metrics of limiters, sessions, leaderboards and analytics: what this process has counted of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from holdfast.observe.about import About, Sample

_BY_LIMITER = ("limiter",)

METRICS = {
    "holdfast_limiter_checks": About(
        "counter",
        ("limiter", "result"),
        "Decisions by result: allowed, denied, denied_here (without asking the server)",
    ),
    "holdfast_limiter_degraded": About(
        "counter", _BY_LIMITER, "Decisions made by on_error, since the server was away"
    ),
    "holdfast_limiter_shadowed": About(
        "counter", _BY_LIMITER, "Requests that a limit in shadow mode would have denied"
    ),
    "holdfast_limiter_held": About("counter", _BY_LIMITER, "Requests that were let in after a wait"),
    "holdfast_limiter_given_up": About("counter", _BY_LIMITER, "Waits that were cancelled"),
    "holdfast_limiter_unsettled": About(
        "counter", _BY_LIMITER, "Settlements of reservations that did not reach the server"
    ),
    "holdfast_slots_acquired": About("counter", _BY_LIMITER, "Slots of concurrency limiters got"),
    "holdfast_slots_denied": About("counter", _BY_LIMITER, "Attempts that got no slot"),
    "holdfast_slots_degraded": About("counter", _BY_LIMITER, "Slots got while the server was away"),
    "holdfast_slots_lost": About("counter", (*_BY_LIMITER, "cause"), "Slots lost, by cause"),
    "holdfast_slots_held": About("gauge", _BY_LIMITER, "Slots held by this process"),
    "holdfast_slots_waiting": About("gauge", _BY_LIMITER, "Callers that wait for a slot"),
    "holdfast_sessions_events": About(
        "counter", ("sessions", "event"), "What became of sessions: created, loaded, missing, gone, ..."
    ),
    "holdfast_leaderboard_events": About(
        "counter", ("leaderboard", "event"), "Scores submitted, members removed, questions asked, ..."
    ),
    "holdfast_analytics_events": About(
        "counter", ("analytics", "event"), "Flushes, calls, failures, entries dropped or late, ..."
    ),
    "holdfast_analytics_pending": About("gauge", ("analytics",), "Entries not written yet"),
}


def of_meter(kind: str, meter: Any) -> Iterator[Sample]:
    """The numbers of one of what `Holdfast.meters` names."""
    return _OF[kind](meter.name, meter.stats())


def _of_limiter(name: str, stats: Any) -> Iterator[Sample]:
    results = {
        "allowed": stats.allowed,
        "denied": stats.denied - stats.denied_here,
        "denied_here": stats.denied_here,
    }
    for result, count in results.items():
        yield "holdfast_limiter_checks", (name, result), count
    for one in ("degraded", "shadowed", "held", "given_up", "unsettled"):
        yield f"holdfast_limiter_{one}", (name,), getattr(stats, one)


def _of_slots(name: str, stats: Any) -> Iterator[Sample]:
    for one in ("acquired", "denied", "degraded", "held", "waiting"):
        yield f"holdfast_slots_{one}", (name,), getattr(stats, one)
    for cause, count in stats.lost.items():
        yield "holdfast_slots_lost", (name, cause), count


def _of_sessions(name: str, stats: Any) -> Iterator[Sample]:
    for one in fields(stats):
        yield "holdfast_sessions_events", (name, one.name), getattr(stats, one.name)


def _of_leaderboard(name: str, stats: Any) -> Iterator[Sample]:
    for event, count in stats._asdict().items():
        yield "holdfast_leaderboard_events", (name, event), count


def _of_analytics(name: str, stats: Any) -> Iterator[Sample]:
    for one in fields(stats):
        if one.name != "pending":
            yield "holdfast_analytics_events", (name, one.name), getattr(stats, one.name)
    yield "holdfast_analytics_pending", (name,), stats.pending


_OF: Mapping[str, Callable[[str, Any], Iterator[Sample]]] = {
    "limiter": _of_limiter,
    "concurrency_limiter": _of_slots,
    "sessions": _of_sessions,
    "leaderboard": _of_leaderboard,
    "analytics": _of_analytics,
}
