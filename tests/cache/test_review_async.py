# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a second hostile reader of the cache found: undo the guard and the test fails. See test_review.py."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import (
    L1,
    MISSING,
    AsyncHoldfast,
    LoadTimeout,
    NoPermission,
    OutOfMemory,
    Unavailable,
    current_load,
)
from holdfast._compat import ASignal
from holdfast._coord.naming import text
from holdfast.cache import _source_async
from tests.cache.crowd import AsyncCrowd
from tests.cache.test_bulk_async import AsyncRows, rows
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_faults_async import AsyncGate
from tests.cache.test_l1_async import bring_near
from tests.cache.test_stale_async import PATIENT, outdate

# --- what a load is told ------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["before", "after"])
async def test_a_tag_that_changes_between_the_read_and_the_lease(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch, known: str
):
    """Found: the loader was shown what was read before, and not_modified() stored that anew."""
    cache = ahf.cache("pages", **PATIENT)
    site, early = ["old"], ["site"] if known == "before" else []

    async def load() -> Any:
        mine = current_load()
        if known == "after":
            mine.add_tags("site")
        if mine.etag == "v1":
            return mine.not_modified()
        mine.etag = "v1"
        return site[0]

    assert await cache.get_or_set("k", load, tags=early) == "old"
    await cache.expire("k")
    store: Any = cache._store
    ask = store.ask

    async def ask_late(*arguments: Any) -> Any:
        site[0] = "new"
        assert await cache.invalidate_tags("site") is True
        return await ask(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store, "ask", ask_late)
        assert await cache.get_or_set("k", load, tags=early) == "new"
    assert await cache.get("k") == "new"


async def test_a_reader_who_changes_what_is_stale(ahf: AsyncHoldfast):
    """Found: the loader was shown the reader's own object, and not_modified() stored what it had become."""
    cache, gate = ahf.cache("pages", **PATIENT), AsyncGate()
    await outdate(cache, "k", {"a": 1})

    async def load() -> Any:
        mine = current_load()
        await gate()
        return mine.not_modified()

    value = await cache.get_or_set("k", load)
    assert value == {"a": 1} and await gate.reading.wait(20)
    value["a"] = 666
    gate.go.fire()

    async def is_fresh() -> bool:
        found = await cache.peek("k")
        return bool(found and not found.stale)

    await AsyncCrowd.until(is_fresh)
    assert await cache.get("k") == {"a": 1}


# --- how long a reader waits --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"hard_timeout": "20s"}, {"stale": "30s", "soft_timeout": "20s"}])
async def test_wait_is_for_the_loads_of_others(ahf: AsyncHoldfast, options: Any):
    """Found: with a soft or a hard timeout, a reader's own load was given up after `wait` as well."""
    cache, gate = ahf.cache("users", ttl="1h", wait=0, **options), AsyncGate("value")
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("k", gate))
        assert await gate.reading.wait(20)
        await crowd.settle()
        assert not job.done
        gate.go.fire()
        assert await job.result() == "value"


async def test_a_soft_timeout_is_for_what_is_stale(ahf: AsyncHoldfast):
    """What was expired is wrong, as far as anybody knows. Found: it was served after `soft_timeout`."""
    cache, gate = ahf.cache("users", **PATIENT, soft_timeout="1ms"), AsyncGate("new")
    await cache.set("k", "old")
    await cache.expire("k")
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("k", gate))
        assert await gate.reading.wait(20)
        await crowd.settle()
        gate.go.fire()
        assert await job.result() == "new"
    assert cache.stats().served_expired == 0


async def test_a_load_of_many_takes_no_longer_than_hard_timeout(ahf: AsyncHoldfast):
    """Found: as long as its loader."""
    cache = ahf.cache("rows", ttl="1h", hard_timeout="30ms", lease="60s")
    loader = AsyncRows(gate=AsyncGate())
    with pytest.raises(LoadTimeout, match="hard_timeout"):
        await cache.get_or_set_many([1, 2], loader)
    assert cache.stats().hard_timeouts == 1
    assert loader.gate is not None
    loader.gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get_many([1, 2]), rows(1, 2))
    assert loader.asked == [[1, 2]]


async def test_hard_timeout_of_many_serves_what_was_expired(ahf: AsyncHoldfast):
    cache = ahf.cache("rows", ttl="1h", hard_timeout="30ms", lease="60s")
    loader = AsyncRows(gate=AsyncGate())
    for key in (1, 2):
        await cache.set(key, "old")
        await cache.expire(key)
    assert await cache.get_or_set_many([1, 2], loader) == {1: "old", 2: "old"}
    assert loader.gate is not None
    loader.gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get_many([1, 2]), rows(1, 2))


