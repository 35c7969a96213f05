# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncDesk: the scripts of one log of events. No decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast._coord._safety_async import require_keeping
from holdfast._coord.owner import token
from holdfast._signals import Signal
from holdfast._wire._async import AsyncWire
from holdfast._wire.reply import text
from holdfast.errors import ConfigurationError
from holdfast.events import record, rules
from holdfast.events.effects import Write
from holdfast.events.layout import Layout, Partition
from holdfast.events.options import LONGEST_ERROR, EventsOptions, StoredEvent
from holdfast.events.record import Page, Ref


class Turn(NamedTuple):
    """Where a projection stands. `at`: the position up to which it has seen all. `live`: that above which it
    is no replay, -1 if all is. `goal`: up to which it may go, -1 for no limit. `last`: of the log.
    """

    at: int
    live: int
    goal: int
    last: int


class AsyncDesk:
    """See the file's docstring."""

    def __init__(self, wire: AsyncWire, name: str, options: EventsOptions) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.layout = Layout(wire.keys, name, options.partitions)
        self.kinds = options.kinds()
        self.states = options.states()
        self._kept = self._agreed = False

    def notify(self, signal: Signal) -> None:
        """Tell whoever wants to know."""
        self.wire.observer.notify(signal)

    # --- the server's settings ------------------------------------------------------------------------------

    async def agree(self) -> None:
        """Make sure, once, that everybody counts the same partitions.

        Raises: ConfigurationError if not; Unavailable, Refused.
        """
        if not self._agreed:
            meta, wanted = self.layout.meta, self.options.partitions
            commands: list[Any] = [("HSETNX", meta, "partitions", wanted), ("HGET", meta, "partitions")]
            _, found = await self.wire.execute_many(commands, retry="safe")
            rules.check_count(self.name, wanted, found)
            self._agreed = True

    async def check(self) -> None:
        """As `agree`, and that no server of this log throws away what it alone has.

        Raises: as `agree`; UnsafeServer.
        """
        if not self._kept:
            await self.agree()
            keys = [part.log for part in self.layout.parts]
            what, consequence = f"events {self.name!r}", rules.no_aof(self.name)
            await require_keeping(self.wire, keys, what, consequence, accept_loss=self.options.accept_loss)
            self._kept = True

    # --- streams --------------------------------------------------------------------------------------------

    async def append(
        self, part: Partition, batches: Sequence[tuple[str, Any, Sequence[Any]]], id: str | None
    ) -> Any:
        """What append.lua answers; `batches`: stream, expected version and encoded events of each.

        Raises: Unavailable (it may have happened), NotDurable (it has), OutOfMemory, Refused, Closed.
        """
        asked = token()
        exact = len(batches) == 1 and isinstance(batches[0][1], int)
        keep = 0 if exact or id is not None else rules.MEMO_MS
        keys = [part.meta, part.log, part.versions, part.memo(asked)]
        for stream, _, _ in batches:
            keys += (part.events(stream), part.batches(stream))
        args = (asked if id is None else id, int(id is not None), keep, *record.streams(batches))
        return await self.wire.run(rules.APPEND, keys, args, durability=self.options.durability)

    async def version(self, part: Partition, stream: str) -> int:
        """The version of `stream`, 0 if there is none. Raises: Unavailable, Refused."""
        return int(await self.wire.execute("HGET", part.versions, stream, retry="safe") or 0)

    async def read(
        self, part: Partition, stream: str, start: str, end: str, limit: int, *, backward: bool
    ) -> tuple[int, Any]:
        """Its version, and raw entries from `start` to `end`. Raises: Unavailable, Refused."""
        keys = (part.versions, part.events(stream))
        args = (stream, "XREVRANGE" if backward else "XRANGE", start, end, limit)
        version, found = await self.wire.run(rules.READ, keys, args)
        return version, found

    async def load(self, part: Partition, stream: str, *, snapshot: bool) -> tuple[int, Any, Any]:
        """Its version, its raw snapshot or None, and raw entries. Raises: Unavailable, Refused."""
        keys = (part.versions, part.events(stream), part.snapshot(stream))
        highest = self.states.version if snapshot else 0
        lowest = min(self.options.state_upcast or (), default=self.states.version)
        version, found, events = await self.wire.run(rules.LOAD, keys, (stream, lowest, highest, rules.SIZE))
        return version, found or None, events

    async def snapshot(self, part: Partition, stream: str, version: int, data: bytes) -> tuple[bool, int]:
        """Keep it; (False, the version that the stream has) if it has no such version.

        Raises: Unavailable, OutOfMemory, Refused.
        """
        keys, args = (part.versions, part.snapshot(stream)), (stream, version, self.states.version, data)
        kept, found = await self.wire.run(rules.SNAPSHOT, keys, args)
        return bool(kept), found

    async def archive(self, part: Partition, stream: str) -> tuple[int, Any]:
        """What archive.lua answers. Raises: Unavailable, NotDurable, Refused."""
        keys = (part.events(stream), part.snapshot(stream), part.progress)
        durability = self.options.durability
        code, told = await self.wire.run(rules.ARCHIVE, keys, (self.states.version,), durability=durability)
        return code, told

    # --- the log --------------------------------------------------------------------------------------------

    async def page(self, part: Partition, after: int, limit: int, to: int = -1) -> Page:
        """What comes after `after`; with `to`, up to there. Raises: PositionTrimmed, Unavailable, Refused."""
        keys = (part.meta, part.log, part.streams)
        args = (after, "+" if to < 0 else f"{to}-0", limit)
        reply = await self.wire.run(rules.PAGE, keys, args)
        return record.page(reply, after, self.called(part), limited=0 <= to <= after)

    async def last(self, part: Partition) -> int:
        """The position of the newest event, 0 if there is none. Raises: Unavailable, Refused."""
        return int(await self.wire.execute("HGET", part.meta, "last", retry="safe") or 0)

    def event(self, part: Partition, ref: Ref) -> StoredEvent[Any]:
        """The event at an entry of the log. Raises: PositionTrimmed if it was archived; CodecError."""
        if ref.fields is None:
            raise record.archived(ref, self.called(part))
        return record.stored(self.kinds, ref.stream, part.number, ref.version, ref.fields)

    def called(self, part: Partition) -> str:
        """`part` in messages."""
        only = len(self.layout.parts) == 1
        return f"events {self.name!r}" if only else f"events {self.name!r}, partition {part.number}"

    def part(self, number: int | None) -> Partition:
        """The partition `number`; None stands for the only one. Raises: ConfigurationError."""
        parts = self.layout.parts
        if number is None and len(parts) == 1:
            return parts[0]
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(parts):
            raise ConfigurationError(
                f"partition={number!r} must be one of 0 to {len(parts) - 1}: each has an order of its own"
            )
        return parts[number]

    # --- projections ----------------------------------------------------------------------------------------

    async def turn(
        self, part: Partition, name: str, version: int, holder: str, lease: int, close: int
    ) -> Turn | tuple[int, int]:
        """Where the projection stands, which is `holder`'s to run now; (0, ms) if it is not for so long, (2,
        version) if that one has replaced it.

        Raises: Unavailable, Refused.
        """
        keys = (part.meta, part.log, part.progress, part.active, part.lease(f"{name}:"))
        code, *told = await self.wire.run(rules.TURN, keys, (name, version, holder, lease, close))
        return Turn(*told) if code == rules.DONE else (code, told[0])

    async def commit(
        self,
        part: Partition,
        who: tuple[str, int, str, int],
        reached: tuple[int, int],
        writes: Sequence[Write],
    ) -> tuple[int, str, str]:
        """What commit.lua answers; `who`: projection, version, holder and lease.

        Raises: Unavailable, NotDurable, OutOfMemory, Refused.
        """
        name, version, _, _ = who
        keys = [part.progress, part.active, part.lease(f"{name}:{version}")]
        numbers: dict[str, int] = {}
        args: list[Any] = [*who, *reached]
        for command, key, given in writes:
            if key not in numbers:
                keys.append(key)
                numbers[key] = len(keys)
            args += (command, numbers[key], len(given), *given)
        durability = self.options.durability
        code, key, why = await self.wire.run(rules.COMMIT, keys, args, durability=durability)
        return code, text(key), text(why)

    async def release(self, part: Partition, own: str, holder: str, error: str) -> None:
        """Let somebody else run it. Raises: Unavailable, Refused."""
        keys, args = (part.lease(own), part.progress, part.log), (holder, own, error[:LONGEST_ERROR])
        await self.wire.run(rules.RELEASE, keys, args)
