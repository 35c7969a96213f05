# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncHoldfast: one server, a primary that sentinels name, or a Cluster; and one method per room.

Making one only parses its arguments, so it may stand at the top of a module. `async with` (or `connect()`)
reaches for the server and says clearly what is wrong; without it, the first call connects.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from holdfast._client import aopen_replicas, aopen_transport, check, find_place, open_hub
from holdfast._compat import aoff_loop, monotonic
from holdfast._coord.guard import Guarding
from holdfast._coordination_async import AsyncCoordination
from holdfast._metering_async import AsyncMetering
from holdfast._running_async import AsyncRunnable, AsyncRunning
from holdfast._signals import Observers, ServerWarning
from holdfast._streaming_async import AsyncStreaming
from holdfast._transaction_async import AsyncTransaction
from holdfast._wire import config
from holdfast._wire._async import AsyncWire
from holdfast._wire.durability import Durability
from holdfast._wire.script import Retry, Script
from holdfast._wire.server import ServerFacts
from holdfast._wire.transport import Arg, Reply
from holdfast._wire.url import Target
from holdfast.analytics._analytics_async import AsyncAnalytics
from holdfast.cache._async import AsyncCache
from holdfast.cache.options import CacheKeywords, CacheOptions
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, Refused
from holdfast.events._log_async import AsyncEventLog
from holdfast.leaderboards._leaderboard_async import AsyncLeaderboard
from holdfast.limits._limiter_async import AsyncLimiter
from holdfast.limits.concurrency._concurrency_async import AsyncConcurrencyLimiter
from holdfast.locks._place_async import AsyncPlace
from holdfast.operations._async import AsyncOperations
from holdfast.operations.options import OperationsKeywords, OperationsOptions
from holdfast.sessions._sessions_async import AsyncSessions
from holdfast.streams._stream_async import AsyncStream
from holdfast.topics._topic_async import AsyncTopic

T = TypeVar("T")


