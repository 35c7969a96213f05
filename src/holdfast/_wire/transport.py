"""The Protocol between what a question means (above: `_async.py`) and how it travels (below: mux, pool,
redis-py).

A transport sends, receives and keeps deadlines. It never retries and never interprets: an error reply comes
back as a value (`ReplyError`), and a failure says with `sent` whether the server can have seen the request.
Everything else, retries included, is decided once, above.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

Arg = str | bytes | int | float
Command = tuple[Arg, ...]
Reply = Any  # bytes | int | float | bool | None | list | dict | ReplyError: nothing is decoded down here


class ReplyError(Exception):
    """An error reply of the server, as a value: "-OOM command not allowed ...". Never leaves the wire."""


class WireFailure(Exception):
    """No reply. `sent` is False only if the server certainly never saw the request. Never leaves the wire."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class AsyncConversation(Protocol):
    """A connection lent to one caller: for WATCH, MULTI and whatever else needs several turns."""

    async def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""

    async def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""


class AsyncTransport(Protocol):
    """One server, for tasks. `deadline` is a time of the monotonic clock."""

    async def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""

    async def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""

    def conversation(self, deadline: float) -> AbstractAsyncContextManager[AsyncConversation]:
        """Lend a connection of its own (blocking commands, WATCH). Raises: WireFailure."""

    async def aclose(self) -> None:
        """Close every connection; unanswered requests fail."""


class Conversation(Protocol):
    """A connection lent to one caller: for WATCH, MULTI and whatever else needs several turns."""

    def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""

    def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""


class Transport(Protocol):
    """One server, for threads. `deadline` is a time of the monotonic clock."""

    def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""

    def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure."""

    def conversation(self, deadline: float) -> AbstractContextManager[Conversation]:
        """Lend a connection of its own (blocking commands, WATCH). Raises: WireFailure."""

    def close(self) -> None:
        """Close every connection; unanswered requests fail."""


class HandshakeRefused(WireFailure):
    """The server refused our introduction: `command` is what it refused, `reply` what it said."""

    def __init__(self, command: str, reply: str) -> None:
        super().__init__(f"{command} refused: {reply}", sent=False)
        self.command = command
        self.reply = reply
