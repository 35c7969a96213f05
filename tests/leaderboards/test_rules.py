"""Options, scores and ranks. Pure."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast.leaderboards import rules
from holdfast.leaderboards.options import LeaderboardOptions, Row, Season, Standing

BIG = 2**53
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.one_of(st.integers(-BIG, BIG), st.floats(-BIG, BIG)), st.sampled_from(["high", "low"]))
def test_a_score_comes_back_as_it_was(score: Any, order: Any):
    raw = rules.stored(score, order)
    assert raw != "-0" and not raw.startswith("-0.0e")
    back = rules.shown(raw.encode(), order)
    assert back == score
    assert isinstance(back, int) == (float(score).is_integer())
    assert (float(raw) > 0) == (score < 0 if order == "high" else score > 0), "the best first"


class Level(IntEnum):
    ONE = 1


def test_a_score_is_a_number_that_a_sorted_set_keeps():
    assert rules.stored(Level.ONE, "high") == "-1"
    for score in (BIG + 1, -BIG - 1, 1e300, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="between -2"):
            rules.stored(score, "high")
    for thing in (True, "7", None, 1j):
        with pytest.raises(ConfigurationError, match="must be an int or a float"):
            rules.stored(thing, "high")


def test_ranks_of_rows_that_follow_each_other():
    scores = [9, 9, 7, 5, 5, 5, 1]
    assert rules.ranked("competition", 4, 4, scores) == [4, 4, 7, 8, 8, 8, 11]
    assert rules.ranked("dense", 4, 3, scores) == [3, 3, 4, 5, 5, 5, 6]
    assert rules.ranked("ordinal", 4, 5, scores) == [*range(5, 12)]
    assert rules.ranked("first", 4, 5, scores) == [*range(5, 12)]
    assert rules.ranked("dense", 0, 1, []) == []


def test_chunks_keep_the_order_and_the_members_apart():
    items = [(f"m{number % 300}", "1", b"") for number in range(700)]
    for apart in (True, False):
        chunks = list(rules.chunks(items, apart=apart))
        assert [one for chunk in chunks for one in chunk] == items
        assert max(map(len, chunks)) == rules.CHUNK
    twice = [("a", "1", b""), ("b", "1", b""), ("a", "2", b"")]
    assert [len(one) for one in rules.chunks(twice, apart=True)] == [2, 1]
    assert [len(one) for one in rules.chunks(twice, apart=False)] == [3]
    assert list(rules.chunks([], apart=True)) == []


def test_members_are_text():
    assert rules.member_of("bob") == "bob"
    for member in ("", None, 7, b"bob", "x" * 1025, "\udc80"):
        with pytest.raises(ConfigurationError, match="member"):
            rules.member_of(member)


def test_percentiles_and_bounds():
    assert rules.percentile(0, 1) == 100 and rules.percentile(1, 3) == 50
    for percent in (-1, 100.1, float("nan"), True, "50"):
        with pytest.raises(ConfigurationError, match="percentile="):
            rules.share(percent)
    assert rules.bounds(1, 2, "high") == ("-2", "-1")
    assert rules.bounds(1, 2, "low") == ("1", "2")
    assert rules.bounds(None, float("inf"), "high") == ("-inf", "+inf")
    with pytest.raises(ConfigurationError, match="low=2"):
        rules.bounds(2, 1, "high")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ties": "modified"}, "ties='modified' must be one of \"competition\""),
        ({"order": "asc"}, "order="),
        ({"mode": "max"}, "mode="),
        ({"codec": "raw"}, "codec="),
        ({"periods": ()}, "periods="),
        ({"periods": 7}, "periods="),
        ({"periods": ("year",)}, "'year' in periods"),
        ({"periods": ("day", "day")}, "twice"),
        ({"tz": "Mars/Olympus"}, "tz='Mars/Olympus'"),
        ({"tz": None}, "tz="),
        ({"keep": 0}, "keep=0"),
        ({"keep": 1e-6}, "keep="),
        ({"max_size": 0}, "max_size=0"),
        ({"max_size": True}, "max_size="),
        ({"max_staleness": "soon"}, "max_staleness="),
    ],
)
def test_nonsense_is_refused_by_name(options: Any, match: str):
    with pytest.raises(ConfigurationError, match=match):
        LeaderboardOptions(**options)


def test_seasons_are_refused_if_they_are_none():
    assert Season("cup", NOW, NOW + timedelta(days=1)).name == "cup"
    for name in ("", "day", "all", 7):
        with pytest.raises(ConfigurationError, match="name="):
            Season(name, NOW, NOW + timedelta(days=1))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="must end after"):
        Season("cup", NOW, NOW)
    with pytest.raises(ConfigurationError, match="time zone"):
        Season("cup", NOW.replace(tzinfo=None), NOW)


def test_options_know_how_they_differ():
    one = LeaderboardOptions(periods=["day", "all"], keep="1d")
    assert not one.difference(LeaderboardOptions(periods=("day", "all"), keep=timedelta(days=1)))
    assert one.difference(LeaderboardOptions(ties="dense", periods=("day", "all"), keep="1d")) == (
        "ties='competition', not 'dense'"
    )
    assert LeaderboardOptions(periods="day").periods == ("day",)


def test_values_are_frozen_and_travel():
    row, standing = Row("bob", 7, 1, {"a": 1}), Standing(1, 7, None)
    for one in (row, standing):
        assert pickle.loads(pickle.dumps(one)) == one == copy.copy(one)
        with pytest.raises(AttributeError):
            one.rank = 2  # type: ignore[misc]
    assert row.member == "bob" and Row("bob", 7, 1).data is None
