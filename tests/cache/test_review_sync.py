# Generated from test_review_async.py by tools/unasync.py. Do not edit.
"""What a second hostile reader of the cache found: undo the guard and the test fails. See test_review.py."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import (
    L1,
    MISSING,
    Holdfast,
    LoadTimeout,
    NoPermission,
    OutOfMemory,
    Unavailable,
    current_load,
)
from holdfast._compat import Signal
from holdfast._coord.naming import text
from holdfast.cache import _source_sync
from tests.cache.crowd import Crowd
from tests.cache.test_bulk_sync import Rows, rows
from tests.cache.test_cache_sync import Counting, Table
from tests.cache.test_faults_sync import Gate
from tests.cache.test_l1_sync import bring_near
from tests.cache.test_stale_sync import PATIENT, outdate

# --- what a load is told ------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["before", "after"])
def test_a_tag_that_changes_between_the_read_and_the_lease(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch, known: str
):
    """Found: the loader was shown what was read before, and not_modified() stored that anew."""
    cache = hf.cache("pages", **PATIENT)
    site, early = ["old"], ["site"] if known == "before" else []

    def load() -> Any:
        mine = current_load()
        if known == "after":
            mine.add_tags("site")
        if mine.etag == "v1":
            return mine.not_modified()
        mine.etag = "v1"
        return site[0]

    assert cache.get_or_set("k", load, tags=early) == "old"
    cache.expire("k")
    store: Any = cache._store
    ask = store.ask

    def ask_late(*arguments: Any) -> Any:
        site[0] = "new"
        assert cache.invalidate_tags("site") is True
        return ask(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store, "ask", ask_late)
        assert cache.get_or_set("k", load, tags=early) == "new"
    assert cache.get("k") == "new"


def test_a_reader_who_changes_what_is_stale(hf: Holdfast):
    """Found: the loader was shown the reader's own object, and not_modified() stored what it had become."""
    cache, gate = hf.cache("pages", **PATIENT), Gate()
    outdate(cache, "k", {"a": 1})

    def load() -> Any:
        mine = current_load()
        gate()
        return mine.not_modified()

    value = cache.get_or_set("k", load)
    assert value == {"a": 1} and gate.reading.wait(20)
    value["a"] = 666
    gate.go.fire()

    def is_fresh() -> bool:
        found = cache.peek("k")
        return bool(found and not found.stale)

    Crowd.until(is_fresh)
    assert cache.get("k") == {"a": 1}


# --- how long a reader waits --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"hard_timeout": "20s"}, {"stale": "30s", "soft_timeout": "20s"}])
def test_wait_is_for_the_loads_of_others(hf: Holdfast, options: Any):
    """Found: with a soft or a hard timeout, a reader's own load was given up after `wait` as well."""
    cache, gate = hf.cache("users", ttl="1h", wait=0, **options), Gate("value")
    with Crowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("k", gate))
        assert gate.reading.wait(20)
        crowd.settle()
        assert not job.done
        gate.go.fire()
        assert job.result() == "value"


def test_a_soft_timeout_is_for_what_is_stale(hf: Holdfast):
    """What was expired is wrong, as far as anybody knows. Found: it was served after `soft_timeout`."""
    cache, gate = hf.cache("users", **PATIENT, soft_timeout="1ms"), Gate("new")
    cache.set("k", "old")
    cache.expire("k")
    with Crowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("k", gate))
        assert gate.reading.wait(20)
        crowd.settle()
        gate.go.fire()
        assert job.result() == "new"
    assert cache.stats().served_expired == 0


def test_a_load_of_many_takes_no_longer_than_hard_timeout(hf: Holdfast):
    """Found: as long as its loader."""
    cache = hf.cache("rows", ttl="1h", hard_timeout="30ms", lease="60s")
    loader = Rows(gate=Gate())
    with pytest.raises(LoadTimeout, match="hard_timeout"):
        cache.get_or_set_many([1, 2], loader)
    assert cache.stats().hard_timeouts == 1
    assert loader.gate is not None
    loader.gate.go.fire()
    Crowd.until(lambda: cache.get_many([1, 2]), rows(1, 2))
    assert loader.asked == [[1, 2]]


def test_hard_timeout_of_many_serves_what_was_expired(hf: Holdfast):
    cache = hf.cache("rows", ttl="1h", hard_timeout="30ms", lease="60s")
    loader = Rows(gate=Gate())
    for key in (1, 2):
        cache.set(key, "old")
        cache.expire(key)
    assert cache.get_or_set_many([1, 2], loader) == {1: "old", 2: "old"}
    assert loader.gate is not None
    loader.gate.go.fire()
    Crowd.until(lambda: cache.get_many([1, 2]), rows(1, 2))


