"""Percentiles and stampedes."""

from __future__ import annotations

import pytest

from holdfast.cli.demo.figures import outside, percentile, stampedes
from holdfast.cli.demo.messages import Load


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([7.0], 0.99, 7.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0), (list(range(1, 101)), 0.99, 99)],
)
def test_percentile(values: list[float], share: float, expected: float):
    assert percentile(values, share) == expected


def test_loads_of_one_page_that_overlap_are_one_stampede():
    loads = [Load("BOS", 0, 2), Load("BOS", 1, 4), Load("BOS", 3, 5), Load("BOS", 6, 7), Load("LHR", 1, 2)]
    assert sorted(stampedes(loads, {})) == [1, 1, 3]


def test_a_load_that_began_after_an_update_is_no_part_of_the_stampede_before_it():
    loads = [Load("BOS", 0, 2), Load("BOS", 1, 2)]
    assert stampedes(loads, {"BOS": [(0.5, 0.6)]}) == [1, 1]
    assert stampedes(loads, {"LHR": [(0.5, 0.6)]}) == [2]
    assert stampedes(loads, {"BOS": [(1.5, 1.6)]}) == [2]


def test_outside_leaves_out_what_touches_the_time():
    loads = [Load("A", 0, 1), Load("B", 1, 3), Load("C", 4, 5), Load("D", 6, 7)]
    assert [load.code for load in outside(loads, 2, 5.5)] == ["A", "D"]
