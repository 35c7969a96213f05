"""What is reckoned of streams without asking a server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.errors import ConfigurationError
from holdfast.streams import books
from holdfast.streams.books import Count
from holdfast.streams.options import Lag, Retention


def count(**told) -> Count:
    return Count(**{"exists": 1, "unread": 0, "cursor": b"", "last": b"0-0", "removed": 0, "age": 0,
                    "pending": 0, "oldest": 0, **told})  # fmt: skip


def test_a_lag_is_that_of_all_partitions():
    """Without it a sum would be taken of ages, or one partition's doubt forgotten."""
    one = count(unread=3, age=2500, pending=1, oldest=500)
    two = count(unread=4, age=1000, pending=2, oldest=9000, cursor=b"(5-0")
    assert books.total([one, two]) == Lag(7, False, 2.5, 3, 9.0)
    assert books.total([one]) == Lag(3, True, 2.5, 1, 0.5)


@pytest.mark.parametrize(
    ("place", "before"),
    [
        ("5-3", "5-2"),
        ("5-0", "4-18446744073709551615"),
        ("5", "4-18446744073709551615"),
        ("0-0", "0-0"),
        ("0-1", "0-0"),
        ("9007199254740993-1", "9007199254740993-0"),
        (datetime(2026, 1, 1, tzinfo=UTC), "1767225599999-18446744073709551615"),
        (datetime(1960, 1, 1, tzinfo=UTC), "0-0"),
    ],
)
def test_the_place_before_an_id(place, before: str):
    """Without it a seek would leave out the message that was named, or deliver one too many."""
    assert books.before(place, "place") == before


@pytest.mark.parametrize("wrong", ["", "-", "5-", "x", "5-0-0", "18446744073709551616-0", None, 5, "5 "])
def test_what_is_no_id_is_refused(wrong):
    """Without it Redis would complain in its own words, or take it for something else."""
    with pytest.raises(ConfigurationError, match="must be an id"):
        books.before(wrong, "after")
    with pytest.raises(ConfigurationError, match="no time zone"):
        books.before(datetime.fromisoformat("2026-01-01"), "after")


def test_members_of_several_partitions_are_one():
    """Without it a process would be listed once for each partition that it has."""
    rows = [
        (0, [b"web-1:7:a", 5000, 1]),
        (1, [b"web-1:7:a", 9000, 2]),
        (0, [b"~later", -1, 4]),
        (1, [b"a:b", -1, 0]),
        (1, [b"web-0:x:a", 0, 3]),
    ]
    found = books.members(rows, ["web-1:7:a", "web-2:8:b"])
    assert [(one.name, one.host, one.pid, one.partitions, one.pending, one.lease) for one in found] == [
        ("a:b", "", None, (1,), 0, None),
        ("web-0:x:a", "", None, (1,), 3, 0.0),
        ("web-1:7:a", "web-1", 7, (0, 1), 3, 9.0),
        ("web-2:8:b", "web-2", 8, (), 0, 0.0),
    ]


def test_limits_are_told_to_the_script():
    """Without it one limit would be taken for another."""
    limits = Retention.limits(max_entries=5, max_age="2s", max_bytes="1KB", drop_unread=True)
    assert books.limits(limits) == (0, 5, 2000, limits.max_bytes, 1)
    assert books.limits(Retention.work_queue()) == books.limits(Retention.interest()) == (1, 0, 0, 0, 0)
    assert not any(books.limits(None))


@pytest.mark.parametrize(("lease", "least", "most"), [(0.1, 0.75, 1.25), (9, 2.2, 3.8), (600, 7.5, 12.5)])
def test_consumers_tidy_up_neither_all_the_time_nor_all_at_once(lease: float, least: float, most: float):
    """Without it a short lease would keep the server busy, and a long one would let a stream grow."""
    assert least <= books.rest(lease, 0.0) < books.rest(lease, 1.0) <= most
