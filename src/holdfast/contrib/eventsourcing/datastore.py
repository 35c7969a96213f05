"""Where the recorders of one application keep what they record: keys, scripts, errors, durability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventsourcing.persistence import DatabaseError, InterfaceError, OperationalError

from holdfast import Durability, Holdfast
from holdfast._coord._safety_sync import require_keeping
from holdfast._coord.owner import token
from holdfast._wire.hub_ledger import AnyWatch, Waker
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg, Reply
from holdfast.errors import Closed, ConfigurationError, Refused, Unavailable

_REMEMBERED: Final = 10.0  # seconds at least; a request can only be repeated before its deadline


class HoldfastDatastore:
    """The place of one application on the server of `hf`; all its keys have the tag `{application}`.

    `durability`: when what is recorded counts as recorded. `accept_loss`: record also on a server that may
    evict it. One object may serve many recorders and threads; whoever made `hf` closes it.
    """

    def __init__(
        self,
        hf: Holdfast,
        application: str = "",
        *,
        durability: Durability | None = None,
        accept_loss: bool = False,
    ) -> None:
        if not isinstance(hf, Holdfast):
            raise ConfigurationError(f"recorders are synchronous: give a Holdfast, not {hf!r}")
        self._wire = hf._wire
        self.application = application
        self._durability = durability
        self._accept_loss = accept_loss
        self._checked = False
        patience = 0.0 if durability is None else durability.patience
        self.remember_ms = round(1000 * max(_REMEMBERED, 3 * (self._wire.timeout + patience)))

    def __repr__(self) -> str:
        return f"HoldfastDatastore({self.application!r} on {self._wire.name})"

    def key(self, purpose: str, part: str = "") -> str:
        """A key of this application; all of them share a slot."""
        return self._wire.keys.make("eventsourcing", purpose, self.application, part)

    def request(self) -> str:
        """A key for the answer to a request that is about to be made."""
        return self.key("request", f":{token()}")

    def read(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        """What `script`, which only reads, returns. Raises: as `write`."""
        return self._run(script, keys, args, None)

    def write(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        """What `script` returns, once it is as durable as was asked for.

        Raises: OperationalError if there was no answer (it may have happened) or it is not durable;
        InterfaceError after close; DatabaseError if the server refused; UnsafeServer.
        """
        if not self._checked:
            self._check()
        return self._run(script, keys, args, self._durability)

    def ask(self, *command: Arg) -> Reply:
        """The reply to a command that reads. Raises: as `write`."""
        try:
            return self._wire.execute(*command, retry="safe")
        except (Unavailable, Refused) as error:
            raise _theirs(error) from error

    def watch(self, channel: str, waker: Waker) -> AnyWatch:
        """Fire `waker` at every message of `channel`. Raises: InterfaceError after close."""
        try:
            return self._wire.hub.watch(channel, waker)
        except Closed as error:
            raise _theirs(error) from error

    def _run(
        self, script: Script, keys: Sequence[str], args: Sequence[Arg], durability: Durability | None
    ) -> Any:
        try:
            return self._wire.run(script, keys, args, durability=durability)
        except (Unavailable, Refused) as error:
            raise _theirs(error) from error

    def _check(self) -> None:
        what = f"the event store of {self.application!r}"
        consequence = f"{what} loses everything when the server restarts; set appendonly yes"
        try:
            require_keeping(
                self._wire, [self.key("events")], what, consequence, accept_loss=self._accept_loss
            )
        except (Unavailable, Refused) as error:
            raise _theirs(error) from error
        self._checked = True


def _theirs(error: Unavailable | Refused) -> DatabaseError | InterfaceError:
    """The library's error for ours."""
    if isinstance(error, Closed):
        return InterfaceError(str(error))
    if isinstance(error, Unavailable):
        return OperationalError(str(error))
    return DatabaseError(str(error))
