# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Slots of a concurrency limiter when the server, the network or a client fails.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time

import pytest

from holdfast import AsyncHoldfast, LockLost
from holdfast._compat import asleep
from holdfast._signals import BreakerChanged
from holdfast.errors import Closed, RateLimited
from holdfast.limits.concurrency import rules
from holdfast.limits.concurrency._bid_async import AsyncBid
from holdfast.limits.concurrency._concurrency_async import AsyncConcurrencyLimiter
from holdfast.limits.concurrency._slot_async import AsyncSlot
from tests.cache.crowd import AsyncCrowd
from tests.limits.concurrency.test_concurrency_async import left, limiter_of, waiting
from tests.topics.world import Observer

SHORT = "300ms"  # a timeout that a server which is away lets pass


async def known(limiter: AsyncConcurrencyLimiter) -> None:
    """Have its scripts known, and a connection made."""
    await (await limiter.acquire("nobody", 0)).release()
    await limiter.peek("nobody")


async def hurry(limiter: AsyncConcurrencyLimiter, deadline: float = 0.3) -> None:
    """The same, and have no more patience from then on."""
    await known(limiter)
    limiter._desk.deadline = deadline


async def test_a_lost_reply_of_an_acquire(ahf: AsyncHoldfast, faults, namespace: str):
    """It is granted when it is repeated. found: a take.lua that does not know its own token."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="10s") as second:
        one = limiter_of(second, 1, ttl="60s")
        await known(one)
        faults.drop_replies(match=b"{ann}")
        slot = await one.acquire("ann")
        slot.ensure()
        assert not slot.degraded and slot._stray
        assert await limiter_of(ahf, 1).try_acquire("ann") is None
        await slot.release()
        args = (slot._token, 60_000, 1, 0, -1)
        late = await ahf._wire.run(rules.TAKE, slot._names.attempt(slot._token), args)
        assert late == [-1], "the first request comes after all"
        assert await left(ahf, "ann") == []


async def test_a_lost_reply_of_a_release(ahf: AsyncHoldfast, faults, namespace: str):
    """It was given back: no error. found: `_give_back` that takes the second answer, 0, for a loss."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="10s") as second:
        one = limiter_of(second, 1, ttl="60s")
        await known(one)
        for stray in (False, True):
            slot = await one.acquire("ann")
            slot._stray = stray
            faults.drop_replies(match=slot._token.encode())
            await slot.release()
            assert slot.cause is None and await left(ahf, "ann") == []


async def test_a_release_while_the_server_is_away_is_made_up_for(ahf: AsyncHoldfast, faults, namespace: str):
    """found: without _leave_it_to_the_hub it stayed for its ttl."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout=SHORT) as second:
        slot = await limiter_of(second, 1, ttl="60s").acquire("ann")
        faults.refuse()
        faults.cut()
        await slot.release()
        assert await left(ahf, "ann") != []
        faults.accept()
        await AsyncCrowd.until(lambda: left(ahf, "ann"), [])


async def test_an_acquire_that_is_not_answered_leaves_nothing(ahf: AsyncHoldfast, faults, namespace: str):
    """It may have been executed. found: give_up() that does not abandon: a slot was gone for its ttl."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as second:
        one = limiter_of(second, 1, ttl="60s", breaker=1_000)
        await hurry(one)
        faults.swallow_replies()
        with pytest.raises(RateLimited, match="the server is away, and on_error says") as caught:
            await one.acquire("ann")
        assert caught.value.decision.degraded and not caught.value.decision
        assert caught.value.decision.violated == () and caught.value.retry_after == 1.0
        with pytest.raises(RateLimited):
            await one.acquire("ann", "500ms")
        assert await one.try_acquire("ann") is None
        assert (await one.peek("ann"))[:6] == (False, 0, 1.0, 0.0, (), True)
        faults.heal()
        await AsyncCrowd.until(lambda: left(ahf, "ann"), [])


async def test_allow_lets_everybody_in(ahf: AsyncHoldfast, faults, namespace: str):
    """In the time of one deadline, and with nothing left behind. found: without the give_up() of a degraded
    one, what the server had heard of stayed for its ttl.
    """
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="30s") as second:
        one = limiter_of(second, 1, ttl="60s", on_error="allow", wait="60s")
        await hurry(one)
        faults.swallow_replies()
        begun = time.monotonic()
        async with one.hold("ann") as first, one.hold("ann") as other:
            assert first.degraded and other.degraded and first.decision.degraded
            assert first.remaining() == float("inf") and first.cause is None
            first.ensure()
        assert time.monotonic() - begun < 25, "not the client's timeout, nor the wait"
        assert (await one.peek("ann"))[:6] == (True, 1, 0.0, 0.0, (), True)
        slot = await one.acquire("ann")
        await slot.release()
        await slot.release()
        assert one.stats().degraded == 3 and one.stats().held == 0
        faults.heal()
        await AsyncCrowd.until(lambda: left(ahf, "ann"), [])


