# Generated from _fly_async.py by tools/unasync.py. Do not edit.
"""How a value is loaded: one flight per key and process, one lease per key and fleet.

Outside the process the lease (lease.lua) sees to it that one loads; inside, the flight does, also when there
is no server to ask. What may be shared with whom is told in flight.py. Where readers need not wait for the
load, because something stale can be served or because their patience is limited, it is done by a thread or
thread of its own, which goes on and lands when they have left.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from holdfast import _signals as signals
from holdfast._compat import Semaphore, Signal, current_task, run, scope, spawn, monotonic
from holdfast._values.envelope import STAMP
from holdfast._wire.hub_ledger import AnyWatch
from holdfast.cache import rules
from holdfast.cache._store_sync import Store
from holdfast.cache.answers import BUSY, GRANTED, THROTTLED, Grant
from holdfast.cache.entry import MISSING
from holdfast.cache.flavour import Flavour
from holdfast.cache.flight import Flight, Flights, refresh_after_fork
from holdfast.cache.loading import CURRENT, Load
from holdfast.cache.lookup import Lookup
from holdfast.cache.rules import Draft
from holdfast.errors import ConfigurationError, HoldfastError, LoadTimeout, Overloaded

_LOADING: ContextVar[tuple[tuple[Flying, Flight], ...]] = ContextVar("_LOADING", default=())


class Flying:
    """Loads the entries of one cache."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._counts = store.counts
        self._options = store.options
        self.after_fork()
        refresh_after_fork(self)

    def after_fork(self) -> None:
        """Start afresh: what was in the air belongs to threads that the child of a fork does not have."""
        self._flights = Flights()
        self._slots = Semaphore(self._options.max_loads)
        self.crews = Semaphore(2 * self._options.max_loads)  # loads that nobody carries out himself

    # --- readers --------------------------------------------------------------------------------------------

    def _join(self, look: Lookup, until: float, *, detach: bool) -> Any:
        """Lead the flight for this key, or follow it; start over when its result began before we came.

        Waits until the monotonic time `until`; `detach`: the flight goes on without us.
        Raises: what the loader raises, Overloaded, LoadTimeout, ConfigurationError.
        """
        where = self._where(look)
        while True:
            flight, signal = self._flights.join(where, Signal)
            leads = signal is None  # then it began after we came, whatever it brings
            try:
                if signal is None:
                    if not detach:
                        return run(self._fly(flight, look))
                    signal = self._flights.follow(flight, Signal)
                    if not self._send_off(flight, look, min(until, look.deadline)):
                        raise self._overloaded(f"{2 * self._options.max_loads} loads go on in the background")
                # Our own load may take as long as it takes; `wait` is for those of others.
                end = until if leads else min(until, look.deadline)
                if not signal.wait(rules.left(end, monotonic())):
                    if end < until:
                        raise self._overloaded(f"waited {self._options.wait} s for the load of {look.tag!r}")
                    raise self.late(look)
                is_ours = flight.began and (leads or rules.may_share(look.arrived, flight.began))
                if is_ours and (flight.loaded or not look.fresh):
                    if flight.error is not None:
                        raise flight.error
                    return flight.value
            finally:
                self._flights.leave(flight)
            if self.store.read(look) and look.note(verdict := self.store.judge(look)):
                return verdict.value  # counted as a miss already

    def _refresh_later(self, look: Lookup) -> None:
        """Have the value loaded in the background, if nobody is at it; this caller does not wait."""
        look.is_polite = True
        look.deadline = monotonic() + self.store.wait
        flight, signal = self._flights.join(self._where(look), Signal)
        try:
            if signal is None:
                self._send_off(flight, look, 0.0)
        finally:
            self._flights.leave(flight)

    def _where(self, look: Lookup) -> Any:
        where = (scope(), look.entry, self._nested())
        if any(flight.where[:2] == where[:2] and not flight.landed for _, flight in _LOADING.get()):
            raise ConfigurationError(
                f"cache {self.store.name!r}: the loader of {look.tag!r} asks for that very key"
            )
        return where

    def _send_off(self, flight: Flight, look: Lookup, until: float) -> bool:
        """Let `flight` be carried out by somebody else; False, and landed, if nobody is free by `until`."""
        crews = self.crews
        try:
            is_free = crews.acquire(rules.left(until, monotonic()))
        except BaseException:  # cancelled: nobody carries it out, so its followers start over
            self._flights.land(flight)
            raise
        if not is_free:
            self._flights.land(flight)
            return False
        self._flights.board(flight)

        def alone() -> None:
            try:
                flight.detached = True
                self._fly(flight, look)
            except Exception as error:  # noqa: BLE001 (who waits has it from the flight)
                self.failed_alone(look, error)
            finally:
                self._flights.leave(flight)
                crews.release()

        try:
            spawn(f"holdfast load {look.tag}", alone)
        except RuntimeError as error:  # no more threads
            self._flights.land(flight, error=error)
            self._flights.leave(flight)
            crews.release()
            if not look.is_polite:
                raise
            self.failed_alone(look, error)
        return True

    def failed_alone(self, look: Lookup, error: Exception) -> None:
        if look.is_polite:
            self._counts.refresh_errors += 1
            text = f"{type(error).__name__}: {error}"
            told = signals.RefreshFailed(cache=self.store.name, key=look.tag, error=text)
            self.store.wire.observer.notify(told)

    def late(self, look: Lookup) -> LoadTimeout:
        """The error for a reader who has waited for `hard_timeout`."""
        return LoadTimeout(
            f"cache {self.store.name!r}: the load of {look.tag!r} takes longer than hard_timeout="
            f"{self._options.hard_timeout} s; it goes on in the background",
            retry_after=1.0,
        )

    def _overloaded(self, why: str) -> Overloaded:
        self._counts.overloaded += 1
        return Overloaded(f"cache {self.store.name!r}: {why}", retry_after=1.0)

    # --- the flight -----------------------------------------------------------------------------------------

    def _fly(self, flight: Flight, look: Lookup) -> Any:
        """Get the value for everybody in `flight`, and land it whatever happens."""
        flight.task = current_task()  # type: ignore[func-returns-value, unused-ignore]
        if flight.abandoned:  # by a leader that was cancelled before this could start
            return MISSING
        try:
            value = self._circle(flight, look)
        except Exception as error:
            self._flights.land(flight, error=error)
            raise
        except BaseException:  # an interrupt or a cancellation is nobody else's: the followers start over
            flight.began = 0
            self._flights.land(flight)
            raise
        self._flights.land(flight, value)
        return value

    def _circle(self, flight: Flight, look: Lookup) -> Any:
        """Ask for the lease until it is ours, or wait for who has it, until there is a value."""
        watch: AnyWatch | None = None
        signal = Signal()
        read_at = look.arrived
        with ExitStack() as stack:
            attempt = 0
            while isinstance(answer := self._attempt(flight, look), Grant):
                if look.is_polite or (answer.state == THROTTLED and look.kept is not MISSING):
                    flight.began = read_at  # only who came before what we have was read may share it
                    self._counts.served_expired += not look.is_polite
                    return look.kept
                if answer.state in {BUSY, THROTTLED}:
                    if watch is None:
                        self._counts.waits += 1
                        watch = stack.enter_context(self.store.wire.hub.watch(look.lease, signal))
                    remaining = rules.left(look.deadline, monotonic())
                    rest = rules.park if watch.pushing else rules.poll
                    signal.wait(
                        rest(answer.number if watch.pushing else attempt, remaining, random.random())
                    )
                    signal.clear()  # before reading: what happens from now on fires again
                if monotonic() >= look.deadline:
                    raise self._overloaded(
                        f"waited {self._options.wait} s for another's load of {look.tag!r}"
                    )
                attempt += 1
                read_at = self._flights.step()
                if self.store.read(look) and look.note(verdict := self.store.judge(look)):
                    flight.began = read_at
                    return verdict.value  # counted as a miss already
            return answer

    def _attempt(self, flight: Flight, look: Lookup) -> Any:
        """Take a place among the loads, ask for the lease, and load; a Grant where that was not possible."""
        nested = self._nested()
        patience = 0.0 if look.is_polite else rules.left(look.deadline, monotonic())
        if not nested and not self._slots.acquire(patience):
            if look.is_polite:
                return Grant(BUSY, 0)
            raise self._overloaded(f"{self._options.max_loads} loads are under way (max_loads)")
        token = f"F:{os.urandom(16).hex()}"
        try:
            grant = self.store.ask(look, token)
            if grant is None and look.is_polite:
                return Grant(BUSY, 0)
            if grant is not None and grant.state != GRANTED:
                return grant
            return self._load(flight, look, token, grant)
        except Exception:
            throttle = self.store.throttle_ms if flight.loaded and look.can_serve else 0
            self.store.abandon(look.lease, token, throttle)
            raise
        except BaseException:
            self.store.abandon_later(look.lease, token)
            raise
        finally:
            if not nested:
                self._slots.release()

    def _load(self, flight: Flight, look: Lookup, token: str, grant: Grant | None) -> Any:
        """Load, and store the value if we were granted the lease."""
        loader = look.loader
        assert loader is not None  # (a lookup without one never gets here)
        before = look.entry_before
        previous = MISSING
        if before is not None and look.previous is not None and look.previous.value is not MISSING:
            # One of its own: a reader has the other, and may change it.
            previous = look.shape.decode(before, look.name)
        self._counts.refreshes += look.is_polite
        load = Load(look.tag, previous)
        if before is not None:
            tags = tuple(name for name, _ in before.tags)
            load = Load(look.tag, previous, before.etag or None, before.version, tags)
        started = monotonic()
        with self.under_way([flight], load):
            value = Flavour.outcome(loader(), loader)
        if grant is not None:
            self.fill(look, token, grant, value, load, monotonic() - started)
        return value

    @contextmanager
    def under_way(self, flights: Sequence[Flight], load: Load) -> Iterator[None]:
        """Around a call of the user's loader, for all of `flights`."""
        began = self._flights.step()
        for flight in flights:
            flight.loaded = True
            flight.began = began
        scope = self._options.load_scope if any(flight.detached for flight in flights) else None
        started = monotonic()
        outer = _LOADING.set((*_LOADING.get(), *((self, flight) for flight in flights)))
        current = CURRENT.set(load)
        try:
            with nullcontext() if scope is None else scope():
                yield
        except Exception:
            self._counts.load_errors += 1
            raise
        finally:
            CURRENT.reset(current)
            _LOADING.reset(outer)
            self._counts.load_seconds += monotonic() - started
        self._counts.loads += 1

    def fill(self, look: Lookup, token: str, grant: Grant, value: Any, load: Load, took: float) -> None:
        """Store what was loaded, if it is to be stored."""
        draft = self.draft(look, token, grant, value, load, took)
        if draft is not None:
            self.store.fill(look, token, draft, value)

    def draft(
        self, look: Lookup, token: str, grant: Grant, value: Any, load: Load, took: float
    ) -> Draft | None:
        """The entry for what was loaded; None, and the lease given back, if it is not to be stored."""
        found = load.checked(() if look.tagger is None or value is MISSING else look.tagger(value))
        ttl = look.ttl if load.ttl is None else load.ttl
        draft = self.store.draft(value, ttl, look.epoch or b"", grant.number, told=load.ttl is not None)
        if draft is None and look.raw is not None and not look.other:  # what is outdated must not survive it
            self.store.unlink([look.tag])
            return None
        if draft is None:
            self.store.abandon(look.lease, token)
            return None
        try:
            tags = self.store.tag_versions(look, found)
        except HoldfastError:
            tags = None
        if tags is None:
            self.store.refused(look.tag, "tags")
            self.store.abandon(look.lease, token)
            return None
        stamp = look.raw[STAMP] if look.other and look.raw is not None else draft.stamp
        return draft._replace(stamp=stamp, took=took, version=load.version, tags=tags, etag=load.etag or "")

    # --- many at once (_bulk_sync.py) ----------------------------------------------------------------------

    def arrive(self) -> int:
        """The tick at which a caller arrives."""
        return self._flights.tick

    def lead(self, look: Lookup) -> Flight | None:
        """A flight for `look` that the caller leads; None if there is one already."""
        flight, signal = self._flights.join(self._where(look), Signal)
        if signal is None:
            return flight
        self._flights.leave(flight)
        return None

    def land(self, flight: Flight, value: Any) -> None:
        """`value` is what everybody in `flight` gets."""
        self._flights.land(flight, value)

    def end(self, flight: Flight) -> None:
        """The caller is done with `flight`; if it brought nothing, its followers start over."""
        if not flight.landed:
            flight.began = 0
            self._flights.land(flight)
        self._flights.leave(flight)

    def take_place(self, look: Lookup) -> bool:
        """Take one of `max_loads`; False if the caller has one already, as part of a load. Raises:
        Overloaded.
        """
        if self._nested():
            return False
        patience = 0.0 if look.is_polite else rules.left(look.deadline, monotonic())
        if not self._slots.acquire(patience):
            raise self._overloaded(f"{self._options.max_loads} loads are under way (max_loads)")
        return True

    def leave_place(self) -> None:
        """Give back what `take_place` took."""
        self._slots.release()

    def _nested(self) -> bool:
        """Does a load of this cache ask, that is still under way? It has a place already.

        Such a caller follows no flight but another's of its kind: one that waits for a place could wait for
        ours.
        """
        return any(loads is self and not flight.landed for loads, flight in _LOADING.get())
