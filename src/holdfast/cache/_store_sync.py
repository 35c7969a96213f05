# Generated from _store_async.py by tools/unasync.py. Do not edit.
"""The questions that a cache asks the server, each a few lines: build, ask, interpret.

That the server is away, full or read-only is an answer here (None or False), never an exception, except where
"Raises" says so.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from holdfast import _signals as signals
from holdfast._compat import monotonic
from holdfast._values.envelope import STAMP
from holdfast._wire._sync import Wire
from holdfast._wire.transport import Arg
from holdfast.cache import rules
from holdfast.cache._reach_sync import Reach
from holdfast.cache.lookup import Lookup
from holdfast.cache.options import CacheOptions
from holdfast.cache.rules import Kind, Verdict
from holdfast.cache.stats import Counters
from holdfast.durations import optional_seconds, seconds
from holdfast.errors import Closed, HoldfastError, Refused, Unavailable

LATE, CHANGED, GRANTED, BUSY = range(4)  # what lease.lua answers


class Grant(NamedTuple):
    """An answer of lease.lua; `number` is server ms, or for BUSY how many are left of the other's lease."""

    state: int
    number: int


class Begun(NamedTuple):
    """A put that may go on. `mark` is what the lease must hold for its value to be stored, b"" for never."""

    mark: bytes
    epoch: bytes
    now: int


