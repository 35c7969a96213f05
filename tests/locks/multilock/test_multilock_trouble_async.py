# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What can go wrong with several names at once: lost replies, late requests, and several slots of a Cluster.

"found:" says what was seen when the bug was planted by hand.
"""

from __future__ import annotations

import pytest

from holdfast import AsyncHoldfast, LockTimeout
from holdfast._compat import asleep
from holdfast._coord.owner import token
from holdfast.locks.multilock import rules
from tests.cache.crowd import AsyncCrowd
from tests.locks.multilock.names import ascending, key_of
from tests.locks.multilock.test_multilock_async import is_free

# --- what gets lost on the way -----------------------------------------------------------------------------


@pytest.mark.parametrize("script", [rules.ACQUIRE, rules.RELEASE], ids=["acquire", "release"])
async def test_a_lost_reply_changes_nothing(faults, namespace: str, script):
    """found: an acquire.lua that does not know its own token waited for itself."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as hf:
        await (await hf.multilock(["a", "b"]).acquire()).release()
        faults.drop_replies(1, match=script.digest.encode())
        lease = await hf.multilock(["a", "b"], wait="10s", ttl="60s").acquire()
        lease.ensure()
        await lease.release()
        assert await is_free(hf, "a", "b")


async def test_a_repetition_that_finds_some_taken_keeps_none(ahf: AsyncHoldfast):
    """found: without giving back, `a` stayed held by nobody until its ttl."""
    lock = ahf.multilock(["a", "b"])
    (group,) = rules.groups(lock._locks, spread=False)
    ours, args = token(), (30_000, "us:1:", 60_000, "1", 0, 0)
    run = ahf._wire.run
    reply = await run(rules.ACQUIRE, group.acquire(ours), (ours, *args))
    fence = rules.granted(reply)
    assert fence and await run(rules.ACQUIRE, group.acquire(ours), (ours, *args)) == [1, fence]
    assert await ahf.lock(group.names[1]).force_release()
    again = rules.granted(await run(rules.ACQUIRE, group.acquire(ours), (ours, *args)))
    assert again and again > fence  # it was nobody's: all ours once more, and a later grant
    assert await ahf.lock(group.names[1]).force_release()
    theirs = await ahf.lock(group.names[1]).acquire()
    reply = await run(rules.ACQUIRE, group.acquire(ours), (ours, *args))
    assert rules.granted(reply) is None and reply[3] == 2
    assert await is_free(ahf, group.names[0])
    await theirs.release()


async def test_of_several_that_are_held_the_one_that_is_waited_for_is_named(ahf: AsyncHoldfast):
    """Else whoever waits for one of two that are held would go from one to the other and back."""
    lock = ahf.multilock(["a", "b"])
    (group,) = rules.groups(lock._locks, spread=False)
    theirs = await ahf.multilock(["a", "b"]).acquire()
    for waited, named in ((0, 1), (1, 1), (2, 2)):
        args = (token(), 30_000, "us:1:", 60_000, "1", 0, waited)
        assert (await ahf._wire.run(rules.ACQUIRE, group.acquire(args[0]), args))[3] == named
    await theirs.release()


async def test_a_request_that_comes_too_late_is_refused(ahf: AsyncHoldfast):
    """found: without the tomb of release.lua it took both, for nobody."""
    lock = ahf.multilock(["a", "b"])
    (group,) = rules.groups(lock._locks, spread=False)
    ours = token()
    assert await ahf._wire.run(rules.RELEASE_AGAIN, group.release(ours), (ours, 5_000)) == 0
    args = (ours, 30_000, "us:1:", 60_000, "1", 0, 0)
    assert await ahf._wire.run(rules.ACQUIRE, group.acquire(ours), args) == [-1]
    assert await is_free(ahf, "a", "b")


# --- several slots -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["cluster"])
async def test_what_was_taken_is_kept_while_the_rest_is_waited_for(ahf: AsyncHoldfast, topology: str):
    """And given back when the wait ends. found: without `leases.keep` in `__call__` the lower name ended."""
    low, high = ascending(ahf, ["a", "b"])
    theirs = await ahf.lock(high).acquire()
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: ahf.multilock(["a", "b"], ttl="500ms", wait="1500ms").acquire())
        await AsyncCrowd.until(lambda: is_free(ahf, low), False)
        value = await ahf.execute("GET", key_of(ahf, low))
        await asleep(1.0)
        assert await ahf.execute("GET", key_of(ahf, low)) == value
        with pytest.raises(LockTimeout):
            await job.result()
        await AsyncCrowd.until(lambda: is_free(ahf, low))
        # The reverse: whoever waits for the lower name holds nothing.
        await theirs.release()
        theirs = await ahf.lock(low).acquire()
        job = crowd.start(lambda: ahf.multilock(["a", "b"], wait="20s").acquire())
        await asleep(0.2)
        assert await is_free(ahf, high)
        await theirs.release()
        await (await job.result()).release()


@pytest.mark.parametrize("topology", ["cluster"])
@pytest.mark.parametrize("renew", [True, False])
async def test_what_is_lost_while_waiting_is_taken_anew(ahf: AsyncHoldfast, topology: str, renew: bool):
    """found: without the look at the parts in `_begin` it was handed out, and lost a moment later."""
    low, high = ascending(ahf, ["a", "b"])
    theirs = await ahf.lock(high, ttl="60s").acquire()
    async with AsyncCrowd() as crowd:
        lock = ahf.multilock(["a", "b"], ttl="3s", wait="20s", renew=renew)
        job = crowd.start(lock.acquire)
        await AsyncCrowd.until(lambda: is_free(ahf, low), False)
        await asleep(0.4)
        await ahf.execute("DEL", key_of(ahf, low))
        await asleep(0.4)
        await theirs.release()
        lease = await job.result()
        for name in (low, high):
            holder = await ahf.lock(name).inspect()
            assert holder is not None and holder.fence == lease.fences[name]
        lease.ensure()
        assert lease.remaining() > 1.5  # also of the lower one, and without renewal
        await lease.release()
        await AsyncCrowd.until(lambda: is_free(ahf, low, high))


@pytest.mark.parametrize("topology", ["cluster"])
async def test_without_renewal_all_parts_end_together(ahf: AsyncHoldfast, topology: str):
    """found: without `_level` the part that was renewed while waiting was renewed for ever."""
    low, high = ascending(ahf, ["a", "b"])
    theirs = await ahf.lock(high).acquire()
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: ahf.multilock(["a", "b"], ttl="900ms", wait="20s", renew=False).acquire())
        await asleep(1.2)
        await theirs.release()
        lease = await job.result()
        assert lease.remaining() > 0.4
        await AsyncCrowd.until(lease.lost.is_set)
        assert lease.cause == "expired"
        await AsyncCrowd.until(lambda: is_free(ahf, low, high))
