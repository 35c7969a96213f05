"""What is to be tried, and how it is told to the processes of the clients. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

TOPOLOGIES = ("sentinel", "cluster")
FAULTS = ("kill", "freeze", "cut")
GUARDED = ("freeze", "cut")  # faults after which an old primary comes back, and min-replicas matters

DOWN_AFTER = 1.0  # seconds; also the node timeout of the clusters
BOUNDS = {"sentinel": DOWN_AFTER + 2.0, "cluster": 1.33 * DOWN_AFTER + 1.0}
BOUND_TEXTS = {"sentinel": "down-after + 2 s", "cluster": "1.33 x node-timeout + 1 s"}


class Case(NamedTuple):
    """One kind of round. `guarded`: the servers ask for a replica that is at most 2 s behind."""

    topology: str
    fault: str
    guarded: bool = False

    @property
    def title(self) -> str:
        """As it stands in tables."""
        return f"{self.fault}{', min-replicas' if self.guarded else ''}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How thorough to be. Times in seconds."""

    topologies: tuple[str, ...] = TOPOLOGIES
    faults: tuple[str, ...] = FAULTS
    rounds: int = 20
    guarded_rounds: int = 20
    window: float = 10.0  # of observation, from the fault on
    heal: tuple[float, float] = (3.0, 7.0)  # from the fault on, at random: before and after a timeout of 5 s
    warm: float = 1.0  # of traffic before the fault
    rate: float = 100.0  # operations per second of each lane
    replicas: int = 1  # of each primary of a cluster

    def cases(self, number: int) -> Iterator[Case]:
        """What round `number` consists of."""
        for topology in self.topologies:
            for fault in self.faults:
                if number < self.rounds:
                    yield Case(topology, fault)
                if topology == "sentinel" and fault in GUARDED and number < self.guarded_rounds:
                    yield Case(topology, fault, guarded=True)


class Order(NamedTuple):
    """What a client's process is told: where to connect, and under which prefixes to write.

    `faulted`: those kept by the primary that is to fail. `healthy`: those kept by others, if there are any.
    """

    url: str
    faulted: tuple[str, ...]
    healthy: tuple[str, ...]
    rate: float


class Op(NamedTuple):
    """One call. Monotonic seconds; `value`: what INCR answered; `maybe`: it may still have happened."""

    start: float
    end: float
    number: int
    value: int = 0
    error: str = ""
    maybe: bool = False


class Track(NamedTuple):
    """All calls of one lane, and the one that had not returned in the end: its start and its number."""

    lane: str
    kind: str
    prefixes: tuple[str, ...]
    healthy: bool
    ops: list[Op]
    pending: tuple[float, int] | None = None

    def key(self, number: int) -> str:
        """The key of the write `number`: each write has its own, so that each one that is lost is missed."""
        return f"{self.prefixes[number % len(self.prefixes)]}:{self.lane}:{number}"

    @property
    def counter(self) -> str:
        """The key of its counter."""
        return f"{self.prefixes[0]}:{self.lane}"


class Stand(NamedTuple):
    """What the servers have in the end: keys, and the values of counters."""

    keys: frozenset[str]
    counters: dict[str, int]


Row = dict[str, Any]
