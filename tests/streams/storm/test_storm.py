"""Storms over streams: processes are killed and frozen, networks and servers fail, and every promise holds.

`make soak` runs the long ones; `python -m tests.streams.storm.run` any.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.streams.storm import planted, run
from tests.streams.storm.diary import Pages
from tests.streams.storm.plan import KINDS, Plan
from tests.streams.storm.weather import ROOT


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["weather", "flush", "cluster"])
def test_a_short_storm_breaks_no_promise(kind: str, tmp_path: Path):
    """Nothing lost, nothing twice, keys in order, dead letters exact, nothing left behind."""
    plan = Plan(seed=1, kind=kind, lasting=3.0, rate=200.0, workers=3, producers=1)
    with run.place_of(plan.topology, tmp_path) as place:
        counts, faults = run.blow(plan, place)
    assert faults == [], counts
    assert counts["sent"] > 100
    assert counts["effects"] > 100
    assert counts["dead"] > 0
    assert any(counts[strike] for strike in KINDS[kind])


@pytest.mark.soak
@pytest.mark.timeout(3500)
def test_a_million_events_break_no_promise():
    assert run.main(["--events", "1e6", "--seconds", "3000"]) == 0


@pytest.mark.soak
@pytest.mark.timeout(3500)
def test_the_storm_finds_what_is_planted():
    assert planted.main([]) == 0


@pytest.mark.parametrize("name", planted.BUGS)
def test_every_planted_bug_has_its_place(name: str):
    """Else the hunt above would hunt for nothing."""
    assert planted.spoiled(planted.BUGS[name], ROOT / "src")


def test_a_diary_tells_what_was_begun_and_never_ended(tmp_path: Path):
    """A process that is killed leaves a begin without an end, and a publish without an answer."""
    lines = [
        "ask free free-p0-3 k1 poison 10.0",
        "sent free-p0-3 5-0 10.5",
        "ask free free-p0-6 k1 ok 11.0",
        "began free audit free-p0-3 5-0 k1 1 12.0",
        "began free audit free-p0-3 5-0 k1 2 13.0",
        "done free audit free-p0-3 5-0 k1 2 14.0",
    ]
    (tmp_path / "p0-77").write_text("".join(f"{line}\n" for line in lines))
    pages = Pages(tmp_path)
    assert [(one.id, one.done, one.poison) for one in pages.sent["free"]] == [
        ("free-p0-3", 10.5, True),
        ("free-p0-6", float("inf"), False),
    ]
    assert [(one.begin, one.done) for one in pages.handled["free"]] == [(13.0, 14.0), (12.0, float("inf"))]
