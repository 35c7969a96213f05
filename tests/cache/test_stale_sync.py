# Generated from test_stale_async.py by tools/unasync.py. Do not edit.
"""Staleness by choice: what is served when, who loads anew, and what a failing or slow source changes.

"Found:" says what was seen with the guard removed, or before the bug was mended.
"""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import MISSING, Cache, Holdfast, LoadTimeout, Overloaded
from holdfast._compat import Signal, sleep
from tests.cache.crowd import Crowd, Observer
from tests.cache.test_cache_sync import Counting, Table
from tests.cache.test_faults_sync import Gate

PATIENT: dict[str, Any] = {"ttl": "1h", "stale": "30s", "jitter": 0, "lease": "60s", "wait": "10s"}


def outdate(cache: Cache[Any], key: Any = "k", value: Any = "old") -> None:
    """Have `value` under `key` with its ttl over, so that it is only stale."""
    cache.set(key, value, ttl="1ms")

    def is_stale() -> bool:
        found = cache.peek(key)
        return bool(found and found.stale)

    Crowd.until(is_stale)


def age(hf: Holdfast, namespace: str, left: int, part: str = "") -> None:
    """Let only `left` ms of the life of the key "k" on the server be left."""
    assert hf.execute("PEXPIRE", f"{namespace}:1:cache:users:{{k}}{part}", left) == 1


# --- while it is loaded anew --------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_stale_is_served_at_once_and_loaded_anew_once(
    hf: Holdfast, place, namespace: str, transport: str
):
    """Found without the lease in a polite flight: two clients, two loads."""
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = hf.cache("users", **PATIENT), second.cache("users", **PATIENT)
        gate = Gate("new")
        outdate(cache)
        for _ in range(3):
            for one in (cache, other):
                assert one.get_or_set("k", gate) == "old"  # nobody waits: the gate is shut
        Crowd.until(lambda: gate.calls, 1)
        gate.go.fire()
        Crowd.until(lambda: cache.get("k"), "new")
        assert [one.get_or_set("k", gate) for one in (cache, other)] == ["new", "new"]
        assert gate.calls == 1
        stats = [one.stats() for one in (cache, other)]
        assert [one.stale_hits for one in stats] == [3, 3]
        assert sum(one.refreshes for one in stats) == 1
        Crowd.until(lambda: sum(one.stats().fills for one in (cache, other)), 1)


def test_many_readers_of_something_stale_make_one_load(hf: Holdfast):
    cache, gate = hf.cache("users", **PATIENT), Gate("new")
    outdate(cache)
    with Crowd() as crowd:
        assert crowd.all(20, lambda: cache.get_or_set("k", gate)) == ["old"] * 20
        gate.go.fire()
        Crowd.until(lambda: cache.get("k"), "new")
    assert gate.calls == 1


def test_who_cannot_load_gets_nothing_stale(hf: Holdfast):
    cache = hf.cache("users", **PATIENT)
    outdate(cache)
    assert cache.get("k") is MISSING
    assert cache.get("k", "default") == "default"
    assert cache.get_many(["k"]) == {}
    found = cache.peek("k")
    assert found and found.stale and found.value == "old" and found.ttl == 0


