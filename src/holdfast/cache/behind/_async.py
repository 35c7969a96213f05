# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncWriteBehind: what a cache with `write=Behind(...)` asks of its journal. What it promises stands in
rules.py.

behind.entry(tag)                           the entry's key, also for reads
await behind.put(key, tag, envelope, lives)
value = await behind.pending(tag)           under the lease of a fill, before the source is asked
behind.start()                              when the client connects, and at every use
await behind.close(drain)                   before the wire is stopped
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from holdfast._compat import ASignal, monotonic
from holdfast._wire._async import AsyncWire
from holdfast._wire.mutex import MUTEX
from holdfast.cache.behind import journal, rules
from holdfast.cache.behind._crew_async import AsyncCrew
from holdfast.cache.behind._dead_async import AsyncDeadLetters
from holdfast.cache.behind._desk_async import AsyncDesk
from holdfast.cache.behind.flavour import AsyncBackground
from holdfast.cache.behind.journal import Partition
from holdfast.cache.behind.options import Backlog, Behind, NotFlushed
from holdfast.cache.behind.rules import FULL, NOTHING, TAKEN
from holdfast.cache.entry import MISSING
from holdfast.cache.flight import refresh_after_fork
from holdfast.errors import Closed, Overloaded, Unavailable

GRACE = 1.0  # seconds beyond `drain` that close() waits for writers in the middle of something


