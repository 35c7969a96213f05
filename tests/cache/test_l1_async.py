# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a cache serves from this process's own memory, and when it no longer does."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from holdfast import L1, MISSING, AsyncCache, AsyncHoldfast
from tests.cache.crowd import AsyncCrowd
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_faults_async import AsyncGate


class Profile(msgspec.Struct):
    name: str
    tags: list[str] = []


class Fixed(msgspec.Struct, frozen=True):
    name: str


@dataclasses.dataclass
class Name:
    name: str


async def bring_near(cache: AsyncCache[Any], *keys: Any) -> None:
    """Read `keys` until they are served from here."""
    for key in keys or ("k",):

        async def hit(key: Any = key) -> bool:
            before = cache.stats().l1_hits
            await cache.get(key)
            return cache.stats().l1_hits == before + 1

        await AsyncCrowd.until(hit)


def deafen(cache: AsyncCache[Any]) -> None:
    """Have no news of changes arrive, however quick the server is: what is done here must work without."""
    near: Any = cache._store.near
    near.invalidated = lambda keys: None


# --- contracts ----------------------------------------------------------------------------------------------


async def test_what_is_read_first_is_kept(ahf: AsyncHoldfast, server: Any, namespace: str):
    """Found without the wait of the first reader: the first reads of a process were all for nothing."""
    async with AsyncHoldfast(server.url, namespace=namespace) as other:
        await other.cache("users", ttl="1m").set("k", 1)
    cache = ahf.cache("users", ttl="1m", l1=L1())
    for _ in range(10):
        assert await cache.get("k") == 1
    assert cache.stats().l1_hits == 9


