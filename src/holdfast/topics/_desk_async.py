# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncDesk: the scripts of one topic, and what is said about it. No decisions."""

from __future__ import annotations

from typing import Any

from holdfast._coord.owner import token
from holdfast._coord.requests import Requests
from holdfast._signals import ServerWarning
from holdfast._values.codecs import Codec, codec_for
from holdfast._wire._async import AsyncWire
from holdfast._wire.reply import text
from holdfast.durations import seconds
from holdfast.errors import CodecError, ConfigurationError, Unconfirmed
from holdfast.topics import rules
from holdfast.topics.inbox import Item
from holdfast.topics.options import Counters, Gap, TopicMessage, TopicOptions, TopicPublished
from holdfast.topics.rules import START, Page, Position


class AsyncDesk:
    """See the file's docstring."""

    def __init__(self, wire: AsyncWire, name: str, options: TopicOptions) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.codec: Codec[Any] = codec_for(options.type, options.codec)
        self.counters = Counters()
        self.channel = wire.keys.tagged("topic", name)
        self._keys = (self.channel, wire.keys.tagged("topic", name, ":state"))
        ages = (options.max_age, options.keep, options.dedup)
        self._max_age, self._keep, self._dedup = (
            0 if age is None else max(1, round(seconds(age) * 1000)) for age in ages
        )
        self._requests = Requests()
        self._is_safe = self._warned = False

    # --- saying ---------------------------------------------------------------------------------------------

    async def say(self, body: bytes) -> None:
        """Publish it in a plain topic. Raises: Unavailable, Unconfirmed, Refused, Closed."""
        await self.wire.execute("SPUBLISH", self.channel, body, retry="never")

    async def publish(self, body: bytes, id: str | None) -> TopicPublished:
        """Publish and keep it.

        Raises: UnsafeServer, Unavailable, Unconfirmed, NotDurable, Refused, Closed.
        """
        await self._check()
        options = self.options
        memo, number, remember = self._request() if id is None else (f":id:{id}", 0, self._dedup)
        keys = (*self._keys, self.wire.keys.tagged("topic", self.name, memo))
        args = (body, token()[:12], number, remember, options.history, self._max_age, self._keep)
        reply = await self.wire.run(rules.PUBLISH, keys, args, durability=options.durability)
        if not reply:
            raise Unconfirmed(f"topic {self.name!r}: the request came so late that it may have been executed")
        epoch, ms, offset, duplicate = reply
        at = Position(text(epoch), ms, offset)
        return TopicPublished(at.offset, at.epoch, at.text, bool(duplicate))

    def _request(self) -> tuple[str, int, int]:
        """Memo, number and memory (ms) of a request without an id."""
        publisher = self._requests.requester()
        return f":req:{publisher.name}", publisher.number(), rules.REMEMBER_MS

    async def _check(self) -> None:
        """Once: make sure that the server does not throw the history away. Raises: UnsafeServer."""
        if not self._is_safe:
            facts = await self.wire.facts()
            facts.require_keeping(f"topic {self.name!r}", accept_loss=self.options.accept_loss)
            self._is_safe = True

    # --- looking --------------------------------------------------------------------------------------------

    async def look(self, at: Position, limit: int, timeout: float | None = None) -> Page:
        """At most `limit` messages behind `at`. Raises: Unavailable, Refused, Closed."""
        args = (at.epoch, at.ms, at.offset, limit)
        return rules.page(await self.wire.run(rules.LOOK, self._keys, args, timeout))

    async def latest(self, limit: int) -> Page:
        """The last `limit` messages, the latest first. Raises: Unavailable, Refused, Closed."""
        return rules.page(await self.wire.run(rules.LATEST, self._keys, (limit,)))

    async def position(self) -> Position:
        """The place behind the last message. Raises: Unavailable, Refused, Closed."""
        return (await self.look(START, 0)).last or START

    async def audience(self) -> int:
        """Connections that listen. Raises: Unavailable, Refused, Closed."""
        return int(await self.wire.run(rules.AUDIENCE, (self.channel,)))

    # --- what is handed out ---------------------------------------------------------------------------------

    def message(self, item: Item) -> TopicMessage[Any] | Gap:
        """What `item` says; a gap if it says nothing to us."""
        at = item.at
        try:
            value = self.codec.decode(item.body)
        except CodecError:
            self.counters.unreadable += 1
            return Gap("unreadable", 1, at.text if at else "")
        if at is None:
            return TopicMessage(value)
        return TopicMessage(value, at.offset, at.epoch, at.text)

    def told(self, gap: Gap) -> Gap:
        """A subscriber is told of it."""
        self.counters.gaps += 1
        missed = -1 if gap.missed is None else gap.missed
        self.wire.observer.notify(rules.TopicGap(topic=self.name, reason=gap.reason, missed=missed))
        return gap

    def warn(self) -> None:
        """Once: nothing is pushed."""
        if not self._warned:
            self._warned = True
            consequence = (
                f"this user may not subscribe to {self.channel}: subscribers of topic {self.name!r} read its "
                f"history about once a second instead of being told (ACL SETUSER ... &{self.channel})"
            )
            warning = ServerWarning(server=self.wire.name, setting="ACL", consequence=consequence)
            self.wire.observer.notify(warning)

    def require_history(self, what: str) -> None:
        """Raises: ConfigurationError in a plain topic."""
        if self.options.is_plain:
            raise ConfigurationError(
                f"topic {self.name!r} keeps nothing (history=0), so {what} is not possible; give it a history"
            )
