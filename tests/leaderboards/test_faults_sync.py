# Generated from test_faults_async.py by tools/unasync.py. Do not edit.
"""Leaderboards over a network that loses replies, a server that forgets, and clocks that are wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast import Holdfast, Unavailable, Unconfirmed
from holdfast.leaderboards import rules
from holdfast.leaderboards._leaderboard_sync import Leaderboard
from holdfast.leaderboards.options import LeaderboardOptions, Row, Standing
from tests.leaderboards.world import use_clock

DAY = 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEW_YEAR = 1_956_528_000  # 2032-01-01T00:00Z, seconds: later than the server's own clock


def make(hf: Holdfast, name: str = "arena", **options: Any) -> Leaderboard[Any]:
    return Leaderboard(hf._wire, name, LeaderboardOptions(**options))


def set_clock(hf: Holdfast, board: Any, seconds: float) -> None:
    hf.execute("SET", board._desk.key(":clock"), seconds)


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
def test_a_request_whose_reply_was_lost_counts_once_and_tells_the_same(
    hf: Holdfast, faults: Any, namespace: str, ties: str
):
    """found: a script without a memo; one whose memo is asked for after the ranks."""
    with Holdfast(faults.url, namespace=namespace, timeout="20s") as far:
        board: Any = make(far, ties=ties)
        board.submit_many({"top": 100, "bob": 10})
        board.remove("warm")
        for mode, score, standing in (
            ("add", 5, Standing(2, 15, 2)),
            ("set", 200, Standing(1, 200, 2)),
            ("best", 300, Standing(1, 300, 1)),
        ):
            faults.drop_replies(1, match=b"EVALSHA")
            assert board.submit("bob", score, mode) == standing
        faults.drop_replies(1, match=b"EVALSHA")
        assert board.submit_many([("bob", 1), ("new", 1), ("bob", 1)], "add") == [
            Standing(1, 301, 1),
            Standing(3, 1, None),
            Standing(1, 302, 1),
        ]
        faults.drop_replies(1, match=b"EVALSHA")
        assert board.remove("bob"), "it was there when it was removed"
        assert make(hf, ties=ties).top() == [Row("top", 100, 1), Row("new", 1, 2)]


def test_a_request_that_comes_too_late_is_not_done_and_nothing_is_done_twice(hf: Holdfast):
    """found: a memo that forgets without remembering that it has, also when requests overtake each other."""
    board = make(hf)
    desk = board._desk
    board.submit("bob", 0)

    def arrives(number: int) -> Any:
        keys = (desk.key(":meta"), desk.key(":data"), desk.key(":req:me"), desk.key(":all"))
        request = ("plain high", "ordinal", number, 10, 60_000, "add", 0, 1, 1, 1)
        args = (*request, *(1, 0, 0, 0, 0), *("bob", "-1", ""))
        return desk.wire.run(rules.WRITE, keys, args)

    def score() -> Any:
        row = board.rank("bob")
        assert row is not None
        return row.score

    first = arrives(5)
    assert arrives(5) == first and score() == 1
    for number in range(6, 206):
        arrives(number)
    assert score() == 201
    assert arrives(5) == [b"late"] and arrives(1) == [b"late"]
    assert isinstance(arrives(200), bytes) and score() == 201, "remembered"
    assert hf.execute("HLEN", desk.key(":req:me")) < 100
    late = [number for number in range(1, 206) if arrives(number) == [b"late"]]
    assert score() == 201 and len(late) > 100
    arrives(10_000)
    assert arrives(205) == [b"late"] and score() == 202
    assert hf.execute("HLEN", desk.key(":req:me")) == 2
    arrives(9_995)  # overtaken on its way
    assert arrives(9_980) == [b"late"] and score() == 203


def test_a_late_request_is_unconfirmed(hf: Holdfast):
    board = make(hf)
    board.submit("bob", 1)
    hf.execute("HSET", board._desk.key(f":req:{board._desk._requests.requester().name}"), "low", 1000)
    with pytest.raises(Unconfirmed, match="late"):
        board.submit("bob", 2)
    assert board.rank("bob") == Row("bob", 1, 1)


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
def test_a_server_that_forgot_everything_begins_anew(own_server: Any, namespace: str, ties: str):
    with Holdfast(own_server.url, namespace=namespace) as hf:
        board = make(hf, ties=ties, periods=("all", "day"))
        board.submit_many({"ann": 1, "bob": 2})
        hf.execute("FLUSHALL")
        assert board.top() == [] and board.rank("bob") is None
        hf.execute("SCRIPT", "FLUSH")
        assert board.submit("bob", 7) == Standing(1, 7, None)
        assert board.top(period="day") == [Row("bob", 7, 1)]


# --- clocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [-20 * 365 * DAY, -DAY, DAY, 20 * 365 * DAY])
def test_the_server_decides_which_period_it_is(hf: Holdfast, off: int):
    """found: the period of the client's clock."""
    right, wrong = make(hf, periods=("day", "month")), make(hf, periods=("day", "month"))
    right.submit("ann", 1)
    desk = wrong._desk
    window = right._desk.running()["day"]
    desk._plan = desk._planned(desk.calendar.around(window.begins + off * 1000))
    wrong.submit("bob", 2)
    assert [row.member for row in right.top()] == ["bob", "ann"]
    assert wrong.stats().corrected == 1
    desk._plan = desk._planned(desk.calendar.around(window.begins + off * 1000))
    assert wrong.count() == 2 and wrong.count(ago=1) == 0
    assert wrong.stats().corrected == 2


