"""What a leader does in tests, for both flavours, and who was at it when."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any, NamedTuple


class Span(NamedTuple):
    """One term: who worked, from when to when (monotonic), with which fence, and why it ended."""

    who: str
    begun: float
    ended: float
    fence: int
    cause: str | None


class Diary:
    """All spans of a test, and what is going on."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.at_work: list[str] = []
        self.most = 0

    def begin(self, who: str) -> float:
        """`who` begins."""
        self.at_work.append(who)
        self.most = max(self.most, len(self.at_work))
        return time.monotonic()

    def end(self, who: str, begun: float, term: Any) -> None:
        """`who` ends."""
        self.at_work.remove(who)
        self.spans.append(Span(who, begun, time.monotonic(), term.fence, term.cause))

    def check(self) -> None:
        """Never two at once, and fences that grow."""
        assert self.most == 1, f"{self.most} led at once: {self.spans}"
        in_order = sorted(self.spans, key=lambda span: span.begun)
        for one, following in itertools.pairwise(in_order):
            assert one.ended <= following.begun and one.fence < following.fence, (one, following)


class AsyncWorking:
    """Works until the term is over; then does `told`, needs `slow` seconds to end, and does `last`."""

    def __init__(self, diary: Diary, who: str, last: Any = None, told: Any = None, slow: float = 0.0) -> None:
        self.diary = diary
        self.who = who
        self.last = last
        self.told = told
        self.slow = slow

    async def __call__(self, term: Any) -> None:
        begun = self.diary.begin(self.who)
        try:
            await asyncio.sleep(600)
        finally:
            if self.told is not None:
                self.told()
            await asyncio.sleep(self.slow)
            self.diary.end(self.who, begun, term)
            if self.last is not None:
                self.last()


class Working:
    """Works until the term is over; then does `told`, needs `slow` seconds to end, and does `last`."""

    def __init__(self, diary: Diary, who: str, last: Any = None, told: Any = None, slow: float = 0.0) -> None:
        self.diary = diary
        self.who = who
        self.last = last
        self.told = told
        self.slow = slow

    def __call__(self, term: Any) -> None:
        begun = self.diary.begin(self.who)
        term.lost.wait(600)
        if self.told is not None:
            self.told()
        time.sleep(self.slow)
        self.diary.end(self.who, begun, term)
        if self.last is not None:
            self.last()
