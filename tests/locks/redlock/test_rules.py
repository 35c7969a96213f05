"""What the answers of nodes mean, without any server."""

from __future__ import annotations

import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import LockTimeout, NoQuorum, TooSlow
from holdfast.locks.redlock import rules
from holdfast.locks.redlock.options import RedlockOptions
from holdfast.locks.redlock.quorum import NEVER, Deadlines
from holdfast.locks.redlock.rules import Acquaintance, Answer, Said, Verdict

YES = Answer(said=Said.YES, told=7)
BUSY = Answer(said=Said.BUSY, holder="a:1")
YOUNG = Answer(said=Said.YOUNG, uptime=4)
AWAY = Answer(said=Said.AWAY, why="connection refused")
SLOW = Answer(said=Said.SLOW, why="no answer within 50 ms", stray=True)
LOST = Answer(said=Said.NO)


def verdict(*answers: Answer, too_late: bool = False) -> Verdict:
    """A verdict on these answers; the longest lease is 10 s."""
    return Verdict(answers, [f"n{place}" for place in range(len(answers))], 10.0, too_late)


def test_a_quorum_is_more_than_half():
    assert [rules.quorum(nodes) for nodes in (3, 4, 5, 6, 7)] == [2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ((YES, BUSY, BUSY), LockTimeout),
        ((YES, BUSY, AWAY), LockTimeout),  # had it been free, it would have been ours
        ((BUSY, BUSY, BUSY), LockTimeout),
        ((BUSY, AWAY, AWAY), NoQuorum),
        ((BUSY, YOUNG, YOUNG), NoQuorum),
        ((YES, SLOW, SLOW), NoQuorum),
        ((YES, YOUNG, AWAY), NoQuorum),
        ((YES, LOST, LOST), LockTimeout),
        ((AWAY, AWAY, AWAY), NoQuorum),
        ((YES, YES, BUSY, BUSY), LockTimeout),
        ((YES, YES, AWAY, AWAY), NoQuorum),
    ],
)
def test_contention_is_told_from_absence(answers: tuple[Answer, ...], kind: type[Exception]):
    error = verdict(*answers).error("redlock 'x'", "x", "at once")
    assert type(error) is kind
    assert type(pickle.loads(pickle.dumps(error))) is kind
    assert verdict(*answers).is_contended is (kind is LockTimeout)


def test_the_text_says_how_many_said_what_and_why():
    text = str(verdict(YES, BUSY, YOUNG, AWAY, SLOW).error("redlock 'x'", "x", "within the wait"))
    assert text == (
        "redlock 'x' was not acquired within the wait: 1 granted, 1 contended (held by a:1), 1 too young (n2 "
        "up for 4 s, the longest lease is 10 s), 1 too slow (n4: no answer within 50 ms), 1 unreachable (n3: "
        "connection refused); a quorum is 3 of 5"
    )
    forbidden = verdict(YES, Answer(said=Said.YOUNG), rules.restarted(YOUNG)).described()
    assert "n1 does not tell its age, INFO is forbidden" in forbidden
    assert "n2 restarted since we saw it, up for 4 s" in forbidden


def test_a_quorum_that_came_too_late_is_its_own_error():
    error = verdict(YES, YES, AWAY, too_late=True).error("redlock 'x'", "x", "at once")
    assert isinstance(error, TooSlow) and error.name == "x"


def test_young_nodes_say_when_to_come_again():
    error = verdict(YES, YOUNG, Answer(said=Said.YOUNG, uptime=1)).error("redlock 'x'", "x", "at once")
    assert isinstance(error, NoQuorum) and error.retry_after == 10 + 1 - 4
    assert verdict(AWAY, AWAY, YES).retry_after is None


# --- a round ------------------------------------------------------------------------------------------------


def test_a_round_is_decided_as_soon_as_the_rest_cannot_change_it():
    def decided(*answers: Answer | None) -> float | None:
        return rules.decided(answers, len(answers), rules.quorum(len(answers)))

    assert decided(None, None, None) is None
    assert decided(YES, None, None) is None
    assert decided(YES, AWAY, None) is None
    assert decided(YES, YES, None) == rules.GRACE
    assert decided(AWAY, BUSY, None) == rules.REASONS
    assert decided(None, None, YES, AWAY, AWAY) is None
    assert decided(None, AWAY, YES, AWAY, AWAY) == rules.REASONS


