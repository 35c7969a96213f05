"""What a question about one metric looks at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from holdfast.analytics.kinds import Place
from holdfast.durations import Duration

When = datetime | Duration
"""A point in time: an aware datetime, or how long ago it was."""


class Window(NamedTuple):
    """A period, as the fewest buckets that cover it: of each, its resolution and its start.

    `series`: those whose tags match; all events if none were asked for. `now`, `since`, `until`: in seconds
    since 1970, by the server's clock.
    """

    place: Place
    series: Sequence[str]
    buckets: Sequence[tuple[str, int]]
    now: float
    since: float
    until: float

    def keys(self, kind: str) -> Iterator[str]:
        """The keys of all its cells."""
        for resolution, start in self.buckets:
            for one in self.series:
                yield self.place.key(kind, one, resolution, start)


class Steps(NamedTuple):
    """A period, bucket by bucket: the starts of all of them, in one resolution."""

    place: Place
    series: Sequence[str]
    resolution: str
    starts: Sequence[int]

    def keys(self, kind: str, start: int) -> tuple[str, ...]:
        """The keys of all cells of one bucket."""
        return tuple(self.place.key(kind, one, self.resolution, start) for one in self.series)
