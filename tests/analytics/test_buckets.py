"""Buckets of time against what clocks on the wall say, in zones with every kind of change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast.analytics.buckets import DAY, HOUR, WEEK, Calendar, Resolution
from holdfast.analytics.options import AnalyticsOptions

# Half an hour, midnight skipped, midnight twice, a day left out, quarters of an hour, and none of it.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Atlantic/Azores",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "America/Havana",
    "Africa/Cairo",
]
STEPS = [1, 10, 60, 300, 900, 1800, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 8 * HOUR, 12 * HOUR, DAY, WEEK]
YEARS = st.integers(946684800, 2051222400)

zones = st.sampled_from(ZONES).map(ZoneInfo)


def changes(zone: ZoneInfo) -> list[int]:
    """Where the clock of a zone was set, to the hour, in 2011."""
    hours = range(1293840000, 1325548800, HOUR)
    offsets = [datetime.fromtimestamp(at, zone).utcoffset() for at in hours]
    return [at for at, one, two in zip(hours, offsets, offsets[1:], strict=False) if one != two]


CHANGES = {name: changes(ZoneInfo(name)) for name in ZONES}


@st.composite
def moments(draw: st.DrawFn) -> tuple[ZoneInfo, float]:
    """A zone, and a time in it: often close to a change of its clock."""
    name = draw(st.sampled_from(ZONES))
    close = st.integers(-2 * DAY, 2 * DAY)
    near = st.tuples(st.sampled_from(CHANGES[name]), close).map(sum) if CHANGES[name] else YEARS
    return ZoneInfo(name), draw(near | YEARS) + draw(st.sampled_from([0.0, 0.25]))


@settings(max_examples=250)
@given(moments(), st.sampled_from(STEPS))
def test_each_moment_lies_in_one_bucket_and_buckets_follow_each_other(where, step: int):
    """found: a day that was left out as the day of its own first moment; a wall time past its day's end."""
    zone, at = where
    one = Resolution("x", step, 1)
    calendar = Calendar([one], zone)
    start = calendar.start(one, at)
    end = calendar.end(one, start)
    assert start <= at < end
    assert calendar.start(one, start) == calendar.start(one, end - 1) == start, "one bucket"
    assert calendar.start(one, end) == end, "the next begins where it ends"
    assert end - start <= (step if step <= HOUR else step + DAY // 8)
    if step <= HOUR:
        day = calendar.day(at)
        assert (start - day.start) % step == 0
        assert end - start == step or end == day.end
    elif step < DAY:
        assert calendar.day(start) == calendar.day(end - 1), "within a day"


@settings(max_examples=120)
@given(st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"]).map(ZoneInfo), YEARS)
@example(ZoneInfo("Europe/Berlin"), 1774746000)  # 29 March 2026, 02:00 does not exist
@example(ZoneInfo("Europe/Berlin"), 1792886400)  # 25 October 2026, 02:00 comes twice
def test_buckets_begin_where_the_clock_on_the_wall_says(zone: ZoneInfo, at: int):
    wall = datetime.fromtimestamp(at, zone)
    for step in STEPS:
        one = Resolution("x", step, 1)
        start = datetime.fromtimestamp(Calendar([one], zone).start(one, at), zone)
        if step <= HOUR:
            into = wall.minute * 60 + wall.second
            assert start == (wall.astimezone(UTC) - timedelta(seconds=into % step)).astimezone(zone)
        elif step < DAY:
            hours = step // HOUR
            assert (start.hour, start.minute) == (wall.hour // hours * hours, 0) or start.hour in (3, 4)
            assert start.date() == wall.date()
        else:
            assert (start.hour, start.minute, start.second) == (0, 0, 0)
            assert start.date() == wall.date() - timedelta(days=wall.weekday() if step == WEEK else 0)


@settings(max_examples=80)
@given(moments(), st.lists(st.sampled_from(STEPS), min_size=1, max_size=4, unique=True))
def test_within_a_cell_every_resolution_has_one_bucket(where, steps: list[int]):
    zone, at = where
    calendar = Calendar([Resolution(f"{step}s", step, 1) for step in steps], zone)
    start, end = calendar.cell(at)
    assert start <= at < end
    for one in calendar.resolutions:
        assert calendar.start(one, start) == calendar.start(one, at) == calendar.start(one, end - 1)
    assert any(calendar.start(one, end) == end for one in calendar.resolutions), "no shorter than need be"
    assert any(calendar.start(one, start) == start for one in calendar.resolutions)


@settings(max_examples=80)
@given(moments(), st.sampled_from(STEPS), st.integers(1, 400), st.floats(0.01, 1))
def test_the_starts_of_a_period_are_those_of_its_buckets(where, step: int, count: int, share: float):
    zone, since = where
    one = Resolution("x", step, 1)
    calendar = Calendar([one], zone)
    until = since + count * step * share
    expected = [calendar.start(one, since)]
    while (end := calendar.end(one, expected[-1])) < until:
        expected.append(end)
    assert calendar.starts(one, since, until) == expected


@settings(max_examples=120)
@given(moments(), st.integers(1, 40 * DAY), st.sampled_from(["UTC", "day", "hour"]), st.integers(0, 60 * DAY))
def test_a_cover_holds_all_of_a_period_and_hardly_more(where, length: int, edge: str, ago: int):
    """found: a coarse bucket that reaches beyond the end; a finer one that is not kept any more."""
    zone, since = where
    minutes, hours, days = (
        Resolution("1m", 60, 2 * DAY),
        Resolution("1h", HOUR, 10 * DAY),
        Resolution("1d", DAY, 90 * DAY),
    )
    calendar = Calendar([minutes, hours, days], zone)
    if edge != "UTC":
        since = calendar.start(days if edge == "day" else hours, since)
    until = since + length
    now = until + ago
    cover = calendar.cover(since, until, now)
    at = begin = max(since, now - days.keeps)  # what is older, nothing holds any more
    for resolution, start in cover:
        end = calendar.end(resolution, start)
        assert start <= at < end, "no hole"
        assert calendar.holds(resolution, end, now) or resolution is days
        at = end
    assert at >= until
    ends = {one: calendar.end(one, calendar.start(one, begin)) for one in calendar.resolutions}
    kept = [one for one, end in ends.items() if calendar.holds(one, end, now)] or [days]
    assert not cover or begin - cover[0][1] < kept[0].step
    assert len(cover) <= 2 * (59 + 23) + length // DAY + 3 or kept[0] is minutes or len(cover) < 200


def test_a_long_period_is_covered_by_few_buckets():
    calendar = AnalyticsOptions().calendar()
    now = 1764187380.0
    cover = calendar.cover(now - 30 * DAY, now, now)
    assert len(cover) < 29 + 2 * (24 + 60)
    assert sum(calendar.end(one, start) - start for one, start in cover) < 30 * DAY + HOUR


def test_what_cannot_be_a_resolution_is_refused_in_words():
    bad: Any
    for bad in (
        {},
        [],
        {"7m": "1d"},
        {"2d": "9d"},
        {"0.5s": "1d"},
        {"1m": "2d", "60s": "3d"},
        {1: "2d"},
        {"1h": "1d", "1m": "2d"},
        {"1m": 0.5},
        {"1m": "soon"},
    ):
        with pytest.raises(ConfigurationError, match="resolutions|1m"):
            AnalyticsOptions(resolutions=bad)  # type: ignore[arg-type]
    assert [one.keeps for one in AnalyticsOptions().calendar().resolutions] == [
        2 * DAY,
        90 * DAY,
        5 * 365 * DAY,
    ]
    for bad_zone in ("Europe/Atlantis", "", "../x", 7):
        with pytest.raises(ConfigurationError, match="time zone"):
            AnalyticsOptions(tz=bad_zone)  # type: ignore[arg-type]
    for name, value in (
        ("flush", "2m"),
        ("max_pending", 0),
        ("max_series", True),
        ("on_full", "explode"),
        ("wait", -1),
    ):
        with pytest.raises(ConfigurationError, match=name):
            AnalyticsOptions(**{name: value})  # type: ignore[arg-type]
    one, two = (
        AnalyticsOptions(),
        AnalyticsOptions(resolutions={"60s": "2d", "1h": "90d", "1d": "5y"}, tz=ZoneInfo("UTC")),
    )
    assert one.difference(AnalyticsOptions(resolutions={"1m": "48h", "1h": "90d", "1d": "5y"})) == ""
    assert "resolutions" in one.difference(two) and "tz" not in one.difference(two)
