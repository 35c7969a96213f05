# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""A group as an operator sees it: who consumes, from where; and looking into a stream without consuming."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import AsyncHoldfast
from holdfast._compat import ASignal, asleep
from holdfast._coord.background import AsyncBackground
from holdfast.errors import ConfigurationError, ConflictError
from holdfast.streams.options import Backoff
from tests.streams.hands import hands, ids


async def _until(look, is_so):
    """What `look` returns once `is_so`."""
    signal, found = ASignal(), None
    for _ in range(400):
        found = await look()
        if is_so(found):
            return found
        await signal.wait(0.05)
    raise AssertionError(found)


async def _end(run: AsyncBackground) -> None:
    signal = ASignal()
    for _ in range(400):
        if not run.alive:
            return
        await signal.wait(0.05)
    raise AssertionError("it goes on")


@pytest.mark.parametrize("topology", ["single", "cluster"])
async def test_members_tell_who_consumes_where(ahf: AsyncHoldfast):
    """Without it nobody could find the process that has a message."""
    stream = ahf.stream("orders", partitions=2)
    begun, go_on = ASignal(), ASignal()

    @stream.subscriber(group="billing", lease="20s")
    async def bill(value: int) -> None:
        begun.fire()
        await go_on.wait(20)

    await stream.publish(1)
    run = AsyncBackground("run", ahf.run)
    assert await begun.wait(20)
    group = stream.group("billing")
    (one,) = await _until(group.members, lambda found: found and len(found[0].partitions) == 2)
    assert (one.pid, one.partitions, one.pending) == (os.getpid(), (0, 1), 1)
    assert one.host and one.lease is not None and 0 < one.lease <= 20
    go_on.fire()
    ahf.stop()
    await _end(run)
    assert await group.members() == []


async def test_who_belongs_to_no_membership_is_seen_too(ahf: AsyncHoldfast):
    """Without it what another program has taken would be in nobody's hands."""
    stream = ahf.stream("orders")
    await stream.publish_many(range(3))
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute(*by.take(2, "their-worker"))
    (one,) = await stream.group("billing").members()
    assert one == ("their-worker", "", None, (0,), 2, None)


# --- seek ---------------------------------------------------------------------------------------------------


async def _consumed(ahf: AsyncHoldfast, partitions: int = 1):
    stream = ahf.stream("orders", partitions=partitions)
    handled: list[int] = []

    @stream.subscriber(group="billing", retry=Backoff("20ms"), lease="5s")
    async def bill(value: int) -> None:
        handled.append(value)

    published = await stream.publish_many(range(6))
    await ahf.run(until="idle")
    assert sorted(handled) == list(range(6))
    handled.clear()
    return stream, handled, [one.id for one in published]


@pytest.mark.parametrize("topology", ["single", "cluster"])
async def test_a_group_can_begin_again(ahf: AsyncHoldfast):
    """Without it a bug in a handler could not be made good from the stream."""
    stream, handled, _ = await _consumed(ahf, partitions=3)
    assert await stream.group("billing").seek("first") == 0
    assert (await stream.group("billing").lag()).entries == 6
    await ahf.run(until="idle")
    assert sorted(handled) == list(range(6))


async def test_a_group_can_go_on_from_a_message_or_a_time(ahf: AsyncHoldfast):
    """Without it all of a stream would have to be handled again for the sake of its end."""
    stream, handled, published = await _consumed(ahf)
    group = stream.group("billing")
    await group.seek(published[4])
    await ahf.run(until="idle")
    assert handled == [4, 5]
    handled.clear()
    await group.seek(datetime.now(UTC) + timedelta(hours=1))
    await stream.publish(6)
    assert (await group.lag()).entries == 0
    await group.seek(datetime.now(UTC) - timedelta(hours=1))
    await ahf.run(until="idle")
    assert handled == list(range(7))


async def test_a_seek_forgets_what_is_pending_and_says_how_much(ahf: AsyncHoldfast):
    """Without it what was skipped would still be delivered, or hang in the books for ever."""
    stream, handled, _ = await _consumed(ahf)
    by = hands(stream)
    await stream.publish_many([6, 7, 8])
    await ahf.execute(*by.take(2))
    group = stream.group("billing")
    assert (await group.lag()).pending == 2
    assert await group.seek("new") == 2
    assert await group.lag() == (0, True, 0.0, 0, 0.0)
    await stream.publish(9)
    await ahf.run(until="idle")
    assert handled == [9]


