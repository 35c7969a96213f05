# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a lock for readers and writers promises to one who uses it. The orders of its steps:
test_rwlock_model.py.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, LockError, LockLost, LockTimeout
from holdfast._compat import asleep
from holdfast.locks.options import chosen
from holdfast.locks.rwlock._async import AsyncRwLock
from holdfast.locks.rwlock.options import RwLockOptions
from tests.cache.crowd import AsyncCrowd


def rwlock(hf: AsyncHoldfast, name: str, **options: Any) -> AsyncRwLock:
    return AsyncRwLock(hf._locks, name, chosen(RwLockOptions, f"rwlock {name!r}", options))


async def left(hf: AsyncHoldfast, lock: AsyncRwLock) -> list[str]:
    """What of a lock is on the server, by the part of its key."""
    parts = ("", ":r", ":h", ":i", ":q", ":b")
    return [part for part in parts if await hf.execute("EXISTS", lock.key + part)]


@pytest.mark.everywhere
async def test_readers_together_writers_alone(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    """found: write.lua that does not look for readers; a writer and readers at once inside."""
    inside: list[str] = []
    seen: list[tuple[str, ...]] = []
    fences: list[int] = []
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:

        async def read(hf: AsyncHoldfast) -> None:
            async with rwlock(hf, "mix", wait="25s").read():
                inside.append("r")
                await asleep(0.005)
                seen.append(tuple(inside))
                inside.remove("r")

        async def write(hf: AsyncHoldfast) -> None:
            async with rwlock(hf, "mix", wait="25s").write() as lease:
                fences.append(lease.fence)
                inside.append("W")
                await asleep(0.002)
                seen.append(tuple(inside))
                inside.remove("W")

        async with AsyncCrowd() as crowd:
            both = [(hf, work) for hf in (ahf, second) * 6 for work in (read, write)]
            jobs = [crowd.start(lambda hf=hf, work=work: work(hf)) for hf, work in both]
            for job in jobs:
                await job.result()
    assert all(one == ("W",) for one in seen if "W" in one), seen
    assert fences == sorted(set(fences)) and len(fences) == 12
    lock = rwlock(ahf, "mix")
    assert await left(ahf, lock) == []
    state = await lock.inspect()
    assert (state.writer, state.readers, state.reading, state.fence) == (None, (), 0, fences[-1])


@pytest.mark.everywhere
async def test_a_life(ahf: AsyncHoldfast, place):
    lock = rwlock(ahf, "life", ttl="20s", label="me")
    first = await lock.read().acquire()
    async with lock.read() as second:
        assert second.fence == first.fence > 0 and 15 < second.remaining() < 20
        second.ensure()
        assert await lock.write().try_acquire() is None
        begun = time.monotonic()
        with pytest.raises(LockTimeout, match="for writing was not acquired") as caught:
            async with AsyncCrowd() as crowd:
                await crowd.start(lambda: lock.write().acquire(wait="100ms")).result()
        assert time.monotonic() - begun >= 0.1 and caught.value.name == "life"
        state = await lock.inspect()
        assert state.reading == 2 and state.writer is None and state.fence == first.fence
        assert {one.fence for one in state.readers} == {first.fence}
        assert {one.owner for one in state.readers} == {caught.value.holder}
        assert all(one.label == "me" and one.ttl is not None and 15 < one.ttl <= 20 for one in state.readers)
    await first.release()
    await AsyncCrowd.until(lambda: left(ahf, lock), [])  # whoever gave up is soon forgotten
    async with lock.write() as writing:
        assert writing.fence > first.fence
        state = await lock.inspect()
        assert state.writer is not None and state.writer.fence == writing.fence and state.reading == 0
        assert await lock.read().try_acquire() is None
        async with ahf.transaction(guard=writing) as tx:
            tx.set(writing.key("total"), 1)
    later = await lock.read().try_acquire()
    assert later is not None and later.fence == writing.fence  # whose work it reads
    with pytest.raises(ConfigurationError, match="only one can have"):
        ahf.transaction(guard=later)
    await later.release()
    await later.release()
    assert await left(ahf, lock) == []


async def test_who_waits_is_woken(ahf: AsyncHoldfast):
    """found: without each of the messages of release.lua it took the whole two seconds of SAFETY."""
    lock = rwlock(ahf, "woken", ttl="60s", wait="20s")
    for holds, waits in [("read", "write"), ("write", "read"), ("write", "write")]:
        took = []
        for _ in range(2):
            lease = await getattr(lock, holds)().acquire()
            async with AsyncCrowd() as crowd:
                job = crowd.start(lambda waits=waits: getattr(lock, waits)().acquire())
                await asleep(0.25)
                assert not job.done
                begun = time.monotonic()
                await lease.release()
                theirs = await job.result()
                took.append(time.monotonic() - begun)
                await theirs.release()
        assert min(took) < 1.0, (holds, waits)  # of SAFETY, 2 s


async def test_a_crashed_reader_keeps_writers_out_for_its_own_ttl_only(ahf: AsyncHoldfast):
    """found: one ttl for the set of all readers: those who came later kept the crashed one in for ever."""
    lock = rwlock(ahf, "crashed", wait="20s")
    crashed = await rwlock(ahf, "crashed", ttl="600ms", renew=False).read().acquire()
    begun = time.monotonic()
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: lock.write().acquire())
        while not job.done:  # others come and go
            lease = await lock.read().try_acquire()
            await asleep(0.02)
            if lease is not None:
                await lease.release()
            assert time.monotonic() - begun < 15
        await (await job.result()).release()
    assert (
        0.55 <= time.monotonic() - begun < 1.6
    )  # of SAFETY, 2 s; found: a writer that was told of the last to end
    with pytest.raises(LockLost) as caught:
        await crashed.release()
    assert caught.value.cause == "expired"


