# Generated from test_refused_async.py by tools/unasync.py. Do not edit.
"""What streams refuse, with a sentence that names the value."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError
from holdfast.streams.options import Retention
from tests.streams.looks import Look, Order


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"id": ""}, "id=''"),
        ({"id": True}, "id=True"),
        ({"id": "\ud800"}, "id="),
        ({"id": "x" * 9000}, "id="),
        ({"key": 1.5}, "key=1.5"),
        ({"delay": "soon"}, "delay"),
        ({"delay": -1}, "delay"),
        ({"delay": 1, "at": datetime.now(UTC)}, "cannot both"),
        ({"at": datetime.now(UTC).replace(tzinfo=None)}, "no time zone"),
        ({"at": "tomorrow"}, "at='tomorrow'"),
        ({"headers": {"a": 1}}, "headers="),
        ({"headers": ["a"]}, "headers="),
    ],
    ids=str,
)
def test_a_publish_that_makes_no_sense_is_refused(hf: Holdfast, options: Any, told: str):
    orders = hf.stream("orders")
    with pytest.raises(ConfigurationError, match=told):
        orders.publish(1, **options)


def test_a_key_function_that_returns_nothing_is_refused(hf: Holdfast):
    with pytest.raises(ConfigurationError, match="key= returned None"):
        hf.stream("orders", key=lambda order: None).publish(1)  # type: ignore[arg-type,return-value]


def test_only_a_delayed_message_can_be_taken_back(hf: Holdfast):
    orders = hf.stream("orders")
    published = orders.publish(1)
    for id in (published.id, None, 5):
        with pytest.raises(ConfigurationError, match="id="):
            orders.cancel(id)  # type: ignore[arg-type]
    assert not orders.cancel("~unknown")


def test_handlers_of_the_wrong_kind_are_refused(hf: Holdfast):
    orders = hf.stream("orders")

    def none() -> None: ...

    def three(a: Any, b: Any, c: Any) -> None: ...

    def keyword(a: Any, *, b: Any) -> None: ...

    for wrong in (none, three, keyword):
        with pytest.raises(ConfigurationError, match=r"must take \(value\) or \(value, message\)"):
            orders.subscriber("g")(wrong)
    with pytest.raises(ConfigurationError, match=r"must take \(values\) or \(values, messages\)"):
        orders.subscriber("g", batch=5)(three)
    for group in ("", "~x", None, 5):
        with pytest.raises(ConfigurationError, match="group="):
            orders.subscriber(group)  # type: ignore[arg-type]


def test_a_handler_says_what_it_takes_by_its_arguments(hf: Holdfast):
    orders = hf.stream("orders")
    seen: list[Any] = []

    def other(order: Any, tax: int = 5) -> None:
        seen.append(("other", tax))

    def message(order: Any, message: Any = None) -> None:
        seen.append(("message", message is not None))

    def bound(first: str, order: Any) -> None:
        seen.append((first, order))

    class Shop:
        def handle(self, order: Any, message: Any) -> None:
            seen.append(("method", message.deliveries))

    assert orders.subscriber("a")(other) is other
    orders.subscriber("b")(message)
    orders.subscriber("c")(functools.partial(bound, "partial"))
    orders.subscriber("d")(Shop().handle)
    orders.publish(1)
    hf.run(until="idle")
    assert sorted(seen) == [("message", True), ("method", 1), ("other", 5), ("partial", 1)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_deliveries": 0}, "max_deliveries=0"),
        ({"retry": 5}, "retry=5"),
        ({"lease": "1ms"}, "lease="),
        ({"concurrency": True}, "concurrency=True"),
        ({"batch": 0}, "batch=0"),
        ({"max_in_flight": 3, "concurrency": 2, "batch": 2}, "max_in_flight=3"),
        ({"order": "total"}, "order='total'"),
        ({"start": "last"}, "start='last'"),
        ({"timeout": "x"}, "timeout"),
        ({"prefetch": 3}, "prefetch"),
    ],
    ids=str,
)
def test_a_subscriber_s_options_are_looked_at(hf: Holdfast, options: Any, told: str):
    with pytest.raises(ConfigurationError, match=told):
        hf.stream("orders").subscriber("g", **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"partitions": 0}, "partitions=0"),
        ({"key": "id"}, "key='id'"),
        ({"retention": "7d"}, "retention='7d'"),
        ({"codec": "pickle"}, "codec='pickle'"),
        ({"version": "1"}, "version='1'"),
        ({"dedup": "x"}, "dedup"),
        ({"ttl": 5}, "ttl"),
    ],
    ids=str,
)
def test_a_stream_s_options_are_looked_at(hf: Holdfast, options: Any, told: str):
    with pytest.raises(ConfigurationError, match=told):
        hf.stream("orders", **options)


def test_one_name_is_one_stream(hf: Holdfast):
    orders = hf.stream("orders", type=Order, partitions=2)
    assert hf.stream("orders") is orders and hf.stream("orders", type=Order, partitions=2) is orders
    with pytest.raises(ConfigurationError, match="other options: partitions=2, not 3"):
        hf.stream("orders", type=Order, partitions=3)
    for name in ("", None, 5):
        with pytest.raises(ConfigurationError, match="name"):
            hf.stream(name)  # type: ignore[arg-type]

    @orders.subscriber("g")
    def first(order: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="exists already"):

        @orders.subscriber("g")
        def second(order: Any) -> None: ...


def test_a_run_needs_something_to_run(hf: Holdfast):
    with pytest.raises(ConfigurationError, match="nothing to run"):
        hf.run()

    @hf.stream("orders").subscriber("g")
    def handle(order: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="no subscriber has the group 'h'; there are \\['g'\\]"):
        hf.run(groups=["h"])
    with pytest.raises(ConfigurationError, match="must be a list"):
        hf.run(groups="g")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="until="):
        hf.run(until="done")  # type: ignore[arg-type]


def test_a_work_queue_has_one_group_and_keeps_nothing(hf: Holdfast):
    jobs = hf.stream("jobs", retention=Retention.work_queue())
    seen: list[int] = []

    @jobs.subscriber("g", max_deliveries=1)
    def handle(job: int, message: Any) -> None:
        if job == 3:
            raise ValueError("three")
        if job == 4:
            with message.effects() as fx:
                fx.incrby(message.key("x"))
        seen.append(job)

    with pytest.raises(ConfigurationError, match="a work queue has one group"):
        jobs.subscriber("h")
    jobs.publish_many(range(6))
    hf.run(until="idle")
    assert sorted(seen) == [0, 1, 2, 4, 5]
    assert hf.execute("XLEN", jobs._desk.layout.parts[0].stream) == 0
    assert len(Look.dead(hf, jobs, "g")) == 1
