"""Redlock as it is, with its fences, in every order of events; and what each of its rules is for.

Larger worlds were walked through once: an extension with a crash (127,545 states), a node that forgets with
clocks that differ by less than the longest lease (203,523), all of claim, confirm and release with the clock
running (262,197). Nothing was found in them.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.locks.redlock.model import Broken, Model, Rules, World, without

LEASES = Rules(fences="none")  # what excludes does not depend on fences: leave them out, and walk further
SHORT: dict[str, Any] = {"ttl": 1, "longest": 1}
LONG: dict[str, Any] = {"ttl": 2, "longest": 2}
FENCED: dict[str, Any] = {**SHORT, "releases": "at once"}
FORGETS: dict[str, Any] = {**FENCED, "begun": True, "ticks": 2, "crashes": 1}


def leases(**changed: Any) -> Rules:
    """The rules without fences, with some of them changed."""
    return without(fences="none", **changed)


@pytest.mark.parametrize(
    ("rules", "world", "least"),
    [
        pytest.param(
            LEASES, World(**SHORT, ticks=1, crashes=1), 14_000, id="leases, and a node that forgets"
        ),
        pytest.param(
            LEASES, World(**LONG, ticks=3, crashes=0, begun=True, extends=(0,)), 20_000, id="an extension"
        ),
        pytest.param(without(fences="register"), World(**FENCED, ticks=1, crashes=0), 20_000, id="fences"),
        pytest.param(
            without(fences="register"), World(**FORGETS, keeps_fences=True), 9_000, id="fences that are kept"
        ),
        pytest.param(Rules(), World(**FORGETS), 15_000, id="fences that are forgotten, and equal clocks"),
        pytest.param(
            Rules(),
            World(**FENCED, begun=True, ticks=2, crashes=0, skews=(0, 1, 3)),
            10_000,
            id="fences that are kept, and clocks that differ",
        ),
    ],
)
def test_no_order_of_events_breaks_it(rules: Rules, world: World, least: int):
    """Two holders at once, a fence that does not grow, or a key left behind would be a shortest way there."""
    assert Model(rules, world).check() >= least


@pytest.mark.parametrize(
    ("rules", "world", "found"),
    [
        pytest.param(
            leases(quorum=1), World(**SHORT, ticks=1, crashes=0), "somebody has it", id="no majority"
        ),
        pytest.param(
            leases(restart_rule=False),
            World(**SHORT, ticks=1, crashes=1),
            "somebody has it",
            id="restart rule",
        ),
        pytest.param(
            LEASES,
            World(ttl=2, longest=1, ticks=3, crashes=1, begun=True),
            "somebody has it",
            id="a longest lease that is shorter than the ttl",
        ),
        pytest.param(
            leases(validity_at_grant=False),
            World(**SHORT, ticks=2, crashes=0),
            "somebody has it",
            id="the look at the clock before the grant",
        ),
        pytest.param(
            leases(counts_from="answer"),
            World(**LONG, ticks=3, crashes=0),
            "somebody has it",
            id="counting from before the request",
        ),
        pytest.param(
            leases(until_of="best"),
            World(**LONG, ticks=3, crashes=0, begun=True, extends=(0,)),
            "somebody has it",
            id="the deadline of a quorum",
        ),
        pytest.param(
            leases(extension_recreates=True),
            World(**LONG, ticks=2, crashes=0, begun=True, extends=(0,)),
            "an orphan",
            id="an extension that never makes anew",
        ),
        pytest.param(
            leases(tombstone=False), World(**SHORT, ticks=1, crashes=0), "an orphan", id="tombstones"
        ),
        pytest.param(
            without(fences="register", confirm_writes=False),
            World(**FENCED, ticks=1, crashes=0),
            "fence 1 after 1",
            id="writing the fence",
        ),
        pytest.param(
            without(fences="register", confirm_quorum=1),
            World(**FENCED, ticks=1, crashes=0),
            "fence 1 after 1",
            id="writing it to a quorum",
        ),
        pytest.param(
            without(fences="register"),
            World(**FORGETS),
            "fence 1 after 1",
            id="the clock beside the register",
        ),
        pytest.param(
            Rules(), World(**FORGETS, skews=(0, 0, 2)), "fence 9 after 17", id="clocks that differ by less"
        ),
    ],
)
def test_without_one_of_its_rules_it_breaks(rules: Rules, world: World, found: str):
    """A rule without which nothing breaks would be for nothing, or the model blind."""
    with pytest.raises(Broken, match=found):
        Model(rules, world).check()
