"""How a new connection introduces itself: RESP3, user, database, name. Pure.

All of it leaves in one write. HELLO and SELECT must succeed; the name is a courtesy to operators (CLIENT
LIST) that some servers do not permit, and is then simply missing. Whether the server is a primary stands in
its reply to HELLO, so looking costs nothing. READONLY, which lets a Cluster's replica answer, is refused by
servers that need no such thing.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast._wire import server
from holdfast._wire.transport import Command, HandshakeRefused, Reply, ReplyError, WrongRole
from holdfast._wire.url import Target

CLIENT_NAME = "holdfast"


def commands(target: Target) -> list[Command]:
    """What to send first."""
    hello: Command = ("HELLO", "3")
    if target.password is not None:
        hello += ("AUTH", target.username or "default", target.password)
    first: list[Command] = [hello, ("CLIENT", "SETNAME", CLIENT_NAME)]
    if target.db:
        first.append(("SELECT", target.db))
    if target.readonly:
        first.append(("READONLY",))
    return first


def check(target: Target, replies: Sequence[Reply]) -> None:
    """Judge the replies to `commands`.

    Raises: HandshakeRefused if the server does not want us, WrongRole for a replica,
    ConfigurationError if it is too old.
    """
    hello, _, *rest = replies
    if isinstance(hello, ReplyError):
        # The server quotes the arguments of a command it does not know, and these hold the password.
        raise HandshakeRefused("HELLO", str(hello).partition(", with args")[0])
    known = server.facts(hello, None, None, None)
    server.check_age(known, str(target))
    if target.role == "primary" and known.role != "master":
        raise WrongRole(f"{target.host}:{target.port}")
    if target.db and isinstance(rest[0], ReplyError):
        raise HandshakeRefused(f"SELECT {target.db}", str(rest[0]))
