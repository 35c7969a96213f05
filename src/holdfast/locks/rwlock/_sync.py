# Generated from _async.py by tools/unasync.py. Do not edit.
"""RwLock: many may read, or one may write, in the whole fleet."""

from __future__ import annotations

from holdfast._compat import me
from holdfast._coord.owner import owner
from holdfast.locks._attempt_sync import Attempt
from holdfast.locks._member_sync import Member
from holdfast.locks._place_sync import Place
from holdfast.locks.options import check_name
from holdfast.locks.rules import LockDropped, milliseconds
from holdfast.locks.rwlock import rules
from holdfast.locks.rwlock.options import RwLockOptions
from holdfast.locks.rwlock.rules import Names, Occupancy, Side
from holdfast.locks.terms import Request, Terms


class RwLock:
    """Many may read, or one may write, in the whole fleet.

        lock = hf.rwlock("catalogue", ttl="30s")
        with lock.read() as lease:       # together with other readers
            ...
        with lock.write() as lease:      # alone
            ...

    A cheap description, as a lock is. What is promised, and what is not, stands in
    `holdfast.locks.rwlock.rules`.
    """

    def __init__(self, place: Place, name: str, options: RwLockOptions) -> None:
        self.name = check_name(name, "rwlock")
        self.options = options
        self._place = place
        self._names = Names(place.wire.keys, name)

    @property
    def key(self) -> str:
        """The writer's key on the server."""
        return self._names.key

    def read(self) -> RwSide:
        """The readers' side: acquire, try_acquire, `with`."""
        return RwSide(self._place, self.name, self.options, self._names, "read")

    def write(self) -> RwSide:
        """The writers' side: acquire, try_acquire, `with`."""
        return RwSide(self._place, self.name, self.options, self._names, "write")

    def inspect(self) -> Occupancy:
        """Who is in, and who waits. Raises: Unavailable, Refused."""
        return rules.occupancy(self.name, self._place.wire.run(*self._names.look()))

    def force_release(self) -> int:
        """Take it away from whoever is in, and return how many that were. They are told that it is lost.

        Raises: Unavailable, Unconfirmed, Refused.
        """
        names = self._names
        had = int(self._place.wire.run(rules.BREAK, (names.key, names.readers, names.holders)))
        if had:
            self._place.notify(LockDropped(name=self.name, holder=f"{had} of rwlock"))
        return had

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class RwSide(Member):
    """One side of an RwLock."""

    options: RwLockOptions
    _names: Names
    leaves_a_trace = True

    def __init__(
        self, place: Place, name: str, options: RwLockOptions, names: Names, side: Side
    ) -> None:
        super().__init__(place, name, options, names, f"rwlock.{side} {name}")
        self.what = f"rwlock {name!r} for {'reading' if side == 'read' else 'writing'}"
        self.guards = side == "write"
        self._side: Side = side

    def _request(self, attempt: Attempt) -> Request:
        options = self.options
        ttl_ms = milliseconds(options.ttl_s)
        inside = self._inside() or ""
        return self._names.ask(
            self._side, attempt.token, ttl_ms, owner(options.label), waits=attempt.waits, inside=inside
        )

    def _terms(self, token: str) -> Terms:
        return self._names.terms(token)

    def _queue(self, token: str) -> tuple[str, str]:
        # When it is the readers' turn, all who wait get in: each of them asks.
        channel = self._names.channel(self._side)
        return (channel if self._side == "write" else f"{channel}:{token}"), channel

    def _refuse_nesting(self) -> None:
        if self._side == "write" or self._inside() is None:
            super()._refuse_nesting()

    def _inside(self) -> str | None:
        """The token of a lease under which this very thread reads, inside `with`."""
        for who, lease in self._place.inside(self.key):
            if who == me() and lease.cause is None and lease.lock._side == "read":
                return str(lease.token)
        return None
