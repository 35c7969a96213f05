# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""How a cache reads what the server has: the questions, and what the answers are for a reader.

Entry and epoch leave together. Where it matters how much of an entry's life is left (it may be stale, is
loaded early, or is copied into the near cache) the server is asked for that as well: no clock is compared.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from zlib import crc32

from holdfast import _signals as signals
from holdfast._compat import monotonic
from holdfast._values import chunks
from holdfast._values.envelope import CHUNKED, Envelope
from holdfast._wire._async import AsyncWire
from holdfast.cache import rules
from holdfast.cache import tags as tagging
from holdfast.cache._reach_async import AsyncReach
from holdfast.cache._tags_async import AsyncTags
from holdfast.cache.entry import Entry, Missing
from holdfast.cache.lookup import Lookup
from holdfast.cache.near import Near
from holdfast.cache.options import CacheOptions
from holdfast.cache.rules import Draft, Kind, Verdict
from holdfast.cache.stats import Counters
from holdfast.durations import optional_seconds, seconds
from holdfast.errors import CodecError, Unavailable

TOGETHER = 8  # chunks asked for in one write: a big value lets the others through in between


class AsyncReader(AsyncReach):
    """See the file's docstring."""

    def __init__(self, wire: AsyncWire, name: str, options: CacheOptions, *, off: bool) -> None:
        super().__init__(wire.impatient(rules.RETRY_FOR), name, options, off=off)
        self.counts = Counters()
        self.ttl = seconds(options.ttl)
        self.negative_ttl = optional_seconds(options.negative_ttl, zero=True)
        self.stale = optional_seconds(options.stale, zero=True) or 0.0
        self.wait = rules.FOREVER if options.wait is None else seconds(options.wait, zero=True)
        self.prefix = wire.keys.prefix("cache", name)
        self.near = self._open_near()
        self.timed = bool(self.stale or options.early or options.warm or self.near)
        self.tags = AsyncTags(self.wire, name, self.near, tagging.life(self.ttl, self.stale))
        self._recent: dict[str, tuple[bytes, float]] = {}
        self._ahead: float | None = None  # server's clock minus ours in ms, rather too small than too large

    def _open_near(self) -> Near | None:
        l1 = self.options.l1
        if l1 is None or seconds(l1.max_staleness, zero=True) == 0:
            return None
        return Near(l1, self.prefix, self.channel, self.counts)

    def keep(self, entries: Sequence[str], tags: Sequence[str]) -> None:
        """As AsyncReach does, and no copy is worth keeping either. Raises: Closed."""
        if self.near is not None:
            for tag in tags:
                self.near.forget(tag)
        super().keep(entries, tags)

    async def clear(self) -> None:
        """As AsyncReach does; this process forgets its copies at once. Raises: Unavailable, Refused."""
        try:
            await super().clear()
        finally:
            if self.near is not None:
                self.near.forget_all()

    def draft(
        self, value: object, ttl: float | None, epoch: bytes, loaded_at: int, *, told: bool = False
    ) -> Draft | None:
        """An entry for `value`, given the `ttl` in seconds that was asked for; None: it is not stored.

        `told`: the load itself said it, so that it counts for None and absence as well.
        """
        if epoch == rules.OFF:
            return None
        wanted = self.ttl if ttl is None else ttl
        fresh = rules.store_for(
            value, wanted, None if told else self.negative_ttl, self.options.jitter, random.random()
        )
        grace = int(self.stale * 1000)
        return Draft(os.urandom(8), epoch, loaded_at, fresh, grace) if fresh else None

    def lookup(self, tag: str) -> tuple[str, str]:
        """The keys of the entry with `tag` and of its epoch."""
        return self.entry(tag), self.epochs[rules.shard(crc32(tag.encode()))]

    def entry(self, tag: str) -> str:
        """The key of the entry with `tag`."""
        return f"{self.prefix}{tag}}}"

    # --- asking ---------------------------------------------------------------------------------------------

    async def read(self, look: Lookup) -> bool:
        """Read entry, epoch and what else is asked for into `look`; False where the server cannot or must not
        be asked.
        """
        if not await self.usable(look.entry):
            return False
        try:
            await self._read(look)
        except Unavailable as error:
            self.failed(error)
            return False
        self.answered()
        return not self.is_off(look.epoch)

    async def _read(self, look: Lookup) -> None:
        names = look.tags
        if not (self.timed or names):
            look.raw, look.epoch = await self.wire.mget((look.entry, look.epoch_key), self.patience())
            return
        # The tags first: one that changes while this is under way must not look newer than the entry.
        commands = [("GET", self.tags.key(name)) for name in names]
        # MGET, not GET: what is of another type is nothing, and no error.
        commands += [("MGET", look.entry), ("GET", look.epoch_key), ("PTTL", look.entry)]
        replies = await self.wire.execute_many(commands, timeout=self.patience(), retry="safe")
        look.seen = dict(zip(names, replies, strict=False))
        (look.raw,), look.epoch, look.left = replies[len(names) :]

    async def timed_read(self, entry: str, epoch_key: str) -> tuple[bytes | None, bytes | None, int]:
        """Entry, epoch, and how many ms are left of the entry's life. Raises: Unavailable, Refused."""
        commands = (("MGET", entry), ("GET", epoch_key), ("PTTL", entry))
        (raw,), epoch, left = await self.wire.execute_many(commands, timeout=self.timeout, retry="safe")
        return raw, epoch, left

    async def judge(self, look: Lookup) -> Verdict:
        """What the entry in `look` is for this reader; most take no further question.

        Those that do: tags that nobody here knows, a life that nobody asked for, chunks, another schema.
        """
        try:
            verdict = await self._judge(look)
        except Unavailable as error:
            self.failed(error)
            return rules.NOTHING
        if verdict.reason:
            self.counts.undecodable[verdict.reason] += 1
            observer = self.wire.observer
            observer.notify(signals.Undecodable(cache=self.name, key=look.tag, reason=verdict.reason))
        return verdict

    async def _judge(self, look: Lookup) -> Verdict:
        look.name = look.entry
        entry = rules.unpacked(look.raw, look.epoch)
        if isinstance(entry, Verdict):
            return entry
        if entry.tags and not await self._is_current(look, entry):
            return rules.NOTHING
        if entry.grace and look.left is None:
            look.left = await self.wire.execute("PTTL", look.entry, timeout=self.timeout, retry="safe")
        if entry.flags & CHUNKED:
            try:
                entry = await self.gather(look.entry, entry)
            except CodecError as error:
                return Verdict(Kind.UNREADABLE, reason=error.reason)
        verdict = rules.judge(entry, look.shape, look.entry, look.left)
        if verdict.kind is Kind.OTHER and look.raw is not None:
            (variant,) = await self.wire.mget((look.entry + look.shape.variant,), self.timeout)
            found = await self._judge_variant(variant, look)
            if found.entry is not None and not await self._is_current(look, found.entry):
                found = rules.NOTHING
            if found.kind is Kind.HIT:
                look.name += look.shape.variant
                verdict = found._replace(kind=Kind.STALE) if rules.is_over(entry, look.left) else found
        if verdict.kind is Kind.STALE and not rules.may_serve(look.left, entry.grace, self.stale):
            return verdict._replace(kind=Kind.NOTHING)
        return verdict

    async def _judge_variant(self, raw: bytes | None, look: Lookup) -> Verdict:
        name, main = look.entry + look.shape.variant, look.raw or b""
        entry = rules.variant_of(raw, main)
        if entry is not None and entry.flags & CHUNKED:
            try:
                entry = await self.gather(name, entry)
            except CodecError:
                return rules.NOTHING
        return rules.NOTHING if entry is None else rules.judge_variant(entry, look.shape, name)

    async def _is_current(self, look: Lookup, entry: Envelope) -> bool:
        names = [name for name, _ in entry.tags]
        if "dirty" in self.unusual and any(self.is_dirty(self.tags.key(name)) for name in names):
            return False
        versions = self.tags.known(names, monotonic())
        if versions is None:
            versions = look.seen
            if any(name not in versions for name in names):
                versions = await self.tags.read(names, self.timeout)
        return rules.is_current(entry.tags, versions)

    async def gather(self, name: str, entry: Envelope) -> Envelope:
        """`entry`, under the key `name`, with its payload joined. Raises: CodecError, Unavailable."""
        found: list[bytes | None] = []
        parts = chunks.parts(entry.payload)
        for at in range(0, parts, TOGETHER):
            keys = [chunks.key(name, index) for index in range(at, min(parts, at + TOGETHER))]
            found += await self.wire.mget(keys, self.timeout)
        body = chunks.join(entry.payload, found, entry.stamp)
        return entry._replace(payload=body, flags=entry.flags & ~CHUNKED)

    async def peek(self, look: Lookup) -> Entry | Missing:
        """What is stored. Raises: Unavailable, Refused."""
        commands = [("GET", look.entry), ("GET", look.epoch_key), ("PTTL", look.entry), ("TIME",)]
        replies = await self.wire.execute_many(commands, timeout=self.patience(), retry="safe")
        look.raw, look.epoch, look.left, (whole, micros) = replies
        verdict = await self._judge(look)
        return rules.shown(verdict, look.left or 0, int(whole) * 1000 + int(micros) // 1000)

    # --- epochs and time ------------------------------------------------------------------------------------

    async def epoch_and_time(self, epoch_key: str) -> tuple[bytes, int]:
        """The epoch at `epoch_key`, made if need be, and the server's ms. Raises: Unavailable, Refused."""
        questions = [("GET", epoch_key), ("TIME",)]
        epoch, (whole, micros) = await self.wire.execute_many(
            questions, timeout=self.patience(), retry="safe"
        )
        self.answered()
        now = int(whole) * 1000 + int(micros) // 1000
        self.learn(now)
        return epoch or await self.make_epoch(epoch_key), now

    async def recent_epoch_and_time(self, epoch_key: str) -> tuple[bytes, int]:
        """As `epoch_and_time`, from memory if that is not a second old: for who can do with an outdated
        epoch.
        """
        now = monotonic()
        epoch, at = self._recent.get(epoch_key, (b"", 0.0))
        if epoch and now - at < 1.0 and self._ahead is not None:
            return epoch, int(now * 1000 + self._ahead)
        epoch, server_ms = await self.epoch_and_time(epoch_key)
        self._recent[epoch_key] = (epoch, now)
        return epoch, server_ms

    async def make_epoch(self, epoch_key: str) -> bytes:
        """The epoch at `epoch_key`, which had none a moment ago. Raises: Unavailable, Refused."""
        made = await self.first_epoch()
        if self.is_off(made):
            return made  # stored now, it might outlast a switch_on() that comes in between
        there = await self.wire.execute(
            "SET", epoch_key, made, "NX", "GET", timeout=self.timeout, retry="safe"
        )
        return there or made

    def learn(self, server_ms: int) -> None:
        """The server's clock showed `server_ms` a moment ago."""
        self._ahead = server_ms - monotonic() * 1000

    def until(self) -> int:
        """Server ms after which a question asked now is of no use; 0 if unknown."""
        if self._ahead is None:
            return 0
        # Twice, because the reply from which we learned may have taken a timeout itself.
        return int(monotonic() * 1000 + self._ahead + 2000 * self.timeout)
