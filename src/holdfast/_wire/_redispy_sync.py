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
from contextlib import contextmanager
from time import monotonic
from typing import Any

from redis import Connection, ConnectionPool, UnixDomainSocketConnection
from redis.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from holdfast._compat import Semaphore, off_loop, scope
from holdfast._wire.connection import pack
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.redispy_reading import Reading
from holdfast._wire.transport import Command, HandshakeRefused, Reply, ReplyError, WireFailure
from holdfast._wire.url import Target
from holdfast._wire.verdict import HANDSHAKE
from holdfast.errors import ConfigurationError

FORCED: dict[str, Any] = {"protocol": 3, "decode_responses": False, "health_check_interval": 0}


def target_of(client: Any) -> Target:
    """The server that a user's redis-py client talks to.

    Raises: ConfigurationError if it is no redis-py client of this flavour, or of a kind not supported yet.
    """
    pool = getattr(client, "connection_pool", None)
    if not isinstance(pool, ConnectionPool):
        wanted = f"{ConnectionPool.__module__.partition('.connection')[0]}.Redis"
        raise ConfigurationError(
            f"client={type(client).__module__}.{type(client).__name__} must be a {wanted}"
        )
    if pool.connection_class not in {Connection, UnixDomainSocketConnection}:
        kind = pool.connection_class.__name__
        raise ConfigurationError(
            f"client= uses {kind} connections, which are not in this release; use plain TCP or a unix socket"
        )
    known = pool.connection_kwargs
    return Target(
        kind="unix" if "path" in known else "tcp",
        path=known.get("path", ""),
        host=known.get("host", "localhost"),
        port=int(known.get("port", 6379)),
        db=int(known.get("db") or 0),
        username=known.get("username"),
        password=known.get("password"),
    )


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
        self._pools: dict[object, ConnectionPool] = {}
        self._max_connections = max_connections
        self._permits = Semaphore(max_connections)

    def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        return (self.execute_many((command,), deadline))[0]

    def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""
        with self.conversation(deadline) as conversation:
            return conversation.execute_many(commands, deadline)

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
                target = off_loop(self._endpoint.resolve)
            pool = self._pool(target)
            connection = _connected(pool)
            try:
                yield RedisPyConversation(connection)
            except BaseException:
                connection.disconnect(nowait=True)  # a late reply must not answer the next question
                raise
            finally:
                pool.release(connection)
        finally:
            self._permits.release()

    def close(self) -> None:
        """Close every connection of this thread."""
        self._closed = True
        pool = self._pools.pop(scope(), None)
        if pool is not None:
            pool.disconnect()

    def _pool(self, target: Target) -> ConnectionPool:
        here = scope()
        pool = self._pools.get(here)
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
            pool = self._pools[here] = ConnectionPool(**settings)
        return pool


class RedisPyConversation:
    """A connection lent to one caller."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._broken = False

    def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        return (self.execute_many((command,), deadline))[0]

    def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""
        if self._broken:  # redis-py would connect anew by itself, and forget what this one watched
            raise WireFailure("connection lost", sent=False)
        packed = b"".join(map(pack, commands))
        try:
            self._connection.send_packed_command([packed])
            return [self._read(deadline) for _ in commands]
        except (RedisError, OSError) as error:
            self._broken = True
            raise WireFailure(str(error) or "no reply within the deadline", sent=True) from error

    def _read(self, deadline: float) -> Reply:
        left = max(0.001, deadline - monotonic())
        try:
            return _plain(Reading.read(self._connection, left))
        except ResponseError as error:
            return _plain(error)


def _connected(pool: ConnectionPool) -> Any:
    try:
        return pool.get_connection()  # type: ignore[no-untyped-call]
    except (AuthenticationError, ResponseError) as error:
        raise HandshakeRefused(HANDSHAKE, str(_plain(error)).partition(", with args")[0]) from error
    except (RedisError, OSError) as error:
        raise WireFailure(f"cannot connect: {error}", sent=False) from error


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
    return {**known, "connection_class": Connection, "host": target.host, "port": target.port}


def _of_client(client: Any) -> dict[str, Any]:
    target_of(client)
    pool = client.connection_pool
    return {**pool.connection_kwargs, "connection_class": pool.connection_class}
