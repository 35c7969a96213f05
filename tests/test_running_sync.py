# Generated from test_running_async.py by tools/unasync.py. Do not edit.
"""A run: what starts, what ends it, and that nothing is left or dies in silence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import _running_sync as running
from holdfast._compat import Signal, sleep, monotonic
from holdfast._coord.background import Background
from holdfast._running_sync import Running
from holdfast.errors import ConfigurationError, HoldfastError, Unavailable

PATIENCE = 20.0


def until(met: Callable[[], object]) -> None:
    """Wait until `met()`."""
    give_up = monotonic() + PATIENCE
    while not met():
        assert monotonic() < give_up, "it never came true"
        sleep(0.002)


class Hand:
    """A runnable that does nothing but tell what was asked of it. `job`: what it has in work at the end."""

    def __init__(self, name: str = "hand", group: str | None = "g", *, job: bool = False) -> None:
        self.name, self.group = name, group
        self.failure: Exception | None = None
        self.starts = self.asked = 0
        self.answers: list[Any] = []  # to is_idle, before True
        self.drains: list[float] = []  # of its closes
        self.ended = False
        self._job = job
        self._done = Signal()
        self._end = Signal()

    def start(self) -> None:
        self.ended = False
        self._end.clear()
        self._background = Background(self.name, self._work)
        self.starts += 1

    def _work(self) -> None:
        self._end.wait(PATIENCE)
        self.ended = True

    def finish(self) -> None:
        """What it has in work is done."""
        self._done.fire()

    def die(self, failure: Exception | None) -> None:
        """It ends by itself."""
        self.failure = failure
        self._end.fire()

    def close(self, drain: float) -> None:
        self.drains.append(drain)
        if self._job and drain:
            self._done.wait(drain)
        self._end.fire()
        until(lambda: not self.alive)

    def is_idle(self) -> bool:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    @property
    def alive(self) -> bool:
        return self.starts > 0 and self._background.alive


class Side:
    """Work at the side, and how it ended."""

    def __init__(self, work: Any) -> None:
        self.error: Exception | None = None
        self.over = False
        self._work = work
        self._background = Background("side", self._run)

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self.error = error
        self.over = True

    def end(self) -> None:
        """Wait for its end, and raise what it raised."""
        until(lambda: self.over)
        if self.error is not None:
            raise self.error


def begun(run: Running, *hands: Hand, **options: Any) -> Side:
    """A run of `hands` at the side."""
    return Side(lambda: run.run(hands, **options))


def test_it_runs_all_until_it_is_stopped_and_closes_them_with_the_drain() -> None:
    run, hands = Running(), [Hand("a"), Hand("b")]
    side = begun(run, *hands, drain="3s")
    until(lambda: all(one.alive for one in hands))
    assert not side.over
    run.stop()
    side.end()
    assert [one.drains for one in hands] == [[3.0], [3.0]]
    assert not any(one.alive for one in hands)


def test_they_are_closed_side_by_side() -> None:
    """One after the other, the second would take up new work for as long as the first is drained."""
    run, hands = Running(), [Hand("a", job=True), Hand("b")]
    side = begun(run, *hands)
    until(lambda: all(one.alive for one in hands))
    run.stop()
    until(lambda: hands[1].ended)
    assert hands[0].alive
    assert not side.over
    hands[0].finish()
    side.end()


def test_stop_before_the_first_run_ends_it_and_later_ones_do_nothing() -> None:
    """Whoever starts a run at the side and stops it at once must not wait for ever."""
    run, hand = Running(), Hand()
    run.stop()
    begun(run, hand).end()
    assert hand.starts == 0
    run.stop()
    side = begun(run, hand)  # a stop after a run was over was not meant for the next one
    until(lambda: hand.alive)
    assert run.phase in {"starting", "running"}
    run.stop()
    run.stop()
    side.end()


def test_two_runs_at_once_are_refused_and_the_first_goes_on() -> None:
    run, hand, other = Running(), Hand(), Hand("other")
    side = begun(run, hand)
    until(lambda: hand.alive)
    with pytest.raises(ConfigurationError, match="runs already"):
        run.run([other])
    assert other.starts == 0
    assert hand.alive
    run.stop()
    side.end()
    again = begun(run, other)
    until(lambda: other.alive)
    run.stop()
    again.end()


def test_a_failure_ends_the_run_and_is_its_error_once_the_others_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run, hands = Running(), [Hand("a"), Hand("b", job=True)]
    side = begun(run, *hands)
    until(lambda: hands[1].alive)
    hands[0].die(ConfigurationError("no such thing"))
    until(lambda: hands[1].drains)
    assert not side.over
    assert run.phase == "stopping"
    hands[1].finish()
    with pytest.raises(ConfigurationError, match="no such thing"):
        side.end()
    assert hands[1].ended
    assert "a has failed" in caplog.text


def test_whoever_ends_without_a_word_is_an_error_too() -> None:
    run, hand = Running(), Hand("a", None)
    side = begun(run, hand)
    until(lambda: hand.alive)
    hand.die(None)
    with pytest.raises(HoldfastError, match="a has ended, though nobody stopped it"):
        side.end()


def test_one_that_cannot_be_started_leaves_none_of_the_others_at_work() -> None:
    run, first, second = Running(), Hand("a"), Hand("b")

    def start() -> None:
        raise ConfigurationError("not so")

    second.start = start  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="not so"):
        run.run([first, second])
    assert first.ended
    assert not second.drains


class CtrlC(BaseException):
    """What is raised in the middle of anything."""


def test_whoever_is_interrupted_in_the_middle_of_its_start_is_closed() -> None:
    run, hand = Running(), Hand()
    start = hand.start

    def interrupted() -> None:
        start()
        raise CtrlC

    hand.start = interrupted  # type: ignore[method-assign]
    with pytest.raises(CtrlC):
        run.run([hand])
    assert hand.ended


def test_a_close_that_fails_is_raised_and_hinders_no_other() -> None:
    run, hands = Running(), [Hand("a"), Hand("b")]
    side = begun(run, *hands)
    until(lambda: all(one.alive for one in hands))

    def close(drain: float) -> None:
        hands[0].die(None)
        raise ValueError(f"within {drain}")

    hands[0].close = close  # type: ignore[method-assign]
    run.stop()
    with pytest.raises(ValueError, match="within 10"):
        side.end()
    assert hands[1].ended


def test_until_idle_asks_all_until_they_said_so_twice_in_a_row() -> None:
    """What one hands to another between two questions would be missed by a single round."""
    run, hands = Running(), [Hand("a"), Hand("b")]
    hands[0].answers = [False, True, True, True]
    hands[1].answers = [True, False, True]
    run.run(hands, until="idle")
    # rounds: not a; both; a, but not b; both; both
    assert [one.asked for one in hands] == [5, 4]
    assert all(one.ended for one in hands)


def test_a_server_that_does_not_answer_has_not_said_that_it_is_idle() -> None:
    run, hand = Running(), Hand()
    hand.answers = [True, Unavailable("away"), True]
    run.run([hand], until="idle")
    assert hand.asked == 4


def test_a_question_that_cannot_be_asked_is_raised() -> None:
    run, hand = Running(), Hand()
    hand.answers = [ConfigurationError("no such group")]
    with pytest.raises(ConfigurationError, match="no such group"):
        run.run([hand], until="idle")
    assert hand.ended


def test_until_idle_can_be_stopped_and_sees_who_dies() -> None:
    run, hand = Running(), Hand()
    hand.answers = [False] * 10_000
    side = begun(run, hand, until="idle")
    until(lambda: hand.asked > 2)
    run.stop()
    side.end()
    side = begun(run, hand, until="idle")
    until(lambda: hand.starts == 2)
    hand.die(ValueError("dead"))
    with pytest.raises(ValueError, match="dead"):
        side.end()


def test_at_once_gives_up_what_is_in_work() -> None:
    run, hand = Running(), Hand(job=True)
    side = begun(run, hand)
    until(lambda: hand.alive)
    run.stop()
    until(lambda: hand.drains)
    run.stop(at_once=True)
    side.end()
    assert hand.drains == [10.0, 0.0]


def test_what_does_not_end_is_left_alone_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "LAST_WORDS", 0.05)
    run, hand, never = Running(), Hand(), Signal()
    side = begun(run, hand, drain=0)
    until(lambda: hand.alive)

    def close(drain: float) -> None:
        never.wait(PATIENCE + drain)

    hand.close = close  # type: ignore[method-assign]
    run.stop()
    side.end()
    assert "hand does not end; it is left alone" in caplog.text
    never.fire()
    hand.die(None)
    until(lambda: not hand.alive)


def test_closing_the_client_waits_for_the_end_of_the_run() -> None:
    run, hand = Running(), Hand(job=True)
    run.close(1.0)  # nothing runs yet
    run = Running()
    side = begun(run, hand)
    until(lambda: hand.alive)
    closing = Side(lambda: run.close(PATIENCE))
    until(lambda: hand.drains)
    assert not closing.over
    hand.finish()
    closing.end()
    side.end()
    assert hand.ended


def test_closing_the_client_gives_up_what_is_in_work_after_its_own_patience() -> None:
    """The run would wait longer than the client, whose connections it still needs."""
    run, hand = Running(), Hand(job=True)
    side = begun(run, hand)
    until(lambda: hand.alive)
    run.close(0.05)
    assert hand.ended
    assert hand.drains == [10.0, 0.0]
    side.end()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"until": "done"}, "until='done'"),
        ({"drain": "soon"}, "drain='soon'"),
        ({"runnables": ()}, "nothing to run"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Running().run(**{"runnables": [Hand()], **options})


def test_nothing_is_logged_when_nothing_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "holdfast"):
        Running().run([Hand()], until="idle")
    assert not caplog.records
