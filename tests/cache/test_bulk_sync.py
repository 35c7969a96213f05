# Generated from test_bulk_async.py by tools/unasync.py. Do not edit.
"""Many keys at once: one round trip, one load of exactly what is missing, every key loaded once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast import L1, MISSING, Holdfast, CodecError, ConfigurationError, Overloaded
from holdfast._compat import Signal
from holdfast.cache import _source_sync
from tests.cache.crowd import Crowd
from tests.cache.test_cache_sync import Counting, Table
from tests.cache.test_faults_sync import Gate
from tests.cache.test_stale_sync import PATIENT, outdate


class Row(msgspec.Struct):
    n: int


class Rows:
    """A loader of many that notes what it was asked for; it knows the rows below `least`."""

    def __init__(self, least: int = 1000, gate: Gate | None = None) -> None:
        self.asked: list[list[Any]] = []
        self.least = least
        self.gate = gate
        self.failure: Exception | None = None

    def __call__(self, keys: list[Any]) -> dict[Any, Any]:
        self.asked.append(list(keys))
        if self.gate is not None:
            self.gate()
        if self.failure is not None:
            raise self.failure
        return {key: f"row {key}" for key in keys if key < self.least}


def rows(*keys: int) -> dict[int, str]:
    return {key: f"row {key}" for key in keys}


# --- reading ------------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_get_many(hf: Holdfast):
    """In the order asked for, each key once, without what is missing."""
    cache = hf.cache("rows", ttl="1h")
    assert cache.set_many(rows(*range(40))) is True
    assert cache.get_many([]) == {}
    found = cache.get_many(iter([30, 1, 99, 1, 2, 30]))
    assert list(found.items()) == list(rows(30, 1, 2).items())
    assert cache.invalidate(*range(20)) is True
    assert cache.get_many(range(40)) == rows(*range(20, 40))
    assert cache.set_many({}) is True


def test_keys_of_all_types(hf: Holdfast):
    cache = hf.cache("any", ttl="1h")
    values: dict[Any, Any] = {
        key: n for n, key in enumerate([1, "1", None, b"1", (1, "1"), "", "a:b", "ü {}"])
    }
    assert cache.set_many(values) is True
    assert cache.get_many(values) == values
    assert [cache.get(key) for key in values] == list(values.values())


def test_keys_that_are_equal_but_not_the_same(hf: Holdfast):
    """1 == True == 1.0 in a mapping, but they are three entries. Found: one got the value of another."""
    cache = hf.cache("any", ttl="1h")
    cache.set(1, "int")
    cache.set(True, "bool")
    with pytest.raises(ConfigurationError, match="True"):
        cache.get_many([1, True])
    with pytest.raises(ConfigurationError, match=r"1\.0"):
        cache.get_or_set_many([1, 1.0], Rows())
    assert cache.get_many([True]) == {True: "bool"}


# --- loading ------------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_one_load_of_exactly_what_is_missing(hf: Holdfast):
    cache, loader = hf.cache("rows", ttl="1h", negative_ttl="1m"), Rows(least=30)
    cache.set(2, "row 2")
    found = cache.get_or_set_many([3, 2, 1, 3, 50, 2], loader)
    assert list(found.items()) == list(rows(3, 2, 1).items())
    assert loader.asked == [[3, 1, 50]]
    again = cache.get_or_set_many([1, 2, 3, 50], loader)  # that there is no 50 is remembered
    assert again == rows(1, 2, 3) and len(loader.asked) == 1
    assert cache.get_or_set_many([], loader) == {} and len(loader.asked) == 1
    found = cache.get_or_set_many(range(30), loader)
    assert found == rows(*range(30))
    assert loader.asked[1:] == [[0, *range(4, 30)]]
    peeked = cache.peek(50)
    assert peeked and peeked.value is MISSING and 0 < peeked.ttl <= 60


def test_a_loader_that_returns_too_much_or_in_another_order(hf: Holdfast):
    cache = hf.cache("rows", ttl="1h")

    def everything(keys: list[Any]) -> dict[Any, Any]:
        return rows(*range(9, -1, -1))

    assert list(cache.get_or_set_many([3, 1], everything)) == [3, 1]
    assert cache.get_many(range(10)) == rows(1, 3)


@pytest.mark.parametrize("result", [None, 7, [("a", 1)], "text"])
def test_a_loader_that_returns_no_mapping(hf: Holdfast, result: Any):
    """Found: AttributeError, without a word of whose fault it is."""
    cache: Any = hf.cache("rows", ttl="1h", lease="60s", wait="2s")

    def loader(keys: list[Any]) -> Any:
        return result

    with pytest.raises(ConfigurationError, match="mapping"):
        cache.get_or_set_many(["a", "b"], loader)
    assert cache.get_or_set("a", Counting(1)) == 1


@pytest.mark.everywhere
def test_a_loader_that_fails(hf: Holdfast):
    """Nothing is stored, every lease is given back, what was there is there."""
    cache, loader = hf.cache("rows", ttl="1h", lease="60s", wait="5s"), Rows()
    cache.set(1, "row 1")
    loader.failure = OSError("database gone")
    with pytest.raises(OSError, match="gone"):
        cache.get_or_set_many([1, 2, 3], loader)
    loader.failure = None
    assert cache.get_or_set_many([1, 2, 3], loader) == rows(1, 2, 3)
    assert loader.asked == [[2, 3], [2, 3]]
    assert cache.stats().load_errors == 1


def test_a_value_that_cannot_be_written(hf: Holdfast):
    """Found: the lease of its key was kept, so that the next reader waited for its end."""
    cache = hf.cache("rows", ttl="1h", lease="60s", wait="2s", type=Row)

    def loader(keys: list[Any]) -> dict[Any, Any]:
        return {"a": Row(1), "bad": object(), "c": Row(3)}

    with pytest.raises(CodecError):
        cache.get_or_set_many(["a", "bad", "c"], loader)
    for key in ("a", "bad", "c"):
        assert cache.get_or_set(key, Counting(Row(1))) == Row(1)


def test_a_ttl_and_tags_for_all(hf: Holdfast):
    cache = hf.cache("rows", ttl="1h", jitter=0)
    cache.get_or_set_many([1, 2], Rows(), ttl="1m", tags=["t"])
    cache.set_many({3: "row 3"}, ttl="1m", tags=["t"])
    for key in (1, 2, 3):
        found = cache.peek(key)
        assert found and 50 < found.ttl <= 60
    assert cache.get_many([1, 2, 3]) == rows(1, 2, 3)
    cache.invalidate_tags("t")
    assert cache.get_many([1, 2, 3]) == {}


@pytest.mark.parametrize("event", ["invalidate", "invalidate_tags", "clear", "set"])
def test_invalidated_while_it_is_loaded(hf: Holdfast, event: str):
    cache, gate = hf.cache("rows", ttl="1h"), Gate()
    loader = Rows(gate=gate)
    with Crowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set_many([1, 2], loader, tags=["t"]))
        assert gate.reading.wait(20)
        arguments = {"invalidate": [1], "invalidate_tags": ["t"], "clear": [], "set": [1, "newer"]}
        getattr(cache, event)(*arguments[event])
        gate.go.fire()
        assert job.result() == rows(1, 2)
    left = {"invalidate": rows(2), "set": {1: "newer"} | rows(2)}.get(event, {})
    assert cache.get_many([1, 2]) == left


# --- several at once ----------------------------------------------------------------------------------------


def test_two_that_want_the_same_keys_load_each_once(hf: Holdfast, server, namespace: str):
    """In one process and in two: what another loads is waited for, and nobody waits in a circle."""
    gates = [Gate(), Gate(), Gate()]
    loaders = [Rows(gate=gate) for gate in gates]
    with Holdfast(server.url, namespace=namespace) as second, Crowd() as crowd:
        caches = [one.cache("rows", ttl="1h", lease="60s") for one in (hf, hf, second)]
        wanted = ([1, 2, 3], [3, 4, 1], [4, 2, 5])
        jobs = []
        for cache, keys, loader, gate in zip(caches, wanted, loaders, gates, strict=True):
            jobs.append(crowd.start(lambda c=cache, k=keys, one=loader: c.get_or_set_many(k, one)))
            assert gate.reading.wait(20)
        for gate in reversed(gates):
            gate.go.fire()
        for job, keys in zip(jobs, wanted, strict=True):
            assert job.result() == rows(*keys)
    assert [loader.asked for loader in loaders] == [[[1, 2, 3]], [[4]], [[5]]]


def test_a_crowd_of_overlapping_callers(hf: Holdfast, server, namespace: str):
    loader = Rows()
    places = iter(range(100))
    with Holdfast(server.url, namespace=namespace) as second, Crowd() as crowd:
        caches = [one.cache("rows", ttl="1h", lease="60s", max_loads=2) for one in (hf, second)]

        def ask() -> bool:
            place = next(places)
            keys = [(place * 3 + n * (1 if place % 2 else 7)) % 20 for n in range(8)]
            return caches[place % 2].get_or_set_many(keys, loader) == rows(*keys)

        assert crowd.all(20, ask) == [True] * 20
    loaded = [key for keys in loader.asked for key in keys]
    assert sorted(loaded) == sorted(set(loaded))


def test_single_gets_follow_a_load_of_many(hf: Holdfast):
    cache, gate = hf.cache("rows", ttl="1h"), Gate()
    never = Counting("other")
    with Crowd() as crowd:
        many = crowd.start(lambda: cache.get_or_set_many([1, 2], Rows(gate=gate)))
        assert gate.reading.wait(20)
        cache.get("warm")
        one = crowd.start(lambda: cache.get_or_set(2, never))
        crowd.settle()
        gate.go.fire()
        assert (many.result(), one.result()) == (rows(1, 2), "row 2")
    assert never.calls == 0


def test_a_failed_load_of_many_leaves_its_followers_to_themselves(hf: Holdfast):
    cache, gate = hf.cache("rows", ttl="1h", lease="60s"), Gate(OSError("gone"))
    with Crowd() as crowd:
        many = crowd.start(lambda: cache.get_or_set_many([1, 2], Rows(gate=gate)))
        assert gate.reading.wait(20)
        one = crowd.start(lambda: cache.get_or_set(2, Counting("own")))
        crowd.settle()
        gate.go.fire()
        assert one.result() == "own"
        with pytest.raises(OSError, match="gone"):
            many.result()


def test_max_loads(hf: Holdfast):
    """A load of many takes one place, and who gets none is told so."""
    cache, gate = hf.cache("rows", ttl="1h", max_loads=1, wait="100ms"), Gate()
    with Crowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set_many([1, 2], Rows(gate=gate)))
        assert gate.reading.wait(20)
        with pytest.raises(Overloaded):
            cache.get_or_set_many([3, 4], Rows())
        gate.go.fire()
        assert job.result() == rows(1, 2)
    assert cache.get_or_set_many([3, 4], Rows()) == rows(3, 4)


def test_a_loader_that_asks_for_its_own_key(hf: Holdfast):
    """Found: keys before it in the list stayed in the air, so that who asked for one waited for ever."""
    cache = hf.cache("rows", ttl="1h", wait="2s")

    def inner(keys: list[Any]) -> dict[Any, Any]:
        return dict.fromkeys(keys, 1)

    def outer() -> Any:
        with pytest.raises(ConfigurationError, match="very key"):
            cache.get_or_set_many(["a", "k"], inner)
        return cache.get_or_set_many(["a"], inner)

    assert cache.get_or_set("k", outer) == {"a": 1}


# --- stale --------------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_stale_is_served_and_loaded_anew_by_one_call(hf: Holdfast):
    cache, gate = hf.cache("rows", **PATIENT), Gate()
    loader = Rows(gate=gate)
    cache.set(3, "fresh")
    for key in (1, 2):
        outdate(cache, key)
    for _ in range(3):
        assert cache.get_or_set_many([1, 2, 3], loader) == {1: "old", 2: "old", 3: "fresh"}
    Crowd.until(lambda: gate.calls, 1)
    gate.go.fire()
    Crowd.until(lambda: cache.get_many([1, 2]), rows(1, 2))
    assert loader.asked == [[1, 2]]
    assert cache.stats().stale_hits == 6 and cache.stats().refreshes == 2


def test_what_is_stale_and_what_is_missing(hf: Holdfast):
    cache, loader = hf.cache("rows", **PATIENT), Rows()
    outdate(cache, 1)
    assert cache.get_or_set_many([1, 2], loader) == {1: "old"} | rows(2)
    Crowd.until(lambda: cache.get_many([1, 2]), rows(1, 2))
    assert sorted(loader.asked) == [[1], [2]]


def test_a_failing_source_is_asked_once_per_throttle(hf: Holdfast):
    """Found: many at once knew no throttle, so that every read made a load of a source that fails."""
    cache, loader = hf.cache("rows", **PATIENT, throttle="60s"), Rows()
    loader.failure = OSError("gone")
    for key in (1, 2):
        outdate(cache, key)
    stale = {1: "old", 2: "old"}
    assert cache.get_or_set_many([1, 2], loader) == stale
    Crowd.until(lambda: cache.stats().refresh_errors, 2)
    assert [cache.get_or_set_many([1, 2], loader) for _ in range(5)] == [stale] * 5
    assert [cache.get_or_set(1, Counting("no")) for _ in range(5)] == ["old"] * 5
    assert loader.asked == [[1, 2]]


def test_expired_values_are_served_when_the_load_fails(hf: Holdfast):
    """As for one key. Found: many at once raised, and kept nothing for that case."""
    cache, loader = hf.cache("rows", ttl="1h"), Rows()
    for key in (1, 2):
        cache.set(key, "old")
        cache.expire(key)
    loader.failure = OSError("gone")
    assert cache.get_or_set_many([1, 2], loader) == {1: "old", 2: "old"}
    with pytest.raises(OSError, match="gone"):
        cache.get_or_set_many([1, 2, 3], loader)  # of which there is nothing
    loader.failure = None
    assert cache.get_or_set_many([1, 2], loader) == rows(1, 2)


# --- set_many -----------------------------------------------------------------------------------------------


def test_set_many_refuses_before_it_writes(hf: Holdfast):
    cache: Any = hf.cache("rows", ttl="1h")
    cache.set("a", 0)
    with pytest.raises(CodecError):
        cache.set_many({"a": 1, "b": object()})
    assert cache.get_many(["a", "b"]) == {"a": 0}
    with pytest.raises(ConfigurationError, match="put"):
        hf.cache("prices", ttl="1h", source=Table()).set_many({1: 1})


def test_set_many_with_redis_away(hf: Holdfast, faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        cache, other = mine.cache("rows", ttl="1h"), hf.cache("rows", ttl="1h")
        cache.set_many({1: "old", 2: "old"})
        faults.refuse()
        faults.cut()
        assert cache.set_many({1: "new", 2: "new"}) is False
        faults.accept()

        def undelivered() -> int:
            cache.get(1)
            return cache.stats().undelivered

        Crowd.until(undelivered, 0)
        assert other.get_many([1, 2]) == {}  # rather nothing than the older values


# --- sources ------------------------------------------------------------------------------------------------


def test_a_source_loads_many(hf: Holdfast):
    table = Table()
    table.rows = rows(1, 2, 3)
    cache = hf.cache("rows", ttl="1h", source=table)
    assert cache.get(1) == "row 1"
    assert cache.get_many([1, 2, 3, 4]) == rows(1, 2, 3)
    assert cache.get_many([4, 3, 2]) == rows(3, 2)
    assert table.calls == ["load", "load"]


def test_single_gets_are_loaded_together(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Found without `coalesce`: a call for each."""
    go = Signal()

    def rest(_: float) -> None:  # as long as it takes all to come
        assert go.wait(20)

    monkeypatch.setattr(_source_sync, "sleep", rest)
    asked: list[list[Any]] = []

    class Noting(Table):
        def load_many(self, keys):
            asked.append(sorted(keys))
            return super().load_many(keys)

    table = Noting()
    table.rows = rows(*range(9))
    cache: Any = hf.cache("rows", ttl="1h", source=table, coalesce="1s")
    keys = iter([*range(10), *range(10)])

    def gathered() -> int:
        return sum(len(batch.keys) for batch in cache._source._gathering.values())

    with Crowd() as crowd:
        jobs = [crowd.start(lambda: cache.get(next(keys))) for _ in range(10)]
        Crowd.until(gathered, 10)
        go.fire()
        assert {job.result() for job in jobs} == {*rows(*range(9)).values(), MISSING}
        assert asked == [list(range(10))]
        table.failure = OSError("gone")
        go = Signal()
        cache.clear()
        jobs = [crowd.start(lambda: cache.get(next(keys))) for _ in range(10)]
        Crowd.until(gathered, 10)
        go.fire()
        for job in jobs:
            with pytest.raises(OSError, match="gone"):
                job.result()
    assert asked == [list(range(10))] * 2


