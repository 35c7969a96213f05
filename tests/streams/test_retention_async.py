# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What is kept, and what is not: nothing that a group has not read or not acknowledged is removed."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast
from holdfast._compat import ASignal, asleep
from holdfast._coord.background import AsyncBackground
from holdfast.errors import Closed, NoPermission, Unavailable
from holdfast.streams import books
from holdfast.streams._stream_async import AsyncStream
from holdfast.streams._tidy_async import AsyncTidy
from holdfast.streams.options import Retention
from holdfast.streams.rules import ConsumerStumbled
from tests.streams.hands import hands, ids, listen


async def _kept(ahf: AsyncHoldfast, stream) -> list[str]:
    return [id.decode() for id, _ in await ahf.execute("XRANGE", hands(stream).stream, "-", "+")]


async def _filled(
    ahf: AsyncHoldfast, retention: Retention | None, count: int
) -> tuple[AsyncStream[Any], list[str]]:
    stream = ahf.stream("orders", retention=retention)
    return stream, [one.id for one in await stream.publish_many(range(count))]


async def _tidy(stream, group: str = "", lease: float = 0.0) -> bool:
    return await AsyncTidy(stream._desk, group, lease).part(stream._desk.layout.parts[0])


# --- limits -------------------------------------------------------------------------------------------------


async def test_what_nobody_waits_for_is_removed_beyond_the_limit(ahf: AsyncHoldfast):
    """Without it a stream would grow for ever."""
    stream, published = await _filled(ahf, Retention.limits(max_entries=10), 350)
    assert await _tidy(stream) is False
    assert await _kept(ahf, stream) == published[-10:]


async def test_max_entries_keeps_what_a_group_has_not_read(ahf: AsyncHoldfast):
    """Without it a slow group would lose messages: what Redis does by itself."""
    stream, published = await _filled(ahf, Retention.limits(max_entries=10), 50)
    by = hands(stream)
    await ahf.execute(*by.begin())
    ear = listen(ahf)
    await _tidy(stream)
    assert await _kept(ahf, stream) == published
    taken = ids(await ahf.execute(*by.take(30)))
    await _tidy(stream)
    assert await _kept(ahf, stream) == published
    await ahf.execute(*by.done(*taken[:5], *taken[6:]))
    await _tidy(stream)
    assert await _kept(ahf, stream) == published[5:]
    await ahf.execute(*by.done(taken[5]))
    await _tidy(stream)
    assert await _kept(ahf, stream) == published[30:]
    held = ear.of(books.RetentionHeld)
    assert {(one.stream, one.group, one.partition) for one in held} == {("orders", "billing", 0)}


async def test_the_slowest_of_several_groups_decides_and_is_named(ahf: AsyncHoldfast):
    """Without it the operator would look at the wrong one."""
    stream, published = await _filled(ahf, Retention.limits(max_entries=1), 20)
    for group, read in (("fast", 20), ("slow", 4), ("middle", 10)):
        by = hands(stream, group)
        await ahf.execute(*by.begin())
        await ahf.execute(*by.done(*ids(await ahf.execute(*by.take(read)))))
    ear = listen(ahf)
    tidy = AsyncTidy(stream._desk)
    for _ in range(3):
        await tidy.part(stream._desk.layout.parts[0])
    assert await _kept(ahf, stream) == published[4:]
    assert [one.group for one in ear.of(books.RetentionHeld)] == ["slow"]  # told once, not three times


async def test_max_age_keeps_what_is_young_or_unread(ahf: AsyncHoldfast):
    """Without it either old messages stayed for ever, or a group lost what it had not seen."""
    stream, published = await _filled(ahf, Retention.limits(max_age="50ms"), 150)
    by = hands(stream)
    await ahf.execute(*by.begin(published[99]))
    await asleep(0.1)
    young = await stream.publish(150)
    ear = listen(ahf)
    await _tidy(stream)
    assert await _kept(ahf, stream) == [*published[100:], young.id]
    assert [one.group for one in ear.of(books.RetentionHeld)] == ["billing"]
    await ahf.execute(*by.done(*ids(await ahf.execute(*by.take(100)))))
    await _tidy(stream)
    assert (await _kept(ahf, stream))[-1:] in ([young.id], [])
    assert published[149] not in await _kept(ahf, stream)


