# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Members that come and go: the order of a key holds, and nothing is held up."""

from __future__ import annotations

from typing import Any

from holdfast import AsyncHoldfast
from holdfast._compat import asleep
from holdfast.streams.options import Backoff
from tests.cache.crowd import AsyncCrowd


async def test_a_key_stays_in_order_while_members_come_and_go(ahf: AsyncHoldfast, place: Any, namespace: str):
    """Three members, four partitions, failures; each key in the order of its publishing, always."""
    seen: dict[int, list[int]] = {}
    running_keys: list[int] = []
    wrong: list[str] = []
    options: dict[str, Any] = {"partitions": 4, "key": lambda number: number % 10}

    def subscribe(client: AsyncHoldfast) -> None:
        async def handle(number: int, message: Any) -> None:
            key = number % 10
            if key in running_keys:
                wrong.append(f"{number} beside another of its key")
            running_keys.append(key)
            await asleep(0.002)
            running_keys.remove(key)
            if number % 17 == 0 and message.deliveries == 1:
                raise ValueError(number)
            before = seen.setdefault(key, [])
            if before and number < before[-1] or number in before:
                wrong.append(f"{number} after {before[-1]}")
            before.append(number)

        client.stream("numbers", **options).subscriber("g", concurrency=3, retry=Backoff("30ms"), lease="3s")(
            handle
        )

    numbers = ahf.stream("numbers", **options)
    async with AsyncCrowd() as crowd:
        clients: list[tuple[AsyncHoldfast, Any]] = []
        for step in range(8):
            await numbers.publish_many(range(step * 50, step * 50 + 50))
            if step < 3:
                client = await AsyncHoldfast(place.url, namespace=namespace).connect()
                subscribe(client)
                clients.append((client, crowd.start(client.run)))
            elif step in {4, 6}:
                client, job = clients.pop(0)
                client.stop()
                await job.result()
                await client.close()
            await asleep(0.05)
        await crowd.until(lambda: sum(map(len, seen.values())) >= 400)
        for client, job in clients:
            client.stop()
            await job.result()
            await client.close()
    assert wrong == []
    assert all(one == sorted(one) for one in seen.values())
    assert sorted(sum(seen.values(), [])) == list(range(400))


async def test_a_message_that_fails_while_its_partition_moves_does_not_hold_it_up(
    ahf: AsyncHoldfast, place: Any, namespace: str
):
    """Without it a partition stood still for the whole pause, or the pause was lost."""
    options: dict[str, Any] = {"partitions": 2, "key": lambda number: number}
    numbers = ahf.stream("numbers", **options)
    layout = numbers._desk.layout
    moving = [next(n for n in range(99) if layout.of(str(n)) is part) for part in layout.parts]
    seen: list[tuple[str, int, int]] = []

    async with AsyncHoldfast(place.url, namespace=namespace) as other, AsyncCrowd() as crowd:

        async def first(number: int, message: Any) -> None:
            seen.append(("first", number, message.deliveries))
            berths = numbers.runnables()[0]._berths
            await crowd.until(lambda: any(one.is_leaving for one in berths) or len(seen) > 2)
            raise ValueError

        async def second(number: int, message: Any) -> None:
            seen.append(("second", number, message.deliveries))

        numbers.subscriber("g", retry=Backoff("1m"), concurrency=2)(first)
        other.stream("numbers", **options).subscriber("g", retry=Backoff("1m"))(second)
        await numbers.publish_many(moving)
        jobs = [crowd.start(ahf.run)]
        await crowd.until(lambda: len(seen), 2)
        jobs.append(crowd.start(other.run))
        await crowd.until(lambda: [len(one._berths) for one in other.stream("numbers").runnables()], [2])
        berths = other.stream("numbers").runnables()[0]._berths
        await crowd.until(lambda: any(one.epoch for one in berths))
        for client in (ahf, other):
            client.stop()
        for job in jobs:
            await job.result()
    assert sorted(seen) == [("first", number, 1) for number in sorted(moving)], "a pause was cut short"
