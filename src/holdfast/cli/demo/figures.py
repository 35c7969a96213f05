"""The figures of the demo: percentiles, stampedes, and the report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from msgspec import Struct

from holdfast.cli.demo.auditor import Lie
from holdfast.cli.demo.messages import Load, WayName

_ENOUGH = 10  # times as many reads as from the database alone: what Holdfast claims


_GRANTED = 0.01  # seconds at most between the grant of a load and its beginning, on a busy machine
Span = tuple[float, float]


class Outage(Struct, frozen=True, kw_only=True):
    """What happened while the cache server was away, from its end until it answered again.

    `connections`: to the database, at most at once, and `errors`, are those of the whole phase; `limit`: the
    connections that `max_loads` allows.
    """

    seconds: float
    reads: int
    reads_per_second: float
    errors: int
    stale: int
    loads: int
    connections: int
    limit: int
    invalidations_kept: int


class PhaseResult(Struct, frozen=True, kw_only=True):
    """One phase. `p50_ms` and `p99_ms` are in milliseconds, every other time in seconds.

    `pages`: different ones that were read. `hit_ratio`: reads that needed no SQL of their own; None without a
    cache. `loads_per_cold_key`: loads of a page that overlapped whenever it was cold, on average, and
    `..._max` at worst; while the server was up. `lies`: all stale reads, by version served. `refused_fills`:
    older values that came too late and were not stored.
    """

    way: WayName
    title: str
    seconds: float
    reads: int
    pages: int
    reads_per_second: float
    p50_ms: float
    p99_ms: float
    loads: int
    queries: int
    updates: int
    connections: int
    hit_ratio: float | None
    loads_per_cold_key: float | None
    loads_per_cold_key_max: int | None
    stale: int
    errors: int
    error_samples: list[str]
    lies: list[Lie]
    refused_fills: int
    outage: Outage | None = None


class Report(Struct, frozen=True, kw_only=True):
    """The whole demo. `speedup`: reads per second with Holdfast, over those from the database alone."""

    database: str
    server: str
    workload: str
    airports: int
    processes: int
    threads: int
    phases: list[PhaseResult]
    clock: float = 0.0  # what to add to a time here to get seconds since 1970

    @property
    def speedup(self) -> float:
        """Reads per second with Holdfast, over those from the database alone."""
        by = {phase.way: phase.reads_per_second for phase in self.phases}
        return by["holdfast"] / by["database"] if by.get("database") else 0.0

    @property
    def textbook(self) -> PhaseResult:
        """The phase of the textbook."""
        return next(phase for phase in self.phases if phase.way == "textbook")

    @property
    def holdfast(self) -> PhaseResult:
        """The phase of Holdfast."""
        return next(phase for phase in self.phases if phase.way == "holdfast")

    @property
    def kept_its_word(self) -> bool:
        """Did Holdfast serve nothing stale and fail no read?"""
        return self.holdfast.stale == 0 and self.holdfast.errors == 0

    @property
    def fast_enough(self) -> bool:
        """Did it serve the multiple of the database's reads that it claims?"""
        return self.speedup >= _ENOUGH


def percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed; 0 if there are none."""
    if not ascending:
        return 0.0
    at = -(-share * len(ascending) // 1)  # rounded up
    return ascending[max(0, int(at) - 1)]


def stampedes(loads: Iterable[Load], updates: Mapping[str, Sequence[Span]]) -> list[int]:
    """For each time a page was cold: how many loads of it overlapped.

    `updates`: of each page, from the commit of a version until caches were known to have dropped the older.
    A load that began after an update is no part of the herd from before it, even while that still runs: the
    update made the page cold once more. (A load notes its beginning a moment after it was granted.)
    """
    by_page: dict[str, list[Span]] = {}
    for load in loads:
        by_page.setdefault(load.code, []).append((load.began, load.ended))
    found: list[int] = []
    for code, spans in by_page.items():
        first = until = -inf
        for began, ended in sorted(spans):
            again = any(then <= began and first <= known + _GRANTED for then, known in updates.get(code, ()))
            if began >= until or again:
                found.append(0)
                first = began
            found[-1] += 1
            until = max(until, ended)
    return found


def outside(loads: Iterable[Load], begin: float, end: float) -> list[Load]:
    """The loads that did not touch the time from `begin` to `end`."""
    return [load for load in loads if load.ended < begin or load.began > end]
