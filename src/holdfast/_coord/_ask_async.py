# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Asking for a grant, and knowing whether an older request for it may still be on its way.

A request that was sent and not answered is repeated under the same token, and the repetition finds out what
came of it. But the first one may have been neither executed nor lost: it may sit in a buffer of the network,
of a frozen relay or of the server, and be executed seconds later, when what the repetition was granted has
been given back. Nobody would know of that grant, and it would last for its whole ttl. So whoever was granted
something after such a request has to leave a tombstone for the token when he gives it back.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from holdfast._compat import asleep, monotonic
from holdfast._coord.backoff import rest
from holdfast._wire._async import AsyncWire
from holdfast._wire.durability import Durability
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg, Reply
from holdfast.errors import ConfigurationError, NotDurable, Refused, Unavailable, Unconfirmed

LAST = 0.02  # seconds; with less left, another request could only fail


class Asked:
    """One logical request for a grant, with all its repetitions. `stray`: one of them may still come."""

    __slots__ = ("stray",)

    def __init__(self) -> None:
        self.stray = False


async def ask(
    wire: AsyncWire,
    asked: Asked,
    script: Script,
    keys: Sequence[str],
    args: Sequence[Arg],
    timeout: float,
    durability: Durability | None = None,
) -> Reply:
    """What `script`, which may be repeated under its token, returned; within `timeout` seconds.

    Raises: as `wire.run`; Unconfirmed if what came of it is not known at the end.
    """
    once = script.once()
    give_up, failures = monotonic() + timeout, 0
    while True:
        try:
            return await wire.run(once, keys, args, max(LAST, give_up - monotonic()), durability)
        except (NotDurable, Refused, ConfigurationError):
            raise
        except Unconfirmed:
            asked.stray = True
            if give_up - monotonic() < LAST or wire.is_closed:
                raise
            failures += 1
            await asleep(min(rest(failures, random.random()), max(0.0, give_up - monotonic())))
        except Unavailable:
            raise  # it has not left
        except BaseException:
            asked.stray = True  # cancelled: it may have left
            raise
