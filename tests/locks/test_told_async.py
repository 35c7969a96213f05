# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a holder is told, and when: lost, in danger, wanted back; and what ends a lease besides a release.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import gc
import time
import warnings
from typing import Any

import pytest

from holdfast import AsyncHoldfast, LockLost
from holdfast._compat import asleep
from tests.cache.crowd import AsyncCrowd, Observer

FIRST_LOOK = 0.25  # seconds after which a lease is tracked
FAST = 2.0  # seconds; of a ttl of 60 a third would be 20


async def tracked(hf: AsyncHoldfast, name: str, **options: Any) -> Any:
    """A lease whose key the server tracks."""
    lease = await hf.lock(name, ttl="60s", **options).acquire()
    await AsyncCrowd.until(lambda: hf.lock(name).stats().renewals > 0)
    return lease


# --- lost ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["DEL", "SET", "force_release", "RENAME", "PEXPIREAT"])
async def test_a_change_by_anybody_is_heard_at_once(ahf: AsyncHoldfast, how: str):
    """found: without CLIENT TRACKING, and without the GET at the end of keep.lua, it took 20 s."""
    lease = await tracked(ahf, "x")
    key = ahf.lock("x").key
    begun = time.monotonic()
    if how == "force_release":
        assert await ahf.lock("x").force_release()
    else:
        await ahf.execute(
            how,
            *{"DEL": (key,), "SET": (key, "theirs"), "RENAME": (key, key + "2"), "PEXPIREAT": (key, 1)}[how],
        )
    await AsyncCrowd.until(lease.lost.is_set)
    assert time.monotonic() - begun < FAST
    assert lease.cause == ("taken" if how == "SET" else "vanished")


async def test_callbacks_are_told_once_and_with_the_lease(ahf: AsyncHoldfast):
    told: list[Any] = []
    observer = Observer()
    ahf.observers.add(observer)
    lease = await tracked(ahf, "x", on_lost=told.append, on_danger=told.append)
    await ahf.lock("x").force_release()
    await AsyncCrowd.until(lambda: told == [lease])
    for _ in range(2):
        with pytest.raises(LockLost):
            await lease.release()
        with pytest.raises(LockLost):
            lease.ensure()
    await asleep(0.05)
    assert told == [lease]
    lost = [one for one in observer.seen if type(one).__name__ == "LeaseLost"]
    assert [(one.name, one.cause) for one in lost] == [("x", "vanished")]


async def test_a_callback_that_raises_harms_nobody(ahf: AsyncHoldfast, caplog: pytest.LogCaptureFixture):
    """found: without the guard in tenant.py the sync flavour lost the other lease with the thread's
    connection.
    """
    calls: list[Any] = []

    def on_wanted(lease: Any) -> None:
        calls.append(lease)
        raise ValueError("a bug of the user's")

    other = await ahf.lock("other", ttl="600ms").acquire()
    lease = await tracked(ahf, "x", on_wanted=on_wanted)
    await ahf.lock("x").request_release("please")
    await AsyncCrowd.until(lambda: calls == [lease])
    await asleep(0.7)
    other.ensure()
    await other.release()
    await lease.release()


async def test_force_release_only_of_what_was_seen(ahf: AsyncHoldfast):
    """found: break.lua that does not compare."""
    lock = ahf.lock("x")
    assert await lock.force_release() is False
    first = await lock.acquire()
    seen = await lock.inspect()
    assert seen is not None
    await first.release()
    second = await lock.acquire()
    assert await lock.force_release(seen.value) is False
    second.ensure()
    now = await lock.inspect()
    assert now is not None and await lock.force_release(now.value) is True
    assert await lock.inspect() is None
    with pytest.raises(LockLost):
        await second.release()


async def test_who_waits_gets_what_was_taken_away(ahf: AsyncHoldfast):
    """found: break.lua without SPUBLISH: 2 s."""
    waits = []
    for _ in range(3):
        lease = await ahf.lock("x", ttl="60s").acquire()
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: ahf.lock("x").acquire(wait="20s"))
            await asleep(0.1)
            begun = time.monotonic()
            await ahf.lock("x").force_release()
            theirs = await job.result()
            waits.append(time.monotonic() - begun)
            await theirs.release()
        with pytest.raises(LockLost):
            await lease.release()
    assert min(waits) < 1.5


# --- wanted -------------------------------------------------------------------------------------------------


