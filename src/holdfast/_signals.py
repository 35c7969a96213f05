"""What can happen inside Holdfast that somebody may want to know, as frozen values.

Signals are for rare and telling moments (a connection lost, a fill refused); what happens on every call is
counted in `stats()` instead, so that the hot path builds no objects. An `Observer` gets each signal in the
thread in which it happened and must be quick; an observer that raises is ignored, because watching must never
break what is watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Base of all signals. `level` is a hint for logs: debug, info, warning or error."""

    level = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(Signal):
    """A connection to the server stands (`purpose`: commands, hub, dedicated)."""

    level = "debug"
    server: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected(Signal):
    """A connection was lost; `unanswered` requests were on it."""

    level = "warning"
    server: str
    purpose: str
    cause: str
    unanswered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerWarning(Signal):
    """A setting of the server has a consequence worth knowing."""

    level = "warning"
    server: str
    setting: str
    consequence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryMoved(Signal):
    """The primary is another server now; every connection to the older one is dropped. In a Cluster: which
    nodes ceased to be primaries (`old`), and which became it (`new`).
    """

    level = "warning"
    server: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelEvent(Signal):
    """A sentinel published something about `instance`; what, says its `channel`: +sdown, +odown,
    -failover-abort-..., +switch-master.
    """

    level = "warning"
    server: str
    sentinel: str
    channel: str  # not `event`: in a log line that is the name of the signal
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsMoved(Signal):
    """Some `slots` of a Cluster are served by another of its primaries now."""

    server: str
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Signal):
    """Calls to the server are now `state`: open (answered locally at once) or closed (normal)."""

    level = "warning"
    name: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidationKept(Signal):
    """An invalidation did not reach the server; it is retried, and this process does not serve the key
    meanwhile.
    """

    level = "warning"
    cache: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidationDelivered(Signal):
    """A kept invalidation has reached the server."""

    cache: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRefused(Signal):
    """A loaded value was not stored (`reason`: invalidated, lease_ended, out_of_memory, read_only, ...)."""

    level = "debug"
    cache: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowLoad(Signal):
    """A load took longer than its lease, so others may have loaded too and nothing was stored: raise
    `lease=`.
    """

    level = "warning"
    cache: str
    key: str
    took: float
    lease: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable(Signal):
    """A stored entry could not be read and counts as a miss (`reason`: foreign, version, schema, corrupt)."""

    level = "warning"
    cache: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedExpired(Signal):
    """The source failed, so a softly expired value was served."""

    level = "warning"
    cache: str
    key: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheBypassed(Signal):
    """Somebody has switched this cache off: the fleet goes without it. Told once, when it is noticed."""

    level = "warning"
    cache: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailed(Signal):
    """A load in the background failed; what is stale is served, and nobody tries again for `throttle`
    seconds.
    """

    level = "warning"
    cache: str
    key: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleRead(Signal):
    """A hit was checked against the source, which has something else since: it was `age` seconds old."""

    level = "error"
    cache: str
    key: str
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLost(Signal):
    """What was held is not ours any more, because of `cause` (see LockLost), after `held` seconds."""

    level = "error"
    name: str
    cause: str
    held: float


class Observer(Protocol):
    """Whoever wants to know. Called in any thread; must not block."""

    def notify(self, signal: Signal) -> None:
        """Take notice of `signal`."""


class Silence:
    """The observer that takes no notice: the default."""

    def notify(self, signal: Signal) -> None:
        """Nothing."""


class Observers:
    """Passes each signal on to every observer that was added; none of them can break the caller."""

    def __init__(self) -> None:
        self._all: tuple[Observer, ...] = ()

    def add(self, observer: Observer) -> None:
        """Tell `observer` of every signal from now on."""
        self._all = (*self._all, observer)

    def remove(self, observer: Observer) -> None:
        """Tell `observer` no more."""
        self._all = tuple(one for one in self._all if one is not observer)

    def notify(self, signal: Signal) -> None:
        """Pass `signal` on."""
        for observer in self._all:
            try:
                observer.notify(signal)
            except Exception:  # noqa: BLE001, S112 (an observer's bug must not become the caller's)
                continue
