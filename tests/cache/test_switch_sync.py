# Generated from test_switch_async.py by tools/unasync.py. Do not edit.
"""Off and on for the whole fleet, by one call of one process."""

from __future__ import annotations

import pytest

from holdfast import L1, MISSING, Holdfast, Unavailable
from tests.cache.crowd import Crowd, Observer
from tests.cache.test_bulk_sync import Rows, rows
from tests.cache.test_cache_sync import Counting, Table
from tests.cache.test_faults_sync import Gate
from tests.cache.test_l1_sync import bring_near


@pytest.mark.everywhere
def test_off_and_on(hf: Holdfast, place, namespace: str, transport: str):
    """Found without OFF in `unpacked`: what was filled before was served on."""
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = hf.cache("users", ttl="1h"), second.cache("users", ttl="1h")
        loader = Counting("loaded")
        for key in range(20):
            cache.set(key, "before")
        assert other.get(1) == "before"
        cache.switch_off()
        for one in (cache, other):
            assert one.get(1) is MISSING
            assert [one.get_or_set(1, loader) for _ in range(2)] == ["loaded", "loaded"]
            assert one.get_or_set_many([1, 2], Rows()) == rows(1, 2)
            one.set(3, "meanwhile")
            one.set("s", "meanwhile")
            assert hf.execute("EXISTS", f"{namespace}:1:cache:users:{{s}}") == 0
            assert one.get_many([1, 2, 3]) == {}
            assert one.stats().fills == 0
        assert loader.calls == 4
        other.switch_on()
        for one in (cache, other):
            assert one.get_many(range(20)) == {}
        assert cache.get_or_set(1, loader) == other.get(1) == "loaded"
        assert loader.calls == 5


def test_other_caches_stay_on(hf: Holdfast):
    cache, other = hf.cache("users", ttl="1h"), hf.cache("other", ttl="1h")
    other.set("k", 1)
    cache.switch_off()
    assert other.get("k") == 1


@pytest.mark.everywhere
def test_copies_of_others_go_as_well(hf: Holdfast, place, namespace: str, transport: str):
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = hf.cache("users", ttl="1h", l1=L1()), second.cache("users", ttl="1h")
        cache.set("k", "before")
        bring_near(cache)
        other.switch_off()
        Crowd.until(lambda: cache.get("k"), MISSING)
        assert cache.stats().l1_entries == 0
        other.switch_on()
        assert cache.get_or_set("k", Counting("new")) == "new"
        bring_near(cache)


def test_a_load_under_way_is_not_stored(hf: Holdfast, server, namespace: str):
    """Neither into the cache that is off, nor into the one that is on again."""
    with Holdfast(server.url, namespace=namespace) as second:
        cache, other, gate = hf.cache("users", ttl="1h"), second.cache("users", ttl="1h"), Gate("old")
        with Crowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert gate.reading.wait(20)
            other.switch_off()
            other.switch_on()
            gate.go.fire()
            assert job.result() == "old"
        assert cache.get("k") is MISSING


def test_off_survives_an_eviction_and_a_clear(hf: Holdfast, namespace: str):
    """The epochs say it to every reader; should they go, the switch says it again."""
    watcher = Observer()
    hf.observers.add(watcher)
    cache, loader = hf.cache("users", ttl="1h"), Counting("loaded")
    cache.switch_off()
    keys = [key for key in hf.execute("KEYS", f"{namespace}:1:cache:users:*") if key.endswith(b":e")]
    assert len(keys) == 16 and hf.execute("DEL", *keys) == 16
    for _ in range(2):
        assert cache.get_or_set("k", loader) == "loaded"
        assert cache.get("k") is MISSING
        cache.clear()
    assert loader.calls == 2
    assert "CacheBypassed" in watcher.names()
    cache.switch_on()
    assert cache.get_or_set("k", loader) == cache.get("k") == "loaded"


def test_invalidations_and_puts_go_on(hf: Holdfast):
    table = Table()
    cache = hf.cache("prices", ttl="1h", source=table, write="through")
    cache.switch_off()
    cache.put("k", 1)
    assert cache.invalidate("k") is True and cache.invalidate_tags("t") is True
    assert cache.expire("k") is True
    assert cache.get("k") == 1
    cache.put("k", 2)
    assert cache.get("k") == 2 == table.rows["k"]
    assert cache.stats().undelivered == 0
    assert cache.peek("k") is MISSING
    cache.switch_on()
    assert cache.get("k") == 2


def test_off_with_a_grace_serves_nothing_stale(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", stale="1h", jitter=0)
    cache.set("k", "old", ttl="1ms")
    cache.switch_off()
    assert cache.get_or_set("k", Counting("new")) == "new"
    with pytest.raises(OSError, match="gone"):
        cache.get_or_set("k", Counting(OSError("gone")))


def test_a_switch_that_cannot_be_confirmed_says_so(hf: Holdfast, faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="100ms") as mine:
        cache = mine.cache("users", ttl="1h", timeout="100ms")
        faults.refuse()
        faults.cut()
        with pytest.raises(Unavailable):
            cache.switch_off()
        with pytest.raises(Unavailable):
            cache.switch_on()


def test_max_loads_while_it_is_off(hf: Holdfast):
    """What protects the database then: so many loads at once, and one per key."""
    cache, gate = hf.cache("users", ttl="1h", max_loads=3), Gate("value")
    cache.switch_off()
    keys = iter(range(100))
    with Crowd() as crowd:
        jobs = [crowd.start(lambda: cache.get_or_set(next(keys) % 10, gate)) for _ in range(20)]
        Crowd.until(lambda: gate.now, 3)
        crowd.settle()
        gate.go.fire()
        assert [job.result() for job in jobs] == ["value"] * 20
    assert gate.most == 3
