# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a stream offers, everywhere, and publishing. Its promises stand in rules.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from holdfast import AsyncHoldfast, CodecError, ConfigurationError
from holdfast.streams import rules
from holdfast.streams.options import Outgoing, Published
from holdfast.streams.rules import Reject, Retry
from tests.cache.crowd import AsyncCrowd
from tests.streams.looks import AT_ONCE, AsyncLook, Invoice, Order, Parcel, watched

# --- published, and handled ---------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_what_is_published_is_handled_once_by_every_group(ahf: AsyncHoldfast):
    orders = ahf.stream("orders", type=Order, partitions=3, key=lambda order: order.id)
    seen: list[Any] = []

    @orders.subscriber("billing")
    async def bill(order: Order, message: Any) -> None:
        assert (message.stream, message.group, message.deliveries) == ("orders", "billing", 1)
        assert message.partition_key == str(order.id) and 0 <= message.age < 60
        seen.append(("billing", order, message.id))

    @orders.subscriber("shipping", order="none", concurrency=3)
    async def ship(order: Order) -> None:
        seen.append(("shipping", order))

    first = await orders.publish(Order(1))
    assert isinstance(first, Published) and not first.duplicate
    several = await orders.publish_many([Order(2), Order(3, 5), Outgoing(Order(4), id="four")])
    assert [one.duplicate for one in several] == [False] * 3
    await ahf.run(until="idle")
    billed = sorted((order.id, id) for group, order, *rest in seen for id in rest)
    assert billed == [(1, first.id), *((number, one.id) for number, one in enumerate(several, 2))]
    shipped = [one[1].id for one in seen if one[0] == "shipping"]
    assert sorted(shipped) == [1, 2, 3, 4]
    assert (
        await AsyncLook.pending(ahf, orders, "billing")
        == await AsyncLook.pending(ahf, orders, "shipping")
        == 0
    )
    assert orders.stats()["billing"].handled == 4
    await ahf.run(until="idle")
    assert len(seen) == 8


@pytest.mark.everywhere
async def test_a_failure_comes_again_and_becomes_a_dead_letter(ahf: AsyncHoldfast):
    numbers = ahf.stream("numbers")
    seen: list[tuple[int, int]] = []

    @numbers.subscriber("g", max_deliveries=3, retry=AT_ONCE)
    async def handle(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))
        if number == 2:
            raise ValueError("two")
        if number == 3 and message.deliveries == 1:
            raise Retry(after=0)
        if number == 4:
            raise Reject("four")

    told = watched(ahf)
    ids = [one.id.encode() for one in await numbers.publish_many([1, 2, 3, 4])]
    await ahf.run(until="idle")
    assert sorted(seen) == [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1)]
    found = await AsyncLook.dead(ahf, numbers, "g")
    assert sorted(found) == [(ids[1], b"3", b"ValueError: two"), (ids[3], b"1", b"Reject: four")]
    assert await AsyncLook.pending(ahf, numbers, "g") == 0
    assert sorted(one.deliveries for one in told.seen if isinstance(one, rules.MessageDied)) == [1, 3]
    assert sum(1 for one in told.seen if isinstance(one, rules.MessageFailed)) == 3
    stats = numbers.stats()["g"]
    assert (stats.handled, stats.failed, stats.died, stats.in_flight, stats.running) == (2, 5, 2, 0, 0)


@pytest.mark.everywhere
async def test_effects_happen_with_the_acknowledgement(ahf: AsyncHoldfast):
    orders = ahf.stream("orders", type=Order)
    invoices = ahf.stream("invoices", type=Invoice)
    made: list[int] = []

    @orders.subscriber("billing", retry=AT_ONCE)
    async def bill(order: Order, message: Any) -> None:
        async with message.effects() as fx:
            fx.set(message.key("last"), order.id)
            fx.incrby(message.key("total"), order.amount)
            fx.incrby(message.key("total"))
            fx.hset(message.key("by id"), str(order.id), order.amount)
            fx.hset(message.key("by id"), {"all": "x"})
            fx.hincrby(message.key("by id"), "sum", order.amount)
            fx.delete(message.key("old"))
            fx.publish(invoices, Invoice(order.id), headers={"a": "b"})
        if message.deliveries == 1:
            raise ValueError("too late: it is done")

    @invoices.subscriber("mail")
    async def mail(invoice: Invoice, message: Any) -> None:
        assert message.headers == {"a": "b"}
        made.append(invoice.order)

    key = orders._desk.layout.parts[0].user
    await ahf.execute("SET", key("old"), 1)
    await orders.publish_many([Order(1, 10), Order(2, 20)])
    await ahf.run(until="idle")
    assert await ahf.execute("GET", key("last")) == b"2"
    assert await ahf.execute("GET", key("total")) == b"32"
    assert await ahf.execute("HMGET", key("by id"), "1", "2", "all", "sum") == [b"10", b"20", b"x", b"30"]
    assert await ahf.execute("GET", key("old")) is None
    assert sorted(made) == [1, 2]
    assert (orders.stats()["billing"].handled, orders.stats()["billing"].lost) == (2, 0)
    assert (
        await AsyncLook.pending(ahf, orders, "billing") == 0
        and await AsyncLook.dead(ahf, orders, "billing") == []
    )


