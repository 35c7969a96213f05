# Generated from test_subscribe_async.py by tools/unasync.py. Do not edit.
"""Subscriptions: from what was appended to what is appended, without a gap."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast, Closed, ConfigurationError
from holdfast.events import rules
from holdfast.events.options import PositionTrimmed
from tests.events.crew import Crew
from tests.events.test_log_sync import make
from tests.events.world import ns


def take(events: Any, count: int) -> list[Any]:
    """The next so many events."""
    found: list[Any] = []
    while len(found) < count:
        for event in events:
            found.append(event)
            break
    return found


@pytest.mark.everywhere
def test_it_catches_up_and_goes_on_with_what_comes(hf: Holdfast):
    log = make(hf)
    log.append("a", ns(1, 2))
    with log.subscribe() as events:

        def read() -> list[tuple[str, int]]:
            return [(one.stream, one.value["n"]) for one in take(events, 5)]

        def append() -> None:
            log.append("b", ns(3))
            log.append("a", ns(4, 5))

        found, _ = Crew.all([read, append])
    assert found == [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("a", 5)]


def test_it_is_woken_and_does_not_ask_all_the_time(faults, namespace: str, monkeypatch):
    """Without the push it would only hear of an event at its next look, here never."""
    monkeypatch.setattr(rules, "SAFETY_POLL", 1000.0)
    with Holdfast(faults.url, namespace=namespace) as hf:
        log = make(hf)
        log.append("a", ns(1))
        with log.subscribe() as events:
            take(events, 1)

            def read() -> Any:
                return (take(events, 1))[0].value

            def append() -> None:
                Crew.rest(0.5)
                faults.reset_counts()
                log.append("a", ns(2))

            value, _ = Crew.all([read, append])
            assert value == {"n": 2}
            digest = rules.PAGE.digest.encode()
            assert len([one for one in faults.commands() if digest in one]) <= 3


def test_it_begins_where_it_is_told_to(hf: Holdfast):
    log = make(hf)
    appended = log.append("a", ns(1, 2, 3))
    with log.subscribe(after=appended.position - 1) as events:
        (one,) = take(events, 1)
        assert one.value == {"n": 3} and events.positions == {0: appended.position}
    with log.subscribe(after=None) as events:

        def read() -> Any:
            return (take(events, 1))[0].value

        def append() -> None:
            while not events.positions:
                Crew.rest(0.01)
            log.append("a", ns(4))

        value, _ = Crew.all([read, append])
        assert value == {"n": 4}


def test_one_of_several_partitions_or_all_of_them(hf: Holdfast):
    log = make(hf, partitions=3)
    streams = [f"s{number}" for number in range(9)]
    parts = {(log.append(stream, ns(number))).partition for number, stream in enumerate(streams)}
    assert parts == {0, 1, 2}
    with log.subscribe() as events:
        found = take(events, 9)
        assert sorted(one.stream for one in found) == streams
        positions = events.positions
    late = log.append("s0", ns(9))
    with log.subscribe(after=positions) as events:
        assert [one.value["n"] for one in take(events, 1)] == [9]
    with log.subscribe(partition=late.partition, after=late.position - 1) as events:
        assert [one.value["n"] for one in take(events, 1)] == [9]
    for wrong in ({"after": 5}, {"after": {7: 1}}, {"after": -1, "partition": 0}, {"partition": 3}):
        with pytest.raises(ConfigurationError):
            log.subscribe(**wrong)
    with pytest.raises(ConfigurationError, match="order of its own"):
        take(log.all(), 1)
    with pytest.raises(ConfigurationError, match="'x'"):
        take(log.all(after="x", partition=0), 1)


@pytest.mark.parametrize("again", [0, 3, 40])
def test_a_history_that_was_flushed_is_told(own_server, namespace: str, again: int):
    """However many events there are by then: it must not go on in a history that it has not read."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        log = make(hf)
        log.append("a", ns(*range(20)))
        with log.subscribe() as events:
            take(events, 20)
            hf.execute("FLUSHALL", retry="safe")
            if again:
                log.append("a", ns(*range(again)))
            with pytest.raises(PositionTrimmed) as told:
                take(events, 1)
            assert (told.value.first is None) == (not again)
        first = told.value.first
        assert first is None or len(take(log.all(after=first - 1), again)) == again


def test_entries_of_the_log_that_somebody_deleted_are_told(hf: Holdfast):
    log = make(hf)
    last = (log.append("a", ns(1, 2, 3))).position
    key = log._desk.layout.parts[0].log
    hf.execute("XTRIM", key, "MINID", f"{last}-0", retry="safe")
    with pytest.raises(PositionTrimmed) as told:
        take(log.all(), 1)
    assert told.value.first == last
    assert len(take(log.all(after=last - 1), 1)) == 1
    hf.execute("XTRIM", key, "MAXLEN", 0, retry="safe")
    for after in (0, last - 1):
        with pytest.raises(PositionTrimmed):
            take(log.all(after=after), 1)
    with pytest.raises(PositionTrimmed):
        take(log.all(after=last + 1), 1)


def test_closing_ends_the_iteration_of_another_task(hf: Holdfast):
    log = make(hf)
    subscription = log.subscribe()

    def read() -> list[Any]:
        found = []
        for event in subscription:
            found.append(event.value["n"])
        return found

    def close() -> None:
        log.append("a", ns(1))
        while not subscription.positions or not subscription.positions[0]:
            Crew.rest(0.01)
        subscription.close()
        subscription.close()

    found, _ = Crew.all([read, close])
    assert found == [1]


def test_it_waits_while_the_server_is_away(faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        log = make(hf)
        log.append("a", ns(1))
        with log.subscribe() as events:
            take(events, 1)
            faults.refuse()
            faults.cut()

            def read() -> Any:
                return (take(events, 1))[0].value

            def append() -> None:
                Crew.rest(1.0)
                faults.accept()
                log.append("a", ns(2), expected=1)

            value, _ = Crew.all([read, append])
            assert value == {"n": 2}


def test_it_ends_with_the_client(server, namespace: str):
    hf = Holdfast(server.url, namespace=namespace)
    log = make(hf)
    subscription = log.subscribe()

    def read() -> None:
        with pytest.raises(Closed):
            take(subscription, 1)

    def close() -> None:
        while not subscription.positions:
            Crew.rest(0.01)
        hf.close()

    Crew.all([read, close])
    subscription.close()
