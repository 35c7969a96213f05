"""What the probes play on: a server, one library's stream, and the processes that work on it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import redis

from benchmarks.streams.crew import Crew

HOME = str(Path(__file__).parents[2])
STARTS = 20.0  # seconds that a process may take to start, and to handle what is there
_names = itertools.count(time.time_ns())


class Verdict(NamedTuple):
    """How a probe went: `text`: in a few words; `detail`: figures."""

    ok: bool
    text: str = "ok"
    detail: str = ""


class Line(NamedTuple):
    """What a handler wrote: when, in which process, whether it begins or ends, and with which message."""

    at: float
    hand: int
    word: str
    text: str


class Hand:
    """A process that handles messages."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    def signal(self, number: int) -> None:
        """Send it one, if it is still there; but for SIGTERM also to what it has started itself."""
        with suppress(ProcessLookupError):
            (os.kill if number == signal.SIGTERM else os.killpg)(self.pid, number)

    @property
    def is_dead(self) -> bool:
        """Has it ended?"""
        return self._process.returncode is not None

    async def ends(self, patience: float) -> bool:
        """Does it end by then?"""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), patience)
        return self.is_dead


@dataclass
class Stage:
    """A server, a client of it, a library, and what its processes say. `idle`, `longest`: see crew.py."""

    url: str
    aside: redis.Redis
    kind: type[Crew]
    idle: float = 2.0

    def crew(self, longest: float = 1.0) -> Play:
        """A stream that nobody has used."""
        made = self.kind(self.url, f"probe-{next(_names)}", self.idle, longest)
        return Play(self, made)


class Play:
    """A library's stream, and the processes that work on it."""

    def __init__(self, stage: Stage, crew: Crew) -> None:
        self.crew, self.stage = crew, stage
        self.lines: list[Line] = []
        self.hands: list[Hand] = []
        self._readers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def on(self, hands: int = 1) -> AsyncIterator[Play]:
        """With so many processes, which are ready; afterwards none is left."""
        try:
            for _ in range(hands):
                await self.hire()
            yield self
        finally:
            for hand in self.hands:
                hand.signal(signal.SIGKILL)
            await asyncio.gather(*self._readers)

    async def hire(self) -> Hand:
        """One more process."""
        crew = self.crew
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.streams.crew", type(crew).__name__, self.stage.url, crew.name,
            f"{crew.idle}", f"{crew.longest}", stdout=asyncio.subprocess.PIPE, cwd=HOME,
            start_new_session=True, stderr=None if os.environ.get("LOUD") else asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        hand = Hand(process)
        self.hands.append(hand)
        self._readers.append(asyncio.create_task(self._read(process)))
        return hand

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            word, at, text = (*line.decode(errors="replace").split(), "", "")[:3]
            if word in ("begin", "end"):
                self.lines.append(Line(float(at), process.pid, word, text))
        await process.wait()

    async def ready(self) -> None:
        """Every process that lives has handled something; who has not yet gets more to do."""
        give_up = time.monotonic() + STARTS
        while missing := {one.pid for one in self.hands if not one.is_dead} - {
            one.hand for one in self.lines
        }:
            assert time.monotonic() < give_up, "the processes do not start"
            for _ in missing:
                await self.crew.publish(f"slow:0.1:warm-{next(_names)}")
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[None]:
        """Inside, other messages come: some libraries look for what others left only then."""

        async def publish() -> None:
            while True:
                await self.crew.publish(f"ok:tick-{next(_names)}")
                await asyncio.sleep(0.4)

        task = asyncio.create_task(publish())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def of(self, text: str, word: str = "begin") -> list[Line]:
        """What was said of a message."""
        return [one for one in self.lines if one.text == text and one.word == word]

    async def until(self, that: Callable[[], Any], patience: float) -> Any:
        """What `that` says as soon as it says something, or at the latest then."""
        give_up = time.monotonic() + patience
        while not (found := that()) and time.monotonic() < give_up:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.02)
        return found

    def hand(self, pid: int) -> Hand:
        """The process with that number."""
        return next(one for one in self.hands if one.pid == pid)

    def groups(self) -> list[Any]:
        """The groups of our streams."""
        aside = self.stage.aside
        keys = list(aside.scan_iter(f"*{self.crew.name}*", count=1000, _type="stream"))
        return [(key, group) for key in keys for group in aside.xinfo_groups(key)]
