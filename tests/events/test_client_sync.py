# Generated from test_client_async.py by tools/unasync.py. Do not edit.
"""Events and projections as a client makes and runs them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, ConflictError, ProjectionFailed
from tests.events.crew import Crew
from tests.events.world import Paid, Placed, ns


@pytest.mark.everywhere
def test_the_words_of_the_design_hold(hf: Holdfast):
    log = hf.events("orders")
    for number in range(3):
        log.append("order-1", [{"n": number}], expected=number)
    assert (log.append("order-1", ns(3, 4), expected=3)).last == 5
    with pytest.raises(ConflictError) as told:
        log.append("order-1", ns(9), expected=3)
    assert (told.value.expected, told.value.actual) == (3, 5)
    events = log.read("order-1", after=0)
    assert [one.version for one in events] == [1, 2, 3, 4, 5]
    assert events[0].value == {"n": 0} and events[0].id and events[0].recorded_at.tzinfo is not None


def test_a_name_is_one_log(hf: Holdfast):
    log = hf.events("orders", type=Placed | Paid, partitions=2)
    assert hf.events("orders", type=Placed | Paid, partitions=2) is log
    assert hf.events("orders") is log and hf.events("others") is not log
    with pytest.raises(ConfigurationError, match="partitions=2, not 3"):
        hf.events("orders", type=Placed | Paid, partitions=3)
    wrong: Any = {"color": "red"}
    with pytest.raises(ConfigurationError, match="color"):
        hf.events("x", **wrong)
    for name in ("", None, 5):
        with pytest.raises(ConfigurationError):
            hf.events(name)  # type: ignore[arg-type]


def test_run_runs_projections_until_nothing_is_left(hf: Holdfast):
    log = hf.events("orders", partitions=2)

    def count(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value["n"])

    one = log.projection("sums", version=1)(count)
    for number in range(10):
        log.append(f"s{number}", ns(1))
    hf.run(until="idle")
    assert not one.alive
    assert sum([int(one.query("GET", "sum", partition=part) or 0) for part in (0, 1)]) == 10
    two = log.projection("sums", version=2)(count)
    log.append("s0", ns(5))
    hf.run(until="idle")
    assert sum([int(two.query("GET", "sum", partition=part) or 0) for part in (0, 1)]) == 15
    assert all(status.active == (status.version == 2) for status in one.status())


def test_run_ends_with_the_failure_of_a_projection(hf: Holdfast):
    log = hf.events("orders")

    def fail(fx: Any, event: Any) -> None:
        raise ZeroDivisionError("by zero")

    log.projection("p", max_attempts=2, retry=(0, 0))(fail)
    log.append("a", ns(1))
    with pytest.raises(ProjectionFailed, match="by zero"):
        hf.run()


def test_closing_the_client_ends_what_was_started(server, namespace: str):
    hf = Holdfast(server.url, namespace=namespace)
    log = hf.events("orders")

    def count(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"))

    projection = log.projection("p")(count)
    projection.start()
    projection.wait(log.append("a", ns(1)))
    hf.close(5.0)
    assert not projection.alive
    Crew.rest(0)
