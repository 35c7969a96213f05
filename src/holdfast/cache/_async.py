# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncCache: a named cache in front of a database. What it promises stands in rules.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, overload

from holdfast._coord.naming import Key, text
from holdfast._wire._async import AsyncWire
from holdfast.cache import rules
from holdfast.cache import tags as tagging
from holdfast.cache._audit_async import AsyncAuditor
from holdfast.cache._bulk_async import AsyncBulk
from holdfast.cache._decorate_async import AsyncCachedFunction
from holdfast.cache._load_async import AsyncLoads
from holdfast.cache._put_async import AsyncPuts
from holdfast.cache._source_async import AsyncFromSource
from holdfast.cache._store_async import AsyncStore
from holdfast.cache.behind._async import AsyncWriteBehind
from holdfast.cache.behind._dead_async import AsyncDeadLetters
from holdfast.cache.behind.options import Backlog
from holdfast.cache.entry import (
    MISSING,
    AsyncFunction,
    AsyncLoader,
    AsyncManyLoader,
    Entry,
    Missing,
    P,
    R,
)
from holdfast.cache.flavour import AsyncFlavour
from holdfast.cache.lookup import Lookup
from holdfast.cache.options import CacheOptions
from holdfast.cache.rules import check_version
from holdfast.cache.shape import Shape
from holdfast.cache.stats import CacheStats
from holdfast.cache.wanted import Wanted, distinct
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError, Unavailable

T = TypeVar("T")
D = TypeVar("D")


