"""What our recorder for dynamic consistency boundaries promises beyond the library's own test cases."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.popo import InMemoryDCBRecorder
from eventsourcing.persistence import IntegrityError, ProgrammingError

from holdfast import Holdfast
from holdfast.contrib.eventsourcing import HoldfastDatastore, HoldfastDCBRecorder, dcb, recorders

TYPES, TAGS = ("t1", "t2", "t3"), ("a", "b: {c}", "d", "e")


@pytest.fixture
def recorder(hf: Holdfast) -> HoldfastDCBRecorder:
    return HoldfastDCBRecorder(HoldfastDatastore(hf, "app"))


def event(type: str = "t1", tags: tuple[str, ...] = (), data: bytes = b"d") -> DCBEvent:
    return DCBEvent(type, data, list(tags))


def query(dice: random.Random) -> DCBQuery:
    items = [
        DCBQueryItem(dice.sample(TYPES, dice.randrange(3)), dice.sample(TAGS, dice.randrange(3)))
        for _ in range(dice.randrange(4))
    ]
    return DCBQuery(items)


@pytest.mark.parametrize("seed", range(3))
def test_it_answers_as_the_model_does(recorder, seed: int):
    """Reads and refusals alike, for any query: one event too many or too few is a wrong decision."""
    model, dice = InMemoryDCBRecorder(), random.Random(seed)
    refused = 0
    for _ in range(150):
        head = len(model.events)
        events = [
            event(dice.choice(TYPES), tuple(dice.sample(TAGS, dice.randrange(4))), b"%d" % dice.randrange(99))
            for _ in range(dice.randrange(1, 4))
        ]
        after = dice.choice([None, 0, head, max(0, head - dice.randrange(6))])
        condition = dice.choice([None, DCBAppendCondition(query(dice), after)])
        outcomes: list[Any] = []
        for one in (model, recorder):
            try:
                outcomes.append(one.append(events, condition))
            except IntegrityError:
                outcomes.append("refused")
        assert outcomes[0] == outcomes[1], condition
        refused += outcomes[0] == "refused"

        asked = query(dice)
        told: dict[str, Any] = {
            "after": dice.choice([None, head // 2]),
            "limit": dice.choice([None, 0, 1, 5]),
        }
        answers = [one.read(asked, **told) for one in (model, recorder)]
        assert list(answers[0]) == list(answers[1]), (asked, told)
        assert answers[0].head == answers[1].head, (asked, told)
    assert refused > 10


def test_a_long_log_is_read_in_pages(recorder):
    """Pages end at a number of events, of bytes and of events looked at; none may be lost at the seam."""
    many = [event("t1", ("common", f"n{n % 3}"), b"x" * (n % 400)) for n in range(9000)]
    recorder.append(many)
    recorder.append([event("t2", ("common", "rare")) for _ in range(3)])
    some = [DCBQueryItem(["t1"], ["n0"]), DCBQueryItem([], ["n1"]), DCBQueryItem(["t2"], [])]

    def positions(items: list[DCBQueryItem], **told: Any) -> list[int]:
        return [one.position for one in recorder.read(DCBQuery(items), **told)]

    recorder.append([event("t3")])
    assert positions([]) == list(range(1, 9005))
    assert positions([DCBQueryItem([], ["common"])]) == list(range(1, 9004))
    seldom = [DCBQueryItem(["t2", "t9"], ["common"]), DCBQueryItem(["t3"], [])]
    assert positions(seldom) == [9001, 9002, 9003, 9004]
    assert positions([], after=8990, limit=4) == [8991, 8992, 8993, 8994]
    expected = [n + 1 for n in range(9000) if n % 3 < 2] + [9001, 9002, 9003]
    assert positions(some) == expected
    assert positions(some, limit=5000) == expected[:5000]
    assert positions([DCBQueryItem(["t2"], ["common"])]) == [9001, 9002, 9003]
    assert positions([DCBQueryItem(["t2", "t9"], ["common"])], limit=2) == [9001, 9002]
    with pytest.raises(IntegrityError):
        recorder.append([event()], DCBAppendCondition(DCBQuery([DCBQueryItem(["t2", "t9"], ["common"])])))


def test_what_comes_while_it_is_read_is_not_in_the_answer(recorder):
    """`head` is what a condition is given: events behind it that were seen, or not, would be a lie."""
    recorder.append([event() for _ in range(1500)])
    answer = recorder.read()
    next(answer)
    recorder.append([event()])

    assert len(list(answer)) == 1499
    assert answer.head == 1500


def test_only_one_of_many_decisions_on_the_same_facts_is_recorded(recorder):
    condition = DCBAppendCondition(DCBQuery([DCBQueryItem([], ["seat:1"])]), after=0)

    def book(_: int) -> int:
        try:
            recorder.append([event("t1", ("seat:1",))], condition)
        except IntegrityError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(book, range(24))) == 1


@pytest.mark.parametrize("condition", [None, DCBAppendCondition(DCBQuery([DCBQueryItem([], ["a"])]), 0)])
def test_a_lost_reply_neither_doubles_nor_refuses(faults, namespace, condition):
    """These events have no number of their own: a repeated request must be known by its id."""
    with Holdfast(faults.url, namespace=namespace) as hf:
        recorder = HoldfastDCBRecorder(HoldfastDatastore(hf, "app"))
        assert recorder.append([event("t1", ("other",))]) == 1
        faults.drop_replies(match=dcb.APPEND.digest.encode())

        assert recorder.append([event("t1", ("a",)), event("t1", ("a",))], condition) == 3

        assert not faults.heal()
        assert len(list(recorder.read())) == 3


def test_no_event_and_too_many_are_refused(recorder):
    for wrong in ([], [event()] * (recorders.MOST_EVENTS + 1)):
        with pytest.raises(ProgrammingError, match="1 to 10000 events"):
            recorder.append(wrong)
    assert recorder.read().head is None


def test_a_subscription_gets_what_matches(recorder):
    recorder.append([event("t1"), event("t2"), event("t1")])
    with recorder.subscribe(DCBQuery([DCBQueryItem(["t1"])]), after=1) as subscription:
        assert next(subscription).position == 3
        recorder.append([event("t2"), event("t1", ("a",), UUID(int=1).bytes)])
        found = next(subscription)
    assert (found.position, found.event) == (5, event("t1", ("a",), UUID(int=1).bytes))
    assert list(subscription) == []
