"""A run and what comes from outside: signals, forks, cancellation, event loops that end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast._ending import AsyncBell, Bell
from holdfast._running_async import AsyncRunning
from holdfast._running_sync import Running
from tests.test_running_async import AsyncHand
from tests.test_running_async import until as auntil
from tests.test_running_sync import Hand, begun, until

PATIENCE = 20.0
STAGE = Path(__file__).with_name("running_stage.py")


class Stage:
    """A process that plays a scenario, and what it has said so far."""

    def __init__(self, flavour: str, scenario: str, file: Path) -> None:
        self.file = file
        self.process = subprocess.Popen(
            [sys.executable, str(STAGE), flavour, scenario, str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())

    def says(self, *expected: str) -> None:
        """Wait until it says these lines, in this order and nothing between them."""
        for line in expected:
            try:
                assert self._lines.get(timeout=PATIENCE) == line
            except queue.Empty:
                pytest.fail(f"it never said {line!r}")

    def next(self) -> str:
        """What it says next."""
        return self._lines.get(timeout=PATIENCE)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def finish(self) -> None:
        """Let its job end."""
        self.file.touch()

    def end(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(PATIENCE)


@pytest.fixture(params=["sync", "async"])
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stage(flavour: str, tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    """Starts a process that plays a scenario."""
    with contextlib.ExitStack() as stack:

        def start(scenario: str) -> Stage:
            stage = Stage(flavour, scenario, tmp_path / "done")
            stack.callback(_close, stage.process)
            return stage

        yield start


def _close(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_what_is_in_work_is_finished_and_the_handlers_come_back(
    stage: Callable[[str], Stage], number: int
) -> None:
    play = stage("plain")
    play.says("job started")
    play.send(number)
    play.says("job closes 10")
    play.finish()
    play.says("job done", "restored True", "over")
    assert play.end() == 0


def test_the_second_signal_gives_up_what_is_in_work(stage: Callable[[str], Stage]) -> None:
    play = stage("plain")
    play.says("job started")
    play.send(signal.SIGTERM)
    play.says("job closes 10")
    play.send(signal.SIGINT)
    play.says("job closes 0", "job cut off", "restored True", "over")
    assert play.end() == 0


def test_the_third_does_what_it_would_have_done_without_us(stage: Callable[[str], Stage]) -> None:
    """A run that hangs must not be immune to a SIGTERM."""
    play = stage("stuck")
    play.says("job started")
    play.send(signal.SIGTERM)
    play.says("job closes 10")
    play.send(signal.SIGTERM)
    play.says("job closes 0")
    play.send(signal.SIGTERM)
    assert play.end() == -signal.SIGTERM


def test_what_is_ignored_stays_ignored(stage: Callable[[str], Stage]) -> None:
    """A script's `&` and nohup mean: not this one."""
    play = stage("ignored")
    play.says("job started")
    play.send(signal.SIGINT)
    play.send(signal.SIGTERM)
    play.says("job closes 10")
    play.finish()
    play.says("job done", "over")


def test_several_runs_in_one_process_hear_the_same_signals(tmp_path: Path) -> None:
    """A second client that took the signals for itself would leave the first running for ever."""
    play = Stage("async", "two", tmp_path / "done")
    with contextlib.ExitStack() as stack:
        stack.callback(_close, play.process)
        play.says("one started", "two started")
        play.send(signal.SIGTERM)
        assert {play.next(), play.next()} == {"one closes 10", "two closes 10"}
        play.finish()
        assert {play.next(), play.next()} == {"one done", "two done"}
        play.says("over")


def test_without_signals_ctrl_c_is_raised_when_all_is_closed(stage: Callable[[str], Stage]) -> None:
    play = stage("interrupt")
    play.says("job started")
    play.send(signal.SIGINT)
    play.says("job closes 10")
    play.finish()
    play.says("job done", "interrupted", "over")


def test_stop_may_be_called_from_a_signal_handler(stage: Callable[[str], Stage]) -> None:
    play = stage("own")
    play.says("job started")
    for _ in range(50):  # however it meets the waiting main thread
        play.send(signal.SIGUSR1)
    play.says("job closes 10")
    play.finish()
    play.says("job done", "over")


def test_the_child_of_a_fork_can_be_ended_by_a_signal_and_the_run_goes_on(
    stage: Callable[[str], Stage],
) -> None:
    """With our handler in place, a process that a handler started could not be terminated any more."""
    play = stage("fork")
    play.says("job started")
    child = int(play.next().removeprefix("child "))
    os.kill(child, signal.SIGTERM)
    play.send(signal.SIGTERM)
    play.says("job closes 10")
    play.finish()
    play.says("job done", f"child ended {-signal.SIGTERM}", "over")


def test_a_bell_may_be_rung_at_any_point_of_its_wait() -> None:
    """The handler of a signal comes in the middle of `wait`, in the very thread that waits: a lock that this
    one holds would never be given back.
    """
    bell, left = Bell(), list(range(100))

    def interrupt(*_: object) -> None:
        if left:
            left.pop()
            bell.ring()

    sys.setprofile(interrupt)  # called wherever a signal could be handled
    try:
        while left:
            bell.wait(PATIENCE)
    finally:
        sys.setprofile(None)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    run, hand = Running(), Hand()
    side = begun(run, hand)
    until(lambda: hand.alive)
    assert signal.getsignal(signal.SIGTERM) == before
    run.stop()
    side.end()


# --- asyncio ---------------------------------------------------------------------------------------------


async def _running(run: AsyncRunning, hand: AsyncHand) -> asyncio.Task[None]:
    task = asyncio.create_task(run.run([hand]))
    await auntil(lambda: hand.alive)
    return task


async def test_cancelled_it_drains_and_cancelled_once_more_it_does_not() -> None:
    run, hand = AsyncRunning(), AsyncHand(job=True)
    task = await _running(run, hand)
    task.cancel()
    await auntil(lambda: hand.drains)
    assert not task.done()
    hand.finish()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hand.drains == [10.0]

    hand = AsyncHand(job=True)
    task = await _running(run, hand)
    task.cancel()
    await auntil(lambda: hand.drains)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hand.drains == [10.0, 0.0]
    assert hand.ended


async def test_it_can_be_stopped_from_another_thread_and_another_event_loop() -> None:
    run, hand = AsyncRunning(), AsyncHand()
    task = await _running(run, hand)

    async def stop() -> None:
        run.stop()

    await asyncio.to_thread(lambda: asyncio.run(stop()))
    await asyncio.wait_for(task, PATIENCE)
    assert hand.ended


def test_a_loop_that_was_closed_in_the_middle_has_ended_its_run() -> None:
    """Else this client could never run again."""
    run = AsyncRunning()
    loop = asyncio.new_event_loop()

    async def begin() -> Any:
        return await _running(run, AsyncHand())

    task = loop.run_until_complete(begin())
    left = [one for one in asyncio.all_tasks(loop) if one is not task]
    loop.close()
    for one in (task, *left):
        one._log_destroy_pending = False  # pyright: ignore[reportAttributeAccessIssue]
    run.stop()  # tells nobody

    async def again() -> None:
        hand = AsyncHand()
        other = await _running(run, hand)
        run.stop()
        await other

    asyncio.run(again())


async def test_the_bell_of_tasks_is_over_with_its_loop() -> None:
    bell = await asyncio.to_thread(lambda: asyncio.run(_bell()))
    assert bell.is_over
    bell.ring()


async def _bell() -> AsyncBell:
    return AsyncBell()
