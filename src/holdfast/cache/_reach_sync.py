# Generated from _reach_async.py by tools/unasync.py. Do not edit.
"""Whether the server may be asked about a cache's entries, and what becomes of invalidations it did not get.

`unusual` holds what keeps a reader from simply asking: "off" (switched off), "unchecked" (nobody looked yet
whether it was off before), "away" (the server did not answer), "dirty" (an invalidation is not delivered
yet). It is empty nearly always, and the hot path asks nothing else. Whoever may not ask goes without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast import _signals as signals
from holdfast._compat import monotonic
from holdfast._coord.breaker import Breaker
from holdfast._wire._sync import Wire
from holdfast._wire.mutex import MUTEX
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
        self._marker = wire.keys.make("cache", name, "#", ":off")
        self._marked = False
        self._breaker = Breaker()
        self._dirty: dict[str, int] = {}
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

    def clear(self) -> None:
        """Make every entry unreadable. Raises: Unavailable, Refused."""
        # Removed, not replaced: an absent epoch makes every entry a miss, and a full server lets us remove
        # it.
        commands = [("UNLINK", epoch) for epoch in self.epochs]
        self.wire.execute_many(commands, timeout=self.timeout, retry="safe")

    # --- what the server did not get ------------------------------------------------------------------------

    def is_dirty(self, entry: str) -> bool:
        """Does the server still have to be told to remove `entry`?"""
        return entry in self._dirty

    @property
    def undelivered(self) -> int:
        """Invalidations not delivered yet."""
        return len(self._dirty)

    def keep(self, entries: Sequence[str], tags: Sequence[str]) -> None:
        """Neither read nor fill `entries` in this process until their removal is delivered."""
        for entry, tag in zip(entries, tags, strict=True):
            with MUTEX:
                self._kept += 1
                mark = self._dirty[entry] = self._kept
                self.unusual.add("dirty")
            self.wire.observer.notify(signals.InvalidationKept(cache=self.name, key=tag))
            try:
                done = self._delivery(entry, tag, mark)
                self.wire.hub.deliver(("cache", self.name, entry), ("UNLINK", entry, f"{entry}:f"), done)
            except Closed:
                self._is_clean(entry, mark)
                raise

    def _delivery(self, entry: str, tag: str, mark: int) -> Callable[[], None]:
        def done() -> None:
            if self._is_clean(entry, mark):
                self.wire.observer.notify(signals.InvalidationDelivered(cache=self.name, key=tag))

        return done

    def _is_clean(self, entry: str, mark: int) -> bool:
        """Let `entry` be read again, unless it was kept once more since `mark`."""
        with MUTEX:
            if self._dirty.get(entry) != mark:
                return False
            del self._dirty[entry]
            if not self._dirty:
                self.unusual.discard("dirty")
            return True
