"""The servers of one round: what is done to them, and what they have in the end."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Self

from benchmarks.failover.plan import DOWN_AFTER, Case, Options, Order, Stand
from holdfast import embedded
from holdfast.embedded.cluster_lab import seen_by, slot_of
from holdfast.errors import Refused, Unavailable

PREFIXES = 2  # of each shard
ASIDE = 0.3  # seconds for an answer
SETTLED = 15.0  # seconds until all agree on the new primary
_GUARD = {"min-replicas-to-write": "1", "min-replicas-max-lag": "2"}


class Stage:
    """A fresh lab: a round that starts on what another one left would measure that, too."""

    def __init__(self, case: Case, options: Options, dice: random.Random) -> None:
        self.case = case
        cuttable = case.fault == "cut"  # only there: before a dead node, a relay is more polite than a kernel
        config = _GUARD if case.guarded else {}
        self._sentinel: embedded.SentinelLab | None = None
        self._cluster: embedded.ClusterLab | None = None
        if case.topology == "sentinel":
            self._sentinel = embedded.sentinel(cuttable=cuttable, config=config, down_after=DOWN_AFTER)
            self.victim = self._sentinel.primary
            self._heirs = self._sentinel.replicas
            self.faulted: tuple[str, ...] = ("a", "b")
            self.healthy: tuple[str, ...] = ()
        else:
            self._cluster = embedded.cluster(
                cuttable=cuttable, config=config, node_timeout=DOWN_AFTER, replicas=options.replicas
            )
            shards = _shards(self._cluster)
            self.victim = dice.choice(list(shards))
            own = next(one for one in self._cluster.view() if one.port == self.victim.port)
            heirs = {one.port for one in self._cluster.view() if one.primary == own.id}
            self._heirs = [node for node in self._cluster.nodes if node.port in heirs]
            self.faulted = shards.pop(self.victim)
            self.healthy = tuple(prefix for prefixes in shards.values() for prefix in prefixes)
        self._epoch = self.epoch()

    @property
    def _lab(self) -> embedded.SentinelLab | embedded.ClusterLab:
        lab = self._sentinel or self._cluster
        assert lab is not None
        return lab

    def order(self, name: str, rate: float) -> Order:
        """What the client `name` is told; every client has prefixes of its own."""
        who = name.replace(" ", "").replace(",", "-")
        faulted, healthy = (
            tuple(f"{prefix}:{who}" for prefix in one) for one in (self.faulted, self.healthy)
        )
        return Order(self._lab.url, faulted, healthy, rate)

    # --- what is done to it ---

    def strike(self) -> None:
        """The fault."""
        verbs: dict[str, Callable[[], None]] = {
            "kill": self.victim.kill,
            "freeze": self.victim.freeze,
            "cut": self.victim.cut_off,
        }
        verbs[self.case.fault]()

    def heal(self) -> None:
        """The end of the fault; the old primary does not know yet that it is none any more."""
        verbs: dict[str, Callable[[], None]] = {
            "kill": self.victim.restart,
            "freeze": self.victim.resume,
            "cut": self.victim.heal,
        }
        verbs[self.case.fault]()

    def is_promoted(self) -> bool:
        """Does a replica call itself a primary?"""
        for node in self._heirs:
            with contextlib.suppress(Unavailable, Refused):
                if node.ask("ROLE", wait=ASIDE)[0] == "master":
                    return True
        return False

    def is_named(self) -> bool:
        """Would somebody tell a client of the new primary: a sentinel, or a primary of another shard?"""
        with contextlib.suppress(Unavailable, Refused, ValueError):
            if self._sentinel is not None:
                return any(self._names_another(node) for node in self._sentinel.sentinels)
            for node in self._lab.nodes:
                if node is not self.victim and node not in self._heirs:
                    seen = next(one for one in seen_by(node) if one.port == self.victim.port)
                    if not seen.slots:
                        return True
        return False

    def _names_another(self, sentinel: embedded.Node) -> bool:
        assert self._sentinel is not None
        name = self._sentinel.name
        told = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name, wait=ASIDE)
        return bool(told) and int(told[1]) != self.victim.port

    # --- what is left ---

    def epoch(self) -> int:
        """How often somebody was elected, as most know it."""
        if self._cluster is not None:
            infos = [node.ask("CLUSTER", "INFO", wait=ASIDE) for node in self._heirs]
            return max(int(text.partition("cluster_current_epoch:")[2].split()[0]) for text in infos)
        assert self._sentinel is not None
        epochs = []
        for node in self._sentinel.sentinels:
            flat = node.ask("SENTINEL", "MASTER", self._sentinel.name, wait=ASIDE)
            epochs.append(int(dict(zip(flat[::2], flat[1::2], strict=True))["config-epoch"]))
        return sorted(epochs)[len(epochs) // 2]

    def elections(self) -> int:
        """How often somebody was elected since the beginning; more than once is the servers' accident."""
        return self.epoch() - self._epoch

    def stand(self) -> Stand:
        """What the primaries have, once all agree who they are. Raises: Unavailable if they do not."""
        if self._sentinel is not None:
            nodes = [self._sentinel.await_failover(self.victim, SETTLED)]
        else:
            assert self._cluster is not None
            self._cluster.await_failover(self.victim, SETTLED)
            nodes = self._cluster.primaries
        keys: set[str] = set()
        counters: dict[str, int] = {}
        for node in nodes:
            there = node.ask("KEYS", "*")
            keys.update(there)
            for key in there:
                if key.endswith(":count"):
                    counters[key] = int(node.ask("GET", key))
        return Stand(frozenset(keys), counters)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lab.stop()


def _shards(lab: embedded.ClusterLab) -> dict[embedded.Node, tuple[str, ...]]:
    """Prefixes whose keys each primary keeps, one for each of several slots."""
    shards: dict[embedded.Node, tuple[str, ...]] = dict.fromkeys(lab.primaries, ())
    view = lab.view()
    number = 0
    while any(len(prefixes) < PREFIXES for prefixes in shards.values()):
        prefix = f"{{{number}}}"
        number += 1
        slot = slot_of(prefix)
        port = next(one.port for one in view if any(slot in part for part in one.slots))
        node = next(one for one in shards if one.port == port)
        if len(shards[node]) < PREFIXES:
            shards[node] += (prefix,)
    return shards
