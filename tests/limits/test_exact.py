"""The scripts decide as exact fractions do, to the microsecond, whatever the clock does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import Holdfast
from holdfast.limits.options import Limit
from tests.limits.bench import Bench
from tests.limits.exact import Exact

START = 1_700_000_000_000_000
ONCE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

QUOTAS = st.sampled_from([1, 2, 3, 7, 10, 100, 999])
SPANS = st.sampled_from([0.000_007, 0.001, 0.25, 1, 1.000_003, 60, 86_400])


@st.composite
def limit(draw: Any, algorithm: str, name: str = "one", shadow: bool = False) -> Limit:
    quota = draw(QUOTAS)
    burst = draw(st.sampled_from([None, 1, 3, 20])) if algorithm == "gcra" else None
    return Limit(quota, draw(SPANS), algorithm=algorithm, burst=burst, name=name, shadow=shadow)  # type: ignore[arg-type]


COARSE = Limit(9_999_991, "30d", burst=9_999_991, name="one")  # counted in units above a microsecond

COSTS = st.sampled_from([1, 1, 1, 2, 3, 10, 1000])
STEPS = st.tuples(
    st.sampled_from(["check", "check", "check", "slow", "peek", "hold", "refund", "more"]),
    COSTS,
    st.sampled_from([0, 0, 0, 1, 2, 3, 5, 8, 13, -3, 0.01, 0.5]),  # tenths of a window that pass first
    st.integers(-3, 3),  # microseconds beside that
)
PLANS = st.lists(STEPS, min_size=1, max_size=40)


def play(hf: Holdfast, limits: tuple[Limit, ...], steps: list[Any]) -> None:
    bench, exact, clock = Bench(hf, limits), Exact(limits), START
    bench.reset()
    for what, cost, tenths, beside in steps:
        clock += int(tenths * limits[0].window * 1e5) + beside
        if what in ("check", "slow"):
            wait, report = exact.check(cost, clock)
            assert bench.check(cost, clock, fast=what == "check") == [wait, *report], what
        elif what == "peek":
            wait, report = exact.check(cost, clock, take=False)
            assert bench.check(cost, clock, take=False) == [wait, *report]
        elif what == "hold":
            most = int(limits[0].window * 1e6)
            wait, report = exact.check(cost, clock, wait=most)
            told = bench.hold(cost, most, clock)
            assert (told[0], told[4]) == (wait, report)
        else:
            sign = -1 if what == "refund" else 1
            assert bench.adjust(sign * cost, clock) == exact.adjust(sign * cost, clock)
    if exact.written >= 0:
        assert bench.ttl() <= max(0, exact.ttl(exact.written - exact.offset))


@pytest.mark.parametrize("algorithm", ["gcra", "sliding", "fixed", "log"])
@ONCE
@given(data=st.data())
def test_one_limit(hf: Holdfast, algorithm: str, data: st.DataObject):
    play(hf, (data.draw(limit(algorithm)),), data.draw(PLANS))


@ONCE
@given(data=st.data())
def test_a_bucket_in_a_coarser_unit(hf: Holdfast, data: st.DataObject):
    play(hf, (COARSE,), data.draw(PLANS))


@ONCE
@given(data=st.data())
def test_several_limits(hf: Holdfast, data: st.DataObject):
    kinds = data.draw(st.lists(st.sampled_from(["gcra", "sliding", "fixed", "log"]), min_size=2, max_size=4))
    limits = tuple(
        data.draw(limit(kind, f"n{place}", shadow=place > 0 and data.draw(st.integers(0, 3)) == 0))
        for place, kind in enumerate(kinds)
    )
    play(hf, limits, data.draw(PLANS))
