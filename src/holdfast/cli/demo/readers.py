"""A reader process: a few threads that answer the requests of the sequence, as fast as they can."""

from __future__ import annotations

import contextlib
import threading
import time
from array import array
from collections.abc import Iterator

from holdfast.cli.demo.messages import Go, Line, Phase, ReaderLog, Ready, Setup, Tick, numbers
from holdfast.cli.demo.pages import READERS
from holdfast.cli.demo.ways import Way

TICK = 0.2  # seconds
_SAMPLE = 60  # latencies per tick
_CALM = 0.01  # seconds after an error, so that a broken server does not make the loop spin
_PATIENCE = 10.0  # seconds for the last reads of a phase


class Lane:
    """One thread of a reader: every request it answered, as columns."""

    def __init__(self, setup: Setup, requests: array[int], number: int) -> None:
        self._codes = setup.codes
        self._requests = requests
        self._next = setup.first + number
        self._stride = setup.stride
        self.keys = array("I")
        self.versions = array("I")
        self.began = array("d")
        self.ended = array("d")
        self.errors: list[str] = []

    def run(self, way: Way, go: Go) -> None:
        """Answer requests from `go.start` to `go.stop`."""
        time.sleep(max(0.0, go.start - time.monotonic()))
        for key in self._sequence():
            began = time.monotonic()
            if began >= go.stop:
                return
            try:
                page = way.page(self._codes[key])
            except Exception as error:  # noqa: BLE001 (counted and shown: 0 of them is the claim)
                self.errors.append(f"{type(error).__name__}: {error}")
                time.sleep(_CALM)
                continue
            ended = time.monotonic()
            self.keys.append(key)
            self.versions.append(page["airport"]["version"])
            self.began.append(began)
            self.ended.append(ended)  # the last column: as long as it is, a read is whole

    def _sequence(self) -> Iterator[int]:
        """This lane's share of the requests, over and over."""
        at = self._next
        while True:
            yield self._requests[at % len(self._requests)]
            at += self._stride


class Reader:
    """The reader's side of a phase."""

    def __init__(self, setup: Setup, line: Line) -> None:
        self._setup = setup
        self._line = line
        self._requests = numbers(setup.requests)

    def phase(self, phase: Phase) -> None:
        """Prepare, wait for Go, read, and hand in the log."""
        way = Way(phase, self._setup.dsn, READERS)
        self._line.send(Ready())
        go = self._line.order()
        assert isinstance(go, Go)
        lanes = [Lane(self._setup, self._requests, number) for number in range(self._setup.threads)]
        threads = [threading.Thread(target=lane.run, args=(way, go), daemon=True) for lane in lanes]
        for thread in threads:
            thread.start()
        self._tick(way, lanes, go)
        for thread in threads:
            thread.join(_PATIENCE)
        self._line.send(self._log(way, lanes))
        with contextlib.suppress(Exception):  # what was read has been handed in
            way.close()

    def _tick(self, way: Way, lanes: list[Lane], go: Go) -> None:
        """Tell the demo how it goes, until the phase is over."""
        seen = [0] * len(lanes)
        loads = errors = 0
        while (left := go.stop - time.monotonic()) > 0:
            if self._line.waiting(min(TICK, left)):
                raise EOFError  # the demo says nothing now, so it is gone
            sample: list[float] = []
            reads = 0
            for number, lane in enumerate(lanes):
                upto, since = len(lane.ended), seen[number]
                reads += upto - since
                step = max(1, (upto - since) * len(lanes) // _SAMPLE)
                sample += [lane.ended[at] - lane.began[at] for at in range(since, upto, step)]
                seen[number] = upto
            loaded, failed = len(way.database.loads), sum(len(lane.errors) for lane in lanes)
            self._line.send(Tick(reads, loaded - loads, failed - errors, sample))
            loads, errors = loaded, failed

    def _log(self, way: Way, lanes: list[Lane]) -> ReaderLog:
        whole = [len(lane.ended) for lane in lanes]  # a thread that is stuck may still add to it

        def column(name: str) -> bytes:
            parts = zip(lanes, whole, strict=True)
            return b"".join(getattr(lane, name)[:size].tobytes() for lane, size in parts)

        errors = [error for lane in lanes for error in lane.errors]
        return ReaderLog(
            keys=column("keys"),
            versions=column("versions"),
            began=column("began"),
            ended=column("ended"),
            loads=list(way.database.loads),
            error_count=len(errors),
            errors=errors[:5],
            connections=way.database.opened,
            refused=way.refused(),
            max_loads=way.max_loads,
        )
