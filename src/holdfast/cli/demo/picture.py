"""What you see while the demo runs. Here: plain lines, for logs and pipes; or nothing, for --json."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console

from holdfast.cli.demo.figures import PhaseResult
from holdfast.cli.demo.messages import WayName
from holdfast.cli.demo.ways import TITLES

_EVERY = 2.0  # seconds between two lines about a phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """How a phase goes at this moment; `done` is the part of it that is over, 0 to 1."""

    way: WayName
    done: float
    reads_per_second: float
    hit_ratio: float | None
    p99_ms: float
    connections: int
    errors: int

    def words(self) -> str:
        """The figures in a line."""
        hits = "            " if self.hit_ratio is None else f"{self.hit_ratio:.1%} hits  "
        errors = f"  {self.errors} errors" if self.errors else ""
        return (
            f"{self.reads_per_second:>7,.0f} reads/s  {hits}p99 {self.p99_ms:4.0f} ms"
            f"  {self.connections:>2} db conn.{errors}"
        )


class Picture:
    """Sees everything and shows nothing; the others build on it. A context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the screen as it is now."""

    def banner(self, text: str) -> None:
        """What this is."""

    def step(self, text: str) -> None:
        """Something is being done; the step before it is over."""

    def done(self, text: str) -> None:
        """The step is done, with this outcome."""

    def phase(self, way: WayName) -> None:
        """A phase begins."""

    def show(self, now: Now) -> None:
        """How the phase goes; called often."""

    def event(self, text: str) -> None:
        """Something happened in the middle of it."""

    def result(self, result: PhaseResult) -> None:
        """The phase is over and audited."""


class Lines(Picture):
    """One line after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def banner(self, text: str) -> None:
        """What this is."""
        self._say(text)

    def done(self, text: str) -> None:
        """The step is done, with this outcome."""
        self._say(f"- {text}")

    def phase(self, way: WayName) -> None:
        """A phase begins."""
        self._say(f"\n{TITLES[way]}")
        self._next = time.monotonic() + _EVERY

    def show(self, now: Now) -> None:
        """How the phase goes, in a line every few seconds."""
        if time.monotonic() >= self._next:
            self._next += _EVERY
            self._say(f"  {now.done:4.0%}  {now.words()}")

    def event(self, text: str) -> None:
        """Something happened in the middle of it."""
        self._say(f"        {text}")

    def result(self, result: PhaseResult) -> None:
        """The phase is over and audited."""
        self._say(f"  {verdict(result)}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def verdict(result: PhaseResult) -> str:
    """What the auditor found, in a line."""
    errors = f", {result.errors} errors" if result.errors else ""
    return f"audited {result.reads:,} reads against {result.updates} updates: {result.stale:,} stale{errors}"
