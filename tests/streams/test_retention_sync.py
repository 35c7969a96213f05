# Generated from test_retention_async.py by tools/unasync.py. Do not edit.
"""What is kept, and what is not: nothing that a group has not read or not acknowledged is removed."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._compat import Signal, sleep
from holdfast._coord.background import Background
from holdfast.errors import Closed, NoPermission, Unavailable
from holdfast.streams import books
from holdfast.streams._stream_sync import Stream
from holdfast.streams._tidy_sync import Tidy
from holdfast.streams.options import Retention
from holdfast.streams.rules import ConsumerStumbled
from tests.streams.hands import hands, ids, listen


def _kept(hf: Holdfast, stream) -> list[str]:
    return [id.decode() for id, _ in hf.execute("XRANGE", hands(stream).stream, "-", "+")]


def _filled(
    hf: Holdfast, retention: Retention | None, count: int
) -> tuple[Stream[Any], list[str]]:
    stream = hf.stream("orders", retention=retention)
    return stream, [one.id for one in stream.publish_many(range(count))]


def _tidy(stream, group: str = "", lease: float = 0.0) -> bool:
    return Tidy(stream._desk, group, lease).part(stream._desk.layout.parts[0])


# --- limits -------------------------------------------------------------------------------------------------


def test_what_nobody_waits_for_is_removed_beyond_the_limit(hf: Holdfast):
    """Without it a stream would grow for ever."""
    stream, published = _filled(hf, Retention.limits(max_entries=10), 350)
    assert _tidy(stream) is False
    assert _kept(hf, stream) == published[-10:]


def test_max_entries_keeps_what_a_group_has_not_read(hf: Holdfast):
    """Without it a slow group would lose messages: what Redis does by itself."""
    stream, published = _filled(hf, Retention.limits(max_entries=10), 50)
    by = hands(stream)
    hf.execute(*by.begin())
    ear = listen(hf)
    _tidy(stream)
    assert _kept(hf, stream) == published
    taken = ids(hf.execute(*by.take(30)))
    _tidy(stream)
    assert _kept(hf, stream) == published
    hf.execute(*by.done(*taken[:5], *taken[6:]))
    _tidy(stream)
    assert _kept(hf, stream) == published[5:]
    hf.execute(*by.done(taken[5]))
    _tidy(stream)
    assert _kept(hf, stream) == published[30:]
    held = ear.of(books.RetentionHeld)
    assert {(one.stream, one.group, one.partition) for one in held} == {("orders", "billing", 0)}


def test_the_slowest_of_several_groups_decides_and_is_named(hf: Holdfast):
    """Without it the operator would look at the wrong one."""
    stream, published = _filled(hf, Retention.limits(max_entries=1), 20)
    for group, read in (("fast", 20), ("slow", 4), ("middle", 10)):
        by = hands(stream, group)
        hf.execute(*by.begin())
        hf.execute(*by.done(*ids(hf.execute(*by.take(read)))))
    ear = listen(hf)
    tidy = Tidy(stream._desk)
    for _ in range(3):
        tidy.part(stream._desk.layout.parts[0])
    assert _kept(hf, stream) == published[4:]
    assert [one.group for one in ear.of(books.RetentionHeld)] == ["slow"]  # told once, not three times


def test_max_age_keeps_what_is_young_or_unread(hf: Holdfast):
    """Without it either old messages stayed for ever, or a group lost what it had not seen."""
    stream, published = _filled(hf, Retention.limits(max_age="50ms"), 150)
    by = hands(stream)
    hf.execute(*by.begin(published[99]))
    sleep(0.1)
    young = stream.publish(150)
    ear = listen(hf)
    _tidy(stream)
    assert _kept(hf, stream) == [*published[100:], young.id]
    assert [one.group for one in ear.of(books.RetentionHeld)] == ["billing"]
    hf.execute(*by.done(*ids(hf.execute(*by.take(100)))))
    _tidy(stream)
    assert (_kept(hf, stream))[-1:] in ([young.id], [])
    assert published[149] not in _kept(hf, stream)


def test_max_bytes_is_kept_to_about(hf: Holdfast):
    """Without it large messages would fill the memory though they are few."""
    stream = hf.stream("orders", retention=Retention.limits(max_bytes="200KB"))
    published = stream.publish_many([b"x" * 1000] * 1000)
    _tidy(stream)
    kept = _kept(hf, stream)
    assert 100 < len(kept) < 220 and kept[-1] == published[-1].id


def test_drop_unread_removes_what_nobody_has_read(hf: Holdfast):
    """Without it metrics and the like could not be had at a fixed size."""
    stream, published = _filled(hf, Retention.limits(max_entries=10, drop_unread=True), 50)
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute(*by.take(5))
    ear = listen(hf)
    _tidy(stream)
    assert _kept(hf, stream) == published[-10:]
    assert ear.of(books.RetentionHeld) == []
    handled = []

    @stream.subscriber(group="billing", lease="200ms")
    def bill(value: int) -> None:
        handled.append(value)

    hf.run(until="idle")  # what was pending is gone, and does not hang
    assert handled == list(range(40, 50))


# --- interest, work queue, everything -----------------------------------------------------------------------


def test_interest_removes_what_every_group_has_acknowledged(hf: Holdfast):
    """Without it one group would take messages away from another."""
    stream, published = _filled(hf, Retention.interest(), 20)
    _tidy(stream)
    assert _kept(hf, stream) == published  # nobody has acknowledged anything
    for group, read in (("one", 20), ("two", 7)):
        by = hands(stream, group)
        hf.execute(*by.begin())
        hf.execute(*by.done(*ids(hf.execute(*by.take(read)))))
    _tidy(stream)
    assert _kept(hf, stream) == published[7:]
    by = hands(stream, "two")
    hf.execute(*by.done(*ids(hf.execute(*by.take(20)))))
    _tidy(stream)
    assert _kept(hf, stream) == []


def test_a_work_queue_loses_what_another_program_has_acknowledged(hf: Holdfast):
    """Without it what is acknowledged by a bare XACK would stay for ever."""
    stream, published = _filled(hf, Retention.work_queue(), 5)
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute(*by.done(*ids(hf.execute(*by.take(3)))))
    _tidy(stream)
    assert _kept(hf, stream) == published[3:]


def test_without_a_retention_everything_is_kept(hf: Holdfast):
    """Without it a stream that is a history would lose it."""
    stream, published = _filled(hf, None, 20)
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute(*by.done(*ids(hf.execute(*by.take(20)))))
    _tidy(stream, "billing", 1.0)
    assert _kept(hf, stream) == published


def test_a_step_is_bounded_and_says_that_there_is_more(hf: Holdfast):
    """Without it the first step after a long time would hold up everybody."""
    stream = hf.stream("orders", retention=Retention.limits(max_entries=1))
    for _ in range(12):
        stream._desk.wire.execute_many(
            [("XADD", hands(stream).stream, "*", "data", "x")] * 1000, timeout=20
        )
    steps = 1
    while _tidy(stream):
        steps += 1
    assert steps == 2 and len(_kept(hf, stream)) == 1
    for _ in range(3):
        stream._desk.wire.execute_many(
            [("XADD", hands(stream).stream, "*", "data", "x")] * 1000, timeout=20
        )
    hf.execute(*hands(stream).begin("$"))
    stream.publish(1)  # unread: now a group stands in between, and entries are counted
    steps = 1
    while _tidy(stream):
        steps += 1
    assert steps == 4 and len(_kept(hf, stream)) == 1


# --- who does it --------------------------------------------------------------------------------------------


def test_a_publisher_tidies_up_from_time_to_time(hf: Holdfast):
    """Without it a stream that nobody consumes would grow for ever."""
    stream = hf.stream("orders", retention=Retention.limits(max_entries=10))
    stream.publish_many(range(2500))
    assert len(_kept(hf, stream)) <= 510
    stream.publish_many(range(500))
    assert len(_kept(hf, stream)) == 10


@pytest.mark.parametrize("error", [Closed, Unavailable, NoPermission])
def test_what_is_published_is_published_though_nobody_can_tidy_up(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch, error
):
    """Without it a publish would fail that has happened, and be repeated."""
    stream = hf.stream("orders", retention=Retention.limits(max_entries=1))
    run, asked = stream._desk.wire.run, []

    def refusing(script, *args, **more):
        if script.name == "streams/tidy":
            asked.append(script)
            raise error("no")
        return run(script, *args, **more)

    monkeypatch.setattr(stream._desk.wire, "run", refusing)
    monkeypatch.setattr(books, "MANY", 1)
    assert (stream.publish(1)).duplicate is False
    assert len(stream.publish_many([2, 3])) == 2
    assert len(asked) == 2 and len(_kept(hf, stream)) == 3


def test_a_consumer_tidies_up_beside_its_work(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Without it only a publisher would, who may be another program."""
    monkeypatch.setattr(books, "SELDOM", 0.05)
    monkeypatch.setattr(books, "OFTEN", 0.05)
    stream = hf.stream("orders", retention=Retention.interest())

    @stream.subscriber(group="billing")
    def bill(value: int) -> None: ...

    stream.publish_many(range(5))
    run = Background("run", hf.run)
    for _ in range(400):
        if not _kept(hf, stream):
            break
        sleep(0.02)
    hf.stop()
    while run.alive:
        sleep(0.01)
    assert _kept(hf, stream) == []


