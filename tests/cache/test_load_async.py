# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a loader may know and say: `current_load()`."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import MISSING, AsyncHoldfast, ConfigurationError, current_load
from tests.cache.crowd import AsyncCrowd
from tests.cache.test_cache_async import AsyncCounting
from tests.cache.test_stale_async import PATIENT, outdate


class AsyncTelling:
    """A loader that does something with its load first; `before` is what the load said then."""

    def __init__(self, value: Any, tell: Any = None) -> None:
        self.value = value
        self.tell = tell
        self.before: list[tuple[str, Any, str | None]] = []

    async def __call__(self) -> Any:
        load = current_load()
        self.before.append((load.key, load.previous, load.etag))
        assert load.version is None
        told = self.tell(load) if self.tell else None
        return self.value if told is None else told


def test_outside_of_a_load():
    with pytest.raises(ConfigurationError, match="loaders and cached functions"):
        current_load()


@pytest.mark.everywhere
async def test_a_conditional_refresh(ahf: AsyncHoldfast):
    """An etag goes from load to load; not_modified() serves what was there for another ttl."""
    cache = ahf.cache("pages", **PATIENT)

    def first(load: Any) -> None:
        load.etag = "v1 ü"

    loader, again = AsyncTelling({"a": 1}, first), AsyncTelling(None, lambda load: load.not_modified())
    assert await cache.get_or_set("k", loader, ttl="1ms") == {"a": 1}
    assert loader.before == [("k", MISSING, None)]

    async def loads() -> int:
        assert await cache.get_or_set("k", again) == {"a": 1}
        return len(again.before)

    await AsyncCrowd.until(loads, 1)
    await AsyncCrowd.until(lambda: cache.get("k"), {"a": 1})
    assert again.before == [("k", {"a": 1}, "v1 ü")]
    await cache.expire("k")
    assert await cache.get_or_set("k", again) == {"a": 1}
    assert again.before[1:] == [("k", {"a": 1}, "v1 ü")]  # kept, since nothing else was said
    await cache.invalidate("k")
    with pytest.raises(ConfigurationError, match="look at `previous` first"):
        await cache.get_or_set("k", again)
    assert await cache.get_or_set("k", AsyncCounting("next")) == "next"  # the lease was given back


async def test_not_modified_keeps_version_and_tags(ahf: AsyncHoldfast):
    """What was true of the value still is. Found: it lost both, and so `invalidate_tags` missed it."""
    cache = ahf.cache("pages", ttl="1h")

    def first(load: Any) -> None:
        load.version = 7
        load.add_tags("late")

    await cache.get_or_set("k", AsyncTelling("value", first), tags=["early"])
    for _ in range(2):
        await cache.expire("k")
        again = AsyncTelling(None, lambda load: load.not_modified())
        assert await cache.get_or_set("k", again) == "value"
    found = await cache.peek("k")
    assert found and found.version == 7 and not found.stale
    assert await cache.set("k", "older", version=6) is False
    assert await cache.get("k") == "value"
    for tag in ("early", "late"):
        await cache.set("k", "older", version=8)
        await cache.invalidate("k")
        await cache.get_or_set("k", AsyncTelling("value", first), tags=["early"])
        await cache.expire("k")
        await cache.get_or_set("k", AsyncTelling(None, lambda load: load.not_modified()))
        assert await cache.get("k") == "value"
        await cache.invalidate_tags(tag)
        assert await cache.get("k") is MISSING


async def test_not_modified_of_what_is_stale_when_a_tag_changes_meanwhile(ahf: AsyncHoldfast):
    cache = ahf.cache("pages", ttl="1h")
    await cache.set("k", "value", tags=["t"])
    await cache.expire("k")

    async def load() -> Any:
        await cache.invalidate_tags("t")
        return current_load().not_modified()

    assert await cache.get_or_set("k", load) == "value"
    assert await cache.get("k") is MISSING


async def test_its_own_ttl(ahf: AsyncHoldfast):
    """It counts more than that of the call and of the cache, also for None; 0 stores nothing."""
    cache = ahf.cache("pages", ttl="1h", jitter=0, negative_ttl=0)
    minute = AsyncTelling("value", lambda load: load.set_ttl("1m"))
    assert await cache.get_or_set("k", minute, ttl="2h") == "value"
    found = await cache.peek("k")
    assert found and 50 < found.ttl <= 60
    none = AsyncTelling(None, lambda load: load.set_ttl("1m"))
    assert await cache.get_or_set("none", none) is None
    assert await cache.get("none", "default") is None
    never = AsyncTelling("value", lambda load: load.set_ttl(0))
    assert await cache.get_or_set("never", never) == "value"
    assert await cache.get("never") is MISSING
    await cache.expire("k")
    assert await cache.get_or_set("k", never) == "value"
    assert await cache.peek("k") is MISSING  # nor does what was there before stay


