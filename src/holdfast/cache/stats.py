"""What a cache counts in this process. `Counters` is added to, `CacheStats` is what the user gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from holdfast.cache.shelf import Shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """Counts since the cache object was made, of this process; `undelivered` is a gauge.

    A lookup is a hit (in this process, l1, or on the server, l2), a stale hit, a miss, or bypassed (the cache
    is off, or Redis is away). `l1_bypassed` are copies that could not be trusted, by reason: deaf (nothing is
    heard), outdated (nothing was heard for longer than max_staleness), refused (the server forbids it);
    `l1_invalidations` were dropped since they changed, `l1_resets` is how often all were. `refreshes` are
    loads in the background; `audited` hits were compared with the source, which had something else for
    `stale_reads`. `waits` are those that waited for another process's load; `fills` were stored;
    `refused_fills` were not, by reason in `refused`; `undecodable` entries counted as misses, by reason;
    `load_seconds` is the sum over `loads` and `load_errors`.
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
    l1_bypassed: Mapping[str, int] = field(default_factory=dict)
    l1_invalidations: int = 0
    l1_resets: int = 0
    l1_entries: int = 0
    l1_bytes: int = 0
    l1_evictions: int = 0
    stale_hits: int = 0
    refreshes: int = 0
    refresh_errors: int = 0
    soft_timeouts: int = 0
    hard_timeouts: int = 0
    audited: int = 0
    stale_reads: int = 0


class Counters:
    """Plain integers to add to; a hit costs one addition. Threads may lose a count, never more."""

    _NAMES = (
        "bypassed", "fills", "hits", "invalidations", "load_errors", "loads", "misses", "negative_hits",
        "overloaded", "served_expired", "waits", "l1_hits", "l1_invalidations", "l1_resets", "stale_hits",
        "refreshes", "refresh_errors", "soft_timeouts", "hard_timeouts", "audited", "stale_reads",
    )  # fmt: skip
    __slots__ = (*_NAMES, "load_seconds", "refused", "undecodable", "l1_bypassed")

    bypassed: int
    fills: int
    hits: int
    invalidations: int
    load_errors: int
    loads: int
    misses: int
    negative_hits: int
    overloaded: int
    served_expired: int
    waits: int
    l1_hits: int
    l1_invalidations: int
    l1_resets: int
    stale_hits: int
    refreshes: int
    refresh_errors: int
    soft_timeouts: int
    hard_timeouts: int
    audited: int
    stale_reads: int

    def __init__(self) -> None:
        for name in self._NAMES:
            setattr(self, name, 0)
        self.load_seconds = 0.0
        self.refused: Counter[str] = Counter()
        self.undecodable: Counter[str] = Counter()
        self.l1_bypassed: Counter[str] = Counter()

    def snapshot(self, undelivered: int, shelf: Shelf[Any] | None) -> CacheStats:
        """What was counted so far, with `undelivered` invalidations kept and copies on the `shelf`."""
        counted = {name: getattr(self, name) for name in self._NAMES if name != "hits"}
        near = {} if shelf is None else {
            "l1_entries": len(shelf), "l1_bytes": shelf.weight, "l1_evictions": shelf.evictions
        }  # fmt: skip
        return CacheStats(
            **counted, **near, l2_hits=self.hits, load_seconds=self.load_seconds,
            refused_fills=self.refused.total(), refused=MappingProxyType(dict(self.refused)),
            undecodable=MappingProxyType(dict(self.undecodable)),
            l1_bypassed=MappingProxyType(dict(self.l1_bypassed)), undelivered=undelivered,
        )  # fmt: skip