async def test_a_stream_of_readers_does_not_starve_a_writer(ahf: AsyncHoldfast):
    """found: without the intents of write.lua the writer timed out."""
    lock = rwlock(ahf, "stream", ttl="20s", wait="20s")
    done: list[int] = []

    async def read() -> None:
        while not done:
            async with lock.read():
                await asleep(0.01)

    async with AsyncCrowd() as crowd:
        for _ in range(4):
            crowd.start(read)
        await asleep(0.1)
        try:
            for _ in range(3):
                async with rwlock(ahf, "stream", wait="10s").write():
                    pass
        finally:
            done.append(1)


async def test_a_stream_of_writers_does_not_starve_a_reader(ahf: AsyncHoldfast):
    """While writers stand in line, a reader that waits sees one of them go before it. found: without
    `owed`."""
    lock = rwlock(ahf, "writers", ttl="20s", wait="25s")
    events: list[str] = []

    async def write() -> None:
        async with lock.write():
            events.append("W")
            await asleep(0.02)

    async def read() -> None:
        async with lock.read():
            events.append("r")

    async with AsyncCrowd() as crowd:
        first = await lock.write().acquire()
        jobs = [crowd.start(write) for _ in range(6)]
        await asleep(0.2)
        for _ in range(3):
            jobs.append(crowd.start(read))
            await asleep(0.15)
        begun = time.monotonic()
        await first.release()
        for job in jobs:
            await job.result()
    assert sorted(events[:3]) == ["r", "r", "r"], events  # they came while one was in: before all that waited
    assert time.monotonic() - begun < 1.8  # of SAFETY, 2 s; found: readers in a queue of this process


async def test_a_writer_that_gives_up_lets_readers_in_at_once(ahf: AsyncHoldfast):
    """found: abandon.lua that does not tell readers, or leaves the intent: they waited for SAFETY or
    PATIENCE."""
    lock = rwlock(ahf, "gave up", ttl="60s", wait="20s")
    async with AsyncCrowd() as crowd:
        first = await lock.read().acquire()
        writer = crowd.start(lambda: lock.write().acquire(wait="700ms"))
        await asleep(0.25)
        reader = crowd.start(lambda: lock.read().acquire())
        await asleep(0.1)
        assert not reader.done and await lock.read().try_acquire() is None
        state = await lock.inspect()
        assert (state.waiting_writers, state.waiting_readers) == (1, 1)
        with pytest.raises(LockTimeout):
            await writer.result()
        begun = time.monotonic()
        second = await reader.result()
        assert time.monotonic() - begun < 1.0
        await first.release()
        await second.release()
    await AsyncCrowd.until(lambda: left(ahf, lock), [])


@pytest.mark.parametrize("side", ["write", "read"])
async def test_one_that_crashed_while_it_waited_is_passed_over(ahf: AsyncHoldfast, side: Any):
    """A writer's intent keeps readers out, a reader's claim writers; as long as somebody says that he waits.
    found: read.lua and write.lua that do not purge them.
    """
    lock, other = rwlock(ahf, "dead", ttl="60s", wait="20s"), {"write": "read", "read": "write"}[side]
    inside = await getattr(lock, other)().acquire()
    script, keys, args = lock._names.ask(side, "d" * 32, 60_000, "h:1:", waits=True, inside="")
    brief = (*args[:4], 600, *args[5:])  # milliseconds, in place of PATIENCE_MS
    assert (await ahf._wire.run(script, keys, brief))[0] == 0
    begun = time.monotonic()
    await inside.release()
    lease = await getattr(lock, other)().acquire()
    assert 0.4 <= time.monotonic() - begun < 1.6  # of SAFETY, 2 s
    await lease.release()
    state = await lock.inspect()
    assert (state.waiting_writers, state.waiting_readers) == (0, 0)


async def test_who_is_in_is_not_let_wait_for_itself(ahf: AsyncHoldfast):
    """found: without refuse_nesting all three waited out their time."""
    lock = rwlock(ahf, "nested", wait="20s")
    for outer, inner in [("read", "write"), ("write", "read"), ("write", "write")]:
        async with getattr(lock, outer)():
            begun = time.monotonic()
            with pytest.raises(LockError, match="held by this very") as caught:
                await getattr(rwlock(ahf, "nested", wait="20s"), inner)().acquire()
            assert not isinstance(caught.value, LockTimeout) and time.monotonic() - begun < 10
    async with lock.read(), AsyncCrowd() as crowd:
        await (await crowd.start(lambda: lock.read().acquire()).result()).release()


