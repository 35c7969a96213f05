"""A storm is worth what its judge sees."""

from __future__ import annotations

from typing import Any

from tests.locks.storm.record import Hold, Wipe, judge, read

TTL = 10.0


def hold(who: str, call: float, fence: int, **more: Any) -> Hold:
    """A hold that was granted at once and is certain for a ttl."""
    at = {"granted": call + 0.1, "until": call + TTL, "looked": call + 0.1, "fence": fence} | more
    return Hold(who=who, key="k", call=call, **at)


def given_back(who: str, call: float, fence: int, end: float) -> Hold:
    return hold(who, call, fence, release=end, released=end + 0.1, looked=end)


def test_one_after_the_other_is_well():
    seen = judge("lock", [given_back("a", 0, 1, 2), given_back("b", 1, 2, 4)][:1], ttl=TTL)
    assert seen.faults == []
    seen = judge("lock", [given_back("a", 0, 1, 2), given_back("b", 2.2, 2, 4)], ttl=TTL)
    assert (seen.faults, seen.holds, seen.operations, seen.verdict) == ([], 2, 4, "linearizable")


def test_two_at_once_are_seen_and_explained_by_a_wipe_only():
    both = [given_back("a", 0, 1, 5), given_back("b", 1, 2, 3)]
    seen = judge("lock", both, ttl=TTL)
    assert len(seen.double) == 1 and seen.verdict == "broken" and len(seen.faults) == 2
    wiped = judge("lock", both, [Wipe(0.5, 0.6)], ttl=TTL)
    assert (wiped.faults, len(wiped.excused)) == ([], 1)
    assert judge("lock", both, [Wipe(6, 7)], ttl=TTL).double
    heard_late = [given_back("b", 1, 2, 5), hold("a", 0, 1, granted=3.0, release=4.0, released=4.1)]
    assert judge("lock", heard_late, [Wipe(0.5, 0.6)], ttl=TTL).faults == []
    assert judge("semaphore", both, ttl=TTL).faults == []


def test_only_those_whom_the_server_forgot_are_explained_by_a_wipe():
    old = [hold(f"old{n}", n / 10, n, release=9.0, released=9.1) for n in range(2)]
    new = [hold(f"new{n}", 3 + n / 10, 9 + n, release=9.0, released=9.1) for n in range(4)]
    assert judge("semaphore", [*old, *new[:3]], [Wipe(2, 2.1)], ttl=TTL).faults == []
    assert judge("semaphore", [*old, *new], [Wipe(2, 2.1)], ttl=TTL).double
    assert judge("semaphore", [*old, *new[:2]], ttl=TTL).double


def test_a_lease_that_was_given_to_another_before_its_certain_end_is_seen():
    """No release, no loss: only the time tells."""
    assert judge("lock", [hold("a", 0, 1), hold("b", TTL - 0.5, 2)], ttl=TTL).double
    assert judge("lock", [hold("a", 0, 1), hold("b", TTL + 0.5, 2)], ttl=TTL).faults == []
    killed = judge("lock", [hold("a", 0, 1, killed=1.0), hold("b", 2, 2)], ttl=TTL)
    assert killed.double == [] and killed.verdict == "broken"  # its lease had not ended


def test_fences_that_do_not_grow_are_seen_after_a_wipe_too():
    both = [given_back("a", 0, 7, 1), given_back("b", 3, 7, 4)]
    assert judge("lock", both, [Wipe(2, 2.1)], ttl=TTL).fences
    assert judge("semaphore", both, ttl=TTL).faults == []


def test_a_loss_without_a_reason_is_seen():
    lost = hold("a", 0, 1, lost=3.0, cause="vanished")
    assert judge("lock", [lost], ttl=TTL).false_alarms
    assert judge("lock", [lost], [Wipe(2, 2.9)], ttl=TTL).faults == []
    assert judge("lock", [hold("a", 0, 1, lost=TTL + 1, cause="vanished")], ttl=TTL).faults == []


def test_who_never_hears_of_a_wipe_is_seen():
    seen = judge("lock", [hold("a", 0, 1, until=30.0, looked=2.6 + TTL)], [Wipe(2, 2.5)], ttl=TTL)
    assert seen.deaf and seen.faults
    assert judge("lock", [hold("a", 0, 1, until=12.4, looked=12.4)], [Wipe(2, 2.5)], ttl=TTL).faults == []


def test_readers_may_be_together():
    readers = [hold("a", 0, 0, op="read"), hold("b", 0, 0, op="read")]
    assert judge("rwlock", readers, ttl=TTL).faults == []
    assert judge("rwlock", [*readers, hold("c", 1, 5, op="write")], ttl=TTL).double


def test_a_wait_for_nobody_is_measured():
    waits = Hold(who="b", key="k", call=1.0, refused=9.0)
    assert judge("lock", [given_back("a", 0, 1, 3), waits], ttl=TTL).stall == 6.0


def test_who_is_told_to_wait_for_itself_is_seen():
    """As by a lock whose repeated acquire does not know that the first was granted."""
    waits = Hold(who="1b7", key="k", call=1.0, refused=9.0, holder="host:1:1b7")
    assert judge("lock", [waits], ttl=TTL).faults
    assert judge("lock", [waits, Hold(who="2b7", key="k", call=2.0, refused=9.0)], ttl=TTL).faults
    assert judge("lock", [waits, Hold(who="1a3", key="k", call=2.0, refused=9.0)], ttl=TTL).faults == []
    other = Hold(who="1b7", key="k", call=1.0, refused=9.0, holder="host:1:1a7")
    assert judge("lock", [other], ttl=TTL).faults == []


def test_a_line_that_was_cut_short_is_left_out():
    lines = given_back("a", 0, 1, 2).line() + hold("b", 3, 2).line()
    lines += given_back("b", 3, 2, 5).line()
    holds = read(lines + hold("c", 6, 3).line()[:40])
    assert [(one.who, one.released) for one in holds] == [("a", 2.1), ("b", 5.1)]
