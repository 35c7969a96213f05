"""Subscriptions while their server changes: slots that move, primaries that die."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Durability, Holdfast, NotDurable
from holdfast._signals import Disconnected
from holdfast._wire.cluster.slots import slot_of
from tests.topics.world import Observer, atopic_of, shown, topic_of, until


async def test_slots_that_move_under_a_subscription_lose_nothing(cluster_lab: Any, namespace: str):
    """found: staying with the node that had the slot; going on without reading the history."""
    async with AsyncHoldfast(cluster_lab.url, namespace=namespace, timeout="20s") as ahf:
        topics = [atopic_of(ahf, f"prices {number}") for number in range(4)]
        slots = [slot_of(topic._desk.channel) for topic in topics]
        stopped, said = asyncio.Event(), [0] * 4

        async def publish(number: int) -> None:
            while not stopped.is_set():
                await topics[number].publish(said[number])
                said[number] += 1

        async def read(number: int, subscription: Any, seen: list[Any]) -> None:
            async with subscription as messages:
                async for message in messages:
                    seen.append(message)

        subscriptions = [topic.subscribe("-.0.0") for topic in topics]
        seen: list[list[Any]] = [[] for _ in topics]
        readers = [asyncio.create_task(read(n, subscriptions[n], seen[n])) for n in range(4)]
        publishers = [asyncio.create_task(publish(n)) for n in range(4)]
        for _ in range(2):
            for slot in slots:
                here = cluster_lab.primary_of(slot)
                there = next(node for node in cluster_lab.primaries if node is not here)
                await asyncio.to_thread(cluster_lab.move_slot, slot, there)
        stopped.set()
        await asyncio.gather(*publishers)
        for number in range(4):
            await topics[number].publish("end")
        async with asyncio.timeout(30):
            while any(not one or shown(one[-1:]) != ["end"] for one in seen):
                await asyncio.sleep(0.01)
        for subscription in subscriptions:
            subscription.close()
        await asyncio.gather(*readers)
        for number in range(4):
            assert said[number] > 20, "nothing was put to the test"
            assert shown(seen[number]) == [*range(said[number]), "end"]


async def test_a_slot_that_moves_leaves_the_neighbours_alone(cluster_lab: Any, namespace: str):
    """found: starting the whole connection over, so that everybody on that node reads his history."""
    async with AsyncHoldfast(cluster_lab.url, namespace=namespace, timeout="20s") as ahf:
        observer = Observer(ahf)
        mover, *others = (atopic_of(ahf, f"prices {number}") for number in range(30))
        here = cluster_lab.primary_of(mover._desk.channel)
        stayer = next(one for one in others if cluster_lab.primary_of(one._desk.channel) is here)
        async with mover.subscribe() as moving, stayer.subscribe() as staying:
            for topic, messages in ((mover, moving), (stayer, staying)):
                await topic.publish("before")
                assert shown([await messages.get(20)]) == ["before"]
            era = staying._inbox.era if staying._inbox else 0
            there = next(node for node in cluster_lab.primaries if node is not here)
            await asyncio.to_thread(cluster_lab.move_slot, slot_of(mover._desk.channel), there)
            async with asyncio.timeout(30):
                while not await mover.subscribers():
                    await asyncio.sleep(0.01)
            for topic, messages in ((mover, moving), (stayer, staying)):
                await topic.publish("after")
                assert shown([await messages.get(20)]) == ["after"]
            assert staying._inbox is not None
            assert staying._inbox.era == era
        assert observer.of(Disconnected) == []


async def test_a_plain_topic_is_heard_again_where_its_slot_is_now(cluster_lab: Any, namespace: str):
    async with AsyncHoldfast(cluster_lab.url, namespace=namespace, timeout="20s") as ahf:
        topic = atopic_of(ahf, history=0)
        slot = slot_of(topic._desk.channel)
        async with topic.subscribe() as messages:
            here = cluster_lab.primary_of(slot)
            there = next(node for node in cluster_lab.primaries if node is not here)
            await asyncio.to_thread(cluster_lab.move_slot, slot, there)
            async with asyncio.timeout(30):
                while not await topic.subscribers():
                    await asyncio.sleep(0.01)
            await topic.publish("there")
            found = shown([await messages.get(20), await messages.get(1)])[:2]
            assert found == [("disconnected", None), "there"]


@pytest.mark.parametrize("topology", ["sentinel", "cluster"])
def test_a_primary_that_dies_loses_nothing_that_a_replica_has(
    topology: str, request: pytest.FixtureRequest, namespace: str
):
    """found: listening to a server that is no primary any more."""
    lab = request.getfixturevalue(f"own_{topology}_lab")
    with Holdfast(lab.url, namespace=namespace, timeout="30s") as hf:
        topic = topic_of(hf, durability=Durability(replicas=1))
        publishers = [topic_of(hf), topic]  # the last one publishes; the new primary has no replica
        said, stopped = [0], threading.Event()
        seen: list[Any] = []
        subscription = topic.subscribe()

        def publish() -> None:
            while not stopped.is_set():
                with suppress(NotDurable):  # it was published
                    publishers[-1].publish(said[0])
                said[0] += 1

        def read() -> None:
            seen.extend(subscription)  # grows while it is read

        assert subscription.get(0) is None
        threads = [threading.Thread(target=work, daemon=True) for work in (publish, read)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: len(seen) > 50)
            old = lab.primary if topology == "sentinel" else lab.primary_of(topic._desk.channel)
            old.kill()
            publishers.pop()
            before = said[0]
            until(lambda: said[0] > before + 50, 40)
        finally:
            stopped.set()
            threads[0].join(40)
            try:
                until(lambda: len(seen) >= said[0], 20)
            finally:
                subscription.close()
                threads[1].join(40)
        assert shown(seen) == [*range(said[0])]
