# Generated from test_latch_async.py by tools/unasync.py. Do not edit.
"""What a latch promises to one who uses it. The orders of its steps: test_latch_model.py.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, ConflictError, LockTimeout, Unavailable
from holdfast._compat import sleep
from holdfast.locks.latch._sync import Latch
from holdfast.locks.latch.rules import LatchOptions
from tests.cache.crowd import Crowd


def latch(hf: Holdfast, name: str, count: Any, **options: Any) -> Latch:
    return Latch(hf._locks, name, LatchOptions(count=count, **options))


@pytest.mark.everywhere
def test_it_opens_when_all_have_arrived(hf: Holdfast, place, namespace: str, transport: str):
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        mine, theirs = latch(hf, "all", 3), latch(second, "all", 3)
        assert mine.missing() == 3
        with Crowd() as crowd:
            jobs = [crowd.start(one.wait) for one in (mine, theirs)]
            assert mine.arrive("a") == 2
            assert theirs.arrive("b") == 1
            assert theirs.arrive("b") == 1  # the same one counts once
            sleep(0.3)
            assert not any(job.done for job in jobs)
            assert mine.arrive() == 0
            for job in jobs:
                job.result()
        state = theirs.inspect()
        assert (state.count, state.arrived, state.missing, state.is_open) == (3, 3, 0, True)
        mine.wait(0)
        assert mine.arrive("d") == 0  # one more does no harm
        generation = theirs.reset()
        assert generation > state.generation
        assert mine.missing() == 3 and mine.arrive("a") == 2
        with pytest.raises(LockTimeout, match="2 of 3 are missing"):
            mine.wait("50ms")


def test_who_waits_is_woken(hf: Holdfast):
    """found: without SPUBLISH in arrive.lua it took the whole two seconds of SAFETY."""
    took = []
    for name in "xyz":
        one = latch(hf, name, 2)
        with Crowd() as crowd:
            jobs = [crowd.start(one.wait) for _ in range(5)]
            one.arrive()
            sleep(0.25)
            begun = time.monotonic()
            one.arrive()
            for job in jobs:
                job.result()
            took.append(time.monotonic() - begun)
    assert min(took) < 1.0, took


def test_arrivals_without_a_name_are_different(hf: Holdfast):
    one = latch(hf, "many", 20)
    with Crowd() as crowd:
        assert sorted(crowd.all(20, one.arrive)) == list(range(20))


def test_an_opening_is_seen_by_who_waited_for_it_although_it_was_reset(hf: Holdfast):
    """found: `wait` that looks whether it is open now: who was slow waited for the next round, for ever."""
    one = latch(hf, "short", 2)
    with Crowd() as crowd:
        one.arrive("a")
        job = crowd.start(lambda: one.wait("20s"))
        sleep(0.3)
        one.arrive("b")
        one.reset()
        job.result()
        with pytest.raises(LockTimeout):  # who comes now waits for the next round
            one.wait("50ms")


def test_who_waited_for_a_round_that_was_reset_waits_for_the_next(hf: Holdfast):
    one = latch(hf, "next", 2)
    with Crowd() as crowd:
        one.arrive("a")
        job = crowd.start(lambda: one.wait("20s"))
        sleep(0.2)
        one.reset()
        one.arrive("a")
        sleep(0.3)
        assert not job.done
        one.arrive("b")
        job.result()


def test_all_have_to_say_the_same_count(hf: Holdfast):
    """found: without the look at `n` the second of two opened a latch that awaited three."""
    three, two = latch(hf, "count", 3), latch(hf, "count", 2)
    three.arrive("a")
    for call in (two.arrive, two.wait, two.missing, two.inspect):
        with pytest.raises(ConflictError, match="awaits 3 parties") as caught:
            call()
        assert (caught.value.expected, caught.value.actual) == (2, 3)
    assert three.missing() == 2


def test_nothing_is_left_after_its_ttl(hf: Holdfast):
    """found: without one of the PEXPIREs."""
    one = latch(hf, "short", 2, ttl="300ms")
    one.arrive("a")
    one.arrive("b")
    one.reset()
    one.arrive("a")
    sleep(0.6)
    assert [hf.execute("EXISTS", one.key + part) for part in ("", ":p", ":o")] == [0, 0, 0]
    assert one.missing() == 2 and one.reset() == 0
    assert latch(hf, "short", 5).arrive() == 4  # and another count may be said


def test_a_lost_reply_counts_once_even_over_a_reset(hf: Holdfast, faults, namespace: str):
    """found: arrive.lua that does not look at the round before: the repetition arrived in the next one."""
    with Holdfast(faults.url, namespace=namespace, timeout="10s") as second:
        mine, theirs = latch(hf, "lost", 2), latch(second, "lost", 2)
        theirs.missing()
        faults.drop_replies(match=b"a party")
        assert theirs.arrive("a party") == 1
        assert mine.missing() == 1
        faults.drop_replies(match=b"another")
        faults.refuse()  # so that the repetition is not quicker than the reset
        with Crowd() as crowd:
            job = crowd.start(lambda: theirs.arrive("another"))
            Crowd.until(mine.missing, 0)
            mine.reset()
            faults.accept()
            assert job.result() == 0
        assert mine.missing() == 2


def test_waiting_goes_on_while_the_server_is_away(hf: Holdfast, faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as second:
        mine, theirs = latch(hf, "away", 2), latch(second, "away", 2)
        with Crowd() as crowd:
            job = crowd.start(lambda: theirs.wait("25s"))
            sleep(0.2)
            faults.refuse()
            faults.cut()
            with pytest.raises(Unavailable):
                theirs.arrive("x")
            mine.arrive("a")
            mine.arrive("b")
            sleep(0.3)
            assert not job.done
            faults.accept()
            job.result()


def test_flushed_it_begins_anew(own_server, namespace: str):
    """found: generations that begin at 1: after a reset and a FLUSHALL nothing opened for who waited."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        one = latch(hf, "flushed", 2)
        one.arrive("a")
        one.reset()
        one.arrive("a")
        with Crowd() as crowd:
            job = crowd.start(lambda: one.wait("20s"))
            sleep(0.2)
            hf.execute("FLUSHALL")
            assert one.arrive("b") == 1
            assert one.arrive("a") == 0
            job.result()


def test_nonsense_is_refused(hf: Holdfast):
    for count in (0, -1, True, "3", 1.5, None):
        with pytest.raises(ConfigurationError, match="count="):
            latch(hf, "nonsense", count)
    for options in ({"ttl": 0}, {"wait": -1}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            latch(hf, "nonsense", 2, **options)
    with pytest.raises(ConfigurationError, match="latch"):
        latch(hf, "", 2)
    with pytest.raises(ConfigurationError, match="party"):
        latch(hf, "x", 2).arrive("")
