"""Tracking over all primaries of a Cluster: one holder, told by every node that serves a slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

from holdfast._wire.cluster.atlas import NodeEndpoint
from holdfast._wire.hub import Hub
from holdfast._wire.hub_ledger import Holder
from holdfast._wire.hub_tracking import Tracking
from holdfast._wire.mutex import MUTEX


class ClusterTracking:
    """The tracking of one prefix on every primary; a context manager.

    `found` is passed on once all of them are heard, `lost` as soon as one is not. Slots that have moved count
    as lost: a change may have been told to somebody who did not know yet to whom to listen.
    """

    def __init__(
        self,
        prefix: str,
        holder: Holder,
        every: float,
        forget: Callable[[ClusterTracking], None],
        channel: str = "",
    ) -> None:
        self._channel = channel
        self._prefix = prefix
        self._holder = holder
        self._every = every
        self._forget = forget
        self._inner: dict[NodeEndpoint, tuple[Tracking, _Ear]] = {}
        self._whole = False  # all are heard

    @property
    def as_of(self) -> float:
        """Monotonic time up to which every change was certainly heard, from every node."""
        inner = list(self._inner.values())
        return min((one.as_of for one, _ in inner), default=float("-inf")) if self._whole else float("-inf")

    @property
    def is_refused(self) -> bool:
        """Does a server forbid tracking?"""
        return any(one.is_refused for one, _ in list(self._inner.values()))

    def follow(self, hubs: Mapping[NodeEndpoint, Hub]) -> None:
        """The primaries are these now."""
        with MUTEX:
            gone = [self._inner.pop(node) for node in list(self._inner) if node not in hubs]
            come = [node for node in hubs if node not in self._inner]
        self.hear_of(False)
        for tracking, ear in gone:
            ear.is_deaf = True
            tracking.close()
        for node in come:
            ear = _Ear(self)
            tracking = hubs[node].track(self._prefix, ear, self._every, self._channel)
            with MUTEX:
                self._inner[node] = (tracking, ear)
        self.hear_of(True)

    def hear_of(self, found: bool) -> None:
        """Something has changed; pass on what it means for the whole."""
        with MUTEX:
            ears = [ear for _, ear in self._inner.values()]
            whole = found and bool(ears) and all(ear.hears for ear in ears)
            told, self._whole = self._whole != whole, whole
            # Under the lock: of two nodes' threads, the one that is right must speak last.
            if told and whole:
                self._holder.found()
            elif told:
                self._holder.lost()

    def pass_on(self, keys: list[bytes] | None) -> None:
        """A node tells of changes."""
        self._holder.invalidated(keys)

    def close(self) -> None:
        """Track no more; may be repeated."""
        self._forget(self)
        with MUTEX:
            inner, self._inner = list(self._inner.values()), {}
        for tracking, _ in inner:
            tracking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Ear:
    """What one node says."""

    def __init__(self, whole: ClusterTracking) -> None:
        self._whole = whole
        self.hears = False
        self.is_deaf = False  # the node is no primary any more

    def invalidated(self, keys: list[bytes] | None) -> None:
        """Keys of this node have changed."""
        self._whole.pass_on(keys)

    def lost(self) -> None:
        """This node is not heard."""
        self.hears = False
        if not self.is_deaf:
            self._whole.hear_of(False)

    def found(self) -> None:
        """This node is heard."""
        self.hears = True
        if not self.is_deaf:
            self._whole.hear_of(True)