@pytest.mark.parametrize("ttl", [-1, "never", None, float("nan"), True])
async def test_a_ttl_that_is_none(ahf: AsyncHoldfast, ttl: Any):
    cache = ahf.cache("pages", ttl="1h")
    with pytest.raises(ConfigurationError, match="ttl"):
        await cache.get_or_set("k", AsyncTelling(1, lambda load: load.set_ttl(ttl)))
    assert await cache.get_or_set("k", AsyncCounting("next")) == "next"


@pytest.mark.parametrize("etag", ["x" * 1025, b"v1", 7])
async def test_an_etag_that_is_none(ahf: AsyncHoldfast, etag: Any):
    cache = ahf.cache("pages", ttl="1h")
    with pytest.raises(ConfigurationError, match="etag"):
        await cache.get_or_set("k", AsyncTelling(1, lambda load: setattr(load, "etag", etag)))
    assert await cache.get_or_set("k", AsyncCounting("next")) == "next"


@pytest.mark.parametrize("version", [0, True, 1.5, "7", 1 << 63, -(1 << 63)])
async def test_a_version_that_is_none(ahf: AsyncHoldfast, version: Any):
    cache = ahf.cache("pages", ttl="1h")
    with pytest.raises(ConfigurationError, match="version"):
        await cache.get_or_set("k", AsyncTelling(1, lambda load: setattr(load, "version", version)))
    assert await cache.get_or_set("k", AsyncCounting("next")) == "next"


@pytest.mark.parametrize("tag", ["", 7, None, "x" * 1025, "\ud800"])
async def test_a_tag_that_is_none(ahf: AsyncHoldfast, tag: Any):
    cache = ahf.cache("pages", ttl="1h")
    with pytest.raises(ConfigurationError, match="tag"):
        await cache.get_or_set("k", AsyncTelling(1, lambda load: load.add_tags(tag)))
    assert await cache.get_or_set("k", AsyncCounting("next")) == "next"


async def test_tags_and_a_version_of_its_own(ahf: AsyncHoldfast):
    cache = ahf.cache("pages", ttl="1h")

    def tell(load: Any) -> None:
        load.add_tags("site:1", "page")
        load.add_tags("page", "x y")
        load.version = -5

    await cache.get_or_set("k", AsyncTelling("value", tell))
    found = await cache.peek("k")
    assert found and found.version == -5
    assert await cache.set("k", "older", version=-6) is False
    assert await cache.get("k") == "value"
    assert await cache.invalidate_tags("x y") is True
    assert await cache.get("k") is MISSING


async def test_nested_loads_see_their_own(ahf: AsyncHoldfast):
    cache = ahf.cache("pages", ttl="1h")
    inner = AsyncTelling("inner", lambda load: load.set_ttl("1m"))

    async def outer() -> str:
        load = current_load()
        assert await cache.get_or_set("inside", inner) == "inner"
        assert current_load() is load and load.key == "outside"
        load.add_tags("t")
        return "outer"

    assert await cache.get_or_set("outside", outer) == "outer"
    assert inner.before == [("inside", MISSING, None)]
    found = [await cache.peek(key) for key in ("inside", "outside")]
    assert all(found) and found[0].ttl <= 60 < found[1].ttl  # type: ignore[union-attr]
    await cache.invalidate_tags("t")
    assert [await cache.get(key) for key in ("inside", "outside")] == ["inner", MISSING]
    with pytest.raises(ConfigurationError):
        current_load()


async def test_a_cached_function_has_a_load_as_well(ahf: AsyncHoldfast):
    cache = ahf.cache("pages", ttl="1h")

    @cache.cached("page:{n}")
    async def page(n: int) -> str:
        load = current_load()
        load.add_tags("pages")
        return f"{load.key} {load.previous}"

    assert await page(1) == "page:1 MISSING"
    assert await page.refresh(1) == "page:1 page:1 MISSING"
    assert await page(1) == "page:1 page:1 MISSING"
    await cache.invalidate_tags("pages")
    assert await page(1) == "page:1 MISSING"


async def test_a_load_in_the_background_has_its_own(ahf: AsyncHoldfast):
    cache = ahf.cache("pages", **PATIENT)
    await outdate(cache)
    loader = AsyncTelling("new")
    assert await cache.get_or_set("k", loader) == "old"
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    assert loader.before == [("k", "old", None)]
    with pytest.raises(ConfigurationError):
        current_load()


async def test_many_at_once_have_one_load(ahf: AsyncHoldfast):
    cache = ahf.cache("pages", ttl="1h", jitter=0)
    seen: list[str] = []

    async def load_many(keys: list[Any]) -> dict[Any, Any]:
        load = current_load()
        seen.append(load.key)
        load.add_tags("t")
        load.set_ttl("1m")
        return dict.fromkeys(keys, 1)

    assert await cache.get_or_set_many(["a", "b"], load_many) == {"a": 1, "b": 1}
    assert seen == ["a, b"]
    found = await cache.peek("b")
    assert found and found.ttl <= 60
    await cache.invalidate_tags("t")
    assert await cache.get_many(["a", "b"]) == {}
