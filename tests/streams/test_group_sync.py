# Generated from test_group_async.py by tools/unasync.py. Do not edit.
"""A group as an operator sees it: who consumes, from where; and looking into a stream without consuming."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._compat import Signal, sleep
from holdfast._coord.background import Background
from holdfast.errors import ConfigurationError, ConflictError
from holdfast.streams.options import Backoff
from tests.streams.hands import hands, ids


def _until(look, is_so):
    """What `look` returns once `is_so`."""
    signal, found = Signal(), None
    for _ in range(400):
        found = look()
        if is_so(found):
            return found
        signal.wait(0.05)
    raise AssertionError(found)


def _end(run: Background) -> None:
    signal = Signal()
    for _ in range(400):
        if not run.alive:
            return
        signal.wait(0.05)
    raise AssertionError("it goes on")


@pytest.mark.parametrize("topology", ["single", "cluster"])
def test_members_tell_who_consumes_where(hf: Holdfast):
    """Without it nobody could find the process that has a message."""
    stream = hf.stream("orders", partitions=2)
    begun, go_on = Signal(), Signal()

    @stream.subscriber(group="billing", lease="20s")
    def bill(value: int) -> None:
        begun.fire()
        go_on.wait(20)

    stream.publish(1)
    run = Background("run", hf.run)
    assert begun.wait(20)
    group = stream.group("billing")
    (one,) = _until(group.members, lambda found: found and len(found[0].partitions) == 2)
    assert (one.pid, one.partitions, one.pending) == (os.getpid(), (0, 1), 1)
    assert one.host and one.lease is not None and 0 < one.lease <= 20
    go_on.fire()
    hf.stop()
    _end(run)
    assert group.members() == []


def test_who_belongs_to_no_membership_is_seen_too(hf: Holdfast):
    """Without it what another program has taken would be in nobody's hands."""
    stream = hf.stream("orders")
    stream.publish_many(range(3))
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute(*by.take(2, "their-worker"))
    (one,) = stream.group("billing").members()
    assert one == ("their-worker", "", None, (0,), 2, None)


# --- seek ---------------------------------------------------------------------------------------------------


def _consumed(hf: Holdfast, partitions: int = 1):
    stream = hf.stream("orders", partitions=partitions)
    handled: list[int] = []

    @stream.subscriber(group="billing", retry=Backoff("20ms"), lease="5s")
    def bill(value: int) -> None:
        handled.append(value)

    published = stream.publish_many(range(6))
    hf.run(until="idle")
    assert sorted(handled) == list(range(6))
    handled.clear()
    return stream, handled, [one.id for one in published]


@pytest.mark.parametrize("topology", ["single", "cluster"])
def test_a_group_can_begin_again(hf: Holdfast):
    """Without it a bug in a handler could not be made good from the stream."""
    stream, handled, _ = _consumed(hf, partitions=3)
    assert stream.group("billing").seek("first") == 0
    assert (stream.group("billing").lag()).entries == 6
    hf.run(until="idle")
    assert sorted(handled) == list(range(6))


def test_a_group_can_go_on_from_a_message_or_a_time(hf: Holdfast):
    """Without it all of a stream would have to be handled again for the sake of its end."""
    stream, handled, published = _consumed(hf)
    group = stream.group("billing")
    group.seek(published[4])
    hf.run(until="idle")
    assert handled == [4, 5]
    handled.clear()
    group.seek(datetime.now(UTC) + timedelta(hours=1))
    stream.publish(6)
    assert (group.lag()).entries == 0
    group.seek(datetime.now(UTC) - timedelta(hours=1))
    hf.run(until="idle")
    assert handled == list(range(7))


def test_a_seek_forgets_what_is_pending_and_says_how_much(hf: Holdfast):
    """Without it what was skipped would still be delivered, or hang in the books for ever."""
    stream, handled, _ = _consumed(hf)
    by = hands(stream)
    stream.publish_many([6, 7, 8])
    hf.execute(*by.take(2))
    group = stream.group("billing")
    assert (group.lag()).pending == 2
    assert group.seek("new") == 2
    assert group.lag() == (0, True, 0.0, 0, 0.0)
    stream.publish(9)
    hf.run(until="idle")
    assert handled == [9]


