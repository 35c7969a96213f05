"""Whoever waits has his moment, nobody comes before him, and whoever gives up makes nobody a violation."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import Holdfast
from holdfast.limits.options import Limit
from tests.limits.bench import Bench
from tests.limits.exact import KINDS

START = 1_700_000_000_000_000
ONCE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SETS: dict[str, tuple[Limit, ...]] = {
    "gcra": (Limit(1, "1s", burst=1),),
    "burst": (Limit(2, "1s", burst=3),),
    "wide": (Limit(4, "1s", burst=8),),
    "sliding": (Limit(3, "2s", algorithm="sliding"),),
    "fixed": (Limit(2, "1s", algorithm="fixed"),),
    "log": (Limit(3, "2s", algorithm="log"),),
    "narrow": (Limit(10, "1s", burst=2), Limit(2, "3s", algorithm="fixed")),
    "mixed": (Limit(3, "1s", burst=2), Limit(3, "2s", algorithm="log"), Limit(4, "3s", algorithm="sliding")),
}

STEPS = st.tuples(
    st.sampled_from(["check", "hold", "hold", "hold", "cancel", "cancel"]),
    st.sampled_from([1, 2, 2, 7]),
    st.sampled_from([0, 0, 0, 1, 2, 5, 10, 21]),  # tenths of a second that pass first
    st.integers(0, 5),  # which one gives up
)


def conforms(limits: tuple[Limit, ...], done: list[tuple[int, int]]) -> None:
    """What was done, moment and cost, is within the limits by definition."""
    for limit in limits:
        bucket = KINDS[limit.algorithm](limit)
        for moment, cost in sorted(done):
            assert bucket.fits(cost, moment), f"{limit} at {moment - START}: {done}"
            bucket.charge(cost, moment)


@pytest.mark.parametrize("name", SETS)
@ONCE
@given(steps=st.lists(STEPS, min_size=2, max_size=30))
def test_what_is_done_in_the_end_is_within_the_limits(hf: Holdfast, name: str, steps: list[Any]):
    limits = SETS[name]
    bench, clock = Bench(hf, limits), START
    bench.reset()
    done: list[tuple[int, int]] = []  # moment, cost
    waiting: list[tuple[list[Any], int]] = []
    last = 0
    for what, cost, tenths, which in steps:
        clock += tenths * 100_000
        cost = min(cost, *(one.most for one in limits))
        if what == "check":
            if bench.check(cost, clock)[0] == 0:
                assert last <= clock, "it came before somebody who waits"
                done.append((clock, cost))
                last = clock
        elif what == "hold":
            reply = bench.hold(cost, 10_000_000, clock)
            if reply[0] >= 0:
                moment = clock + reply[0]
                assert moment >= last, "it came before somebody who waits"
                last = moment
                done.append((moment, cost))
                waiting.append((reply, cost))
        elif waiting:
            reply, had = waiting.pop(which % len(waiting))
            if bench.cancel(reply, had, clock):
                assert reply[1] > clock
                done.remove((reply[1], had))
                last = max([moment for moment, _ in done], default=0)
    conforms(limits, done)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("late", [False, True])
def test_one_of_two_gives_up(hf: Holdfast, name: str, which: int, late: bool):
    limits = SETS[name]
    most = min(one.most for one in limits)
    bench = Bench(hf, limits)
    costs = sorted({1, (most + 1) // 2, most - 1 or 1})
    for one, two, three in itertools.product(costs, repeat=3):
        bench.reset()
        assert bench.check(most, START)[0] == 0
        replies = [bench.hold(one, 100_000_000, START), bench.hold(two, 100_000_000, START)]
        moments = [START + reply[0] for reply in replies]
        clock = moments[which] - 10_000 if late else START
        assert bench.cancel(replies[which], (one, two)[which], clock)
        done = [(START, most), (moments[1 - which], (two, one)[which])]
        if bench.check(three, clock)[0] == 0:
            assert moments[1 - which] <= clock, "it came before somebody who waits"
            done.append((clock, three))
        moment = clock + bench.hold(three, 100_000_000, clock)[0]
        assert moment >= moments[1 - which], "it came before somebody who waits"
        done.append((moment, three))
        conforms(limits, done)


@pytest.mark.parametrize("name", SETS)
@ONCE
@given(
    costs=st.lists(st.tuples(st.integers(1, 2), st.integers(0, 9)), max_size=6),
    passed=st.integers(0, 9),
    cost=st.integers(1, 2),
)
def test_who_gives_up_and_was_the_last_leaves_no_trace(
    hf: Holdfast, name: str, costs: list[tuple[int, int]], passed: int, cost: int
):
    limits = SETS[name]
    bench, other, clock = Bench(hf, limits), Bench(hf, limits, "other"), START
    for one in (bench, other):
        one.reset()
    cost = min(cost, *(one.most for one in limits))
    for some, tenths in costs:
        clock += tenths * 100_000
        some = min(some, *(one.most for one in limits))
        for one in (bench, other):
            one.hold(some, 10_000_000, clock)
    reply = bench.hold(cost, 10_000_000, clock)
    clock += passed * 10_000
    if reply[0] > 0 and bench.cancel(reply, cost, clock):
        for tenths in (0, 1, 5, 17):
            at = clock + tenths * 100_000
            assert bench.check(cost, at, take=False) == other.check(cost, at, take=False)