def test_load_scope_is_around_loads_together(hf: Holdfast):
    """They run in a thread of their own. Found: outside of the scope."""
    seen: list[str] = []

    class Scope:
        def __enter__(self) -> None:
            seen.append("enter")

        def __exit__(self, *_: object) -> None:
            seen.append("exit")

    class Noting(Table):
        def load_many(self, keys):
            seen.append("load")
            return super().load_many(keys)

    cache = hf.cache("rows", ttl="1h", source=Noting(), coalesce="1ms", load_scope=Scope)
    assert cache.get(1) is MISSING
    Crowd.until(lambda: seen, ["enter", "load", "exit"])


# --- functions ----------------------------------------------------------------------------------------------


def test_many_without_a_bulk_function(hf: Holdfast):
    cache = hf.cache("rows", ttl="1h", type=Row)
    calls: list[int] = []

    @cache.cached("row:{n}")
    def row(n: int) -> Row | None:
        calls.append(n)
        return Row(n) if n else None

    assert row(1) == Row(1)
    assert row.many([2, 1, 2, 0]) == {2: Row(2), 1: Row(1), 0: None}
    assert sorted(calls) == [0, 1, 2]
    assert list(row.many([2, 1, 0])) == [2, 1, 0] and len(calls) == 3
    assert row.many([]) == {}


