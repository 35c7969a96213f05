# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What every method of a cache does while all is well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast import MISSING, AsyncCache, AsyncHoldfast, CodecError, ConfigurationError
from tests.cache.crowd import AsyncCrowd


class User(msgspec.Struct):
    id: int
    name: str = "?"


class AsyncTable:
    """A source that counts."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.calls: list[str] = []
        self.failure: Exception | None = None

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.failure:
            raise self.failure

    async def load_many(self, keys):
        self._note("load")
        return {key: self.rows[key] for key in keys if key in self.rows}

    async def save_many(self, mapping):
        self._note("save")
        self.rows.update(mapping)

    async def delete_many(self, keys):
        self._note("delete")
        for key in keys:
            self.rows.pop(key, None)


class AsyncCounting:
    """A loader that counts, and returns or raises what it was told to."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.calls = 0

    async def __call__(self) -> Any:
        self.calls += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


# --- get, set, get_or_set -----------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_set_then_get(ahf: AsyncHoldfast):
    users = ahf.cache("users", ttl="1h", type=User)
    assert await users.get("ann") is MISSING
    assert await users.get("ann", None) is None
    assert await users.set("ann", User(1, "Ann")) is True
    assert await users.get("ann") == User(1, "Ann")


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False, b"\x00\xff", "ü", {"a": [1, None, 2.5]}])
async def test_every_value_is_a_value(ahf: AsyncHoldfast, value: Any):
    cache = ahf.cache("any", ttl="1h")
    loader = AsyncCounting(value)
    assert await cache.get_or_set("k", loader) == value
    assert await cache.get_or_set("k", loader) == value
    assert await cache.get("k", "other") == value
    assert loader.calls == 1


