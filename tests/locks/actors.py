"""Processes that hold and wait for locks, to be stopped, killed and forked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PRELUDE = """
import os, signal, sys, threading, time
from holdfast import Holdfast, LockError, LockLost, LockTimeout, Refused
hf = Holdfast(sys.argv[1], namespace=sys.argv[2])

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def hear():
    return sys.stdin.readline().strip()
"""


class Actor:
    """A process that runs `code` with a client `hf`; it says and hears lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid

    def hear(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def say(self, line: str = "") -> None:
        """Tell it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)


@contextmanager
def actor(server: Any, namespace: str, code: str) -> Iterator[Actor]:
    """A process that runs `code`; killed at the end."""
    command = [sys.executable, "-W", "ignore", "-c", _PRELUDE + code, server.url, namespace]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Actor(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None and process.stdout is not None
        process.stdout.close()
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
