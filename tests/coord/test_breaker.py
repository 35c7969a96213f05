"""The breaker's state machine, held against a model that keeps the whole history."""

from __future__ import annotations

import os
import sys
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast._coord.breaker import Breaker
from tests.wire.lab import child_status

FIRST, LONGEST = 0.1, 1.0


class Machine(RuleBasedStateMachine):
    """found: several probes at once; doubling for calls that were under way when it opened; a probe that
    never reports and is never replaced; not starting over with short pauses."""

    @initialize(threshold=st.integers(1, 4), dice=st.floats(0, 1))
    def start(self, threshold: int, dice: float) -> None:
        self.breaker = Breaker(threshold, FIRST, LONGEST, lambda: dice)
        self.threshold = threshold
        self.now = 100.0
        self.in_a_row = 0
        self.pauses: list[float] = []  # since it was last closed: when each one began
        self.probe: float | None = None

    def longest_pause(self) -> float:
        return min(LONGEST, FIRST * 2 ** (len(self.pauses) - 1))

    @rule(seconds=st.floats(0, 1.5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        allowed = self.breaker.allow(self.now)
        if not self.pauses:
            assert allowed
            return
        rested = self.now - max(self.pauses[-1], self.probe or 0.0)
        if rested >= self.longest_pause():
            assert allowed, "nobody would ever find out"
        if rested < self.longest_pause() / 2:
            assert not allowed, "every call would pay the timeout"
        if allowed:
            self.probe = self.now
            assert not self.breaker.allow(self.now), "one probe, not two"

    @rule()
    def succeed(self) -> None:
        assert self.breaker.success() is bool(self.pauses)
        self.in_a_row, self.pauses, self.probe = 0, [], None

    @rule()
    def fail(self) -> None:
        opened = self.breaker.failure(self.now)
        if self.pauses:
            assert not opened
            if self.probe is not None:
                self.pauses.append(self.now)
                self.probe = None
            return
        self.in_a_row += 1
        assert opened is (self.in_a_row == self.threshold)
        if opened:
            self.pauses = [self.now]

    @invariant()
    def tells_its_state(self) -> None:
        if not hasattr(self, "breaker"):
            return
        state = self.breaker.state(self.now)
        assert (state == "closed") is (not self.pauses)
        if self.probe is not None:
            assert state == "half-open"


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_a_breaker_is_what_its_model_says = Machine.TestCase


def test_pauses_double_up_to_the_longest_and_start_over_after_a_success() -> None:
    breaker, now = Breaker(first=FIRST, longest=LONGEST, dice=lambda: 0.0), 0.0
    for expected in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        breaker.failure(now)
        assert breaker.state(now) == "open"
        assert not breaker.allow(now + expected - 0.001)
        now += expected
        assert breaker.state(now) == "half-open"
        assert breaker.allow(now)
    assert breaker.success()
    assert breaker.state(now) == "closed"
    breaker.failure(now)
    assert breaker.allow(now + FIRST)


def test_one_of_many_threads_gets_the_probe() -> None:
    """found: no mutex around the decision."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        race_for_probes()
    finally:
        sys.setswitchinterval(interval)


def race_for_probes() -> None:
    breaker = Breaker(dice=lambda: 0.0)
    breaker.failure(0.0)
    for turn in range(1, 200):
        start = threading.Barrier(8)
        allowed: list[bool] = []

        def ask(
            now: float = float(turn * 10), start: threading.Barrier = start, to: list[bool] = allowed
        ) -> None:
            start.wait()
            to.append(breaker.allow(now))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(allowed) == 1
        breaker.failure(turn * 10.0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_decision_leaves_no_lock_behind() -> None:
    breaker, stop = Breaker(), threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            breaker.failure(0.0)
            breaker.success()

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            pid = os.fork()
            if not pid:
                breaker.failure(0.0)
                breaker.success()
                os._exit(0)
            assert child_status(pid) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
