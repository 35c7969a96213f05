"""Which key on the server is what of the lock family. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import NamedTuple

from holdfast._wire.keys import Keys
from holdfast.cli.cache.walk import pattern, plain

ROOMS = ("lock", "rwlock", "semaphore", "leader", "redlock")

_WILD = re.compile(r"[*?\[]")
_OWN = re.compile(r":(?:[fvchqb]|x:[0-9a-f]*)")  # parts of a lock that is called by its name
_BY_KEY = re.compile(r":([^:]+):(?:[fvchqb]|x:[0-9a-f]*)")  # of one that is called by its key


class Named(NamedTuple):
    """Something of the family. `by_key`: its `name` is its key on the server, as given to `key=`."""

    room: str
    name: str
    by_key: bool = False


def named(key: str, prefix: str) -> tuple[Named, str] | None:
    """Whose `key` it is, and which of its parts; `prefix` is what all keys of the namespace start with.

    None for the keys of other rooms.
    """
    room, colon, rest = key[len(prefix) :].partition(":{")
    tag, brace, part = rest.partition("}")
    if room not in ROOMS or not colon or not brace or not key.startswith(prefix):
        return None
    if room == "lock" and not _OWN.fullmatch(part) and (found := _BY_KEY.fullmatch(part)):
        return Named(room, plain(found[1]), by_key=True), part[len(found[1]) + 1 :]
    return Named(room, plain(tag)), part


def is_sign(one: Named, part: str) -> bool:
    """Is `part` one that shows that `one` is in use? What stays when it is free is not."""
    if one.by_key:
        return part == ":f"  # the lock itself has a key that only its users know
    return part == "" or (one.room == "rwlock" and part == ":r")  # the readers


def match(keys: Keys) -> str:
    """What SCAN matches: the keys of all rooms of the family, in one walk, and of few other rooms."""
    first, second, third, last = (
        f"[{''.join(sorted({room[place] for room in ROOMS}))}]" for place in (0, 1, 2, -1)
    )
    return pattern(namespace(keys), f"{first}{second}{third}*{last}:{{*")


def namespace(keys: Keys) -> str:
    """What all keys of the namespace start with."""
    return keys.prefix("", "")[: -len(":%:{")]


def fits(name: str, wanted: str | None) -> bool:
    """Is `name` one of those that are wanted: a glob (`order:*`), a name or a family (`order`), or all?"""
    if wanted is None:
        return True
    if _WILD.search(wanted):
        return fnmatch.fnmatchcase(name, wanted)
    return name == wanted or name.startswith(f"{wanted}:")


def prefixes(keys: Keys) -> Sequence[str]:
    """What the keys of the family start with, one for each room.

    A lock that is called by its key has it elsewhere; here are its fence and what else belongs to it.
    """
    return [f"{namespace(keys)}{room}:{{" for room in ROOMS]
