# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncEventLog: what happened, stream by stream and all in order. What it promises stands in rules.py."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

from holdfast._compat import monotonic
from holdfast._wire._async import AsyncWire
from holdfast.errors import CodecError, ConfigurationError, ConflictError, Refused, Unavailable
from holdfast.events import record, rules
from holdfast.events._desk_async import AsyncDesk
from holdfast.events._projection_async import AsyncProjection
from holdfast.events._subscription_async import AsyncSubscription
from holdfast.events.flavour import AsyncHandler
from holdfast.events.layout import Partition, written
from holdfast.events.options import (
    Appended,
    EventsOptions,
    Expected,
    Loaded,
    NewBatch,
    ProjectionKeywords,
    ProjectionOptions,
    StoredEvent,
    whole,
)

T = TypeVar("T")
S = TypeVar("S")


class AsyncEventLog(Generic[T]):
    """The events of one name.

        await log.append("order-1", [Placed(...)], expected=0)
        for event in await log.read("order-1"): ...
        async for event in log.all(): ...

    Made by `hf.events(name)`. What is promised, and what is not, stands in holdfast.events.rules.
    """

    def __init__(self, wire: AsyncWire, name: str, options: EventsOptions) -> None:
        """Raises: ConfigurationError, also for types that cannot be stored."""
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'events need a name that is not empty, as "orders", not {name!r}')
        self.name = name
        self.options = options
        self._desk = AsyncDesk(wire, name, options)
        self._projections: dict[tuple[str, int], AsyncProjection] = {}

    # --- appending ------------------------------------------------------------------------------------------

    async def append(
        self,
        stream: str,
        events: Iterable[Any],
        *,
        expected: Expected = None,
        id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Appended:
        """Append `events` (values, or `NewEvent`s) to `stream`, all or none.

        `expected`: the version that the stream must have (0: there is none yet), "exists", or None for any.
        `id`: names the batch; if it was appended to this stream before, nothing happens, and the answer is
        that of the first time, as a `duplicate`, whatever is expected. `headers`: of all these events.

        Raises: ConflictError (`.expected`, `.actual`) if the version is another; CodecError;
        ConfigurationError, also for more than MOST_EVENTS events; UnsafeServer, OutOfMemory, Refused: nothing
        was appended. Unavailable: perhaps; append again with the same `expected` or `id`. NotDurable: it was.
        """
        (appended,) = await self.append_many([NewBatch(stream, events, expected)], id=id, headers=headers)
        return appended

    async def append_many(
        self,
        batches: Iterable[tuple[Any, ...]],
        *,
        id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[Appended]:
        """Append to several streams of one partition, to all of them or to none: (stream, events, expected)
        of each, as a tuple or a `NewBatch`.

        Raises: as `append`; ConfigurationError if the streams are not all in one partition.
        """
        if id is not None:
            written(id, "id")
        told = [NewBatch(*one) for one in batches]
        names = [written(one.stream, "stream") for one in told]
        part = self._common(names)
        ready = [
            (name, rules.expectation(one.expected), self._encoded(one.events, headers))
            for name, one in zip(names, told, strict=True)
        ]
        sizes = [sum(len(event[1]) + len(event[3]) for event in events) for _, _, events in ready]
        for (_, _, events), size in zip(ready, sizes, strict=True):
            rules.check_size(len(events), size)
        rules.check_size(sum(len(events) for _, _, events in ready), sum(sizes))
        await self._desk.check()
        code, *answers = await self._desk.append(part, ready, id)
        if code == 0:
            which, version = answers
            raise rules.conflict(told[which - 1].stream, ready[which - 1][1], version)
        if code == 3:
            raise ConflictError(f"id={id!r} belongs to a batch for other streams", expected=id)
        return [
            Appended(one.stream, first, last, position, part.number, code == rules.AGAIN)
            for one, (first, last, position) in zip(told, answers, strict=True)
        ]

    def _encoded(self, events: Any, common: Mapping[str, str] | None) -> list[tuple[Any, ...]]:
        if isinstance(events, str | bytes | Mapping) or not isinstance(events, Iterable):
            raise ConfigurationError(f"events={events!r:.80} must be a list of events; write [event] for one")
        made = []
        for event in events:
            name, payload, version, headers = self._desk.kinds.encode(event)
            made.append((name, payload, version, record.headers({**(common or {}), **headers})))
        return made

    def _common(self, names: Sequence[str]) -> Partition:
        parts = {self._desk.layout.of(name) for name in names}
        if len(parts) != 1 or len(set(names)) != len(names):
            raise ConfigurationError(
                f"append_many: {len(names)} batches must be for different streams of one partition, and "
                f"these are in {len(parts)}; with partitions=1 all streams share one"
            )
        return parts.pop()

    # --- reading one stream ---------------------------------------------------------------------------------

    async def version(self, stream: str) -> int:
        """The version of `stream`: that of its newest event, 0 if there is none.

        Raises: Unavailable, Refused, ConfigurationError.
        """
        part, name = await self._find(stream)
        return await self._desk.version(part, name)

    async def read(
        self, stream: str, *, after: int = 0, limit: int | None = None, backward: bool = False
    ) -> list[StoredEvent[T]]:
        """The events of `stream` with a version above `after`, at most `limit`; with `backward` the newest
        first. None for a stream that does not exist.

        Raises: PositionTrimmed if some of them were archived; CodecError, Unavailable, Refused.
        """
        found: list[StoredEvent[T]] = []
        async for page in self._pages(stream, after, limit, backward=backward):
            found += page
        return found

    async def _pages(
        self, stream: str, after: int, limit: int | None, *, backward: bool = False
    ) -> AsyncIterator[list[StoredEvent[T]]]:
        """The same, as many at once as come in one reply."""
        part, name = await self._find(stream)
        walk = record.Walk(stream, after, backward=backward)
        left = record.at_least_0(limit)
        while left > 0:
            size = min(left, rules.SIZE)
            version, found = await self._desk.read(part, name, *walk.ends(), size, backward=backward)
            versions = walk.follow(version, found, size)
            yield [self._stored(part, stream, *one) for one in zip(versions, found, strict=True)]
            left = left - size if len(found) == size else 0

    def _stored(self, part: Partition, stream: str, version: int, entry: Any) -> StoredEvent[T]:
        return record.stored(self._desk.kinds, stream, part.number, version, entry[1])

    async def _find(self, stream: str) -> tuple[Partition, str]:
        name = written(stream, "stream")
        await self._desk.agree()
        return self._desk.layout.of(name), name

    # --- snapshots ------------------------------------------------------------------------------------------

    async def load(self, stream: str, fold: Callable[[S, StoredEvent[T]], S], initial: S) -> Loaded[S]:
        """The state of `stream`: `fold(state, event)` over its events, from `initial`, or from its newest
        snapshot that can be read and the events after that.

        Append with `expected=loaded.version` what was decided on it. With `snapshot_every`, a snapshot is
        taken after so many events. Raises: as `read`, and what `fold` raises.
        """
        part, name = await self._find(stream)
        state, at = initial, 0
        version, raw, found = await self._desk.load(part, name, snapshot=True)
        if raw is not None:
            try:
                state, at = self._desk.states.decode(raw[2], raw[1]), raw[0]
            except CodecError:  # a snapshot is a shortcut: without it, all events tell the same
                version, _, found = await self._desk.load(part, name, snapshot=False)
        walk = record.Walk(stream, at)
        for one in zip(walk.follow(version, found, rules.SIZE), found, strict=True):
            state = fold(state, self._stored(part, stream, *one))
        if len(found) == rules.SIZE:
            async for page in self._pages(stream, walk.at, None):
                for event in page:
                    state, walk.at = fold(state, event), event.version
        loaded = Loaded(state, walk.at, walk.at - at)
        every = self.options.snapshot_every
        if every is not None and loaded.folded >= every:
            with contextlib.suppress(Unavailable, Refused):
                await self.snapshot(stream, state, version=loaded.version)
        return loaded

    async def snapshot(self, stream: str, state: Any, *, version: int) -> None:
        """Keep `state`, which `stream` has at `version`, so that `load` begins there; unless a newer one is
        kept.

        Raises: ConflictError if the stream has no such version; CodecError, Unavailable, OutOfMemory,
        Refused.
        """
        whole("version", version)
        part, name = await self._find(stream)
        kept, actual = await self._desk.snapshot(part, name, version, self._desk.states.encode(state))
        if not kept:
            raise rules.conflict(stream, version, actual)

    async def archive(self, stream: str) -> int:
        """Forget the events of `stream` that its snapshot has in it; how many that were.

        From then on the snapshot is the only copy: change its type only with `state_upcast`. Whoever reads
        those events, or builds a projection of them anew, gets PositionTrimmed.

        Raises: ConfigurationError if there is no snapshot of today's `state_version`; ConflictError if a
        projection has not seen all of them; Unavailable, NotDurable, Refused.
        """
        part, name = await self._find(stream)
        code, told = await self._desk.archive(part, name)
        if code == 0:
            raise ConfigurationError(
                f"stream {stream!r} has no snapshot of state_version={self.options.state_version}; take one "
                f"with log.snapshot(...) first"
            )
        if code == rules.REFUSED:
            raise ConflictError(
                f"stream {stream!r}: projection {told.decode()} has not seen all events up to the snapshot; "
                f"wait for it, or drop it"
            )
        return int(told)

    # --- reading all in order -------------------------------------------------------------------------------

    async def all(self, *, after: int = 0, partition: int | None = None) -> AsyncIterator[StoredEvent[T]]:
        """The events of all streams of a partition behind the position `after`, in the order in which they
        were appended, up to the newest: iterate over it. With several partitions, say which.

        Raises while iterating: PositionTrimmed, CodecError, Unavailable, Refused; ConfigurationError.
        """
        rules.check_position(after)
        part = self._desk.part(partition)
        await self._desk.agree()
        while True:
            page = await self._desk.page(part, after, rules.SIZE)
            for ref in page.refs:
                yield self._desk.event(part, ref)
            if len(page.refs) < rules.SIZE:
                return
            after = page.refs[-1].position

    def subscribe(
        self, *, after: int | Mapping[int, int] | None = 0, partition: int | None = None
    ) -> AsyncSubscription[T]:
        """As `all`, and then goes on with what is appended from now on, until it is closed: a context manager
        to iterate over.

            async with log.subscribe() as events:
                async for event in events: ...

        `after`: a position; None: begin with what comes next. With several partitions and no `partition` it
        reads all of them, each in its order, and `after` is a mapping: `subscription.positions` is one. While
        the server is away it waits. Raises: ConfigurationError; while iterating: PositionTrimmed, CodecError,
        Refused, Closed.
        """
        parts = self._desk.layout.parts
        chosen = parts if partition is None else (self._desk.part(partition),)
        return AsyncSubscription(self._desk, chosen, after)

    # --- projections ----------------------------------------------------------------------------------------

    def projection(
        self, name: str, **options: Unpack[ProjectionKeywords]
    ) -> Callable[[AsyncHandler], AsyncProjection]:
        """Decorate `handler(fx, event)`: what it writes with `fx` is made of all events, each once.

            @log.projection("totals", version=1)
            async def totals(fx, event):
                fx.hincrby(fx.key("by day"), event.value.day, event.value.amount)

        It becomes an `AsyncProjection`, which `hf.run()` runs, or `start()`. `version`: raise it when the
        handler changes; it is built beside the older one then, and replaces it. `batch`, `lease`, `retry`,
        `max_attempts`, `on_error`: each is told in ProjectionOptions.

        Raises: ConfigurationError.
        """
        try:
            chosen = ProjectionOptions(**options)
        except TypeError as error:
            what = str(error).partition("() ")[2] or error
            raise ConfigurationError(f"projection {name!r}: {what}") from None

        def decorate(handler: AsyncHandler) -> AsyncProjection:
            made = AsyncProjection(self._desk, name, handler, chosen)
            if self._projections.setdefault((name, chosen.version), made) is not made:
                raise ConfigurationError(f"projection {name!r} has a handler for version {chosen.version}")
            return made

        return decorate

    def runnables(self) -> list[AsyncProjection]:
        """The projections that nobody runs in this process yet."""
        return [one for one in self._projections.values() if not one.alive]

    async def _aclose(self, drain: float = 10.0) -> None:
        """End what works in the background, within about `drain` seconds."""
        give_up = monotonic() + drain
        for one in list(self._projections.values()):
            await one.close(max(0.0, give_up - monotonic()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
