# Generated from _async.py by tools/unasync.py. Do not edit.
"""What is above the transport: deadline, retry, script cache, and our errors instead of theirs.

One call has one deadline, over all its attempts. Between attempts it rests, with exponential backoff and full
jitter. What may be repeated is decided by verdict.py from two facts: whether the server can have executed the
request, and what its `retry:` line promises.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from holdfast._compat import sleep, monotonic
from holdfast._signals import Observer
from holdfast._wire import server, verdict
from holdfast._wire.hub import Hub
from holdfast._wire.keys import Keys
from holdfast._wire.script import Retry, Script
from holdfast._wire.transport import (
    Arg,
    Conversation,
    Transport,
    Command,
    HandshakeRefused,
    Reply,
    ReplyError,
    WireFailure,
)
from holdfast._wire.verdict import Verdict
from holdfast.errors import Closed, ConfigurationError, HoldfastError, Unavailable

FIRST_REST = 0.02  # seconds; the most that the first retry waits
LONGEST_REST = 0.25
_NO_SCRIPT = "NOSCRIPT No matching script"  # the server's own words: a script may return the same code
_DEPENDS = {"XREAD", "XREADGROUP", "CLIENT"}  # whether they may be shared depends on their arguments
MARGIN = 1.0  # seconds that a blocking command may overrun before its connection is given up


class _Shared:
    """What a wire and its impatient copies know in common."""

    is_closed = False
    facts: server.ServerFacts | None = None


class Wire:
    """One server, as rooms see it: commands, scripts and reads, each within a deadline and with our
    errors.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        name: str,
        keys: Keys,
        hub: Hub,
        observer: Observer,
        timeout: float,
    ) -> None:
        self.keys = keys
        self.hub = hub
        self.observer = observer
        self.timeout = timeout
        self.name = name
        self._shared = _Shared()
        self._transport = transport
        self._retry_for = float("inf")
        self._unremarkable: set[Arg] = set()  # command names that need no second look

    @property
    def is_closed(self) -> bool:
        """Was the client closed?"""
        return self._shared.is_closed

    def stop(self) -> None:
        """Take no more trouble over what fails: the client is being closed."""
        self._shared.is_closed = True

    def impatient(self, retry_for: float) -> Wire:
        """The same wire for a room that has something better to do than to wait for a server that is away.

        New attempts begin for `retry_for` seconds at most; an answer is still waited for until the deadline.
        """
        other = copy.copy(self)
        other._retry_for = retry_for
        return other

    def execute(self, *command: Arg, timeout: float | None = None, retry: Retry | None = None) -> Reply:
        """The raw reply to `command`, within `timeout` seconds (None: the client's).

        `retry` says what repeating it does; by default reads are safe and everything else is never repeated.
        Raises: Unavailable, Unconfirmed, Refused, Closed, ConfigurationError.
        """
        if not command:
            raise ConfigurationError('execute() needs a command, as in execute("GET", key)')
        if type(command[0]) is not str or command[0] not in self._unremarkable:
            blocks = self._look_at(command)
            if blocks is not None:
                return self._block(command, blocks, timeout, retry)
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        trouble: Exception
        try:
            reply = self._transport.execute(command, deadline)
            if type(reply) is not ReplyError:
                return reply
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        except (TypeError, UnicodeError) as error:
            raise self._unsendable(command, error) from error
        return self._persist((command,), trouble, retry or verdict.class_of(_name(command)), deadline)

    def execute_many(
        self, commands: Sequence[Command], timeout: float | None = None, retry: Retry = "never"
    ) -> list[Reply]:
        """The raw replies to `commands`, sent in one write; the first error reply is raised.

        Raises: Unavailable, Unconfirmed, Refused, Closed, ConfigurationError.
        """
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        trouble: Exception
        try:
            replies = self._transport.execute_many(commands, deadline)
            failed = next((reply for reply in replies if type(reply) is ReplyError), None)
            if failed is None:
                return replies
            trouble = failed
        except WireFailure as failure:
            trouble = failure
        except (TypeError, UnicodeError) as error:
            raise self._unsendable(commands[0], error) from error
        persisted: list[Reply] = self._persist(commands, trouble, retry, deadline, many=True)
        return persisted

    def mget(self, keys: Sequence[str], timeout: float | None = None) -> list[bytes | None]:
        """The strings at `keys` (None where there is none), in one round trip.

        Raises: Unavailable, Refused, Closed.
        """
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        command = ("MGET", *keys)
        trouble: Exception
        try:
            reply = self._transport.execute(command, deadline)
            if type(reply) is not ReplyError:
                return reply  # type: ignore[no-any-return]
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        except UnicodeError as error:
            raise self._unsendable(command, error) from error
        return self._persist((command,), trouble, "safe", deadline)  # type: ignore[no-any-return]

    def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Arg] = (), timeout: float | None = None
    ) -> Reply:
        """What `script` returned for `keys` and `args`; sent by its digest, with its text only where it is
        unknown.

        Raises: Unavailable, Unconfirmed, Refused, Closed, ConfigurationError.
        """
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        command: Command = ("EVALSHA", script.digest, len(keys), *keys, *args)
        trouble: Exception
        try:
            reply = self._transport.execute(command, deadline)
            if type(reply) is not ReplyError:
                return reply
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        except (TypeError, UnicodeError) as error:
            raise self._unsendable(command, error) from error
        return self._persist((command,), trouble, script.retry, deadline, script=script)

    def conversation(self, timeout: float | None = None) -> AbstractContextManager[Conversation]:
        """Lend a connection of its own; it speaks the transport's language (WireFailure, ReplyError)."""
        return self._transport.conversation(monotonic() + (self.timeout if timeout is None else timeout))

    def facts(self) -> server.ServerFacts:
        """What this server is and can do, asked once.

        Raises: Unavailable, NoPermission, ConfigurationError if it is too old.
        """
        if self._shared.facts is None:
            deadline = monotonic() + self.timeout
            questions: list[Command] = [("HELLO", "3"), ("INFO",), ("COMMAND", "INFO", *server.PROBED)]
            questions.append(("CONFIG", "GET", "save"))
            replies: list[Reply] = []
            try:
                replies = self._transport.execute_many(questions, deadline)
                trouble: Exception | None = next(
                    (one for one in replies if self._is_trouble(one, facts=True)), None
                )
            except WireFailure as failure:
                trouble = failure
            if trouble is not None:
                replies = self._persist(questions, trouble, "safe", deadline, many=True, facts=True)
            facts = server.facts(*(None if isinstance(reply, ReplyError) else reply for reply in replies))
            server.check_age(facts, self.name)
            self._shared.facts = facts
        return self._shared.facts

    def health(self) -> dict[str, Any]:
        """`ok`, `server`, `latency` (seconds) and what is known of the server; `error` where it is away."""
        begun = monotonic()
        try:
            facts = self.facts()
            begun = monotonic()
            self.execute("PING")
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

    def close(self) -> None:
        """Close every connection; later calls raise Closed."""
        self.stop()
        self._transport.close()

    # --- when it does not work at once ---------------------------------------------------------------------

    def _persist(
        self,
        commands: Sequence[Command],
        trouble: Exception,
        retry: Retry,
        deadline: float,
        *,
        many: bool = False,
        script: Script | None = None,
        facts: bool = False,
    ) -> Reply:
        """Repeat what may be repeated until the deadline; else raise what `trouble` means."""
        rest = FIRST_REST
        give_up = min(deadline, monotonic() + self._retry_for)
        while True:
            found = self._judge(trouble, commands[0], retry)
            if script is not None and commands[0][0] == "EVALSHA" and str(trouble).startswith(_NO_SCRIPT):
                commands = (("EVAL", script.text, *commands[0][2:]),)
            else:
                pause = random.uniform(0, rest)
                if self.is_closed or not found.may_repeat(retry) or monotonic() + pause >= give_up:
                    raise found.error from trouble
                sleep(pause)
                rest = min(LONGEST_REST, rest * 2)
            try:
                replies = self._transport.execute_many(commands, deadline)
            except WireFailure as failure:
                trouble = failure
                continue
            failed = next((reply for reply in replies if self._is_trouble(reply, facts=facts)), None)
            if failed is None:
                return replies if many else replies[0]
            trouble = failed

    def _is_trouble(self, reply: Reply, *, facts: bool) -> bool:
        """Is `reply` an error that the caller must hear of? Of `facts`, what we may not know is none, but
        "not yet" is.
        """
        if type(reply) is not ReplyError:
            return False
        return not facts or isinstance(verdict.of_reply(str(reply), "INFO", self.name).error, Unavailable)

    def _judge(self, trouble: Exception, command: Command, retry: Retry) -> Verdict:
        perhaps = isinstance(trouble, WireFailure) and trouble.sent and retry == "never"
        if self.is_closed and not perhaps and not isinstance(trouble, ReplyError):
            return Verdict(Closed(f"the client of {self.name} was closed; make a new one"), executed=None)
        if isinstance(trouble, ReplyError):
            return verdict.of_reply(str(trouble), _name(command), self.name)
        if isinstance(trouble, HandshakeRefused):
            return verdict.of_reply(trouble.reply, trouble.command, self.name)
        sent = trouble.sent if isinstance(trouble, WireFailure) else True
        return verdict.lost(str(trouble), sent=sent, command=_name(command), server=self.name, retry=retry)

    def _look_at(self, command: Command) -> float | None:
        """Seconds for which `command` may block, None if it does not; refuses what would change a shared
        connection.
        """
        blocks = verdict.blocking(command)
        name = _name(command)
        if blocks is None and name not in _DEPENDS and len(self._unremarkable) < 1000:
            self._unremarkable.add(command[0])
        return blocks

    def _block(
        self, command: Command, blocks: float, timeout: float | None, retry: Retry | None
    ) -> Reply:
        """The reply to a blocking command, on a connection of its own so that nobody waits behind it."""
        patience = timeout if timeout is not None else (blocks + MARGIN if blocks else float(1 << 30))
        deadline = monotonic() + patience
        trouble: Exception
        try:
            with self._transport.conversation(monotonic() + self.timeout) as conversation:
                reply = conversation.execute(command, deadline)
            if type(reply) is not ReplyError:
                return reply
            trouble = reply
        except WireFailure as failure:
            trouble = failure
        raise self._judge(trouble, command, retry or "never").error from trouble

    def _unsendable(self, command: Command, error: Exception) -> ConfigurationError:
        kinds = ", ".join(type(arg).__name__ for arg in command[1:])
        return ConfigurationError(
            f"{_name(command)}: arguments must be str, bytes, int or float, not ({kinds}): {error}"
        )


def _name(command: Command) -> str:
    first = command[0]
    return (first.decode("ascii", "replace") if isinstance(first, bytes) else str(first)).upper()
