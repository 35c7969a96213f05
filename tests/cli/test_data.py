"""The sequences that every phase replays."""

from __future__ import annotations

import lzma
import struct
from collections import Counter
from pathlib import Path

import pytest

from holdfast import ConfigurationError
from holdfast.cli.demo import data
from holdfast.cli.demo.pages import _around

CODES = [f"{number:04}" for number in range(2000)]


def trace(path: Path, *numbers: int) -> Path:
    path.write_bytes(lzma.compress(struct.pack(f">{len(numbers)}i", *numbers)))
    return path


def test_requests_are_skewed_and_the_same_every_time():
    one = data.skewed(CODES)
    assert one.requests == data.skewed(CODES).requests
    asked = Counter(one.requests)
    assert asked[0] > 5 * asked[9] > 0
    assert max(asked) < len(one.codes) == data.POPULAR


def test_updates_come_in_order_within_the_time_and_some_are_corrections():
    updates = data.skewed(CODES).updates(10)
    assert updates == sorted(updates) == data.skewed(CODES).updates(10)
    assert 100 < len(updates) < 500
    assert updates[-1][0] < 10
    close = [1 for (at, key), (then, again) in zip(updates, updates[1:]) if key == again and then - at < 0.05]
    assert len(close) > 10


def test_a_trace_names_the_airports_in_the_order_of_appearance(tmp_path: Path):
    workload = data.traced(CODES[:3], trace(tmp_path / "t.xz", 900, -5, 900, 7, 8, 900))
    assert list(workload.requests) == [0, 1, 0, 2, 0, 0]  # the fourth object shares the first airport
    assert workload.codes == CODES[:3]


@pytest.mark.parametrize("content", [b"", b"no xz file", lzma.compress(b"odd")])
def test_a_trace_that_is_none_is_an_error_that_names_it(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.xz"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"--trace .*bad\.xz"):
        data.traced(CODES, path)


def test_airports_are_real_and_the_known_ones_come_first():
    rows = data.airports()
    assert len(rows) > 25_000
    assert len({row[0] for row in rows}) == len(rows)
    codes = data.by_popularity(rows)
    assert codes[0] == "ATL"
    assert len(codes) == len(rows)
    assert all(len(code) == 3 for code in codes[: data.POPULAR])


@pytest.mark.parametrize("lat", [0.0, 42.4, -54.8, 78.2, 90.0])
def test_the_box_around_a_place_is_wide_enough_near_the_poles(lat: float):
    box = _around(lat, 10.0)
    assert box["north"] - lat == lat - box["south"] == 9.0
    assert 9.0 <= box["east"] - 10.0 <= 180.0
    assert (box["east"] - 10.0 > 20.0) == (abs(lat) > 52)
