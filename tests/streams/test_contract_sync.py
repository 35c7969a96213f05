# Generated from test_contract_async.py by tools/unasync.py. Do not edit.
"""What a stream offers, everywhere, and publishing. Its promises stand in rules.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from holdfast import Holdfast, CodecError, ConfigurationError
from holdfast.streams import rules
from holdfast.streams.options import Outgoing, Published
from holdfast.streams.rules import Reject, Retry
from tests.cache.crowd import Crowd
from tests.streams.looks import AT_ONCE, Look, Invoice, Order, Parcel, watched

# --- published, and handled ---------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_what_is_published_is_handled_once_by_every_group(hf: Holdfast):
    orders = hf.stream("orders", type=Order, partitions=3, key=lambda order: order.id)
    seen: list[Any] = []

    @orders.subscriber("billing")
    def bill(order: Order, message: Any) -> None:
        assert (message.stream, message.group, message.deliveries) == ("orders", "billing", 1)
        assert message.partition_key == str(order.id) and 0 <= message.age < 60
        seen.append(("billing", order, message.id))

    @orders.subscriber("shipping", order="none", concurrency=3)
    def ship(order: Order) -> None:
        seen.append(("shipping", order))

    first = orders.publish(Order(1))
    assert isinstance(first, Published) and not first.duplicate
    several = orders.publish_many([Order(2), Order(3, 5), Outgoing(Order(4), id="four")])
    assert [one.duplicate for one in several] == [False] * 3
    hf.run(until="idle")
    billed = sorted((order.id, id) for group, order, *rest in seen for id in rest)
    assert billed == [(1, first.id), *((number, one.id) for number, one in enumerate(several, 2))]
    shipped = [one[1].id for one in seen if one[0] == "shipping"]
    assert sorted(shipped) == [1, 2, 3, 4]
    assert (
        Look.pending(hf, orders, "billing")
        == Look.pending(hf, orders, "shipping")
        == 0
    )
    assert orders.stats()["billing"].handled == 4
    hf.run(until="idle")
    assert len(seen) == 8


@pytest.mark.everywhere
def test_a_failure_comes_again_and_becomes_a_dead_letter(hf: Holdfast):
    numbers = hf.stream("numbers")
    seen: list[tuple[int, int]] = []

    @numbers.subscriber("g", max_deliveries=3, retry=AT_ONCE)
    def handle(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))
        if number == 2:
            raise ValueError("two")
        if number == 3 and message.deliveries == 1:
            raise Retry(after=0)
        if number == 4:
            raise Reject("four")

    told = watched(hf)
    ids = [one.id.encode() for one in numbers.publish_many([1, 2, 3, 4])]
    hf.run(until="idle")
    assert sorted(seen) == [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1)]
    found = Look.dead(hf, numbers, "g")
    assert sorted(found) == [(ids[1], b"3", b"ValueError: two"), (ids[3], b"1", b"Reject: four")]
    assert Look.pending(hf, numbers, "g") == 0
    assert sorted(one.deliveries for one in told.seen if isinstance(one, rules.MessageDied)) == [1, 3]
    assert sum(1 for one in told.seen if isinstance(one, rules.MessageFailed)) == 3
    stats = numbers.stats()["g"]
    assert (stats.handled, stats.failed, stats.died, stats.in_flight, stats.running) == (2, 5, 2, 0, 0)


@pytest.mark.everywhere
def test_effects_happen_with_the_acknowledgement(hf: Holdfast):
    orders = hf.stream("orders", type=Order)
    invoices = hf.stream("invoices", type=Invoice)
    made: list[int] = []

    @orders.subscriber("billing", retry=AT_ONCE)
    def bill(order: Order, message: Any) -> None:
        with message.effects() as fx:
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
    def mail(invoice: Invoice, message: Any) -> None:
        assert message.headers == {"a": "b"}
        made.append(invoice.order)

    key = orders._desk.layout.parts[0].user
    hf.execute("SET", key("old"), 1)
    orders.publish_many([Order(1, 10), Order(2, 20)])
    hf.run(until="idle")
    assert hf.execute("GET", key("last")) == b"2"
    assert hf.execute("GET", key("total")) == b"32"
    assert hf.execute("HMGET", key("by id"), "1", "2", "all", "sum") == [b"10", b"20", b"x", b"30"]
    assert hf.execute("GET", key("old")) is None
    assert sorted(made) == [1, 2]
    assert (orders.stats()["billing"].handled, orders.stats()["billing"].lost) == (2, 0)
    assert (
        Look.pending(hf, orders, "billing") == 0
        and Look.dead(hf, orders, "billing") == []
    )


@pytest.mark.everywhere
def test_a_delayed_message_comes_when_it_is_due(hf: Holdfast):
    orders = hf.stream("orders")
    seen: list[str] = []

    @orders.subscriber("g")
    def handle(order: str) -> None:
        seen.append(order)

    late = orders.publish("late", delay="400ms")
    at = orders.publish("at", at=datetime.now(UTC) + timedelta(seconds=0.1))
    never = orders.publish("never", delay="300ms")
    orders.publish("past", at=datetime.now(UTC) - timedelta(hours=1))
    assert late.id.startswith("~") and at.id.startswith("~")
    assert orders.cancel(never.id) and not orders.cancel(never.id)
    orders.publish("now", delay=0)
    with Crowd() as crowd:
        running = crowd.start(hf.run)
        crowd.until(lambda: len(seen), 4)
        assert seen == ["past", "now", "at", "late"]
        hf.stop()
        running.result()
    assert not orders.cancel(late.id)
    assert hf.execute("HLEN", orders._desk.layout.parts[0].later) == 0


# --- publishing ---------------------------------------------------------------------------------------------


def test_a_duplicate_adds_nothing_and_gets_the_first_id(hf: Holdfast):
    orders = hf.stream("orders", dedup="1m")
    first = orders.publish("a", id="x")
    assert orders.publish("b", id="x") == Published(first.id, True)
    again = orders.publish_many([Outgoing("c", id="x"), Outgoing("d", id="y"), Outgoing("e", id="y")])
    assert [one.duplicate for one in again] == [True, False, True]
    assert again[0].id == first.id and again[1].id == again[2].id
    part = orders._desk.layout.parts[0]
    assert hf.execute("XLEN", part.stream) == 2
    assert 0 < hf.execute("PTTL", part.seen("x")) <= 60_000
    later = orders.publish("f", id="z", delay="1h")
    assert orders.publish("g", id="z") == Published(later.id, True)


def test_a_message_that_was_taken_back_may_be_published_again(hf: Holdfast):
    """Without it the id of a cancelled message would swallow the next one for the whole window."""
    orders = hf.stream("orders")
    later = orders.publish("a", id="x", delay="1h")
    assert orders.cancel(later.id)
    assert not (orders.publish("b", id="x")).duplicate


def test_a_dedup_window_ends(hf: Holdfast):
    orders = hf.stream("orders", dedup="50ms")
    first = orders.publish("a", id="x")
    with Crowd() as crowd:
        key = orders._desk.layout.parts[0].seen("x")
        crowd.until(lambda: hf.execute("EXISTS", key), 0)
    assert (orders.publish("a", id="x")).id != first.id


def test_ids_and_keys_may_be_any_text_numbers_and_uuids(hf: Holdfast):
    orders = hf.stream("orders")
    seen: list[Any] = []

    @orders.subscriber("g")
    def handle(order: Any, message: Any) -> None:
        seen.append((message.dedup_id, message.partition_key, dict(message.headers)))

    uuid = UUID(int=7)
    orders.publish(0, id=uuid, key=5)  # type: ignore[arg-type]
    orders.publish(0, id=7, key="ä{b}:%\x00 c")  # type: ignore[arg-type]
    orders.publish(0, id="{x}:\n", headers={"traceparent": "00-ab", "ü": ""})
    assert (orders.publish(0, id="{x}:\n")).duplicate
    orders.publish(0)
    hf.run(until="idle")
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
def test_values_come_back_as_what_they_were(hf: Holdfast, codec: Any, type: Any, value: Any):
    things = hf.stream("things", type=type, codec=codec)
    seen: list[Any] = []

    @things.subscriber("g")
    def handle(thing: Any) -> None:
        seen.append(thing)

    things.publish(value)
    hf.run(until="idle")
    assert seen == [value]


def test_older_versions_are_brought_up_to_date(hf: Holdfast, place: Any, namespace: str):
    with Holdfast(place.url, namespace=namespace) as old:
        old.stream("orders").publish({"number": 1})
        old.stream("second", version=2).publish({"no": 2})
    seen: list[Order] = []
    for name in ("orders", "second"):
        orders = hf.stream(
            name,
            type=Order,
            version=3,
            upcast={1: lambda old: {"no": old["number"]}, 2: lambda old: {"id": old["no"], "amount": 7}},
        )

        @orders.subscriber("g")
        def handle(order: Order) -> None:
            seen.append(order)

        orders.publish(Order(3))
    hf.run(until="idle")
    assert sorted(seen, key=lambda one: one.id) == [Order(1, 7), Order(2, 7), Order(3, 1), Order(3, 1)]


def test_what_cannot_be_read_is_a_dead_letter_and_stops_nobody(hf: Holdfast):
    orders = hf.stream("orders", type=Order)
    part = orders._desk.layout.parts[0]
    seen: list[Any] = []

    @orders.subscriber("one")
    def one(order: Order) -> None:
        seen.append(order.id)

    @orders.subscriber("many", batch=10)
    def many(orders: list[Order]) -> None:
        seen.extend(order.id for order in orders)

    strange = [
        hf.execute("XADD", part.stream, "*", *fields)
        for fields in (("data", b"\xc1"), ("other", 1), ("data", msgspec.msgpack.encode({"id": "x"})))
    ]
    orders.publish(Order(1))
    hf.run(until="idle")
    assert seen == [1, 1]
    for group in ("one", "many"):
        assert [found[0] for found in Look.dead(hf, orders, group)] == strange
        stats = orders.stats()[group]
        assert (stats.handled, stats.died) == (1, 3), group
        assert Look.pending(hf, orders, group) == 0


def test_an_entry_that_somebody_else_added_is_handled(hf: Holdfast):
    """Without it producers in other languages, `XADD <key> * data <json>`, would be out."""
    orders = hf.stream("orders", type=Order, codec="json")
    seen: list[Order] = []

    @orders.subscriber("g")
    def handle(order: Order) -> None:
        seen.append(order)

    hf.execute("XADD", orders._desk.layout.parts[0].stream, "*", "data", '{"id": 5, "amount": 6}')
    hf.run(until="idle")
    assert seen == [Order(5, 6)]


def test_values_that_do_not_fit_are_refused_before_anything_is_sent(hf: Holdfast):
    orders = hf.stream("orders", type=Order)
    with pytest.raises(CodecError):
        orders.publish(object())  # type: ignore[arg-type]
    with pytest.raises(CodecError):
        orders.publish_many([Order(1), object()])  # type: ignore[list-item]
    assert hf.execute("XLEN", orders._desk.layout.parts[0].stream) == 0
    assert orders.publish_many([]) == []


def test_publish_many_keeps_the_order_of_each_partition_over_its_chunks(hf: Holdfast):
    numbers = hf.stream("numbers", partitions=2, key=lambda number: number % 7)
    published = numbers.publish_many(range(1, 2 * rules.CHUNK))
    assert len({one.id for one in published}) >= 2 * rules.CHUNK / 2 - 1
    seen: dict[int, list[int]] = {}

    @numbers.subscriber("g", concurrency=4)
    def handle(number: int) -> None:
        seen.setdefault(number % 7, []).append(number)

    hf.run(until="idle")
    assert all(one == sorted(one) for one in seen.values())
    assert sum(map(len, seen.values())) == 2 * rules.CHUNK - 1


def test_without_a_key_messages_are_spread_and_an_id_has_its_place(hf: Holdfast):
    spread = hf.stream("spread", partitions=4)
    spread.publish_many(range(8))
    parts = spread._desk.layout.parts
    assert [hf.execute("XLEN", part.stream) for part in parts] == [2] * 4
    for _ in range(3):
        spread.publish(0, id="x")
    assert sum([hf.execute("XLEN", part.stream) for part in parts]) == 9


def test_a_partition_count_is_for_everybody(hf: Holdfast, place: Any, namespace: str):
    hf.stream("orders", partitions=3).publish(1)
    with Holdfast(place.url, namespace=namespace) as other:
        with pytest.raises(ConfigurationError, match="3 partitions on the server, not partitions=4"):
            other.stream("orders", partitions=4).publish(1)

    with Holdfast(place.url, namespace=namespace) as third:

        @third.stream("orders", partitions=2).subscriber("g")
        def handle(order: Any) -> None: ...

        with pytest.raises(ConfigurationError, match="3 partitions"):
            third.run()
