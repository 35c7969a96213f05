# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Append and read. What is promised stands in holdfast.events.rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import (
    AsyncHoldfast,
    CodecError,
    ConfigurationError,
    ConflictError,
    Durability,
    NotDurable,
    OutOfMemory,
    UnsafeServer,
)
from holdfast.events import rules
from holdfast.events._log_async import AsyncEventLog
from holdfast.events.kinds import NewEvent
from holdfast.events.options import EventsOptions, NewBatch, PositionTrimmed
from tests.events.world import Paid, Placed, ns


def make(ahf: AsyncHoldfast, name: str = "orders", **options: Any) -> Any:
    return AsyncEventLog(ahf._wire, name, EventsOptions(**options))


@pytest.mark.everywhere
async def test_what_is_appended_is_read_as_it_was_in_its_order(ahf: AsyncHoldfast):
    log = make(ahf, type=Placed | Paid, partitions=3)
    assert await log.version("order-1") == 0 and await log.read("order-1") == []
    first = await log.append("order-1", [Placed("tea"), Placed("cup", 2)], expected=0)
    assert (first.first, first.last, first.duplicate) == (1, 2, False)
    second = await log.append("order-1", [Paid(500)], expected=2, headers={"by": "ann"})
    assert (second.first, second.last) == (3, 3)
    assert await log.version("order-1") == 3
    events = await log.read("order-1")
    assert [one.value for one in events] == [Placed("tea"), Placed("cup", 2), Paid(500)]
    assert [one.version for one in events] == [1, 2, 3]
    assert [one.type for one in events] == ["Placed", "Placed", "Paid"]
    assert [one.stream for one in events] == ["order-1"] * 3
    assert len({one.id for one in events}) == 3
    assert events[1].id == f"{events[0].id}:1" and dict(events[2].headers) == {"by": "ann"}
    assert abs(events[0].recorded_at - datetime.now(UTC)) < timedelta(minutes=1)
    part = events[0].partition
    everything = await collect(log.all(partition=part))
    assert everything == events
    assert [one.position for one in everything] == [second.position - 2, second.position - 1, second.position]


async def collect(events: Any) -> list[Any]:
    found = []
    async for event in events:
        found.append(event)
    return found


async def test_reading_may_begin_anywhere_and_go_backward(ahf: AsyncHoldfast):
    log = make(ahf)
    await log.append("a", ns(*range(1, 11)))

    async def versions(**how: Any) -> list[int]:
        return [one.version for one in await log.read("a", **how)]

    assert await versions(after=8) == [9, 10]
    assert await versions(after=10) == [] and await versions(after=99) == []
    assert await versions(after=2, limit=3) == [3, 4, 5]
    assert await versions(limit=0) == []
    assert await versions(backward=True, limit=2) == [10, 9]
    assert await versions(backward=True, after=8) == [10, 9]
    assert await versions(backward=True, after=10) == []
    assert await versions(backward=True) == list(range(10, 0, -1))


async def test_more_than_one_reply_is_read_to_its_end(ahf: AsyncHoldfast):
    """Without following pages a long stream would end at the size of a reply."""
    log = make(ahf)
    count = 2 * rules.SIZE
    await log.append("a", ns(*range(count)))
    await log.append("b", ns(0))
    await log.append("a", ns(count))
    assert [one.value["n"] for one in await log.read("a")] == list(range(count + 1))
    assert [one.value["n"] for one in await log.read("a", backward=True)] == list(range(count, -1, -1))
    assert len(await log.read("a", limit=rules.SIZE + 1)) == rules.SIZE + 1
    everything = [(one.stream, one.version) async for one in log.all()]
    assert everything == [("a", one + 1) for one in range(count)] + [("b", 1), ("a", count + 1)]
    assert (await log.load("a", lambda state, event: state + 1, 0)).state == count + 1


