# Generated from test_l1_async.py by tools/unasync.py. Do not edit.
"""What a cache serves from this process's own memory, and when it no longer does."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from holdfast import L1, MISSING, Cache, Holdfast
from tests.cache.crowd import Crowd
from tests.cache.test_cache_sync import Counting, Table
from tests.cache.test_faults_sync import Gate


class Profile(msgspec.Struct):
    name: str
    tags: list[str] = []


class Fixed(msgspec.Struct, frozen=True):
    name: str


@dataclasses.dataclass
class Name:
    name: str


def bring_near(cache: Cache[Any], *keys: Any) -> None:
    """Read `keys` until they are served from here."""
    for key in keys or ("k",):

        def hit(key: Any = key) -> bool:
            before = cache.stats().l1_hits
            cache.get(key)
            return cache.stats().l1_hits == before + 1

        Crowd.until(hit)


def deafen(cache: Cache[Any]) -> None:
    """Have no news of changes arrive, however quick the server is: what is done here must work without."""
    near: Any = cache._store.near
    near.invalidated = lambda keys: None


# --- contracts ----------------------------------------------------------------------------------------------


def test_what_is_read_first_is_kept(hf: Holdfast, server: Any, namespace: str):
    """Found without the wait of the first reader: the first reads of a process were all for nothing."""
    with Holdfast(server.url, namespace=namespace) as other:
        other.cache("users", ttl="1m").set("k", 1)
    cache = hf.cache("users", ttl="1m", l1=L1())
    for _ in range(10):
        assert cache.get("k") == 1
    assert cache.stats().l1_hits == 9


@pytest.mark.everywhere
def test_hits_cost_no_round_trip(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", l1=L1(max_staleness="1m"))
    cache.set("k", "value")
    bring_near(cache)
    before = cache.stats()
    assert [cache.get("k") for _ in range(10)] == ["value"] * 10
    assert cache.get_or_set("k", Counting("never")) == "value"
    after = cache.stats()
    assert (after.l1_hits - before.l1_hits, after.l2_hits - before.l2_hits) == (11, 0)
    assert after.l1_entries == 1 and after.l1_bytes > 56 and after.l1_bypassed == {}
    found = cache.peek("k")
    assert found and found.layer == "l1" and found.value == "value"


@pytest.mark.everywhere
def test_changes_by_others_are_seen(hf: Holdfast, place, namespace: str, transport: str):
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = hf.cache("users", ttl="1h", l1=L1()), second.cache("users", ttl="1h")

        def delete() -> None:
            second.execute("DEL", f"{namespace}:1:cache:users:{{k}}")

        for change, expected in (
            (lambda: other.set("k", "new"), "new"),
            (lambda: other.invalidate("k"), MISSING),
            (lambda: other.expire("k"), MISSING),
            (lambda: other.invalidate_tags("t"), MISSING),
            (lambda: other.clear(), MISSING),
            (delete, MISSING),
        ):
            other.set("k", "old", tags=["t"])
            Crowd.until(lambda: cache.get("k"), "old")
            bring_near(cache)
            change()
            Crowd.until(lambda: cache.get("k"), expected)


@pytest.mark.parametrize(
    "event",
    ["set", "set_many", "invalidate", "versioned", "expire", "clear", "invalidate_tags", "switch_off"],
)
def test_its_own_changes_are_seen_at_once(hf: Holdfast, event: str):
    """Found without `forget_all` in `clear`: until the news came, this process served what it had cleared."""
    cache = hf.cache("users", ttl="1h", l1=L1())
    cache.set("k", "old", tags=["t"])
    bring_near(cache)
    deafen(cache)
    if event == "versioned":
        cache.invalidate("k", version=7)
    elif event == "set_many":
        cache.set_many({"k": "new"})
    else:
        arguments = {"set": ["k", "new"], "clear": [], "switch_off": [], "invalidate_tags": ["t"]}
        getattr(cache, event)(*arguments.get(event, ["k"]))
    assert cache.get("k") == ("new" if event in {"set", "set_many"} else MISSING)


@pytest.mark.parametrize("event", ["put", "remove"])
def test_its_own_puts_are_seen_at_once(hf: Holdfast, event: str):
    table = Table()
    cache = hf.cache("prices", ttl="1h", l1=L1(), source=table, write="through")
    cache.put("k", "old")
    bring_near(cache)
    deafen(cache)
    getattr(cache, event)("k", *(["new"] if event == "put" else []))
    assert cache.get("k") == ("new" if event == "put" else MISSING)


def test_its_own_refresh_is_seen_at_once(hf: Holdfast):
    """Found: the value of before it, until the news had come back."""
    cache = hf.cache("users", ttl="1h", l1=L1())
    calls = Counting()

    @cache.cached("k")
    def count() -> int:
        calls()
        return calls.calls

    assert count() == 1

    def hit() -> bool:
        before = cache.stats().l1_hits
        assert count() == 1
        return cache.stats().l1_hits > before

    Crowd.until(hit)
    deafen(cache)
    assert count.refresh() == 2
    assert count() == 2


def test_flushall(own_server):
    with Holdfast(own_server.url) as client:
        cache = client.cache("users", ttl="1h", l1=L1())
        cache.set("k", "old")
        bring_near(cache)
        client.execute("FLUSHALL")
        Crowd.until(lambda: cache.get("k"), MISSING)
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
def test_nobody_changes_what_others_get(hf: Holdfast, isolation: Any, value: Any, kind: Any):
    """Found with "copy": who read it first had the very object that all later copies were made of."""
    cache = hf.cache("users", ttl="1h", type=kind, l1=L1(isolation=isolation))
    cache.set("k", value)
    for _ in range(2):
        while cache.stats().l1_hits < 2:
            got = cache.get("k")
            assert got == value and got is not value
            spoil(got)
            many = cache.get_many(["k"])
            assert many == {"k": value}
            spoil(many["k"])


@pytest.mark.parametrize("value", ["text", 7, (1, "a"), Fixed("x"), None, b"x" * 100])
def test_auto_shares_what_cannot_be_changed(hf: Holdfast, value: Any):
    cache = hf.cache("users", ttl="1h", type=type(value) if value is not None else Any, l1=L1())
    cache.set("k", value)
    bring_near(cache)
    assert cache.get("k") == value
    assert cache.get("k") is cache.get("k")


def test_share_shares(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", l1=L1(isolation="share"))
    cache.set("k", {"a": 1})
    bring_near(cache)
    assert cache.get("k") is cache.get("k")


def test_two_shapes_under_one_key(hf: Holdfast):
    """A function sees its own type, whoever read the entry before it."""
    cache = hf.cache("users", ttl="1h", l1=L1())

    @cache.cached("k")
    def profile() -> Profile:
        return Profile("loaded")

    cache.set("k", {"name": "x", "tags": []})
    for _ in range(10):
        assert cache.get("k") == {"name": "x", "tags": []}
        assert profile() == Profile("x")
        assert profile.many([()]) == {(): Profile("x")}
    cache.invalidate("k")
    assert profile() == Profile("loaded")
    assert cache.get("k") == {"name": "loaded", "tags": []}


def test_variants_of_sealed_values(hf: Holdfast, server, namespace: str):
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
    with Holdfast(server.url, namespace=namespace) as second:
        older = hf.cache("users", ttl="1h", type=dict[str, list[int]], cipher=seal)
        newer = second.cache("users", ttl="1h", type=Profile, cipher=seal, l1=L1())
        older.set("k", {"name": [1]})
        assert newer.get_or_set("k", Counting(Profile("x"))) == Profile("x")
        bring_near(newer)
        assert newer.get("k") == Profile("x")
        assert older.get("k") == {"name": [1]}
        older.invalidate("k")
        Crowd.until(lambda: newer.get("k"), MISSING)


# --- bounds -------------------------------------------------------------------------------------------------


def test_max_entries(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", l1=L1(max_entries=5))
    cache.set_many({key: key for key in range(20)})
    bring_near(cache, 0)
    for key in range(20):
        assert cache.get(key) == key
    stats = cache.stats()
    assert stats.l1_entries == 5 and stats.l1_evictions > 0


def test_max_bytes(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", l1=L1(max_bytes="4KiB"))
    cache.set_many(dict.fromkeys(range(20), "x" * 500))
    cache.set("huge", "x" * 5000)
    bring_near(cache, 0)
    for key in [*range(20), "huge", "huge"]:
        assert "xxx" in cache.get(key, "")
    assert 0 < cache.stats().l1_bytes <= 4096


def test_a_copy_ends_with_its_ttl(hf: Holdfast):
    """And without a `stale=` the reader gets nothing older."""
    cache = hf.cache("users", ttl="1h", jitter=0, l1=L1())
    cache.set("warm", 1)
    bring_near(cache, "warm")
    cache.set("k", "old", ttl="80ms")
    cache.get("k")
    Crowd.until(lambda: cache.get("k"), MISSING)


def test_a_copy_ends_with_its_ttl_and_not_with_its_grace(hf: Holdfast):
    cache, loader = hf.cache("users", ttl="1h", stale="30s", jitter=0, l1=L1()), Counting("new")
    cache.set("warm", 1)
    bring_near(cache, "warm")
    cache.set("k", "old", ttl="80ms")
    cache.get("k")
    Crowd.until(lambda: cache.get("k"), MISSING)
    assert cache.get_or_set("k", loader) == "old"
    Crowd.until(lambda: cache.get("k"), "new")
    bring_near(cache)
    assert loader.calls == 1


def test_absence_is_kept_as_well(hf: Holdfast):
    cache, loader = hf.cache("users", ttl="1h", negative_ttl="1h", l1=L1()), Counting(MISSING)
    assert cache.get_or_set("k", loader) is MISSING
    bring_near(cache)
    assert cache.get("k", "default") == "default"
    assert cache.get_many(["k"]) == {}
    assert cache.get_or_set("k", loader) is MISSING and loader.calls == 1
    cache.set("k", 1)
    assert cache.get("k") == 1


def test_max_staleness_of_zero_keeps_nothing(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", l1=L1(max_staleness=0))
    cache.set("k", 1)
    assert [cache.get("k") for _ in range(20)] == [1] * 20
    stats = cache.stats()
    assert (stats.l1_hits, stats.l1_entries, stats.l2_hits) == (0, 0, 20)


def test_nothing_is_served_that_is_not_proved(hf: Holdfast, faults, namespace: str):
    """The connection is silent: copies are served for `max_staleness`, no longer."""
    with Holdfast(faults.url, namespace=namespace, timeout="100ms") as mine:
        cache, other = (
            mine.cache("users", ttl="1h", l1=L1(max_staleness="200ms")),
            hf.cache("users", ttl="1h"),
        )
        cache.set("k", "old")
        bring_near(cache)
        faults.blackhole()
        assert other.invalidate("k") is True

        def loaded() -> Any:
            return cache.get_or_set("k", Counting("loaded"))

        Crowd.until(loaded, "loaded")
        hits = cache.stats().l1_hits
        assert [loaded() for _ in range(3)] == ["loaded"] * 3
        assert cache.stats().l1_hits == hits
        assert "outdated" in cache.stats().l1_bypassed  # before anybody has noticed why
        faults.heal()
        Crowd.until(lambda: other.get("k") if not cache.stats().undelivered else None, MISSING)


@pytest.mark.everywhere
def test_tags_and_copies(hf: Holdfast, place, namespace: str, transport: str):
    """A tag that changes ends all copies that have it, and no other."""
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = hf.cache("users", ttl="1h", l1=L1()), second.cache("users", ttl="1h")
        for key, tags in (("a", ["t"]), ("b", ["t", "u"]), ("c", ["u"]), ("d", [])):
            other.set(key, key, tags=tags)
        bring_near(cache, *"abcd")
        other.invalidate_tags("t")
        Crowd.until(lambda: cache.get_many("abcd"), {"c": "c", "d": "d"})
        other.set("a", "new", tags=["t"])
        Crowd.until(lambda: cache.get("a"), "new")
        bring_near(cache, "a", "c", "d")
        cache.invalidate_tags("t", "u")
        assert cache.get_many("abcd") == {"d": "d"}


def test_what_was_read_before_a_change_is_not_kept(hf: Holdfast, server, namespace: str):
    """A reply that is slower than the news. Found without the tickets: the older value was kept."""
    with Holdfast(server.url, namespace=namespace) as second:
        cache, other = hf.cache("users", ttl="1h", l1=L1()), second.cache("users", ttl="1h")
        cache.set("warm", 1)
        bring_near(cache, "warm")
        other.set("k", "old")
        near: Any = cache._store.near
        read, gate = cache._store.timed_read, Gate()

        def slow(*args: Any) -> Any:
            answer = read(*args)
            gate()
            return answer

        cache._store.timed_read = slow  # type: ignore[assignment]
        with Crowd() as crowd:
            job = crowd.start(lambda: cache.get("k"))
            assert gate.reading.wait(20)
            cache._store.timed_read = read  # type: ignore[method-assign]
            other.set("k", "new")
            Crowd.until(
                lambda: len(near._pending), 0
            )  # a count would take the news of "old" for it
            gate.go.fire()
            assert job.result() == "old"  # it asked before
        assert cache.get("k") == "new"


def test_off_by_the_environment(server, namespace: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_CACHE_OFF", "users")
    with Holdfast(server.url, namespace=namespace) as client:
        cache, loader = client.cache("users", ttl="1h", stale="1h", l1=L1()), Counting(1)

        def load_many(keys: list[Any]) -> dict[Any, Any]:
            return {"k": 2}

        assert [cache.get_or_set("k", loader) for _ in range(3)] == [1, 1, 1]
        assert cache.get_or_set_many(["k"], load_many) == {"k": 2}
        assert loader.calls == 3 and cache.stats().l1_entries == 0
