# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Staleness by choice: what is served when, who loads anew, and what a failing or slow source changes.

"Found:" says what was seen with the guard removed, or before the bug was mended.
"""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import MISSING, AsyncCache, AsyncHoldfast, LoadTimeout, Overloaded
from holdfast._compat import ASignal, asleep
from tests.cache.crowd import AsyncCrowd, Observer
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_faults_async import AsyncGate

PATIENT: dict[str, Any] = {"ttl": "1h", "stale": "30s", "jitter": 0, "lease": "60s", "wait": "10s"}


async def outdate(cache: AsyncCache[Any], key: Any = "k", value: Any = "old") -> None:
    """Have `value` under `key` with its ttl over, so that it is only stale."""
    await cache.set(key, value, ttl="1ms")

    async def is_stale() -> bool:
        found = await cache.peek(key)
        return bool(found and found.stale)

    await AsyncCrowd.until(is_stale)


async def age(ahf: AsyncHoldfast, namespace: str, left: int, part: str = "") -> None:
    """Let only `left` ms of the life of the key "k" on the server be left."""
    assert await ahf.execute("PEXPIRE", f"{namespace}:1:cache:users:{{k}}{part}", left) == 1


# --- while it is loaded anew --------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_stale_is_served_at_once_and_loaded_anew_once(
    ahf: AsyncHoldfast, place, namespace: str, transport: str
):
    """Found without the lease in a polite flight: two clients, two loads."""
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = ahf.cache("users", **PATIENT), second.cache("users", **PATIENT)
        gate = AsyncGate("new")
        await outdate(cache)
        for _ in range(3):
            for one in (cache, other):
                assert await one.get_or_set("k", gate) == "old"  # nobody waits: the gate is shut
        await AsyncCrowd.until(lambda: gate.calls, 1)
        gate.go.fire()
        await AsyncCrowd.until(lambda: cache.get("k"), "new")
        assert [await one.get_or_set("k", gate) for one in (cache, other)] == ["new", "new"]
        assert gate.calls == 1
        stats = [one.stats() for one in (cache, other)]
        assert [one.stale_hits for one in stats] == [3, 3]
        assert sum(one.refreshes for one in stats) == 1
        await AsyncCrowd.until(lambda: sum(one.stats().fills for one in (cache, other)), 1)


async def test_many_readers_of_something_stale_make_one_load(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("users", **PATIENT), AsyncGate("new")
    await outdate(cache)
    async with AsyncCrowd() as crowd:
        assert await crowd.all(20, lambda: cache.get_or_set("k", gate)) == ["old"] * 20
        gate.go.fire()
        await AsyncCrowd.until(lambda: cache.get("k"), "new")
    assert gate.calls == 1


async def test_who_cannot_load_gets_nothing_stale(ahf: AsyncHoldfast):
    cache = ahf.cache("users", **PATIENT)
    await outdate(cache)
    assert await cache.get("k") is MISSING
    assert await cache.get("k", "default") == "default"
    assert await cache.get_many(["k"]) == {}
    found = await cache.peek("k")
    assert found and found.stale and found.value == "old" and found.ttl == 0


async def test_nothing_is_served_after_the_grace(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", stale="60ms", jitter=0)
    await cache.set("k", "old", ttl="1ms")
    await AsyncCrowd.until(lambda: cache.peek("k"), MISSING)
    with pytest.raises(OSError, match="gone"):
        await cache.get_or_set("k", AsyncCounting(OSError("gone")))
    assert await cache.get_or_set("k", AsyncCounting("new")) == "new"


async def test_each_cache_has_its_own_bound(ahf: AsyncHoldfast, server, namespace: str):
    """A release with a shorter `stale`, or none, serves nothing that it was not told to."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        cache, strict = ahf.cache("users", **PATIENT), second.cache("users", ttl="1h", jitter=0)
        await cache.set("fresh", 1)
        assert await strict.get("fresh") == 1
        await outdate(cache)
        await age(ahf, namespace, 20_000)
        assert await strict.get_or_set("k", AsyncCounting("new")) == "new"
        assert await cache.get("k") == "new"


