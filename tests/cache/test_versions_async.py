# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Versions: an older one never replaces a newer one, and an invalidation can keep older ones out."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import MISSING, AsyncCache, AsyncHoldfast, ConfigurationError, current_load
from tests.cache.crowd import AsyncCrowd
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_faults_async import AsyncGate

LOWEST, HIGHEST = -(1 << 63) + 1, (1 << 63) - 1
ASCENDING = [LOWEST, -(1 << 32) - 1, -(1 << 32), -(1 << 31), -256, -1, 1, 255, 256, 1 << 31, 1 << 32, HIGHEST]


class AsyncVersioned:
    """A loader of a row with a version."""

    def __init__(self, value: Any, version: int | None) -> None:
        self.value = value
        self.version = version

    async def __call__(self) -> Any:
        current_load().version = self.version
        return self.value


async def stored(cache: AsyncCache[Any], key: Any = "k") -> tuple[Any, int | None]:
    found = await cache.peek(key)
    return (found.value, found.version) if found else (MISSING, None)


@pytest.mark.everywhere
async def test_an_older_version_is_refused(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    assert await cache.set("k", "seven", version=7) is True
    assert await cache.set("k", "six", version=6) is False
    assert await cache.get("k") == "seven"
    assert cache.stats().refused == {"outdated": 1} and cache.stats().undelivered == 0
    assert await cache.set("k", "seven again", version=7) is True
    assert await cache.set("k", "eight", version=8) is True
    assert await stored(cache) == ("eight", 8)
    assert await cache.set("k", "none") is True  # who gives no version knows best
    assert await stored(cache) == ("none", None)
    assert await cache.set("k", "one", version=1) is True


async def test_versions_are_ordered_as_numbers(ahf: AsyncHoldfast):
    """All 64 bits of them, with their sign. Found with the halves compared unsigned: -1 was the newest."""
    cache = ahf.cache("users", ttl="1h")
    for place, version in enumerate(ASCENDING):
        assert await cache.set("k", version, version=version) is True
        assert await stored(cache) == (version, version)
        if place:
            assert await cache.set("k", "older", version=ASCENDING[place - 1]) is False
            assert await stored(cache) == (version, version)


@pytest.mark.parametrize("version", [0, True, 1.5, "7", 1 << 63, -(1 << 63), MISSING])
async def test_what_is_no_version(ahf: AsyncHoldfast, version: Any):
    cache = ahf.cache("users", ttl="1h")
    through = ahf.cache("prices", ttl="1h", source=AsyncTable(), write="through")
    for call in (
        lambda: cache.set("k", 1, version=version),
        lambda: cache.invalidate("k", version=version),
        lambda: through.put("k", 1, version=version),
    ):
        with pytest.raises(ConfigurationError, match="version="):
            await call()
    assert through.options.source.calls == []


async def test_an_older_load_is_refused(ahf: AsyncHoldfast):
    """The row that it has read was replaced; its reader began before, and may have it."""
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", "seven", version=7)
    await cache.expire("k")
    assert await cache.get_or_set("k", AsyncVersioned("six", 6)) == "six"
    assert cache.stats().refused == {"outdated": 1}
    assert await stored(cache) == ("seven", 7)
    assert await cache.get_or_set("k", AsyncVersioned("eight", 8)) == "eight"
    assert await stored(cache) == ("eight", 8)
    assert await cache.get("k") == "eight"


# --- invalidate(version=) -----------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_invalidate_leaves_what_is_current(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    await cache.set("old", 1, version=6)
    await cache.set("same", 2, version=7)
    await cache.set("newer", 3, version=8)
    await cache.set("none", 4)
    keys = ["old", "same", "newer", "none", "never there"]
    assert await cache.invalidate(*keys, version=7) is True
    assert await cache.get_many(keys) == {"same": 2, "newer": 3}
    for key in ("old", "never there"):
        assert await cache.set(key, "older", version=6) is False
        assert await cache.get_or_set(key, AsyncVersioned("older", 6)) == "older"
        assert await cache.get(key) is MISSING
        assert await cache.get_or_set(key, AsyncVersioned("current", 7)) == "current"
        assert await cache.get(key) == "current"


async def test_hold_keeps_out_what_a_lagging_replica_says(ahf: AsyncHoldfast, namespace: str):
    """For so long, whatever does not prove that it is new enough."""
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", "six", version=6)
    assert await cache.invalidate("k", version=7, hold="60s") is True
    assert await cache.get_or_set("k", AsyncCounting("unknown")) == "unknown"
    assert await cache.get_or_set("k", AsyncVersioned("six", 6)) == "six"
    assert await cache.get("k") is MISSING
    assert cache.stats().refused == {"outdated": 2}
    assert await ahf.execute("PEXPIRE", f"{namespace}:1:cache:users:{{k}}:v", 1) == 1

    async def held() -> Any:
        await cache.get_or_set("k", AsyncCounting("later"))
        return await cache.get("k")

    await AsyncCrowd.until(held, "later")
    await cache.invalidate("k", version=7, hold="60s")
    assert await cache.get_or_set("k", AsyncVersioned("seven", 7)) == "seven"
    assert await cache.get("k") == "seven"


async def test_a_hold_without_a_version_keeps_everything_out_that_has_none(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", "old")
    assert await cache.invalidate("k", hold="60s") is True
    assert await cache.get_or_set("k", AsyncCounting("unknown")) == "unknown"
    assert await cache.get("k") is MISSING
    assert await cache.set("k", "told") is True  # a writer's own word counts
    assert await cache.get("k") == "told"


async def test_holds_add_up(ahf: AsyncHoldfast):
    """The newer version and the stricter rule stay, in whichever order they come."""
    for first, second in ((7, 9), (9, 7)):
        cache = ahf.cache(f"users{first}", ttl="1h")
        await cache.invalidate("k", version=first, hold="60s" if first == 7 else None)
        await cache.invalidate("k", version=second, hold="60s" if second == 7 else None)
        assert await cache.set("k", "eight", version=8) is False
        assert await cache.get_or_set("k", AsyncCounting("unknown")) == "unknown"
        assert await cache.get("k") is MISSING
        assert await cache.set("k", "nine", version=9) is True


@pytest.mark.parametrize("hold", [0, -1, "never", True])
async def test_what_is_no_hold(ahf: AsyncHoldfast, hold: Any):
    cache = ahf.cache("users", ttl="1h")
    with pytest.raises(ConfigurationError, match="hold="):
        await cache.invalidate("k", hold=hold)


async def test_a_load_under_way_is_refused_by_any_invalidation(ahf: AsyncHoldfast):
    """Also by one with a version, and also if what is there stays."""
    cache, gate = ahf.cache("users", ttl="1h"), AsyncGate("loaded")
    await cache.set("k", "eight", version=8)
    await cache.expire("k")
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("k", gate))
        assert await gate.reading.wait(20)
        await cache.invalidate("k", version=7)
        gate.go.fire()
        assert await job.result() == "loaded"
    assert await stored(cache) == ("eight", 8)


async def test_an_invalidation_with_a_version_is_kept_and_delivered(
    ahf: AsyncHoldfast, faults, namespace: str
):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        cache, other = mine.cache("users", ttl="1h"), ahf.cache("users", ttl="1h")
        await cache.set("old", 1, version=6)
        await cache.set("newer", 2, version=8)
        faults.refuse()
        faults.cut()
        assert await cache.invalidate("old", "newer", version=7) is False
        assert cache.stats().undelivered == 2
        assert await cache.get("newer") is MISSING  # who knows
        faults.accept()

        async def undelivered() -> int:
            await cache.get("old")
            return cache.stats().undelivered

        await AsyncCrowd.until(undelivered, 0)
        assert [await other.get("old"), await other.get("newer")] == [MISSING, 2]
        assert await other.set("old", "older", version=6) is False


# --- put ----------------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_put_with_a_version(ahf: AsyncHoldfast):
    """The source has the last word about its rows; the cache never shows an older version than it knew."""
    table = AsyncTable()
    cache = ahf.cache("prices", ttl="1h", lease="60s", source=table, write="through")
    await cache.put("k", "seven", version=7)
    assert await stored(cache) == ("seven", 7)
    await cache.put("k", "six", version=6)
    assert await stored(cache) == (MISSING, None)
    await cache.put("k", "eight", version=8)
    assert await stored(cache) == ("eight", 8)
    assert await cache.get("k") == "eight"


async def test_l1_and_versions(ahf: AsyncHoldfast, server, namespace: str):
    """What stays after an invalidation is served from here again, once it was read anew."""
    from holdfast import L1

    cache = ahf.cache("users", ttl="1h", l1=L1())
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        other = second.cache("users", ttl="1h")
        await cache.set("k", "seven", version=7)

        async def near() -> bool:
            assert await cache.get("k") == "seven"
            return cache.stats().l1_hits > 0

        await AsyncCrowd.until(near)
        await other.invalidate("k", version=7)
        assert await cache.get("k") == "seven"
        await other.invalidate("k", version=8)
        await AsyncCrowd.until(lambda: cache.get("k"), MISSING)
