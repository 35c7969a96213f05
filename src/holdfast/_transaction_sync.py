# Generated from _transaction_async.py by tools/unasync.py. Do not edit.
"""A transaction: commands that the server runs all or none, and only if nothing that was watched changed.

    with hf.transaction(hf.key("stock")) as tx:
        left = int(tx.read("GET", hf.key("stock")) or 0)
        tx.set(hf.key("stock"), left - 1)

Promise: MULTI, the queued commands and EXEC leave in one write, and nothing of another client comes between
them. With a guard they are one script, which looks at the lease first; replies are then those of the older
protocol (a list where there is a map). If the reply to EXEC is lost, Unconfirmed says that it may have
happened; it is never sent twice. Not promised: a rollback. A command that fails inside (a wrong type,
say) fails alone, as everywhere on Redis;
`results` then holds its error and it is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from holdfast._compat import monotonic
from holdfast._coord.guard import Guard
from holdfast._wire import verdict
from holdfast._wire._sync import Wire
from holdfast._wire.durability import Durability
from holdfast._wire.script import Retry
from holdfast._wire.transport import (
    Arg,
    Conversation,
    Command,
    HandshakeRefused,
    Reply,
    ReplyError,
    WireFailure,
)
from holdfast.errors import ConfigurationError, ConflictError, LockLost, Refused


class Transaction:
    """Queued commands; every Redis command is a method: `tx.hset(key, "field", 1)` queues HSET."""

    def __init__(
        self,
        wire: Wire,
        watch: tuple[str, ...],
        durability: Durability | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._wire = wire
        self._guard = guard
        self._durability = durability
        self._watch = watch
        self._queued: list[Command] = []
        self._held: AbstractContextManager[Conversation] | None = None
        self._conversation: Conversation | None = None
        self.results: list[Reply] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: self.queue(name.upper(), *args)

    def queue(self, *command: Arg) -> None:
        """Have `command` run at the end, with all the others. Raises: ConfigurationError if it cannot."""
        if not command:
            raise ConfigurationError('queue() needs a command, as in queue("SET", key, 1)')
        if verdict.blocking(command) is not None:
            raise ConfigurationError(f"{command[0]!r} would block inside a transaction; use execute()")
        self._queued.append(command)

    def read(self, *command: Arg) -> Reply:
        """The reply to `command` now, before the transaction runs; watch its keys if you decide by it.

        Raises: Unavailable, Refused, ConfigurationError if it is no read.
        """
        name = verdict.word(command[0]) if command else "an empty command"
        if name not in verdict.READS:
            raise ConfigurationError(
                f"{name} is no read; tx.{name.lower()}(...) queues it for the end of the transaction"
            )
        return (self._ask([command], name))[0]

    def __enter__(self) -> Self:
        if self._held is not None:
            raise ConfigurationError("a transaction is used once; begin another with hf.transaction(...)")
        self._held = self._wire.conversation()  # its deadline runs from here
        try:
            self._conversation = self._held.__enter__()
        except WireFailure as failure:
            raise self._explain(failure, "WATCH", may_have_happened=False) from failure
        if self._watch:
            try:
                self._ask([("WATCH", *self._watch)], "WATCH")
            except BaseException as error:
                self._held.__exit__(type(error), error, error.__traceback__)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._held is not None
        try:
            if error is None and self._queued:
                self._commit()
            elif self._watch and error is None:
                self._ask([("UNWATCH",)], "UNWATCH")
        except (ConflictError, LockLost, Refused):
            self._held.__exit__(None, None, None)  # the server answered, so the connection is in order
            raise
        except BaseException as failure:
            self._held.__exit__(type(failure), failure, failure.__traceback__)
            raise
        # An exception of the body drops the connection, and the server forgets what it watched.
        self._held.__exit__(kind, error, trace)

    def _commit(self) -> None:
        queued = self._queued if self._guard is None else [self._guard.transaction(self._queued)]
        commands: list[Command] = [("MULTI",), *queued, ("EXEC",)]
        count: Reply = None
        if self._durability is None:
            replies = self._ask(commands, "EXEC", may_have_happened=True)
        else:
            commands.append(self._durability.command)
            patience = self._durability.patience
            *replies, count = self._ask(commands, "EXEC", may_have_happened=True, patience=patience)
        if replies[-1] is None:
            raise ConflictError(
                f"a watched key changed meanwhile: {', '.join(self._watch)}; read again and retry"
            )
        self.results = replies[-1] if self._guard is None else self._guarded(self._guard, replies[-1][0])
        for command, reply in zip(self._queued, self.results, strict=True):
            if isinstance(reply, ReplyError):
                raise verdict.of_reply(str(reply), str(command[0]), self._wire.name).error
        if self._durability is not None:
            self._durability.check(count, "the transaction", self._wire.name)

    def _guarded(self, guard: Guard, reply: Reply) -> list[Reply]:
        """The replies to the guarded commands."""
        if isinstance(reply, ReplyError):
            if guard.is_lost(reply):
                raise guard.lost()
            raise verdict.of_reply(str(reply), "the guarded transaction", self._wire.name).error
        replies: list[Reply] = reply
        return replies

    def _ask(
        self, commands: list[Command], name: str, *, may_have_happened: bool = False, patience: float = 0.0
    ) -> list[Reply]:
        assert self._conversation is not None, "use the transaction with `with`"
        try:
            deadline = monotonic() + self._wire.timeout + patience
            replies = self._conversation.execute_many(commands, deadline)
        except WireFailure as failure:
            raise self._explain(failure, name, may_have_happened=may_have_happened) from failure
        except (TypeError, UnicodeError) as bad:
            raise ConfigurationError(f"arguments must be str, bytes, int or float: {bad}") from bad
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ReplyError) and command[0] not in {"WAIT", "WAITAOF"}:  # judged at the end
                raise verdict.of_reply(str(reply), str(command[0]), self._wire.name).error
        return replies

    def _explain(self, failure: WireFailure, name: str, *, may_have_happened: bool) -> Exception:
        if isinstance(failure, HandshakeRefused):
            return verdict.of_reply(failure.reply, failure.command, self._wire.name).error
        retry: Retry = "never" if may_have_happened else "safe"
        return verdict.lost(
            str(failure), sent=failure.sent, command=name, server=self._wire.name, retry=retry
        ).error
