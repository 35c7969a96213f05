"""Storms over limits, sessions, leaderboards and analytics: whatever fails, every promise holds.

`make soak` runs the long ones, from HOLDFAST_SOAK_SEED on and for HOLDFAST_SOAK_SECONDS each;
`python -m tests.metering.storm.run` any.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.metering.storm import planted, run
from tests.metering.storm.plan import KINDS, ROOMS, Plan
from tests.streams.storm.run import place_of
from tests.streams.storm.weather import ROOT

SEED = int(os.environ.get("HOLDFAST_SOAK_SEED", "0"))
SECONDS = float(os.environ.get("HOLDFAST_SOAK_SECONDS", "300"))
SHORT: dict[str, Any] = {"lasting": 1.5, "workers": 2, "hands": 1, "pause": 0.03}
DONE = {
    "limits": ("checked", "booked", "occupied"),
    "sessions": ("loaded", "saved", "revoked"),
    "leaderboards": ("added",),
    "analytics": ("flushed",),
}


def check(plan: Plan, path: Path) -> None:
    words = tuple(word for room in plan.rooms for word in DONE[room])
    with place_of(plan.topology, path) as place:
        counts, faults = run.blow(plan, place, words)
    assert faults == [], counts
    assert all(counts[word] for word in words), counts
    assert all(counts[strike] for strike in plan.musts), counts


@pytest.mark.timeout(240)
@pytest.mark.parametrize("room", ROOMS)
def test_a_short_storm_breaks_no_promise(room: str, tmp_path: Path):
    """Clients are killed and frozen, the server too, connections are cut and replies are lost."""
    check(Plan(rooms=(room,), musts=("kill", "drop", "freeze"), **SHORT), tmp_path)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["failover", "reshard"])
def test_a_short_storm_over_several_servers_breaks_no_promise(kind: str, tmp_path: Path):
    check(Plan(kind=kind, musts=(kind,), **SHORT), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3500)
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_storm_breaks_no_promise(kind: str):
    seed = SEED or int(time.time())
    words = ["--kind", kind, "--seeds", f"{seed}:{seed + 10_000}", "--seconds", str(SECONDS)]
    assert run.main([*words, "--keep"]) == 0


@pytest.mark.soak
@pytest.mark.timeout(3500)
def test_the_storm_finds_what_is_planted():
    assert planted.main([]) == 0


@pytest.mark.parametrize("name", planted.BUGS)
def test_every_planted_bug_has_its_place(name: str):
    """Else the hunt above would hunt for nothing."""
    assert planted.spoiled(planted.BUGS[name], ROOT / "src")
