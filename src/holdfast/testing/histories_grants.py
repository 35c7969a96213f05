"""Exact checks of grants, without a search, in O(n log n).

They look at what a holder may rely on: from the grant's return until he began to give it back, or until his
lease's certain end, whichever came first, nobody else was told the same.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A lock that somebody got, with times in seconds of one clock.

    `asked`, `granted`: when the acquire was called and when it returned. `until`: when he stopped relying on
    it: the first of the call of its release, the certain end of the lease as he knew it, and the news that it
    was lost. `fence` 0: none. `shared`: a reader's, which excludes writers only.
    """

    key: str = ""
    who: Hashable
    asked: float
    granted: float
    until: float = math.inf
    fence: int = 0
    shared: bool = False

    def __str__(self) -> str:
        fence = f", fence {self.fence}" if self.fence else ""
        his = f"{self.granted:.6f} to {self.until:.6f}"
        return f"{self.key} {self.who}: asked {self.asked:.6f}, his {his}{fence}"


def fence_faults(grants: Iterable[Grant]) -> list[tuple[Grant, Grant]]:
    """Pairs (earlier, later) of one key whose fences do not grow: the later was asked for after the earlier
    had been granted, or both have the same. Empty if all is well; at most one pair for each grant.
    """
    faults: list[tuple[Grant, Grant]] = []
    for part in _by_key(grant for grant in grants if grant.fence):
        largest: Grant | None = None
        waiting = sorted(part, key=lambda grant: grant.granted, reverse=True)
        for later in sorted(part, key=lambda grant: grant.asked):
            while waiting and waiting[-1].granted < later.asked:
                earlier = waiting.pop()
                if largest is None or earlier.fence > largest.fence:
                    largest = earlier
            if largest is not None and largest.fence >= later.fence:
                faults.append((largest, later))
        known = set(faults)
        pairs = itertools.pairwise(sorted(part, key=lambda grant: (grant.fence, grant.asked)))
        faults += [pair for pair in pairs if pair[0].fence == pair[1].fence and pair not in known]
    return faults


def overlaps(grants: Iterable[Grant], permits: int = 1) -> list[tuple[Grant, Grant]]:
    """Pairs (earlier, later) of one key that were relied on at the same time and must not have been.

    Given `permits`, that many may be. Empty if all is well; at most one pair for each grant, the other of
    which is the one that would have lasted longest.
    """
    faults = []
    for part in _by_key(grant for grant in grants if grant.until > grant.granted):
        alone: list[tuple[float, int, Grant]] = []  # heaps by their end
        readers: list[tuple[float, int, Grant]] = []
        for number, grant in enumerate(sorted(part, key=lambda grant: grant.granted)):
            for heap in (alone, readers):
                while heap and heap[0][0] <= grant.granted:
                    heapq.heappop(heap)
            if len(alone) + (0 if grant.shared else len(readers)) >= permits:
                against = alone if grant.shared else alone + readers
                faults.append((max(against)[2], grant))
            heapq.heappush(readers if grant.shared else alone, (grant.until, number, grant))
    return faults


def _by_key(grants: Iterable[Grant]) -> Iterable[list[Grant]]:
    keys: defaultdict[str, list[Grant]] = defaultdict(list)
    for grant in grants:
        keys[grant.key].append(grant)
    return keys.values()
