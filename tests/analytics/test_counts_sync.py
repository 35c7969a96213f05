# Generated from test_counts_async.py by tools/unasync.py. Do not edit.
"""Counters: count, query, tags, totals, metrics. What is promised stands in holdfast.analytics.rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Holdfast, Closed, ConfigurationError, Overloaded, Unavailable
from holdfast._compat import gather, sleep, monotonic
from holdfast.analytics import rules
from holdfast.analytics._analytics_sync import Analytics
from holdfast.analytics.options import AnalyticsOptions, Point
from tests.analytics.world import Observer, values


@contextmanager
def make(hf: Holdfast, name: str = "shop", **options: Any) -> Iterator[Analytics]:
    hits = Analytics(hf._wire, name, AnalyticsOptions(**options))
    try:
        yield hits
    finally:
        hits._aclose(10.0)


def clock(hits: Analytics) -> datetime:
    """The server's time."""
    whole, micros = hits._wire.execute("TIME")
    return datetime.fromtimestamp(int(whole) + int(micros) / 1e6, UTC)


# --- contracts ----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_what_was_counted_is_found_by_resolution_and_by_tags(
    hf: Holdfast, topology: str, transport: str, server_kind: str
):
    with make(hf) as hits:
        assert values(hits.query("signup", "1h", since="2h")) == [0, 0, 0]
        for number in range(12):
            hits.count("signup", tags={"plan": "pro" if number % 3 else "free", "city": number % 2})
        hits.count("signup", 5)
        hits.count("visit")
        begun = clock(hits)
        for resolution in ("1m", "1h", "1d"):
            assert sum(values(hits.query("signup", resolution, since="1h"))) == 17
        pro = hits.query("signup", "1d", since="1h", tags={"plan": "pro"})
        assert sum(values(pro)) == 8
        assert (
            sum(values(hits.query("signup", "1d", since="1h", tags={"plan": "pro", "city": "1"}))) == 4
        )
        found = hits.query("signup", "1d", since="1h", by="plan")
        assert {key: sum(values(points)) for key, points in found.items()} == {"free": 4, "pro": 8}
        cities = hits.query("signup", "1d", since="1h", by=("city", "plan"), tags={"plan": "free"})
        assert {key: sum(values(points)) for key, points in cities.items()} == {
            ("0", "free"): 2,
            ("1", "free"): 2,
        }
        assert hits.total("signup", since="7d") == 17
        assert hits.total("signup", since="7d", tags={"city": 0}) == 6
        metrics = {one.name: one for one in hits.metrics()}
        assert set(metrics) == {"signup", "visit"}
        assert metrics["signup"].kinds == ("counter",) and metrics["signup"].series == 4
        assert abs(metrics["signup"].last_seen - begun) < timedelta(hours=2)
        assert hits.drop("signup") > 4
        assert hits.total("signup", since="7d") == 0 and hits.total("visit", since="7d") == 1
        assert [one.name for one in hits.metrics()] == ["visit"]


@pytest.mark.everywhere
def test_a_late_event_is_where_its_own_time_says(
    hf: Holdfast, topology: str, transport: str, server_kind: str
):
    with make(hf, tz="Europe/Berlin") as hits:
        now = clock(hits)
        hits.count("sold", 3, at=now - timedelta(hours=30))
        hits.count("sold", 4, at=now - timedelta(days=60))
        hits.count("sold", 5, at=now - timedelta(days=1000))
        hits.count("sold", 6, at=now - timedelta(days=4000))
        assert sum(values(hits.query("sold", "1d", since=now - timedelta(days=1800)))) == 12
        assert sum(values(hits.query("sold", "1h", since=now - timedelta(days=80)))) == 7
        hours = hits.query(
            "sold", "1h", since=now - timedelta(hours=30), until=now - timedelta(hours=29, minutes=59)
        )
        assert hours[0].value == 3
        assert hours[0].start <= now - timedelta(hours=30) < hours[0].start + timedelta(hours=1)
        assert hours[0].start.utcoffset() in (timedelta(hours=1), timedelta(hours=2))
        assert sum(values(hits.query("sold", "1m", since="2d"))) == 3
        assert hits.stats().late == 1 and hits.stats().pending == 0


# --- queries ------------------------------------------------------------------------------------------------


def test_points_follow_each_other_without_a_gap(hf: Holdfast):
    with make(hf, tz="America/New_York") as hits:
        now = clock(hits)
        for days in (1, 5, 9):
            hits.count("x", days, at=now - timedelta(days=days))
        points = hits.query("x", "1d", since="10d")
        assert [one.start for one in points] == sorted({one.start for one in points}) and len(points) == 11
        assert all((one.start.hour, one.start.minute) == (0, 0) for one in points)
        assert sorted(values(points)) == [0] * 8 + [1, 5, 9]
        assert isinstance(points[0], Point) and points[-1].start <= now < points[-1].start + timedelta(
            days=1, hours=1
        )
        assert len(hits.query("x", since="1h")) in (60, 61, 62), "the finest"
        assert len(hits.query("x", since="80d")) in (80 * 24 + 1, 80 * 24 + 2)
        month = hits.query("x", "1m", since="30d")
        assert 43_200 <= len(month) <= 43_202


