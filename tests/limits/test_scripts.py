"""Single rules of the scripts, on a clock that the test sets."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.limits import rules
from holdfast.limits.options import Limit
from tests.limits.bench import Bench

START = 1_700_000_000_000_000
SECOND = 1_000_000
ALGORITHMS: list[Any] = ["gcra", "sliding", "fixed", "log"]
FORGOTTEN = {"gcra": 10, "sliding": 20, "fixed": 10, "log": 10}  # seconds after which a hit does not count


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_does_not_count_any_more_is_not_given_back(hf: Holdfast, algorithm: Any):
    bench = Bench(hf, [Limit(5, "10s", algorithm=algorithm)])
    late = START + FORGOTTEN[algorithm] * SECOND + 1
    assert bench.check(5, START)[0] == 0
    fits = next(cost for cost in range(5, 0, -1) if bench.check(cost, late)[0] == 0)
    assert bench.check(1, late)[0] == -1
    bench.adjust(-5, late, str(START))
    assert bench.check(1, late)[0] == -1, "what was used then is no reason to allow more now"
    bench.adjust(-fits, late, str(late))
    assert bench.check(fits, late)[0] == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_is_given_back_while_somebody_waits(hf: Holdfast, algorithm: Any):
    bench = Bench(hf, [Limit(2, "10s", algorithm=algorithm), Limit(9, "1s", name="wide")])
    assert bench.check(2, START)[0] == 0
    wait, *_ = bench.hold(1, 100 * SECOND, START)
    assert wait > 0
    before = bench.check(1, START, take=False)
    assert bench.adjust(-2, START) == 0
    assert bench.check(1, START, take=False) == before
    assert bench.adjust(-1, START + wait) == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_clock_that_was_set_back_keeps_nobody_waiting_for_longer(hf: Holdfast, algorithm: Any):
    bench = Bench(hf, [Limit(2, "10s", algorithm=algorithm)])
    assert bench.check(2, START)[0] == 0
    back = START - 3600 * SECOND
    denied, _, wait, _ = bench.check(1, back)
    assert denied == -1
    assert wait <= 15 * SECOND
    assert bench.check(1, back + wait - 1)[0] == -1
    assert bench.check(1, back + wait)[0] == 0
    assert bench.check(1, START + 3600 * SECOND)[0] == 0


def test_a_denial_clears_a_log_away(hf: Holdfast):
    bench = Bench(hf, [Limit(100, "10s", algorithm="log")])
    for hit in range(90):
        bench.check(1, START + hit)
    bench.check(50, START + 5 * SECOND)
    assert bench.check(60, START + 11 * SECOND)[0] == 0
    assert bench.check(60, START + 11 * SECOND)[0] == -1
    assert hf.execute("LLEN", f"{bench.key}:l:10s") == 1
    bench.reset()
    for hit in range(90):
        bench.check(1, START + hit)
    assert bench.check(10, START + 9 * SECOND)[0] == 0
    assert bench.check(95, START + 11 * SECOND)[0] == -1
    assert hf.execute("LLEN", f"{bench.key}:l:10s") == 1
    assert bench.reset() == 1
    assert hf.execute("EXISTS", bench.key, f"{bench.key}:l:10s") == 0


def test_a_log_of_many_pages(hf: Holdfast):
    bench = Bench(hf, [Limit(200, "10s", algorithm="log")])
    for hit in range(200):
        assert bench.check(1, START + hit * 1000)[0] == 0
    assert bench.check(150, START + SECOND)[2] == 9 * SECOND + 149_000
    assert bench.check(150, START + 10 * SECOND + 149_000)[0] == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_limits_of_its_own(hf: Holdfast, algorithm: Any):
    bench = Bench(hf, [Limit(5, "10s")])
    assert bench.check(4, START)[0] == 0
    own = (Limit(2, "1s", algorithm=algorithm, name="own"), Limit(50, "10s"))
    hf.execute("SET", f"{bench.key}:o", rules.own_text(own))
    reply = bench.check(2, START)
    assert reply[0] == 0
    decision = bench.table.decide(reply)
    assert [one.limit for one in decision.states] == list(own)
    assert [one.remaining for one in decision.states] == [0, 44]
    assert bench.table.decide(bench.check(2, START)).violated == ("own",)
    told = bench.hold(1, 10 * SECOND, START)
    assert told[0] > 0
    hf.execute("DEL", f"{bench.key}:o")
    assert bench.check(1, START)[0] == -1


def test_only_the_kinds_that_are_needed_are_in_a_script():
    bare = rules.script("check", "g")
    assert "kinds.g" in bare.text
    assert "kinds.l =" not in bare.text
    assert "kinds.f =" in rules.script("check", "c").text
    assert all(f"kinds.{kind} =" in rules.script("check").text for kind in rules.EVERY)


WAITS: dict[Any, list[int]] = {
    "gcra": [5, 10, 15],
    "sliding": [15, 20, 30],
    "fixed": [10, 10, 20],
    "log": [10, 10, 20],
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_who_waits_waits_no_longer_than_he_must(hf: Holdfast, algorithm: Any):
    bench = Bench(hf, [Limit(2, "10s", algorithm=algorithm)])
    assert bench.check(2, START)[0] == 0
    waits = [bench.hold(1, 100 * SECOND, START)[0] for _ in range(3)]
    assert waits == [one * SECOND for one in WAITS[algorithm]]


def test_a_bucket_that_became_smaller_is_full_and_not_more(hf: Holdfast):
    bench = Bench(hf, [Limit(100, "10s", name="x")])
    assert bench.check(100, START)[0] == 0
    bench.become([Limit(10, "10s", name="x")])
    assert bench.check(1, START)[:3] == [-1, 0, SECOND]