async def test_who_reads_may_read_once_more_although_a_writer_waits(ahf: AsyncHoldfast):
    """found: without ARGV[6] of read.lua the writer waited for the first, and the second for the writer."""
    lock = rwlock(ahf, "twice", wait="20s")
    async with AsyncCrowd() as crowd, lock.read():
        job = crowd.start(lambda: lock.write().acquire())
        await asleep(0.25)
        begun = time.monotonic()
        async with lock.read(), lock.read():
            assert not job.done
        assert time.monotonic() - begun < 10
        assert await crowd.start(lock.read().try_acquire).result() is None  # others wait
    await (await job.result()).release()


async def test_all_who_have_it_are_told_when_it_is_taken_away(ahf: AsyncHoldfast):
    """found: break.lua that leaves the writer's key alone: readers heard of it at a third of their ttl."""
    lock = rwlock(ahf, "broken", ttl="60s")
    for side, count in [("read", 2), ("write", 1)]:
        leases = [await getattr(lock, side)().acquire() for _ in range(count)]
        await asleep(0.5)
        begun = time.monotonic()
        assert await lock.force_release() == count
        for lease in leases:
            await AsyncCrowd.until(lease.lost.is_set)
            assert lease.cause in ("vanished", "taken")
        assert time.monotonic() - begun < 10  # of a third of the ttl, 20 s
        assert await left(ahf, lock) == []
    assert await lock.force_release() == 0


async def test_readers_who_come_and_go_do_not_make_the_others_renew(
    ahf: AsyncHoldfast, server, namespace: str
):
    """found: keep.lua that read the places last, so that the server tracked them."""
    lock = rwlock(ahf, "quiet", ttl="60s")
    first = await lock.read().acquire()
    await asleep(0.6)
    before = lock.read().stats().renewals
    assert before >= 1
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        for _ in range(30):
            async with rwlock(second, "quiet", ttl="60s").read():
                await asleep(0.01)
    assert lock.read().stats().renewals == before
    await first.release()


async def test_leases_of_both_sides_are_renewed(ahf: AsyncHoldfast):
    """found: keep.lua without ZADD, and without PEXPIREAT: the readers' set ended although one was
    renewed."""
    for side in ("read", "write"):
        lock = rwlock(ahf, f"kept {side}", ttl="1s")
        async with getattr(lock, side)() as lease:
            await asleep(2.5)
            lease.ensure()
            state = await lock.inspect()
            assert state.reading + (state.writer is not None) == 1
            assert await lock.write().try_acquire() is None
            holder = state.writer or state.readers[0]
            assert holder.fence == lease.fence and holder.ttl is not None and 0 < holder.ttl <= 1
    for key in (":f", ":r", ":h"):
        assert await ahf.execute("PTTL", rwlock(ahf, "kept read").key + key) != -1


async def test_a_renewal_never_makes_anew(ahf: AsyncHoldfast):
    for side in ("read", "write"):
        lock = rwlock(ahf, f"anew {side}", ttl="600ms")
        lease = await getattr(lock, side)().acquire()
        await ahf.execute("DEL", lock.key, lock.key + ":r", lock.key + ":h")
        await AsyncCrowd.until(lease.lost.is_set)
        assert lease.cause == "vanished"
        await asleep(0.3)
        assert await left(ahf, lock) == []
        with pytest.raises(LockLost):
            await lease.release()


async def test_a_program_of_another_kind_keeps_all_out(ahf: AsyncHoldfast):
    """SET NX with the writer's key. Nobody tells when it goes, so it is asked for."""
    lock = rwlock(ahf, "foreign", wait="20s")
    await ahf.execute("SET", lock.key, "somebody", "PX", 60_000)
    assert await lock.read().try_acquire() is None and await lock.write().try_acquire() is None
    state = await lock.inspect()
    assert state.writer is not None and state.writer.owner == "another program"
    async with AsyncCrowd() as crowd:
        jobs = [crowd.start(lambda side=side: getattr(lock, side)().acquire()) for side in ("read", "write")]
        await asleep(0.2)
        begun = time.monotonic()
        await ahf.execute("DEL", lock.key)
        await (await jobs[0].result()).release()  # it came while one was in: the writer waits for it
        await (await jobs[1].result()).release()
        assert time.monotonic() - begun < 1.7  # of SAFETY, 2 s


async def test_nonsense_is_refused(ahf: AsyncHoldfast):
    nonsense = (
        {"ttl": 0},
        {"wait": -1},
        {"max_hold": "1s", "renew": False},
        {"label": 3},
        {"on_wanted": print},
    )
    for options in (*nonsense, {"x": 1}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            rwlock(ahf, "nonsense", **options)
    with pytest.raises(ConfigurationError, match="non-empty"):
        rwlock(ahf, "")
