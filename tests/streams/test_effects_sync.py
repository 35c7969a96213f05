# Generated from test_effects_async.py by tools/unasync.py. Do not edit.
"""Effects: what a handler writes together with the acknowledgement, all of it or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError
from tests.cache.crowd import Crowd
from tests.streams.looks import AT_ONCE, Look


def test_effects_of_a_body_that_raises_do_not_happen(hf: Holdfast):
    orders = hf.stream("orders")
    seen: list[int] = []

    @orders.subscriber("g", retry=AT_ONCE)
    def handle(order: int, message: Any) -> None:
        seen.append(message.deliveries)
        with message.effects() as fx:
            fx.incrby(message.key("x"))
            if message.deliveries == 1:
                raise ValueError

    orders.publish(1)
    hf.run(until="idle")
    assert seen == [1, 2]
    assert hf.execute("GET", orders._desk.layout.parts[0].user("x")) == b"1"


def test_effects_happen_once_for_a_message(hf: Holdfast):
    orders = hf.stream("orders")
    errors: list[str] = []

    @orders.subscriber("g")
    def handle(order: int, message: Any) -> None:
        for _ in range(2):
            try:
                with message.effects() as fx:
                    fx.incrby(message.key("x"))
            except ConfigurationError as error:
                errors.append(str(error))

    orders.publish(1)
    hf.run(until="idle")
    assert len(errors) == 1 and "has had its effects" in errors[0]
    assert hf.execute("GET", orders._desk.layout.parts[0].user("x")) == b"1"


@pytest.mark.parametrize(
    "held", ["text", "007", "-0", "+1", " 1", "1.5", str(2**60), "", "list"], ids=lambda one: repr(one)
)
def test_effects_that_cannot_all_happen_do_not_happen_at_all(hf: Holdfast, held: str):
    """A script that fails in the middle is not undone: whatever may fail has to be seen before."""
    orders = hf.stream("orders")
    key = orders._desk.layout.parts[0].user
    errors: list[str] = []

    @orders.subscriber("g", max_deliveries=2, retry=AT_ONCE)
    def handle(order: str, message: Any) -> None:
        try:
            with message.effects() as fx:
                fx.delete(message.key("old"))
                fx.set(message.key("new"), 1)
                fx.incrby(message.key("sum"), 5)
                if order == "string":
                    fx.incrby(message.key("bad"), 1)
                else:
                    fx.hincrby(message.key("hash"), "bad", 1)
        except ConfigurationError as error:
            errors.append(str(error))
            raise

    hf.execute("SET", key("old"), 1)
    if held == "list":
        hf.execute("RPUSH", key("bad"), 1)
        hf.execute("RPUSH", key("hash"), 1)
    else:
        hf.execute("SET", key("bad"), held)
        hf.execute("HSET", key("hash"), "bad", held)
    for one in ("string", "hash"):
        orders.publish(one)
        hf.run(until="idle")
    assert hf.execute("EXISTS", key("old"), key("new"), key("sum")) == 1
    assert len(Look.dead(hf, orders, "g")) == 2
    assert len(errors) == 4 and all("cannot be written" in one for one in errors)


def test_effects_refuse_what_makes_no_sense(hf: Holdfast):
    orders = hf.stream("orders")
    problems: list[str] = []

    def attempts(fx: Any) -> list[Any]:
        return [
            lambda: fx.set("", 1),
            lambda: fx.set(5, 1),
            lambda: fx.set("k", None),
            lambda: fx.set("k", 1, ttl="x"),
            lambda: fx.set("k", 1, ttl=1e17),
            lambda: fx.incrby("n", 1.5),
            lambda: fx.incrby("n", 2**54),
            lambda: (fx.incrby("n", 2**53), fx.incrby("n", 1)),
            lambda: (fx.set("m", 1), fx.incrby("m")),
            lambda: (fx.delete("d"), fx.set("d", 1)),
            lambda: fx.hset("h", "f"),
            lambda: (fx.hset("h", "g", 1), fx.hincrby("h", "g", 1)),
            lambda: (fx.hincrby("h", "i", 1), fx.hset("h", {"i": 1})),
            lambda: fx.publish(orders, 1, key=1.5),
            lambda: fx.publish(orders, 1, headers={"a": 1}),
            lambda: fx.hset("h", 5, 1),
            lambda: fx.hincrby("h", None, 1),
        ]

    @orders.subscriber("g")
    def handle(order: int, message: Any) -> None:
        fx = message.effects()
        for number, attempt in enumerate(attempts(fx)):
            try:
                attempt()
            except ConfigurationError:
                continue
            except Exception as error:  # noqa: BLE001
                problems.append(f"{number}: {error!r}")
            else:
                problems.append(f"{number}: nothing was said")

    orders.publish(1)
    hf.run(until="idle")
    assert problems == []


def test_a_message_that_is_over_has_no_effects_any_more(hf: Holdfast):
    """Kept beyond its handler, or by a thread or thread that goes on: it is acknowledged already."""
    orders = hf.stream("orders")
    kept: list[Any] = []

    @orders.subscriber("g")
    def handle(order: int, message: Any) -> None:
        kept.append(message)

    orders.publish(1)
    hf.run(until="idle")
    with pytest.raises(Exception, match=r"lost|over|done"):
        with kept[0].effects() as fx:
            fx.incrby(kept[0].key("x"))
    assert hf.execute("EXISTS", kept[0].key("x")) == 0


def test_an_entry_for_a_stream_that_is_published_to_by_effects_arrives_once_in_a_cluster(
    cluster_lab: Any, namespace: str
):
    with Holdfast(cluster_lab.url, namespace=namespace) as hf:
        orders = hf.stream("orders", partitions=2, key=lambda number: number)
        targets = [hf.stream(f"target{number}") for number in range(3)]  # in other slots, surely
        seen: list[tuple[int, int]] = []
        errors: list[str] = []

        @orders.subscriber("g")
        def handle(number: int, message: Any) -> None:
            try:
                with message.effects() as fx:
                    fx.incrby("elsewhere")
            except ConfigurationError as error:
                errors.append(str(error))
            with message.effects() as fx:
                fx.incrby(message.key("n"))
                for target in targets:
                    fx.publish(target, number, key=f"k{number}")

        for place, target in enumerate(targets):

            def arrived(number: int, message: Any, place: int = place) -> None:
                assert message.partition_key == f"k{number}"
                seen.append((place, number))

            target.subscriber("t")(arrived)

        orders.publish_many(range(4))
        with Crowd() as crowd:
            running = crowd.start(hf.run)
            crowd.until(lambda: len(seen) >= 12)
            crowd.settle()
            hf.stop()
            running.result()
        assert sorted(seen) == [(place, number) for place in range(3) for number in range(4)]
        assert len(errors) == 4 and "in another slot" in errors[0]
        counts = [hf.execute("GET", part.user("n")) for part in orders._desk.layout.parts]
        assert sum(int(one or 0) for one in counts) == 4
        assert [hf.execute("XLEN", part.outbox) for part in orders._desk.layout.parts] == [0, 0]
