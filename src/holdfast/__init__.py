"""Holdfast: what a team needs that runs several instances of a service against one database.

Every public name is here, and is loaded when it is first used: `import holdfast` alone costs next to nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as in typing, whose import would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "holdfast._client_async": ("AsyncHoldfast", "AsyncBoundScript"),
    "holdfast._client_sync": ("Holdfast", "BoundScript"),
    "holdfast._transaction_async": ("AsyncTransaction",),
    "holdfast._transaction_sync": ("Transaction",),
    "holdfast._wire.durability": ("Durability",),
    "holdfast._wire.url": ("Tls",),
    "holdfast._values.wrapping": ("Cipher",),
    "holdfast.cache._async": ("AsyncCache",),
    "holdfast.cache._decorate_async": ("AsyncCachedFunction",),
    "holdfast.cache._decorate_sync": ("CachedFunction",),
    "holdfast.cache._sync": ("Cache",),
    "holdfast.cache.behind.options": ("Backlog", "Behind", "DeadLetter", "NotFlushed"),
    "holdfast.cache.entry": ("Entry", "MISSING", "Missing"),
    "holdfast.cache.loading": ("Load", "current_load"),
    "holdfast.cache.options": ("AsyncSource", "L1", "Source"),
    "holdfast.cache.stats": ("CacheStats",),
    "holdfast.errors": (
        "AlreadyDone",
        "Closed",
        "CodecError",
        "ConfigurationError",
        "ConflictError",
        "HoldfastError",
        "LoadTimeout",
        "LockError",
        "LockLost",
        "LockTimeout",
        "NoPermission",
        "NotDurable",
        "NotSettled",
        "OperationBusy",
        "OperationDead",
        "OperationError",
        "OutOfMemory",
        "Overloaded",
        "ReadOnly",
        "Refused",
        "Unavailable",
        "Unconfirmed",
        "UnsafeServer",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "__version__",
    "AlreadyDone",
    "AsyncBoundScript",
    "AsyncCache",
    "AsyncCachedFunction",
    "AsyncHoldfast",
    "AsyncSource",
    "AsyncTransaction",
    "Backlog",
    "Behind",
    "BoundScript",
    "Cache",
    "CachedFunction",
    "CacheStats",
    "Cipher",
    "Closed",
    "CodecError",
    "ConfigurationError",
    "ConflictError",
    "current_load",
    "DeadLetter",
    "Durability",
    "Entry",
    "Holdfast",
    "HoldfastError",
    "L1",
    "Load",
    "LoadTimeout",
    "LockError",
    "LockLost",
    "LockTimeout",
    "MISSING",
    "Missing",
    "NoPermission",
    "NotDurable",
    "NotFlushed",
    "NotSettled",
    "OperationBusy",
    "OperationDead",
    "OperationError",
    "OutOfMemory",
    "Overloaded",
    "ReadOnly",
    "Refused",
    "Source",
    "Tls",
    "Transaction",
    "Unavailable",
    "Unconfirmed",
    "UnsafeServer",
]

if TYPE_CHECKING:
    from holdfast._client_async import AsyncBoundScript as AsyncBoundScript
    from holdfast._client_async import AsyncHoldfast as AsyncHoldfast
    from holdfast._client_sync import BoundScript as BoundScript
    from holdfast._client_sync import Holdfast as Holdfast
    from holdfast._transaction_async import AsyncTransaction as AsyncTransaction
    from holdfast._transaction_sync import Transaction as Transaction
    from holdfast._values.wrapping import Cipher as Cipher
    from holdfast._wire.durability import Durability as Durability
    from holdfast._wire.url import Tls as Tls
    from holdfast.cache._async import AsyncCache as AsyncCache
    from holdfast.cache._decorate_async import AsyncCachedFunction as AsyncCachedFunction
    from holdfast.cache._decorate_sync import CachedFunction as CachedFunction
    from holdfast.cache._sync import Cache as Cache
    from holdfast.cache.behind.options import Backlog as Backlog
    from holdfast.cache.behind.options import Behind as Behind
    from holdfast.cache.behind.options import DeadLetter as DeadLetter
    from holdfast.cache.behind.options import NotFlushed as NotFlushed
    from holdfast.cache.entry import MISSING as MISSING
    from holdfast.cache.entry import Entry as Entry
    from holdfast.cache.entry import Missing as Missing
    from holdfast.cache.loading import Load as Load
    from holdfast.cache.loading import current_load as current_load
    from holdfast.cache.options import L1 as L1
    from holdfast.cache.options import AsyncSource as AsyncSource
    from holdfast.cache.options import Source as Source
    from holdfast.cache.stats import CacheStats as CacheStats
    from holdfast.errors import AlreadyDone as AlreadyDone
    from holdfast.errors import Closed as Closed
    from holdfast.errors import CodecError as CodecError
    from holdfast.errors import ConfigurationError as ConfigurationError
    from holdfast.errors import ConflictError as ConflictError
    from holdfast.errors import HoldfastError as HoldfastError
    from holdfast.errors import LoadTimeout as LoadTimeout
    from holdfast.errors import LockError as LockError
    from holdfast.errors import LockLost as LockLost
    from holdfast.errors import LockTimeout as LockTimeout
    from holdfast.errors import NoPermission as NoPermission
    from holdfast.errors import NotDurable as NotDurable
    from holdfast.errors import NotSettled as NotSettled
    from holdfast.errors import OperationBusy as OperationBusy
    from holdfast.errors import OperationDead as OperationDead
    from holdfast.errors import OperationError as OperationError
    from holdfast.errors import OutOfMemory as OutOfMemory
    from holdfast.errors import Overloaded as Overloaded
    from holdfast.errors import ReadOnly as ReadOnly
    from holdfast.errors import Refused as Refused
    from holdfast.errors import Unavailable as Unavailable
    from holdfast.errors import Unconfirmed as Unconfirmed
    from holdfast.errors import UnsafeServer as UnsafeServer


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