def test_records_are_rows_of_a_table(hf: Holdfast):
    with make(hf) as hits:
        hits.count("x", 2, tags={"plan": "pro", "city": "Ulm"})
        hits.count("x", 3, tags={"plan": "free"})
        rows = [row for row in hits.records("x", "1d", since="1s", by="plan") if row["value"]]
        assert [(row["plan"], row["value"]) for row in rows] == [("free", 3), ("pro", 2)]
        rows = [row for row in hits.records("x", "1d", since="1s", by=("plan", "city")) if row["value"]]
        assert [(row["plan"], row["city"], row["value"]) for row in rows] == [
            ("free", None, 3),
            ("pro", "Ulm", 2),
        ]
        plain = [row for row in hits.records("x", "1d", since="1s") if row["value"]]
        assert [set(row) for row in plain] == [{"start", "value"}] and plain[0]["start"].tzinfo is not None


def test_a_period_is_compared_with_the_one_before(hf: Holdfast):
    with make(hf) as hits:
        now = clock(hits)
        end = now.replace(hour=0, minute=0, second=0, microsecond=0)
        for days, n in ((1, 30), (2, 20), (3, 40), (9, 100)):
            hits.count("x", n, at=end - timedelta(days=days) + timedelta(hours=5))
        assert hits.compare("x", since=end - timedelta(days=2), until=end) == (50, 40, 0.25)
        assert hits.compare("x", since=end - timedelta(days=20), until=end) == (190, 0, None)


def test_only_the_metric_that_is_dropped_is_gone(hf: Holdfast):
    """found: a name that is a pattern; what this process remembers of the metric."""
    with make(hf) as hits:
        for metric in ("a*", "ab", "a[b]", "a", "a:counter"):
            hits.count(metric, tags={"plan": "pro"})
        assert hits.drop("a*") == 8  # the counts and their totals, the series, the memo
        assert hits.drop("a") == 8 and hits.drop("nothing") == 0
        assert [one.name for one in hits.metrics()] == ["a:counter", "a[b]", "ab"]
        hits.count("a", 5, tags={"plan": "pro"})
        assert hits.total("a", since="1h", tags={"plan": "pro"}) == 5
        assert [one.series for one in hits.metrics()] == [1, 1, 1, 1]
        written = hf.execute("GET", hits._layout.settings)
        assert rules.options_of(written.decode()).difference(hits.options) == ""


def test_rates(hf: Holdfast):
    with make(hf) as hits:
        now = clock(hits)
        at = now - timedelta(hours=3)
        hits.count("x", 7200, at=at)
        points = hits.query("x", "1h", since=at, until=at + timedelta(milliseconds=1), rate=True)
        assert values(points) == [2.0]


def test_numbers_are_exact_and_negative_ones_subtract(hf: Holdfast):
    with make(hf) as hits:
        for _ in range(5):
            hits.count("x", 2**53)
        hits.count("x", -3)
        assert hits.total("x", since="1h") == 5 * 2**53 - 3
        for _ in range(10):
            hits.count("x", -(2**52))
        hits.count("x", 0)
        assert hits.total("x", since="1h") == -3


def test_bad_input_is_refused_in_words(hf: Holdfast):
    with make(hf) as hits:
        now = clock(hits)
        for bad in (1.5, True, "1", None, 2**53 + 1, -(2**53) - 1):
            with pytest.raises(ConfigurationError, match="n="):
                hits.count("x", bad)  # type: ignore[arg-type]
        for bad_metric in ("", 7, None, ["x"]):
            with pytest.raises(ConfigurationError, match="metric"):
                hits.count(bad_metric)  # type: ignore[arg-type]
        for bad_tags in ("plan", ["plan"], {"plan": None}, {"plan": ["x"]}, {"": 1}):
            with pytest.raises(ConfigurationError, match="tags"):
                hits.count("x", tags=bad_tags)  # type: ignore[arg-type]
        for bad_at in (now.replace(tzinfo=None), 5, "now"):
            with pytest.raises(ConfigurationError, match="at="):
                hits.count("x", at=bad_at)  # type: ignore[arg-type]
        hits.count("x")
        hits.flush()
        with pytest.raises(ConfigurationError, match="future"):
            hits.count("x", at=now + timedelta(days=2))
        with pytest.raises(ConfigurationError, match="resolution"):
            hits.query("x", "7m", since="1h")
        with pytest.raises(ConfigurationError, match="not before"):
            hits.query("x", "1m", since="1h", until="2h")
        with pytest.raises(ConfigurationError, match="by="):
            hits.query("x", "1m", since="1h", by=())
        assert hits.total("x", since="1h") == 1