def test_a_retry_that_waits_is_forgotten_with_the_rest(hf: Holdfast):
    """Without it an entry before the new place would come again."""
    stream = hf.stream("orders")
    by = hands(stream)
    of = stream._desk.layout.parts[0].group("billing")
    stream.publish(1)
    hf.execute(*by.begin())
    (one,) = ids(hf.execute(*by.take(1, "~later")))
    hf.execute("ZADD", of.retries, 0, one)
    hf.execute("HSET", of.errors, one, "boom")
    assert stream.group("billing").seek("new") == 1
    assert hf.execute("EXISTS", of.retries, of.errors) == 0


def test_while_members_are_at_work_a_seek_and_a_delete_are_refused(hf: Holdfast):
    """Without it what they have at hand would be handled twice, by an operator who did not mean it."""
    stream, handled, _ = _consumed(hf)
    run = Background("run", hf.run)
    group = stream.group("billing")
    _until(group.members, lambda found: len(found) == 1)
    with pytest.raises(ConflictError, match="is at work") as told:
        group.seek("first")
    assert told.value.actual == 1 and f":{os.getpid()}:" in str(told.value)
    with pytest.raises(ConflictError, match=r"delete\(\.\.\., force=True\)"):
        group.delete()
    assert handled == []
    group.seek("first", force=True)

    def count() -> int:
        return len(set(handled))

    _until(count, lambda found: found == 6)
    hf.stop()
    _end(run)


def test_a_partition_that_is_at_work_keeps_all_from_being_moved(hf: Holdfast):
    """Without it a seek that is refused would have moved half of the group."""
    stream = hf.stream("orders", partitions=2)
    stream.publish_many(range(4))
    group = stream.group("billing")
    group.seek("first")
    later = hf.execute("TIME")
    part = stream._desk.layout.parts[1]
    hf.execute("ZADD", part.group("billing").members, (int(later[0]) + 60) * 1000, "somebody")
    with pytest.raises(ConflictError, match="somebody"):
        group.seek("new")
    with pytest.raises(ConflictError, match="somebody"):
        group.delete()
    assert (group.lag()).entries == 4


