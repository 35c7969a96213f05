"""Keys and records of the journal survive the way there and back; rules without a server."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import ConfigurationError, Overloaded, Unavailable
from holdfast._coord.naming import text
from holdfast._wire.keys import Keys
from holdfast.cache.behind import journal, rules
from holdfast.cache.behind.flavour import AsyncBackground
from holdfast.cache.behind.hold import Closing, Hold, Pace
from holdfast.cache.behind.journal import Layout
from holdfast.cache.behind.options import Behind, NotFlushed
from holdfast.cache.behind.rules import Blame, Evidence
from holdfast.errors import CodecError


class Colour(Enum):
    RED = 1


class Point(NamedTuple):
    x: int


SCALARS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.none()
    | st.binary(max_size=20)
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30))))
    | st.decimals(allow_nan=False)
)
KEYS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


@given(KEYS)
def test_a_key_comes_back_as_it_was(key: Any):
    again = journal.read_key(journal.write_key(key))
    assert again == key and type(again) is type(key) and text(again) == text(key)


def test_a_subclass_counts_as_its_base():
    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "shown"

    assert journal.read_key(journal.write_key(Name("ann"))) == "ann"
    assert type(journal.read_key(journal.write_key(Name("ann")))) is str


@pytest.mark.parametrize("key", [Colour.RED, Point(1), (1, Colour.RED), object(), [1]])
def test_a_key_that_cannot_be_made_again_is_refused(key: Any):
    with pytest.raises(ConfigurationError, match="write-behind"):
        journal.write_key(key)


def test_too_long_a_key_is_refused():
    with pytest.raises(ConfigurationError, match="too long"):
        journal.arguments("x" * 100_000, 1)


def test_what_is_no_record_says_so():
    for raw in (b"", b"x" * 43, b"0" * 60):
        with pytest.raises(CodecError):
            journal.record(b"tag", raw)
    with pytest.raises(CodecError):
        journal.buried(b"dead")


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_no_entry_is_another_ones_key(one: str, other: str):
    layout = Layout(Keys("shop"), "prices", 4)
    entries = [layout.of(text(key)).entry(text(key)) for key in (one, other)]
    assert (entries[0] == entries[1]) == (one == other)
    for part in layout.partitions:
        own = {part.pending, part.order, part.lease, part.state, part.ids, part.tries, part.dead}
        for entry in entries:
            assert not own & {entry, f"{entry}:f"} and f"{entries[0]}:f" != entries[1]


def test_every_key_of_a_partition_shares_its_slot():
    layout = Layout(Keys("shop"), "a{b", 3)
    for part in layout.partitions:
        tag = f"{{a%7Bb:{part.number}}}"
        for key in (part.pending, part.order, part.lease, part.entry("k"), part.entry("k") + ":f"):
            assert key.partition("{")[1:] and "{" + key.partition("{")[2].partition("}")[0] + "}" == tag


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"batch": 0}, "batch=0"),
        ({"partitions": 2000}, "partitions=2000"),
        ({"attempts": True}, "attempts=True"),
        ({"lease": "10ms"}, "lease='10ms'"),
        ({"delay": -1}, "delay=-1"),
        ({"retry": "1s"}, "retry='1s'"),
        ({"retry": ("2s", "1s")}, "retry="),
        ({"max_backlog": 1.5}, "max_backlog=1.5"),
    ],
)
def test_nonsense_is_refused_with_its_name(options: dict[str, Any], word: str):
    with pytest.raises(ConfigurationError) as caught:
        Behind(**options)
    assert word in str(caught.value)


def test_shares_are_rounded_up():
    assert Behind(max_backlog=10, partitions=4).share == 3 and Behind(max_backlog=1).share == 1
    assert Pace.micros(0.05) == 50_000


# --- blame --------------------------------------------------------------------------------------------------


def test_who_is_to_blame():
    evidence = Evidence()

    def failed(record: str, seq: int = 10, batch: int = 1, took: bool = False) -> tuple[Blame, bool]:
        return evidence.failed(record, seq, batch=batch, took=took)

    certain, perhaps, unclear = (Blame.RECORD, True), (Blame.PERHAPS, False), (Blame.UNCLEAR, False)
    assert failed("a") == perhaps  # it is the only one
    assert failed("a", batch=2) == unclear
    assert failed("b") == unclear
    assert failed("a") == unclear
    evidence.took("c", 5)  # so the source is not away
    assert failed("a") == certain
    assert failed("a") == unclear
    assert failed("d", batch=9, took=True) == certain
    evidence.took("a", 6)
    evidence.took("b", 7)
    assert failed("d") == certain
    assert failed("d") == perhaps
    evidence.took("c", 11)  # it was put after all of these
    evidence.forget(lambda record: record == "d")
    assert failed("e", batch=3) == certain
    assert failed("f", batch=4) == unclear
    assert failed("g", seq=12) == unclear


def test_errors_that_say_that_the_source_is_away():
    class Lost(Exception):
        connection_invalidated = True

    assert all(map(rules.is_away, [ConnectionError(), TimeoutError(), Unavailable(), Overloaded(), Lost()]))
    assert not any(map(rules.is_away, [ValueError(), OSError(), KeyError()]))


@given(st.integers(1, 5000), st.integers(0, 40), st.booleans())
def test_the_budget_reaches_single_records_in_the_end(records: int, strain: int, away: bool):
    now, later = (rules.budget(records, one, away=away) for one in (strain, strain + 1))
    assert 1 <= now <= later <= 2 * records
    assert rules.budget(records, 16, away=away) == 2 * records


def test_rests_grow_and_are_never_nothing():
    assert [rules.rest(n, 1.0, 10.0, 1.0) for n in (1, 2, 3, 4, 5, 2000)] == [1, 2, 4, 8, 10, 10]
    assert rules.rest(1, 1.0, 10.0, 0.0) > 0


def test_what_a_source_is_told():
    def plain(mapping: dict[Any, Any]) -> None: ...
    def fenced(mapping: dict[Any, Any], *, fence: int) -> None: ...
    def both(mapping: dict[Any, Any], fence: int = 0, partition: str = "") -> None: ...
    def everything(mapping: dict[Any, Any], **more: Any) -> None: ...
    def positional(fence: int, /) -> None: ...

    told = [rules.keywords(method) for method in (plain, fenced, both, everything, positional, dict.update)]
    assert told == [set(), {"fence"}, {"fence", "partition"}, {"fence", "partition"}, set(), set()]


def test_a_reader_may_be_told_the_key():
    def alone(envelope: bytes) -> Any:
        return envelope

    def both(envelope: bytes, entry: str) -> Any:
        return envelope, entry

    assert [rules.reader(read)(b"x", "k") for read in (alone, both)] == [b"x", (b"x", "k")]


def test_replies_to_zrange_of_either_protocol():
    assert rules.oldest([]) is None
    assert rules.oldest([b"a", b"17"]) == 17.0 == rules.oldest([[b"a", 17.0]])


# --- holding ------------------------------------------------------------------------------------------------


def test_a_call_begins_only_with_enough_of_the_lease_left():
    """What keeps a writer that was stopped for a while from writing."""
    hold = Hold(Layout(Keys("shop"), "prices", 1).partitions[0], "ab", 7, until=100.0)
    assert hold.text == "ab:7"
    assert hold.allows(93.0, lease=10.0) and not hold.allows(97.0, lease=10.0) and hold.left(101.0) == 0
    hold.renew(8, 110.0)
    assert hold.allows(97.0, lease=10.0) and hold.text == "ab:8"
    hold.lost = True
    assert not hold.allows(97.0, lease=10.0)


def test_closing():
    closing = Closing()
    assert closing.left(5.0) is None
    closing.by = 7.0
    assert (closing.left(5.0), closing.left(8.0)) == (2.0, 0.0)


def test_not_flushed_can_be_pickled():
    import pickle

    again = pickle.loads(pickle.dumps(NotFlushed("late", retry_after=1.0, left=3)))  # noqa: S301
    assert (again.left, again.retry_after, str(again)) == (3, 1.0, "late")


def test_dates_are_not_datetimes():
    assert journal.read_key(journal.write_key(date(2024, 1, 1))) == date(2024, 1, 1)
    assert journal.read_key(journal.write_key(datetime(2024, 1, 1))) == datetime(2024, 1, 1)  # noqa: DTZ001
    assert journal.read_key(journal.write_key((UUID(int=1), Decimal("1.00")))) == (
        UUID(int=1),
        Decimal("1.00"),
    )


async def test_a_call_is_cancelled_when_the_lease_has_ended():
    ended: list[str] = []

    async def call() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    left = iter([0.01, 0.01, 0.0])  # renewed once
    with pytest.raises(TimeoutError, match="lease"):
        await AsyncBackground.within(lambda: next(left), call())
    assert ended == ["cleaned up"]


async def test_what_a_call_raises_is_raised():
    async def call() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await AsyncBackground.within(lambda: 1.0, call())
