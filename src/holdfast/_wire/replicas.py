"""Which replicas may answer a read: those that are proved to be no staler than the caller allows.

A thread for each server that matters samples its replication offset a few times within the allowed staleness;
freshness.py says what the samples prove. A server that is frozen or cut off is simply not sampled any more,
and no longer chosen once its last proof is too old. The threads begin with the first read that asks for a
replica, and end when none has asked for half a minute.

Promise: an answer is at most `max_staleness` behind the primary that this client knows. Not promised: that a
replica is chosen (there may be none, or none that is fresh: then the primary answers), or that two reads see
the same replica: the second may see less than the first, within the bound.
"""

from __future__ import annotations

import os
import random
import threading
import weakref
from collections import deque
from time import monotonic

from holdfast._wire.cluster.atlas import Atlas
from holdfast._wire.connection import Connection, connect, pack
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.freshness import Address, Sample, as_of, sample
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import ReplyError, WireFailure
from holdfast._wire.url import Target, with_address
from holdfast.errors import HoldfastError

IDLE = 30.0  # seconds without a read from a replica after which the sampling ends
KEPT = 64  # samples of each server
_LOOKS = 4  # samples within the allowed staleness
_FASTEST = 0.02  # seconds between two samples, at least
_INFO = pack(("INFO", "replication"))


class _Gauge:
    """Samples how far one server is, for as long as somebody wants to know."""

    def __init__(self, target: Target, patience: float) -> None:
        self._target = target
        self._patience = patience
        self._wanted_at = monotonic()
        self._interval = float("inf")
        self._wake = threading.Event()
        self.history: deque[Sample] = deque(maxlen=KEPT)
        self.is_running = False

    @property
    def latest(self) -> Sample | None:
        """The last sample; None if there is none yet."""
        try:
            return self.history[-1]
        except IndexError:
            return None

    def want(self, interval: float) -> None:
        """Go on sampling, at least every `interval` seconds."""
        self._wanted_at = monotonic()
        if interval < self._interval:
            self._interval = interval
            self._wake.set()
        if not self.is_running:
            with MUTEX:
                if self.is_running:
                    return
                self.is_running = True
            try:
                threading.Thread(target=self._run, name="holdfast-replicas", daemon=True).start()
            except RuntimeError:  # no more threads: the primary answers
                self.is_running = False

    def stop(self) -> None:
        """Sample no more."""
        self._wanted_at = float("-inf")
        self._wake.set()

    def _run(self) -> None:
        connection: Connection | None = None
        try:
            while monotonic() - self._wanted_at < IDLE:
                self._wake.clear()
                try:
                    if connection is None:
                        connection = connect(self._target, self._patience)
                    self._take(connection)
                except (WireFailure, HoldfastError):
                    if connection is not None:
                        connection.close()
                        connection = None
                self._wake.wait(self._interval)
        finally:
            self.is_running = False
            if connection is not None:
                connection.close()

    def _take(self, connection: Connection) -> None:
        asked_at = monotonic()
        (reply,) = connection.ask(_INFO, 1, asked_at + self._patience)
        taken = None if isinstance(reply, ReplyError) else sample(reply, asked_at)
        if taken is not None:
            self.history.append(taken)


class Replicas:
    """See the file's docstring."""

    def __init__(self, place: Endpoint | Atlas, spec: Target, patience: float) -> None:
        self._place = place
        self._spec = spec
        self._patience = patience
        self._gauges: dict[Target, _Gauge] = {}
        weakref.finalize(self, _stop_all, self._gauges)
        _REPLICAS.add(self)

    def choose(self, primary: Target, max_staleness: float) -> tuple[Target, float] | None:
        """A replica of `primary` that is fresh enough, and as of when it has everything; None if there is
        none.
        """
        interval = max(_FASTEST, max_staleness / _LOOKS)
        leader = self._gauge(primary, interval)
        known = leader.latest
        if known is None:
            return None
        oldest = monotonic() - max_staleness
        found: list[tuple[Target, float]] = []
        for address in known.replicas:
            target = self._target(address)
            seen = self._gauge(target, interval).latest
            if seen is not None and (proved := as_of(leader.history.copy(), seen)) > oldest:
                found.append((target, proved))
        return random.choice(found) if found else None

    def endpoint(self, target: Target) -> Endpoint:
        """The place of the replica `target`."""
        if isinstance(self._place, Atlas):
            return self._place.endpoint((target.host, target.port), readonly=True)
        return Endpoint(f"{target.host}:{target.port}", target)

    def stop(self) -> None:
        """Sample no more."""
        _stop_all(self._gauges)

    def after_fork(self) -> None:
        """In the child: the threads are in the parent."""
        self._gauges.clear()

    def _target(self, address: Address) -> Target:
        return with_address(self._spec, *address, role="replica")

    def _gauge(self, target: Target, interval: float) -> _Gauge:
        gauge = self._gauges.get(target)
        if gauge is None:
            gauge = self._gauges.setdefault(target, _Gauge(target, self._patience))
        gauge.want(interval)
        return gauge


def _stop_all(gauges: dict[Target, _Gauge]) -> None:
    for gauge in list(gauges.values()):
        gauge.stop()


_REPLICAS: weakref.WeakSet[Replicas] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for replicas in list(_REPLICAS):
        replicas.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
