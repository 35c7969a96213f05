# Generated from _lease_async.py by tools/unasync.py. Do not edit.
"""RedlockLease: the right to a Redlock. Each node renews its part; what they make together is ours."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from holdfast._coord._held_sync import Held
from holdfast._coord.tenant import WeakTenant
from holdfast._wire.hub_keeping import Keeping, certain
from holdfast._wire.mutex import MUTEX
from holdfast.errors import Closed, ConfigurationError, Unavailable
from holdfast.locks import rules as locks
from holdfast.locks.redlock._attempt_sync import Attempt
from holdfast.locks.redlock._node_sync import Node
from holdfast.locks.redlock.quorum import NEVER, Deadlines
from holdfast.locks.redlock.rules import Names, Said, quorum

_NOT_GIVEN_BACK = {"closed", "forked", "max_hold"}  # these end by their ttl: the holder may still be at it


class RedlockLease(Held):
    """The right to a Redlock. `fence`: a number that is greater than that of every earlier holder.

    `lost` is an asyncio.Event that is set when it is lost, `cause` then says why. `with lease` gives it
    back at the end, and cancels the body when it is lost.
    """

    def __init__(self, lock: Any, attempt: Attempt, names: Names, nodes: list[Node]) -> None:
        options, ttl = lock.options, lock.options.ttl_s
        until = certain(attempt.asked, ttl)
        ends = [until if claim.said is Said.YES else NEVER for claim in attempt.claims]
        self._deadlines = Deadlines(quorum(len(nodes)), ends)
        super().__init__(
            nodes[0].wire,
            what=lock.what,
            name=lock.name,
            ttl=ttl,
            until=self._deadlines.until,
            renewal=None,
            max_hold=options.max_hold_s,
            on_lost=options.on_lost,
            on_danger=options.on_danger,
        )
        self._keeping.keys = (names.key,)  # which node of a Cluster watches it to its end
        self.fence = attempt.fence
        self.lock = lock
        self.token = attempt.token
        self._attempt = attempt
        # Of a node that has not answered yet the claim may have been granted: its renewal will tell.
        keys, args = (names.key, names.wanted), (self.token, locks.milliseconds(ttl))
        self._posts = [
            _Post(self, place, node, Keeping(_NOBODY, locks.KEEP, keys, args, ttl=ttl, until=until))
            for place, node in enumerate(nodes)
            if options.renew and attempt.may_have(place)
        ]

    def guard(self) -> Any:
        """No single server can tell that it is ours. Raises: ConfigurationError."""
        raise ConfigurationError(
            f"guard={self._what}: no server knows who holds a Redlock; check lease.fence where you write"
        )

    def release(self) -> None:
        """Give it back on every node; may be repeated. Where a node is away, the client goes on trying by
        itself.

        Raises: LockLost if it was lost before.
        """
        self._end()
        if self.cause is not None:
            raise self._error()

    # --- life ----------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        super()._keep()
        for post in self._posts:
            post.begin()

    def _let_go(self) -> bool:
        for post in self._posts:
            post.keeping.close()
        return super()._let_go()

    def _give_back(self) -> bool:
        return self._attempt.release()

    def _lost(self, cause: str) -> None:
        if cause == "expired" and any(post.keeping.cause == "unreachable" for post in self._posts):
            cause = "unreachable"
        for post in self._posts:
            post.keeping.close()
        if cause not in _NOT_GIVEN_BACK:
            self._attempt.undo()  # a minority of the nodes may hold it for us still
        super()._lost(cause)

    def __del__(self) -> None:
        for post in self.__dict__.get("_posts", ()):
            post.keeping.forsake()
        super().__del__()

    # --- told by the threads that renew --------------------------------------------------------------------

    def _node_renewed(self, place: int, until: float) -> None:
        with MUTEX:
            whole = self._deadlines.renewed(place, until)
            if whole > self._keeping.until:
                self._keeping.until = whole
                self._keeping.warned = False

    def _node_lost(self, place: int, cause: str) -> None:
        with MUTEX:
            whole = self._deadlines.lost(place)
            self._keeping.until = min(self._keeping.until, max(whole, 0.0))
        if whole == NEVER or cause == "forked":
            self._keeping.lose(cause)
        elif self._keeping.state != "over":
            with contextlib.suppress(Closed, Unavailable):
                self._wire.leases.keep(self._keeping)  # it may end sooner than its watcher knows

    def __repr__(self) -> str:
        state = f"lost: {self.cause}" if self.cause else f"{self.remaining():.3g} s left"
        return f"<{type(self).__name__} of {self._what}, fence {self.fence}, {state}>"


class _Post:
    """The part of a lease that one node has: renewed by the thread of that node's client."""

    def __init__(self, lease: RedlockLease, place: int, node: Node, keeping: Keeping) -> None:
        self.keeping = self._keeping = keeping
        keeping.tenant = WeakTenant(self)
        self._lease = weakref.ref(lease)
        self._place = place
        self._node = node

    def begin(self) -> None:
        """Have it renewed."""
        try:
            self._node.wire.leases.keep(self.keeping)
        except (Closed, Unavailable):
            self.keeping.lose("closed")

    def _renewed(self, until: float) -> None:
        # One that has taken over may lack somebody else's grant: what it says of ours does not exclude him.
        if (lease := self._lease()) is not None and not self._node.is_new():
            lease._node_renewed(self._place, until)

    def _is_deserted(self) -> bool:
        lease = self._lease()
        return lease is None or lease._is_deserted()

    def _wanted(self) -> None:
        """Nobody can ask for it back."""

    def _endangered(self) -> None:
        """The lease as a whole will say so."""

    def _lost(self, cause: str) -> None:
        if (lease := self._lease()) is not None:
            lease._node_lost(self._place, cause)


class _Nobody:
    """The tenant of a keeping that has none yet."""

    def renewed(self, until: float) -> None: ...

    def wanted(self) -> None: ...

    def endangered(self) -> None: ...

    def lost(self, cause: str) -> None: ...


_NOBODY = _Nobody()
