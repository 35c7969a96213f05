"""Storms over processes that are killed and stopped, cancelled acquires, bugs that must be found; long ones.

The long ones: $HOLDFAST_SOAK_SEED (0) and $HOLDFAST_SOAK_SECONDS (300, for each of them).
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from holdfast.embedded import Server
from tests.locks.storm import clock, failover, processes, run
from tests.locks.storm.cancelled import cancel_many
from tests.locks.storm.planted import BUGS, FOUND_BY
from tests.locks.storm.weather import WHATS, Plan

SEED = int(os.environ.get("HOLDFAST_SOAK_SEED", "0"))
SECONDS = float(os.environ.get("HOLDFAST_SOAK_SECONDS", "300"))
LONG = int(SECONDS) + 300
MANY = 1_000_000


def test_processes_that_are_killed_and_stopped_never_share_it(own_server: Server):
    plan = replace(Plan.drawn(3, "processes", "lock"), clients=2, each=3, lasting=1.0, ttl=0.4)
    seen, left = processes.storm(plan, "sync", own_server)
    assert seen.faults == []
    assert left.faults(seen) == []
    assert seen.holds > 0


@pytest.mark.parametrize("what", ["lock", "fair"])
async def test_cancelled_acquires_leave_nothing(own_server: Server, what: str):
    """Found without abandoning: dozens of locks that nobody has, for a minute."""
    found = await cancel_many(own_server, 200, what=what)
    assert found["cancelled"] > 100
    assert (found["orphans"], found["timeless"]) == (0, 0)


@pytest.mark.parametrize("bug", ["fence is counted", "renewal renews nothing"])
def test_a_storm_finds_a_planted_bug(bug: str):
    """A storm that finds nothing shows only that it looks at nothing."""
    kind = FOUND_BY[bug]
    assert run.main(["--seeds", "0:40", "--what", "lock", "--kind", kind, "--planted", bug, "--first"]) == 1


# --- long ---------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("what", WHATS)
def test_storms_for_long(what: str):
    assert run.main(["--seeds", f"{SEED}:{SEED + MANY}", "--what", what, "--seconds", str(SECONDS)]) == 0


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("kind", processes.KINDS)
def test_storms_of_processes_for_long(kind: str):
    assert run.main(["--seeds", f"{SEED}:{SEED + MANY}", "--kind", kind, "--seconds", str(SECONDS)]) == 0


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("bug", sorted(BUGS))
def test_every_planted_bug_is_found(bug: str):
    words = ["--seeds", f"{SEED}:{SEED + MANY}", "--seconds", str(SECONDS), "--first"]
    assert run.main([*words, "--what", "lock", "--kind", FOUND_BY[bug], "--planted", bug]) == 1


@pytest.mark.soak
@pytest.mark.timeout(LONG)
async def test_ten_thousand_cancelled_acquires_leave_nothing(own_server: Server):
    found = await cancel_many(own_server, 10_000, seed=SEED)
    assert (found["orphans"], found["timeless"]) == (0, 0)


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("replicas", [0, 1])
def test_failovers_for_long(replicas: int):
    words = ["--seed", str(SEED), "--rounds", "20", "--replicas", str(replicas)]
    assert failover.main(words) == 0


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@pytest.mark.skipif(clock.COMPILER is None, reason="the library that moves the clock has to be compiled")
def test_jumps_of_the_clock_for_long():
    assert clock.main(["--seeds", f"{SEED}:{SEED + 100}"]) == 0