async def test_local_counts_in_this_process(ahf: AsyncHoldfast, faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="30s") as second:
        four = limiter_of(second, 4, ttl="60s", on_error="local", local_share=0.5)
        await hurry(four)
        faults.swallow_replies()
        slots = [await four.acquire("ann") for _ in range(2)]
        assert all(slot.degraded for slot in slots)
        assert await four.try_acquire("ann") is None
        with pytest.raises(RateLimited, match="all slots are in use here") as caught:
            await four.acquire("ann")
        assert caught.value.decision.degraded
        bob = await four.acquire("bob")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: four.acquire("ann", "60s"))
            await crowd.settle()
            assert not job.done
            await slots[0].release()
            await (await job.result()).release()
        for slot in (bob, *slots):
            await slot.release()
        for slot in [await four.acquire("ann") for _ in range(2)]:
            await slot.release()
        faults.heal()


async def test_deny_goes_on_waiting(ahf: AsyncHoldfast, faults, namespace: str):
    """found: an acquire that gave up with the first question that was not answered."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="30s") as second:
        one = limiter_of(second, 1, ttl="60s", wait="60s")
        await hurry(one)
        faults.swallow_replies()
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: one.acquire("ann"))
            await asleep(0.7)
            assert not job.done
            one._desk.deadline = 20.0
            faults.heal()
            slot = await job.result()
            assert not slot.degraded
            await slot.release()
        await AsyncCrowd.until(lambda: left(ahf, "ann"), [])


async def test_the_breaker_spares_the_callers_the_deadline(ahf: AsyncHoldfast, faults, namespace: str):
    """found: without breaker.allow each of a hundred waited for the deadline."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="30s") as second:
        seen = Observer(second)
        one = limiter_of(second, 1, on_error="allow", breaker=1)
        await hurry(one, 1.0)
        faults.swallow_replies()
        begun = time.monotonic()
        for _ in range(100):
            await (await one.acquire("ann")).release()
        assert time.monotonic() - begun < 90
        one._desk.deadline = 20.0
        faults.heal()
        await AsyncCrowd.until(lambda: is_counted(one))
        assert [one.state for one in seen.of(BreakerChanged)][:1] == ["open"]
        assert [one.state for one in seen.of(BreakerChanged)][-1:] == ["closed"]


async def is_counted(limiter: AsyncConcurrencyLimiter) -> bool:
    async with limiter.hold("bob") as slot:
        return not slot.degraded


async def test_a_slot_that_cannot_be_renewed_is_lost(faults, namespace: str):
    """found: without the end by our own clock (Keeping) nobody was told."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout=SHORT) as second:
        one = limiter_of(second, 1, ttl="800ms", on_error="deny")
        slot = await one.acquire("ann", "20s")
        await asleep(0.3)  # its thread has a connection: one that is just being made may get past the cut
        faults.refuse()
        faults.cut()
        await AsyncCrowd.until(slot.lost.is_set)
        assert slot.cause in {"unreachable", "expired"} and slot.remaining() == 0.0
        with pytest.raises(LockLost, match="was lost"):
            slot.ensure()
        assert sum(one.stats().lost.values()) == 1
        faults.accept()


async def test_or_degraded_where_others_are_let_in_too(faults, namespace: str):
    """The body goes on. found: `_lost` of AsyncHeld: fail-open stopped all that was under way."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout=SHORT) as second:
        seen = Observer(second)
        one = limiter_of(second, 2, ttl="2s", on_error="local", local_share=0.5)
        async with one.hold("ann", wait="20s") as slot:
            await asleep(0.3)
            faults.refuse()
            faults.cut()
            one._desk.deadline = 0.3
            await AsyncCrowd.until(lambda: slot.degraded)
            slot.ensure()
            assert slot.cause is None and not slot.lost.is_set() and slot.remaining() == float("inf")
            assert await one.try_acquire("ann") is None, "it counts here"
        async with one.hold("ann") as other:
            assert other.degraded
        faults.accept()
        assert [(told.name, told.subject) for told in seen.of(rules.SlotDegraded)] == [("exports", "ann")]
        assert one.stats().lost == {} and one.stats().held == 0


