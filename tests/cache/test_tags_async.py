# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Tags: whatever is done with them, what was invalidated is not served again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast import MISSING, AsyncHoldfast, ConfigurationError, current_load
from holdfast.cache.rules import GUARDED_LOADS
from holdfast.cache.tags import shard
from tests.cache.crowd import AsyncCrowd
from tests.cache.test_cache_async import AsyncCounting
from tests.cache.test_faults_async import AsyncGate

ODD = ["a b", "{x}", "a:b", "ü", "%", "a%20b", "\n\t", "*", "t" * 1024, "}", "\x00", "\u2028", "#3"]


class Account(msgspec.Struct):
    id: int
    org_id: int


# --- any of them --------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_any_of_them(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    assert await cache.set("a", 1, tags=["x", "y"]) is True
    assert await cache.get_or_set("b", AsyncCounting(2), tags=["y", "z"]) == 2
    assert await cache.set_many({"c": 3, "d": 4}, tags=["z"]) is True
    await cache.set("plain", 5)
    keys = ["a", "b", "c", "d", "plain"]
    assert list(await cache.get_many(keys)) == keys
    assert await cache.invalidate_tags("x", "never used") is True
    assert list(await cache.get_many(keys)) == ["b", "c", "d", "plain"]
    assert await cache.invalidate_tags("z") is True
    assert [await cache.get(key) for key in keys] == [MISSING, MISSING, MISSING, MISSING, 5]
    await cache.set("a", 6, tags=["x", "y"])
    assert await cache.get("a") == 6
    assert await cache.invalidate_tags() is True
    assert await cache.invalidate_tags("x", "y") is True
    assert await cache.get("a") is MISSING


