# Generated from test_projection_async.py by tools/unasync.py. Do not edit.
"""Projections: effect and position in one step, one runner at a time, versions side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, Refused
from holdfast._compat import monotonic
from holdfast._wire.reply import mapping
from holdfast.events import rules
from holdfast.events.options import ProjectionBehind, ProjectionFailed
from holdfast.events.rules import EventParked, ProjectionStopped, ProjectionStumbled
from tests.events.crew import Crew
from tests.events.test_log_sync import make
from tests.events.world import QUICK, Observer, ns


def declare(log: Any, name: str = "totals", **options: Any) -> Callable[[Any], Any]:
    """`log.projection`, with short rests."""
    return log.projection(name, **{**QUICK, **options})


def totals(log: Any, name: str = "totals", **options: Any) -> Any:
    """A projection that sums the events up, and remembers which it was handed."""
    seen: list[tuple[int, bool]] = []

    @declare(log, name, **options)
    def projection(fx: Any, event: Any) -> None:
        seen.append((event.value["n"], fx.replaying))
        fx.incrby(fx.key("sum"), event.value["n"])
        fx.hincrby(fx.key("by stream"), event.stream)
        fx.hset(fx.key("last"), event.stream, event.version)

    projection.seen = seen
    return projection


def number(projection: Any, **how: Any) -> int:
    return int(projection.query("GET", "sum", **how) or 0)


def until(true: Any, seconds: float = 15.0) -> None:
    """Wait until `true()`, at most `seconds`."""
    for _ in range(int(seconds / 0.01)):
        if true():
            return
        Crew.rest(0.01)
    raise AssertionError("it did not come true")


def expire(projection: Any) -> None:
    """End its lease, as if its runner had died long ago."""
    for part in projection._desk.layout.parts:
        own = f"{projection._escaped}:{projection.version}"
        projection._desk.wire.execute("DEL", part.lease(own), retry="safe")


@pytest.mark.everywhere
def test_it_is_made_of_all_events_and_kept_up_to_date(hf: Holdfast):
    log = make(hf)
    projection = totals(log)
    log.append("a", ns(1, 2))
    assert projection.query("GET", "sum") is None
    projection.start()
    assert projection.alive and projection.failure is None
    log.append("b", ns(3))
    appended = log.append("a", ns(4))
    projection.wait(appended)
    assert number(projection) == 10
    assert projection.query("HGET", "by stream", "a") == b"3"
    assert hf.execute("HGET", projection.key("last"), "b") == b"1"
    (status,) = projection.status()
    assert (status.version, status.active, status.position, status.behind) == (1, True, appended.position, 0)
    assert projection.is_idle()
    projection.close(5.0)
    assert not projection.alive
    log.append("a", ns(5))
    assert not projection.is_idle()
    projection.start()
    projection.wait((log.read("a", backward=True, limit=1))[0])
    assert number(projection) == 15
    projection.close(5.0)


def test_it_waits_for_what_was_appended_and_says_so_when_nobody_runs_it(hf: Holdfast):
    log = make(hf)
    projection = totals(log)
    appended = log.append("a", ns(1))
    with pytest.raises(ProjectionBehind) as told:
        projection.wait(appended, wait="50ms")
    assert (told.value.position, told.value.reached) == (appended.position, 0)
    assert isinstance(told.value, TimeoutError)


def test_it_is_woken_and_so_is_whoever_waits_for_it(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """Without the pushes each would find something at its next look only, here never."""
    monkeypatch.setattr(rules, "SAFETY_POLL", 1000.0)
    log = make(hf)
    projection = totals(log, lease="1h")
    projection.start()
    for _ in range(3):
        Crew.rest(0.05)  # both are sleep
        appended = log.append("a", ns(1))
        projection.wait(appended, wait="20s")
    assert number(projection) == 3
    projection.close(5.0)


def test_events_of_before_are_replayed_and_later_ones_are_not(hf: Holdfast):
    log = make(hf)
    projection = totals(log)
    log.append("a", ns(1, 2))
    projection.start()
    projection.wait(log.append("a", ns(3)))
    projection.wait(log.append("a", ns(4)))
    assert projection.seen[:2] == [(1, True), (2, True)] and projection.seen[-1] == (4, False)
    projection.close(5.0)


def test_all_partitions_are_run(hf: Holdfast):
    log = make(hf, partitions=4)
    projection = totals(log)
    appended = [log.append(f"s{one}", ns(1)) for one in range(20)]
    projection.start()
    for one in appended:
        projection.wait(one)
    assert sum([number(projection, partition=part) for part in range(4)]) == 20
    with pytest.raises(ConfigurationError, match="partition="):
        projection.query("GET", "sum")
    projection.close(5.0)


def test_a_query_cannot_write(hf: Holdfast):
    """It is repeated when its reply is lost."""
    log = make(hf)
    projection = totals(log)
    projection.start()
    projection.wait(log.append("a", ns(1)))
    with pytest.raises(Refused):
        projection.query("INCR", "sum")
    assert number(projection) == 1
    projection.close(5.0)


# --- errors ------------------------------------------------------------------------------------------------


def test_a_failure_is_tried_again_and_what_came_before_it_counts_once(hf: Holdfast):
    log = make(hf)
    observer = Observer(hf)
    failures = [3]

    @declare(log)
    def projection(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value["n"])
        if event.value["n"] == 4 and failures[0]:
            failures[0] -= 1
            raise ZeroDivisionError("by zero")

    appended = log.append("a", ns(1, 2, 4, 8))
    projection.start()
    projection.wait(appended)
    assert number(projection) == 15
    told = observer.of(ProjectionStumbled)
    assert [(one.attempt, one.position) for one in told] == [
        (attempt, appended.position - 1) for attempt in (1, 2, 3)
    ]
    assert "by zero" in told[0].error and 0 < told[0].rest <= 0.05
    projection.close(5.0)


@pytest.mark.parametrize("kind", ["raises", "cannot be written", "does not fit"])
def test_an_event_that_cannot_be_handled_stops_it(hf: Holdfast, kind: str):
    log = make(hf)
    observer = Observer(hf)

    @declare(log, max_attempts=2)
    def projection(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value["n"])
        if event.value["n"] == 4:
            if kind == "raises":
                raise ZeroDivisionError("by zero")
            if kind == "cannot be written":  # it has another type on the server
                fx.hset(fx.key("text"), "a", 1)
            else:  # in this very batch
                fx.hset(fx.key("sum"), "a", 1)

    hf.execute("SET", projection.key("text"), "x", retry="safe")
    appended = log.append("a", ns(1, 2, 4, 8))
    projection.start()

    def failed() -> bool:
        return not projection.alive

    until(failed)
    assert number(projection) == 3
    assert isinstance(projection.failure, ProjectionFailed)
    assert projection.failure.position == appended.position - 1
    (stopped,) = observer.of(ProjectionStopped)
    assert stopped.position == appended.position - 2
    (status,) = projection.status()
    assert status.error and status.behind == 2
    projection.close(5.0)


def test_the_very_first_event_may_be_parked(hf: Holdfast):
    log = make(hf)

    @declare(log, max_attempts=1, on_error="park")
    def projection(fx: Any, event: Any) -> None:
        if event.value["n"] != 4:
            raise ZeroDivisionError("by zero")
        fx.incrby(fx.key("sum"), event.value["n"])

    projection.start()
    projection.wait(log.append("a", ns(1, 2, 4)))
    assert number(projection) == 4 and len(projection.parked()) == 2
    projection.close(5.0)


def test_an_event_that_cannot_be_handled_may_be_parked(hf: Holdfast):
    log = make(hf)
    observer = Observer(hf)

    @declare(log, max_attempts=2, on_error="park")
    def projection(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value["n"])
        if event.value["n"] == 4:
            raise ZeroDivisionError("by zero")

    appended = log.append("a", ns(1, 2, 4, 8))
    projection.start()
    projection.wait(appended)
    assert number(projection) == 11
    (parked,) = projection.parked()
    assert (parked.position, parked.error) == (appended.position - 1, "ZeroDivisionError: by zero")
    assert [one.position for one in observer.of(EventParked)] == [parked.position]
    assert projection.alive
    projection.close(5.0)


def test_an_event_of_a_newer_release_is_not_skipped(hf: Holdfast):
    newer = make(hf, type={"note": dict, "count": int})
    older = make(hf, type={"count": int})

    @declare(older, max_attempts=1)
    def projection(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value)

    newer.append("a", [1, {"x": 1}, 2])
    projection.start()

    def failed() -> bool:
        return not projection.alive

    until(failed)
    assert number(projection) == 1 and "'note'" in str(projection.failure)
    projection.close(5.0)


def test_what_a_handler_writes_is_its_own_and_of_one_kind(hf: Holdfast):
    log: Any = make(hf)
    told: list[str] = []

    @declare(log)
    def projection(fx: Any, event: Any) -> None:
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
    projection.wait(log.append("a", ns(1)))
    assert len(told) == 5
    projection.close(5.0)


def test_every_kind_of_write(hf: Holdfast):
    log = make(hf)

    @declare(log, "all")
    def projection(fx: Any, event: Any) -> None:
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

    def model() -> Any:
        one = projection.key
        pairs = hf.execute("HGETALL", one("hash"))
        return (
            mapping(pairs),
            sorted(hf.execute("SMEMBERS", one("set"))),
            {
                member: float(hf.execute("ZSCORE", one("zset"), member))
                for member in hf.execute("ZRANGE", one("zset"), 0, -1)
            },
            hf.execute("GET", one("string")),
            hf.execute("GET", one("count")),
            hf.execute("EXISTS", one("gone")),
        )

    two: Any = ({"a": b"11", "c": b"3"}, [b"b", b"c"], {b"a": 1.5, b"b": 2.5, b"d": 1.0}, b"x", b"7", 0)
    three: Any = ({"z": b"1"}, [], {b"z": 1.0}, b"x", b"7", 0)
    projection.start()
    for steps, wanted in ((ns(1), None), (ns(2), two), (ns(3), three)):  # each in a batch of its own
        projection.wait(log.append("a", steps))
        assert wanted is None or model() == wanted
    projection.close(5.0)
    # And all in one batch: they are put together first.
    again = log.projection("all", version=2, **QUICK)(projection.handler)
    again.start()
    until(again.is_idle)
    projection = again
    assert model() == three
    assert hf.execute("GET", again.key("new")) == b"2"
    again.close(5.0)


def test_closing_does_not_wait_for_a_handler_without_an_end(hf: Holdfast):
    log = make(hf)
    begun: list[int] = []

    @declare(log)
    def projection(fx: Any, event: Any) -> None:
        begun.append(event.position)
        Crew.rest(8)

    projection.start()
    log.append("a", ns(1))

    def busy() -> bool:
        return bool(begun)

    until(busy)
    asked = monotonic()
    projection.close("100ms")
    assert monotonic() - asked < 6


# --- declaring ---------------------------------------------------------------------------------------------


def test_nonsense_is_refused_with_a_sentence(hf: Holdfast):
    log = make(hf)

    def handler(fx: Any, event: Any) -> None: ...

    def short(fx: Any) -> None: ...

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
    log._aclose(5.0)
    assert not one.alive
