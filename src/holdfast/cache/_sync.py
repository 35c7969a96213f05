# Generated from _async.py by tools/unasync.py. Do not edit.
"""Cache: a named cache in front of a database. What it promises stands in rules.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, overload

from holdfast._wire._sync import Wire
from holdfast.cache import rules
from holdfast.cache._decorate_sync import CachedFunction
from holdfast.cache._load_sync import Loads
from holdfast.cache._store_sync import Store, Begun
from holdfast.cache.entry import MISSING, Function, Loader, Entry, Missing, P, R
from holdfast.cache.flavour import Flavour
from holdfast.cache.keys import Key, text
from holdfast.cache.options import CacheOptions
from holdfast.cache.rules import Shape
from holdfast.cache.stats import CacheStats
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, Refused, Unavailable

T = TypeVar("T")
D = TypeVar("D")


class Cache(Generic[T]):
    """A cache of values of type T, shared by every process that uses its name; made by `hf.cache(...)`.

    A key is a str, or an int, float, bool, None, bytes, UUID, date, datetime, Decimal, Enum member, or a
    tuple of these. None is a value; MISSING says that there is none. Concurrent callers of one load share
    the loaded object. The methods raise Closed after the client was closed, and NoPermission or another
    Refused if the server forbids what a cache needs; that it is away, full or read-only fails no lookup.
    """

    def __init__(self, wire: Wire, name: str, options: CacheOptions) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'a cache needs a name, for example "users", not {name!r}')
        self.name = name
        self.options = options
        self._source = options.source
        for method in ("load_many", *(("save_many", "delete_many") if options.write else ())):
            if options.source is not None:
                Flavour.check(getattr(options.source, method), f"cache {name!r}: source")
        self._shape = Shape(options.type)
        self._store = Store(
            wire, name, options, off=rules.is_off(name, os.environ.get("HOLDFAST_CACHE_OFF", ""))
        )
        self._loads = Loads(self._store)
        self._fetch = self._loads.fetch

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # --- reading --------------------------------------------------------------------------------------------

    @overload
    def get(self, key: Key) -> T | Missing: ...

    @overload
    def get(self, key: Key, default: D) -> T | D: ...

    def get(self, key: Key, default: Any = MISSING) -> Any:
        """The value under `key`, or `default` if there is none; a cache with a source loads it from there.

        Raises: with a source, what the source raises, and Overloaded.
        """
        if self._source is None:
            value = self._fetch(text(key), self._shape)
        else:
            value = self._fetch(text(key), self._shape, self._loader(key))
        return default if value is MISSING else value

    def get_or_set(self, key: Key, loader: Loader[T], ttl: Duration | None = None) -> T:
        """The value under `key`; if there is none, what `loader()` returns, loaded once in the whole fleet.

        `ttl`: how long to store it (None: the cache's). A loader that returns MISSING says that there is
        nothing, which is remembered for `negative_ttl`; MISSING is then returned.

        Raises: what the loader raises (nothing is stored then); Overloaded if there was neither a value nor
        a free load within the cache's `wait`; ConfigurationError if the loader asks for its own key.
        """
        return self._fetch(text(key), self._shape, loader, ttl)  # type: ignore[no-any-return]

    def peek(self, key: Key) -> Entry | Missing:
        """What is stored under `key` and how old it is, or MISSING; neither loads nor counts."""
        return self._peek(text(key), self._shape)

    def _peek(self, tag: str, shape: Shape) -> Entry | Missing:
        entry, epoch_key = self._store.lookup(tag)
        if not self._store.usable(entry):
            return MISSING
        questions = [
            ("GET", entry),
            ("GET", epoch_key),
            ("PTTL", entry),
            ("TIME",),
            ("GET", entry + shape.variant),
        ]
        try:
            replies = self._store.wire.execute_many(
                questions, timeout=self._store.patience(), retry="safe"
            )
        except Unavailable as error:
            self._store.failed(error)
            return MISSING
        self._store.answered()
        return rules.peek(replies, shape)

    def _load_one(self, key: Key) -> Any:
        return (self._source.load_many([key])).get(key, MISSING)

    def _loader(self, key: Key) -> Loader[Any]:
        return lambda: self._load_one(key)

    # --- writing --------------------------------------------------------------------------------------------

    def set(self, key: Key, value: T, ttl: Duration | None = None) -> bool:
        """Store `value` under `key` for `ttl` (None: the cache's); loads under way will not replace it.

        False if that is not confirmed: then the older value is removed as `invalidate` does it, and nothing
        is stored. Prefer `get_or_set`: it alone knows whether the value was read before an invalidation.

        Raises: ConfigurationError for a cache with a source; CodecError if `value` cannot be encoded.
        """
        if self._source is not None:
            raise ConfigurationError(
                f"cache {self.name!r} has a source, so set() would contradict it; use put()"
            )
        tag, body = text(key), rules.payload(value, self._shape)
        entry, epoch_key = self._store.lookup(tag)
        wanted = None if ttl is None else seconds(ttl, "ttl")
        stored = False
        try:
            if self._store.usable(entry):
                stored = self._set(tag, entry, epoch_key, value, body, wanted)
        except Unavailable as error:
            self._store.failed(error)
        except Refused as error:
            reason = rules.why_refused(error)
            if reason is None:
                raise
            self._store.refused(tag, reason)
        finally:
            if not stored:
                self._store.keep([entry], [tag])
        return stored

    def _set(
        self, tag: str, entry: str, epoch_key: str, value: T, body: bytes, ttl: float | None
    ) -> bool:
        store = self._store
        epoch, now = store.epoch_and_time(epoch_key)
        lives = store.lives(value, ttl)
        if not lives:
            return store.unlink([entry], [tag])
        stamp = os.urandom(8)
        data = rules.envelope(value, body, self._shape, stamp=stamp, epoch=epoch, loaded_at=now, ttl=lives)
        args = (data, lives, now + int(store.timeout * 1000))
        done = store.wire.run(rules.SET, (entry, f"{entry}:f"), args, store.timeout)
        return bool(done)

    def put(self, key: Key, value: T) -> None:
        """Write `value` to the source, then to the cache; Redis need not be there.

        Raises: what the source raises (the entry is then removed); ConfigurationError unless write="through".
        """
        tag, body = text(key), rules.payload(value, self._shape)
        self._must_write("put")
        self._write(tag, lambda: self._source.save_many({key: value}), value, body)

    def remove(self, key: Key) -> None:
        """Delete `key` from the source, then from the cache. Raises: as `put`."""
        self._must_write("remove")
        self._write(text(key), lambda: self._source.delete_many([key]), MISSING, None)

    def _write(self, tag: str, write: Callable[[], Any], value: Any, body: bytes | None) -> None:
        """Write to the source; meanwhile the entry is gone and no fill can bring it back."""
        entry, epoch_key = self._store.lookup(tag)
        put = os.urandom(16).hex()
        settled = False
        try:
            begun = self._store.begin(entry, epoch_key, put)
            try:
                write()
                if begun is not None and body is not None:
                    settled = self._store_put(tag, entry, begun, value, body)
            finally:
                if begun is not None and not settled:
                    settled = self._store.finish(entry, put)
        finally:
            if not settled:
                self._store.keep([entry], [tag])

    def _store_put(self, tag: str, entry: str, begun: Begun, value: Any, body: bytes) -> bool:
        """Store what the source has now; False if another put overlapped, or an invalidation came between."""
        lives = self._store.lives(value, None)
        if not begun.mark or not lives:
            return False
        stamp = os.urandom(8)
        data = rules.envelope(
            value, body, self._shape, stamp=stamp, epoch=begun.epoch, loaded_at=begun.now, ttl=lives
        )
        reason = self._store.commit(entry, entry, begun.mark, data, lives, b"")
        if reason is not None:
            self._store.refused(tag, reason)
        return reason is None

    def _must_write(self, method: str) -> None:
        if self.options.write is None:
            raise ConfigurationError(
                f'cache {self.name!r}: {method}() needs source= and write="through"; '
                f"without them use set() or invalidate()"
            )

    # --- invalidating ---------------------------------------------------------------------------------------

    def invalidate(self, *keys: Key) -> bool:
        """Remove `keys`; loads under way will not bring back what was there. Call it after the commit.

        False if that is not confirmed because Redis is away: then it is delivered as soon as it is back, and
        until then this process loads these keys instead of reading them. Other processes: see rules.py.
        """
        return self._invalidate([text(key) for key in keys])

    def _invalidate(self, tags: list[str]) -> bool:
        self._store.counts.invalidations += len(tags)
        return not tags or self._store.unlink([self._store.lookup(tag)[0] for tag in tags], tags)

    def expire(self, *keys: Key) -> bool:
        """Have `keys` loaded again at their next use, but keep their values for the case that this fails.

        False if that is not confirmed: then they are invalidated, as `invalidate` does it.
        """
        confirmed = [self._expire(text(key)) for key in keys]
        return all(confirmed)

    def _expire(self, tag: str) -> bool:
        entry, _ = self._store.lookup(tag)
        self._store.counts.invalidations += 1
        return self._store.expire(entry, tag)

    def clear(self) -> None:
        """Make every entry of this cache unreadable. Raises: Unavailable if unconfirmed, ReadOnly on a
        replica.
        """
        self._store.clear()

    # --- the rest -------------------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """What this cache object has counted in this process."""
        return self._store.counts.snapshot(self._store.undelivered)

    def cached(
        self, template: str, *, ttl: Duration | None = None, exclude: Iterable[str] = ()
    ) -> Callable[[Function[P, R]], CachedFunction[P, R]]:
        """Cache what a function returns, under the key that `template` makes of its arguments.

            @users.cached("user:{user_id}", ttl="10m")
            def get_user(user_id: int) -> User: ...

            get_user(42); get_user.invalidate(42)

        Every argument must be in `template` or in `exclude`. The return annotation is the value's type
        (without one, the cache's). Raises: ConfigurationError at decoration for anything that cannot work.
        """
        life = None if ttl is None else seconds(ttl, "ttl")

        def decorate(function: Function[P, R]) -> CachedFunction[P, R]:
            return CachedFunction(self, function, template, life, exclude)

        return decorate
