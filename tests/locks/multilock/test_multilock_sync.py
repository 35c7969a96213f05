# Generated from test_multilock_async.py by tools/unasync.py. Do not edit.
"""Several names at once. "found:" says what was seen when the bug was planted by hand."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from holdfast import (
    Holdfast,
    ConfigurationError,
    LockError,
    LockLost,
    LockTimeout,
)
from holdfast._compat import sleep
from holdfast.locks.multilock import rules
from tests.cache.crowd import Crowd
from tests.locks.multilock.names import ascending, key_of, neighbours

SOON = 1.0  # seconds; of the 2 s after which a waiter asks although he heard nothing


def is_free(hf: Holdfast, *names: str) -> bool:
    """Is nobody's any of `names`?"""
    return not any([hf.execute("EXISTS", key_of(hf, name)) for name in names])  # noqa: C419, RUF100


# --- everywhere --------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_it_excludes_the_locks_of_its_names_and_they_exclude_it(
    hf: Holdfast, place, namespace: str, transport: str
):
    """In slots of their own and in a shared one; with fences, guards and a hand-over."""
    names = ["b", "a", "c", neighbours(hf, "a"), "a"]
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        before = {name: second.lock(name).acquire() for name in dict.fromkeys(names)}
        for one in before.values():
            assert hf.multilock(names).try_acquire() is None
            one.release()
        lock = hf.multilock(names, ttl="20s", label="us")
        with lock as lease:
            assert sorted(lease.fences) == sorted(set(names))
            assert all(lease.fences[name] > before[name].fence for name in names)
            assert lease.fence == max(lease.fences.values())
            assert 15 < lease.remaining() < 20
            lease.ensure()
            for name in names:
                assert second.lock(name).try_acquire() is None
                assert second.multilock([name, "z"]).try_acquire() is None
                guard: Any = lease.of(name)
                with hf.transaction(guard=guard) as tx:
                    tx.set(guard.key("total"), 1)
            Crowd.until(lambda: is_free(hf, "z"))
            assert {one.label for one in (lock.inspect()).values() if one is not None} == {"us"}
            with Crowd() as crowd:
                job = crowd.start(lambda: second.lock("c", wait="20s").acquire())
                sleep(0.3)
                begun = time.monotonic()
                lease.release()
                theirs = job.result()
                assert time.monotonic() - begun < SOON
        assert theirs.fence > lease.fences["c"]
        theirs.release()
        assert is_free(hf, *names)
        assert set((lock.inspect()).values()) == {None}


@pytest.mark.everywhere
def test_nobody_waits_for_ever_whoever_wants_what_in_whatever_order(
    hf: Holdfast, place, namespace: str, transport: str
):
    """found: with the names of every second caller in descending order, all timed out in a Cluster."""
    inside: Counter[str] = Counter()
    fences: dict[str, list[int]] = {}
    names, dice = list("abcde"), random.Random(11)
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:

        def work(hf: Holdfast, wanted: list[str]) -> None:
            lock: Any = (
                hf.multilock(wanted, wait="25s") if len(wanted) > 1 else hf.lock(wanted[0], wait="25s")
            )
            with lock as lease:
                inside.update(wanted)
                assert max(inside.values()) == 1
                for name in wanted:
                    fence = lease.fences[name] if len(wanted) > 1 else lease.fence
                    fences.setdefault(name, []).append(fence)
                sleep(0.001)
                inside.subtract(wanted)

        with Crowd() as crowd:
            chosen = [dice.sample(names, dice.randint(1, 4)) for _ in range(40)]
            jobs = [
                crowd.start(lambda hf=(hf, second)[turn % 2], wanted=wanted: work(hf, wanted))
                for turn, wanted in enumerate(chosen)
            ]
            for job in jobs:
                job.result()
    assert all(told == sorted(set(told)) for told in fences.values())
    assert is_free(hf, *names)


# --- having it ---------------------------------------------------------------------------------------------


def test_one_server_is_asked_once(faults, namespace: str):
    """Three names, one script for all; and one to give them back."""
    with Holdfast(faults.url, namespace=namespace) as hf:
        (hf.multilock(["a", "b", "c"]).acquire()).release()
        faults.reset_counts()
        lease = hf.multilock(["c", "b", "a"]).acquire()
        assert len(faults.commands("EVALSHA")) == 1 == len(set(lease.fences.values()))
        lease.release()
        asked = faults.commands("EVALSHA")
        digests = {rules.ACQUIRE.digest, rules.RELEASE.digest}
        assert {command[1].decode() for command in asked} == digests and len(asked) == 2


