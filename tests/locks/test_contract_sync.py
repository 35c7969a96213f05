# Generated from test_contract_async.py by tools/unasync.py. Do not edit.
"""What a lock promises to one who uses it, on whatever servers.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import Holdfast, LockError, LockLost, LockTimeout
from holdfast._compat import sleep
from holdfast.locks import rules
from tests.cache.crowd import Crowd, Observer

MARGIN = 2.0  # seconds by which a busy machine may be late


def other(place: Any, hf: Holdfast, transport: str = "native") -> Holdfast:
    """Another client of the same namespace, to be closed by the caller."""
    return Holdfast(place.url, namespace=hf._settings.keys.namespace, transport=transport)


def keys(hf: Holdfast, lock: Any) -> set[str]:
    """What of a lock is on the server, by the part of its key."""
    names = {
        "key": lock.key,
        "fence": lock._names.fence,
        "wanted": lock._names.wanted,
        "queue": lock._names.queue,
    }
    return {name for name, key in names.items() if hf.execute("EXISTS", key)}


# --- everywhere ---------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_one_holds_it_at_a_time(hf: Holdfast, place, transport: str):
    """found: acquire.lua that does not look who has it: 20 at once inside."""
    inside: list[int] = []
    most: list[int] = []
    fences: list[int] = []
    with other(place, hf, transport) as second:

        def work(hf: Holdfast) -> None:
            with hf.lock("one", wait="20s") as lease:
                fences.append(lease.fence)
                inside.append(1)
                sleep(0.002)
                most.append(len(inside))
                inside.pop()

        with Crowd() as crowd:
            jobs = [crowd.start(lambda hf=hf: work(hf)) for hf in (hf, second) * 10]
            for job in jobs:
                job.result()
    assert max(most) == 1
    assert fences == sorted(set(fences)) and len(fences) == 20  # in the order of the grants
    assert hf.lock("one").inspect() is None


@pytest.mark.everywhere
def test_a_life(hf: Holdfast, place):
    """Held, refused to others, seen, used as a guard, given back, handed over, taken away."""
    with other(place, hf) as second:
        lock, theirs = hf.lock("order:1", ttl="20s", label="a:b c%"), second.lock("order:1", wait="100ms")
        with lock as lease:
            assert 15 < lease.remaining() < 20 and lease.cause is None and not lease.lost.is_set()
            lease.ensure()
            assert theirs.try_acquire() is None
            begun = time.monotonic()
            with pytest.raises(LockTimeout, match="order:1") as caught:
                theirs.acquire()
            assert 0.1 <= time.monotonic() - begun < 0.1 + MARGIN
            holder = theirs.inspect()
            assert holder is not None and caught.value.holder == holder.owner
            assert (holder.name, holder.fence, holder.label) == ("order:1", lease.fence, "a:b c%")
            assert holder.owner.endswith(":a:b c%") and holder.ttl is not None and 15 < holder.ttl <= 20
            with hf.transaction(guard=lease) as tx:
                tx.set(lease.key("total"), 1)
            assert (
                hf.script("x", text="-- retry: safe\nreturn #KEYS + #ARGV").run(
                    [lease.key("a")], [1, 2], guard=lease
                )
                == 3
            )
        assert lock.inspect() is None
        later = theirs.try_acquire()
        assert later is not None and later.fence > lease.fence
        with Crowd() as crowd:
            job = crowd.start(lambda: lock.acquire(wait="20s"))
            sleep(0.1)
            begun = time.monotonic()
            later.release()
            last = job.result()
            assert time.monotonic() - begun < 1.7  # of SAFETY, 2 s
        sleep(0.3)
        assert theirs.force_release()
        Crowd.until(last.lost.is_set)
        assert time.monotonic() - begun < 5  # of a third of the ttl, 7 s
        with pytest.raises(LockLost):
            last.release()
    assert keys(hf, lock) == {"fence"}


def test_who_waits_is_woken(hf: Holdfast, place):
    """found: without SPUBLISH in release.lua it took the whole two seconds of SAFETY."""
    with other(place, hf) as second:
        lock = hf.lock("woken", ttl="60s")
        waits = []
        for _ in range(3):
            lease = lock.acquire()
            with Crowd() as crowd:
                job = crowd.start(lambda: second.lock("woken", wait="20s").acquire())
                sleep(0.25)
                begun = time.monotonic()
                lease.release()
                theirs = job.result()
                waits.append(time.monotonic() - begun)
                theirs.release()
        assert min(waits) < 1.0  # of SAFETY, 2 s


def test_a_holder_whose_lock_is_taken_away_is_told(hf: Holdfast, place):
    """found: without the look at 0.25 s, and tracking from there on, it took a third of the ttl."""
    with other(place, hf) as second:
        told: list[Any] = []
        lease = hf.lock("mine", ttl="60s", on_lost=told.append).acquire()
        sleep(0.5)
        begun = time.monotonic()
        assert second.lock("mine").force_release()
        Crowd.until(lease.lost.is_set)
        assert time.monotonic() - begun < 10  # of a third of the ttl, 20 s
        assert lease.cause in ("vanished", "taken") and lease.remaining() == 0.0
        with pytest.raises(LockLost) as caught:
            lease.ensure()
        assert (caught.value.name, caught.value.cause) == ("mine", lease.cause)
        with pytest.raises(LockLost):
            lease.release()
        with pytest.raises(LockLost):
            hf.transaction(guard=lease)
        Crowd.until(lambda: told == [lease])


# --- waiting, by the clock ----------------------------------------------------------------------------------


def test_waits_of_every_length(hf: Holdfast):
    """found: `wait` of acquire() that was not looked at."""
    lock = hf.lock("busy", wait="50ms")
    lease = hf.lock("busy", label="me").acquire()
    waits: list[tuple[Any, float]] = [(0, 0.0), ("30ms", 0.03), (0.25, 0.25)]
    for wait, least in waits:
        begun = time.monotonic()
        with pytest.raises(LockTimeout) as caught:
            lock.acquire(wait=wait)
        assert least <= time.monotonic() - begun < least + MARGIN
        assert caught.value.name == "busy" and caught.value.holder.endswith(":me")
        assert isinstance(caught.value, TimeoutError)
    with pytest.raises(LockTimeout):
        lock.acquire()
    with Crowd() as crowd:
        patient = crowd.start(lambda: lock.acquire(wait=None))
        sleep(0.3)
        assert not patient.done
        lease.release()
        (patient.result()).release()
    assert lock.stats().timeouts == 4


def test_a_wait_of_nothing_takes_what_is_free(hf: Holdfast):
    lease = hf.lock("free").acquire(wait=0)
    assert hf.lock("free").try_acquire() is None
    lease.release()


# --- nesting ------------------------------------------------------------------------------------------------


def test_who_is_inside_is_not_let_wait_for_itself(hf: Holdfast):
    """found: without refuse_nesting both waited out their time. Another object is the same lock."""
    lock = hf.lock("nested", wait="20s")
    with lock:
        for again in (lock, hf.lock("nested", wait="20s", fair=True)):
            begun = time.monotonic()
            with pytest.raises(LockError, match="held by this very") as caught:
                with again:
                    pytest.fail("inside twice")
            assert not isinstance(caught.value, LockTimeout) and caught.value.name == "nested"
            with pytest.raises(LockError, match="held by this very"):
                again.acquire()
            assert time.monotonic() - begun < 10
        with hf.lock("another"):
            pass
        with Crowd() as crowd:  # another caller waits, as it should
            job = crowd.start(lambda: hf.lock("nested", wait="50ms").acquire())
            with pytest.raises(LockTimeout):
                job.result()
    with lock:
        pass


def test_a_lock_is_shared_by_many(hf: Holdfast):
    """Each `with` has its lease, and gives back its own; found: leaving with the last one entered."""
    lock = hf.lock("shared", wait="20s")
    seen: list[str] = []

    def work() -> None:
        with lock as lease:
            seen.append(lease.token)
            holder = lock.inspect()
            assert holder is not None and holder.fence == lease.fence and holder.value.startswith(lease.token)

    with Crowd() as crowd:
        crowd.all(10, work)
    assert len(set(seen)) == 10


def test_a_lease_is_a_context_of_its_own(hf: Holdfast):
    lock = hf.lock("own")
    with lock.acquire() as lease:
        assert lock.try_acquire() is None
    assert lease.cause is None
    with lock:
        pass


def test_after_a_loss_the_same_caller_may_have_it_again(hf: Holdfast):
    lock = hf.lock("again", ttl="60s")
    lease = lock.acquire()
    lock.force_release()
    with lock:
        pass
    with pytest.raises(LockLost):
        lease.release()


# --- giving back --------------------------------------------------------------------------------------------


def test_a_release_may_be_repeated_and_takes_nothing_from_others(hf: Holdfast):
    """found: release.lua that does not look whose it is."""
    lock = hf.lock("twice")
    lease = lock.acquire()
    lease.release()
    lease.release()
    assert lease.cause is None
    with pytest.raises(LockLost, match="given back"):
        lease.ensure()
    theirs = lock.acquire()
    lease.release()
    theirs.ensure()
    assert lock.try_acquire() is None
    theirs.release()


def test_a_release_after_the_end_says_so(hf: Holdfast):
    lock = hf.lock("late", ttl="200ms", renew=False)
    lease = lock.acquire()
    sleep(0.3)
    theirs = lock.acquire()
    with pytest.raises(LockLost) as caught:
        lease.release()
    assert caught.value.cause == "expired"
    theirs.ensure()
    with pytest.raises(LockLost):
        with lease:
            pass
    theirs.release()


def test_a_release_of_what_vanished_unseen_says_so(hf: Holdfast):
    """found: release() that takes the script's 0 for a success."""
    lock = hf.lock("gone", ttl="60s")
    lease = lock.acquire()
    hf.execute("DEL", lock.key)  # in the quarter second before its first look
    with pytest.raises(LockLost) as caught:
        lease.release()
    assert caught.value.cause == "vanished"


