"""Leaders that are killed, frozen and woken: other processes, on a real server."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast import Holdfast

WORKER = Path(__file__).with_name("worker.py")
TTL = 1.5  # seconds
PATIENCE = 30.0


class Process:
    """A worker, and what it has said."""

    def __init__(self, url: str, namespace: str, who: str, ttl: float) -> None:
        self.lines: list[list[str]] = []
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), url, namespace, who, str(ttl)], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.split())

    def said(self, what: str) -> list[list[str]]:
        """The lines that begin with `what`."""
        return [line for line in list(self.lines) if line and line[0] == what]

    def times(self, what: str) -> list[float]:
        """When it said them."""
        return [float(line[-1]) for line in self.said(what)]

    def send(self, number: int) -> None:
        """A signal."""
        self.process.send_signal(number)

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def two(url: str, namespace: str, elsewhere: str = "", ttl: float = TTL) -> Iterator[tuple[Process, Process]]:
    """One that leads, and one that wants to; the first may have a way of its own to the server."""
    one = Process(elsewhere or url, namespace, "one", ttl)
    try:
        until(lambda: one.said("wrote"))
        other = Process(url, namespace, "two", ttl)
        try:
            time.sleep(0.7)  # until it campaigns
            yield one, other
        finally:
            other.close()
    finally:
        one.close()


def until(ask: Callable[[], Any]) -> None:
    """Wait until `ask` says yes."""
    end = time.monotonic() + PATIENCE
    while not ask():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_one_that_is_killed_is_succeeded(hf: Holdfast, server, namespace: str):
    """Within its ttl, with a greater fence; observers see both."""
    seen: list[str] = []
    with two(server.url, namespace) as (one, other), hf.leader("x").observe() as observation:
        watcher = threading.Thread(
            target=lambda: seen.extend("" if holder is None else holder.label for holder in observation),
            daemon=True,
        )
        watcher.start()
        until(lambda: hf.leader("x").current())
        killed = time.monotonic()
        one.send(signal.SIGKILL)
        until(lambda: other.said("begin"))
        assert other.times("begin")[0] - killed < TTL + 5.0  # and not only when somebody looks
        assert other.times("begin")[0] > one.times("wrote")[-1]
        assert int(other.said("begin")[0][1]) > int(one.said("begin")[0][1])
        time.sleep(0.3)
        observation.close()
        watcher.join(PATIENCE)
    assert [label for label in seen if label] == ["one", "two"]


def test_one_that_is_cut_off_ends_before_the_other_begins(server, faults, namespace: str):
    """It needs up to 300 ms to notice that nobody answers, and has a second for it. found: with TERM = 1 it
    ended after the other had begun.
    """
    with two(server.url, namespace, faults.url, ttl=3.0) as (one, other):
        faults.blackhole()
        until(lambda: other.said("begin"))
        until(lambda: one.said("end"))
        assert one.said("end")[0][1] == "unreachable"
        assert one.times("end")[0] < other.times("begin")[0]
        assert one.times("wrote")[-1] < one.times("end")[0]


def test_one_that_wakes_up_writes_nothing(hf: Holdfast, server, namespace: str):
    """Frozen for longer than its ttl and woken, it tries to write with the guard it had: the server refuses.

    found: with a guard that always says yes, "one" stood there again.
    """
    with two(server.url, namespace) as (one, other):
        one.send(signal.SIGSTOP)
        until(lambda: len(other.said("wrote")) > 3)
        woken = time.monotonic()  # before: it may have said all of it by the time that we go on
        one.send(signal.SIGCONT)
        until(lambda: one.said("end"))
        assert all(when < woken - 0.1 for when in one.times("wrote"))
        assert one.said("end")[0][1] in {"expired", "vanished", "taken", "unreachable"}
        until(lambda: hf.execute("GET", hf.key("who", tag="x")) == b"two")
        time.sleep(0.3)
        assert hf.execute("GET", hf.key("who", tag="x")) == b"two"
        assert one.times("end")[0] >= woken > other.times("begin")[0]  # it could not know: hence the guard
        assert one.said("refused")
