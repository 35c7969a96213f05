"""Several callers at once, for both flavours: AsyncCrowd in tasks, Crowd in threads; joined at the end."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any, Self

PATIENCE = 30.0  # seconds after which a test is given up


class Job:
    """One caller in a thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._outcome: tuple[Any, BaseException | None] | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._outcome = (self._work(), None)
        except BaseException as error:
            self._outcome = (None, error)

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        self.thread.join(PATIENCE)
        assert self._outcome is not None, "still at it"
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    @property
    def done(self) -> bool:
        """Has it ended?"""
        return self._outcome is not None


class Crowd:
    """`with Crowd() as crowd: job = crowd.start(work)`."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def start(self, work: Callable[[], Any]) -> Job:
        """Have somebody do `work`."""
        self.jobs.append(Job(work))
        return self.jobs[-1]

    def all(self, count: int, work: Callable[[], Any]) -> list[Any]:
        """What `count` callers of `work` got."""
        return [job.result() for job in [self.start(work) for _ in range(count)]]

    def settle(self) -> None:
        """Give the others a moment to get on the way."""
        threading.Event().wait(0.05)

    @staticmethod
    def until(ask: Callable[[], Any], wanted: Any = True) -> None:
        """Ask until the answer is `wanted`."""
        answer, end = ask(), time.monotonic() + PATIENCE
        while answer != wanted:
            assert time.monotonic() < end, f"still {answer!r}, not {wanted!r}"
            time.sleep(0.004)
            answer = ask()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self.jobs:
            job.thread.join(PATIENCE)


class AsyncJob:
    """One caller in a task."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.task: asyncio.Task[Any] = asyncio.ensure_future(work())

    async def result(self) -> Any:
        """What it returned; raises what it raised."""
        async with asyncio.timeout(PATIENCE):
            return await self.task

    @property
    def done(self) -> bool:
        """Has it ended?"""
        return self.task.done()


class AsyncCrowd:
    """`async with AsyncCrowd() as crowd: job = crowd.start(work)`."""

    def __init__(self) -> None:
        self.jobs: list[AsyncJob] = []

    def start(self, work: Callable[[], Any]) -> AsyncJob:
        """Have somebody do `work`."""
        self.jobs.append(AsyncJob(work))
        return self.jobs[-1]

    async def all(self, count: int, work: Callable[[], Any]) -> list[Any]:
        """What `count` callers of `work` got."""
        return [await job.result() for job in [self.start(work) for _ in range(count)]]

    async def settle(self) -> None:
        """Give the others a moment to get on the way."""
        await asyncio.sleep(0.05)

    @staticmethod
    async def until(ask: Callable[[], Any], wanted: Any = True) -> None:
        """Ask until the answer is `wanted`; what can be awaited is."""
        end = time.monotonic() + PATIENCE
        while True:
            answer = ask()
            answer = await answer if inspect.isawaitable(answer) else answer
            if answer == wanted:
                return
            assert time.monotonic() < end, f"still {answer!r}, not {wanted!r}"
            await asyncio.sleep(0.004)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.jobs:
            await asyncio.wait([job.task for job in self.jobs], timeout=PATIENCE)
        for job in self.jobs:
            if job.done and not job.task.cancelled():
                job.task.exception()


class Observer:
    """Remembers every signal."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def notify(self, signal: Any) -> None:
        """Remember."""
        self.seen.append(signal)

    def names(self) -> list[str]:
        """The kinds of signals seen, in order."""
        return [type(one).__name__ for one in self.seen]
