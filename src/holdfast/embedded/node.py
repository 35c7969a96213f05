"""One server of a lab, with everything that can happen to it."""

from __future__ import annotations

from typing import Any

from holdfast.embedded import admin
from holdfast.embedded.addresses import HOST, credentials, options
from holdfast.embedded.relay import Relay
from holdfast.embedded.server import Server
from holdfast.errors import ConfigurationError


class Node:
    """A server of a lab: a data node or a sentinel. `port` is where others reach it, through its relay if the
    lab has any.

    The verbs return when they have taken effect; what the other nodes make of it takes its time.
    """

    host = HOST

    def __init__(self, name: str, server: Server, port: int, index: int, relay: Relay | None) -> None:
        self.name = name
        self.server = server
        self.port = port
        self._index = index
        self._relay = relay

    def __repr__(self) -> str:
        return f"<Node {self.name} at {self.host}:{self.port}>"

    @property
    def url(self) -> str:
        """Where clients reach it directly, with its password."""
        scheme, server = "rediss" if self.server.tls else "redis", self.server
        return f"{scheme}://{credentials(server.password)}{self.host}:{self.port}{options(server.query)}"

    @property
    def password(self) -> str:
        """Its password, "" if it has none."""
        return self.server.password

    @property
    def pid(self) -> int | None:
        """Its process id now, None if it does not run."""
        return self.server.pid

    @property
    def running(self) -> bool:
        """Is there a process? It may be frozen."""
        return self.server.running

    def log_tail(self, lines: int = 40) -> list[str]:
        """The last lines of its log."""
        return self.server.log_tail(lines)

    def ask(self, *words: str | int | bytes, wait: float = admin.WAIT) -> Any:
        """Its reply to a command, through a way of its own that no cut affects.

        Raises: Refused, or Unavailable if there is no answer within `wait` seconds.
        """
        return admin.ask(self.server.socket_path, self.server.password, *words, wait=wait)

    def info(self, section: str, *, wait: float = admin.WAIT) -> dict[str, str]:
        """What it says of itself in a section of INFO."""
        return admin.facts(self.ask("INFO", section, wait=wait))

    # --- what can happen to it ---

    def kill(self) -> None:
        """End it without warning (SIGKILL)."""
        self.server.kill()

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay, no answer comes, until `resume`."""
        self.server.freeze()

    def resume(self) -> None:
        """Let it go on after `freeze` (SIGCONT)."""
        self.server.resume()

    def restart(self, *, empty: bool = False) -> None:
        """Start it anew at the same address and return when it answers.

        It remembers its part in the lab, and no data but what it had written down. `empty`: without data; a
        node of a cluster then belongs to none any more, and a sentinel knows what it knew in the beginning.
        """
        self.server.restart(empty=empty)

    def cut_off(self) -> None:
        """Part it from everybody, peers and clients, in both directions, until `heal`.

        Raises: ConfigurationError if the lab has no relays.
        """
        self._relays.cut(self._index)

    def heal(self) -> None:
        """End `cut_off`; connections of that time are reset."""
        self._relays.heal(self._index)

    @property
    def is_cut_off(self) -> bool:
        """Is it parted from the others?"""
        return self._relay is not None and self._relay.is_cut(self._index)

    @property
    def _relays(self) -> Relay:
        if self._relay is None:
            raise ConfigurationError("cut_off() needs relays in front of the nodes: start with cuttable=True")
        return self._relay
