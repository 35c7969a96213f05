# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Places among readers, the writer's, and permits, when the server, the network or a client fails.

What they have in common is written once, in `holdfast/locks/_member_async.py`; so are these.
Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, LockLost, LockTimeout, Unavailable
from holdfast._compat import asleep
from holdfast.locks._attempt_async import AsyncAttempt
from tests.cache.crowd import AsyncCrowd
from tests.locks.rwlock.test_rwlock_async import rwlock
from tests.locks.semaphore.test_semaphore_async import semaphore

KINDS = ("read", "write", "permit")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def member(hf: AsyncHoldfast, kind: str, **options: Any) -> Any:
    if kind == "permit":
        return semaphore(hf, "faulty", 1, **options)
    return getattr(rwlock(hf, "faulty", **options), kind)()


def rival(hf: AsyncHoldfast, kind: str, **options: Any) -> Any:
    """What cannot be had beside it."""
    return member(hf, {"read": "write"}.get(kind, kind), **options)


async def left(hf: AsyncHoldfast, one: Any) -> list[str]:
    """What of it is on the server, by the part of its key; fences, limits and tombs do no harm."""
    parts = ("", ":r", ":h", ":i", ":q", ":b")
    return [part for part in parts if await hf.execute("EXISTS", one.key + part)]


async def test_a_lost_reply_of_an_acquire(ahf: AsyncHoldfast, faults, namespace: str, kind: str):
    """It is granted when it is repeated. found: scripts that do not know their own token."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="10s") as second:
        mine = member(second, kind, ttl="60s", wait="10s")
        await (await mine.acquire()).release()  # so that its scripts are known
        faults.drop_replies(match=b":label")
        lease = await member(second, kind, ttl="60s", wait="10s", label="label").acquire()
        lease.ensure()
        assert await rival(ahf, kind).try_acquire() is None
        await lease.release()
        stray = AsyncAttempt(mine, waits=True)
        stray.token = lease.token
        late = await ahf._wire.run(*mine._request(stray))  # the first request comes after all
        assert late == [-1]
        theirs = await rival(ahf, kind).try_acquire()
        assert theirs is not None and (kind == "read" or theirs.fence > lease.fence)
        await theirs.release()
        assert await left(ahf, mine) == []


async def test_a_lost_reply_of_a_release(ahf: AsyncHoldfast, faults, namespace: str, kind: str):
    """It was given back: no error. found: `_give_back` that takes the second answer, 0, for a loss."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="10s") as second:
        mine = member(second, kind, ttl="60s")
        await (await mine.acquire()).release()
        for stray in (False, True):
            lease = await mine.acquire()
            lease._stray = stray
            faults.drop_replies(match=lease.token.encode())
            await lease.release()
            assert lease.cause is None and await left(ahf, mine) == []


async def test_a_release_while_the_server_is_away_is_made_up_for(
    ahf: AsyncHoldfast, faults, namespace: str, kind: str
):
    """found: without _leave_it_to_the_hub it stayed for its ttl."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as second:
        mine = member(second, kind, ttl="60s")
        lease = await mine.acquire()
        faults.refuse()
        faults.cut()
        await lease.release()
        assert await left(ahf, mine) != []
        faults.accept()
        await AsyncCrowd.until(lambda: left(ahf, mine), [])


async def test_an_acquire_that_is_not_answered_leaves_nothing(
    ahf: AsyncHoldfast, faults, namespace: str, kind: str
):
    """It may have been executed. found: give_up() that does not abandon: nobody had it for a ttl."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as second:
        mine = member(second, kind, ttl="60s", wait="200ms")
        await (await mine.acquire()).release()
        faults.swallow_replies()
        for call in (mine.acquire, mine.try_acquire):
            with pytest.raises((Unavailable, LockTimeout)):
                await call()
        faults.heal()
        await AsyncCrowd.until(lambda: left(ahf, mine), [])
        lease = await rival(ahf, kind).try_acquire()
        assert lease is not None
        await lease.release()


async def test_who_gives_up_leaves_nothing(ahf: AsyncHoldfast, kind: str):
    """found: for places of an rwlock, without leaves_a_trace: intents and claims stayed for PATIENCE."""
    lease = await rival(ahf, kind, ttl="60s").acquire()
    for wait in ("0s", "50ms"):
        with pytest.raises(LockTimeout):
            await member(ahf, kind).acquire(wait=wait)
    await lease.release()
    begun = time.monotonic()
    await AsyncCrowd.until(lambda: left(ahf, lease.lock), [])
    assert time.monotonic() - begun < 4.0  # of PATIENCE, 6 s


async def test_a_server_that_is_away_too_long_is_a_loss(
    ahf: AsyncHoldfast, faults, namespace: str, kind: str
):
    """found: without the end by our own clock (Keeping) nobody was told."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as second:
        lease = await member(second, kind, ttl="800ms").acquire()
        await asleep(0.3)  # its thread has a connection: one that is just being made may get past the cut
        faults.refuse()
        faults.cut()
        begun = time.monotonic()
        await AsyncCrowd.until(lease.lost.is_set)
        assert time.monotonic() - begun < 10
        assert lease.cause in {"unreachable", "expired"} and lease.remaining() == 0.0
        with pytest.raises(LockLost):
            lease.ensure()
        faults.accept()


async def test_flushed(own_server, namespace: str, kind: str):
    """Who has it is told, and the next fence is greater. found: fences that begin at 1."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as hf:
        mine = member(hf, kind, ttl="60s")
        lease = await mine.acquire()
        await asleep(0.5)
        begun = time.monotonic()
        await hf.execute("FLUSHALL")
        await AsyncCrowd.until(lease.lost.is_set)
        assert lease.cause == "vanished"
        assert time.monotonic() - begun < 10  # of a third of the ttl, 20 s
        later = await mine.acquire()
        assert later.fence > lease.fence
        await later.release()


async def test_a_closed_client_has_nothing_any_more(ahf: AsyncHoldfast, server, namespace: str, kind: str):
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        lease = await member(second, kind, ttl="60s").acquire()
    assert lease.cause == "closed"
    with pytest.raises(LockLost):
        lease.ensure()
