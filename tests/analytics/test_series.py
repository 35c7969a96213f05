"""Keys, tags, and what a flush makes of events, without a server."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast._wire.keys import Keys
from holdfast.analytics import layout, rules
from holdfast.analytics.buckets import DAY
from holdfast.analytics.counters import COUNTER, MOST, answers, questions, span
from holdfast.analytics.kinds import Gathered
from holdfast.analytics.layout import OTHER, REST, Layout, Place, series_of
from holdfast.analytics.options import AnalyticsOptions
from holdfast.analytics.window import Steps

TAGS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8) | st.integers(), max_size=4)


@settings(max_examples=150)
@given(TAGS, TAGS)
def test_tags_are_read_back_as_they_were_given_and_never_mixed_up(one: dict[str, Any], two: dict[str, Any]):
    said = {name: str(value) for name, value in one.items()}
    series = series_of(tuple(one.items()))
    assert layout.tags_of(series) == said
    assert series_of(tuple(reversed(one.items()))) == series, "whatever their order"
    other = {name: str(value) for name, value in two.items()}
    assert (series_of(tuple(two.items())) == series) == (said == other)
    if said:
        matches = layout.matches(series, layout.wanted(two))
        assert matches == (other.items() <= said.items())
        assert layout.group(series, tuple(other)) == tuple(said.get(name) for name in other)
    assert not layout.matches(OTHER, layout.wanted({"plan": "pro"}))
    assert layout.group(OTHER, ("plan", "city")) == (REST, REST)
    assert series != OTHER


def test_what_cannot_be_a_tag_or_a_metric_is_refused_in_words():
    for bad in (
        {"": "x"},
        {1: "x"},
        {"a": None},
        {"a": 1.5},
        {"a": "x" * 201},
        {"a": b"x"},
        {f"t{n}": "x" for n in range(17)},
    ):
        with pytest.raises(ConfigurationError, match="tags"):
            series_of(tuple(bad.items()))
    for bad_metric in ("", None, 7, "x" * 201, "a\0b"):
        with pytest.raises(ConfigurationError, match="metric"):
            layout.check_metric(bad_metric)
    for bad_by in ((), "", 7, ("plan", 3)):
        with pytest.raises(ConfigurationError, match="by="):
            layout.names(bad_by)
    assert layout.names("plan") == layout.names(["plan"]) == ("plan",)
    assert series_of((("new", True),)) == series_of((("new", 1),)) == "new=1"


def test_keys_of_a_metric_share_a_slot_and_are_told_apart():
    place = Layout(Keys("ns"), "shop").place("sign{u}p", "me")
    key = place.key("counter", "plan=pro", "1m", 60)
    assert key == "ns:1:analytics:shop:{sign%7Bu%7Dp}:counter:1m:60:plan=pro"
    assert place.own("counter", "series") == "ns:1:analytics:shop:{sign%7Bu%7Dp}:counter/series"
    assert place.memo("counter") == "ns:1:analytics:shop:{sign%7Bu%7Dp}:counter/memo:me"


# --- folding ------------------------------------------------------------------------------------------------

NOW = 1792886400 + 5400  # the hour that comes twice in Berlin


class Model:
    """What buckets should hold: each event in the bucket of each resolution that its own time lies in."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.counts: Counter[tuple[str, str, datetime]] = Counter()

    def count(self, at: float, n: int, series: str) -> None:
        when = datetime.fromtimestamp(at, self.zone)
        minute = datetime.fromtimestamp(at // 60 * 60, self.zone)
        hour = datetime.fromtimestamp((at // 60 - when.minute) * 60, self.zone)
        day = when.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        ends = (minute.timestamp() + 60, hour.timestamp() + 3600, (day + timedelta(days=1)).timestamp())
        keeps = (2 * DAY, 90 * DAY, 5 * 365 * DAY)
        if at - NOW > DAY:
            return
        for name, start, end, keep in zip(("1m", "1h", "1d"), (minute, hour, day), ends, keeps, strict=True):
            if end + keep > NOW:
                for one in {"", series}:
                    self.counts[(name, one, start.astimezone(UTC))] += n


def stored(calls: list[Any], place: Place, memory: dict[str, int]) -> Counter[tuple[str, str, datetime]]:
    """What the calls of counters leave on a server; notes how long each hash is kept."""
    found: Counter[tuple[str, str, datetime]] = Counter()
    for number, call in enumerate(calls, 1):
        assert call.args[0] == number and call.keys[0] == place.memo("counter")
        at = 2
        fields = 0
        for key in call.keys[1:]:
            ttl, size = call.args[at], call.args[at + 1]
            name, chunk, series = key.removeprefix(place.base + ":counter:").split(":")
            memory[key] = max(memory.get(key, 0), ttl)
            for field, n in zip(
                call.args[at + 2 : at + 2 + 2 * size : 2],
                call.args[at + 3 : at + 3 + 2 * size : 2],
                strict=True,
            ):
                assert 0 <= field < span(name)
                found[(name, series, datetime.fromtimestamp(int(chunk) + field, UTC))] += n
            at += 2 + 2 * size
            fields += size
        assert at == len(call.args) and 0 < fields <= MOST + span("1m")
    return found


EVENTS = st.lists(
    st.tuples(
        st.integers(-(2**31), 2 * DAY) | st.integers(-3 * DAY, DAY) | st.integers(-100 * DAY, 0),
        st.integers(-5, 2**53),
        st.sampled_from(["", "plan=free", "plan=pro", OTHER]),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(EVENTS, st.sampled_from(["Europe/Berlin", "UTC", "Asia/Kolkata", "America/New_York"]))
def test_each_event_is_in_the_bucket_of_each_resolution_that_still_holds_it(events, name: str):
    """found: totals without what has tags; minutes that are not kept any more; buckets by UTC."""
    zone = ZoneInfo(name)
    calendar = AnalyticsOptions(tz=zone).calendar()
    model = Model(zone)
    gathered = []
    late = 0
    for ago, n, series in events:
        at = NOW + ago
        model.count(at, n, series)
        cell, _ = calendar.cell(at)
        aggregate = COUNTER.fresh()
        COUNTER.add(aggregate, None, n)
        gathered.append((series, Gathered(cell, (), aggregate, 1)))
        late += (
            at > NOW + DAY + 60
            or calendar.end(calendar.resolutions[-1], calendar.start(calendar.resolutions[-1], at))
            + 5 * 365 * DAY
            <= NOW
        )
    place = Layout(Keys("ns"), "shop").place("signup", "me")
    numbers = iter(range(1, 1000))
    folded = rules.fold(calendar, gathered, NOW)
    memory: dict[str, int] = {}
    found = stored(COUNTER.calls(place, folded.cells, lambda: next(numbers)), place, memory)
    expected = {key: n for key, n in model.counts.items() if n}
    close = [ago for ago, _, _ in events if DAY - 60 < ago <= DAY + 60]
    if not close:
        assert {key: n for key, n in found.items() if n} == expected
        assert folded.late == late
    for resolution, series, start in found:
        length = span(resolution)
        at = int(start.timestamp())
        key = place.key("counter", series, resolution, at - at % length)
        ends = calendar.end(calendar.named(resolution), at) + calendar.named(resolution).keeps
        assert NOW + memory[key] / 1000 >= ends, "kept for as long as was said"


def test_many_buckets_are_written_by_several_calls():
    place = Layout(Keys("ns"), "shop").place("signup", "me")
    calendar = AnalyticsOptions().calendar()
    gathered = [(f"n={n}", Gathered(NOW // 60 * 60, (), [1], 1)) for n in range(MOST)]
    numbers = iter(range(1, 1000))
    folded = rules.fold(calendar, gathered, NOW)
    calls = COUNTER.calls(place, folded.cells, lambda: next(numbers))
    assert len(calls) >= 3
    found = stored(calls, place, {})
    assert sum(found.values()) == 2 * 3 * MOST


def test_questions_and_answers_fit_each_other():
    place = Layout(Keys("ns"), "shop").place("signup", "me")
    starts = list(range(60 * span("1m") - 120, 62 * span("1m"), 60))
    asked = questions(place, "1m", starts, ["a=1", "a=2"])
    assert len(asked) == 2 * 3, "a month of minutes is some ninety of them"
    replies: list[Any] = [{b"0": b"1"}, [b"60", b"5"], {}, {}, {b"60": b"7"}, {}]
    first = 59 * span("1m")
    assert answers(replies, "1m", starts) == {first: 1, first + span("1m") + 60: 12}
    assert questions(place, "1m", [], ["a=1"]) == [] and answers([], "1m", []) == {}


def test_rates_are_per_second_that_is_over():
    calendar = AnalyticsOptions().calendar()
    steps = Steps(None, [""], "1m", [NOW - 60, NOW, NOW + 60])  # type: ignore[arg-type]
    assert rules.per_second(calendar, steps, [120, 30, 0], NOW + 15.0) == [2.0, 2.0, 0.0]


def test_settings_are_read_back():
    options = AnalyticsOptions(resolutions={"5m": "3d", "1d": "2y"}, tz="Europe/Berlin")
    again = rules.options_of(rules.settings(options))
    assert options.difference(again) == "" and again.calendar().resolutions == options.calendar().resolutions
    fixed = AnalyticsOptions(tz=timezone(timedelta(hours=-3, minutes=-30)))
    assert fixed.difference(rules.options_of(rules.settings(fixed))) == ""
    for bad in (
        "",
        "{}",
        '{"resolutions": {"7m": 5}, "tz": "UTC"}',
        '{"resolutions": {"1m": 5}, "tz": "UTC+26:00"}',
    ):
        with pytest.raises(ConfigurationError):
            rules.options_of(bad)


def test_since_and_until():
    now = 1_000_000.0
    assert rules.before("1h", "since", now) == now - 3600
    assert rules.before(timedelta(minutes=1), "since", now) == now - 60
    assert rules.before(datetime.fromtimestamp(5, UTC), "since", now) == 5
    for bad in (datetime(2026, 1, 1), None, True, "soon", -5, [1]):  # noqa: DTZ001
        with pytest.raises(ConfigurationError, match="since"):
            rules.before(bad, "since", now)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="not before"):
        rules.check_span(5, 5)
    calendar = AnalyticsOptions().calendar()
    assert rules.resolution(calendar, None, now - 3600, now, now).name == "1m"
    assert rules.resolution(calendar, None, now - 3 * DAY, now, now).name == "1h"
    assert rules.resolution(calendar, None, now - 91 * DAY, now, now).name == "1d"
    assert rules.resolution(calendar, None, now - 10_000 * DAY, now, now).name == "1d"
    bad_name: Any
    for bad_name in ("2h", 7, []):
        with pytest.raises(ConfigurationError, match="1m"):
            rules.resolution(calendar, bad_name, 0, 1, now)
    with pytest.raises(ConfigurationError, match="shorter"):
        rules.resolution(calendar, "1m", 0, 10**9, now)
