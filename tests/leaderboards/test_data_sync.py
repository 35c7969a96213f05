# Generated from test_data_async.py by tools/unasync.py. Do not edit.
"""Data of members: typed, and there as long as the member is, no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from holdfast import Holdfast, CodecError
from holdfast._compat import monotonic
from holdfast.leaderboards._leaderboard_sync import Leaderboard
from holdfast.leaderboards.options import LeaderboardOptions, Row, Standing, Submission


def make(hf: Holdfast, name: str = "arena", **options: Any) -> Leaderboard[Any]:
    return Leaderboard(hf._wire, name, LeaderboardOptions(**options))


@dataclass
class Player:
    name: str
    level: int = 1


def test_data_is_typed_and_belongs_to_the_member(hf: Holdfast):
    board = make(hf, type=Player, periods=("day", "all"))
    board.submit("bob", 1, data=Player("Bob"))
    board.submit("ann", 2)
    assert board.top() == [Row("ann", 2, 1), Row("bob", 1, 2, Player("Bob"))]
    board.submit("bob", 3)
    assert board.rank("bob", period="all") == Row("bob", 3, 1, Player("Bob")), "as it was"
    assert board.set_data("ann", Player("Ann", 9)) and not board.set_data("cid", Player("Cid"))
    assert [row.data for row in board.friends(["ann", "bob", "cid"])] == [
        Player("Bob"),
        Player("Ann", 9),
    ]
    assert board.set_data("bob", None)
    assert (board.rank("bob")) == Row("bob", 3, 1)
    with pytest.raises(CodecError):
        board.submit("bob", 1, data="no player")
    assert board.remove("ann", period="day")
    assert (board.rank("ann", period="all")) == Row("ann", 2, 2, Player("Ann", 9)), "is there still"
    assert board.remove("ann")
    assert hf.execute("HLEN", board._desk.key(":data")) == 0


def test_data_stays_as_long_as_the_member_is_in_any_period(hf: Holdfast):
    """found: who is cut from one period loses his data in the others; the standing of another period."""
    board = make(hf, periods=("day", "all"), max_size=2)
    board.submit_many([Submission("ann", 5, "A"), Submission("bob", 7, "B")])
    assert board.remove("bob", period="all")
    assert board.submit("cid", 6, period="all") == Standing(1, 6, None)
    assert [row.member for row in board.top()] == ["bob", "cid"]
    assert board.top(period="all") == [Row("cid", 6, 1), Row("ann", 5, 2, "A")]
    assert board.submit("ann", 9) == Standing(1, 9, None)
    assert board.submit("ann", 9, period="all") == Standing(1, 9, 1)


def test_what_was_kept_for_ever_gets_no_end_from_a_board_with_fewer_periods(hf: Holdfast):
    """found: an expiry for every key that has none."""
    make(hf).submit("ann", 1, data="A")
    make(hf, periods=("day",)).submit("bob", 2, data="B")
    for part in (":data", ":meta"):
        assert hf.execute("PEXPIRETIME", make(hf)._desk.key(part)) == -1
    fleeting = make(hf, "fleeting", periods=("day",))
    fleeting.submit("bob", 2, data="B")
    make(hf, "fleeting").submit("ann", 1)
    assert hf.execute("PEXPIRETIME", fleeting._desk.key(":meta")) == -1
    make(hf, "fleeting").submit("bob", 3, data="C")
    assert hf.execute("PEXPIRETIME", fleeting._desk.key(":data")) == -1


def test_data_that_cannot_be_read_is_counted_and_hides_no_row(hf: Holdfast):
    make(hf).submit("bob", 1, data="text")
    board = make(hf, type=Player)
    assert board.top() == [Row("bob", 1, 1)]
    assert board.stats().unreadable == 1


def test_data_of_who_comes_no_more_is_swept_where_no_period_is_endless(hf: Holdfast):
    """found: data that outlives every period of its member."""
    board = make(hf, periods=("day",), keep="1h")
    board.submit("bob", 1, data="B")
    data = board._desk.key(":data")
    window = board._desk.running()["day"]
    assert (hf.execute("HGET", data, "bob")).startswith(b"%d:" % window.expires)
    assert hf.execute("PEXPIRETIME", data) == window.expires
    for number in range(5):
        hf.execute("HSET", data, f"gone {number}", b"1:old")
    give_up = monotonic() + 20
    while hf.execute("HLEN", data) > 1:
        board.increment("bob")
        assert monotonic() < give_up
    assert (board.rank("bob")).data == "B"  # type: ignore[union-attr]
