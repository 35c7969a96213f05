# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""A lock's key is a plain string: any program that does SET key token NX PX ttl excludes us, and we exclude
it.

redis-py's own Lock is such a program. It publishes nothing when it releases, so whoever waits for it asks.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis.asyncio

from holdfast import AsyncHoldfast, LockLost, LockTimeout
from holdfast._compat import asleep
from holdfast.locks.holder import FOREIGN
from tests.cache.crowd import AsyncCrowd


async def test_both_ways(ahf: AsyncHoldfast, server, namespace: str):
    """found: a key with a prefix of ours."""
    key = f"{namespace}-job"
    lock = ahf.lock("job", key=key, ttl="20s")
    assert lock.key == key
    client: Any = redis.asyncio.Redis.from_url(server.url)
    theirs = client.lock(key, timeout=20)
    async with lock as lease:
        value: Any = await ahf.execute("GET", key)
        assert value.startswith(f"{lease.token}:{lease.fence}:".encode())
        assert await theirs.acquire(blocking=False) is False
    assert await theirs.acquire(blocking=False) is True
    assert await lock.try_acquire() is None
    with pytest.raises(LockTimeout) as caught:
        await lock.acquire(wait="100ms")
    assert caught.value.holder == FOREIGN
    seen = await lock.inspect()
    assert seen is not None and seen.owner == FOREIGN and seen.ttl is not None and 10 < seen.ttl <= 20
    assert (seen.fence, seen.pid, seen.since, seen.label) == (None, None, None, "")
    await theirs.release()
    async with lock as again:
        assert again.fence > lease.fence
    await client.aclose()


async def test_who_waits_gets_it_soon_although_nobody_tells(ahf: AsyncHoldfast, server, namespace: str):
    """found: waiting for a push that never comes: the whole two seconds of SAFETY."""
    key = f"{namespace}-job"
    client: Any = redis.asyncio.Redis.from_url(server.url)
    waits = []
    for fair in (False, True, False, True):
        theirs = client.lock(key, timeout=20)
        assert await theirs.acquire()
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda fair=fair: ahf.lock("job", key=key, fair=fair).acquire(wait="20s"))
            await asleep(0.3)
            begun = time.monotonic()
            await theirs.release()
            lease = await job.result()
            waits.append(time.monotonic() - begun)
            await lease.release()
    assert max(waits) < 1.5 and min(waits) < 0.8  # a rest is at most 0.5 s
    await client.aclose()


async def test_one_without_an_end_is_waited_for(ahf: AsyncHoldfast):
    """found: a pttl of -1 taken for a time that is over: it asked without a rest."""
    lock = ahf.lock("job", wait="300ms")
    await ahf.execute("SET", lock.key, "for ever")
    before = await calls(ahf)
    with pytest.raises(LockTimeout):
        await lock.acquire()
    assert await calls(ahf) - before < 30
    seen = await lock.inspect()
    assert seen is not None and seen.ttl is None


async def test_one_that_is_no_string_is_an_error_and_not_a_grant(ahf: AsyncHoldfast):
    lock = ahf.lock("job", wait="300ms")
    await ahf.execute("HSET", lock.key, "a", "b")
    with pytest.raises(Exception, match="is no lock"):
        await lock.acquire()
    assert await ahf.execute("HGET", lock.key, "a") == b"b"


async def test_a_lease_that_another_program_overwrote_is_lost(ahf: AsyncHoldfast):
    lock = ahf.lock("job", ttl="300ms")
    with pytest.raises(LockLost) as caught:
        async with lock:
            await ahf.execute("SET", lock.key, "theirs")
            await asleep(0.5)
    assert caught.value.cause == "taken"
    assert await ahf.execute("GET", lock.key) == b"theirs"


async def calls(hf: AsyncHoldfast) -> int:
    """How many scripts the server has run."""
    reply = await hf.execute("INFO", "commandstats")
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in text.split() if "evalsha:" in line)
