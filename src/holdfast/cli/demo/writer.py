"""The writer process: updates airports by the schedule, and notes when each version became the truth."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from holdfast.cli.demo.messages import Go, Line, Phase, Ready, Setup, Update, WriterLog
from holdfast.cli.demo.ways import Way

_NOTICES = ("on time", "fog, 20 minutes late", "runway 2 closed", "thunderstorm", "snow, expect delays", "")
_LOOK = 0.002  # seconds between two looks whether a kept invalidation was delivered
_PATIENCE = 5.0  # seconds, at the end of a phase, for those still on their way


@dataclass(slots=True)
class _Version:
    """A committed version; `visible`: when caches were known to have dropped the older ones."""

    key: int
    version: int
    committed: float
    visible: float | None


class Writer:
    """The writer's side of a phase."""

    def __init__(self, setup: Setup, line: Line) -> None:
        self._setup = setup
        self._line = line

    def phase(self, phase: Phase) -> None:
        """Prepare, wait for Go, write, and hand in the log."""
        way = Way(phase, self._setup.dsn, "holdfast demo writer")
        self._line.send(Ready())
        go = self._line.order()
        assert isinstance(go, Go)
        self._line.send(self._write(way, go))
        with contextlib.suppress(Exception):  # what was written has been handed in
            way.close()

    def _write(self, way: Way, go: Go) -> WriterLog:
        versions: list[_Version] = []
        kept: list[_Version] = []  # not delivered yet
        ever_kept = 0
        errors: list[str] = []
        for number, (offset, key) in enumerate(self._setup.updates):
            if not self._wait(way, go, go.start + offset, kept):
                break
            code, notice = self._setup.codes[key], _NOTICES[number % len(_NOTICES)]
            before = way.database.committed
            confirmed = False
            try:
                confirmed = way.update(code, notice)
            except Exception as error:  # noqa: BLE001 (counted and shown)
                errors.append(f"{type(error).__name__}: {error}")
            if way.database.committed == before:
                continue  # nothing was committed
            done = _Version(key, *way.database.committed, time.monotonic() if confirmed else None)
            versions.append(done)
            if not confirmed:
                kept.append(done)
                ever_kept += 1
        self._drain(way, kept)
        return WriterLog(
            [Update(one.key, one.version, one.committed, one.visible) for one in versions],
            error_count=len(errors),
            errors=errors[:5],
            kept=ever_kept,
        )

    def _wait(self, way: Way, go: Go, until: float, kept: list[_Version]) -> bool:
        """Wait until then; False if the phase is over by then."""
        until = min(until, go.stop)
        while (left := until - time.monotonic()) > 0:
            if self._line.waiting(min(left, _LOOK) if kept else left):
                raise EOFError  # the demo says nothing now, so it is gone
            _deliver(way, kept)
        return until < go.stop

    def _drain(self, way: Way, kept: list[_Version]) -> None:
        give_up = time.monotonic() + _PATIENCE
        while kept and time.monotonic() < give_up:
            time.sleep(_LOOK)
            _deliver(way, kept)


def _deliver(way: Way, kept: list[_Version]) -> None:
    """Note that everything kept has been delivered, once nothing is on its way any more."""
    if kept and way.undelivered() == 0:
        now = time.monotonic()
        for one in kept:
            one.visible = now
        kept.clear()
