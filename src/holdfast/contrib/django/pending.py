"""`on_commit`: what a Django transaction collects is invalidated when it commits.

Promised: Django's own `transaction.on_commit` runs it. So after the outermost `atomic` block has committed,
every invalidation has been asked for (it is confirmed, or the cache keeps it) before the block is left; a
block that is rolled back takes along what was collected in it; outside of any block it happens at once.
Trouble with the cache is logged by Django, and makes neither the commit nor other callbacks fail.

Not promised: an invalidation of a process that dies between its commit and its invalidation. Give an Outbox
for that. In a `TestCase` of Django nothing is ever committed; use `captureOnCommitCallbacks(execute=True)`,
or a `TransactionTestCase`.

Async views: Django runs its ORM in threads. Call `on_commit` there, in the function that you give to
`sync_to_async`; with an AsyncCache, its invalidation then runs on the loop of the view, and is done when the
`atomic` block is left.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, overload

from asgiref.sync import SyncToAsync, async_to_sync
from django.db import DEFAULT_DB_ALIAS, connections  # type: ignore[import-untyped]

from holdfast.cache._async import AsyncCache
from holdfast.cache._sync import Cache
from holdfast.contrib import _pending_async, _pending_sync
from holdfast.contrib._pending_async import AsyncPending
from holdfast.contrib._pending_sync import Pending
from holdfast.contrib.django.outbox import Outbox
from holdfast.contrib.ledger import KEY, TAG, Wanted
from holdfast.errors import ConfigurationError

T = TypeVar("T")


@overload
def on_commit(
    cache: Cache[T], *, using: str = DEFAULT_DB_ALIAS, outbox: Outbox | None = None
) -> Pending[T]: ...


@overload
def on_commit(
    cache: AsyncCache[T], *, using: str = DEFAULT_DB_ALIAS, outbox: Outbox | None = None
) -> AsyncPending[T]: ...


def on_commit(cache: Any, *, using: str = DEFAULT_DB_ALIAS, outbox: Outbox | None = None) -> Any:
    """What collects invalidations of `cache` for the transactions of this thread's connection `using`.

    With `outbox`, what is collected is written into its table too, at once and in the transaction.

    Raises: ConfigurationError for anything but a cache; on an event loop; for an AsyncCache where no async
    view has called.
    """
    _off_loop()
    collector = Collector(connections[using], outbox)
    if isinstance(cache, AsyncCache):
        if getattr(SyncToAsync.threadlocal, "main_event_loop", None) is None:
            raise ConfigurationError(f"{cache!r} needs the loop of an async view; here, use a Cache")
        return AsyncPending(cache, collector)
    if isinstance(cache, Cache):
        return Pending(cache, collector)
    raise ConfigurationError(f"on_commit({cache!r}): give a Cache or an AsyncCache")


class Collector:
    """Puts what is collected among the callbacks of a connection, where Django knows of savepoints."""

    __slots__ = ("_connection", "_outbox")

    def __init__(self, connection: Any, outbox: Outbox | None) -> None:
        self._connection = connection
        self._outbox = outbox

    def collect(self, wanted: list[Wanted]) -> None:
        """Keep `wanted` until the transaction ends; without one, deliver them now."""
        _off_loop()
        if self._outbox is not None and wanted:
            self._outbox._insert(self._connection, wanted)
        delivery = self._latest()
        if delivery is not None:
            delivery.wanted.update(dict.fromkeys(wanted))
        elif wanted:
            self._connection.on_commit(_Delivery(wanted), robust=True)

    def holds(self, cache: Any, text: str) -> bool:
        """Has the open transaction collected the key `text` of `cache`, or any tag of it?"""
        asked = Wanted(cache, KEY, text)
        return any(
            asked in delivery.wanted or cache in delivery.tagged
            for _, delivery, *_ in self._connection.run_on_commit
            if isinstance(delivery, _Delivery)
        )

    def _latest(self) -> _Delivery | None:
        """The last callback, if it is ours and of this very savepoint: one can do the work of many."""
        if not self._connection.in_atomic_block or not self._connection.run_on_commit:
            return None
        savepoints, last, *_ = self._connection.run_on_commit[-1]
        same = savepoints == set(self._connection.savepoint_ids)
        return last if same and isinstance(last, _Delivery) else None


class _Delivery:
    """What one or several calls have collected, as a callback for Django."""

    def __init__(self, wanted: list[Wanted]) -> None:
        self.wanted = dict.fromkeys(wanted)
        self.__qualname__ = "holdfast.contrib.django.on_commit"  # Django logs it

    @property
    def tagged(self) -> set[Any]:
        return {one.cache for one in self.wanted if one.kind == TAG}

    def __call__(self) -> None:
        if threaded := [one for one in self.wanted if isinstance(one.cache, Cache)]:
            _pending_sync.deliver(threaded)
        if awaited := [one for one in self.wanted if isinstance(one.cache, AsyncCache)]:
            async_to_sync(_pending_async.deliver)(awaited)


def _off_loop() -> None:
    """Raises: ConfigurationError where Django has another connection than its ORM uses: on an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError(
        "Django runs transactions in threads: collect in the function that sync_to_async runs"
    )
