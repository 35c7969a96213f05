"""How everything here is measured.

A worker process per candidate, its connections warm; the server on one CPU, the worker on another. A round
visits every cell (a load, such as "100 tasks") and in it every candidate, in random order, for a moment each.
So whatever else the machine does hits all alike, and only ratios within one round are compared; a figure is
the median over the rounds. CPU is that of the whole client process, user and system, all its threads.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from holdfast import embedded

Handler = Callable[..., Awaitable[Any]]
Opener = Callable[[str], AbstractAsyncContextManager[Handler]]

PATIENCE = 60.0  # seconds that a worker may be silent before the run is given up


class Candidate(NamedTuple):
    """Something to measure. `open(url)` connects and gives the function that runs one cell; `url`: where, if
    not to the server of the run.
    """

    name: str
    open: Opener
    uvloop: bool = False
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How thorough to be, and where the server is. `seconds`: of one visit of one candidate."""

    server: embedded.Server
    rounds: int
    seconds: float
    quick: bool = False
    dice: random.Random = field(default_factory=random.Random)

    @property
    def url(self) -> str:
        """The server's address, with TCP: what services use."""
        return self.server.url

    def say(self, text: str) -> None:
        """Tell whoever watches what goes on."""
        print(f"... {text}", file=sys.stderr, flush=True)


class Figures(NamedTuple):
    """One visit: operations done, seconds on the wall and of CPU, errors by name, latencies in seconds."""

    done: int
    wall: float
    cpu: float
    errors: dict[str, int]
    p50: float = 0.0
    p99: float = 0.0

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.done / self.wall

    @property
    def cost(self) -> float:
        """Microseconds of CPU per operation."""
        return 1e6 * self.cpu / max(1, self.done)


class Meter:
    """Counts what callers do between `start` and `figures`."""

    def __init__(self) -> None:
        self.running = True
        self.done = 0
        self.errors: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.start()

    def start(self) -> None:
        """From here on."""
        self._cpu, self._wall = _cpu(), time.perf_counter()

    def figures(self) -> Figures:
        """Up to here."""
        wall, cpu = time.perf_counter() - self._wall, _cpu() - self._cpu
        ordered = sorted(self.latencies) or [0.0]
        p50, p99 = (ordered[int(part * (len(ordered) - 1))] for part in (0.5, 0.99))
        return Figures(self.done, wall, cpu, dict(self.errors), p50, p99)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


# --- worker processes ---------------------------------------------------------------------------------------


class Worker:
    """A process that holds one candidate's connections and runs cells on demand."""

    def __init__(self, candidate: Candidate, url: str, cpu: int | None) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, candidate, url, cpu), daemon=True)
        self._process.start()
        theirs.close()
        self.name = candidate.name

    def send(self, *cell: Any) -> None:
        """Start a cell, without waiting for it. Raises: RuntimeError if the candidate failed."""
        try:
            self._pipe.send(cell)
        except BrokenPipeError:
            raise RuntimeError(f"{self.name}: the worker died; its words are above") from None

    def result(self) -> Any:
        """What the cell came to. Raises: RuntimeError if the candidate failed."""
        if not self._pipe.poll(PATIENCE):
            raise RuntimeError(f"{self.name}: no result within {PATIENCE} s")
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self.name}: the worker died; its words are above") from None

    def run(self, *cell: Any) -> Any:
        """Run a cell and wait for it."""
        self.send(*cell)
        return self.result()

    def kill(self) -> None:
        """End it at once, whatever hangs in it."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(pipe: Connection, candidate: Candidate, url: str, cpu: int | None) -> None:
    make_loop = None
    if candidate.uvloop:
        import uvloop

        make_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(_serve(pipe, candidate.open(url), cpu))


async def _serve(pipe: Connection, candidate: AbstractAsyncContextManager[Handler], cpu: int | None) -> None:
    async with candidate as handle:
        pin(0, cpu)
        while True:
            try:
                cell = pipe.recv()  # the loop stands still between cells: nothing is to happen there
            except EOFError:
                return
            pipe.send(await handle(*cell))


# --- rounds -------------------------------------------------------------------------------------------------

Cell = tuple[Any, ...]
Results = dict[tuple[str, Cell], list[Figures]]


def interleave(run: Run, candidates: Sequence[Candidate], cells: Mapping[Cell, float]) -> Results:
    """Measure every candidate in every cell, `run.rounds` times, in random order.

    A cell is what its candidates' handlers take, but for the seconds; `cells` says how many times
    `run.seconds` each is to last.
    """
    results: Results = {(one.name, cell): [] for one in candidates for cell in cells}
    _, cpu = cpus()
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(one, one.url or run.url, cpu)) for one in candidates]
        for worker in workers:
            for cell in cells:
                worker.run(*cell, min(0.2, run.seconds))
        for number in range(run.rounds):
            run.say(f"round {number + 1} of {run.rounds}")
            for cell, share in _shuffled(run, list(cells.items())):
                for worker in _shuffled(run, workers):
                    results[worker.name, cell].append(worker.run(*cell, run.seconds * share))
    return results


def raw(found: Results) -> list[dict[str, Any]]:
    """`found`, to be written down."""
    return [{"name": name, "cell": list(cell), "rounds": [one._asdict() for one in figures]}
            for (name, cell), figures in found.items()]  # fmt: skip


def _shuffled(run: Run, items: list[Any]) -> list[Any]:
    return run.dice.sample(items, len(items))


class Ratio(NamedTuple):
    """The median of the ratios within each round, and the lowest and highest of them."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.1f} x" if self.middle >= 10 else f"{self.middle:.2f} x"

    @property
    def whole(self) -> str:
        """With its range."""
        return f"{self} ({self.low:.2f} to {self.high:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """How many times `theirs` is `ours`, round by round."""
    each = [one / max(other, 1e-9) for one, other in zip(ours, theirs, strict=True)]
    return Ratio(median(each), min(each), max(each))


# --- the machine --------------------------------------------------------------------------------------------


def cpus() -> tuple[int | None, int | None]:
    """A CPU for the server and one for the client; None, None where there is no choice."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    ours = sorted(os.sched_getaffinity(0))
    return (ours[0], ours[1]) if len(ours) > 1 else (None, None)


def pin(process: int, cpu: int | None) -> None:
    """Keep `process` (0: this one) on one CPU."""
    if cpu is not None:
        os.sched_setaffinity(process, {cpu})


@contextmanager
def server() -> Iterator[embedded.Server]:
    """A server of its own, on its own CPU."""
    with embedded.start(port=True, password="") as started:
        pin(started.pid or 0, cpus()[0])
        yield started


def address(url: str) -> dict[str, Any]:
    """Host and port, as redis-py takes them; of several, the first."""
    return addresses(url)[0]


def addresses(url: str) -> list[dict[str, Any]]:
    """All hosts and ports in a URL, as redis-py takes them."""
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    return [{"host": host, "port": int(port)} for host, _, port in (one.rpartition(":") for one in hosts)]