# --- expectations ------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_a_version_that_is_not_the_expected_one_is_a_conflict(ahf: AsyncHoldfast):
    log = make(ahf)
    with pytest.raises(ConflictError) as told:
        await log.append("a", ns(1), expected=1)
    assert (told.value.expected, told.value.actual) == (1, 0)
    with pytest.raises(ConflictError) as told:
        await log.append("a", ns(1), expected="exists")
    assert (told.value.expected, told.value.actual) == ("exists", 0)
    await log.append("a", ns(1), expected=0)
    with pytest.raises(ConflictError) as told:
        await log.append("a", ns(1), expected=0)
    assert (told.value.expected, told.value.actual) == (0, 1)
    await log.append("a", ns(2), expected="exists")
    await log.append("a", ns(3), expected=2)
    await log.append("a", ns(4))
    assert [one.value["n"] for one in await log.read("a")] == [1, 2, 3, 4]


async def test_a_version_counts_also_when_its_events_are_gone(ahf: AsyncHoldfast):
    """A version that was counted by the length of the stream would be given twice."""
    log = make(ahf)
    await log.append("a", ns(1, 2, 3))
    await log.snapshot("a", 6, version=3)
    assert await log.archive("a") == 3
    assert await log.version("a") == 3
    with pytest.raises(ConflictError):
        await log.append("a", ns(4), expected=0)
    assert (await log.append("a", ns(4), expected=3)).first == 4


# --- idempotence -------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_the_same_id_again_appends_nothing(ahf: AsyncHoldfast):
    log = make(ahf)
    first = await log.append("a", ns(1, 2), expected=0, id="command-1")
    await log.append("a", ns(3))
    for expected in (0, 3, None, "exists", 7):
        again = await log.append("a", ns(1, 2), expected=expected, id="command-1")
        assert again == first._replace(duplicate=True)
    assert (await log.append("b", ns(1), id="command-1")).duplicate is False  # an id is its stream's
    assert [one.value["n"] for one in await log.read("a")] == [1, 2, 3]
    assert [one.id for one in await log.read("a", limit=2)] == ["command-1", "command-1:1"]


