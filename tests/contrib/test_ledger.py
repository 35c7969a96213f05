"""What is left of what was collected."""

from __future__ import annotations

import pytest

from holdfast.contrib.ledger import KEY, TAG, Ledger, Wanted, backoff, by_cache
from holdfast.contrib.rows import row, topic_of, wanted_of


class Users:
    name = "users"


USERS = Users()
A, B, T = Wanted(USERS, KEY, "a"), Wanted(USERS, KEY, "b"), Wanted(USERS, TAG, "t")


def test_what_a_savepoint_collected_goes_down_or_goes_away():
    ledger = Ledger()
    ledger.collect("root", [A])
    ledger.collect("one", [B])
    ledger.drop("one")
    ledger.collect("two", [T, A])
    ledger.release("two", "root")
    ledger.release("never seen", "root")
    assert ledger.take() == [A, T]
    assert ledger.take() == []


def test_a_collected_key_is_not_read_and_after_a_tag_none_is():
    ledger, other = Ledger(), Users()
    ledger.collect("root", [A])
    assert ledger.holds(USERS, "a")
    assert not ledger.holds(USERS, "b")
    assert not ledger.holds(other, "a")
    ledger.collect("one", [T])
    assert ledger.holds(USERS, "b")
    assert not ledger.holds(other, "b")
    ledger.drop("one")
    assert not ledger.holds(USERS, "b")
    ledger.collect("two", [T])
    ledger.release("two", "root")
    assert ledger.holds(USERS, "b")


def test_rows_written_inside_of_a_savepoint_are_gone_with_it():
    """Planted: with `written` kept for the whole ledger, the row of `a` was written once, and lost."""
    ledger = Ledger()
    ledger.collect("root", [A], "outbox")
    ledger.collect("root", [T])
    ledger.collect("one", [B], "outbox")
    assert ledger.unwritten() == [(A, "outbox"), (B, "outbox")]
    ledger.wrote("one", [A, B])
    assert ledger.unwritten() == []
    ledger.drop("one")
    assert ledger.unwritten() == [(A, "outbox")]
    ledger.wrote("two", [A])
    ledger.release("two", "root")
    assert ledger.unwritten() == []


def test_an_outbox_once_given_is_not_forgotten():
    ledger = Ledger()
    ledger.collect("root", [A], "outbox")
    ledger.collect("root", [A])
    ledger.collect("one", [A])
    ledger.release("one", "root")
    assert ledger.unwritten() == [(A, "outbox")]


def test_each_cache_gets_its_own():
    other = Users()
    assert by_cache([A, T, Wanted(other, KEY, "a"), B]) == {
        USERS: (["a", "b"], ["t"]),
        other: (["a"], []),
    }


@pytest.mark.parametrize("text", ["42", "%int(42)", "ü" * 300, "x" * 200, "x" * 201])
def test_a_row_says_what_was_wanted(text: str):
    one = Wanted(USERS, KEY, text)
    written = row(one)
    assert written.topic == topic_of(USERS) == "cache:users"
    assert wanted_of(USERS, written.kind, written.payload) == one
    assert len(written.key) <= 255
    assert (written.key == text) == (len(text) <= 200)


def test_a_relay_rests_longer_and_longer():
    assert [backoff(failures, 1.0) for failures in (1, 2, 3, 100)] == [0.2, 0.4, 0.8, 10.0]
    assert backoff(1, 0.0) == 0.1
    assert backoff(100, 0.0) == 5.0
