# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Many keys at once: one round trip, one load of exactly what is missing, every key loaded once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast import L1, MISSING, AsyncHoldfast, CodecError, ConfigurationError, Overloaded
from holdfast._compat import ASignal
from holdfast.cache import _source_async
from tests.cache.crowd import AsyncCrowd
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_faults_async import AsyncGate
from tests.cache.test_stale_async import PATIENT, outdate


class Row(msgspec.Struct):
    n: int


class AsyncRows:
    """A loader of many that notes what it was asked for; it knows the rows below `least`."""

    def __init__(self, least: int = 1000, gate: AsyncGate | None = None) -> None:
        self.asked: list[list[Any]] = []
        self.least = least
        self.gate = gate
        self.failure: Exception | None = None

    async def __call__(self, keys: list[Any]) -> dict[Any, Any]:
        self.asked.append(list(keys))
        if self.gate is not None:
            await self.gate()
        if self.failure is not None:
            raise self.failure
        return {key: f"row {key}" for key in keys if key < self.least}


def rows(*keys: int) -> dict[int, str]:
    return {key: f"row {key}" for key in keys}


# --- reading ------------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_get_many(ahf: AsyncHoldfast):
    """In the order asked for, each key once, without what is missing."""
    cache = ahf.cache("rows", ttl="1h")
    assert await cache.set_many(rows(*range(40))) is True
    assert await cache.get_many([]) == {}
    found = await cache.get_many(iter([30, 1, 99, 1, 2, 30]))
    assert list(found.items()) == list(rows(30, 1, 2).items())
    assert await cache.invalidate(*range(20)) is True
    assert await cache.get_many(range(40)) == rows(*range(20, 40))
    assert await cache.set_many({}) is True


async def test_keys_of_all_types(ahf: AsyncHoldfast):
    cache = ahf.cache("any", ttl="1h")
    values: dict[Any, Any] = {
        key: n for n, key in enumerate([1, "1", None, b"1", (1, "1"), "", "a:b", "ü {}"])
    }
    assert await cache.set_many(values) is True
    assert await cache.get_many(values) == values
    assert [await cache.get(key) for key in values] == list(values.values())


async def test_keys_that_are_equal_but_not_the_same(ahf: AsyncHoldfast):
    """1 == True == 1.0 in a mapping, but they are three entries. Found: one got the value of another."""
    cache = ahf.cache("any", ttl="1h")
    await cache.set(1, "int")
    await cache.set(True, "bool")
    with pytest.raises(ConfigurationError, match="True"):
        await cache.get_many([1, True])
    with pytest.raises(ConfigurationError, match=r"1\.0"):
        await cache.get_or_set_many([1, 1.0], AsyncRows())
    assert await cache.get_many([True]) == {True: "bool"}


# --- loading ------------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_one_load_of_exactly_what_is_missing(ahf: AsyncHoldfast):
    cache, loader = ahf.cache("rows", ttl="1h", negative_ttl="1m"), AsyncRows(least=30)
    await cache.set(2, "row 2")
    found = await cache.get_or_set_many([3, 2, 1, 3, 50, 2], loader)
    assert list(found.items()) == list(rows(3, 2, 1).items())
    assert loader.asked == [[3, 1, 50]]
    again = await cache.get_or_set_many([1, 2, 3, 50], loader)  # that there is no 50 is remembered
    assert again == rows(1, 2, 3) and len(loader.asked) == 1
    assert await cache.get_or_set_many([], loader) == {} and len(loader.asked) == 1
    found = await cache.get_or_set_many(range(30), loader)
    assert found == rows(*range(30))
    assert loader.asked[1:] == [[0, *range(4, 30)]]
    peeked = await cache.peek(50)
    assert peeked and peeked.value is MISSING and 0 < peeked.ttl <= 60


async def test_a_loader_that_returns_too_much_or_in_another_order(ahf: AsyncHoldfast):
    cache = ahf.cache("rows", ttl="1h")

    async def everything(keys: list[Any]) -> dict[Any, Any]:
        return rows(*range(9, -1, -1))

    assert list(await cache.get_or_set_many([3, 1], everything)) == [3, 1]
    assert await cache.get_many(range(10)) == rows(1, 3)


