# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a semaphore promises to one who uses it. The orders of its steps: test_semaphore_model.py.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, LockError, LockLost, LockTimeout
from holdfast._compat import asleep
from holdfast.locks.options import chosen
from holdfast.locks.semaphore._async import AsyncSemaphore
from holdfast.locks.semaphore.options import SemaphoreOptions
from tests.cache.crowd import AsyncCrowd


def semaphore(hf: AsyncHoldfast, name: str, permits: Any, **options: Any) -> AsyncSemaphore:
    return AsyncSemaphore(
        hf._locks, name, chosen(SemaphoreOptions, f"semaphore {name!r}", {"permits": permits, **options})
    )


@pytest.mark.everywhere
async def test_so_many_and_no_more(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    """found: take.lua with `over > 0`: four at once inside."""
    inside: list[int] = []
    most: list[int] = []
    fences: list[int] = []
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:

        async def work(hf: AsyncHoldfast) -> None:
            async with semaphore(hf, "three", 3, wait="25s") as lease:
                fences.append(lease.fence)
                inside.append(1)
                await asleep(0.005)
                most.append(len(inside))
                inside.pop()

        async with AsyncCrowd() as crowd:
            jobs = [crowd.start(lambda hf=hf: work(hf)) for hf in (ahf, second) * 10]
            for job in jobs:
                await job.result()
    assert 1 < max(most) <= 3, most
    assert len(set(fences)) == 20
    state = await semaphore(ahf, "three", 3).inspect()
    assert (state.out, state.limit, state.holders) == (0, 3, ())
    assert await ahf.execute("EXISTS", semaphore(ahf, "three", 3).key) == 0


async def test_a_life(ahf: AsyncHoldfast):
    two = semaphore(ahf, "life", 2, ttl="20s", label="me")
    async with two as first, two as second:
        assert second.fence > first.fence > 0 and 15 < first.remaining() < 20
        first.ensure()
        assert await two.try_acquire() is None
        begun = time.monotonic()
        with pytest.raises(LockTimeout, match="semaphore 'life' was not acquired") as caught:
            await two.acquire(wait="100ms")
        assert time.monotonic() - begun >= 0.1 and caught.value.name == "life"
        state = await two.inspect()
        assert (state.out, state.limit) == (2, 2)
        assert {one.fence for one in state.holders} == {first.fence, second.fence}
        assert {one.owner for one in state.holders} == {caught.value.holder}
        assert all(one.label == "me" and one.ttl is not None and 15 < one.ttl <= 20 for one in state.holders)
        with pytest.raises(ConfigurationError, match="only one can have"):
            ahf.transaction(guard=first)
    third = await two.try_acquire()
    assert third is not None and third.fence > second.fence
    await third.release()
    await third.release()
    assert (await two.inspect()).out == 0


async def test_who_waits_is_woken_and_all_of_them(ahf: AsyncHoldfast):
    """One message for three permits. found: `_rest` that does not look at what is left: the second of
    those who wait in this process slept through the message that the first took.
    """
    three = semaphore(ahf, "woken", 3, ttl="60s", wait="20s")
    took = []
    for _ in range(3):
        leases = [await three.acquire() for _ in range(3)]
        async with AsyncCrowd() as crowd:
            jobs = [crowd.start(three.acquire) for _ in range(3)]
            await asleep(0.25)
            assert not any(job.done for job in jobs)
            begun = time.monotonic()
            assert await three.force_release() == len(leases)
            theirs = [await job.result() for job in jobs]
            took.append(time.monotonic() - begun)
            for lease in theirs:
                await lease.release()
    assert min(took) < 1.0, took  # of SAFETY, 2 s


async def test_a_permit_of_one_who_crashed_comes_back(ahf: AsyncHoldfast):
    """Whatever the others do. found: take.lua that does not purge."""
    two = semaphore(ahf, "crashed", 2, wait="20s")
    crashed = await semaphore(ahf, "crashed", 2, ttl="600ms", renew=False).acquire()
    begun = time.monotonic()
    async with two:
        lease = await two.acquire()
        assert 0.55 <= time.monotonic() - begun < 1.6
        await lease.release()
    with pytest.raises(LockLost) as caught:
        await crashed.release()
    assert caught.value.cause == "expired"


async def test_a_lower_limit_takes_effect_as_permits_end(ahf: AsyncHoldfast):
    """A deploy under way: some say three, some say one. found: `over > 0` in take.lua."""
    three, one = semaphore(ahf, "limit", 3, wait="20s"), semaphore(ahf, "limit", 1, wait="20s")
    leases = [await three.acquire() for _ in range(3)]
    assert await one.try_acquire() is None
    async with AsyncCrowd() as crowd:
        job = crowd.start(one.acquire)
        for lease in leases[:2]:
            await lease.release()
            await asleep(0.15)
            assert not job.done
        assert (await three.inspect()).out == 1
        await leases[2].release()
        mine = await job.result()
    state = await one.inspect()
    assert (state.out, state.limit) == (1, 1)
    assert await one.try_acquire() is None
    other = await three.try_acquire()
    assert other is not None
    await other.release()
    await mine.release()


async def test_who_has_the_only_permit_is_not_let_wait_for_itself(ahf: AsyncHoldfast):
    one, two = semaphore(ahf, "one", 1, wait="20s"), semaphore(ahf, "two", 2, wait="20s")
    async with one:
        begun = time.monotonic()
        with pytest.raises(LockError, match="held by this very") as caught:
            await one.acquire()
        assert not isinstance(caught.value, LockTimeout) and time.monotonic() - begun < 10
    async with two as first, two as second:  # no mistake: there are two
        assert first is not second
    assert (await two.inspect()).out == 0


async def test_all_who_have_one_are_told_when_they_are_taken_away(ahf: AsyncHoldfast):
    """found: break.lua that does not touch the alarm: they heard of it at a third of their ttl."""
    two = semaphore(ahf, "broken", 2, ttl="60s")
    leases = [await two.acquire() for _ in range(2)]
    await asleep(0.5)
    begun = time.monotonic()
    assert await two.force_release() == 2
    for lease in leases:
        await AsyncCrowd.until(lease.lost.is_set)
        assert lease.cause == "vanished"
    assert time.monotonic() - begun < 10  # of a third of the ttl, 20 s
    assert await two.force_release() == 0
    assert await ahf.execute("EXISTS", two.key, two.key + ":h", two.key + ":a") == 0


async def test_those_who_come_and_go_do_not_make_the_others_renew(ahf: AsyncHoldfast, server, namespace: str):
    """found: keep.lua that read the places last, so that the server tracked them."""
    two = semaphore(ahf, "quiet", 2, ttl="60s")
    first = await two.acquire()
    await asleep(0.6)
    before = two.stats().renewals
    assert before >= 1
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        for _ in range(30):
            async with semaphore(second, "quiet", 2, ttl="60s"):
                await asleep(0.01)
    assert two.stats().renewals == before
    await first.release()


async def test_it_is_renewed(ahf: AsyncHoldfast):
    """found: keep.lua without ZADD, and without PEXPIREAT."""
    one = semaphore(ahf, "kept", 1, ttl="1s")
    async with one as lease:
        await asleep(2.5)
        lease.ensure()
        state = await one.inspect()
        assert state.out == 1 and state.holders[0].fence == lease.fence
        assert await one.try_acquire() is None
        assert await ahf.execute("PTTL", one.key) > 0 and await ahf.execute("PTTL", one.key + ":h") > 0
    lease = await one.acquire()
    await ahf.execute("DEL", one.key, one.key + ":h")
    await AsyncCrowd.until(lease.lost.is_set)
    assert lease.cause == "vanished" and await ahf.execute("EXISTS", one.key) == 0


async def test_nonsense_is_refused(ahf: AsyncHoldfast):
    for permits in (0, -1, True, "3", 1.5, None):
        with pytest.raises(ConfigurationError, match="permits="):
            semaphore(ahf, "nonsense", permits)
    nonsense = ({"ttl": 0}, {"wait": -1}, {"label": 3}, {"on_wanted": print}, {"x": 1})
    for options in nonsense:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            semaphore(ahf, "nonsense", 2, **options)
    with pytest.raises(ConfigurationError, match="non-empty"):
        semaphore(ahf, "", 2)
