"""What is shown: on a terminal, in a pipe, and at the end."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from holdfast.cli.demo import ending
from holdfast.cli.demo.auditor import Lie
from holdfast.cli.demo.figures import Outage, PhaseResult, Report
from holdfast.cli.demo.messages import WayName
from holdfast.cli.demo.picture import Lines, Now, Picture
from holdfast.cli.demo.terminal import Terminal
from holdfast.cli.demo.ways import TITLES

NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))
LIE = Lie(airport="BOS", served=40, newer=41, committed=3.12, since=3.13, until=9.8, reads=1234)
OUTAGE = Outage(
    seconds=1.2,
    reads=600,
    reads_per_second=500.0,
    errors=0,
    stale=0,
    loads=500,
    connections=8,
    limit=8,
    invalidations_kept=7,
)


def result(way: WayName, **others: Any) -> PhaseResult:
    figures: dict[str, Any] = {
        "seconds": 10.0, "reads": 40_000, "pages": 400, "reads_per_second": 4000.0, "p50_ms": 0.2,
        "p99_ms": 9.0, "loads": 400, "queries": 1200, "updates": 200, "connections": 8, "hit_ratio": 0.99,
        "loads_per_cold_key": 1.0, "loads_per_cold_key_max": 1, "stale": 0, "errors": 0, "error_samples": [],
        "lies": [], "refused_fills": 5,
    }  # fmt: skip
    return PhaseResult(way=way, title=TITLES[way], **{**figures, **others})


def report(**of_holdfast: Any) -> Report:
    return Report(
        database="PostgreSQL 18", server="Valkey 9", workload="the popular ones", airports=28_000,
        processes=4, threads=4,
        phases=[
            result("database", hit_ratio=None, loads_per_cold_key=None, reads_per_second=200.0),
            result("textbook", stale=1234, lies=[LIE]),
            result("holdfast", **{"outage": OUTAGE, **of_holdfast}),
        ],
        clock=NOON,
    )  # fmt: skip


def told(report: Report) -> str:
    """The end, as one line of words."""
    out = io.StringIO()
    ending.tell(Console(file=out, width=100), report)
    return " ".join(out.getvalue().split())


def test_the_end_says_what_was_seen_and_how_to_do_it():
    text = told(report())
    assert "BOS: 41 committed 12:00:03.120; served 40 until 12:00:09.800 (1,234 reads)" in text
    assert "20 times as many reads as the database alone; not one of 40,000 was stale, none failed" in text
    assert "In the 1.2 s without it 600 reads were answered (500/s): none failed, none was stale" in text
    assert "return page.invalidate(code)" in text
    assert "Next: holdfast demo --url redis://your-server:6379" in text


def test_the_end_does_not_hide_what_went_wrong():
    wrong = report(stale=3, errors=2, lies=[LIE], error_samples=["Unavailable: where is it?"])
    assert not wrong.kept_its_word
    text = told(wrong)
    assert "3 of 40,000 was stale, 2 failed" in text
    assert text.count("BOS: 41 committed") == 2
    assert "Unavailable: where is it?" in text


def test_on_a_users_server_the_end_says_that_it_was_not_killed():
    assert "Your server was not killed" in told(report(outage=None))


def test_the_lines_shown_are_no_more_than_ten():
    assert len([line for line in ending.code().splitlines() if line]) <= 10


@pytest.mark.parametrize("terminal", [True, False])
def test_the_picture_shows_every_step(terminal: bool):
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal)
    picture: Picture = Terminal(console) if terminal else Lines(console)
    with picture:
        picture.banner("pages about airports")
        picture.step("making a database")
        picture.done("PostgreSQL 18")
        for way in TITLES:
            picture.phase(way)
            picture.show(
                Now(way=way, done=0.5, reads_per_second=123, hit_ratio=0.9, p99_ms=7, connections=8, errors=0)
            )
            picture.event("kill -9 123: the cache server is gone")
            picture.result(result(way))
    shown = out.getvalue()
    for part in ("pages about airports", "PostgreSQL 18", "Holdfast", "kill -9 123", "0 stale"):
        assert part in shown
