# Generated from test_members_async.py by tools/unasync.py. Do not edit.
"""Members that come and go: the order of a key holds, and nothing is held up."""

from __future__ import annotations

from typing import Any

from holdfast import Holdfast
from holdfast._compat import sleep
from holdfast.streams.options import Backoff
from tests.cache.crowd import Crowd


def test_a_key_stays_in_order_while_members_come_and_go(hf: Holdfast, place: Any, namespace: str):
    """Three members, four partitions, failures; each key in the order of its publishing, always."""
    seen: dict[int, list[int]] = {}
    running_keys: list[int] = []
    wrong: list[str] = []
    options: dict[str, Any] = {"partitions": 4, "key": lambda number: number % 10}

    def subscribe(client: Holdfast) -> None:
        def handle(number: int, message: Any) -> None:
            key = number % 10
            if key in running_keys:
                wrong.append(f"{number} beside another of its key")
            running_keys.append(key)
            sleep(0.002)
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

    numbers = hf.stream("numbers", **options)
    with Crowd() as crowd:
        clients: list[tuple[Holdfast, Any]] = []
        for step in range(8):
            numbers.publish_many(range(step * 50, step * 50 + 50))
            if step < 3:
                client = Holdfast(place.url, namespace=namespace).connect()
                subscribe(client)
                clients.append((client, crowd.start(client.run)))
            elif step in {4, 6}:
                client, job = clients.pop(0)
                client.stop()
                job.result()
                client.close()
            sleep(0.05)
        crowd.until(lambda: sum(map(len, seen.values())) >= 400)
        for client, job in clients:
            client.stop()
            job.result()
            client.close()
    assert wrong == []
    assert all(one == sorted(one) for one in seen.values())
    assert sorted(sum(seen.values(), [])) == list(range(400))


def test_a_message_that_fails_while_its_partition_moves_does_not_hold_it_up(
    hf: Holdfast, place: Any, namespace: str
):
    """Without it a partition stood still for the whole pause, or the pause was lost."""
    options: dict[str, Any] = {"partitions": 2, "key": lambda number: number}
    numbers = hf.stream("numbers", **options)
    layout = numbers._desk.layout
    moving = [next(n for n in range(99) if layout.of(str(n)) is part) for part in layout.parts]
    seen: list[tuple[str, int, int]] = []

    with Holdfast(place.url, namespace=namespace) as other, Crowd() as crowd:

        def first(number: int, message: Any) -> None:
            seen.append(("first", number, message.deliveries))
            berths = numbers.runnables()[0]._berths
            crowd.until(lambda: any(one.is_leaving for one in berths) or len(seen) > 2)
            raise ValueError

        def second(number: int, message: Any) -> None:
            seen.append(("second", number, message.deliveries))

        numbers.subscriber("g", retry=Backoff("1m"), concurrency=2)(first)
        other.stream("numbers", **options).subscriber("g", retry=Backoff("1m"))(second)
        numbers.publish_many(moving)
        jobs = [crowd.start(hf.run)]
        crowd.until(lambda: len(seen), 2)
        jobs.append(crowd.start(other.run))
        crowd.until(lambda: [len(one._berths) for one in other.stream("numbers").runnables()], [2])
        berths = other.stream("numbers").runnables()[0]._berths
        crowd.until(lambda: any(one.epoch for one in berths))
        for client in (hf, other):
            client.stop()
        for job in jobs:
            job.result()
    assert sorted(seen) == [("first", number, 1) for number in sorted(moving)], "a pause was cut short"
