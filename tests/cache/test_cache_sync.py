# Generated from test_cache_async.py by tools/unasync.py. Do not edit.
"""What every method of a cache does while all is well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast import MISSING, Cache, Holdfast, CodecError, ConfigurationError
from tests.cache.crowd import Crowd


class User(msgspec.Struct):
    id: int
    name: str = "?"


class Table:
    """A source that counts."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.calls: list[str] = []
        self.failure: Exception | None = None

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.failure:
            raise self.failure

    def load_many(self, keys):
        self._note("load")
        return {key: self.rows[key] for key in keys if key in self.rows}

    def save_many(self, mapping):
        self._note("save")
        self.rows.update(mapping)

    def delete_many(self, keys):
        self._note("delete")
        for key in keys:
            self.rows.pop(key, None)


class Counting:
    """A loader that counts, and returns or raises what it was told to."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


# --- get, set, get_or_set -----------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_set_then_get(hf: Holdfast):
    users = hf.cache("users", ttl="1h", type=User)
    assert users.get("ann") is MISSING
    assert users.get("ann", None) is None
    assert users.set("ann", User(1, "Ann")) is True
    assert users.get("ann") == User(1, "Ann")


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False, b"\x00\xff", "ü", {"a": [1, None, 2.5]}])
def test_every_value_is_a_value(hf: Holdfast, value: Any):
    cache = hf.cache("any", ttl="1h")
    loader = Counting(value)
    assert cache.get_or_set("k", loader) == value
    assert cache.get_or_set("k", loader) == value
    assert cache.get("k", "other") == value
    assert loader.calls == 1


@pytest.mark.everywhere
def test_a_load_is_stored_once(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", type=User)
    loader = Counting(User(7))
    assert cache.get_or_set("k", loader) == User(7)
    assert cache.get_or_set("k", loader) == User(7)
    stats = cache.stats()
    assert (loader.calls, stats.loads, stats.fills, stats.l2_hits, stats.misses) == (1, 1, 1, 1, 1)


def test_an_error_is_not_stored(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", lease="60s", wait="5s")
    with pytest.raises(LookupError):
        cache.get_or_set("k", Counting(LookupError("gone")))
    assert cache.get_or_set("k", Counting(5)) == 5  # and the lease was given back at once
    assert cache.stats().load_errors == 1


def test_absence_is_remembered(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", negative_ttl="30s")
    loader = Counting(MISSING)
    assert cache.get_or_set("k", loader) is MISSING
    assert cache.get_or_set("k", loader) is MISSING
    assert cache.get("k", "default") == "default"
    assert loader.calls == 1
    assert cache.stats().negative_hits == 2
    found = cache.peek("k")
    assert found and found.value is MISSING and found.ttl <= 30


def test_none_lives_as_long_as_absence(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", negative_ttl="30s", jitter=0)
    cache.get_or_set("k", Counting(None))
    found = cache.peek("k")
    assert found and 0 < found.ttl <= 30
    cache.set("k", 1)
    found = cache.peek("k")
    assert found and 30 < found.ttl <= 3600


def test_negative_ttl_zero_stores_nothing(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", negative_ttl=0)
    loader = Counting(None)
    assert cache.get_or_set("k", loader) is None
    assert cache.get_or_set("k", loader) is None
    assert loader.calls == 2
    cache.set("k", 1)
    assert cache.set("k", None) is True  # the older value must not survive it
    assert cache.get("k") is MISSING


def test_ttl_of_one_call(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", jitter=0)
    cache.set("a", 1, ttl="10s")
    cache.get_or_set("b", Counting(1), ttl="10s")
    for key in "ab":
        found = cache.peek(key)
        assert found and found.ttl <= 10


def test_jitter_shortens_and_never_lengthens(hf: Holdfast):
    cache = hf.cache("users", ttl="1000s", jitter=0.5)
    lives = []
    for key in range(20):
        cache.set(key, 1)
        found = cache.peek(key)
        assert found
        lives.append(found.ttl)
    assert all(499 < life <= 1000 for life in lives)
    assert max(lives) - min(lives) > 50


def test_a_value_that_cannot_be_written(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    cache.set("k", 1)
    with pytest.raises(CodecError):
        cache.set("k", object())
    assert cache.get("k") == 1
    with pytest.raises(CodecError):
        cache.get_or_set("other", Counting(object()))


def test_keys_of_other_types(hf: Holdfast):
    cache = hf.cache("any", ttl="1h")
    keys: list[Any] = [1, "1", True, 1.0, None, b"1", (1, "1"), "", "a:b", "ü {x}"]
    for place, key in enumerate(keys):
        cache.set(key, place)
    assert [cache.get(key) for key in keys] == list(range(len(keys)))


# --- invalidate, expire, clear, peek ------------------------------------------------------------------------


@pytest.mark.everywhere
def test_invalidate(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    cache.set("a", 1)
    cache.set("b", 2)
    assert cache.invalidate("a", "b", "never there") is True
    assert cache.invalidate() is True
    assert (cache.get("a"), cache.get("b")) == (MISSING, MISSING)


def test_operators_invalidate_by_hand(hf: Holdfast, namespace: str):
    cache = hf.cache("users", ttl="1h")
    cache.set("a b", 1)
    key = f"{namespace}:1:cache:users:{{a%20b}}"
    assert hf.execute("UNLINK", key, f"{key}:f") == 1
    assert cache.get("a b") is MISSING


@pytest.mark.everywhere
def test_expire_keeps_the_value_for_errors(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    cache.set("k", 1)
    assert cache.expire("k", "never there") is True
    assert cache.get("k") is MISSING
    assert cache.get_or_set("k", Counting(OSError("database gone"))) == 1
    assert cache.get_or_set("k", Counting(OSError("database gone"))) == 1
    assert cache.stats().served_expired == 2
    found = cache.peek("k")
    assert found and found.stale and found.value == 1 and found.ttl > 3000
    assert cache.get_or_set("k", Counting(2)) == 2
    with pytest.raises(OSError, match="gone"):
        cache.invalidate("k")
        cache.get_or_set("k", Counting(OSError("database gone")))


@pytest.mark.everywhere
def test_clear(hf: Holdfast):
    cache, other = hf.cache("users", ttl="1h"), hf.cache("other", ttl="1h")
    for key in range(40):
        cache.set(key, key)
    other.set(1, "stays")
    cache.clear()
    assert {cache.get(key) for key in range(40)} == {MISSING}
    assert other.get(1) == "stays"
    assert cache.get_or_set(1, Counting("new")) == "new"
    assert cache.get(1) == "new"


def test_an_evicted_epoch_makes_misses_never_hits(hf: Holdfast, namespace: str):
    """Found with epochs made as "0" again: the entry of before the eviction was a hit."""
    cache = hf.cache("users", ttl="1h")
    cache.set("k", "old")
    epochs = [key for key in hf.execute("KEYS", f"{namespace}:1:cache:users:*") if key.endswith(b":e")]
    assert len(epochs) == 1
    hf.execute("DEL", *epochs)
    assert cache.get("k") is MISSING
    for other in range(100):  # some of them share its shard
        cache.get_or_set(other, Counting(1))
    assert cache.get("k") is MISSING
    assert cache.get_or_set("k", Counting("new")) == "new"
    assert cache.get("k") == "new"


def test_peek(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", type=User)
    assert cache.peek("k") is MISSING
    cache.set("k", User(1))
    found = cache.peek("k")
    assert found and found.value == User(1) and found.layer == "l2" and found.version is None
    assert not found.stale and 0 <= found.age < 600 and 3000 < found.ttl <= 3600
    assert cache.stats().l2_hits == 0


# --- sources ------------------------------------------------------------------------------------------------


def test_read_through(hf: Holdfast):
    table = Table()
    table.rows = {7: 19.5, "none": None}
    prices = hf.cache("prices", ttl="5m", source=table)
    assert [prices.get(7), prices.get(7)] == [19.5, 19.5]
    assert [prices.get("none", 1), prices.get("none", 1)] == [None, None]
    assert [prices.get(8), prices.get(8, 0)] == [MISSING, 0]
    assert table.calls == ["load"] * 3
    with pytest.raises(ConfigurationError, match="put"):
        prices.set(7, 1)
    with pytest.raises(ConfigurationError, match="through"):
        prices.put(7, 1)
    with pytest.raises(ConfigurationError, match="through"):
        prices.remove(7)


@pytest.mark.everywhere
def test_write_through(hf: Holdfast):
    table = Table()
    prices = hf.cache("prices", ttl="5m", source=table, write="through")
    prices.put(7, 19.5)
    assert table.rows == {7: 19.5}
    assert prices.get(7) == 19.5
    assert table.calls == ["save"]
    found = prices.peek(7)
    assert found and 0 < found.ttl <= 300
    prices.remove(7)
    assert table.rows == {}
    assert prices.get(7, "none") == "none"
    assert table.calls == ["save", "delete", "load"]


def test_a_put_that_fails_leaves_nothing(hf: Holdfast):
    """The source may have done it all the same: the older value goes. Found: readers waited for a lease."""
    table = Table()
    prices = hf.cache("prices", ttl="5m", lease="60s", wait="5s", source=table, write="through")
    prices.put(7, 1)
    table.failure = OSError("connection lost")
    with pytest.raises(OSError, match="lost"):
        prices.put(7, 2)
    assert prices.peek(7) is MISSING
    table.failure = None
    table.rows[7] = 2
    assert prices.get(7) == 2
    assert prices.stats().undelivered == 0


def test_a_source_of_the_wrong_kind(hf: Holdfast):
    with pytest.raises(ConfigurationError, match="load_many"):
        hf.cache("prices", ttl="5m", source=object())
    with pytest.raises(ConfigurationError, match="source="):
        hf.cache("prices", ttl="5m", write="through")


# --- types --------------------------------------------------------------------------------------------------


class UserNext(msgspec.Struct):
    """User, one release later: a field more, with a default."""

    id: int
    name: str = "?"
    mail: str = "none"


class UserOther(msgspec.Struct):
    """User as another release sees it: `name` became a number."""

    id: int
    name: int = 0


def test_releases_that_can_read_each_other(hf: Holdfast, server, namespace: str):
    with Holdfast(server.url, namespace=namespace) as new:
        before, after = hf.cache("users", ttl="1h", type=User), new.cache("users", ttl="1h", type=UserNext)
        before.set(1, User(1, "Ann"))
        assert after.get(1) == UserNext(1, "Ann", "none")
        after.set(1, UserNext(1, "Bob", "b@x"))
        assert before.get(1) == User(1, "Bob")


def test_releases_that_cannot_do_not_replace_each_other(hf: Holdfast, server, namespace: str):
    """Found when a variant was stored as the entry: 20 rounds made 40 loads instead of 2."""
    with Holdfast(server.url, namespace=namespace) as new:
        before, after = hf.cache("users", ttl="1h", type=User), new.cache("users", ttl="1h", type=UserOther)
        old_load, new_load = Counting(User(1, "Ann")), Counting(UserOther(1, 5))
        for _ in range(20):
            assert before.get_or_set(1, old_load) == User(1, "Ann")
            assert after.get_or_set(1, new_load) == UserOther(1, 5)
        assert (old_load.calls, new_load.calls) == (1, 1)
        found = after.peek(1)
        assert found and found.value == UserOther(1, 5)
        assert after.stats().undecodable == {"schema": 1}
        before.invalidate(1)
        assert after.get(1) is MISSING  # the variant dies with its entry
        before.set(1, User(1, "Bob"))
        assert after.get(1) is MISSING


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"written by somebody else", "foreign"),
        (b"", "foreign"),
        (b"\xf5\x02" + bytes(80), "version"),
        (b"\xf5\x01\x01\x00" + bytes(10), "corrupt"),
    ],
)
def test_bytes_that_are_no_entry(hf: Holdfast, namespace: str, raw: bytes, reason: str):
    cache = hf.cache("users", ttl="1h")
    hf.execute("SET", f"{namespace}:1:cache:users:{{k}}", raw)
    assert cache.get("k") is MISSING
    assert cache.peek("k") is MISSING
    assert cache.stats().undecodable == {reason: 1}
    assert cache.get_or_set("k", Counting(1)) == 1
    assert cache.get("k") == 1


def test_a_corrupt_payload_is_replaced(hf: Holdfast, namespace: str):
    cache = hf.cache("users", ttl="1h", type=User)
    cache.set("k", User(1))
    hf.execute("SETRANGE", f"{namespace}:1:cache:users:{{k}}", 56, b"\xc1\xc1\xc1")
    assert cache.get_or_set("k", Counting(User(2))) == User(2)
    assert cache.get("k") == User(2)


# --- decorated functions ------------------------------------------------------------------------------------


def test_a_cached_function(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    calls = []

    @cache.cached("user:{user_id}:{lang}", ttl="10m", exclude=["trace"])
    def get_user(user_id: int, lang: str = "en", trace: object = None) -> User:
        """The user."""
        calls.append(user_id)
        return User(user_id, f"{lang}{len(calls)}")

    assert get_user(1) == get_user(user_id=1, lang="en", trace="x") == User(1, "en1")
    assert get_user(2) == User(2, "en2")
    assert get_user.key(1) == "user:1:en"
    assert isinstance(get_user(1), User)
    found = get_user.peek(1)
    assert found and found.value == User(1, "en1") and found.ttl <= 600
    assert get_user.invalidate(1) is True
    assert get_user(1) == User(1, "en3")
    assert get_user.refresh(1) == User(1, "en4")
    assert get_user(1) == User(1, "en4")
    assert get_user.__name__ == "get_user" and get_user.__doc__ == "The user."
    with pytest.raises(TypeError):
        get_user()  # type: ignore[call-arg]


def test_a_cached_method(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name
            self.calls = 0

        @cache.cached("{self.name}:{n}")
        def price(self, n: int) -> str:
            self.calls += 1
            return f"{self.name}{n}"

        @staticmethod
        @cache.cached("static:{n}")
        def twice(n: int) -> int:
            return 2 * n

    a, b = Shop("a"), Shop("b")
    assert [a.price(1), b.price(1), a.price(1)] == ["a1", "b1", "a1"]
    assert (a.calls, b.calls) == (1, 1)
    assert a.price.invalidate(1) and a.price(1) == "a1"
    assert (a.calls, b.calls) == (2, 1)
    assert a.price.key(n=1) == "a:1"
    assert Shop.price(a, 1) == "a1"
    assert Shop.twice(2) == 4


def test_types_of_cached_functions(hf: Holdfast):
    cache: Cache[Any] = hf.cache("users", ttl="1h", type=User)

    @cache.cached("bare:{n}")
    def bare(n: int):
        return User(n)

    @cache.cached("union:{n}")
    def union(n: int) -> User | None:
        return None if n == 0 else User(n)

    @cache.cached("late:{n}")
    def late(n: int) -> list[Later]:
        return [Later(n)]

    class Later(msgspec.Struct):
        n: int

    for _ in range(2):
        assert bare(1) == User(1)
        assert [union(0), union(1)] == [None, User(1)]
    with pytest.raises(ConfigurationError, match="annotation"):
        late(1)


def test_what_cannot_be_decorated(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    with pytest.raises(ConfigurationError, match="leaves out"):

        @cache.cached("user")
        def forgets(user_id: int) -> int:
            return user_id

    with pytest.raises(ConfigurationError, match="ttl"):
        cache.cached("user", ttl="never")


def test_refresh_keeps_the_older_value_until_the_new_one_is_there(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    seen = []

    @cache.cached("n")
    def count() -> int:
        seen.append(cache.get("n"))
        return len(seen)

    assert count() == 1
    assert count.refresh() == 2
    assert seen == [MISSING, 1]


# --- options ------------------------------------------------------------------------------------------------


def test_the_same_cache_for_the_same_name(hf: Holdfast):
    assert hf.cache("users", ttl="1h") is hf.cache("users", ttl=3600)
    with pytest.raises(ConfigurationError, match="ttl"):
        hf.cache("users", ttl="2h")


def test_a_loader_that_asks_for_its_own_key(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")

    def loader() -> Any:
        return cache.get_or_set("k", loader)

    with pytest.raises(ConfigurationError, match="very key"):
        cache.get_or_set("k", loader)

    def outer() -> Any:
        return 1 + cache.get_or_set("inner", Counting(1))

    assert cache.get_or_set("outer", outer) == 2


def test_nested_loads_need_no_second_place(hf: Holdfast):
    """Found: with max_loads=1 the inner load waited for the place that the outer one held."""
    cache = hf.cache("users", ttl="1h", max_loads=1, wait="5s")

    def outer() -> Any:
        return 1 + cache.get_or_set("inner", Counting(1))

    with Crowd() as crowd:
        assert crowd.all(3, lambda: cache.get_or_set("outer", outer)) == [2, 2, 2]


def test_off(hf: Holdfast, server, namespace: str, monkeypatch: pytest.MonkeyPatch):
    """Found without the marker: after the cache was on again, it served what it held before."""
    cache = hf.cache("users", ttl="1h")
    cache.set("k", "before")
    monkeypatch.setenv("HOLDFAST_CACHE_OFF", "other, users")
    with Holdfast(server.url, namespace=namespace) as second:
        off = second.cache("users", ttl="1h")
        loader = Counting("loaded")
        assert off.get("k") is MISSING
        assert [off.get_or_set("k", loader), off.get_or_set("k", loader)] == ["loaded", "loaded"]
        assert loader.calls == 2
        assert off.set("x", 1) is False
        assert off.get("x") is MISSING
        assert off.peek("k") is MISSING
        assert cache.get("k") == "before"
        assert off.invalidate("k") is True
        assert cache.get("k") is MISSING
        cache.set("k", "in between")
        assert off.stats().bypassed == 4
    monkeypatch.delenv("HOLDFAST_CACHE_OFF")
    with Holdfast(server.url, namespace=namespace) as third:
        on = third.cache("users", ttl="1h")
        assert on.get("k") is MISSING
        on.set("k", "after")
    with Holdfast(server.url, namespace=namespace) as fourth:
        assert fourth.cache("users", ttl="1h").get("k") == "after"  # cleared once, not for ever
