"""What a lock is, without any I/O: what it promises, and every decision it takes.

Promised:

* On one server that keeps its data, two leases of one lock never overlap: from the grant to the release, or
  to the end of the ttl by the server's clock. `lease.ensure()` never says yes beyond that end, as long as no
  clock runs more than 1 % faster than the other.
* It always ends: a holder that crashed, froze or was cut off has it for its ttl at most. One that was
  cancelled while acquiring leaves nothing behind, whenever it was cancelled.
* A lost reply changes nothing: an acquire that was executed and not heard of is granted when it is repeated,
  a release that was repeated is a release, a renewal never makes anew what is gone.
* `lease.fence` grows with every grant of the name, also after FLUSHALL and after a failover: it is the last
  one plus one, or the server's clock in microseconds if that is more. With `fence="strict"` nothing is
  granted where that is not certain, because another server has taken over or the counter is gone.
* Who waits is woken by a push. One deadline holds for all of the waiting.
* A lease is renewed by a thread of its own, also while its holder computes, until it is released, lost, or as
  old as `max_hold`. Who loses it is told (see AsyncHeld).
* Any program that does SET key token NX PX ttl with the same key excludes us, and we exclude it.
* `fair=True`: those who wait get it in the order in which the server heard of them; those who died are passed
  over within `PATIENCE`.

Not promised:

* Exclusion across a failover that loses the grant, or after FLUSHALL: the new server grants anew. The older
  holder is told within a round trip of our noticing, at the latest at its next renewal; `replicas=` refuses
  grants that too few replicas have, which makes it rare, not impossible. What must not happen twice checks
  the fence, or is written through `hf.transaction(guard=lease)`.
* Exclusion for a program that goes on after its lease was lost: a paused process can write late. Same remedy.
* A grant in time when the server's clock jumps: forward, it ends leases early; backward, it prolongs them.
* Monotonic fences (but strict ones) where a server with a clock that is behind takes over, and its clock is
  behind by more than the time since the last grant.
* Fairness towards those who do not ask for it: a plain `lock` of the same name may come between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from holdfast._signals import Signal
from holdfast._wire.keys import Keys, escape_name
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError, Refused
from holdfast.locks.terms import Terms

ACQUIRE = Script.load(__package__, "acquire")
FAIR = Script.load(__package__, "fair")
RELEASE = Script.load(__package__, "release")
KEEP = Script.load(__package__, "keep")
ABANDON = Script.load(__package__, "abandon")
LOOK = Script.load(__package__, "look")
BREAK = Script.load(__package__, "break")
WANT = Script.load(__package__, "want")
BEGIN = Script.load(__package__, "begin")

HISTORY_MS = 86_400_000  # a fence outlives its last grant by a day; then the clock has long overtaken it
PATIENCE_MS = 6_000  # a waiter of a fair lock that says nothing for so long is taken to be dead
MANY_STRAYS = 10_000  # abandoned acquires that may wait for delivery; beyond, their ttl has to do


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDropped(Signal):
    """A lock was taken away from its holder by `force_release`."""

    level = "warning"
    name: str
    holder: str


class Names:
    """The keys of one lock; all of them in one slot. `room` keeps them apart from those of other rooms."""

    __slots__ = ("_tomb", "beats", "count", "fence", "history", "key", "queue", "tag", "wanted")

    def __init__(self, keys: Keys, name: str, key: str | None = None, room: str = "lock") -> None:
        tag = name if key is None else tag_of(key)
        # Two keys of other programs may share a tag: there the whole key is part of ours.
        part = "" if key is None else f":{escape_name(key)}"
        self.tag = tag
        base = keys.tagged(room, tag) + part
        self.key = base if key is None else key
        self.fence, self.wanted, self.count, self.history = base + ":f", base + ":v", base + ":c", base + ":h"
        self.queue, self.beats, self._tomb = base + ":q", base + ":b", base + ":x:"

    def acquire(self, token: str) -> tuple[str, ...]:
        """What ACQUIRE is told, and FAIR first."""
        return self.key, self.fence, self.tomb(token), self.count, self.history

    def tomb(self, token: str) -> str:
        """What keeps a request with `token` from being granted."""
        return self._tomb + token

    def terms(self, token: str) -> Terms:
        """Of a lease."""
        undo = (self.key, self.tomb(token), self.queue, self.beats)
        given = (self.key, self.wanted, self.queue)
        return Terms(
            self.key, self.tag, KEEP, (self.key, self.wanted), RELEASE, given, ABANDON, undo, least=1
        )

    def channel(self, token: str) -> str:
        """Where the waiter with `token` of a fair lock is told that it is his turn."""
        return f"{self.queue}:w:{token}"  # not of the key: with `key=` that may be in another slot


def tag_of(key: str) -> str:
    """The text by which the server puts `key` into a slot, if it can be written as a tag.

    Raises: ConfigurationError if it cannot.
    """
    start = key.find("{")
    end = key.find("}", start + 1) if start >= 0 else -1
    tag = key[start + 1 : end] if end > start + 1 else key
    if not key or any(one in tag for one in "{}%") or any(one.isspace() or ord(one) < 32 for one in tag):
        raise ConfigurationError(
            f"key={key!r} cannot be a lock's key: what decides its slot (what is in braces, or all of it) "
            f"must not be empty, nor contain braces, percent signs, blanks or control characters"
        )
    return tag


def no_lock(error: Refused, what: str, key: str) -> Exception:
    """What `error` means: what is at `key` may be no lock at all."""
    if error.code != "WRONGTYPE":
        return error
    return ConfigurationError(
        f"{what}: what is at the key {key!r} is no lock, which would be a string; another program uses it "
        f"for something else. Choose another name, or key="
    )


def check_above(above: object) -> None:
    """Raises: ConfigurationError if fences cannot begin above `above`."""
    if isinstance(above, bool) or not isinstance(above, int) or not 0 <= above <= 2**52:
        raise ConfigurationError(f"above={above!r} must be a fence, or 0: a whole number up to 2**52")


def milliseconds(duration: float) -> int:
    """`duration` seconds for the server, at least one."""
    return max(1, math.floor(duration * 1000))
