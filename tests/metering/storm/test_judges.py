"""The judges of a storm: what is a fault, and what may have been none."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import pytest

from holdfast import Limit
from tests.metering.storm.judges import (
    Charge,
    Loss,
    judge_counts,
    judge_limits,
    judge_ranks,
    judge_sessions,
    judge_sums,
    kinds,
    reachable,
    too_much,
)

BUCKET = Limit(10, "1s", burst=2)


def diaries(**told: list[dict[str, Any]]) -> Any:
    return defaultdict(list, told)


def test_a_window_that_took_too_much_is_found():
    quick = [Charge(5.0, 5.001, 1)] * 3
    assert too_much(BUCKET, quick)
    assert not too_much(BUCKET, quick[:2])
    assert not too_much(BUCKET, [*quick[:2], Charge(5.1, 5.101, 1)]), "0.1 s are worth one"
    assert not too_much(BUCKET, [*quick[:2], Charge(4.0, 5.001, 1)]), "it may have been long before"
    assert not too_much(BUCKET, [*quick, Charge(5.0, math.inf, -1)]), "one was given back"


def test_a_log_is_exact_over_any_window():
    log = Limit(2, "500ms", algorithm="log")
    assert too_much(log, [Charge(at, at, 1) for at in (1.0, 1.2, 1.4)])
    assert not too_much(log, [Charge(at, at, 1) for at in (1.0, 1.2, 1.5)])


def test_a_decision_of_a_server_that_stood_still_is_degraded():
    one = {"key": "bucket/s0", "cost": 1, "ok": True, "degraded": False, "cached": False, "at": [2.0, 2.1]}
    assert kinds(judge_limits(diaries(checked=[one]), [], [(1.0, 3.0)])) == {"not degraded": 1}
    assert not judge_limits(diaries(checked=[one | {"degraded": True}]), [], [(1.0, 3.0)])


def test_who_was_booked_later_stands_behind():
    first = {"moment": 500, "at": [1.0, 1.1]}
    assert kinds(judge_limits(diaries(booked=[first, {"moment": 400, "at": [1.2, 1.3]}]), [], [])) == {
        "order": 1
    }
    assert not judge_limits(diaries(booked=[first, {"moment": 400, "at": [1.05, 1.3]}]), [], [])


def test_what_was_revoked_stays_so():
    created = {"root": "r", "user": "u", "at": [1.0, 1.1]}
    loaded = {"root": "r", "found": "r", "user": "u", "numbers": {}, "at": [3.0, 3.1]}
    for ended in (
        {"revoked": [{"root": "r", "at": [2.0, 2.1]}]},
        {"revoked_all": [{"user": "u", "at": [2.0, 2.1]}]},
    ):
        told = diaries(created=[created], loaded=[loaded], **ended)
        assert kinds(judge_sessions(told, [])) == {"came back": 1}
        assert not judge_sessions(told, [Loss(2.5, 2.6, 2.0, False)]), "a failover may have lost it"
        assert judge_sessions(told, [Loss(2.5, 2.6, 2.5, True)]), "who has lost everything lets nobody in"


def test_another_users_data_and_a_lost_update_are_found():
    created = {"root": "r", "user": "u", "at": [1.0, 1.1]}
    saved = {"root": "r", "name": "k", "n": 7, "at": [2.0, 2.1]}
    loaded = {"root": "r", "found": "s", "user": "v", "numbers": {"k": 6}, "at": [3.0, 3.1]}
    found = kinds(judge_sessions(diaries(created=[created], saved=[saved], loaded=[loaded]), []))
    assert found == {"another's": 2, "lost update": 1}


@pytest.mark.parametrize(("score", "fault"), [(3, False), (5, False), (4, True), (7, True)])
def test_what_is_in_doubt_counts_once_or_not_at_all(score: int, fault: bool):
    asked = [{"id": n, "board": "dense", "pairs": [("m", by)]} for n, by in ((1, 3), (2, 2))]
    told = diaries(adding=asked, added=[{"id": 1, "at": [1.0, 1.1]}])
    scores = {"dense": {"m": score}, "first": {}, "competition": {}}
    assert bool(judge_sums(told, [], scores)) is fault
    assert reachable([3], [2, 4]) == {3, 5, 7, 9}


def test_ranks_are_recomputed():
    rows = {"competition": [1, 1, 3], "dense": [1, 1, 2], "first": [1, 2, 3]}
    for board, ranks in rows.items():
        for other in rows:
            assert bool(judge_ranks(other, list(zip([9, 9, 4], ranks, strict=True)))) is (other != board)


@pytest.mark.parametrize(("found", "fault"), [(9, True), (10, False), (15, False), (16, True)])
def test_a_killed_process_loses_at_most_what_it_had_not_flushed(found: int, fault: bool):
    told = diaries(
        counting=[{"who": "a", "total": 10, "at": [1.0, 1.0]}, {"who": "a", "total": 15, "at": [3.0, 3.0]}],
        flushed=[{"who": "a", "total": 10, "at": [1.5, 2.0]}],
    )
    assert bool(judge_counts(told, [], found, {"a": found})) is fault
    assert judge_counts(told, [], found + 1, {"a": found}), "the total differs from the sum"
