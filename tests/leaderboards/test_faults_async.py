# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Leaderboards over a network that loses replies, a server that forgets, and clocks that are wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Unavailable, Unconfirmed
from holdfast.leaderboards import rules
from holdfast.leaderboards._leaderboard_async import AsyncLeaderboard
from holdfast.leaderboards.options import LeaderboardOptions, Row, Standing
from tests.leaderboards.world import use_clock

DAY = 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEW_YEAR = 1_956_528_000  # 2032-01-01T00:00Z, seconds: later than the server's own clock


def make(ahf: AsyncHoldfast, name: str = "arena", **options: Any) -> AsyncLeaderboard[Any]:
    return AsyncLeaderboard(ahf._wire, name, LeaderboardOptions(**options))


async def set_clock(ahf: AsyncHoldfast, board: Any, seconds: float) -> None:
    await ahf.execute("SET", board._desk.key(":clock"), seconds)


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
async def test_a_request_whose_reply_was_lost_counts_once_and_tells_the_same(
    ahf: AsyncHoldfast, faults: Any, namespace: str, ties: str
):
    """found: a script without a memo; one whose memo is asked for after the ranks."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="20s") as far:
        board: Any = make(far, ties=ties)
        await board.submit_many({"top": 100, "bob": 10})
        await board.remove("warm")
        for mode, score, standing in (
            ("add", 5, Standing(2, 15, 2)),
            ("set", 200, Standing(1, 200, 2)),
            ("best", 300, Standing(1, 300, 1)),
        ):
            faults.drop_replies(1, match=b"EVALSHA")
            assert await board.submit("bob", score, mode) == standing
        faults.drop_replies(1, match=b"EVALSHA")
        assert await board.submit_many([("bob", 1), ("new", 1), ("bob", 1)], "add") == [
            Standing(1, 301, 1),
            Standing(3, 1, None),
            Standing(1, 302, 1),
        ]
        faults.drop_replies(1, match=b"EVALSHA")
        assert await board.remove("bob"), "it was there when it was removed"
        assert await make(ahf, ties=ties).top() == [Row("top", 100, 1), Row("new", 1, 2)]


async def test_a_request_that_comes_too_late_is_not_done_and_nothing_is_done_twice(ahf: AsyncHoldfast):
    """found: a memo that forgets without remembering that it has, also when requests overtake each other."""
    board = make(ahf)
    desk = board._desk
    await board.submit("bob", 0)

    async def arrives(number: int) -> Any:
        keys = (desk.key(":meta"), desk.key(":data"), desk.key(":req:me"), desk.key(":all"))
        request = ("plain high", "ordinal", number, 10, 60_000, "add", 0, 1, 1, 1)
        args = (*request, *(1, 0, 0, 0, 0), *("bob", "-1", ""))
        return await desk.wire.run(rules.WRITE, keys, args)

    async def score() -> Any:
        row = await board.rank("bob")
        assert row is not None
        return row.score

    first = await arrives(5)
    assert await arrives(5) == first and await score() == 1
    for number in range(6, 206):
        await arrives(number)
    assert await score() == 201
    assert await arrives(5) == [b"late"] and await arrives(1) == [b"late"]
    assert isinstance(await arrives(200), bytes) and await score() == 201, "remembered"
    assert await ahf.execute("HLEN", desk.key(":req:me")) < 100
    late = [number for number in range(1, 206) if await arrives(number) == [b"late"]]
    assert await score() == 201 and len(late) > 100
    await arrives(10_000)
    assert await arrives(205) == [b"late"] and await score() == 202
    assert await ahf.execute("HLEN", desk.key(":req:me")) == 2
    await arrives(9_995)  # overtaken on its way
    assert await arrives(9_980) == [b"late"] and await score() == 203


async def test_a_late_request_is_unconfirmed(ahf: AsyncHoldfast):
    board = make(ahf)
    await board.submit("bob", 1)
    await ahf.execute("HSET", board._desk.key(f":req:{board._desk._requests.requester().name}"), "low", 1000)
    with pytest.raises(Unconfirmed, match="late"):
        await board.submit("bob", 2)
    assert await board.rank("bob") == Row("bob", 1, 1)


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
async def test_a_server_that_forgot_everything_begins_anew(own_server: Any, namespace: str, ties: str):
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        board = make(ahf, ties=ties, periods=("all", "day"))
        await board.submit_many({"ann": 1, "bob": 2})
        await ahf.execute("FLUSHALL")
        assert await board.top() == [] and await board.rank("bob") is None
        await ahf.execute("SCRIPT", "FLUSH")
        assert await board.submit("bob", 7) == Standing(1, 7, None)
        assert await board.top(period="day") == [Row("bob", 7, 1)]


# --- clocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [-20 * 365 * DAY, -DAY, DAY, 20 * 365 * DAY])
async def test_the_server_decides_which_period_it_is(ahf: AsyncHoldfast, off: int):
    """found: the period of the client's clock."""
    right, wrong = make(ahf, periods=("day", "month")), make(ahf, periods=("day", "month"))
    await right.submit("ann", 1)
    desk = wrong._desk
    window = right._desk.running()["day"]
    desk._plan = desk._planned(desk.calendar.around(window.begins + off * 1000))
    await wrong.submit("bob", 2)
    assert [row.member for row in await right.top()] == ["bob", "ann"]
    assert wrong.stats().corrected == 1
    desk._plan = desk._planned(desk.calendar.around(window.begins + off * 1000))
    assert await wrong.count() == 2 and await wrong.count(ago=1) == 0
    assert wrong.stats().corrected == 2


