"""Where the server is, asked again at each new connection: it may have to be started first, or have moved.

A plain endpoint is one address. Where the address can change (a primary that the sentinels name, a node of a
Cluster) the endpoint is told of every sign that it might have: a connection that failed (`failed`), a silence
(`quiet`), an answer that only the wrong server gives (`doubt`). Once it knows, it says so to whoever asked to
be told (`on_move`), and these drop the connections that lead to the wrong place.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from holdfast._wire import connection as wire_connection
from holdfast._wire.connection import Connection
from holdfast._wire.transport import WireFailure
from holdfast._wire.url import Target, parse

Moved = Callable[[str], None]  # told why connections made until now must go


class RunningServer(Protocol):
    """A server that was started for us."""

    @property
    def url(self) -> str:
        """Where it listens."""

    def stop(self) -> None:
        """End it, or our share of it."""


class Endpoint:
    """A place to connect to: its name, for people, and its address, for sockets."""

    suspicious_after = float("inf")  # seconds of silence after which `quiet` wants to be called

    def __init__(self, name: str, target: Target | None) -> None:
        self.name = name
        self.target = target  # None: ask `resolve`
        self._listeners: list[weakref.WeakMethod[Moved]] = []
        self._making: set[Connection] = set()  # connections that are being made: they may have to go as well

    def resolve(self, timeout: float = float("inf")) -> Target:  # noqa: ARG002 (here it is known)
        """The address; blocks while it is found out, `timeout` seconds at most where others are asked for it.

        Raises: WireFailure, ConfigurationError.
        """
        assert self.target is not None
        return self.target

    def connect(self, timeout: float) -> Connection:
        """A new connection to where the server is now. Raises: WireFailure, ConfigurationError."""
        give_up = monotonic() + timeout
        target = self.target or self.resolve(timeout)
        made: list[Connection] = []

        def begun(connection: Connection) -> None:
            connection.target = target
            connection.suspicious_after = self.suspicious_after
            connection.on_quiet = self.quiet
            made.append(connection)
            self._making.add(connection)
            if not self.is_current(target):  # it moved after we had asked, and before it could be told
                connection.doom("moved while connecting")

        try:
            return wire_connection.connect(target, max(0.001, give_up - monotonic()), begun)
        except WireFailure:
            self.failed(target)
            raise
        finally:
            self._making.difference_update(made)

    def is_current(self, target: Target | None) -> bool:  # noqa: ARG002 (here it never moves)
        """Is a connection to `target` still one to the right place?"""
        return True

    def failed(self, target: Target) -> None:
        """A connection to `target` could not be made, or was lost."""

    def quiet(self) -> None:
        """Something is owed, and nothing came for `suspicious_after` seconds."""

    def doubt(self) -> bool:
        """The server gave an answer that only the wrong one gives: may there be another? Never waits."""
        return False

    def on_move(self, listener: Moved) -> None:
        """Call `listener` (a bound method, referred to weakly) when what was connected until now must go."""
        self._listeners.append(weakref.WeakMethod(listener))

    def tell_moved(self, cause: str) -> None:
        """Have connections dropped that lead to the wrong place."""
        for connection in list(self._making):
            if not self.is_current(connection.target):
                connection.doom(cause)
        for reference in self._listeners:
            if (listener := reference()) is not None:
                listener(cause)

    def trouble(self) -> str:
        """Why the address is not known now, as far as it was found out; "" if it is known, or nothing was."""
        return ""

    def about(self) -> dict[str, Any]:
        """What is known of the place, for `health()`."""
        return {}

    def stop(self) -> None:
        """The client is closed: end what was begun here."""


class EmbeddedEndpoint(Endpoint):
    """A server that is started when it is first asked for."""

    def __init__(self, target: Target, start: Callable[[str], RunningServer]) -> None:
        super().__init__(str(target), None)
        self._start = start
        self._path = target.path
        self._server: RunningServer | None = None
        self._mutex = threading.Lock()

    def resolve(self, timeout: float = float("inf")) -> Target:  # noqa: ARG002 (starting keeps its own time)
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