async def test_a_repeated_request_is_known_by_its_token(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """The request of a lost reply comes again with its token, perhaps after others have appended."""
    log = make(ahf)
    await log.append("a", ns(0))
    for expected in (1, None, "exists"):
        monkeypatch.setattr("holdfast.events._desk_async.token", lambda: f"token of {expected}")
        now = await log.version("a")
        told = now if isinstance(expected, int) else expected
        first = await log.append("a", ns(1, 2), expected=told)
        monkeypatch.undo()
        await log.append("a", ns(9))
        monkeypatch.setattr("holdfast.events._desk_async.token", lambda: f"token of {expected}")
        assert await log.append("a", ns(1, 2), expected=told) == first._replace(duplicate=True)
        monkeypatch.undo()
        assert await log.version("a") == now + 3


# --- several streams ---------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_several_streams_are_appended_to_together_or_not_at_all(ahf: AsyncHoldfast):
    log = make(ahf)
    await log.append("b", ns(1))
    with pytest.raises(ConflictError) as told:
        await log.append_many([("a", ns(1), 0), NewBatch("b", ns(2), 0)])
    assert (told.value.expected, told.value.actual) == (0, 1)
    assert await log.version("a") == 0
    one, two = await log.append_many([("a", ns(1, 2), 0), ("b", ns(2), 1)], id="transfer")
    assert (one.stream, one.first, one.last, two.stream, two.first) == ("a", 1, 2, "b", 2)
    again = await log.append_many([("a", ns(1, 2), 0), ("b", ns(2), 1)], id="transfer")
    assert again == [one._replace(duplicate=True), two._replace(duplicate=True)]
    with pytest.raises(ConflictError, match="other streams"):
        await log.append_many([("a", ns(1)), ("c", ns(2))], id="transfer")
    assert [(one.stream, one.version) async for one in log.all(after=one.position - 2)] == [
        ("a", 1),
        ("a", 2),
        ("b", 2),
    ]


async def test_streams_of_several_partitions_are_refused(ahf: AsyncHoldfast):
    log = make(ahf, partitions=16)
    with pytest.raises(ConfigurationError, match="one partition"):
        await log.append_many([(f"s{number}", ns(1)) for number in range(5)])
    with pytest.raises(ConfigurationError, match="different streams"):
        await log.append_many([("a", ns(1)), ("a", ns(2))])


# --- types -------------------------------------------------------------------------------------------------


async def test_events_are_stored_under_the_names_of_the_mapping(ahf: AsyncHoldfast):
    log = make(ahf, type={"placed": Placed, "order_placed": Placed, "paid": Paid, "note": dict})
    with pytest.raises(ConfigurationError, match="placed, order_placed"):
        await log.append("a", [Placed("tea")])
    await log.append("a", [NewEvent(Placed("tea"), type="placed"), Paid(5), {"text": "x"}])
    assert [one.type for one in await log.read("a")] == ["placed", "paid", "note"]
    with pytest.raises(ConfigurationError, match="is none of them"):
        await log.append("a", ["text"])
    with pytest.raises(ConfigurationError, match="not declared"):
        await log.append("a", [NewEvent(Paid(5), type="payed")])


async def test_plain_events_may_have_any_name(ahf: AsyncHoldfast):
    log = make(ahf)
    await log.append("a", [{"n": 1}, NewEvent({"n": 2}, type="counted", headers={"by": "ann"})])
    assert [(one.type, one.value["n"], dict(one.headers)) for one in await log.read("a")] == [
        ("", 1, {}),
        ("counted", 2, {"by": "ann"}),
    ]


async def test_events_of_an_older_version_are_read_as_todays(ahf: AsyncHoldfast):
    old = make(ahf, type={"paid": dict[str, Any], "placed": Placed})
    await old.append("a", [NewEvent({"euros": 5}, type="paid"), Placed("tea")])
    new = make(
        ahf,
        type={"paid": Paid, "placed": Placed},
        version={"paid": 2},
        upcast={"paid": {1: lambda plain: {"cents": plain["euros"] * 100}}},
    )
    await new.append("a", [Paid(7)])
    assert [one.value for one in await new.read("a")] == [Paid(500), Placed("tea"), Paid(7)]
    with pytest.raises(CodecError, match="newer release"):
        await old.read("a", after=2)
    strange = make(ahf, type={"placed": Placed, "note": str})
    with pytest.raises(CodecError, match="'paid'"):
        await strange.read("a")


# --- snapshots ---------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_a_state_is_loaded_from_its_snapshot_and_the_events_after_it(ahf: AsyncHoldfast):
    log = make(ahf)
    seen: list[int] = []

    def add(state: int, event: Any) -> int:
        seen.append(event.version)
        return state + int(event.value["n"])

    assert await log.load("a", add, 0) == (0, 0, 0)
    await log.append("a", ns(1, 2, 3))
    assert await log.load("a", add, 0) == (6, 3, 3)
    await log.snapshot("a", 3, version=2)
    await log.snapshot("a", 1, version=1)  # an older one comes too late
    seen.clear()
    assert await log.load("a", add, 0) == (6, 3, 1)
    assert seen == [3]
    with pytest.raises(ConflictError) as told:
        await log.snapshot("a", 9, version=4)
    assert told.value.actual == 3


async def test_a_snapshot_that_cannot_be_read_is_ignored_or_brought_up_to_date(ahf: AsyncHoldfast):
    def add(state: int, event: Any) -> int:
        return state + int(event.value["n"])

    log = make(ahf, state=int)
    await log.append("a", ns(1, 2, 3))
    await log.snapshot("a", 1000, version=2)  # wrong, so that it shows whether it is used
    newer = make(ahf, state=int, state_version=2)
    assert await newer.load("a", add, 0) == (6, 3, 3)
    raised = make(ahf, state=int, state_version=2, state_upcast={1: lambda state: state + 1})
    assert await raised.load("a", add, 0) == (1004, 3, 1)
    other = make(ahf, state=Placed)
    assert await other.load("a", add, 0) == (6, 3, 3)
    await newer.snapshot("a", 2000, version=1)  # of another type: it takes the older one's place
    assert await newer.load("a", add, 0) == (2005, 3, 2)


async def test_loading_takes_a_snapshot_by_itself(ahf: AsyncHoldfast):
    log = make(ahf, snapshot_every=3)

    def add(state: int, event: Any) -> int:
        return state + int(event.value["n"])

    await log.append("a", ns(1, 2))
    assert await log.load("a", add, 0) == (3, 2, 2)
    await log.append("a", ns(3))
    assert await log.load("a", add, 0) == (6, 3, 3)
    assert await log.load("a", add, 0) == (6, 3, 0)


async def test_what_was_archived_is_not_skipped_in_silence(ahf: AsyncHoldfast):
    log = make(ahf)

    def add(state: int, event: Any) -> int:
        return state + int(event.value["n"])

    await log.append("a", ns(1, 2, 3))
    await log.append("b", ns(4))
    with pytest.raises(ConfigurationError, match="no snapshot"):
        await log.archive("a")
    await log.snapshot("a", 3, version=2)
    assert await log.archive("a") == 2
    assert await log.archive("a") == 0
    with pytest.raises(PositionTrimmed) as told:
        await log.read("a")
    assert (told.value.stream, told.value.after, told.value.first) == ("a", 0, 3)
    with pytest.raises(PositionTrimmed):
        await log.read("a", backward=True)
    assert [one.version for one in await log.read("a", backward=True, limit=1)] == [3]
    assert [one.version for one in await log.read("a", after=2)] == [3]
    assert await log.load("a", add, 0) == (6, 3, 1)
    with pytest.raises(PositionTrimmed) as told:
        await collect(log.all())
    skipped = told.value
    assert skipped.first is not None and skipped.first == skipped.after + 2
    assert [(one.stream, one.version) async for one in log.all(after=skipped.first)] == [("a", 3), ("b", 1)]


# --- refusals ----------------------------------------------------------------------------------------------


async def test_nonsense_is_refused_with_a_sentence(ahf: AsyncHoldfast):
    log = make(ahf)
    for wrong in (
        {"expected": -1},
        {"expected": True},
        {"expected": "some"},
        {"id": ""},
        {"headers": {"a": 1}},
    ):
        with pytest.raises(ConfigurationError):
            await log.append("a", ns(1), **wrong)
    for events in (
        [],
        "text",
        {"n": 1},
        5,
        ns(*range(rules.MOST_EVENTS + 1)),
        [b"x" * (rules.MOST_BYTES + 1)],
    ):
        with pytest.raises(ConfigurationError):
            await log.append("a", events)
    for stream in ("", 7, None, "x" * 2000, "\ud800"):
        with pytest.raises(ConfigurationError):
            await log.append(stream, ns(1))
    for how in ({"after": -1}, {"limit": -1}, {"after": "x"}):
        with pytest.raises(ConfigurationError):
            await log.read("a", **how)
    assert await log.version("a") == 0


async def test_names_may_hold_anything(ahf: AsyncHoldfast):
    log = make(ahf, name="{x}: 100 %")
    for stream in ("a:b", "{a}", "100 %", "été", "a\nb"):
        await log.append(stream, ns(1), id="{id}: 1")
        assert [one.stream for one in await log.read(stream)] == [stream]
    assert [one.stream async for one in log.all()] == ["a:b", "{a}", "100 %", "été", "a\nb"]


async def test_an_append_that_too_few_replicas_have_says_so_and_is_known_again(ahf: AsyncHoldfast):
    log = make(ahf, durability=Durability(replicas=1, within="20ms"))
    for _ in range(2):
        with pytest.raises(NotDurable):
            await log.append("a", ns(1), id="command-1")
    assert await log.version("a") == 1


async def test_a_full_server_appends_all_or_nothing(own_server, namespace: str):
    """A script that ran out of memory in the middle would leave a half of it."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        log = make(ahf)
        await log.append("a", ns(1))
        await ahf.execute("CONFIG", "SET", "maxmemory", "1mb", retry="safe")
        with pytest.raises(OutOfMemory):
            await log.append_many([("a", ns(2, 3)), ("b", ns(4))])
        assert [one.value["n"] for one in await log.read("a")] == [1]  # reading goes on
        await ahf.execute("CONFIG", "SET", "maxmemory", 0, retry="safe")
        assert await log.version("a") == 1 and await log.version("b") == 0
        assert [one.version for one in await collect(log.all())] == [1]


async def test_another_number_of_partitions_is_refused(ahf: AsyncHoldfast):
    """Streams would be looked for in the wrong partition, and be empty."""
    await make(ahf, partitions=2).append("a", ns(1))
    with pytest.raises(ConfigurationError, match="partitions=2"):
        await make(ahf, partitions=3).read("a")


async def test_a_server_that_evicts_is_refused(own_server, namespace: str):
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        await ahf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", retry="safe")
        with pytest.raises(UnsafeServer):
            await make(ahf).append("a", ns(1))
        await make(ahf, accept_loss=True).append("a", ns(1))