@pytest.mark.everywhere
async def test_a_delayed_message_comes_when_it_is_due(ahf: AsyncHoldfast):
    orders = ahf.stream("orders")
    seen: list[str] = []

    @orders.subscriber("g")
    async def handle(order: str) -> None:
        seen.append(order)

    late = await orders.publish("late", delay="400ms")
    at = await orders.publish("at", at=datetime.now(UTC) + timedelta(seconds=0.1))
    never = await orders.publish("never", delay="300ms")
    await orders.publish("past", at=datetime.now(UTC) - timedelta(hours=1))
    assert late.id.startswith("~") and at.id.startswith("~")
    assert await orders.cancel(never.id) and not await orders.cancel(never.id)
    await orders.publish("now", delay=0)
    async with AsyncCrowd() as crowd:
        running = crowd.start(ahf.run)
        await crowd.until(lambda: len(seen), 4)
        assert seen == ["past", "now", "at", "late"]
        ahf.stop()
        await running.result()
    assert not await orders.cancel(late.id)
    assert await ahf.execute("HLEN", orders._desk.layout.parts[0].later) == 0


# --- publishing ---------------------------------------------------------------------------------------------


async def test_a_duplicate_adds_nothing_and_gets_the_first_id(ahf: AsyncHoldfast):
    orders = ahf.stream("orders", dedup="1m")
    first = await orders.publish("a", id="x")
    assert await orders.publish("b", id="x") == Published(first.id, True)
    again = await orders.publish_many([Outgoing("c", id="x"), Outgoing("d", id="y"), Outgoing("e", id="y")])
    assert [one.duplicate for one in again] == [True, False, True]
    assert again[0].id == first.id and again[1].id == again[2].id
    part = orders._desk.layout.parts[0]
    assert await ahf.execute("XLEN", part.stream) == 2
    assert 0 < await ahf.execute("PTTL", part.seen("x")) <= 60_000
    later = await orders.publish("f", id="z", delay="1h")
    assert await orders.publish("g", id="z") == Published(later.id, True)


async def test_a_message_that_was_taken_back_may_be_published_again(ahf: AsyncHoldfast):
    """Without it the id of a cancelled message would swallow the next one for the whole window."""
    orders = ahf.stream("orders")
    later = await orders.publish("a", id="x", delay="1h")
    assert await orders.cancel(later.id)
    assert not (await orders.publish("b", id="x")).duplicate


async def test_a_dedup_window_ends(ahf: AsyncHoldfast):
    orders = ahf.stream("orders", dedup="50ms")
    first = await orders.publish("a", id="x")
    async with AsyncCrowd() as crowd:
        key = orders._desk.layout.parts[0].seen("x")
        await crowd.until(lambda: ahf.execute("EXISTS", key), 0)
    assert (await orders.publish("a", id="x")).id != first.id


async def test_ids_and_keys_may_be_any_text_numbers_and_uuids(ahf: AsyncHoldfast):
    orders = ahf.stream("orders")
    seen: list[Any] = []

    @orders.subscriber("g")
    async def handle(order: Any, message: Any) -> None:
        seen.append((message.dedup_id, message.partition_key, dict(message.headers)))

    uuid = UUID(int=7)
    await orders.publish(0, id=uuid, key=5)  # type: ignore[arg-type]
    await orders.publish(0, id=7, key="ä{b}:%\x00 c")  # type: ignore[arg-type]
    await orders.publish(0, id="{x}:\n", headers={"traceparent": "00-ab", "ü": ""})
    assert (await orders.publish(0, id="{x}:\n")).duplicate
    await orders.publish(0)
    await ahf.run(until="idle")
    assert seen == [
        (str(uuid), "5", {}),
        ("7", "ä{b}:%\x00 c", {}),
        ("{x}:\n", None, {"traceparent": "00-ab", "ü": ""}),
        (None, None, {}),
    ]


@pytest.mark.parametrize("codec", ["msgpack", "json"])
@pytest.mark.parametrize(
    ("type", "value"),
    [
        (Order, Order(1, 2)),
        (Invoice, Invoice(3)),
        (Parcel, Parcel(weight=3, to="Ann")),
        (dict[str, Order], {"a": Order(1)}),
        (Any, {"a": [1, None, "ä", 2.5, True]}),
        (bytes, b"\x00\xff"),
        (int | None, None),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
    ],
    ids=lambda one: getattr(one, "__name__", "") or str(one)[:20],
)
async def test_values_come_back_as_what_they_were(ahf: AsyncHoldfast, codec: Any, type: Any, value: Any):
    things = ahf.stream("things", type=type, codec=codec)
    seen: list[Any] = []

    @things.subscriber("g")
    async def handle(thing: Any) -> None:
        seen.append(thing)

    await things.publish(value)
    await ahf.run(until="idle")
    assert seen == [value]


