# Generated from test_semaphore_async.py by tools/unasync.py. Do not edit.
"""What a semaphore promises to one who uses it. The orders of its steps: test_semaphore_model.py.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, LockError, LockLost, LockTimeout
from holdfast._compat import sleep
from holdfast.locks.options import chosen
from holdfast.locks.semaphore._sync import Semaphore
from holdfast.locks.semaphore.options import SemaphoreOptions
from tests.cache.crowd import Crowd


def semaphore(hf: Holdfast, name: str, permits: Any, **options: Any) -> Semaphore:
    return Semaphore(
        hf._locks, name, chosen(SemaphoreOptions, f"semaphore {name!r}", {"permits": permits, **options})
    )


@pytest.mark.everywhere
def test_so_many_and_no_more(hf: Holdfast, place, namespace: str, transport: str):
    """found: take.lua with `over > 0`: four at once inside."""
    inside: list[int] = []
    most: list[int] = []
    fences: list[int] = []
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:

        def work(hf: Holdfast) -> None:
            with semaphore(hf, "three", 3, wait="25s") as lease:
                fences.append(lease.fence)
                inside.append(1)
                sleep(0.005)
                most.append(len(inside))
                inside.pop()

        with Crowd() as crowd:
            jobs = [crowd.start(lambda hf=hf: work(hf)) for hf in (hf, second) * 10]
            for job in jobs:
                job.result()
    assert 1 < max(most) <= 3, most
    assert len(set(fences)) == 20
    state = semaphore(hf, "three", 3).inspect()
    assert (state.out, state.limit, state.holders) == (0, 3, ())
    assert hf.execute("EXISTS", semaphore(hf, "three", 3).key) == 0


def test_a_life(hf: Holdfast):
    two = semaphore(hf, "life", 2, ttl="20s", label="me")
    with two as first, two as second:
        assert second.fence > first.fence > 0 and 15 < first.remaining() < 20
        first.ensure()
        assert two.try_acquire() is None
        begun = time.monotonic()
        with pytest.raises(LockTimeout, match="semaphore 'life' was not acquired") as caught:
            two.acquire(wait="100ms")
        assert time.monotonic() - begun >= 0.1 and caught.value.name == "life"
        state = two.inspect()
        assert (state.out, state.limit) == (2, 2)
        assert {one.fence for one in state.holders} == {first.fence, second.fence}
        assert {one.owner for one in state.holders} == {caught.value.holder}
        assert all(one.label == "me" and one.ttl is not None and 15 < one.ttl <= 20 for one in state.holders)
        with pytest.raises(ConfigurationError, match="only one can have"):
            hf.transaction(guard=first)
    third = two.try_acquire()
    assert third is not None and third.fence > second.fence
    third.release()
    third.release()
    assert (two.inspect()).out == 0


def test_who_waits_is_woken_and_all_of_them(hf: Holdfast):
    """One message for three permits. found: `_rest` that does not look at what is left: the second of
    those who wait in this process slept through the message that the first took.
    """
    three = semaphore(hf, "woken", 3, ttl="60s", wait="20s")
    took = []
    for _ in range(3):
        leases = [three.acquire() for _ in range(3)]
        with Crowd() as crowd:
            jobs = [crowd.start(three.acquire) for _ in range(3)]
            sleep(0.25)
            assert not any(job.done for job in jobs)
            begun = time.monotonic()
            assert three.force_release() == len(leases)
            theirs = [job.result() for job in jobs]
            took.append(time.monotonic() - begun)
            for lease in theirs:
                lease.release()
    assert min(took) < 1.0, took  # of SAFETY, 2 s


def test_a_permit_of_one_who_crashed_comes_back(hf: Holdfast):
    """Whatever the others do. found: take.lua that does not purge."""
    two = semaphore(hf, "crashed", 2, wait="20s")
    crashed = semaphore(hf, "crashed", 2, ttl="600ms", renew=False).acquire()
    begun = time.monotonic()
    with two:
        lease = two.acquire()
        assert 0.55 <= time.monotonic() - begun < 1.6
        lease.release()
    with pytest.raises(LockLost) as caught:
        crashed.release()
    assert caught.value.cause == "expired"


def test_a_lower_limit_takes_effect_as_permits_end(hf: Holdfast):
    """A deploy under way: some say three, some say one. found: `over > 0` in take.lua."""
    three, one = semaphore(hf, "limit", 3, wait="20s"), semaphore(hf, "limit", 1, wait="20s")
    leases = [three.acquire() for _ in range(3)]
    assert one.try_acquire() is None
    with Crowd() as crowd:
        job = crowd.start(one.acquire)
        for lease in leases[:2]:
            lease.release()
            sleep(0.15)
            assert not job.done
        assert (three.inspect()).out == 1
        leases[2].release()
        mine = job.result()
    state = one.inspect()
    assert (state.out, state.limit) == (1, 1)
    assert one.try_acquire() is None
    other = three.try_acquire()
    assert other is not None
    other.release()
    mine.release()


def test_who_has_the_only_permit_is_not_let_wait_for_itself(hf: Holdfast):
    one, two = semaphore(hf, "one", 1, wait="20s"), semaphore(hf, "two", 2, wait="20s")
    with one:
        begun = time.monotonic()
        with pytest.raises(LockError, match="held by this very") as caught:
            one.acquire()
        assert not isinstance(caught.value, LockTimeout) and time.monotonic() - begun < 10
    with two as first, two as second:  # no mistake: there are two
        assert first is not second
    assert (two.inspect()).out == 0


def test_all_who_have_one_are_told_when_they_are_taken_away(hf: Holdfast):
    """found: break.lua that does not touch the alarm: they heard of it at a third of their ttl."""
    two = semaphore(hf, "broken", 2, ttl="60s")
    leases = [two.acquire() for _ in range(2)]
    sleep(0.5)
    begun = time.monotonic()
    assert two.force_release() == 2
    for lease in leases:
        Crowd.until(lease.lost.is_set)
        assert lease.cause == "vanished"
    assert time.monotonic() - begun < 10  # of a third of the ttl, 20 s
    assert two.force_release() == 0
    assert hf.execute("EXISTS", two.key, two.key + ":h", two.key + ":a") == 0


def test_those_who_come_and_go_do_not_make_the_others_renew(hf: Holdfast, server, namespace: str):
    """found: keep.lua that read the places last, so that the server tracked them."""
    two = semaphore(hf, "quiet", 2, ttl="60s")
    first = two.acquire()
    sleep(0.6)
    before = two.stats().renewals
    assert before >= 1
    with Holdfast(server.url, namespace=namespace) as second:
        for _ in range(30):
            with semaphore(second, "quiet", 2, ttl="60s"):
                sleep(0.01)
    assert two.stats().renewals == before
    first.release()


def test_it_is_renewed(hf: Holdfast):
    """found: keep.lua without ZADD, and without PEXPIREAT."""
    one = semaphore(hf, "kept", 1, ttl="1s")
    with one as lease:
        sleep(2.5)
        lease.ensure()
        state = one.inspect()
        assert state.out == 1 and state.holders[0].fence == lease.fence
        assert one.try_acquire() is None
        assert hf.execute("PTTL", one.key) > 0 and hf.execute("PTTL", one.key + ":h") > 0
    lease = one.acquire()
    hf.execute("DEL", one.key, one.key + ":h")
    Crowd.until(lease.lost.is_set)
    assert lease.cause == "vanished" and hf.execute("EXISTS", one.key) == 0


def test_nonsense_is_refused(hf: Holdfast):
    for permits in (0, -1, True, "3", 1.5, None):
        with pytest.raises(ConfigurationError, match="permits="):
            semaphore(hf, "nonsense", permits)
    nonsense = ({"ttl": 0}, {"wait": -1}, {"label": 3}, {"on_wanted": print}, {"x": 1})
    for options in nonsense:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            semaphore(hf, "nonsense", 2, **options)
    with pytest.raises(ConfigurationError, match="non-empty"):
        semaphore(hf, "", 2)
