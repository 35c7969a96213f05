# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a latch promises to one who uses it. The orders of its steps: test_latch_model.py.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, ConflictError, LockTimeout, Unavailable
from holdfast._compat import asleep
from holdfast.locks.latch._async import AsyncLatch
from holdfast.locks.latch.rules import LatchOptions
from tests.cache.crowd import AsyncCrowd


def latch(hf: AsyncHoldfast, name: str, count: Any, **options: Any) -> AsyncLatch:
    return AsyncLatch(hf._locks, name, LatchOptions(count=count, **options))


@pytest.mark.everywhere
async def test_it_opens_when_all_have_arrived(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        mine, theirs = latch(ahf, "all", 3), latch(second, "all", 3)
        assert await mine.missing() == 3
        async with AsyncCrowd() as crowd:
            jobs = [crowd.start(one.wait) for one in (mine, theirs)]
            assert await mine.arrive("a") == 2
            assert await theirs.arrive("b") == 1
            assert await theirs.arrive("b") == 1  # the same one counts once
            await asleep(0.3)
            assert not any(job.done for job in jobs)
            assert await mine.arrive() == 0
            for job in jobs:
                await job.result()
        state = await theirs.inspect()
        assert (state.count, state.arrived, state.missing, state.is_open) == (3, 3, 0, True)
        await mine.wait(0)
        assert await mine.arrive("d") == 0  # one more does no harm
        generation = await theirs.reset()
        assert generation > state.generation
        assert await mine.missing() == 3 and await mine.arrive("a") == 2
        with pytest.raises(LockTimeout, match="2 of 3 are missing"):
            await mine.wait("50ms")


async def test_who_waits_is_woken(ahf: AsyncHoldfast):
    """found: without SPUBLISH in arrive.lua it took the whole two seconds of SAFETY."""
    took = []
    for name in "xyz":
        one = latch(ahf, name, 2)
        async with AsyncCrowd() as crowd:
            jobs = [crowd.start(one.wait) for _ in range(5)]
            await one.arrive()
            await asleep(0.25)
            begun = time.monotonic()
            await one.arrive()
            for job in jobs:
                await job.result()
            took.append(time.monotonic() - begun)
    assert min(took) < 1.0, took


async def test_arrivals_without_a_name_are_different(ahf: AsyncHoldfast):
    one = latch(ahf, "many", 20)
    async with AsyncCrowd() as crowd:
        assert sorted(await crowd.all(20, one.arrive)) == list(range(20))


async def test_an_opening_is_seen_by_who_waited_for_it_although_it_was_reset(ahf: AsyncHoldfast):
    """found: `wait` that looks whether it is open now: who was slow waited for the next round, for ever."""
    one = latch(ahf, "short", 2)
    async with AsyncCrowd() as crowd:
        await one.arrive("a")
        job = crowd.start(lambda: one.wait("20s"))
        await asleep(0.3)
        await one.arrive("b")
        await one.reset()
        await job.result()
        with pytest.raises(LockTimeout):  # who comes now waits for the next round
            await one.wait("50ms")


async def test_who_waited_for_a_round_that_was_reset_waits_for_the_next(ahf: AsyncHoldfast):
    one = latch(ahf, "next", 2)
    async with AsyncCrowd() as crowd:
        await one.arrive("a")
        job = crowd.start(lambda: one.wait("20s"))
        await asleep(0.2)
        await one.reset()
        await one.arrive("a")
        await asleep(0.3)
        assert not job.done
        await one.arrive("b")
        await job.result()


async def test_all_have_to_say_the_same_count(ahf: AsyncHoldfast):
    """found: without the look at `n` the second of two opened a latch that awaited three."""
    three, two = latch(ahf, "count", 3), latch(ahf, "count", 2)
    await three.arrive("a")
    for call in (two.arrive, two.wait, two.missing, two.inspect):
        with pytest.raises(ConflictError, match="awaits 3 parties") as caught:
            await call()
        assert (caught.value.expected, caught.value.actual) == (2, 3)
    assert await three.missing() == 2


async def test_nothing_is_left_after_its_ttl(ahf: AsyncHoldfast):
    """found: without one of the PEXPIREs."""
    one = latch(ahf, "short", 2, ttl="300ms")
    await one.arrive("a")
    await one.arrive("b")
    await one.reset()
    await one.arrive("a")
    await asleep(0.6)
    assert [await ahf.execute("EXISTS", one.key + part) for part in ("", ":p", ":o")] == [0, 0, 0]
    assert await one.missing() == 2 and await one.reset() == 0
    assert await latch(ahf, "short", 5).arrive() == 4  # and another count may be said


async def test_a_lost_reply_counts_once_even_over_a_reset(ahf: AsyncHoldfast, faults, namespace: str):
    """found: arrive.lua that does not look at the round before: the repetition arrived in the next one."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="10s") as second:
        mine, theirs = latch(ahf, "lost", 2), latch(second, "lost", 2)
        await theirs.missing()
        faults.drop_replies(match=b"a party")
        assert await theirs.arrive("a party") == 1
        assert await mine.missing() == 1
        faults.drop_replies(match=b"another")
        faults.refuse()  # so that the repetition is not quicker than the reset
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: theirs.arrive("another"))
            await AsyncCrowd.until(mine.missing, 0)
            await mine.reset()
            faults.accept()
            assert await job.result() == 0
        assert await mine.missing() == 2


async def test_waiting_goes_on_while_the_server_is_away(ahf: AsyncHoldfast, faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as second:
        mine, theirs = latch(ahf, "away", 2), latch(second, "away", 2)
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: theirs.wait("25s"))
            await asleep(0.2)
            faults.refuse()
            faults.cut()
            with pytest.raises(Unavailable):
                await theirs.arrive("x")
            await mine.arrive("a")
            await mine.arrive("b")
            await asleep(0.3)
            assert not job.done
            faults.accept()
            await job.result()


async def test_flushed_it_begins_anew(own_server, namespace: str):
    """found: generations that begin at 1: after a reset and a FLUSHALL nothing opened for who waited."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as hf:
        one = latch(hf, "flushed", 2)
        await one.arrive("a")
        await one.reset()
        await one.arrive("a")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: one.wait("20s"))
            await asleep(0.2)
            await hf.execute("FLUSHALL")
            assert await one.arrive("b") == 1
            assert await one.arrive("a") == 0
            await job.result()


async def test_nonsense_is_refused(ahf: AsyncHoldfast):
    for count in (0, -1, True, "3", 1.5, None):
        with pytest.raises(ConfigurationError, match="count="):
            latch(ahf, "nonsense", count)
    for options in ({"ttl": 0}, {"wait": -1}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            latch(ahf, "nonsense", 2, **options)
    with pytest.raises(ConfigurationError, match="latch"):
        latch(ahf, "", 2)
    with pytest.raises(ConfigurationError, match="party"):
        await latch(ahf, "x", 2).arrive("")
