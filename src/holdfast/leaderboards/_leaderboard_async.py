# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncLeaderboard: who stands where. What it promises stands in rules.py."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from holdfast._wire._async import AsyncWire
from holdfast.errors import ConfigurationError
from holdfast.leaderboards import rules
from holdfast.leaderboards._desk_async import AsyncDesk, Spot
from holdfast.leaderboards.options import (
    LeaderboardOptions,
    LeaderboardStats,
    Merge,
    Mode,
    Number,
    Period,
    Row,
    Season,
    Standing,
    Submission,
    one_of,
    whole,
)

T = TypeVar("T")

MERGES: dict[Merge, str] = {"max": "best", "sum": "add", "last": "set"}


class AsyncLeaderboard(Generic[T]):
    """Who stands where, of any number of members, in one or several periods.

        board = hf.leaderboard("arena", ties="dense", periods=("day", "all"))
        await board.submit("bob", 120, mode="best")      # Standing(rank=1, score=120, previous_rank=None)
        await board.top(10)                              # [Row(member="bob", score=120, rank=1), ...]

    What reads takes `period` (by default the first of the board's), and one that is over is named by `at`, an
    aware datetime in it, or `ago`: 1 is the last one, 2 the one before. Each read is one round trip.

    Made by `hf.leaderboard(name)`. What is promised, and what is not, stands in holdfast.leaderboards.rules.
    Every method raises Unavailable, Refused and Closed, and ConfigurationError for what it cannot do.
    """

    def __init__(self, wire: AsyncWire, name: str, options: LeaderboardOptions) -> None:
        """Raises: ConfigurationError, also for a type that cannot be stored."""
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f'a leaderboard needs a name that is not empty, as "arena", not {name!r}'
            )
        self.name = name
        self.options = options
        self._desk = AsyncDesk(wire, name, options)

    # --- scores ---------------------------------------------------------------------------------------------

    async def submit(
        self,
        member: str,
        score: Number,
        mode: Mode | None = None,
        *,
        data: T | None = None,
        period: Period | None = None,
    ) -> Standing:
        """Give `member` a score in every period that runs; where it stands in `period`.

        `mode`: "set" it, keep the "best", or "add" it to what is there; None: the board's. `data`: goes with
        the member in all periods; None: as it was. After Unavailable the request may have counted: with "set"
        and "best" it does no harm to submit again.

        Raises: CodecError; UnsafeServer; NotDurable (it counts); ConfigurationError for a sum beyond 2**53,
        Unconfirmed.
        """
        mode = self._mode(mode)
        item = self._item(member, score, data)
        answer = await self._desk.write(mode, [item], self._desk.calendar.named(period))
        self._desk.counters.submitted += 1
        return rules.standings(answer, self.options.order)[0]

    async def increment(self, member: str, by: Number = 1, *, period: Period | None = None) -> Standing:
        """Add `by` to what `member` has, which is 0 at first. As `submit` with "add"."""
        return await self.submit(member, by, "add", period=period)

    async def decrement(self, member: str, by: Number = 1, *, period: Period | None = None) -> Standing:
        """Take `by` from what `member` has, which is 0 at first. As `submit` with "add"."""
        rules.stored(by, self.options.order, "by")
        return await self.submit(member, -by, "add", period=period)

    async def submit_many(
        self,
        scores: Mapping[str, Number] | Iterable[Submission[T] | tuple[str, Number]],
        mode: Mode | None = None,
        *,
        period: Period | None = None,
    ) -> list[Standing]:
        """Submit one after the other, in few round trips; the standings, each of its moment.

        `scores`: a mapping, or pairs, or Submission(member, score, data). So many as rules.CHUNK take effect
        together; when a later part fails, the earlier ones have taken effect. Raises: as `submit`.
        """
        mode = self._mode(mode)
        told = self._desk.calendar.named(period)
        pairs: Iterable[Any] = scores.items() if isinstance(scores, Mapping) else scores
        items = [self._item(*pair) for pair in pairs]
        found: list[Standing] = []
        for chunk in rules.chunks(items, apart=mode == "add"):
            answer = await self._desk.write(mode, chunk, told, many=True)
            found += rules.standings(answer, self.options.order)
            self._desk.counters.submitted += len(chunk)
        return found

    async def remove(self, member: str, *, period: Period | None = None) -> bool:
        """Take `member` out of every period that runs, and its data with it; True if it was in one.

        `period`: only out of this one, and the data stays. Raises: as `submit`.
        """
        only = None if period is None else self._spot(period, None, 0)
        answer = await self._desk.write("remove", [(rules.member_of(member), "0", b"")], only=only)
        was = int(answer) == 1
        self._desk.counters.removed += was
        return was

    async def merge(
        self,
        *others: AsyncLeaderboard[Any],
        mode: Merge = "max",
        period: Period | None = None,
        at: datetime | None = None,
        ago: int = 0,
    ) -> int:
        """Take over the scores and data of `others`, in one period; how many members were read.

        `mode`: who is on several boards gets the best of his scores ("max"), their "sum", or that of the
        "last" board in this order; what he has here counts as the first. The others may lie on other servers
        of a Cluster, and stay as they are.

        It is done in parts of some hundred members, of which each takes effect as a whole, while others go on
        using the boards: what changes there meanwhile may be seen or not. After an error, parts have been
        done: repeat it, but a "sum" only into an empty board. With ties "first", equals stand in the order in
        which they were taken over. Raises: as `submit`.
        """
        one_of("mode", mode, tuple(MERGES))
        for other in others:
            if not isinstance(other, AsyncLeaderboard) or other.name == self.name:
                raise ConfigurationError(f"merge() takes other leaderboards, not {other!r}")
        spot = self._spot(period, at, ago)
        for other in others:
            other._desk.calendar.named(spot.name)
        spot = await self._desk.pin(spot)
        return sum([await self._take_over(other, MERGES[mode], spot) for other in others])

    # --- data -----------------------------------------------------------------------------------------------

    async def set_data(self, member: str, data: T | None) -> bool:
        """Replace the data of `member`; None: delete it. False if it is in no period that runs: then nothing
        is kept. Raises: as `submit`.
        """
        item = (rules.member_of(member), "0", self._desk.encode(data))
        return int(await self._desk.write("data", [item])) == 1

    # --- one and many ---------------------------------------------------------------------------------------

    async def rank(
        self, member: str, *, period: Period | None = None, at: datetime | None = None, ago: int = 0
    ) -> Row[T] | None:
        """Where `member` stands; None if it is not on the board."""
        return (await self.ranks([member], period=period, at=at, ago=ago)).get(member)

    async def ranks(
        self,
        members: Iterable[str],
        *,
        period: Period | None = None,
        at: datetime | None = None,
        ago: int = 0,
    ) -> dict[str, Row[T]]:
        """Where `members` stand, as far as they are on the board. At most 5000 of them."""
        asked = self._members(members)
        found = await self._desk.ranks("rank", asked, self._spot(period, at, ago))
        rows = self._rows(asked, found.scores, found.numbers, found.data)
        return {row.member: row for row in rows if row.rank}

    async def friends(
        self,
        members: Iterable[str],
        *,
        period: Period | None = None,
        at: datetime | None = None,
        ago: int = 0,
    ) -> list[Row[T]]:
        """A board of `members` alone, the best first, with ranks among them. At most 5000 of them."""
        asked = self._members(members)
        found = await self._desk.ranks("place", asked, self._spot(period, at, ago))
        order = sorted((place, index) for index, place in enumerate(found.numbers) if place)
        indexes = [index for _, index in order]
        scores = [found.scores[index] for index in indexes]
        ranks = rules.ranked(self.options.ties, 0, 1, scores)
        data = [found.data[index] for index in indexes] if found.data else []
        return self._rows([asked[index] for index in indexes], scores, ranks, data)

    async def percentile(
        self, member: str, *, period: Period | None = None, at: datetime | None = None, ago: int = 0
    ) -> float | None:
        """How many percent of the others have a worse score: 100.0 the first, 0.0 the last; None if `member`
        is not on the board. Who is alone there has 100.0.
        """
        asked = [rules.member_of(member)]
        found = await self._desk.ranks("worse", asked, self._spot(period, at, ago))
        if math.isnan(found.scores[0]):
            return None
        return rules.percentile(found.numbers[0], found.total)

    async def count(self, *, period: Period | None = None, at: datetime | None = None, ago: int = 0) -> int:
        """How many members there are."""
        return (await self._desk.ranks("rank", (), self._spot(period, at, ago))).total

    # --- parts of the board ---------------------------------------------------------------------------------

    async def top(
        self, n: int = 10, *, period: Period | None = None, at: datetime | None = None, ago: int = 0
    ) -> list[Row[T]]:
        """The first `n` members, at most 5000. Among equals it may end in the middle."""
        whole("n", n, 1, rules.MOST_ROWS)
        return self._page(await self._desk.rows(self._spot(period, at, ago), "places", 0, n - 1))

    async def page(
        self,
        number: int,
        size: int = 25,
        *,
        period: Period | None = None,
        at: datetime | None = None,
        ago: int = 0,
    ) -> list[Row[T]]:
        """The page `number`, from 1, of `size` members, at most 5000; empty behind the last."""
        whole("number", number, 1, 2**32)
        whole("size", size, 1, rules.MOST_ROWS)
        first = (number - 1) * size
        return self._page(
            await self._desk.rows(self._spot(period, at, ago), "places", first, first + size - 1)
        )

    async def around(
        self,
        member: str,
        n: int = 5,
        *,
        period: Period | None = None,
        at: datetime | None = None,
        ago: int = 0,
    ) -> list[Row[T]]:
        """`member` with the `n` before and the `n` behind it, as far as there are any; empty if it is not on
        the board.
        """
        whole("n", n, 0, (rules.MOST_ROWS - 1) // 2)
        spot = self._spot(period, at, ago)
        return self._page(await self._desk.rows(spot, "around", rules.member_of(member), n))

    async def between(
        self,
        low: Number | None,
        high: Number | None,
        *,
        limit: int = 1000,
        skip: int = 0,
        period: Period | None = None,
        at: datetime | None = None,
        ago: int = 0,
    ) -> list[Row[T]]:
        """The members with scores from `low` to `high`, both included, the best first; None: no bound.

        At most `limit` of them (5000), behind the first `skip`.
        """
        whole("limit", limit, 1, rules.MOST_ROWS)
        whole("skip", skip, 0, 2**32)
        where = (*rules.bounds(low, high, self.options.order), skip, limit)
        return self._page(await self._desk.rows(self._spot(period, at, ago), "between", *where))

    async def score_at(
        self, percentile: float, *, period: Period | None = None, at: datetime | None = None, ago: int = 0
    ) -> Number | None:
        """The worst score that somebody has who leaves at least so many percent of the others behind him in
        the order of the board: 100 is the best score there is, 50 the median, 0 the worst; None: it is empty.
        """
        where = rules.share(percentile)
        found = await self._desk.rows(self._spot(period, at, ago), "share", where)
        return found.scores[0] if found.scores else None

    def stats(self) -> LeaderboardStats:
        """What this process has done."""
        return self._desk.counters.snapshot()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # --- inside ---------------------------------------------------------------------------------------------

    def _mode(self, mode: Mode | None) -> Mode:
        if mode is None:
            return self.options.mode
        one_of("mode", mode, ("set", "best", "add"))
        return mode

    def _item(self, member: Any, score: Any = None, data: Any = None) -> rules.Item:
        stored = rules.stored(score, self.options.order)
        return rules.member_of(member), stored, self._desk.encode(data)

    def _members(self, members: Iterable[str]) -> list[str]:
        """Checked, each once, in their order."""
        if isinstance(members, str):
            raise ConfigurationError(f"members={members!r:.80} must be a list, as [{members!r:.80}]")
        found = list(dict.fromkeys(rules.member_of(one) for one in members))
        if len(found) > rules.MOST_ROWS:
            raise ConfigurationError(
                f"{len(found)} members are too many for one answer: ask for {rules.MOST_ROWS} at a time"
            )
        return found

    def _spot(self, period: Period | None, at: datetime | None, ago: int) -> Spot:
        """Which period is meant."""
        calendar = self._desk.calendar
        if isinstance(period, Season) and at is None and not ago:
            return Spot(period.name, pinned=calendar.season(period))
        name = calendar.named(period)
        if at is not None:
            if ago:
                raise ConfigurationError(f"give at={at!r} or ago={ago!r}, not both")
            return Spot(name, pinned=calendar.at(name, at))
        if ago:
            calendar.back(
                name, self._desk.running()[name], ago
            )  # refuses what is wrong before anything is sent
        return Spot(name, ago)

    def _rows(
        self,
        members: Sequence[str],
        scores: Sequence[Number],
        ranks: Sequence[int],
        data: Sequence[bytes | None],
    ) -> list[Row[T]]:
        if not data:
            return [Row(*row) for row in zip(members, scores, ranks, strict=True)]
        known = [self._desk.decode(one) for one in data]
        return [Row(*row) for row in zip(members, scores, ranks, known, strict=True)]

    def _page(self, page: rules.Page) -> list[Row[T]]:
        ranks = rules.ranked(self.options.ties, page.first, page.rank, page.scores)
        return self._rows(page.members, page.scores, ranks, page.data)

    async def _take_over(self, other: AsyncLeaderboard[Any], mode: str, spot: Spot) -> int:
        assert spot.pinned is not None
        desk, cursor = other._desk, "0"
        seen: set[str] = set()
        while True:
            cursor, rows, data = await desk.scan(spot.pinned, cursor)
            fresh = rules.scanned(rows, data, desk.kept)
            items = [
                self._item(member, rules.shown(score, desk.options.order), desk.decode(known))
                for member, score, known in fresh
                if member not in seen
            ]
            seen.update(item[0] for item in items)  # a scan may show a member twice
            for chunk in rules.chunks(items, apart=True):
                await self._desk.write(mode, chunk, only=spot, many=True)
            if cursor == "0":
                return len(seen)
