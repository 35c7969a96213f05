# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Leaderboards: ranks, ties, periods, data, merges. The promises stand in holdfast.leaderboards.rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, UnsafeServer
from holdfast._compat import asleep, monotonic
from holdfast._wire.cluster.slots import slot_of
from holdfast.leaderboards import rules
from holdfast.leaderboards._leaderboard_async import AsyncLeaderboard
from holdfast.leaderboards.options import LeaderboardOptions, Row, Season, Standing, Submission

BIG = 2**53


def make(ahf: AsyncHoldfast, name: str = "arena", **options: Any) -> AsyncLeaderboard[Any]:
    return AsyncLeaderboard(ahf._wire, name, LeaderboardOptions(**options))


def ranked(rows: Any) -> list[tuple[str, int]]:
    return [(row.member, row.rank) for row in rows]


# --- contracts ----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_equals_share_a_rank_or_not(
    ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str
):
    expected = {
        "competition": [1, 2, 2, 4],
        "dense": [1, 2, 2, 3],
        "ordinal": [1, 2, 3, 4],
        "first": [1, 2, 3, 4],
    }
    for ties, ranks in expected.items():
        board = make(ahf, ties, ties=ties)
        assert await board.submit("zoe", 20) == Standing(1, 20, None)
        assert await board.submit("top", 30) == Standing(1, 30, None)
        assert await board.submit("last", 1.5) == Standing(3, 1.5, None)
        await board.submit("amy", 20)
        rows = await board.top(10)
        assert [row.rank for row in rows] == ranks
        equals = ["zoe", "amy"] if ties == "first" else ["amy", "zoe"]
        assert [row.member for row in rows] == ["top", *equals, "last"]
        assert await board.around("last", 1) == rows[2:]
        assert await board.page(2, 3) == rows[3:]
        assert await board.between(20, 30) == rows[:3]
        assert await board.ranks(["last", "nobody", "zoe"]) == {
            r.member: r for r in rows if r.member in ("last", "zoe")
        }
        assert await board.rank("nobody") is None
        assert await board.percentile("top") == 100 and await board.score_at(0) == 1.5
        assert await board.submit("amy", 40) == Standing(
            1, 40, rows[[r.member for r in rows].index("amy")].rank
        )
        assert await board.count() == 4


@pytest.mark.everywhere
async def test_periods_change_together_and_end_by_themselves(
    ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str
):
    now = datetime.now(UTC)
    running = Season("running", now - timedelta(days=1), now + timedelta(days=1))
    over = Season("over", now - timedelta(days=2), now - timedelta(days=1))
    periods = ("day", "week", "month", "all", running, over)
    board = make(ahf, periods=periods, keep="3d", ties="dense")
    assert await board.submit("bob", 5) == Standing(1, 5, None)
    assert (await board.increment("bob", 2, period="all")).score == 7
    for period in ("day", "week", "month", "all", running, "running"):
        assert await board.top(period=period) == [Row("bob", 7, 1)]
    assert await board.count(period=over) == 0
    assert await board.count(period="day", at=now - timedelta(days=1)) == 0
    assert await board.count(period="month", ago=1) == 0
    desk = board._desk
    for period, window in desk.running().items():
        for key in (desk.key(window.part), desk.key(f"{window.part}:more")):
            ends = await ahf.execute("PEXPIRETIME", key)
            assert ends == (-2 if period == "over" else window.expires or -1)
            assert ends < 0 or ends == window.ends + 3 * 86_400_000
    assert await board.remove("bob") and await board.count(period="week") == 0


@pytest.mark.everywhere
async def test_boards_of_any_slot_are_merged(
    ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str
):
    names = [f"region {number}" for number in range(3)]
    assert len({slot_of(make(ahf, name)._desk.key(":all")) for name in names}) == 3
    one, two, target = (
        make(ahf, names[0], ties="first"),
        make(ahf, names[1], order="low"),
        make(ahf, names[2], ties="dense"),
    )
    await one.submit_many([Submission("ann", 10, {"from": 1}), Submission("bob", 20)])
    await two.submit_many({f"m{number}": number for number in range(600)})
    await two.submit("ann", 7)
    await target.submit("bob", 3)
    assert await target.merge(one, two) == 603
    assert await target.rank("ann") == Row("ann", 10, 590, {"from": 1})
    assert (await target.rank("bob"), await target.count()) == (Row("bob", 20, 580), 602)
    assert await target.merge(one, two, mode="sum") == 603
    assert await target.rank("ann") == Row("ann", 27, 587, {"from": 1})
    assert await target.merge(one, two, mode="last") == 603
    assert [(await target.ranks(["ann", "bob", "m5"]))[one].score for one in ("ann", "bob", "m5")] == [
        7,
        20,
        5,
    ]


