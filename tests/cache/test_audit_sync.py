# Generated from test_audit_async.py by tools/unasync.py. Do not edit.
"""Audits of hits: what counts as a stale read, what does not, and that they cost a bounded amount."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast import L1, MISSING, Holdfast, current_load
from holdfast import _signals as signals
from holdfast._compat import Signal, sleep, monotonic
from holdfast._coord.naming import text
from holdfast.cache._audit_sync import AT_ONCE, Auditor
from holdfast.cache.auditing import Outcome

DELAY = 0.08


class Row:
    """A row of a database, and how often it was read."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.reads = 0
        self.then: list[Any] = []

    def __call__(self) -> Any:
        self.reads += 1
        if self.then:
            self.value = self.then.pop(0)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Told:
    """An observer that remembers stale reads."""

    def __init__(self) -> None:
        self.stale: list[signals.StaleRead] = []

    def notify(self, signal: signals.Signal) -> None:
        if isinstance(signal, signals.StaleRead):
            self.stale.append(signal)


def auditor_of(cache: Any, delay: float = DELAY) -> Auditor:
    """An auditor of its own, for a cache without audit=, whose dice always say yes."""
    return Auditor(cache._store, cache._loads.near_hit, delay=delay, dice=lambda: -1.0)


def over(auditor: Auditor) -> None:
    """Wait until nothing is under way."""
    give_up = monotonic() + 5
    while auditor._under_way:
        assert monotonic() < give_up
        sleep(0.01)


