# Generated from test_rwlock_async.py by tools/unasync.py. Do not edit.
"""What a lock for readers and writers promises to one who uses it. The orders of its steps:
test_rwlock_model.py.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, LockError, LockLost, LockTimeout
from holdfast._compat import sleep
from holdfast.locks.options import chosen
from holdfast.locks.rwlock._sync import RwLock
from holdfast.locks.rwlock.options import RwLockOptions
from tests.cache.crowd import Crowd


def rwlock(hf: Holdfast, name: str, **options: Any) -> RwLock:
    return RwLock(hf._locks, name, chosen(RwLockOptions, f"rwlock {name!r}", options))


def left(hf: Holdfast, lock: RwLock) -> list[str]:
    """What of a lock is on the server, by the part of its key."""
    parts = ("", ":r", ":h", ":i", ":q", ":b")
    return [part for part in parts if hf.execute("EXISTS", lock.key + part)]


@pytest.mark.everywhere
def test_readers_together_writers_alone(hf: Holdfast, place, namespace: str, transport: str):
    """found: write.lua that does not look for readers; a writer and readers at once inside."""
    inside: list[str] = []
    seen: list[tuple[str, ...]] = []
    fences: list[int] = []
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:

        def read(hf: Holdfast) -> None:
            with rwlock(hf, "mix", wait="25s").read():
                inside.append("r")
                sleep(0.005)
                seen.append(tuple(inside))
                inside.remove("r")

        def write(hf: Holdfast) -> None:
            with rwlock(hf, "mix", wait="25s").write() as lease:
                fences.append(lease.fence)
                inside.append("W")
                sleep(0.002)
                seen.append(tuple(inside))
                inside.remove("W")

        with Crowd() as crowd:
            both = [(hf, work) for hf in (hf, second) * 6 for work in (read, write)]
            jobs = [crowd.start(lambda hf=hf, work=work: work(hf)) for hf, work in both]
            for job in jobs:
                job.result()
    assert all(one == ("W",) for one in seen if "W" in one), seen
    assert fences == sorted(set(fences)) and len(fences) == 12
    lock = rwlock(hf, "mix")
    assert left(hf, lock) == []
    state = lock.inspect()
    assert (state.writer, state.readers, state.reading, state.fence) == (None, (), 0, fences[-1])


@pytest.mark.everywhere
def test_a_life(hf: Holdfast, place):
    lock = rwlock(hf, "life", ttl="20s", label="me")
    first = lock.read().acquire()
    with lock.read() as second:
        assert second.fence == first.fence > 0 and 15 < second.remaining() < 20
        second.ensure()
        assert lock.write().try_acquire() is None
        begun = time.monotonic()
        with pytest.raises(LockTimeout, match="for writing was not acquired") as caught:
            with Crowd() as crowd:
                crowd.start(lambda: lock.write().acquire(wait="100ms")).result()
        assert time.monotonic() - begun >= 0.1 and caught.value.name == "life"
        state = lock.inspect()
        assert state.reading == 2 and state.writer is None and state.fence == first.fence
        assert {one.fence for one in state.readers} == {first.fence}
        assert {one.owner for one in state.readers} == {caught.value.holder}
        assert all(one.label == "me" and one.ttl is not None and 15 < one.ttl <= 20 for one in state.readers)
    first.release()
    Crowd.until(lambda: left(hf, lock), [])  # whoever gave up is soon forgotten
    with lock.write() as writing:
        assert writing.fence > first.fence
        state = lock.inspect()
        assert state.writer is not None and state.writer.fence == writing.fence and state.reading == 0
        assert lock.read().try_acquire() is None
        with hf.transaction(guard=writing) as tx:
            tx.set(writing.key("total"), 1)
    later = lock.read().try_acquire()
    assert later is not None and later.fence == writing.fence  # whose work it reads
    with pytest.raises(ConfigurationError, match="only one can have"):
        hf.transaction(guard=later)
    later.release()
    later.release()
    assert left(hf, lock) == []


def test_who_waits_is_woken(hf: Holdfast):
    """found: without each of the messages of release.lua it took the whole two seconds of SAFETY."""
    lock = rwlock(hf, "woken", ttl="60s", wait="20s")
    for holds, waits in [("read", "write"), ("write", "read"), ("write", "write")]:
        took = []
        for _ in range(2):
            lease = getattr(lock, holds)().acquire()
            with Crowd() as crowd:
                job = crowd.start(lambda waits=waits: getattr(lock, waits)().acquire())
                sleep(0.25)
                assert not job.done
                begun = time.monotonic()
                lease.release()
                theirs = job.result()
                took.append(time.monotonic() - begun)
                theirs.release()
        assert min(took) < 1.0, (holds, waits)  # of SAFETY, 2 s


def test_a_crashed_reader_keeps_writers_out_for_its_own_ttl_only(hf: Holdfast):
    """found: one ttl for the set of all readers: those who came later kept the crashed one in for ever."""
    lock = rwlock(hf, "crashed", wait="20s")
    crashed = rwlock(hf, "crashed", ttl="600ms", renew=False).read().acquire()
    begun = time.monotonic()
    with Crowd() as crowd:
        job = crowd.start(lambda: lock.write().acquire())
        while not job.done:  # others come and go
            lease = lock.read().try_acquire()
            sleep(0.02)
            if lease is not None:
                lease.release()
            assert time.monotonic() - begun < 15
        (job.result()).release()
    assert (
        0.55 <= time.monotonic() - begun < 1.6
    )  # of SAFETY, 2 s; found: a writer that was told of the last to end
    with pytest.raises(LockLost) as caught:
        crashed.release()
    assert caught.value.cause == "expired"


def test_a_stream_of_readers_does_not_starve_a_writer(hf: Holdfast):
    """found: without the intents of write.lua the writer timed out."""
    lock = rwlock(hf, "stream", ttl="20s", wait="20s")
    done: list[int] = []

    def read() -> None:
        while not done:
            with lock.read():
                sleep(0.01)

    with Crowd() as crowd:
        for _ in range(4):
            crowd.start(read)
        sleep(0.1)
        try:
            for _ in range(3):
                with rwlock(hf, "stream", wait="10s").write():
                    pass
        finally:
            done.append(1)


def test_a_stream_of_writers_does_not_starve_a_reader(hf: Holdfast):
    """While writers stand in line, a reader that waits sees one of them go before it. found: without
    `owed`."""
    lock = rwlock(hf, "writers", ttl="20s", wait="25s")
    events: list[str] = []

    def write() -> None:
        with lock.write():
            events.append("W")
            sleep(0.02)

    def read() -> None:
        with lock.read():
            events.append("r")

    with Crowd() as crowd:
        first = lock.write().acquire()
        jobs = [crowd.start(write) for _ in range(6)]
        sleep(0.2)
        for _ in range(3):
            jobs.append(crowd.start(read))
            sleep(0.15)
        begun = time.monotonic()
        first.release()
        for job in jobs:
            job.result()
    assert sorted(events[:3]) == ["r", "r", "r"], events  # they came while one was in: before all that waited
    assert time.monotonic() - begun < 1.8  # of SAFETY, 2 s; found: readers in a queue of this process


def test_a_writer_that_gives_up_lets_readers_in_at_once(hf: Holdfast):
    """found: abandon.lua that does not tell readers, or leaves the intent: they waited for SAFETY or
    PATIENCE."""
    lock = rwlock(hf, "gave up", ttl="60s", wait="20s")
    with Crowd() as crowd:
        first = lock.read().acquire()
        writer = crowd.start(lambda: lock.write().acquire(wait="700ms"))
        sleep(0.25)
        reader = crowd.start(lambda: lock.read().acquire())
        sleep(0.1)
        assert not reader.done and lock.read().try_acquire() is None
        state = lock.inspect()
        assert (state.waiting_writers, state.waiting_readers) == (1, 1)
        with pytest.raises(LockTimeout):
            writer.result()
        begun = time.monotonic()
        second = reader.result()
        assert time.monotonic() - begun < 1.0
        first.release()
        second.release()
    Crowd.until(lambda: left(hf, lock), [])


@pytest.mark.parametrize("side", ["write", "read"])
def test_one_that_crashed_while_it_waited_is_passed_over(hf: Holdfast, side: Any):
    """A writer's intent keeps readers out, a reader's claim writers; as long as somebody says that he waits.
    found: read.lua and write.lua that do not purge them.
    """
    lock, other = rwlock(hf, "dead", ttl="60s", wait="20s"), {"write": "read", "read": "write"}[side]
    inside = getattr(lock, other)().acquire()
    script, keys, args = lock._names.ask(side, "d" * 32, 60_000, "h:1:", waits=True, inside="")
    brief = (*args[:4], 600, *args[5:])  # milliseconds, in place of PATIENCE_MS
    assert (hf._wire.run(script, keys, brief))[0] == 0
    begun = time.monotonic()
    inside.release()
    lease = getattr(lock, other)().acquire()
    assert 0.4 <= time.monotonic() - begun < 1.6  # of SAFETY, 2 s
    lease.release()
    state = lock.inspect()
    assert (state.waiting_writers, state.waiting_readers) == (0, 0)


def test_who_is_in_is_not_let_wait_for_itself(hf: Holdfast):
    """found: without refuse_nesting all three waited out their time."""
    lock = rwlock(hf, "nested", wait="20s")
    for outer, inner in [("read", "write"), ("write", "read"), ("write", "write")]:
        with getattr(lock, outer)():
            begun = time.monotonic()
            with pytest.raises(LockError, match="held by this very") as caught:
                getattr(rwlock(hf, "nested", wait="20s"), inner)().acquire()
            assert not isinstance(caught.value, LockTimeout) and time.monotonic() - begun < 10
    with lock.read(), Crowd() as crowd:
        (crowd.start(lambda: lock.read().acquire()).result()).release()


def test_who_reads_may_read_once_more_although_a_writer_waits(hf: Holdfast):
    """found: without ARGV[6] of read.lua the writer waited for the first, and the second for the writer."""
    lock = rwlock(hf, "twice", wait="20s")
    with Crowd() as crowd, lock.read():
        job = crowd.start(lambda: lock.write().acquire())
        sleep(0.25)
        begun = time.monotonic()
        with lock.read(), lock.read():
            assert not job.done
        assert time.monotonic() - begun < 10
        assert crowd.start(lock.read().try_acquire).result() is None  # others wait
    (job.result()).release()


def test_all_who_have_it_are_told_when_it_is_taken_away(hf: Holdfast):
    """found: break.lua that leaves the writer's key alone: readers heard of it at a third of their ttl."""
    lock = rwlock(hf, "broken", ttl="60s")
    for side, count in [("read", 2), ("write", 1)]:
        leases = [getattr(lock, side)().acquire() for _ in range(count)]
        sleep(0.5)
        begun = time.monotonic()
        assert lock.force_release() == count
        for lease in leases:
            Crowd.until(lease.lost.is_set)
            assert lease.cause in ("vanished", "taken")
        assert time.monotonic() - begun < 10  # of a third of the ttl, 20 s
        assert left(hf, lock) == []
    assert lock.force_release() == 0


