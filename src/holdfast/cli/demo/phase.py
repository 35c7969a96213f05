"""One phase: all readers and the writer from "go" to the result, audited."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import psycopg

from holdfast.cli.demo.figures import PhaseResult, percentile
from holdfast.cli.demo.fleet import Fleet
from holdfast.cli.demo.judge import Logs, judge
from holdfast.cli.demo.messages import Go, Phase, ReaderLog, Tick, WayName, WriterLog
from holdfast.cli.demo.pages import READERS
from holdfast.cli.demo.picture import Now, Picture
from holdfast.cli.demo.server import Accident, CacheServer
from holdfast.errors import Unavailable

_HEAD_START = 0.1  # seconds for "go" to reach everyone
_PATIENCE = 30.0  # seconds after the end for the last log
_WINDOW = 1.0  # seconds that the live figures look back
_COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"


@dataclass(frozen=True, slots=True)
class Stage:
    """What every phase is played on. `readers`: processes; `codes`: of the airports."""

    fleet: Fleet
    server: CacheServer
    database: psycopg.Connection[tuple[int]]
    codes: list[str]
    readers: int
    picture: Picture


class Gauge:
    """The live figures of the last second."""

    def __init__(self, way: WayName, go: Go) -> None:
        self._way: WayName = way
        self._go = go
        self._ticks: deque[tuple[float, Tick]] = deque()
        self._errors = 0
        self.connections = 0

    def add(self, tick: Tick, now: float) -> None:
        """Add what a reader did."""
        self._ticks.append((now, tick))
        self._errors += tick.errors

    def read(self, now: float) -> Now:
        """How it goes."""
        while self._ticks and self._ticks[0][0] < now - _WINDOW:
            self._ticks.popleft()
        reads = sum(tick.reads for _, tick in self._ticks)
        loads = sum(tick.loads for _, tick in self._ticks)
        latencies = sorted(one for _, tick in self._ticks for one in tick.latencies)
        elapsed = max(0.0, now - self._go.start)
        return Now(
            way=self._way,
            done=min(1.0, elapsed / (self._go.stop - self._go.start)),
            reads_per_second=reads / max(0.2, min(_WINDOW, elapsed)),
            hit_ratio=None if self._way == "database" else max(0.0, 1 - loads / max(1, reads)),
            p99_ms=percentile(latencies, 0.99) * 1000,
            connections=self.connections,
            errors=self._errors,
        )


def play(stage: Stage, way: WayName, seconds: float) -> PhaseResult:
    """Play one phase, live, and judge it."""
    server = stage.server
    url = server.url if way == "holdfast" else server.plain_url
    stage.fleet.prepare(Phase(way, url, f"{server.namespace}-{way}"))
    start = time.monotonic() + _HEAD_START
    go = Go(start, start + seconds)
    stage.fleet.go(go)
    stage.picture.phase(way)
    accident = Accident(server.ours if way == "holdfast" else None, go, stage.picture.event)
    logs = _watch(stage, Gauge(way, go), go, accident)
    return judge(way, seconds, logs, stage.codes, (accident.began, accident.ended))


def _watch(stage: Stage, gauge: Gauge, go: Go, accident: Accident) -> Logs:
    """Show how it goes until every log is in."""
    readers: list[ReaderLog] = []
    writer: WriterLog | None = None
    while writer is None or len(readers) < stage.readers:
        for message in stage.fleet.hear(0.1):
            if isinstance(message, Tick):
                gauge.add(message, time.monotonic())
            elif isinstance(message, ReaderLog):
                readers.append(message)
            elif isinstance(message, WriterLog):
                writer = message
        now = time.monotonic()
        if now > go.stop + _PATIENCE:
            raise Unavailable(f"a worker process does not end its phase, {_PATIENCE:g} s after its time")
        accident.advance(now)
        if now < go.stop:
            row = stage.database.execute(_COUNT, (READERS,)).fetchone()
            gauge.connections = row[0] if row else 0
            stage.picture.show(gauge.read(now))
    return Logs(readers, writer)