async def test_a_member_that_a_scan_shows_twice_counts_once(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """A sorted set that grows or shrinks during a scan may do that. found: adding what is seen."""
    source, target = make(ahf, "source"), make(ahf, "target")
    await source.submit_many({"ann": 1, "bob": 2})
    scan, seen = source._desk.scan, [1, 1, 0]

    async def again(window: Any, cursor: Any) -> Any:
        _, rows, data = await scan(window, 0)
        return str(seen.pop(0)), rows, data

    monkeypatch.setattr(source._desk, "scan", again)
    assert await target.merge(source, mode="sum") == 2
    assert await target.top() == [Row("bob", 2, 1), Row("ann", 1, 2)]


@pytest.mark.everywhere
async def test_who_is_cut_or_removed_leaves_nothing_behind(
    ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str
):
    for ties in ("competition", "dense", "first"):
        board = make(ahf, ties, ties=ties, max_size=2)
        await board.submit("ann", 5, data="A")
        await board.submit("bob", 7, data="B")
        assert await board.submit("cid", 3, data="C") == Standing(None, 3, None)
        assert await board.submit("dan", 6, data="D") == Standing(2, 6, None)
        assert await board.top() == [Row("bob", 7, 1, "B"), Row("dan", 6, 2, "D")]
        assert await board.rank("ann") is None
        assert await ahf.execute("HLEN", board._desk.key(":data")) == 2
        assert await board.remove("bob") and not await board.remove("bob")
        assert await board.remove("dan")
        keys = [board._desk.key(part) for part in (":all", ":all:more", ":data")]
        assert [await ahf.execute("EXISTS", key) for key in keys] == [0, 0, 0]


# --- scores -------------------------------------------------------------------------------------------------


async def test_set_best_and_add(ahf: AsyncHoldfast):
    high, low = make(ahf, "high"), make(ahf, "low", order="low", mode="best")
    assert [(await high.submit("a", score)).score for score in (5, 3)] == [5, 3]
    assert [(await high.submit("a", score, "best")).score for score in (4, 1)] == [4, 4]
    assert [(await low.submit("a", score)).score for score in (5, 3, 9)] == [5, 3, 3]
    assert (await high.increment("a"), await high.decrement("a", 2.5)) == ((1, 5, 1), (1, 2.5, 1))
    assert await high.increment("new", 7) == Standing(1, 7, None)
    assert await low.decrement("a", 3) == Standing(1, 0, 1)
    assert isinstance((await low.rank("a")).score, int)  # type: ignore[union-attr]
    for order, worse in (("high", -1), ("low", 1)):
        zeros = make(ahf, f"0 {order}", ties="dense", order=order)
        await zeros.submit_many([("a", 0), ("b", -0.0), ("c", 0.0), ("d", worse)])
        assert ranked(await zeros.top()) == [("a", 1), ("b", 1), ("c", 1), ("d", 2)]


@pytest.mark.parametrize("order", ["high", "low"])
@pytest.mark.parametrize("ties", ["competition", "dense", "ordinal", "first"])
async def test_every_whole_number_up_to_2_to_the_53_is_exact(ahf: AsyncHoldfast, ties: str, order: str):
    """found: scores packed with a time; %.14g."""
    board = make(ahf, ties=ties, order=order)
    scores = [BIG, BIG - 1, BIG - 2, 0, -1, 2 - BIG, 1 - BIG, -BIG]
    await board.submit_many([(f"m{score}", score) for score in scores])
    rows = await board.top()
    assert [row.score for row in rows] == (scores if order == "high" else scores[::-1])
    assert [row.rank for row in rows] == [*range(1, 9)]
    with pytest.raises(ConfigurationError, match="exact"):
        await board.increment(f"m{BIG}")
    with pytest.raises(ConfigurationError, match="exact"):
        await board.submit_many([("m0", 5), (f"m{-BIG}", -1)], "add")
    assert await board.top() == rows, "nothing of it was done"
    with pytest.raises(ConfigurationError, match="exact"):
        await board.submit_many([("new", BIG), ("new", 1)], "add")
    assert await board.remove("new"), "the first of them was done"
    assert (await board.decrement(f"m{BIG - 1}", BIG)).score == -1
    with pytest.raises(ConfigurationError, match="between"):
        await board.submit("a", BIG + 1)


@pytest.mark.parametrize("order", ["high", "low"])
async def test_who_reached_the_score_first_is_ahead(ahf: AsyncHoldfast, order: str):
    """found: a turn for each submit; the turn kept when the score changes."""
    board = make(ahf, ties="first", order=order)
    for member in ("c", "a", "b"):
        await board.submit(member, 1 - BIG)
    assert ranked(await board.top()) == [("c", 1), ("a", 2), ("b", 3)]
    assert await board.submit("c", 1 - BIG) == Standing(1, 1 - BIG, 1)
    assert ranked(await board.top()) == [("c", 1), ("a", 2), ("b", 3)], "who has it keeps his turn"
    await board.submit("c", 5)
    assert await board.submit("c", 1 - BIG) == Standing(3, 1 - BIG, 1 if order == "high" else 3)
    assert ranked(await board.top()) == [("a", 1), ("b", 2), ("c", 3)]
    for turn in range(10):  # a member is not what the server calls it
        assert await board.rank(f"{turn:011x}c") is None and await board.around(f"{turn:011x}c") == []


async def test_many_are_submitted_in_parts(ahf: AsyncHoldfast):
    board = make(ahf, ties="dense")
    count = rules.CHUNK * 2 + 7
    standings = await board.submit_many((f"m{number}", number // 2) for number in range(count))
    assert standings[0] == Standing(1, 0, None) and standings[-1].rank == 1
    assert len(standings) == count == await board.count()
    assert [row.score for row in await board.submit_many([("a", 1), ("a", 2), ("a", 3)], "add")] == [1, 3, 6]
    assert await board.submit_many([]) == []
    assert board.stats().submitted == count + 3
    assert len(await board.top(5000)) == count + 1
    assert (await board.page(3, 100))[0] == Row("m307", 153, 101)


async def test_a_member_may_be_called_anything(ahf: AsyncHoldfast):
    names = ["a b", "{x}", "é", "💥", "0", "-inf", "(1", "[a", "a:b", "\n", "x" * 1024]
    for ties in ("ordinal", "first"):
        board = make(ahf, "any: {thing}", ties=ties) if ties == "ordinal" else make(ahf, ties, ties=ties)
        await board.submit_many([(name, 1) for name in names])
        assert sorted(row.member for row in await board.top(20)) == sorted(names)
        for name in names:
            row = await board.rank(name)
            assert row is not None and row in await board.around(name, 0)


# --- reading ------------------------------------------------------------------------------------------------


async def test_friends_are_ranked_among_themselves(ahf: AsyncHoldfast):
    for ties, ranks in (("competition", [1, 1, 3]), ("dense", [1, 1, 2]), ("first", [1, 2, 3])):
        board = make(ahf, ties, ties=ties)
        await board.submit_many([("top", 99), ("b", 5), ("a", 5), ("c", 1)])
        friends = await board.friends(["c", "a", "b", "nobody", "a"])
        assert [row.rank for row in friends] == ranks
        assert [row.member for row in friends] == (["b", "a", "c"] if ties == "first" else ["a", "b", "c"])
    assert await board.friends([]) == []


async def test_percentiles_lead_there_and_back(ahf: AsyncHoldfast):
    board = make(ahf)
    assert await board.score_at(50) is None and await board.percentile("m1") is None
    await board.submit("m0", 0)
    assert await board.percentile("m0") == 100
    await board.submit_many([(f"m{number}", number // 3) for number in range(1, 100)])
    for row in await board.top(100):
        share = await board.percentile(row.member)
        assert share is not None and await board.score_at(share) == row.score
    assert [await board.score_at(one) for one in (0, 50, 100)] == [0, 16, 33]
    few = make(ahf, "few")  # a twelfth part is no float
    await few.submit_many([(f"m{number}", number) for number in range(12)])
    for number in range(12):
        share = await few.percentile(f"m{number}")
        assert share is not None and await few.score_at(share) == number


async def test_a_window_ends_where_the_board_ends(ahf: AsyncHoldfast):
    board = make(ahf)
    await board.submit_many([(f"m{number}", number) for number in range(5)])
    assert ranked(await board.around("m4", 1)) == [("m4", 1), ("m3", 2)]
    assert ranked(await board.around("m0", 2)) == [("m2", 3), ("m1", 4), ("m0", 5)]
    assert ranked(await board.around("m2", 0)) == [("m2", 3)]
    assert await board.around("nobody") == []
    assert await board.page(3, 2) == [Row("m0", 0, 5)] and await board.page(4, 2) == []
    assert ranked(await board.between(1, 3, limit=2, skip=1)) == [("m2", 3), ("m1", 4)]
    assert await board.between(7, 9) == [] and len(await board.between(None, None)) == 5


async def test_what_cannot_be_asked_is_refused_by_name(ahf: AsyncHoldfast):
    board: Any = make(ahf, periods=("day", "all"))
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
        (lambda: board.merge(make(ahf, "b"), mode="best"), "mode='best'"),
        (lambda: board.merge(make(ahf, "b")), "none of this board's"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            await call()
    for name in ("", None):
        with pytest.raises(ConfigurationError, match="name"):
            make(ahf, name)  # type: ignore[arg-type]


# --- the house ----------------------------------------------------------------------------------------------


async def test_a_board_that_is_kept_otherwise_is_not_touched(ahf: AsyncHoldfast):
    """found: a program with other ties, which leaves beside the scores what does not fit them."""
    await make(ahf, ties="dense").submit("bob", 1)
    for options in ({"ties": "first"}, {}, {"ties": "dense", "order": "low"}):
        for call in (lambda one: one.submit("bob", 2), lambda one: one.top(), lambda one: one.rank("bob")):
            with pytest.raises(ConfigurationError, match="is kept as 'dense high'"):
                await call(make(ahf, **options))
    await make(ahf, "plain", ties="competition").submit("bob", 1)
    assert await make(ahf, "plain", ties="ordinal").top() == [Row("bob", 1, 1)], "these two may change"


async def test_a_server_that_evicts_is_refused(own_server: Any, namespace: str):
    async with AsyncHoldfast(own_server.url) as first:
        await first.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        with pytest.raises(UnsafeServer, match="leaderboard 'arena'"):
            await make(ahf).submit("bob", 1)
        assert await make(ahf, accept_loss=True).submit("bob", 1) == Standing(1, 1, None)


async def test_the_client_gives_the_same_board_for_the_same_name(ahf: AsyncHoldfast):
    board = ahf.leaderboard("arena", ties="dense", periods=["day"])
    assert ahf.leaderboard("arena") is board
    await board.submit("bob", 1)
    assert await board.rank("bob") == Row("bob", 1, 1)
    with pytest.raises(ConfigurationError, match="ties='dense', not 'first'"):
        ahf.leaderboard("arena", ties="first", periods=["day"])


async def test_replicas_may_answer_what_is_read(sentinel_lab: Any, namespace: str):
    async with AsyncHoldfast(sentinel_lab.url, namespace=namespace) as ahf:
        board = make(ahf, max_staleness="5s", ties="dense")
        await board.submit("bob", 1)

        async def asked() -> int:
            """How many scripts replicas have run."""
            found = 0
            for one in sentinel_lab.replicas:
                async with AsyncHoldfast(one.url, timeout="5s", require_server=False) as near:
                    told = (await near.execute("INFO", "commandstats")).decode()
                    found += sum("cmdstat_eval_ro:" in line for line in told.splitlines())
            return found

        give_up = monotonic() + 20
        while not await asked():
            assert await board.top() in ([], [Row("bob", 1, 1)])
            assert await board.rank("bob") in (None, Row("bob", 1, 1))
            assert monotonic() < give_up
            await asleep(0.05)
        while await board.top() != [Row("bob", 1, 1)]:
            assert monotonic() < give_up
