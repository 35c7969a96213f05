# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Effects: what a handler writes together with the acknowledgement, all of it or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError
from tests.cache.crowd import AsyncCrowd
from tests.streams.looks import AT_ONCE, AsyncLook


async def test_effects_of_a_body_that_raises_do_not_happen(ahf: AsyncHoldfast):
    orders = ahf.stream("orders")
    seen: list[int] = []

    @orders.subscriber("g", retry=AT_ONCE)
    async def handle(order: int, message: Any) -> None:
        seen.append(message.deliveries)
        async with message.effects() as fx:
            fx.incrby(message.key("x"))
            if message.deliveries == 1:
                raise ValueError

    await orders.publish(1)
    await ahf.run(until="idle")
    assert seen == [1, 2]
    assert await ahf.execute("GET", orders._desk.layout.parts[0].user("x")) == b"1"


async def test_effects_happen_once_for_a_message(ahf: AsyncHoldfast):
    orders = ahf.stream("orders")
    errors: list[str] = []

    @orders.subscriber("g")
    async def handle(order: int, message: Any) -> None:
        for _ in range(2):
            try:
                async with message.effects() as fx:
                    fx.incrby(message.key("x"))
            except ConfigurationError as error:
                errors.append(str(error))

    await orders.publish(1)
    await ahf.run(until="idle")
    assert len(errors) == 1 and "has had its effects" in errors[0]
    assert await ahf.execute("GET", orders._desk.layout.parts[0].user("x")) == b"1"


@pytest.mark.parametrize(
    "held", ["text", "007", "-0", "+1", " 1", "1.5", str(2**60), "", "list"], ids=lambda one: repr(one)
)
async def test_effects_that_cannot_all_happen_do_not_happen_at_all(ahf: AsyncHoldfast, held: str):
    """A script that fails in the middle is not undone: whatever may fail has to be seen before."""
    orders = ahf.stream("orders")
    key = orders._desk.layout.parts[0].user
    errors: list[str] = []

    @orders.subscriber("g", max_deliveries=2, retry=AT_ONCE)
    async def handle(order: str, message: Any) -> None:
        try:
            async with message.effects() as fx:
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

    await ahf.execute("SET", key("old"), 1)
    if held == "list":
        await ahf.execute("RPUSH", key("bad"), 1)
        await ahf.execute("RPUSH", key("hash"), 1)
    else:
        await ahf.execute("SET", key("bad"), held)
        await ahf.execute("HSET", key("hash"), "bad", held)
    for one in ("string", "hash"):
        await orders.publish(one)
        await ahf.run(until="idle")
    assert await ahf.execute("EXISTS", key("old"), key("new"), key("sum")) == 1
    assert len(await AsyncLook.dead(ahf, orders, "g")) == 2
    assert len(errors) == 4 and all("cannot be written" in one for one in errors)


async def test_effects_refuse_what_makes_no_sense(ahf: AsyncHoldfast):
    orders = ahf.stream("orders")
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
    async def handle(order: int, message: Any) -> None:
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

    await orders.publish(1)
    await ahf.run(until="idle")
    assert problems == []


async def test_a_message_that_is_over_has_no_effects_any_more(ahf: AsyncHoldfast):
    """Kept beyond its handler, or by a thread or task that goes on: it is acknowledged already."""
    orders = ahf.stream("orders")
    kept: list[Any] = []

    @orders.subscriber("g")
    async def handle(order: int, message: Any) -> None:
        kept.append(message)

    await orders.publish(1)
    await ahf.run(until="idle")
    with pytest.raises(Exception, match=r"lost|over|done"):
        async with kept[0].effects() as fx:
            fx.incrby(kept[0].key("x"))
    assert await ahf.execute("EXISTS", kept[0].key("x")) == 0


async def test_an_entry_for_a_stream_that_is_published_to_by_effects_arrives_once_in_a_cluster(
    cluster_lab: Any, namespace: str
):
    async with AsyncHoldfast(cluster_lab.url, namespace=namespace) as ahf:
        orders = ahf.stream("orders", partitions=2, key=lambda number: number)
        targets = [ahf.stream(f"target{number}") for number in range(3)]  # in other slots, surely
        seen: list[tuple[int, int]] = []
        errors: list[str] = []

        @orders.subscriber("g")
        async def handle(number: int, message: Any) -> None:
            try:
                async with message.effects() as fx:
                    fx.incrby("elsewhere")
            except ConfigurationError as error:
                errors.append(str(error))
            async with message.effects() as fx:
                fx.incrby(message.key("n"))
                for target in targets:
                    fx.publish(target, number, key=f"k{number}")

        for place, target in enumerate(targets):

            async def arrived(number: int, message: Any, place: int = place) -> None:
                assert message.partition_key == f"k{number}"
                seen.append((place, number))

            target.subscriber("t")(arrived)

        await orders.publish_many(range(4))
        async with AsyncCrowd() as crowd:
            running = crowd.start(ahf.run)
            await crowd.until(lambda: len(seen) >= 12)
            await crowd.settle()
            ahf.stop()
            await running.result()
        assert sorted(seen) == [(place, number) for place in range(3) for number in range(4)]
        assert len(errors) == 4 and "in another slot" in errors[0]
        counts = [await ahf.execute("GET", part.user("n")) for part in orders._desk.layout.parts]
        assert sum(int(one or 0) for one in counts) == 4
        assert [await ahf.execute("XLEN", part.outbox) for part in orders._desk.layout.parts] == [0, 0]