class Store(Reach):
    """See the file's docstring."""

    def __init__(self, wire: Wire, name: str, options: CacheOptions, *, off: bool) -> None:
        super().__init__(wire.impatient(rules.RETRY_FOR), name, options, off=off)
        self.counts = Counters()
        self.ttl = seconds(options.ttl)
        self.negative_ttl = optional_seconds(options.negative_ttl, zero=True)
        self.wait = rules.FOREVER if options.wait is None else seconds(options.wait, zero=True)
        self.lease_ms = int(seconds(options.lease) * 1000)
        self.prefix = wire.keys.prefix("cache", name)
        self._ahead: float | None = None  # server's clock minus ours in ms, rather too small than too large

    def lives(self, value: object, ttl: float | None) -> int:
        """Milliseconds for which to store `value`, given the `ttl` asked for; 0: not at all."""
        wanted = self.ttl if ttl is None else ttl
        return rules.store_for(value, wanted, self.negative_ttl, self.options.jitter, random.random())

    def lookup(self, tag: str) -> tuple[str, str]:
        """The keys of the entry with `tag` and of its epoch."""
        return f"{self.prefix}{tag}}}", self.epochs[rules.shard(crc32(tag.encode()))]

    # --- reading --------------------------------------------------------------------------------------------

    def read(self, look: Lookup) -> bool:
        """Read entry and epoch into `look`; False where the server cannot or must not be asked."""
        if not self.usable(look.entry):
            return False
        try:
            look.raw, look.epoch = self.wire.mget((look.entry, look.epoch_key), self.patience())
        except Unavailable as error:
            self.failed(error)
            return False
        self.answered()
        return True

    def judge(self, look: Lookup) -> Verdict:
        """What the entry in `look` is for this reader; only one of another schema costs a round trip more."""
        verdict = rules.judge(look.raw, look.epoch, look.shape)
        if verdict.kind is Kind.OTHER and look.raw is not None:
            try:
                (variant,) = self.wire.mget((look.entry + look.shape.variant,), self.timeout)
            except Unavailable as error:
                self.failed(error)
                return verdict
            found = rules.judge_variant(variant, look.raw, look.shape)
            if found.kind is Kind.HIT:
                return found
        if verdict.reason:
            self.counts.undecodable[verdict.reason] += 1
            observer = self.wire.observer
            observer.notify(signals.Undecodable(cache=self.name, key=look.tag, reason=verdict.reason))
        return verdict

    def epoch_and_time(self, epoch_key: str) -> tuple[bytes, int]:
        """The epoch at `epoch_key`, made if need be, and the server's ms. Raises: Unavailable, Refused."""
        questions = [("GET", epoch_key), ("TIME",)]
        epoch, (whole, micros) = self.wire.execute_many(
            questions, timeout=self.patience(), retry="safe"
        )
        self.answered()
        now = int(whole) * 1000 + int(micros) // 1000
        self._learn(now)
        return epoch or self._make_epoch(epoch_key), now

    def _make_epoch(self, epoch_key: str) -> bytes:
        made = os.urandom(8)
        there = self.wire.execute(
            "SET", epoch_key, made, "NX", "GET", timeout=self.timeout, retry="safe"
        )
        return there or made

    def _learn(self, server_ms: int) -> None:
        self._ahead = server_ms - monotonic() * 1000

    def until(self) -> int:
        """Server ms after which a question asked now is of no use; 0 if unknown."""
        if self._ahead is None:
            return 0
        # Twice, because the reply from which we learned may have taken a timeout itself.
        return int(monotonic() * 1000 + self._ahead + 2000 * self.timeout)

    # --- filling --------------------------------------------------------------------------------------------

    def ask(self, look: Lookup, token: str) -> Grant | None:
        """Ask for the right to fill; None if there is nobody to ask, or no room: load, but store nothing."""
        if not self.usable(look.entry):
            return None
        try:
            if look.epoch is None:
                look.epoch = self._make_epoch(look.epoch_key)
            args = (token, self.lease_ms, rules.seen(look.raw), self.until())
            grant = Grant(*self.wire.run(rules.LEASE, (look.entry, look.lease), args, self.patience()))
        except Unavailable as error:
            self.failed(error)
            self._deliver_abandon(
                look.lease, token
            )  # it may have been granted: nobody shall wait for its end
            return None
        except Refused as error:
            reason = rules.why_refused(error)
            if reason is None:
                raise
            self.refused(look.tag, reason)
            return None
        self.answered()
        if grant.state != BUSY:
            self._learn(grant.number)
        return grant

    def fill(self, look: Lookup, token: str, data: bytes, ttl: int, took: float) -> None:
        """Store what was loaded under `token`; whether it can be stored is no concern of the reader."""
        variant = look.raw if look.other else None
        expected = b"" if variant is None else variant[STAMP]
        target = look.entry if variant is None else look.entry + look.shape.variant
        slow = took > self.lease_ms / 1000
        if slow:
            slow_load = signals.SlowLoad(cache=self.name, key=look.tag, took=took, lease=self.lease_ms / 1000)
            self.wire.observer.notify(slow_load)
        reason = self.commit(look.entry, target, token, data, ttl, expected)
        if reason is None:
            self.counts.fills += 1
        else:
            self.refused(look.tag, "lease_ended" if slow and reason == "invalidated" else reason)

    def commit(
        self, entry: str, target: str, token: Arg, data: bytes, ttl: int, expected: bytes
    ) -> str | None:
        """Store `data` if the lease holds `token`; why not, or None if it is stored."""
        if self.is_dirty(entry):
            return "invalidated"
        try:
            args = (token, data, ttl, expected)
            stored = self.wire.run(rules.FILL, (entry, f"{entry}:f", target), args, self.patience())
        except Closed:
            return "closed"
        except Unavailable as error:
            self.failed(error)
            return "unavailable"
        except Refused as error:
            self.abandon(f"{entry}:f", token)
            return rules.why_refused(error) or error.code.lower() or "refused"
        return None if stored else "invalidated"

    def refused(self, tag: str, reason: str) -> None:
        """Count a value that was not stored."""
        self.counts.refused[reason] += 1
        self.wire.observer.notify(signals.FillRefused(cache=self.name, key=tag, reason=reason))

    def abandon(self, lease: str, token: Arg) -> None:
        """Give the lease back unused, if that can be done now; otherwise it ends by itself."""
        if "away" in self.unusual:
            return
        try:
            self.wire.run(rules.ABANDON, (lease,), (token,), self.timeout)
        except HoldfastError:
            return

    def abandon_later(self, lease: str, token: str) -> None:
        """As `abandon`, without waiting: for a caller that is being cancelled."""
        if (
            "away" in self.unusual
        ):  # then it was most likely never asked for; an outage must not fill the outbox
            return
        self._deliver_abandon(lease, token)

    def _deliver_abandon(self, lease: str, token: str) -> None:
        try:
            self.wire.hub.deliver(("lease", token), ("EVAL", rules.ABANDON.text, 1, lease, token), _nothing)
        except Closed:
            return

    # --- removing -------------------------------------------------------------------------------------------

    def unlink(self, entries: Sequence[str], tags: Sequence[str]) -> bool:
        """Remove entries and leases; False if unconfirmed, and therefore kept. Raises: Closed, Refused."""
        confirmed = False
        try:
            if self.worth_asking():
                commands = [("UNLINK", entry, f"{entry}:f") for entry in entries]
                self.wire.execute_many(commands, timeout=self.patience(), retry="safe")
                confirmed = True
                self.answered()
        except Unavailable as error:
            self.failed(error)
        except Refused as error:
            if rules.why_refused(error) is None:
                raise
        finally:
            if not confirmed:  # also when the caller is being cancelled: it meant what it said
                self.keep(entries, tags)
        return confirmed

    def begin(self, entry: str, epoch_key: str, put: str) -> Begun | None:
        """Remove the entry and refuse fills, as the source is about to change; None if unconfirmed."""
        if not self.usable(entry):
            return None
        try:
            epoch, now = self.epoch_and_time(epoch_key)
            args = (put, self.lease_ms, now + int(1000 * self.timeout))
            mark = self.wire.run(rules.BEGIN, (entry, f"{entry}:f"), args, self.timeout)
            return Begun(mark, epoch, now)
        except Unavailable as error:
            self.failed(error)
        except Refused as error:
            if rules.why_refused(error) is None:
                raise
        return None

    def finish(self, entry: str, put: str) -> bool:
        """Remove the entry, fills under way and the mark of `put`; False if that is not confirmed."""
        try:
            self.wire.run(rules.FINISH, (entry, f"{entry}:f"), (put,), self.patience())
        except Unavailable as error:
            self.failed(error)
            return False
        except Refused:
            return False
        return True

    def expire(self, entry: str, tag: str) -> bool:
        """Flag the entry as to be loaded again; False if that is not confirmed: then its removal is kept."""
        confirmed = False
        try:
            if self.usable(entry) or "off" in self.unusual:
                self.wire.run(rules.EXPIRE, (entry, f"{entry}:f"), (), self.patience())
                confirmed = True
                self.answered()
        except Unavailable as error:
            self.failed(error)
        except Refused as error:
            if rules.why_refused(error) is None:
                raise
        finally:
            if not confirmed:
                self.keep([entry], [tag])
        return confirmed


def _nothing() -> None:
    """Nobody needs to know."""