async def test_a_retry_that_waits_is_forgotten_with_the_rest(ahf: AsyncHoldfast):
    """Without it an entry before the new place would come again."""
    stream = ahf.stream("orders")
    by = hands(stream)
    of = stream._desk.layout.parts[0].group("billing")
    await stream.publish(1)
    await ahf.execute(*by.begin())
    (one,) = ids(await ahf.execute(*by.take(1, "~later")))
    await ahf.execute("ZADD", of.retries, 0, one)
    await ahf.execute("HSET", of.errors, one, "boom")
    assert await stream.group("billing").seek("new") == 1
    assert await ahf.execute("EXISTS", of.retries, of.errors) == 0


async def test_while_members_are_at_work_a_seek_and_a_delete_are_refused(ahf: AsyncHoldfast):
    """Without it what they have at hand would be handled twice, by an operator who did not mean it."""
    stream, handled, _ = await _consumed(ahf)
    run = AsyncBackground("run", ahf.run)
    group = stream.group("billing")
    await _until(group.members, lambda found: len(found) == 1)
    with pytest.raises(ConflictError, match="is at work") as told:
        await group.seek("first")
    assert told.value.actual == 1 and f":{os.getpid()}:" in str(told.value)
    with pytest.raises(ConflictError, match=r"delete\(\.\.\., force=True\)"):
        await group.delete()
    assert handled == []
    await group.seek("first", force=True)

    async def count() -> int:
        return len(set(handled))

    await _until(count, lambda found: found == 6)
    ahf.stop()
    await _end(run)


async def test_a_partition_that_is_at_work_keeps_all_from_being_moved(ahf: AsyncHoldfast):
    """Without it a seek that is refused would have moved half of the group."""
    stream = ahf.stream("orders", partitions=2)
    await stream.publish_many(range(4))
    group = stream.group("billing")
    await group.seek("first")
    later = await ahf.execute("TIME")
    part = stream._desk.layout.parts[1]
    await ahf.execute("ZADD", part.group("billing").members, (int(later[0]) + 60) * 1000, "somebody")
    with pytest.raises(ConflictError, match="somebody"):
        await group.seek("new")
    with pytest.raises(ConflictError, match="somebody"):
        await group.delete()
    assert (await group.lag()).entries == 4


