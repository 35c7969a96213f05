# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Data of members: typed, and there as long as the member is, no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from holdfast import AsyncHoldfast, CodecError
from holdfast._compat import monotonic
from holdfast.leaderboards._leaderboard_async import AsyncLeaderboard
from holdfast.leaderboards.options import LeaderboardOptions, Row, Standing, Submission


def make(ahf: AsyncHoldfast, name: str = "arena", **options: Any) -> AsyncLeaderboard[Any]:
    return AsyncLeaderboard(ahf._wire, name, LeaderboardOptions(**options))


@dataclass
class Player:
    name: str
    level: int = 1


async def test_data_is_typed_and_belongs_to_the_member(ahf: AsyncHoldfast):
    board = make(ahf, type=Player, periods=("day", "all"))
    await board.submit("bob", 1, data=Player("Bob"))
    await board.submit("ann", 2)
    assert await board.top() == [Row("ann", 2, 1), Row("bob", 1, 2, Player("Bob"))]
    await board.submit("bob", 3)
    assert await board.rank("bob", period="all") == Row("bob", 3, 1, Player("Bob")), "as it was"
    assert await board.set_data("ann", Player("Ann", 9)) and not await board.set_data("cid", Player("Cid"))
    assert [row.data for row in await board.friends(["ann", "bob", "cid"])] == [
        Player("Bob"),
        Player("Ann", 9),
    ]
    assert await board.set_data("bob", None)
    assert (await board.rank("bob")) == Row("bob", 3, 1)
    with pytest.raises(CodecError):
        await board.submit("bob", 1, data="no player")
    assert await board.remove("ann", period="day")
    assert (await board.rank("ann", period="all")) == Row("ann", 2, 2, Player("Ann", 9)), "is there still"
    assert await board.remove("ann")
    assert await ahf.execute("HLEN", board._desk.key(":data")) == 0


async def test_data_stays_as_long_as_the_member_is_in_any_period(ahf: AsyncHoldfast):
    """found: who is cut from one period loses his data in the others; the standing of another period."""
    board = make(ahf, periods=("day", "all"), max_size=2)
    await board.submit_many([Submission("ann", 5, "A"), Submission("bob", 7, "B")])
    assert await board.remove("bob", period="all")
    assert await board.submit("cid", 6, period="all") == Standing(1, 6, None)
    assert [row.member for row in await board.top()] == ["bob", "cid"]
    assert await board.top(period="all") == [Row("cid", 6, 1), Row("ann", 5, 2, "A")]
    assert await board.submit("ann", 9) == Standing(1, 9, None)
    assert await board.submit("ann", 9, period="all") == Standing(1, 9, 1)


async def test_what_was_kept_for_ever_gets_no_end_from_a_board_with_fewer_periods(ahf: AsyncHoldfast):
    """found: an expiry for every key that has none."""
    await make(ahf).submit("ann", 1, data="A")
    await make(ahf, periods=("day",)).submit("bob", 2, data="B")
    for part in (":data", ":meta"):
        assert await ahf.execute("PEXPIRETIME", make(ahf)._desk.key(part)) == -1
    fleeting = make(ahf, "fleeting", periods=("day",))
    await fleeting.submit("bob", 2, data="B")
    await make(ahf, "fleeting").submit("ann", 1)
    assert await ahf.execute("PEXPIRETIME", fleeting._desk.key(":meta")) == -1
    await make(ahf, "fleeting").submit("bob", 3, data="C")
    assert await ahf.execute("PEXPIRETIME", fleeting._desk.key(":data")) == -1


async def test_data_that_cannot_be_read_is_counted_and_hides_no_row(ahf: AsyncHoldfast):
    await make(ahf).submit("bob", 1, data="text")
    board = make(ahf, type=Player)
    assert await board.top() == [Row("bob", 1, 1)]
    assert board.stats().unreadable == 1


async def test_data_of_who_comes_no_more_is_swept_where_no_period_is_endless(ahf: AsyncHoldfast):
    """found: data that outlives every period of its member."""
    board = make(ahf, periods=("day",), keep="1h")
    await board.submit("bob", 1, data="B")
    data = board._desk.key(":data")
    window = board._desk.running()["day"]
    assert (await ahf.execute("HGET", data, "bob")).startswith(b"%d:" % window.expires)
    assert await ahf.execute("PEXPIRETIME", data) == window.expires
    for number in range(5):
        await ahf.execute("HSET", data, f"gone {number}", b"1:old")
    give_up = monotonic() + 20
    while await ahf.execute("HLEN", data) > 1:
        await board.increment("bob")
        assert monotonic() < give_up
    assert (await board.rank("bob")).data == "B"  # type: ignore[union-attr]
