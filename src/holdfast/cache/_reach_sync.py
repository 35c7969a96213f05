# Generated from _reach_async.py by tools/unasync.py. Do not edit.
"""Whether the server may be asked about a cache's entries, and what becomes of invalidations it did not get.

`unusual` holds what keeps a reader from simply asking: "off" (switched off in this process), "unchecked"
(nobody looked yet whether it was off before), "away" (the server did not answer), "dirty" (an invalidation is
not delivered yet). It is empty nearly always, and the hot path asks nothing else. Whoever may not ask goes
without.

A cache can be switched off in the whole fleet at once (`switch`): then its epochs are OFF, which no entry
carries. Readers read the epoch with every entry, so they notice at their next read, at no cost; those that
hold copies hear of it as of any change. They go without until the epochs are removed, and with them all that
was stored before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from holdfast import _signals as signals
from holdfast._compat import monotonic
from holdfast._coord.breaker import Breaker
from holdfast._wire._sync import Wire
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import Command
from holdfast.cache import rules
from holdfast.cache.options import CacheOptions
from holdfast.durations import seconds
from holdfast.errors import Closed, Refused, Unavailable


class Reach:
    """See the file's docstring."""

    def __init__(self, wire: Wire, name: str, options: CacheOptions, *, off: bool) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.timeout = wire.timeout if options.timeout is None else seconds(options.timeout)
        self.epochs = tuple(wire.keys.make("cache", name, f"#{shard}", ":e") for shard in range(rules.SHARDS))
        self.unusual = {"off" if off else "unchecked"}
        self.channel = wire.keys.make("cache", name, "#", ":news")
        self.tells = options.l1 is not None and options.l1.via == "pubsub"
        self._switch = wire.keys.make("cache", name, "#", ":switch")
        self._marker = wire.keys.make("cache", name, "#", ":off")
        self._marked = False
        self._told_off = False
        self._breaker = Breaker()
        self._dirty: dict[str, dict[Command, int]] = {}
        self._kept = 0

    # --- may the server be asked? ---------------------------------------------------------------------------

    def usable(self, entry: str) -> bool:
        """May the server be asked about `entry`?"""
        if not self.unusual:
            return True
        if "off" in self.unusual:
            self._mark()
            return False
        if self.is_dirty(entry) or not self.worth_asking():
            return False
        return "unchecked" not in self.unusual or self._check()

    def worth_asking(self) -> bool:
        """Is the server there, as far as we know, or is it time to find out?"""
        return "away" not in self.unusual or self._breaker.allow(monotonic())

    def patience(self) -> float:
        """Seconds to wait for an answer: less while we only find out whether the server is back."""
        quick = "away" in self.unusual and not self._breaker.probes_slowly
        return min(self.timeout, rules.PROBE) if quick else self.timeout

    def answered(self) -> None:
        """The server is there."""
        if "away" in self.unusual:
            self.unusual.discard("away")
            if self._breaker.success():
                self.wire.observer.notify(signals.BreakerChanged(name=f"cache {self.name}", state="closed"))

    def failed(self, error: Unavailable) -> None:
        """The server did not answer. Raises: Closed, if it was not the server's fault."""
        if isinstance(error, Closed):
            raise error
        self.unusual.add("away")
        if self._breaker.failure(monotonic()):
            self.wire.observer.notify(signals.BreakerChanged(name=f"cache {self.name}", state="open"))

    def _check(self) -> bool:
        """Look, once, whether this cache was off somewhere: then what is stored may be distrusted."""
        try:
            if (self.wire.mget((self._marker,), self.patience()))[0] is not None:
                self.clear()
                self.wire.execute("DEL", self._marker, timeout=self.timeout, retry="safe")
        except Unavailable as error:
            self.failed(error)
            return False
        except Refused as error:
            if rules.why_refused(error) is None:
                raise
            return False
        self.unusual.discard("unchecked")
        self.answered()
        return True

    def _mark(self) -> None:
        """Leave word, at the first use that can, that this cache was off."""
        if self._marked or not self.worth_asking():
            return
        try:
            self.wire.execute("SET", self._marker, "1", timeout=self.patience(), retry="safe")
            self._marked = True
            self.answered()
        except Unavailable as error:
            self.failed(error)
        except Refused:
            self._marked = False  # full or read-only: a later use tries again

    # --- switched off in the whole fleet --------------------------------------------------------------------

    def switch(self, *, on: bool) -> None:
        """Have the fleet go without this cache, or use it again, empty. Raises: Unavailable, Refused."""
        if on:
            self.wire.execute("DEL", self._switch, timeout=self.timeout, retry="safe")
            self.clear()
            return
        self.wire.execute("SET", self._switch, "1", timeout=self.timeout, retry="safe")
        self.clear()  # so that this process forgets its copies at once
        commands = [("SET", epoch, rules.OFF) for epoch in self.epochs]
        self.wire.execute_many(commands, timeout=self.timeout, retry="safe")
        self.tell(self.epochs[:1])

    def first_epoch(self) -> bytes:
        """What an epoch that is not there begins with: a new one, or OFF if it was evicted meanwhile.

        Raises: Unavailable, Refused.
        """
        (switched_off,) = self.wire.mget((self._switch,), self.timeout)
        return rules.OFF if switched_off else os.urandom(8)

    def is_off(self, epoch: bytes | None) -> bool:
        """Does `epoch` say that the fleet goes without this cache?"""
        if epoch != rules.OFF:
            self._told_off = self._told_off and epoch is None
            return False
        if not self._told_off:
            self._told_off = True
            self.wire.observer.notify(signals.CacheBypassed(cache=self.name))
        return True

    def tell(self, keys: Sequence[str]) -> None:
        """Where copies are kept that the server does not look after: these keys have changed.

        Raises: Unavailable, Refused.
        """
        if self.tells and keys:
            commands = [("PUBLISH", self.channel, key) for key in keys]
            self.wire.execute_many(commands, timeout=self.timeout, retry="safe")

    def clear(self) -> None:
        """Make every entry unreadable. Raises: Unavailable, Refused."""
        # Removed, not replaced: an absent epoch makes every entry a miss, and a full server lets us remove
        # it.
        commands = [("UNLINK", epoch) for epoch in self.epochs]
        self.wire.execute_many(commands, timeout=self.timeout, retry="safe")
        self.tell(self.epochs[:1])

    # --- what the server did not get ------------------------------------------------------------------------

    def is_dirty(self, key: str) -> bool:
        """Does the server still have to be told to remove the entry or the version of a tag at `key`?"""
        return key in self._dirty

    @property
    def undelivered(self) -> int:
        """Invalidations not delivered yet."""
        return len(self._dirty)

    def keep(self, entries: Sequence[str], tags: Sequence[str]) -> None:
        """Neither read nor fill `entries` in this process until their removal is delivered."""
        for entry, tag in zip(entries, tags, strict=True):
            self.keep_command(entry, tag, ("UNLINK", entry, f"{entry}:f"))

    def keep_command(self, key: str, label: str, command: Command) -> None:
        """Use nothing that depends on `key` until `command`, which removes it, is delivered.

        Raises: Closed.
        """
        with MUTEX:
            self._kept += 1
            mark = self._dirty.setdefault(key, {})[command] = self._kept
            self.unusual.add("dirty")
        self.wire.observer.notify(signals.InvalidationKept(cache=self.name, key=label))
        try:
            self.wire.hub.deliver(
                ("cache", self.name, key, command), command, self._delivery(key, label, command, mark)
            )
        except Closed:
            self._is_clean(key, command, mark)
            raise

    def _delivery(self, key: str, label: str, command: Command, mark: int) -> Callable[[], None]:
        def done() -> None:
            if self.tells:  # now, and not before: a copy of what was removed could be made in between
                with suppress(Closed):
                    told = ("EVAL", rules.TELL.text, 1, key, self.channel)
                    self.wire.hub.deliver(("news", self.name, key), told, _nothing)
            if self._is_clean(key, command, mark):
                self.wire.observer.notify(signals.InvalidationDelivered(cache=self.name, key=label))

        return done

    def _is_clean(self, key: str, command: Command, mark: int) -> bool:
        """Let `key` be used again, unless it was kept once more since `mark`."""
        with MUTEX:
            marks = self._dirty.get(key, {})
            if marks.get(command) != mark:
                return False
            del marks[command]
            if marks:  # another command removes it in another way, and is still on its way
                return False
            del self._dirty[key]
            if not self._dirty:
                self.unusual.discard("dirty")
            return True


def _nothing() -> None:
    """Nobody needs to know."""
