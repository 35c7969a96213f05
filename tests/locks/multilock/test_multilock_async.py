# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Several names at once. "found:" says what was seen when the bug was planted by hand."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from holdfast import (
    AsyncHoldfast,
    ConfigurationError,
    LockError,
    LockLost,
    LockTimeout,
)
from holdfast._compat import asleep
from holdfast.locks.multilock import rules
from tests.cache.crowd import AsyncCrowd
from tests.locks.multilock.names import ascending, key_of, neighbours

SOON = 1.0  # seconds; of the 2 s after which a waiter asks although he heard nothing


async def is_free(hf: AsyncHoldfast, *names: str) -> bool:
    """Is nobody's any of `names`?"""
    return not any([await hf.execute("EXISTS", key_of(hf, name)) for name in names])  # noqa: C419, RUF100


# --- everywhere --------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_it_excludes_the_locks_of_its_names_and_they_exclude_it(
    ahf: AsyncHoldfast, place, namespace: str, transport: str
):
    """In slots of their own and in a shared one; with fences, guards and a hand-over."""
    names = ["b", "a", "c", neighbours(ahf, "a"), "a"]
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        before = {name: await second.lock(name).acquire() for name in dict.fromkeys(names)}
        for one in before.values():
            assert await ahf.multilock(names).try_acquire() is None
            await one.release()
        lock = ahf.multilock(names, ttl="20s", label="us")
        async with lock as lease:
            assert sorted(lease.fences) == sorted(set(names))
            assert all(lease.fences[name] > before[name].fence for name in names)
            assert lease.fence == max(lease.fences.values())
            assert 15 < lease.remaining() < 20
            lease.ensure()
            for name in names:
                assert await second.lock(name).try_acquire() is None
                assert await second.multilock([name, "z"]).try_acquire() is None
                guard: Any = lease.of(name)
                async with ahf.transaction(guard=guard) as tx:
                    tx.set(guard.key("total"), 1)
            await AsyncCrowd.until(lambda: is_free(ahf, "z"))
            assert {one.label for one in (await lock.inspect()).values() if one is not None} == {"us"}
            async with AsyncCrowd() as crowd:
                job = crowd.start(lambda: second.lock("c", wait="20s").acquire())
                await asleep(0.3)
                begun = time.monotonic()
                await lease.release()
                theirs = await job.result()
                assert time.monotonic() - begun < SOON
        assert theirs.fence > lease.fences["c"]
        await theirs.release()
        assert await is_free(ahf, *names)
        assert set((await lock.inspect()).values()) == {None}


@pytest.mark.everywhere
async def test_nobody_waits_for_ever_whoever_wants_what_in_whatever_order(
    ahf: AsyncHoldfast, place, namespace: str, transport: str
):
    """found: with the names of every second caller in descending order, all timed out in a Cluster."""
    inside: Counter[str] = Counter()
    fences: dict[str, list[int]] = {}
    names, dice = list("abcde"), random.Random(11)
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:

        async def work(hf: AsyncHoldfast, wanted: list[str]) -> None:
            lock: Any = (
                hf.multilock(wanted, wait="25s") if len(wanted) > 1 else hf.lock(wanted[0], wait="25s")
            )
            async with lock as lease:
                inside.update(wanted)
                assert max(inside.values()) == 1
                for name in wanted:
                    fence = lease.fences[name] if len(wanted) > 1 else lease.fence
                    fences.setdefault(name, []).append(fence)
                await asleep(0.001)
                inside.subtract(wanted)

        async with AsyncCrowd() as crowd:
            chosen = [dice.sample(names, dice.randint(1, 4)) for _ in range(40)]
            jobs = [
                crowd.start(lambda hf=(ahf, second)[turn % 2], wanted=wanted: work(hf, wanted))
                for turn, wanted in enumerate(chosen)
            ]
            for job in jobs:
                await job.result()
    assert all(told == sorted(set(told)) for told in fences.values())
    assert await is_free(ahf, *names)


# --- having it ---------------------------------------------------------------------------------------------


