# Generated from test_versions_async.py by tools/unasync.py. Do not edit.
"""Projections: several runners, several versions side by side, and what happens when something is gone."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, ConflictError
from holdfast.events import rules
from holdfast.events.options import PositionTrimmed
from holdfast.events.rules import ProjectionReplaced
from tests.events.crew import Crew
from tests.events.test_log_sync import make
from tests.events.test_projection_sync import expire, number, totals, until
from tests.events.world import Observer, ns

# --- several runners ---------------------------------------------------------------------------------------


def test_two_runners_at_once_do_not_double_anything(hf: Holdfast):
    """Both believe that it is theirs, again and again: the position in the commit decides."""
    log, other = make(hf), make(hf)
    one, two = totals(log, batch=3), totals(other, batch=5)
    log.append("a", ns(*[1] * 100))
    one.start()
    two.start()
    for _ in range(40):
        log.append("b", ns(*[1] * 5))
        expire(one)
    appended = log.append("b", ns(1))
    one.wait(appended)
    assert number(one) == 301
    assert len(one.seen) + len(two.seen) >= 301
    one.close(5.0)
    two.close(5.0)


def test_whoever_closes_hands_over_at_once(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Without giving the lease back, and saying so, the next one would wait until it ends."""
    monkeypatch.setattr(rules, "SAFETY_POLL", 1000.0)
    log, other = make(hf), make(hf)
    one, two = totals(log, lease="1m"), totals(other, lease="1m")
    one.start()
    one.wait(log.append("a", ns(1)))
    two.start()
    Crew.rest(0.2)  # it is sleep
    one.close(5.0)
    lease = log._desk.layout.parts[0].lease("totals:1")

    def taken() -> bool:
        return hf.execute("GET", lease) == two._projector._holder.encode()

    until(taken)
    appended = log.append("a", ns(2))
    two.wait(appended, wait="10s")
    assert number(one) == 3 and two.seen[-1][0] == 2
    two.close(5.0)


def test_a_runner_that_is_silent_is_succeeded_after_its_lease(hf: Holdfast):
    log = make(hf)
    part = log._desk.layout.parts[0]
    hf.execute("SET", part.lease("totals:1"), "a dead process", "PX", 400, retry="safe")
    projection = totals(log, lease="400ms")
    appended = log.append("a", ns(1))
    projection.start()
    projection.wait(appended, wait="10s")
    assert number(projection) == 1
    projection.close(5.0)


# --- versions ----------------------------------------------------------------------------------------------


def test_a_new_version_is_built_beside_the_old_one_and_replaces_it(hf: Holdfast):
    log = make(hf)
    observer = Observer(hf)
    old = totals(log, lease="300ms")
    old.start()
    old.wait(log.append("a", ns(*[1] * 50)))
    assert number(old) == 50
    new = totals(log, version=2, batch=7, lease="300ms")
    gate = [True]

    def slowly(fx: Any, event: Any) -> None:
        while gate[0]:
            Crew.rest(0.005)
        fx.incrby(fx.key("sum"), 2 * event.value["n"])
        new.seen.append((event.value["n"], fx.replaying))

    new.handler = slowly
    new.start()
    old.wait(log.append("a", ns(1)))
    assert number(new) == 51  # the old one is read until the new one is level
    gate[0] = False

    def replaced() -> bool:
        return bool(observer.of(ProjectionReplaced))

    for _ in range(20):
        log.append("a", ns(1))
    until(replaced)
    appended = log.append("a", ns(1))
    new.wait(appended)
    assert number(new) == number(old) == 2 * 72
    assert int(hf.execute("GET", old.key("sum"))) == len(old.seen)
    # Each event was no replay for exactly one of the two.
    assert [one for one, _ in new.seen] == [1] * 72
    live = [replaying for _, replaying in old.seen].count(False) + [one for _, one in new.seen].count(False)
    first = [replaying for _, replaying in old.seen].count(True)
    assert first + live == 72
    statuses = {one.version: one for one in new.status()}
    assert statuses[2].active and statuses[1].replaced and old.is_idle()
    assert old.alive and old.failure is None
    old.close(5.0)
    with pytest.raises(ConfigurationError, match="active"):
        new.drop(2)
    assert new.drop(1) == 3
    assert [one.version for one in new.status()] == [2]
    assert hf.execute("GET", old.key("sum")) is None
    new.close(5.0)


