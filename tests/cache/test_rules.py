"""The decisions of a cache, without any I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import MISSING, ConfigurationError, Missing
from holdfast._compat import Signal
from holdfast._values.envelope import EXPIRED, FLAGS_AT, HEADER, STAMP
from holdfast.cache import rules
from holdfast.cache.flight import Flights
from holdfast.cache.options import CacheOptions
from holdfast.cache.rules import Kind, Shape
from holdfast.errors import NoPermission, OutOfMemory, ReadOnly, Refused

EPOCH = b"epoch..1"
INTS, TEXTS = Shape(int), Shape(str)


def entry(value: Any, shape: Shape = INTS, *, epoch: bytes = EPOCH, stamp: bytes = b"stamp..1") -> bytes:
    body = rules.payload(value, shape)
    return rules.envelope(value, body, shape, stamp=stamp, epoch=epoch, loaded_at=1, ttl=1000, took=0.5)


def test_what_a_reader_may_do():
    assert rules.judge(entry(5), EPOCH, INTS) == (Kind.HIT, 5, "")
    assert rules.judge(entry(MISSING), EPOCH, INTS) == (Kind.HIT, MISSING, "")
    assert rules.judge(None, EPOCH, INTS).kind is Kind.NOTHING
    assert rules.judge(entry(5), None, INTS).kind is Kind.NOTHING
    assert rules.judge(entry(5), b"epoch..2", INTS).kind is Kind.NOTHING
    assert rules.judge(entry("x", TEXTS), EPOCH, INTS) == (Kind.OTHER, MISSING, "schema")
    assert rules.judge(entry(5)[:-1] + b"\xc1", EPOCH, INTS).kind is Kind.UNREADABLE
    assert rules.judge(b"foreign", EPOCH, INTS) == (Kind.UNREADABLE, MISSING, "foreign")


def test_a_softly_expired_entry_keeps_its_value():
    raw = bytearray(entry(5))
    raw[FLAGS_AT] |= EXPIRED
    assert rules.judge(bytes(raw), EPOCH, INTS) == (Kind.EXPIRED, 5, "")
    assert rules.seen(bytes(raw)) != rules.seen(entry(5))


def test_a_variant_counts_while_it_carries_the_stamp_of_its_entry():
    main, variant = entry("x", TEXTS), entry(5)
    assert rules.judge_variant(variant, main, INTS) == (Kind.HIT, 5, "")
    other = entry("y", TEXTS, stamp=b"stamp..2")
    assert rules.judge_variant(variant, other, INTS).kind is Kind.NOTHING
    assert rules.judge_variant(None, main, INTS).kind is Kind.NOTHING
    assert rules.judge_variant(main[STAMP], main, INTS).kind is Kind.NOTHING
    assert rules.judge_variant(main, main, INTS).kind is Kind.NOTHING
    assert INTS.variant != TEXTS.variant


@given(raw=st.binary(max_size=200), epoch=st.none() | st.binary(max_size=12))
def test_no_bytes_break_a_reader(raw: bytes, epoch: bytes | None):
    assert rules.judge(raw, epoch, INTS).kind in Kind
    assert rules.judge_variant(raw, entry(1), INTS).kind in Kind


@given(cut=st.integers(0, HEADER + 3), at=st.integers(0, HEADER), byte=st.integers(0, 255))
def test_no_damage_makes_another_value(cut: int, at: int, byte: int):
    whole = entry(300)
    raw = bytearray(whole)
    raw[at] = byte
    for damaged in (whole[:cut], bytes(raw)):
        verdict = rules.judge(damaged, EPOCH, INTS)
        header_says_so = damaged[:HEADER] != whole[:HEADER]  # a flag set by hand is a flag
        assert verdict.kind is not Kind.HIT or verdict.value == 300 or header_says_so or at == HEADER


@given(
    ttl=st.floats(0.001, 1e7),
    jitter=st.floats(0, 0.999),
    dice=st.floats(0, 1),
    negative=st.none() | st.floats(0, 1e6),
)
def test_store_for(ttl: float, jitter: float, dice: float, negative: float | None):
    lives = rules.store_for("x", ttl, negative, jitter, dice)
    assert 1 <= lives <= max(1, ttl * 1000)
    assert lives >= int(ttl * 1000 * (1 - jitter)) - 1
    for nothing in (None, MISSING):
        limit = ttl if negative is None else negative
        assert rules.store_for(nothing, ttl, negative, jitter, dice) <= max(1, limit * 1000)
    assert rules.store_for(None, ttl, 0, jitter, dice) == 0


@given(
    pttl=st.integers(-2, 10**6),
    remaining=st.floats(0, 1e6),
    dice=st.floats(0, 1),
    attempt=st.integers(0, 10**6),
)
def test_nobody_waits_longer_than_allowed(pttl: int, remaining: float, dice: float, attempt: int):
    assert 0 <= rules.park(pttl, remaining, dice) <= remaining
    assert 0 <= rules.poll(attempt, remaining, dice) <= min(remaining, rules.LONGEST_POLL)
    assert rules.left(float("inf"), 5) == rules.FOREVER
    assert rules.left(4, 5) == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OutOfMemory(code="OOM"), "out_of_memory"),
        (ReadOnly(code="READONLY"), "read_only"),
        (ReadOnly(code="MISCONF"), "misconf"),
        (NoPermission(code="NOPERM"), None),
        (Refused(code="WRONGTYPE"), None),
    ],
)
def test_why_refused(error: Refused, reason: str | None):
    assert rules.why_refused(error) == reason


def test_off():
    assert (
        rules.is_off("users", "users") and rules.is_off("users", "a, users ,b") and rules.is_off("users", "*")
    )
    assert not rules.is_off("users", "") and not rules.is_off("users", "user,users2")


# --- flights ------------------------------------------------------------------------------------------------


def test_only_who_came_before_the_decisive_step_may_share():
    flights = Flights()
    before = flights.tick
    flight, leader = flights.join("k", Signal)
    assert leader is None
    assert not rules.may_share(before, flight.began)
    flight.began = flights.step()
    assert rules.may_share(before, flight.began)
    assert not rules.may_share(flights.tick, flight.began)


def test_followers_are_woken_and_the_last_one_out_stops_the_flight():
    class Signal:
        fired = False

        def fire(self) -> None:
            self.fired = True

    class Task:
        cancelled = 0

        def cancel(self) -> None:
            self.cancelled += 1

    flights = Flights()
    flight, _ = flights.join("k", Signal)
    same, signal = flights.join("k", Signal)
    other, _ = flights.join("other", Signal)
    assert same is flight and signal is not None and other is not flight
    flight.task = Task()
    flights.leave(flight)
    assert flight.task.cancelled == 0
    flights.land(flight, 5)
    assert signal.fired and flight.value == 5
    flights.leave(flight)
    assert flight.task.cancelled == 0
    again, leader = flights.join("k", Signal)
    assert again is not flight and leader is None
    again.task = Task()
    flights.leave(again)
    assert again.task.cancelled == 1 and again.abandoned
    assert flights.join("k", Signal)[0] is not again


# --- options ------------------------------------------------------------------------------------------------


def test_options_are_kept_as_seconds():
    options = CacheOptions(
        ttl="10m", negative_ttl=timedelta(seconds=5), lease="2s", wait=None, timeout="50ms"
    )
    assert (options.ttl, options.negative_ttl, options.lease) == (600.0, 5.0, 2.0)
    assert (options.wait, options.timeout, options.jitter) == (None, 0.05, 0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": "soon"},
        {"ttl": None},
        {"jitter": 1},
        {"jitter": -0.1},
        {"jitter": True},
        {"negative_ttl": -1},
        {"lease": 0},
        {"lease": 1e-6},
        {"max_loads": 0},
        {"max_loads": 1.5},
        {"wait": "x"},
        {"timeout": 0},
        {"write": "behind"},
    ],
    ids=str,
)
def test_nonsense_is_refused_by_name(wrong: dict[str, Any]):
    with pytest.raises(ConfigurationError) as caught:
        CacheOptions(**{"ttl": "1h", **wrong})
    (name,) = wrong
    assert name in str(caught.value)


def test_same_options():
    one, same, other = CacheOptions(ttl="1h"), CacheOptions(ttl=3600), CacheOptions(ttl="2h", type=int)
    assert one.same_as(same)
    assert not one.same_as(other)
    assert "ttl=3600.0, not 7200.0" in one.difference(other) and "type" in one.difference(other)


def test_missing():
    assert not MISSING and MISSING is Missing.MISSING and repr(MISSING) == str(MISSING) == "MISSING"