class AsyncHoldfast(AsyncCoordination, AsyncStreaming, AsyncMetering):
    """A client of one Redis or Valkey server, for asyncio; may be shared by all tasks and event loops of a
    process.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "holdfast",
        timeout: Duration = "2s",
        connect_timeout: Duration = "1s",
        max_connections: int = 64,
        client: Any = None,
        transport: str | None = None,
        tls: Any = None,
        require_server: bool = True,
    ) -> None:
        """Parse the arguments; nothing is sent.

        `url`: redis://, valkey:// (over TLS: rediss://, valkeys://), redis+sentinel://, redis+cluster://,
        unix://, embedded:// or embedded:///path; None: `HOLDFAST_URL` of the environment.
        `namespace`: what all keys start with. `timeout`: the deadline of one call, all retries included.
        `connect_timeout`: of one attempt to connect. `max_connections`: that may be open at once.
        `client`: a redis-py client of your own, in place of `url`; its address, credentials and pool settings
        are used, its retries are not. `transport`: "native" (the default, unless `client` is given), or
        "redis-py" to send through redis-py's connections.
        `tls`: a `Tls`, or an ssl.SSLContext of your own, in place of what the URL says about TLS; with a URL
        without TLS it switches TLS on, as does True.
        `require_server`: whether `connect()` and `with` raise Unavailable if the server cannot be reached.

        Raises: ConfigurationError that names the value and the fix.
        """
        self._settings = settings = check(
            None if client is None else _target_of(client),
            named=url,
            namespace=namespace,
            timeout=timeout,
            connect_timeout=connect_timeout,
            max_connections=max_connections,
            client=client,
            transport=transport,
            environment=os.environ,
            tls=tls,
        )
        self.observers = Observers()
        self._require_server = require_server
        self._closed = self._connected = False
        self._place = find_place(settings, self.observers)
        self._hub = open_hub(settings, self._place, self.observers)
        self._leases = open_hub(settings, self._place, self.observers, "holdfast-leases")
        self._wire = AsyncWire(
            aopen_transport(settings, self._place, self.observers),
            name=self._place.name,
            keys=settings.keys,
            hub=self._hub,
            observer=self.observers,
            timeout=settings.timeout,
            replicas=aopen_replicas(settings, self._place, self.observers),
            leases=self._leases,
        )
        self._caches: dict[str, AsyncCache[Any]] = {}
        self._operations: dict[str, AsyncOperations[Any]] = {}
        self._locks = AsyncPlace(self._wire)
        self._streams: dict[str, AsyncStream[Any]] = {}
        self._logs: dict[str, AsyncEventLog[Any]] = {}
        self._topics: dict[str, AsyncTopic[Any]] = {}
        self._running = AsyncRunning()
        self._others: list[AsyncRunnable] = []
        self._limiters: dict[str, AsyncLimiter] = {}
        self._slots: dict[str, AsyncConcurrencyLimiter] = {}
        self._sessions: dict[str, AsyncSessions[Any]] = {}
        self._boards: dict[str, AsyncLeaderboard[Any]] = {}
        self._analytics: dict[str, AsyncAnalytics] = {}

    @classmethod
    def from_config(cls, path: str | Path, **arguments: Any) -> Self:
        """A client as a YAML or TOML file describes it; `arguments` win over the file, the file over the
        environment.

        Raises: ConfigurationError that names the file, the key and the fix.
        """
        return cls(**{**config.read(path), **arguments})

    # --- life ----------------------------------------------------------------------------------------------

    async def connect(self) -> Self:
        """Reach for the server, and learn what it is.

        Raises: Unavailable within the deadline (unless `require_server=False`), NoPermission,
        ConfigurationError.
        """
        if self._require_server:
            for setting, consequence in (await self._wire.facts()).warnings:
                warning = ServerWarning(server=self._wire.name, setting=setting, consequence=consequence)
                self.observers.notify(warning)
        self._connected = True
        for cache in self.caches():
            cache._start()
        return self

    async def close(self, drain: Duration = "10s") -> None:
        """Stop: deliver what is still to be delivered, for at most `drain`, and close every connection.
        Idempotent.
        """
        if not self._closed:
            patience = seconds(drain, "drain", zero=True)
            begun = monotonic()
            await self._running.close(patience)
            for cache in self.caches():
                await cache._aclose(max(0.0, begun + patience - monotonic()))
            for operations in list(self._operations.values()):
                await operations._aclose(max(0.0, begun + patience - monotonic()))
            for log in list(self._logs.values()):
                await log._aclose(max(0.0, begun + patience - monotonic()))
            for topic in list(self._topics.values()):
                await topic._aclose()
            for analytics in list(self._analytics.values()):
                await analytics._aclose(max(0.0, begun + patience - monotonic()))
            self._wire.stop()
            await aoff_loop(lambda: self._leases.close(0.0))
            await aoff_loop(lambda: self._hub.close(max(0.0, begun + patience - monotonic())))
            await self._wire.aclose()
            await aoff_loop(self._place.stop)
            self._closed = True  # at the end: whoever was cancelled in the middle may close again

    async def __aenter__(self) -> Self:
        try:
            return await self.connect()
        except BaseException:
            await self.close(drain=0)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._wire.name!r}, namespace={self._settings.keys.namespace!r})"

    # --- the server itself ---------------------------------------------------------------------------------

    def key(self, name: str, *, tag: str | None = None) -> str:
        """The key `name` in this client's namespace, for `execute` and scripts.

        In a Cluster, keys that one script or transaction names must share a slot: give them the same `tag`.
        """
        return self._settings.keys.user(name, tag)

    async def execute(
        self,
        *command: Arg,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        durability: Durability | None = None,
        max_staleness: Duration | None = None,
    ) -> Reply:
        """The raw reply to a command, as bytes, int, float, list or dict; decoding it is the caller's.

        `retry`: "safe" lets it be repeated when its reply is lost, "never" does not; by default reads are
        safe, all else never. `durability`: a write is done only when so many replicas have it.
        `max_staleness`: a read may be answered by a replica that is proved to be at most so far behind; where
        there is none, the primary answers.
        Raises: Unavailable, Unconfirmed (it may have happened), NotDurable (it has, but may be lost again),
        Refused, ConfigurationError.
        """
        return await self._wire.execute(
            *command,
            timeout=None if timeout is None else seconds(timeout, "timeout"),
            retry=retry,
            durability=durability,
            max_staleness=None if max_staleness is None else seconds(max_staleness, "max_staleness"),
        )

    def script(self, name: str, *, text: str | None = None) -> AsyncBoundScript:
        """The Lua script in the file `name`, next to the calling module or at a path; or `text` itself.

        Its header must say `-- retry: safe`, `by request id` or `never`. Raises: ConfigurationError.
        """
        if text is None:
            frame = inspect.currentframe()
            caller = frame.f_back if frame else None
            beside = Path(caller.f_globals.get("__file__", "")).parent if caller else Path()
            file = next((place for place in (beside / name, Path(name)) if place.is_file()), None)
            if file is None:
                raise ConfigurationError(
                    f"script {name!r} is neither beside the calling module nor in the working directory"
                )
            text = file.read_text(encoding="utf-8")
        return AsyncBoundScript(self._wire, Script.parse(name, text))

    def transaction(
        self, *watch: str, guard: Guarding | None = None, durability: Durability | None = None
    ) -> AbstractAsyncContextManager[AsyncTransaction]:
        """Commands that run all or none: MULTI/EXEC, and only if no key in `watch` changed meanwhile.

        Inside, `tx.set(key, 1)` and the like are queued; `tx.read("GET", key)` reads at once. Afterwards
        `tx.results` holds the replies. In a Cluster, all its keys must share a slot. `guard`: a lease;
        nothing is executed unless it is still ours at that moment, by the server's word (in a Cluster
        `lease.key("x")` names a key in its slot). `durability`: it is done only when so many replicas have
        it. Raises at the end: ConflictError if a watched key changed, LockLost, Unconfirmed if the reply to
        EXEC was lost, NotDurable.
        """
        return AsyncTransaction(self._wire, watch, durability, guard=None if guard is None else guard.guard())

    async def health(self) -> Mapping[str, Any]:
        """How the server is: `ok`, `latency` in seconds, and what is known of it; never raises for a server
        that is away. With Sentinel also `primary`, `sentinels` and `sentinels_heard`; in a Cluster
        `primaries`, `replicas` and `complete` (is every slot served?).
        """
        return {**await self._wire.health(), **self._place.about()}

    async def facts(self) -> ServerFacts:
        """What this server is and can do, asked once. Raises: Unavailable, NoPermission."""
        return await self._wire.facts()

    # --- rooms ---------------------------------------------------------------------------------------------

    @overload
    def cache(
        self, name: str, *, ttl: Duration, type: type[T], **options: Unpack[CacheKeywords]
    ) -> AsyncCache[T]: ...

    @overload
    def cache(
        self, name: str, *, ttl: Duration, type: Any = ..., **options: Unpack[CacheKeywords]
    ) -> AsyncCache[Any]: ...

    def cache(
        self, name: str, *, ttl: Duration | None = None, type: Any = Any, **options: Unpack[CacheKeywords]
    ) -> AsyncCache[Any]:
        """The cache `name`; the same object for the same name.

        `ttl`: how long a value is fresh. `type`: what values are (default: plain msgpack types). `l1`: a map
        in this process in front of the server. `stale`, `throttle`, `soft_timeout`, `hard_timeout`, `early`,
        `warm`: what is served while, and before, something is loaded anew. `jitter`, `negative_ttl`: how
        lives vary. `lease`, `max_loads`, `wait`, `timeout`: limits of loads. `codec`, `compress_above`,
        `compression`, `chunk_above`, `cipher`: how values are written. `source`, `write`, `coalesce`:
        read-through, write-through and write-behind; see Source and Behind. `load_scope`, `audit`. Each is
        told in CacheOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        if ttl is None:
            raise ConfigurationError(
                f'cache {name!r} needs ttl=, as in ttl="10m": an entry without an end is a leak'
            )
        try:
            chosen = CacheOptions(ttl=ttl, type=type, **options)
        except TypeError as error:
            raise ConfigurationError(f"cache {name!r}: {str(error).partition('() ')[2] or error}") from None
        known = self._caches.get(name)
        if known is None:
            known = self._caches.setdefault(name, AsyncCache(self._wire, name, chosen))
            if self._connected:
                known._start()
        if not known.options.same_as(chosen):
            differing = known.options.difference(chosen)
            raise ConfigurationError(f"cache {name!r} exists already with other options: {differing}")
        return known

    @overload
    def operations(
        self, name: str, *, type: type[T], **options: Unpack[OperationsKeywords]
    ) -> AsyncOperations[T]: ...

    @overload
    def operations(
        self, name: str, *, type: Any = ..., **options: Unpack[OperationsKeywords]
    ) -> AsyncOperations[Any]: ...

    def operations(
        self, name: str, *, type: Any = Any, **options: Unpack[OperationsKeywords]
    ) -> AsyncOperations[Any]:
        """The pending operations `name`; the same object for the same name.

        `lease`: how long a process may be silent before its operations count as interrupted. `ttl`: how long
        what is done is remembered. `max_attempts`, `retry`: how often, and after what rests, something is
        tried. `type`, `result`: what data and results are. `partitions`, `keep`, `max_hold`, `wait`, `slot`,
        `label`, `durability`, `accept_loss`: each is told in OperationsOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        try:
            chosen = OperationsOptions(type=type, **options)
        except TypeError as error:
            what = str(error).partition("() ")[2] or error
            raise ConfigurationError(f"operations {name!r}: {what}") from None
        known = self._operations.get(name)
        if known is None:
            known = self._operations.setdefault(name, AsyncOperations(self._wire, name, chosen))
        if not known.options.same_as(chosen):
            differing = known.options.difference(chosen)
            raise ConfigurationError(f"operations {name!r} exist already with other options: {differing}")
        return known

    def caches(self) -> Iterator[AsyncCache[Any]]:
        """Every cache made so far."""
        return iter(list(self._caches.values()))


def _target_of(client: Any) -> Target:
    from holdfast._wire._redispy_async import (
        target_of,
    )  # redis-py takes long to import: only who brings it waits

    return target_of(client)


class AsyncBoundScript:
    """A script of the user's own, bound to a client."""

    def __init__(self, wire: AsyncWire, script: Script) -> None:
        self._wire = wire
        self._script = script

    async def run(
        self,
        keys: list[str] | tuple[str, ...] = (),
        args: list[Arg] | tuple[Arg, ...] = (),
        *,
        guard: Guarding | None = None,
        durability: Durability | None = None,
    ) -> Reply:
        """What the script returns for `keys` and `args`; with `durability`, once so many replicas have it.

        `guard`: a lease; the script does nothing unless it is still ours at that moment (in a Cluster
        `lease.key("x")` names a key in its slot).
        Raises: Unavailable, Unconfirmed (only a script that says `retry: never`), LockLost, NotDurable,
        Refused.
        """
        if guard is None:
            return await self._wire.run(self._script, keys, args, durability=durability)
        ours = guard.guard()
        guarded = ours.script(self._script)
        try:
            told = (*keys, ours.key), (*args, ours.token)
            return await self._wire.run(guarded, *told, durability=durability)
        except Refused as error:
            raise ours.refused(error) from error
