# Generated from test_log_async.py by tools/unasync.py. Do not edit.
"""Append and read. What is promised stands in holdfast.events.rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import (
    Holdfast,
    CodecError,
    ConfigurationError,
    ConflictError,
    Durability,
    NotDurable,
    OutOfMemory,
    UnsafeServer,
)
from holdfast.events import rules
from holdfast.events._log_sync import EventLog
from holdfast.events.kinds import NewEvent
from holdfast.events.options import EventsOptions, NewBatch, PositionTrimmed
from tests.events.world import Paid, Placed, ns


def make(hf: Holdfast, name: str = "orders", **options: Any) -> Any:
    return EventLog(hf._wire, name, EventsOptions(**options))


@pytest.mark.everywhere
def test_what_is_appended_is_read_as_it_was_in_its_order(hf: Holdfast):
    log = make(hf, type=Placed | Paid, partitions=3)
    assert log.version("order-1") == 0 and log.read("order-1") == []
    first = log.append("order-1", [Placed("tea"), Placed("cup", 2)], expected=0)
    assert (first.first, first.last, first.duplicate) == (1, 2, False)
    second = log.append("order-1", [Paid(500)], expected=2, headers={"by": "ann"})
    assert (second.first, second.last) == (3, 3)
    assert log.version("order-1") == 3
    events = log.read("order-1")
    assert [one.value for one in events] == [Placed("tea"), Placed("cup", 2), Paid(500)]
    assert [one.version for one in events] == [1, 2, 3]
    assert [one.type for one in events] == ["Placed", "Placed", "Paid"]
    assert [one.stream for one in events] == ["order-1"] * 3
    assert len({one.id for one in events}) == 3
    assert events[1].id == f"{events[0].id}:1" and dict(events[2].headers) == {"by": "ann"}
    assert abs(events[0].recorded_at - datetime.now(UTC)) < timedelta(minutes=1)
    part = events[0].partition
    everything = collect(log.all(partition=part))
    assert everything == events
    assert [one.position for one in everything] == [second.position - 2, second.position - 1, second.position]


def collect(events: Any) -> list[Any]:
    found = []
    for event in events:
        found.append(event)
    return found


def test_reading_may_begin_anywhere_and_go_backward(hf: Holdfast):
    log = make(hf)
    log.append("a", ns(*range(1, 11)))

    def versions(**how: Any) -> list[int]:
        return [one.version for one in log.read("a", **how)]

    assert versions(after=8) == [9, 10]
    assert versions(after=10) == [] and versions(after=99) == []
    assert versions(after=2, limit=3) == [3, 4, 5]
    assert versions(limit=0) == []
    assert versions(backward=True, limit=2) == [10, 9]
    assert versions(backward=True, after=8) == [10, 9]
    assert versions(backward=True, after=10) == []
    assert versions(backward=True) == list(range(10, 0, -1))


def test_more_than_one_reply_is_read_to_its_end(hf: Holdfast):
    """Without following pages a long stream would end at the size of a reply."""
    log = make(hf)
    count = 2 * rules.SIZE
    log.append("a", ns(*range(count)))
    log.append("b", ns(0))
    log.append("a", ns(count))
    assert [one.value["n"] for one in log.read("a")] == list(range(count + 1))
    assert [one.value["n"] for one in log.read("a", backward=True)] == list(range(count, -1, -1))
    assert len(log.read("a", limit=rules.SIZE + 1)) == rules.SIZE + 1
    everything = [(one.stream, one.version) for one in log.all()]
    assert everything == [("a", one + 1) for one in range(count)] + [("b", 1), ("a", count + 1)]
    assert (log.load("a", lambda state, event: state + 1, 0)).state == count + 1


# --- expectations ------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_a_version_that_is_not_the_expected_one_is_a_conflict(hf: Holdfast):
    log = make(hf)
    with pytest.raises(ConflictError) as told:
        log.append("a", ns(1), expected=1)
    assert (told.value.expected, told.value.actual) == (1, 0)
    with pytest.raises(ConflictError) as told:
        log.append("a", ns(1), expected="exists")
    assert (told.value.expected, told.value.actual) == ("exists", 0)
    log.append("a", ns(1), expected=0)
    with pytest.raises(ConflictError) as told:
        log.append("a", ns(1), expected=0)
    assert (told.value.expected, told.value.actual) == (0, 1)
    log.append("a", ns(2), expected="exists")
    log.append("a", ns(3), expected=2)
    log.append("a", ns(4))
    assert [one.value["n"] for one in log.read("a")] == [1, 2, 3, 4]


def test_a_version_counts_also_when_its_events_are_gone(hf: Holdfast):
    """A version that was counted by the length of the stream would be given twice."""
    log = make(hf)
    log.append("a", ns(1, 2, 3))
    log.snapshot("a", 6, version=3)
    assert log.archive("a") == 3
    assert log.version("a") == 3
    with pytest.raises(ConflictError):
        log.append("a", ns(4), expected=0)
    assert (log.append("a", ns(4), expected=3)).first == 4


# --- idempotence -------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_the_same_id_again_appends_nothing(hf: Holdfast):
    log = make(hf)
    first = log.append("a", ns(1, 2), expected=0, id="command-1")
    log.append("a", ns(3))
    for expected in (0, 3, None, "exists", 7):
        again = log.append("a", ns(1, 2), expected=expected, id="command-1")
        assert again == first._replace(duplicate=True)
    assert (log.append("b", ns(1), id="command-1")).duplicate is False  # an id is its stream's
    assert [one.value["n"] for one in log.read("a")] == [1, 2, 3]
    assert [one.id for one in log.read("a", limit=2)] == ["command-1", "command-1:1"]


def test_a_repeated_request_is_known_by_its_token(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """The request of a lost reply comes again with its token, perhaps after others have appended."""
    log = make(hf)
    log.append("a", ns(0))
    for expected in (1, None, "exists"):
        monkeypatch.setattr("holdfast.events._desk_sync.token", lambda: f"token of {expected}")
        now = log.version("a")
        told = now if isinstance(expected, int) else expected
        first = log.append("a", ns(1, 2), expected=told)
        monkeypatch.undo()
        log.append("a", ns(9))
        monkeypatch.setattr("holdfast.events._desk_sync.token", lambda: f"token of {expected}")
        assert log.append("a", ns(1, 2), expected=told) == first._replace(duplicate=True)
        monkeypatch.undo()
        assert log.version("a") == now + 3


# --- several streams ---------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_several_streams_are_appended_to_together_or_not_at_all(hf: Holdfast):
    log = make(hf)
    log.append("b", ns(1))
    with pytest.raises(ConflictError) as told:
        log.append_many([("a", ns(1), 0), NewBatch("b", ns(2), 0)])
    assert (told.value.expected, told.value.actual) == (0, 1)
    assert log.version("a") == 0
    one, two = log.append_many([("a", ns(1, 2), 0), ("b", ns(2), 1)], id="transfer")
    assert (one.stream, one.first, one.last, two.stream, two.first) == ("a", 1, 2, "b", 2)
    again = log.append_many([("a", ns(1, 2), 0), ("b", ns(2), 1)], id="transfer")
    assert again == [one._replace(duplicate=True), two._replace(duplicate=True)]
    with pytest.raises(ConflictError, match="other streams"):
        log.append_many([("a", ns(1)), ("c", ns(2))], id="transfer")
    assert [(one.stream, one.version) for one in log.all(after=one.position - 2)] == [
        ("a", 1),
        ("a", 2),
        ("b", 2),
    ]


def test_streams_of_several_partitions_are_refused(hf: Holdfast):
    log = make(hf, partitions=16)
    with pytest.raises(ConfigurationError, match="one partition"):
        log.append_many([(f"s{number}", ns(1)) for number in range(5)])
    with pytest.raises(ConfigurationError, match="different streams"):
        log.append_many([("a", ns(1)), ("a", ns(2))])


# --- types -------------------------------------------------------------------------------------------------


def test_events_are_stored_under_the_names_of_the_mapping(hf: Holdfast):
    log = make(hf, type={"placed": Placed, "order_placed": Placed, "paid": Paid, "note": dict})
    with pytest.raises(ConfigurationError, match="placed, order_placed"):
        log.append("a", [Placed("tea")])
    log.append("a", [NewEvent(Placed("tea"), type="placed"), Paid(5), {"text": "x"}])
    assert [one.type for one in log.read("a")] == ["placed", "paid", "note"]
    with pytest.raises(ConfigurationError, match="is none of them"):
        log.append("a", ["text"])
    with pytest.raises(ConfigurationError, match="not declared"):
        log.append("a", [NewEvent(Paid(5), type="payed")])


def test_plain_events_may_have_any_name(hf: Holdfast):
    log = make(hf)
    log.append("a", [{"n": 1}, NewEvent({"n": 2}, type="counted", headers={"by": "ann"})])
    assert [(one.type, one.value["n"], dict(one.headers)) for one in log.read("a")] == [
        ("", 1, {}),
        ("counted", 2, {"by": "ann"}),
    ]


def test_events_of_an_older_version_are_read_as_todays(hf: Holdfast):
    old = make(hf, type={"paid": dict[str, Any], "placed": Placed})
    old.append("a", [NewEvent({"euros": 5}, type="paid"), Placed("tea")])
    new = make(
        hf,
        type={"paid": Paid, "placed": Placed},
        version={"paid": 2},
        upcast={"paid": {1: lambda plain: {"cents": plain["euros"] * 100}}},
    )
    new.append("a", [Paid(7)])
    assert [one.value for one in new.read("a")] == [Paid(500), Placed("tea"), Paid(7)]
    with pytest.raises(CodecError, match="newer release"):
        old.read("a", after=2)
    strange = make(hf, type={"placed": Placed, "note": str})
    with pytest.raises(CodecError, match="'paid'"):
        strange.read("a")


# --- snapshots ---------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_a_state_is_loaded_from_its_snapshot_and_the_events_after_it(hf: Holdfast):
    log = make(hf)
    seen: list[int] = []

    def add(state: int, event: Any) -> int:
        seen.append(event.version)
        return state + int(event.value["n"])

    assert log.load("a", add, 0) == (0, 0, 0)
    log.append("a", ns(1, 2, 3))
    assert log.load("a", add, 0) == (6, 3, 3)
    log.snapshot("a", 3, version=2)
    log.snapshot("a", 1, version=1)  # an older one comes too late
    seen.clear()
    assert log.load("a", add, 0) == (6, 3, 1)
    assert seen == [3]
    with pytest.raises(ConflictError) as told:
        log.snapshot("a", 9, version=4)
    assert told.value.actual == 3


def test_a_snapshot_that_cannot_be_read_is_ignored_or_brought_up_to_date(hf: Holdfast):
    def add(state: int, event: Any) -> int:
        return state + int(event.value["n"])

    log = make(hf, state=int)
    log.append("a", ns(1, 2, 3))
    log.snapshot("a", 1000, version=2)  # wrong, so that it shows whether it is used
    newer = make(hf, state=int, state_version=2)
    assert newer.load("a", add, 0) == (6, 3, 3)
    raised = make(hf, state=int, state_version=2, state_upcast={1: lambda state: state + 1})
    assert raised.load("a", add, 0) == (1004, 3, 1)
    other = make(hf, state=Placed)
    assert other.load("a", add, 0) == (6, 3, 3)
    newer.snapshot("a", 2000, version=1)  # of another type: it takes the older one's place
    assert newer.load("a", add, 0) == (2005, 3, 2)


def test_loading_takes_a_snapshot_by_itself(hf: Holdfast):
    log = make(hf, snapshot_every=3)

    def add(state: int, event: Any) -> int:
        return state + int(event.value["n"])

    log.append("a", ns(1, 2))
    assert log.load("a", add, 0) == (3, 2, 2)
    log.append("a", ns(3))
    assert log.load("a", add, 0) == (6, 3, 3)
    assert log.load("a", add, 0) == (6, 3, 0)


def test_what_was_archived_is_not_skipped_in_silence(hf: Holdfast):
    log = make(hf)

    def add(state: int, event: Any) -> int:
        return state + int(event.value["n"])

    log.append("a", ns(1, 2, 3))
    log.append("b", ns(4))
    with pytest.raises(ConfigurationError, match="no snapshot"):
        log.archive("a")
    log.snapshot("a", 3, version=2)
    assert log.archive("a") == 2
    assert log.archive("a") == 0
    with pytest.raises(PositionTrimmed) as told:
        log.read("a")
    assert (told.value.stream, told.value.after, told.value.first) == ("a", 0, 3)
    with pytest.raises(PositionTrimmed):
        log.read("a", backward=True)
    assert [one.version for one in log.read("a", backward=True, limit=1)] == [3]
    assert [one.version for one in log.read("a", after=2)] == [3]
    assert log.load("a", add, 0) == (6, 3, 1)
    with pytest.raises(PositionTrimmed) as told:
        collect(log.all())
    skipped = told.value
    assert skipped.first is not None and skipped.first == skipped.after + 2
    assert [(one.stream, one.version) for one in log.all(after=skipped.first)] == [("a", 3), ("b", 1)]


# --- refusals ----------------------------------------------------------------------------------------------


def test_nonsense_is_refused_with_a_sentence(hf: Holdfast):
    log = make(hf)
    for wrong in (
        {"expected": -1},
        {"expected": True},
        {"expected": "some"},
        {"id": ""},
        {"headers": {"a": 1}},
    ):
        with pytest.raises(ConfigurationError):
            log.append("a", ns(1), **wrong)
    for events in (
        [],
        "text",
        {"n": 1},
        5,
        ns(*range(rules.MOST_EVENTS + 1)),
        [b"x" * (rules.MOST_BYTES + 1)],
    ):
        with pytest.raises(ConfigurationError):
            log.append("a", events)
    for stream in ("", 7, None, "x" * 2000, "\ud800"):
        with pytest.raises(ConfigurationError):
            log.append(stream, ns(1))
    for how in ({"after": -1}, {"limit": -1}, {"after": "x"}):
        with pytest.raises(ConfigurationError):
            log.read("a", **how)
    assert log.version("a") == 0


def test_names_may_hold_anything(hf: Holdfast):
    log = make(hf, name="{x}: 100 %")
    for stream in ("a:b", "{a}", "100 %", "été", "a\nb"):
        log.append(stream, ns(1), id="{id}: 1")
        assert [one.stream for one in log.read(stream)] == [stream]
    assert [one.stream for one in log.all()] == ["a:b", "{a}", "100 %", "été", "a\nb"]


def test_an_append_that_too_few_replicas_have_says_so_and_is_known_again(hf: Holdfast):
    log = make(hf, durability=Durability(replicas=1, within="20ms"))
    for _ in range(2):
        with pytest.raises(NotDurable):
            log.append("a", ns(1), id="command-1")
    assert log.version("a") == 1


def test_a_full_server_appends_all_or_nothing(own_server, namespace: str):
    """A script that ran out of memory in the middle would leave a half of it."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        log = make(hf)
        log.append("a", ns(1))
        hf.execute("CONFIG", "SET", "maxmemory", "1mb", retry="safe")
        with pytest.raises(OutOfMemory):
            log.append_many([("a", ns(2, 3)), ("b", ns(4))])
        assert [one.value["n"] for one in log.read("a")] == [1]  # reading goes on
        hf.execute("CONFIG", "SET", "maxmemory", 0, retry="safe")
        assert log.version("a") == 1 and log.version("b") == 0
        assert [one.version for one in collect(log.all())] == [1]


def test_another_number_of_partitions_is_refused(hf: Holdfast):
    """Streams would be looked for in the wrong partition, and be empty."""
    make(hf, partitions=2).append("a", ns(1))
    with pytest.raises(ConfigurationError, match="partitions=2"):
        make(hf, partitions=3).read("a")


def test_a_server_that_evicts_is_refused(own_server, namespace: str):
    with Holdfast(own_server.url, namespace=namespace) as hf:
        hf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", retry="safe")
        with pytest.raises(UnsafeServer):
            make(hf).append("a", ns(1))
        make(hf, accept_loss=True).append("a", ns(1))
