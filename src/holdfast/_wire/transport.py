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
    """No reply. `sent` is False only if the server certainly never saw the request. Never leaves the wire.

    `hung_up`: the server closed the connection, or sent what is no reply of a Redis.
    """

    def __init__(self, message: str, *, sent: bool, hung_up: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.hung_up = hung_up


class AsyncAsked(Protocol):
    """Requests that were sent; several of these may be under way at once, to several servers."""

    async def replies(self) -> list[Reply]:
        """Their replies, to be fetched once. Raises: WireFailure."""

    async def abandon(self) -> None:
        """Nobody will fetch the replies."""


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

    def doubt(self) -> bool:
        """An answer came that only the wrong server gives: may there be another one? Never waits."""

    async def aclose(self) -> None:
        """Close every connection; unanswered requests fail."""


class AsyncNodeTransport(AsyncTransport, Protocol):
    """One server among several, for tasks: it can be asked while others are being asked too."""

    async def begin(self, commands: Sequence[Command], deadline: float) -> AsyncAsked:
        """Send `commands` in one write; their replies are fetched from the result. Raises: WireFailure."""


class Asked(Protocol):
    """Requests that were sent; several of these may be under way at once, to several servers."""

    def replies(self) -> list[Reply]:
        """Their replies, to be fetched once. Raises: WireFailure."""

    def abandon(self) -> None:
        """Nobody will fetch the replies."""


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

    def doubt(self) -> bool:
        """An answer came that only the wrong server gives: may there be another one? Never waits."""

    def close(self) -> None:
        """Close every connection; unanswered requests fail."""


class NodeTransport(Transport, Protocol):
    """One server among several, for threads: it can be asked while others are being asked too."""

    def begin(self, commands: Sequence[Command], deadline: float) -> Asked:
        """Send `commands` in one write; their replies are fetched from the result. Raises: WireFailure."""


class WrongRole(WireFailure):
    """The server is a replica, and a primary was wanted."""

    def __init__(self, where: str) -> None:
        super().__init__(f"cannot connect: {where} is a replica, not the primary", sent=False)


class HandshakeRefused(WireFailure):
    """The server refused our introduction: `command` is what it refused, `reply` what it said."""

    def __init__(self, command: str, reply: str) -> None:
        super().__init__(f"{command} refused: {reply}", sent=False)
        self.command = command
        self.reply = reply
