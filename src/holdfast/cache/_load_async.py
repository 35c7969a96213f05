# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""How a reader gets its value: look, and if it is not there, let one flight per key load it, or wait.

`fetch` is the hot path: one round trip, four bytes and an epoch compared, the payload decoded. Everything
below it runs only when that was no hit. Outside the process the lease (lease.lua) sees to it that one loads;
inside, the flight does, also when there is no server to ask. What may be shared with whom is told in
flight.py.
"""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any
from zlib import crc32

from holdfast import _signals as signals
from holdfast._compat import ASemaphore, ASignal, acurrent_task, arun, ascope, monotonic
from holdfast._values.envelope import STAMP
from holdfast._wire.hub_ledger import AnyWatch
from holdfast.cache import rules
from holdfast.cache._store_async import BUSY, GRANTED, AsyncStore, Grant
from holdfast.cache.entry import MISSING, AsyncLoader
from holdfast.cache.flavour import AsyncFlavour
from holdfast.cache.flight import Flight, Flights, refresh_after_fork
from holdfast.cache.lookup import Lookup
from holdfast.cache.rules import SHARDS, Shape
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, Overloaded, Unavailable

_LOADING: ContextVar[tuple[tuple[AsyncLoads, Flight], ...]] = ContextVar("_LOADING", default=())


class AsyncLoads:
    """Reads the entries of one cache, and loads what is not there."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self._counts = store.counts
        self._unusual = store.unusual
        self._mget = store.wire.mget
        self._prefix = store.prefix
        self._epochs = store.epochs
        self._timeout = store.timeout
        self._options = store.options
        self.after_fork()
        refresh_after_fork(self)

    def after_fork(self) -> None:
        """Start afresh: what was in the air belongs to threads that the child of a fork does not have."""
        self._flights = Flights()
        self._slots = ASemaphore(self._options.max_loads)

    async def fetch(
        self, tag: str, shape: Shape, loader: AsyncLoader[Any] | None = None, ttl: Duration | None = None
    ) -> Any:
        """The value of the entry with `tag`, else what `loader` loads; MISSING where there is nothing.

        Raises: what the loader raises, Overloaded, Closed, NoPermission.
        """
        arrived = self._flights.tick
        entry = f"{self._prefix}{tag}}}"
        epoch_key = self._epochs[crc32(tag.encode()) % SHARDS]
        raw = epoch = None
        known = False
        if not self._unusual:
            try:
                raw, epoch = await self._mget((entry, epoch_key), self._timeout)
                known = True
            except Unavailable as error:
                self.store.failed(error)
            if raw is not None and raw[:4] == shape.head and raw[16:24] == epoch:
                try:
                    value = shape.read(raw[56:])
                except Exception:  # noqa: BLE001 (whatever it is, judge() finds out)
                    value = MISSING
                if value is not MISSING:
                    self._counts.hits += 1
                    return value
        look = Lookup(tag, entry, epoch_key, shape, loader, arrived)
        look.raw, look.epoch = raw, epoch
        return await self._think(look, ttl, known)

    async def refresh(
        self, tag: str, shape: Shape, loader: AsyncLoader[Any], ttl: Duration | None = None
    ) -> Any:
        """Load the value anew and store it; readers get the older one until then. Raises: as `fetch`."""
        entry, epoch_key = self.store.lookup(tag)
        look = Lookup(tag, entry, epoch_key, shape, loader, self._flights.tick)
        look.fresh = True
        return await self._think(look, ttl, known=False)

    # --- not a hit at first sight ---------------------------------------------------------------------------

    async def _think(self, look: Lookup, ttl: Duration | None, known: bool) -> Any:
        """Judge what was read (`known`), or read now; then load, falling back on a softly expired value."""
        known = known or await self.store.read(look)
        if known and look.note(verdict := await self.store.judge(look)):
            return self._hit(verdict.value)
        if not known:
            self._counts.bypassed += 1
        elif not look.fresh:
            self._counts.misses += 1
        if look.loader is None:
            return MISSING
        look.ttl = None if ttl is None else seconds(ttl, "ttl")
        look.deadline = monotonic() + self.store.wait
        try:
            return await self._join(look)
        except ConfigurationError:
            raise
        except Exception as error:
            if look.kept is MISSING or look.fresh:
                raise
            self._counts.served_expired += 1
            told = signals.ServedExpired(
                cache=self.store.name, key=look.tag, error=f"{type(error).__name__}: {error}"
            )
            self.store.wire.observer.notify(told)
            return look.kept

    def _hit(self, value: Any) -> Any:
        self._counts.hits += 1
        if value is MISSING:
            self._counts.negative_hits += 1
        return value

    async def _join(self, look: Lookup) -> Any:
        """Lead the flight for this key, or follow it; start over when its result began before we came."""
        where = (ascope(), look.entry, self._nested())
        if any(flight.where[:2] == where[:2] and not flight.landed for _, flight in _LOADING.get()):
            raise ConfigurationError(
                f"cache {self.store.name!r}: the loader of {look.tag!r} asks for that very key"
            )
        while True:
            flight, signal = self._flights.join(where, ASignal)
            try:
                if signal is None:
                    return await arun(self._fly(flight, look))
                if not await signal.wait(rules.left(look.deadline, monotonic())):
                    raise self._overloaded(f"waited {self._options.wait} s for the load of {look.tag!r}")
                if rules.may_share(look.arrived, flight.began) and (flight.loaded or not look.fresh):
                    if flight.error is not None:
                        raise flight.error
                    return flight.value
            finally:
                self._flights.leave(flight)
            if await self.store.read(look) and look.note(verdict := await self.store.judge(look)):
                return verdict.value  # counted as a miss already

    async def _fly(self, flight: Flight, look: Lookup) -> Any:
        """Get the value for everybody in `flight`, and land it whatever happens."""
        flight.task = acurrent_task()  # type: ignore[func-returns-value, unused-ignore]
        if flight.abandoned:  # by a leader that was cancelled before this could start
            return MISSING
        try:
            value = await self._circle(flight, look)
        except Exception as error:
            self._flights.land(flight, error=error)
            raise
        except BaseException:  # an interrupt or a cancellation is nobody else's: the followers start over
            flight.began = 0
            self._flights.land(flight)
            raise
        self._flights.land(flight, value)
        return value

    async def _circle(self, flight: Flight, look: Lookup) -> Any:
        """Ask for the lease until it is ours, or wait for who has it, until there is a value."""
        watch: AnyWatch | None = None
        signal = ASignal()
        with ExitStack() as stack:
            attempt = 0
            while isinstance(answer := await self._attempt(flight, look), Grant):
                if answer.state == BUSY:
                    if watch is None:
                        self._counts.waits += 1
                        watch = stack.enter_context(self.store.wire.hub.watch(look.lease, signal))
                    remaining = rules.left(look.deadline, monotonic())
                    rest = rules.park if watch.pushing else rules.poll
                    await signal.wait(
                        rest(answer.number if watch.pushing else attempt, remaining, random.random())
                    )
                    signal.clear()  # before reading: what happens from now on fires again
                if monotonic() >= look.deadline:
                    raise self._overloaded(
                        f"waited {self._options.wait} s for another's load of {look.tag!r}"
                    )
                attempt += 1
                began = self._flights.step()
                if await self.store.read(look) and look.note(verdict := await self.store.judge(look)):
                    flight.began = began
                    return verdict.value  # counted as a miss already
            return answer

    async def _attempt(self, flight: Flight, look: Lookup) -> Any:
        """Take a place among the loads, ask for the lease, and load; a Grant where that was not possible."""
        nested = self._nested()
        if not nested and not await self._slots.acquire(rules.left(look.deadline, monotonic())):
            raise self._overloaded(f"{self._options.max_loads} loads are under way (max_loads)")
        token = f"F:{os.urandom(16).hex()}"
        try:
            grant = await self.store.ask(look, token)
            if grant is not None and grant.state != GRANTED:
                return grant
            return await self._load(flight, look, token, grant)
        except Exception:
            await self.store.abandon(look.lease, token)
            raise
        except BaseException:
            self.store.abandon_later(look.lease, token)
            raise
        finally:
            if not nested:
                self._slots.release()

    async def _load(self, flight: Flight, look: Lookup, token: str, grant: Grant | None) -> Any:
        """Load, and store the value if we were granted the lease."""
        loader = look.loader
        assert loader is not None  # (a lookup without one never gets here)
        flight.loaded = True
        flight.began = self._flights.step()
        started = monotonic()
        outer = _LOADING.set((*_LOADING.get(), (self, flight)))
        try:
            value = await AsyncFlavour.outcome(loader(), loader)
        except Exception:
            self._counts.load_errors += 1
            raise
        finally:
            _LOADING.reset(outer)
            took = monotonic() - started
            self._counts.load_seconds += took
        self._counts.loads += 1
        if grant is not None:
            await self._fill(look, token, grant, value, took)
        return value

    async def _fill(self, look: Lookup, token: str, grant: Grant, value: Any, took: float) -> None:
        ttl = self.store.lives(value, look.ttl)
        if not ttl:
            await self.store.abandon(look.lease, token)
            return
        body = rules.payload(value, look.shape)
        stamp = look.raw[STAMP] if look.other and look.raw is not None else os.urandom(8)
        epoch = look.epoch or b""
        data = rules.envelope(
            value, body, look.shape, stamp=stamp, epoch=epoch, loaded_at=grant.number, ttl=ttl, took=took
        )
        await self.store.fill(look, token, data, ttl, took)

    def _nested(self) -> bool:
        """Does a load of this cache ask, that is still under way? It has a place already.

        Such a caller follows no flight but another's of its kind: one that waits for a place could wait for
        ours.
        """
        return any(loads is self and not flight.landed for loads, flight in _LOADING.get())

    def _overloaded(self, why: str) -> Overloaded:
        self._counts.overloaded += 1
        return Overloaded(f"cache {self.store.name!r}: {why}", retry_after=1.0)