@pytest.mark.parametrize("result", [None, 7, [("a", 1)], "text"])
async def test_a_loader_that_returns_no_mapping(ahf: AsyncHoldfast, result: Any):
    """Found: AttributeError, without a word of whose fault it is."""
    cache: Any = ahf.cache("rows", ttl="1h", lease="60s", wait="2s")

    async def loader(keys: list[Any]) -> Any:
        return result

    with pytest.raises(ConfigurationError, match="mapping"):
        await cache.get_or_set_many(["a", "b"], loader)
    assert await cache.get_or_set("a", AsyncCounting(1)) == 1


@pytest.mark.everywhere
async def test_a_loader_that_fails(ahf: AsyncHoldfast):
    """Nothing is stored, every lease is given back, what was there is there."""
    cache, loader = ahf.cache("rows", ttl="1h", lease="60s", wait="5s"), AsyncRows()
    await cache.set(1, "row 1")
    loader.failure = OSError("database gone")
    with pytest.raises(OSError, match="gone"):
        await cache.get_or_set_many([1, 2, 3], loader)
    loader.failure = None
    assert await cache.get_or_set_many([1, 2, 3], loader) == rows(1, 2, 3)
    assert loader.asked == [[2, 3], [2, 3]]
    assert cache.stats().load_errors == 1


async def test_a_value_that_cannot_be_written(ahf: AsyncHoldfast):
    """Found: the lease of its key was kept, so that the next reader waited for its end."""
    cache = ahf.cache("rows", ttl="1h", lease="60s", wait="2s", type=Row)

    async def loader(keys: list[Any]) -> dict[Any, Any]:
        return {"a": Row(1), "bad": object(), "c": Row(3)}

    with pytest.raises(CodecError):
        await cache.get_or_set_many(["a", "bad", "c"], loader)
    for key in ("a", "bad", "c"):
        assert await cache.get_or_set(key, AsyncCounting(Row(1))) == Row(1)


async def test_a_ttl_and_tags_for_all(ahf: AsyncHoldfast):
    cache = ahf.cache("rows", ttl="1h", jitter=0)
    await cache.get_or_set_many([1, 2], AsyncRows(), ttl="1m", tags=["t"])
    await cache.set_many({3: "row 3"}, ttl="1m", tags=["t"])
    for key in (1, 2, 3):
        found = await cache.peek(key)
        assert found and 50 < found.ttl <= 60
    assert await cache.get_many([1, 2, 3]) == rows(1, 2, 3)
    await cache.invalidate_tags("t")
    assert await cache.get_many([1, 2, 3]) == {}


@pytest.mark.parametrize("event", ["invalidate", "invalidate_tags", "clear", "set"])
async def test_invalidated_while_it_is_loaded(ahf: AsyncHoldfast, event: str):
    cache, gate = ahf.cache("rows", ttl="1h"), AsyncGate()
    loader = AsyncRows(gate=gate)
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set_many([1, 2], loader, tags=["t"]))
        assert await gate.reading.wait(20)
        arguments = {"invalidate": [1], "invalidate_tags": ["t"], "clear": [], "set": [1, "newer"]}
        await getattr(cache, event)(*arguments[event])
        gate.go.fire()
        assert await job.result() == rows(1, 2)
    left = {"invalidate": rows(2), "set": {1: "newer"} | rows(2)}.get(event, {})
    assert await cache.get_many([1, 2]) == left


# --- several at once ----------------------------------------------------------------------------------------


async def test_two_that_want_the_same_keys_load_each_once(ahf: AsyncHoldfast, server, namespace: str):
    """In one process and in two: what another loads is waited for, and nobody waits in a circle."""
    gates = [AsyncGate(), AsyncGate(), AsyncGate()]
    loaders = [AsyncRows(gate=gate) for gate in gates]
    async with AsyncHoldfast(server.url, namespace=namespace) as second, AsyncCrowd() as crowd:
        caches = [one.cache("rows", ttl="1h", lease="60s") for one in (ahf, ahf, second)]
        wanted = ([1, 2, 3], [3, 4, 1], [4, 2, 5])
        jobs = []
        for cache, keys, loader, gate in zip(caches, wanted, loaders, gates, strict=True):
            jobs.append(crowd.start(lambda c=cache, k=keys, one=loader: c.get_or_set_many(k, one)))
            assert await gate.reading.wait(20)
        for gate in reversed(gates):
            gate.go.fire()
        for job, keys in zip(jobs, wanted, strict=True):
            assert await job.result() == rows(*keys)
    assert [loader.asked for loader in loaders] == [[[1, 2, 3]], [[4]], [[5]]]


