"""Limits, sessions, leaderboards and analytics: side by side with the libraries people use, and by hand."""

from __future__ import annotations

from benchmarks.harness import Run
from benchmarks.metering import analytics, boards, limits, sessions
from benchmarks.report import Section


def measure(run: Run) -> list[Section]:
    """All four."""
    parts = (limits, sessions, boards, analytics)
    return [section for part in parts for section in part.measure(run)]
