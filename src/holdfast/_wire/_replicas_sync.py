# Generated from _replicas_async.py by tools/unasync.py. Do not edit.
"""Reads answered by a replica, where one is fresh enough."""

from __future__ import annotations

from collections.abc import Callable

from holdfast._compat import off_loop, monotonic
from holdfast._wire.cluster import slots
from holdfast._wire.cluster.atlas import Atlas
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.replicas import Replicas
from holdfast._wire.transport import Transport, Command, Reply, ReplyError, WireFailure
from holdfast._wire.url import Target

NOBODY = object()  # no replica answered: ask the primary


class ReplicaReads:
    """See the file's docstring. `open_node` makes the transport of one replica."""

    def __init__(
        self, place: Endpoint | Atlas, replicas: Replicas, open_node: Callable[[Endpoint], Transport]
    ) -> None:
        self._place = place
        self._replicas = replicas
        self._open_node = open_node
        self._nodes: dict[Target, Transport] = {}

    def read(self, command: Command, deadline: float, max_staleness: float) -> Reply:
        """The reply of a replica that is at most `max_staleness` seconds behind; NOBODY if there is none.

        Whatever goes wrong at a replica is no error: the primary knows better.
        """
        begun = monotonic()
        try:
            primary = self._primary(command, deadline)
            chosen = None if primary is None else self._replicas.choose(primary, max_staleness)
            if chosen is None:
                return NOBODY
            target, as_of = chosen
            patience = (deadline - begun) / 2  # the primary needs some of it, should this one be frozen
            reply = self._node(target).execute(command, begun + patience)
        except WireFailure:
            return NOBODY
        if type(reply) is ReplyError or monotonic() - as_of > max_staleness:
            return NOBODY
        return reply

    def close(self) -> None:
        """Close every connection, and sample no more."""
        self._replicas.stop()
        for node in list(self._nodes.values()):
            node.close()

    def _primary(self, command: Command, deadline: float) -> Target | None:
        """The primary of the key in `command`. Raises: WireFailure."""
        if not isinstance(self._place, Atlas):
            here, left = self._place, deadline - monotonic()
            return here.target or off_loop(lambda: here.resolve(max(0.0, left)))
        place = self._place
        known = place.layout
        if known is None:
            known = off_loop(lambda: place.read(deadline))
        key = slots.first_key(command)
        address = None if key is None else known.table[slots.slot_of(key)]
        return None if address is None else self._place.endpoint(address).target

    def _node(self, target: Target) -> Transport:
        known = self._nodes.get(target)
        if known is None:
            known = self._nodes.setdefault(target, self._open_node(self._replicas.endpoint(target)))
        return known
