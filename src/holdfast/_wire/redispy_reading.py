"""What differs between the two flavours of a redis-py connection: both halves by hand.

How to read a reply within a time, wondering at each silence whether the server is still the right one, and
how to break connections that others are using.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from time import monotonic
from typing import Any

from holdfast._wire.endpoint import Endpoint


class AsyncReading:
    """With asyncio, `read_response(timeout=...)` answers a time-out with None, which is a reply: keep time
    ourselves.
    """

    @staticmethod
    async def read(connection: Any, timeout: float, endpoint: Endpoint) -> Any:
        """The next reply, undecoded. Raises: TimeoutError, and redis-py's exceptions, error replies
        included.
        """
        # Of an error reply redis-py would make an end of the connection, and of those that are still to come.
        reading = connection.read_response(disable_decoding=True, timeout=math.inf, disconnect_on_error=False)
        if timeout <= endpoint.suspicious_after:
            async with asyncio.timeout(timeout):
                return await reading
        task = asyncio.ensure_future(reading)
        try:
            async with asyncio.timeout(timeout):
                while not (await asyncio.wait({task}, timeout=endpoint.suspicious_after))[0]:
                    endpoint.quiet()
                return await task
        finally:
            task.cancel()

    @staticmethod
    @contextlib.contextmanager
    def patience(connection: Any, timeout: float) -> Iterator[None]:
        """Inside, redis-py itself waits no longer than this for a reply."""
        usual, connection.socket_timeout = connection.socket_timeout, timeout
        try:
            yield
        finally:
            connection.socket_timeout = usual


class Reading:
    """In threads it raises."""

    @staticmethod
    @contextlib.contextmanager
    def patience(connection: Any, timeout: float) -> Iterator[None]:
        """Inside, redis-py itself waits no longer than this for a reply."""
        connection._sock.settimeout(timeout)
        try:
            yield
        finally:
            if connection._sock is not None:  # else it is lost
                connection._sock.settimeout(connection.socket_timeout)

    @staticmethod
    def read(connection: Any, timeout: float, endpoint: Endpoint) -> Any:
        """The next reply, undecoded. Raises: redis-py's exceptions, TimeoutError and error replies
        included.
        """
        from redis.exceptions import TimeoutError as RedisTimeoutError

        give_up = monotonic() + timeout
        while (left := give_up - monotonic()) > endpoint.suspicious_after:
            try:
                return connection.read_response(
                    disable_decoding=True, timeout=endpoint.suspicious_after, disconnect_on_error=False
                )
            except RedisTimeoutError:
                endpoint.quiet()
        return connection.read_response(
            disable_decoding=True, timeout=max(0.001, left), disconnect_on_error=False
        )


def adrop(pool: Any, where: asyncio.AbstractEventLoop) -> None:
    """Break the connections of `pool`, which belongs to the event loop `where`. From any thread."""

    async def disconnect() -> None:
        await pool.disconnect(inuse_connections=True)

    def begin() -> None:
        task = where.create_task(disconnect())
        _DROPPING.add(task)
        task.add_done_callback(_DROPPING.discard)

    with contextlib.suppress(RuntimeError):  # the loop has ended, and its connections with it
        where.call_soon_threadsafe(begin)


_DROPPING: set[asyncio.Task[None]] = set()  # the loop itself refers to its tasks weakly


def drop(pool: Any, where: str) -> None:  # noqa: ARG001 (of one shape with `adrop`)
    """Break the connections of `pool`: whoever waits on one is told at once. From any thread."""
    pool.disconnect(inuse_connections=True)
