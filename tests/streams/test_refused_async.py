# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What streams refuse, with a sentence that names the value."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError
from holdfast.streams.options import Retention
from tests.streams.looks import AsyncLook, Order


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
async def test_a_publish_that_makes_no_sense_is_refused(ahf: AsyncHoldfast, options: Any, told: str):
    orders = ahf.stream("orders")
    with pytest.raises(ConfigurationError, match=told):
        await orders.publish(1, **options)


async def test_a_key_function_that_returns_nothing_is_refused(ahf: AsyncHoldfast):
    with pytest.raises(ConfigurationError, match="key= returned None"):
        await ahf.stream("orders", key=lambda order: None).publish(1)  # type: ignore[arg-type,return-value]


async def test_only_a_delayed_message_can_be_taken_back(ahf: AsyncHoldfast):
    orders = ahf.stream("orders")
    published = await orders.publish(1)
    for id in (published.id, None, 5):
        with pytest.raises(ConfigurationError, match="id="):
            await orders.cancel(id)  # type: ignore[arg-type]
    assert not await orders.cancel("~unknown")


async def test_handlers_of_the_wrong_kind_are_refused(ahf: AsyncHoldfast):
    orders = ahf.stream("orders")

    async def none() -> None: ...

    async def three(a: Any, b: Any, c: Any) -> None: ...

    async def keyword(a: Any, *, b: Any) -> None: ...

    for wrong in (none, three, keyword):
        with pytest.raises(ConfigurationError, match=r"must take \(value\) or \(value, message\)"):
            orders.subscriber("g")(wrong)
    with pytest.raises(ConfigurationError, match=r"must take \(values\) or \(values, messages\)"):
        orders.subscriber("g", batch=5)(three)
    for group in ("", "~x", None, 5):
        with pytest.raises(ConfigurationError, match="group="):
            orders.subscriber(group)  # type: ignore[arg-type]


async def test_a_handler_says_what_it_takes_by_its_arguments(ahf: AsyncHoldfast):
    orders = ahf.stream("orders")
    seen: list[Any] = []

    async def other(order: Any, tax: int = 5) -> None:
        seen.append(("other", tax))

    async def message(order: Any, message: Any = None) -> None:
        seen.append(("message", message is not None))

    async def bound(first: str, order: Any) -> None:
        seen.append((first, order))

    class Shop:
        async def handle(self, order: Any, message: Any) -> None:
            seen.append(("method", message.deliveries))

    assert orders.subscriber("a")(other) is other
    orders.subscriber("b")(message)
    orders.subscriber("c")(functools.partial(bound, "partial"))
    orders.subscriber("d")(Shop().handle)
    await orders.publish(1)
    await ahf.run(until="idle")
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
async def test_a_subscriber_s_options_are_looked_at(ahf: AsyncHoldfast, options: Any, told: str):
    with pytest.raises(ConfigurationError, match=told):
        ahf.stream("orders").subscriber("g", **options)


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
async def test_a_stream_s_options_are_looked_at(ahf: AsyncHoldfast, options: Any, told: str):
    with pytest.raises(ConfigurationError, match=told):
        ahf.stream("orders", **options)


async def test_one_name_is_one_stream(ahf: AsyncHoldfast):
    orders = ahf.stream("orders", type=Order, partitions=2)
    assert ahf.stream("orders") is orders and ahf.stream("orders", type=Order, partitions=2) is orders
    with pytest.raises(ConfigurationError, match="other options: partitions=2, not 3"):
        ahf.stream("orders", type=Order, partitions=3)
    for name in ("", None, 5):
        with pytest.raises(ConfigurationError, match="name"):
            ahf.stream(name)  # type: ignore[arg-type]

    @orders.subscriber("g")
    async def first(order: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="exists already"):

        @orders.subscriber("g")
        async def second(order: Any) -> None: ...


async def test_a_run_needs_something_to_run(ahf: AsyncHoldfast):
    with pytest.raises(ConfigurationError, match="nothing to run"):
        await ahf.run()

    @ahf.stream("orders").subscriber("g")
    async def handle(order: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="no subscriber has the group 'h'; there are \\['g'\\]"):
        await ahf.run(groups=["h"])
    with pytest.raises(ConfigurationError, match="must be a list"):
        await ahf.run(groups="g")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="until="):
        await ahf.run(until="done")  # type: ignore[arg-type]


async def test_a_work_queue_has_one_group_and_keeps_nothing(ahf: AsyncHoldfast):
    jobs = ahf.stream("jobs", retention=Retention.work_queue())
    seen: list[int] = []

    @jobs.subscriber("g", max_deliveries=1)
    async def handle(job: int, message: Any) -> None:
        if job == 3:
            raise ValueError("three")
        if job == 4:
            async with message.effects() as fx:
                fx.incrby(message.key("x"))
        seen.append(job)

    with pytest.raises(ConfigurationError, match="a work queue has one group"):
        jobs.subscriber("h")
    await jobs.publish_many(range(6))
    await ahf.run(until="idle")
    assert sorted(seen) == [0, 1, 2, 4, 5]
    assert await ahf.execute("XLEN", jobs._desk.layout.parts[0].stream) == 0
    assert len(await AsyncLook.dead(ahf, jobs, "g")) == 1
