# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Audits of hits: what counts as a stale read, what does not, and that they cost a bounded amount."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast import L1, MISSING, AsyncHoldfast, current_load
from holdfast import _signals as signals
from holdfast._compat import ASignal, asleep, monotonic
from holdfast._coord.naming import text
from holdfast.cache._audit_async import AT_ONCE, AsyncAuditor
from holdfast.cache.auditing import Outcome

DELAY = 0.08


class AsyncRow:
    """A row of a database, and how often it was read."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.reads = 0
        self.then: list[Any] = []

    async def __call__(self) -> Any:
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


def auditor_of(cache: Any, delay: float = DELAY) -> AsyncAuditor:
    """An auditor of its own, for a cache without audit=, whose dice always say yes."""
    return AsyncAuditor(cache._store, cache._loads.near_hit, delay=delay, dice=lambda: -1.0)


async def over(auditor: AsyncAuditor) -> None:
    """Wait until nothing is under way."""
    give_up = monotonic() + 5
    while auditor._under_way:
        assert monotonic() < give_up
        await asleep(0.01)


@pytest.mark.everywhere
async def test_a_write_without_an_invalidation_is_found_with_its_age(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    told = Told()
    ahf.observers.add(told)
    row = AsyncRow("old")
    await cache.get_or_set("k", row)
    auditor = auditor_of(cache)
    row.value = "new"
    auditor.maybe(text("k"), cache._shape, row)
    await over(auditor)
    stats = cache.stats()
    assert (stats.audited, stats.stale_reads) == (1, 1)
    (found,) = told.stale
    assert (found.cache, found.key) == ("users", "k")
    assert DELAY <= found.age < 10
    assert await cache.get("k") == "old"  # it stores nothing


async def test_what_is_right_is_counted_and_nothing_else(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    row = AsyncRow({"a": 1, "b": 2})
    await cache.get_or_set("k", row)
    before = cache.stats()
    auditor = auditor_of(cache)
    row.value = {"b": 2, "a": 1}  # another order says nothing
    auditor.maybe(text("k"), cache._shape, row)
    await over(auditor)
    stats = cache.stats()
    assert (stats.audited, stats.stale_reads, row.reads) == (1, 0, 2)
    assert (stats.loads, stats.fills, stats.l2_hits) == (before.loads, before.fills, before.l2_hits)


@pytest.mark.parametrize("how", ["invalidate", "tag", "clear", "set"])
async def test_what_is_invalidated_within_the_pause_is_no_stale_read(ahf: AsyncHoldfast, how: str):
    cache = ahf.cache("users", ttl="1h")
    row = AsyncRow("old")
    await cache.get_or_set("k", row, tags=["t"])
    auditor = auditor_of(cache, delay=0.25)
    row.value = "new"
    auditor.maybe(text("k"), cache._shape, row)
    give_up = monotonic() + 5
    while row.reads < 2:  # the first load has shown the difference
        assert monotonic() < give_up
        await asleep(0.01)
    if how == "invalidate":
        await cache.invalidate("k")
    elif how == "tag":
        await cache.invalidate_tags("t")
    elif how == "clear":
        await cache.clear()
    else:
        await cache.set("k", "old")  # the same bytes, but another entry
    await over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (1, 0)
    assert row.reads == 2  # what is gone is not loaded again


async def test_a_change_that_was_taken_back_is_no_stale_read(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    row = AsyncRow("old")
    await cache.get_or_set("k", row)
    row.then = ["uncommitted", "old"]
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, row)
    await over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (1, 0)


@pytest.mark.parametrize(
    ("cached", "now"), [("there", MISSING), (MISSING, "there"), (None, MISSING), (1, True)]
)
async def test_absence_and_types_count(ahf: AsyncHoldfast, cached: Any, now: Any):
    cache = ahf.cache("users", ttl="1h", negative_ttl="1h")
    row = AsyncRow(cached)
    await cache.get_or_set("k", row)
    row.value = now
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, row)
    await over(auditor)
    assert cache.stats().stale_reads == 1


async def test_a_failing_loader_tells_nothing_and_breaks_nothing(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    row = AsyncRow("old")
    await cache.get_or_set("k", row)
    row.value = LookupError("away")
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, row)
    await over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (0, 0)
    assert cache.stats().load_errors == 0


async def test_no_more_than_four_at_once(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    gate = ASignal()
    inside: list[int] = []

    async def slow() -> str:
        inside.append(1)
        await gate.wait(5)
        return "x"

    await cache.set("k", "x")
    auditor = auditor_of(cache)
    for _ in range(3 * AT_ONCE):
        auditor.maybe(text("k"), cache._shape, slow)
    give_up = monotonic() + 5
    while len(inside) < AT_ONCE:
        assert monotonic() < give_up
        await asleep(0.01)
    await asleep(0.05)
    assert len(inside) == AT_ONCE
    gate.fire()
    await over(auditor)
    assert cache.stats().audited == AT_ONCE
    auditor.maybe(text("k"), cache._shape, slow)  # and their places are free again
    await over(auditor)
    assert cache.stats().audited == AT_ONCE + 1


@pytest.mark.parametrize("how", ["maybe", "around"])
async def test_only_the_fraction_that_was_asked_for(ahf: AsyncHoldfast, how: str):
    cache = ahf.cache("users", ttl="1h", audit=0.25)
    await cache.set("k", "x")
    row = AsyncRow("x")
    throws = [0.1, 0.25, 0.9, 0.24]
    auditor = AsyncAuditor(cache._store, cache._loads.near_hit, delay=DELAY, dice=lambda: throws.pop(0))
    fetch = auditor.around(cache._loads.fetch)
    for loader in [row] * 4 + [None]:  # who cannot load cannot compare, and throws no dice
        if how == "maybe":
            auditor.maybe(text("k"), cache._shape, loader)
        else:
            assert await fetch(text("k"), cache._shape, loader) == "x"
    await over(auditor)
    assert cache.stats().audited == 2


async def test_a_copy_in_this_process_is_audited_as_well(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", l1=L1(max_staleness="0.5s"))
    row = AsyncRow("old")
    give_up = monotonic() + 5
    while cache.stats().l1_hits == 0:  # until it listens, nothing is kept
        assert monotonic() < give_up
        assert await cache.get_or_set("k", row) == "old"
        await asleep(0.01)
    near = cache._store.near
    assert near is not None
    near.forget = lambda key: None  # type: ignore[method-assign]  # a bug: it does not hear of changes
    await cache.set("k", "new")
    row.value = "new"
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, row)
    await over(auditor)
    assert cache.stats().stale_reads == 1


async def test_a_loader_may_ask_what_it_is_loading(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", codec="json", compress_above=1)
    keys: list[str] = []

    async def load() -> list[int]:
        keys.append(current_load().key)
        assert current_load().previous is MISSING and current_load().etag is None
        return list(range(200))

    await cache.get_or_set("k", load)
    auditor = auditor_of(cache)
    auditor.maybe(text("k"), cache._shape, load)
    await over(auditor)
    assert (keys, cache.stats().audited, cache.stats().stale_reads) == (["k", "k"], 1, 0)


class Price(msgspec.Struct):
    amount: float
    currency: str = "EUR"


async def test_many_at_once_with_every_outcome(ahf: AsyncHoldfast):
    cache = ahf.cache("prices", ttl="1h", type=Price, chunk_above="1KiB")
    big = Price(1.0, "x" * 5000)
    stored = {"same": Price(1.0), "stale": Price(2.0), "gone": Price(3.0), "lost": Price(4.0), "big": big}
    await cache.set_many(stored)
    await cache.set("expired", Price(5.0))
    await cache.expire("expired")
    source = {**stored, "stale": Price(2.5), "gone": Price(3.5)}
    calls: list[list[str]] = []

    async def load(tags: list[str]) -> dict[str, Any]:
        if calls:
            return {tag: source.get(tag, MISSING) for tag in tags}
        calls.append(sorted(tags))
        await cache.invalidate("gone")
        return {tag: source.get(tag, MISSING) for tag in tags if tag != "lost"}

    tags = [*stored, "expired", "absent"]
    found = {one.tag: one for one in await auditor_of(cache).audit(tags, cache._shape, load)}
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


async def test_a_cache_that_is_off_has_no_hits(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    await cache.set("k", 1)
    await cache.switch_off()

    async def load(tags: list[str]) -> dict[str, Any]:
        return dict.fromkeys(tags, 2)

    (found,) = await auditor_of(cache).audit(["k"], cache._shape, load)
    assert found.outcome is Outcome.ABSENT


# --- around fetch -------------------------------------------------------------------------------------------


async def test_hits_of_every_kind_are_audited_and_loads_are_not(ahf: AsyncHoldfast):
    table = {"k": "old"}

    class AsyncTable:
        async def load_many(self, keys):
            return {key: table[key] for key in keys if key in table}

    cache = ahf.cache("prices", ttl="1h", source=AsyncTable())
    auditor = auditor_of(cache)
    cache._fetch = auditor.around(cache._loads.fetch)  # type: ignore[method-assign, unused-ignore]
    assert await cache.get("k") == "old"  # a miss
    await over(auditor)
    assert cache.stats().audited == 0
    table["k"] = "new"
    assert await cache.get("k") == "old"
    await over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (1, 1)


async def test_a_cached_function_is_audited_with_its_own_arguments(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    auditor = auditor_of(cache)
    cache._fetch = auditor.around(cache._loads.fetch)  # type: ignore[method-assign, unused-ignore]
    rows = {1: "one", 2: "two"}

    @cache.cached("user:{user_id}", tags=["all"])
    async def get_user(user_id: int) -> str:
        return rows[user_id]

    for _ in range(2):
        assert [await get_user(1), await get_user(2)] == ["one", "two"]
        await over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (2, 0)
    rows[2] = "zwei"
    assert [await get_user(1), await get_user(2)] == ["one", "two"]
    await over(auditor)
    assert (cache.stats().audited, cache.stats().stale_reads) == (4, 1)


async def test_what_is_said_about_a_wrong_loader_stays_the_same(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    cache._fetch = auditor_of(cache).around(cache._loads.fetch)  # type: ignore[method-assign, unused-ignore]

    def not_a_loader_of_ours() -> Any:
        return AsyncRow(1)  # neither a value that can be stored, nor anything to await

    with pytest.raises(Exception, match="AsyncRow|not_a_loader_of_ours"):
        await cache.get_or_set("k", not_a_loader_of_ours)
    assert await cache.get("k") is MISSING


async def test_audit_is_an_option_of_the_cache(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", audit=1.0)
    row = AsyncRow("old")
    assert await cache.get_or_set("k", row) == "old"
    row.value = "new"
    assert await cache.get_or_set("k", row) == "old"
    give_up = monotonic() + 5
    while not cache.stats().stale_reads:  # a second later, as it looks twice
        assert monotonic() < give_up
        await asleep(0.02)
    assert cache.stats().audited == 1
