# Generated from test_told_async.py by tools/unasync.py. Do not edit.
"""What a holder is told, and when: lost, in danger, wanted back; and what ends a lease besides a release.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import gc
import time
import warnings
from typing import Any

import pytest

from holdfast import Holdfast, LockLost
from holdfast._compat import sleep
from tests.cache.crowd import Crowd, Observer

FIRST_LOOK = 0.25  # seconds after which a lease is tracked
FAST = 2.0  # seconds; of a ttl of 60 a third would be 20


def tracked(hf: Holdfast, name: str, **options: Any) -> Any:
    """A lease whose key the server tracks."""
    lease = hf.lock(name, ttl="60s", **options).acquire()
    Crowd.until(lambda: hf.lock(name).stats().renewals > 0)
    return lease


# --- lost ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["DEL", "SET", "force_release", "RENAME", "PEXPIREAT"])
def test_a_change_by_anybody_is_heard_at_once(hf: Holdfast, how: str):
    """found: without CLIENT TRACKING, and without the GET at the end of keep.lua, it took 20 s."""
    lease = tracked(hf, "x")
    key = hf.lock("x").key
    begun = time.monotonic()
    if how == "force_release":
        assert hf.lock("x").force_release()
    else:
        hf.execute(
            how,
            *{"DEL": (key,), "SET": (key, "theirs"), "RENAME": (key, key + "2"), "PEXPIREAT": (key, 1)}[how],
        )
    Crowd.until(lease.lost.is_set)
    assert time.monotonic() - begun < FAST
    assert lease.cause == ("taken" if how == "SET" else "vanished")


def test_callbacks_are_told_once_and_with_the_lease(hf: Holdfast):
    told: list[Any] = []
    observer = Observer()
    hf.observers.add(observer)
    lease = tracked(hf, "x", on_lost=told.append, on_danger=told.append)
    hf.lock("x").force_release()
    Crowd.until(lambda: told == [lease])
    for _ in range(2):
        with pytest.raises(LockLost):
            lease.release()
        with pytest.raises(LockLost):
            lease.ensure()
    sleep(0.05)
    assert told == [lease]
    lost = [one for one in observer.seen if type(one).__name__ == "LeaseLost"]
    assert [(one.name, one.cause) for one in lost] == [("x", "vanished")]


def test_a_callback_that_raises_harms_nobody(hf: Holdfast, caplog: pytest.LogCaptureFixture):
    """found: without the guard in tenant.py the sync flavour lost the other lease with the thread's
    connection.
    """
    calls: list[Any] = []

    def on_wanted(lease: Any) -> None:
        calls.append(lease)
        raise ValueError("a bug of the user's")

    other = hf.lock("other", ttl="600ms").acquire()
    lease = tracked(hf, "x", on_wanted=on_wanted)
    hf.lock("x").request_release("please")
    Crowd.until(lambda: calls == [lease])
    sleep(0.7)
    other.ensure()
    other.release()
    lease.release()


def test_force_release_only_of_what_was_seen(hf: Holdfast):
    """found: break.lua that does not compare."""
    lock = hf.lock("x")
    assert lock.force_release() is False
    first = lock.acquire()
    seen = lock.inspect()
    assert seen is not None
    first.release()
    second = lock.acquire()
    assert lock.force_release(seen.value) is False
    second.ensure()
    now = lock.inspect()
    assert now is not None and lock.force_release(now.value) is True
    assert lock.inspect() is None
    with pytest.raises(LockLost):
        second.release()


def test_who_waits_gets_what_was_taken_away(hf: Holdfast):
    """found: break.lua without SPUBLISH: 2 s."""
    waits = []
    for _ in range(3):
        lease = hf.lock("x", ttl="60s").acquire()
        with Crowd() as crowd:
            job = crowd.start(lambda: hf.lock("x").acquire(wait="20s"))
            sleep(0.1)
            begun = time.monotonic()
            hf.lock("x").force_release()
            theirs = job.result()
            waits.append(time.monotonic() - begun)
            theirs.release()
        with pytest.raises(LockLost):
            lease.release()
    assert min(waits) < 1.5


# --- wanted -------------------------------------------------------------------------------------------------


def test_a_request_reaches_its_holder_and_nobody_else(hf: Holdfast):
    """found: want.lua that writes no token: the next holder was asked as well."""
    told: list[Any] = []
    lock = hf.lock("x")
    assert lock.request_release("nobody") is False
    lease = tracked(hf, "x", on_wanted=told.append)
    begun = time.monotonic()
    assert lock.request_release("deploy: v2") is True
    Crowd.until(lease.wanted.is_set)
    assert time.monotonic() - begun < FAST
    Crowd.until(lambda: told == [lease])
    seen = lock.inspect()
    assert seen is not None and seen.wanted == "deploy: v2"
    assert lease.cause is None
    lock.request_release("again")
    sleep(0.2)
    assert told == [lease]
    lease.release()
    for _ in range(2):  # also if the request came back to life
        following = tracked(hf, "x")
        sleep(0.1)
        assert not following.wanted.is_set()
        seen = lock.inspect()
        assert seen is not None and seen.wanted is None
        following.release()
        hf.execute("SET", lock._names.wanted, f"{lease.token}:late")


def test_another_program_cannot_be_asked(hf: Holdfast):
    lock = hf.lock("x")
    hf.execute("SET", lock.key, "theirs")
    assert lock.request_release() is False


# --- the end of a lease -------------------------------------------------------------------------------------


def test_max_hold_ends_it_although_it_is_renewed(hf: Holdfast):
    """found: max_until that is not looked at: held for ever."""
    told: list[Any] = []
    lock = hf.lock("x", ttl="300ms", max_hold="900ms")
    lease = hf.lock("x", ttl="300ms", max_hold="900ms", on_lost=told.append).acquire()
    begun = time.monotonic()
    sleep(0.6)
    lease.ensure()
    assert lease.remaining() <= 0.35
    theirs = lock.acquire(wait="20s")
    assert 0.5 < time.monotonic() - begun < 0.9 + 0.3 + FAST
    assert lease.cause == "max_hold" and lease.remaining() == 0.0
    Crowd.until(lambda: told == [lease])
    with pytest.raises(LockLost) as caught:
        lease.release()
    assert caught.value.cause == "max_hold"
    theirs.ensure()
    theirs.release()


def test_without_renewal_it_ends_after_its_ttl_and_not_before(hf: Holdfast):
    """found: renewed all the same; and never told that it was over."""
    told: list[Any] = []
    danger: list[Any] = []
    lease = hf.lock(
        "x", ttl="600ms", renew=False, on_lost=told.append, on_danger=danger.append
    ).acquire()
    begun = time.monotonic()
    sleep(0.1)
    assert danger == []
    Crowd.until(lease.lost.is_set)
    assert 0.4 < time.monotonic() - begun < 0.6 + FAST
    assert lease.cause == "expired"
    Crowd.until(lambda: told == [lease])
    assert danger == [lease]
    assert hf.lock("x").stats().renewals == 0
    theirs = hf.lock("x").acquire()
    theirs.release()


def test_it_is_never_ours_by_the_clock_when_it_is_not_on_the_server(hf: Holdfast):
    """Looked at on the server first and here afterwards, so no clock's error can excuse it. found: a deadline
    counted from the reply.
    """
    for _ in range(8):
        lease = hf.lock("x", ttl="100ms", renew=False).acquire()
        while hf.execute("EXISTS", hf.lock("x").key):
            pass
        assert lease.remaining() == 0.0
        with pytest.raises(LockLost):
            lease.ensure()


def test_one_that_is_forgotten_is_not_renewed(hf: Holdfast):
    """found: a keeping that holds its lease: it lived for ever."""
    lock = hf.lock("x", ttl="300ms")
    lease = lock.acquire()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del lease
        gc.collect()
    assert [(one.category, "lock 'x' was forgotten" in str(one.message)) for one in seen] == [
        (ResourceWarning, True)
    ]
    theirs = lock.acquire(wait="20s")
    theirs.release()


def test_one_that_was_given_back_or_lost_is_forgotten_in_silence(hf: Holdfast):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lease = hf.lock("x").acquire()
        lease.release()
        del lease
        lease = tracked(hf, "x")
        hf.lock("x").force_release()
        Crowd.until(lease.lost.is_set)
        del lease
        gc.collect()


def test_a_client_that_is_closed_has_lost_its_leases(server, namespace: str):
    hf = Holdfast(server.url, namespace=namespace)
    lease = hf.lock("x").acquire()
    hf.close()
    assert lease.cause == "closed"
    with pytest.raises(LockLost):
        lease.release()


def test_a_release_that_meets_the_loss_tells_of_it(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Between the keeper's decision and its telling. Found: release() returned as if nothing had happened."""
    lease = hf.lock("x").acquire()
    monkeypatch.setattr(type(lease._keeping.tenant), "lost", lambda tenant, cause: None)  # about to be told
    lease._keeping.lose("taken")
    with pytest.raises(LockLost) as caught:
        lease.ensure()
    assert caught.value.cause == "taken"
    with pytest.raises(LockLost):
        lease.release()
    with pytest.raises(LockLost):
        with lease:
            pass
