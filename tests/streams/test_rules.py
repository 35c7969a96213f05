"""The pure parts of streams: decisions, options, names, entries, writes."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast._wire.cluster.slots import slot_of
from holdfast._wire.keys import Keys
from holdfast.errors import ConfigurationError
from holdfast.streams import record, rules
from holdfast.streams.layout import Layout, text_of
from holdfast.streams.options import Backoff, Retention, StreamOptions, SubscriberOptions
from holdfast.streams.writes import MOST_KEYS, Writes

# --- rules --------------------------------------------------------------------------------------------------


@given(st.just(0.0) | st.floats(1e-9, 100), st.integers(1, 100), st.integers(1, 100), st.integers(1, 5000))
def test_what_is_taken_in_advance_is_enough_for_all_handlers_and_no_more_than_may_be(
    average: float, concurrency: int, batch: int, beyond: int
):
    most = concurrency * batch + beyond
    found = rules.ahead(average, concurrency, batch, most)
    assert concurrency * batch <= found <= most
    if average > 1:
        assert found == max(concurrency * batch, 1)


def test_the_average_follows_what_handlers_take():
    average = 0.0
    for _ in range(100):
        average = rules.smooth(average, 0.5, 1)
    assert abs(average - 0.5) < 0.01
    for _ in range(100):
        average = rules.smooth(average, 1.0, 100)  # a batch: 10 ms each
    assert abs(average - 0.01) < 0.01


@given(st.integers(1, 64), st.integers(1, 12))
def test_partitions_are_shared_out_evenly_and_all_of_them(partitions: int, members: int):
    shares = [rules.share(partitions, members, rank) for rank in range(members)]
    assert sum(shares) == partitions, "somebody has to take each, and nobody two's"
    assert max(shares) - min(shares) <= 1


@given(st.integers(-1, 10**9), st.floats(0, 1))
def test_nobody_sleeps_longer_than_the_safety_poll_or_wakes_before_it_is_due(rest: int, dice: float):
    found = rules.park(rest, dice)
    assert 0 < found <= rules.SAFETY_POLL * 1.25
    if 0 <= rest < 900:
        assert found > rest / 1000


def test_a_handler_says_by_its_arguments_whether_it_wants_the_message():
    def method(self: Any, value: Any, message: Any) -> None: ...

    wanted: list[tuple[Any, bool, bool]] = [
        (lambda value: 0, False, False),
        (lambda value, message: 0, False, True),
        (lambda a, b: 0, False, True),
        (lambda value, tax=5: 0, False, False),
        (lambda value, message=None: 0, False, True),
        (lambda values, messages=None: 0, True, True),
        (lambda value, *more: 0, False, False),
        (lambda value, /, message: 0, False, True),
        (lambda value, *, tax=5: 0, False, False),
        (functools.partial(method, None), False, True),
    ]
    for handler, batch, told in wanted:
        assert rules.takes(handler, batch) is told
    for wrong in (lambda: 0, lambda a, b, c: 0, lambda a, *, b: 0, lambda *, a: 0):
        with pytest.raises(ConfigurationError, match="must take"):
            rules.takes(wrong, False)


def test_errors_are_told_in_a_line():
    assert rules.described(ValueError("x")) == "ValueError: x"
    assert rules.described(ValueError()) == "ValueError"
    assert rules.Retry(after="5s").after == "5s" and str(rules.Reject("why")) == "why"


# --- options ------------------------------------------------------------------------------------------------


def test_pauses_follow_each_other_and_the_last_one_repeats():
    backoff = Backoff("1s", "10s", timedelta(minutes=2))
    assert [backoff.after(failures) for failures in (1, 2, 3, 4, 100)] == [1, 10, 120, 120, 120]
    assert backoff == Backoff(1, 10, 120) and hash(backoff) == hash(Backoff(1, 10, 120))
    assert backoff != Backoff(1) and repr(backoff) == "Backoff(1, 10, 120)"
    assert Backoff(0).after(1) == 0
    pauses: list[Any] = [(), (-1,), ("x",), (None,)]
    for wrong in pauses:
        with pytest.raises(ConfigurationError):
            Backoff(*wrong)


def test_a_retention_says_what_it_keeps():
    assert Retention.limits(max_age="7d").max_age == 604_800
    assert Retention.limits(max_bytes="1KiB", max_entries=5).max_entries == 5
    assert StreamOptions(retention=Retention.work_queue()).deletes
    assert not StreamOptions(retention=Retention.interest()).deletes and not StreamOptions().deletes
    limits: list[dict[str, Any]] = [
        {},
        {"max_entries": 0},
        {"max_entries": True},
        {"max_age": "x"},
        {"max_bytes": "x"},
    ]
    for wrong in limits:
        with pytest.raises(ConfigurationError):
            Retention.limits(**wrong)


def test_options_tell_how_they_differ():
    one = StreamOptions(partitions=2)
    assert one.difference(StreamOptions(partitions=2)) == ""
    assert one.difference(StreamOptions(version=2)) == "partitions=2, not 1, version=1, not 2"


def test_the_defaults_of_a_subscriber_are_what_the_docs_say():
    options = SubscriberOptions()
    assert (options.max_deliveries, options.lease, options.concurrency, options.batch) == (8, 20, 1, None)
    assert options.retry == Backoff("1s", "10s", "1m") and options.timeout is None
    assert SubscriberOptions(max_deliveries=None, timeout="1m").timeout == 60


# --- layout -------------------------------------------------------------------------------------------------

NAMES = st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable())


@given(NAMES, NAMES, NAMES)
def test_all_keys_of_a_partition_share_its_slot(name: str, group: str, id: str):
    """Without it a script would be refused in a Cluster."""
    layout = Layout(Keys("shop"), name, 3)
    for part in layout.parts:
        keys = part.group(group)
        every = [
            part.bell,
            part.at,
            part.later,
            part.outbox,
            part.requests("c"),
            part.seen(id),
            part.user(id),
        ]
        every += [keys.members, keys.retries, keys.errors, keys.dead, keys.saved, keys.turns, keys.done("m")]
        assert {slot_of(key) for key in every} == {slot_of(part.stream)}
        assert len(set(every)) == len(every)


@given(st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_other_names_have_other_keys(names: list[str]):
    """Without escaping, a group "a:r" would write the retries of the group "a"."""
    one, two = (Layout(Keys("shop"), name, 1).parts[0] for name in names)
    assert one.stream != two.stream
    first, second = (one.group(name) for name in names)
    kinds = ("members", "retries", "errors", "dead", "saved", "turns")
    assert not {getattr(first, kind) for kind in kinds} & {getattr(second, kind) for kind in kinds}
    assert one.seen(names[0]) != one.seen(names[1]) and one.user(names[0]) != one.user(names[1])


def test_a_key_stays_where_it_is_and_keys_are_spread():
    """The partition of a key is a promise to what is stored already."""
    layout = Layout(Keys("shop"), "orders", 16)
    assert [layout.of(key).number for key in ("a", "customer:7", "ä", "")] == [3, 14, 3, 0]
    found = {layout.of(str(number)).number for number in range(200)}
    assert len(found) == 16


@given(st.text() | st.integers() | st.uuids() | st.none() | st.booleans() | st.floats() | st.binary())
def test_what_is_taken_for_an_id_or_a_key_is_text_the_server_can_have(value: Any):
    try:
        found = text_of(value, "id")
    except ConfigurationError as error:
        assert str(error).startswith("id=")
        assert not isinstance(value, UUID) and (isinstance(value, bool) or not isinstance(value, int))
        return
    assert found == str(value) and 0 < len(found.encode()) <= 8192


# --- record -------------------------------------------------------------------------------------------------


@given(
    st.binary(),
    st.none() | st.text(),
    st.none() | st.text(),
    st.none() | st.dictionaries(st.text(), st.text()),
    st.integers(1, 99),
)
def test_an_entry_is_read_as_it_was_written(data: bytes, key: Any, dedup: Any, headers: Any, version: int):
    flat = record.fields(data, key=key, dedup=dedup, headers=headers, version=version)
    sent = [one if isinstance(one, bytes) else str(one).encode("utf-8", "surrogatepass") for one in flat]
    found = record.named(sent)
    assert found[b"data"] == data and record.version_of(found.get(b"version")) == version
    assert record.headers_of(found.get(b"headers")) == (headers or {})
    assert record.text(found.get(b"key")) == key and record.text(found.get(b"id")) == dedup


def test_what_others_wrote_is_no_error():
    assert record.headers_of(b"\xc1") == {} == record.headers_of(None)
    assert record.version_of(b"x") == 0 and record.version_of(None) == 1
    assert record.text(b"\xff") == "\ufffd"
    assert record.milliseconds("17-3") == record.milliseconds(b"17-3") == 17
    assert record.moment(1_500) == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)


def test_a_time_is_told_as_the_server_counts():
    assert record.later(None, None) == "" == record.later(0.0, None)
    assert record.later(1.5, None) == "+1500"
    moment = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert record.later(None, moment) == f"={moment.timestamp() * 1000:.0f}"
    for wrong in ((1.0, moment), (None, moment.replace(tzinfo=None)), (None, "x"), (None, 5)):
        with pytest.raises(ConfigurationError):
            record.later(*wrong)  # type: ignore[arg-type]


# --- writes -------------------------------------------------------------------------------------------------


def test_writes_of_one_place_are_put_together():
    """Without it a second write could fail in the middle of the script, which looks at the first one."""
    writes = Writes()
    writes.incrby("n", 5)
    writes.incrby("n", -7)
    writes.set("s", 1)
    writes.set("s", b"2", ttl="1m")
    writes.hset("h", "f", 1)
    writes.hset("h", {"f": 2, "g": "x"})
    writes.hincrby("h", "n", 1)
    writes.hincrby("h", "n", 2)
    writes.delete("d", "e", "d")
    assert writes.commands() == [
        ("DEL", "d", ()),
        ("DEL", "e", ()),
        ("SET", "s", (b"2", "PX", 60_000)),
        ("INCRBY", "n", (-2,)),
        ("HSET", "h", ("f", 2)),
        ("HSET", "h", ("g", "x")),
        ("HINCRBY", "h", ("n", 3)),
    ]


KIND = st.sampled_from(["set", "incrby", "hset", "hincrby", "delete"])


@given(
    st.lists(st.tuples(KIND, st.sampled_from("ab"), st.sampled_from("xy"), st.integers(-9, 9)), max_size=8)
)
def test_no_two_commands_write_the_same_place(asked: list[tuple[str, str, str, int]]):
    writes = Writes()
    for kind, key, field, amount in asked:
        try:
            if kind in {"hset", "hincrby"}:
                getattr(writes, kind)(key, field, amount)
            elif kind == "delete":
                writes.delete(key)
            else:
                getattr(writes, kind)(key, amount)
        except ConfigurationError:
            continue
    places = [(key, args[0] if name[0] == "H" else "") for name, key, args in writes.commands()]
    assert len(places) == len(set(places))
    whole = {key for key, field in places if not field}
    assert not whole & {key for key, field in places if field}


def test_writes_have_a_limit():
    writes = Writes()
    for number in range(MOST_KEYS):
        writes.delete(str(number))
    with pytest.raises(ConfigurationError, match="at most"):
        writes.delete("one more")
