"""What a cache counts in this process. `Counters` is added to, `CacheStats` is what the user gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """Counts since the cache object was made, of this process; `undelivered` is a gauge.

    A lookup is a hit, a miss, or bypassed (the cache is off, or Redis is away). `waits` are those that
    waited for another process's load; `fills` were stored; `refused_fills` were not, by reason in `refused`;
    `undecodable` entries counted as misses, by reason; `load_seconds` is the sum over `loads` and
    `load_errors`.
    """

    l1_hits: int = 0
    l2_hits: int = 0
    misses: int = 0
    bypassed: int = 0
    negative_hits: int = 0
    loads: int = 0
    load_errors: int = 0
    load_seconds: float = 0.0
    waits: int = 0
    fills: int = 0
    refused_fills: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    served_expired: int = 0
    undecodable: Mapping[str, int] = field(default_factory=dict)
    invalidations: int = 0
    undelivered: int = 0
    overloaded: int = 0


class Counters:
    """Plain integers to add to; a hit costs one addition. Threads may lose a count, never more."""

    __slots__ = (
        "bypassed", "fills", "hits", "invalidations", "load_errors", "load_seconds", "loads", "misses",
        "negative_hits", "overloaded", "refused", "served_expired", "undecodable", "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.hits = self.misses = self.bypassed = self.negative_hits = 0
        self.loads = self.load_errors = self.waits = self.fills = 0
        self.load_seconds = 0.0
        self.served_expired = self.invalidations = self.overloaded = 0
        self.refused: Counter[str] = Counter()
        self.undecodable: Counter[str] = Counter()

    def snapshot(self, undelivered: int) -> CacheStats:
        """What was counted so far, with `undelivered` invalidations kept."""
        return CacheStats(
            l2_hits=self.hits, misses=self.misses, bypassed=self.bypassed, negative_hits=self.negative_hits,
            loads=self.loads, load_errors=self.load_errors, load_seconds=self.load_seconds, waits=self.waits,
            fills=self.fills, refused_fills=self.refused.total(),
            refused=MappingProxyType(dict(self.refused)), served_expired=self.served_expired,
            undecodable=MappingProxyType(dict(self.undecodable)), invalidations=self.invalidations,
            undelivered=undelivered, overloaded=self.overloaded,
        )  # fmt: skip
