"""What a semaphore is, without any I/O.

Promised:

* On one server that keeps its data, never more than `permits` are out at a time, by the server's clock: a
  permit is out from its grant until it is given back, or until its own ttl has passed.
* A permit of one who crashed comes back by itself after its ttl, whatever the others do. Each is renewed by
  itself.
* The limit is what the caller says. Where callers differ (a deploy under way), each goes by his own: he gets
  one only if fewer are out than he allows. A lower limit takes nothing away; it takes effect as permits end.
* `lease.fence` is a number of its own for every grant, and grows, also after FLUSHALL and after a failover.
* Who waits is woken by a push when a permit is given back. A lost reply, a repeated or late request, and an
  acquire that was cancelled cost no permit.

Not promised:

* What a lock does not promise (see holdfast.locks.rules): the limit across FLUSHALL or a failover that loses
  grants, or for a program that goes on after its lease was lost.
* An order among those who wait. Within one process they go first come, first served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast._wire.keys import Keys
from holdfast._wire.script import Script
from holdfast.locks.holder import Holder
from holdfast.locks.rules import HISTORY_MS
from holdfast.locks.terms import TOLD, Request, Terms, holders

TAKE = Script.load(__package__, "take")
RELEASE = Script.load(__package__, "release")
KEEP = Script.load(__package__, "keep")
ABANDON = Script.load(__package__, "abandon")
LOOK = Script.load(__package__, "look")
BREAK = Script.load(__package__, "break")


class Names:
    """The keys of one semaphore; all of them in one slot."""

    __slots__ = ("_tomb", "alarm", "fence", "holders", "key", "limit", "tag")

    def __init__(self, keys: Keys, name: str) -> None:
        self.tag = name
        self.key = base = keys.tagged("semaphore", name)
        self.fence, self.holders, self.limit = base + ":f", base + ":h", base + ":m"
        self.alarm, self._tomb = base + ":a", base + ":x:"

    def ask(self, token: str, ttl_ms: int, owner: str, permits: int) -> Request:
        """What asks for a permit."""
        keys = (self.key, self.fence, self.holders, self.limit, self._tomb + token)
        return TAKE, keys, (token, ttl_ms, owner, HISTORY_MS, permits)

    def terms(self, token: str) -> Terms:
        """Of a lease."""
        out = (self.key, self.holders)
        return Terms(self.key, self.tag, KEEP, self.all(), RELEASE, out, ABANDON, (*out, self._tomb + token))

    def all(self) -> tuple[str, ...]:
        """What KEEP and BREAK are told."""
        return self.alarm, self.key, self.holders

    def look(self) -> Request:
        """What shows who has a permit."""
        return LOOK, (self.key, self.holders, self.limit), (TOLD,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permits:
    """What is out. `limit`: the one that the last grant went by, None where there was none lately. `holders`
    describes the first thousand.
    """

    name: str
    out: int
    limit: int | None
    holders: tuple[Holder, ...]


def permits(name: str, reply: Any) -> Permits:
    """What the reply to LOOK says."""
    out, told, limit, _ = reply
    return Permits(
        name=name, out=out, limit=None if limit is None else int(limit), holders=holders(name, told)
    )