async def test_a_period_begins_when_the_server_says_so(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """found: bounds that are looked at by the client only; the wrong end of an interval."""
    use_clock(monkeypatch)
    board = make(ahf, periods=("day", "all"), mode="add", tz="UTC")
    await set_clock(ahf, board, NEW_YEAR - 1)
    await board.submit("bob", 1)
    await set_clock(ahf, board, NEW_YEAR)
    assert await board.submit("bob", 1) == Standing(1, 1, None)
    assert await board.rank("bob", period="all") == Row("bob", 2, 1)
    assert [await board.count(ago=ago) for ago in (0, 1, 2)] == [1, 1, 0]
    await set_clock(ahf, board, NEW_YEAR - 1)
    assert await board.submit("bob", 1) == Standing(1, 2, 1), "set back: the day goes on"
    await set_clock(ahf, board, NEW_YEAR + 40 * DAY)
    assert await board.rank("bob") is None
    await board.submit("bob", 1)
    await set_clock(ahf, board, NEW_YEAR + 80 * DAY)
    assert await board.top() == []
    assert await board.submit("bob", 1) == Standing(1, 1, None)
    assert board.stats().corrected == 5


async def test_data_lasts_as_long_as_the_last_period_of_its_member(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """found: data that ends with the period in which it was given."""
    use_clock(monkeypatch)
    board = make(ahf, periods=("day",), keep="2d")
    data = board._desk.key(":data")
    for day in range(3):
        await set_clock(ahf, board, NEW_YEAR + day * DAY)
        await board.submit("bob", day, data="B" if day == 0 else None)
        ends = (NEW_YEAR + (day + 3) * DAY) * 1000
        assert (await ahf.execute("HGET", data, "bob")).startswith(b"%d:" % ends)
        for part in (":data", ":meta"):
            assert await ahf.execute("PEXPIRETIME", board._desk.key(part)) == ends
    assert await board.rank("bob", ago=2) == Row("bob", 0, 1, "B")
    await set_clock(ahf, board, NEW_YEAR)
    await board.set_data("bob", "C")
    assert (await ahf.execute("HGET", data, "bob")).startswith(b"%d:" % ends), "set back: not shorter"


async def test_a_merge_stays_in_the_period_in_which_it_began(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """found: a period for each part."""
    use_clock(monkeypatch)
    monkeypatch.setattr(rules, "CHUNK", 20)
    source, target = make(ahf, "source", periods=("day",)), make(ahf, "target", periods=("day",))
    for board in (source, target):
        await set_clock(ahf, board, NEW_YEAR - 1)
    await source.submit_many({f"m{number}": number for number in range(500)})
    scan = source._desk.scan

    async def then_midnight(*arguments: Any) -> Any:
        for board in (source, target):
            await set_clock(ahf, board, NEW_YEAR)
        return await scan(*arguments)

    monkeypatch.setattr(source._desk, "scan", then_midnight)
    assert await target.merge(source, mode="sum") == 500
    assert await target.count() == 0
    assert await target.count(ago=1) == 500
    assert sum(row.score for row in await target.top(500, ago=1)) == sum(range(500))
    ends = await ahf.execute("PEXPIRETIME", target._desk.key(":day:2031-12-31"))
    assert ends == (NEW_YEAR + 30 * DAY) * 1000


async def test_a_clock_that_never_stands_still_is_no_endless_loop(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    board = make(ahf, periods=("day",))
    desk = board._desk
    monkeypatch.setattr(desk.calendar, "around", lambda now: {"day": desk.calendar.at("day", EPOCH)})
    with pytest.raises(Unavailable, match="clock"):
        await board.submit("bob", 1)
    with pytest.raises(Unavailable, match="clock"):
        await board.top()
