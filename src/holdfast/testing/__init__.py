"""What tests of a service need, Holdfast's own too: real servers, and networks that fail on demand.

servers.py   real servers of a given kind
proxy.py     FaultProxy: loses replies, delays, cuts, refuses
histories.py was that history possible? (histories_*.py: the search, the models, exact checks; messages)
pubsub.py    does a message broker keep its word? (pubsub_*.py: the cases, what an adapter has to offer)
sessions.py  does a session store keep sessions safe? (cases for any store)
plugin.py    the pytest fixtures `server`, `own_server`, `hf`, `ahf`, `faults`
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.testing.proxy import FaultProxy
    from holdfast.testing.servers import available, start

__all__ = ["FaultProxy", "available", "start"]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used: pytest imports this package in every run, for its plugin."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(
        importlib.import_module("holdfast.testing." + ("proxy" if name == "FaultProxy" else "servers")), name
    )
