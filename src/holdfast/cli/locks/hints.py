"""What an operator may want to know or do about a lock. Pure."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.cli.locks.sight import Sight
from holdfast.cli.locks.words import counted

LONG = 600.0  # seconds; who holds a lock for longer may be asked why


def hints(one: Sight, here: str, lives: Callable[[int], bool]) -> list[str]:
    """Sentences. `here`: the name of this machine; `lives(pid)`: does such a process run here?"""
    who = one.holder if one.count <= 1 else None
    if one.is_odd:
        return [
            "locks are strings (but Redisson's is a hash); as long as it stands, nobody gets it",
            f"if nobody needs it, remove it by hand: UNLINK {one.key}",
        ]
    told: list[str] = []
    if who is None:
        return told
    if who.pid is not None and who.host == here and not lives(who.pid):
        told.append(f"no process {who.pid} is to be seen on this machine; its holder seems to be gone")
    elif who.ttl is None:
        told.append("it never ends by itself; if its holder is gone: holdfast locks break")
    elif (one.held or 0.0) > LONG and who.wanted is None and not one.is_foreign:
        told.append("held for long; if its process lives: holdfast locks break --ask REASON")
    if one.named.room == "redlock":
        told.append("this is what one of its servers knows; a majority of them decides: look at each")
    if one.is_foreign:
        told.append("another program has it: it cannot be asked, nor tells when it is free")
    if who.wanted is not None:
        told.append("its holder was asked; only lease.wanted and on_wanted= let it hear that")
    silent = sum(not ticket.alive for ticket in one.tickets)
    if silent:
        told.append(
            counted(silent, "waiter is silent, and passed over", "waiters are silent, and passed over")
        )
    return told
