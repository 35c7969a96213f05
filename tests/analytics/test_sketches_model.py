"""Uniques, active users, tops and quantiles against exact models: sets, Counters, sorted lists.

Events fall into some days around a change of the clock and the end of a month; periods begin and end at any
minute. What is asked for is compared with what a list of all events says.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import Holdfast
from holdfast.analytics.buckets import Resolution
from holdfast.analytics.uniques import member as written
from tests.analytics.sketchbook import DAY, HOUR, Sketchbook

LONG = (
    Resolution("1m", 60, 40 * 86400),
    Resolution("1h", 3600, 90 * 86400),
    Resolution("1d", 86400, 1825 * 86400),
)
ZONES = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns")
BEGIN = datetime(2026, 10, 24, tzinfo=UTC).timestamp()  # the clocks of Europe change on the 25th
DAYS = 9  # the end of the month, and the change of the American clocks

model = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
moments = st.integers(0, int(DAYS * DAY) - 1)
minutes = st.integers(0, int(DAYS * DAY) // 60).map(lambda minute: BEGIN + 60.0 * minute)
zones = st.sampled_from(ZONES).map(ZoneInfo)
plans = st.sampled_from([None, {"plan": "pro"}, {"plan": "free"}, {"plan": "pro", "land": "at"}])
names: Iterator[int] = itertools.count()


def book(hf: Holdfast, zone: tzinfo = UTC, **more: Any) -> Sketchbook:
    now = BEGIN + DAYS * DAY
    return Sketchbook(hf, zone, now=now, resolutions=LONG, name=f"model{next(names)}", **more)


def period(data: st.DataObject) -> tuple[float, float]:
    one, two = data.draw(minutes), data.draw(minutes)
    return min(one, two), max(one, two)


def asked(plan: dict[str, str] | None) -> frozenset[tuple[str, str]]:
    return frozenset((plan or {}).items())


@given(data=st.data(), zone=zones)
@model
def test_uniques_of_any_period_and_tags_are_the_union_of_sets(
    hf: Holdfast, data: st.DataObject, zone: tzinfo
):
    hits = book(hf, zone)
    events = data.draw(st.lists(st.tuples(moments, st.integers(0, 40), plans), min_size=1, max_size=40))
    for moment, member, plan in events:
        hits.unique("visitors", member, tags=plan, at=hits.at(BEGIN + moment))
    hits.flush(data.draw(st.integers(1, 2)))
    for _ in range(6):
        begin, end = period(data)
        plan = data.draw(plans)
        exact = {
            member
            for moment, member, tags in events
            if begin <= BEGIN + moment < end and asked(plan) <= asked(tags)
        }
        found = hits.uniques("visitors", since=hits.at(begin), until=hits.at(end), tags=plan)
        assert abs(found - len(exact)) <= len(exact) // 20, "next to no error while they are few"


ids = st.one_of(
    st.integers(0, 20),
    st.sampled_from(
        [65535, 65536, 65537, 2**31, 2**32 - 1, 2**32, 2**64, -1, "1", "2", "=3", "ann", "%int(7)"]
    ),
)
bulks = st.tuples(st.sampled_from([0, 65000, 2**32 - 700]), st.integers(1, 600))


@given(data=st.data(), zone=zones)
@model
def test_actives_are_exact_whatever_the_ids_look_like(hf: Holdfast, data: st.DataObject, zone: tzinfo):
    hits = book(hf, zone)
    events: list[tuple[float, object]] = []
    for _ in range(data.draw(st.integers(1, 4))):  # so many flushes
        fresh = [(BEGIN + at, id) for at, id in data.draw(st.lists(st.tuples(moments, ids), max_size=15))]
        if data.draw(st.booleans()):  # many at once: a set becomes a bitmap
            late, (lowest, count) = data.draw(st.tuples(moments, bulks))
            fresh += [(BEGIN + late % DAY, id) for id in range(lowest, lowest + count)]
        for moment, id in fresh:
            hits.active("app", id, at=hits.at(moment))
        hits.flush(data.draw(st.integers(1, 2)))
        events += fresh

    def exact(begin: float, end: float) -> set[object]:
        return {id for moment, id in events if begin <= moment < end}

    for _ in range(4):
        first, then = period(data), period(data)
        assert hits.actives("app", since=hits.at(first[0]), until=hits.at(first[1])) == len(exact(*first))
        kept = hits.retained("app", _times(hits, first), _times(hits, then))
        assert kept == (len(exact(*first)), len(exact(*first) & exact(*then)))
        who = data.draw(ids)
        was = hits.was_active("app", who, since=hits.at(first[0]), until=hits.at(first[1]))
        assert was == (who in exact(*first))


def _times(hits: Sketchbook, period: tuple[float, float]) -> tuple[datetime, datetime]:
    return hits.at(period[0]), hits.at(period[1])


@given(data=st.data())
@model
def test_a_top_never_lies_about_its_bounds(hf: Holdfast, data: st.DataObject):
    hits = book(hf, capacity=data.draw(st.integers(1, 8)))
    rare = st.integers(0, 30).map(lambda rank: f"item{rank}")
    often = st.sampled_from(["item0", "item1", "item2"])
    times = data.draw(st.lists(moments, min_size=1, max_size=3))  # many of them in one bucket
    event = st.tuples(st.sampled_from(times), st.one_of(often, rare), st.integers(1, 9), plans)
    events = []
    for _ in range(data.draw(st.integers(1, 5))):
        for one in data.draw(st.lists(event, max_size=25)):
            events.append(one)
            moment, item, n, plan = one
            hits.top("searches", item, n, tags=plan, at=hits.at(BEGIN + moment))
        hits.flush(data.draw(st.integers(1, 2)))
    for begin, end in [(BEGIN, BEGIN + DAYS * DAY), period(data), period(data)]:
        plan = data.draw(plans)
        exact: Counter[str] = Counter()
        for moment, item, n, tags in events:
            if begin <= BEGIN + moment < end and asked(plan) <= asked(tags):
                exact[item] += n
        k = data.draw(st.integers(1, 40))
        found = hits.top_items("searches", k, since=hits.at(begin), until=hits.at(end), tags=plan)
        assert all(one.least <= exact[one.item] <= one.count for one in found)
        assert [one.count for one in found] == sorted((one.count for one in found), reverse=True)
        missing = exact.keys() - {one.item for one in found}
        if len(found) == k:
            assert all(exact[item] <= found[-1].count for item in missing)
        if len(exact) <= hits._top.capacity and not any(one.error for one in found):
            assert {one.item: one.count for one in found} == dict(exact.most_common(k)) or k < len(exact)


values = st.one_of(
    st.floats(-1e200, 1e200),
    st.floats(-10, 10),
    st.integers(-(10**6), 10**6),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-12, -1e-12, 1e-13, 1e200, -1e200, 101 / 99, (101 / 99) ** 2]),
)


@given(data=st.data(), zone=zones)
@model
def test_quantiles_are_within_one_percent_of_the_exact_ones(hf: Holdfast, data: st.DataObject, zone: tzinfo):
    hits = book(hf, zone)
    times = data.draw(st.lists(moments, min_size=1, max_size=3))  # many of them in one bucket
    event = st.tuples(st.sampled_from(times), values, st.integers(1, 3), plans)
    events = []
    for _ in range(data.draw(st.integers(1, 4))):
        for one in data.draw(st.lists(event, max_size=25)):
            events.append(one)
            moment, value, n, plan = one
            hits.observe("latency", value, n, tags=plan, at=hits.at(BEGIN + moment))
        hits.flush(data.draw(st.integers(1, 2)))
    asks = (0, 0.01, 0.25, 0.5, 0.9, 0.99, 1)
    for begin, end in [(BEGIN, BEGIN + DAYS * DAY), period(data), period(data)]:
        plan = data.draw(plans)
        exact = sorted(
            float(value)
            for moment, value, n, tags in events
            for _ in range(n)
            if begin <= BEGIN + moment < end and asked(plan) <= asked(tags)
        )
        found = hits.quantiles("latency", asks, since=hits.at(begin), until=hits.at(end), tags=plan)
        assert found.count == len(exact)
        if not exact:
            assert found.mean is None and set(found.values.values()) == {None}
            continue
        assert (found.lowest, found.highest) == (exact[0], exact[-1])
        assert found.total == pytest.approx(sum(exact), rel=1e-9, abs=1e-9 * sum(map(abs, exact)))
        for q in asks:
            true = exact[int(q * (len(exact) - 1))]
            told = found[q]
            assert told is not None and exact[0] <= told <= exact[-1]
            assert told == pytest.approx(true, rel=0.01 + 1e-9, abs=1e-12), q


def test_a_day_a_week_and_a_month_have_whole_days(hf: Holdfast):
    """found: weeks from Sunday on; months of 30 days; days of 24 hours."""
    zone = ZoneInfo("Europe/Berlin")
    hits = book(hf, zone)
    for day in range(24, 32):
        for id in range(day - 24 + 1):
            hits.active("app", id, at=datetime(2026, 10, day, 0, 0, 30, tzinfo=zone))
            hits.unique("app", id, at=datetime(2026, 10, day, 23, 59, 30, tzinfo=zone))
    hits.active("app", "new", at=datetime(2026, 11, 1, 0, 0, tzinfo=zone))
    hits.unique("app", "new", at=datetime(2026, 11, 1, 0, 0, tzinfo=zone))
    since, until = datetime(2026, 10, 24, 12, tzinfo=zone), datetime(2026, 11, 1, 12, tzinfo=zone)
    for by in (hits.actives_by, hits.uniques_by):
        days = by("app", "day", since=since, until=until)
        assert [point.value for point in days] == [1, 2, 3, 4, 5, 6, 7, 8, 1]
        assert days[1].start.isoformat() == "2026-10-25T00:00:00+02:00"
        assert days[2].start.isoformat() == "2026-10-26T00:00:00+01:00"
        weeks = by("app", "week", since=since, until=until)
        assert [(point.start.isoformat(), point.value) for point in weeks] == [
            ("2026-10-19T00:00:00+02:00", 2),
            ("2026-10-26T00:00:00+01:00", 9),
        ]
        months = by("app", "month", since=since, until=until)
        assert [(point.start.isoformat(), point.value) for point in months] == [
            ("2026-10-01T00:00:00+02:00", 8),
            ("2026-11-01T00:00:00+01:00", 1),
        ]
    assert hits.series("active", "app", "1d", since, until) == [1, 2, 3, 4, 5, 6, 7, 8, 1]
    assert hits.series("unique", "app", "1d", since, until) == [1, 2, 3, 4, 5, 6, 7, 8, 1]
    cohorts = hits.retention("app", "day", since=datetime(2026, 10, 28, tzinfo=zone), until=until)
    assert [(one.size, one.kept) for one in cohorts] == [
        (5, (5, 5, 5, 0)),
        (6, (6, 6, 0)),
        (7, (7, 0)),
        (8, (0,)),
        (1, ()),
    ]
    assert cohorts[0].rates == (1, 1, 1, 0)
    assert hits.actives("app", since=hits.at(BEGIN + HOUR), until=hits.at(BEGIN + HOUR)) == 0


@pytest.mark.parametrize("count", [1000, 5000, 20_000])
def test_the_error_of_uniques_is_that_of_the_sketch(hf: Holdfast, count: int):
    hits = book(hf)
    for number in range(count):
        hits.unique("visitors", number, at=hits.at(BEGIN + (0 if number < 5000 else number % (3 * DAY))))
    found = hits.uniques("visitors", since=hits.at(BEGIN), until=hits.at(BEGIN + 3 * DAY))
    assert abs(found - count) / count < 3 * 0.0081
    plain = hf.key("plain")
    for first in range(0, count, 500):
        hf.execute("PFADD", plain, *(written(number) for number in range(first, min(count, first + 500))))
    assert found == hf.execute("PFCOUNT", plain), "nobody is left out"
