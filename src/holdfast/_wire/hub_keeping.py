"""Leases that are renewed while nobody calls: of locks, permits, operations. For threads and tasks alike.

A `Keeping` is one lease on its way: the script that renews it, until when it is certainly ours, and whom to
tell. The `Keeper` renews all of them on a connection of its own, in a thread that does nothing else: a
blocked event loop, a long garbage collection of its own making aside, or a slow callback of another room must
not cost a lease.

Promise
* A lease is renewed at a third of its ttl, and then has its whole ttl again, counted from before the request
  was sent, less what two clocks may differ by (`certain`). All that are due at about the same time leave in
  one write.
* It is said to be lost (`lost`, once) as soon as the server says so, and at the latest when its time is over,
  whether the server can be reached or not. It is said to be in danger once a third of the ttl is left.
* Once it is closed nothing renews it any more, not even an answer that was under way; so a lease that is
  given back cannot come to life again.
* Where the server allows tracking, a change of its key by anybody else is heard within a round trip: a lock
  that was deleted, overwritten, flushed or that ended is found lost at once, not at the next renewal.

Not promised: that nobody else holds it in the moment between its end on the server and our noticing. That no
program can know; a fence makes it harmless.

The renewing script answers 1 (ours), 2 (ours, and somebody asks for it back), 0 (nothing is there) or -1
(somebody else's), never makes a key anew, and reads its keys last, since the server tracks what was read.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Protocol

from holdfast._compat import boottime
from holdfast._wire.connection import pack
from holdfast._wire.hub_line import NEVER
from holdfast._wire.mutex import MUTEX
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg

RENEWALS = 3  # in one ttl
FIRST_LOOK = 0.25  # seconds after which a lease is looked at for the first time: from then on it is tracked
EARLY = 0.1  # part of the interval by which a renewal may come early, to leave together with others
DANGER = 1 / 3  # part of the ttl that is left when it is in danger
DRIFT = 0.01  # part of the ttl by which two clocks may differ in that time
SLACK = 0.002  # seconds: the server counts in milliseconds
LEAST_WAIT = 0.05  # seconds for an answer, however short the lease


def certain(asked: float, ttl: float) -> float:
    """Until when a lease of `ttl` seconds is ours for sure that was asked for at `asked` (boottime)."""
    return asked + ttl - ttl * DRIFT - SLACK


class Tenant(Protocol):
    """Whoever holds a lease. Called in the keeper's thread; must be quick and must not raise."""

    def renewed(self, until: float) -> bool | None:
        """It is ours until then (boottime). False: nobody needs it any more; it is not renewed again."""

    def wanted(self) -> None:
        """Somebody asks for it back. May be said again."""

    def endangered(self) -> None:
        """It was not renewed in time; a third of its ttl is left."""

    def lost(self, cause: str) -> None:
        """It is not ours any more."""


class Landlord(Protocol):
    """A hub, as far as a lease needs it."""

    def keep(self, keeping: Keeping) -> None:
        """Renew it. Raises: Closed, Unavailable."""


class Keeping:
    """A lease that is renewed until it is closed or lost. `script` None: it is only watched to its end.

    `keys[0]` decides which node of a Cluster is asked. `ttl`: seconds from each renewal. `until`: boottime up
    to which it is certainly ours. `least`: how many of the keys the script can do with, while a slot moves.
    `max_until`: boottime after which it is not renewed any more.
    """

    __slots__ = (
        "alone", "args", "asked_at", "asking", "at", "book", "cause", "due", "every", "failures",
        "is_tracked", "keys", "least", "max_until", "script", "state", "tenant", "ttl", "until", "warned",
    )  # fmt: skip

    def __init__(
        self,
        tenant: Tenant,
        script: Script | None,
        keys: Sequence[str],
        args: Sequence[Arg],
        *,
        ttl: float,
        until: float,
        max_until: float = NEVER,
        least: int | None = None,
    ) -> None:
        self.tenant = tenant
        self.script = script
        self.keys = keys
        self.args = args
        self.ttl = ttl
        self.until = until
        self.max_until = max_until
        self.every = ttl / RENEWALS
        self.due = boottime() + min(self.every, FIRST_LOOK) if script is not None else NEVER
        self.least = len(keys) if least is None else least
        self.alone = False
        self.asking = False
        self.warned = False
        self.is_tracked = False
        self.failures = 0
        self.at = NEVER  # when its book has it looked at next
        self.asked_at = 0.0  # boottime, and what an answer would have to be newer than
        self.book: Keepings | None = None
        self.state = "held"  # then "asked" while an answer is awaited, and "over" at the end
        self.cause: str | None = None  # why it was lost

    def packed(self, *, text: bool = False) -> bytes:
        """The request that renews it: by the digest of its script, or with its text."""
        assert self.script is not None
        keys = self.keys[: self.least] if self.alone else self.keys
        name, what = ("EVAL", self.script.text) if text else ("EVALSHA", self.script.digest)
        return pack((name, what, len(keys), *keys, *self.args))

    @property
    def end(self) -> float:
        """Boottime at which it is over if nothing happens."""
        return min(self.until, self.max_until)

    @property
    def warning(self) -> float:
        """Boottime at which there is something to say of it although nothing was heard."""
        return self.end if self.warned else min(self.end, self.until - self.ttl * DANGER)

    @property
    def early(self) -> float:
        """Seconds by which it may be renewed early. Not the first time: most are released before that."""
        return self.every * EARLY if self.is_tracked else min(self.every * EARLY, FIRST_LOOK / 4)

    @property
    def next(self) -> float:
        """Boottime at which there is something to do about it."""
        if self.state == "asked":
            # Half of what was left when it was asked may pass without any answer.
            return min(self.warning, self.asked_at + max(LEAST_WAIT, (self.end - self.asked_at) / 2))
        return self.warning if self.script is None else min(self.warning, self.due)

    def close(self, cause: str | None = None) -> bool:
        """Renew it no more; may be repeated. False if it was lost or closed before. `cause`: it is lost."""
        with MUTEX:
            if self.state == "over":
                return False
            # In one step: whoever finds it over must find out why, too.
            self.state, self.cause = "over", cause
            book, self.book = self.book, None
        if book is not None:
            book.remove(self)
        return True

    def forsake(self) -> bool:
        """As `close`, for the garbage collector, which must not wait: it may run in a thread that is being
        started by whoever has the mutex. Then the keeper finds out: there is nobody to be told any more.
        """
        if not MUTEX.acquire(blocking=False):
            return self.state != "over"
        try:
            return self.close()
        finally:
            MUTEX.release()

    def move_to(self, hub: Landlord) -> None:
        """Have another hub renew it, at once. Raises: Closed, Unavailable."""
        with MUTEX:
            if self.state == "over":
                return
            if self.book is not None:
                self.book.remove(self)
                self.due = 0.0
            self.state, self.book = "held", None
        hub.keep(self)

    def lose(self, cause: str) -> None:
        """It is not ours any more."""
        if self.close(cause):
            self.tenant.lost(cause)