async def test_releases_that_cannot_read_each_other(ahf: AsyncHoldfast, server, namespace: str):
    """A variant is as old as its entry. Found: it was a hit for the whole grace, also for `get`."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        older = ahf.cache("users", **PATIENT, type=dict[str, int])
        newer = second.cache("users", **PATIENT, type=dict[str, str])
        await older.set("k", {"a": 1})
        assert await newer.get_or_set("k", AsyncCounting({"a": "x"})) == {"a": "x"}
        assert [await older.get("k"), await newer.get("k")] == [{"a": 1}, {"a": "x"}]
        await age(ahf, namespace, 20_000)  # the grace is 30 s
        assert [await older.get("k"), await newer.get("k")] == [MISSING, MISSING]
        assert await newer.get_or_set("k", AsyncCounting({"a": "y"})) == {"a": "x"}
        await AsyncCrowd.until(lambda: newer.stats().refreshes, 1)


async def test_a_read_through_cache_serves_stale(ahf: AsyncHoldfast):
    table = AsyncTable()
    table.rows = {"k": "old"}
    cache = ahf.cache("users", **{**PATIENT, "ttl": "30ms"}, source=table)
    assert await cache.get("k") == "old"
    table.rows = {"k": "new"}
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    assert cache.stats().stale_hits > 0 and cache.stats().refreshes > 0


# --- invalidated meanwhile ----------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["invalidate", "invalidate_tags", "clear"])
async def test_a_background_load_is_refused_when_invalidated(ahf: AsyncHoldfast, event: str):
    """And no reader who starts later gets what is stale, nor what that load brings."""
    cache, gate, newer = ahf.cache("users", **PATIENT), AsyncGate("refused"), AsyncCounting("newer")
    await cache.set("k", "old", ttl="1ms", tags=["t"])
    await asleep(0.01)
    assert await cache.get_or_set("k", gate, tags=["t"]) == "old"
    assert await gate.reading.wait(20)
    await getattr(cache, event)(*{"invalidate": ["k"], "invalidate_tags": ["t"], "clear": []}[event])
    async with AsyncCrowd() as crowd:
        late = crowd.start(lambda: cache.get_or_set("k", newer, tags=["t"]))
        await crowd.settle()
        assert await cache.get("k") is MISSING
        gate.go.fire()
        assert await late.result() == "newer"
    await AsyncCrowd.until(lambda: cache.get("k"), "newer")


async def test_a_polite_flight_hands_nobody_something_stale(ahf: AsyncHoldfast, namespace: str):
    """Who comes after the invalidation must not get the older value through the flight of who came before.

    Found with `began` at the time of the answer instead of the read: the late reader was handed "old".
    """
    cache = ahf.cache("users", **PATIENT)
    await outdate(cache)
    key = f"{namespace}:1:cache:users:{{k}}"
    await ahf.execute("SET", f"{key}:f", "F:somebody", "PX", 60000)
    asked, go = ASignal(), ASignal()
    store: Any = cache._store
    ask = store.ask

    async def slow(*args: Any) -> Any:
        answer = await ask(*args)
        asked.fire()
        assert await go.wait(20)
        return answer

    store.ask = slow
    assert await cache.get_or_set("k", AsyncCounting("never")) == "old"
    assert await asked.wait(20)
    assert await cache.invalidate("k")
    store.ask = ask
    async with AsyncCrowd() as crowd:
        late = crowd.start(lambda: cache.get_or_set("k", AsyncCounting("new")))
        await crowd.settle()
        go.fire()
        assert await late.result() == "new"


async def test_expire_keeps_what_is_there_for_a_failure_only(ahf: AsyncHoldfast):
    cache = ahf.cache("users", **PATIENT, throttle="1ms")
    await cache.set("k", "old")
    assert await cache.expire("k") is True
    assert await cache.get("k") is MISSING
    assert await cache.get_or_set("k", AsyncCounting(OSError("gone"))) == "old"
    assert await cache.expire("k") is True  # and gives the fleet another try at once
    assert await cache.get_or_set("k", AsyncCounting("new")) == "new"
    assert cache.stats().served_expired == 1


# --- when the source fails ----------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_a_failing_source_is_asked_once_per_throttle(
    ahf: AsyncHoldfast, place, namespace: str, transport: str
):
    """Found without the throttle in abandon.lua: a load for every read."""
    watcher, failing = Observer(), AsyncCounting(OSError("database gone"))
    ahf.observers.add(watcher)
    options = PATIENT | {"throttle": "60s"}
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        cache, other = ahf.cache("users", **options), second.cache("users", **options)
        await outdate(cache)
        assert await cache.get_or_set("k", failing) == "old"
        await AsyncCrowd.until(lambda: cache.stats().refresh_errors, 1)
        for _ in range(5):
            for one in (cache, other):
                assert await one.get_or_set("k", failing) == "old"
        assert failing.calls == 1
        assert "RefreshFailed" in watcher.names()
        await age(ahf, namespace, 1, ":f")  # the throttle

        async def again() -> int:
            assert await other.get_or_set("k", failing) == "old"
            return failing.calls

        await AsyncCrowd.until(again, 2)


async def test_a_failing_source_is_asked_once_per_throttle_for_what_was_expired(ahf: AsyncHoldfast):
    cache, failing = ahf.cache("users", **PATIENT, throttle="60s"), AsyncCounting(OSError("gone"))
    await cache.set("k", "old")
    await cache.expire("k")
    assert [await cache.get_or_set("k", failing) for _ in range(5)] == ["old"] * 5
    assert failing.calls == 1 and cache.stats().served_expired == 5


async def test_a_refresh_is_not_throttled(ahf: AsyncHoldfast):
    """Who asks for a load gets one. Found: it got what was stale, and no load."""
    cache, row = ahf.cache("users", **PATIENT, throttle="60s"), AsyncCounting(OSError("gone"))

    @cache.cached("k")
    async def function() -> Any:
        return await row()

    await outdate(cache)
    assert await function() == "old"
    await AsyncCrowd.until(lambda: cache.stats().refresh_errors, 1)
    with pytest.raises(OSError, match="gone"):
        await function.refresh()
    assert await function() == "old"
    row.value = "new"
    assert await function.refresh() == await function() == "new"


@pytest.mark.parametrize("event", ["invalidate", "invalidate_tags", "clear", "grace"])
async def test_who_has_nothing_to_serve_is_not_throttled(ahf: AsyncHoldfast, namespace: str, event: str):
    """Found: after a failed refresh and an invalidation by tag, readers waited until the throttle's end."""
    cache = ahf.cache("users", **PATIENT | {"throttle": "60s", "wait": "200ms"})
    await cache.set("k", "old", ttl="1ms", tags=["t"])
    await asleep(0.01)
    assert await cache.get_or_set("k", AsyncCounting(OSError("gone"))) == "old"
    await AsyncCrowd.until(lambda: cache.stats().refresh_errors, 1)
    if event == "grace":
        await age(ahf, namespace, 1)
        await AsyncCrowd.until(lambda: cache.peek("k"), MISSING)
    else:
        await getattr(cache, event)(*{"invalidate": ["k"], "invalidate_tags": ["t"], "clear": []}[event])
    assert await cache.get_or_set("k", AsyncCounting("new")) == "new"


