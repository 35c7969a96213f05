# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a lock promises to one who uses it, on whatever servers.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, LockError, LockLost, LockTimeout
from holdfast._compat import asleep
from holdfast.locks import rules
from tests.cache.crowd import AsyncCrowd, Observer

MARGIN = 2.0  # seconds by which a busy machine may be late


async def other(place: Any, hf: AsyncHoldfast, transport: str = "native") -> AsyncHoldfast:
    """Another client of the same namespace, to be closed by the caller."""
    return AsyncHoldfast(place.url, namespace=hf._settings.keys.namespace, transport=transport)


async def keys(hf: AsyncHoldfast, lock: Any) -> set[str]:
    """What of a lock is on the server, by the part of its key."""
    names = {
        "key": lock.key,
        "fence": lock._names.fence,
        "wanted": lock._names.wanted,
        "queue": lock._names.queue,
    }
    return {name for name, key in names.items() if await hf.execute("EXISTS", key)}


# --- everywhere ---------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_one_holds_it_at_a_time(ahf: AsyncHoldfast, place, transport: str):
    """found: acquire.lua that does not look who has it: 20 at once inside."""
    inside: list[int] = []
    most: list[int] = []
    fences: list[int] = []
    async with await other(place, ahf, transport) as second:

        async def work(hf: AsyncHoldfast) -> None:
            async with hf.lock("one", wait="20s") as lease:
                fences.append(lease.fence)
                inside.append(1)
                await asleep(0.002)
                most.append(len(inside))
                inside.pop()

        async with AsyncCrowd() as crowd:
            jobs = [crowd.start(lambda hf=hf: work(hf)) for hf in (ahf, second) * 10]
            for job in jobs:
                await job.result()
    assert max(most) == 1
    assert fences == sorted(set(fences)) and len(fences) == 20  # in the order of the grants
    assert await ahf.lock("one").inspect() is None


@pytest.mark.everywhere
async def test_a_life(ahf: AsyncHoldfast, place):
    """Held, refused to others, seen, used as a guard, given back, handed over, taken away."""
    async with await other(place, ahf) as second:
        lock, theirs = ahf.lock("order:1", ttl="20s", label="a:b c%"), second.lock("order:1", wait="100ms")
        async with lock as lease:
            assert 15 < lease.remaining() < 20 and lease.cause is None and not lease.lost.is_set()
            lease.ensure()
            assert await theirs.try_acquire() is None
            begun = time.monotonic()
            with pytest.raises(LockTimeout, match="order:1") as caught:
                await theirs.acquire()
            assert 0.1 <= time.monotonic() - begun < 0.1 + MARGIN
            holder = await theirs.inspect()
            assert holder is not None and caught.value.holder == holder.owner
            assert (holder.name, holder.fence, holder.label) == ("order:1", lease.fence, "a:b c%")
            assert holder.owner.endswith(":a:b c%") and holder.ttl is not None and 15 < holder.ttl <= 20
            async with ahf.transaction(guard=lease) as tx:
                tx.set(lease.key("total"), 1)
            assert (
                await ahf.script("x", text="-- retry: safe\nreturn #KEYS + #ARGV").run(
                    [lease.key("a")], [1, 2], guard=lease
                )
                == 3
            )
        assert await lock.inspect() is None
        later = await theirs.try_acquire()
        assert later is not None and later.fence > lease.fence
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: lock.acquire(wait="20s"))
            await asleep(0.1)
            begun = time.monotonic()
            await later.release()
            last = await job.result()
            assert time.monotonic() - begun < 1.7  # of SAFETY, 2 s
        await asleep(0.3)
        assert await theirs.force_release()
        await AsyncCrowd.until(last.lost.is_set)
        assert time.monotonic() - begun < 5  # of a third of the ttl, 7 s
        with pytest.raises(LockLost):
            await last.release()
    assert await keys(ahf, lock) == {"fence"}


async def test_who_waits_is_woken(ahf: AsyncHoldfast, place):
    """found: without SPUBLISH in release.lua it took the whole two seconds of SAFETY."""
    async with await other(place, ahf) as second:
        lock = ahf.lock("woken", ttl="60s")
        waits = []
        for _ in range(3):
            lease = await lock.acquire()
            async with AsyncCrowd() as crowd:
                job = crowd.start(lambda: second.lock("woken", wait="20s").acquire())
                await asleep(0.25)
                begun = time.monotonic()
                await lease.release()
                theirs = await job.result()
                waits.append(time.monotonic() - begun)
                await theirs.release()
        assert min(waits) < 1.0  # of SAFETY, 2 s