class Keepings:
    """The leases to be renewed, by the time at which there is something to do. Written by callers of any
    thread, read by the keeper's.
    """

    def __init__(self) -> None:
        self._all: dict[Keeping, None] = {}
        self._by_key: dict[str, dict[Keeping, None]] = {}
        self._agenda: list[
            tuple[float, int, Keeping]
        ] = []  # a heap; entries that are outdated are passed over
        self._numbers = itertools.count()
        self.renewed = 0  # how many are not only watched
        self.next_look = NEVER  # when the thread will look by itself; who is due earlier must ring
        self.is_busy = False  # has anything been added since it looked?

    def __len__(self) -> int:
        return len(self._all)

    def add(self, keeping: Keeping) -> bool:
        """Look after `keeping`; True if the thread has to be woken for it."""
        with MUTEX:
            if keeping.state == "over":
                return False
            if keeping.book is not None and keeping.book is not self:
                keeping.book.remove(keeping)
            if keeping not in self._all:
                self._all[keeping] = None
                self.renewed += keeping.script is not None
                for key in keeping.keys:
                    self._by_key.setdefault(key, {})[keeping] = None
            keeping.book = self
            self.is_busy = True
            self.plan(keeping)
            return keeping.at < self.next_look

    def remove(self, keeping: Keeping) -> None:
        """Forget `keeping`."""
        with MUTEX:
            if self._all.pop(keeping, self) is self:
                return
            self.renewed -= keeping.script is not None
            for key in keeping.keys:
                others = self._by_key.get(key, {})
                others.pop(keeping, None)
                if not others:
                    self._by_key.pop(key, None)

    def plan(self, keeping: Keeping) -> None:
        """Have `keeping` looked at when there is something to do about it."""
        with MUTEX:
            keeping.at = keeping.next
            heapq.heappush(self._agenda, (keeping.at, next(self._numbers), keeping))

    def take_next(self, now: float) -> Keeping | None:
        """One about which there is something to do at `now`, or soon."""
        with MUTEX:
            while self._agenda:
                at, _, one = self._agenda[0]
                if one.book is self and one.at == at:
                    if min(at, one.due - one.early if one.state == "held" else at) > now:
                        return None
                    heapq.heappop(self._agenda)
                    one.at = NEVER
                    return one
                heapq.heappop(self._agenda)
            return None

    def next_time(self) -> float:
        """Boottime at which there is something to do."""
        with MUTEX:
            while self._agenda:
                at, _, one = self._agenda[0]
                if one.book is self and one.at == at:
                    return at
                heapq.heappop(self._agenda)
            return NEVER

    def all(self) -> list[Keeping]:
        """Every one, at this moment."""
        with MUTEX:
            return list(self._all)

    def look_again(self, keys: list[bytes] | None) -> None:
        """These keys have changed (None: perhaps all): renew what is under them now."""
        with MUTEX:
            if keys is None:
                changed = list(self._all)
            else:
                names = [key.decode("utf-8", "surrogateescape") for key in keys]
                changed = [one for name in names for one in self._by_key.get(name, ())]
            for one in changed:
                if one.script is not None:
                    one.due = 0.0
                    self.plan(one)

    def lost(self) -> None:
        """There is no connection: what was asked has to be asked again, and nothing is tracked."""
        with MUTEX:
            for one in self._all:
                one.state = "held" if one.state == "asked" else one.state
                if one.script is not None:
                    one.due = 0.0
                    self.plan(one)

    def abandon(self, cause: str) -> None:
        """Nobody looks after them any more."""
        for one in self.all():
            one.lose(cause)