class AsyncCache(Generic[T]):
    """A cache of values of type T, shared by every process that uses its name; made by `hf.cache(...)`.

    A key is a str, or an int, float, bool, None, bytes, UUID, date, datetime, Decimal, Enum member, or a
    tuple of these. None is a value; MISSING says that there is none. Concurrent callers of one load share
    the loaded object. The methods raise Closed after the client was closed, and NoPermission or another
    Refused if the server forbids what a cache needs; that it is away, full or read-only fails no lookup.
    """

    def __init__(self, wire: AsyncWire, name: str, options: CacheOptions) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'a cache needs a name, for example "users", not {name!r}')
        self.name = name
        self.options = options
        for method in ("load_many", *(("save_many", "delete_many") if options.write else ())):
            if options.source is not None:
                AsyncFlavour.check(getattr(options.source, method), f"cache {name!r}: source")
        self._shape = Shape(options.type, options)
        self._store = AsyncStore(
            wire, name, options, off=rules.is_off(name, os.environ.get("HOLDFAST_CACHE_OFF", ""))
        )
        self._behind = self._open_behind(wire)
        self._loads = AsyncLoads(self._store)
        self._bulk = AsyncBulk(self._store, self._loads)
        self._source = None if options.source is None else AsyncFromSource(options, self._behind)
        self._puts = AsyncPuts(self._store, self._shape, options.source, self._behind)
        self._fetch = self._loads.fetch
        if options.audit:
            auditor = AsyncAuditor(self._store, self._loads.near_hit)
            self._fetch = auditor.around(self._fetch)

    def _open_behind(self, wire: AsyncWire) -> AsyncWriteBehind | None:
        options, store = self.options, self._store
        if options.behind is None:
            return None
        read = self._shape.read_envelope
        behind = AsyncWriteBehind(
            wire,
            self.name,
            options.behind,
            options.source,
            read,
            wait=optional_seconds(options.wait, zero=True),
            timeout=store.timeout,
        )
        store.entry = behind.entry  # type: ignore[method-assign]
        return behind

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # --- reading --------------------------------------------------------------------------------------------

    @overload
    async def get(self, key: Key) -> T | Missing: ...

    @overload
    async def get(self, key: Key, default: D) -> T | D: ...

    async def get(self, key: Key, default: Any = MISSING) -> Any:
        """The value under `key`, or `default` if there is none; a cache with a source loads it from there.

        Without a source nobody can load, so something stale is not served.
        Raises: with a source, what the source raises, and Overloaded.
        """
        if self._source is None:
            value = await self._fetch(text(key), self._shape)
        else:
            value = await self._fetch(text(key), self._shape, self._source.loader(key))
        return default if value is MISSING else value

    @overload
    async def get_or_set(
        self, key: Key, loader: AsyncLoader[T], ttl: Duration | None = None, tags: Iterable[str] = ()
    ) -> T: ...

    @overload
    async def get_or_set(
        self,
        key: Key,
        loader: AsyncLoader[T | Missing],
        ttl: Duration | None = None,
        tags: Iterable[str] = (),
    ) -> T | Missing: ...

    async def get_or_set(
        self, key: Key, loader: AsyncLoader[Any], ttl: Duration | None = None, tags: Iterable[str] = ()
    ) -> Any:
        """The value under `key`; if there is none, what `loader()` returns, loaded once in the whole fleet.

        `ttl`: how long it is fresh (None: the cache's). `tags`: names by which `invalidate_tags` finds it.
        A loader that returns MISSING says that there is nothing, which is remembered for `negative_ttl`;
        MISSING is then returned. What else a loader can say: `current_load()`.

        Raises: what the loader raises (nothing is stored then); Overloaded if there was neither a value nor
        a free load within the cache's `wait`, LoadTimeout after `hard_timeout`; ConfigurationError if the
        loader asks for its own key.
        """
        named = tagging.check(tags) if tags else ()
        return await self._fetch(text(key), self._shape, loader, ttl, named)

    async def get_many(self, keys: Iterable[Key]) -> dict[Any, T]:
        """The values under `keys`, as far as there are any, in one round trip; a cache with a source loads
        the others by one call of `load_many`.

        Raises: as `get`; ConfigurationError for keys that no mapping can hold together, as 1 and True.
        """
        wanted = distinct({text(key): Wanted(key) for key in keys})
        loader = None if self._source is None else self._source.load_many
        found = await self._bulk.fetch(wanted, self._shape, loader)
        return {one.key: found[tag] for tag, one in wanted.items() if found[tag] is not MISSING}

    async def get_or_set_many(
        self,
        keys: Iterable[Key],
        loader: AsyncManyLoader,
        ttl: Duration | None = None,
        tags: Iterable[str] = (),
    ) -> dict[Any, T]:
        """The values under `keys`; `loader(missing)` is called once for exactly those that nobody has, and
        returns a mapping. A key that it leaves out has no value, which is remembered for `negative_ttl`.

        What another process loads at this moment is waited for, not loaded. If the load fails, and
        there is something expired for each, that is returned. Raises: as `get_or_set` and `get_many`.
        """
        named = tagging.check(tags) if tags else ()
        wanted = distinct({text(key): Wanted(key, named) for key in keys})
        found = await self._bulk.fetch(wanted, self._shape, loader, optional_seconds(ttl, "ttl", zero=True))
        return {one.key: found[tag] for tag, one in wanted.items() if found[tag] is not MISSING}

    async def peek(self, key: Key) -> Entry | Missing:
        """What is stored under `key` and how old it is, or MISSING; neither loads nor counts."""
        return await self._peek(text(key), self._shape)

    async def _peek(self, tag: str, shape: Shape) -> Entry | Missing:
        entry, epoch_key = self._store.lookup(tag)
        if not await self._store.usable(entry):
            return MISSING
        try:
            found = await self._store.peek(Lookup(tag, entry, epoch_key, shape, None, 0))
        except Unavailable as error:
            self._store.failed(error)
            return MISSING
        self._store.answered()
        is_near = found is not MISSING and self._loads.near_hit(tag, shape) is not None
        return found._replace(layer="l1") if is_near and found is not MISSING else found

    # --- writing --------------------------------------------------------------------------------------------

    async def set(
        self,
        key: Key,
        value: T,
        ttl: Duration | None = None,
        tags: Iterable[str] = (),
        version: int | None = None,
    ) -> bool:
        """Store `value` under `key` for `ttl` (None: the cache's); loads under way will not replace it.

        `version`: of the row, say; a value with a lower version than what is there is not stored.
        False if that is so, or if it is not confirmed: then the older value is removed as `invalidate` does
        it, and nothing is stored. Prefer `get_or_set`: it alone knows whether the value was read before an
        invalidation.

        Raises: ConfigurationError for a cache with a source; CodecError if `value` cannot be encoded.
        """
        self._must_be_settable()
        wanted = None if ttl is None else seconds(ttl, "ttl")
        named = tagging.check(tags) if tags else ()
        return await self._puts.set(text(key), value, wanted, named, check_version(version))

    async def set_many(
        self, mapping: Mapping[Any, T], ttl: Duration | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """As `set`, for all of `mapping`; False if not every one of them is confirmed. Raises: as `set`."""
        self._must_be_settable()
        wanted = None if ttl is None else seconds(ttl, "ttl")
        named = tagging.check(tags) if tags else ()
        values = {text(key): value for key, value in mapping.items()}
        return not values or await self._puts.set_many(values, wanted, named)

    async def put(self, key: Key, value: T, version: int | None = None) -> None:
        """Write `value` to the source, then to the cache; Redis need not be there. With `write="behind"`: to
        the cache and the journal, from which it comes to the source soon.

        Raises: what the source raises (the entry is then removed); ConfigurationError without `write=`. With
        `write="behind"`: Overloaded if the backlog is full for the cache's `wait`, Unavailable, OutOfMemory,
        UnsafeServer.
        """
        self._must_write("put")
        await self._puts.put(key, text(key), value, check_version(version))

    async def remove(self, key: Key) -> None:
        """Delete `key` from the source, then from the cache. Raises: as `put`."""
        self._must_write("remove")
        await self._puts.remove(key, text(key))

    def _must_be_settable(self) -> None:
        if self.options.source is not None:
            raise ConfigurationError(
                f"cache {self.name!r} has a source, so set() would contradict it; use put()"
            )

    def _must_write(self, method: str) -> None:
        if self.options.write is None:
            raise ConfigurationError(
                f'cache {self.name!r}: {method}() needs source= and write="through" or "behind"; '
                f"without them use set() or invalidate()"
            )

    # --- written behind -------------------------------------------------------------------------------------

    async def flush(self, wait: Duration | None = None) -> None:
        """Return when the source has everything that was put before this call, or refuses it for good.

        `wait`: how long at most (None: the cache's). Raises: NotFlushed, which says how many are left;
        Unavailable; ConfigurationError unless the cache is written behind.
        """
        await self._written_behind("flush").flush(optional_seconds(wait, "wait", zero=True))

    async def backlog(self) -> Backlog:
        """What the source has not got yet: Backlog(entries, oldest_age, dead). Raises: as `flush`."""
        return await self._written_behind("backlog").backlog()

    def dead_letters(self) -> AsyncDeadLetters:
        """What the source would not take: `.list()`, `.replay()`, `.purge()`. Raises: ConfigurationError."""
        return self._written_behind("dead_letters").dead_letters()

    def _written_behind(self, method: str) -> AsyncWriteBehind:
        if self._behind is None:
            raise ConfigurationError(f'cache {self.name!r}: {method}() needs source= and write="behind"')
        return self._behind

    # --- invalidating ---------------------------------------------------------------------------------------

    async def invalidate(self, *keys: Key, version: int | None = None, hold: Duration | None = None) -> bool:
        """Remove `keys`; loads under way will not bring back what was there. Call it after the commit.

        `version`: of the row after the change. What the cache has of this version or a later one stays, and
        for 10 s no older one is stored. `hold`: for so long no load is stored unless it says that it is
        of this version or a later one (`current_load().version`): for loaders that read from a lagging
        replica.

        False if that is not confirmed because Redis is away: then it is delivered as soon as it is back, and
        until then this process loads these keys instead of reading them. Other processes: see rules.py.
        """
        held = optional_seconds(hold, "hold")
        return await self._invalidate([text(key) for key in keys], check_version(version), held)

    async def _invalidate(
        self, tags: list[str], version: int | None = None, hold: float | None = None
    ) -> bool:
        self._store.counts.invalidations += len(tags)
        if not tags:
            return True
        if version is None and hold is None:
            return await self._store.unlink(tags)
        return await self._store.invalidate(tags, version, hold)

    async def invalidate_tags(self, *tags: str) -> bool:
        """Remove every entry that has one of `tags`, in O(1); loads under way will not bring them back.

        False if that is not confirmed, as for `invalidate`.
        """
        named = tagging.check(tags)
        self._store.counts.invalidations += len(named)
        return not named or await self._store.invalidate_tags(named)

    async def expire(self, *keys: Key) -> bool:
        """Have `keys` loaded again at their next use, but keep their values for the case that this fails.

        False if that is not confirmed: then they are invalidated, as `invalidate` does it.
        """
        self._store.counts.invalidations += len(keys)
        confirmed = [await self._store.expire(text(key)) for key in keys]
        return all(confirmed)

    async def clear(self) -> None:
        """Make every entry of this cache unreadable, in O(1). Raises: Unavailable if unconfirmed, ReadOnly on
        a replica.
        """
        await self._store.clear()

    async def switch_off(self) -> None:
        """Have the whole fleet go without this cache, from its next read on: everybody loads, at most
        `max_loads` at once per process. Stays so until `switch_on`. Raises: as `clear`.
        """
        await self._store.switch(on=False)

    async def switch_on(self) -> None:
        """End what `switch_off` began. Nothing that was stored before is read again. Raises: as `clear`."""
        await self._store.switch(on=True)

    # --- the rest -------------------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """What this cache object has counted in this process."""
        near = self._store.near
        return self._store.counts.snapshot(self._store.undelivered, None if near is None else near.shelf)

    def cached(
        self,
        template: str,
        *,
        ttl: Duration | None = None,
        tags: Iterable[str] = (),
        exclude: Iterable[str] = (),
    ) -> Callable[[AsyncFunction[P, R]], AsyncCachedFunction[P, R]]:
        """Cache what a function returns, under the key that `template` makes of its arguments.

            @users.cached("user:{user_id}", ttl="10m", tags=["org:{result.org_id}"])
            async def get_user(user_id: int) -> User: ...

            await get_user(42); await get_user.invalidate(42); await get_user.many([1, 2, 3])

        Every argument must be in `template` or in `exclude`. `tags` may also name parts of the `result`. The
        return annotation is the value's type (without one, the cache's). Raises: ConfigurationError at
        decoration for anything that cannot work.
        """
        life = None if ttl is None else seconds(ttl, "ttl")
        named = tagging.check(tags)

        def decorate(function: AsyncFunction[P, R]) -> AsyncCachedFunction[P, R]:
            return AsyncCachedFunction(self, function, template, life, named, exclude)

        return decorate

    def _start(self) -> None:
        """The client is connected: writers may begin, and so may the news of what changes."""
        if self._behind is not None:
            self._behind.start()
        if self._store.near is not None:
            self._store.near.listen(self._store.wire.hub)

    async def _aclose(self, drain: float) -> None:
        """Hear no more; bring what waits to the source, for at most `drain` seconds."""
        if self._behind is not None:
            await self._behind.close(drain)
        if self._store.near is not None:
            self._store.near.close()