@pytest.mark.parametrize("option", ["hard_timeout", "stale"])
async def test_load_scope_is_around_a_load_of_many_by_somebody_else(ahf: AsyncHoldfast, option: str):
    """Found: not with `hard_timeout`, though that load has a thread of its own too."""
    seen: list[str] = []

    class Scope:
        def __enter__(self) -> None:
            seen.append("enter")

        def __exit__(self, *_: object) -> None:
            seen.append("exit")

    async def loader(keys: list[int]) -> dict[int, str]:
        seen.append("load")
        return rows(*keys)

    options = {"hard_timeout": "20s"} if option == "hard_timeout" else PATIENT
    cache = ahf.cache("rows", **{"ttl": "1h", **options}, load_scope=Scope)
    if option == "stale":
        await outdate(cache, 1)
    await cache.get_or_set_many([1], loader)
    await AsyncCrowd.until(lambda: cache.get_many([1]), rows(1))
    assert seen == ["enter", "load", "exit"]
    await ahf.cache("plain", ttl="1h", load_scope=Scope).get_or_set_many([1], loader)
    assert seen[3:] == ["load"]  # its caller has one already


# --- what Redis does not get, or late -----------------------------------------------------------------------


@pytest.mark.parametrize("last", ["version", "plain"])
async def test_two_kinds_of_invalidation_are_both_delivered(
    ahf: AsyncHoldfast, faults, namespace: str, last: str
):
    """Found: the one that came last took the place of the first, of which it does only a part."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        cache, other = mine.cache("users", ttl="1h"), ahf.cache("users", ttl="1h")
        await other.set("k", "old", version=7)
        assert await cache.get("k") == "old"
        faults.refuse()
        faults.cut()
        if last == "version":
            assert await cache.invalidate("k") is False
            assert await cache.invalidate("k", version=5) is False  # leaves 7
        else:
            assert await cache.invalidate("k", version=8, hold="1m") is False
            assert await cache.invalidate("k") is False  # holds nothing
        faults.accept()
        await AsyncCrowd.until(lambda: cache.stats().undelivered, 0)
        assert await other.get("k") is MISSING
        assert await other.set("k", "old", version=7) is (last == "version")


async def test_a_key_is_used_again_when_all_is_delivered(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Found: when the first of two was, which may leave what the second removes."""
    cache: Any = ahf.cache("users", ttl="1h")
    await cache.set("k", "old", version=7)
    store, kept = cache._store, []
    with monkeypatch.context() as patch:
        patch.setattr(store.wire.hub, "deliver", lambda *one: kept.append(one))
        patch.setattr(store, "worth_asking", lambda: False)
        assert await cache.invalidate("k", version=5) is False
        assert await cache.invalidate("k") is False
    assert len({what for what, _, _ in kept}) == 2  # else the outbox takes one for the other
    for left, (_, command, delivered) in zip((1, 0), kept, strict=True):
        assert await cache.get("k") is MISSING
        await ahf.execute(*command)
        delivered()
        assert cache.stats().undelivered == left
    assert await cache.get_or_set("k", AsyncCounting("new")) == await cache.get("k") == "new"


@pytest.mark.parametrize("many", [False, True])
async def test_a_lease_without_its_tags_is_given_back(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch, many: bool
):
    """As when the tags are on a node that is full. Found: others waited until the lease had ended."""
    cache: Any = ahf.cache("users", ttl="1h", lease="60s", wait="3s")

    async def full(*_: Any) -> None:
        raise OutOfMemory("OOM command not allowed", code="OOM")

    with monkeypatch.context() as patch:
        patch.setattr(cache._store.tags, "ensure", full)
        if many:
            assert await cache.get_or_set_many([1], AsyncRows(), tags=["t"]) == rows(1)
        else:
            assert await cache.get_or_set(1, AsyncCounting("value"), tags=["t"]) == "value"
    assert cache.stats().refused == {"out_of_memory": 1}
    assert await cache.get_or_set(1, AsyncCounting("next"), tags=["t"]) == "next"


@pytest.mark.parametrize("error", [Unavailable("frozen"), NoPermission("NOPERM", code="NOPERM")])
async def test_a_load_without_guards(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch, error: Exception):
    """They are for tags that only the load tells. Found: nothing was stored without them, or an error."""
    cache: Any = ahf.cache("users", ttl="1h")

    async def fail(*_: Any) -> None:
        raise error

    async def late() -> str:
        current_load().add_tags("late")
        return "late"

    monkeypatch.setattr(cache._store.tags, "guards", fail)
    assert await cache.get_or_set("k", AsyncCounting("value"), tags=["t"]) == "value"
    assert await cache.get("k") == "value"
    assert await cache.get_or_set("late", late) == "late"
    assert await cache.get("late") is MISSING


