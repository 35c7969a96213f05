# Generated from test_tags_async.py by tools/unasync.py. Do not edit.
"""Tags: whatever is done with them, what was invalidated is not served again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast import MISSING, Holdfast, ConfigurationError, current_load
from holdfast.cache.rules import GUARDED_LOADS
from holdfast.cache.tags import shard
from tests.cache.crowd import Crowd
from tests.cache.test_cache_sync import Counting
from tests.cache.test_faults_sync import Gate

ODD = ["a b", "{x}", "a:b", "ü", "%", "a%20b", "\n\t", "*", "t" * 1024, "}", "\x00", "\u2028", "#3"]


class Account(msgspec.Struct):
    id: int
    org_id: int


# --- any of them --------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_any_of_them(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    assert cache.set("a", 1, tags=["x", "y"]) is True
    assert cache.get_or_set("b", Counting(2), tags=["y", "z"]) == 2
    assert cache.set_many({"c": 3, "d": 4}, tags=["z"]) is True
    cache.set("plain", 5)
    keys = ["a", "b", "c", "d", "plain"]
    assert list(cache.get_many(keys)) == keys
    assert cache.invalidate_tags("x", "never used") is True
    assert list(cache.get_many(keys)) == ["b", "c", "d", "plain"]
    assert cache.invalidate_tags("z") is True
    assert [cache.get(key) for key in keys] == [MISSING, MISSING, MISSING, MISSING, 5]
    cache.set("a", 6, tags=["x", "y"])
    assert cache.get("a") == 6
    assert cache.invalidate_tags() is True
    assert cache.invalidate_tags("x", "y") is True
    assert cache.get("a") is MISSING


def test_many_tags_of_all_shards(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    tags = [f"t{n}" for n in range(100)]
    assert {shard(tag) for tag in tags} == set(range(16))
    for n in range(0, 100, 7):
        assert cache.get_or_set("k", Counting("value"), tags=tags) == "value"
        assert cache.get("k") == "value"
        assert cache.invalidate_tags(tags[n]) is True
        assert cache.get("k") is MISSING
    assert cache.invalidate_tags(*tags) is True


@pytest.mark.parametrize("tag", ODD, ids=range(len(ODD)))
def test_odd_names(hf: Holdfast, tag: str):
    cache = hf.cache("users", ttl="1h")
    others = [other for other in ODD if other != tag]
    cache.set("mine", 1, tags=[tag])
    cache.set("others", 2, tags=others)

    def load() -> int:
        current_load().add_tags(tag)
        return 3

    cache.get_or_set("late", load)
    assert cache.get_many(["mine", "others", "late"]) == {"mine": 1, "others": 2, "late": 3}
    assert cache.invalidate_tags(tag) is True
    assert cache.get_many(["mine", "others", "late"]) == {"others": 2}


def test_other_caches_are_not_concerned(hf: Holdfast):
    users, other = hf.cache("users", ttl="1h"), hf.cache("other", ttl="1h")
    for cache in (users, other):
        cache.set("k", 1, tags=["t"])
    users.invalidate_tags("t")
    assert [users.get("k"), other.get("k")] == [MISSING, 1]


@pytest.mark.parametrize("tags", ["org:7", b"org", [""], [7], [None], ["x" * 1025], [["a"]], ["\ud800"]])
def test_what_is_no_tag(hf: Holdfast, tags: Any):
    """A str is refused: it would be a tag for every letter. Found: a list in a list was a TypeError."""
    cache: Any = hf.cache("users", ttl="1h")
    for call in (
        lambda: cache.set("k", 1, tags=tags),
        lambda: cache.set_many({"k": 1}, tags=tags),
        lambda: cache.get_or_set("k", Counting(1), tags=tags),
        lambda: cache.get_or_set_many(["k"], Counting({}), tags=tags),
    ):
        with pytest.raises(ConfigurationError, match="tag"):
            call()
    with pytest.raises(ConfigurationError, match="tag"):
        cache.cached("k", tags=tags)
    if not isinstance(tags, str | bytes):
        with pytest.raises(ConfigurationError, match="tag"):
            cache.invalidate_tags(*tags)
    assert cache.get("k") is MISSING


def test_clear_with_tags(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    cache.set("k", 1, tags=["t"])
    cache.clear()
    assert cache.get("k") is MISSING
    cache.set("k", 2, tags=["t"])
    assert cache.get("k") == 2
    cache.invalidate_tags("t")
    assert cache.get("k") is MISSING


@pytest.mark.parametrize("part", [b":t:", b":g"])
def test_what_was_evicted_makes_misses_never_stale_hits(
    hf: Holdfast, namespace: str, part: bytes
):
    """A tag's version or guard is gone, by eviction or by hand, even in the middle of a load."""
    cache, gate = hf.cache("users", ttl="1h"), Gate("old")

    def evict() -> None:
        keys = [key for key in hf.execute("KEYS", f"{namespace}:1:cache:users:*") if part in key]
        assert keys and hf.execute("DEL", *keys) == len(keys)

    def late() -> Any:
        current_load().add_tags("late")
        return gate()

    cache.set("k", 1, tags=["t"])
    if part == b":t:":
        evict()
        assert cache.get("k") is MISSING
        cache.set("other", 2, tags=["t"])  # makes a version anew
        assert cache.get("k") is MISSING
    with Crowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("late", late, tags=["t"]))
        assert gate.reading.wait(20)
        evict()
        gate.go.fire()
        assert job.result() == "old"
    assert cache.get("late") is MISSING