def test_what_the_server_refuses_is_told_and_harms_nobody(hf: Holdfast):
    """Without it a missing right would keep messages from being published, or go unseen."""
    stream = hf.stream("orders", retention=Retention.limits(max_entries=1))
    part = stream._desk.layout.parts[0]
    hf.execute("SET", part.stream, "not a stream")
    ear = listen(hf)
    tidy = Tidy(stream._desk)
    assert [tidy.part(part) for _ in range(2)] == [False, False]
    (told,) = ear.of(ConsumerStumbled)
    assert "WRONGTYPE" in told.cause


def test_a_group_begins_in_all_partitions_though_it_may_wait_for_some(hf: Holdfast):
    """Without it what another group has acknowledged would be removed before this one has seen it."""
    stream = hf.stream("orders", partitions=2, retention=Retention.interest())
    one, other = stream._desk.layout.parts
    stream.publish_many(range(4))
    by = hands(stream, "quick")._replace(stream=other.stream)
    hf.execute(*by.begin())
    now = hf.execute("TIME")
    hf.execute("ZADD", other.group("billing").members, (int(now[0]) + 60) * 1000, "somebody")
    begun = Signal()

    @stream.subscriber(group="billing", order="partition")
    def bill(value: int) -> None:
        begun.fire()

    run = Background("run", hf.run)
    assert begun.wait(20)
    hf.execute(*by.done(*ids(hf.execute(*by.take(10)))))
    Tidy(stream._desk).part(other)
    assert len(stream.read(partition=1)) == 2
    assert (stream.group("billing").lag()).entries >= 2
    hf.stop()
    while run.alive:
        sleep(0.01)