def test_all_or_nothing(hf: Holdfast):
    """found: with a busy name that is only skipped, `a` and `b` were held while `c` was waited for."""
    theirs = hf.lock("c").acquire()
    with Crowd() as crowd:
        job = crowd.start(lambda: hf.multilock(["a", "b", "c"], wait="20s").acquire())
        sleep(0.2)
        for name in ("a", "b"):
            with hf.lock(name, wait=0):
                pass
        theirs.release()
        lease = job.result()
    assert not is_free(hf, "a") and not is_free(hf, "b") and not is_free(hf, "c")
    lease.release()


def test_whoever_waits_is_woken_by_the_name_that_was_held(hf: Holdfast, server, namespace: str):
    """Also by the second one, which is found held after the first was freed.

    found: waiting on the channel of the first name only, it took the 2 s of SAFETY.
    """
    with Holdfast(server.url, namespace=namespace) as second:
        names = ascending(hf, ["a", "b", "c"])
        held = [second.lock(name, ttl="60s").acquire() for name in names]
        with Crowd() as crowd:
            job = crowd.start(lambda: hf.multilock(names, wait="20s").acquire())
            for lease in held:
                sleep(0.3)
                begun = time.monotonic()
                lease.release()
            ours = job.result()
            assert time.monotonic() - begun < SOON
        ours.release()


def test_a_waiter_of_this_process_is_not_left_behind(hf: Holdfast, server, namespace: str):
    """Who waits for `a` and finds `b` held leaves the queue of `a`; the next one there must be told that it
    is free. found: with _Elsewhere returned instead of raised, the queue took `a` for ours: 2 s.
    """
    with Holdfast(server.url, namespace=namespace) as second:
        first, other = ascending(hf, ["a", "b"])
        low, high = (
            second.lock(first, ttl="60s").acquire(),
            second.lock(other, ttl="60s").acquire(),
        )
        with Crowd() as crowd:
            both = crowd.start(lambda: hf.multilock(["a", "b"], wait="20s").acquire())
            sleep(0.2)
            one = crowd.start(lambda: hf.lock(first, wait="20s").acquire())
            sleep(0.3)
            begun = time.monotonic()
            low.release()
            lease = one.result()
            assert time.monotonic() - begun < SOON
            high.release()
            lease.release()
            (both.result()).release()


def test_the_wait_ends_and_says_who_has_what(hf: Holdfast):
    theirs = hf.lock("b", label="them").acquire()
    begun = time.monotonic()
    with pytest.raises(LockTimeout, match="'b' was not acquired within the wait") as caught:
        hf.multilock(["a", "b"], wait="200ms").acquire()
    assert 0.2 <= time.monotonic() - begun < 0.2 + SOON
    assert caught.value.name == "b" and caught.value.holder.endswith(":them")
    theirs.release()


def test_nested_use_is_refused_at_once(hf: Holdfast):
    """found: with only the first name entered, the lock of the second waited for itself."""
    with hf.multilock(["a", "b"]):
        for name in ("a", "b"):
            with pytest.raises(LockError, match=f"lock '{name}' is held by this very task") as caught:
                hf.lock(name).acquire()
            assert not isinstance(caught.value, LockTimeout)
            with pytest.raises(LockError, match="this very task"):
                hf.multilock([name, "c"]).acquire()
    with hf.lock("b"):
        with pytest.raises(LockError, match="this very task"):
            hf.multilock(["a", "b"]).acquire()
    with hf.multilock(["a", "b"]):
        pass


@pytest.mark.parametrize("names", ["ab", [], ["a", ""], ["a", 1], [f"n{place}" for place in range(1001)]])
def test_names_that_are_none_are_refused(hf: Holdfast, names):
    with pytest.raises(ConfigurationError, match="multilock"):
        hf.multilock(names)


def test_options_are_those_of_a_lock(hf: Holdfast):
    with pytest.raises(ConfigurationError, match="fair"):
        hf.multilock(["a"], fair=True)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="ttl=0"):
        hf.multilock(["a"], ttl=0)