# --- the buffer ---------------------------------------------------------------------------------------------


def test_counting_talks_to_nobody_and_is_written_in_the_background(hf: Holdfast):
    """found: a background that sleeps through its first event."""
    with make(hf, flush="20ms") as hits:
        for _ in range(3):
            before = hits.stats().flushes
            for _ in range(100):
                hits.count("x")
            give_up = monotonic() + 20
            while hits.stats().pending:
                assert monotonic() < give_up, "nobody has written it"
                sleep(0.005)
            assert hits.stats().flushes > before
        assert hits.total("x", since="1h") == 300
        assert hits.stats().flushes < 300


def test_combinations_of_tags_beyond_the_limit_are_counted_as_others(hf: Holdfast):
    observer = Observer(hf)
    with make(hf, max_series=10) as hits, make(hf, max_series=10) as second:
        for number in range(8):
            hits.count("x", tags={"user": f"{number:02}"})
        hits.flush()
        for number in range(5, 50):
            second.count("x", tags={"user": f"{number:02}"})
        second.flush()
        for number in range(50):
            second.count("x", tags={"user": f"{number:02}"})
        found = second.query("x", "1d", since="1s", by="user")
        counts = {key: sum(values(points)) for key, points in found.items()}
        assert len(counts) == 11 and sum(counts.values()) == 8 + 45 + 50
        assert counts["(other)"] == 2 * 40
        assert second.total("x", since="1h") == 103
        assert second.total("x", since="1h", tags={"user": "05"}) == 3
        assert [(one.metric, one.max_series) for one in observer.of(rules.SeriesOverflow)] == [("x", 10)]
        (metric,) = hits.metrics()
        assert metric.series == 11


def test_a_full_buffer_makes_wait_and_then_refuses(hf: Holdfast):
    """found: refusing what needs no more room; a wait that nobody ends."""
    with make(hf, flush="1m", max_pending=10, wait="20s") as hits:
        for number in range(25):
            hits.count(f"m{number}")
        assert hits.stats().flushes >= 2, "being full wakes the background"
        hits.flush()
        assert len(hits.metrics()) == 25
    with make(hf, "second", flush="1m", max_pending=10, on_full="raise") as hits:
        hits._flusher.hurry = lambda: None  # type: ignore[method-assign]
        now = clock(hits)
        for number in range(10):
            hits.count(f"m{number}", at=now)
        with pytest.raises(Overloaded, match="max_pending=10"):
            hits.count("m10")
        hits.count("m3", 4, at=now)
        hits.flush()
        hits.count("m10")
        assert hits.total("m3", since="1h") == 5 and len(hits.metrics()) == 11
    with make(hf, "third", flush="1m", max_pending=10, on_full="drop_oldest") as hits:
        hits._flusher.hurry = lambda: None  # type: ignore[method-assign]
        now = clock(hits)
        for hours in range(15):
            hits.count("x", at=now - timedelta(hours=30 - hours))
        assert hits.stats().pending <= 10
        assert hits.total("x", since="29h") == 15 - hits.stats().dropped
        points = [one for one in hits.query("x", "1h", since="40h") if one.value]
        assert points[-1].start > now - timedelta(hours=17), "the latest ones stay"
        assert hits.stats().dropped >= 5


def test_close_writes_what_is_there_and_takes_no_more(hf: Holdfast):
    """found: an event that the hot path takes after the last flush."""
    with make(hf, flush="1m") as hits:
        for _ in range(7):
            hits.count("x")
        hits._aclose(10.0)
        assert hits.stats().pending == 0
        with pytest.raises(Closed):
            hits.count("x")
        with pytest.raises(Closed):
            hits.count("y", tags={"plan": "pro"})
    with make(hf) as again:
        assert again.total("x", since="1h") == 7


def test_many_at_once_lose_nothing(hf: Holdfast):
    with make(hf, flush="2ms") as hits:

        def work() -> None:
            for number in range(400):
                hits.count("x", tags={"n": number % 5} if number % 2 else None)
                if number % 100 == 0:
                    sleep(0.001)

        gather([work] * 8)
        assert hits.total("x", since="1h") == 3200
        assert hits.total("x", since="1h", tags={"n": 3}) == 8 * 40


def test_a_server_that_is_away_makes_a_query_fail_and_a_count_not(
    hf: Holdfast, faults: Any, namespace: str
):
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as far, make(far) as hits:
        hits.count("x")
        hits.flush()
        faults.refuse()
        faults.cut()
        for _ in range(10):
            hits.count("x")
        with pytest.raises(Unavailable):
            hits.query("x", "1h", since="1h")
        assert hits.stats().failures >= 1 and hits.stats().pending >= 1
        hits.count("x", 5)
        faults.heal()
        give_up = monotonic() + 20
        while hits.stats().pending:
            assert monotonic() < give_up
            sleep(0.01)
        assert hits.total("x", since="1h") == 16