@pytest.mark.parametrize("what", ["many", "pieces"])
async def test_over_a_slow_link_nothing_is_too_late(faults, namespace: str, what: str):
    """Each answer comes in time, all of them take longer than `timeout`. Found: refused as too late."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="240ms") as mine:
        cache = mine.cache("users", ttl="1h", chunk_above="1KiB")
        await cache.set_many(dict.fromkeys(range(80), "old"))
        faults.delay(0.02)
        if what == "many":  # of sixteen epochs
            assert await cache.set_many(dict.fromkeys(range(80), "value")) is True
        else:
            assert await cache.set("k", "x" * 15_000) is True
        faults.delay(0)
        assert cache.stats().undelivered == 0
        assert await cache.get(7 if what == "many" else "k") in {"value", "x" * 15_000}


async def test_many_values_are_stored_in_one_write(faults, namespace: str):
    """Found: a write and a round trip for each."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as mine:
        cache = mine.cache("rows", ttl="1h")
        before = [0]

        async def loader(keys: list[int]) -> dict[int, str]:
            before[0] = faults.writes
            return rows(*keys)

        await cache.get_or_set_many(range(3), loader)
        await cache.get_or_set_many(range(100, 130), loader)
        assert 1 <= faults.writes - before[0] <= 3  # and, perhaps, somebody else's
        assert await cache.get_many(range(100, 130)) == rows(*range(100, 130))


# --- sources ------------------------------------------------------------------------------------------------


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> list[ASignal]:
    """Loads together are gathered until the signal in here fires; put it in."""
    signals: list[ASignal] = []

    async def rest(_: float) -> None:
        assert await signals[-1].wait(20)

    monkeypatch.setattr(_source_async, "asleep", rest)
    return signals


class AsyncSaying(AsyncTable):
    """A source that says something of its loads; its rows are `row` and the key."""

    row = "old"

    async def load_many(self, keys):
        load = current_load()
        load.add_tags("t")
        load.set_ttl("1m")
        load.version = 5
        return {key: f"{self.row} {key!r}" for key in keys}


async def test_what_a_load_together_says_holds_for_all(ahf: AsyncHoldfast, go: list[ASignal]):
    """Found: for who came first; the others had neither tags nor ttl."""
    source = AsyncSaying()
    cache: Any = ahf.cache("rows", ttl="1h", jitter=0, source=source, coalesce="1s")
    go.append(ASignal())
    async with AsyncCrowd() as crowd:
        jobs = [crowd.start(lambda key=key: cache.get(key)) for key in (1, 2, 3)]
        await AsyncCrowd.until(lambda: sum(len(one.keys) for one in cache._source._gathering.values()), 3)
        go[0].fire()
        assert [await job.result() for job in jobs] == ["old 1", "old 2", "old 3"]
    for key in (1, 2, 3):
        found = await cache.peek(key)
        assert found and found.ttl <= 60 and found.version == 5
    source.row = "new"
    await cache.invalidate_tags("t")
    assert [await cache.get(key) for key in (1, 2, 3)] == ["new 1", "new 2", "new 3"]


async def test_keys_that_are_equal_are_not_loaded_as_one(ahf: AsyncHoldfast, go: list[ASignal]):
    """1 == True == 1.0. Found: all three got, and stored, the value of who came first."""
    cache: Any = ahf.cache("rows", ttl="1h", source=AsyncSaying(), coalesce="1s")
    go.append(ASignal())
    async with AsyncCrowd() as crowd:
        first = crowd.start(lambda: cache.get(1))
        await AsyncCrowd.until(lambda: len(cache._source._gathering), 1)
        others = [crowd.start(lambda key=key: cache.get(key)) for key in (True, 1.0)]
        await crowd.settle()
        go[0].fire()
        assert await first.result() == "old 1"
        assert [await job.result() for job in others] == ["old True", "old 1.0"]
    assert [await cache.get(key) for key in (1, True, 1.0)] == ["old 1", "old True", "old 1.0"]


class Halt(BaseException):
    """No Exception, as an interrupt is none."""


async def test_a_load_together_that_is_interrupted(ahf: AsyncHoldfast):
    """Found: everybody got, and the cache kept, that there is nothing."""
    halts = [Halt()]

    class AsyncHalting(AsyncTable):
        async def load_many(self, keys):
            if halts:
                raise halts[0]
            return dict.fromkeys(keys, "row")

    cache = ahf.cache("rows", ttl="1h", source=AsyncHalting(), coalesce="1ms")
    with pytest.raises(Halt):
        await cache.get("k")
    halts.clear()
    assert await cache.peek("k") is MISSING
    assert await cache.get("k") == "row"


