# Generated from _lease_async.py by tools/unasync.py. Do not edit.
"""MultiLease: the right to several names at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from holdfast._compat import boottime
from holdfast._coord._held_sync import Held
from holdfast._coord.guard import Guard
from holdfast._coord.tenant import WeakTenant
from holdfast._wire.mutex import MUTEX
from holdfast.errors import ConfigurationError, Refused, Unavailable, Unconfirmed
from holdfast.locks.multilock import rules
from holdfast.locks.multilock.part import OneName, Part
from holdfast.locks.terms import STRAY_MS

OUT_OF_REACH = {
    "unreachable",
    "closed",
}  # causes of a loss after which there is nobody to give the rest back to


class MultiLease(Held):
    """The right to all names of a multilock; lost as soon as one of them is.

    `fences`: the fence of each name. `fence`: the largest of them (see rules.py for when it grows). The rest
    is as in a lock's lease: `lost`, `cause`, `wanted`, `remaining()`, `ensure()`, `release()`.
    """

    def __init__(self, lock: Any, parts: Sequence[Part]) -> None:
        options = lock.options
        # Nothing renews what the base class has; it only counts max_hold. What is renewed are the parts.
        super().__init__(
            lock._wire,
            what=lock.what,
            name=lock.name,
            ttl=options.ttl_s,
            until=float("inf"),
            renewal=None,
            max_hold=options.max_hold_s,
            on_lost=options.on_lost,
            on_danger=options.on_danger,
            on_wanted=options.on_wanted,
        )
        self._keeping.keys = parts[0].group.keys  # in a Cluster they say which of its threads counts
        self.lock = lock
        self.fences: Mapping[str, int] = MappingProxyType(
            {name: part.fence for part in parts for name in part.group.names}
        )
        self.fence = max(self.fences.values())
        self._place = lock._place
        self._tally = lock._tally
        self._parts = tuple(parts)
        self._told = True  # not whole yet: what happens to its parts is the affair of who puts it together
        self._ended = False

    def _begin(self) -> bool:
        """From now on it is whole, and renewed; False if a part was lost before.

        Raises: Closed, Unavailable.
        """
        for part in self._parts:
            part.keeping.tenant = WeakTenant(self)
        if any(part.keeping.cause is not None for part in self._parts):
            return False
        self._told = False
        self._look()  # a part that was lost in between had nobody to tell
        if self._keeping.max_until != float("inf"):
            self._wire.leases.keep(self._keeping)
        self._kept = True
        return True

    # --- how it stands -------------------------------------------------------------------------------------

    @property
    def rest(self) -> float:
        """Seconds for which the next of this process need not ask, unless it is told."""
        return self.ttl

    def remaining(self) -> float:
        """Seconds for which all of it is certainly ours if nothing is renewed; 0.0 when it is not."""
        if self.cause is not None:
            return 0.0
        end = min(self._keeping.end, *(part.keeping.end for part in self._parts))
        return max(0.0, end - boottime())

    def ensure(self) -> None:
        """Make sure that all of it is ours, by what is known here: no question to the server.

        Raises: LockLost.
        """
        self._look()
        if self.cause is not None or self._keeping.state == "over":
            raise self._error()

    def _look(self) -> None:
        """Lose what is over."""
        now = boottime()
        for keeping in (self._keeping, *(part.keeping for part in self._parts)):
            if keeping.cause is not None:
                self._lost(keeping.cause)
            elif keeping.end <= now and keeping.state != "over":
                keeping.lose("expired" if now < keeping.max_until else "max_hold")

    def of(self, name: str) -> OneName:
        """One of the names, as the guard of a transaction or script: `hf.transaction(guard=lease.of("a"))`.

        Raises: ConfigurationError if it is none of ours.
        """
        for part in self._parts:
            for mine, names in zip(part.group.names, part.group.locks, strict=True):
                if mine == name:
                    keys = self._wire.keys
                    return OneName(self, keys, name, names, token=part.token, fence=part.fence)
        raise ConfigurationError(f"{self._what} has no name {name!r}; it has {', '.join(self.fences)}")

    def guard(self) -> Guard:
        """Refused: a guard looks at one name. Raises: ConfigurationError."""
        raise ConfigurationError(
            f"{self._what}: a guard looks at one name; say which, as in "
            f"guard=lease.of({next(iter(self.fences))!r})"
        )

    # --- its end -------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Give all of it back; may be repeated. If the server is away, the client goes on trying by itself.

        Raises: LockLost if it was lost before; what was still ours has been given back then.
        """
        self._end()
        if self.cause is not None:
            raise self._error()

    def _let_go(self) -> bool:
        self._look()
        self._kept = False
        return self._keeping.close()

    def _end(self) -> None:
        held = boottime() - self._since
        was_ours = self._let_go()
        with MUTEX:
            if self._ended:
                return
            self._ended = True
        for part in self._parts:
            part.keeping.close()
        if self.cause == "forked":
            return  # it is the parent's
        if self.cause in OUT_OF_REACH:
            self._leave_to_the_hub(self._parts)
            return
        whole = self._give_back()
        if was_ours and whole:
            self._over(held)
        elif was_ours:
            self._lost("vanished")

    def _give_back(self) -> bool:
        left = list(self._parts)
        whole = True
        try:
            while left:  # the highest slot first: who is woken by a lower one shall find the higher ones free
                whole = self._give_back_part(left[-1]) and whole
                left.pop()
        except (Unavailable, Refused):
            self._leave_to_the_hub(left)
        except BaseException:
            self._leave_to_the_hub(left)
            raise
        return whole

    def _give_back_part(self, part: Part) -> bool:
        """Were all of them ours?"""
        keys, args = part.group.release(part.token), (part.token, STRAY_MS if part.stray else 0)
        try:
            return bool(self._wire.run(rules.RELEASE, keys, args) == len(part.group.names))
        except Unconfirmed:
            self._wire.run(rules.RELEASE_AGAIN, keys, args)
            return True

    def _leave_it_to_the_hub(self) -> None:
        self._leave_to_the_hub(self._parts)

    def _leave_to_the_hub(self, parts: Sequence[Part]) -> None:
        for part in parts:
            abandon(self._place, part.group, part.token)

    def __del__(self) -> None:
        super().__del__()
        for part in self.__dict__.get("_parts", ()):
            part.keeping.forsake()

    # --- told by the thread that renews --------------------------------------------------------------------

    def _renewed(self, until: float) -> None:  # noqa: ARG002 (the keeping knows)
        self._tally.renewals += 1

    def _lost(self, cause: str) -> None:
        with MUTEX:
            if self._told:
                return
            self._told = True
        self._keeping.close(cause)
        if cause == "max_hold":  # the one loss that is not the server's: nobody may have it for longer
            for part in self._parts:
                part.keeping.close()
        super()._lost(cause)

    def _over(self, held: float) -> None:
        advice = self._tally.ended(held, self.cause, self.ttl, renewed=self.lock.options.renew)
        if advice is not None:
            self._place.notify(advice)

    def __repr__(self) -> str:
        state = f"lost: {self.cause}" if self.cause else f"{self.remaining():.3g} s left"
        return f"<{type(self).__name__} of {self._what}, fence {self.fence}, {state}>"


def abandon(place: Any, group: rules.Group, token: str) -> None:
    """Have the hub undo what was, or will be, granted to `token` in `group`."""
    name = ("multilock", token, group.place)
    place.abandon(name, rules.RELEASE_AGAIN, group.release(token), (token, STRAY_MS))