def test_a_version_is_idle_once_it_has_seen_all_and_is_read(hf: Holdfast):
    """`hf.run(until="idle")` would end before it has begun, or before it has replaced the older one."""
    log = make(hf)
    old, new = totals(log), totals(log, version=2)
    appended = log.append("a", ns(1, 2))
    assert not old.is_idle()  # nobody has looked at it yet
    old.start()
    old.wait(appended)
    old.close(5.0)
    assert old.is_idle()
    desk, part = log._desk, log._desk.layout.parts[0]
    hf.execute("SET", part.lease("totals:1"), "a process", retry="safe")  # it runs the old one
    turn = desk.turn(part, "totals", 2, "us", 60_000, 1)
    assert (turn.at, turn.goal) == (0, appended.position)
    desk.commit(part, ("totals", 2, "us", 60_000), (0, appended.position), [])
    assert not new.is_idle()
    assert desk.turn(part, "totals", 2, "us", 60_000, 1) == (0, 60_000)  # held, it has not said so yet
    hf.execute("DEL", part.lease("totals:1"), retry="safe")
    desk.turn(part, "totals", 2, "us", 60_000, 1)
    assert new.is_idle() and old.is_idle()


def test_a_word_of_an_earlier_hold_counts_no_more(hf: Holdfast):
    """The older version had said that it waits, and has gone on since: both would have the same events."""
    log = make(hf)
    log.append("a", ns(1, 2))
    desk, part = log._desk, log._desk.layout.parts[0]

    def turn(version: int) -> Any:
        return desk.turn(part, "totals", version, f"r{version}", 60_000, 100)

    assert (turn(1)).goal == -1
    assert (turn(2))[0] == 0  # the older one is held
    assert (turn(1))[0] == 0  # and says that it waits
    hf.execute("HSET", part.active, "held:totals", 1, retry="safe")  # the newer one was away too long
    assert (turn(1)).goal == -1  # it goes on
    assert (turn(2))[0] == 0  # and has to say so again
    assert (turn(1))[0] == 0
    assert (turn(2)).goal == -1
    assert turn(1) == (rules.REFUSED, 2)


def test_the_older_version_can_be_made_the_active_one_again(hf: Holdfast):
    log = make(hf)
    old, new = totals(log, lease="300ms"), totals(log, version=2, lease="300ms")
    old.start()
    old.wait(log.append("a", ns(1)))
    new.start()

    def replaced() -> bool:
        return any(one.active and one.version == 2 for one in new.status())

    until(replaced)
    new.wait(log.append("a", ns(2)))
    assert [one for one, _ in old.seen] == [1]
    new.activate(1)
    old.wait(log.append("a", ns(4)))
    assert number(old) == 7
    assert [one for one, _ in old.seen] == [1, 2, 4]
    assert [one for _, one in old.seen[1:]] == [True, False]  # the newer one has had 2
    assert [one for one, _ in new.seen] == [1, 2]
    new.activate(2)
    new.wait(log.append("a", ns(8)))
    assert number(new) == 15 and [one for _, one in new.seen[2:]] == [True, False]
    with pytest.raises(ConfigurationError, match="no version 3"):
        new.activate(3)
    old.close(5.0)
    new.close(5.0)


# --- what is gone ------------------------------------------------------------------------------------------


def test_a_flushed_server_starts_it_anew(own_server, namespace: str):
    """Its position is gone with the events: nothing of the new history may be skipped."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        log = make(hf)
        projection = totals(log)
        projection.start()
        projection.wait(log.append("a", ns(*[1] * 30)))
        hf.execute("FLUSHALL", retry="safe")
        projection.wait(log.append("a", ns(1, 2)))
        assert number(projection) == 3
        projection.close(5.0)


def test_events_are_not_archived_before_every_projection_has_seen_them(hf: Holdfast):
    log = make(hf)
    projection = totals(log)
    projection.start()
    projection.wait(log.append("a", ns(1)))
    projection.close(5.0)
    log.append("a", ns(2))
    log.snapshot("a", 3, version=2)
    with pytest.raises(ConflictError, match="totals"):
        log.archive("a")
    projection.start()
    until(projection.is_idle)
    assert log.archive("a") == 2
    projection.close(5.0)
    # A version that is built later cannot be right, and says so.
    new = totals(log, version=2)
    new.start()

    def failed() -> bool:
        return not new.alive

    until(failed)
    assert isinstance(new.failure, PositionTrimmed) and number(new) == 3
    new.close(5.0)


def test_a_lost_reply_of_a_commit_does_not_double_it(faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace) as hf:
        log = make(hf)
        projection = totals(log)
        projection.start()
        projection.wait(log.append("a", ns(1)))
        for round in range(3):
            faults.drop_replies(match=rules.COMMIT.digest.encode())
            projection.wait(log.append("a", ns(1)))
            assert number(projection) == 2 + round
        assert len(projection.seen) == 4
        projection.close(5.0)


def test_it_goes_on_when_the_server_is_back(faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        log = make(hf)
        projection = totals(log)
        projection.start()
        projection.wait(log.append("a", ns(1)))
        faults.refuse()
        faults.cut()
        Crew.rest(0.6)
        faults.accept()
        until_appended(log, projection)
        assert number(projection) == 3 and projection.failure is None
        projection.close(5.0)


def until_appended(log: Any, projection: Any) -> None:
    appended = log.append("a", ns(2), expected=1)
    projection.wait(appended)
