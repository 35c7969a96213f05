"""What can be asked for, and that it can be counted exactly."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast.limits import rules
from holdfast.limits.calendar import period
from holdfast.limits.measure import MOST
from holdfast.limits.options import Limit, LimiterOptions, agreed, spelled

MICROS = 1_000_000


@settings(max_examples=100)
@given(
    quota=st.integers(1, 10**9),
    burst=st.integers(1, 10**9),
    micros=st.integers(1, 10**13),
    algorithm=st.sampled_from(["gcra", "sliding"]),
)
def test_what_is_accepted_is_counted_exactly(quota: int, burst: int, micros: int, algorithm: Any):
    per = micros / MICROS
    try:
        limit = Limit(quota, per, algorithm=algorithm, burst=burst if algorithm == "gcra" else None)
    except ConfigurationError as error:
        assert "exactly" in str(error)
        return
    unit, window, token, drain, capacity = limit.measure
    assert unit * window == round(limit.window * MICROS)
    assert capacity == limit.most * token < MOST
    if algorithm == "gcra":
        assert Fraction(token * unit, drain) == Fraction(unit * window, quota), "the time per cost"


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        ((-1, "1s"), {}, "quota=-1"),
        ((1.5, "1s"), {}, "quota=1.5"),
        ((True, "1s"), {}, "quota=True"),
        ((1, 0), {}, "per=0"),
        ((1, "often"), {}, "per='often'"),
        ((1, 1e-7), {}, "per="),
        ((1, "1s"), {"burst": 0}, "burst=0"),
        ((0, "1s"), {"burst": 1}, "burst=1"),
        ((1, "1s"), {"burst": 2, "algorithm": "fixed"}, "burst=2"),
        ((1, "1s"), {"algorithm": "leaky"}, "algorithm='leaky'"),
        ((1, "month"), {"algorithm": "log"}, "algorithm='log'"),
        ((1, "month"), {"tz": "Mars/Base"}, "tz='Mars/Base'"),
        ((1, "month"), {"tz": "../etc"}, "tz="),
        ((1, "1s"), {"name": "a b"}, "name='a b'"),
        ((1, "1s"), {"name": "a|b"}, "name="),
        ((1, "1s"), {"name": ""}, "name="),
        ((10**6, "1s"), {"algorithm": "log"}, "quota=1000000"),
        ((2**52, "1s"), {"algorithm": "fixed"}, "exactly"),
        ((10**15 + 1, "1s"), {"burst": 2**52}, "exactly"),
    ],
)
def test_a_limit_that_makes_no_sense(arguments: Any, options: Any, told: str):
    with pytest.raises(ConfigurationError) as found:
        Limit(*arguments, **options)
    assert told in str(found.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limits": []}, "limits="),
        ({"limits": 7}, "limits=7"),
        ({"limits": [Limit(1, "1s"), Limit(2, "1s")]}, "two limits called '1s'"),
        ({"limits": [Limit(1, place + 1) for place in range(17)]}, "at most 16"),
        ({"deadline": 0}, "deadline=0"),
        ({"on_error": "panic"}, "on_error='panic'"),
        ({"local_share": 0}, "local_share=0"),
        ({"local_share": 2}, "local_share=2"),
        ({"breaker": 0}, "breaker=0"),
        ({"plans": {"a b": Limit(1, "1s")}}, "plan='a b'"),
        ({"plans": {"pro": []}}, "plans['pro']"),
    ],
)
def test_options_that_make_no_sense(options: Any, told: str):
    with pytest.raises(ConfigurationError) as found:
        LimiterOptions(**{"limits": Limit(1, "1s"), **options})
    assert told in str(found.value)


def test_other_options_are_told():
    one = LimiterOptions(limits=Limit(1, "1s"))
    assert one.difference(LimiterOptions(limits=[Limit(1, 1.0)], deadline=0.05, plans={})) == ""
    assert one.difference(LimiterOptions(limits=Limit(1, "1s"), shadow=True)) == "shadow=False, not True"


def test_how_limits_are_called():
    assert [spelled(one) for one in (86400, 7200, 60, 90, 0.25, 0.000_007)] == [
        "1d",
        "2h",
        "1m",
        "90s",
        "250ms",
        "7us",
    ]
    assert Limit(5, "month").label == "month"
    assert str(Limit(5, "1h", name="x")) == "5 per 1h"
    assert Limit(10, "1s", burst=3).scaled(0.25) == Limit(2, "1s", burst=1)
    assert Limit(3, "month").scaled(0.1) == Limit(1, "month")
    assert agreed(Limit(1, "1s")) == (Limit(1, "1s"),)


def test_limits_of_a_subjects_own_are_read_as_they_were_written():
    limits = (Limit(10, "1s", burst=3), Limit(0, "1h", shadow=True), Limit(7, 1.5, algorithm="log", name="x"))
    assert rules.own_limits(rules.own_text(limits).encode()) == limits
    with pytest.raises(ConfigurationError, match="calendar"):
        rules.own_text([Limit(1, "day")])
    for foreign in (b"", b"x", b"g 1s 1 1 1 1;|[]", rules.own_text(limits).encode() + b"x"):
        with pytest.raises(ValueError):  # noqa: PT011 (of several kinds)
            rules.own_limits(foreign)


ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia"]


@settings(max_examples=100)
@given(
    name=st.sampled_from(["day", "week", "month", "year"]),
    zone=st.sampled_from(ZONES),
    seconds=st.integers(10**9, 2 * 10**9),
)
def test_periods_of_the_calendar_follow_each_other(name: Any, zone: str, seconds: int):
    micros = seconds * MICROS + 123
    begin, end = period(name, zone, micros)
    assert begin <= micros < end
    assert period(name, zone, end)[0] == end
    assert period(name, zone, end - 1)[1] == end
    first = datetime.fromtimestamp(begin // MICROS, UTC).astimezone(ZoneInfo(zone))
    assert {"day": True, "week": first.weekday() == 0, "month": first.day == 1}.get(
        name, (first.month, first.day) == (1, 1)
    )


def test_a_day_may_have_23_hours_or_25():
    hour = 3600 * MICROS
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)):
        noon = datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()
        begin, end = period("day", "Europe/Berlin", int(noon) * MICROS)
        assert (end - begin) / hour == hours