# --- while it is loaded -------------------------------------------------------------------------------------


@pytest.mark.everywhere
@pytest.mark.parametrize("when", ["before", "after"])
def test_invalidated_during_the_load(
    hf: Holdfast, place, namespace: str, transport: str, when: str
):
    """Tags known before the load, and those that it tells. Found with the versions read after the load: the
    older value was a hit.
    """
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        cache, gate = hf.cache("users", ttl="1h"), Gate("old")

        def load() -> Any:
            if when == "after":
                current_load().add_tags("t")
            return gate()

        early = ["t"] if when == "before" else []
        with Crowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", load, tags=early))
            assert gate.reading.wait(20)
            assert second.cache("users", ttl="1h").invalidate_tags("t") is True
            late = crowd.start(lambda: cache.get_or_set("k", Counting("new"), tags=early))
            crowd.settle()
            gate.go.fire()
            assert job.result() == "old"
            assert late.result() == "new"
        assert cache.get("k") == "new"


def test_the_first_late_tag_after_many_loads_without(hf: Holdfast):
    """Nobody looked out for it any more: then it is not stored once, rather than without a guard."""
    cache = hf.cache("users", ttl="1h")
    for key in range(GUARDED_LOADS + 2):
        cache.get_or_set(key, Counting(key))

    def load() -> str:
        current_load().add_tags("t")
        return "value"

    assert cache.get_or_set("k", load) == "value"
    assert cache.get("k") is MISSING
    assert cache.stats().refused == {"tags": 1}
    assert cache.get_or_set("k", load) == cache.get("k") == "value"
    cache.invalidate_tags("t")
    assert cache.get("k") is MISSING


# --- of functions -------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_tags_of_a_function(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")

    @cache.cached("account:{id}", tags=["org:{result.org_id}", "account:{id}", "accounts"])
    def account(id: int) -> Account | None:
        return Account(id, id % 2) if id < 10 else None

    @account.bulk
    def accounts(ids: list[int]) -> dict[int, Account]:
        return {id: Account(id, id % 2) for id in ids if id < 10}

    def there() -> list[int]:
        return [id for id in (1, 2, 3, 4, 20) if account.peek(id) is not MISSING]

    assert [account(1), account(2), account(20)] == [Account(1, 1), Account(2, 0), None]
    assert account.many([3, 4]) == {3: Account(3, 1), 4: Account(4, 0)}
    assert there() == [1, 2, 3, 4, 20]
    cache.invalidate_tags("org:1")
    assert there() == [2, 4, 20]
    cache.invalidate_tags("account:4", "account:20")
    assert there() == [2]
    assert account.refresh(3) == Account(3, 1)
    assert there() == [2, 3]
    cache.invalidate_tags("accounts")
    assert there() == []


