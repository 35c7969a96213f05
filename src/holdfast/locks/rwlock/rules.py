"""What a lock for readers and writers is, without any I/O.

Promised:

* On one server that keeps its data, a writer is in alone: no reader's and no other writer's lease overlaps
  with his. Readers are in together.
* A reader that crashed keeps writers out for its own ttl at most, however many other readers come and go. A
  writer that crashed keeps the others out for its ttl.
* No kind starves the other (phase-fair, after Brandenburg and Anderson, ECRTS 2009). Once a writer waits, no
  reader gets in that comes later, until a writer has been in. A reader that waits sees at most one writer get
  in before it: none if it came while one was in. This holds for whoever keeps waiting; one that crashed while
  it waited is passed over after `PATIENCE_MS`, one that gives up as soon as the server hears of it.
* A writer's `fence` grows with every writer, also after FLUSHALL and after a failover, as a lock's does. A
  reader's is that of the last writer before it: what it reads is as new as what that writer left, and older
  than what a writer with a greater fence writes. So a reader can stamp what it makes of it, and whoever keeps
  that can refuse what is older than what he has.
* A lost reply, a repeated or late request, and an acquire that was cancelled change nothing of this: as with
  a lock, nothing stays behind. Who loses a lease is told.

Not promised:

* What a lock does not promise (see holdfast.locks.rules): exclusion across FLUSHALL or a failover that loses
  grants, or for a program that goes on after its lease was lost.
* An order among writers: any of them may be next. Between processes chance decides.
* That other programs are kept out by readers: one that does SET NX with the key of the writer keeps all of us
  out, but readers do not keep it out.
* A change from reader to writer. Whoever reads and asks to write would wait for itself: it is refused at once
  with LockError, as far as it is the same task, inside `with`. Leave the reading first, and look again after.
  To read while one reads is allowed, and does not wait for a writer who waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from holdfast._wire.keys import Keys
from holdfast._wire.script import Script
from holdfast.locks import holder
from holdfast.locks.holder import Holder
from holdfast.locks.rules import HISTORY_MS, PATIENCE_MS
from holdfast.locks.terms import TOLD, Request, Terms, holders

READ = Script.load(__package__, "read")
WRITE = Script.load(__package__, "write")
RELEASE = Script.load(__package__, "release")
KEEP = Script.load(__package__, "keep")
ABANDON = Script.load(__package__, "abandon")
LOOK = Script.load(__package__, "look")
BREAK = Script.load(__package__, "break")

Side = Literal["read", "write"]


class Names:
    """The keys of one lock; all of them in one slot."""

    __slots__ = ("_tomb", "beats", "claims", "fence", "holders", "intents", "key", "readers", "tag")

    def __init__(self, keys: Keys, name: str) -> None:
        self.tag = name
        self.key = base = keys.tagged("rwlock", name)
        self.fence, self.readers, self.holders = base + ":f", base + ":r", base + ":h"
        self.intents, self.claims, self.beats = base + ":i", base + ":q", base + ":b"
        self._tomb = base + ":x:"

    def ask(self, side: Side, token: str, ttl_ms: int, owner: str, *, waits: bool, inside: str) -> Request:
        """What asks for a place on this side; `inside`: the token of one that the caller reads under."""
        keys = (
            self.key, self.fence, self.readers, self.holders, self.intents, self.claims, self.beats,
            self._tomb + token,
        )  # fmt: skip
        args = (token, ttl_ms, owner, HISTORY_MS, PATIENCE_MS if waits else 0)
        return (READ, keys, (*args, inside)) if side == "read" else (WRITE, keys, args)

    def terms(self, token: str) -> Terms:
        """Of a lease."""
        inside = (self.key, self.readers, self.holders)
        waiting = (self.intents, self.claims, self.beats, self._tomb + token)
        return Terms(self.key, self.tag, KEEP, inside, RELEASE, inside, ABANDON, inside + waiting)

    def look(self) -> Request:
        """What shows who is in."""
        keys = (self.key, self.fence, self.readers, self.holders, self.intents, self.beats)
        return LOOK, keys, (TOLD,)

    def channel(self, side: Side) -> str:
        """Where those who wait on this side are told."""
        return f"{self.key}:w:{side}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Who is in, and who waits. `reading`: how many readers; `readers` describes the first thousand of them.

    `fence`: of the last writer, None where it is not known any more. `waiting_readers` and `waiting_writers`:
    of the writers of one process, one is counted.
    """

    name: str
    writer: Holder | None
    readers: tuple[Holder, ...]
    reading: int
    waiting_writers: int
    waiting_readers: int
    fence: int | None


def occupancy(name: str, reply: Any) -> Occupancy:
    """What the reply to LOOK says."""
    value, left, fence, reading, told, writers, readers, _ = reply
    ttl = None if left < 0 else left / 1000
    return Occupancy(
        name=name,
        writer=None if value is None else Holder(name=name, **holder.read(value), ttl=ttl),
        readers=holders(name, told),
        reading=reading,
        waiting_writers=writers,
        waiting_readers=readers,
        fence=None if fence is None else int(fence),
    )