async def test_a_request_reaches_its_holder_and_nobody_else(ahf: AsyncHoldfast):
    """found: want.lua that writes no token: the next holder was asked as well."""
    told: list[Any] = []
    lock = ahf.lock("x")
    assert await lock.request_release("nobody") is False
    lease = await tracked(ahf, "x", on_wanted=told.append)
    begun = time.monotonic()
    assert await lock.request_release("deploy: v2") is True
    await AsyncCrowd.until(lease.wanted.is_set)
    assert time.monotonic() - begun < FAST
    await AsyncCrowd.until(lambda: told == [lease])
    seen = await lock.inspect()
    assert seen is not None and seen.wanted == "deploy: v2"
    assert lease.cause is None
    await lock.request_release("again")
    await asleep(0.2)
    assert told == [lease]
    await lease.release()
    for _ in range(2):  # also if the request came back to life
        following = await tracked(ahf, "x")
        await asleep(0.1)
        assert not following.wanted.is_set()
        seen = await lock.inspect()
        assert seen is not None and seen.wanted is None
        await following.release()
        await ahf.execute("SET", lock._names.wanted, f"{lease.token}:late")


async def test_another_program_cannot_be_asked(ahf: AsyncHoldfast):
    lock = ahf.lock("x")
    await ahf.execute("SET", lock.key, "theirs")
    assert await lock.request_release() is False


# --- the end of a lease -------------------------------------------------------------------------------------


async def test_max_hold_ends_it_although_it_is_renewed(ahf: AsyncHoldfast):
    """found: max_until that is not looked at: held for ever."""
    told: list[Any] = []
    lock = ahf.lock("x", ttl="300ms", max_hold="900ms")
    lease = await ahf.lock("x", ttl="300ms", max_hold="900ms", on_lost=told.append).acquire()
    begun = time.monotonic()
    await asleep(0.6)
    lease.ensure()
    assert lease.remaining() <= 0.35
    theirs = await lock.acquire(wait="20s")
    assert 0.5 < time.monotonic() - begun < 0.9 + 0.3 + FAST
    assert lease.cause == "max_hold" and lease.remaining() == 0.0
    await AsyncCrowd.until(lambda: told == [lease])
    with pytest.raises(LockLost) as caught:
        await lease.release()
    assert caught.value.cause == "max_hold"
    theirs.ensure()
    await theirs.release()


async def test_without_renewal_it_ends_after_its_ttl_and_not_before(ahf: AsyncHoldfast):
    """found: renewed all the same; and never told that it was over."""
    told: list[Any] = []
    danger: list[Any] = []
    lease = await ahf.lock(
        "x", ttl="600ms", renew=False, on_lost=told.append, on_danger=danger.append
    ).acquire()
    begun = time.monotonic()
    await asleep(0.1)
    assert danger == []
    await AsyncCrowd.until(lease.lost.is_set)
    assert 0.4 < time.monotonic() - begun < 0.6 + FAST
    assert lease.cause == "expired"
    await AsyncCrowd.until(lambda: told == [lease])
    assert danger == [lease]
    assert ahf.lock("x").stats().renewals == 0
    theirs = await ahf.lock("x").acquire()
    await theirs.release()


async def test_it_is_never_ours_by_the_clock_when_it_is_not_on_the_server(ahf: AsyncHoldfast):
    """Looked at on the server first and here afterwards, so no clock's error can excuse it. found: a deadline
    counted from the reply.
    """
    for _ in range(8):
        lease = await ahf.lock("x", ttl="100ms", renew=False).acquire()
        while await ahf.execute("EXISTS", ahf.lock("x").key):
            pass
        assert lease.remaining() == 0.0
        with pytest.raises(LockLost):
            lease.ensure()


async def test_one_that_is_forgotten_is_not_renewed(ahf: AsyncHoldfast):
    """found: a keeping that holds its lease: it lived for ever."""
    lock = ahf.lock("x", ttl="300ms")
    lease = await lock.acquire()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del lease
        gc.collect()
    assert [(one.category, "lock 'x' was forgotten" in str(one.message)) for one in seen] == [
        (ResourceWarning, True)
    ]
    theirs = await lock.acquire(wait="20s")
    await theirs.release()


async def test_one_that_was_given_back_or_lost_is_forgotten_in_silence(ahf: AsyncHoldfast):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lease = await ahf.lock("x").acquire()
        await lease.release()
        del lease
        lease = await tracked(ahf, "x")
        await ahf.lock("x").force_release()
        await AsyncCrowd.until(lease.lost.is_set)
        del lease
        gc.collect()


async def test_a_client_that_is_closed_has_lost_its_leases(server, namespace: str):
    hf = AsyncHoldfast(server.url, namespace=namespace)
    lease = await hf.lock("x").acquire()
    await hf.close()
    assert lease.cause == "closed"
    with pytest.raises(LockLost):
        await lease.release()


async def test_a_release_that_meets_the_loss_tells_of_it(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Between the keeper's decision and its telling. Found: release() returned as if nothing had happened."""
    lease = await ahf.lock("x").acquire()
    monkeypatch.setattr(type(lease._keeping.tenant), "lost", lambda tenant, cause: None)  # about to be told
    lease._keeping.lose("taken")
    with pytest.raises(LockLost) as caught:
        lease.ensure()
    assert caught.value.cause == "taken"
    with pytest.raises(LockLost):
        await lease.release()
    with pytest.raises(LockLost):
        async with lease:
            pass
