# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncStream: what is published once and handled until it is done. Its promises stand in rules.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar, Unpack

from holdfast._coord import tracing
from holdfast._coord.flavour import AsyncFlavour
from holdfast._wire._async import AsyncWire
from holdfast._wire.transport import Arg
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import ConfigurationError
from holdfast.streams import _books_async as seen
from holdfast.streams import record, rules
from holdfast.streams._books_async import AsyncGroup
from holdfast.streams._consumer_async import AsyncConsumer
from holdfast.streams._dead_async import AsyncDeadLetters
from holdfast.streams._desk_async import AsyncDesk
from holdfast.streams._tidy_async import AsyncTidy
from holdfast.streams.books import StreamEntry, StreamInfo
from holdfast.streams.counters import Counters, SubscriberStats
from holdfast.streams.layout import Partition, text_of
from holdfast.streams.options import (
    Lag,
    Order,
    Outgoing,
    Published,
    StreamOptions,
    SubscriberKeywords,
    SubscriberOptions,
)

T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., Any])


class AsyncStream(Generic[T]):
    """The stream of one name.

        orders = ahf.stream("orders", type=OrderPlaced, key=lambda order: order.customer_id)
        await orders.publish(order)

        @orders.subscriber(group="billing")
        async def bill(order, message): ...

        await ahf.run()               # in the workers

    Made by `hf.stream(name)`. What is promised, and what is not, stands in holdfast.streams.rules.
    """

    def __init__(self, wire: AsyncWire, name: str, options: StreamOptions) -> None:
        """Raises: ConfigurationError, also for types that cannot be stored."""
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'a stream needs a name that is not empty, as "orders", not {name!r}')
        self.name = name
        self.options = options
        self._desk = AsyncDesk(wire, name, options)
        self._consumers: dict[str, AsyncConsumer] = {}
        self._tidy = AsyncTidy(self._desk)
        self._next = itertools.count()

    # --- publishing -----------------------------------------------------------------------------------------

    async def publish(
        self,
        value: T,
        *,
        id: str | None = None,
        key: str | int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Published:
        """Publish `value`; the id of its entry, and whether it was a duplicate.

        `id`: a second publish with the same one within `dedup` adds nothing, and returns the first entry's
        id. `key`: in place of what the key function says. `delay`, `at`: it is delivered after a duration, or
        at a point in time. `headers`: go with it.

        Raises: CodecError, ConfigurationError; UnsafeServer; Unavailable (it may have been added: publish it
        again with the same `id`), NotDurable (it has), OutOfMemory, Refused, Closed.
        """
        await self._desk.check()
        part, item = self._item(value, id=id, key=key, delay=delay, at=at, headers=headers)
        (answer,) = await self._desk.publish(part, (item,))
        await self._tidy.published(part, 1)
        return _published(answer)

    async def publish_many(self, items: Iterable[T | Outgoing]) -> list[Published]:
        """Publish values, or `Outgoing`s with settings of their own, as `publish` does, many at a time.

        What goes to one partition keeps its order. If it raises, some may have been added.
        Raises: as `publish`.
        """
        await self._desk.check()
        made: list[tuple[Partition, record.Item]] = []
        for one in items:
            if isinstance(one, Outgoing):
                made.append(
                    self._item(
                        one.value, id=one.id, key=one.key, delay=one.delay, at=one.at, headers=one.headers
                    )
                )
            else:
                made.append(self._item(one))
        places: dict[Partition, list[int]] = {}
        for place, (part, _) in enumerate(made):
            places.setdefault(part, []).append(place)
        results: dict[int, Published] = {}
        for part, all_places in places.items():
            for first in range(0, len(all_places), rules.CHUNK):
                chunk = all_places[first : first + rules.CHUNK]
                answers = await self._desk.publish(part, [made[place][1] for place in chunk])
                results.update(zip(chunk, map(_published, answers), strict=True))
                await self._tidy.published(part, len(chunk))
        return [results[place] for place in range(len(made))]

    async def cancel(self, id: str) -> bool:
        """Take back what was published with `delay` or `at`; False if it is not waiting any more.

        Raises: ConfigurationError if `id` is of no delayed message; Unavailable, Refused, Closed.
        """
        if not isinstance(id, str) or not id.startswith("~"):
            raise ConfigurationError(f"id={id!r} is not what publish(delay=) or publish(at=) returned")
        token = id.removeprefix("~")
        gone = 0
        for part in self._desk.layout.parts:
            gone += int(await self._desk.wire.run(rules.CANCEL, (part.at, part.later), (token,)))
        return gone > 0

    def _item(
        self,
        value: Any,
        *,
        id: str | None = None,
        key: str | int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Partition, record.Item]:
        dedup = None if id is None else text_of(id, "id")
        when = (
            ""
            if delay is None and at is None
            else record.later(optional_seconds(delay, "delay", zero=True), at)
        )
        part, fields = self._letter(value, key=key, headers=headers, dedup=dedup)
        return part, record.Item(when, dedup, fields)

    def _letter(
        self,
        value: Any,
        *,
        key: str | int | None = None,
        headers: Mapping[str, str] | None = None,
        dedup: str | None = None,
    ) -> tuple[Partition, Sequence[Arg]]:
        """Where `value` goes, and the fields of its entry. Raises: ConfigurationError, CodecError."""
        if key is None and self.options.key is not None:
            key = self.options.key(value)
            if key is None:
                raise ConfigurationError(f"stream {self.name!r}: key= returned None for {value!r:.80}")
        name = None if key is None else text_of(key, "key")
        parts = self._desk.layout.parts
        if len(parts) == 1:
            part = parts[0]
        elif name is not None or dedup is not None:
            part = self._desk.layout.of(name if name is not None else str(dedup))
        else:
            part = parts[next(self._next) % len(parts)]
        data = self._desk.values.encode(value)
        version = self._desk.values.version
        told = tracing.carried(headers)
        return part, record.fields(data, key=name, dedup=dedup, headers=told, version=version)

    def key(self, name: str, *, partition: int = 0) -> str:
        """The key that `message.key(name)` names in a partition, to be read from elsewhere.

        Raises: ConfigurationError if there is no such partition.
        """
        parts = self._desk.layout.parts
        if partition not in range(len(parts)):
            raise ConfigurationError(
                f"partition={partition!r}: stream {self.name!r} has {len(parts)}, from 0"
            )
        return parts[partition].user(name)

    # --- consuming ------------------------------------------------------------------------------------------

    def subscriber(self, group: str, **options: Unpack[SubscriberKeywords]) -> Callable[[H], H]:
        """Decorate a handler: it gets every message, as the group `group`, while `hf.run()` runs.

        The handler takes the value, or the value and the message (with `batch`, lists of them). Returning
        acknowledges; raising tries it again after the pauses of `retry`; raising Reject makes it a dead
        letter, Retry(after=) chooses the pause. Processes with the same group share its messages; each group
        gets all. `max_deliveries`, `retry`, `lease`, `concurrency`, `batch`, `max_in_flight`, `order`,
        `start`, `timeout` are told in SubscriberOptions. The function stays what it is.

        Raises: ConfigurationError.
        """
        what = f"subscriber {group!r} of stream {self.name!r}"
        if not isinstance(group, str) or not group or group.startswith("~"):
            raise ConfigurationError(f'group={group!r} must be a name that is not empty, as "billing"')
        try:
            chosen = SubscriberOptions(**options)
        except TypeError as error:
            raise ConfigurationError(f"{what}: {str(error).partition('() ')[2] or error}") from None
        order: Order = chosen.order or ("none" if self.options.key is None else "key")
        others = [one for one in self._consumers if one != group]
        if self.options.deletes and others:
            raise ConfigurationError(
                f"{what}: a work queue has one group, and this one has {others[0]!r}; use "
                f"Retention.interest() for several"
            )

        def decorate(handler: H) -> H:
            AsyncFlavour.check(handler, what)
            if group in self._consumers:
                raise ConfigurationError(f"{what} exists already, in this client")
            self._consumers[group] = AsyncConsumer(self._desk, group, handler, chosen, order, Counters())
            return handler

        return decorate

    def stats(self) -> Mapping[str, SubscriberStats]:
        """What this process has done for each of its groups."""
        return {group: consumer.stats() for group, consumer in self._consumers.items()}

    def lags(self) -> Mapping[str, Lag]:
        """How far the groups that this process consumes for are behind, as it was some seconds ago.

        It does not ask the server, but has the consumers ask: what is not known yet is left out.
        """
        found = {group: consumer.caretaker.lag() for group, consumer in self._consumers.items()}
        return {group: lag for group, lag in found.items() if lag is not None}

    def runnables(self) -> list[AsyncConsumer]:
        """The subscribers, for `hf.run()`."""
        return list(self._consumers.values())

    # --- looking after it -----------------------------------------------------------------------------------

    def group(self, name: str) -> AsyncGroup:
        """The group `name`: how far it is behind, who consumes, from where. Raises: ConfigurationError."""
        consumer = self._consumers.get(name)
        return AsyncGroup(self._desk, name, "first" if consumer is None else consumer.options.start)

    def dead_letters(self, group: str) -> AsyncDeadLetters:
        """What the group could not handle. Raises: ConfigurationError."""
        return AsyncDeadLetters(self._desk, group)

    async def read(
        self,
        after: str | datetime = "0",
        until: str | datetime | None = None,
        *,
        limit: int = 100,
        reverse: bool = False,
        partition: int | None = None,
    ) -> list[StreamEntry]:
        """Look at entries, at most `limit`, without consuming them: the oldest, or with `reverse` the newest.

        `after`, `until`: only what is behind, or before, an id or a point in time. Over several partitions
        they come in the order of their publishing; to page through all, take one `partition` after the other,
        as ids are unique in one only. Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        return await seen.read(self._desk, after, until, limit, partition, reverse=reverse)

    async def info(self) -> StreamInfo:
        """What is in it, in all and in each partition. Raises: Unavailable, Refused, Closed."""
        return await seen.info(self._desk)


def _published(answer: bytes) -> Published:
    return Published(answer.removeprefix(b"!").decode(), answer.startswith(b"!"))
