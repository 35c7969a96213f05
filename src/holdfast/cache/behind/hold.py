"""What the writers of one cache share: durations, the right to a partition, when to stop. Pure."""

from __future__ import annotations

from holdfast.cache.behind.journal import Partition
from holdfast.cache.behind.options import Behind
from holdfast.cache.behind.rules import MARGIN
from holdfast.durations import seconds


class Pace:
    """The durations of `Behind` in the units that are needed: seconds, or microseconds for the server."""

    __slots__ = ("delay", "first", "lease", "longest")

    def __init__(self, options: Behind) -> None:
        self.delay = seconds(options.delay, zero=True)
        self.lease = seconds(options.lease)
        self.first, self.longest = (seconds(one) for one in options.retry)

    @staticmethod
    def micros(duration: float) -> int:
        """`duration` for the server."""
        return int(duration * 1_000_000)


class Hold:
    """The right to write a partition, under one fence. `until` is monotonic, and rather too early than too
    late: it counts from before the request that was granted.
    """

    __slots__ = ("fence", "holder", "lost", "partition", "text", "until")

    def __init__(self, partition: Partition, holder: str, fence: int, until: float) -> None:
        self.partition = partition
        self.holder = holder
        self.lost = False
        self.renew(fence, until)

    def renew(self, fence: int, until: float) -> None:
        """It is ours until then, under this fence."""
        self.fence, self.until = fence, until
        self.text = f"{self.holder}:{fence}"

    def left(self, now: float) -> float:
        """Seconds for which it is certainly ours."""
        return 0.0 if self.lost else max(0.0, self.until - now)

    def allows(self, now: float, lease: float) -> bool:
        """Is enough left for a call of the source to begin?"""
        return self.left(now) > lease * MARGIN


class Closing:
    """When a crew is to end: `by` is monotonic, None while it works."""

    __slots__ = ("by",)

    def __init__(self) -> None:
        self.by: float | None = None

    def left(self, now: float) -> float | None:
        """Seconds until its end; None while it works."""
        return None if self.by is None else max(0.0, self.by - now)
