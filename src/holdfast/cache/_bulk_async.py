# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Many keys at once: read in one write, leased one by one, loaded by one call for exactly what was granted.

Promise: what `fetch` promises for each key. A key that somebody else loads is not loaded again: it is waited
for, after our own are done, so that two that hold what the other wants cannot wait for each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from holdfast import _signals as signals
from holdfast._compat import ASignal, aspawn, monotonic
from holdfast._values.envelope import HEADER, unpack
from holdfast._wire._batch_async import run_many
from holdfast.cache import rules
from holdfast.cache._fill_many_async import Fill, fill_many
from holdfast.cache._load_async import AsyncLoads
from holdfast.cache._store_async import AsyncStore
from holdfast.cache.answers import GRANTED, Grant
from holdfast.cache.entry import MISSING, AsyncLoader, AsyncManyLoader
from holdfast.cache.flavour import AsyncFlavour
from holdfast.cache.flight import Flight
from holdfast.cache.loading import Load
from holdfast.cache.lookup import Lookup
from holdfast.cache.shape import Shape
from holdfast.cache.wanted import Wanted, mapping
from holdfast.errors import CodecError, ConfigurationError, HoldfastError, Refused, Unavailable


class _Job:
    """A load of many that somebody else does."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.late: list[Lookup] = []
        self.error: BaseException | None = None


class AsyncBulk:
    """See the file's docstring."""

    def __init__(self, store: AsyncStore, loads: AsyncLoads) -> None:
        self._store = store
        self._loads = loads
        self._counts = store.counts

    async def fetch(
        self,
        wanted: Mapping[str, Wanted],
        shape: Shape,
        loader: AsyncManyLoader | None = None,
        ttl: float | None = None,
    ) -> dict[str, Any]:
        """The values of the entries whose tags are the keys of `wanted`; MISSING where there is nothing.

        Raises: what the loader raises, Overloaded, Closed, NoPermission.
        """
        found: dict[str, Any] = {}
        looks: list[Lookup] = []
        for tag, one in wanted.items():
            near = self._loads.near_hit(tag, shape)
            if near is not None:
                self._counts.l1_hits += 1
                found[tag] = near.value
            else:
                looks.append(self._look(tag, one, shape, ttl))
        absent, outdated = await self._sift(looks, found)
        if loader is None:
            return found | dict.fromkeys((look.tag for look in absent + outdated), MISSING)
        for look in outdated:
            found[look.tag] = look.kept
        if outdated:
            self._counts.stale_hits += len(outdated)
            await self._refresh_later(outdated, wanted, loader)
        if absent:
            late = await self._load_in_time(absent, wanted, loader, found)
            for look in late:
                one = wanted[look.tag]
                alone = _alone(loader, one.key)
                found[look.tag] = await self._loads.fetch(look.tag, shape, alone, ttl, one.tags, one.tagger)
        return found

    def _look(self, tag: str, one: Wanted, shape: Shape, ttl: float | None) -> Lookup:
        entry, epoch_key = self._store.lookup(tag)
        look = Lookup(tag, entry, epoch_key, shape, None, self._loads.arrive())
        look.tags, look.tagger, look.ttl = one.tags, one.tagger, ttl
        look.deadline = monotonic() + self._store.wait
        return look

    # --- reading --------------------------------------------------------------------------------------------

    async def _sift(
        self, looks: Sequence[Lookup], found: dict[str, Any]
    ) -> tuple[list[Lookup], list[Lookup]]:
        """Put the hits into `found`; returns what is not there, and what is stale."""
        absent: list[Lookup] = []
        outdated: list[Lookup] = []
        tickets = self._loads.tickets(look.tag for look in looks)
        try:
            began = monotonic()
            known = await self._read(looks)
            for look in looks:
                is_known = look.entry in known and not self._store.is_off(look.epoch)
                if is_known and not tickets and (value := self._loads.glance(look)) is not MISSING:
                    found[look.tag] = value
                    self._counts.hits += 1
                    continue
                if is_known and look.note(verdict := await self._store.judge(look)):
                    found[look.tag] = verdict.value
                    self._counts.hits += 1
                    self._counts.negative_hits += verdict.value is MISSING
                    self._loads.keep(look, verdict, tickets, began)
                elif look.is_stale:
                    outdated.append(look)
                else:
                    self._counts.misses += is_known
                    self._counts.bypassed += not is_known
                    absent.append(look)
        finally:
            self._loads.give_up(tickets)
        return absent, outdated

    async def _read(self, looks: Sequence[Lookup]) -> set[str]:
        """Read all `looks`, if possible in one write; returns the entries of those that could be read."""
        store = self._store
        if store.unusual:
            return {look.entry for look in looks if await store.read(look)}
        if not looks:
            return set()
        try:
            epochs = list(dict.fromkeys(look.epoch_key for look in looks))
            found = await store.wire.mget([*(look.entry for look in looks), *epochs], store.timeout)
            epoch_of = dict(zip(epochs, found[len(looks) :], strict=True))
            for look, raw in zip(looks, found, strict=False):
                look.raw, look.epoch = raw, epoch_of[look.epoch_key]
            there = [look for look in looks if look.raw is not None]
            if store.timed and there:
                asked = [("PTTL", look.entry) for look in there]
                lives = await store.wire.execute_many(asked, timeout=store.timeout, retry="safe")
                for look, left in zip(there, lives, strict=True):
                    look.left = left
            await self._read_tags(there)
        except Unavailable as error:
            store.failed(error)
            return set()
        return {look.entry for look in looks}

    async def _read_tags(self, looks: Sequence[Lookup]) -> None:
        """The tags of all entries at once, so that judging each takes no round trip of its own."""
        names: dict[str, None] = {}
        for look in looks:
            plain = (look.shape.head, look.shape.graced)  # such an entry has no tags
            if look.raw is not None and len(look.raw) >= HEADER and look.raw[:4] not in plain:
                with suppress(CodecError):
                    names.update(dict.fromkeys(name for name, _ in unpack(look.raw).tags))
        if names and self._store.tags.known(names, monotonic()) is None:
            seen = await self._store.tags.read(list(names), self._store.timeout)
            for look in looks:
                look.seen = seen

    # --- loading --------------------------------------------------------------------------------------------

    async def _refresh_later(
        self, looks: Sequence[Lookup], wanted: Mapping[str, Wanted], loader: AsyncManyLoader
    ) -> None:
        """Have what is stale loaded anew by one call in the background, if somebody is free."""
        crews = self._loads.crews
        if not await crews.acquire(0.0):
            return
        for look in looks:
            look.is_polite = True

        async def alone() -> None:
            try:
                await self._load(looks, wanted, loader, {}, alone=True)
            except Exception as error:  # noqa: BLE001 (nobody waits for it)
                for look in looks:
                    self._loads.failed_alone(look, error)
            finally:
                crews.release()

        try:
            aspawn("holdfast load of many", alone)
        except RuntimeError as error:  # no more threads
            crews.release()
            for look in looks:
                self._loads.failed_alone(look, error)

    async def _load_in_time(
        self,
        looks: Sequence[Lookup],
        wanted: Mapping[str, Wanted],
        loader: AsyncManyLoader,
        found: dict[str, Any],
    ) -> list[Lookup]:
        """As `_load_or_keep`, for at most `hard_timeout`; then it goes on, and lands, without us.

        Raises: LoadTimeout, if there is not something for every key.
        """
        hard, crews = self._loads.hard, self._loads.crews
        if hard is None:
            return await self._load_or_keep(looks, wanted, loader, found)
        if not await crews.acquire(hard):
            raise self._loads.late(looks[0])
        job, signal = _Job(), ASignal()

        async def alone() -> None:
            try:
                job.late = await self._load_or_keep(looks, wanted, loader, job.found, alone=True)
            except BaseException as error:  # noqa: BLE001 (who waits raises it)
                job.error = error
            finally:
                crews.release()
                signal.fire()

        try:
            aspawn("holdfast load of many", alone)
        except RuntimeError:  # no more threads
            crews.release()
            return await self._load_or_keep(looks, wanted, loader, found)
        if not await signal.wait(hard):
            self._counts.hard_timeouts += 1
            if any(look.kept is MISSING for look in looks):
                raise self._loads.late(looks[0])
            found.update((look.tag, look.kept) for look in looks)
            self._counts.served_expired += len(looks)
            return []
        if job.error is not None:
            raise job.error
        found.update(job.found)
        return job.late

    async def _load_or_keep(
        self,
        looks: Sequence[Lookup],
        wanted: Mapping[str, Wanted],
        loader: AsyncManyLoader,
        found: dict[str, Any],
        *,
        alone: bool = False,
    ) -> list[Lookup]:
        """As `_load`; if that fails, what was expired is good enough, if there is something for every key."""
        try:
            return await self._load(looks, wanted, loader, found, alone=alone)
        except ConfigurationError:
            raise
        except Exception as error:
            left = [look for look in looks if look.tag not in found]
            if any(look.kept is MISSING for look in left):
                raise
            text = f"{type(error).__name__}: {error}"
            for look in left:
                found[look.tag] = look.kept
                told = signals.ServedExpired(cache=self._store.name, key=look.tag, error=text)
                self._store.wire.observer.notify(told)
            self._counts.served_expired += len(left)
            return []

    async def _load(
        self,
        looks: Sequence[Lookup],
        wanted: Mapping[str, Wanted],
        loader: AsyncManyLoader,
        found: dict[str, Any],
        *,
        alone: bool = False,
    ) -> list[Lookup]:
        """Load those of `looks` that we may, by one call, into `found`; returns those that others load.

        `alone`: nobody waits in the thread or task that calls this.
        """
        mine: list[tuple[Flight, Lookup]] = []
        late: list[Lookup] = []
        try:
            for look in looks:
                flight = self._loads.lead(look)
                if flight is None:
                    late.append(look)
                else:
                    flight.detached = alone
                    mine.append((flight, look))
            if mine:
                is_ours = await self._loads.take_place(mine[0][1])
                try:
                    late += await self._load_mine(mine, wanted, loader, found)
                finally:
                    if is_ours:
                        self._loads.leave_place()
        finally:
            for flight, _ in mine:
                self._loads.end(flight)
        return late

    async def _load_mine(
        self,
        mine: Sequence[tuple[Flight, Lookup]],
        wanted: Mapping[str, Wanted],
        loader: AsyncManyLoader,
        found: dict[str, Any],
    ) -> list[Lookup]:
        tokens = {look.tag: f"F:{os.urandom(16).hex()}" for _, look in mine}
        try:
            grants = await self._ask([look for _, look in mine], tokens)
        except BaseException:  # some may have been granted: nobody shall wait for their end
            for _, look in mine:
                self._store.abandon_later(look.lease, tokens[look.tag])
            raise
        granted = [(flight, look) for flight, look in mine if self._is_ours(grants[look.tag], look)]
        late = [look for flight, look in mine if (flight, look) not in granted]
        if not granted:
            return late
        kept = {look.tag: look for _, look in granted if grants[look.tag] is not None}  # leases to give back
        try:
            self._counts.refreshes += sum(look.is_polite for _, look in granted)
            load = Load(", ".join(look.tag for _, look in granted)[:200])
            started = monotonic()
            with self._loads.under_way([flight for flight, _ in granted], load):
                keys = [wanted[look.tag].key for _, look in granted]
                loaded = mapping(await AsyncFlavour.outcome(loader(keys), loader), loader)
            took = monotonic() - started
            fills: list[Fill] = []
            for _, look in granted:
                value, token, grant = (
                    loaded.get(wanted[look.tag].key, MISSING),
                    tokens[look.tag],
                    grants[look.tag],
                )
                if grant is not None:
                    draft = await self._loads.draft(look, token, grant, value, load, took)
                    fills += [] if draft is None else [Fill.of(look, token, draft, value)]
            await fill_many(self._store, fills)
            kept.clear()
            for flight, look in granted:
                found[look.tag] = loaded.get(wanted[look.tag].key, MISSING)
                self._loads.land(flight, found[look.tag])
        except Exception:
            await self._give_back(kept.values(), tokens)
            raise
        except BaseException:
            for look in kept.values():
                self._store.abandon_later(look.lease, tokens[look.tag])
            raise
        return late

    async def _give_back(self, looks: Iterable[Lookup], tokens: Mapping[str, str]) -> None:
        """Give back leases after a failure; where something stale is left, nobody tries again for a while."""
        store, calls = self._store, []
        for look in looks:
            throttle = store.throttle_ms if look.can_serve else 0
            calls.append(((look.lease,), (tokens[look.tag], throttle)))
        if calls and "away" not in store.unusual:
            with suppress(HoldfastError):
                await run_many(store.wire, rules.ABANDON, calls, store.timeout)

    @staticmethod
    def _is_ours(grant: Grant | None, look: Lookup) -> bool:
        return not look.is_polite if grant is None else grant.state == GRANTED

    async def _ask(self, looks: Sequence[Lookup], tokens: Mapping[str, str]) -> dict[str, Grant | None]:
        """The answers of lease.lua, None where there is nobody to ask."""
        store = self._store
        found: dict[str, Grant | None] = dict.fromkeys(tokens)
        asked = [look for look in looks if await store.usable(look.entry)]
        if not asked:
            return found
        try:
            for look in asked:
                if look.epoch is None:
                    look.epoch = await store.make_epoch(look.epoch_key)
            asked = [look for look in asked if not store.is_off(look.epoch)]
            calls = [store.lease_call(look, tokens[look.tag]) for look in asked]
            replies = await run_many(store.wire, rules.LEASE, calls, store.patience()) if calls else []
            for look, reply in zip(asked, replies, strict=True):
                found[look.tag] = Grant(*reply)
            await store.look_at_tags([look for look in asked if self._is_ours(found[look.tag], look)])
        except (Unavailable, Refused) as error:
            if isinstance(error, Unavailable):
                store.failed(error)
            elif (reason := rules.why_refused(error)) is None:
                raise
            else:
                for look in asked:
                    store.refused(look.tag, reason)
            for look in asked:
                store.abandon_later(look.lease, tokens[look.tag])
            return dict.fromkeys(tokens)
        return found


def _alone(loader: AsyncManyLoader, key: Any) -> AsyncLoader[Any]:
    """`loader`, for one key."""

    async def load() -> Any:
        return mapping(await AsyncFlavour.outcome(loader([key]), loader), loader).get(key, MISSING)

    return load