@pytest.mark.everywhere
def test_a_write_without_an_invalidation_is_found_with_its_age(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    told = Told()
    hf.observers.add(told)
    row = Row("old")
    cache.get_or_set("k", row)
    auditor = auditor_of(cache)
    row.value = "new"
    auditor.maybe(text("k"), cache._shape, row)
    over(auditor)
    stats = cache.stats()
    assert (stats.audited, stats.stale_reads) == (1, 1)
    (found,) = told.stale
    assert (found.cache, found.key) == ("users", "k")
    assert DELAY <= found.age < 10
    assert cache.get("k") == "old"  # it stores nothing


def test_what_is_right_is_counted_and_nothing_else(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    row = Row({"a": 1, "b": 2})
    cache.get_or_set("k", row)
    before = cache.stats()
    auditor = auditor_of(cache)
    row.value = {"b": 2, "a": 1}  # another order says nothing
    auditor.maybe(text("k"), cache._shape, row)
    over(auditor)
    stats = cache.stats()
    assert (stats.audited, stats.stale_reads, row.reads) == (1, 0, 2)
    assert (stats.loads, stats.fills, stats.l2_hits) == (before.loads, before.fills, before.l2_hits)


@pytest.mark.parametrize("how", ["invalidate", "tag", "clear", "set"])
def test_what_is_invalidated_within_the_pause_is_no_stale_read(hf: Holdfast, how: str):
    cache = hf.cache("users", ttl="1h")
    row = Row("old")
    cache.get_or_set("k", row, tags=["t"])
    auditor = auditor_of(cache, delay=0.25)
    row.value = "new"
    auditor.maybe(text("k"), cache._shape, row)
    give_up = monotonic() + 5
    while row.reads < 2:  # the first load has shown the difference
        assert monotonic() < give_up
        sleep(0.01)
    if how == "invalidate":
        cache.invalidate("k")
    elif how == "tag":
        cache.invalidate_tags("t")
    elif how == "clear":
        cache.clear()
    else:
        cache.set("k", "old")  # the same bytes, but another entry
    over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (1, 0)
    assert row.reads == 2  # what is gone is not loaded again


def test_a_change_that_was_taken_back_is_no_stale_read(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    row = Row("old")
    cache.get_or_set("k", row)
    row.then = ["uncommitted", "old"]
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, row)
    over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (1, 0)


@pytest.mark.parametrize(
    ("cached", "now"), [("there", MISSING), (MISSING, "there"), (None, MISSING), (1, True)]
)
def test_absence_and_types_count(hf: Holdfast, cached: Any, now: Any):
    cache = hf.cache("users", ttl="1h", negative_ttl="1h")
    row = Row(cached)
    cache.get_or_set("k", row)
    row.value = now
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, row)
    over(auditor)
    assert cache.stats().stale_reads == 1


def test_a_failing_loader_tells_nothing_and_breaks_nothing(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    row = Row("old")
    cache.get_or_set("k", row)
    row.value = LookupError("away")
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, row)
    over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (0, 0)
    assert cache.stats().load_errors == 0


def test_no_more_than_four_at_once(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    gate = Signal()
    inside: list[int] = []

    def slow() -> str:
        inside.append(1)
        gate.wait(5)
        return "x"

    cache.set("k", "x")
    auditor = auditor_of(cache)
    for _ in range(3 * AT_ONCE):
        auditor.maybe(text("k"), cache._shape, slow)
    give_up = monotonic() + 5
    while len(inside) < AT_ONCE:
        assert monotonic() < give_up
        sleep(0.01)
    sleep(0.05)
    assert len(inside) == AT_ONCE
    gate.fire()
    over(auditor)
    assert cache.stats().audited == AT_ONCE
    auditor.maybe(text("k"), cache._shape, slow)  # and their places are free again
    over(auditor)
    assert cache.stats().audited == AT_ONCE + 1


@pytest.mark.parametrize("how", ["maybe", "around"])
def test_only_the_fraction_that_was_asked_for(hf: Holdfast, how: str):
    cache = hf.cache("users", ttl="1h", audit=0.25)
    cache.set("k", "x")
    row = Row("x")
    throws = [0.1, 0.25, 0.9, 0.24]
    auditor = Auditor(cache._store, cache._loads.near_hit, delay=DELAY, dice=lambda: throws.pop(0))
    fetch = auditor.around(cache._loads.fetch)
    for loader in [row] * 4 + [None]:  # who cannot load cannot compare, and throws no dice
        if how == "maybe":
            auditor.maybe(text("k"), cache._shape, loader)
        else:
            assert fetch(text("k"), cache._shape, loader) == "x"
    over(auditor)
    assert cache.stats().audited == 2


def test_a_copy_in_this_process_is_audited_as_well(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", l1=L1(max_staleness="0.5s"))
    row = Row("old")
    give_up = monotonic() + 5
    while cache.stats().l1_hits == 0:  # until it listens, nothing is kept
        assert monotonic() < give_up
        assert cache.get_or_set("k", row) == "old"
        sleep(0.01)
    near = cache._store.near
    assert near is not None
    near.forget = lambda key: None  # type: ignore[method-assign]  # a bug: it does not hear of changes
    cache.set("k", "new")
    row.value = "new"
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, row)
    over(auditor)
    assert cache.stats().stale_reads == 1


def test_a_loader_may_ask_what_it_is_loading(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", codec="json", compress_above=1)
    keys: list[str] = []

    def load() -> list[int]:
        keys.append(current_load().key)
        assert current_load().previous is MISSING and current_load().etag is None
        return list(range(200))

    cache.get_or_set("k", load)
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, load)
    over(auditor)
    assert (keys, cache.stats().audited, cache.stats().stale_reads) == (["k", "k"], 1, 0)


class Price(msgspec.Struct):
    amount: float
    currency: str = "EUR"


def test_many_at_once_with_every_outcome(hf: Holdfast):
    cache = hf.cache("prices", ttl="1h", type=Price, chunk_above="1KiB")
    big = Price(1.0, "x" * 5000)
    stored = {"same": Price(1.0), "stale": Price(2.0), "gone": Price(3.0), "lost": Price(4.0), "big": big}
    cache.set_many(stored)
    cache.set("expired", Price(5.0))
    cache.expire("expired")
    source = {**stored, "stale": Price(2.5), "gone": Price(3.5)}
    calls: list[list[str]] = []

    def load(tags: list[str]) -> dict[str, Any]:
        if calls:
            return {tag: source.get(tag, MISSING) for tag in tags}
        calls.append(sorted(tags))
        cache.invalidate("gone")
        return {tag: source.get(tag, MISSING) for tag in tags if tag != "lost"}

    tags = [*stored, "expired", "absent"]
    found = {one.tag: one for one in auditor_of(cache).audit(tags, cache._shape, load)}
    assert {tag: one.outcome for tag, one in found.items()} == {
        "same": Outcome.EQUAL,
        "big": Outcome.EQUAL,
        "stale": Outcome.STALE,
        "gone": Outcome.GONE,
        "lost": Outcome.UNKNOWN,
        "expired": Outcome.ABSENT,
        "absent": Outcome.ABSENT,
    }
    assert calls == [["big", "gone", "lost", "same", "stale"]]
    assert (found["stale"].cached, found["stale"].loaded) == (Price(2.0), Price(2.5))


def test_a_cache_that_is_off_has_no_hits(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    cache.set("k", 1)
    cache.switch_off()

    def load(tags: list[str]) -> dict[str, Any]:
        return dict.fromkeys(tags, 2)

    (found,) = auditor_of(cache).audit(["k"], cache._shape, load)
    assert found.outcome is Outcome.ABSENT


# --- around fetch -------------------------------------------------------------------------------------------


def test_hits_of_every_kind_are_audited_and_loads_are_not(hf: Holdfast):
    table = {"k": "old"}

    class Table:
        def load_many(self, keys):
            return {key: table[key] for key in keys if key in table}

    cache = hf.cache("prices", ttl="1h", source=Table())
    auditor = auditor_of(cache)
    cache._fetch = auditor.around(cache._loads.fetch)  # type: ignore[method-assign, unused-ignore]
    assert cache.get("k") == "old"  # a miss
    over(auditor)
    assert cache.stats().audited == 0
    table["k"] = "new"
    assert cache.get("k") == "old"
    over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (1, 1)


def test_a_cached_function_is_audited_with_its_own_arguments(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    auditor = auditor_of(cache)
    cache._fetch = auditor.around(cache._loads.fetch)  # type: ignore[method-assign, unused-ignore]
    rows = {1: "one", 2: "two"}

    @cache.cached("user:{user_id}", tags=["all"])
    def get_user(user_id: int) -> str:
        return rows[user_id]

    for _ in range(2):
        assert [get_user(1), get_user(2)] == ["one", "two"]
        over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (2, 0)
    rows[2] = "zwei"
    assert [get_user(1), get_user(2)] == ["one", "two"]
    over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (4, 1)


def test_what_is_said_about_a_wrong_loader_stays_the_same(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    cache._fetch = auditor_of(cache).around(cache._loads.fetch)  # type: ignore[method-assign, unused-ignore]

    def not_a_loader_of_ours() -> Any:
        return Row(1)  # neither a value that can be stored, nor anything to await

    with pytest.raises(Exception, match="Row|not_a_loader_of_ours"):
        cache.get_or_set("k", not_a_loader_of_ours)
    assert cache.get("k") is MISSING


def test_audit_is_an_option_of_the_cache(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", audit=1.0)
    row = Row("old")
    assert cache.get_or_set("k", row) == "old"
    row.value = "new"
    assert cache.get_or_set("k", row) == "old"
    give_up = monotonic() + 5
    while not cache.stats().stale_reads:  # a second later, as it looks twice
        assert monotonic() < give_up
        sleep(0.02)
    assert cache.stats().audited == 1