# --- entries ------------------------------------------------------------------------------------------------


async def test_the_tags_of_a_variant_count(ahf: AsyncHoldfast, server, namespace: str):
    """Found: only those of the entry beside which it is kept."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        older = ahf.cache("users", ttl="1h", type=int)
        newer = second.cache("users", ttl="1h", type=str)
        await older.set("k", 1)
        assert await newer.get_or_set("k", AsyncCounting("old"), tags=["org"]) == "old"
        assert await newer.get("k") == "old"
        await older.invalidate_tags("org")
        assert await newer.get("k") is MISSING
        assert await newer.get_or_set("k", AsyncCounting("new"), tags=["org"]) == "new"
        assert [await older.get("k"), await newer.get("k")] == [1, "new"]


async def test_a_variant_in_pieces_is_read(ahf: AsyncHoldfast, server, namespace: str):
    """Found: it was stored by every read, and read by none."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        older = ahf.cache("users", ttl="1h", type=list[int], chunk_above="1KiB")
        newer = second.cache("users", ttl="1h", type=list[str], chunk_above="1KiB")
        await older.set("k", [1] * 3000)
        loader = AsyncCounting(["a"] * 3000)
        for _ in range(3):
            assert await newer.get_or_set("k", loader) == ["a"] * 3000
        assert loader.calls == 1
        assert await older.get("k") == [1] * 3000


@pytest.mark.parametrize(
    "options", [{}, {"stale": "30s"}, {"early": 1.0}, {"l1": L1()}], ids=["tags", "stale", "early", "l1"]
)
async def test_a_key_of_another_type_is_a_miss_for_all_readers(ahf: AsyncHoldfast, options: Any):
    """Found: WRONGTYPE, for whoever asks for more than the entry."""
    cache = ahf.cache("users", ttl="1h", **options)
    loader = AsyncCounting("value")
    tags = [] if options else ["t"]
    for key in (1, 2):
        await ahf.execute("RPUSH", cache._store.entry(text(key)), "not ours")
    assert await cache.get(1) is MISSING
    assert await cache.get_or_set(1, loader, tags=tags) == "value"
    assert await cache.get_many([1, 2]) == {1: "value"}
    assert await cache.get_or_set_many([1, 2], AsyncRows(), tags=tags) == {1: "value", 2: "row 2"}
    assert await cache.get(1) == "value" and loader.calls == 1


async def test_absence_is_kept_near_encoded(ahf: AsyncHoldfast):
    """Found: there was nothing to decode, and every hit raised."""
    near = L1(isolation="encode")
    cache = ahf.cache("users", ttl="1h", negative_ttl="1h", l1=near)
    assert await cache.get_or_set("k", AsyncCounting(MISSING)) is MISSING
    await bring_near(cache)
    assert await cache.get("k", "default") == "default"
    assert await cache.get_many(["k"]) == {}


@pytest.mark.parametrize("how", ["set", "load"])
async def test_what_was_cleared_keeps_no_older_version_out(ahf: AsyncHoldfast, how: str):
    """Found: an entry that nobody could read any more refused every other, until its ttl ended."""
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", "five", version=5)
    await cache.clear()

    async def load() -> str:
        current_load().version = 4
        return "four"

    if how == "set":
        assert await cache.set("k", "four", version=4) is True
    else:
        assert await cache.get_or_set("k", load) == "four"
    assert await cache.get("k") == "four"
    assert await cache.set("k", "three", version=3) is False


async def test_versions_of_tags_end(ahf: AsyncHoldfast):
    """Found: every tag there ever was stayed on the server for good."""
    cache = ahf.cache("users", ttl="1h")
    tags: Any = cache._store.tags

    async def late() -> str:
        current_load().add_tags("late")
        return "value"

    async def store() -> None:
        await cache.set("k", "value", tags=["t"])
        await cache.invalidate("l")
        await cache.get_or_set("l", late)

    await store()
    keys, life = [tags.key("t"), tags.key("late")], tags._life
    for key in keys:
        assert 0.9 * life < await ahf.execute("PTTL", key) <= life
        await ahf.execute("PEXPIRE", key, int(0.6 * life))
    await store()
    for key in keys:  # rarely, since each looks like a change to others
        assert await ahf.execute("PTTL", key) <= 0.6 * life
        await ahf.execute("PEXPIRE", key, int(0.4 * life))
    await store()
    for key in keys:
        assert await ahf.execute("PTTL", key) > 0.9 * life
    assert [await cache.get(key) for key in ("k", "l")] == ["value", "value"]
    endless = [await ahf.execute("PTTL", key) for key in (*tags._guards, *cache._store.epochs)]
    assert set(endless) == {-1, -2} and endless.count(-1) >= len(tags._guards) + 1
