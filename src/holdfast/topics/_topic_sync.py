# Generated from _topic_async.py by tools/unasync.py. Do not edit.
"""Topic: publish and subscribe, with a memory. What it promises stands in rules.py."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Generic, TypeVar

from holdfast._wire._sync import Wire
from holdfast._wire.keys import escape_name
from holdfast._wire.mutex import MUTEX
from holdfast.errors import ConfigurationError
from holdfast.topics import rules
from holdfast.topics._desk_sync import Desk
from holdfast.topics._subscription_sync import Subscription
from holdfast.topics.inbox import Item
from holdfast.topics.options import (
    Gap,
    Listening,
    OnFull,
    TopicMessage,
    TopicOptions,
    TopicPublished,
    TopicStats,
    whole_number,
)

T = TypeVar("T")

LONGEST_ID = 512  # bytes


class Topic(Generic[T]):
    """Tells everybody who listens, and remembers the last messages for those who were away.

        prices = hf.topic("prices", history=1000)
        prices.publish({"ACME": 12.5})

        with prices.subscribe(after=position) as messages:
            for message in messages:                # TopicMessage | Gap
                ...

    Made by `hf.topic(name)`. What is promised, and what is not, stands in holdfast.topics.rules.
    """

    def __init__(self, wire: Wire, name: str, options: TopicOptions) -> None:
        """Raises: ConfigurationError, also for a type that cannot be stored."""
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'a topic needs a name that is not empty, as "prices", not {name!r}')
        self.name = name
        self.options = options
        self._desk = Desk(wire, name, options)
        self._subscriptions: weakref.WeakSet[Subscription[T]] = weakref.WeakSet()

    @property
    def channel(self) -> str:
        """The channel on the server on which messages are pushed; with a history, also the key of that."""
        return self._desk.channel

    def publish(self, value: T, *, id: str | None = None) -> TopicPublished:
        """Say `value` to everybody who listens, and keep it; where it is.

        `id`: whoever publishes it again within `dedup`, from anywhere, says nothing, and is told where the
        first one is (`duplicate`). Without it, a request is still repeated safely when its reply is lost.

        Raises: CodecError; UnsafeServer; Unavailable (it may have been said), NotDurable (it has been);
        OutOfMemory, NoPermission, Refused, Closed (it has not). In a plain topic also Unconfirmed.
        """
        desk, body = self._desk, self._desk.codec.encode(value)
        if desk.options.is_plain:
            if id is not None:
                desk.require_history(f"id={id!r:.80}")
            desk.say(body)
            desk.counters.published += 1
            return TopicPublished()
        published = desk.publish(body, None if id is None else _written(id))
        desk.counters.published += 1
        desk.counters.duplicates += published.duplicate
        return published

    def subscribe(
        self, after: str | None = None, *, queue: int = 1000, on_full: OnFull | None = None
    ) -> Subscription[T]:
        """The messages behind the position `after`, in their order, as they come; None: from now on.

        A plain call: it begins when it is entered with `with`, or when the first message is asked for.
        `after`: the `position` of a message, a gap or the topic. Where messages are missing there is a Gap in
        their place. `queue`, `on_full`: how many messages may wait in this process, and what happens when one
        more comes; see Listening.

        Raises: ConfigurationError.
        """
        desk = self._desk
        listening = Listening.chosen(queue, on_full, plain=desk.options.is_plain)
        if after is not None:
            desk.require_history(f"after={after!r:.80}")
        at = None if after is None else rules.parse(after)
        subscription: Subscription[T] = Subscription(desk, at, listening)
        with MUTEX:
            self._subscriptions.add(subscription)
        return subscription

    def position(self) -> str:
        """The place behind the last message, for `subscribe(after=...)`.

        Whoever asks for it before he loads a state, and subscribes from there, misses nothing in between.
        Raises: ConfigurationError in a plain topic; Unavailable, Refused.
        """
        self._desk.require_history("position()")
        return (self._desk.position()).text

    def history(self, *, after: str | None = None, limit: int = 100) -> Sequence[TopicMessage[T] | Gap]:
        """What is kept, in its order: the first `limit` messages behind `after`, or the last ones.

        Gaps as in `subscribe`. Raises: ConfigurationError, also in a plain topic; Unavailable, Refused.
        """
        desk = self._desk
        desk.require_history("history()")
        whole_number("limit", limit, least=1)
        if after is None:
            page = desk.latest(min(limit, desk.options.history))
            return [desk.message(Item(body, at)) for at, body in reversed(page.messages)]
        at = rules.parse(after)
        found = rules.resume(at, desk.look(at, limit), desk.options.history)
        gap, told = rules.gap_before(found), []
        if gap is not None:
            told.append(gap)
        return [*told, *(desk.message(Item(body, at)) for at, body in found.messages)]

    def subscribers(self) -> int:
        """How many connections listen: each client has one, however many subscriptions it has.

        Raises: Unavailable, Refused.
        """
        return self._desk.audience()

    def stats(self) -> TopicStats:
        """What this process has done."""
        return self._desk.counters.snapshot()

    def _aclose(self, drain: float = 10.0) -> None:  # noqa: ARG002 (there is nothing to drain)
        """End every subscription: their loops end."""
        with MUTEX:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def _written(id: str) -> str:
    """`id` as a part of a key. Raises: ConfigurationError."""
    text = escape_name(id) if isinstance(id, str) and id and id.isprintable() else ""
    if not 0 < len(text.encode()) <= LONGEST_ID:
        raise ConfigurationError(f"id={id!r:.80} must be printable text of at most {LONGEST_ID} bytes")
    return text
