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
import ssl
from collections.abc import AsyncIterator, Sequence
from time import monotonic

from holdfast import _signals
from holdfast._compat import ASemaphore
from holdfast._wire import handshake, tls
from holdfast._wire.connection import pack, reason
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.mux_connection import BULK, Connection
from holdfast._wire.pool import Notify
from holdfast._wire.transport import Command, HandshakeRefused, Reply, WireFailure, WrongRole
from holdfast._wire.url import Target
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
        if connection is None or not connection.is_open or connection.is_retired:
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
                raise WireFailure(self._lanes.why_not(), sent=False) from None
            except TimeoutError:
                raise WireFailure(self._lanes.too_late(), sent=False) from None
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
        self.stop_opening()
        if self.connection is not None:
            self.connection.abort()

    def stop_opening(self) -> None:
        """Give up the connection that is being made; whoever waits for it is told why."""
        if self._opening is not None:
            self._opening.cancel()


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
        self.leaving: set[Connection] = set()  # retired: they only wait for what they are owed
        self.making: set[Connection] = set()

    async def open(self, purpose: str, deadline: float = float("inf")) -> Connection:
        """A new connection, introduced and ready. Raises: WireFailure, HandshakeRefused."""
        if self._mux.is_closed:
            raise WireFailure("the client is closed", sent=False)
        give_up = min(deadline, monotonic() + self._mux.connect_timeout)
        endpoint = self._mux.endpoint
        target = endpoint.target
        if target is None:
            target = await asyncio.to_thread(endpoint.resolve, max(0.0, give_up - monotonic()))
        # A blocking command may be silent on purpose; a conversation ends with its caller's deadline anyway.
        silence = float("inf") if purpose == CONVERSATION else self._mux.silence
        connection = Connection(self, purpose, silence, endpoint.suspicious_after)
        connection.target = target
        self.making.add(connection)
        try:
            await self._introduce(connection, target, max(0.0, give_up - monotonic()))
        except WireFailure:
            endpoint.failed(target)
            raise
        finally:
            self.making.discard(connection)
        if self._mux.is_closed or not endpoint.is_current(target):
            connection.abort()  # closed: nobody ever would; moved: before it could be told
            raise WireFailure(self.why_not(), sent=False)
        self._mux.notify(_signals.Connected(server=self._mux.endpoint.name, purpose=purpose))
        return connection

    def too_late(self) -> str:
        """What is said when a deadline passes while a connection is being made."""
        place = self._mux.endpoint
        silent = f"no answer within the deadline{tls.silence(place.target)}"
        return f"cannot connect: {place.trouble() or silent}"

    def why_not(self) -> str:
        """Why a connection that is being made is of no use."""
        return "the client is closed" if self._mux.is_closed else "the server has moved while connecting"

    async def _introduce(self, connection: Connection, target: Target, timeout: float) -> None:
        """Connect to `target` and do the handshake. Raises: WireFailure, HandshakeRefused."""
        try:
            async with asyncio.timeout(timeout):
                await self._dial(connection, target)
                if not self._mux.endpoint.is_current(target):  # a frozen one would keep us until the end
                    raise WireFailure(self.why_not(), sent=False)
                first = handshake.commands(target)
                packed = b"".join(map(pack, first))
                handshake.check(target, await connection.ask(packed, monotonic() + timeout, len(first)))
        except TimeoutError:
            connection.abort()
            why = f"cannot connect: no answer within {timeout:.3g} s{tls.silence(target)}"
            raise WireFailure(why, sent=False) from None
        except (OSError, UnicodeError) as error:  # a host name with an empty or an overlong label
            raise WireFailure(f"cannot connect: {reason(error)}", sent=False) from error
        except (HandshakeRefused, WrongRole, HoldfastError):
            connection.abort()
            raise
        except WireFailure as failure:
            connection.abort()
            raise WireFailure(f"connected, but {tls.hint(target, failure)}", sent=False) from failure
        except BaseException:
            connection.abort()
            raise

    async def _dial(self, connection: Connection, target: Target) -> None:
        """Make the socket. Raises: OSError, WireFailure, ConfigurationError."""
        if target.kind == "unix":
            await self.loop.create_unix_connection(lambda: connection, target.path)
        elif target.tls is None:
            await self.loop.create_connection(lambda: connection, target.host, target.port)
        else:
            context = await asyncio.to_thread(tls.context, target.tls)  # reads files
            name = tls.server_name(target)
            try:
                await self.loop.create_connection(
                    lambda: connection, target.host, target.port, ssl=context, server_hostname=name
                )
            except ssl.SSLError as error:
                raise tls.refused(target, error) from error
            except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError) as error:
                raise WireFailure(f"connection lost ({reason(error)})", sent=False, hung_up=True) from error

    def note_size(self, key: object, reply: Reply) -> None:
        """Remember that reading `key` brings much, so that it takes the other lane next time."""
        parts = reply if isinstance(reply, list) else (reply,)
        if key is not None and any(isinstance(part, bytes) and len(part) > BULK for part in parts):
            if len(self.known_big) >= MAX_KNOWN_BIG:
                self.known_big.pop(next(iter(self.known_big)))
            self.known_big[key] = None

    def gone(self, connection: Connection, cause: str, unanswered: int, purpose: str) -> None:
        """Take notice of a lost connection."""
        self.leaving.discard(connection)
        if connection in self.resting:
            self.resting.remove(connection)
        if not self._mux.is_closed:
            if connection.target is not None:
                self._mux.endpoint.failed(connection.target)
            name = self._mux.endpoint.name
            self._mux.notify(
                _signals.Disconnected(server=name, purpose=purpose, cause=cause, unanswered=unanswered)
            )

    def quiet(self) -> None:
        """Something is owed, and nothing came for a while."""
        self._mux.endpoint.quiet()

    def retired(self, connection: Connection) -> None:
        """The connection takes no more commands."""
        self.leaving.add(connection)

    def abort(self) -> None:
        """Drop every connection of this loop."""
        for lane in (self.main, self.bulk):
            lane.abort()
        for connection in [*self.resting, *self.lent, *self.leaving]:
            connection.abort()

    def drop(self, cause: str) -> None:
        """Drop the connections of this loop that lead to the wrong place; unanswered requests fail now."""
        for lane in (self.main, self.bulk):
            lane.stop_opening()
        standing = [self.main.connection, self.bulk.connection, *self.resting, *self.lent, *self.leaving]
        for connection in [*standing, *self.making]:
            if connection is not None and not self._mux.endpoint.is_current(connection.target):
                connection.give_up(cause)


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
        endpoint.on_move(self.drop)

    def drop(self, cause: str) -> None:
        """Drop the connections that lead to the wrong place. From any thread."""
        for loop, lanes in list(self._lanes.items()):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(lanes.drop, cause)

    def _here(self) -> Lanes:
        loop = asyncio.get_running_loop()
        last_loop, lanes = self._last  # one look-up for the loop that asked last: nearly always this one
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

    async def begin(self, commands: Sequence[Command], deadline: float) -> _Asked:
        """Send `commands` in one write; their replies are fetched from the result. Raises: WireFailure."""
        packed = b"".join(map(pack, commands))
        key = commands[0][1] if len(commands) == 1 and len(commands[0]) > 1 else None
        lanes = self._here()
        lane = lanes.main
        if len(packed) > BULK or (lanes.known_big and key in lanes.known_big):
            lane = lanes.bulk
        connection = lane.connection
        if connection is None or not connection.is_open or connection.is_full:
            connection = await lane.ready(deadline)
        return _Asked(connection.submit(packed, deadline, len(commands), key), len(commands))

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

    def doubt(self) -> bool:
        """An answer came that only the wrong server gives: may there be another one? Never waits."""
        return self.endpoint.doubt()

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


class _Asked:
    """Requests that were sent."""

    __slots__ = ("_count", "_future")

    def __init__(self, future: asyncio.Future[Reply], count: int) -> None:
        self._future = future
        self._count = count

    async def replies(self) -> list[Reply]:
        """Their replies, to be fetched once. Raises: WireFailure."""
        reply = await self._future
        if type(reply) is WireFailure:
            raise reply
        return [reply] if self._count == 1 else reply

    async def abandon(self) -> None:
        """Nobody will fetch the replies: they are dropped when they come."""


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
