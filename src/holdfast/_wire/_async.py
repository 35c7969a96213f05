# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What is above the transport: deadline, retry, script cache, and our errors instead of theirs.

One call has one deadline, over all its attempts. Between attempts it rests, with exponential backoff and full
jitter. What may be repeated is decided by verdict.py from two facts: whether the server can have executed the
request, and what its `retry:` line promises.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from holdfast._compat import asleep, monotonic
from holdfast._signals import Observer
from holdfast._wire import server, verdict
from holdfast._wire._replicas_async import NOBODY, AsyncReplicaReads
from holdfast._wire.durability import Durability
from holdfast._wire.hub_ledger import AnyHub
from holdfast._wire.keys import Keys
from holdfast._wire.script import Retry, Script
from holdfast._wire.transport import (
    Arg,
    AsyncConversation,
    AsyncTransport,
    Command,
    HandshakeRefused,
    Reply,
    ReplyError,
    WireFailure,
)
from holdfast._wire.verdict import Verdict
from holdfast.errors import Closed, ConfigurationError, HoldfastError, Unavailable

FIRST_REST = 0.02  # seconds; the most that the first retry waits
LONGEST_REST = 0.15
LAST_REST = 0.005  # with less than this left, another attempt could only fail
LAST_CALL = 0.05  # the same for what must not run twice: unanswered it would be in doubt
_NO_SCRIPT = "NOSCRIPT No matching script"  # the server's own words: a script may return the same code
_DEPENDS = {"XREAD", "XREADGROUP", "CLIENT"}  # whether they may be shared depends on their arguments
MARGIN = 1.0  # seconds that a blocking command may overrun before its connection is given up


class _Shared:
    """What a wire and its impatient copies know in common."""

    is_closed = False
    facts: server.ServerFacts | None = None


