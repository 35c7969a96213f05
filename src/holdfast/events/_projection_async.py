# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncProjection: something that is made of all events, and kept up to date."""

from __future__ import annotations

import re
from typing import Any

from holdfast._compat import ASignal, monotonic
from holdfast._coord.flavour import AsyncFlavour
from holdfast._wire.transport import Arg, Reply
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError
from holdfast.events import record, rules
from holdfast.events._desk_async import AsyncDesk
from holdfast.events._projector_async import AsyncProjector
from holdfast.events.flavour import AsyncHandler
from holdfast.events.layout import Partition, written
from holdfast.events.options import (
    Appended,
    Parked,
    ProjectionBehind,
    ProjectionOptions,
    ProjectionStatus,
    StoredEvent,
)

LONGEST = 1_000_000.0  # seconds; what "for ever" is to a timer
PAGE = 1_000

_GLOB = re.compile(r"[*?\[\]\\]")


class AsyncProjection:
    """A projection and its handler, made by `log.projection`.

    `hf.run()` runs it, in every process that wants to: one of them at a time is at work in each partition,
    and another one takes over when that dies. Or `start()` it, and `close()` it.
    """

    group: str | None = None  # for `hf.run`: it belongs to no consumer group

    def __init__(self, desk: AsyncDesk, name: str, handler: AsyncHandler, options: ProjectionOptions) -> None:
        """Raises: ConfigurationError, also for a handler of the other flavour."""
        self._escaped = written(name, "projection")
        AsyncFlavour.check(handler, f"projection {name!r}: handler")
        rules.takes(handler)
        self.name = name
        self.version = options.version
        self.options = options
        self.handler = handler
        self._desk = desk
        self._projector: AsyncProjector | None = None

    # --- running --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run it in the background, unless it runs already."""
        if not self.alive:
            self._projector = AsyncProjector(self._desk, self.name, self.handler, self.options)

    async def close(self, drain: Duration = "10s") -> None:
        """End that, and wait for the handler `drain` at most. May be repeated."""
        if self._projector is not None:
            await self._projector.close(seconds(drain, "drain", zero=True))

    @property
    def alive(self) -> bool:
        """Does it run in this process?"""
        return self._projector is not None and self._projector.alive

    @property
    def failure(self) -> Exception | None:
        """Why it gave up, if it did: ProjectionFailed, PositionTrimmed, ..."""
        return None if self._projector is None else self._projector.failure

    async def is_idle(self) -> bool:
        """Has this version seen all there is, wherever it runs, and is it the one that is read? True for one
        that was replaced.

        Raises: Unavailable, Refused.
        """
        mine = [one for one in await self.status() if one.version == self.version]
        begun = len(mine) == len(self._desk.layout.parts)  # a partition without a word was never looked at
        return begun and all(one.replaced or (one.active and not one.behind) for one in mine)

    # --- reading --------------------------------------------------------------------------------------------

    def key(self, name: str, *, partition: int | None = None, version: int | None = None) -> str:
        """The key on the server that `fx.key(name)` is, in this or another version. Raises:
        ConfigurationError.
        """
        models = self._desk.part(partition).models(self._escaped)
        return f"{models}{self.version if version is None else version}:{written(name, 'key')}"

    async def query(self, command: str, name: str, *args: Arg, partition: int | None = None) -> Reply:
        """The raw reply to a command that reads `fx.key(name)` of the version that is active, whichever that
        is: `query("HGET", "totals", "monday")`. None while there is none.

        Raises: Unavailable, Refused (also for a command that writes), ConfigurationError.
        """
        part = self._desk.part(partition)
        keys = (part.active, part.models(self._escaped))
        return await self._desk.wire.run(
            rules.QUERY, keys, (self._escaped, written(name, "key"), command, *args)
        )

    async def wait(
        self,
        position: int | Appended | StoredEvent[Any],
        *,
        partition: int | None = None,
        wait: Duration | None = "30s",
    ) -> None:
        """Wait until the active version has seen the event at `position`: whoever queries then finds its own
        write. What `append` returned is a position as well.

        Raises: ProjectionBehind (a TimeoutError) after `wait` (None: for ever); Unavailable, Refused,
        ConfigurationError.
        """
        wanted, number = rules.position_of(position, partition)
        part = self._desk.part(number)
        patience = optional_seconds(wait, "wait", zero=True)
        give_up = monotonic() + (LONGEST if patience is None else patience)
        signal = ASignal()
        with self._desk.wire.hub.watch(part.progress, signal):
            while True:
                signal.clear()
                found = await self._statuses(part)
                reached = max((one.position for one in found if one.active), default=0)
                if reached >= wanted:
                    return
                left = give_up - monotonic()
                if left <= 0:
                    raise ProjectionBehind(
                        f"projection {self.name!r} is at {reached} of {self._desk.called(part)}, not at "
                        f"{wanted}; is it run anywhere?",
                        position=wanted,
                        reached=reached,
                    )
                await signal.wait(min(left, rules.SAFETY_POLL))

    async def status(self) -> list[ProjectionStatus]:
        """How each version of it stands in each partition. Raises: Unavailable, Refused."""
        await self._desk.agree()
        found = []
        for part in self._desk.layout.parts:
            found += await self._statuses(part)
        return found

    async def _statuses(self, part: Partition) -> list[ProjectionStatus]:
        commands: list[Any] = [
            ("HGETALL", part.progress),
            ("HMGET", part.active, self._escaped, f"off:{self._escaped}"),
            ("HMGET", part.meta, "born", "last"),
        ]
        replies = await self._desk.wire.execute_many(commands, retry="safe")
        return record.statuses(self.name, self._escaped, part.number, *replies)

    async def parked(self) -> list[Parked]:
        """The events that this version has put aside. Raises: Unavailable, Refused."""
        found: list[Parked] = []
        for part in self._desk.layout.parts:
            key = f"{part.models(self._escaped)}{self.version}:{rules.PARKED}"
            reply = await self._desk.wire.execute("HGETALL", key, retry="safe")
            found += record.parked(part.number, reply)
        return found

    # --- versions -------------------------------------------------------------------------------------------

    async def activate(self, version: int) -> None:
        """Make `version` the one that is read, whatever it has seen: the way back when a newer one is wrong.

        Newer ones are not built further until one of them is activated. Raises: ConfigurationError if there
        is no such version; Unavailable, NotDurable, Refused.
        """
        for part in self._desk.layout.parts:
            keys, args = (part.progress, part.active), (self._escaped, version)
            durability = self._desk.options.durability
            if not await self._desk.wire.run(rules.ACTIVATE, keys, args, durability=durability):
                raise ConfigurationError(f"projection {self.name!r} has no version {version}; see status()")

    async def drop(self, version: int) -> int:
        """Delete all that `version` has written, once nobody runs it any more; how many keys that were.

        O(keys of the server). Raises: ConfigurationError for the active one; Unavailable, Refused.
        """
        if any(one.active and one.version == version for one in await self.status()):
            raise ConfigurationError(f"version {version} of projection {self.name!r} is the active one")
        dropped = 0
        for part in self._desk.layout.parts:
            own = f"{self._escaped}:{version}"
            dropped += await self._delete_all(f"{part.models(self._escaped)}{version}:")
            fields = [f"{what}:{own}" for what in ("at", "by", "error")]
            commands: list[Any] = [
                ("HDEL", part.progress, *fields),
                ("HDEL", part.active, f"live:{own}"),
                ("DEL", part.lease(own)),
            ]
            await self._desk.wire.execute_many(commands, retry="safe")
        return dropped

    async def _delete_all(self, prefix: str) -> int:
        pattern = _GLOB.sub(lambda found: f"\\{found[0]}", prefix) + "*"
        cursor, count = b"0", 0
        while True:
            question = ("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE)
            cursor, keys = await self._desk.wire.execute(*question, retry="safe")
            if keys:
                count += await self._desk.wire.execute("UNLINK", *keys, retry="safe")
            if int(cursor) == 0:
                return count

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, version={self.version})"
