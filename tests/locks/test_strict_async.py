# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Strict fences: granted only where it is certain that the fence grows.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import pytest

from holdfast import AsyncHoldfast, Closed, FenceHistoryLost
from holdfast._compat import asleep
from tests.cache.crowd import AsyncCrowd


@pytest.mark.parametrize("fair", [False, True])
async def test_nothing_is_granted_where_the_history_is_gone(ahf: AsyncHoldfast, fair: bool):
    """found: a counter that is gone taken for 0; each of the two keys has to be there."""
    lock = ahf.lock("x", fence="strict", fair=fair)
    names = lock._names
    with pytest.raises(FenceHistoryLost, match="begin_fences"):
        await lock.acquire()
    fences = []
    for lost in (names.fence, names.history):
        await lock.begin_fences(above=7)
        for _ in range(2):
            async with lock as lease:
                fences.append(lease.fence)
        await ahf.execute("DEL", lost)
        for ask in (lock.acquire, lock.try_acquire):
            with pytest.raises(FenceHistoryLost) as caught:
                await ask()
            assert caught.value.name == "x"
        assert await lock.inspect() is None
    assert fences == sorted(set(fences)) and fences[0] > 7
    await AsyncCrowd.until(lambda: ahf._wire.hub.undelivered(), 0)
    assert await ahf.execute("EXISTS", names.key, names.queue) == 0


async def test_the_history_has_no_end_and_begins_no_lower(ahf: AsyncHoldfast):
    """found: begin.lua that sets what it is told, even if that is less."""
    lock = ahf.lock("x", fence="strict")
    above = 2**52
    await lock.begin_fences(above=above)
    await lock.begin_fences(above=3)
    async with lock as lease:
        assert lease.fence > above
    assert await ahf.execute("PTTL", lock._names.fence) == -1
    assert await ahf.execute("PTTL", lock._names.history) == -1


async def test_another_server_is_not_believed(own_server, namespace: str):
    """It has the same data, and starts anew: is that all? Nobody knows. found: no look at who it is."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as hf:
        lock = hf.lock("x", fence="strict")
        await lock.begin_fences()
        async with lock:
            pass
        await hf.execute("SAVE")
        own_server.kill()
        own_server.restart()
        with pytest.raises(FenceHistoryLost):
            await lock.acquire(wait="20s")
        async with hf.lock("x", wait="20s"):  # the other kind does not ask
            pass


async def test_a_server_that_does_not_tell_who_it_is_grants_nothing(own_server, namespace: str):
    """found: a refused INFO taken for an answer."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as admin:
        await admin.lock("x", fence="strict").begin_fences()
        await admin.execute("ACL", "SETUSER", "poor", "on", ">pw", "~*", "&*", "+@all", "-info")
        url = own_server.url.split("@")[-1]
        async with AsyncHoldfast(f"redis://poor:pw@{url}", namespace=namespace) as poor:
            with pytest.raises(FenceHistoryLost):
                await poor.lock("x", fence="strict").acquire()
            with pytest.raises(FenceHistoryLost, match="does not tell"):
                await poor.lock("y", fence="strict").begin_fences()


@pytest.mark.parametrize("fair", [False, True])
async def test_who_waits_is_told_that_the_client_was_closed(
    server, ahf: AsyncHoldfast, namespace: str, fair: bool
):
    """found: nobody woke it: it slept for SAFETY, or for ever."""
    lease = await ahf.lock("x").acquire()
    mine = AsyncHoldfast(server.url, namespace=namespace)
    async with AsyncCrowd() as crowd:
        jobs = [crowd.start(lambda: mine.lock("x", fair=fair).acquire(wait="30s")) for _ in range(3)]
        await AsyncCrowd.until(lambda: mine.lock("x").stats().waiting == 3)
        await asleep(0.1)
        await mine.close(drain=1)
        for job in jobs:
            with pytest.raises(Closed):
                await job.result()
    await lease.release()
    await (await ahf.lock("x").acquire(wait="1s")).release()
