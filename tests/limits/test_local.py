"""The limits that one process counts alone, against models in exact fractions."""

import threading
from fractions import Fraction
from math import ceil, floor, inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.limits.decision import Decision
from holdfast.limits.local import LocalLimits
from holdfast.limits.options import Algorithm, Limit

MICROS = 1_000_000


def clock(micros: int) -> float:
    """A time that is in the middle of a microsecond, where no rounding of floats can move it out."""
    return (micros + 0.5) / MICROS


def micros(seconds: float) -> float:
    return seconds if seconds == inf else round(seconds * MICROS)


# --- what the algorithms are, in fractions of seconds -------------------------------------------------------


class Gcra:
    """The theoretical arrival time of the next cell."""

    def __init__(self, limit: Limit) -> None:
        self.quota, self.burst = limit.quota, limit.most
        self.each = Fraction(round(limit.window * MICROS), MICROS * limit.quota) if limit.quota else None
        self.arrival = Fraction(0)

    def ahead(self, now: Fraction) -> Fraction:
        return max(Fraction(0), self.arrival - now)

    def left(self, now: Fraction) -> int:
        return 0 if self.each is None else max(0, floor(self.burst - self.ahead(now) / self.each))

    def allows(self, cost: int, now: Fraction) -> bool:
        return self.each is not None and self.ahead(now) / self.each + cost <= self.burst

    def take(self, cost: int, now: Fraction) -> None:
        assert self.each is not None
        self.arrival = max(now, max(self.arrival, now) + cost * self.each)

    def reset(self, now: Fraction) -> Fraction:
        return self.ahead(now)


class Sliding:
    """The count of each window there ever was."""

    def __init__(self, limit: Limit) -> None:
        self.quota, self.window = limit.quota, Fraction(round(limit.window * MICROS), MICROS)
        self.counts: dict[int, int] = {}

    def used(self, now: Fraction) -> Fraction:
        number = floor(now / self.window)
        covered = 1 - (now - number * self.window) / self.window
        return self.counts.get(number - 1, 0) * covered + self.counts.get(number, 0)

    def left(self, now: Fraction) -> int:
        return max(0, floor(self.quota - self.used(now)))

    def allows(self, cost: int, now: Fraction) -> bool:
        return self.used(now) + cost <= self.quota

    def take(self, cost: int, now: Fraction) -> None:
        number = floor(now / self.window)
        count = self.counts.get(number, 0) + cost
        self.counts[number] = max(0, count)
        if count < 0:
            self.counts[number - 1] = max(0, self.counts.get(number - 1, 0) + count)

    def reset(self, now: Fraction) -> Fraction:
        number = floor(now / self.window)
        ends = [(one + 2) * self.window - now for one in (number - 1, number) if self.counts.get(one, 0) > 0]
        return max(ends, default=Fraction(0))


class Fixed:
    """The count of each window there ever was."""

    def __init__(self, limit: Limit) -> None:
        self.quota, self.window = limit.quota, Fraction(round(limit.window * MICROS), MICROS)
        self.counts: dict[int, int] = {}

    def count(self, now: Fraction) -> int:
        return self.counts.get(floor(now / self.window), 0)

    def left(self, now: Fraction) -> int:
        return self.quota - self.count(now)

    def allows(self, cost: int, now: Fraction) -> bool:
        return self.count(now) + cost <= self.quota

    def take(self, cost: int, now: Fraction) -> None:
        self.counts[floor(now / self.window)] = max(0, self.count(now) + cost)

    def reset(self, now: Fraction) -> Fraction:
        number = floor(now / self.window)
        return (number + 1) * self.window - now if self.counts.get(number) else Fraction(0)


class Log:
    """Everything that was ever let through, one by one."""

    def __init__(self, limit: Limit) -> None:
        self.quota, self.window = limit.quota, Fraction(round(limit.window * MICROS), MICROS)
        self.hits: list[Fraction] = []

    def young(self, now: Fraction) -> list[Fraction]:
        return [one for one in self.hits if one > now - self.window]

    def left(self, now: Fraction) -> int:
        return self.quota - len(self.young(now))

    def allows(self, cost: int, now: Fraction) -> bool:
        return len(self.young(now)) + cost <= self.quota

    def take(self, cost: int, now: Fraction) -> None:
        self.hits = self.young(now)
        self.hits += [now] * cost
        if cost < 0:
            self.hits = self.hits[:cost]

    def reset(self, now: Fraction) -> Fraction:
        return max((one + self.window - now for one in self.young(now)), default=Fraction(0))


