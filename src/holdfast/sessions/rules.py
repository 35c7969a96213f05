"""Sessions, without any I/O: what they promise, and every decision that is taken.

    sessions = hf.sessions(idle="30m", absolute="12h")

    session = sessions.create(data={"cart": []})          # nobody has signed in yet
    session = sessions.load(cookie)                       # None: there is no such session
    session.data["cart"].append(7)
    sessions.save(session)                                # writes the cart, and nothing else

    session = sessions.rotate(session, user="ann")        # signed in: another id, the old one is dead
    sessions.list("ann")                                  # "my sessions", with device and place (about=)
    sessions.revoke(session.id)                           # signed out
    sessions.revoke_all("ann", keep=session)              # "sign me out everywhere else"

A session is a hash in the server, under the SHA-256 of its id. An id is 128 random bits; that of a user's
session ends with a hint, a hash of the user, so that his generation can be asked for in the same round trip.
The generation is a number per user; a session carries the one it was made under. `revoke_all` replaces it:
that ends all of them at once, however many there are.

Promised:

* Only the server makes ids. An unknown one is no session, and never becomes one (no fixation). What is at
  rest (a dump, a backup, a replica) contains no id, and none can be derived from it; with `cipher` neither
  data, nor user, nor `about`, nor the names of keys.
* What has ended stays ended: a `save`, `touch` or `rotate` that comes after a `revoke`, a `revoke_all`, the
  end of `idle` or of `absolute` finds nothing to write to and raises SessionGone. It re-creates nothing, and
  neither does a request that was stuck in the network for up to a minute.
* `rotate` gives a new id to exactly one of several callers. Where nobody else signed in, the old one leads to
  the same session for `overlap`, then never again; where the user changed, it is dead before `rotate`
  returns. The new session is there before the old id ends: a crash in between costs nobody anything.
* `revoke_all` also ends a login that is under way: every `create` and `rotate` that has reached the server
  before it; and, with `generation=` (asked for before the password is checked), every one that comes later.
* Requests that change different top-level keys of one session at a time lose nothing. Of two that change the
  same key, the later `save` wins; with `strict=True`, `save` raises ConflictError if anybody has saved since
  it was loaded. Only what changed is written, and noticed at any depth; a request that only reads writes
  nothing, except that its use is noted now and then (`touch`).
* A load is one round trip, on a Cluster to two nodes at once (one more for an id that was just replaced). It
  also answers where the server takes no writes (memory is full, replicas are missing); uses are not noted
  then.
* Every call has a deadline. A server that has lost what it knew has no sessions: everybody is signed out, and
  nobody is signed in who was not.
* An id that is loaded again after its overlap is told (SessionReused): somebody has a copy of it, or a very
  slow network. A request that had loaded it before, and takes long, gives no alarm.

Not promised:

* That a `load` which ran beside a `revoke_all` says None: session and generation are read in one round trip,
  but not in one step. Nor that a request which has loaded is stopped.
* That what was revoked stays so if the server forgets it: a failover to a replica that has not got it yet, a
  restart from an older snapshot. `durability` makes revoke, revoke_all and rotate wait for replicas or disks.
* An exact `idle`: it ends a session up to `touch` too early, never late. A clock of the server that is set
  back delays `idle` and `absolute` by so much at most.
* That `revoke_all(keep=...)` keeps a session whose id is just being rotated.
* Anything against whoever can write to the server: he can put in sessions. With `cipher` he cannot make up
  data, but he can put back older values, take keys out, make a session last longer, and lead an id that is
  nobody's to another session that is nobody's.
* That who reads what is at rest cannot test a guess: the hash of a user is not keyed, so one who guesses a
  user can tell whether he has sessions, and how many; not what is in them.
* That `list` shows more than 500 sessions of a user, those that end last; `revoke_all` ends all of them.
* Sessions outlive no eviction: with a maxmemory-policy other than noeviction, users may be signed out when
  memory is short. That is told once (ServerWarning) and never lets anybody in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.sessions.record import Record
from holdfast.sessions.shape import Delta, Pieces

CLEAN = Script.load(__package__, "clean")
CREATE = Script.load(__package__, "create")
ENTER = Script.load(__package__, "enter")
LOAD = Script.load(__package__, "load")
LOOK = Script.load(__package__, "look")
POP = Script.load(__package__, "pop")
REVOKE = Script.load(__package__, "revoke")
REVOKE_ALL = Script.load(__package__, "revoke_all")
ROTATE = Script.load(__package__, "rotate")
SAVE = Script.load(__package__, "save")
TOUCH = Script.load(__package__, "touch")

GONE, ALIVE, REPLACED, REUSED, OTHERWISE = range(5)  # what scripts answer first

REMEMBER_MS = 60_000  # for which an id that was revoked is known, and a request may still be repeated
REPLACED_MS = 600_000  # for which one that was replaced is known: so long it is told if it comes again
MOST_LISTED = 500  # sessions of a user in his index
PAGE = 100  # of them in one look
HOPS = 5  # rotations within one overlap that are followed
ATTEMPTS = 8  # at a rotation, while others save
FIELDS = ("g", "k", "kg")  # of a user's generation, see enter.lua


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReused(Signal):
    """An id came that had been replaced, and its overlap was over: somebody may have a copy of it, or the
    network was very slow. `handle`: the first characters of its hash.
    """

    level = "warning"
    sessions: str
    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUnreadable(Signal):
    """A session was there that is none for us (`reason`: sealed, schema, version, corrupt, ...): whoever has
    it is signed out.
    """

    level = "warning"
    sessions: str
    handle: str
    reason: str


class Lineage(NamedTuple):
    """The generation of a user as it is now; b"" where there is none. `kept`: see enter.lua."""

    generation: bytes
    kept: bytes = b""
    carried: bytes = b""

    @staticmethod
    def of(reply: Sequence[bytes | None]) -> Lineage:
        """What the server said of FIELDS, or what enter.lua returned."""
        return Lineage(*(one or b"" for one in reply))

    def holds(self, handle: str, generation: bytes | int) -> bool:
        """Does the session live that has this handle, and carries this generation?"""
        carried = generation if isinstance(generation, bytes) else b"%d" % generation
        if not self.generation or not carried:
            return False
        return carried == self.generation or (carried == self.carried and handle.encode() == self.kept)


NOBODY = Lineage(b"")


def merged(record: Record, delta: Delta) -> Pieces:
    """The pieces of `record` once `delta` is written."""
    if delta.whole:
        return delta.written
    return {
        **{name: piece for name, piece in record.pieces.items() if name not in delta.removed},
        **delta.written,
    }


def saved(record: Record, delta: Delta, idle: int, schema: int, now: int, version: int) -> Record:
    """`record` after a save.

    Its version stays behind if others have saved meanwhile, of which this one knows nothing: so that a strict
    save still finds out.
    """
    return record._replace(
        pieces=merged(record, delta),
        version=version if version == record.version + 1 else record.version,
        schema=schema,
        idle=idle,
        last=now,
    )


def is_due(record: Record, now: int, renew_after_ms: int) -> bool:
    """Is its id so old that it has to be replaced? 0: never."""
    return bool(renew_after_ms) and now - record.born >= renew_after_ms
