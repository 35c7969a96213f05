"""Counters: how often something happened in each bucket. Pure.

The counts of one series lie in hashes of SPAN buckets each, so that a server keeps them packed (a listpack
has 512 fields by default): some eight bytes a bucket instead of a hundred, one key and one time to live for
all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from holdfast._wire.script import Script
from holdfast._wire.transport import Arg, Command
from holdfast.analytics.kinds import REMEMBER_MS, Call, Cell, Place
from holdfast.durations import seconds

COUNT = Script.load(__package__, "count")

SPAN = 480  # buckets in a hash
MOST = 2000  # buckets in one call
LARGEST = 1 << 53  # of what one event counts


class Counter:
    """The kind of `count`. An aggregate is a list of one number, so that the hot path adds in place."""

    name = "counter"

    def fresh(self) -> list[int]:
        """Nothing counted."""
        return [0]

    def add(self, aggregate: list[int], item: None, n: int) -> int:  # noqa: ARG002 (other kinds have one)
        """Count `n`; that takes no more memory."""
        aggregate[0] += n
        return 0

    def merge(self, into: list[int], more: list[int]) -> None:
        """Both together."""
        into[0] += more[0]

    def calls(
        self, place: Place, cells: Sequence[tuple[Cell, list[int]]], request: Callable[[], int]
    ) -> list[Call]:
        """See Kind."""
        chunks: dict[str, tuple[int, dict[int, int]]] = {}
        for cell, (n,) in cells:
            length = span(cell.resolution)
            start = cell.start - cell.start % length
            key = place.key(self.name, cell.series, cell.resolution, start)
            counts = chunks.setdefault(key, (cell.ttl + length * 1000, {}))[1]
            field = cell.start - start
            counts[field] = counts.get(field, 0) + n
        memo = place.memo(self.name)
        return [self._call(memo, request(), part) for part in _parts(chunks)]

    @staticmethod
    def _call(memo: str, number: int, part: Mapping[str, tuple[int, list[tuple[int, int]]]]) -> Call:
        args: list[Arg] = [number, REMEMBER_MS]
        for ttl, counts in part.values():
            args += (ttl, len(counts))
            for field, n in counts:
                args += (field, n)
        return Call(COUNT, (memo, *part), tuple(args))


@lru_cache(64)
def span(resolution: str) -> int:
    """Seconds of which the buckets are in one hash."""
    return round(seconds(resolution)) * SPAN


def _parts(
    chunks: Mapping[str, tuple[int, dict[int, int]]],
) -> Iterator[dict[str, tuple[int, list[tuple[int, int]]]]]:
    """The same in parts of MOST buckets. What adds up to nothing makes no bucket."""
    part: dict[str, tuple[int, list[tuple[int, int]]]] = {}
    size = 0
    for key, (ttl, counts) in chunks.items():
        pairs = [pair for pair in counts.items() if pair[1]]
        if size and size + len(pairs) > MOST:
            yield part
            part, size = {}, 0
        if pairs:
            part[key] = ttl, pairs
            size += len(pairs)
    if part:
        yield part


# --- reading ------------------------------------------------------------------------------------------------


def questions(place: Place, resolution: str, starts: Sequence[int], series: Sequence[str]) -> list[Command]:
    """What to ask for those buckets: of each series all chunks, one after the other."""
    if not starts:
        return []
    length = span(resolution)
    chunks = range(starts[0] - starts[0] % length, starts[-1] + 1, length)
    return [
        ("HGETALL", place.key(COUNTER.name, one, resolution, start)) for one in series for start in chunks
    ]


def answers(replies: Sequence[Any], resolution: str, starts: Sequence[int]) -> dict[int, int]:
    """The counts of the buckets, from the replies of any number of series; those without one are left out."""
    counts: dict[int, int] = {}
    if not starts:
        return counts
    length = span(resolution)
    chunks = range(starts[0] - starts[0] % length, starts[-1] + 1, length)
    for place, reply in enumerate(replies):
        chunk = chunks[place % len(chunks)]
        for field, n in _pairs(reply):
            start = chunk + int(field)
            counts[start] = counts.get(start, 0) + int(n)
    return counts


def _pairs(reply: Any) -> Iterator[tuple[bytes, bytes]]:
    """Field and value, whichever protocol made the reply."""
    if isinstance(reply, Mapping):
        return iter(reply.items())
    return zip(reply[::2], reply[1::2], strict=True)


COUNTER = Counter()
