"""The metrics of limiters, sessions, leaderboards and analytics, of a real client."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from holdfast import (
    AnalyticsStats,
    ConcurrencyStats,
    Holdfast,
    LeaderboardStats,
    Limit,
    LimiterStats,
    SessionsStats,
)
from holdfast.observe import meter_metrics, prometheus
from tests.observe.test_metrics import scrape


class Meter:
    name = "it"

    def __init__(self, stats: Any) -> None:
        self._stats = stats

    def stats(self) -> Any:
        return self._stats


KINDS = {
    "limiter": LimiterStats,
    "concurrency_limiter": ConcurrencyStats,
    "sessions": SessionsStats,
    "leaderboard": LeaderboardStats,
    "analytics": AnalyticsStats,
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_of_the_stats_is_forgotten(kind: str):
    stats = KINDS[kind]
    names = stats._fields if hasattr(stats, "_fields") else [one.name for one in dataclasses.fields(stats)]
    numbers = {name: 2**number for number, name in enumerate(names)}
    left_out = {"checks", "wait_seconds"} & set(names)  # a sum of others; what nobody has asked for
    if "lost" in numbers:
        numbers["lost"] = {"expired": numbers["lost"]}

    samples = [*meter_metrics.of_meter(kind, Meter(stats(**numbers)))]

    told = sum(int(number) for _, _, number in samples)
    expected = sum(numbers[name] if name != "lost" else numbers[name]["expired"] for name in names)
    expected -= sum(numbers[name] for name in left_out)
    if kind == "limiter":  # denied is told without denied_here, and that apart
        expected -= numbers["denied_here"]
    assert told == expected
    for name, labels, _ in samples:
        assert len(meter_metrics.METRICS[name].labels) == len(labels)


def test_a_real_client(hf: Holdfast):
    registry = CollectorRegistry()
    prometheus(hf, registry)
    api = hf.limiter("api", Limit(2, "1h"))
    assert [bool(api.check("ann")) for _ in range(4)] == [True, True, False, False]
    with hf.concurrency_limiter("exports", 1).hold("ann"):
        found = scrape(registry)
        assert found["holdfast_slots_held", "exports"] == 1
    session = hf.sessions().create(user="ann")
    hf.sessions().load(session.id)
    hf.leaderboard("arena").submit("ann", 5)
    hits = hf.analytics("shop")
    hits.count("signup")
    hits.query("signup", "1h", since="1h")

    found = scrape(registry)

    assert found["holdfast_limiter_checks_total", "api", "allowed"] == 2
    assert found["holdfast_limiter_checks_total", "api", "denied"] == 1
    assert found["holdfast_limiter_checks_total", "api", "denied_here"] == 1
    assert found["holdfast_slots_held", "exports"] == 0
    assert found["holdfast_slots_acquired_total", "exports"] == 1
    assert found["holdfast_sessions_events_total", "loaded", "sessions"] == 1
    assert found["holdfast_leaderboard_events_total", "submitted", "arena"] == 1
    assert found["holdfast_analytics_events_total", "shop", "flushes"] == 1
    assert found["holdfast_analytics_pending", "shop"] == 0
