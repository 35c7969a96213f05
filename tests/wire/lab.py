"""A server process that can be killed, frozen and started again at the same place, for the hub's tests."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast._signals import Signal
from holdfast._wire.connection import Connection, connect, pack
from holdfast._wire.transport import ReplyError, WireFailure
from holdfast._wire.url import Target, parse
from holdfast.embedded import binary


def until(what: Callable[[], Any], timeout: float = 20.0) -> None:
    """Wait until `what()` is true."""
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def child_status(pid: int, timeout: float = 20.0) -> int:
    """How the child of a fork ended, 0 if well. One that is stuck in a deadlock is killed."""
    end = time.monotonic() + timeout
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


class Lab:
    """One server on a unix socket. What was confirmed survives `kill`: its log is synced at every write."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = str(home / "s")
        self.start()

    def start(self) -> None:
        arguments = f"--port 0 --unixsocket {self.socket} --save  --appendonly yes --appendfsync always"
        command = [binary.find(), *arguments.split(" "), "--dir", str(self._home)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            return self.ask("PING") == b"PONG"
        except (WireFailure, ReplyError):
            return False

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()

    def target(self, user: str = "") -> Target:
        return parse(f"unix://{user}{self.socket}")

    def connect(self, timeout: float) -> Connection:
        return connect(self.target(), timeout)

    def ask(self, *command: str | bytes | int) -> Any:
        connection = self.connect(5.0)
        try:
            connection.send(pack(command), 5.0)
            reply = connection.read(5.0)
        finally:
            connection.close()
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def info(self, section: str) -> dict[str, str]:
        lines = bytes(self.ask("INFO", section)).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def calls(self, command: str) -> int:
        """How often `command` was executed since the server started."""
        said = self.info("commandstats").get(f"cmdstat_{command}", "calls=0,")
        return int(said.split("calls=")[1].split(",")[0])

    def refusals(self, code: str) -> int:
        """How often the server answered with the error `code`."""
        return int(self.info("errorstats").get(f"errorstat_{code}", "count=0").split("=")[1])


class Witness:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.seen: list[Signal] = []

    def notify(self, signal: Signal) -> None:
        self.seen.append(signal)

    def count(self, kind: type[Signal]) -> int:
        return sum(isinstance(one, kind) for one in self.seen)