# --- the books of a group -----------------------------------------------------------------------------------


def test_how_far_all_is_acknowledged_is_saved(hf: Holdfast):
    """Without it a lost group would begin with its first entry, or lose what it had pending."""
    stream, published = _filled(hf, None, 10)
    by = hands(stream)
    saved = stream._desk.layout.parts[0].group("billing").saved

    def read() -> str:
        _tidy(stream, "billing", 1.0)
        return (hf.execute("GET", saved)).decode()

    hf.execute(*by.begin())
    assert read() == "0-0"
    taken = ids(hf.execute(*by.take(6)))
    hf.execute(*by.done(*taken[:2], taken[5]))
    found = books.parsed(read(), "saved")
    assert books.parsed(taken[1], "id") <= found < books.parsed(taken[2], "id")
    hf.execute(*by.done(*taken[2:5]))
    assert read() == taken[5]
    hf.execute("XGROUP", "DESTROY", by.stream, by.group)
    handled = []

    @stream.subscriber(group="billing")
    def bill(value: int) -> None:
        handled.append(value)

    hf.run(until="idle")
    assert handled == [6, 7, 8, 9]


@pytest.mark.parametrize(
    "first", ["5-0", "0-1", "18446744073709551615-0", "9007199254740993-18446744073709551615"]
)
def test_the_place_before_any_id_is_found(hf: Holdfast, first: str):
    """Without it ids of another program, beyond what Lua's numbers hold, would be mistaken."""
    stream = hf.stream("orders")
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute("XADD", by.stream, first, "data", b"\x01")
    hf.execute(*by.take(1))
    _tidy(stream, "billing", 1.0)
    saved = (hf.execute("GET", stream._desk.layout.parts[0].group("billing").saved)).decode()
    assert books.parsed(saved, "saved") < books.parsed(first, "first")