def test_readers_who_come_and_go_do_not_make_the_others_renew(
    hf: Holdfast, server, namespace: str
):
    """found: keep.lua that read the places last, so that the server tracked them."""
    lock = rwlock(hf, "quiet", ttl="60s")
    first = lock.read().acquire()
    sleep(0.6)
    before = lock.read().stats().renewals
    assert before >= 1
    with Holdfast(server.url, namespace=namespace) as second:
        for _ in range(30):
            with rwlock(second, "quiet", ttl="60s").read():
                sleep(0.01)
    assert lock.read().stats().renewals == before
    first.release()


def test_leases_of_both_sides_are_renewed(hf: Holdfast):
    """found: keep.lua without ZADD, and without PEXPIREAT: the readers' set ended although one was
    renewed."""
    for side in ("read", "write"):
        lock = rwlock(hf, f"kept {side}", ttl="1s")
        with getattr(lock, side)() as lease:
            sleep(2.5)
            lease.ensure()
            state = lock.inspect()
            assert state.reading + (state.writer is not None) == 1
            assert lock.write().try_acquire() is None
            holder = state.writer or state.readers[0]
            assert holder.fence == lease.fence and holder.ttl is not None and 0 < holder.ttl <= 1
    for key in (":f", ":r", ":h"):
        assert hf.execute("PTTL", rwlock(hf, "kept read").key + key) != -1


