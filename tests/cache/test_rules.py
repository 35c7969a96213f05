"""The decisions of a cache, without any I/O."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import MISSING, ConfigurationError, Missing
from holdfast._compat import Signal
from holdfast._values.envelope import (
    EXPIRED,
    FLAGS_AT,
    HEADER,
    NEGATIVE,
    STAMP,
    VERSION,
    Envelope,
)
from holdfast.cache import rules
from holdfast.cache.flight import Flights
from holdfast.cache.options import CacheOptions
from holdfast.cache.rules import Draft, Kind, Verdict
from holdfast.cache.shape import Shape
from holdfast.errors import NoPermission, OutOfMemory, ReadOnly, Refused

EPOCH = b"epoch..1"
OPTIONS = CacheOptions(ttl="1h")
INTS, TEXTS = Shape(int, OPTIONS), Shape(str, OPTIONS)
TTL = 1000  # ms
DRAFT = Draft(b"stamp..1", EPOCH, loaded_at=1, ttl=TTL, took=0.5)
NAME = "the key"


def entry(value: Any, shape: Shape = INTS, draft: Draft = DRAFT) -> bytes:
    return rules.envelope(draft, *rules.payload(value, shape, NAME), shape)


def judge(
    raw: bytes | None, shape: Shape = INTS, epoch: bytes | None = EPOCH, left: int | None = None
) -> Verdict:
    """As a reader does it: first unpacked, then judged."""
    found = rules.unpacked(raw, epoch)
    return found if isinstance(found, Verdict) else rules.judge(found, shape, NAME, left)


def flagged(raw: bytes, flags: int) -> bytes:
    return raw[:FLAGS_AT] + bytes([raw[FLAGS_AT] | flags]) + raw[FLAGS_AT + 1 :]


def test_what_a_reader_may_do():
    assert judge(entry(5))[:3] == (Kind.HIT, 5, "")
    assert judge(entry(MISSING))[:3] == (Kind.HIT, MISSING, "")
    assert judge(entry(MISSING), TEXTS)[:3] == (Kind.HIT, MISSING, "")
    assert judge(None).kind is Kind.NOTHING
    assert judge(entry("x", TEXTS))[:3] == (Kind.OTHER, MISSING, "schema")
    assert judge(entry(5)[:-1] + b"\xc1").kind is Kind.UNREADABLE
    assert judge(b"foreign")[:3] == (Kind.UNREADABLE, MISSING, "foreign")
    known = judge(entry(5)).entry
    assert known is not None and (known.stamp, known.ttl, known.load_ms) == (DRAFT.stamp, TTL, 500)


@pytest.mark.parametrize("epoch", [None, b"epoch..2", rules.OFF])
def test_an_epoch_that_is_gone_or_another_one_makes_a_miss(epoch: bytes | None):
    """found: an entry without an epoch that was served while there is none (planted)."""
    assert judge(entry(5), epoch=epoch).kind is Kind.NOTHING
    assert judge(entry(5, draft=DRAFT._replace(epoch=rules.OFF)), epoch=epoch).kind is Kind.NOTHING


def test_a_softly_expired_entry_keeps_its_value():
    raw = flagged(entry(5), EXPIRED)
    assert judge(raw)[:3] == (Kind.EXPIRED, 5, "")
    assert judge(raw, left=TTL)[:3] == (Kind.EXPIRED, 5, "")
    assert judge(raw, TEXTS)[:2] == (Kind.EXPIRED, MISSING)
    assert rules.seen(raw) != rules.seen(entry(5))
    graced = flagged(entry(5, draft=DRAFT._replace(grace=100)), EXPIRED)
    for left in (1, 100, 101, 1100):  # whatever is left of its life
        assert judge(graced, left=left)[:2] == (Kind.EXPIRED, 5)


@given(grace=st.integers(1, 10**9), more=st.integers(-(10**9), 10**9))
def test_an_entry_is_stale_once_no_more_is_left_of_it_than_its_grace(grace: int, more: int):
    """found: `<` for `<=`, so that hot path and judge() disagreed for a millisecond (planted)."""
    raw = entry(5, draft=DRAFT._replace(grace=grace))
    left = max(0, grace + more)
    fresh = left > grace
    assert rules.is_fresh(raw, left) is fresh
    assert judge(raw, left=left)[:2] == (Kind.HIT if fresh else Kind.STALE, 5)
    assert judge(entry(MISSING, draft=DRAFT._replace(grace=grace)), left=left)[:2] == (
        Kind.HIT if fresh else Kind.STALE,
        MISSING,
    )
    assert judge(raw, TEXTS, left=left).kind is Kind.OTHER
    assert judge(raw, epoch=None, left=left).kind is Kind.NOTHING


def test_without_a_grace_an_entry_is_fresh_while_it_is_there():
    for left in (None, -1, 0, 1, TTL):
        assert judge(entry(5), left=left).kind is Kind.HIT


@given(grace=st.integers(1, 10**7), over=st.integers(0, 10**7), stale=st.floats(0, 10**4))
def test_a_reader_gets_nothing_that_is_stale_for_longer_than_he_allows(grace: int, over: int, stale: float):
    """The writer's grace may be longer than the reader's, as during a deployment."""
    left = max(0, grace - over)  # its ttl has been over for `grace - left` ms
    assert rules.may_serve(left, grace, stale) is (grace - left <= stale * 1000)
    assert rules.may_serve(grace, grace, 0)  # for no time at all
    assert not rules.may_serve(None, grace, stale)


def test_a_variant_counts_while_it_carries_the_stamp_of_its_entry():
    main, variant = entry("x", TEXTS), entry(5)
    found = rules.variant_of(variant, main)
    assert found is not None and rules.judge_variant(found, INTS, NAME)[:3] == (Kind.HIT, 5, "")
    other = entry("y", TEXTS, DRAFT._replace(stamp=b"stamp..2"))
    assert rules.variant_of(variant, other) is None
    assert rules.variant_of(None, main) is None
    assert rules.variant_of(main[STAMP], main) is None
    itself = rules.variant_of(main, main)
    assert itself is not None and rules.judge_variant(itself, INTS, NAME).kind is Kind.NOTHING
    assert rules.variant_of(b"?" + variant[1:], main) is None
    assert INTS.variant != TEXTS.variant


@given(
    raw=st.binary(max_size=200), epoch=st.none() | st.binary(max_size=12), left=st.none() | st.integers(-2)
)
def test_no_bytes_break_a_reader(raw: bytes, epoch: bytes | None, left: int | None):
    assert judge(raw, INTS, epoch, left).kind in Kind
    found = rules.variant_of(raw, entry(1))
    assert found is None or rules.judge_variant(found, INTS, NAME).kind in Kind


@given(cut=st.integers(0, HEADER + 3), at=st.integers(0, HEADER), byte=st.integers(0, 255))
def test_no_damage_makes_another_value(cut: int, at: int, byte: int):
    whole = entry(300)
    raw = bytearray(whole)
    raw[at] = byte
    for damaged in (whole[:cut], bytes(raw)):
        verdict = judge(damaged)
        header_says_so = damaged[:HEADER] != whole[:HEADER]  # a flag set by hand is a flag
        assert verdict.kind is not Kind.HIT or verdict.value == 300 or header_says_so or at == HEADER


# --- tags and versions --------------------------------------------------------------------------------------


def test_an_entry_is_current_while_all_its_tags_are_what_they_were():
    """found: `any` for `all`; a tag without a version passed over (planted)."""
    tags = (("a", b"version1"), ("b", b"version2"))
    assert rules.is_current((), {})
    assert rules.is_current(tags, {"a": b"version1", "b": b"version2", "c": None})
    assert not rules.is_current(tags, {"a": b"version1", "b": b"version3"})
    assert not rules.is_current(tags, {"a": b"version1", "b": None})  # evicted, or just invalidated
    assert not rules.is_current(tags, {"a": b"version1"})  # nobody asked


@pytest.mark.parametrize("version", [None, 1, -1, 2**63 - 1, -(2**63) + 1])
def test_what_can_be_a_version(version: int | None):
    assert rules.check_version(version) == version
    assert int.from_bytes(rules.version_bytes(version), "little", signed=True) == (version or 0)
    assert entry(5, draft=DRAFT._replace(version=version))[VERSION] == rules.version_bytes(version)


@pytest.mark.parametrize("wrong", [0, True, False, 2**63, -(2**63), 1.0, "7", b"7"], ids=repr)
def test_what_cannot_be_a_version(wrong: Any):
    """found: True counted as 1; 0, which means none to the scripts (planted)."""
    with pytest.raises(ConfigurationError, match="version="):
        rules.check_version(wrong)


# --- before it ends -----------------------------------------------------------------------------------------


def ending(ttl: int, grace: int = 0, took: float = 0.0) -> Envelope:
    found = rules.unpacked(entry(5, draft=DRAFT._replace(ttl=ttl, grace=grace, took=took)), EPOCH)
    assert isinstance(found, Envelope)
    return found


@given(
    took=st.integers(0, 60_000),
    early=st.floats(0.01, 100),
    left=st.integers(0, 10**6),
    grace=st.just(0) | st.integers(1, 10**6),
    dice=st.floats(0, 1, exclude_min=True),
)
def test_xfetch(took: int, early: float, left: int, grace: int, dice: float):
    """Reload if  now - delta * beta * log(rand) >= expiry  (Vattani et al., figure 4).

    found: the grace taken for a part of the ttl; log10; a dice that was added (planted).
    """
    one = ending(10**6, grace, took / 1000)
    assert abs(one.load_ms - took) <= 1
    sooner = -one.load_ms * early * math.log(dice)
    assert rules.early_by(one, early, dice) == pytest.approx(sooner)
    to_go = left - grace  # of its ttl
    if abs(to_go - sooner) > 1:
        assert rules.should_refresh(one, left, early, dice) is (0 >= to_go - sooner)


@pytest.mark.parametrize("early", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("gap", [0.2, 1.0, 3.0])
def test_of_many_readers_as_many_reload_as_the_paper_says(early: float, gap: float):
    """With `gap` loads' time to go, P(reload) = P(-ln u >= gap / beta) = exp(-gap / beta)."""
    one, dice, readers = ending(60_000, took=1.0, grace=5000), random.Random(1), 20_000
    left = 5000 + int(gap * 1000)
    reloads = sum(rules.should_refresh(one, left, early, 1.0 - dice.random()) for _ in range(readers))
    expected = math.exp(-gap / early)
    assert abs(reloads / readers - expected) < 5 * math.sqrt(expected * (1 - expected) / readers)