async def test_a_crowd_of_overlapping_callers(ahf: AsyncHoldfast, server, namespace: str):
    loader = AsyncRows()
    places = iter(range(100))
    async with AsyncHoldfast(server.url, namespace=namespace) as second, AsyncCrowd() as crowd:
        caches = [one.cache("rows", ttl="1h", lease="60s", max_loads=2) for one in (ahf, second)]

        async def ask() -> bool:
            place = next(places)
            keys = [(place * 3 + n * (1 if place % 2 else 7)) % 20 for n in range(8)]
            return await caches[place % 2].get_or_set_many(keys, loader) == rows(*keys)

        assert await crowd.all(20, ask) == [True] * 20
    loaded = [key for keys in loader.asked for key in keys]
    assert sorted(loaded) == sorted(set(loaded))


async def test_single_gets_follow_a_load_of_many(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("rows", ttl="1h"), AsyncGate()
    never = AsyncCounting("other")
    async with AsyncCrowd() as crowd:
        many = crowd.start(lambda: cache.get_or_set_many([1, 2], AsyncRows(gate=gate)))
        assert await gate.reading.wait(20)
        await cache.get("warm")
        one = crowd.start(lambda: cache.get_or_set(2, never))
        await crowd.settle()
        gate.go.fire()
        assert (await many.result(), await one.result()) == (rows(1, 2), "row 2")
    assert never.calls == 0


async def test_a_failed_load_of_many_leaves_its_followers_to_themselves(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("rows", ttl="1h", lease="60s"), AsyncGate(OSError("gone"))
    async with AsyncCrowd() as crowd:
        many = crowd.start(lambda: cache.get_or_set_many([1, 2], AsyncRows(gate=gate)))
        assert await gate.reading.wait(20)
        one = crowd.start(lambda: cache.get_or_set(2, AsyncCounting("own")))
        await crowd.settle()
        gate.go.fire()
        assert await one.result() == "own"
        with pytest.raises(OSError, match="gone"):
            await many.result()


async def test_max_loads(ahf: AsyncHoldfast):
    """A load of many takes one place, and who gets none is told so."""
    cache, gate = ahf.cache("rows", ttl="1h", max_loads=1, wait="100ms"), AsyncGate()
    async with AsyncCrowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set_many([1, 2], AsyncRows(gate=gate)))
        assert await gate.reading.wait(20)
        with pytest.raises(Overloaded):
            await cache.get_or_set_many([3, 4], AsyncRows())
        gate.go.fire()
        assert await job.result() == rows(1, 2)
    assert await cache.get_or_set_many([3, 4], AsyncRows()) == rows(3, 4)


async def test_a_loader_that_asks_for_its_own_key(ahf: AsyncHoldfast):
    """Found: keys before it in the list stayed in the air, so that who asked for one waited for ever."""
    cache = ahf.cache("rows", ttl="1h", wait="2s")

    async def inner(keys: list[Any]) -> dict[Any, Any]:
        return dict.fromkeys(keys, 1)

    async def outer() -> Any:
        with pytest.raises(ConfigurationError, match="very key"):
            await cache.get_or_set_many(["a", "k"], inner)
        return await cache.get_or_set_many(["a"], inner)

    assert await cache.get_or_set("k", outer) == {"a": 1}


# --- stale --------------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_stale_is_served_and_loaded_anew_by_one_call(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("rows", **PATIENT), AsyncGate()
    loader = AsyncRows(gate=gate)
    await cache.set(3, "fresh")
    for key in (1, 2):
        await outdate(cache, key)
    for _ in range(3):
        assert await cache.get_or_set_many([1, 2, 3], loader) == {1: "old", 2: "old", 3: "fresh"}
    await AsyncCrowd.until(lambda: gate.calls, 1)
    gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get_many([1, 2]), rows(1, 2))
    assert loader.asked == [[1, 2]]
    assert cache.stats().stale_hits == 6 and cache.stats().refreshes == 2


async def test_what_is_stale_and_what_is_missing(ahf: AsyncHoldfast):
    cache, loader = ahf.cache("rows", **PATIENT), AsyncRows()
    await outdate(cache, 1)
    assert await cache.get_or_set_many([1, 2], loader) == {1: "old"} | rows(2)
    await AsyncCrowd.until(lambda: cache.get_many([1, 2]), rows(1, 2))
    assert sorted(loader.asked) == [[1], [2]]