async def test_max_bytes_is_kept_to_about(ahf: AsyncHoldfast):
    """Without it large messages would fill the memory though they are few."""
    stream = ahf.stream("orders", retention=Retention.limits(max_bytes="200KB"))
    published = await stream.publish_many([b"x" * 1000] * 1000)
    await _tidy(stream)
    kept = await _kept(ahf, stream)
    assert 100 < len(kept) < 220 and kept[-1] == published[-1].id


async def test_drop_unread_removes_what_nobody_has_read(ahf: AsyncHoldfast):
    """Without it metrics and the like could not be had at a fixed size."""
    stream, published = await _filled(ahf, Retention.limits(max_entries=10, drop_unread=True), 50)
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute(*by.take(5))
    ear = listen(ahf)
    await _tidy(stream)
    assert await _kept(ahf, stream) == published[-10:]
    assert ear.of(books.RetentionHeld) == []
    handled = []

    @stream.subscriber(group="billing", lease="200ms")
    async def bill(value: int) -> None:
        handled.append(value)

    await ahf.run(until="idle")  # what was pending is gone, and does not hang
    assert handled == list(range(40, 50))


# --- interest, work queue, everything -----------------------------------------------------------------------


async def test_interest_removes_what_every_group_has_acknowledged(ahf: AsyncHoldfast):
    """Without it one group would take messages away from another."""
    stream, published = await _filled(ahf, Retention.interest(), 20)
    await _tidy(stream)
    assert await _kept(ahf, stream) == published  # nobody has acknowledged anything
    for group, read in (("one", 20), ("two", 7)):
        by = hands(stream, group)
        await ahf.execute(*by.begin())
        await ahf.execute(*by.done(*ids(await ahf.execute(*by.take(read)))))
    await _tidy(stream)
    assert await _kept(ahf, stream) == published[7:]
    by = hands(stream, "two")
    await ahf.execute(*by.done(*ids(await ahf.execute(*by.take(20)))))
    await _tidy(stream)
    assert await _kept(ahf, stream) == []


async def test_a_work_queue_loses_what_another_program_has_acknowledged(ahf: AsyncHoldfast):
    """Without it what is acknowledged by a bare XACK would stay for ever."""
    stream, published = await _filled(ahf, Retention.work_queue(), 5)
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute(*by.done(*ids(await ahf.execute(*by.take(3)))))
    await _tidy(stream)
    assert await _kept(ahf, stream) == published[3:]


async def test_without_a_retention_everything_is_kept(ahf: AsyncHoldfast):
    """Without it a stream that is a history would lose it."""
    stream, published = await _filled(ahf, None, 20)
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute(*by.done(*ids(await ahf.execute(*by.take(20)))))
    await _tidy(stream, "billing", 1.0)
    assert await _kept(ahf, stream) == published


async def test_a_step_is_bounded_and_says_that_there_is_more(ahf: AsyncHoldfast):
    """Without it the first step after a long time would hold up everybody."""
    stream = ahf.stream("orders", retention=Retention.limits(max_entries=1))
    for _ in range(12):
        await stream._desk.wire.execute_many(
            [("XADD", hands(stream).stream, "*", "data", "x")] * 1000, timeout=20
        )
    steps = 1
    while await _tidy(stream):
        steps += 1
    assert steps == 2 and len(await _kept(ahf, stream)) == 1
    for _ in range(3):
        await stream._desk.wire.execute_many(
            [("XADD", hands(stream).stream, "*", "data", "x")] * 1000, timeout=20
        )
    await ahf.execute(*hands(stream).begin("$"))
    await stream.publish(1)  # unread: now a group stands in between, and entries are counted
    steps = 1
    while await _tidy(stream):
        steps += 1
    assert steps == 4 and len(await _kept(ahf, stream)) == 1


# --- who does it --------------------------------------------------------------------------------------------


async def test_a_publisher_tidies_up_from_time_to_time(ahf: AsyncHoldfast):
    """Without it a stream that nobody consumes would grow for ever."""
    stream = ahf.stream("orders", retention=Retention.limits(max_entries=10))
    await stream.publish_many(range(2500))
    assert len(await _kept(ahf, stream)) <= 510
    await stream.publish_many(range(500))
    assert len(await _kept(ahf, stream)) == 10