def test_a_renewal_never_makes_anew(hf: Holdfast):
    for side in ("read", "write"):
        lock = rwlock(hf, f"anew {side}", ttl="600ms")
        lease = getattr(lock, side)().acquire()
        hf.execute("DEL", lock.key, lock.key + ":r", lock.key + ":h")
        Crowd.until(lease.lost.is_set)
        assert lease.cause == "vanished"
        sleep(0.3)
        assert left(hf, lock) == []
        with pytest.raises(LockLost):
            lease.release()


def test_a_program_of_another_kind_keeps_all_out(hf: Holdfast):
    """SET NX with the writer's key. Nobody tells when it goes, so it is asked for."""
    lock = rwlock(hf, "foreign", wait="20s")
    hf.execute("SET", lock.key, "somebody", "PX", 60_000)
    assert lock.read().try_acquire() is None and lock.write().try_acquire() is None
    state = lock.inspect()
    assert state.writer is not None and state.writer.owner == "another program"
    with Crowd() as crowd:
        jobs = [crowd.start(lambda side=side: getattr(lock, side)().acquire()) for side in ("read", "write")]
        sleep(0.2)
        begun = time.monotonic()
        hf.execute("DEL", lock.key)
        (jobs[0].result()).release()  # it came while one was in: the writer waits for it
        (jobs[1].result()).release()
        assert time.monotonic() - begun < 1.7  # of SAFETY, 2 s


def test_nonsense_is_refused(hf: Holdfast):
    nonsense = (
        {"ttl": 0},
        {"wait": -1},
        {"max_hold": "1s", "renew": False},
        {"label": 3},
        {"on_wanted": print},
    )
    for options in (*nonsense, {"x": 1}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            rwlock(hf, "nonsense", **options)
    with pytest.raises(ConfigurationError, match="non-empty"):
        rwlock(hf, "")