async def test_one_server_is_asked_once(faults, namespace: str):
    """Three names, one script for all; and one to give them back."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as hf:
        await (await hf.multilock(["a", "b", "c"]).acquire()).release()
        faults.reset_counts()
        lease = await hf.multilock(["c", "b", "a"]).acquire()
        assert len(faults.commands("EVALSHA")) == 1 == len(set(lease.fences.values()))
        await lease.release()
        asked = faults.commands("EVALSHA")
        digests = {rules.ACQUIRE.digest, rules.RELEASE.digest}
        assert {command[1].decode() for command in asked} == digests and len(asked) == 2


async def test_all_or_nothing(ahf: AsyncHoldfast):
    """found: with a busy name that is only skipped, `a` and `b` were held while `c` was waited for."""
    theirs = await ahf.lock("c").acquire()
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: ahf.multilock(["a", "b", "c"], wait="20s").acquire())
        await asleep(0.2)
        for name in ("a", "b"):
            async with ahf.lock(name, wait=0):
                pass
        await theirs.release()
        lease = await job.result()
    assert not await is_free(ahf, "a") and not await is_free(ahf, "b") and not await is_free(ahf, "c")
    await lease.release()


async def test_whoever_waits_is_woken_by_the_name_that_was_held(ahf: AsyncHoldfast, server, namespace: str):
    """Also by the second one, which is found held after the first was freed.

    found: waiting on the channel of the first name only, it took the 2 s of SAFETY.
    """
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        names = ascending(ahf, ["a", "b", "c"])
        held = [await second.lock(name, ttl="60s").acquire() for name in names]
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: ahf.multilock(names, wait="20s").acquire())
            for lease in held:
                await asleep(0.3)
                begun = time.monotonic()
                await lease.release()
            ours = await job.result()
            assert time.monotonic() - begun < SOON
        await ours.release()


async def test_a_waiter_of_this_process_is_not_left_behind(ahf: AsyncHoldfast, server, namespace: str):
    """Who waits for `a` and finds `b` held leaves the queue of `a`; the next one there must be told that it
    is free. found: with _Elsewhere returned instead of raised, the queue took `a` for ours: 2 s.
    """
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        first, other = ascending(ahf, ["a", "b"])
        low, high = (
            await second.lock(first, ttl="60s").acquire(),
            await second.lock(other, ttl="60s").acquire(),
        )
        async with AsyncCrowd() as crowd:
            both = crowd.start(lambda: ahf.multilock(["a", "b"], wait="20s").acquire())
            await asleep(0.2)
            one = crowd.start(lambda: ahf.lock(first, wait="20s").acquire())
            await asleep(0.3)
            begun = time.monotonic()
            await low.release()
            lease = await one.result()
            assert time.monotonic() - begun < SOON
            await high.release()
            await lease.release()
            await (await both.result()).release()


async def test_the_wait_ends_and_says_who_has_what(ahf: AsyncHoldfast):
    theirs = await ahf.lock("b", label="them").acquire()
    begun = time.monotonic()
    with pytest.raises(LockTimeout, match="'b' was not acquired within the wait") as caught:
        await ahf.multilock(["a", "b"], wait="200ms").acquire()
    assert 0.2 <= time.monotonic() - begun < 0.2 + SOON
    assert caught.value.name == "b" and caught.value.holder.endswith(":them")
    await theirs.release()


async def test_nested_use_is_refused_at_once(ahf: AsyncHoldfast):
    """found: with only the first name entered, the lock of the second waited for itself."""
    async with ahf.multilock(["a", "b"]):
        for name in ("a", "b"):
            with pytest.raises(LockError, match=f"lock '{name}' is held by this very task") as caught:
                await ahf.lock(name).acquire()
            assert not isinstance(caught.value, LockTimeout)
            with pytest.raises(LockError, match="this very task"):
                await ahf.multilock([name, "c"]).acquire()
    async with ahf.lock("b"):
        with pytest.raises(LockError, match="this very task"):
            await ahf.multilock(["a", "b"]).acquire()
    async with ahf.multilock(["a", "b"]):
        pass


@pytest.mark.parametrize("names", ["ab", [], ["a", ""], ["a", 1], [f"n{place}" for place in range(1001)]])
async def test_names_that_are_none_are_refused(ahf: AsyncHoldfast, names):
    with pytest.raises(ConfigurationError, match="multilock"):
        ahf.multilock(names)


async def test_options_are_those_of_a_lock(ahf: AsyncHoldfast):
    with pytest.raises(ConfigurationError, match="fair"):
        ahf.multilock(["a"], fair=True)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="ttl=0"):
        ahf.multilock(["a"], ttl=0)


async def test_a_fence_is_above_every_earlier_one_of_any_of_its_names(ahf: AsyncHoldfast):
    """Also where the clock has not moved on, or went back. found: with the clock alone it went back."""
    far = 9_000_000_000_000_000  # microseconds: in the year 2255, and below 2 ** 53
    await ahf.execute("SET", ahf.lock("b")._names.fence, far)
    async with ahf.multilock(["a", "b"]) as lease:
        assert lease.fences == {"a": far + 1, "b": far + 1} and lease.fence == far + 1
    async with ahf.lock("a") as single:
        assert single.fence == far + 2


# --- losing it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["single", "cluster"])
async def test_it_is_lost_with_the_first_of_its_names(ahf: AsyncHoldfast, topology: str):
    """And what is still ours of it is given back at the end. found: with a keep.lua that answers for the
    first name only, nothing was noticed.
    """
    told: list[str] = []
    lock = ahf.multilock(["a", "b", "c"], ttl="20s", on_lost=lambda lease: told.append(lease.cause))
    begun = time.monotonic()
    lease = await lock.acquire()
    await asleep(0.4)  # until it is tracked
    await ahf.execute("DEL", key_of(ahf, "b"))
    await AsyncCrowd.until(lease.lost.is_set)
    assert time.monotonic() - begun < 5  # of a third of the ttl
    assert lease.cause == "vanished" and lease.remaining() == 0.0
    assert not await is_free(ahf, "a") and not await is_free(ahf, "c")
    with pytest.raises(LockLost):
        lease.ensure()
    with pytest.raises(LockLost) as caught:
        await lease.release()
    assert caught.value.cause == "vanished" and told == ["vanished"]
    assert await is_free(ahf, "a", "b", "c")


async def test_the_body_ends_when_one_name_is_lost(ahf: AsyncHoldfast):
    lock = ahf.multilock(["a", "b"], ttl="20s")
    with pytest.raises(LockLost) as caught:
        async with lock as lease:
            await asleep(0.4)
            await ahf.execute("DEL", key_of(ahf, "b"))
            await AsyncCrowd.until(lease.lost.is_set)  # a task is cancelled here, a thread goes on
            lease.ensure()
    assert caught.value.cause == "vanished"
    assert await is_free(ahf, "a", "b")


async def test_somebody_else_in_one_of_the_names_is_found_at_the_end(ahf: AsyncHoldfast):
    """The release says it, where the renewal had no time to. What is his stays his."""
    lease = await ahf.multilock(["a", "b"], ttl="60s").acquire()
    assert await ahf.lock("b").force_release()
    theirs = await ahf.lock("b").acquire()
    with pytest.raises(LockLost):
        await lease.release()
    assert await is_free(ahf, "a")
    theirs.ensure()
    await theirs.release()


async def test_it_is_held_for_max_hold_at_most(ahf: AsyncHoldfast):
    """found: with parts that are renewed on, the names were not free for others while the body hung."""
    lease = await ahf.multilock(["a", "b"], ttl="300ms", max_hold="700ms").acquire()
    begun = time.monotonic()
    await AsyncCrowd.until(lease.lost.is_set)
    assert 0.6 < time.monotonic() - begun < 0.7 + SOON
    assert lease.cause == "max_hold"
    theirs = await ahf.multilock(["b", "a"], wait="5s").acquire()
    await theirs.release()
    with pytest.raises(LockLost):
        await lease.release()


async def test_it_is_renewed_and_without_renewal_it_ends(ahf: AsyncHoldfast):
    async with ahf.multilock(["a", "b"], ttl="300ms") as lease:
        await asleep(1.0)
        lease.ensure()
        assert not await is_free(ahf, "a") and not await is_free(ahf, "b")
    short = await ahf.multilock(["a", "b"], ttl="300ms", renew=False).acquire()
    await AsyncCrowd.until(short.lost.is_set)
    assert short.cause == "expired"
    await AsyncCrowd.until(lambda: is_free(ahf, "a", "b"))


async def test_somebody_may_ask_for_one_of_the_names(ahf: AsyncHoldfast):
    async with ahf.multilock(["a", "b"], ttl="600ms") as lease:
        await asleep(0.3)
        assert await ahf.lock("b").request_release("please")
        await AsyncCrowd.until(lease.wanted.is_set)


async def test_a_lease_that_was_given_back_is_not_ours(ahf: AsyncHoldfast):
    lease: Any = await ahf.multilock(["a", "b"]).acquire()
    await lease.release()
    await lease.release()
    with pytest.raises(LockLost, match="given back"):
        lease.ensure()
    with pytest.raises(ConfigurationError, match="one name"):
        ahf.transaction(guard=lease)
    with pytest.raises(ConfigurationError, match="no name 'z'"):
        lease.of("z")
