# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Subscriptions: from what was appended to what is appended, without a gap."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast, Closed, ConfigurationError
from holdfast.events import rules
from holdfast.events.options import PositionTrimmed
from tests.events.crew import AsyncCrew
from tests.events.test_log_async import make
from tests.events.world import ns


async def take(events: Any, count: int) -> list[Any]:
    """The next so many events."""
    found: list[Any] = []
    while len(found) < count:
        async for event in events:
            found.append(event)
            break
    return found


@pytest.mark.everywhere
async def test_it_catches_up_and_goes_on_with_what_comes(ahf: AsyncHoldfast):
    log = make(ahf)
    await log.append("a", ns(1, 2))
    async with log.subscribe() as events:

        async def read() -> list[tuple[str, int]]:
            return [(one.stream, one.value["n"]) for one in await take(events, 5)]

        async def append() -> None:
            await log.append("b", ns(3))
            await log.append("a", ns(4, 5))

        found, _ = await AsyncCrew.all([read, append])
    assert found == [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("a", 5)]


async def test_it_is_woken_and_does_not_ask_all_the_time(faults, namespace: str, monkeypatch):
    """Without the push it would only hear of an event at its next look, here never."""
    monkeypatch.setattr(rules, "SAFETY_POLL", 1000.0)
    async with AsyncHoldfast(faults.url, namespace=namespace) as ahf:
        log = make(ahf)
        await log.append("a", ns(1))
        async with log.subscribe() as events:
            await take(events, 1)

            async def read() -> Any:
                return (await take(events, 1))[0].value

            async def append() -> None:
                await AsyncCrew.rest(0.5)
                faults.reset_counts()
                await log.append("a", ns(2))

            value, _ = await AsyncCrew.all([read, append])
            assert value == {"n": 2}
            digest = rules.PAGE.digest.encode()
            assert len([one for one in faults.commands() if digest in one]) <= 3


async def test_it_begins_where_it_is_told_to(ahf: AsyncHoldfast):
    log = make(ahf)
    appended = await log.append("a", ns(1, 2, 3))
    async with log.subscribe(after=appended.position - 1) as events:
        (one,) = await take(events, 1)
        assert one.value == {"n": 3} and events.positions == {0: appended.position}
    async with log.subscribe(after=None) as events:

        async def read() -> Any:
            return (await take(events, 1))[0].value

        async def append() -> None:
            while not events.positions:
                await AsyncCrew.rest(0.01)
            await log.append("a", ns(4))

        value, _ = await AsyncCrew.all([read, append])
        assert value == {"n": 4}


async def test_one_of_several_partitions_or_all_of_them(ahf: AsyncHoldfast):
    log = make(ahf, partitions=3)
    streams = [f"s{number}" for number in range(9)]
    parts = {(await log.append(stream, ns(number))).partition for number, stream in enumerate(streams)}
    assert parts == {0, 1, 2}
    async with log.subscribe() as events:
        found = await take(events, 9)
        assert sorted(one.stream for one in found) == streams
        positions = events.positions
    late = await log.append("s0", ns(9))
    async with log.subscribe(after=positions) as events:
        assert [one.value["n"] for one in await take(events, 1)] == [9]
    async with log.subscribe(partition=late.partition, after=late.position - 1) as events:
        assert [one.value["n"] for one in await take(events, 1)] == [9]
    for wrong in ({"after": 5}, {"after": {7: 1}}, {"after": -1, "partition": 0}, {"partition": 3}):
        with pytest.raises(ConfigurationError):
            log.subscribe(**wrong)
    with pytest.raises(ConfigurationError, match="order of its own"):
        await take(log.all(), 1)
    with pytest.raises(ConfigurationError, match="'x'"):
        await take(log.all(after="x", partition=0), 1)


@pytest.mark.parametrize("again", [0, 3, 40])
async def test_a_history_that_was_flushed_is_told(own_server, namespace: str, again: int):
    """However many events there are by then: it must not go on in a history that it has not read."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        log = make(ahf)
        await log.append("a", ns(*range(20)))
        async with log.subscribe() as events:
            await take(events, 20)
            await ahf.execute("FLUSHALL", retry="safe")
            if again:
                await log.append("a", ns(*range(again)))
            with pytest.raises(PositionTrimmed) as told:
                await take(events, 1)
            assert (told.value.first is None) == (not again)
        first = told.value.first
        assert first is None or len(await take(log.all(after=first - 1), again)) == again


async def test_entries_of_the_log_that_somebody_deleted_are_told(ahf: AsyncHoldfast):
    log = make(ahf)
    last = (await log.append("a", ns(1, 2, 3))).position
    key = log._desk.layout.parts[0].log
    await ahf.execute("XTRIM", key, "MINID", f"{last}-0", retry="safe")
    with pytest.raises(PositionTrimmed) as told:
        await take(log.all(), 1)
    assert told.value.first == last
    assert len(await take(log.all(after=last - 1), 1)) == 1
    await ahf.execute("XTRIM", key, "MAXLEN", 0, retry="safe")
    for after in (0, last - 1):
        with pytest.raises(PositionTrimmed):
            await take(log.all(after=after), 1)
    with pytest.raises(PositionTrimmed):
        await take(log.all(after=last + 1), 1)


async def test_closing_ends_the_iteration_of_another_task(ahf: AsyncHoldfast):
    log = make(ahf)
    subscription = log.subscribe()

    async def read() -> list[Any]:
        found = []
        async for event in subscription:
            found.append(event.value["n"])
        return found

    async def close() -> None:
        await log.append("a", ns(1))
        while not subscription.positions or not subscription.positions[0]:
            await AsyncCrew.rest(0.01)
        subscription.close()
        subscription.close()

    found, _ = await AsyncCrew.all([read, close])
    assert found == [1]


async def test_it_waits_while_the_server_is_away(faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as ahf:
        log = make(ahf)
        await log.append("a", ns(1))
        async with log.subscribe() as events:
            await take(events, 1)
            faults.refuse()
            faults.cut()

            async def read() -> Any:
                return (await take(events, 1))[0].value

            async def append() -> None:
                await AsyncCrew.rest(1.0)
                faults.accept()
                await log.append("a", ns(2), expected=1)

            value, _ = await AsyncCrew.all([read, append])
            assert value == {"n": 2}


async def test_it_ends_with_the_client(server, namespace: str):
    ahf = AsyncHoldfast(server.url, namespace=namespace)
    log = make(ahf)
    subscription = log.subscribe()

    async def read() -> None:
        with pytest.raises(Closed):
            await take(subscription, 1)

    async def close() -> None:
        while not subscription.positions:
            await AsyncCrew.rest(0.01)
        await ahf.close()

    await AsyncCrew.all([read, close])
    subscription.close()
