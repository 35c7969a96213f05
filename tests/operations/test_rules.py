"""What needs no server: names, fingerprints, pauses, records, and which functions are taken."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, Holdfast, LockLost
from holdfast._wire.keys import Keys
from holdfast.operations import record, rules
from holdfast.operations.calls import CallKey, returned
from holdfast.operations.layout import Layout, read, written
from holdfast.operations.options import Failure, OperationLost, OperationsOptions


def fingerprint(function: Any, *args: Any, **kwargs: Any) -> str:
    return CallKey("{key}", function).fingerprint(args, kwargs)


def test_names_come_back_and_never_meet():
    values: list[Any] = [
        "a",
        "a:b",
        "a%3Ab",
        "",
        "%",
        "7",
        7,
        -7,
        "%int(7)",
        UUID(int=7),
        str(UUID(int=7)),
        "{x}",
        "\n",
        "ü",
    ]
    texts = [written(value, "id") for value in values]
    assert len(set(texts)) == len(values)
    assert [read(text) for text in texts] == values
    assert not any(char in text for text in texts for char in ":{}\n ")


def test_all_of_a_resource_is_in_one_partition_and_calls_are_spread():
    layout = Layout(Keys("ns"), "payments", 8)
    assert {layout.place("account:7", str(id)).part for id in range(50)} == {layout.of("account:7")}
    assert len({layout.place(f"account:{id}", "1").part for id in range(100)}) == 8
    assert len({layout.place("charge", str(id), "call").part for id in range(100)}) == 8
    place = layout.place("account:7", 5)
    assert place.record == f"{place.part.due.removesuffix('due')}op:account%3A7:%int(5)"
    found = layout.found(place.part, place.name.encode())
    assert (found.resource, found.id, found.record) == ("account:7", 5, place.record)


def test_a_fingerprint_says_what_the_key_does_not():
    def charge(key: str, body: dict[str, Any], note: str = "") -> None: ...

    same = fingerprint(charge, "k", {"a": 1, "b": 2})
    assert fingerprint(charge, "other key", {"b": 2, "a": 1}, note="") == same
    for other in ({"a": 1, "b": "2"}, {"a": 1, "b": 2.0}, {"a": 1, "b": True}, {"a": 1}):
        assert fingerprint(charge, "k", other) != same
    assert fingerprint(charge, "k", {"a": 1, "b": 2}, note="x") != same


def test_a_parameter_that_is_added_with_a_default_changes_no_fingerprint():
    """Else a deploy would refuse the duplicates of what its predecessor ran."""

    def before(key: str, amount: int) -> None: ...

    def after(key: str, amount: int, currency: str = "EUR") -> None: ...

    assert fingerprint(before, "k", 5) == fingerprint(after, "k", 5) == fingerprint(after, "k", 5, "EUR")
    assert fingerprint(after, "k", 5, "USD") != fingerprint(after, "k", 5)


def test_the_type_of_a_result_is_the_annotation():
    def bare(key): ...

    def typed(key: str, other: str) -> list[int]:
        return []

    def late(key: str) -> None: ...

    typed.__annotations__["other"] = late.__annotations__["return"] = "NotThere"  # known to checkers only
    assert returned(bare) is Any and returned(typed) == list[int]
    with pytest.raises(NameError):
        returned(late)


def test_a_sweep_sleeps_until_something_is_due_and_not_too_long():
    assert rules.park([-1, -1], 30.0, 0.0) == rules.SAFETY_POLL
    assert rules.park([-1, 700, 300], 30.0, 0.0) == 0.3
    assert rules.park([60_000], 0.5, 0.0) == 0.5
    assert 0.3 < rules.park([300], 30.0, 1.0) <= 0.3 + rules.CROWD
    assert rules.park([0], 30.0, 0.0) == 0.0


def test_a_record_says_how_it_stands():
    place = Layout(Keys("ns"), "n", 1).place("r", "1")
    raw = {
        b"state": b"running", b"fence": b"5", b"attempt": b"2", b"until": b"2000", b"begun": b"500",
        b"changed": b"1000", b"holder": b"h:1:", b"data": b"\xa1x", b"c:b": b"00000001\x01",
        b"c:a": b"00000002\xc1", b"e:1": b"0000000000900oh no", b"error": b"oh no", b"later": b"unknown",
    }  # fmt: skip
    status = record.status(place, raw, 1.5, record.PLAIN, record.PLAIN)
    assert status is not None
    assert (status.state, status.left, status.data, status.attempt) == ("running", 0.5, "x", 2)
    assert list(status.checkpoints.items()) == [("b", 1), ("a", None)]  # what cannot be read is None
    assert status.failures == (Failure(1, "oh no", datetime.fromtimestamp(0.9, UTC)),)
    later = record.status(place, raw, 2.5, record.PLAIN, record.PLAIN)
    assert later is not None and (later.state, later.left) == ("interrupted", 0.0)
    assert record.status(place, {}, 1.5, record.PLAIN, record.PLAIN) is None


def test_a_loss_is_what_both_families_of_errors_say_and_can_be_pickled():
    error = pickle.loads(pickle.dumps(OperationLost("lost", name="op", cause="taken")))
    assert isinstance(error, LockLost) and (error.name, error.cause) == ("op", "taken")


def test_options_are_the_same_if_they_mean_the_same():
    assert OperationsOptions(lease="30s", retry=("1s", "1m")).same_as(
        OperationsOptions(lease=30, retry=(1, 60))
    )
    assert "lease=30.0, not 60.0" in OperationsOptions().difference(OperationsOptions(lease="1m"))
    assert OperationsOptions(lease="10s").rests == (1.0, 100.0)


async def test_functions_of_the_other_flavour_are_refused_at_once(hf: Holdfast, ahf: AsyncHoldfast):
    def plain(op: Any) -> None: ...

    async def coroutine(op: Any) -> None: ...

    sync, tasks = hf.operations("flavours"), ahf.operations("flavours")
    attempts: list[Any] = [
        lambda: sync.idempotent("{op}")(coroutine),
        lambda: tasks.idempotent("{op}")(plain),  # type: ignore[arg-type]
        lambda: sync.watch(coroutine),
        lambda: tasks.watch(plain),
        lambda: sync.recover(coroutine),
    ]
    for refuse in attempts:
        with pytest.raises(ConfigurationError, match="must be"):
            refuse()
    with pytest.raises(ConfigurationError, match="must be"):
        await tasks.recover(plain)
