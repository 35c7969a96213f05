# Generated from _redispy_async.py by tools/unasync.py. Do not edit.
"""The transport over redis-py's own connections: a way out in an incident, and the one for a user's own
client.

Connections come from a redis-py pool and are spoken to directly, below redis-py's client, because that client
repeats every command up to ten times by itself: a script whose reply was lost would run twice. For the same
reason a user's client is not used as it is; a sibling of its pool is made, with the same addresses,
credentials and connection class, but no retries and no maintenance notifications (which switch off the check
for dead connections).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from time import monotonic
from typing import Any

from redis import Connection, ConnectionPool, UnixDomainSocketConnection
from redis.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.maint_notifications import MaintNotificationsConfig

from holdfast._compat import Semaphore, off_loop, scope
from holdfast._wire import redispy_clients, redispy_tls
from holdfast._wire.connection import pack
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.redispy_reading import Reading, drop
from holdfast._wire.redispy_tls import TlsConnection
from holdfast._wire.reply import mapping, text
from holdfast._wire.transport import (
    Command,
    HandshakeRefused,
    Reply,
    ReplyError,
    WireFailure,
)
from holdfast._wire.url import Target
from holdfast._wire.verdict import HANDSHAKE

FORCED: dict[str, Any] = {"protocol": 3, "decode_responses": False, "health_check_interval": 0}


def target_of(client: Any) -> Target:
    """The server that a user's redis-py client talks to.

    Raises: ConfigurationError if it is no redis-py client of this flavour, or of a kind not supported.
    """
    return redispy_clients.target_of(client, "redis")


class RedisPy:
    """One server, through connections of redis-py. See the file's docstring."""

    def __init__(
        self, endpoint: Endpoint, client: Any, *, connect_timeout: float, max_connections: int, timeout: float
    ) -> None:
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._endpoint = endpoint
        self._client = client
        self._closed = False
        self._pools: dict[tuple[Any, Target], ConnectionPool] = {}
        self._max_connections = max_connections
        self._permits = Semaphore(max_connections)
        endpoint.on_move(self.drop)

    def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        return (self.execute_many((command,), deadline))[0]

    def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""
        with self.conversation(deadline) as conversation:
            return conversation.execute_many(commands, deadline)

    def begin(self, commands: Sequence[Command], deadline: float) -> RedisPyAsked:
        """Send `commands` in one write; their replies are fetched from the result. Raises: WireFailure."""
        asked = RedisPyAsked(self.conversation(deadline), deadline)
        asked.send(commands)
        return asked

    @contextmanager
    def conversation(self, deadline: float) -> Iterator[RedisPyConversation]:
        """Lend a connection of its own. Raises: WireFailure."""
        if self._closed:
            raise WireFailure("the client is closed", sent=False)
        if not self._permits.acquire(max(0.0, deadline - monotonic())):
            text = f"all {self._max_connections} connections are busy; raise max_connections="
            raise WireFailure(text, sent=False)
        try:
            target = self._endpoint.target
            if target is None:
                target = off_loop(lambda: self._endpoint.resolve(max(0.0, deadline - monotonic())))
            pool = self._pool(target)
            try:
                connection = _connected(pool, target)
                try:
                    yield RedisPyConversation(connection, self._endpoint)
                except BaseException:
                    connection.disconnect(nowait=True)  # a late reply must not answer the next question
                    raise
                finally:
                    if not self._endpoint.is_current(target):
                        connection.disconnect(nowait=True)
                        self._drop(scope(), target)  # it may be younger than the move
                    pool.release(connection)
            except WireFailure:
                self._endpoint.failed(target)
                raise
        finally:
            self._permits.release()

    def doubt(self) -> bool:
        """An answer came that only the wrong server gives: may there be another one? Never waits."""
        return self._endpoint.doubt()

    def drop(self, cause: str) -> None:  # noqa: ARG002 (redis-py has its own words for it)
        """Drop the connections that lead to the wrong place. From any thread."""
        for where, target in list(self._pools):
            if not self._endpoint.is_current(target):
                self._drop(where, target)

    def _drop(self, where: Any, target: Target) -> None:
        """Whoever takes a pool away breaks its connections: nobody after him would find them."""
        pool = self._pools.pop((where, target), None)
        if pool is not None:
            drop(pool, where)

    def close(self) -> None:
        """Close every connection of this thread."""
        self._closed = True
        here = scope()
        for where, target in list(self._pools):
            if where == here:
                self._pools.pop((where, target)).disconnect()

    def _pool(self, target: Target) -> ConnectionPool:
        here = scope()
        pool = self._pools.get((here, target))
        if pool is None:
            settings = {
                **(_of_target(target) if self._client is None else _of_client(self._client)),
                **FORCED,
                "retry": Retry(NoBackoff(), 0),
                "maint_notifications_config": MaintNotificationsConfig(enabled=False),
                "socket_connect_timeout": self._connect_timeout,
                "socket_timeout": self._timeout,
                "max_connections": self._max_connections,
            }
            if self._client is None:  # a user's own may have an introduction of its own
                introduce = _introduction(target, self._endpoint, self._connect_timeout)
                settings["redis_connect_func"] = introduce
            pool = self._pools.setdefault((here, target), ConnectionPool(**settings))
        return pool