async def test_many_tags_of_all_shards(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    tags = [f"t{n}" for n in range(100)]
    assert {shard(tag) for tag in tags} == set(range(16))
    for n in range(0, 100, 7):
        assert await cache.get_or_set("k", AsyncCounting("value"), tags=tags) == "value"
        assert await cache.get("k") == "value"
        assert await cache.invalidate_tags(tags[n]) is True
        assert await cache.get("k") is MISSING
    assert await cache.invalidate_tags(*tags) is True


@pytest.mark.parametrize("tag", ODD, ids=range(len(ODD)))
async def test_odd_names(ahf: AsyncHoldfast, tag: str):
    cache = ahf.cache("users", ttl="1h")
    others = [other for other in ODD if other != tag]
    await cache.set("mine", 1, tags=[tag])
    await cache.set("others", 2, tags=others)

    async def load() -> int:
        current_load().add_tags(tag)
        return 3

    await cache.get_or_set("late", load)
    assert await cache.get_many(["mine", "others", "late"]) == {"mine": 1, "others": 2, "late": 3}
    assert await cache.invalidate_tags(tag) is True
    assert await cache.get_many(["mine", "others", "late"]) == {"others": 2}


async def test_other_caches_are_not_concerned(ahf: AsyncHoldfast):
    users, other = ahf.cache("users", ttl="1h"), ahf.cache("other", ttl="1h")
    for cache in (users, other):
        await cache.set("k", 1, tags=["t"])
    await users.invalidate_tags("t")
    assert [await users.get("k"), await other.get("k")] == [MISSING, 1]


@pytest.mark.parametrize("tags", ["org:7", b"org", [""], [7], [None], ["x" * 1025], [["a"]], ["\ud800"]])
async def test_what_is_no_tag(ahf: AsyncHoldfast, tags: Any):
    """A str is refused: it would be a tag for every letter. Found: a list in a list was a TypeError."""
    cache: Any = ahf.cache("users", ttl="1h")
    for call in (
        lambda: cache.set("k", 1, tags=tags),
        lambda: cache.set_many({"k": 1}, tags=tags),
        lambda: cache.get_or_set("k", AsyncCounting(1), tags=tags),
        lambda: cache.get_or_set_many(["k"], AsyncCounting({}), tags=tags),
    ):
        with pytest.raises(ConfigurationError, match="tag"):
            await call()
    with pytest.raises(ConfigurationError, match="tag"):
        cache.cached("k", tags=tags)
    if not isinstance(tags, str | bytes):
        with pytest.raises(ConfigurationError, match="tag"):
            await cache.invalidate_tags(*tags)
    assert await cache.get("k") is MISSING


async def test_clear_with_tags(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", 1, tags=["t"])
    await cache.clear()
    assert await cache.get("k") is MISSING
    await cache.set("k", 2, tags=["t"])
    assert await cache.get("k") == 2
    await cache.invalidate_tags("t")
    assert await cache.get("k") is MISSING


@pytest.mark.parametrize("part", [b":t:", b":g"])
async def test_what_was_evicted_makes_misses_never_stale_hits(
    ahf: AsyncHoldfast, namespace: str, part: bytes
):
    """A tag's version or guard is gone, by eviction or by hand, even in the middle of a load."""
    cache, gate = ahf.cache("users", ttl="1h"), AsyncGate("old")

    async def evict() -> None:
        keys = [key for key in await ahf.execute("KEYS", f"{namespace}:1:cache:users:*") if part in key]
        assert keys and await ahf.execute("DEL", *keys) == len(keys)

    async def late() -> Any:
        current_load().add_tags("late")
        return await gate()

    await cache.set("k", 1, tags=["t"])
    if part == b":t:":
        await evict()
        assert await cache.get("k") is MISSING
        await cache.set("other", 2, tags=["t"])  # makes a version anew
        assert await cache.get("k") is MISSING
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("late", late, tags=["t"]))
        assert await gate.reading.wait(20)
        await evict()
        gate.go.fire()
        assert await job.result() == "old"
    assert await cache.get("late") is MISSING


# --- while it is loaded -------------------------------------------------------------------------------------


@pytest.mark.everywhere
@pytest.mark.parametrize("when", ["before", "after"])
async def test_invalidated_during_the_load(
    ahf: AsyncHoldfast, place, namespace: str, transport: str, when: str
):
    """Tags known before the load, and those that it tells. Found with the versions read after the load: the
    older value was a hit.
    """
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        cache, gate = ahf.cache("users", ttl="1h"), AsyncGate("old")

        async def load() -> Any:
            if when == "after":
                current_load().add_tags("t")
            return await gate()

        early = ["t"] if when == "before" else []
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", load, tags=early))
            assert await gate.reading.wait(20)
            assert await second.cache("users", ttl="1h").invalidate_tags("t") is True
            late = crowd.start(lambda: cache.get_or_set("k", AsyncCounting("new"), tags=early))
            await crowd.settle()
            gate.go.fire()
            assert await job.result() == "old"
            assert await late.result() == "new"
        assert await cache.get("k") == "new"


async def test_the_first_late_tag_after_many_loads_without(ahf: AsyncHoldfast):
    """Nobody looked out for it any more: then it is not stored once, rather than without a guard."""
    cache = ahf.cache("users", ttl="1h")
    for key in range(GUARDED_LOADS + 2):
        await cache.get_or_set(key, AsyncCounting(key))

    async def load() -> str:
        current_load().add_tags("t")
        return "value"

    assert await cache.get_or_set("k", load) == "value"
    assert await cache.get("k") is MISSING
    assert cache.stats().refused == {"tags": 1}
    assert await cache.get_or_set("k", load) == await cache.get("k") == "value"
    await cache.invalidate_tags("t")
    assert await cache.get("k") is MISSING


# --- of functions -------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_tags_of_a_function(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")

    @cache.cached("account:{id}", tags=["org:{result.org_id}", "account:{id}", "accounts"])
    async def account(id: int) -> Account | None:
        return Account(id, id % 2) if id < 10 else None

    @account.bulk
    async def accounts(ids: list[int]) -> dict[int, Account]:
        return {id: Account(id, id % 2) for id in ids if id < 10}

    async def there() -> list[int]:
        return [id for id in (1, 2, 3, 4, 20) if await account.peek(id) is not MISSING]

    assert [await account(1), await account(2), await account(20)] == [Account(1, 1), Account(2, 0), None]
    assert await account.many([3, 4]) == {3: Account(3, 1), 4: Account(4, 0)}
    assert await there() == [1, 2, 3, 4, 20]
    await cache.invalidate_tags("org:1")
    assert await there() == [2, 4, 20]
    await cache.invalidate_tags("account:4", "account:20")
    assert await there() == [2]
    assert await account.refresh(3) == Account(3, 1)
    assert await there() == [2, 3]
    await cache.invalidate_tags("accounts")
    assert await there() == []


async def test_tags_of_mappings_methods_and_parts(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @cache.cached("{self.name}:{n}", tags=["shop:{self.name}", "owner:{result[owner][0]}", "{{{n:03}}}"])
        async def thing(self, n: int) -> dict[str, Any]:
            return {"owner": [f"o{n}"]}

    a, b = Shop("a"), Shop("b")
    for tag, left in (("shop:a", [False, True]), ("owner:o7", [False, False]), ("{007}", [False, False])):
        await a.thing(7)
        await b.thing(7)
        await cache.invalidate_tags(tag)
        assert [await shop.thing.peek(7) is not MISSING for shop in (a, b)] == left


@pytest.mark.parametrize(
    "template", ["org:{nobody}", "{}", "{0}", "org:{", "org:}", "{n.real.x!z}", "{results.x}"]
)
async def test_templates_that_cannot_work(ahf: AsyncHoldfast, template: str):
    cache = ahf.cache("users", ttl="1h")

    async def function(n: int) -> int:
        return n

    with pytest.raises(ConfigurationError, match="tag"):
        decorated = cache.cached("{n}", tags=[template])(function)
        await decorated(1)


async def test_a_tag_that_leads_nowhere(ahf: AsyncHoldfast):
    """Rather an error than an entry that its tag does not find."""
    cache = ahf.cache("users", ttl="1h", lease="60s", wait="2s")

    @cache.cached("{n}", tags=["org:{result.org_id}"])
    async def function(n: int) -> dict[str, int]:
        return {"org_id": 7}

    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"result\.org_id.*leads nowhere"):
            await function(1)
    assert await function.peek(1) is MISSING


# --- Redis is away ------------------------------------------------------------------------------------------


async def test_an_invalidation_by_tag_is_kept_and_delivered(ahf: AsyncHoldfast, faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        cache, other = mine.cache("users", ttl="1h"), ahf.cache("users", ttl="1h")
        await cache.set("a", "old", tags=["t", "u"])
        await cache.set("b", "stays", tags=["v"])
        faults.refuse()
        faults.cut()
        assert await cache.invalidate_tags("t", "other") is False
        assert cache.stats().undelivered == 2
        assert await cache.get_or_set("a", AsyncCounting("loaded")) == "loaded"
        assert await other.get("a") == "old"  # the exception of rules.py
        faults.accept()

        async def never_old() -> int:
            assert await cache.get_or_set("a", AsyncCounting("new"), tags=["t"]) == "new"
            return cache.stats().undelivered

        await AsyncCrowd.until(never_old, 0)
        await AsyncCrowd.until(lambda: cache.get("b"), "stays")

        async def stored() -> Any:
            await cache.get_or_set("a", AsyncCounting("new"), tags=["t"])
            return await other.get("a")

        await AsyncCrowd.until(stored, "new")


async def test_what_is_not_delivered_yet_is_neither_served_nor_stored_here(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Found without `is_dirty` of the tags: this process served what it had invalidated itself.

    Found as well: the lease of what was not stored was kept, and the next reader waited for its end.
    """
    cache, new = ahf.cache("users", ttl="1h", lease="60s", wait="5s"), AsyncCounting("new")
    await cache.set("k", "old", tags=["t"])
    store: Any = cache._store
    kept: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(store.wire.hub, "deliver", lambda *args: kept.append(args))
        patch.setattr(store, "worth_asking", lambda: False)
        assert await cache.invalidate_tags("t") is False
    assert await cache.get("k") is MISSING
    assert await cache.get_many(["k"]) == {}
    for _ in range(2):
        assert await cache.get_or_set("k", new, tags=["t"]) == "new"
    assert new.calls == 2 and cache.stats().undelivered == 1
    ((_, command, delivered),) = kept
    await ahf.execute(*command)
    delivered()
    assert cache.stats().undelivered == 0
    assert await cache.get_or_set("k", new, tags=["t"]) == await cache.get("k") == "new"
