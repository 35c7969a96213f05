"""What a leaderboard must do, in plain Python: dicts, sorted lists and whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from holdfast.leaderboards.options import Season

LIMIT = 2**53


@dataclass
class Entry:
    score: Any
    turn: int


@dataclass
class Model:
    """One board, with a clock in seconds that the test sets."""

    ties: str
    order: str
    mode: str
    periods: Sequence[Any]
    tz: str
    max_size: int | None
    now: int
    keep: int = 10 * 86400
    boards: dict[str, dict[str, Entry]] = field(default_factory=dict)
    data: dict[str, tuple[Any, int]] = field(default_factory=dict)  # value, wanted until (ms; 0 for ever)
    turns: int = 0
    latest: int = 0  # that the clock has shown

    # --- periods --------------------------------------------------------------------------------------------

    def day(self, back: int = 0) -> datetime:
        return datetime.fromtimestamp(self.now, UTC).astimezone(ZoneInfo(self.tz)).replace(
            hour=12, minute=0, second=0
        ) - timedelta(days=back)

    def part(self, period: Any, ago: int = 0) -> str:
        """The name of a period in keys."""
        if isinstance(period, Season):
            return f":season:{period.name}"
        if period == "all":
            return ":all"
        if period == "day":
            return f":day:{self.day(ago).date().isoformat()}"
        if period == "week":
            year, week, _ = self.day(7 * ago).isocalendar()
            return f":week:{year}-W{week:02}"
        first = self.day().replace(day=1)
        for _ in range(ago):
            first = (first - timedelta(days=1)).replace(day=1)
        return f":month:{first.year}-{first.month:02}"

    def end(self, period: Any) -> int:
        """When the running one ends, in milliseconds; 0 never."""
        if isinstance(period, Season):
            return int(period.end.timestamp() * 1000)
        if period == "all":
            return 0
        day = self.day().date()
        if period == "week":
            day += timedelta(days=6 - day.weekday())
        if period == "month":
            day = (day.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        day += timedelta(days=1)
        midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.tz))
        return int(midnight.timestamp() * 1000)

    def running(self) -> list[Any]:
        now = datetime.fromtimestamp(self.now, UTC)
        return [one for one in self.periods if not isinstance(one, Season) or one.start <= now < one.end]

    def wanted(self) -> int:
        ends = [self.end(one) for one in self.running()]
        return 0 if not ends or 0 in ends else max(ends) + self.keep * 1000

    # --- ranks ----------------------------------------------------------------------------------------------

    def line(self, part: str) -> list[str]:
        """The members of a board, the best first."""
        sign = -1 if self.order == "high" else 1
        board = self.boards.get(part, {})

        def key(member: str) -> Any:
            entry = board[member]
            return (sign * Fraction(entry.score), entry.turn if self.ties == "first" else member.encode())

        return sorted(board, key=key)

    def ranks(self, scores: list[Any]) -> list[int]:
        """The ranks of members with these scores, the best first."""
        if self.ties == "competition":
            return [1 + scores.index(one) for one in scores]
        if self.ties == "dense":
            different = list(dict.fromkeys(scores))
            return [1 + different.index(one) for one in scores]
        return [1 + at for at in range(len(scores))]

    def table(self, part: str) -> list[tuple[str, Any, int]]:
        line = self.line(part)
        scores = [self.boards[part][one].score for one in line]
        return list(zip(line, scores, self.ranks(scores), strict=True))

    def rank(self, part: str, member: str) -> int | None:
        return next((rank for one, _, rank in self.table(part) if one == member), None)

    # --- changes --------------------------------------------------------------------------------------------

    def total(self, part: str, member: str, by: Any) -> Any:
        """What adding gives; None if it is no exact number."""
        entry = self.boards.get(part, {}).get(member)
        old = 0 if entry is None else entry.score
        if Fraction(old).denominator == Fraction(by).denominator == 1:
            exact = int(old) + int(by)
            return exact if -LIMIT <= exact <= LIMIT else None
        inexact = float(old) + float(by)
        return inexact if -LIMIT <= inexact <= LIMIT else None

    def submit(self, member: str, score: Any, mode: str, told: Any, data: Any = None) -> Any:
        """(rank, score, previous_rank); None if a sum would not be exact: then nothing was done."""
        running = self.running()
        if mode == "add" and any(self.total(self.part(one), member, score) is None for one in running):
            return None
        answer: tuple[Any, Any, Any] = (None, score, None)
        for period in running:
            part = self.part(period)
            board = self.boards.setdefault(part, {})
            entry, previous, new = board.get(member), self.rank(part, member), score
            if mode == "add":
                new = self.total(part, member, score)
            if mode == "best" and entry is not None:
                new = (max if self.order == "high" else min)(entry.score, score)
            if entry is None or entry.score != new:
                self.turns += 1
                board[member] = Entry(new, self.turns)
            self.cut(part)
            if period == told:
                answer = (self.rank(part, member), new, previous)
        if self.is_there(member):
            self.note(member, data)
        return answer

    def cut(self, part: str) -> None:
        for member in self.line(part)[self.max_size or LIMIT :]:
            del self.boards[part][member]
            if not self.is_there(member):
                self.data.pop(member, None)

    def is_there(self, member: str) -> bool:
        return any(member in self.boards.get(self.part(one), {}) for one in self.running())

    def note(self, member: str, data: Any) -> None:
        wanted = self.wanted()
        known, till = self.data.get(member, (None, wanted))
        if member in self.data:
            till = 0 if 0 in (till, wanted) else max(till, wanted)
        if data is not None or member in self.data:
            self.data[member] = (known if data is None else data, till)

    def remove(self, member: str, period: Any = None) -> bool:
        was = False
        for one in self.running() if period is None else [period]:
            was |= self.boards.get(self.part(one), {}).pop(member, None) is not None
        if period is None:
            self.data.pop(member, None)
        return was

    # --- reading --------------------------------------------------------------------------------------------

    def percentile(self, part: str, member: str) -> float | None:
        scores = {one: score for one, score, _ in self.table(part)}
        if member not in scores:
            return None
        sign = 1 if self.order == "high" else -1
        worse = sum(sign * score < sign * scores[member] for score in scores.values())
        return 100.0 if len(scores) == 1 else 100 * worse / (len(scores) - 1)

    def score_at(self, part: str, percent: int) -> Any:
        scores = [score for _, score, _ in self.table(part)][::-1]
        return scores[math.ceil(Fraction(percent, 100) * (len(scores) - 1))] if scores else None