# The last two: `drop` took its socket or its parser away in the middle. Commands are packed before, so these
# errors say nothing of them.
_GONE = (RedisError, OSError, AttributeError, TypeError)


class RedisPyAsked:
    """Requests that were sent."""

    def __init__(self, held: AbstractContextManager[RedisPyConversation], deadline: float) -> None:
        self._held = held
        self._deadline = deadline
        self._conversation: RedisPyConversation | None = None
        self._count = 0
        self._ended = False

    def send(self, commands: Sequence[Command]) -> None:
        """Send `commands`. Raises: WireFailure."""
        self._count = len(commands)
        self._conversation = self._held.__enter__()
        try:
            self._conversation.send(commands)
        except BaseException as error:
            self._held.__exit__(type(error), error, error.__traceback__)
            raise

    def replies(self) -> list[Reply]:
        """Their replies, to be fetched once. Raises: WireFailure."""
        assert self._conversation is not None
        try:
            replies = self._conversation.receive(self._count, self._deadline)
        except BaseException as error:
            self._ended = True
            self._held.__exit__(type(error), error, error.__traceback__)
            raise
        self._ended = True
        self._held.__exit__(None, None, None)
        return replies

    def abandon(self) -> None:
        """Nobody will fetch the replies: the connection goes with them. May be repeated."""
        if not self._ended:
            self._ended = True
            gone = WireFailure("abandoned", sent=True)
            with suppress(WireFailure):
                self._held.__exit__(WireFailure, gone, None)


class RedisPyConversation:
    """A connection lent to one caller."""

    def __init__(self, connection: Any, endpoint: Endpoint) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._broken = False

    def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        return (self.execute_many((command,), deadline))[0]

    def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""
        self.send(commands)
        return self.receive(len(commands), deadline)

    def send(self, commands: Sequence[Command]) -> None:
        """Send `commands` in one write. Raises: WireFailure."""
        if self._broken:  # redis-py would connect anew by itself, and forget what this one watched
            raise WireFailure("connection lost", sent=False)
        packed = b"".join(map(pack, commands))
        try:
            self._connection.send_packed_command([packed])
        except _GONE as error:
            raise self._break(error) from error

    def receive(self, count: int, deadline: float) -> list[Reply]:
        """The next `count` replies. Raises: WireFailure."""
        try:
            return [self._read(deadline) for _ in range(count)]
        except _GONE as error:
            raise self._break(error) from error

    def _break(self, error: Exception) -> WireFailure:
        self._broken = True
        return WireFailure(str(error) or "no reply within the deadline", sent=True)

    def _read(self, deadline: float) -> Reply:
        left = max(0.001, deadline - monotonic())
        try:
            return _plain(Reading.read(self._connection, left, self._endpoint))
        except RedisError as error:
            # Some error replies (LOADING) are no ResponseError to redis-py but a lost connection.
            if isinstance(error, ResponseError) or getattr(error, "status_code", None) is not None:
                return _plain(error)
            raise


def _connected(pool: ConnectionPool, target: Target) -> Any:
    try:
        return pool.get_connection()  # type: ignore[no-untyped-call]
    except (AuthenticationError, ResponseError) as error:
        raise HandshakeRefused(HANDSHAKE, str(_plain(error)).partition(", with args")[0]) from error
    except (RedisError, OSError) as error:
        raise redispy_tls.explained(target, error) from error


def _introduction(target: Target, endpoint: Endpoint, timeout: float) -> Any:
    """What a new connection does first: as redis-py does, and what the target asks for beyond it."""

    def introduce(connection: Any) -> None:
        if not endpoint.is_current(target):
            # Where a connection was broken redis-py makes a new one by itself, to the same address.
            raise RedisConnectionError("the server has moved")
        with Reading.patience(connection, timeout):  # a frozen server does not get a whole call's time
            connection.on_connect()
        if target.role == "primary":
            connection.send_command("HELLO", "3", check_health=False)
            hello = mapping(_plain(Reading.read(connection, timeout, endpoint)))
            if text(hello.get("role")) != "master":
                raise RedisConnectionError(f"{target.host}:{target.port} is a replica, not the primary")
        if target.readonly:
            connection.send_command("READONLY", check_health=False)
            Reading.read(connection, timeout, endpoint)

    return introduce


def _plain(reply: Reply) -> Reply:
    """`reply` with redis-py's exceptions turned back into the error replies they were made from."""
    if isinstance(reply, RedisError):
        code = getattr(reply, "status_code", None)
        text = str(reply)
        return ReplyError(text if code is None or text.startswith(code) else f"{code} {text}")
    if isinstance(reply, list):
        return [_plain(part) for part in reply]
    return reply


def _of_target(target: Target) -> dict[str, Any]:
    known: dict[str, Any] = {"db": target.db, "username": target.username, "password": target.password}
    if target.kind == "unix":
        return {**known, "connection_class": UnixDomainSocketConnection, "path": target.path}
    known = {**known, "host": target.host, "port": target.port}
    if target.tls is None:
        return {**known, "connection_class": Connection}
    return {**known, "connection_class": TlsConnection, **redispy_tls.arguments(target)}


def _of_client(client: Any) -> dict[str, Any]:
    target_of(client)
    pool = client.connection_pool
    return {**pool.connection_kwargs, "connection_class": pool.connection_class}