MODELS: dict[str, Any] = {"gcra": Gcra, "sliding": Sliding, "fixed": Fixed, "log": Log}
ALGORITHMS = list(MODELS)


def check(decision: Decision, models: list[Any], limits: list[Limit], cost: int, now: Fraction) -> None:
    """Make sure that `decision` says what the models say, before anything is charged."""
    allow = [model.allows(cost, now) for model in models]
    real = [place for place, limit in enumerate(limits) if not limit.shadow]
    assert decision.degraded
    assert decision.allowed == all(allow[place] for place in real)
    assert bool(decision) is decision.allowed
    assert decision.violated == tuple(limits[place].label for place in real if not allow[place])
    assert decision.shadowed == tuple(
        one.label for place, one in enumerate(limits) if one.shadow and not allow[place]
    )
    assert [one.retry_after == 0.0 for one in decision.states] == allow
    for state, model in zip(decision.states, models, strict=True):
        wait, unit = micros(state.retry_after), state.limit.measure.unit
        if 0 < wait < inf:  # not a unit earlier than it says, and then for sure
            assert not model.allows(cost, now + Fraction(int(wait) - unit, MICROS))
            assert model.allows(cost, now + Fraction(int(wait), MICROS))
    if decision.allowed:
        for model, yes in zip(models, allow, strict=True):
            if yes:
                model.take(cost, now)
    for state, model in zip(decision.states, models, strict=True):
        assert state.remaining == max(0, model.left(now))
        unit = state.limit.measure.unit
        assert micros(state.reset_after) == ceil(model.reset(now) * MICROS / unit) * unit
    told = [decision.states[place] for place in real] or list(decision.states)
    assert decision.remaining == min(one.remaining for one in told)
    assert decision.retry_after == (0.0 if decision.allowed else max(one.retry_after for one in told))
    assert decision.reset_after == max(one.reset_after for one in told)
    tightest = next(one for one in told if one.limit is decision.limit)
    assert tightest.retry_after == max(one.retry_after for one in told)
    assert tightest.retry_after or tightest.remaining == decision.remaining


@st.composite
def a_limit(draw: st.DrawFn, algorithm: str, name: str | None = None) -> Limit:
    quota = draw(st.integers(0, 12))
    burst = draw(st.none() | st.integers(1, 20)) if algorithm == "gcra" and quota else None
    per = draw(st.sampled_from(["1s", "3s", "250ms", "700us", "7us", "1m"]))
    kind: Algorithm = algorithm  # type: ignore[assignment]
    return Limit(quota, per, burst=burst, algorithm=kind, name=name, shadow=draw(st.booleans()))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["check", "check", "check", "peek", "refund", "retry"]),
        st.integers(1, 6),
        st.one_of(st.just(0), st.integers(0, 20), st.integers(0, 2_000_000), st.just(40_000_000)),
    ),
    max_size=25,
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.data(), steps=STEPS, begin=st.integers(0, 10**12))
@settings(max_examples=150, deadline=None)
def test_agrees_with_exact_fractions(algorithm: str, data: st.DataObject, steps: Any, begin: int) -> None:
    limit = data.draw(a_limit(algorithm))
    local, model, at = LocalLimits((limit,), 1.0, 10), MODELS[algorithm](limit), begin
    for name, cost, pause in steps:
        at += pause
        now = Fraction(at, MICROS)
        if name == "refund":
            local.refund("ann", cost, clock(at))
            if limit.quota:
                model.take(-cost, now)
            continue
        if name == "check":
            check(local.decide("ann", cost, clock(at)), [model], [limit], cost, now)
            continue
        found = local.decide("ann", cost, clock(at), take=False)
        assert local.decide("ann", cost, clock(at), take=False) == found, "a look changes nothing"
        wait = micros(found.states[0].retry_after)
        assert (wait == 0) == model.allows(cost, now)
        if name == "retry" and 0 < wait < inf:
            # Not a microsecond earlier than it says, and then for sure.
            assert not model.allows(cost, Fraction(at + int(wait) - 1, MICROS))
            at += int(wait)
            assert model.allows(cost, Fraction(at, MICROS))
            check(local.decide("ann", cost, clock(at)), [model], [limit], cost, Fraction(at, MICROS))
        elif wait == inf:
            assert cost > limit.most


