"""An embedded server as one of its owners sees it."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from holdfast.embedded.addresses import client_files, credentials, options
from holdfast.embedded.greeting import Greeting, greet
from holdfast.embedded.guardian import LOG
from holdfast.embedded.line import Line
from holdfast.errors import Unavailable

_STEP = 0.003  # seconds between two looks at a server that comes up


class Server:
    """A running server and the means to stop, kill, freeze and restart it. Made by `start`; a context
    manager.

    The server lives as long as any `Server` object of it, in any process: until `stop()`, the end of the
    process (however it ends), or the last reference to the object. A forked child may use the address but
    owns nothing: there `stop()` does nothing, and the other verbs raise Unavailable.

    Every verb acts through the guardian of the server and raises Unavailable if that is gone.
    """

    def __init__(self, line: Line, state: dict[str, Any]) -> None:
        self._line = line
        self._patience = 30.0
        self._last_words: list[str] = []
        self._greeting = Greeting("", "")
        self.path: str | None = state["home"] if state["kept"] else None
        self.socket_path: str = state["socket"]
        self.port: int = state["port"]
        self.password: str = state["password"]
        self.binary: str = state["binary"]
        self.tls: bool = state.get("tls", False)
        self.guardian: int = state["guardian"]
        self._log = Path(state["home"], LOG)

    def __repr__(self) -> str:
        where = f"127.0.0.1:{self.port}" if self.port else self.socket_path
        return f"<Server {self.kind} {self.version} at {where}>"

    @property
    def url(self) -> str:
        """Where it listens, with its password if it has one.

        `redis://` if it has a port, `rediss://` with the files that TLS needs, or `unix://`.
        """
        if not self.port:
            return f"unix://{credentials(self.password)}{quote(self.socket_path)}"
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{credentials(self.password)}127.0.0.1:{self.port}/0{options(self.query)}"

    @property
    def query(self) -> dict[str, str]:
        """What a URL has to say about certificates, as options; nothing without TLS."""
        return client_files(self.socket_path.rpartition("/")[0]) if self.tls else {}

    @property
    def kind(self) -> str:
        """What it is: "valkey" or "redis"."""
        return self._greeting.kind

    @property
    def version(self) -> str:
        """Its version, as in "9.1.2"."""
        return self._greeting.version

    @property
    def pid(self) -> int | None:
        """Its process id now, None if it does not run. To look at: signalling is the guardian's work."""
        pid: int | None = self._line.ask("status")["pid"]
        return pid

    @property
    def running(self) -> bool:
        """Is there a process? It may be frozen, and does not run after `stop()`."""
        try:
            return self.pid is not None
        except Unavailable:
            return False

    def log_tail(self, lines: int = 40) -> list[str]:
        """The last lines of its log; after `stop()`, the last ones before it."""
        try:
            with self._log.open(encoding="utf-8", errors="replace") as log:
                self._last_words = [line.rstrip("\n") for line in deque(log, lines)]
        except OSError:
            pass  # the log of a private server goes with it
        return self._last_words[-lines:]

    def kill(self) -> None:
        """End the server without warning (SIGKILL) and return when it is gone; `restart` brings it back."""
        self._line.ask("kill")

    def freeze(self) -> None:
        """Stop the server in its tracks (SIGSTOP): connections stay, no answer comes, until `resume`."""
        self._line.ask("freeze")

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self._line.ask("resume")

    def restart(self, *, empty: bool = False) -> None:
        """Start the server anew at the same address and return when it answers.

        Its data is what it had written down: all of it with a path, nothing without one, or with `empty`.
        """
        self._line.ask("restart", empty=empty)
        self.await_ready(time.monotonic() + self._patience)

    def stop(self) -> None:
        """Give the server up; if nobody else owns it, return when it is gone, and its private files."""
        self.log_tail()
        self._line.leave()

    def await_ready(self, give_up: float) -> None:
        """Return when the server answers. `give_up`: monotonic time.

        Raises: Unavailable if it ended or does not answer in time; the text ends with its log.
        """
        while (greeting := greet(self.socket_path, self.password)) is None:
            code = self._line.ask("status")["exit"]
            if code is not None or time.monotonic() > give_up:
                what = "is not ready in time" if code is None else f"ended with code {code}"
                raise Unavailable("\n  ".join([f"{self.binary} {what}; it wrote:", *self.log_tail(10)]))
            time.sleep(_STEP)
        self._greeting = greeting

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Unavailable):  # the guardian is gone, and the server with it
            self.stop()