@pytest.mark.parametrize("option", ["hard_timeout", "stale"])
def test_load_scope_is_around_a_load_of_many_by_somebody_else(hf: Holdfast, option: str):
    """Found: not with `hard_timeout`, though that load has a thread of its own too."""
    seen: list[str] = []

    class Scope:
        def __enter__(self) -> None:
            seen.append("enter")

        def __exit__(self, *_: object) -> None:
            seen.append("exit")

    def loader(keys: list[int]) -> dict[int, str]:
        seen.append("load")
        return rows(*keys)

    options = {"hard_timeout": "20s"} if option == "hard_timeout" else PATIENT
    cache = hf.cache("rows", **{"ttl": "1h", **options}, load_scope=Scope)
    if option == "stale":
        outdate(cache, 1)
    cache.get_or_set_many([1], loader)
    Crowd.until(lambda: cache.get_many([1]), rows(1))
    assert seen == ["enter", "load", "exit"]
    hf.cache("plain", ttl="1h", load_scope=Scope).get_or_set_many([1], loader)
    assert seen[3:] == ["load"]  # its caller has one already


# --- what Redis does not get, or late -----------------------------------------------------------------------


@pytest.mark.parametrize("last", ["version", "plain"])
def test_two_kinds_of_invalidation_are_both_delivered(
    hf: Holdfast, faults, namespace: str, last: str
):
    """Found: the one that came last took the place of the first, of which it does only a part."""
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        cache, other = mine.cache("users", ttl="1h"), hf.cache("users", ttl="1h")
        other.set("k", "old", version=7)
        assert cache.get("k") == "old"
        faults.refuse()
        faults.cut()
        if last == "version":
            assert cache.invalidate("k") is False
            assert cache.invalidate("k", version=5) is False  # leaves 7
        else:
            assert cache.invalidate("k", version=8, hold="1m") is False
            assert cache.invalidate("k") is False  # holds nothing
        faults.accept()
        Crowd.until(lambda: cache.stats().undelivered, 0)
        assert other.get("k") is MISSING
        assert other.set("k", "old", version=7) is (last == "version")