async def test_a_holder_whose_lock_is_taken_away_is_told(ahf: AsyncHoldfast, place):
    """found: without the look at 0.25 s, and tracking from there on, it took a third of the ttl."""
    async with await other(place, ahf) as second:
        told: list[Any] = []
        lease = await ahf.lock("mine", ttl="60s", on_lost=told.append).acquire()
        await asleep(0.5)
        begun = time.monotonic()
        assert await second.lock("mine").force_release()
        await AsyncCrowd.until(lease.lost.is_set)
        assert time.monotonic() - begun < 10  # of a third of the ttl, 20 s
        assert lease.cause in ("vanished", "taken") and lease.remaining() == 0.0
        with pytest.raises(LockLost) as caught:
            lease.ensure()
        assert (caught.value.name, caught.value.cause) == ("mine", lease.cause)
        with pytest.raises(LockLost):
            await lease.release()
        with pytest.raises(LockLost):
            ahf.transaction(guard=lease)
        await AsyncCrowd.until(lambda: told == [lease])


# --- waiting, by the clock ----------------------------------------------------------------------------------


async def test_waits_of_every_length(ahf: AsyncHoldfast):
    """found: `wait` of acquire() that was not looked at."""
    lock = ahf.lock("busy", wait="50ms")
    lease = await ahf.lock("busy", label="me").acquire()
    waits: list[tuple[Any, float]] = [(0, 0.0), ("30ms", 0.03), (0.25, 0.25)]
    for wait, least in waits:
        begun = time.monotonic()
        with pytest.raises(LockTimeout) as caught:
            await lock.acquire(wait=wait)
        assert least <= time.monotonic() - begun < least + MARGIN
        assert caught.value.name == "busy" and caught.value.holder.endswith(":me")
        assert isinstance(caught.value, TimeoutError)
    with pytest.raises(LockTimeout):
        await lock.acquire()
    async with AsyncCrowd() as crowd:
        patient = crowd.start(lambda: lock.acquire(wait=None))
        await asleep(0.3)
        assert not patient.done
        await lease.release()
        await (await patient.result()).release()
    assert lock.stats().timeouts == 4


async def test_a_wait_of_nothing_takes_what_is_free(ahf: AsyncHoldfast):
    lease = await ahf.lock("free").acquire(wait=0)
    assert await ahf.lock("free").try_acquire() is None
    await lease.release()


# --- nesting ------------------------------------------------------------------------------------------------


async def test_who_is_inside_is_not_let_wait_for_itself(ahf: AsyncHoldfast):
    """found: without refuse_nesting both waited out their time. Another object is the same lock."""
    lock = ahf.lock("nested", wait="20s")
    async with lock:
        for again in (lock, ahf.lock("nested", wait="20s", fair=True)):
            begun = time.monotonic()
            with pytest.raises(LockError, match="held by this very") as caught:
                async with again:
                    pytest.fail("inside twice")
            assert not isinstance(caught.value, LockTimeout) and caught.value.name == "nested"
            with pytest.raises(LockError, match="held by this very"):
                await again.acquire()
            assert time.monotonic() - begun < 10
        async with ahf.lock("another"):
            pass
        async with AsyncCrowd() as crowd:  # another caller waits, as it should
            job = crowd.start(lambda: ahf.lock("nested", wait="50ms").acquire())
            with pytest.raises(LockTimeout):
                await job.result()
    async with lock:
        pass


async def test_a_lock_is_shared_by_many(ahf: AsyncHoldfast):
    """Each `with` has its lease, and gives back its own; found: leaving with the last one entered."""
    lock = ahf.lock("shared", wait="20s")
    seen: list[str] = []

    async def work() -> None:
        async with lock as lease:
            seen.append(lease.token)
            holder = await lock.inspect()
            assert holder is not None and holder.fence == lease.fence and holder.value.startswith(lease.token)

    async with AsyncCrowd() as crowd:
        await crowd.all(10, work)
    assert len(set(seen)) == 10


async def test_a_lease_is_a_context_of_its_own(ahf: AsyncHoldfast):
    lock = ahf.lock("own")
    async with await lock.acquire() as lease:
        assert await lock.try_acquire() is None
    assert lease.cause is None
    async with lock:
        pass


