"""Counters on a real server against plain dictionaries, whatever time events have."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import Holdfast
from tests.analytics.world import analytics

DAY = 86_400
KEEPS = {"1m": 2 * DAY, "1h": 90 * DAY, "1d": 5 * 365 * DAY}

EVENTS = st.lists(
    st.tuples(
        st.none()
        | st.integers(0, 3 * DAY)
        | st.integers(0, 100 * DAY)
        | st.integers(0, 2000 * DAY)
        | st.integers(-DAY + 600, 0),
        st.integers(-3, 10),
        st.fixed_dictionaries(
            {}, optional={"plan": st.sampled_from(["pro", "free"]), "city": st.integers(1, 3)}
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)


def start_of(resolution: str, at: float, zone: ZoneInfo) -> datetime:
    """Where a bucket begins, by the clock on the wall."""
    wall = datetime.fromtimestamp(at, zone)
    if resolution == "1d":
        return wall.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    into = wall.second + wall.microsecond / 1e6 + (wall.minute * 60 if resolution == "1h" else 0)
    return datetime.fromtimestamp(round(at - into), zone)


def length_of(resolution: str, start: datetime) -> float:
    if resolution == "1d":
        return (start + timedelta(days=1)).timestamp() - start.timestamp()
    return {"1m": 60, "1h": 3600}[resolution]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]))
def test_every_query_agrees_with_a_plain_dictionary(hf: Holdfast, events: list[Any], name: str):
    """found: buckets by UTC; an event that leaves the resolutions which do not hold it any more."""
    zone = ZoneInfo(name)
    model: Counter[tuple[str, datetime, tuple[Any, ...]]] = Counter()
    with analytics(hf, f"a{time.monotonic_ns()}", tz=zone, flush="1m") as hits:
        hits.flush()
        whole, micros = hf.execute("TIME")
        now = int(whole) + int(micros) / 1e6
        for ago, n, tags, flush in events:
            moment = None if ago is None else datetime.fromtimestamp(now - ago, UTC)
            hits.count("x", n, tags=tags, at=moment)
            at = now if ago is None else now - ago
            for resolution, keeps in KEEPS.items():
                start = start_of(resolution, at, zone)
                left = start.timestamp() + length_of(resolution, start) + keeps - now
                if left > 0:
                    model[(resolution, start, tuple(sorted(tags.items())))] += n
            if flush:
                hits.flush()
        hits.flush()
        whole, _ = hf.execute("TIME")
        if int(whole) // 60 != int(now) // 60:
            return  # a minute has ended meanwhile: what came "now" may be in either
        queries: tuple[dict[str, Any], ...] = ({}, {"plan": "pro"}, {"plan": "free", "city": 1})
        end = datetime.fromtimestamp(now + DAY, UTC)
        for resolution, keeps in KEEPS.items():
            since = datetime.fromtimestamp(now - keeps - 2 * DAY, UTC)
            for wanted in queries:
                expected: Counter[datetime] = Counter()
                for (one, start, tags), n in model.items():
                    if one == resolution and wanted.items() <= dict(tags).items():
                        expected[start] += n
                points = hits.query("x", resolution, since=since, until=end, tags=wanted)
                found = {one.start.astimezone(UTC): one.value for one in points if one.value}
                assert found == {start.astimezone(UTC): n for start, n in expected.items() if n}
        by: Counter[Any] = Counter()
        for (one, _, tags), n in model.items():
            if one == "1d" and tags:
                by[dict(tags).get("plan")] += n
        groups = hits.query("x", "1d", since="2000d", until=end, by="plan")
        counts = {key: sum(one.value for one in points) for key, points in groups.items()}
        assert {key: n for key, n in counts.items() if n} == {key: n for key, n in by.items() if n}