def test_among_ten_readers_a_second_about_one_reloads_and_before_the_end():
    """The point of it: nobody waits, and few load for nothing."""
    one, dice = ending(60_000, took=1.0), random.Random(2)
    loads = late = 0
    for _ in range(500):
        # ten readers a second, from 10 s before the end; who reloads is done a second later
        began: list[int] = []
        for left in range(10_000, -1, -100):
            if began and began[0] - left >= 1000:
                break
            if rules.should_refresh(one, left, 1.0, 1.0 - dice.random()):
                began.append(left)
        loads += len(began)
        late += not began or began[0] < 1000
    assert 500 <= loads < 5000
    assert late < 200


@given(ttl=st.integers(1, 10**9), left=st.integers(-1, 10**9), grace=st.integers(0, 10**6))
def test_is_last_fifth(ttl: int, left: int, grace: int):
    """found: a fifth of what the server keeps it for, grace and all (planted)."""
    assert rules.is_last_fifth(ending(ttl, grace), left + grace) is (left <= ttl / 5)


# --- writing ------------------------------------------------------------------------------------------------


@given(
    ttl=st.integers(1, 10**9),
    grace=st.integers(0, 10**9),
    took=st.floats(0, 200),
    version=st.none() | st.integers(1, 2**63 - 1),
    tags=st.lists(st.tuples(st.text(max_size=9), st.binary(min_size=8, max_size=8)), max_size=3).map(tuple),
    etag=st.text(max_size=9),
    value=st.integers(-(2**31), 2**31) | st.just(MISSING),
)
def test_what_is_drafted_is_what_is_read(
    ttl: int, grace: int, took: float, version: int | None, tags: Any, etag: str, value: Any
):
    draft = Draft(b"stamp..1", EPOCH, 5, ttl, grace, took, version, tags, etag)
    assert draft.lives == ttl + grace
    verdict = judge(entry(value, draft=draft), left=draft.lives)
    one = verdict.entry
    assert one is not None and verdict[:2] == (Kind.HIT, value)
    assert (one.ttl, one.grace, one.version, one.tags, one.etag) == (ttl, grace, version, tags, etag)
    assert one.load_ms >= min(int(took * 1000), 131_070)
    assert bool(one.flags & NEGATIVE) is (value is MISSING)


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
        {"write": "sideways"},
        {"stale": "60d"},
        {"stale": -1},
        {"soft_timeout": 0},
        {"throttle": 0},
        {"early": -1},
        {"early": True},
        {"warm": 0},
        {"l1": True},
        {"codec": "pickle"},
        {"compression": "lzma"},
        {"compress_above": "much"},
        {"chunk_above": 1},
        {"coalesce": "10ms"},
        {"load_scope": 5},
        {"audit": 1.5},
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