async def test_a_failing_source_is_asked_once_per_throttle(ahf: AsyncHoldfast):
    """Found: many at once knew no throttle, so that every read made a load of a source that fails."""
    cache, loader = ahf.cache("rows", **PATIENT, throttle="60s"), AsyncRows()
    loader.failure = OSError("gone")
    for key in (1, 2):
        await outdate(cache, key)
    stale = {1: "old", 2: "old"}
    assert await cache.get_or_set_many([1, 2], loader) == stale
    await AsyncCrowd.until(lambda: cache.stats().refresh_errors, 2)
    assert [await cache.get_or_set_many([1, 2], loader) for _ in range(5)] == [stale] * 5
    assert [await cache.get_or_set(1, AsyncCounting("no")) for _ in range(5)] == ["old"] * 5
    assert loader.asked == [[1, 2]]


async def test_expired_values_are_served_when_the_load_fails(ahf: AsyncHoldfast):
    """As for one key. Found: many at once raised, and kept nothing for that case."""
    cache, loader = ahf.cache("rows", ttl="1h"), AsyncRows()
    for key in (1, 2):
        await cache.set(key, "old")
        await cache.expire(key)
    loader.failure = OSError("gone")
    assert await cache.get_or_set_many([1, 2], loader) == {1: "old", 2: "old"}
    with pytest.raises(OSError, match="gone"):
        await cache.get_or_set_many([1, 2, 3], loader)  # of which there is nothing
    loader.failure = None
    assert await cache.get_or_set_many([1, 2], loader) == rows(1, 2)


# --- set_many -----------------------------------------------------------------------------------------------


async def test_set_many_refuses_before_it_writes(ahf: AsyncHoldfast):
    cache: Any = ahf.cache("rows", ttl="1h")
    await cache.set("a", 0)
    with pytest.raises(CodecError):
        await cache.set_many({"a": 1, "b": object()})
    assert await cache.get_many(["a", "b"]) == {"a": 0}
    with pytest.raises(ConfigurationError, match="put"):
        await ahf.cache("prices", ttl="1h", source=AsyncTable()).set_many({1: 1})


