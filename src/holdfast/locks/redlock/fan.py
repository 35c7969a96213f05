"""Asking several servers side by side: what differs between threads and tasks. Both halves by hand.

A round ends when everybody has answered; or, once it is `decided` what comes of it, a moment later: as long
again as it took so far, and at least as long as `decided` says. So whoever answers about as fast as the
others is heard, and one that is frozen costs next to nothing. Whoever is not heard goes on until its own
deadline, and nobody listens.

Tasks are cheap, so there one is made for each call. Threads are kept for the next round; they end after a
while without work, and a child of a fork starts without.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from holdfast._compat import monotonic

T = TypeVar("T")

IDLE = 10.0  # seconds after which a thread without work ends

Decided = Callable[[Sequence[T | None]], float | None]


def until(least: float | None, begun: float, now: float) -> float | None:
    """Until when (monotonic) to wait for the rest; None if it is not decided yet."""
    return None if least is None else now + max(least, now - begun)


class AsyncFan:
    """Asks with tasks."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._under_way: set[asyncio.Task[Any]] = set()  # the loop holds tasks weakly

    async def ask(
        self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]] | None], decided: Decided[T]
    ) -> list[T | None]:
        """What `calls`, which must not raise, returned, by node; None where there is no call, or no answer
        yet. They go on if the caller is cancelled.
        """
        answers: list[T | None] = [None] * self._nodes
        begun, give_up = monotonic(), None
        places = {asyncio.ensure_future(call()): i for i, call in enumerate(calls) if call is not None}
        self._under_way.update(places)
        for task in places:
            task.add_done_callback(self._under_way.discard)
        pending: set[asyncio.Task[T]] = set(places)
        while pending:
            left = None if give_up is None else give_up - monotonic()
            if left is not None and left <= 0:
                break
            done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                answers[places[task]] = task.result()
            if give_up is None:
                give_up = until(decided(answers), begun, monotonic())
        return answers

    def close(self) -> None:
        """Nothing is kept between two rounds."""


class Fan:
    """Asks with threads."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._crew = _Crew()

    def ask(self, calls: Sequence[Callable[[], T] | None], decided: Decided[T]) -> list[T | None]:
        """What `calls`, which must not raise, returned, by node; None where there is no call, or no answer
        yet.
        """
        if self._crew.pid != os.getpid():
            self._crew = _Crew()  # its threads are the parent's
        crew, under_way = self._crew, _Round(self._nodes, calls)
        for job in under_way.jobs():
            crew.do(job)
        return under_way.outcome(decided)

    def close(self) -> None:
        """Let the threads go that have nothing to do."""
        self._crew.dismiss()


class _Round(Generic[T]):
    """One question to all, and the answers so far."""

    def __init__(self, nodes: int, calls: Sequence[Callable[[], T] | None]) -> None:
        self._calls = calls
        self._answers: list[T | None] = [None] * nodes
        self._open = sum(1 for call in calls if call is not None)
        self._news = threading.Condition()

    def jobs(self) -> list[Callable[[], None]]:
        """What is to be done, side by side."""
        return [partial(self._do, place, call) for place, call in enumerate(self._calls) if call is not None]

    def _do(self, place: int, call: Callable[[], T]) -> None:
        answer: T | None = None
        try:
            answer = call()
        finally:
            with self._news:
                self._answers[place] = answer
                self._open -= 1
                self._news.notify()

    def outcome(self, decided: Decided[T]) -> list[T | None]:
        """The answers, once there is no need to wait for more."""
        begun, give_up = monotonic(), None
        with self._news:
            while self._open:
                left = None if give_up is None else give_up - monotonic()
                if left is not None and left <= 0:
                    break
                self._news.wait(left)
                if give_up is None:
                    give_up = until(decided(self._answers), begun, monotonic())
            return list(self._answers)


class _Crew:
    """Daemon threads, as many as are busy at a time."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = 0
        self._guard = threading.Lock()

    def do(self, job: Callable[[], None]) -> None:
        """Have `job` done, by a thread that has nothing to do or by a new one."""
        if self._employ(job):
            return
        try:
            threading.Thread(target=self._work, args=(job,), name="holdfast-redlock", daemon=True).start()
        except RuntimeError:  # no thread can be started: then one after the other
            job()

    def dismiss(self) -> None:
        """End the threads that have nothing to do."""
        while self._employ(None):
            pass

    def _employ(self, job: Callable[[], None] | None) -> bool:
        with self._guard:
            if not self._idle:
                return False
            self._idle -= 1
            self._jobs.put(job)
            return True

    def _work(self, job: Callable[[], None] | None) -> None:
        while job is not None:
            job()
            with self._guard:
                self._idle += 1
            job = self._next()

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._jobs.get(timeout=IDLE)
        except queue.Empty:
            with self._guard:
                if self._idle:
                    self._idle -= 1
                    return None
        return self._jobs.get()  # somebody has counted on us just now