@pytest.mark.everywhere
async def test_a_load_is_stored_once(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", type=User)
    loader = AsyncCounting(User(7))
    assert await cache.get_or_set("k", loader) == User(7)
    assert await cache.get_or_set("k", loader) == User(7)
    stats = cache.stats()
    assert (loader.calls, stats.loads, stats.fills, stats.l2_hits, stats.misses) == (1, 1, 1, 1, 1)


async def test_an_error_is_not_stored(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", lease="60s", wait="5s")
    with pytest.raises(LookupError):
        await cache.get_or_set("k", AsyncCounting(LookupError("gone")))
    assert await cache.get_or_set("k", AsyncCounting(5)) == 5  # and the lease was given back at once
    assert cache.stats().load_errors == 1


async def test_absence_is_remembered(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", negative_ttl="30s")
    loader = AsyncCounting(MISSING)
    assert await cache.get_or_set("k", loader) is MISSING
    assert await cache.get_or_set("k", loader) is MISSING
    assert await cache.get("k", "default") == "default"
    assert loader.calls == 1
    assert cache.stats().negative_hits == 2
    found = await cache.peek("k")
    assert found and found.value is MISSING and found.ttl <= 30


async def test_none_lives_as_long_as_absence(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", negative_ttl="30s", jitter=0)
    await cache.get_or_set("k", AsyncCounting(None))
    found = await cache.peek("k")
    assert found and 0 < found.ttl <= 30
    await cache.set("k", 1)
    found = await cache.peek("k")
    assert found and 30 < found.ttl <= 3600


async def test_negative_ttl_zero_stores_nothing(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", negative_ttl=0)
    loader = AsyncCounting(None)
    assert await cache.get_or_set("k", loader) is None
    assert await cache.get_or_set("k", loader) is None
    assert loader.calls == 2
    await cache.set("k", 1)
    assert await cache.set("k", None) is True  # the older value must not survive it
    assert await cache.get("k") is MISSING


async def test_ttl_of_one_call(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", jitter=0)
    await cache.set("a", 1, ttl="10s")
    await cache.get_or_set("b", AsyncCounting(1), ttl="10s")
    for key in "ab":
        found = await cache.peek(key)
        assert found and found.ttl <= 10


async def test_jitter_shortens_and_never_lengthens(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1000s", jitter=0.5)
    lives = []
    for key in range(20):
        await cache.set(key, 1)
        found = await cache.peek(key)
        assert found
        lives.append(found.ttl)
    assert all(499 < life <= 1000 for life in lives)
    assert max(lives) - min(lives) > 50


async def test_a_value_that_cannot_be_written(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", 1)
    with pytest.raises(CodecError):
        await cache.set("k", object())
    assert await cache.get("k") == 1
    with pytest.raises(CodecError):
        await cache.get_or_set("other", AsyncCounting(object()))


async def test_keys_of_other_types(ahf: AsyncHoldfast):
    cache = ahf.cache("any", ttl="1h")
    keys: list[Any] = [1, "1", True, 1.0, None, b"1", (1, "1"), "", "a:b", "ü {x}"]
    for place, key in enumerate(keys):
        await cache.set(key, place)
    assert [await cache.get(key) for key in keys] == list(range(len(keys)))


# --- invalidate, expire, clear, peek ------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_invalidate(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    await cache.set("a", 1)
    await cache.set("b", 2)
    assert await cache.invalidate("a", "b", "never there") is True
    assert await cache.invalidate() is True
    assert (await cache.get("a"), await cache.get("b")) == (MISSING, MISSING)


async def test_operators_invalidate_by_hand(ahf: AsyncHoldfast, namespace: str):
    cache = ahf.cache("users", ttl="1h")
    await cache.set("a b", 1)
    key = f"{namespace}:1:cache:users:{{a%20b}}"
    assert await ahf.execute("UNLINK", key, f"{key}:f") == 1
    assert await cache.get("a b") is MISSING


@pytest.mark.everywhere
async def test_expire_keeps_the_value_for_errors(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", 1)
    assert await cache.expire("k", "never there") is True
    assert await cache.get("k") is MISSING
    assert await cache.get_or_set("k", AsyncCounting(OSError("database gone"))) == 1
    assert await cache.get_or_set("k", AsyncCounting(OSError("database gone"))) == 1
    assert cache.stats().served_expired == 2
    found = await cache.peek("k")
    assert found and found.stale and found.value == 1 and found.ttl > 3000
    assert await cache.get_or_set("k", AsyncCounting(2)) == 2
    with pytest.raises(OSError, match="gone"):
        await cache.invalidate("k")
        await cache.get_or_set("k", AsyncCounting(OSError("database gone")))


@pytest.mark.everywhere
async def test_clear(ahf: AsyncHoldfast):
    cache, other = ahf.cache("users", ttl="1h"), ahf.cache("other", ttl="1h")
    for key in range(40):
        await cache.set(key, key)
    await other.set(1, "stays")
    await cache.clear()
    assert {await cache.get(key) for key in range(40)} == {MISSING}
    assert await other.get(1) == "stays"
    assert await cache.get_or_set(1, AsyncCounting("new")) == "new"
    assert await cache.get(1) == "new"


async def test_an_evicted_epoch_makes_misses_never_hits(ahf: AsyncHoldfast, namespace: str):
    """Found with epochs made as "0" again: the entry of before the eviction was a hit."""
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", "old")
    epochs = [key for key in await ahf.execute("KEYS", f"{namespace}:1:cache:users:*") if key.endswith(b":e")]
    assert len(epochs) == 1
    await ahf.execute("DEL", *epochs)
    assert await cache.get("k") is MISSING
    for other in range(100):  # some of them share its shard
        await cache.get_or_set(other, AsyncCounting(1))
    assert await cache.get("k") is MISSING
    assert await cache.get_or_set("k", AsyncCounting("new")) == "new"
    assert await cache.get("k") == "new"


async def test_peek(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", type=User)
    assert await cache.peek("k") is MISSING
    await cache.set("k", User(1))
    found = await cache.peek("k")
    assert found and found.value == User(1) and found.layer == "l2" and found.version is None
    assert not found.stale and 0 <= found.age < 600 and 3000 < found.ttl <= 3600
    assert cache.stats().l2_hits == 0


# --- sources ------------------------------------------------------------------------------------------------


async def test_read_through(ahf: AsyncHoldfast):
    table = AsyncTable()
    table.rows = {7: 19.5, "none": None}
    prices = ahf.cache("prices", ttl="5m", source=table)
    assert [await prices.get(7), await prices.get(7)] == [19.5, 19.5]
    assert [await prices.get("none", 1), await prices.get("none", 1)] == [None, None]
    assert [await prices.get(8), await prices.get(8, 0)] == [MISSING, 0]
    assert table.calls == ["load"] * 3
    with pytest.raises(ConfigurationError, match="put"):
        await prices.set(7, 1)
    with pytest.raises(ConfigurationError, match="through"):
        await prices.put(7, 1)
    with pytest.raises(ConfigurationError, match="through"):
        await prices.remove(7)


@pytest.mark.everywhere
async def test_write_through(ahf: AsyncHoldfast):
    table = AsyncTable()
    prices = ahf.cache("prices", ttl="5m", source=table, write="through")
    await prices.put(7, 19.5)
    assert table.rows == {7: 19.5}
    assert await prices.get(7) == 19.5
    assert table.calls == ["save"]
    found = await prices.peek(7)
    assert found and 0 < found.ttl <= 300
    await prices.remove(7)
    assert table.rows == {}
    assert await prices.get(7, "none") == "none"
    assert table.calls == ["save", "delete", "load"]


async def test_a_put_that_fails_leaves_nothing(ahf: AsyncHoldfast):
    """The source may have done it all the same: the older value goes. Found: readers waited for a lease."""
    table = AsyncTable()
    prices = ahf.cache("prices", ttl="5m", lease="60s", wait="5s", source=table, write="through")
    await prices.put(7, 1)
    table.failure = OSError("connection lost")
    with pytest.raises(OSError, match="lost"):
        await prices.put(7, 2)
    assert await prices.peek(7) is MISSING
    table.failure = None
    table.rows[7] = 2
    assert await prices.get(7) == 2
    assert prices.stats().undelivered == 0


async def test_a_source_of_the_wrong_kind(ahf: AsyncHoldfast):
    with pytest.raises(ConfigurationError, match="load_many"):
        ahf.cache("prices", ttl="5m", source=object())
    with pytest.raises(ConfigurationError, match="source="):
        ahf.cache("prices", ttl="5m", write="through")


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


async def test_releases_that_can_read_each_other(ahf: AsyncHoldfast, server, namespace: str):
    async with AsyncHoldfast(server.url, namespace=namespace) as new:
        before, after = ahf.cache("users", ttl="1h", type=User), new.cache("users", ttl="1h", type=UserNext)
        await before.set(1, User(1, "Ann"))
        assert await after.get(1) == UserNext(1, "Ann", "none")
        await after.set(1, UserNext(1, "Bob", "b@x"))
        assert await before.get(1) == User(1, "Bob")


async def test_releases_that_cannot_do_not_replace_each_other(ahf: AsyncHoldfast, server, namespace: str):
    """Found when a variant was stored as the entry: 20 rounds made 40 loads instead of 2."""
    async with AsyncHoldfast(server.url, namespace=namespace) as new:
        before, after = ahf.cache("users", ttl="1h", type=User), new.cache("users", ttl="1h", type=UserOther)
        old_load, new_load = AsyncCounting(User(1, "Ann")), AsyncCounting(UserOther(1, 5))
        for _ in range(20):
            assert await before.get_or_set(1, old_load) == User(1, "Ann")
            assert await after.get_or_set(1, new_load) == UserOther(1, 5)
        assert (old_load.calls, new_load.calls) == (1, 1)
        found = await after.peek(1)
        assert found and found.value == UserOther(1, 5)
        assert after.stats().undecodable == {"schema": 1}
        await before.invalidate(1)
        assert await after.get(1) is MISSING  # the variant dies with its entry
        await before.set(1, User(1, "Bob"))
        assert await after.get(1) is MISSING


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"written by somebody else", "foreign"),
        (b"", "foreign"),
        (b"\xf5\x02" + bytes(80), "version"),
        (b"\xf5\x01\x01\x00" + bytes(10), "corrupt"),
    ],
)
async def test_bytes_that_are_no_entry(ahf: AsyncHoldfast, namespace: str, raw: bytes, reason: str):
    cache = ahf.cache("users", ttl="1h")
    await ahf.execute("SET", f"{namespace}:1:cache:users:{{k}}", raw)
    assert await cache.get("k") is MISSING
    assert await cache.peek("k") is MISSING
    assert cache.stats().undecodable == {reason: 1}
    assert await cache.get_or_set("k", AsyncCounting(1)) == 1
    assert await cache.get("k") == 1


async def test_a_corrupt_payload_is_replaced(ahf: AsyncHoldfast, namespace: str):
    cache = ahf.cache("users", ttl="1h", type=User)
    await cache.set("k", User(1))
    await ahf.execute("SETRANGE", f"{namespace}:1:cache:users:{{k}}", 56, b"\xc1\xc1\xc1")
    assert await cache.get_or_set("k", AsyncCounting(User(2))) == User(2)
    assert await cache.get("k") == User(2)


# --- decorated functions ------------------------------------------------------------------------------------


async def test_a_cached_function(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    calls = []

    @cache.cached("user:{user_id}:{lang}", ttl="10m", exclude=["trace"])
    async def get_user(user_id: int, lang: str = "en", trace: object = None) -> User:
        """The user."""
        calls.append(user_id)
        return User(user_id, f"{lang}{len(calls)}")

    assert await get_user(1) == await get_user(user_id=1, lang="en", trace="x") == User(1, "en1")
    assert await get_user(2) == User(2, "en2")
    assert get_user.key(1) == "user:1:en"
    assert isinstance(await get_user(1), User)
    found = await get_user.peek(1)
    assert found and found.value == User(1, "en1") and found.ttl <= 600
    assert await get_user.invalidate(1) is True
    assert await get_user(1) == User(1, "en3")
    assert await get_user.refresh(1) == User(1, "en4")
    assert await get_user(1) == User(1, "en4")
    assert get_user.__name__ == "get_user" and get_user.__doc__ == "The user."
    with pytest.raises(TypeError):
        await get_user()  # type: ignore[call-arg]


async def test_a_cached_method(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name
            self.calls = 0

        @cache.cached("{self.name}:{n}")
        async def price(self, n: int) -> str:
            self.calls += 1
            return f"{self.name}{n}"

        @staticmethod
        @cache.cached("static:{n}")
        async def twice(n: int) -> int:
            return 2 * n

    a, b = Shop("a"), Shop("b")
    assert [await a.price(1), await b.price(1), await a.price(1)] == ["a1", "b1", "a1"]
    assert (a.calls, b.calls) == (1, 1)
    assert await a.price.invalidate(1) and await a.price(1) == "a1"
    assert (a.calls, b.calls) == (2, 1)
    assert a.price.key(n=1) == "a:1"
    assert await Shop.price(a, 1) == "a1"
    assert await Shop.twice(2) == 4


async def test_types_of_cached_functions(ahf: AsyncHoldfast):
    cache: AsyncCache[Any] = ahf.cache("users", ttl="1h", type=User)

    @cache.cached("bare:{n}")
    async def bare(n: int):
        return User(n)

    @cache.cached("union:{n}")
    async def union(n: int) -> User | None:
        return None if n == 0 else User(n)

    @cache.cached("late:{n}")
    async def late(n: int) -> list[Later]:
        return [Later(n)]

    class Later(msgspec.Struct):
        n: int

    for _ in range(2):
        assert await bare(1) == User(1)
        assert [await union(0), await union(1)] == [None, User(1)]
    with pytest.raises(ConfigurationError, match="annotation"):
        await late(1)


async def test_what_cannot_be_decorated(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    with pytest.raises(ConfigurationError, match="leaves out"):

        @cache.cached("user")
        async def forgets(user_id: int) -> int:
            return user_id

    with pytest.raises(ConfigurationError, match="ttl"):
        cache.cached("user", ttl="never")


async def test_refresh_keeps_the_older_value_until_the_new_one_is_there(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    seen = []

    @cache.cached("n")
    async def count() -> int:
        seen.append(await cache.get("n"))
        return len(seen)

    assert await count() == 1
    assert await count.refresh() == 2
    assert seen == [MISSING, 1]


# --- options ------------------------------------------------------------------------------------------------


async def test_the_same_cache_for_the_same_name(ahf: AsyncHoldfast):
    assert ahf.cache("users", ttl="1h") is ahf.cache("users", ttl=3600)
    with pytest.raises(ConfigurationError, match="ttl"):
        ahf.cache("users", ttl="2h")


async def test_a_loader_that_asks_for_its_own_key(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")

    async def loader() -> Any:
        return await cache.get_or_set("k", loader)

    with pytest.raises(ConfigurationError, match="very key"):
        await cache.get_or_set("k", loader)

    async def outer() -> Any:
        return 1 + await cache.get_or_set("inner", AsyncCounting(1))

    assert await cache.get_or_set("outer", outer) == 2


async def test_nested_loads_need_no_second_place(ahf: AsyncHoldfast):
    """Found: with max_loads=1 the inner load waited for the place that the outer one held."""
    cache = ahf.cache("users", ttl="1h", max_loads=1, wait="5s")

    async def outer() -> Any:
        return 1 + await cache.get_or_set("inner", AsyncCounting(1))

    async with AsyncCrowd() as crowd:
        assert await crowd.all(3, lambda: cache.get_or_set("outer", outer)) == [2, 2, 2]


async def test_off(ahf: AsyncHoldfast, server, namespace: str, monkeypatch: pytest.MonkeyPatch):
    """Found without the marker: after the cache was on again, it served what it held before."""
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", "before")
    monkeypatch.setenv("HOLDFAST_CACHE_OFF", "other, users")
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        off = second.cache("users", ttl="1h")
        loader = AsyncCounting("loaded")
        assert await off.get("k") is MISSING
        assert [await off.get_or_set("k", loader), await off.get_or_set("k", loader)] == ["loaded", "loaded"]
        assert loader.calls == 2
        assert await off.set("x", 1) is False
        assert await off.get("x") is MISSING
        assert await off.peek("k") is MISSING
        assert await cache.get("k") == "before"
        assert await off.invalidate("k") is True
        assert await cache.get("k") is MISSING
        await cache.set("k", "in between")
        assert off.stats().bypassed == 4
    monkeypatch.delenv("HOLDFAST_CACHE_OFF")
    async with AsyncHoldfast(server.url, namespace=namespace) as third:
        on = third.cache("users", ttl="1h")
        assert await on.get("k") is MISSING
        await on.set("k", "after")
    async with AsyncHoldfast(server.url, namespace=namespace) as fourth:
        assert await fourth.cache("users", ttl="1h").get("k") == "after"  # cleared once, not for ever