class AsyncWriteBehind:
    """See the file's docstring. `tag` is always `keys.text(key)`; times are seconds unless they say `_ms`.

    `source`: has save_many, delete_many and load_many. `read(envelope)`: its value, or CodecError; if it
    takes two arguments, the second is the key of the entry. `wait`: how long a put waits for room, and a
    flush for its end; None: for ever. `timeout`: deadline of one call to the server.
    """

    def __init__(
        self,
        wire: AsyncWire,
        name: str,
        options: Behind,
        source: Any,
        read: Callable[..., Any],
        *,
        wait: float | None = 30.0,
        timeout: float | None = None,
    ) -> None:
        self._wire = wire
        self._options = options
        self._wait = float("inf") if wait is None else wait
        self._timeout = wire.timeout if timeout is None else timeout
        self._desk = AsyncDesk(wire, name, options, source, read)
        self._layout = self._desk.layout
        self._ahead: float | None = (
            None  # the server's clock minus ours in ms, rather too small than too large
        )
        self._crew: AsyncCrew | None = None
        self._closed = False
        refresh_after_fork(self)

    def after_fork(self) -> None:
        """The child of a fork has none of the writers; its next use starts its own."""
        self._crew = None

    def entry(self, tag: str) -> str:
        """The key of the entry with `tag`; its lease is the same with `:f` behind it."""
        return self._layout.of(tag).entry(tag)

    # --- writing --------------------------------------------------------------------------------------------

    async def put(self, key: Any, tag: str, envelope: bytes, lives_ms: int) -> None:
        """Journal a put and show it to readers. `envelope` is what they find, its stamp in bytes 8 to 16; it
        has no end until it is applied, then `lives_ms`; 0: it is not stored, and readers are told by
        `pending`.

        Raises: Overloaded if the backlog is full and stays so for `wait`; Unavailable, NotDurable: it may
        have been taken; OutOfMemory, UnsafeServer, ConfigurationError, Closed: it was not.
        """
        await self._journal(journal.PUT, key, tag, envelope, lives_ms)

    async def remove(self, key: Any, tag: str, envelope: bytes, lives_ms: int) -> None:
        """Journal a removal; `envelope` says that there is nothing. Raises: as `put`."""
        await self._journal(journal.REMOVE, key, tag, envelope, lives_ms)

    async def _journal(self, op: bytes, key: Any, tag: str, envelope: bytes, lives_ms: int) -> None:
        if self._closed:
            raise Closed(f"cache {self._desk.name!r} was closed; make a new client")
        part = self._layout.of(tag)
        ttl, length, written = journal.arguments(key, lives_ms)
        await self._desk.check()
        self.start()
        args = (os.urandom(12), tag, op, ttl, length, written, envelope, self._options.share)
        if not await self._ask(part, args):
            await self._wait_for_room(part, args)

    async def _ask(self, part: Partition, args: Sequence[Any]) -> bool:
        """Have put.lua journal it; False if there is no room. Raises: as `put`."""
        tag = args[1]
        entry = part.entry(tag)
        keys = (part.pending, part.order, part.state, part.ids, part.tries, part.dead, entry, f"{entry}:f")
        give_up = monotonic() + self._timeout
        while True:
            times = (self._until(), rules.KEEP_MS)
            answer, now = await self._wire.run(
                rules.PUT, keys, (*args, *times), self._timeout, self._options.durability
            )
            self._ahead = now - monotonic() * 1000
            if answer in (TAKEN, FULL):
                return bool(answer == TAKEN)
            if monotonic() >= give_up:  # otherwise the server's clock was set, and we know better now
                raise Unavailable(
                    f"cache {self._desk.name!r}: the put of {tag!r} came too late; nothing was kept"
                )

    async def _wait_for_room(self, part: Partition, args: Sequence[Any]) -> None:
        signal = ASignal()
        deadline = monotonic() + self._wait
        with self._wire.hub.watch(part.order, signal):
            while (left := deadline - monotonic()) > 0:
                await signal.wait(min(left, rules.ROOM_POLL))
                signal.clear()
                if self._closed:
                    raise Closed(f"cache {self._desk.name!r} was closed; make a new client")
                if await self._ask(part, args):
                    return
        raise Overloaded(
            f"cache {self._desk.name!r}: {self._options.share} records wait in partition {part.number} "
            f"(max_backlog={self._options.max_backlog}), and the source took none for "
            f"{self._wait:g} s",
            retry_after=rules.FULL_RETRY,
        )

    def _until(self) -> int:
        """Server ms after which nobody waits for an answer; 0 if unknown."""
        if self._ahead is None:
            return 0
        durability = self._options.durability
        patience = self._timeout + (durability.patience if durability else 0.0)
        # Twice, because the reply from which we learned the time may have taken as long itself.
        return int(monotonic() * 1000 + self._ahead + 2000 * patience)

    # --- reading --------------------------------------------------------------------------------------------

    async def pending(self, tag: str) -> Any:
        """What waits for the source under `tag`: a value, MISSING for a removal, or NOTHING.

        Raises: CodecError if it cannot be read; Unavailable, Refused, ConfigurationError.
        """
        return (await self.pending_many([tag]))[tag]

    async def pending_many(self, tags: Iterable[str]) -> dict[str, Any]:
        """As `pending`, for several, in one round trip."""
        self.start()
        await self._desk.agree()
        wanted = list(tags)
        questions = [("HGET", self._layout.of(tag).pending, tag) for tag in wanted]
        replies = (
            await self._wire.execute_many(questions, timeout=self._timeout, retry="safe") if wanted else []
        )
        return {tag: self._waits(tag, raw) for tag, raw in zip(wanted, replies, strict=True)}

    def _waits(self, tag: str, raw: bytes | None) -> Any:
        if raw is None:
            return NOTHING
        one = journal.record(tag.encode(), raw)
        return MISSING if one.removed else self._desk.read(one.envelope, self.entry(tag))

    # --- the backlog ----------------------------------------------------------------------------------------

    async def backlog(self) -> Backlog:
        """What the source has not got yet. Raises: Unavailable, Refused."""
        await self._desk.agree()
        parts = self._layout.partitions
        questions: list[tuple[Any, ...]] = [("ZCARD", part.order) for part in parts]
        questions += [("HLEN", part.dead) for part in parts]
        questions += [("ZRANGE", part.order, 0, 0, "WITHSCORES") for part in parts]
        replies = await self._wire.execute_many([*questions, ("TIME",)], timeout=self._timeout, retry="safe")
        *told, (whole, micros) = replies
        count = len(parts)
        first = min(
            (score for one in told[2 * count :] if (score := rules.oldest(one)) is not None), default=None
        )
        age = 0.0 if first is None else max(0.0, int(whole) + int(micros) / 1e6 - first / 1e6)
        return Backlog(sum(told[:count]), age, sum(told[count : 2 * count]))

    async def flush(self, wait: float | None = None) -> None:
        """Return when the source has what was put before this call, or something newer, or refuses it for
        good.

        `wait`: how long at most (None: the cache's). Raises: NotFlushed with `.left`, Unavailable, Refused.
        """
        await self._desk.agree()
        self.start()
        limit = self._wait if wait is None else wait
        deadline = monotonic() + limit
        marks: dict[Partition, bytes] = {}
        for part in self._layout.partitions:
            keys = (part.pending, part.order, part.state)
            if last := await self._wire.run(rules.HASTEN, keys, (), self._timeout):
                marks[part] = last
        if marks and (left := await self._until_applied(marks, deadline)):
            raise NotFlushed(
                f"cache {self._desk.name!r}: {left} keys are not applied after {limit:g} s; the journal "
                f"keeps them",
                retry_after=rules.FULL_RETRY,
                left=left,
            )

    async def _until_applied(self, marks: dict[Partition, bytes], deadline: float) -> int:
        """Wait until nothing up to `marks` waits any more; how many keys do at the deadline."""
        signal = ASignal()
        questions = [("ZCOUNT", part.order, "-inf", last) for part, last in marks.items()]
        watches = [self._wire.hub.watch(part.order, signal) for part in marks]
        try:
            while True:
                signal.clear()
                left: int = sum(await self._wire.execute_many(questions, timeout=self._timeout, retry="safe"))
                patience = deadline - monotonic()
                if not left or patience <= 0:
                    return left
                self.start()  # its event loop may have ended meanwhile
                await signal.wait(min(patience, rules.ROOM_POLL))
        finally:
            for watch in watches:
                watch.close()

    def dead_letters(self) -> AsyncDeadLetters:
        """What the source would not take."""
        return AsyncDeadLetters(self._desk)

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have writers in the background, from now on; where there is no event loop yet, the next use does
        it.
        """
        crew = self._crew
        if (crew is not None and crew.alive) or self._closed or not AsyncBackground.possible():
            return
        with MUTEX:
            crew = self._crew
            if self._closed or (crew is not None and crew.alive):
                return
            if crew is not None:
                crew.close_by(0.0)  # should its event loop ever go on
            self._crew = crew = AsyncCrew(self._desk)
        # The crew does not hold us, so a client that was forgotten instead of closed ends its writers.
        weakref.finalize(self, crew.close_by, 0.0).atexit = False

    async def close(self, drain: float = 10.0) -> None:
        """Take no more puts, apply what can be applied within `drain`, and give the partitions back.

        What is left stays in the journal, for others. May be repeated.
        """
        self._closed = True
        crew = self._crew
        if crew is None or not crew.alive:
            return
        signal = ASignal()
        crew.when_over(signal)
        crew.close_by(monotonic() + drain)
        if not await signal.wait(drain + GRACE):
            crew.cancel()
