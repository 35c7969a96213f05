# Generated from _place_async.py by tools/unasync.py. Do not edit.
"""Place: what all locks of one client share."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Hashable
from typing import Any

from holdfast._compat import me
from holdfast._coord._wait_sync import LEAST, Waiting
from holdfast._coord.line import Lines
from holdfast._signals import ServerWarning, Signal
from holdfast._wire._sync import Wire
from holdfast._wire.mutex import MUTEX
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg
from holdfast.errors import HoldfastError, LockError
from holdfast.locks import rules
from holdfast.locks.stats import Tallies


class Place:
    """See the file's docstring."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.waiting = Waiting(wire)
        self.lines = Lines()
        self.tallies = Tallies()
        self._entered: dict[str, list[tuple[Hashable, weakref.ref[Any]]]] = {}
        self.has_warned = False

    def notify(self, signal: Signal) -> None:
        """Tell whoever wants to know."""
        self.wire.observer.notify(signal)

    # --- who is inside -------------------------------------------------------------------------------------

    def inside(self, key: str) -> list[tuple[Hashable, Any]]:
        """Who of this process is inside with `key`, and under which lease."""
        with MUTEX:
            return [(who, lease) for who, there in self._entered.get(key, ()) if (lease := there())]

    def refuse_nesting(self, key: str, what: str, name: str) -> None:
        """Make sure that this thread does not wait for itself. Raises: LockError."""
        for who, lease in self.inside(key):
            if who == me() and lease.cause is None:
                raise LockError(
                    f"{what} is held by this very task, which would wait for itself; use the lease it has, "
                    f"or another name",
                    name=name,
                )

    def enter(self, key: str, lease: Any) -> None:
        """This thread holds `lease` from now on.

        We refer to it weakly, and the lock of the `with` statement strongly. So one that is left without
        `__exit__`, because a signal handler raised in that very moment, is collected with its lock, and ends.
        """
        with MUTEX:
            self._entered.setdefault(key, []).append((me(), weakref.ref(lease)))
            lease.lock.__dict__.setdefault("_leases", []).append(lease)

    def leave(self, key: str, lock: object) -> Any:
        """The lease that this thread entered last with `lock`; it is inside no more."""
        with MUTEX:
            inside = self.inside(key)
            mine = [one for one in inside if one[0] == me() and one[1].lock is lock]
            # A fixture may be torn down in another thread than the one that set it up.
            lease = (mine or [one for one in inside if one[1].lock is lock] or inside)[-1][1]
            self.forget(key, lease)
        return lease

    def forget(self, key: str, lease: Any) -> None:
        """Nobody holds `lease`, if anybody did."""
        with MUTEX:
            inside = [one for one in self._entered.pop(key, ()) if one[1]() not in (None, lease)]
            if inside:
                self._entered[key] = inside
            leases = lease.lock.__dict__.get("_leases", [])
            if lease in leases:
                leases.remove(lease)

    # --- the server ----------------------------------------------------------------------------------------

    def abandon(self, name: Hashable, script: Script, keys: tuple[str, ...], args: tuple[Arg, ...]) -> None:
        """Have the hub undo what nobody will learn the outcome of, however often the server is away."""
        if self.wire.hub.undelivered() < rules.MANY_STRAYS:
            with contextlib.suppress(HoldfastError):  # closed: its ttl has to do
                self.wire.hub.deliver(name, ("EVAL", script.text, len(keys), *keys, *args), lambda: None)

    def warn(self, patience: float) -> None:
        """Say once if the server may drop locks to make room; ask for `patience` seconds at most."""
        self.has_warned = True
        with contextlib.suppress(HoldfastError):
            policy = (self.wire.facts(min(self.wire.timeout, max(patience, LEAST)))).eviction_policy
            if policy not in {None, "noeviction"}:
                consequence = (
                    f"{policy}: when memory is short the server may drop a lock while it is held, "
                    f"and grant it to somebody else; set maxmemory-policy noeviction, or keep locks on a "
                    f"server of their own"
                )
                self.notify(
                    ServerWarning(server=self.wire.name, setting="maxmemory-policy", consequence=consequence)
                )