def test_a_period_begins_when_the_server_says_so(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """found: bounds that are looked at by the client only; the wrong end of an interval."""
    use_clock(monkeypatch)
    board = make(hf, periods=("day", "all"), mode="add", tz="UTC")
    set_clock(hf, board, NEW_YEAR - 1)
    board.submit("bob", 1)
    set_clock(hf, board, NEW_YEAR)
    assert board.submit("bob", 1) == Standing(1, 1, None)
    assert board.rank("bob", period="all") == Row("bob", 2, 1)
    assert [board.count(ago=ago) for ago in (0, 1, 2)] == [1, 1, 0]
    set_clock(hf, board, NEW_YEAR - 1)
    assert board.submit("bob", 1) == Standing(1, 2, 1), "set back: the day goes on"
    set_clock(hf, board, NEW_YEAR + 40 * DAY)
    assert board.rank("bob") is None
    board.submit("bob", 1)
    set_clock(hf, board, NEW_YEAR + 80 * DAY)
    assert board.top() == []
    assert board.submit("bob", 1) == Standing(1, 1, None)
    assert board.stats().corrected == 5


def test_data_lasts_as_long_as_the_last_period_of_its_member(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """found: data that ends with the period in which it was given."""
    use_clock(monkeypatch)
    board = make(hf, periods=("day",), keep="2d")
    data = board._desk.key(":data")
    for day in range(3):
        set_clock(hf, board, NEW_YEAR + day * DAY)
        board.submit("bob", day, data="B" if day == 0 else None)
        ends = (NEW_YEAR + (day + 3) * DAY) * 1000
        assert (hf.execute("HGET", data, "bob")).startswith(b"%d:" % ends)
        for part in (":data", ":meta"):
            assert hf.execute("PEXPIRETIME", board._desk.key(part)) == ends
    assert board.rank("bob", ago=2) == Row("bob", 0, 1, "B")
    set_clock(hf, board, NEW_YEAR)
    board.set_data("bob", "C")
    assert (hf.execute("HGET", data, "bob")).startswith(b"%d:" % ends), "set back: not shorter"


def test_a_merge_stays_in_the_period_in_which_it_began(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """found: a period for each part."""
    use_clock(monkeypatch)
    monkeypatch.setattr(rules, "CHUNK", 20)
    source, target = make(hf, "source", periods=("day",)), make(hf, "target", periods=("day",))
    for board in (source, target):
        set_clock(hf, board, NEW_YEAR - 1)
    source.submit_many({f"m{number}": number for number in range(500)})
    scan = source._desk.scan

    def then_midnight(*arguments: Any) -> Any:
        for board in (source, target):
            set_clock(hf, board, NEW_YEAR)
        return scan(*arguments)

    monkeypatch.setattr(source._desk, "scan", then_midnight)
    assert target.merge(source, mode="sum") == 500
    assert target.count() == 0
    assert target.count(ago=1) == 500
    assert sum(row.score for row in target.top(500, ago=1)) == sum(range(500))
    ends = hf.execute("PEXPIRETIME", target._desk.key(":day:2031-12-31"))
    assert ends == (NEW_YEAR + 30 * DAY) * 1000


def test_a_clock_that_never_stands_still_is_no_endless_loop(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    board = make(hf, periods=("day",))
    desk = board._desk
    monkeypatch.setattr(desk.calendar, "around", lambda now: {"day": desk.calendar.at("day", EPOCH)})
    with pytest.raises(Unavailable, match="clock"):
        board.submit("bob", 1)
    with pytest.raises(Unavailable, match="clock"):
        board.top()
