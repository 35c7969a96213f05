"""Where the server is, asked again at each new connection: it may have to be started first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from holdfast._wire.url import Target, parse


class RunningServer(Protocol):
    """A server that was started for us."""

    @property
    def url(self) -> str:
        """Where it listens."""

    def stop(self) -> None:
        """End it, or our share of it."""


class Endpoint:
    """A server's name, for people, and its address, for sockets. An embedded server is started when first
    asked for.
    """

    def __init__(self, target: Target, start: Callable[[str], RunningServer]) -> None:
        self.name = str(target)
        self.target: Target | None = None if target.kind == "embedded" else target
        self._start = start
        self._path = target.path
        self._server: RunningServer | None = None
        self._mutex = threading.Lock()

    def resolve(self) -> Target:
        """The address; blocks while the server starts. Raises: ConfigurationError if it cannot be started."""
        with self._mutex:
            if self.target is None:
                self._server = self._start(self._path)
                self.target = parse(self._server.url)
            return self.target

    def stop(self) -> None:
        """End the server if it was started here."""
        with self._mutex:
            if self._server is not None:
                server, self._server = self._server, None
                server.stop()
