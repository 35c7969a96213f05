"""A board against the exact model, in every kind of ties and order, with clocks that stand, jump and go back,
requests that arrive twice, and periods that end.

Each guard was once removed by hand to see it found.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast.leaderboards.options import Row, Season
from tests.leaderboards.model import Model
from tests.leaderboards.world import Recorder, board_of, check_beside, fields, set_clock, use_clock

MEMBERS = ["a", "b", "c", "d", "e", "é", "00000000001a", "a b{c}"]
BIG = 2**53
START = int(datetime(2031, 3, 29, 21, 0, tzinfo=UTC).timestamp())  # the clocks go forward in the next night
SPRING = Season("spring", datetime(2031, 3, 30, tzinfo=UTC), datetime(2031, 4, 20, 12, tzinfo=UTC))

scores = st.one_of(
    st.integers(0, 1),  # so that many are equal
    st.integers(-3, 3),
    st.sampled_from([BIG, -BIG, BIG - 1, 1 - BIG, BIG - 2, 0.5, -0.5, 0.1, -0.0, 1e-300, 12345.678]),
)
members = st.one_of(st.sampled_from(MEMBERS[:3]), st.sampled_from(MEMBERS))
modes = st.sampled_from(["set", "best", "add"])
submits = st.one_of(
    st.tuples(st.just("submit"), members, scores, modes, st.one_of(st.none(), st.integers(0, 9))),
    st.tuples(st.just("submit"), members, scores, modes, st.none()),
    st.tuples(st.just("submit"), members, scores, st.just("set"), st.none()),
    st.tuples(st.just("many"), st.lists(st.tuples(members, scores), max_size=6), modes),
)
others = st.one_of(
    st.tuples(st.just("remove"), members, st.booleans()),
    st.tuples(st.just("data"), members, st.one_of(st.none(), st.integers(0, 9))),
    st.tuples(st.just("again")),
    st.tuples(st.just("clock"), st.sampled_from([1, 3600, 2 * 3600, 86400, 8 * 86400, 40 * 86400])),
    st.tuples(st.just("clock"), st.sampled_from([-1, -3600, -86400])),
    st.tuples(st.just("expire")),
    st.tuples(st.just("look"), members, st.integers(0, 3), st.integers(0, 100)),
)
steps = st.one_of(submits, submits, others)
boards = st.fixed_dictionaries(
    {
        "order": st.sampled_from(["high", "low"]),
        "mode": modes,
        "max_size": st.sampled_from([None, None, 1, 3]),
        "tz": st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles"]),
        "periods": st.sampled_from(
            [("all",), ("day",), ("day", "all"), ("week", "day", "month", "all"), (SPRING, "day"), ("month",)]
        ),
    }
)


class World:
    """A board on a server, and its model."""

    def __init__(self, hf: Any, ties: str, options: dict[str, Any]) -> None:
        self.hf = hf
        self.board = board_of(hf, f"b{time.monotonic_ns()}", ties=ties, keep="10d", **options)
        self.wire = Recorder(hf._wire)
        self.board._desk.wire = self.wire  # type: ignore[assignment]
        self.model = Model(ties=ties, now=START, **options)
        self.told = options["periods"][0]
        self.clock(0)

    def clock(self, by: int) -> None:
        self.model.now += by
        self.model.latest = max(self.model.latest, self.model.now)
        set_clock(self.hf, self.board, self.model.now)

    def submit(self, member: str, score: Any, mode: Any, data: Any) -> None:
        expected = self.model.submit(member, score, mode, self.told, data)
        if expected is None:
            with pytest.raises(ConfigurationError, match="exact"):
                self.board.submit(member, score, mode, data=data)
        else:
            standing = self.board.submit(member, score, mode, data=data)
            assert standing == expected
            assert isinstance(standing.score, int) or standing.score % 1

    def many(self, items: list[Any], mode: Any) -> None:
        """One after the other; what belongs together takes effect together."""
        expected: list[Any] = []
        members: set[str] = set()
        chunks: list[list[Any]] = [[]]
        for member, score in items:
            if mode == "add" and member in members:
                chunks.append([])
                members = set()
            members.add(member)
            chunks[-1].append((member, score))
        for chunk in chunks:
            running = [self.model.part(one) for one in self.model.running()]
            if mode == "add" and any(
                self.model.total(part, member, score) is None for part in running for member, score in chunk
            ):
                with pytest.raises(ConfigurationError, match="exact"):
                    self.board.submit_many(items, mode)
                return
            expected += [self.model.submit(member, score, mode, self.told) for member, score in chunk]
        assert self.board.submit_many(items, mode) == expected

    def remove(self, member: str, everywhere: bool) -> None:
        if everywhere:
            assert self.board.remove(member) == self.model.remove(member)
        else:
            assert self.board.remove(member, period=self.told) == self.model.remove(member, self.told)

    def data(self, member: str, data: Any) -> None:
        there = self.model.is_there(member)
        assert self.board.set_data(member, data) == there
        if there and data is None:
            self.model.data.pop(member, None)
        elif there:
            self.model.note(member, data)

    def again(self) -> None:
        self.wire.again()

    def expire(self) -> None:
        """What the server does when the time has come."""
        desk = self.board._desk
        for one in self.hf.execute("KEYS", desk.key("") + ":*"):
            ends = self.hf.execute("PEXPIRETIME", one)
            if b":req" in one:
                continue  # lives by the real clock
            if 0 < ends <= self.model.now * 1000:
                self.hf.execute("DEL", one)
                part = one.decode().removeprefix(desk.key(""))
                if part == ":data":
                    assert all(0 < till <= ends for _, till in self.model.data.values()), "wanted still"
                    self.model.data.clear()
                self.model.boards.pop(part, None)

    # --- looking --------------------------------------------------------------------------------------------

    def rows(self, table: Any) -> list[Row[Any]]:
        return [
            Row(member, score, rank, self.model.data.get(member, (None,))[0]) for member, score, rank in table
        ]

    def look(self, member: str, ago: int, percent: int) -> None:
        board, model = self.board, self.model
        for period in model.periods:
            how: dict[str, Any] = {"period": period if isinstance(period, str) else period.name}
            part = model.part(period)
            if period in ("day", "week", "month"):
                how["ago"] = ago
                part = model.part(period, ago)
            table = model.table(part)
            rows = self.rows(table)
            assert board.top(100, **how) == rows
            assert board.count(**how) == len(rows)
            known = {row.member: row for row in rows}
            assert board.rank(member, **how) == known.get(member)
            assert board.ranks(MEMBERS, **how) == known
            assert board.page(2, 2, **how) == rows[2:4]
            at = next((index for index, row in enumerate(rows) if row.member == member), None)
            near = [] if at is None else rows[max(0, at - 1) : at + 2]
            assert board.around(member, 1, **how) == near
            assert board.between(-1, 2.5, **how) == [row for row in rows if -1 <= row.score <= 2.5]
            assert (
                board.between(None, 2, skip=1, limit=2, **how) == [row for row in rows if row.score <= 2][1:3]
            )
            share = model.percentile(part, member)
            assert board.percentile(member, **how) == (share if share is None else pytest.approx(share))
            if share is not None:
                assert board.score_at(share, **how) == known[member].score
            assert board.score_at(percent, **how) == model.score_at(part, percent)
            few = [row for row in rows if row.member in MEMBERS[:4]]
            ranks = model.ranks([row.score for row in few])
            among = [row._replace(rank=rank) for row, rank in zip(few, ranks, strict=True)]
            assert board.friends(MEMBERS[:4], **how) == among

    def check(self) -> None:
        """After every step."""
        board, model = self.board, self.model
        stored = fields(self.hf, board._desk.key(":data"))
        for member, (_, till) in list(model.data.items()):
            if member not in stored:
                assert 0 < till <= model.latest * 1000, f"the data of {member} is wanted"
                del model.data[member]
        for member, raw in stored.items():
            until, _, body = raw.partition(b":")
            assert (board._desk.codec.decode(body), int(until)) == model.data[member]
        assert board.top(100) == self.rows(model.table(model.part(self.told)))


@pytest.mark.parametrize("ties", ["competition", "dense", "ordinal", "first"])
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
@example(
    options={"order": "low", "mode": "set", "max_size": None, "tz": "UTC", "periods": ("day", "all")},
    plan=[
        *(("submit", member, 1, "set", None) for member in "abca"),
        ("submit", "a", 2, "best", 7),  # no better, so nothing changes
        ("submit", "a", 0, "add", None),
        *(("submit", "b", score, "set", None) for score in (5, 1)),  # there and back: the last one now
        ("look", "b", 0, 50),
    ],
)
@given(options=boards, plan=st.lists(steps, min_size=4, max_size=25))
def test_a_board_does_what_the_model_does(hf: Any, ties: str, options: Any, plan: Any):
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_clock(monkeypatch)
        world = World(hf, ties, options)
        for name, *arguments in plan:
            getattr(world, name)(*arguments)
            world.check()
        world.look("a", 1, 50)
        check_beside(hf, world.board)


def test_the_model_knows_a_day_of_23_hours():
    """The stage itself: without a change of the clocks the plans above would prove nothing about it."""
    model = Model("first", "high", "set", ("day",), "Europe/Berlin", None, START + 4 * 3600)
    assert model.part("day") == ":day:2031-03-30"
    end = model.end("day")
    model.now = end // 1000 - 23 * 3600
    assert model.part("day") == ":day:2031-03-30"
    model.now -= 1
    assert model.part("day") == ":day:2031-03-29"
    assert timedelta(milliseconds=end - model.end("day")) == timedelta(hours=23)
