# Generated from test_versions_async.py by tools/unasync.py. Do not edit.
"""Versions: an older one never replaces a newer one, and an invalidation can keep older ones out."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import MISSING, Cache, Holdfast, ConfigurationError, current_load
from tests.cache.crowd import Crowd
from tests.cache.test_cache_sync import Counting, Table
from tests.cache.test_faults_sync import Gate

LOWEST, HIGHEST = -(1 << 63) + 1, (1 << 63) - 1
ASCENDING = [LOWEST, -(1 << 32) - 1, -(1 << 32), -(1 << 31), -256, -1, 1, 255, 256, 1 << 31, 1 << 32, HIGHEST]


class Versioned:
    """A loader of a row with a version."""

    def __init__(self, value: Any, version: int | None) -> None:
        self.value = value
        self.version = version

    def __call__(self) -> Any:
        current_load().version = self.version
        return self.value


def stored(cache: Cache[Any], key: Any = "k") -> tuple[Any, int | None]:
    found = cache.peek(key)
    return (found.value, found.version) if found else (MISSING, None)


@pytest.mark.everywhere
def test_an_older_version_is_refused(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    assert cache.set("k", "seven", version=7) is True
    assert cache.set("k", "six", version=6) is False
    assert cache.get("k") == "seven"
    assert cache.stats().refused == {"outdated": 1} and cache.stats().undelivered == 0
    assert cache.set("k", "seven again", version=7) is True
    assert cache.set("k", "eight", version=8) is True
    assert stored(cache) == ("eight", 8)
    assert cache.set("k", "none") is True  # who gives no version knows best
    assert stored(cache) == ("none", None)
    assert cache.set("k", "one", version=1) is True


def test_versions_are_ordered_as_numbers(hf: Holdfast):
    """All 64 bits of them, with their sign. Found with the halves compared unsigned: -1 was the newest."""
    cache = hf.cache("users", ttl="1h")
    for place, version in enumerate(ASCENDING):
        assert cache.set("k", version, version=version) is True
        assert stored(cache) == (version, version)
        if place:
            assert cache.set("k", "older", version=ASCENDING[place - 1]) is False
            assert stored(cache) == (version, version)


@pytest.mark.parametrize("version", [0, True, 1.5, "7", 1 << 63, -(1 << 63), MISSING])
def test_what_is_no_version(hf: Holdfast, version: Any):
    cache = hf.cache("users", ttl="1h")
    through = hf.cache("prices", ttl="1h", source=Table(), write="through")
    for call in (
        lambda: cache.set("k", 1, version=version),
        lambda: cache.invalidate("k", version=version),
        lambda: through.put("k", 1, version=version),
    ):
        with pytest.raises(ConfigurationError, match="version="):
            call()
    assert through.options.source.calls == []


def test_an_older_load_is_refused(hf: Holdfast):
    """The row that it has read was replaced; its reader began before, and may have it."""
    cache = hf.cache("users", ttl="1h")
    cache.set("k", "seven", version=7)
    cache.expire("k")
    assert cache.get_or_set("k", Versioned("six", 6)) == "six"
    assert cache.stats().refused == {"outdated": 1}
    assert stored(cache) == ("seven", 7)
    assert cache.get_or_set("k", Versioned("eight", 8)) == "eight"
    assert stored(cache) == ("eight", 8)
    assert cache.get("k") == "eight"


# --- invalidate(version=) -----------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_invalidate_leaves_what_is_current(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    cache.set("old", 1, version=6)
    cache.set("same", 2, version=7)
    cache.set("newer", 3, version=8)
    cache.set("none", 4)
    keys = ["old", "same", "newer", "none", "never there"]
    assert cache.invalidate(*keys, version=7) is True
    assert cache.get_many(keys) == {"same": 2, "newer": 3}
    for key in ("old", "never there"):
        assert cache.set(key, "older", version=6) is False
        assert cache.get_or_set(key, Versioned("older", 6)) == "older"
        assert cache.get(key) is MISSING
        assert cache.get_or_set(key, Versioned("current", 7)) == "current"
        assert cache.get(key) == "current"


def test_hold_keeps_out_what_a_lagging_replica_says(hf: Holdfast, namespace: str):
    """For so long, whatever does not prove that it is new enough."""
    cache = hf.cache("users", ttl="1h")
    cache.set("k", "six", version=6)
    assert cache.invalidate("k", version=7, hold="60s") is True
    assert cache.get_or_set("k", Counting("unknown")) == "unknown"
    assert cache.get_or_set("k", Versioned("six", 6)) == "six"
    assert cache.get("k") is MISSING
    assert cache.stats().refused == {"outdated": 2}
    assert hf.execute("PEXPIRE", f"{namespace}:1:cache:users:{{k}}:v", 1) == 1

    def held() -> Any:
        cache.get_or_set("k", Counting("later"))
        return cache.get("k")

    Crowd.until(held, "later")
    cache.invalidate("k", version=7, hold="60s")
    assert cache.get_or_set("k", Versioned("seven", 7)) == "seven"
    assert cache.get("k") == "seven"


def test_a_hold_without_a_version_keeps_everything_out_that_has_none(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    cache.set("k", "old")
    assert cache.invalidate("k", hold="60s") is True
    assert cache.get_or_set("k", Counting("unknown")) == "unknown"
    assert cache.get("k") is MISSING
    assert cache.set("k", "told") is True  # a writer's own word counts
    assert cache.get("k") == "told"


def test_holds_add_up(hf: Holdfast):
    """The newer version and the stricter rule stay, in whichever order they come."""
    for first, second in ((7, 9), (9, 7)):
        cache = hf.cache(f"users{first}", ttl="1h")
        cache.invalidate("k", version=first, hold="60s" if first == 7 else None)
        cache.invalidate("k", version=second, hold="60s" if second == 7 else None)
        assert cache.set("k", "eight", version=8) is False
        assert cache.get_or_set("k", Counting("unknown")) == "unknown"
        assert cache.get("k") is MISSING
        assert cache.set("k", "nine", version=9) is True


@pytest.mark.parametrize("hold", [0, -1, "never", True])
def test_what_is_no_hold(hf: Holdfast, hold: Any):
    cache = hf.cache("users", ttl="1h")
    with pytest.raises(ConfigurationError, match="hold="):
        cache.invalidate("k", hold=hold)


def test_a_load_under_way_is_refused_by_any_invalidation(hf: Holdfast):
    """Also by one with a version, and also if what is there stays."""
    cache, gate = hf.cache("users", ttl="1h"), Gate("loaded")
    cache.set("k", "eight", version=8)
    cache.expire("k")
    with Crowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("k", gate))
        assert gate.reading.wait(20)
        cache.invalidate("k", version=7)
        gate.go.fire()
        assert job.result() == "loaded"
    assert stored(cache) == ("eight", 8)


def test_an_invalidation_with_a_version_is_kept_and_delivered(
    hf: Holdfast, faults, namespace: str
):
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        cache, other = mine.cache("users", ttl="1h"), hf.cache("users", ttl="1h")
        cache.set("old", 1, version=6)
        cache.set("newer", 2, version=8)
        faults.refuse()
        faults.cut()
        assert cache.invalidate("old", "newer", version=7) is False
        assert cache.stats().undelivered == 2
        assert cache.get("newer") is MISSING  # who knows
        faults.accept()

        def undelivered() -> int:
            cache.get("old")
            return cache.stats().undelivered

        Crowd.until(undelivered, 0)
        assert [other.get("old"), other.get("newer")] == [MISSING, 2]
        assert other.set("old", "older", version=6) is False


# --- put ----------------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_put_with_a_version(hf: Holdfast):
    """The source has the last word about its rows; the cache never shows an older version than it knew."""
    table = Table()
    cache = hf.cache("prices", ttl="1h", lease="60s", source=table, write="through")
    cache.put("k", "seven", version=7)
    assert stored(cache) == ("seven", 7)
    cache.put("k", "six", version=6)
    assert stored(cache) == (MISSING, None)
    cache.put("k", "eight", version=8)
    assert stored(cache) == ("eight", 8)
    assert cache.get("k") == "eight"


def test_l1_and_versions(hf: Holdfast, server, namespace: str):
    """What stays after an invalidation is served from here again, once it was read anew."""
    from holdfast import L1

    cache = hf.cache("users", ttl="1h", l1=L1())
    with Holdfast(server.url, namespace=namespace) as second:
        other = second.cache("users", ttl="1h")
        cache.set("k", "seven", version=7)

        def near() -> bool:
            assert cache.get("k") == "seven"
            return cache.stats().l1_hits > 0

        Crowd.until(near)
        other.invalidate("k", version=7)
        assert cache.get("k") == "seven"
        other.invalidate("k", version=8)
        Crowd.until(lambda: cache.get("k"), MISSING)
