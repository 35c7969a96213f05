"""The demo on a terminal: one live picture of the steps, the three phases, and what happens in them."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from holdfast.cli.demo.figures import PhaseResult
from holdfast.cli.demo.messages import WayName
from holdfast.cli.demo.picture import Now, Picture, verdict

_BAR = 10  # columns
_SHORT: dict[WayName, str] = {"database": "database", "textbook": "textbook", "holdfast": "Holdfast"}


class Terminal(Picture):
    """Draws itself anew several times a second."""

    def __init__(self, console: Console) -> None:
        self._banner = ""
        self._steps: list[str] = []
        self._spinner: Spinner | None = None
        self._now: dict[WayName, Now] = {}
        self._results: dict[WayName, PhaseResult] = {}
        self._events: list[tuple[str, str]] = []
        self._live = Live(self, console=console, refresh_per_second=10)
        self._live.start()

    def close(self) -> None:
        """Leave the screen as it is now."""
        self._spinner = None
        self._live.stop()

    def banner(self, text: str) -> None:
        """What this is."""
        self._banner = text

    def step(self, text: str) -> None:
        """Something is being done."""
        self._spinner = Spinner("dots", Text(text))

    def done(self, text: str) -> None:
        """The step is done, with this outcome."""
        self._spinner = None
        self._steps.append(text)

    def phase(self, way: WayName) -> None:
        """A phase begins."""
        self._spinner = None
        self.show(Now(way=way, done=0, reads_per_second=0, hit_ratio=None, p99_ms=0, connections=0, errors=0))

    def show(self, now: Now) -> None:
        """How the phase goes."""
        self._now[now.way] = now

    def event(self, text: str) -> None:
        """Something happened in the middle of it."""
        self._events.append((time.strftime("%H:%M:%S"), text))

    def result(self, result: PhaseResult) -> None:
        """The phase is over and audited."""
        self._results[result.way] = result

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [Panel(self._banner, title="holdfast demo", border_style="cyan")]
        parts += [Text.assemble((" ✓ ", "green"), step) for step in self._steps]
        if self._now:
            parts += [Text(), self._phases()]
        parts += [
            Text.assemble(("   " + when + "  ", "dim"), (what, "yellow")) for when, what in self._events
        ]
        if self._spinner:
            parts.append(self._spinner)
        return Group(*parts)

    def _phases(self) -> Table:
        """A row for each phase so far, and what the auditor found below it."""
        grid = Table.grid(padding=(0, 1))
        for _ in range(3):
            grid.add_column(no_wrap=True)
        for number, (way, title) in enumerate(_SHORT.items(), 1):
            now, result = self._now.get(way), self._results.get(way)
            if now is None:
                grid.add_row(Text(f" {number} {title}", "dim"), "", "")
                continue
            bar = ProgressBar(total=1, completed=1 if result else now.done, width=_BAR)
            grid.add_row(Text(f" {number} {title}", "bold"), bar, _average(result) if result else now.words())
            if result:
                grid.add_row("", "", Text(verdict(result), "red" if result.stale else "green"))
        return grid


def _average(result: PhaseResult) -> str:
    """The figures of the whole phase, as `Now.words` gives those of the moment."""
    return Now(
        way=result.way,
        done=1,
        reads_per_second=result.reads_per_second,
        hit_ratio=result.hit_ratio,
        p99_ms=result.p99_ms,
        connections=result.connections,
        errors=result.errors,
    ).words()
