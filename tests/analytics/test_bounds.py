"""What is refused at once, and what does not grow: whatever the names, times and metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import ConfigurationError, Holdfast
from holdfast.analytics import rules
from holdfast.analytics.buckets import Calendar, Resolution
from holdfast.analytics.tops import Top
from tests.analytics.world import analytics, values

LONE = "a\ud800"


@pytest.mark.parametrize(
    "call",
    [
        lambda hits: hits.count(LONE),
        lambda hits: hits.count("m", tags={"plan": LONE}),
        lambda hits: hits.count("m", tags={LONE: "pro"}),
        lambda hits: hits.unique("m", LONE),
        lambda hits: hits.active("m", LONE),
        lambda hits: hits.top("m", LONE),
    ],
)
def test_what_cannot_be_sent_is_told_to_its_caller_and_stops_no_flush(
    hf: Holdfast, call: Callable[[Any], Any]
):
    with analytics(hf) as hits:
        with pytest.raises(ConfigurationError, match="lone surrogate"):
            call(hits)
        hits.count("good")
        assert hits.total("good", since="1h") == 1
        assert hits.stats().failures == 0


@pytest.mark.parametrize("name", [LONE, "", 7])
def test_a_name_that_is_none_is_refused(hf: Holdfast, name: Any):
    with pytest.raises(ConfigurationError, match="name"):
        hf.analytics(name)


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin"])
def test_times_beyond_the_calendar_are_refused(hf: Holdfast, at: datetime, tz: str):
    with analytics(hf, resolutions={"1h": "1d", "7d": "70d"}, tz=tz) as hits:
        for ask in (
            lambda: hits.count("m", at=at),
            lambda: hits.query("m", since=at),
            lambda: hits.total("m", since="1h", until=at),
        ):
            with pytest.raises(ConfigurationError, match="1900 and 3000"):
                ask()


def test_a_long_time_is_no_more_work_than_what_is_kept():
    calendar = Calendar([Resolution("1s", 1, 3), Resolution("1m", 60, 120)], UTC)
    now = 1_800_000_000.5
    cover = calendar.cover(now - 1e9, now, now)
    assert len(cover) < 70
    assert cover[0][1] + 60 + 120 > now
    with pytest.raises(ConfigurationError, match="1000000 buckets"):
        rules.resolution(calendar, None, now - 1e9, now, now)


def test_series_and_settings_outlast_the_hour_after_which_they_are_noted_again(hf: Holdfast):
    """found: with resolutions kept for less, `by=` and `tags=` saw nothing until the process asked again."""
    with analytics(hf, resolutions={"1s": "5s"}) as hits:
        hits.count("m", tags={"plan": "pro"})
        hits.flush()
        for key in (hits._layout.settings, hits._flusher.place("m").own("counter", "series")):
            assert hf.execute("TTL", key) > rules.NOTED


def test_nothing_here_grows_with_the_number_of_metrics(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rules, "FEW", 10)
    monkeypatch.setattr(rules, "NOTED", 0.0)
    with analytics(hf, flush="1m") as hits:
        for some in range(4):
            for one in range(20):
                hits.count(f"user {some} {one}", tags={"plan": "pro"})
            hits.flush()
        flusher = hits._flusher
        held: tuple[Any, ...] = (flusher._noted, flusher._calls, flusher._taken, flusher._series._admitted)
        assert max(map(len, held)) <= 60
        hits.count("user 0 0", tags={"plan": "pro"})  # forgotten here: neither lost nor taken for a repeat
        assert values(hits.query("user 0 0", "1d", since="1s", by="plan")["pro"]) == [2]


def test_a_column_is_not_hidden_by_a_tag(hf: Holdfast):
    with analytics(hf) as hits, pytest.raises(ConfigurationError, match="'value'"):
        hits.records("m", since="1d", by=("plan", "value"))


@pytest.mark.parametrize(("capacity", "buckets"), [(10, 3200), (1000, 32), (100_000, 1)])
def test_no_script_reads_more_items_than_a_page(capacity: int, buckets: int):
    assert Top(capacity).page == buckets


def test_many_ids_are_drawn_exactly_beside_bitmaps_and_alone(hf: Holdfast):
    now = datetime.fromtimestamp(int(hf.execute("TIME")[0]), UTC).replace(minute=30)
    groups = [
        range(0, 1800, 3),
        range(0, 600, 2),
        range(0, 450, 3),
        range(65_400, 65_700),
    ]  # the first: a bitmap
    with analytics(hf, resolutions={"1h": "9d"}) as hits:
        for ago, ids in enumerate(groups):
            for one in ids:
                hits.active("m", one, at=now - timedelta(hours=ago + 1))
        hits.flush()

        def span(newest: int, oldest: int) -> tuple[datetime, datetime]:
            return now - timedelta(hours=oldest + 1), now - timedelta(hours=newest + 1) + timedelta(minutes=1)

        for newest, oldest in ((0, 3), (0, 1), (1, 2), (1, 3), (3, 3)):
            since, until = span(newest, oldest)
            expected = set().union(*groups[newest : oldest + 1])
            assert hits.actives("m", since=since, until=until) == len(expected)
            first = hits.retained("m", span(1, 2), (since, until))
            assert first == (375, len(expected & {*groups[1], *groups[2]}))
