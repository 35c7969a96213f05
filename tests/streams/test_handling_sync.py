# Generated from test_handling_async.py by tools/unasync.py. Do not edit.
"""Retries, batches, orders, and how a run begins and ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._compat import sleep
from holdfast.streams import rules
from holdfast.streams.options import Backoff
from holdfast.streams.rules import Retry
from tests.cache.crowd import Crowd
from tests.streams.looks import AT_ONCE, Look, watched

# --- retries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["none", "key"])
def test_pauses_are_kept_and_others_go_on_meanwhile(hf: Holdfast, order: Any):
    numbers = hf.stream("numbers", key=lambda number: number)
    seen: list[tuple[int, int]] = []

    @numbers.subscriber("g", retry=Backoff("250ms", 0), order=order)
    def handle(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))
        if number == 0 and message.deliveries < 3:
            if message.deliveries == 1:
                began.append(message.age)
            raise ValueError
        if number == 0:
            began.append(message.age)

    began: list[float] = []
    numbers.publish_many(range(4))
    hf.run(until="idle")
    assert seen == [(0, 1), (1, 1), (2, 1), (3, 1), (0, 2), (0, 3)]
    assert began[1] - began[0] > 0.24


def test_a_pause_of_retry_is_what_it_says(hf: Holdfast):
    numbers = hf.stream("numbers")
    ages: list[float] = []

    @numbers.subscriber("g", retry=Backoff("1h"))
    def handle(number: int, message: Any) -> None:
        ages.append(message.age)
        if message.deliveries == 1:
            raise Retry("busy", after="200ms")
        if message.deliveries == 2:
            raise Retry(after=timedelta(milliseconds=1))

    numbers.publish(1)
    hf.run(until="idle")
    assert len(ages) == 3 and ages[1] - ages[0] > 0.19


def test_without_a_limit_a_message_is_tried_for_ever(hf: Holdfast):
    numbers = hf.stream("numbers")
    seen: list[int] = []

    @numbers.subscriber("g", retry=AT_ONCE, max_deliveries=None)
    def handle(number: int, message: Any) -> None:
        seen.append(message.deliveries)
        if message.deliveries < 30:
            raise ValueError

    numbers.publish(1)
    hf.run(until="idle")
    assert seen == list(range(1, 31)) and Look.dead(hf, numbers, "g") == []


@pytest.mark.parametrize("order", ["none", "key"])
def test_a_batch_is_handled_as_one(hf: Holdfast, order: Any):
    numbers = hf.stream("numbers", key=lambda number: "k")
    seen: list[list[int]] = []

    @numbers.subscriber("g", batch=4, max_deliveries=2, retry=AT_ONCE, order=order)
    def handle(values: list[int], messages: list[Any]) -> None:
        assert [one.value for one in messages] == values
        seen.append(values)
        if 5 in values:
            raise ValueError("five")

    numbers.publish_many(range(10))
    hf.run(until="idle")
    assert max(map(len, seen)) == 4
    handled = sorted(number for one in seen if 5 not in one for number in one)
    buried = [one[0] for one in Look.dead(hf, numbers, "g")]
    assert sorted({*range(10)} - {5}) == handled, "the others of its batch died with the one that failed"
    assert len(buried) == 1
    part = numbers._desk.layout.parts[0]
    assert hf.execute("EXISTS", part.group("g").retries, part.group("g").errors) == 0


def test_effects_of_one_message_of_a_batch_stay_though_the_batch_fails(hf: Holdfast):
    numbers = hf.stream("numbers")
    seen: list[list[int]] = []

    @numbers.subscriber("g", batch=3, retry=AT_ONCE)
    def handle(values: list[int], messages: list[Any]) -> None:
        seen.append(values)
        if len(seen) == 1:
            with messages[1].effects() as fx:
                fx.incrby(messages[1].key("x"))
            raise ValueError

    numbers.publish_many([1, 2, 3])
    hf.run(until="idle")
    assert seen[0] == [1, 2, 3] and sorted(sum(seen[1:], [])) == [1, 3]
    assert hf.execute("GET", numbers._desk.layout.parts[0].user("x")) == b"1"
    assert numbers.stats()["g"].in_flight == 0


@pytest.mark.parametrize("order", ["none", "key", "partition"])
def test_the_order_that_was_asked_for_holds(hf: Holdfast, order: Any):
    """Two keys, five at a time, and the first message of one fails: none goes on, key stops its lane only,
    partition stops all.
    """
    letters = hf.stream("letters", key=lambda letter: letter[0])
    began: list[str] = []
    running: list[str] = []
    together: set[tuple[str, ...]] = set()

    @letters.subscriber("g", concurrency=5, retry=Backoff("150ms"), order=order)
    def handle(letter: str, message: Any) -> None:
        began.append(letter)
        running.append(letter)
        together.add(tuple(sorted(running)))
        sleep(0.01)
        running.remove(letter)
        if letter == "a0" and message.deliveries == 1:
            raise ValueError

    letters.publish_many(["a0", "a1", "b0", "a2", "b1", "b2"])
    hf.run(until="idle")
    of_a = [one for one in began if one[0] == "a"]
    of_b = [one for one in began if one[0] == "b"]
    if order == "none":
        assert began[-1] == "a0" and max(map(len, together)) == 5
    elif order == "key":
        assert of_a == ["a0", "a0", "a1", "a2"] and of_b == ["b0", "b1", "b2"]
        assert began.index("b2") < 5
        assert max(map(len, together)) == 2 and not any(
            one[0][0] == one[-1][0] for one in together if one[1:]
        )
    else:
        assert began == ["a0", "a0", "a1", "b0", "a2", "b1", "b2"] and max(map(len, together)) == 1


def test_no_more_is_taken_than_may_be_in_flight(hf: Holdfast):
    numbers = hf.stream("numbers")
    most: list[int] = []

    @numbers.subscriber("g", concurrency=2, max_in_flight=3)
    def handle(number: int) -> None:
        most.append(numbers.stats()["g"].in_flight)
        sleep(0.001)

    numbers.publish_many(range(40))
    hf.run(until="idle")
    assert len(most) == 40 and max(most) <= 3


# --- running ------------------------------------------------------------------------------------------------


def test_only_the_groups_that_were_named_run(hf: Holdfast):
    orders = hf.stream("orders")
    seen: list[str] = []

    @orders.subscriber("a")
    def first(order: Any) -> None:
        seen.append("a")

    @orders.subscriber("b", start="new")
    def second(order: Any) -> None:
        seen.append("b")

    orders.publish(1)
    hf.run(groups=["a"], until="idle")
    assert seen == ["a"]
    hf.run(until="idle")  # b begins with what is new
    assert seen == ["a"]
    orders.publish(2)
    hf.run(until="idle")
    assert sorted(seen) == ["a", "a", "b"]


def test_a_handler_may_stop_the_run_and_the_rest_stays_for_the_next(hf: Holdfast):
    numbers = hf.stream("numbers")
    seen: list[tuple[int, int]] = []

    @numbers.subscriber("g")
    def handle(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))
        if number == 2:
            hf.stop()
        sleep(0.02)

    numbers.publish_many(range(6))
    hf.run()
    assert seen == [(0, 1), (1, 1), (2, 1)]
    hf.run(until="idle")
    assert sorted(seen) == [(number, 1) for number in range(6)]


def test_what_rests_after_a_failure_keeps_its_count_and_its_pause_over_a_stop(hf: Holdfast):
    """Without it a message that fails each time would live for ever where workers are often restarted."""
    numbers = hf.stream("numbers", key=lambda number: number)
    seen: list[int] = []

    @numbers.subscriber("g", retry=Backoff("300ms"), max_deliveries=3)
    def handle(number: int, message: Any) -> None:
        seen.append(message.deliveries)
        ages.append(message.age)
        hf.stop()
        raise ValueError

    ages: list[float] = []
    numbers.publish(1)
    for _ in range(3):
        hf.run()
    assert seen == [1, 2, 3]
    assert ages[1] - ages[0] > 0.29 and ages[2] - ages[1] > 0.29
    assert len(Look.dead(hf, numbers, "g")) == 1


def test_two_clients_share_the_messages_of_a_group(hf: Holdfast, place: Any, namespace: str):
    """Without it whoever joins would take away what the others have."""
    seen: list[Any] = []
    with Holdfast(place.url, namespace=namespace) as other, Crowd() as crowd:
        told = [watched(hf), watched(other)]
        for number, one in enumerate((hf, other)):

            def handle(value: int, message: Any, number: int = number) -> None:
                sleep(0.02)
                seen.append((number, value, message.deliveries))

            one.stream("numbers").subscriber("g", concurrency=2, max_in_flight=4)(handle)
        hf.stream("numbers").publish_many(range(30))
        first = crowd.start(hf.run)
        crowd.until(lambda: len(seen) > 3)
        second = crowd.start(other.run)
        crowd.until(lambda: len(seen), 30)
        for one in (hf, other):
            one.stop()
        first.result()
        second.result()
    assert sorted(seen, key=lambda one: one[1]) == [
        (who, number, 1) for who, number, _ in sorted(seen, key=lambda one: one[1])
    ]
    assert sorted(one[1] for one in seen) == list(range(30))
    assert {one[0] for one in seen} == {0, 1}
    assert not [one for each in told for one in each.seen if isinstance(one, rules.MessageLost)]