@pytest.mark.parametrize("error", [Closed, Unavailable, NoPermission])
async def test_what_is_published_is_published_though_nobody_can_tidy_up(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch, error
):
    """Without it a publish would fail that has happened, and be repeated."""
    stream = ahf.stream("orders", retention=Retention.limits(max_entries=1))
    run, asked = stream._desk.wire.run, []

    async def refusing(script, *args, **more):
        if script.name == "streams/tidy":
            asked.append(script)
            raise error("no")
        return await run(script, *args, **more)

    monkeypatch.setattr(stream._desk.wire, "run", refusing)
    monkeypatch.setattr(books, "MANY", 1)
    assert (await stream.publish(1)).duplicate is False
    assert len(await stream.publish_many([2, 3])) == 2
    assert len(asked) == 2 and len(await _kept(ahf, stream)) == 3


async def test_a_consumer_tidies_up_beside_its_work(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Without it only a publisher would, who may be another program."""
    monkeypatch.setattr(books, "SELDOM", 0.05)
    monkeypatch.setattr(books, "OFTEN", 0.05)
    stream = ahf.stream("orders", retention=Retention.interest())

    @stream.subscriber(group="billing")
    async def bill(value: int) -> None: ...

    await stream.publish_many(range(5))
    run = AsyncBackground("run", ahf.run)
    for _ in range(400):
        if not await _kept(ahf, stream):
            break
        await asleep(0.02)
    ahf.stop()
    while run.alive:
        await asleep(0.01)
    assert await _kept(ahf, stream) == []


async def test_what_the_server_refuses_is_told_and_harms_nobody(ahf: AsyncHoldfast):
    """Without it a missing right would keep messages from being published, or go unseen."""
    stream = ahf.stream("orders", retention=Retention.limits(max_entries=1))
    part = stream._desk.layout.parts[0]
    await ahf.execute("SET", part.stream, "not a stream")
    ear = listen(ahf)
    tidy = AsyncTidy(stream._desk)
    assert [await tidy.part(part) for _ in range(2)] == [False, False]
    (told,) = ear.of(ConsumerStumbled)
    assert "WRONGTYPE" in told.cause


async def test_a_group_begins_in_all_partitions_though_it_may_wait_for_some(ahf: AsyncHoldfast):
    """Without it what another group has acknowledged would be removed before this one has seen it."""
    stream = ahf.stream("orders", partitions=2, retention=Retention.interest())
    one, other = stream._desk.layout.parts
    await stream.publish_many(range(4))
    by = hands(stream, "quick")._replace(stream=other.stream)
    await ahf.execute(*by.begin())
    now = await ahf.execute("TIME")
    await ahf.execute("ZADD", other.group("billing").members, (int(now[0]) + 60) * 1000, "somebody")
    begun = ASignal()

    @stream.subscriber(group="billing", order="partition")
    async def bill(value: int) -> None:
        begun.fire()

    run = AsyncBackground("run", ahf.run)
    assert await begun.wait(20)
    await ahf.execute(*by.done(*ids(await ahf.execute(*by.take(10)))))
    await AsyncTidy(stream._desk).part(other)
    assert len(await stream.read(partition=1)) == 2
    assert (await stream.group("billing").lag()).entries >= 2
    ahf.stop()
    while run.alive:
        await asleep(0.01)


# --- the books of a group -----------------------------------------------------------------------------------


async def test_how_far_all_is_acknowledged_is_saved(ahf: AsyncHoldfast):
    """Without it a lost group would begin with its first entry, or lose what it had pending."""
    stream, published = await _filled(ahf, None, 10)
    by = hands(stream)
    saved = stream._desk.layout.parts[0].group("billing").saved

    async def read() -> str:
        await _tidy(stream, "billing", 1.0)
        return (await ahf.execute("GET", saved)).decode()

    await ahf.execute(*by.begin())
    assert await read() == "0-0"
    taken = ids(await ahf.execute(*by.take(6)))
    await ahf.execute(*by.done(*taken[:2], taken[5]))
    found = books.parsed(await read(), "saved")
    assert books.parsed(taken[1], "id") <= found < books.parsed(taken[2], "id")
    await ahf.execute(*by.done(*taken[2:5]))
    assert await read() == taken[5]
    await ahf.execute("XGROUP", "DESTROY", by.stream, by.group)
    handled = []

    @stream.subscriber(group="billing")
    async def bill(value: int) -> None:
        handled.append(value)

    await ahf.run(until="idle")
    assert handled == [6, 7, 8, 9]


@pytest.mark.parametrize(
    "first", ["5-0", "0-1", "18446744073709551615-0", "9007199254740993-18446744073709551615"]
)
async def test_the_place_before_any_id_is_found(ahf: AsyncHoldfast, first: str):
    """Without it ids of another program, beyond what Lua's numbers hold, would be mistaken."""
    stream = ahf.stream("orders")
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute("XADD", by.stream, first, "data", b"\x01")
    await ahf.execute(*by.take(1))
    await _tidy(stream, "billing", 1.0)
    saved = (await ahf.execute("GET", stream._desk.layout.parts[0].group("billing").saved)).decode()
    assert books.parsed(saved, "saved") < books.parsed(first, "first")


async def test_what_another_program_has_taken_and_left_is_taken_over(ahf: AsyncHoldfast):
    """Without it such entries would be pending for ever, and hold the retention."""
    stream, _ = await _filled(ahf, None, 3)
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute(*by.take(2))
    handled = []

    @stream.subscriber(group="billing", lease="200ms")
    async def bill(value: int, message) -> None:
        handled.append((value, message.deliveries))

    for _ in range(200):
        await ahf.run(until="idle")
        if len(handled) == 3:
            break
        await _tidy(stream, "billing", 0.05)
        await asleep(0.05)
    assert sorted(handled) == [(0, 2), (1, 2), (2, 1)]


async def test_members_that_were_lost_are_found_again(ahf: AsyncHoldfast):
    """Without it what they have would wait for somebody whom nobody knows to be dead."""
    stream, _ = await _filled(ahf, None, 3)
    by = hands(stream)
    of = stream._desk.layout.parts[0].group("billing")
    await ahf.execute(*by.begin())
    await ahf.execute(*by.take(1, "dead-one"))
    await ahf.execute(*by.take(1, "~later"))
    await _tidy(stream, "billing", 5.0)
    assert await ahf.execute("ZRANGE", of.members, 0, -1) == [b"dead-one"]
    (end,) = await ahf.execute("ZMSCORE", of.members, "dead-one")
    now = int((await ahf.execute("TIME"))[0])
    assert 0 < float(end) / 1000 - now < 10


async def test_a_member_whose_lease_runs_is_left_alone(ahf: AsyncHoldfast):
    """Without it every step would prolong the lease of the dead."""
    stream, _ = await _filled(ahf, None, 1)
    by = hands(stream)
    of = stream._desk.layout.parts[0].group("billing")
    await ahf.execute(*by.begin())
    await ahf.execute(*by.take(1, "member"))
    await ahf.execute("ZADD", of.members, 7, "member")
    await _tidy(stream, "billing", 5.0)
    assert float(await ahf.execute("ZSCORE", of.members, "member")) == 7


async def test_retries_that_nobody_knows_of_are_due_now(ahf: AsyncHoldfast):
    """Without it a lost index would keep what waits for a retry waiting for ever."""
    stream, _ = await _filled(ahf, None, 3)
    by = hands(stream)
    of = stream._desk.layout.parts[0].group("billing")
    await ahf.execute(*by.begin())
    one, two, _ = ids(await ahf.execute(*by.take(3, "~later")))
    await ahf.execute("ZADD", of.retries, 9e14, one)
    await _tidy(stream, "billing", 1.0)
    assert await ahf.execute("ZCARD", of.retries) == 3
    assert float(await ahf.execute("ZSCORE", of.retries, one)) == 9e14
    handled = []

    @stream.subscriber(group="billing")
    async def bill(value: int) -> None:
        handled.append(value)

    await ahf.execute("ZADD", of.retries, 0, one)
    await ahf.run(until="idle")
    assert sorted(handled) == [0, 1, 2]
