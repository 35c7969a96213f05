"""Threads below the Protocol: a socket per thread that is busy, and nothing in between.

Sharing one socket between threads was measured and is slower than one each: waking the thread whose reply
came costs more than the saved system calls. So a call takes the socket used last (the warm one), asks, and
puts it back.

* A socket on which anything went wrong is closed, never reused: a late reply must not answer the next
  question.
* A socket that rested is looked at before use, so that a restarted server costs a reconnect and not an
  unclear "was it executed?".
* After fork() the child starts with no sockets; the parent's stay untouched.
* The timeout sits in the kernel (SO_RCVTIMEO), which saves a poll() per reply.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic

from holdfast import _signals
from holdfast._compat import Signal
from holdfast._wire.connection import Connection, pack
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.transport import Command, Reply, WireFailure

_RESTED = 0.01  # seconds after which an idle socket is looked at before use

Notify = Callable[[_signals.Signal], None]


class Pool:
    """The threads' transport to one server. See the file's docstring."""

    def __init__(
        self, endpoint: Endpoint, *, connect_timeout: float, max_connections: int, notify: Notify
    ) -> None:
        self._endpoint = endpoint
        self._connect_timeout = connect_timeout
        self._max_connections = max_connections
        self._notify = notify
        self._closed = False
        self._start_empty()
        endpoint.on_move(self.drop)
        _pools.add(self)

    def _start_empty(self) -> None:
        self._idle: deque[Connection] = deque()
        # The busy ones too, weakly: one that a signal handler made somebody lose, in whichever line, vanishes
        # with its socket and gives its place back.
        self._all: set[weakref.ref[Connection]] = set()
        self._open = 0
        self._turns: deque[_Turn] = deque()
        self._mutex = threading.RLock()  # that may happen anywhere

    def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        connection = self._take(deadline)
        try:
            reply = connection.ask(pack(command), 1, deadline)[0]
        except BaseException as error:
            self._drop(connection, error)
            raise
        self._give_back(connection)
        return reply

    def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""
        connection = self._take(deadline)
        try:
            replies = connection.ask(b"".join(map(pack, commands)), len(commands), deadline)
        except BaseException as error:
            self._drop(connection, error)
            raise
        self._give_back(connection)
        return replies

    def begin(self, commands: Sequence[Command], deadline: float) -> _Asked:
        """Send `commands` in one write; their replies are fetched from the result. Raises: WireFailure."""
        packed = b"".join(map(pack, commands))
        connection = self._take(deadline)
        try:
            asked = _Asked(self, connection, deadline)  # before it is sent, so that nothing can come between
            connection.post(packed, len(commands), deadline)
        except BaseException as error:
            self._drop(connection, error)
            raise
        return asked

    @contextmanager
    def conversation(self, deadline: float) -> Iterator[_Conversation]:
        """Lend a connection of its own. Raises: WireFailure."""
        connection = self._take(deadline)
        connection.may_be_quiet = True
        try:
            yield _Conversation(connection)
        except BaseException as error:
            self._drop(connection, error)
            raise
        connection.may_be_quiet = False
        self._give_back(connection)

    def drop(self, cause: str) -> None:
        """Make useless the connections that lead to the wrong place, busy ones too. From any thread."""
        for reference in list(self._all):
            connection = reference()
            if connection is not None and not self._endpoint.is_current(connection.target):
                connection.doom(cause)

    def doubt(self) -> bool:
        """An answer came that only the wrong server gives: may there be another one? Never waits."""
        return self._endpoint.doubt()

    def close(self) -> None:
        """Close every idle connection; busy ones are closed when they come back."""
        self._closed = True
        while self._idle:
            self._discard(self._idle.pop())

    # --- taking and giving ---------------------------------------------------------------------------------

    def _take(self, deadline: float) -> Connection:
        while not self._turns:  # who waits already comes first
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if connection.doomed:
                pass
            elif monotonic() - connection.rested_since < _RESTED or connection.is_alive():
                return connection
            self._discard(connection)
        return self._wait_or_open(deadline)

    def _wait_or_open(self, deadline: float) -> Connection:
        if self._closed:
            raise WireFailure("the client is closed", sent=False)
        turn: _Turn | None = None
        connection: Connection | None = None
        has_place = False
        try:
            with self._mutex:
                if self._open < self._max_connections:
                    self._open += 1
                    has_place = True
                else:
                    turn = _Turn()
                    self._turns.append(turn)
                    self._serve()  # a connection may have come back before we stood in the queue
            if turn is not None:
                if (connection := self._wait(turn, deadline)) is not None:
                    return connection
                has_place = True
            timeout = max(0.001, min(self._connect_timeout, deadline - monotonic()))
            connection = self._endpoint.connect(timeout)
            connection.place = weakref.ref(connection, partial(_vanished, weakref.ref(self)))
            self._all.add(connection.place)
        except BaseException:
            if has_place and (connection is None or connection.place not in self._all):
                self._one_less()
            raise
        if not self._endpoint.is_current(connection.target):  # it moved before it could be told
            connection.doom("the server has moved while connecting")
        self._notify(_signals.Connected(server=self._endpoint.name, purpose="commands"))
        return connection

    def _wait(self, turn: _Turn, deadline: float) -> Connection | None:
        """The connection that came back, or None: there is room to open one. Raises: WireFailure."""
        try:
            if turn.signal.wait(max(0.0, deadline - monotonic())):
                return turn.connection
        except BaseException:
            if not self._left(turn):  # it came in this very moment: pass it on
                self._one_less() if turn.connection is None else self._give_back(turn.connection)
            raise
        if self._left(turn):
            text = f"all {self._max_connections} connections are busy; raise max_connections="
            raise WireFailure(text, sent=False)
        return turn.connection

    def _left(self, turn: _Turn) -> bool:
        """Leave the queue; False if it was our turn already."""
        with self._mutex:
            if turn in self._turns:
                self._turns.remove(turn)
                return True
            return False

    def _serve(self) -> None:
        """Hand idle connections to those who wait, first come, first served. Called with the mutex held."""
        while self._turns and self._idle:
            turn = self._turns.popleft()
            turn.connection = self._idle.pop()
            turn.signal.fire()

    def _give_back(self, connection: Connection) -> None:
        if self._closed or connection.doomed or not connection.is_in_step:
            self._discard(connection)
            return
        connection.rested_since = monotonic()
        self._idle.append(connection)
        if self._turns:
            with self._mutex:
                self._serve()

    def _drop(self, connection: Connection, error: BaseException) -> None:
        self._discard(connection)
        if isinstance(error, WireFailure) and connection.target is not None:
            self._endpoint.failed(connection.target)
        if isinstance(error, WireFailure) and error.sent:
            name = self._endpoint.name
            self._notify(
                _signals.Disconnected(server=name, purpose="commands", cause=str(error), unanswered=1)
            )

    def _discard(self, connection: Connection) -> None:
        connection.close()
        self._free(connection.place)

    def _free(self, place: weakref.ref[Connection] | None) -> None:
        """Give the place of a connection back, once."""
        with self._mutex:
            if place in self._all:
                self._all.discard(place)
                self._one_less()

    def _one_less(self) -> None:
        with self._mutex:
            if self._turns:
                self._turns.popleft().signal.fire()  # no connection, but room for one
            else:
                self._open -= 1


class _Turn:
    """A thread that waits for a connection."""

    __slots__ = ("connection", "signal")

    def __init__(self) -> None:
        self.signal = Signal()
        self.connection: Connection | None = None


class _Asked:
    """Requests that were sent."""

    __slots__ = ("_connection", "_deadline", "_pool")

    def __init__(self, pool: Pool, connection: Connection, deadline: float) -> None:
        self._pool = pool
        self._connection: Connection | None = connection  # None: it is not ours any more
        self._deadline = deadline

    def replies(self) -> list[Reply]:
        """Their replies, to be fetched once. Raises: WireFailure."""
        connection = self._connection
        assert connection is not None
        try:
            replies = connection.collect(self._deadline)
        except BaseException as error:
            self._connection = None
            self._pool._drop(connection, error)
            raise
        self._connection = None
        self._pool._give_back(connection)
        return replies

    def abandon(self) -> None:
        """Nobody will fetch the replies: the connection goes with them. May be repeated."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool._discard(connection)


class _Conversation:
    """A connection lent to one caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        return self._connection.ask(pack(command), 1, deadline)[0]

    def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""
        return self._connection.ask(b"".join(map(pack, commands)), len(commands), deadline)


def _vanished(pool: weakref.ref[Pool], place: weakref.ref[Connection]) -> None:
    if (owner := pool()) is not None:
        owner._free(place)


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    # The sockets belong to the parent: talking on them would mix two conversations. Closing our copies is
    # harmless.
    for pool in list(_pools):
        for connection in pool._idle:
            connection.close()
        pool._start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
