"""A process with one run, of either flavour; tells on its standard output what happens to it.

python running_stage.py sync|async SCENARIO
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from holdfast._running_async import AsyncRunning
from holdfast._running_sync import Running


def say(text: str) -> None:
    """A line for the test."""
    os.write(1, f"{text}\n".encode())


class Job:
    """A runnable whose job ends when the file `sys.argv[3]` is there."""

    group = None
    failure = None

    def __init__(self, name: str = "job") -> None:
        self.name = name
        self.alive = False
        self.hurried = False
        self._ending = threading.Lock()

    def start(self) -> None:
        self.alive = True
        say(f"{self.name} started")

    def close(self, drain: float) -> None:
        say(f"{self.name} closes {drain:g}")
        self.hurried = self.hurried or not drain
        while not (self.hurried or self._done()):
            time.sleep(0.01)
        self._end()

    def _done(self) -> bool:
        return Path(sys.argv[3]).exists()

    def _end(self) -> None:
        with self._ending:  # nobody shall go on before it is said
            if self.alive:
                self.alive = False
                say(f"{self.name} {'done' if self._done() else 'cut off'}")

    def is_idle(self) -> bool:
        return False


class AsyncJob(Job):
    """As `Job`."""

    async def close(self, drain: float) -> None:  # type: ignore[override]
        say(f"{self.name} closes {drain:g}")
        self.hurried = self.hurried or not drain
        while not (self.hurried or self._done()):
            await asyncio.sleep(0.01)
        self._end()

    async def is_idle(self) -> bool:  # type: ignore[override]
        return False


class Stuck(Job):
    """Does not end, whatever it is told."""

    def close(self, drain: float) -> None:
        say(f"{self.name} closes {drain:g}")
        time.sleep(60)


class AsyncStuck(AsyncJob):
    """As `Stuck`."""

    async def close(self, drain: float) -> None:  # type: ignore[override]
        say(f"{self.name} closes {drain:g}")
        await asyncio.sleep(60)


def run(flavour: str, *jobs: Any, **options: Any) -> None:
    """One run to its end; of several clients if there are several jobs."""
    if flavour == "sync":
        Running().run(jobs, **options)
        return

    async def main() -> None:
        await asyncio.gather(*(AsyncRunning().run([job], **options) for job in jobs))

    asyncio.run(main())


def main(flavour: str, scenario: str) -> None:
    """Play it."""
    kind: Any = AsyncJob if flavour == "async" else Job
    if scenario == "plain":
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        run(flavour, kind())
        say(f"restored {(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before}")
    elif scenario == "stuck":
        run(flavour, AsyncStuck() if flavour == "async" else Stuck())
    elif scenario == "ignored":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        run(flavour, kind())
    elif scenario == "two":
        run(flavour, kind("one"), kind("two"))
    elif scenario == "interrupt":  # Ctrl-C is Python's own here
        try:
            run(flavour, kind(), signals=False)
        except KeyboardInterrupt:
            say("interrupted")
    elif scenario == "own":
        running = AsyncRunning() if flavour == "async" else Running()
        signal.signal(signal.SIGUSR1, lambda *_: running.stop())
        outcome = running.run([kind()], signals=False)
        if flavour == "async":
            asyncio.run(outcome)  # type: ignore[arg-type]
    elif scenario == "fork":
        _fork(flavour, kind)
    say("over")


def _fork(flavour: str, kind: Any) -> None:
    class Forking(kind):  # type: ignore[misc]
        def start(self) -> None:
            super().start()
            child = os.fork()
            if not child:
                say(f"child {os.getpid()}")
                time.sleep(60)
                os._exit(0)
            self.child = child

        def _end(self) -> None:
            super()._end()
            _, status = os.waitpid(self.child, 0)
            say(f"child ended {os.waitstatus_to_exitcode(status)}")

    run(flavour, Forking())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
