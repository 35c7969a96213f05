# Generated from _load_async.py by tools/unasync.py. Do not edit.
"""How a reader gets its value: look here, look there, and if it is not there, let one load it.

`fetch` is the hot path. A copy in the near cache costs no round trip; an entry on the server costs one, four
bytes and an epoch compared, the payload decoded. Everything below it runs only when that was no hit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from zlib import crc32

from holdfast import _signals as signals
from holdfast._compat import Signal, monotonic
from holdfast._values.envelope import HEADER, NEGATIVE, Envelope, unpack
from holdfast.cache import rules
from holdfast.cache._fly_sync import Flying
from holdfast.cache._store_sync import Store
from holdfast.cache.entry import MISSING, Loader
from holdfast.cache.isolation import opener
from holdfast.cache.lookup import Lookup
from holdfast.cache.near import Copy, Near, Ticket
from holdfast.cache.options import L1
from holdfast.cache.rules import SHARDS, Kind, Verdict
from holdfast.cache.shape import Shape
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError, LoadTimeout, Unavailable

FIRST_HEARING = 0.1  # seconds, at most, that the first reader waits for the server to tell what changes
MOST_COUNTED = 4096  # keys near their end whose reads are counted


class Loads(Flying):
    """Reads the entries of one cache, and loads what is not there."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._unusual = store.unusual
        self._mget = store.wire.mget
        self._entry = store.entry
        self._epochs = store.epochs
        self._timeout = store.timeout
        self._timed = store.timed
        self._near = store.near
        self._isolation = (store.options.l1 or L1()).isolation
        self._soft = optional_seconds(store.options.soft_timeout)
        self.hard = optional_seconds(store.options.hard_timeout)
        self._eager = bool(store.options.early or store.options.warm)
        self._reads: dict[str, int] = {}

    def fetch(
        self,
        tag: str,
        shape: Shape,
        loader: Loader[Any] | None = None,
        ttl: Duration | None = None,
        tags: tuple[str, ...] = (),
        tagger: Callable[[Any], Iterable[str]] | None = None,
    ) -> Any:
        """The value of the entry with `tag`, else what `loader` loads; MISSING where there is nothing.

        Raises: what the loader raises, Overloaded, LoadTimeout, Closed, NoPermission.
        """
        near = self._near
        if near is None:
            return self._ask(tag, shape, loader, ttl, tags, tagger, None, 0.0)
        began = monotonic()
        copy = near.nodes.get(tag)
        if copy is not None and copy.shape is shape and began < copy.until:
            if not (began < near.trusted_until or near.trusts(began)):
                self._counts.l1_bypassed[near.why_not()] += 1
            elif not copy.cells or near.are_alive(copy.cells):
                copy.uses += 1
                self._counts.l1_hits += 1
                return copy.value if copy.open is None else copy.open()
        ticket = near.begin(tag) if near.hears else self._listen(near, tag)
        try:
            return self._ask(tag, shape, loader, ttl, tags, tagger, ticket, began)
        finally:
            if ticket is not None and not ticket.is_used:
                near.give_up(tag, ticket)

    def _ask(
        self,
        tag: str,
        shape: Shape,
        loader: Loader[Any] | None,
        ttl: Duration | None,
        tags: tuple[str, ...],
        tagger: Callable[[Any], Iterable[str]] | None,
        ticket: Ticket | None,
        began: float,
    ) -> Any:
        """As `fetch`, of the server; with a `ticket`, taken when it `began`, a hit is kept as a copy."""
        arrived = self._flights.tick
        entry = self._entry(tag)
        epoch_key = self._epochs[crc32(tag.encode()) % SHARDS]
        raw = epoch = left = None
        known = False
        if not (self._unusual or tags):
            try:
                if self._timed:
                    raw, epoch, left = self.store.timed_read(entry, epoch_key)
                else:
                    raw, epoch = self._mget((entry, epoch_key), self._timeout)
                known = True
            except Unavailable as error:
                self.store.failed(error)
            if raw is not None and raw[16:24] == epoch and self._is_plain(raw, shape, left):
                try:
                    value = shape.read(raw[56:])
                except Exception:  # noqa: BLE001 (whatever it is, judge() finds out)
                    value = MISSING
                if value is not MISSING and not (self._eager and loader is not None):
                    self._counts.hits += 1
                    if ticket is not None and left is not None:
                        self._keep(tag, shape, value, unpack(raw), left, began, ticket, entry)
                    return value
        look = Lookup(tag, entry, epoch_key, shape, loader, arrived)
        look.raw, look.epoch, look.left = raw, epoch, left
        look.tags, look.tagger = tags, tagger
        return self._think(look, ttl, ticket, began, known=known)

    @staticmethod
    def _is_plain(raw: bytes, shape: Shape, left: int | None) -> bool:
        """Can the payload be read as it stands, and is it fresh? Anything else takes a second look."""
        if raw[:4] == shape.head:
            return True
        return left is not None and raw[:4] == shape.graced and rules.is_fresh(raw, left)

    def glance(self, look: Lookup) -> Any:
        """The value in `look`, if it can be read as it stands and is fresh; MISSING: take a second look."""
        raw = look.raw
        if raw is None or raw[16:24] != look.epoch or not self._is_plain(raw, look.shape, look.left):
            return MISSING
        try:
            return look.shape.read(raw[56:])
        except Exception:  # noqa: BLE001 (whatever it is, judge() finds out)
            return MISSING

    def refresh(
        self,
        tag: str,
        shape: Shape,
        loader: Loader[Any],
        ttl: Duration | None = None,
        tags: tuple[str, ...] = (),
        tagger: Callable[[Any], Iterable[str]] | None = None,
    ) -> Any:
        """Load the value anew and store it; readers get the older one until then. Raises: as `fetch`."""
        entry, epoch_key = self.store.lookup(tag)
        look = Lookup(tag, entry, epoch_key, shape, loader, self._flights.tick)
        look.tags, look.tagger = tags, tagger
        look.fresh = True
        return self._think(look, ttl, None, 0.0, known=False)

    # --- not a hit at first sight ---------------------------------------------------------------------------

    def _think(
        self, look: Lookup, ttl: Duration | None, ticket: Ticket | None, began: float, *, known: bool
    ) -> Any:
        """Judge what was read (`known`), or read now; then load, falling back on what is kept."""
        known = not self.store.is_off(look.epoch) if known else self.store.read(look)
        if known and look.note(verdict := self.store.judge(look)):
            return self._hit(look, verdict, ttl, ticket, began)
        if not known:
            self._counts.bypassed += 1
        elif not (look.fresh or look.is_stale):
            self._counts.misses += 1
        if look.loader is None:
            self._counts.misses += look.is_stale
            return MISSING
        look.ttl = None if ttl is None else seconds(ttl, "ttl")
        look.deadline = monotonic() + self.store.wait
        if look.is_stale and self._soft is None and not look.fresh:
            self._counts.stale_hits += 1
            self._refresh_later(look)
            return look.kept
        return self._loaded(look)

    def _loaded(self, look: Lookup) -> Any:
        """What a load brings; what is kept, if it takes too long or fails."""
        kept, is_stale = look.kept, look.is_stale
        may_keep = kept is not MISSING and not look.fresh
        limit = self._soft if may_keep and is_stale and self._soft is not None else self.hard
        detach = self.hard is not None or self._soft is not None
        until = rules.FOREVER + monotonic() if limit is None else monotonic() + limit
        try:
            return self._join(look, until, detach=detach)
        except ConfigurationError:
            raise
        except Exception as error:
            late = isinstance(error, LoadTimeout)
            self._counts.soft_timeouts += late and limit is self._soft
            self._counts.hard_timeouts += late and limit is not self._soft
            if not may_keep:
                raise
            if is_stale and late:
                self._counts.stale_hits += 1
                return kept
            self._counts.served_expired += 1
            told = signals.ServedExpired(
                cache=self.store.name, key=look.tag, error=f"{type(error).__name__}: {error}"
            )
            self.store.wire.observer.notify(told)
            return kept

    def _hit(
        self, look: Lookup, verdict: Verdict, ttl: Duration | None, ticket: Ticket | None, began: float
    ) -> Any:
        self._counts.hits += 1
        if verdict.value is MISSING:
            self._counts.negative_hits += 1
        if ticket is not None and verdict.entry is not None and look.left is not None:
            kept = (look.tag, look.shape, verdict.value, verdict.entry)
            self._keep(*kept, look.left, began, ticket, look.name)
        if self._eager and look.loader is not None and self._is_due(look, verdict):
            look.ttl = None if ttl is None else seconds(ttl, "ttl")
            look.kept = verdict.value
            self._refresh_later(look)
        return verdict.value

    # --- before it ends -------------------------------------------------------------------------------------

    def _is_due(self, look: Lookup, verdict: Verdict) -> bool:
        """Shall this reader have a fresh value loaded anew, because it ends soon?"""
        entry, options = verdict.entry, self._options
        if entry is None or look.left is None or look.left < 0:
            return False
        if options.early and rules.should_refresh(entry, look.left, options.early, 1.0 - random.random()):
            return True
        if options.warm is None or not rules.is_last_fifth(entry, look.left):
            return False
        if len(self._reads) >= MOST_COUNTED:
            self._reads.clear()
        reads = self._reads[look.tag] = self._reads.get(look.tag, 0) + 1
        if reads >= options.warm:
            self._reads.pop(look.tag, None)
        return reads >= options.warm

    # --- the near cache -------------------------------------------------------------------------------------

    def _listen(self, near: Near, tag: str) -> Ticket | None:
        """Begin to hear of changes, if nobody did yet. The first readers wait a moment for that: what they
        read can then be kept. Raises: Closed.
        """
        near.listen(self.store.wire.hub)
        if near.was_awaited:
            return None
        signal = Signal()
        near.tell_when_heard(signal)
        signal.wait(FIRST_HEARING)
        near.was_awaited = True
        return near.begin(tag)

    def _keep(
        self,
        tag: str,
        shape: Shape,
        value: Any,
        entry: Envelope,
        left: int,
        began: float,
        ticket: Ticket,
        name: str,
    ) -> None:
        """Keep a copy of an entry that was fresh `began`, with `left` ms of its life to go; -1: no end."""
        near = self._near
        assert near is not None
        cells = self.store.tags.cells(entry.tags, ticket) if entry.tags else ()
        fresh = self._fresh_for(entry, left)
        if cells is None or fresh <= 0:
            return
        opens = opener(self._isolation, value, _decoder(entry, shape, name))
        weight = HEADER + len(entry.payload)
        near.keep(
            Copy(tag, weight, shape, value if opens is None else None, began + fresh / 1000, cells, opens),
            ticket,
        )

    def _fresh_for(self, entry: Envelope, left: int) -> int:
        """The ms for which a copy of `entry` may be served; `left` are those of its life on the server."""
        if left < -1:  # it is gone already
            return 0
        fresh = entry.ttl if left == -1 else left - entry.grace
        if (
            self._options.warm is not None
        ):  # its last fifth is for the server to see, which counts its readers
            fresh -= entry.ttl // 5
        if self._options.early:  # one throw per copy stands for those of all its readers
            fresh -= int(rules.early_by(entry, self._options.early, 1.0 - random.random()))
        return fresh

    def tickets(self, tags: Iterable[str]) -> dict[str, Ticket]:
        """Tickets for the entries with `tags`, as far as anything may be kept."""
        near = self._near
        if near is None:
            return {}
        if not near.hears:
            near.listen(self.store.wire.hub)
        return {tag: ticket for tag in tags if (ticket := near.begin(tag)) is not None}

    def keep(self, look: Lookup, verdict: Verdict, tickets: dict[str, Ticket], began: float) -> None:
        """Keep a copy of a hit among many."""
        ticket = tickets.get(look.tag)
        if ticket is not None and verdict.entry is not None and look.left is not None:
            kept = (look.tag, look.shape, verdict.value, verdict.entry)
            self._keep(*kept, look.left, began, ticket, look.name)

    def give_up(self, tickets: dict[str, Ticket]) -> None:
        """Nothing more is kept with `tickets`."""
        if self._near is not None:
            for tag, ticket in tickets.items():
                self._near.give_up(tag, ticket)

    def near_hit(self, tag: str, shape: Shape) -> Verdict | None:
        """The copy of the entry with `tag`, if one may be served now."""
        near, now = self._near, monotonic()
        copy = None if near is None else near.nodes.get(tag)
        if (
            near is None
            or copy is None
            or copy.shape is not shape
            or now >= copy.until
            or not near.trusts(now)
        ):
            return None
        if not near.are_alive(copy.cells):
            return None
        return Verdict(Kind.HIT, copy.value if copy.open is None else copy.open())


def _decoder(entry: Envelope, shape: Shape, name: str) -> Callable[[], Any]:
    """How to make one more value of `entry`, which was a hit under the key `name`."""
    if entry.flags & NEGATIVE:
        return lambda: MISSING
    if entry.flags == 0:
        return partial(shape.read, entry.payload)
    return lambda: shape.decode(entry, name)