@given(data=st.data(), steps=STEPS)
@settings(max_examples=200, deadline=None)
def test_several_limits_say_yes_together_or_nothing_is_charged(data: st.DataObject, steps: Any) -> None:
    kinds = data.draw(st.lists(st.sampled_from(ALGORITHMS), min_size=2, max_size=4))
    limits = [data.draw(a_limit(kind, name=f"{kind}{place}")) for place, kind in enumerate(kinds)]
    models = [MODELS[kind](limit) for kind, limit in zip(kinds, limits, strict=True)]
    local, at = LocalLimits(tuple(limits), 1.0, 10), 0
    for name, cost, pause in steps:
        at += pause
        now = Fraction(at, MICROS)
        if name == "refund":
            continue
        if name == "check":
            check(local.decide("ann", cost, clock(at)), models, limits, cost, now)
        else:
            pairs = zip(models, limits, strict=True)
            allowed = all(model.allows(cost, now) or limit.shadow for model, limit in pairs)
            assert local.decide("ann", cost, clock(at), take=False).allowed == allowed


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_large_numbers_are_counted_in_a_coarser_unit(algorithm: Algorithm) -> None:
    limit = Limit(90_000, "365d", algorithm=algorithm)
    local, model = LocalLimits((limit,), 1.0, 10), MODELS[algorithm](limit)
    unit = limit.measure.unit
    for at in (0, 17 * unit, 10**13 // unit * unit):
        check(local.decide("ann", 30_000, clock(at)), [model], [limit], 30_000, Fraction(at, MICROS))
        check(local.decide("ann", 70_000, clock(at)), [model], [limit], 70_000, Fraction(at, MICROS))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_clock_that_goes_backwards_counts_as_one_that_stands(algorithm: Algorithm) -> None:
    local = LocalLimits((Limit(4, "10s", algorithm=algorithm),), 1.0, 10)
    assert local.decide("ann", 3, 1000.0)
    for back in (0.001, 5.0, 900.0):
        found = local.decide("ann", 3, 1000.0 - back)
        assert not found
        assert found.remaining == 1
        assert found.retry_after <= 20.0
        assert found.reset_after <= 20.0
    assert local.decide("ann", 1, 1000.0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_share_scales_quota_and_burst_but_leaves_one(algorithm: Algorithm) -> None:
    def admitted(quota: int, share: float, burst: int | None = None) -> int:
        local = LocalLimits((Limit(quota, "1h", algorithm=algorithm, burst=burst),), share, 10)
        return sum(bool(local.decide("ann", 1, 1000.0)) for _ in range(50))

    assert admitted(20, 1.0) == 20
    assert admitted(20, 0.25) == 5
    assert admitted(3, 0.1) == 1
    assert admitted(0, 0.1) == 0
    if algorithm == "gcra":
        assert admitted(20, 0.25, burst=40) == 10
        assert admitted(20, 0.25, burst=1) == 1


def test_subjects_are_counted_apart_and_forgotten_on_demand() -> None:
    local = LocalLimits((Limit(1, "1h"),), 1.0, 10)
    assert local.decide("ann", 1, 5.0)
    assert not local.decide("ann", 1, 5.0)
    assert local.decide("bob", 1, 5.0)
    local.reset("ann")
    assert local.decide("ann", 1, 5.0)


def test_forgets_whoever_was_not_asked_about_for_longest() -> None:
    local = LocalLimits((Limit(1, "1h"),), 1.0, 2)
    assert local.decide("ann", 1, 5.0)
    assert local.decide("bob", 1, 5.0)
    assert not local.decide("ann", 1, 5.0)
    assert local.decide("eve", 1, 5.0)
    assert len(local) == 2
    assert not local.decide("ann", 1, 5.0)
    assert local.decide("bob", 1, 5.0), "it was forgotten"


def test_who_is_only_looked_at_or_denied_takes_no_room() -> None:
    local = LocalLimits((Limit(1, "1h"), Limit(0, "1m")), 1.0, 2)
    assert not local.decide("ann", 1, 5.0)
    assert not local.decide("bob", 1, 5.0, take=False)
    local.refund("eve", 1, 5.0)
    assert len(local) == 0


def test_threads_together_get_no_more_than_one_would() -> None:
    local = LocalLimits((Limit(500, "1h"), Limit(700, "1d", algorithm="log")), 1.0, 10)
    admitted: list[int] = []

    def work() -> None:
        admitted.append(sum(bool(local.decide("ann", 1, 1000.0)) for _ in range(400)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(admitted) == 500
