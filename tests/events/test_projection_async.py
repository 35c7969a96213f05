# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Projections: effect and position in one step, one runner at a time, versions side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, Refused
from holdfast._compat import monotonic
from holdfast._wire.reply import mapping
from holdfast.events import rules
from holdfast.events.options import ProjectionBehind, ProjectionFailed
from holdfast.events.rules import EventParked, ProjectionStopped, ProjectionStumbled
from tests.events.crew import AsyncCrew
from tests.events.test_log_async import make
from tests.events.world import QUICK, Observer, ns


def declare(log: Any, name: str = "totals", **options: Any) -> Callable[[Any], Any]:
    """`log.projection`, with short rests."""
    return log.projection(name, **{**QUICK, **options})


def totals(log: Any, name: str = "totals", **options: Any) -> Any:
    """A projection that sums the events up, and remembers which it was handed."""
    seen: list[tuple[int, bool]] = []

    @declare(log, name, **options)
    async def projection(fx: Any, event: Any) -> None:
        seen.append((event.value["n"], fx.replaying))
        fx.incrby(fx.key("sum"), event.value["n"])
        fx.hincrby(fx.key("by stream"), event.stream)
        fx.hset(fx.key("last"), event.stream, event.version)

    projection.seen = seen
    return projection


async def number(projection: Any, **how: Any) -> int:
    return int(await projection.query("GET", "sum", **how) or 0)


async def until(true: Any, seconds: float = 15.0) -> None:
    """Wait until `true()`, at most `seconds`."""
    for _ in range(int(seconds / 0.01)):
        if await true():
            return
        await AsyncCrew.rest(0.01)
    raise AssertionError("it did not come true")


async def expire(projection: Any) -> None:
    """End its lease, as if its runner had died long ago."""
    for part in projection._desk.layout.parts:
        own = f"{projection._escaped}:{projection.version}"
        await projection._desk.wire.execute("DEL", part.lease(own), retry="safe")


@pytest.mark.everywhere
async def test_it_is_made_of_all_events_and_kept_up_to_date(ahf: AsyncHoldfast):
    log = make(ahf)
    projection = totals(log)
    await log.append("a", ns(1, 2))
    assert await projection.query("GET", "sum") is None
    projection.start()
    assert projection.alive and projection.failure is None
    await log.append("b", ns(3))
    appended = await log.append("a", ns(4))
    await projection.wait(appended)
    assert await number(projection) == 10
    assert await projection.query("HGET", "by stream", "a") == b"3"
    assert await ahf.execute("HGET", projection.key("last"), "b") == b"1"
    (status,) = await projection.status()
    assert (status.version, status.active, status.position, status.behind) == (1, True, appended.position, 0)
    assert await projection.is_idle()
    await projection.close(5.0)
    assert not projection.alive
    await log.append("a", ns(5))
    assert not await projection.is_idle()
    projection.start()
    await projection.wait((await log.read("a", backward=True, limit=1))[0])
    assert await number(projection) == 15
    await projection.close(5.0)


async def test_it_waits_for_what_was_appended_and_says_so_when_nobody_runs_it(ahf: AsyncHoldfast):
    log = make(ahf)
    projection = totals(log)
    appended = await log.append("a", ns(1))
    with pytest.raises(ProjectionBehind) as told:
        await projection.wait(appended, wait="50ms")
    assert (told.value.position, told.value.reached) == (appended.position, 0)
    assert isinstance(told.value, TimeoutError)