def test_nothing_is_served_after_the_grace(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", stale="60ms", jitter=0)
    cache.set("k", "old", ttl="1ms")
    Crowd.until(lambda: cache.peek("k"), MISSING)
    with pytest.raises(OSError, match="gone"):
        cache.get_or_set("k", Counting(OSError("gone")))
    assert cache.get_or_set("k", Counting("new")) == "new"


def test_each_cache_has_its_own_bound(hf: Holdfast, server, namespace: str):
    """A release with a shorter `stale`, or none, serves nothing that it was not told to."""
    with Holdfast(server.url, namespace=namespace) as second:
        cache, strict = hf.cache("users", **PATIENT), second.cache("users", ttl="1h", jitter=0)
        cache.set("fresh", 1)
        assert strict.get("fresh") == 1
        outdate(cache)
        age(hf, namespace, 20_000)
        assert strict.get_or_set("k", Counting("new")) == "new"
        assert cache.get("k") == "new"


def test_releases_that_cannot_read_each_other(hf: Holdfast, server, namespace: str):
    """A variant is as old as its entry. Found: it was a hit for the whole grace, also for `get`."""
    with Holdfast(server.url, namespace=namespace) as second:
        older = hf.cache("users", **PATIENT, type=dict[str, int])
        newer = second.cache("users", **PATIENT, type=dict[str, str])
        older.set("k", {"a": 1})
        assert newer.get_or_set("k", Counting({"a": "x"})) == {"a": "x"}
        assert [older.get("k"), newer.get("k")] == [{"a": 1}, {"a": "x"}]
        age(hf, namespace, 20_000)  # the grace is 30 s
        assert [older.get("k"), newer.get("k")] == [MISSING, MISSING]
        assert newer.get_or_set("k", Counting({"a": "y"})) == {"a": "x"}
        Crowd.until(lambda: newer.stats().refreshes, 1)


def test_a_read_through_cache_serves_stale(hf: Holdfast):
    table = Table()
    table.rows = {"k": "old"}
    cache = hf.cache("users", **{**PATIENT, "ttl": "30ms"}, source=table)
    assert cache.get("k") == "old"
    table.rows = {"k": "new"}
    Crowd.until(lambda: cache.get("k"), "new")
    assert cache.stats().stale_hits > 0 and cache.stats().refreshes > 0


# --- invalidated meanwhile ----------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["invalidate", "invalidate_tags", "clear"])
def test_a_background_load_is_refused_when_invalidated(hf: Holdfast, event: str):
    """And no reader who starts later gets what is stale, nor what that load brings."""
    cache, gate, newer = hf.cache("users", **PATIENT), Gate("refused"), Counting("newer")
    cache.set("k", "old", ttl="1ms", tags=["t"])
    sleep(0.01)
    assert cache.get_or_set("k", gate, tags=["t"]) == "old"
    assert gate.reading.wait(20)
    getattr(cache, event)(*{"invalidate": ["k"], "invalidate_tags": ["t"], "clear": []}[event])
    with Crowd() as crowd:
        late = crowd.start(lambda: cache.get_or_set("k", newer, tags=["t"]))
        crowd.settle()
        assert cache.get("k") is MISSING
        gate.go.fire()
        assert late.result() == "newer"
    Crowd.until(lambda: cache.get("k"), "newer")


def test_a_polite_flight_hands_nobody_something_stale(hf: Holdfast, namespace: str):
    """Who comes after the invalidation must not get the older value through the flight of who came before.

    Found with `began` at the time of the answer instead of the read: the late reader was handed "old".
    """
    cache = hf.cache("users", **PATIENT)
    outdate(cache)
    key = f"{namespace}:1:cache:users:{{k}}"
    hf.execute("SET", f"{key}:f", "F:somebody", "PX", 60000)
    asked, go = Signal(), Signal()
    store: Any = cache._store
    ask = store.ask

    def slow(*args: Any) -> Any:
        answer = ask(*args)
        asked.fire()
        assert go.wait(20)
        return answer

    store.ask = slow
    assert cache.get_or_set("k", Counting("never")) == "old"
    assert asked.wait(20)
    assert cache.invalidate("k")
    store.ask = ask
    with Crowd() as crowd:
        late = crowd.start(lambda: cache.get_or_set("k", Counting("new")))
        crowd.settle()
        go.fire()
        assert late.result() == "new"


def test_expire_keeps_what_is_there_for_a_failure_only(hf: Holdfast):
    cache = hf.cache("users", **PATIENT, throttle="1ms")
    cache.set("k", "old")
    assert cache.expire("k") is True
    assert cache.get("k") is MISSING
    assert cache.get_or_set("k", Counting(OSError("gone"))) == "old"
    assert cache.expire("k") is True  # and gives the fleet another try at once
    assert cache.get_or_set("k", Counting("new")) == "new"
    assert cache.stats().served_expired == 1


# --- when the source fails ----------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_a_failing_source_is_asked_once_per_throttle(
    hf: Holdfast, place, namespace: str, transport: str
):
    """Found without the throttle in abandon.lua: a load for every read."""
    watcher, failing = Observer(), Counting(OSError("database gone"))
    hf.observers.add(watcher)
    options = PATIENT | {"throttle": "60s"}
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = hf.cache("users", **options), second.cache("users", **options)
        outdate(cache)
        assert cache.get_or_set("k", failing) == "old"
        Crowd.until(lambda: cache.stats().refresh_errors, 1)
        for _ in range(5):
            for one in (cache, other):
                assert one.get_or_set("k", failing) == "old"
        assert failing.calls == 1
        assert "RefreshFailed" in watcher.names()
        age(hf, namespace, 1, ":f")  # the throttle

        def again() -> int:
            assert other.get_or_set("k", failing) == "old"
            return failing.calls

        Crowd.until(again, 2)