async def test_after_a_loss_the_same_caller_may_have_it_again(ahf: AsyncHoldfast):
    lock = ahf.lock("again", ttl="60s")
    lease = await lock.acquire()
    await lock.force_release()
    async with lock:
        pass
    with pytest.raises(LockLost):
        await lease.release()


# --- giving back --------------------------------------------------------------------------------------------


async def test_a_release_may_be_repeated_and_takes_nothing_from_others(ahf: AsyncHoldfast):
    """found: release.lua that does not look whose it is."""
    lock = ahf.lock("twice")
    lease = await lock.acquire()
    await lease.release()
    await lease.release()
    assert lease.cause is None
    with pytest.raises(LockLost, match="given back"):
        lease.ensure()
    theirs = await lock.acquire()
    await lease.release()
    theirs.ensure()
    assert await lock.try_acquire() is None
    await theirs.release()


async def test_a_release_after_the_end_says_so(ahf: AsyncHoldfast):
    lock = ahf.lock("late", ttl="200ms", renew=False)
    lease = await lock.acquire()
    await asleep(0.3)
    theirs = await lock.acquire()
    with pytest.raises(LockLost) as caught:
        await lease.release()
    assert caught.value.cause == "expired"
    theirs.ensure()
    with pytest.raises(LockLost):
        async with lease:
            pass
    await theirs.release()


async def test_a_release_of_what_vanished_unseen_says_so(ahf: AsyncHoldfast):
    """found: release() that takes the script's 0 for a success."""
    lock = ahf.lock("gone", ttl="60s")
    lease = await lock.acquire()
    await ahf.execute("DEL", lock.key)  # in the quarter second before its first look
    with pytest.raises(LockLost) as caught:
        await lease.release()
    assert caught.value.cause == "vanished"


async def test_an_extension_never_makes_anew(ahf: AsyncHoldfast):
    """found: keep.lua with SET instead of PEXPIRE."""
    lock = ahf.lock("anew", ttl="300ms")
    for value in (None, "somebody"):
        lease = await lock.acquire()
        if value is None:
            await ahf.execute("DEL", lock.key)
        else:
            await ahf.execute("SET", lock.key, value)
        await AsyncCrowd.until(lease.lost.is_set)
        assert lease.cause == ("vanished" if value is None else "taken")
        await asleep(0.3)
        assert await ahf.execute("GET", lock.key) == (None if value is None else value.encode())
        await ahf.execute("DEL", lock.key)


# --- numbers ------------------------------------------------------------------------------------------------


async def test_what_is_counted(ahf: AsyncHoldfast):
    """found: a loss counted as a release, a family that was the whole name."""
    observer = Observer()
    ahf.observers.add(observer)
    for number in range(3):
        async with ahf.lock(f"order:{number}"):
            pass
    lease = await ahf.lock("order:7", ttl="60s").acquire()
    await ahf.lock("order:7").force_release()
    with pytest.raises(LockLost):
        await lease.release()
    lease = await ahf.lock("order:8", ttl="150ms").acquire()
    with pytest.raises(LockTimeout):
        await ahf.lock("order:8").acquire(wait=0)
    await AsyncCrowd.until(lambda: ahf.lock("order").stats().renewals > 1)
    await lease.release()
    stats = ahf.lock_stats()["order"]
    assert stats == ahf.lock("order").stats()
    assert (stats.acquired, stats.released, stats.timeouts, stats.contended, stats.waiting) == (5, 4, 1, 1, 0)
    assert dict(stats.lost) == {"vanished": 1}
    assert stats.hold_seconds > 0 and stats.hold_p50 <= stats.hold_p99
    assert ahf.lock("else").stats().acquired == 0
    await AsyncCrowd.until(lambda: {"LockDropped", "LeaseLost"} <= set(observer.names()))


async def test_nothing_of_a_lock_is_without_an_end(ahf: AsyncHoldfast):
    lock = ahf.lock("ends", ttl="10s", fair=True)
    lease = await lock.acquire()
    with pytest.raises(LockTimeout):
        await lock.acquire(wait=0)
    await lock.request_release("x")
    names = lock._names
    for key in (names.key, names.fence, names.count, names.wanted):
        assert 0 < await ahf.execute("PTTL", key) <= rules.HISTORY_MS
    await lease.release()