async def test_it_is_woken_and_so_is_whoever_waits_for_it(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Without the pushes each would find something at its next look only, here never."""
    monkeypatch.setattr(rules, "SAFETY_POLL", 1000.0)
    log = make(ahf)
    projection = totals(log, lease="1h")
    projection.start()
    for _ in range(3):
        await AsyncCrew.rest(0.05)  # both are asleep
        appended = await log.append("a", ns(1))
        await projection.wait(appended, wait="20s")
    assert await number(projection) == 3
    await projection.close(5.0)


async def test_events_of_before_are_replayed_and_later_ones_are_not(ahf: AsyncHoldfast):
    log = make(ahf)
    projection = totals(log)
    await log.append("a", ns(1, 2))
    projection.start()
    await projection.wait(await log.append("a", ns(3)))
    await projection.wait(await log.append("a", ns(4)))
    assert projection.seen[:2] == [(1, True), (2, True)] and projection.seen[-1] == (4, False)
    await projection.close(5.0)


async def test_all_partitions_are_run(ahf: AsyncHoldfast):
    log = make(ahf, partitions=4)
    projection = totals(log)
    appended = [await log.append(f"s{one}", ns(1)) for one in range(20)]
    projection.start()
    for one in appended:
        await projection.wait(one)
    assert sum([await number(projection, partition=part) for part in range(4)]) == 20
    with pytest.raises(ConfigurationError, match="partition="):
        await projection.query("GET", "sum")
    await projection.close(5.0)


async def test_a_query_cannot_write(ahf: AsyncHoldfast):
    """It is repeated when its reply is lost."""
    log = make(ahf)
    projection = totals(log)
    projection.start()
    await projection.wait(await log.append("a", ns(1)))
    with pytest.raises(Refused):
        await projection.query("INCR", "sum")
    assert await number(projection) == 1
    await projection.close(5.0)


# --- errors ------------------------------------------------------------------------------------------------


async def test_a_failure_is_tried_again_and_what_came_before_it_counts_once(ahf: AsyncHoldfast):
    log = make(ahf)
    observer = Observer(ahf)
    failures = [3]

    @declare(log)
    async def projection(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value["n"])
        if event.value["n"] == 4 and failures[0]:
            failures[0] -= 1
            raise ZeroDivisionError("by zero")

    appended = await log.append("a", ns(1, 2, 4, 8))
    projection.start()
    await projection.wait(appended)
    assert await number(projection) == 15
    told = observer.of(ProjectionStumbled)
    assert [(one.attempt, one.position) for one in told] == [
        (attempt, appended.position - 1) for attempt in (1, 2, 3)
    ]
    assert "by zero" in told[0].error and 0 < told[0].rest <= 0.05
    await projection.close(5.0)


@pytest.mark.parametrize("kind", ["raises", "cannot be written", "does not fit"])
async def test_an_event_that_cannot_be_handled_stops_it(ahf: AsyncHoldfast, kind: str):
    log = make(ahf)
    observer = Observer(ahf)

    @declare(log, max_attempts=2)
    async def projection(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value["n"])
        if event.value["n"] == 4:
            if kind == "raises":
                raise ZeroDivisionError("by zero")
            if kind == "cannot be written":  # it has another type on the server
                fx.hset(fx.key("text"), "a", 1)
            else:  # in this very batch
                fx.hset(fx.key("sum"), "a", 1)

    await ahf.execute("SET", projection.key("text"), "x", retry="safe")
    appended = await log.append("a", ns(1, 2, 4, 8))
    projection.start()

    async def failed() -> bool:
        return not projection.alive

    await until(failed)
    assert await number(projection) == 3
    assert isinstance(projection.failure, ProjectionFailed)
    assert projection.failure.position == appended.position - 1
    (stopped,) = observer.of(ProjectionStopped)
    assert stopped.position == appended.position - 2
    (status,) = await projection.status()
    assert status.error and status.behind == 2
    await projection.close(5.0)


async def test_the_very_first_event_may_be_parked(ahf: AsyncHoldfast):
    log = make(ahf)

    @declare(log, max_attempts=1, on_error="park")
    async def projection(fx: Any, event: Any) -> None:
        if event.value["n"] != 4:
            raise ZeroDivisionError("by zero")
        fx.incrby(fx.key("sum"), event.value["n"])

    projection.start()
    await projection.wait(await log.append("a", ns(1, 2, 4)))
    assert await number(projection) == 4 and len(await projection.parked()) == 2
    await projection.close(5.0)


async def test_an_event_that_cannot_be_handled_may_be_parked(ahf: AsyncHoldfast):
    log = make(ahf)
    observer = Observer(ahf)

    @declare(log, max_attempts=2, on_error="park")
    async def projection(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value["n"])
        if event.value["n"] == 4:
            raise ZeroDivisionError("by zero")

    appended = await log.append("a", ns(1, 2, 4, 8))
    projection.start()
    await projection.wait(appended)
    assert await number(projection) == 11
    (parked,) = await projection.parked()
    assert (parked.position, parked.error) == (appended.position - 1, "ZeroDivisionError: by zero")
    assert [one.position for one in observer.of(EventParked)] == [parked.position]
    assert projection.alive
    await projection.close(5.0)


async def test_an_event_of_a_newer_release_is_not_skipped(ahf: AsyncHoldfast):
    newer = make(ahf, type={"note": dict, "count": int})
    older = make(ahf, type={"count": int})

    @declare(older, max_attempts=1)
    async def projection(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value)

    await newer.append("a", [1, {"x": 1}, 2])
    projection.start()

    async def failed() -> bool:
        return not projection.alive

    await until(failed)
    assert await number(projection) == 1 and "'note'" in str(projection.failure)
    await projection.close(5.0)


async def test_what_a_handler_writes_is_its_own_and_of_one_kind(ahf: AsyncHoldfast):
    log: Any = make(ahf)
    told: list[str] = []

    @declare(log)
    async def projection(fx: Any, event: Any) -> None:
        for wrong in (
            lambda: fx.set("elsewhere", 1),
            lambda: fx.set(fx.key("x"), None),
            lambda: fx.incrby(fx.key("x"), 1.5),
            lambda: fx.zadd(fx.key("x"), {"a": float("nan")}),
            lambda: fx.key(""),
        ):
            try:
                wrong()
            except ConfigurationError as error:
                told.append(str(error))

    projection.start()
    await projection.wait(await log.append("a", ns(1)))
    assert len(told) == 5
    await projection.close(5.0)


async def test_every_kind_of_write(ahf: AsyncHoldfast):
    log = make(ahf)

    @declare(log, "all")
    async def projection(fx: Any, event: Any) -> None:
        step, key = event.value["n"], fx.key
        if step == 1:
            fx.set(key("string"), "x")
            fx.set(key("gone"), "x")
            fx.hset(key("hash"), {"a": 1, "b": 2, "c": 3})
            fx.sadd(key("set"), "a", "b")
            fx.zadd(key("zset"), {"a": 1, "b": 2.5, "c": 3})
            fx.set(key("count"), 5)
        if step == 2:
            fx.delete(key("gone"))
            fx.incrby(key("count"), 2)
            fx.hincrby(key("hash"), "a", 10)
            fx.hdel(key("hash"), "b")
            fx.srem(key("set"), "a")
            fx.sadd(key("set"), "c")
            fx.zincrby(key("zset"), "a", 0.5)
            fx.zrem(key("zset"), "c")
            fx.zincrby(key("zset"), "d")
        if step == 3:
            fx.delete(key("hash"), key("zset"), key("set"))
            fx.hincrby(key("hash"), "z", 1)
            fx.zincrby(key("zset"), "z", 1)
            fx.incrby(key("new"), 1)
            fx.incrby(key("new"), 1)

    async def model() -> Any:
        one = projection.key
        pairs = await ahf.execute("HGETALL", one("hash"))
        return (
            mapping(pairs),
            sorted(await ahf.execute("SMEMBERS", one("set"))),
            {
                member: float(await ahf.execute("ZSCORE", one("zset"), member))
                for member in await ahf.execute("ZRANGE", one("zset"), 0, -1)
            },
            await ahf.execute("GET", one("string")),
            await ahf.execute("GET", one("count")),
            await ahf.execute("EXISTS", one("gone")),
        )

    two: Any = ({"a": b"11", "c": b"3"}, [b"b", b"c"], {b"a": 1.5, b"b": 2.5, b"d": 1.0}, b"x", b"7", 0)
    three: Any = ({"z": b"1"}, [], {b"z": 1.0}, b"x", b"7", 0)
    projection.start()
    for steps, wanted in ((ns(1), None), (ns(2), two), (ns(3), three)):  # each in a batch of its own
        await projection.wait(await log.append("a", steps))
        assert wanted is None or await model() == wanted
    await projection.close(5.0)
    # And all in one batch: they are put together first.
    again = log.projection("all", version=2, **QUICK)(projection.handler)
    again.start()
    await until(again.is_idle)
    projection = again
    assert await model() == three
    assert await ahf.execute("GET", again.key("new")) == b"2"
    await again.close(5.0)


async def test_closing_does_not_wait_for_a_handler_without_an_end(ahf: AsyncHoldfast):
    log = make(ahf)
    begun: list[int] = []

    @declare(log)
    async def projection(fx: Any, event: Any) -> None:
        begun.append(event.position)
        await AsyncCrew.rest(8)

    projection.start()
    await log.append("a", ns(1))

    async def busy() -> bool:
        return bool(begun)

    await until(busy)
    asked = monotonic()
    await projection.close("100ms")
    assert monotonic() - asked < 6


# --- declaring ---------------------------------------------------------------------------------------------


async def test_nonsense_is_refused_with_a_sentence(ahf: AsyncHoldfast):
    log = make(ahf)

    async def handler(fx: Any, event: Any) -> None: ...

    async def short(fx: Any) -> None: ...

    for options in (
        {"version": 0},
        {"batch": 0},
        {"lease": "10ms"},
        {"retry": "1s"},
        {"max_attempts": 0},
        {"on_error": "skip"},
        {"color": "red"},
    ):
        with pytest.raises(ConfigurationError):
            log.projection("p", **options)(handler)
    for wrong in (short, len):
        with pytest.raises(ConfigurationError):
            log.projection("p")(wrong)
    with pytest.raises(ConfigurationError):
        log.projection("")(handler)
    one = log.projection("p")(handler)
    two = log.projection("p", version=2)(handler)
    with pytest.raises(ConfigurationError, match="version 1"):
        log.projection("p")(handler)
    assert log.runnables() == [one, two]
    one.start()
    assert log.runnables() == [two]
    await log._aclose(5.0)
    assert not one.alive
