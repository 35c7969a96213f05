"""The tracking of a Cluster by itself: of what two nodes say at once, what is true is told last."""

from __future__ import annotations

import threading
from typing import Any

from holdfast._wire.cluster.tracking import ClusterTracking, _Ear


class Tracking:
    """That of one node."""

    as_of = 5.0
    is_refused = False

    def close(self) -> None:
        """Nothing to close."""


class Holder:
    """One whose first `found` is slow, so that whoever may overtake it does."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.inside, self.overtaken = threading.Event(), threading.Event()

    def found(self) -> None:
        """All nodes are heard."""
        if not self.inside.is_set():
            self.inside.set()
            self.overtaken.wait(0.1)
        self.told.append("found")

    def lost(self) -> None:
        """One is not."""
        self.told.append("lost")
        self.overtaken.set()

    def invalidated(self, keys: Any) -> None:
        """Nothing is held."""


def test_a_node_that_is_lost_is_told_after_another_that_was_found():
    """Found: one thread saw that all were heard, another told that one was lost, then the first told its own:
    the near cache trusted what it did not hear.
    """
    holder = Holder()
    whole = ClusterTracking("ns:1:cache:users:{", holder, 0.5, lambda _: None)
    first, second = _Ear(whole), _Ear(whole)
    nodes: Any = {"a": (Tracking(), first), "b": (Tracking(), second)}
    whole._inner = nodes
    first.found()
    assert holder.told == []  # the other one is still silent

    thread = threading.Thread(target=second.found)
    thread.start()
    assert holder.inside.wait(20)
    first.lost()
    thread.join(20)

    assert holder.told == ["found", "lost"]
    assert whole.as_of == float("-inf")
    first.found()
    assert holder.told == ["found", "lost", "found"] and whole.as_of == 5.0
