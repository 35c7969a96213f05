"""Failovers and a slot that moves, while messages are published and handled."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Durability, Holdfast, HoldfastError
from holdfast._wire.cluster.slots import slot_of
from holdfast.streams.options import Backoff
from tests.cache.crowd import Crowd

REPLICATED = Durability(replicas=1, within="10s")


def key_of(number: int) -> int:
    return number % 5


def subscribe(hf: Holdfast, seen: list[int], **options: Any) -> Any:
    numbers = hf.stream("numbers", partitions=3, key=key_of, **options)

    @numbers.subscriber("g", retry=Backoff("20ms"), lease="3s", concurrency=2)
    def handle(number: int, message: Any) -> None:
        with message.effects() as fx:
            fx.hincrby(message.key("sums"), str(number))
        seen.append(number)

    return numbers


def sums(hf: Holdfast, numbers: Any) -> dict[int, int]:
    found: dict[int, int] = {}
    for part in numbers._desk.layout.parts:
        flat = hf.execute("HGETALL", part.user("sums"))
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        found |= {int(name): int(count) for name, count in pairs}
    return found


def publish(numbers: Any, wanted: range) -> None:
    """Each until it is there; the id makes a repetition harmless."""
    for number in wanted:
        while True:
            try:
                numbers.publish(number, id=f"n{number}")
                break
            except HoldfastError:
                continue


def test_a_slot_that_moves_loses_and_doubles_nothing(own_cluster_lab: Any, namespace: str):
    """Without following it a consumer would stay with a node that has nothing any more."""
    lab = own_cluster_lab
    with Holdfast(lab.url, namespace=namespace, timeout="5s") as hf, Crowd() as crowd:
        seen: list[int] = []
        numbers = subscribe(hf, seen)
        running = crowd.start(hf.run)
        publish(numbers, range(20))
        for part in numbers._desk.layout.parts[:2]:
            slot = slot_of(part.stream)
            lab.move_slot(slot, next(one for one in lab.primaries if one is not lab.primary_of(slot)))
            publish(numbers, range(20 + 20 * part.number, 40 + 20 * part.number))
        crowd.until(lambda: sums(hf, numbers), dict.fromkeys(range(60), 1))
        hf.stop()
        running.result()
        assert sorted(seen) == list(range(60))


@pytest.mark.parametrize("topology_", ["sentinel", "cluster"])
def test_a_failover_loses_nothing_that_was_replicated(request: Any, namespace: str, topology_: str):
    """`durability` of the stream: published and done means that a replica has it."""
    lab = request.getfixturevalue(f"own_{topology_}_lab")
    with Holdfast(lab.url, namespace=namespace, timeout="10s") as hf, Crowd() as crowd:
        seen: list[int] = []
        numbers = subscribe(hf, seen, durability=REPLICATED)
        running = crowd.start(hf.run)
        publish(numbers, range(20))
        crowd.until(lambda: len(sums(hf, numbers)) >= 10)
        old = lab.primary if topology_ == "sentinel" else lab.primary_of(numbers._desk.layout.parts[0].stream)
        old.kill()
        lab.await_failover(old)
        publish(numbers, range(20, 40))
        crowd.until(lambda: asked(hf, numbers) == dict.fromkeys(range(40), 1))
        hf.stop()
        running.result()


def asked(hf: Holdfast, numbers: Any) -> dict[int, int]:
    try:
        return sums(hf, numbers)
    except HoldfastError:
        return {}