async def test_set_many_with_redis_away(ahf: AsyncHoldfast, faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        cache, other = mine.cache("rows", ttl="1h"), ahf.cache("rows", ttl="1h")
        await cache.set_many({1: "old", 2: "old"})
        faults.refuse()
        faults.cut()
        assert await cache.set_many({1: "new", 2: "new"}) is False
        faults.accept()

        async def undelivered() -> int:
            await cache.get(1)
            return cache.stats().undelivered

        await AsyncCrowd.until(undelivered, 0)
        assert await other.get_many([1, 2]) == {}  # rather nothing than the older values


# --- sources ------------------------------------------------------------------------------------------------


async def test_a_source_loads_many(ahf: AsyncHoldfast):
    table = AsyncTable()
    table.rows = rows(1, 2, 3)
    cache = ahf.cache("rows", ttl="1h", source=table)
    assert await cache.get(1) == "row 1"
    assert await cache.get_many([1, 2, 3, 4]) == rows(1, 2, 3)
    assert await cache.get_many([4, 3, 2]) == rows(3, 2)
    assert table.calls == ["load", "load"]


async def test_single_gets_are_loaded_together(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Found without `coalesce`: a call for each."""
    go = ASignal()

    async def rest(_: float) -> None:  # as long as it takes all to come
        assert await go.wait(20)

    monkeypatch.setattr(_source_async, "asleep", rest)
    asked: list[list[Any]] = []

    class AsyncNoting(AsyncTable):
        async def load_many(self, keys):
            asked.append(sorted(keys))
            return await super().load_many(keys)

    table = AsyncNoting()
    table.rows = rows(*range(9))
    cache: Any = ahf.cache("rows", ttl="1h", source=table, coalesce="1s")
    keys = iter([*range(10), *range(10)])

    def gathered() -> int:
        return sum(len(batch.keys) for batch in cache._source._gathering.values())

    async with AsyncCrowd() as crowd:
        jobs = [crowd.start(lambda: cache.get(next(keys))) for _ in range(10)]
        await AsyncCrowd.until(gathered, 10)
        go.fire()
        assert {await job.result() for job in jobs} == {*rows(*range(9)).values(), MISSING}
        assert asked == [list(range(10))]
        table.failure = OSError("gone")
        go = ASignal()
        await cache.clear()
        jobs = [crowd.start(lambda: cache.get(next(keys))) for _ in range(10)]
        await AsyncCrowd.until(gathered, 10)
        go.fire()
        for job in jobs:
            with pytest.raises(OSError, match="gone"):
                await job.result()
    assert asked == [list(range(10))] * 2


async def test_load_scope_is_around_loads_together(ahf: AsyncHoldfast):
    """They run in a thread of their own. Found: outside of the scope."""
    seen: list[str] = []

    class Scope:
        def __enter__(self) -> None:
            seen.append("enter")

        def __exit__(self, *_: object) -> None:
            seen.append("exit")

    class AsyncNoting(AsyncTable):
        async def load_many(self, keys):
            seen.append("load")
            return await super().load_many(keys)

    cache = ahf.cache("rows", ttl="1h", source=AsyncNoting(), coalesce="1ms", load_scope=Scope)
    assert await cache.get(1) is MISSING
    await AsyncCrowd.until(lambda: seen, ["enter", "load", "exit"])


# --- functions ----------------------------------------------------------------------------------------------


async def test_many_without_a_bulk_function(ahf: AsyncHoldfast):
    cache = ahf.cache("rows", ttl="1h", type=Row)
    calls: list[int] = []

    @cache.cached("row:{n}")
    async def row(n: int) -> Row | None:
        calls.append(n)
        return Row(n) if n else None

    assert await row(1) == Row(1)
    assert await row.many([2, 1, 2, 0]) == {2: Row(2), 1: Row(1), 0: None}
    assert sorted(calls) == [0, 1, 2]
    assert list(await row.many([2, 1, 0])) == [2, 1, 0] and len(calls) == 3
    assert await row.many([]) == {}


async def test_many_with_a_bulk_function(ahf: AsyncHoldfast):
    cache = ahf.cache("rows", ttl="1h")
    asked: list[Any] = []

    @cache.cached("price:{sku}:{currency}", ttl="1m")
    async def price(sku: str, currency: str = "EUR") -> str:
        return f"{sku} {currency}"

    @price.bulk
    async def prices(items: list[Any]) -> dict[Any, str]:
        asked.append(items)
        return {
            item: " ".join(item) if isinstance(item, tuple) else f"{item} EUR"
            for item in items
            if item != "x"
        }

    await price("a")
    wanted: list[Any] = ["a", ("b", "USD"), ("c",), "x"]
    expected = {"a": "a EUR", ("b", "USD"): "b USD", ("c",): "c"}
    assert await price.many(wanted) == expected
    assert asked == [[("b", "USD"), ("c",), "x"]]
    assert await price.many(wanted) == expected and len(asked) == 1
    assert await price("b", "USD") == "b USD"
    found = await price.peek("b", currency="USD")
    assert found and found.ttl <= 60
    assert await prices(["a"]) == {"a": "a EUR"}  # it is still a function
    with pytest.raises(TypeError):
        await price.many([("a", "b", "c")])


async def test_many_of_a_method(ahf: AsyncHoldfast):
    cache = ahf.cache("rows", ttl="1h")

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name
            self.asked: list[Any] = []

        @cache.cached("{self.name}:{n}", tags=["shop:{self.name}"])
        async def price(self, n: int) -> str:
            return f"{self.name}{n}"

        @price.bulk
        async def prices(self, ns: list[int]) -> dict[int, str]:
            self.asked.append(ns)
            return {n: f"{self.name}{n}" for n in ns}

    a, b = Shop("a"), Shop("b")
    assert await a.price.many([1, 2]) == {1: "a1", 2: "a2"}
    assert await b.price.many([2]) == {2: "b2"}
    assert (a.asked, b.asked) == ([[1, 2]], [[2]])
    await cache.invalidate_tags("shop:a")
    assert await a.price.many([1]) == {1: "a1"} and a.asked == [[1, 2], [1]]
    assert await b.price.many([2]) == {2: "b2"} and b.asked == [[2]]


# --- L1 -----------------------------------------------------------------------------------------------------


async def test_many_from_l1(ahf: AsyncHoldfast):
    cache = ahf.cache("rows", ttl="1h", l1=L1())
    await cache.set_many(rows(1, 2, 3))

    async def hits() -> bool:
        before = cache.stats().l1_hits
        assert await cache.get_many([1, 2, 3]) == rows(1, 2, 3)
        return cache.stats().l1_hits == before + 3

    await AsyncCrowd.until(hits)
    await cache.set(2, "new")
    assert await cache.get_many([1, 2, 3]) == rows(1, 3) | {2: "new"}
    await cache.invalidate(1)
    loader = AsyncRows()
    assert await cache.get_or_set_many([3, 1], loader) == rows(1, 3) and loader.asked == [[1]]
