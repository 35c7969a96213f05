# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncDeadLetters: what a group could not handle: to be looked at, handled again, or thrown away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from holdfast._wire.transport import Arg
from holdfast.errors import ConfigurationError
from holdfast.streams import books, record, rules
from holdfast.streams._books_async import agree, check_group, value_of
from holdfast.streams._desk_async import AsyncDesk
from holdfast.streams.layout import Partition
from holdfast.streams.options import DeadMessage

Where = Callable[[DeadMessage], bool]
Letters = list[DeadMessage]  # a class with a method `list` cannot say so itself


class AsyncDeadLetters:
    """The dead letters of a group; made by `stream.dead_letters(group)`."""

    def __init__(self, desk: AsyncDesk, group: str) -> None:
        """Raises: ConfigurationError."""
        self.group = check_group(group)
        self._desk = desk

    async def count(self) -> int:
        """How many there are. Raises: Unavailable, Refused, Closed."""
        await agree(self._desk)
        execute = self._desk.wire.execute
        return sum([int(await execute("XLEN", self._key(part))) for part in self._desk.layout.parts])

    async def list(self, limit: int = 100, where: Where | None = None) -> Letters:
        """The oldest of them, at most `limit`; `where`: those for which it says True.

        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigurationError(f"limit={limit!r} must be a whole number from 1 on")
        await agree(self._desk)
        found: Letters = []
        for part in self._desk.layout.parts:
            here = 0
            async for page in self._pages(part, where):
                found += page
                here += len(page)
                if here >= limit:
                    break
        found.sort(key=lambda one: one.died_at)
        return found[:limit]

    async def replay(self, *ids: str | DeadMessage, where: Where | None = None) -> int:
        """Have its group handle them again: those with these `ids`, those that `where` says True to, or all.

        Each goes back into the stream, behind what is there, as a new message that other groups skip; its
        deliveries are counted anew, its header "replayed-from" is the id that it had at first. Those that die
        meanwhile are left for the next time. Returns how many there were.

        Raises: ConfigurationError; Unavailable (some may have been replayed: do it again), OutOfMemory,
        Refused, Closed.
        """
        return await self._take("replay", ids, where)

    async def purge(self, *ids: str | DeadMessage, where: Where | None = None) -> int:
        """Throw them away: those with these `ids`, those that `where` says True to, or all.

        Returns how many there were.
        Raises: ConfigurationError, Unavailable, Refused, Closed.
        """
        return await self._take("purge", ids, where)

    async def _take(self, what: str, ids: Sequence[str | DeadMessage], where: Where | None) -> int:
        if ids and where is not None:
            raise ConfigurationError(f"{what}() takes ids or where=, not both")
        await agree(self._desk)
        parts = self._desk.layout.parts
        count = 0
        if ids:
            wanted: dict[int, Any] = {}
            for one in ids:
                number, entry = books.letter_place(
                    one.id if isinstance(one, DeadMessage) else one, len(parts)
                )
                wanted.setdefault(number, []).append(entry)
            for number, entries in wanted.items():
                for at in range(0, len(entries), books.PAGE):
                    count += await self._ask(what, parts[number], entries[at : at + books.PAGE])
            return count
        for part in parts:
            async for page in self._pages(part, where):
                count += await self._ask(what, part, [one.id.partition(":")[2] for one in page])
        return count

    async def _ask(self, what: str, part: Partition, entries: Sequence[str]) -> int:
        """What dead.lua answers."""
        if not entries:
            return 0
        desk = self._desk
        requester = desk.requester()
        requests = part.requests(requester.name)
        keys = (part.stream, part.bell, self._key(part), requests)
        args: list[Arg] = [requester.number(requests), rules.REQUESTS_MS, self.group, what, *entries]
        return int(await desk.wire.run(books.DEAD, keys, args, durability=desk.options.durability))

    async def _pages(self, part: Partition, where: Where | None) -> AsyncIterator[Letters]:
        """Those of a partition that there are now, in order, by pages; in these, those that are wanted."""
        execute, key = self._desk.wire.execute, self._key(part)
        newest = await execute("XREVRANGE", key, "+", "-", "COUNT", 1, retry="safe")
        start, end = "-", newest[0][0] if newest else b"0"
        while True:
            rows = await execute("XRANGE", key, start, end, "COUNT", books.PAGE, retry="safe")
            page = [self._letter(part, id, flat) for id, flat in rows]
            yield page if where is None else [one for one in page if where(one)]
            if len(rows) < books.PAGE:
                return
            start = f"({rows[-1][0].decode()}"

    def _letter(self, part: Partition, id: bytes, flat: Sequence[Any]) -> DeadMessage:
        found = record.named(flat)
        value, unreadable = value_of(self._desk, found)
        error = record.text(found.get(b"~error")) or ""
        if unreadable and unreadable not in error:
            error = f"{error}; its value cannot be read: {unreadable}"
        return DeadMessage(
            id=books.letter_id(part.number, id),
            message_id=record.text(found.get(b"~id")) or "",
            value=value,
            error=error,
            deliveries=int(found.get(b"~deliveries", 0)),
            died_at=record.moment(int(found.get(b"~at", 0))),
            key=record.text(found.get(b"key")),
            headers=record.headers_of(found.get(b"headers")),
            partition=part.number,
        )

    def _key(self, part: Partition) -> str:
        return part.group(self.group).dead
