"""What a concurrency limiter is, without any I/O.

    exports = hf.concurrency_limiter("exports", 10, ttl="60s")

    with exports.hold("user:42", wait="5s") as slot:       # RateLimited if there is none within 5 s
        ...

A subject has so many slots; each is a lease of one holder, with a ttl of its own.

Promised:

* On one server that keeps its data, never more than `limit` slots of a subject are held at a time, by the
  server's clock: from the grant until it is given back, or until its ttl has passed without a renewal.
* A slot of one who crashed comes back by itself after its ttl. Whoever lives is renewed by a thread of its
  own, also while it computes; if a slot is lost all the same, its holder is told (see AsyncHeld).
* Who waits gets a slot in the order in which the server heard of them, and is woken by a push; those who died
  waiting are passed over within `PATIENCE_MS`. With `max_queue`, no more than that many wait.
* A lost reply, a repeated or late request, and an attempt that was cancelled cost no slot.
* The limit is what the caller says (a plan, a deploy under way). Where callers differ, each goes by his own:
  he gets a slot only if fewer are out than he allows, and than wait before him. A lower limit takes nothing
  away; it takes effect as slots end.
* While the server is away nobody waits longer than `deadline` for each question, and `on_error` decides. Only
  the first question of a limiter, which may have to connect, has the client's timeout.

Not promised:

* The limit across FLUSHALL or a failover that loses grants, or for a body that goes on after its slot was
  lost.
* The limit while the server is away, unless `on_error` is "deny". With "allow" and "local" a body that is
  under way goes on when its slot can be renewed no more: the slot is then `degraded`, and counted by nobody
  ("local": by this process).
* That one whose limit is smaller than what is out gets a slot before others with a greater limit who came
  after him: under his own limit there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from holdfast._coord.naming import Key
from holdfast._signals import Signal
from holdfast._wire.keys import Keys
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError
from holdfast.limits.concurrency.options import ConcurrencyDecision

TAKE = Script.load(__package__, "take")
FREE = Script.load(__package__, "free")
KEEP = Script.load(__package__, "keep")
LOOK = Script.load(__package__, "look")
RESET = Script.load(__package__, "reset")
FREE_AGAIN = Script(FREE.name, FREE.text, FREE.digest, "safe")  # for who knows that it may have been done

PATIENCE_MS = 6_000  # a waiter that says nothing for so long is taken to be dead
STRAY_MS: Final = 60_000  # for which a request that nobody waits for may still be on its way
MANY_STRAYS: Final = 10_000  # abandoned attempts that may wait for delivery; beyond, their ttl has to do
GIVEN_UP: Final = -1
FULL: Final = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDegraded(Signal):
    """A slot could be renewed no more, since the server is away; its body goes on, as `on_error` says."""

    level = "warning"
    name: str
    subject: Key


class Names:
    """The keys of one subject, given as the inside of a `{tag}`; all of them in one slot."""

    __slots__ = ("_tomb", "alarm", "all", "beats", "queue", "slots")

    def __init__(self, keys: Keys, name: str, tag: str) -> None:
        self.slots = base = keys.make_escaped("slots", name, tag)
        self.queue, self.beats, self.alarm, self._tomb = base + ":q", base + ":b", base + ":a", base + ":x:"
        self.all = (self.slots, self.queue, self.beats)

    def attempt(self, token: str) -> tuple[str, ...]:
        """What TAKE and FREE are told."""
        return *self.all, self._tomb + token

    def channel(self, token: str) -> str:
        """Where the waiter with `token` is told that it is his turn."""
        return f"{self.queue}:w:{token}"


def milliseconds(duration: float) -> int:
    """`duration` seconds for the server, at least one."""
    return max(1, math.floor(duration * 1000))


def occupancy(name: str, limit: int, reply: Any) -> ConcurrencyDecision:
    """What the reply to TAKE or LOOK says: code, in use, waiting, ms until one is free, ms until all are."""
    code, in_use, waiting, until, last = reply
    return ConcurrencyDecision(
        code == 1,
        max(0, limit - in_use - waiting),
        0.0 if code == 1 else max(until, 1) / 1000,
        last / 1000,
        () if code == 1 else (name,),
        limit=limit,
        in_use=in_use,
        waiting=waiting,
    )


def unknown(limit: int, *, allowed: bool, retry_after: float = 1.0) -> ConcurrencyDecision:
    """What there is to say while the server is away."""
    if allowed:
        return ConcurrencyDecision(True, limit, 0.0, 0.0, degraded=True, limit=limit)
    return ConcurrencyDecision(False, 0, retry_after, 0.0, (), degraded=True, limit=limit)


def local_limit(limit: int, share: float) -> int:
    """Slots of one process, while each counts by itself."""
    return max(1, int(limit * share))


def refusal(name: str, subject: Key, found: ConcurrencyDecision, *, waited: float, full: bool) -> str:
    """The sentence of a RateLimited."""
    what = f"concurrency limiter {name!r}, subject {subject!r}"
    if found.degraded and found.violated:
        return f"{what}: the server is away, and all slots are in use here, of which this process has a share"
    if found.degraded:
        return f"{what}: the server is away, and on_error says to let nobody in"
    taken = f"{min(found.in_use, found.limit)} of {found.limit} slots are in use"
    if full:
        return f"{what}: {taken}, and as many wait as max_queue allows ({found.waiting})"
    if not waited:
        return f"{what}: {taken}" + (f", and {found.waiting} wait" if found.waiting else "")
    return f"{what}: {taken}, and none was free for us within {waited:.3g} s"


def check_name(name: object) -> str:
    """`name`, if it can be one. Raises: ConfigurationError."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f'a concurrency limiter needs a name that is not empty, as "exports", not {name!r}'
        )
    return name
