"""How a new connection introduces itself: RESP3, user, database, name. Pure.

All of it leaves in one write. HELLO and SELECT must succeed; the name is a courtesy to operators (CLIENT
LIST) that some servers do not permit, and is then simply missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast._wire import server
from holdfast._wire.transport import Command, HandshakeRefused, Reply, ReplyError
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
    return first


def check(target: Target, replies: Sequence[Reply]) -> None:
    """Judge the replies to `commands`.

    Raises: HandshakeRefused if the server does not want us, ConfigurationError if it is too old.
    """
    hello, _, *selected = replies
    if isinstance(hello, ReplyError):
        # The server quotes the arguments of a command it does not know, and these hold the password.
        raise HandshakeRefused("HELLO", str(hello).partition(", with args")[0])
    server.check_age(server.facts(hello, None, None, None), str(target))
    for reply in selected:
        if isinstance(reply, ReplyError):
            raise HandshakeRefused(f"SELECT {target.db}", str(reply))
