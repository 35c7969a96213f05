# Generated from test_load_async.py by tools/unasync.py. Do not edit.
"""What a loader may know and say: `current_load()`."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import MISSING, Holdfast, ConfigurationError, current_load
from tests.cache.crowd import Crowd
from tests.cache.test_cache_sync import Counting
from tests.cache.test_stale_sync import PATIENT, outdate


class Telling:
    """A loader that does something with its load first; `before` is what the load said then."""

    def __init__(self, value: Any, tell: Any = None) -> None:
        self.value = value
        self.tell = tell
        self.before: list[tuple[str, Any, str | None]] = []

    def __call__(self) -> Any:
        load = current_load()
        self.before.append((load.key, load.previous, load.etag))
        assert load.version is None
        told = self.tell(load) if self.tell else None
        return self.value if told is None else told


def test_outside_of_a_load():
    with pytest.raises(ConfigurationError, match="loaders and cached functions"):
        current_load()


@pytest.mark.everywhere
def test_a_conditional_refresh(hf: Holdfast):
    """An etag goes from load to load; not_modified() serves what was there for another ttl."""
    cache = hf.cache("pages", **PATIENT)

    def first(load: Any) -> None:
        load.etag = "v1 ü"

    loader, again = Telling({"a": 1}, first), Telling(None, lambda load: load.not_modified())
    assert cache.get_or_set("k", loader, ttl="1ms") == {"a": 1}
    assert loader.before == [("k", MISSING, None)]

    def loads() -> int:
        assert cache.get_or_set("k", again) == {"a": 1}
        return len(again.before)

    Crowd.until(loads, 1)
    Crowd.until(lambda: cache.get("k"), {"a": 1})
    assert again.before == [("k", {"a": 1}, "v1 ü")]
    cache.expire("k")
    assert cache.get_or_set("k", again) == {"a": 1}
    assert again.before[1:] == [("k", {"a": 1}, "v1 ü")]  # kept, since nothing else was said
    cache.invalidate("k")
    with pytest.raises(ConfigurationError, match="look at `previous` first"):
        cache.get_or_set("k", again)
    assert cache.get_or_set("k", Counting("next")) == "next"  # the lease was given back


def test_not_modified_keeps_version_and_tags(hf: Holdfast):
    """What was true of the value still is. Found: it lost both, and so `invalidate_tags` missed it."""
    cache = hf.cache("pages", ttl="1h")

    def first(load: Any) -> None:
        load.version = 7
        load.add_tags("late")

    cache.get_or_set("k", Telling("value", first), tags=["early"])
    for _ in range(2):
        cache.expire("k")
        again = Telling(None, lambda load: load.not_modified())
        assert cache.get_or_set("k", again) == "value"
    found = cache.peek("k")
    assert found and found.version == 7 and not found.stale
    assert cache.set("k", "older", version=6) is False
    assert cache.get("k") == "value"
    for tag in ("early", "late"):
        cache.set("k", "older", version=8)
        cache.invalidate("k")
        cache.get_or_set("k", Telling("value", first), tags=["early"])
        cache.expire("k")
        cache.get_or_set("k", Telling(None, lambda load: load.not_modified()))
        assert cache.get("k") == "value"
        cache.invalidate_tags(tag)
        assert cache.get("k") is MISSING


def test_not_modified_of_what_is_stale_when_a_tag_changes_meanwhile(hf: Holdfast):
    cache = hf.cache("pages", ttl="1h")
    cache.set("k", "value", tags=["t"])
    cache.expire("k")

    def load() -> Any:
        cache.invalidate_tags("t")
        return current_load().not_modified()

    assert cache.get_or_set("k", load) == "value"
    assert cache.get("k") is MISSING


def test_its_own_ttl(hf: Holdfast):
    """It counts more than that of the call and of the cache, also for None; 0 stores nothing."""
    cache = hf.cache("pages", ttl="1h", jitter=0, negative_ttl=0)
    minute = Telling("value", lambda load: load.set_ttl("1m"))
    assert cache.get_or_set("k", minute, ttl="2h") == "value"
    found = cache.peek("k")
    assert found and 50 < found.ttl <= 60
    none = Telling(None, lambda load: load.set_ttl("1m"))
    assert cache.get_or_set("none", none) is None
    assert cache.get("none", "default") is None
    never = Telling("value", lambda load: load.set_ttl(0))
    assert cache.get_or_set("never", never) == "value"
    assert cache.get("never") is MISSING
    cache.expire("k")
    assert cache.get_or_set("k", never) == "value"
    assert cache.peek("k") is MISSING  # nor does what was there before stay


@pytest.mark.parametrize("ttl", [-1, "never", None, float("nan"), True])
def test_a_ttl_that_is_none(hf: Holdfast, ttl: Any):
    cache = hf.cache("pages", ttl="1h")
    with pytest.raises(ConfigurationError, match="ttl"):
        cache.get_or_set("k", Telling(1, lambda load: load.set_ttl(ttl)))
    assert cache.get_or_set("k", Counting("next")) == "next"


@pytest.mark.parametrize("etag", ["x" * 1025, b"v1", 7])
def test_an_etag_that_is_none(hf: Holdfast, etag: Any):
    cache = hf.cache("pages", ttl="1h")
    with pytest.raises(ConfigurationError, match="etag"):
        cache.get_or_set("k", Telling(1, lambda load: setattr(load, "etag", etag)))
    assert cache.get_or_set("k", Counting("next")) == "next"


@pytest.mark.parametrize("version", [0, True, 1.5, "7", 1 << 63, -(1 << 63)])
def test_a_version_that_is_none(hf: Holdfast, version: Any):
    cache = hf.cache("pages", ttl="1h")
    with pytest.raises(ConfigurationError, match="version"):
        cache.get_or_set("k", Telling(1, lambda load: setattr(load, "version", version)))
    assert cache.get_or_set("k", Counting("next")) == "next"


@pytest.mark.parametrize("tag", ["", 7, None, "x" * 1025, "\ud800"])
def test_a_tag_that_is_none(hf: Holdfast, tag: Any):
    cache = hf.cache("pages", ttl="1h")
    with pytest.raises(ConfigurationError, match="tag"):
        cache.get_or_set("k", Telling(1, lambda load: load.add_tags(tag)))
    assert cache.get_or_set("k", Counting("next")) == "next"


def test_tags_and_a_version_of_its_own(hf: Holdfast):
    cache = hf.cache("pages", ttl="1h")

    def tell(load: Any) -> None:
        load.add_tags("site:1", "page")
        load.add_tags("page", "x y")
        load.version = -5

    cache.get_or_set("k", Telling("value", tell))
    found = cache.peek("k")
    assert found and found.version == -5
    assert cache.set("k", "older", version=-6) is False
    assert cache.get("k") == "value"
    assert cache.invalidate_tags("x y") is True
    assert cache.get("k") is MISSING


def test_nested_loads_see_their_own(hf: Holdfast):
    cache = hf.cache("pages", ttl="1h")
    inner = Telling("inner", lambda load: load.set_ttl("1m"))

    def outer() -> str:
        load = current_load()
        assert cache.get_or_set("inside", inner) == "inner"
        assert current_load() is load and load.key == "outside"
        load.add_tags("t")
        return "outer"

    assert cache.get_or_set("outside", outer) == "outer"
    assert inner.before == [("inside", MISSING, None)]
    found = [cache.peek(key) for key in ("inside", "outside")]
    assert all(found) and found[0].ttl <= 60 < found[1].ttl  # type: ignore[union-attr]
    cache.invalidate_tags("t")
    assert [cache.get(key) for key in ("inside", "outside")] == ["inner", MISSING]
    with pytest.raises(ConfigurationError):
        current_load()


def test_a_cached_function_has_a_load_as_well(hf: Holdfast):
    cache = hf.cache("pages", ttl="1h")

    @cache.cached("page:{n}")
    def page(n: int) -> str:
        load = current_load()
        load.add_tags("pages")
        return f"{load.key} {load.previous}"

    assert page(1) == "page:1 MISSING"
    assert page.refresh(1) == "page:1 page:1 MISSING"
    assert page(1) == "page:1 page:1 MISSING"
    cache.invalidate_tags("pages")
    assert page(1) == "page:1 MISSING"


def test_a_load_in_the_background_has_its_own(hf: Holdfast):
    cache = hf.cache("pages", **PATIENT)
    outdate(cache)
    loader = Telling("new")
    assert cache.get_or_set("k", loader) == "old"
    Crowd.until(lambda: cache.get("k"), "new")
    assert loader.before == [("k", "old", None)]
    with pytest.raises(ConfigurationError):
        current_load()


def test_many_at_once_have_one_load(hf: Holdfast):
    cache = hf.cache("pages", ttl="1h", jitter=0)
    seen: list[str] = []

    def load_many(keys: list[Any]) -> dict[Any, Any]:
        load = current_load()
        seen.append(load.key)
        load.add_tags("t")
        load.set_ttl("1m")
        return dict.fromkeys(keys, 1)

    assert cache.get_or_set_many(["a", "b"], load_many) == {"a": 1, "b": 1}
    assert seen == ["a, b"]
    found = cache.peek("b")
    assert found and found.ttl <= 60
    cache.invalidate_tags("t")
    assert cache.get_many(["a", "b"]) == {}