@pytest.mark.parametrize(
    ("cause", "warned", "bears"),
    [
        ("unreachable", False, True),
        ("expired", True, True),  # it was in danger before, so it was not we who stood still
        ("expired", False, False),
        ("vanished", True, False),
        ("closed", False, False),
    ],
)
async def test_what_a_body_bears(ahf: AsyncHoldfast, cause: str, warned: bool, bears: bool):
    """Only that the server is away. found: a process that had stood still went on without its slot."""
    for on_error in ("allow", "local", "deny"):
        slot = await limiter_of(ahf, 1, on_error, on_error=on_error, ttl="60s").acquire("ann")
        slot._keeping.warned = warned
        slot._keeping.lose(cause)
        if bears and on_error != "deny":
            assert slot.degraded and slot.cause is None
            slot.ensure()
            await slot.release()
            continue
        assert not slot.degraded and slot.cause == cause
        await AsyncCrowd.until(slot.lost.is_set)
        for call in (slot.ensure, slot.ensure):
            with pytest.raises(LockLost):
                call()
        with pytest.raises(LockLost):
            await slot.release()


async def test_who_holds_is_told_of_a_flush(own_server, namespace: str):
    """found: keep.lua that makes anew what is gone."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as hf:
        one = limiter_of(hf, 1, ttl="6s", wait="60s")
        slot = await one.acquire("ann")
        await asleep(0.5)  # looked at once
        await hf.execute("FLUSHALL")
        await AsyncCrowd.until(slot.lost.is_set)
        assert slot.cause == "vanished"
        async with one.hold("ann") as second:
            second.ensure()


async def test_who_waits_hears_of_a_flush(own_server, namespace: str):
    """Who waits stands in the queue again, at the latest when he asks by himself."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as hf:
        one = limiter_of(hf, 1, ttl="60s", wait="60s")
        slot = await one.acquire("ann")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: one.acquire("ann"))
            await AsyncCrowd.until(lambda: waiting(one, "ann"), 1)
            await hf.execute("FLUSHALL")
            await (await job.result()).release()
        with pytest.raises(LockLost):
            await slot.release()


async def test_the_first_question_may_have_to_connect(place, namespace: str):
    """found: each process began with slots that nobody counted."""
    second = AsyncHoldfast(place.url, namespace=namespace, timeout="30s")
    one = limiter_of(second, 1, on_error="allow", deadline=0.000001)
    slot = await one.acquire("ann")
    assert not slot.degraded
    assert one._desk.timeout < 0.001, "from then on the deadline counts"
    await slot.release()
    await second.close()


async def test_a_server_that_was_never_there(faults, namespace: str):
    """The first question ends by the client's timeout, the others by the deadline."""
    faults.refuse()
    second = AsyncHoldfast(faults.url, namespace=namespace, timeout=SHORT)
    one = limiter_of(second, 1, on_error="allow", deadline=0.001, breaker=1_000)
    begun = time.monotonic()
    assert (await one.acquire("ann")).degraded
    assert time.monotonic() - begun > 0.1
    begun = time.monotonic()
    for _ in range(20):
        assert (await one.acquire("ann")).degraded
    assert time.monotonic() - begun < 5.0
    assert (await one.peek("ann")).degraded
    faults.accept()
    await second.close()


async def test_after_close_there_is_no_slot(ahf: AsyncHoldfast, place, namespace: str):
    """Whatever on_error says."""
    second = AsyncHoldfast(place.url, namespace=namespace)
    one = limiter_of(second, 1, on_error="allow", ttl="60s")
    slot = await one.acquire("ann")
    await second.close()
    assert slot.cause == "closed"
    for call in (one.acquire, one.try_acquire, one.peek):
        with pytest.raises(Closed):
            await call("ann")


async def test_who_waits_when_the_client_is_closed_hears_of_it(ahf: AsyncHoldfast, place, namespace: str):
    slot = await limiter_of(ahf, 1, ttl="60s").acquire("ann")
    second = AsyncHoldfast(place.url, namespace=namespace)
    one = limiter_of(second, 1, wait="60s")
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: one.acquire("ann"))
        await AsyncCrowd.until(lambda: waiting(one, "ann"), 1)
        await second.close()
        with pytest.raises(Closed):
            await job.result()
    await slot.release()


async def test_what_is_given_up_before_it_is_known_is_undone(ahf: AsyncHoldfast):
    """found: a bid that forgets that an earlier question of it is in doubt."""
    one = limiter_of(ahf, 1, ttl="60s")
    bid = AsyncBid(one._desk, "ann", 1, waits=False)
    slot = await bid(20.0)
    assert isinstance(slot, AsyncSlot)
    bid.give_up()
    await AsyncCrowd.until(lambda: left(ahf, "ann"), [])
    assert await ahf._wire.run(rules.TAKE, bid.names.attempt(bid.token), (bid.token, 60_000, 1, 0, -1)) == [
        -1
    ]