def test_a_failing_source_is_asked_once_per_throttle_for_what_was_expired(hf: Holdfast):
    cache, failing = hf.cache("users", **PATIENT, throttle="60s"), Counting(OSError("gone"))
    cache.set("k", "old")
    cache.expire("k")
    assert [cache.get_or_set("k", failing) for _ in range(5)] == ["old"] * 5
    assert failing.calls == 1 and cache.stats().served_expired == 5


def test_a_refresh_is_not_throttled(hf: Holdfast):
    """Who asks for a load gets one. Found: it got what was stale, and no load."""
    cache, row = hf.cache("users", **PATIENT, throttle="60s"), Counting(OSError("gone"))

    @cache.cached("k")
    def function() -> Any:
        return row()

    outdate(cache)
    assert function() == "old"
    Crowd.until(lambda: cache.stats().refresh_errors, 1)
    with pytest.raises(OSError, match="gone"):
        function.refresh()
    assert function() == "old"
    row.value = "new"
    assert function.refresh() == function() == "new"


@pytest.mark.parametrize("event", ["invalidate", "invalidate_tags", "clear", "grace"])
def test_who_has_nothing_to_serve_is_not_throttled(hf: Holdfast, namespace: str, event: str):
    """Found: after a failed refresh and an invalidation by tag, readers waited until the throttle's end."""
    cache = hf.cache("users", **PATIENT | {"throttle": "60s", "wait": "200ms"})
    cache.set("k", "old", ttl="1ms", tags=["t"])
    sleep(0.01)
    assert cache.get_or_set("k", Counting(OSError("gone"))) == "old"
    Crowd.until(lambda: cache.stats().refresh_errors, 1)
    if event == "grace":
        age(hf, namespace, 1)
        Crowd.until(lambda: cache.peek("k"), MISSING)
    else:
        getattr(cache, event)(*{"invalidate": ["k"], "invalidate_tags": ["t"], "clear": []}[event])
    assert cache.get_or_set("k", Counting("new")) == "new"


# --- timeouts -----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_soft_timeout(hf: Holdfast):
    """The reader leaves with what is stale; the load goes on, and lands."""
    cache, gate = hf.cache("users", **PATIENT, soft_timeout="30ms"), Gate("new")
    outdate(cache)
    assert cache.get_or_set("k", gate) == "old"
    assert cache.stats().soft_timeouts == 1
    gate.go.fire()
    Crowd.until(lambda: cache.get("k"), "new")
    assert gate.calls == 1


def test_who_is_quick_enough_gets_the_new_value(hf: Holdfast):
    cache = hf.cache("users", **PATIENT, soft_timeout="10s")
    outdate(cache)
    assert cache.get_or_set("k", Counting("new")) == "new"
    assert cache.stats().soft_timeouts == 0


def test_soft_timeout_and_an_error(hf: Holdfast):
    cache, failing = hf.cache("users", **PATIENT, soft_timeout="10s"), Counting(OSError("gone"))
    outdate(cache)
    assert [cache.get_or_set("k", failing) for _ in range(3)] == ["old"] * 3
    assert failing.calls == 1  # throttled
    assert cache.get("k") is MISSING


@pytest.mark.everywhere
def test_hard_timeout(hf: Holdfast):
    cache, gate = hf.cache("users", ttl="1h", hard_timeout="30ms", lease="60s"), Gate("new")
    with pytest.raises(LoadTimeout, match=r"hard_timeout=0\.03 s") as raised:
        cache.get_or_set("k", gate)
    assert isinstance(raised.value, TimeoutError) and isinstance(raised.value, Overloaded)
    with pytest.raises(LoadTimeout):
        cache.get_or_set("k", gate)  # who comes later waits for the same load
    gate.go.fire()
    Crowd.until(lambda: cache.get("k"), "new")
    assert gate.calls == 1 and cache.stats().hard_timeouts == 2