def test_a_fence_is_above_every_earlier_one_of_any_of_its_names(hf: Holdfast):
    """Also where the clock has not moved on, or went back. found: with the clock alone it went back."""
    far = 9_000_000_000_000_000  # microseconds: in the year 2255, and below 2 ** 53
    hf.execute("SET", hf.lock("b")._names.fence, far)
    with hf.multilock(["a", "b"]) as lease:
        assert lease.fences == {"a": far + 1, "b": far + 1} and lease.fence == far + 1
    with hf.lock("a") as single:
        assert single.fence == far + 2


# --- losing it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["single", "cluster"])
def test_it_is_lost_with_the_first_of_its_names(hf: Holdfast, topology: str):
    """And what is still ours of it is given back at the end. found: with a keep.lua that answers for the
    first name only, nothing was noticed.
    """
    told: list[str] = []
    lock = hf.multilock(["a", "b", "c"], ttl="20s", on_lost=lambda lease: told.append(lease.cause))
    begun = time.monotonic()
    lease = lock.acquire()
    sleep(0.4)  # until it is tracked
    hf.execute("DEL", key_of(hf, "b"))
    Crowd.until(lease.lost.is_set)
    assert time.monotonic() - begun < 5  # of a third of the ttl
    assert lease.cause == "vanished" and lease.remaining() == 0.0
    assert not is_free(hf, "a") and not is_free(hf, "c")
    with pytest.raises(LockLost):
        lease.ensure()
    with pytest.raises(LockLost) as caught:
        lease.release()
    assert caught.value.cause == "vanished" and told == ["vanished"]
    assert is_free(hf, "a", "b", "c")


def test_the_body_ends_when_one_name_is_lost(hf: Holdfast):
    lock = hf.multilock(["a", "b"], ttl="20s")
    with pytest.raises(LockLost) as caught:
        with lock as lease:
            sleep(0.4)
            hf.execute("DEL", key_of(hf, "b"))
            Crowd.until(lease.lost.is_set)  # a thread is cancelled here, a thread goes on
            lease.ensure()
    assert caught.value.cause == "vanished"
    assert is_free(hf, "a", "b")


def test_somebody_else_in_one_of_the_names_is_found_at_the_end(hf: Holdfast):
    """The release says it, where the renewal had no time to. What is his stays his."""
    lease = hf.multilock(["a", "b"], ttl="60s").acquire()
    assert hf.lock("b").force_release()
    theirs = hf.lock("b").acquire()
    with pytest.raises(LockLost):
        lease.release()
    assert is_free(hf, "a")
    theirs.ensure()
    theirs.release()


def test_it_is_held_for_max_hold_at_most(hf: Holdfast):
    """found: with parts that are renewed on, the names were not free for others while the body hung."""
    lease = hf.multilock(["a", "b"], ttl="300ms", max_hold="700ms").acquire()
    begun = time.monotonic()
    Crowd.until(lease.lost.is_set)
    assert 0.6 < time.monotonic() - begun < 0.7 + SOON
    assert lease.cause == "max_hold"
    theirs = hf.multilock(["b", "a"], wait="5s").acquire()
    theirs.release()
    with pytest.raises(LockLost):
        lease.release()


def test_it_is_renewed_and_without_renewal_it_ends(hf: Holdfast):
    with hf.multilock(["a", "b"], ttl="300ms") as lease:
        sleep(1.0)
        lease.ensure()
        assert not is_free(hf, "a") and not is_free(hf, "b")
    short = hf.multilock(["a", "b"], ttl="300ms", renew=False).acquire()
    Crowd.until(short.lost.is_set)
    assert short.cause == "expired"
    Crowd.until(lambda: is_free(hf, "a", "b"))


def test_somebody_may_ask_for_one_of_the_names(hf: Holdfast):
    with hf.multilock(["a", "b"], ttl="600ms") as lease:
        sleep(0.3)
        assert hf.lock("b").request_release("please")
        Crowd.until(lease.wanted.is_set)


def test_a_lease_that_was_given_back_is_not_ours(hf: Holdfast):
    lease: Any = hf.multilock(["a", "b"]).acquire()
    lease.release()
    lease.release()
    with pytest.raises(LockLost, match="given back"):
        lease.ensure()
    with pytest.raises(ConfigurationError, match="one name"):
        hf.transaction(guard=lease)
    with pytest.raises(ConfigurationError, match="no name 'z'"):
        lease.of("z")
