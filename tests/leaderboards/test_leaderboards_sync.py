# Generated from test_leaderboards_async.py by tools/unasync.py. Do not edit.
"""Leaderboards: ranks, ties, periods, data, merges. The promises stand in holdfast.leaderboards.rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, UnsafeServer
from holdfast._compat import sleep, monotonic
from holdfast._wire.cluster.slots import slot_of
from holdfast.leaderboards import rules
from holdfast.leaderboards._leaderboard_sync import Leaderboard
from holdfast.leaderboards.options import LeaderboardOptions, Row, Season, Standing, Submission

BIG = 2**53


def make(hf: Holdfast, name: str = "arena", **options: Any) -> Leaderboard[Any]:
    return Leaderboard(hf._wire, name, LeaderboardOptions(**options))


def ranked(rows: Any) -> list[tuple[str, int]]:
    return [(row.member, row.rank) for row in rows]


# --- contracts ----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_equals_share_a_rank_or_not(
    hf: Holdfast, topology: str, transport: str, server_kind: str
):
    expected = {
        "competition": [1, 2, 2, 4],
        "dense": [1, 2, 2, 3],
        "ordinal": [1, 2, 3, 4],
        "first": [1, 2, 3, 4],
    }
    for ties, ranks in expected.items():
        board = make(hf, ties, ties=ties)
        assert board.submit("zoe", 20) == Standing(1, 20, None)
        assert board.submit("top", 30) == Standing(1, 30, None)
        assert board.submit("last", 1.5) == Standing(3, 1.5, None)
        board.submit("amy", 20)
        rows = board.top(10)
        assert [row.rank for row in rows] == ranks
        equals = ["zoe", "amy"] if ties == "first" else ["amy", "zoe"]
        assert [row.member for row in rows] == ["top", *equals, "last"]
        assert board.around("last", 1) == rows[2:]
        assert board.page(2, 3) == rows[3:]
        assert board.between(20, 30) == rows[:3]
        assert board.ranks(["last", "nobody", "zoe"]) == {
            r.member: r for r in rows if r.member in ("last", "zoe")
        }
        assert board.rank("nobody") is None
        assert board.percentile("top") == 100 and board.score_at(0) == 1.5
        assert board.submit("amy", 40) == Standing(
            1, 40, rows[[r.member for r in rows].index("amy")].rank
        )
        assert board.count() == 4


@pytest.mark.everywhere
def test_periods_change_together_and_end_by_themselves(
    hf: Holdfast, topology: str, transport: str, server_kind: str
):
    now = datetime.now(UTC)
    running = Season("running", now - timedelta(days=1), now + timedelta(days=1))
    over = Season("over", now - timedelta(days=2), now - timedelta(days=1))
    periods = ("day", "week", "month", "all", running, over)
    board = make(hf, periods=periods, keep="3d", ties="dense")
    assert board.submit("bob", 5) == Standing(1, 5, None)
    assert (board.increment("bob", 2, period="all")).score == 7
    for period in ("day", "week", "month", "all", running, "running"):
        assert board.top(period=period) == [Row("bob", 7, 1)]
    assert board.count(period=over) == 0
    assert board.count(period="day", at=now - timedelta(days=1)) == 0
    assert board.count(period="month", ago=1) == 0
    desk = board._desk
    for period, window in desk.running().items():
        for key in (desk.key(window.part), desk.key(f"{window.part}:more")):
            ends = hf.execute("PEXPIRETIME", key)
            assert ends == (-2 if period == "over" else window.expires or -1)
            assert ends < 0 or ends == window.ends + 3 * 86_400_000
    assert board.remove("bob") and board.count(period="week") == 0


@pytest.mark.everywhere
def test_boards_of_any_slot_are_merged(
    hf: Holdfast, topology: str, transport: str, server_kind: str
):
    names = [f"region {number}" for number in range(3)]
    assert len({slot_of(make(hf, name)._desk.key(":all")) for name in names}) == 3
    one, two, target = (
        make(hf, names[0], ties="first"),
        make(hf, names[1], order="low"),
        make(hf, names[2], ties="dense"),
    )
    one.submit_many([Submission("ann", 10, {"from": 1}), Submission("bob", 20)])
    two.submit_many({f"m{number}": number for number in range(600)})
    two.submit("ann", 7)
    target.submit("bob", 3)
    assert target.merge(one, two) == 603
    assert target.rank("ann") == Row("ann", 10, 590, {"from": 1})
    assert (target.rank("bob"), target.count()) == (Row("bob", 20, 580), 602)
    assert target.merge(one, two, mode="sum") == 603
    assert target.rank("ann") == Row("ann", 27, 587, {"from": 1})
    assert target.merge(one, two, mode="last") == 603
    assert [(target.ranks(["ann", "bob", "m5"]))[one].score for one in ("ann", "bob", "m5")] == [
        7,
        20,
        5,
    ]


def test_a_member_that_a_scan_shows_twice_counts_once(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """A sorted set that grows or shrinks during a scan may do that. found: adding what is seen."""
    source, target = make(hf, "source"), make(hf, "target")
    source.submit_many({"ann": 1, "bob": 2})
    scan, seen = source._desk.scan, [1, 1, 0]

    def again(window: Any, cursor: Any) -> Any:
        _, rows, data = scan(window, 0)
        return str(seen.pop(0)), rows, data

    monkeypatch.setattr(source._desk, "scan", again)
    assert target.merge(source, mode="sum") == 2
    assert target.top() == [Row("bob", 2, 1), Row("ann", 1, 2)]


@pytest.mark.everywhere
def test_who_is_cut_or_removed_leaves_nothing_behind(
    hf: Holdfast, topology: str, transport: str, server_kind: str
):
    for ties in ("competition", "dense", "first"):
        board = make(hf, ties, ties=ties, max_size=2)
        board.submit("ann", 5, data="A")
        board.submit("bob", 7, data="B")
        assert board.submit("cid", 3, data="C") == Standing(None, 3, None)
        assert board.submit("dan", 6, data="D") == Standing(2, 6, None)
        assert board.top() == [Row("bob", 7, 1, "B"), Row("dan", 6, 2, "D")]
        assert board.rank("ann") is None
        assert hf.execute("HLEN", board._desk.key(":data")) == 2
        assert board.remove("bob") and not board.remove("bob")
        assert board.remove("dan")
        keys = [board._desk.key(part) for part in (":all", ":all:more", ":data")]
        assert [hf.execute("EXISTS", key) for key in keys] == [0, 0, 0]


# --- scores -------------------------------------------------------------------------------------------------


def test_set_best_and_add(hf: Holdfast):
    high, low = make(hf, "high"), make(hf, "low", order="low", mode="best")
    assert [(high.submit("a", score)).score for score in (5, 3)] == [5, 3]
    assert [(high.submit("a", score, "best")).score for score in (4, 1)] == [4, 4]
    assert [(low.submit("a", score)).score for score in (5, 3, 9)] == [5, 3, 3]
    assert (high.increment("a"), high.decrement("a", 2.5)) == ((1, 5, 1), (1, 2.5, 1))
    assert high.increment("new", 7) == Standing(1, 7, None)
    assert low.decrement("a", 3) == Standing(1, 0, 1)
    assert isinstance((low.rank("a")).score, int)  # type: ignore[union-attr]
    for order, worse in (("high", -1), ("low", 1)):
        zeros = make(hf, f"0 {order}", ties="dense", order=order)
        zeros.submit_many([("a", 0), ("b", -0.0), ("c", 0.0), ("d", worse)])
        assert ranked(zeros.top()) == [("a", 1), ("b", 1), ("c", 1), ("d", 2)]


@pytest.mark.parametrize("order", ["high", "low"])
@pytest.mark.parametrize("ties", ["competition", "dense", "ordinal", "first"])
def test_every_whole_number_up_to_2_to_the_53_is_exact(hf: Holdfast, ties: str, order: str):
    """found: scores packed with a time; %.14g."""
    board = make(hf, ties=ties, order=order)
    scores = [BIG, BIG - 1, BIG - 2, 0, -1, 2 - BIG, 1 - BIG, -BIG]
    board.submit_many([(f"m{score}", score) for score in scores])
    rows = board.top()
    assert [row.score for row in rows] == (scores if order == "high" else scores[::-1])
    assert [row.rank for row in rows] == [*range(1, 9)]
    with pytest.raises(ConfigurationError, match="exact"):
        board.increment(f"m{BIG}")
    with pytest.raises(ConfigurationError, match="exact"):
        board.submit_many([("m0", 5), (f"m{-BIG}", -1)], "add")
    assert board.top() == rows, "nothing of it was done"
    with pytest.raises(ConfigurationError, match="exact"):
        board.submit_many([("new", BIG), ("new", 1)], "add")
    assert board.remove("new"), "the first of them was done"
    assert (board.decrement(f"m{BIG - 1}", BIG)).score == -1
    with pytest.raises(ConfigurationError, match="between"):
        board.submit("a", BIG + 1)


@pytest.mark.parametrize("order", ["high", "low"])
def test_who_reached_the_score_first_is_ahead(hf: Holdfast, order: str):
    """found: a turn for each submit; the turn kept when the score changes."""
    board = make(hf, ties="first", order=order)
    for member in ("c", "a", "b"):
        board.submit(member, 1 - BIG)
    assert ranked(board.top()) == [("c", 1), ("a", 2), ("b", 3)]
    assert board.submit("c", 1 - BIG) == Standing(1, 1 - BIG, 1)
    assert ranked(board.top()) == [("c", 1), ("a", 2), ("b", 3)], "who has it keeps his turn"
    board.submit("c", 5)
    assert board.submit("c", 1 - BIG) == Standing(3, 1 - BIG, 1 if order == "high" else 3)
    assert ranked(board.top()) == [("a", 1), ("b", 2), ("c", 3)]
    for turn in range(10):  # a member is not what the server calls it
        assert board.rank(f"{turn:011x}c") is None and board.around(f"{turn:011x}c") == []


def test_many_are_submitted_in_parts(hf: Holdfast):
    board = make(hf, ties="dense")
    count = rules.CHUNK * 2 + 7
    standings = board.submit_many((f"m{number}", number // 2) for number in range(count))
    assert standings[0] == Standing(1, 0, None) and standings[-1].rank == 1
    assert len(standings) == count == board.count()
    assert [row.score for row in board.submit_many([("a", 1), ("a", 2), ("a", 3)], "add")] == [1, 3, 6]
    assert board.submit_many([]) == []
    assert board.stats().submitted == count + 3
    assert len(board.top(5000)) == count + 1
    assert (board.page(3, 100))[0] == Row("m307", 153, 101)


def test_a_member_may_be_called_anything(hf: Holdfast):
    names = ["a b", "{x}", "é", "💥", "0", "-inf", "(1", "[a", "a:b", "\n", "x" * 1024]
    for ties in ("ordinal", "first"):
        board = make(hf, "any: {thing}", ties=ties) if ties == "ordinal" else make(hf, ties, ties=ties)
        board.submit_many([(name, 1) for name in names])
        assert sorted(row.member for row in board.top(20)) == sorted(names)
        for name in names:
            row = board.rank(name)
            assert row is not None and row in board.around(name, 0)


# --- reading ------------------------------------------------------------------------------------------------


def test_friends_are_ranked_among_themselves(hf: Holdfast):
    for ties, ranks in (("competition", [1, 1, 3]), ("dense", [1, 1, 2]), ("first", [1, 2, 3])):
        board = make(hf, ties, ties=ties)
        board.submit_many([("top", 99), ("b", 5), ("a", 5), ("c", 1)])
        friends = board.friends(["c", "a", "b", "nobody", "a"])
        assert [row.rank for row in friends] == ranks
        assert [row.member for row in friends] == (["b", "a", "c"] if ties == "first" else ["a", "b", "c"])
    assert board.friends([]) == []


def test_percentiles_lead_there_and_back(hf: Holdfast):
    board = make(hf)
    assert board.score_at(50) is None and board.percentile("m1") is None
    board.submit("m0", 0)
    assert board.percentile("m0") == 100
    board.submit_many([(f"m{number}", number // 3) for number in range(1, 100)])
    for row in board.top(100):
        share = board.percentile(row.member)
        assert share is not None and board.score_at(share) == row.score
    assert [board.score_at(one) for one in (0, 50, 100)] == [0, 16, 33]
    few = make(hf, "few")  # a twelfth part is no float
    few.submit_many([(f"m{number}", number) for number in range(12)])
    for number in range(12):
        share = few.percentile(f"m{number}")
        assert share is not None and few.score_at(share) == number


def test_a_window_ends_where_the_board_ends(hf: Holdfast):
    board = make(hf)
    board.submit_many([(f"m{number}", number) for number in range(5)])
    assert ranked(board.around("m4", 1)) == [("m4", 1), ("m3", 2)]
    assert ranked(board.around("m0", 2)) == [("m2", 3), ("m1", 4), ("m0", 5)]
    assert ranked(board.around("m2", 0)) == [("m2", 3)]
    assert board.around("nobody") == []
    assert board.page(3, 2) == [Row("m0", 0, 5)] and board.page(4, 2) == []
    assert ranked(board.between(1, 3, limit=2, skip=1)) == [("m2", 3), ("m1", 4)]
    assert board.between(7, 9) == [] and len(board.between(None, None)) == 5


def test_what_cannot_be_asked_is_refused_by_name(hf: Holdfast):
    board: Any = make(hf, periods=("day", "all"))
    now = datetime.now(UTC)
    for call, match in (
        (lambda: board.top(0), "n=0"),
        (lambda: board.top(5001), "n=5001"),
        (lambda: board.page(0), "number=0"),
        (lambda: board.around("a", -1), "n=-1"),
        (lambda: board.between(2, 1), "low=2"),
        (lambda: board.score_at(101), "percentile=101"),
        (lambda: board.rank(7), "member"),
        (lambda: board.ranks("abc"), "must be a list"),
        (lambda: board.ranks([f"m{number}" for number in range(5001)]), "too many"),
        (lambda: board.submit("a", "7"), "score='7'"),
        (lambda: board.submit("a", 7, "max"), "mode='max'"),
        (lambda: board.submit("a", 7, period="year"), "none of this board's"),
        (lambda: board.decrement("a", None), "by=None"),
        (lambda: board.top(period="all", ago=1), "there is only one 'all'"),
        (lambda: board.top(at=now, ago=1), "not both"),
        (lambda: board.top(ago=-1), "ago=-1"),
        (lambda: board.merge(board), "other leaderboards"),
        (lambda: board.merge(make(hf, "b"), mode="best"), "mode='best'"),
        (lambda: board.merge(make(hf, "b")), "none of this board's"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            call()
    for name in ("", None):
        with pytest.raises(ConfigurationError, match="name"):
            make(hf, name)  # type: ignore[arg-type]


# --- the house ----------------------------------------------------------------------------------------------


def test_a_board_that_is_kept_otherwise_is_not_touched(hf: Holdfast):
    """found: a program with other ties, which leaves beside the scores what does not fit them."""
    make(hf, ties="dense").submit("bob", 1)
    for options in ({"ties": "first"}, {}, {"ties": "dense", "order": "low"}):
        for call in (lambda one: one.submit("bob", 2), lambda one: one.top(), lambda one: one.rank("bob")):
            with pytest.raises(ConfigurationError, match="is kept as 'dense high'"):
                call(make(hf, **options))
    make(hf, "plain", ties="competition").submit("bob", 1)
    assert make(hf, "plain", ties="ordinal").top() == [Row("bob", 1, 1)], "these two may change"


def test_a_server_that_evicts_is_refused(own_server: Any, namespace: str):
    with Holdfast(own_server.url) as first:
        first.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with Holdfast(own_server.url, namespace=namespace) as hf:
        with pytest.raises(UnsafeServer, match="leaderboard 'arena'"):
            make(hf).submit("bob", 1)
        assert make(hf, accept_loss=True).submit("bob", 1) == Standing(1, 1, None)


def test_the_client_gives_the_same_board_for_the_same_name(hf: Holdfast):
    board = hf.leaderboard("arena", ties="dense", periods=["day"])
    assert hf.leaderboard("arena") is board
    board.submit("bob", 1)
    assert board.rank("bob") == Row("bob", 1, 1)
    with pytest.raises(ConfigurationError, match="ties='dense', not 'first'"):
        hf.leaderboard("arena", ties="first", periods=["day"])


def test_replicas_may_answer_what_is_read(sentinel_lab: Any, namespace: str):
    with Holdfast(sentinel_lab.url, namespace=namespace) as hf:
        board = make(hf, max_staleness="5s", ties="dense")
        board.submit("bob", 1)

        def asked() -> int:
            """How many scripts replicas have run."""
            found = 0
            for one in sentinel_lab.replicas:
                with Holdfast(one.url, timeout="5s", require_server=False) as near:
                    told = (near.execute("INFO", "commandstats")).decode()
                    found += sum("cmdstat_eval_ro:" in line for line in told.splitlines())
            return found

        give_up = monotonic() + 20
        while not asked():
            assert board.top() in ([], [Row("bob", 1, 1)])
            assert board.rank("bob") in (None, Row("bob", 1, 1))
            assert monotonic() < give_up
            sleep(0.05)
        while board.top() != [Row("bob", 1, 1)]:
            assert monotonic() < give_up
