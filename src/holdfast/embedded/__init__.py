"""Real servers, started in a moment and surely ended: what stands behind `embedded://`.

    binary.py     which program to start
    settings.py   its configuration file, as text (pure)
    guardian.py   the process that owns a server and ends it when nobody needs it any more
    line.py       the connection from an owner to the guardian
    greeting.py   the first words with a server
    launch.py     start(): a new server, or the one that runs already
    server.py     the Server it returns

    lab.py        what labs of several servers have in common: they start at once and surely end
    node.py       one server of a lab, and what can happen to it
    sentinel_lab.py   cluster_lab.py   independent_lab.py
    relay.py      the network of a lab whose nodes can be cut off
    admin.py      questions to its nodes      certificates.py   for TLS      addresses.py   URLs (pure)

`embedded.start()` gives a private server without persistence. `embedded.start("/path")` gives the server of
that directory: the first process starts it, later ones join, it ends after the last has gone, and its data
stays.

`embedded.sentinel()`, `embedded.cluster()` and `embedded.independent()` give labs: real topologies on the
loopback interface, whose nodes can be killed, frozen and cut off.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdfast.embedded.binary import Binary, find, identify
from holdfast.embedded.launch import start
from holdfast.embedded.server import Server

if TYPE_CHECKING:
    from holdfast.embedded.cluster_lab import ClusterLab, cluster
    from holdfast.embedded.independent_lab import IndependentLab, independent
    from holdfast.embedded.lab import Lab
    from holdfast.embedded.node import Node
    from holdfast.embedded.sentinel_lab import SentinelLab, sentinel

__all__ = [
    "Binary", "ClusterLab", "IndependentLab", "Lab", "Node", "SentinelLab", "Server",
    "cluster", "find", "identify", "independent", "sentinel", "start",
]  # fmt: skip

_LAZY = {
    "ClusterLab": "cluster_lab",
    "cluster": "cluster_lab",
    "IndependentLab": "independent_lab",
    "independent": "independent_lab",
    "Lab": "lab",
    "Node": "node",
    "SentinelLab": "sentinel_lab",
    "sentinel": "sentinel_lab",
}


def __getattr__(name: str) -> Any:
    """Load labs when they are first used: a service with `embedded://` shall not pay for them."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"holdfast.embedded.{_LAZY[name]}"), name)