def test_many_with_a_bulk_function(hf: Holdfast):
    cache = hf.cache("rows", ttl="1h")
    asked: list[Any] = []

    @cache.cached("price:{sku}:{currency}", ttl="1m")
    def price(sku: str, currency: str = "EUR") -> str:
        return f"{sku} {currency}"

    @price.bulk
    def prices(items: list[Any]) -> dict[Any, str]:
        asked.append(items)
        return {
            item: " ".join(item) if isinstance(item, tuple) else f"{item} EUR"
            for item in items
            if item != "x"
        }

    price("a")
    wanted: list[Any] = ["a", ("b", "USD"), ("c",), "x"]
    expected = {"a": "a EUR", ("b", "USD"): "b USD", ("c",): "c"}
    assert price.many(wanted) == expected
    assert asked == [[("b", "USD"), ("c",), "x"]]
    assert price.many(wanted) == expected and len(asked) == 1
    assert price("b", "USD") == "b USD"
    found = price.peek("b", currency="USD")
    assert found and found.ttl <= 60
    assert prices(["a"]) == {"a": "a EUR"}  # it is still a function
    with pytest.raises(TypeError):
        price.many([("a", "b", "c")])


def test_many_of_a_method(hf: Holdfast):
    cache = hf.cache("rows", ttl="1h")

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name
            self.asked: list[Any] = []

        @cache.cached("{self.name}:{n}", tags=["shop:{self.name}"])
        def price(self, n: int) -> str:
            return f"{self.name}{n}"

        @price.bulk
        def prices(self, ns: list[int]) -> dict[int, str]:
            self.asked.append(ns)
            return {n: f"{self.name}{n}" for n in ns}

    a, b = Shop("a"), Shop("b")
    assert a.price.many([1, 2]) == {1: "a1", 2: "a2"}
    assert b.price.many([2]) == {2: "b2"}
    assert (a.asked, b.asked) == ([[1, 2]], [[2]])
    cache.invalidate_tags("shop:a")
    assert a.price.many([1]) == {1: "a1"} and a.asked == [[1, 2], [1]]
    assert b.price.many([2]) == {2: "b2"} and b.asked == [[2]]


# --- L1 -----------------------------------------------------------------------------------------------------


def test_many_from_l1(hf: Holdfast):
    cache = hf.cache("rows", ttl="1h", l1=L1())
    cache.set_many(rows(1, 2, 3))

    def hits() -> bool:
        before = cache.stats().l1_hits
        assert cache.get_many([1, 2, 3]) == rows(1, 2, 3)
        return cache.stats().l1_hits == before + 3

    Crowd.until(hits)
    cache.set(2, "new")
    assert cache.get_many([1, 2, 3]) == rows(1, 3) | {2: "new"}
    cache.invalidate(1)
    loader = Rows()
    assert cache.get_or_set_many([3, 1], loader) == rows(1, 3) and loader.asked == [[1]]
