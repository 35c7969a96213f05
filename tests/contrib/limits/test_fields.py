"""Structured fields: what is written can be read, by a strict reader."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contrib.limits.fields import MOST, bare, item, plain, whole
from tests.contrib.limits.structured import read

BARE: st.SearchStrategy[Any] = st.one_of(st.integers(), st.text(), st.binary(), st.booleans())
KEYS = st.from_regex(r"[a-z*][a-z0-9_\-.*]{0,8}", fullmatch=True)


def expected(value: Any) -> Any:
    """What comes back of a value."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool | bytes):
        return value
    return max(-MOST, min(MOST, value))


@given(st.lists(st.tuples(BARE, st.dictionaries(KEYS, st.none() | BARE)), min_size=1))
def test_any_value_can_be_read_again(items: list[tuple[Any, dict[str, Any]]]):
    line = ", ".join(item(value, parameters.items()) for value, parameters in items)
    told = [
        (expected(value), {key: expected(one) for key, one in parameters.items() if one is not None})
        for value, parameters in items
    ]
    assert read(line) == told


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        ('say "hi"\\', r'"say \"hi\"\\"'),
        ("groß\n", '"gro%C3%9F%0A"'),
        ("", '""'),
        (5, "5"),
        (10**15, "999999999999999"),
        (-(10**16), "-999999999999999"),
        (b"\x00\xff", ":AP8=:"),
        (True, "?1"),
    ],
)
def test_as_the_rfc_writes_them(value: Any, text: str):
    assert bare(value) == text


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0.0, 0), (-3, 0), (0.001, 1), (1, 1), (1.0000001, 2), (math.inf, MOST), (1e300, MOST), (10**15, MOST)],
)
def test_numbers_are_rounded_up_and_fit(number: float, expected: int):
    assert whole(number) == expected
