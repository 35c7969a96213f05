# Generated from test_idempotent_async.py by tools/unasync.py. Do not edit.
"""Idempotent functions: one run per key, its result for everybody, and another request is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from holdfast import (
    Holdfast,
    CodecError,
    ConfigurationError,
    ConflictError,
    OperationBusy,
    OperationDead,
)
from holdfast._compat import sleep, monotonic
from holdfast.operations._sync import Operations
from holdfast.operations._calls_sync import Replay
from holdfast.operations.current import current_operation
from holdfast.operations.options import OperationLost
from tests.operations.crew import Crew
from tests.operations.test_operations_sync import Clerk
from tests.operations.test_operations_sync import make as make_any

QUICK: dict[str, Any] = {"retry": (0, 0), "wait": "10s"}


def make(hf: Holdfast, **options: Any) -> Operations[Any]:
    """Typed, as users have it: what the decorator gives is checked too."""
    ops: Operations[Any] = make_any(hf, **options)
    return ops


@dataclass
class Receipt:
    ref: str
    amount: int


class Bank:
    """Counts what it is asked for."""

    def __init__(self, ops: Operations[Any], **options: Any) -> None:
        self.calls: list[tuple[str, int]] = []
        self.error: Exception | None = None
        self.slow = 0.0

        @ops.idempotent("{request_id}", **options)
        def charge(request_id: str, amount: int, note: str = "") -> Receipt:
            self.calls.append((request_id, amount))
            sleep(self.slow)
            if self.error is not None:
                raise self.error
            return Receipt(f"{request_id}-{len(self.calls)}", amount)

        self.charge = charge


@pytest.mark.everywhere
def test_the_second_call_gets_the_result_of_the_first(hf: Holdfast):
    bank = Bank(make(hf))
    first = bank.charge("a", 5)
    assert first == Receipt("a-1", 5)
    assert bank.charge("a", 5) == first
    assert bank.charge(amount=5, request_id="a", note="") == first
    assert bank.charge("b", 5) == Receipt("b-2", 5)
    assert bank.calls == [("a", 5), ("b", 5)]
    status: Any = bank.charge.inspect("a", 5)
    assert (status.state, status.result, status.id) == ("done", first, "a")
    assert bank.charge.key("a", 5) == "a"


def test_another_request_under_the_same_key_is_a_conflict(hf: Holdfast):
    bank = Bank(make(hf))
    bank.charge("a", 5)
    for args in (("a", 6), ("a", 5, "a note"), ("a", True), ("a", 5.0)):
        with pytest.raises(ConflictError):
            bank.charge(*args)
    assert len(bank.calls) == 1


def test_a_call_that_raised_is_not_replayed(hf: Holdfast):
    bank = Bank(make(hf, max_attempts=3, **QUICK))
    bank.error = ValueError("no funds")
    for _ in range(3):
        with pytest.raises(ValueError, match="no funds"):
            bank.charge("a", 5)
    with pytest.raises(OperationDead, match="no funds"):
        bank.charge("a", 5)
    assert len(bank.calls) == 3
    bank.error = None
    assert bank.charge.forget("a", 5) is True
    assert bank.charge("a", 5) == Receipt("a-4", 5)


def test_duplicates_wait_for_the_one_that_runs(hf: Holdfast, place, namespace: str):
    """From two processes, as far as the server knows: without the push they would wait for two seconds."""
    with Holdfast(place.url, namespace=namespace) as second:
        banks = [Bank(make(one, **QUICK)) for one in (hf, second)]
        for bank in banks:
            bank.slow = 0.3
        begun = monotonic()
        results = Crew.all([lambda bank=bank: bank.charge("a", 5) for bank in banks * 5])
        assert monotonic() - begun < 1.9
    assert len({one.ref for one in results}) == 1
    assert sum(len(bank.calls) for bank in banks) == 1


def test_after_a_failure_the_next_in_line_runs(hf: Holdfast):
    ops = make(hf, **QUICK)
    calls: list[int] = []

    @ops.idempotent("{key}")
    def once(key: str) -> int:
        calls.append(1)
        sleep(0.1)
        if len(calls) == 1:
            raise ValueError("the first one")
        return len(calls)

    results = Crew.all([lambda: once("k") for _ in range(5)], errors=True)
    assert sorted(map(str, results)) == ["2", "2", "2", "2", "the first one"]
    assert len(calls) == 2


def test_a_duplicate_may_be_told_instead(hf: Holdfast):
    bank = Bank(make(hf), on_duplicate="raise")
    bank.slow = 0.3
    results = Crew.all([lambda: bank.charge("a", 5) for _ in range(3)], errors=True)
    assert sorted(type(one).__name__ for one in results) == ["OperationBusy", "OperationBusy", "Receipt"]
    assert next(one for one in results if isinstance(one, OperationBusy)).holder


def test_a_duplicate_waits_no_longer_than_it_may(hf: Holdfast):
    bank = Bank(make(hf), wait="200ms")
    bank.slow = 0.8
    results = Crew.all([lambda: bank.charge("a", 5) for _ in range(2)], errors=True)
    assert sorted(type(one).__name__ for one in results) == ["OperationBusy", "Receipt"]


def crashed(ops: Any, bank: Any, amount: int = 5) -> None:
    """A call whose process died in the middle, and whose lease has ended."""
    place = bank.charge._calls().place("a")
    request = bank.charge._keys.fingerprint(("a", amount), {})
    ops._desk.begin(place, "f" * 32, ops._desk.plain.encode(None), request, again=True, timeout=5)
    ops._desk.wire.execute("HSET", place.record, "until", 1)
    ops._desk.wire.execute("ZADD", place.part.due, 1, place.name)


def test_after_a_crash_the_next_call_runs(hf: Holdfast):
    ops = make(hf)
    bank = Bank(ops)
    crashed(ops, bank)
    status: Any = bank.charge.inspect("a", 5)
    assert status.state == "interrupted"
    assert ops.recover(Clerk()) == 0  # no handler knows how to run it
    assert bank.charge("a", 5) == Receipt("a-1", 5)
    status = bank.charge.inspect("a", 5)
    assert status.attempt == 2


def test_after_a_crash_nobody_runs_what_must_not_run_twice(hf: Holdfast):
    ops = make(hf)
    bank = Bank(ops, interrupted="raise")
    crashed(ops, bank)
    with pytest.raises(OperationDead, match="interrupted"):
        bank.charge("a", 5)
    assert bank.calls == []
    assert ops.stats().died == 1


def test_a_function_sees_its_operation_and_its_checkpoints(hf: Holdfast):
    ops = make(hf, **QUICK)
    seen: list[Any] = []

    @ops.idempotent("{key}")
    def steps(key: str) -> str:
        op = current_operation()
        seen.append((op.attempt, dict(op.checkpoints)))
        if not op.checkpoints:
            op.checkpoint("charged", key)
            raise ValueError("in the middle")
        return "done"

    assert current_operation() is None
    with pytest.raises(ValueError):
        steps("k")
    assert steps("k") == "done"
    assert seen == [(1, {}), (2, {"charged": "k"})]
    assert current_operation() is None


def test_a_result_that_cannot_be_kept_is_not_run_for_again(hf: Holdfast):
    ops = make(hf)
    calls: list[int] = []

    @ops.idempotent("{key}")
    def wrong(key: str) -> int:
        calls.append(1)
        return "no int"  # type: ignore[return-value]

    with pytest.raises(CodecError):
        wrong("k")
    with pytest.raises(OperationDead):
        wrong("k")
    assert len(calls) == 1


def test_two_functions_do_not_share_keys(hf: Holdfast):
    ops = make(hf)

    @ops.idempotent("{key}")
    def one(key: str) -> str:
        return f"one {key}"

    @ops.idempotent("{key}")
    def two(key: str) -> str:
        return f"two {key}"

    @ops.idempotent("{key}", resource="one, renamed")
    def three(key: str) -> str:
        return f"three {key}"

    assert [one("k"), two("k"), three("k")] == ["one k", "two k", "three k"]


def test_methods_are_told_apart_by_their_arguments_alone(hf: Holdfast):
    ops = make(hf)

    class Till:
        def __init__(self, name: str) -> None:
            self.name = name

        @ops.idempotent("{key}", exclude=["trace"])
        def charge(self, key: str, body: dict[str, int], trace: object = None) -> str:
            return f"{self.name} {key}"

    assert Till("a").charge("k", {"x": 1, "y": 2}, object()) == "a k"
    assert Till("b").charge("k", {"y": 2, "x": 1}, object()) == "a k"
    with pytest.raises(ConflictError):
        Till("a").charge("k", {"x": 1})
    with pytest.raises(ConfigurationError, match="body"):
        Till("a").charge("k", object())  # type: ignore[arg-type]


def test_nonsense_is_refused_at_decoration(hf: Holdfast):
    ops = make(hf)

    def plain(key: str) -> None: ...

    for template in ("{nothing}", "", "{key"):
        with pytest.raises(ConfigurationError):
            ops.idempotent(template)(plain)
    for options in ({"on_duplicate": "shrug"}, {"interrupted": "maybe"}, {"wait": -1}):
        with pytest.raises(ConfigurationError):
            ops.idempotent("{key}", **options)
    with pytest.raises(ConfigurationError, match="nothing"):
        ops.idempotent("{key}", exclude=["nothing"])(plain)


def test_what_a_middleware_builds_on_keeps_bytes_as_they_are(hf: Holdfast):
    calls = make(hf, wait=0).calls("POST /payments", result=bytes, format="raw")
    begun: Any = calls.begin("k", "a fingerprint")
    with pytest.raises(OperationBusy):
        calls.begin("k", "a fingerprint")
    with begun as op:
        op.complete(b"\x00body")
    assert calls.begin("k", "a fingerprint") == Replay(b"\x00body")
    with pytest.raises(ConflictError):
        calls.begin("k", "another")


def test_a_call_whose_lease_was_lost_is_not_completed(hf: Holdfast):
    ops = make(hf, lease="1s")

    @ops.idempotent("{key}")
    def slow(key: str) -> str:
        hf.execute("UNLINK", current_operation()._place.record)
        return "done"

    with pytest.raises(OperationLost):
        slow("k")
