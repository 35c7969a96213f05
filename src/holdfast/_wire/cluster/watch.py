"""A watch in a Cluster: it goes with its channel from node to node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from holdfast._wire.cluster import slots
from holdfast._wire.cluster.atlas import NodeEndpoint
from holdfast._wire.hub import Hub, Watch
from holdfast._wire.hub_ledger import Listener, State, Waker
from holdfast._wire.mutex import MUTEX


class ClusterWatch:
    """A subscription of one waiter, wherever its channel is; a context manager."""

    __slots__ = (
        "__weakref__",
        "_at",
        "_forget",
        "_inner",
        "_listener",
        "channel",
        "is_closed",
        "signal",
        "slot",
    )

    def __init__(
        self,
        forget: Callable[[ClusterWatch], None],
        channel: str,
        signal: Waker,
        listener: Listener | None = None,
    ) -> None:
        self._forget = forget
        self._listener = listener
        self._inner: Watch | None = None
        self._at: NodeEndpoint | None = None
        self.is_closed = False
        self.channel = channel
        self.signal = signal
        self.slot = slots.slot_of(channel)

    @property
    def pushing(self) -> bool:
        """Can a wake-up be expected?"""
        inner = self._inner
        return inner is not None and inner.pushing

    @property
    def state(self) -> State:
        """How far the subscription is, where the channel is now."""
        inner = self._inner
        return State.NEW if inner is None else inner.state

    def go_to(self, endpoint: NodeEndpoint, hub: Hub) -> None:
        """Watch there from now on. Raises: Closed, Unavailable."""
        if self._at is endpoint:
            return
        listener = self._listener
        outdated: Watch | None = (
            hub.watch(self.channel, self.signal) if listener is None else hub.listen(self.channel, listener)
        )
        with MUTEX:
            if not self.is_closed:
                self._at = endpoint
                outdated, self._inner = self._inner, outdated
        if outdated is not None:
            outdated.close()

    def close(self) -> None:
        """Stop watching; may be repeated."""
        with MUTEX:
            self.is_closed = True
            inner, self._inner = self._inner, None
        self._forget(self)
        if inner is not None:
            inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
