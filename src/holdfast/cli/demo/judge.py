"""From the logs of all processes to the result of a phase. Pure."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from itertools import chain

from holdfast.cli.demo.auditor import Auditor
from holdfast.cli.demo.figures import Outage, PhaseResult, Span, outside, percentile, stampedes
from holdfast.cli.demo.messages import Load, ReaderLog, WayName, WriterLog, moments, numbers
from holdfast.cli.demo.pages import QUERIES
from holdfast.cli.demo.ways import TITLES

_NOTICED = 1.5  # seconds after which every process has noticed that the server is back


@dataclass(frozen=True, slots=True)
class Logs:
    """What every process handed in after a phase."""

    readers: list[ReaderLog]
    writer: WriterLog

    @property
    def loads(self) -> list[Load]:
        """Every load of a page."""
        return [load for log in self.readers for load in log.loads]

    @property
    def connections(self) -> int:
        """The readers' connections to the database: none is closed in a phase, so this is the peak."""
        return sum(log.connections for log in self.readers)

    @property
    def error_count(self) -> int:
        """Reads and updates that failed."""
        return self.writer.error_count + sum(log.error_count for log in self.readers)


class Evidence:
    """All reads of a phase, seen by the auditor."""

    def __init__(self, logs: Logs, codes: list[str]) -> None:
        self.auditor = Auditor(logs.writer.updates, codes)
        self.ends: list[array[float]] = []
        self.pages: set[int] = set()
        latencies: list[float] = []
        for log in logs.readers:
            keys, began, ended = numbers(log.keys), moments(log.began), moments(log.ended)
            self.auditor.judge(keys, numbers(log.versions), began, ended)
            self.pages.update(keys)
            self.ends.append(ended)
            latencies += [end - begin for begin, end in zip(began, ended, strict=True)]
        self.latencies = sorted(latencies)


def judge(way: WayName, seconds: float, logs: Logs, codes: list[str], away: Span) -> PhaseResult:
    """The result of a phase. `away`: when the cache server was; infinite if it never was."""
    evidence = Evidence(logs, codes)
    loads, reads = logs.loads, len(evidence.latencies)
    herds = [] if way == "database" else _herds(logs, codes, away)
    return PhaseResult(
        way=way,
        title=TITLES[way],
        seconds=seconds,
        reads=reads,
        pages=len(evidence.pages),
        reads_per_second=reads / seconds,
        p50_ms=percentile(evidence.latencies, 0.50) * 1000,
        p99_ms=percentile(evidence.latencies, 0.99) * 1000,
        loads=len(loads),
        queries=len(loads) * QUERIES,
        updates=len(logs.writer.updates),
        connections=logs.connections,
        hit_ratio=None if way == "database" else max(0.0, 1 - len(loads) / max(1, reads)),
        loads_per_cold_key=sum(herds) / len(herds) if herds else None,
        loads_per_cold_key_max=max(herds) if herds else None,
        stale=len(evidence.auditor.stale),
        errors=logs.error_count,
        error_samples=[*chain(logs.writer.errors, *(log.errors for log in logs.readers))][:5],
        lies=evidence.auditor.lies(),
        refused_fills=sum(log.refused for log in logs.readers),
        outage=_outage(logs, evidence, away) if away[1] < math.inf else None,
    )


def _herds(logs: Logs, codes: list[str], away: Span) -> list[int]:
    """The stampedes, without the time when each process had to load for itself."""
    updates: dict[str, list[Span]] = {}
    for update in logs.writer.updates:
        known = math.inf if update.visible is None else update.visible
        updates.setdefault(codes[update.key], []).append((update.committed, known))
    return stampedes(outside(logs.loads, away[0], away[1] + _NOTICED), updates)


def _outage(logs: Logs, evidence: Evidence, away: Span) -> Outage:
    began, ended = away
    reads = sum(began <= one <= ended for column in evidence.ends for one in column)
    return Outage(
        seconds=ended - began,
        reads=reads,
        reads_per_second=reads / (ended - began),
        errors=logs.error_count,
        stale=sum(began <= read.ended <= ended for read in evidence.auditor.stale),
        loads=sum(began <= load.began <= ended for load in logs.loads),
        connections=logs.connections,
        limit=sum(log.max_loads for log in logs.readers),
        invalidations_kept=logs.writer.kept,
    )
