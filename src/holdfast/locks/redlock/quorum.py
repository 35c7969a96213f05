"""Until when a lease is ours that a majority of nodes have granted, each until a moment of its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence

NEVER = float("-inf")


class Deadlines:
    """Boottimes up to which each node is certainly ours. `needed`: how many must be.

    `until` is the latest moment at which `needed` of them still are: the one of rank `needed`, the latest
    first. So no two leases overlap although nodes are renewed one by one: whoever else has a quorum at a
    moment before `until` shares a node with ours.
    """

    __slots__ = ("_needed", "_of")

    def __init__(self, needed: int, of: Sequence[float]) -> None:
        self._needed = needed
        self._of = list(of)

    @property
    def until(self) -> float:
        """Boottime up to which the lease is certainly ours."""
        return sorted(self._of, reverse=True)[self._needed - 1]

    def renewed(self, node: int, until: float) -> float:
        """The node is ours until then; what that makes of the whole."""
        self._of[node] = max(self._of[node], until)
        return self.until

    def lost(self, node: int) -> float:
        """The node is not ours any more; what that makes of the whole."""
        self._of[node] = NEVER
        return self.until
