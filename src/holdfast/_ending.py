"""What ends a run: a bell that a signal handler may ring, and the signals of the process.

Both flavours of the bell by hand. That of threads is no threading.Event: its `set` takes a lock that the main
thread may hold at the very moment at which the handler interrupts it, and nobody would ever give it back.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from holdfast._compat import ASignal

ENDING = (signal.SIGTERM, signal.SIGINT)


class AsyncBell:
    """Wakes the task that waits for it; `ring` may be called from any thread and from a signal handler."""

    def __init__(self) -> None:
        self._signal = ASignal()

    def ring(self) -> None:
        """Wake whoever waits, now or the next time."""
        self._signal.fire()

    @property
    def is_over(self) -> bool:
        """Can nobody wait for it any more, since its event loop was closed?"""
        return self._signal.is_over

    async def wait(self, timeout: float) -> None:
        """Until it is rung, at most `timeout` seconds."""
        await self._signal.wait(timeout)
        self._signal.clear()


class Bell:
    """Wakes the thread that waits for it; `ring` may be called from any thread and from a signal handler."""

    def __init__(self) -> None:
        self._rung: queue.SimpleQueue[None] = queue.SimpleQueue()  # the one queue whose `put` is re-entrant

    def ring(self) -> None:
        """Wake whoever waits, now or the next time."""
        self._rung.put(None)

    @property
    def is_over(self) -> bool:
        """Can nobody wait for it any more? A thread always can."""
        return False

    def wait(self, timeout: float) -> None:
        """Until it is rung, at most `timeout` seconds."""
        try:
            self._rung.get(timeout=timeout)
            while True:
                self._rung.get_nowait()
        except queue.Empty:
            pass


Told = Callable[[], None]


class Interrupts:
    """SIGTERM and SIGINT of this process, for whoever runs in it: each is told of every one.

    The handlers that were there before come back when the last of them has ended, and also after the second
    signal: a third does what it would have done without us. What this process was told to ignore when it was
    started (by nohup, or a script's `&`) stays ignored. The child of a fork gets back what was there before:
    it runs nothing of ours, and a SIGTERM must end it.

    Handlers of `signal.signal`, not of the event loop: those of the loop cannot be put back as they were, and
    one loop knows nothing of the run in another.
    """

    def __init__(self) -> None:
        self._told: tuple[Told, ...] = ()
        self._before: dict[signal.Signals, Any] = {}
        self._heard = 0

    @contextmanager
    def told_to(self, told: Told) -> Iterator[None]:
        """While this is entered, `told` is called for each signal; outside the main thread it never is."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._told = (*self._told, told)
        try:
            if len(self._told) == 1:
                self._take()
            yield
        finally:
            if len(self._told) == 1:
                self._give_back()
            self._told = tuple(one for one in self._told if one != told)

    def _take(self) -> None:
        self._heard = 0
        for number in ENDING:
            before = signal.getsignal(number)
            if before is not None and before != signal.SIG_IGN:  # None: of C, and could not be put back
                self._before[number] = before
                signal.signal(number, self._hear)

    def _give_back(self) -> None:
        while self._before:
            number, before = self._before.popitem()
            if signal.getsignal(number) == self._hear:  # else somebody has taken it from us meanwhile
                signal.signal(number, before)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._heard += 1
        if self._heard > 1:
            self._give_back()
        for told in self._told:
            told()

    def forget(self) -> None:
        """In the child of a fork."""
        self._told = ()
        self._give_back()


INTERRUPTS = Interrupts()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=INTERRUPTS.forget)