def test_tags_of_mappings_methods_and_parts(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @cache.cached("{self.name}:{n}", tags=["shop:{self.name}", "owner:{result[owner][0]}", "{{{n:03}}}"])
        def thing(self, n: int) -> dict[str, Any]:
            return {"owner": [f"o{n}"]}

    a, b = Shop("a"), Shop("b")
    for tag, left in (("shop:a", [False, True]), ("owner:o7", [False, False]), ("{007}", [False, False])):
        a.thing(7)
        b.thing(7)
        cache.invalidate_tags(tag)
        assert [shop.thing.peek(7) is not MISSING for shop in (a, b)] == left


@pytest.mark.parametrize(
    "template", ["org:{nobody}", "{}", "{0}", "org:{", "org:}", "{n.real.x!z}", "{results.x}"]
)
def test_templates_that_cannot_work(hf: Holdfast, template: str):
    cache = hf.cache("users", ttl="1h")

    def function(n: int) -> int:
        return n

    with pytest.raises(ConfigurationError, match="tag"):
        decorated = cache.cached("{n}", tags=[template])(function)
        decorated(1)


def test_a_tag_that_leads_nowhere(hf: Holdfast):
    """Rather an error than an entry that its tag does not find."""
    cache = hf.cache("users", ttl="1h", lease="60s", wait="2s")

    @cache.cached("{n}", tags=["org:{result.org_id}"])
    def function(n: int) -> dict[str, int]:
        return {"org_id": 7}

    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"result\.org_id.*leads nowhere"):
            function(1)
    assert function.peek(1) is MISSING


# --- Redis is away ------------------------------------------------------------------------------------------


def test_an_invalidation_by_tag_is_kept_and_delivered(hf: Holdfast, faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        cache, other = mine.cache("users", ttl="1h"), hf.cache("users", ttl="1h")
        cache.set("a", "old", tags=["t", "u"])
        cache.set("b", "stays", tags=["v"])
        faults.refuse()
        faults.cut()
        assert cache.invalidate_tags("t", "other") is False
        assert cache.stats().undelivered == 2
        assert cache.get_or_set("a", Counting("loaded")) == "loaded"
        assert other.get("a") == "old"  # the exception of rules.py
        faults.accept()

        def never_old() -> int:
            assert cache.get_or_set("a", Counting("new"), tags=["t"]) == "new"
            return cache.stats().undelivered

        Crowd.until(never_old, 0)
        Crowd.until(lambda: cache.get("b"), "stays")

        def stored() -> Any:
            cache.get_or_set("a", Counting("new"), tags=["t"])
            return other.get("a")

        Crowd.until(stored, "new")


def test_what_is_not_delivered_yet_is_neither_served_nor_stored_here(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """Found without `is_dirty` of the tags: this process served what it had invalidated itself.

    Found as well: the lease of what was not stored was kept, and the next reader waited for its end.
    """
    cache, new = hf.cache("users", ttl="1h", lease="60s", wait="5s"), Counting("new")
    cache.set("k", "old", tags=["t"])
    store: Any = cache._store
    kept: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(store.wire.hub, "deliver", lambda *args: kept.append(args))
        patch.setattr(store, "worth_asking", lambda: False)
        assert cache.invalidate_tags("t") is False
    assert cache.get("k") is MISSING
    assert cache.get_many(["k"]) == {}
    for _ in range(2):
        assert cache.get_or_set("k", new, tags=["t"]) == "new"
    assert new.calls == 2 and cache.stats().undelivered == 1
    ((_, command, delivered),) = kept
    hf.execute(*command)
    delivered()
    assert cache.stats().undelivered == 0
    assert cache.get_or_set("k", new, tags=["t"]) == cache.get("k") == "new"