def test_who_comes_between_the_look_and_the_request_is_seen(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it a worker that starts just then would lose what it has at hand, unasked."""
    stream = hf.stream("orders")
    stream.publish_many(range(4))
    group = stream.group("billing")
    group.seek("first")
    members, now = group.members, hf.execute("TIME")

    def late():
        found = members()
        key = stream._desk.layout.parts[0].group("billing").members
        hf.execute("ZADD", key, (int(now[0]) + 60) * 1000, "somebody")
        return found

    for act in (lambda: group.seek("new"), group.delete):
        hf.execute("UNLINK", stream._desk.layout.parts[0].group("billing").members)
        monkeypatch.setattr(group, "members", late)
        with pytest.raises(ConflictError, match="somebody"):
            act()
    assert (group.lag()).entries == 4


def test_what_was_at_hand_when_a_seek_was_forced_does_not_count(hf: Holdfast):
    """Without it a late acknowledgement would take an entry out of the group that is to handle it again."""
    stream = hf.stream("orders")
    begun = Signal()
    handled, lost = [], []

    @stream.subscriber(group="billing", lease="60s")
    def bill(value: int, message) -> None:
        handled.append(message.deliveries)
        if len(handled) == 1:
            begun.fire()
            try:
                for _ in range(400):
                    if message.lost.is_set():
                        break
                    sleep(0.05)
            finally:
                lost.append(message.lost.is_set())

    stream.publish(1)
    run = Background("run", hf.run)
    assert begun.wait(20)
    assert stream.group("billing").seek("first", force=True) == 1

    def times() -> int:
        return len(handled)

    _until(times, lambda found: found == 2)
    hf.stop()
    _end(run)
    assert (handled, lost) == ([1, 1], [True])  # and it was told at once, not at its next renewal
    assert stream.group("billing").lag() == (0, True, 0.0, 0, 0.0)


def test_a_repeated_request_to_seek_does_nothing(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Without it a lost reply would have messages of after the first request handled twice."""
    stream, _, _ = _consumed(hf)
    by = hands(stream)
    group = stream.group("billing")
    run = group._desk.wire.run

    def twice(script, keys, args, **more):
        answer = run(script, keys, args, **more)
        if script.name == "streams/seek":
            hf.execute(*by.take(2))
            assert run(script, keys, args, **more) == answer
        return answer

    monkeypatch.setattr(group._desk.wire, "run", twice)
    group.seek("first")
    assert (group.lag())[:4:3] == (4, 2)


def test_a_group_that_was_lost_after_a_seek_goes_on_from_there(hf: Holdfast):
    """Without it healing would take it back to where it was before."""
    stream, handled, _ = _consumed(hf)
    by = hands(stream)
    stream.group("billing").seek("new")
    hf.execute("XGROUP", "DESTROY", by.stream, by.group)
    stream.publish(6)
    hf.run(until="idle")
    assert handled == [6]


@pytest.mark.parametrize("wrong", ["last", "", None, 5, "1-2-3", datetime.fromisoformat("2026-01-01")])
def test_a_place_that_is_none_is_refused(hf: Holdfast, wrong):
    """Without it a typing error would move a group."""
    with pytest.raises(ConfigurationError, match="seek"):
        hf.stream("orders").group("billing").seek(wrong)


# --- delete -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["single", "cluster"])
def test_delete_leaves_nothing_of_a_group(hf: Holdfast):
    """Without it a group that nobody runs any more would hold the retention for ever."""
    stream = hf.stream("orders", partitions=2)

    @stream.subscriber(group="billing", max_deliveries=1)
    def bill(value: int) -> None:
        raise ValueError(value)

    @stream.subscriber(group="mail")
    def mail(value: int) -> None: ...

    stream.publish_many(range(4))
    hf.run(until="idle")
    assert stream.dead_letters("billing").count() == 4
    stream.group("billing").delete()
    stream.group("billing").delete()
    assert (stream.info()).groups == ("mail",)
    for part in stream._desk.layout.parts:
        of = part.group("billing")
        for key in (of.members, of.retries, of.errors, of.dead, of.saved, of.turns):
            assert hf.execute("EXISTS", key) == 0


# --- looking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["single", "cluster"])
def test_read_looks_without_consuming(hf: Holdfast):
    """Without it whoever looks would have to take."""
    stream = hf.stream("orders", partitions=3)
    for value in range(6):
        stream.publish(value, key=f"k{value}", id=f"d{value}", headers={"h": str(value)})
        sleep(0.003)  # entries of one millisecond have no order over partitions
    found = stream.read()
    assert [one.value for one in found] == list(range(6))
    one = found[3]
    assert (one.key, one.dedup_id, one.headers, one.error) == ("k3", "d3", {"h": "3"}, "")
    assert abs(one.published_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert [one.value for one in stream.read(limit=2)] == [0, 1]
    assert [one.value for one in stream.read(limit=2, reverse=True)] == [5, 4]
    assert (stream.info()).groups == ()


def test_read_pages_forth_and_back(hf: Holdfast):
    """Without it only the ends of a stream could be seen."""
    stream = hf.stream("orders")
    published = [one.id for one in stream.publish_many(range(5))]
    assert [one.value for one in stream.read(published[1], published[4])] == [2, 3]
    assert [one.value for one in stream.read(until=published[2], reverse=True)] == [1, 0]
    assert stream.read(datetime.now(UTC) + timedelta(hours=1)) == []
    assert (
        len(stream.read(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)))
        == 5
    )
    assert len(stream.read(partition=0)) == 5
    mistakes: list[dict[str, Any]] = [{"limit": 0}, {"partition": 1}, {"after": "x"}, {"until": "1-2-3"}]
    for wrong in mistakes:
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            stream.read(**wrong)


def test_what_cannot_be_read_says_why(hf: Holdfast):
    """Without it one entry of another program would hide all that stand behind it."""
    stream = hf.stream("orders", type=int)
    hf.execute("XADD", hands(stream).stream, "*", "theirs", "x")
    stream.publish(1)
    first, second = stream.read()
    assert first.value is None and "CodecError" in first.error
    assert (second.value, second.error) == (1, "")


def test_info_tells_what_is_there(hf: Holdfast):
    """Without it nobody would know what a stream costs, or who reads it."""
    stream = hf.stream("orders", partitions=2)
    empty = stream.info()
    assert empty[:5] == (0, 0, 0.0, 0, ())
    stream.publish_many([b"x" * 1000] * 4)
    stream.publish(b"", delay="1h")
    hf.execute(*hands(stream).begin())
    found = stream.info()
    assert (found.entries, found.delayed, found.groups) == (4, 1, ("billing",))
    assert found.bytes is not None and found.bytes > 4000 and 0 <= found.age < 60
    assert [one.entries for one in found.partitions] == [2, 2]
    assert [one.groups for one in found.partitions] == [("billing",), ()]
