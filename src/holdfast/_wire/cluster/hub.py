"""A hub for each node of a Cluster: who waits is woken by the node of his channel, what is kept goes to the
node of its key.

Promise: what `_wire/hub.py` promises, also when slots move. A watch follows its channel to the node that
serves it now and fires once it is confirmed there, since a message may have been missed in between. While
it moves, a listener may be called from the threads of both nodes. A kept command follows its key. A node that
is frozen or gone delays nothing at the others, since each has a thread of its own; that of a node that serves
nothing any more ends.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from holdfast._compat import monotonic, sleep
from holdfast._wire.cluster import slots
from holdfast._wire.cluster.atlas import Atlas, NodeEndpoint
from holdfast._wire.cluster.layout import Address
from holdfast._wire.cluster.tracking import ClusterTracking
from holdfast._wire.cluster.watch import ClusterWatch
from holdfast._wire.hub import Hub
from holdfast._wire.hub_keeping import Keeping
from holdfast._wire.hub_ledger import Holder, Kept, Listener, Waker
from holdfast._wire.hub_line import Router
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import Command
from holdfast.errors import Closed, ConfigurationError, HoldfastError

MakeHub = Callable[[NodeEndpoint, Router], Hub]

LOOK = 0.01  # seconds between two looks at what is still to be delivered, while closing


class ClusterHub:
    """See the file's docstring. `make_hub` makes the hub of one node."""

    def __init__(self, atlas: Atlas, make_hub: MakeHub) -> None:
        self._atlas = atlas
        self._make_hub = make_hub
        self._hubs: dict[Address, tuple[NodeEndpoint, Hub]] = {}
        self._leaving: list[Hub] = []  # of nodes that serve nothing any more; to be handed over
        self._watches: set[ClusterWatch] = set()
        self._trackings: set[ClusterTracking] = set()
        self._homeless: list[Kept] = []  # kept while nobody knew where to
        self._moving = 0  # moves under way: what they carry is in nobody's book for a moment
        self._closed = False
        atlas.on_change(self.follow)
        _HUBS.add(self)

    def watch(self, channel: str, signal: Waker) -> ClusterWatch:
        """Fire `signal` as promised until the watch is closed; a context manager. Raises: Closed."""
        return self._place(ClusterWatch(self.forget, channel, signal))

    def listen(self, channel: str, listener: Listener) -> ClusterWatch:
        """Hand every message of `channel` to `listener`, in a hub's thread, until the watch is closed.

        Raises: Closed.
        """
        return self._place(ClusterWatch(self.forget, channel, listener, listener))

    def _place(self, watch: ClusterWatch) -> ClusterWatch:
        if self._closed:
            raise Closed("this client was closed; make a new one")
        with MUTEX:
            self._watches.add(watch)
        try:
            self._settle(watch)
        except BaseException:
            watch.close()
            raise
        return watch

    def track(self, prefix: str, holder: Holder, every: float = 0.5, channel: str = "") -> ClusterTracking:
        """Tell `holder` of every change of the keys that start with `prefix`, on whatever node; with a
        `channel`, of those keys that are told there.

        Raises: Closed.
        """
        if self._closed:
            raise Closed("this client was closed; make a new one")
        tracking = ClusterTracking(prefix, holder, every, self._forget_tracking, channel)
        with MUTEX:
            self._trackings.add(tracking)
        self._track_primaries()
        return tracking

    def _forget_tracking(self, tracking: ClusterTracking) -> None:
        with MUTEX:
            self._trackings.discard(tracking)

    def _track_primaries(self) -> None:
        """Have every primary tell of changes, if anybody wants to know."""
        trackings, layout = list(self._trackings), self._atlas.layout
        if trackings and layout is None:
            self._atlas.doubt()  # once it is known, `follow` comes by
        elif trackings and layout is not None:
            hubs = dict(self._hub(address) for address in layout.primaries)
            for tracking in trackings:
                tracking.follow(hubs)

    def forget(self, watch: ClusterWatch) -> None:
        """Let `watch` go."""
        with MUTEX:
            self._watches.discard(watch)

    def deliver(self, name: Hashable, command: Command, done: Callable[[], Any]) -> None:
        """Run the idempotent `command` until it is confirmed; then call `done`, in a hub's thread.

        Raises: Closed; TypeError for an argument that is no str, bytes, int or float; ConfigurationError for
        a command without a key, which no node is responsible for.
        """
        if self._closed:
            raise Closed("this client was closed; make a new one")
        if slots.first_key(command) is None:
            raise ConfigurationError(
                f"{command[0]!r} has no key, so no node of the Cluster is the one to run it"
            )
        self._hand_over(Kept(name, command, done))

    def keep(self, keeping: Keeping) -> None:
        """Renew the lease `keeping`, wherever its keys are, until it is closed or lost. Raises: Closed."""
        if self._closed:
            raise Closed("this client was closed; make a new one")
        self._house(keeping)

    def _house(self, keeping: Keeping, to: Address | None = None) -> None:
        """Have it renewed by the node of its keys, or the one at `to`; where none is known, by any: it is
        watched to its end, and the node says where it is.
        """
        layout = self._atlas.layout
        # One without keys is not renewed, only watched to its end: any node's thread will do.
        address = to or (self._serving(slots.slot_of(keeping.keys[0])) if keeping.keys else None)
        if address is None and layout is not None:
            address = next(iter(layout.primaries), None)
        if address is None:
            keeping.lose("unreachable")
            return
        keeping.move_to(self._hub(address)[1])

    def rehouse(self, keeping: Keeping, message: str, asked: NodeEndpoint) -> None:
        """The node `asked` says that the keys of a lease are elsewhere."""
        target = asked.target
        found = None if target is None else slots.redirection(message, (target.host, target.port))
        if found is not None:
            moved, slot, to = found
            keeping.asking = not moved
            if moved:
                self._atlas.moved(slot, to)
            self._house_if_possible(keeping, to)

    def _house_if_possible(self, keeping: Keeping, to: Address | None = None) -> None:
        """As `_house`; where that cannot be, it is lost."""
        try:
            self._house(keeping, to)
        except HoldfastError:  # closed, or no thread can be started
            keeping.lose("closed" if self._closed else "unreachable")

    def undelivered(self) -> int:
        """Commands not confirmed yet."""
        with MUTEX:
            hubs = [hub for _, hub in self._hubs.values()] + self._leaving
            return sum(hub.undelivered() for hub in hubs) + len(self._homeless)

    def close(self, drain: float = 10.0) -> list[Hashable]:
        """Wake every waiter, deliver what can be within `drain` seconds, end; returns the names left over."""
        give_up = monotonic() + drain
        with MUTEX:
            self._closed = True
            watches = list(self._watches)
        for watch in watches:
            watch.signal.fire()
        # The hubs stay open meanwhile: what is kept may have to follow its slot to another node.
        while self._is_busy() and (left := give_up - monotonic()) > 0:
            sleep(min(LOOK, left))
        with MUTEX:
            hubs = [hub for _, hub in self._hubs.values()] + self._leaving
            names: list[Hashable] = [kept.name for kept in self._homeless]
        for hub in hubs:
            names += hub.close(0.0)
        return names

    def _is_busy(self) -> bool:
        with MUTEX:
            return self._moving > 0 or self.undelivered() > 0

    # --- where things are --------------------------------------------------------------------------------

    def follow(self) -> None:
        """Slots have moved: so do those who watch there, and what is kept for there. From any thread."""
        for watch in list(self._watches):
            with contextlib.suppress(HoldfastError):  # it polls; nobody here could do better
                self._settle(watch)
        with contextlib.suppress(HoldfastError):  # closed meanwhile, or no thread: nothing is held then
            self._track_primaries()
        with MUTEX:
            for address, (endpoint, hub) in list(self._hubs.items()):
                if endpoint.is_retired:
                    del self._hubs[address]
                    self._leaving.append(hub)
            leaving, self._leaving = self._leaving, []
            homeless, self._homeless = self._homeless, []
            self._moving += 1  # these
            staying = list(self._hubs.items())
        for hub in leaving:  # once nobody refers to it, its thread ends
            for kept in hub.kept():
                self._move(kept, hub)
            for keeping in hub.keepings():
                self._house_if_possible(keeping)
        for address, (_, hub) in staying:
            for kept in hub.kept():
                # Where a slot is taken over, the table does not lead: the node says if it is not there.
                if not kept.asking and self._address(kept) not in {address, None}:
                    self._move(kept, hub)
            for keeping in hub.keepings():
                serving = self._serving(slots.slot_of(keeping.keys[0])) if keeping.keys else None
                if not keeping.asking and serving not in {address, None}:
                    self._house_if_possible(keeping)
        for kept in homeless:
            self._hand_over(kept)
        with MUTEX:
            self._moving -= 1

    def redirect(self, kept: Kept, message: str, asked: NodeEndpoint) -> bool:
        """The node `asked` says that the keys of `kept` are elsewhere."""
        target = asked.target
        found = None if target is None else slots.redirection(message, (target.host, target.port))
        if found is None or target is None:
            return False
        moved, slot, to = found
        if moved:
            self._atlas.moved(slot, to)
        known = self._hubs.get((target.host, target.port))
        if known is not None and known[0] is asked:  # else `follow` was faster
            self._move(kept, known[1], to, asking=not moved)
        return True

    def misplaced(self, message: str, asked: NodeEndpoint) -> None:
        """The node `asked` says that a channel is elsewhere."""
        target = asked.target
        found = None if target is None else slots.redirection(message, (target.host, target.port))
        if found is not None:
            self._atlas.moved(found[1], found[2])

    def _settle(self, watch: ClusterWatch) -> None:
        while not watch.is_closed:
            address = self._serving(watch.slot)
            if address is None:
                self._atlas.doubt()  # once it is known, `follow` comes by
                return
            endpoint, hub = self._hub(address)
            watch.go_to(endpoint, hub)
            # Of several threads that do this at once each looks once more: the last one is right.
            if not endpoint.is_retired and self._serving(watch.slot) == address:
                return

    def _serving(self, slot: int) -> Address | None:
        layout = self._atlas.layout
        return None if layout is None else layout.table[slot]

    def _address(self, kept: Kept) -> Address | None:
        key = slots.first_key(kept.command)
        return None if key is None else self._serving(slots.slot_of(key))

    def _move(self, kept: Kept, hub: Hub, to: Address | None = None, *, asking: bool = False) -> None:
        with MUTEX:
            self._moving += 1
        try:
            if hub.let_go(kept):
                kept.asking = asking
                self._hand_over(kept, to)
        finally:
            with MUTEX:
                self._moving -= 1

    def _hand_over(self, kept: Kept, to: Address | None = None) -> None:
        """Have the hub of the right node keep it, or the one at `to`."""
        while True:
            address, to = to or self._address(kept), None
            if address is None:
                with MUTEX:
                    self._homeless.append(kept)
                if self._address(kept) is None:
                    self._atlas.doubt()  # once it is known, `follow` comes by
                    return
                with MUTEX:  # it has come by just now, perhaps without seeing this one
                    if kept not in self._homeless:
                        return
                    self._homeless.remove(kept)
                continue
            endpoint, hub = self._hub(address)
            try:
                hub.take_over(kept)
            except HoldfastError:  # closed meanwhile, or no thread can be started: it is left over
                with MUTEX:
                    self._homeless.append(kept)
                return
            if not endpoint.is_retired or not hub.let_go(kept):
                return
            kept.asking = False

    def _hub(self, address: Address) -> tuple[NodeEndpoint, Hub]:
        with MUTEX:
            known = self._hubs.get(address)
            if known is not None and known[0].is_retired:  # it left, and has come back
                self._leaving.append(self._hubs.pop(address)[1])
                known = None
            if known is None:
                endpoint = self._atlas.endpoint(address)
                known = self._hubs[address] = (endpoint, self._make_hub(endpoint, _Node(self, endpoint)))
            return known

    def after_fork(self) -> None:
        """In the child: who waited is in the parent."""
        self._watches.clear()


class _Node:
    """What the hub of one node says about where things are. It does not keep the client alive."""

    def __init__(self, hub: ClusterHub, endpoint: NodeEndpoint) -> None:
        self._hub = weakref.ref(hub)
        self._endpoint = endpoint

    def doubt(self) -> None:
        """The connection was lost."""
        self._endpoint.doubt()

    def misplaced(self, message: str) -> None:
        """A channel is elsewhere."""
        hub = self._hub()
        if hub is not None:
            hub.misplaced(message, self._endpoint)

    def reroute(self, kept: Kept, message: str) -> bool:
        """The keys of `kept` are elsewhere: True if somebody else takes care of it now."""
        hub = self._hub()
        return hub is not None and hub.redirect(kept, message, self._endpoint)

    def rehouse(self, keeping: Keeping, message: str) -> None:
        """The keys of a lease are elsewhere."""
        hub = self._hub()
        if hub is not None:
            hub.rehouse(keeping, message, self._endpoint)


_HUBS: weakref.WeakSet[ClusterHub] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for hub in list(_HUBS):
        hub.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