def test_what_another_program_has_taken_and_left_is_taken_over(hf: Holdfast):
    """Without it such entries would be pending for ever, and hold the retention."""
    stream, _ = _filled(hf, None, 3)
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute(*by.take(2))
    handled = []

    @stream.subscriber(group="billing", lease="200ms")
    def bill(value: int, message) -> None:
        handled.append((value, message.deliveries))

    for _ in range(200):
        hf.run(until="idle")
        if len(handled) == 3:
            break
        _tidy(stream, "billing", 0.05)
        sleep(0.05)
    assert sorted(handled) == [(0, 2), (1, 2), (2, 1)]


def test_members_that_were_lost_are_found_again(hf: Holdfast):
    """Without it what they have would wait for somebody whom nobody knows to be dead."""
    stream, _ = _filled(hf, None, 3)
    by = hands(stream)
    of = stream._desk.layout.parts[0].group("billing")
    hf.execute(*by.begin())
    hf.execute(*by.take(1, "dead-one"))
    hf.execute(*by.take(1, "~later"))
    _tidy(stream, "billing", 5.0)
    assert hf.execute("ZRANGE", of.members, 0, -1) == [b"dead-one"]
    (end,) = hf.execute("ZMSCORE", of.members, "dead-one")
    now = int((hf.execute("TIME"))[0])
    assert 0 < float(end) / 1000 - now < 10


def test_a_member_whose_lease_runs_is_left_alone(hf: Holdfast):
    """Without it every step would prolong the lease of the dead."""
    stream, _ = _filled(hf, None, 1)
    by = hands(stream)
    of = stream._desk.layout.parts[0].group("billing")
    hf.execute(*by.begin())
    hf.execute(*by.take(1, "member"))
    hf.execute("ZADD", of.members, 7, "member")
    _tidy(stream, "billing", 5.0)
    assert float(hf.execute("ZSCORE", of.members, "member")) == 7


def test_retries_that_nobody_knows_of_are_due_now(hf: Holdfast):
    """Without it a lost index would keep what waits for a retry waiting for ever."""
    stream, _ = _filled(hf, None, 3)
    by = hands(stream)
    of = stream._desk.layout.parts[0].group("billing")
    hf.execute(*by.begin())
    one, two, _ = ids(hf.execute(*by.take(3, "~later")))
    hf.execute("ZADD", of.retries, 9e14, one)
    _tidy(stream, "billing", 1.0)
    assert hf.execute("ZCARD", of.retries) == 3
    assert float(hf.execute("ZSCORE", of.retries, one)) == 9e14
    handled = []

    @stream.subscriber(group="billing")
    def bill(value: int) -> None:
        handled.append(value)

    hf.execute("ZADD", of.retries, 0, one)
    hf.run(until="idle")
    assert sorted(handled) == [0, 1, 2]
