# Generated from _pending_async.py by tools/unasync.py. Do not edit.
"""Pending: what a transaction wants invalidated when it commits, and how to read until then."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar, overload

from holdfast._coord.naming import Key, text
from holdfast.cache._sync import Cache
from holdfast.cache._decorate_sync import CachedFunction
from holdfast.cache.entry import MISSING, Loader, Missing, P
from holdfast.cache.flavour import Flavour
from holdfast.cache.loading import CURRENT, Load
from holdfast.cache.tags import check
from holdfast.contrib.ledger import KEY, TAG, Wanted, by_cache
from holdfast.durations import Duration

T = TypeVar("T")
D = TypeVar("D")

_LOG = logging.getLogger("holdfast.contrib")
_AT_ONCE = 1000  # keys in one question


class Collector(Protocol):
    """Where a framework keeps what its transaction has collected."""

    def collect(self, wanted: list[Wanted]) -> None:
        """Keep `wanted` until the transaction ends."""

    def holds(self, cache: Cache[Any], text: str) -> bool:
        """Has the open transaction collected the key `text` of `cache`, or any tag of it?"""


class Pending(Generic[T]):
    """Invalidations of one cache, kept until the transaction has committed; made by `on_commit`.

    It is bound to the session or connection, not to one transaction: after a commit or a rollback it collects
    for the next one.

    Reads through it see what the transaction wrote. A key that was collected, or any key after a tag was, is
    not read from the cache. Whatever else the cache has is used; but what a loader returns inside of the
    transaction is never stored: it may have seen changes that are rolled back later, or a snapshot that is
    older than the latest invalidation.
    """

    def __init__(self, cache: Cache[T], collector: Collector) -> None:
        self.cache = cache
        self._collector = collector

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cache!r})"

    def invalidate(self, *keys: Key) -> None:
        """Remove `keys` from the cache when the transaction has committed.

        Raises: ConfigurationError for what cannot be a key.
        """
        self._collector.collect([Wanted(self.cache, KEY, text(key)) for key in keys])

    def invalidate_tags(self, *tags: str) -> None:
        """Remove all entries that have one of `tags` when the transaction has committed.

        Raises: ConfigurationError for what is no tag.
        """
        self._collector.collect([Wanted(self.cache, TAG, tag) for tag in check(tags)])

    def invalidate_call(
        self, function: CachedFunction[P, Any], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Remove the cached result of `function(*args, **kwargs)` when the transaction has committed.

        The function may belong to another cache than this object's.
        """
        key = text(function.key(*args, **kwargs))
        self._collector.collect([Wanted(function._cache, KEY, key)])

    @overload
    def get(self, key: Key) -> T | Missing: ...

    @overload
    def get(self, key: Key, default: D) -> T | D: ...

    def get(self, key: Key, default: Any = MISSING) -> Any:
        """As `get` of the cache; `default` for a key that this transaction has collected."""
        return default if self._collector.holds(self.cache, text(key)) else self.cache.get(key, default)

    def get_or_set(
        self,
        key: Key,
        loader: Loader[T],
        ttl: Duration | None = None,  # noqa: ARG002 (as the cache has it)
        tags: Iterable[str] = (),  # noqa: ARG002
    ) -> T:
        """The value under `key` if the cache may answer, else what `loader()` returns, which is not stored.

        So `ttl` and `tags` say nothing here; they let this stand where `get_or_set` of the cache stood.

        Raises: what the loader raises.
        """
        value: Any = self.get(key)
        if value is MISSING:
            before = CURRENT.set(Load(text(key)))
            try:
                value = Flavour.outcome(loader(), loader)
            finally:
                CURRENT.reset(before)
        return value  # type: ignore[no-any-return]


def settle(cache: Cache[Any], keys: list[str], tags: list[str]) -> bool:
    """Invalidate the keys whose texts are `keys`, and `tags`; False if that is not confirmed, but kept.

    Raises: Closed, Refused.
    """
    confirmed = True
    for start in range(0, len(keys), _AT_ONCE):
        confirmed &= cache._invalidate(keys[start : start + _AT_ONCE])
    if tags:
        confirmed &= cache.invalidate_tags(*tags)
    return confirmed


def deliver(wanted: Iterable[Wanted]) -> None:
    """Invalidate all of `wanted`. Raises nothing: what is committed is committed, and must look like it."""
    for cache, (keys, tags) in by_cache(wanted).items():
        try:
            settle(cache, keys, tags)
        except Exception:  # noqa: BLE001 (logged; there is nobody else to tell)
            _LOG.exception(
                "cache %r: after a commit, %d invalidations failed", cache.name, len(keys) + len(tags)
            )