async def test_older_versions_are_brought_up_to_date(ahf: AsyncHoldfast, place: Any, namespace: str):
    async with AsyncHoldfast(place.url, namespace=namespace) as old:
        await old.stream("orders").publish({"number": 1})
        await old.stream("second", version=2).publish({"no": 2})
    seen: list[Order] = []
    for name in ("orders", "second"):
        orders = ahf.stream(
            name,
            type=Order,
            version=3,
            upcast={1: lambda old: {"no": old["number"]}, 2: lambda old: {"id": old["no"], "amount": 7}},
        )

        @orders.subscriber("g")
        async def handle(order: Order) -> None:
            seen.append(order)

        await orders.publish(Order(3))
    await ahf.run(until="idle")
    assert sorted(seen, key=lambda one: one.id) == [Order(1, 7), Order(2, 7), Order(3, 1), Order(3, 1)]


async def test_what_cannot_be_read_is_a_dead_letter_and_stops_nobody(ahf: AsyncHoldfast):
    orders = ahf.stream("orders", type=Order)
    part = orders._desk.layout.parts[0]
    seen: list[Any] = []

    @orders.subscriber("one")
    async def one(order: Order) -> None:
        seen.append(order.id)

    @orders.subscriber("many", batch=10)
    async def many(orders: list[Order]) -> None:
        seen.extend(order.id for order in orders)

    strange = [
        await ahf.execute("XADD", part.stream, "*", *fields)
        for fields in (("data", b"\xc1"), ("other", 1), ("data", msgspec.msgpack.encode({"id": "x"})))
    ]
    await orders.publish(Order(1))
    await ahf.run(until="idle")
    assert seen == [1, 1]
    for group in ("one", "many"):
        assert [found[0] for found in await AsyncLook.dead(ahf, orders, group)] == strange
        stats = orders.stats()[group]
        assert (stats.handled, stats.died) == (1, 3), group
        assert await AsyncLook.pending(ahf, orders, group) == 0


async def test_an_entry_that_somebody_else_added_is_handled(ahf: AsyncHoldfast):
    """Without it producers in other languages, `XADD <key> * data <json>`, would be out."""
    orders = ahf.stream("orders", type=Order, codec="json")
    seen: list[Order] = []

    @orders.subscriber("g")
    async def handle(order: Order) -> None:
        seen.append(order)

    await ahf.execute("XADD", orders._desk.layout.parts[0].stream, "*", "data", '{"id": 5, "amount": 6}')
    await ahf.run(until="idle")
    assert seen == [Order(5, 6)]


async def test_values_that_do_not_fit_are_refused_before_anything_is_sent(ahf: AsyncHoldfast):
    orders = ahf.stream("orders", type=Order)
    with pytest.raises(CodecError):
        await orders.publish(object())  # type: ignore[arg-type]
    with pytest.raises(CodecError):
        await orders.publish_many([Order(1), object()])  # type: ignore[list-item]
    assert await ahf.execute("XLEN", orders._desk.layout.parts[0].stream) == 0
    assert await orders.publish_many([]) == []


async def test_publish_many_keeps_the_order_of_each_partition_over_its_chunks(ahf: AsyncHoldfast):
    numbers = ahf.stream("numbers", partitions=2, key=lambda number: number % 7)
    published = await numbers.publish_many(range(1, 2 * rules.CHUNK))
    assert len({one.id for one in published}) >= 2 * rules.CHUNK / 2 - 1
    seen: dict[int, list[int]] = {}

    @numbers.subscriber("g", concurrency=4)
    async def handle(number: int) -> None:
        seen.setdefault(number % 7, []).append(number)

    await ahf.run(until="idle")
    assert all(one == sorted(one) for one in seen.values())
    assert sum(map(len, seen.values())) == 2 * rules.CHUNK - 1


async def test_without_a_key_messages_are_spread_and_an_id_has_its_place(ahf: AsyncHoldfast):
    spread = ahf.stream("spread", partitions=4)
    await spread.publish_many(range(8))
    parts = spread._desk.layout.parts
    assert [await ahf.execute("XLEN", part.stream) for part in parts] == [2] * 4
    for _ in range(3):
        await spread.publish(0, id="x")
    assert sum([await ahf.execute("XLEN", part.stream) for part in parts]) == 9


async def test_a_partition_count_is_for_everybody(ahf: AsyncHoldfast, place: Any, namespace: str):
    await ahf.stream("orders", partitions=3).publish(1)
    async with AsyncHoldfast(place.url, namespace=namespace) as other:
        with pytest.raises(ConfigurationError, match="3 partitions on the server, not partitions=4"):
            await other.stream("orders", partitions=4).publish(1)

    async with AsyncHoldfast(place.url, namespace=namespace) as third:

        @third.stream("orders", partitions=2).subscriber("g")
        async def handle(order: Any) -> None: ...

        with pytest.raises(ConfigurationError, match="3 partitions"):
            await third.run()
