"""The least that Python can do, by hand: no deadlines, no errors, no reconnects. Not for use."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, cast

import hiredis

_MORE = object()
_CHUNK = 1 << 16


class AsyncLimit(asyncio.Protocol):
    """All commands of one tick in one write; replies matched first in, first out."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._buffer: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        while (reply := reader.gets()) is not _MORE:
            waiting.popleft().set_result(reply)

    def ask(self, *command: str) -> asyncio.Future[Any]:
        """The reply to come."""
        future = self._loop.create_future()
        self._waiting.append(future)
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub errs
        return future

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._buffer))
        self._buffer.clear()

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()


class Limit:
    """A blocking socket. One per thread."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader(notEnoughData=_MORE)

    def get(self, key: str) -> Any:
        """The reply to GET."""
        self._socket.sendall(hiredis.pack_command(("GET", key)))  # type: ignore[arg-type]
        while (reply := self._reader.gets()) is _MORE:
            self._reader.feed(self._socket.recv(_CHUNK))
        return reply

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