async def test_who_comes_between_the_look_and_the_request_is_seen(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it a worker that starts just then would lose what it has at hand, unasked."""
    stream = ahf.stream("orders")
    await stream.publish_many(range(4))
    group = stream.group("billing")
    await group.seek("first")
    members, now = group.members, await ahf.execute("TIME")

    async def late():
        found = await members()
        key = stream._desk.layout.parts[0].group("billing").members
        await ahf.execute("ZADD", key, (int(now[0]) + 60) * 1000, "somebody")
        return found

    for act in (lambda: group.seek("new"), group.delete):
        await ahf.execute("UNLINK", stream._desk.layout.parts[0].group("billing").members)
        monkeypatch.setattr(group, "members", late)
        with pytest.raises(ConflictError, match="somebody"):
            await act()
    assert (await group.lag()).entries == 4


async def test_what_was_at_hand_when_a_seek_was_forced_does_not_count(ahf: AsyncHoldfast):
    """Without it a late acknowledgement would take an entry out of the group that is to handle it again."""
    stream = ahf.stream("orders")
    begun = ASignal()
    handled, lost = [], []

    @stream.subscriber(group="billing", lease="60s")
    async def bill(value: int, message) -> None:
        handled.append(message.deliveries)
        if len(handled) == 1:
            begun.fire()
            try:
                for _ in range(400):
                    if message.lost.is_set():
                        break
                    await asleep(0.05)
            finally:
                lost.append(message.lost.is_set())

    await stream.publish(1)
    run = AsyncBackground("run", ahf.run)
    assert await begun.wait(20)
    assert await stream.group("billing").seek("first", force=True) == 1

    async def times() -> int:
        return len(handled)

    await _until(times, lambda found: found == 2)
    ahf.stop()
    await _end(run)
    assert (handled, lost) == ([1, 1], [True])  # and it was told at once, not at its next renewal
    assert await stream.group("billing").lag() == (0, True, 0.0, 0, 0.0)


async def test_a_repeated_request_to_seek_does_nothing(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Without it a lost reply would have messages of after the first request handled twice."""
    stream, _, _ = await _consumed(ahf)
    by = hands(stream)
    group = stream.group("billing")
    run = group._desk.wire.run

    async def twice(script, keys, args, **more):
        answer = await run(script, keys, args, **more)
        if script.name == "streams/seek":
            await ahf.execute(*by.take(2))
            assert await run(script, keys, args, **more) == answer
        return answer

    monkeypatch.setattr(group._desk.wire, "run", twice)
    await group.seek("first")
    assert (await group.lag())[:4:3] == (4, 2)


async def test_a_group_that_was_lost_after_a_seek_goes_on_from_there(ahf: AsyncHoldfast):
    """Without it healing would take it back to where it was before."""
    stream, handled, _ = await _consumed(ahf)
    by = hands(stream)
    await stream.group("billing").seek("new")
    await ahf.execute("XGROUP", "DESTROY", by.stream, by.group)
    await stream.publish(6)
    await ahf.run(until="idle")
    assert handled == [6]


@pytest.mark.parametrize("wrong", ["last", "", None, 5, "1-2-3", datetime.fromisoformat("2026-01-01")])
async def test_a_place_that_is_none_is_refused(ahf: AsyncHoldfast, wrong):
    """Without it a typing error would move a group."""
    with pytest.raises(ConfigurationError, match="seek"):
        await ahf.stream("orders").group("billing").seek(wrong)


# --- delete -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["single", "cluster"])
async def test_delete_leaves_nothing_of_a_group(ahf: AsyncHoldfast):
    """Without it a group that nobody runs any more would hold the retention for ever."""
    stream = ahf.stream("orders", partitions=2)

    @stream.subscriber(group="billing", max_deliveries=1)
    async def bill(value: int) -> None:
        raise ValueError(value)

    @stream.subscriber(group="mail")
    async def mail(value: int) -> None: ...

    await stream.publish_many(range(4))
    await ahf.run(until="idle")
    assert await stream.dead_letters("billing").count() == 4
    await stream.group("billing").delete()
    await stream.group("billing").delete()
    assert (await stream.info()).groups == ("mail",)
    for part in stream._desk.layout.parts:
        of = part.group("billing")
        for key in (of.members, of.retries, of.errors, of.dead, of.saved, of.turns):
            assert await ahf.execute("EXISTS", key) == 0


# --- looking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["single", "cluster"])
async def test_read_looks_without_consuming(ahf: AsyncHoldfast):
    """Without it whoever looks would have to take."""
    stream = ahf.stream("orders", partitions=3)
    for value in range(6):
        await stream.publish(value, key=f"k{value}", id=f"d{value}", headers={"h": str(value)})
        await asleep(0.003)  # entries of one millisecond have no order over partitions
    found = await stream.read()
    assert [one.value for one in found] == list(range(6))
    one = found[3]
    assert (one.key, one.dedup_id, one.headers, one.error) == ("k3", "d3", {"h": "3"}, "")
    assert abs(one.published_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert [one.value for one in await stream.read(limit=2)] == [0, 1]
    assert [one.value for one in await stream.read(limit=2, reverse=True)] == [5, 4]
    assert (await stream.info()).groups == ()


async def test_read_pages_forth_and_back(ahf: AsyncHoldfast):
    """Without it only the ends of a stream could be seen."""
    stream = ahf.stream("orders")
    published = [one.id for one in await stream.publish_many(range(5))]
    assert [one.value for one in await stream.read(published[1], published[4])] == [2, 3]
    assert [one.value for one in await stream.read(until=published[2], reverse=True)] == [1, 0]
    assert await stream.read(datetime.now(UTC) + timedelta(hours=1)) == []
    assert (
        len(await stream.read(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)))
        == 5
    )
    assert len(await stream.read(partition=0)) == 5
    mistakes: list[dict[str, Any]] = [{"limit": 0}, {"partition": 1}, {"after": "x"}, {"until": "1-2-3"}]
    for wrong in mistakes:
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            await stream.read(**wrong)


async def test_what_cannot_be_read_says_why(ahf: AsyncHoldfast):
    """Without it one entry of another program would hide all that stand behind it."""
    stream = ahf.stream("orders", type=int)
    await ahf.execute("XADD", hands(stream).stream, "*", "theirs", "x")
    await stream.publish(1)
    first, second = await stream.read()
    assert first.value is None and "CodecError" in first.error
    assert (second.value, second.error) == (1, "")


async def test_info_tells_what_is_there(ahf: AsyncHoldfast):
    """Without it nobody would know what a stream costs, or who reads it."""
    stream = ahf.stream("orders", partitions=2)
    empty = await stream.info()
    assert empty[:5] == (0, 0, 0.0, 0, ())
    await stream.publish_many([b"x" * 1000] * 4)
    await stream.publish(b"", delay="1h")
    await ahf.execute(*hands(stream).begin())
    found = await stream.info()
    assert (found.entries, found.delayed, found.groups) == (4, 1, ("billing",))
    assert found.bytes is not None and found.bytes > 4000 and 0 <= found.age < 60
    assert [one.entries for one in found.partitions] == [2, 2]
    assert [one.groups for one in found.partitions] == [("billing",), ()]