# --- timeouts -----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_soft_timeout(ahf: AsyncHoldfast):
    """The reader leaves with what is stale; the load goes on, and lands."""
    cache, gate = ahf.cache("users", **PATIENT, soft_timeout="30ms"), AsyncGate("new")
    await outdate(cache)
    assert await cache.get_or_set("k", gate) == "old"
    assert cache.stats().soft_timeouts == 1
    gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    assert gate.calls == 1


async def test_who_is_quick_enough_gets_the_new_value(ahf: AsyncHoldfast):
    cache = ahf.cache("users", **PATIENT, soft_timeout="10s")
    await outdate(cache)
    assert await cache.get_or_set("k", AsyncCounting("new")) == "new"
    assert cache.stats().soft_timeouts == 0


async def test_soft_timeout_and_an_error(ahf: AsyncHoldfast):
    cache, failing = ahf.cache("users", **PATIENT, soft_timeout="10s"), AsyncCounting(OSError("gone"))
    await outdate(cache)
    assert [await cache.get_or_set("k", failing) for _ in range(3)] == ["old"] * 3
    assert failing.calls == 1  # throttled
    assert await cache.get("k") is MISSING


@pytest.mark.everywhere
async def test_hard_timeout(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("users", ttl="1h", hard_timeout="30ms", lease="60s"), AsyncGate("new")
    with pytest.raises(LoadTimeout, match=r"hard_timeout=0\.03 s") as raised:
        await cache.get_or_set("k", gate)
    assert isinstance(raised.value, TimeoutError) and isinstance(raised.value, Overloaded)
    with pytest.raises(LoadTimeout):
        await cache.get_or_set("k", gate)  # who comes later waits for the same load
    gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    assert gate.calls == 1 and cache.stats().hard_timeouts == 2


async def test_hard_timeout_serves_what_was_expired(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("users", ttl="1h", hard_timeout="30ms", lease="60s"), AsyncGate("new")
    await cache.set("k", "old")
    await cache.expire("k")
    assert await cache.get_or_set("k", gate) == "old"
    gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get("k"), "new")


async def test_hard_timeout_lets_errors_through(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", hard_timeout="10s")
    with pytest.raises(LookupError, match="nobody"):
        await cache.get_or_set("k", AsyncCounting(LookupError("nobody")))
    assert await cache.get_or_set("k", AsyncCounting("new")) == "new"


async def test_loads_in_the_background_are_bounded(ahf: AsyncHoldfast):
    """Twice max_loads of them; then a reader who cannot wait is told so, and nothing hangs afterwards."""
    cache, gate = ahf.cache("users", ttl="1h", hard_timeout="50ms", max_loads=1), AsyncGate("new")
    async with AsyncCrowd() as crowd:
        jobs = [crowd.start(lambda key=key: cache.get_or_set(key, gate)) for key in range(4)]
        for job in jobs:
            with pytest.raises(Overloaded):
                await job.result()
    assert gate.calls == gate.most == 1
    gate.go.fire()

    async def loaded() -> Any:
        try:
            return await cache.get_or_set("k", AsyncCounting("other"))
        except Overloaded:
            return None

    await AsyncCrowd.until(loaded, "other")


# --- before it ends -----------------------------------------------------------------------------------------


async def test_early(ahf: AsyncHoldfast):
    """A reader has it loaded anew before it ends; none waits, none gets anything else meanwhile."""
    cache, gate = ahf.cache("users", ttl="5s", jitter=0, early=999.0), AsyncGate("new")

    async def slow() -> str:
        await asleep(0.03)
        return "old"

    assert await cache.get_or_set("k", slow) == "old"

    async def loads() -> int:
        assert await cache.get_or_set("k", gate) == "old"
        return gate.calls

    await AsyncCrowd.until(loads, 1)
    assert await cache.get("k") == "old"
    gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    assert cache.stats().misses == 1 and cache.stats().refreshes == 1


async def test_not_early_without_a_reason(ahf: AsyncHoldfast):
    cache, never = ahf.cache("users", ttl="1h", jitter=0, early=1.0), AsyncCounting("new")
    await cache.get_or_set("k", AsyncCounting("old"))
    assert {await cache.get_or_set("k", never) for _ in range(50)} == {"old"}
    assert await cache.get("k") == "old" and never.calls == 0


async def test_an_early_load_that_fails_costs_nothing(ahf: AsyncHoldfast):
    cache, failing = ahf.cache("users", ttl="5s", jitter=0, early=999.0), AsyncCounting(OSError("gone"))

    async def slow() -> str:
        await asleep(0.03)
        return "old"

    await cache.get_or_set("k", slow)

    async def errors() -> bool:
        assert await cache.get_or_set("k", failing) == "old"
        return cache.stats().refresh_errors > 0

    await AsyncCrowd.until(errors)


async def test_warm(ahf: AsyncHoldfast, namespace: str):
    """What is read often enough in its last fifth is loaded anew before it ends, and nobody waits."""
    cache, newer = ahf.cache("users", ttl="100s", jitter=0, warm=3), AsyncCounting("new")
    await cache.get_or_set("k", AsyncCounting("old"))
    await age(ahf, namespace, 30_000)
    assert {await cache.get_or_set("k", newer) for _ in range(10)} == {"old"}
    await age(ahf, namespace, 15_000)
    assert {await cache.get_or_set("k", newer) for _ in range(2)} == {"old"}
    await AsyncCrowd.until(lambda: cache.get("k"), "old")  # who cannot load does not count
    assert newer.calls == 0
    assert await cache.get_or_set("k", newer) == "old"
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    assert {await cache.get_or_set("k", newer) for _ in range(10)} == {"new"}
    assert newer.calls == cache.stats().misses == cache.stats().refreshes == 1


# --- negative -----------------------------------------------------------------------------------------------


async def test_absence_may_be_stale_as_well(ahf: AsyncHoldfast):
    cache = ahf.cache("users", **PATIENT, negative_ttl="1ms")
    gate = AsyncGate("there")
    assert await cache.get_or_set("k", AsyncCounting(MISSING)) is MISSING
    await asleep(0.01)
    assert await cache.get_or_set("k", gate) is MISSING
    gate.go.fire()
    await AsyncCrowd.until(lambda: cache.get("k"), "there")


async def test_a_failing_source_of_what_was_absent_is_throttled_too(ahf: AsyncHoldfast):
    """Found: there was nothing kept, or so it seemed, and every read made a load."""
    cache = ahf.cache("users", **PATIENT, negative_ttl="1ms", throttle="60s")
    failing = AsyncCounting(OSError("gone"))
    await cache.get_or_set("k", AsyncCounting(MISSING))
    await asleep(0.01)
    assert await cache.get_or_set("k", failing) is MISSING
    await AsyncCrowd.until(lambda: cache.stats().refresh_errors, 1)
    assert [await cache.get_or_set("k", failing) for _ in range(5)] == [MISSING] * 5
    await AsyncCrowd.until(lambda: cache._loads.crews.in_use, 0)
    assert failing.calls == 1


@pytest.mark.parametrize("soft", [None, "10s"])
async def test_a_row_that_is_gone_takes_its_stale_value_along(ahf: AsyncHoldfast, soft: str | None):
    """Found with negative_ttl=0: the load said None, and the value of before was served on, for the grace."""
    cache = ahf.cache("users", **PATIENT, negative_ttl=0, soft_timeout=soft)
    await outdate(cache)
    gone = AsyncCounting(None)

    async def read() -> Any:
        return await cache.get_or_set("k", gone)

    await AsyncCrowd.until(read, None)
    assert await read() is None
    assert await cache.peek("k") is MISSING


# --- in the background --------------------------------------------------------------------------------------


async def test_load_scope_is_around_loads_in_the_background(ahf: AsyncHoldfast):
    """As Django needs it, whose connections are the thread's."""
    seen: list[str] = []

    class Scope:
        def __enter__(self) -> None:
            seen.append("enter")

        def __exit__(self, *_: object) -> None:
            seen.append("exit")

    async def load() -> str:
        seen.append("load")
        return "new"

    async def load_many(keys: list[Any]) -> dict[Any, Any]:
        seen.append("load")
        return dict.fromkeys(keys, "new")

    cache = ahf.cache("users", **PATIENT, load_scope=Scope)
    assert await cache.get_or_set("other", load) == "new"
    assert seen == ["load"]  # here the caller's own scope is good enough
    seen.clear()
    await outdate(cache)
    assert await cache.get_or_set("k", load) == "old"
    await AsyncCrowd.until(lambda: seen, ["enter", "load", "exit"])
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
    seen.clear()
    await outdate(cache)
    assert await cache.get_or_set_many(["k"], load_many) == {"k": "old"}
    await AsyncCrowd.until(lambda: seen, ["enter", "load", "exit"])
    await AsyncCrowd.until(lambda: cache.get("k"), "new")


async def test_a_load_in_the_background_sees_the_context(ahf: AsyncHoldfast):
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    cache = ahf.cache("users", **PATIENT)

    async def load() -> str:
        return tenant.get()

    await outdate(cache)
    token = tenant.set("acme")
    assert await cache.get_or_set("k", load) == "old"
    tenant.reset(token)
    await AsyncCrowd.until(lambda: cache.get("k"), "acme")


async def test_close_while_loads_go_on_in_the_background(server, namespace: str):
    client = AsyncHoldfast(server.url, namespace=namespace)
    cache, gate = client.cache("users", **PATIENT), AsyncGate("new")
    await outdate(cache)
    assert await cache.get_or_set("k", gate) == "old"
    assert await gate.reading.wait(20)
    await client.close()
    gate.go.fire()
    await AsyncCrowd.until(lambda: cache.stats().loads, 1)
    await AsyncCrowd.until(lambda: cache.stats().refused, {"closed": 1})


async def test_a_reader_has_its_value_even_if_nobody_can_load(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """No thread can be started, say. Found: the reader got the error, and the key hung for ever after."""
    from holdfast.cache import _fly_async as flying

    cache = ahf.cache("users", **PATIENT)
    await outdate(cache)

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(flying, "aspawn", refuse)
        assert await cache.get_or_set("k", AsyncCounting("new")) == "old"
    assert await cache.get_or_set("k", AsyncCounting("new")) == "old"
    await AsyncCrowd.until(lambda: cache.get("k"), "new")
