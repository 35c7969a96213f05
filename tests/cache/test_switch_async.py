# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Off and on for the whole fleet, by one call of one process."""

from __future__ import annotations

import pytest

from holdfast import L1, MISSING, AsyncHoldfast, Unavailable
from tests.cache.crowd import AsyncCrowd, Observer
from tests.cache.test_bulk_async import AsyncRows, rows
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_faults_async import AsyncGate
from tests.cache.test_l1_async import bring_near


@pytest.mark.everywhere
async def test_off_and_on(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    """Found without OFF in `unpacked`: what was filled before was served on."""
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = ahf.cache("users", ttl="1h"), second.cache("users", ttl="1h")
        loader = AsyncCounting("loaded")
        for key in range(20):
            await cache.set(key, "before")
        assert await other.get(1) == "before"
        await cache.switch_off()
        for one in (cache, other):
            assert await one.get(1) is MISSING
            assert [await one.get_or_set(1, loader) for _ in range(2)] == ["loaded", "loaded"]
            assert await one.get_or_set_many([1, 2], AsyncRows()) == rows(1, 2)
            await one.set(3, "meanwhile")
            await one.set("s", "meanwhile")
            assert await ahf.execute("EXISTS", f"{namespace}:1:cache:users:{{s}}") == 0
            assert await one.get_many([1, 2, 3]) == {}
            assert one.stats().fills == 0
        assert loader.calls == 4
        await other.switch_on()
        for one in (cache, other):
            assert await one.get_many(range(20)) == {}
        assert await cache.get_or_set(1, loader) == await other.get(1) == "loaded"
        assert loader.calls == 5


async def test_other_caches_stay_on(ahf: AsyncHoldfast):
    cache, other = ahf.cache("users", ttl="1h"), ahf.cache("other", ttl="1h")
    await other.set("k", 1)
    await cache.switch_off()
    assert await other.get("k") == 1


@pytest.mark.everywhere
async def test_copies_of_others_go_as_well(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = ahf.cache("users", ttl="1h", l1=L1()), second.cache("users", ttl="1h")
        await cache.set("k", "before")
        await bring_near(cache)
        await other.switch_off()
        await AsyncCrowd.until(lambda: cache.get("k"), MISSING)
        assert cache.stats().l1_entries == 0
        await other.switch_on()
        assert await cache.get_or_set("k", AsyncCounting("new")) == "new"
        await bring_near(cache)


async def test_a_load_under_way_is_not_stored(ahf: AsyncHoldfast, server, namespace: str):
    """Neither into the cache that is off, nor into the one that is on again."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        cache, other, gate = ahf.cache("users", ttl="1h"), second.cache("users", ttl="1h"), AsyncGate("old")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert await gate.reading.wait(20)
            await other.switch_off()
            await other.switch_on()
            gate.go.fire()
            assert await job.result() == "old"
        assert await cache.get("k") is MISSING


async def test_off_survives_an_eviction_and_a_clear(ahf: AsyncHoldfast, namespace: str):
    """The epochs say it to every reader; should they go, the switch says it again."""
    watcher = Observer()
    ahf.observers.add(watcher)
    cache, loader = ahf.cache("users", ttl="1h"), AsyncCounting("loaded")
    await cache.switch_off()
    keys = [key for key in await ahf.execute("KEYS", f"{namespace}:1:cache:users:*") if key.endswith(b":e")]
    assert len(keys) == 16 and await ahf.execute("DEL", *keys) == 16
    for _ in range(2):
        assert await cache.get_or_set("k", loader) == "loaded"
        assert await cache.get("k") is MISSING
        await cache.clear()
    assert loader.calls == 2
    assert "CacheBypassed" in watcher.names()
    await cache.switch_on()
    assert await cache.get_or_set("k", loader) == await cache.get("k") == "loaded"


async def test_invalidations_and_puts_go_on(ahf: AsyncHoldfast):
    table = AsyncTable()
    cache = ahf.cache("prices", ttl="1h", source=table, write="through")
    await cache.switch_off()
    await cache.put("k", 1)
    assert await cache.invalidate("k") is True and await cache.invalidate_tags("t") is True
    assert await cache.expire("k") is True
    assert await cache.get("k") == 1
    await cache.put("k", 2)
    assert await cache.get("k") == 2 == table.rows["k"]
    assert cache.stats().undelivered == 0
    assert await cache.peek("k") is MISSING
    await cache.switch_on()
    assert await cache.get("k") == 2


async def test_off_with_a_grace_serves_nothing_stale(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", stale="1h", jitter=0)
    await cache.set("k", "old", ttl="1ms")
    await cache.switch_off()
    assert await cache.get_or_set("k", AsyncCounting("new")) == "new"
    with pytest.raises(OSError, match="gone"):
        await cache.get_or_set("k", AsyncCounting(OSError("gone")))


async def test_a_switch_that_cannot_be_confirmed_says_so(ahf: AsyncHoldfast, faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="100ms") as mine:
        cache = mine.cache("users", ttl="1h", timeout="100ms")
        faults.refuse()
        faults.cut()
        with pytest.raises(Unavailable):
            await cache.switch_off()
        with pytest.raises(Unavailable):
            await cache.switch_on()


async def test_max_loads_while_it_is_off(ahf: AsyncHoldfast):
    """What protects the database then: so many loads at once, and one per key."""
    cache, gate = ahf.cache("users", ttl="1h", max_loads=3), AsyncGate("value")
    await cache.switch_off()
    keys = iter(range(100))
    async with AsyncCrowd() as crowd:
        jobs = [crowd.start(lambda: cache.get_or_set(next(keys) % 10, gate)) for _ in range(20)]
        await AsyncCrowd.until(lambda: gate.now, 3)
        await crowd.settle()
        gate.go.fire()
        assert [await job.result() for job in jobs] == ["value"] * 20
    assert gate.most == 3