class AsyncWire:
    """One server, as rooms see it: commands, scripts and reads, each with a deadline and with our errors."""

    def __init__(
        self,
        transport: AsyncTransport,
        *,
        name: str,
        keys: Keys,
        hub: AnyHub,
        observer: Observer,
        timeout: float,
        replicas: AsyncReplicaReads | None = None,
        leases: AnyHub | None = None,
    ) -> None:
        self.keys = keys
        self.hub = hub
        self.leases = leases or hub  # with a thread of its own: nothing may delay a renewal
        self.observer = observer
        self.timeout = timeout
        self.name = name
        self._shared = _Shared()
        self._transport = transport
        self._replicas = replicas
        self._retry_for = float("inf")
        self._unremarkable: set[Arg] = set()  # command names that need no second look

    @property
    def is_closed(self) -> bool:
        """Was the client closed?"""
        return self._shared.is_closed

    def stop(self) -> None:
        """Take no more trouble over what fails: the client is being closed."""
        self._shared.is_closed = True

    def impatient(self, retry_for: float) -> AsyncWire:
        """The same wire for a room that has something better to do than to wait for a server that is away.

        New attempts begin for `retry_for` seconds at most; an answer is still waited for until the deadline.
        """
        other = copy.copy(self)
        other._retry_for = retry_for
        return other

    async def execute(
        self,
        *command: Arg,
        timeout: float | None = None,
        retry: Retry | None = None,
        durability: Durability | None = None,
        max_staleness: float | None = None,
    ) -> Reply:
        """The raw reply to `command`, within `timeout` seconds (None: the client's).

        `retry` says what repeating it does; by default reads are safe and everything else is never repeated.
        `durability`: when a write counts as done. `max_staleness`: seconds by which a read may be behind, if
        a replica is to answer it.
        Raises: Unavailable, Unconfirmed, NotDurable, Refused, Closed, ConfigurationError.
        """
        if not command:
            raise ConfigurationError('execute() needs a command, as in execute("GET", key)')
        if type(command[0]) is not str or command[0] not in self._unremarkable:
            blocks = self._look_at(command)
            if blocks is not None:
                return await self._block(command, blocks, timeout, retry)
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        if durability is not None:
            return await self._durably(
                command, retry or verdict.class_of(verdict.name_of(command)), deadline, durability
            )
        if (
            max_staleness is not None
            and (near := await self._near(command, deadline, max_staleness)) is not NOBODY
        ):
            return near
        trouble: Exception
        try:
            reply = await self._transport.execute(command, deadline)
            if type(reply) is not ReplyError:
                return reply
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        except (TypeError, UnicodeError) as error:
            raise verdict.unsendable(command, error) from error
        return await self._persist(
            (command,), trouble, retry or verdict.class_of(verdict.name_of(command)), deadline
        )

    async def execute_many(
        self, commands: Sequence[Command], timeout: float | None = None, retry: Retry = "never"
    ) -> list[Reply]:
        """The raw replies to `commands`, sent in one write; the first error reply is raised.

        Raises: Unavailable, Unconfirmed, Refused, Closed, ConfigurationError.
        """
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        trouble: Exception
        try:
            replies = await self._transport.execute_many(commands, deadline)
            failed = next((reply for reply in replies if type(reply) is ReplyError), None)
            if failed is None:
                return replies
            trouble = verdict.done_in_part(replies, failed) if retry == "never" else failed
        except WireFailure as failure:
            trouble = failure
        except (TypeError, UnicodeError) as error:
            raise verdict.unsendable(commands[0], error) from error
        persisted: list[Reply] = await self._persist(commands, trouble, retry, deadline, many=True)
        return persisted

    async def mget(self, keys: Sequence[str], timeout: float | None = None) -> list[bytes | None]:
        """The strings at `keys` (None where there is none), in one round trip.

        Raises: Unavailable, Refused, Closed.
        """
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        command = ("MGET", *keys)
        trouble: Exception
        try:
            reply = await self._transport.execute(command, deadline)
            if type(reply) is not ReplyError:
                return reply  # type: ignore[no-any-return]
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        except UnicodeError as error:
            raise verdict.unsendable(command, error) from error
        return await self._persist((command,), trouble, "safe", deadline)  # type: ignore[no-any-return]

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Arg] = (),
        timeout: float | None = None,
        durability: Durability | None = None,
    ) -> Reply:
        """What `script` returned for `keys` and `args`; its text is sent only where its digest is unknown.

        Raises: Unavailable, Unconfirmed, NotDurable, Refused, Closed, ConfigurationError.
        """
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        command: Command = ("EVALSHA", script.digest, str(len(keys)), *keys, *args)
        if durability is not None:
            return await self._durably(command, script.retry, deadline, durability, script)
        trouble: Exception
        try:
            reply = await self._transport.execute(command, deadline)
            if type(reply) is not ReplyError:
                return reply
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        except (TypeError, UnicodeError) as error:
            raise verdict.unsendable(command, error) from error
        return await self._persist((command,), trouble, script.retry, deadline, script=script)

    def conversation(self, timeout: float | None = None) -> AbstractAsyncContextManager[AsyncConversation]:
        """Lend a connection of its own; it speaks the transport's language (WireFailure, ReplyError)."""
        return self._transport.conversation(monotonic() + (self.timeout if timeout is None else timeout))

    async def facts(self, timeout: float | None = None) -> server.ServerFacts:
        """What this server is and can do, asked once.

        Raises: Unavailable, NoPermission, ConfigurationError if it is too old.
        """
        if self._shared.facts is None:
            deadline = monotonic() + (self.timeout if timeout is None else timeout)
            questions: list[Command] = [("HELLO", "3"), ("INFO",), ("COMMAND", "INFO", *server.PROBED)]
            questions.append(("CONFIG", "GET", "save"))
            replies: list[Reply] = []
            try:
                replies = await self._transport.execute_many(questions, deadline)
                trouble: Exception | None = next(
                    (one for one in replies if self._is_trouble(one, facts=True)), None
                )
            except WireFailure as failure:
                trouble = failure
            if trouble is not None:
                replies = await self._persist(questions, trouble, "safe", deadline, many=True, facts=True)
            facts = server.facts(*(None if isinstance(reply, ReplyError) else reply for reply in replies))
            server.check_age(facts, self.name)
            self._shared.facts = facts
        return self._shared.facts

    async def health(self) -> dict[str, Any]:
        """`ok`, `server`, `latency` (seconds) and what is known of the server; `error` where it is away."""
        begun = monotonic()
        try:
            facts = await self.facts()
            begun = monotonic()
            await self.execute("PING")
        except HoldfastError as error:
            return {"ok": False, "server": self.name, "error": str(error), "after": monotonic() - begun}
        return {
            "ok": True,
            "server": self.name,
            "latency": monotonic() - begun,
            "version": facts.version_text,
            "role": facts.role,
            "eviction_policy": facts.eviction_policy,
            "aof": facts.aof,
            "rdb": facts.rdb,
        }

    async def aclose(self) -> None:
        """Close every connection; later calls raise Closed."""
        self.stop()
        if self._replicas is not None:
            await self._replicas.aclose()
        await self._transport.aclose()

    # --- when it does not work at once ---------------------------------------------------------------------

    async def _persist(
        self,
        commands: Sequence[Command],
        trouble: Exception,
        retry: Retry,
        deadline: float,
        *,
        many: bool = False,
        script: Script | None = None,
        facts: bool = False,
        durability: Durability | None = None,
    ) -> Reply:
        """Repeat what may be repeated until the deadline; else raise what `trouble` means."""
        rest = FIRST_REST
        give_up = min(deadline, monotonic() + self._retry_for)
        while True:
            found = self._judge(trouble, commands[0], retry)
            if script is not None and commands[0][0] == "EVALSHA" and str(trouble).startswith(_NO_SCRIPT):
                commands = (("EVAL", script.text, *commands[0][2:]),)
            else:
                left = give_up - monotonic()
                elsewhere = found.is_misdirected and self._transport.doubt()
                repeat = found.may_repeat(retry, elsewhere=elsewhere)
                if self.is_closed or not repeat or left < (LAST_CALL if retry == "never" else LAST_REST):
                    raise found.error from trouble
                # Near the end it rests less: a failover that is over in the last moment shall still count.
                await asleep(min(random.uniform(0, rest), left / 2))
                rest = min(LONGEST_REST, rest * 2)
            try:
                replies = await self._ask(commands, deadline, durability)
            except WireFailure as failure:
                trouble = failure
                continue
            failed = next((reply for reply in replies if self._is_trouble(reply, facts=facts)), None)
            if failed is None:
                return replies if many else replies[0]
            trouble = verdict.done_in_part(replies, failed) if retry == "never" else failed

    async def _ask(
        self, commands: Sequence[Command], deadline: float, durability: Durability | None
    ) -> list[Reply]:
        """The replies to `commands`; with `durability`, once it is met. Raises: WireFailure, NotDurable."""
        if durability is None:
            return await self._transport.execute_many(commands, deadline)
        # On a connection of its own: the server counts the writes of the connection that asks, and lets
        # whoever else uses it wait.
        async with self._transport.conversation(deadline) as conversation:
            *replies, count = await conversation.execute_many([*commands, durability.command], deadline)
        if not any(type(reply) is ReplyError for reply in replies):
            durability.check(count, verdict.name_of(commands[0]), self.name)
        return replies

    async def _durably(
        self,
        command: Command,
        retry: Retry,
        deadline: float,
        durability: Durability,
        script: Script | None = None,
    ) -> Reply:
        """The reply to `command`, once `durability` is met; that may take longer than the deadline."""
        deadline += durability.patience
        trouble: Exception
        try:
            (reply,) = await self._ask((command,), deadline, durability)
            if type(reply) is not ReplyError:
                return reply
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        except (TypeError, UnicodeError) as error:
            raise verdict.unsendable(command, error) from error
        return await self._persist((command,), trouble, retry, deadline, script=script, durability=durability)

    async def _near(self, command: Command, deadline: float, max_staleness: float) -> Reply:
        """The reply of a replica that is fresh enough; NOBODY where there is none."""
        if verdict.name_of(command) not in verdict.READS:
            raise ConfigurationError(
                f"max_staleness= is for reads, and {verdict.name_of(command)} is none; leave it out"
            )
        if self._replicas is None or self.is_closed:
            return NOBODY
        return await self._replicas.read(command, deadline, max_staleness)

    def _is_trouble(self, reply: Reply, *, facts: bool) -> bool:
        """Must the caller hear of `reply`? Of `facts`, what we may not know is no error, but "not yet" is."""
        if type(reply) is not ReplyError:
            return False
        return not facts or isinstance(verdict.of_reply(str(reply), "INFO", self.name).error, Unavailable)

    def _judge(self, trouble: Exception, command: Command, retry: Retry) -> Verdict:
        perhaps = isinstance(trouble, WireFailure) and trouble.sent and retry == "never"
        if self.is_closed and not perhaps and not isinstance(trouble, ReplyError):
            return Verdict(Closed(f"the client of {self.name} was closed; make a new one"), executed=None)
        if isinstance(trouble, ReplyError):
            return verdict.of_reply(str(trouble), verdict.name_of(command), self.name)
        if isinstance(trouble, HandshakeRefused):
            return verdict.of_reply(trouble.reply, trouble.command, self.name)
        sent = trouble.sent if isinstance(trouble, WireFailure) else True
        return verdict.lost(
            str(trouble), sent=sent, command=verdict.name_of(command), server=self.name, retry=retry
        )

    def _look_at(self, command: Command) -> float | None:
        """Seconds for which `command` may block, None if it does not; refuses what would change a shared
        connection.
        """
        blocks = verdict.blocking(command)
        name = verdict.name_of(command)
        if blocks is None and name not in _DEPENDS and len(self._unremarkable) < 1000:
            self._unremarkable.add(command[0])
        return blocks

    async def _block(
        self, command: Command, blocks: float, timeout: float | None, retry: Retry | None
    ) -> Reply:
        """The reply to a blocking command, on a connection of its own so that nobody waits behind it."""
        patience = timeout if timeout is not None else (blocks + MARGIN if blocks else float(1 << 30))
        deadline = monotonic() + patience
        trouble: Exception
        try:
            async with self._transport.conversation(monotonic() + self.timeout) as conversation:
                reply = await conversation.execute(command, deadline)
            if type(reply) is not ReplyError:
                return reply
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        found = self._judge(trouble, command, retry or "never")
        if found.is_misdirected:
            self._transport.doubt()
        raise found.error from trouble