def test_an_extension_never_makes_anew(hf: Holdfast):
    """found: keep.lua with SET instead of PEXPIRE."""
    lock = hf.lock("anew", ttl="300ms")
    for value in (None, "somebody"):
        lease = lock.acquire()
        if value is None:
            hf.execute("DEL", lock.key)
        else:
            hf.execute("SET", lock.key, value)
        Crowd.until(lease.lost.is_set)
        assert lease.cause == ("vanished" if value is None else "taken")
        sleep(0.3)
        assert hf.execute("GET", lock.key) == (None if value is None else value.encode())
        hf.execute("DEL", lock.key)


# --- numbers ------------------------------------------------------------------------------------------------


def test_what_is_counted(hf: Holdfast):
    """found: a loss counted as a release, a family that was the whole name."""
    observer = Observer()
    hf.observers.add(observer)
    for number in range(3):
        with hf.lock(f"order:{number}"):
            pass
    lease = hf.lock("order:7", ttl="60s").acquire()
    hf.lock("order:7").force_release()
    with pytest.raises(LockLost):
        lease.release()
    lease = hf.lock("order:8", ttl="150ms").acquire()
    with pytest.raises(LockTimeout):
        hf.lock("order:8").acquire(wait=0)
    Crowd.until(lambda: hf.lock("order").stats().renewals > 1)
    lease.release()
    stats = hf.lock_stats()["order"]
    assert stats == hf.lock("order").stats()
    assert (stats.acquired, stats.released, stats.timeouts, stats.contended, stats.waiting) == (5, 4, 1, 1, 0)
    assert dict(stats.lost) == {"vanished": 1}
    assert stats.hold_seconds > 0 and stats.hold_p50 <= stats.hold_p99
    assert hf.lock("else").stats().acquired == 0
    Crowd.until(lambda: {"LockDropped", "LeaseLost"} <= set(observer.names()))


def test_nothing_of_a_lock_is_without_an_end(hf: Holdfast):
    lock = hf.lock("ends", ttl="10s", fair=True)
    lease = lock.acquire()
    with pytest.raises(LockTimeout):
        lock.acquire(wait=0)
    lock.request_release("x")
    names = lock._names
    for key in (names.key, names.fence, names.count, names.wanted):
        assert 0 < hf.execute("PTTL", key) <= rules.HISTORY_MS
    lease.release()