def test_the_fence_is_one_more_than_what_any_node_told():
    assert rules.fence((YES, Answer(said=Said.YES, told=9), Answer(said=Said.YOUNG, told=99), None)) == 10


def test_one_server_is_found_under_two_names():
    one, two = Answer(said=Said.YES, run_id="a"), Answer(said=Said.YES, run_id="b")
    assert rules.same_server((one, two, AWAY, AWAY), "wxyz") is None
    assert rules.same_server((one, two, None, one), "wxyz") == ("w", "z")


# --- nodes --------------------------------------------------------------------------------------------------


def test_a_node_that_was_restarted_is_another_process_and_not_a_replica():
    node = Acquaintance()
    assert node.met("a", 100, now=1000.0) is False
    assert node.met("a", 110, now=1010.0) is False
    assert node.met("b", 5, now=1020.0) is True  # younger than our last contact
    assert not node.is_new(10.0, 1020.0)


def test_a_server_that_took_over_does_not_count_for_the_longest_lease():
    """It is older than our last contact with its predecessor: its uptime says nothing of what it lacks."""
    node = Acquaintance()
    node.met("a", 100, now=1000.0)
    assert node.met("b", 500, now=1003.0) is True
    assert node.is_new(10.0, 1003.0) and node.is_new(10.0, 1012.9)
    assert not node.is_new(10.0, 1013.0)
    claim = rules.took_over(Answer(said=Said.YES, told=7, run_id="b", uptime=500))
    assert claim.said is Said.YOUNG and claim.stray  # it may have to be given back
    assert "taken over" in verdict(claim, YES, AWAY).described()


@pytest.mark.parametrize(
    ("config", "synced"),
    [
        ({b"appendonly": b"yes", b"appendfsync": b"always", b"no-appendfsync-on-rewrite": b"no"}, True),
        ([b"appendfsync", b"always", b"no-appendfsync-on-rewrite", b"no", b"appendonly", b"yes"], True),
        ({b"appendonly": b"no", b"appendfsync": b"always", b"no-appendfsync-on-rewrite": b"no"}, False),
        ({b"appendonly": b"yes", b"appendfsync": b"everysec", b"no-appendfsync-on-rewrite": b"no"}, False),
        ({b"appendonly": b"yes", b"appendfsync": b"always", b"no-appendfsync-on-rewrite": b"yes"}, False),
        ({}, False),
    ],
)
def test_a_server_syncs_every_write_only_if_it_never_makes_an_exception(config: object, synced: bool):
    assert rules.is_synced(config) is synced


# --- time ---------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 100) | st.just(NEVER), min_size=3, max_size=9), st.floats(0, 100))
def test_at_every_moment_before_its_end_a_quorum_is_ours(deadlines: list[float], now: float):
    needed = rules.quorum(len(deadlines))
    until = Deadlines(needed, deadlines).until
    assert (now < until) == (sum(now < one for one in deadlines) >= needed)


def test_a_node_that_is_lost_counts_no_more():
    all_of_it = Deadlines(2, [10.0, 11.0, NEVER])
    assert all_of_it.until == 10.0
    assert all_of_it.renewed(2, 12.0) == 11.0
    assert all_of_it.renewed(2, 5.0) == 11.0  # an answer that was overtaken takes nothing back
    assert all_of_it.lost(1) == 10.0
    assert all_of_it.lost(0) == NEVER


def test_a_node_has_a_part_of_the_ttl_for_its_answer():
    timeouts = {ttl: RedlockOptions(ttl=ttl).node_timeout_s for ttl in (0.1, 1, 10, 60)}
    assert timeouts == {0.1: 0.025, 1: 0.05, 10: 0.5, 60: 3.0}
    assert RedlockOptions(ttl="10s").longest_s == 10
    assert RedlockOptions(ttl="10s", longest_lease="1m").longest_s == 60


def test_no_script_makes_a_key_anew_when_it_renews_or_confirms():
    """What is gone may have been somebody else's meanwhile."""
    assert "SET" not in rules.CLAIM.name
    confirm = re.sub(r"--.*", "", rules.CONFIRM.text)
    assert confirm.index("return 0") < confirm.index("'SET'")
