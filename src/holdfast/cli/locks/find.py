"""Which locks there are, by a walk over the server's keys within bounds; and a look at them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from holdfast import Holdfast
from holdfast.cli.cache.paper import Tell
from holdfast.cli.cache.walk import Walk, drive, walk
from holdfast.cli.cache.words import many
from holdfast.cli.locks import rooms
from holdfast.cli.locks.rooms import Named
from holdfast.cli.locks.sight import Sight, look


class Found(NamedTuple):
    """`named`: what showed signs of being in use. `walked`: how far was looked."""

    named: list[Named]
    walked: Walk

    def caveat(self) -> str:
        """What was not looked at; "" if all was."""
        if self.walked.complete:
            return ""
        return f"not all: about {many(self.walked.looked, 'key')} were looked at; --limit goes further"


def find(
    hf: Holdfast, wanted: str | None, limit: int, tell: Tell = lambda _: None, further: int = 100
) -> Found:
    """Those that fit `wanted`, at most `limit`, on all primaries. Raises: Unavailable, Refused."""
    keys = hf._wire.keys
    prefix = rooms.namespace(keys)
    found: dict[Named, None] = {}

    def take(key: str) -> bool:
        told = rooms.named(key, prefix)
        if told is None or not rooms.is_sign(*told) or not rooms.fits(told[0].name, wanted):
            return False
        is_new = told[0] not in found
        found[told[0]] = None
        return is_new

    ask = partial(hf._wire.execute_many, retry="safe")
    walked = drive(ask, walk(rooms.match(keys), limit, take, tell, further))
    return Found(list(found), walked)


def see(hf: Holdfast, some: Sequence[Named], tickets: int = 0) -> list[Sight]:
    """What is to be seen of `some` locks. Raises: Unavailable, Refused, ConfigurationError."""
    return drive(partial(hf._wire.execute_many, retry="safe"), look(hf._wire.keys, some, tickets))