def test_hard_timeout_serves_what_was_expired(hf: Holdfast):
    cache, gate = hf.cache("users", ttl="1h", hard_timeout="30ms", lease="60s"), Gate("new")
    cache.set("k", "old")
    cache.expire("k")
    assert cache.get_or_set("k", gate) == "old"
    gate.go.fire()
    Crowd.until(lambda: cache.get("k"), "new")


def test_hard_timeout_lets_errors_through(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", hard_timeout="10s")
    with pytest.raises(LookupError, match="nobody"):
        cache.get_or_set("k", Counting(LookupError("nobody")))
    assert cache.get_or_set("k", Counting("new")) == "new"


def test_loads_in_the_background_are_bounded(hf: Holdfast):
    """Twice max_loads of them; then a reader who cannot wait is told so, and nothing hangs afterwards."""
    cache, gate = hf.cache("users", ttl="1h", hard_timeout="50ms", max_loads=1), Gate("new")
    with Crowd() as crowd:
        jobs = [crowd.start(lambda key=key: cache.get_or_set(key, gate)) for key in range(4)]
        for job in jobs:
            with pytest.raises(Overloaded):
                job.result()
    assert gate.calls == gate.most == 1
    gate.go.fire()

    def loaded() -> Any:
        try:
            return cache.get_or_set("k", Counting("other"))
        except Overloaded:
            return None

    Crowd.until(loaded, "other")


# --- before it ends -----------------------------------------------------------------------------------------


def test_early(hf: Holdfast):
    """A reader has it loaded anew before it ends; none waits, none gets anything else meanwhile."""
    cache, gate = hf.cache("users", ttl="5s", jitter=0, early=999.0), Gate("new")

    def slow() -> str:
        sleep(0.03)
        return "old"

    assert cache.get_or_set("k", slow) == "old"

    def loads() -> int:
        assert cache.get_or_set("k", gate) == "old"
        return gate.calls

    Crowd.until(loads, 1)
    assert cache.get("k") == "old"
    gate.go.fire()
    Crowd.until(lambda: cache.get("k"), "new")
    assert cache.stats().misses == 1 and cache.stats().refreshes == 1


def test_not_early_without_a_reason(hf: Holdfast):
    cache, never = hf.cache("users", ttl="1h", jitter=0, early=1.0), Counting("new")
    cache.get_or_set("k", Counting("old"))
    assert {cache.get_or_set("k", never) for _ in range(50)} == {"old"}
    assert cache.get("k") == "old" and never.calls == 0


def test_an_early_load_that_fails_costs_nothing(hf: Holdfast):
    cache, failing = hf.cache("users", ttl="5s", jitter=0, early=999.0), Counting(OSError("gone"))

    def slow() -> str:
        sleep(0.03)
        return "old"

    cache.get_or_set("k", slow)

    def errors() -> bool:
        assert cache.get_or_set("k", failing) == "old"
        return cache.stats().refresh_errors > 0

    Crowd.until(errors)


def test_warm(hf: Holdfast, namespace: str):
    """What is read often enough in its last fifth is loaded anew before it ends, and nobody waits."""
    cache, newer = hf.cache("users", ttl="100s", jitter=0, warm=3), Counting("new")
    cache.get_or_set("k", Counting("old"))
    age(hf, namespace, 30_000)
    assert {cache.get_or_set("k", newer) for _ in range(10)} == {"old"}
    age(hf, namespace, 15_000)
    assert {cache.get_or_set("k", newer) for _ in range(2)} == {"old"}
    Crowd.until(lambda: cache.get("k"), "old")  # who cannot load does not count
    assert newer.calls == 0
    assert cache.get_or_set("k", newer) == "old"
    Crowd.until(lambda: cache.get("k"), "new")
    assert {cache.get_or_set("k", newer) for _ in range(10)} == {"new"}
    assert newer.calls == cache.stats().misses == cache.stats().refreshes == 1


# --- negative -----------------------------------------------------------------------------------------------


def test_absence_may_be_stale_as_well(hf: Holdfast):
    cache = hf.cache("users", **PATIENT, negative_ttl="1ms")
    gate = Gate("there")
    assert cache.get_or_set("k", Counting(MISSING)) is MISSING
    sleep(0.01)
    assert cache.get_or_set("k", gate) is MISSING
    gate.go.fire()
    Crowd.until(lambda: cache.get("k"), "there")


def test_a_failing_source_of_what_was_absent_is_throttled_too(hf: Holdfast):
    """Found: there was nothing kept, or so it seemed, and every read made a load."""
    cache = hf.cache("users", **PATIENT, negative_ttl="1ms", throttle="60s")
    failing = Counting(OSError("gone"))
    cache.get_or_set("k", Counting(MISSING))
    sleep(0.01)
    assert cache.get_or_set("k", failing) is MISSING
    Crowd.until(lambda: cache.stats().refresh_errors, 1)
    assert [cache.get_or_set("k", failing) for _ in range(5)] == [MISSING] * 5
    Crowd.until(lambda: cache._loads.crews.in_use, 0)
    assert failing.calls == 1


@pytest.mark.parametrize("soft", [None, "10s"])
def test_a_row_that_is_gone_takes_its_stale_value_along(hf: Holdfast, soft: str | None):
    """Found with negative_ttl=0: the load said None, and the value of before was served on, for the grace."""
    cache = hf.cache("users", **PATIENT, negative_ttl=0, soft_timeout=soft)
    outdate(cache)
    gone = Counting(None)

    def read() -> Any:
        return cache.get_or_set("k", gone)

    Crowd.until(read, None)
    assert read() is None
    assert cache.peek("k") is MISSING


# --- in the background --------------------------------------------------------------------------------------


def test_load_scope_is_around_loads_in_the_background(hf: Holdfast):
    """As Django needs it, whose connections are the thread's."""
    seen: list[str] = []

    class Scope:
        def __enter__(self) -> None:
            seen.append("enter")

        def __exit__(self, *_: object) -> None:
            seen.append("exit")

    def load() -> str:
        seen.append("load")
        return "new"

    def load_many(keys: list[Any]) -> dict[Any, Any]:
        seen.append("load")
        return dict.fromkeys(keys, "new")

    cache = hf.cache("users", **PATIENT, load_scope=Scope)
    assert cache.get_or_set("other", load) == "new"
    assert seen == ["load"]  # here the caller's own scope is good enough
    seen.clear()
    outdate(cache)
    assert cache.get_or_set("k", load) == "old"
    Crowd.until(lambda: seen, ["enter", "load", "exit"])
    Crowd.until(lambda: cache.get("k"), "new")
    seen.clear()
    outdate(cache)
    assert cache.get_or_set_many(["k"], load_many) == {"k": "old"}
    Crowd.until(lambda: seen, ["enter", "load", "exit"])
    Crowd.until(lambda: cache.get("k"), "new")


def test_a_load_in_the_background_sees_the_context(hf: Holdfast):
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    cache = hf.cache("users", **PATIENT)

    def load() -> str:
        return tenant.get()

    outdate(cache)
    token = tenant.set("acme")
    assert cache.get_or_set("k", load) == "old"
    tenant.reset(token)
    Crowd.until(lambda: cache.get("k"), "acme")


def test_close_while_loads_go_on_in_the_background(server, namespace: str):
    client = Holdfast(server.url, namespace=namespace)
    cache, gate = client.cache("users", **PATIENT), Gate("new")
    outdate(cache)
    assert cache.get_or_set("k", gate) == "old"
    assert gate.reading.wait(20)
    client.close()
    gate.go.fire()
    Crowd.until(lambda: cache.stats().loads, 1)
    Crowd.until(lambda: cache.stats().refused, {"closed": 1})


def test_a_reader_has_its_value_even_if_nobody_can_load(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """No thread can be started, say. Found: the reader got the error, and the key hung for ever after."""
    from holdfast.cache import _fly_sync as flying

    cache = hf.cache("users", **PATIENT)
    outdate(cache)

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(flying, "spawn", refuse)
        assert cache.get_or_set("k", Counting("new")) == "old"
    assert cache.get_or_set("k", Counting("new")) == "old"
    Crowd.until(lambda: cache.get("k"), "new")