def test_a_key_is_used_again_when_all_is_delivered(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Found: when the first of two was, which may leave what the second removes."""
    cache: Any = hf.cache("users", ttl="1h")
    cache.set("k", "old", version=7)
    store, kept = cache._store, []
    with monkeypatch.context() as patch:
        patch.setattr(store.wire.hub, "deliver", lambda *one: kept.append(one))
        patch.setattr(store, "worth_asking", lambda: False)
        assert cache.invalidate("k", version=5) is False
        assert cache.invalidate("k") is False
    assert len({what for what, _, _ in kept}) == 2  # else the outbox takes one for the other
    for left, (_, command, delivered) in zip((1, 0), kept, strict=True):
        assert cache.get("k") is MISSING
        hf.execute(*command)
        delivered()
        assert cache.stats().undelivered == left
    assert cache.get_or_set("k", Counting("new")) == cache.get("k") == "new"


@pytest.mark.parametrize("many", [False, True])
def test_a_lease_without_its_tags_is_given_back(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch, many: bool
):
    """As when the tags are on a node that is full. Found: others waited until the lease had ended."""
    cache: Any = hf.cache("users", ttl="1h", lease="60s", wait="3s")

    def full(*_: Any) -> None:
        raise OutOfMemory("OOM command not allowed", code="OOM")

    with monkeypatch.context() as patch:
        patch.setattr(cache._store.tags, "ensure", full)
        if many:
            assert cache.get_or_set_many([1], Rows(), tags=["t"]) == rows(1)
        else:
            assert cache.get_or_set(1, Counting("value"), tags=["t"]) == "value"
    assert cache.stats().refused == {"out_of_memory": 1}
    assert cache.get_or_set(1, Counting("next"), tags=["t"]) == "next"


@pytest.mark.parametrize("error", [Unavailable("frozen"), NoPermission("NOPERM", code="NOPERM")])
def test_a_load_without_guards(hf: Holdfast, monkeypatch: pytest.MonkeyPatch, error: Exception):
    """They are for tags that only the load tells. Found: nothing was stored without them, or an error."""
    cache: Any = hf.cache("users", ttl="1h")

    def fail(*_: Any) -> None:
        raise error

    def late() -> str:
        current_load().add_tags("late")
        return "late"

    monkeypatch.setattr(cache._store.tags, "guards", fail)
    assert cache.get_or_set("k", Counting("value"), tags=["t"]) == "value"
    assert cache.get("k") == "value"
    assert cache.get_or_set("late", late) == "late"
    assert cache.get("late") is MISSING


@pytest.mark.parametrize("what", ["many", "pieces"])
def test_over_a_slow_link_nothing_is_too_late(faults, namespace: str, what: str):
    """Each answer comes in time, all of them take longer than `timeout`. Found: refused as too late."""
    with Holdfast(faults.url, namespace=namespace, timeout="240ms") as mine:
        cache = mine.cache("users", ttl="1h", chunk_above="1KiB")
        cache.set_many(dict.fromkeys(range(80), "old"))
        faults.delay(0.02)
        if what == "many":  # of sixteen epochs
            assert cache.set_many(dict.fromkeys(range(80), "value")) is True
        else:
            assert cache.set("k", "x" * 15_000) is True
        faults.delay(0)
        assert cache.stats().undelivered == 0
        assert cache.get(7 if what == "many" else "k") in {"value", "x" * 15_000}


def test_many_values_are_stored_in_one_write(faults, namespace: str):
    """Found: a write and a round trip for each."""
    with Holdfast(faults.url, namespace=namespace) as mine:
        cache = mine.cache("rows", ttl="1h")
        before = [0]

        def loader(keys: list[int]) -> dict[int, str]:
            before[0] = faults.writes
            return rows(*keys)

        cache.get_or_set_many(range(3), loader)
        cache.get_or_set_many(range(100, 130), loader)
        assert 1 <= faults.writes - before[0] <= 3  # and, perhaps, somebody else's
        assert cache.get_many(range(100, 130)) == rows(*range(100, 130))


# --- sources ------------------------------------------------------------------------------------------------


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> list[Signal]:
    """Loads together are gathered until the signal in here fires; put it in."""
    signals: list[Signal] = []

    def rest(_: float) -> None:
        assert signals[-1].wait(20)

    monkeypatch.setattr(_source_sync, "sleep", rest)
    return signals


class Saying(Table):
    """A source that says something of its loads; its rows are `row` and the key."""

    row = "old"

    def load_many(self, keys):
        load = current_load()
        load.add_tags("t")
        load.set_ttl("1m")
        load.version = 5
        return {key: f"{self.row} {key!r}" for key in keys}


def test_what_a_load_together_says_holds_for_all(hf: Holdfast, go: list[Signal]):
    """Found: for who came first; the others had neither tags nor ttl."""
    source = Saying()
    cache: Any = hf.cache("rows", ttl="1h", jitter=0, source=source, coalesce="1s")
    go.append(Signal())
    with Crowd() as crowd:
        jobs = [crowd.start(lambda key=key: cache.get(key)) for key in (1, 2, 3)]
        Crowd.until(lambda: sum(len(one.keys) for one in cache._source._gathering.values()), 3)
        go[0].fire()
        assert [job.result() for job in jobs] == ["old 1", "old 2", "old 3"]
    for key in (1, 2, 3):
        found = cache.peek(key)
        assert found and found.ttl <= 60 and found.version == 5
    source.row = "new"
    cache.invalidate_tags("t")
    assert [cache.get(key) for key in (1, 2, 3)] == ["new 1", "new 2", "new 3"]


def test_keys_that_are_equal_are_not_loaded_as_one(hf: Holdfast, go: list[Signal]):
    """1 == True == 1.0. Found: all three got, and stored, the value of who came first."""
    cache: Any = hf.cache("rows", ttl="1h", source=Saying(), coalesce="1s")
    go.append(Signal())
    with Crowd() as crowd:
        first = crowd.start(lambda: cache.get(1))
        Crowd.until(lambda: len(cache._source._gathering), 1)
        others = [crowd.start(lambda key=key: cache.get(key)) for key in (True, 1.0)]
        crowd.settle()
        go[0].fire()
        assert first.result() == "old 1"
        assert [job.result() for job in others] == ["old True", "old 1.0"]
    assert [cache.get(key) for key in (1, True, 1.0)] == ["old 1", "old True", "old 1.0"]


class Halt(BaseException):
    """No Exception, as an interrupt is none."""


def test_a_load_together_that_is_interrupted(hf: Holdfast):
    """Found: everybody got, and the cache kept, that there is nothing."""
    halts = [Halt()]

    class Halting(Table):
        def load_many(self, keys):
            if halts:
                raise halts[0]
            return dict.fromkeys(keys, "row")

    cache = hf.cache("rows", ttl="1h", source=Halting(), coalesce="1ms")
    with pytest.raises(Halt):
        cache.get("k")
    halts.clear()
    assert cache.peek("k") is MISSING
    assert cache.get("k") == "row"


# --- entries ------------------------------------------------------------------------------------------------


def test_the_tags_of_a_variant_count(hf: Holdfast, server, namespace: str):
    """Found: only those of the entry beside which it is kept."""
    with Holdfast(server.url, namespace=namespace) as second:
        older = hf.cache("users", ttl="1h", type=int)
        newer = second.cache("users", ttl="1h", type=str)
        older.set("k", 1)
        assert newer.get_or_set("k", Counting("old"), tags=["org"]) == "old"
        assert newer.get("k") == "old"
        older.invalidate_tags("org")
        assert newer.get("k") is MISSING
        assert newer.get_or_set("k", Counting("new"), tags=["org"]) == "new"
        assert [older.get("k"), newer.get("k")] == [1, "new"]


def test_a_variant_in_pieces_is_read(hf: Holdfast, server, namespace: str):
    """Found: it was stored by every read, and read by none."""
    with Holdfast(server.url, namespace=namespace) as second:
        older = hf.cache("users", ttl="1h", type=list[int], chunk_above="1KiB")
        newer = second.cache("users", ttl="1h", type=list[str], chunk_above="1KiB")
        older.set("k", [1] * 3000)
        loader = Counting(["a"] * 3000)
        for _ in range(3):
            assert newer.get_or_set("k", loader) == ["a"] * 3000
        assert loader.calls == 1
        assert older.get("k") == [1] * 3000


@pytest.mark.parametrize(
    "options", [{}, {"stale": "30s"}, {"early": 1.0}, {"l1": L1()}], ids=["tags", "stale", "early", "l1"]
)
def test_a_key_of_another_type_is_a_miss_for_all_readers(hf: Holdfast, options: Any):
    """Found: WRONGTYPE, for whoever asks for more than the entry."""
    cache = hf.cache("users", ttl="1h", **options)
    loader = Counting("value")
    tags = [] if options else ["t"]
    for key in (1, 2):
        hf.execute("RPUSH", cache._store.entry(text(key)), "not ours")
    assert cache.get(1) is MISSING
    assert cache.get_or_set(1, loader, tags=tags) == "value"
    assert cache.get_many([1, 2]) == {1: "value"}
    assert cache.get_or_set_many([1, 2], Rows(), tags=tags) == {1: "value", 2: "row 2"}
    assert cache.get(1) == "value" and loader.calls == 1


def test_absence_is_kept_near_encoded(hf: Holdfast):
    """Found: there was nothing to decode, and every hit raised."""
    near = L1(isolation="encode")
    cache = hf.cache("users", ttl="1h", negative_ttl="1h", l1=near)
    assert cache.get_or_set("k", Counting(MISSING)) is MISSING
    bring_near(cache)
    assert cache.get("k", "default") == "default"
    assert cache.get_many(["k"]) == {}


@pytest.mark.parametrize("how", ["set", "load"])
def test_what_was_cleared_keeps_no_older_version_out(hf: Holdfast, how: str):
    """Found: an entry that nobody could read any more refused every other, until its ttl ended."""
    cache = hf.cache("users", ttl="1h")
    cache.set("k", "five", version=5)
    cache.clear()

    def load() -> str:
        current_load().version = 4
        return "four"

    if how == "set":
        assert cache.set("k", "four", version=4) is True
    else:
        assert cache.get_or_set("k", load) == "four"
    assert cache.get("k") == "four"
    assert cache.set("k", "three", version=3) is False


def test_versions_of_tags_end(hf: Holdfast):
    """Found: every tag there ever was stayed on the server for good."""
    cache = hf.cache("users", ttl="1h")
    tags: Any = cache._store.tags

    def late() -> str:
        current_load().add_tags("late")
        return "value"

    def store() -> None:
        cache.set("k", "value", tags=["t"])
        cache.invalidate("l")
        cache.get_or_set("l", late)

    store()
    keys, life = [tags.key("t"), tags.key("late")], tags._life
    for key in keys:
        assert 0.9 * life < hf.execute("PTTL", key) <= life
        hf.execute("PEXPIRE", key, int(0.6 * life))
    store()
    for key in keys:  # rarely, since each looks like a change to others
        assert hf.execute("PTTL", key) <= 0.6 * life
        hf.execute("PEXPIRE", key, int(0.4 * life))
    store()
    for key in keys:
        assert hf.execute("PTTL", key) > 0.9 * life
    assert [cache.get(key) for key in ("k", "l")] == ["value", "value"]
    endless = [hf.execute("PTTL", key) for key in (*tags._guards, *cache._store.epochs)]
    assert set(endless) == {-1, -2} and endless.count(-1) >= len(tags._guards) + 1
