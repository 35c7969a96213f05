"""asyncio below the Protocol: auto-pipelining. Every command of one tick of the event loop leaves in one
write.

A connection carries the commands of all tasks; replies come back in order and are matched first in, first
out.

* **Cancelled or timed out** callers leave their place in the queue; the reply is dropped when it comes.
  Neither corrupts the stream nor costs a reconnect.
* **Back-pressure**: beyond `MAX_IN_FLIGHT` commands or `MAX_BYTES` unanswered, or while the socket does not
  take more, new commands wait their turn, within their deadline.
* **Big values** travel in a lane (a connection) of their own: a request above `BULK` bytes, and a read of a
  key whose reply was that big before. So a small command waits behind a big reply at most until that key is
  known.
* **Silence**: a connection on which nothing came for longer than `silence` while something is owed is given
  up for lost. A frozen server or a half-open link is thus noticed without a reply ever failing.
* **Several event loops** each have connections of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from time import monotonic

from holdfast import _signals
from holdfast._compat import ASemaphore
from holdfast._wire import handshake
from holdfast._wire.connection import pack, reason
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.mux_connection import BULK, Connection
from holdfast._wire.pool import Notify
from holdfast._wire.transport import Command, HandshakeRefused, Reply, WireFailure
from holdfast.errors import HoldfastError

MAX_KNOWN_BIG = 4096
CONVERSATION = "conversation"


class Lane:
    """A place for one connection: opened when needed, by one task for all who need it."""

    def __init__(self, lanes: Lanes, purpose: str) -> None:
        self._lanes = lanes
        self._purpose = purpose
        self.connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None

    async def ready(self, deadline: float) -> Connection:
        """A connection with room for one more. Raises: WireFailure, HandshakeRefused."""
        connection = self.connection
        if connection is None or not connection.is_open:
            if self._opening is None:
                self._opening = self._lanes.loop.create_task(self._open())
                self._opening.add_done_callback(self._opened)
            opening = self._opening
            try:
                async with asyncio.timeout(max(0.0, deadline - monotonic())):
                    connection = await asyncio.shield(opening)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not opening.cancelled() or (task is not None and task.cancelling()):
                    raise
                raise WireFailure("the client is closed", sent=False) from None
            except TimeoutError:
                raise WireFailure("cannot connect: no answer within the deadline", sent=False) from None
        if connection.is_full:
            await connection.wait_for_room(deadline)
        if not connection.is_open:
            raise WireFailure("connection lost while waiting for room", sent=False)
        return connection

    async def _open(self) -> Connection:
        self.connection = await self._lanes.open(self._purpose)
        return self.connection

    def _opened(self, task: asyncio.Task[Connection]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # seen; whoever waited has it

    def abort(self) -> None:
        """Drop what there is."""
        if self._opening is not None:
            self._opening.cancel()
        if self.connection is not None:
            self.connection.abort()


class Lanes:
    """The connections of one event loop."""

    def __init__(self, mux: Mux, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._mux = mux
        self.main = Lane(self, "commands")
        self.bulk = Lane(self, "big values")
        self.known_big: dict[object, None] = {}
        self.resting: list[Connection] = []  # for conversations
        self.lent: set[Connection] = set()

    async def open(self, purpose: str, deadline: float = float("inf")) -> Connection:
        """A new connection, introduced and ready. Raises: WireFailure, HandshakeRefused."""
        if self._mux.is_closed:
            raise WireFailure("the client is closed", sent=False)
        timeout = max(0.0, min(self._mux.connect_timeout, deadline - monotonic()))
        endpoint = self._mux.endpoint
        target = endpoint.target
        if target is None:
            target = await asyncio.to_thread(endpoint.resolve)
        # A blocking command may be silent on purpose; a conversation ends with its caller's deadline anyway.
        silence = float("inf") if purpose == CONVERSATION else self._mux.silence
        connection = Connection(self, purpose, silence)
        try:
            async with asyncio.timeout(timeout):
                if target.kind == "unix":
                    await self.loop.create_unix_connection(lambda: connection, target.path)
                else:
                    await self.loop.create_connection(lambda: connection, target.host, target.port)
                first = handshake.commands(target)
                packed = b"".join(map(pack, first))
                handshake.check(target, await connection.ask(packed, monotonic() + timeout, len(first)))
        except TimeoutError:
            connection.abort()
            raise WireFailure(f"cannot connect: no answer within {timeout:.3g} s", sent=False) from None
        except (OSError, UnicodeError) as error:  # a host name with an empty or an overlong label
            raise WireFailure(f"cannot connect: {reason(error)}", sent=False) from error
        except (HandshakeRefused, HoldfastError):
            connection.abort()
            raise
        except WireFailure as failure:
            connection.abort()
            raise WireFailure(f"connected, but {failure}", sent=False) from failure
        except BaseException:
            connection.abort()
            raise
        if self._mux.is_closed:  # meanwhile: nobody would ever close this one
            connection.abort()
            raise WireFailure("the client is closed", sent=False)
        self._mux.notify(_signals.Connected(server=self._mux.endpoint.name, purpose=purpose))
        return connection

    def note_size(self, key: object, reply: Reply) -> None:
        """Remember that reading `key` brings much, so that it takes the other lane next time."""
        parts = reply if isinstance(reply, list) else (reply,)
        if key is not None and any(isinstance(part, bytes) and len(part) > BULK for part in parts):
            if len(self.known_big) >= MAX_KNOWN_BIG:
                self.known_big.pop(next(iter(self.known_big)))
            self.known_big[key] = None

    def gone(self, connection: Connection, cause: str, unanswered: int, purpose: str) -> None:
        """Take notice of a lost connection."""
        if connection in self.resting:
            self.resting.remove(connection)
        if not self._mux.is_closed:
            name = self._mux.endpoint.name
            self._mux.notify(
                _signals.Disconnected(server=name, purpose=purpose, cause=cause, unanswered=unanswered)
            )

    def abort(self) -> None:
        """Drop every connection of this loop."""
        for lane in (self.main, self.bulk):
            lane.abort()
        for connection in [*self.resting, *self.lent]:
            connection.abort()


class Mux:
    """The tasks' transport to one server. See the file's docstring."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float,
        max_connections: int,
        silence: float,
        notify: Notify,
    ) -> None:
        self.endpoint = endpoint
        self.connect_timeout = connect_timeout
        self.silence = silence
        self.notify = notify
        self.is_closed = False
        self._lanes: dict[asyncio.AbstractEventLoop, Lanes] = {}
        self._last: tuple[asyncio.AbstractEventLoop | None, Lanes | None] = (None, None)
        self._permits = ASemaphore(max_connections)

    def _here(self) -> Lanes:
        loop = asyncio.get_running_loop()
        last_loop, lanes = (
            self._last
        )  # one look-up for the loop that asked last, which is nearly always this one
        if last_loop is loop and lanes is not None:
            return lanes
        lanes = self._lanes.get(loop)
        if lanes is None:
            for ended in [other for other in self._lanes if other.is_closed()]:
                del self._lanes[ended]
            lanes = self._lanes[loop] = Lanes(self, loop)
        self._last = (loop, lanes)
        return lanes

    async def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        packed = pack(command)
        key = command[1] if len(command) > 1 else None
        lanes = self._here()
        lane = lanes.main
        if len(packed) > BULK or (lanes.known_big and key in lanes.known_big):
            lane = lanes.bulk
        connection = lane.connection
        if connection is None or not connection.is_open or connection.is_full:
            connection = await lane.ready(deadline)
        reply = await connection.submit(packed, deadline, 1, key)
        if type(reply) is WireFailure:
            raise reply
        return reply

    async def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""
        if not commands:
            return []
        packed = b"".join(map(pack, commands))
        lanes = self._here()
        lane = lanes.bulk if len(packed) > BULK else lanes.main
        connection = await lane.ready(deadline)
        reply = await connection.ask(packed, deadline, len(commands))
        return [reply] if len(commands) == 1 else reply

    @contextlib.asynccontextmanager
    async def conversation(self, deadline: float) -> AsyncIterator[_Conversation]:
        """Lend a connection of its own. Raises: WireFailure."""
        if not await self._permits.acquire(max(0.0, deadline - monotonic())):
            raise WireFailure("all connections are busy; raise max_connections=", sent=False)
        lanes = self._here()
        try:
            connection = lanes.resting.pop() if lanes.resting else await lanes.open(CONVERSATION, deadline)
            lanes.lent.add(connection)
            try:
                yield _Conversation(connection)
            except BaseException:
                connection.abort()
                raise
            finally:
                lanes.lent.discard(connection)
            if connection.is_open and connection.is_idle and not self.is_closed:
                lanes.resting.append(connection)
            else:
                connection.abort()
        finally:
            self._permits.release()

    async def aclose(self) -> None:
        """Close every connection; unanswered requests fail. Those of other loops close there."""
        self.is_closed = True
        here = asyncio.get_running_loop()
        for loop, lanes in list(self._lanes.items()):
            if loop is here:
                lanes.abort()
            elif not loop.is_closed():
                with contextlib.suppress(RuntimeError):  # it may end in this very moment
                    loop.call_soon_threadsafe(lanes.abort)
        self._lanes.clear()
        self._last = (None, None)
        await asyncio.sleep(0)  # abort() finishes in the next tick; sockets are then closed


class _Conversation:
    """A connection lent to one caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        return await self._ask(pack(command), deadline, 1)

    async def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""
        if len(commands) == 1:
            return [await self.execute(commands[0], deadline)]
        replies: list[Reply] = await self._ask(b"".join(map(pack, commands)), deadline, len(commands))
        return replies

    async def _ask(self, packed: bytes, deadline: float, count: int) -> Reply:
        if not self._connection.is_open:
            raise WireFailure("connection lost", sent=False)
        return await self._connection.ask(packed, deadline, count)
