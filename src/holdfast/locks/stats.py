"""What this process has seen of its locks, by family. Pure.

Names of locks are many (`order:1024`); a family is what stands before the first colon (`order`), and what is
counted. There are at most `FAMILIES` of them; the rest is counted as "other".
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast._signals import Signal

FAMILIES = 500
SAMPLES = 512  # the latest durations, from which percentiles are read
ADVISE_EVERY = 128  # releases
CLOSE = 0.5  # part of a ttl that is not renewed which a section may take before it is too close to the end
LONG = 50  # times the hold, from which on a ttl keeps others waiting after a crash for no reason
LONG_FROM = 5.0  # seconds; shorter ttls are never called long


@dataclass(frozen=True, slots=True, kw_only=True)
class TtlAdvice(Signal):
    """The ttl of these locks does not suit how long they are held: `hint` says what to change. Told once."""

    family: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LockStats:
    """What this process has seen of the locks of one family. Durations are in seconds, of the latest 512.

    `acquired`: grants. `contended`: acquires that found it held. `timeouts`: that gave up. `lost`: leases
    lost, by cause. `renewals`: of all leases. `waiting`: callers that wait now. `hint`: what to change about
    the ttl, "" if nothing.
    """

    acquired: int = 0
    contended: int = 0
    timeouts: int = 0
    released: int = 0
    renewals: int = 0
    waiting: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    wait_seconds: float = 0.0
    hold_seconds: float = 0.0
    wait_p50: float = 0.0
    wait_p99: float = 0.0
    hold_p50: float = 0.0
    hold_p99: float = 0.0
    hint: str = ""


class Tally:
    """Counts what happens to the locks of one family. A lost count in a race of threads does no harm."""

    __slots__ = (
        "acquired", "advised", "contended", "family", "hint", "hold_seconds", "holds", "lost", "released",
        "renewals", "timeouts", "wait_seconds", "waiting", "waits",
    )  # fmt: skip

    def __init__(self, family: str) -> None:
        self.family = family
        self.acquired = self.contended = self.timeouts = self.released = self.renewals = self.waiting = 0
        self.wait_seconds = self.hold_seconds = 0.0
        self.lost: Counter[str] = Counter()
        self.waits: deque[float] = deque(maxlen=SAMPLES)
        self.holds: deque[float] = deque(maxlen=SAMPLES)
        self.hint = ""
        self.advised = False

    def granted(self, waited: float, *, contended: bool) -> None:
        """A lease was granted after `waited` seconds."""
        self.acquired += 1
        self.contended += contended
        self.wait_seconds += waited
        self.waits.append(waited)

    def gave_up(self) -> None:
        """Nothing was granted within the wait."""
        self.contended += 1
        self.timeouts += 1

    def ended(self, held: float, cause: str | None, ttl: float, *, renewed: bool) -> TtlAdvice | None:
        """A lease has ended: released, or lost because of `cause`. What there is to say about its ttl."""
        self.hold_seconds += held
        self.holds.append(held)
        if cause is None:
            self.released += 1
        else:
            self.lost[cause] += 1
        if (self.released + sum(self.lost.values())) % ADVISE_EVERY:
            return None
        self.hint = advice(percentile(self.holds, 0.99), ttl, renewed=renewed)
        if not self.hint or self.advised:
            return None
        self.advised = True
        return TtlAdvice(family=self.family, hint=self.hint)

    def stats(self) -> LockStats:
        """The numbers of this moment."""
        return LockStats(
            acquired=self.acquired,
            contended=self.contended,
            timeouts=self.timeouts,
            released=self.released,
            renewals=self.renewals,
            waiting=self.waiting,
            lost=dict(self.lost),
            wait_seconds=self.wait_seconds,
            hold_seconds=self.hold_seconds,
            wait_p50=percentile(self.waits, 0.5),
            wait_p99=percentile(self.waits, 0.99),
            hold_p50=percentile(self.holds, 0.5),
            hold_p99=percentile(self.holds, 0.99),
            hint=self.hint,
        )


class Tallies:
    """The tallies of one client, by family."""

    def __init__(self) -> None:
        self._all: dict[str, Tally] = {}

    def of(self, name: str) -> Tally:
        """The one that counts the lock `name`."""
        family = name.partition(":")[0]
        known = self._all.get(family)
        if known is None:
            if len(self._all) >= FAMILIES:
                family = "other"
            known = self._all.setdefault(family, Tally(family))
        return known

    def stats(self) -> dict[str, LockStats]:
        """All of them, by family."""
        return {family: tally.stats() for family, tally in list(self._all.items())}


def percentile(samples: deque[float], part: float) -> float:
    """The value below which `part` of the samples are; 0.0 where there are none."""
    try:
        ordered = sorted(samples)
    except RuntimeError:  # another thread has just added one
        ordered = sorted(samples.copy())
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def advice(hold_p99: float, ttl: float, *, renewed: bool) -> str:
    """What to change about `ttl` seconds, if sections take `hold_p99`; "" if nothing."""
    if not renewed and hold_p99 > ttl * CLOSE:
        return (
            f"ttl={ttl:.3g} s is too short: 1 in 100 sections takes {hold_p99:.3g} s and more, and nothing "
            f"renews it; set ttl to {hold_p99 * 4:.3g} s or more, or leave out renew=False"
        )
    if ttl >= LONG_FROM and ttl > hold_p99 * LONG:
        return (
            f"ttl={ttl:.3g} s is long: 99 in 100 sections take {hold_p99:.3g} s or less; after a crash "
            f"others wait for the ttl, so {max(1.0, hold_p99 * 10):.3g} s would do"
        )
    return ""