@pytest.mark.everywhere
async def test_hits_cost_no_round_trip(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", l1=L1(max_staleness="1m"))
    await cache.set("k", "value")
    await bring_near(cache)
    before = cache.stats()
    assert [await cache.get("k") for _ in range(10)] == ["value"] * 10
    assert await cache.get_or_set("k", AsyncCounting("never")) == "value"
    after = cache.stats()
    assert (after.l1_hits - before.l1_hits, after.l2_hits - before.l2_hits) == (11, 0)
    assert after.l1_entries == 1 and after.l1_bytes > 56 and after.l1_bypassed == {}
    found = await cache.peek("k")
    assert found and found.layer == "l1" and found.value == "value"


@pytest.mark.everywhere
async def test_changes_by_others_are_seen(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = ahf.cache("users", ttl="1h", l1=L1()), second.cache("users", ttl="1h")

        async def delete() -> None:
            await second.execute("DEL", f"{namespace}:1:cache:users:{{k}}")

        for change, expected in (
            (lambda: other.set("k", "new"), "new"),
            (lambda: other.invalidate("k"), MISSING),
            (lambda: other.expire("k"), MISSING),
            (lambda: other.invalidate_tags("t"), MISSING),
            (lambda: other.clear(), MISSING),
            (delete, MISSING),
        ):
            await other.set("k", "old", tags=["t"])
            await AsyncCrowd.until(lambda: cache.get("k"), "old")
            await bring_near(cache)
            await change()
            await AsyncCrowd.until(lambda: cache.get("k"), expected)


@pytest.mark.parametrize(
    "event",
    ["set", "set_many", "invalidate", "versioned", "expire", "clear", "invalidate_tags", "switch_off"],
)
async def test_its_own_changes_are_seen_at_once(ahf: AsyncHoldfast, event: str):
    """Found without `forget_all` in `clear`: until the news came, this process served what it had cleared."""
    cache = ahf.cache("users", ttl="1h", l1=L1())
    await cache.set("k", "old", tags=["t"])
    await bring_near(cache)
    deafen(cache)
    if event == "versioned":
        await cache.invalidate("k", version=7)
    elif event == "set_many":
        await cache.set_many({"k": "new"})
    else:
        arguments = {"set": ["k", "new"], "clear": [], "switch_off": [], "invalidate_tags": ["t"]}
        await getattr(cache, event)(*arguments.get(event, ["k"]))
    assert await cache.get("k") == ("new" if event in {"set", "set_many"} else MISSING)


@pytest.mark.parametrize("event", ["put", "remove"])
async def test_its_own_puts_are_seen_at_once(ahf: AsyncHoldfast, event: str):
    table = AsyncTable()
    cache = ahf.cache("prices", ttl="1h", l1=L1(), source=table, write="through")
    await cache.put("k", "old")
    await bring_near(cache)
    deafen(cache)
    await getattr(cache, event)("k", *(["new"] if event == "put" else []))
    assert await cache.get("k") == ("new" if event == "put" else MISSING)


async def test_its_own_refresh_is_seen_at_once(ahf: AsyncHoldfast):
    """Found: the value of before it, until the news had come back."""
    cache = ahf.cache("users", ttl="1h", l1=L1())
    calls = AsyncCounting()

    @cache.cached("k")
    async def count() -> int:
        await calls()
        return calls.calls

    assert await count() == 1

    async def hit() -> bool:
        before = cache.stats().l1_hits
        assert await count() == 1
        return cache.stats().l1_hits > before

    await AsyncCrowd.until(hit)
    deafen(cache)
    assert await count.refresh() == 2
    assert await count() == 2


async def test_flushall(own_server):
    async with AsyncHoldfast(own_server.url) as client:
        cache = client.cache("users", ttl="1h", l1=L1())
        await cache.set("k", "old")
        await bring_near(cache)
        await client.execute("FLUSHALL")
        await AsyncCrowd.until(lambda: cache.get("k"), MISSING)
        assert cache.stats().l1_entries == 0 and cache.stats().l1_resets > 0


# --- isolation ----------------------------------------------------------------------------------------------

VALUES = [({"a": [1]}, Any), ([[1]], Any), (Profile("x", ["y"]), Profile), (Name("x"), Name)]


def spoil(value: Any) -> None:
    """Change `value` in every way."""
    if isinstance(value, dict):
        value["a"].append(2)
        value["b"] = 3
    elif isinstance(value, list):
        value[0].append(2)
        value.clear()
    elif isinstance(value, Profile):
        value.tags.append("z")
        value.name = "spoiled"
    else:
        value.name = "spoiled"


@pytest.mark.parametrize(("value", "kind"), VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("isolation", ["auto", "encode", "copy"])
async def test_nobody_changes_what_others_get(ahf: AsyncHoldfast, isolation: Any, value: Any, kind: Any):
    """Found with "copy": who read it first had the very object that all later copies were made of."""
    cache = ahf.cache("users", ttl="1h", type=kind, l1=L1(isolation=isolation))
    await cache.set("k", value)
    for _ in range(2):
        while cache.stats().l1_hits < 2:
            got = await cache.get("k")
            assert got == value and got is not value
            spoil(got)
            many = await cache.get_many(["k"])
            assert many == {"k": value}
            spoil(many["k"])


@pytest.mark.parametrize("value", ["text", 7, (1, "a"), Fixed("x"), None, b"x" * 100])
async def test_auto_shares_what_cannot_be_changed(ahf: AsyncHoldfast, value: Any):
    cache = ahf.cache("users", ttl="1h", type=type(value) if value is not None else Any, l1=L1())
    await cache.set("k", value)
    await bring_near(cache)
    assert await cache.get("k") == value
    assert await cache.get("k") is await cache.get("k")


async def test_share_shares(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", l1=L1(isolation="share"))
    await cache.set("k", {"a": 1})
    await bring_near(cache)
    assert await cache.get("k") is await cache.get("k")


async def test_two_shapes_under_one_key(ahf: AsyncHoldfast):
    """A function sees its own type, whoever read the entry before it."""
    cache = ahf.cache("users", ttl="1h", l1=L1())

    @cache.cached("k")
    async def profile() -> Profile:
        return Profile("loaded")

    await cache.set("k", {"name": "x", "tags": []})
    for _ in range(10):
        assert await cache.get("k") == {"name": "x", "tags": []}
        assert await profile() == Profile("x")
        assert await profile.many([()]) == {(): Profile("x")}
    await cache.invalidate("k")
    assert await profile() == Profile("loaded")
    assert await cache.get("k") == {"name": "loaded", "tags": []}


async def test_variants_of_sealed_values(ahf: AsyncHoldfast, server, namespace: str):
    """Two releases with types that cannot read each other, and a cipher bound to the key.

    Found: a copy of a variant was opened under the name of the entry, so that a hit raised CodecError.
    """

    class Seal:
        def encrypt(self, data: bytes, associated: bytes) -> bytes:
            return len(associated).to_bytes(2, "big") + associated + data[::-1]

        def decrypt(self, data: bytes, associated: bytes) -> bytes:
            size = int.from_bytes(data[:2], "big")
            assert data[2 : 2 + size] == associated
            return data[2 + size :][::-1]

    seal = Seal()
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        older = ahf.cache("users", ttl="1h", type=dict[str, list[int]], cipher=seal)
        newer = second.cache("users", ttl="1h", type=Profile, cipher=seal, l1=L1())
        await older.set("k", {"name": [1]})
        assert await newer.get_or_set("k", AsyncCounting(Profile("x"))) == Profile("x")
        await bring_near(newer)
        assert await newer.get("k") == Profile("x")
        assert await older.get("k") == {"name": [1]}
        await older.invalidate("k")
        await AsyncCrowd.until(lambda: newer.get("k"), MISSING)


# --- bounds -------------------------------------------------------------------------------------------------


async def test_max_entries(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", l1=L1(max_entries=5))
    await cache.set_many({key: key for key in range(20)})
    await bring_near(cache, 0)
    for key in range(20):
        assert await cache.get(key) == key
    stats = cache.stats()
    assert stats.l1_entries == 5 and stats.l1_evictions > 0


async def test_max_bytes(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", l1=L1(max_bytes="4KiB"))
    await cache.set_many(dict.fromkeys(range(20), "x" * 500))
    await cache.set("huge", "x" * 5000)
    await bring_near(cache, 0)
    for key in [*range(20), "huge", "huge"]:
        assert "xxx" in await cache.get(key, "")
    assert 0 < cache.stats().l1_bytes <= 4096


async def test_a_copy_ends_with_its_ttl(ahf: AsyncHoldfast):
    """And without a `stale=` the reader gets nothing older."""
    cache = ahf.cache("users", ttl="1h", jitter=0, l1=L1())
    await cache.set("warm", 1)
    await bring_near(cache, "warm")
    await cache.set("k", "old", ttl="80ms")
    await cache.get("k")
    await AsyncCrowd.until(lambda: cache.get("k"), MISSING)


async def test_a_copy_ends_with_its_ttl_and_not_with_its_grace(ahf: AsyncHoldfast):
    cache, loader = ahf.cache("users", ttl="1h", stale="30s", jitter=0, l1=L1()), AsyncCounting("new")
    await cache.set("warm", 1)
    await bring_near(cache, "warm")
    await cache.set("k", "old", ttl="80ms")
    await cache.get("k")
    await AsyncCrowd.until(lambda: cache.get("k"), MISSING)
    assert await cache.get_or_set("k", loader) == "old"
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    await bring_near(cache)
    assert loader.calls == 1


async def test_absence_is_kept_as_well(ahf: AsyncHoldfast):
    cache, loader = ahf.cache("users", ttl="1h", negative_ttl="1h", l1=L1()), AsyncCounting(MISSING)
    assert await cache.get_or_set("k", loader) is MISSING
    await bring_near(cache)
    assert await cache.get("k", "default") == "default"
    assert await cache.get_many(["k"]) == {}
    assert await cache.get_or_set("k", loader) is MISSING and loader.calls == 1
    await cache.set("k", 1)
    assert await cache.get("k") == 1


async def test_max_staleness_of_zero_keeps_nothing(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", l1=L1(max_staleness=0))
    await cache.set("k", 1)
    assert [await cache.get("k") for _ in range(20)] == [1] * 20
    stats = cache.stats()
    assert (stats.l1_hits, stats.l1_entries, stats.l2_hits) == (0, 0, 20)


async def test_nothing_is_served_that_is_not_proved(ahf: AsyncHoldfast, faults, namespace: str):
    """The connection is silent: copies are served for `max_staleness`, no longer."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="100ms") as mine:
        cache, other = (
            mine.cache("users", ttl="1h", l1=L1(max_staleness="200ms")),
            ahf.cache("users", ttl="1h"),
        )
        await cache.set("k", "old")
        await bring_near(cache)
        faults.blackhole()
        assert await other.invalidate("k") is True

        async def loaded() -> Any:
            return await cache.get_or_set("k", AsyncCounting("loaded"))

        await AsyncCrowd.until(loaded, "loaded")
        hits = cache.stats().l1_hits
        assert [await loaded() for _ in range(3)] == ["loaded"] * 3
        assert cache.stats().l1_hits == hits
        assert "outdated" in cache.stats().l1_bypassed  # before anybody has noticed why
        faults.heal()
        await AsyncCrowd.until(lambda: other.get("k") if not cache.stats().undelivered else None, MISSING)


@pytest.mark.everywhere
async def test_tags_and_copies(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    """A tag that changes ends all copies that have it, and no other."""
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = ahf.cache("users", ttl="1h", l1=L1()), second.cache("users", ttl="1h")
        for key, tags in (("a", ["t"]), ("b", ["t", "u"]), ("c", ["u"]), ("d", [])):
            await other.set(key, key, tags=tags)
        await bring_near(cache, *"abcd")
        await other.invalidate_tags("t")
        await AsyncCrowd.until(lambda: cache.get_many("abcd"), {"c": "c", "d": "d"})
        await other.set("a", "new", tags=["t"])
        await AsyncCrowd.until(lambda: cache.get("a"), "new")
        await bring_near(cache, "a", "c", "d")
        await cache.invalidate_tags("t", "u")
        assert await cache.get_many("abcd") == {"d": "d"}


async def test_what_was_read_before_a_change_is_not_kept(ahf: AsyncHoldfast, server, namespace: str):
    """A reply that is slower than the news. Found without the tickets: the older value was kept."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        cache, other = ahf.cache("users", ttl="1h", l1=L1()), second.cache("users", ttl="1h")
        await cache.set("warm", 1)
        await bring_near(cache, "warm")
        await other.set("k", "old")
        near: Any = cache._store.near
        read, gate = cache._store.timed_read, AsyncGate()

        async def slow(*args: Any) -> Any:
            answer = await read(*args)
            await gate()
            return answer

        cache._store.timed_read = slow  # type: ignore[assignment]
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: cache.get("k"))
            assert await gate.reading.wait(20)
            cache._store.timed_read = read  # type: ignore[method-assign]
            await other.set("k", "new")
            await AsyncCrowd.until(
                lambda: len(near._pending), 0
            )  # a count would take the news of "old" for it
            gate.go.fire()
            assert await job.result() == "old"  # it asked before
        assert await cache.get("k") == "new"


async def test_off_by_the_environment(server, namespace: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_CACHE_OFF", "users")
    async with AsyncHoldfast(server.url, namespace=namespace) as client:
        cache, loader = client.cache("users", ttl="1h", stale="1h", l1=L1()), AsyncCounting(1)

        async def load_many(keys: list[Any]) -> dict[Any, Any]:
            return {"k": 2}

        assert [await cache.get_or_set("k", loader) for _ in range(3)] == [1, 1, 1]
        assert await cache.get_or_set_many(["k"], load_many) == {"k": 2}
        assert loader.calls == 3 and cache.stats().l1_entries == 0
