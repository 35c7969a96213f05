"""A cluster: primaries that share the slots, each with its replicas."""

from __future__ import annotations

import binascii
import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from holdfast.durations import Duration, seconds
from holdfast.embedded import admin
from holdfast.embedded.addresses import HOST, credentials
from holdfast.embedded.lab import (
    Lab,
    Part,
    Progress,
    Seat,
    Wish,
    announce,
    begin,
    count,
    secured,
    together,
    wish,
)
from holdfast.embedded.node import Node
from holdfast.errors import ConfigurationError, Unavailable

SLOTS = 16384

_ASIDE = 0.3  # seconds for one node's answer; the others are asked anyway
_BATCH = 100  # keys moved by one command
_MOVE = 5000  # milliseconds a node may take for that


def cluster(
    *,
    primaries: int = 3,
    replicas: int = 1,
    node_timeout: Duration = "1s",
    password: str | None = None,
    tls: bool = False,
    cuttable: bool = False,
    binary: str | os.PathLike[str] | None = None,
    config: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    timeout: Duration = "30s",
) -> ClusterLab:
    """Start `primaries`, each with `replicas`, and return when all nodes agree and every slot is served.

    `node_timeout`: silence after which a node is believed to fail. `password`: of all nodes; None for a
    random one, "" for none. `tls`: talk TLS only, with certificates made for the lab. `cuttable`: put relays
    in front of the nodes, so that they can be cut off. `binary`: the program, see `find`. `config`: more
    settings of all nodes. `progress`: told of each step. `timeout`: seconds until all agree.

    Raises: ConfigurationError for what cannot work; Unavailable if they do not agree within `timeout`.
    """
    shared = wish(
        password=password,
        tls=tls,
        cuttable=cuttable,
        binary=binary,
        config=config,
        progress=progress,
        timeout=timeout,
    )
    wanted = (count(primaries, "primaries", 3), count(replicas, "replicas", 0))
    milliseconds = max(1, round(1000 * seconds(node_timeout, "node_timeout")))
    return begin(lambda: ClusterLab(shared, *wanted, node_timeout_ms=milliseconds), shared.patience)


def slot_of(key: str | bytes) -> int:
    """The slot of `key`: that of what stands between its first braces, if anything does."""
    raw = key.encode() if isinstance(key, str) else key
    start = raw.find(b"{")
    end = raw.find(b"}", start + 1)
    if start >= 0 and end > start + 1:
        raw = raw[start + 1 : end]
    return binascii.crc_hqx(raw, 0) % SLOTS


class Seen(NamedTuple):
    """A node as another one sees it."""

    id: str
    port: int
    flags: frozenset[str]
    primary: str
    slots: tuple[range, ...]


class ClusterLab(Lab):
    """A cluster's nodes. Made by `cluster`."""

    def __init__(self, wish: Wish, primaries: int, replicas: int, *, node_timeout_ms: int) -> None:
        super().__init__(wish)
        self._counts = (primaries, replicas)
        self._node_timeout = node_timeout_ms
        self._shares: dict[int, int] = {}  # a slot that each primary got, by port

    @property
    def url(self) -> str:
        """What to give a client: all nodes, and the password."""
        where = ",".join(f"{node.host}:{node.port}" for node in self.nodes)
        return f"{self.scheme('cluster')}://{credentials(self.password)}{where}{self.query()}"

    # --- who is who ---

    def view(self) -> list[Seen]:
        """The cluster as seen by the node that knows of the latest election.

        Raises: Unavailable if none answers.
        """
        best, latest = None, (False, -1)
        for node in self.nodes:
            try:
                epoch = int(admin.facts(node.ask("CLUSTER", "INFO", wait=_ASIDE))["cluster_current_epoch"])
            except Unavailable:
                continue
            if (not node.is_cut_off, epoch) > latest:
                best, latest = node, (not node.is_cut_off, epoch)
        if best is None:
            raise Unavailable("no node of the cluster answers")
        return seen_by(best)

    @property
    def primaries(self) -> list[Node]:
        """The nodes that own slots now, in the order of their first slot, whether they are up or not."""
        owners = [one for one in self.view() if one.slots]
        return [self._node_at(one.port) for one in sorted(owners, key=lambda one: one.slots[0].start)]

    @property
    def replicas(self) -> list[Node]:
        """The nodes that are replicas now, whether they are up or not."""
        return [self._node_at(one.port) for one in self.view() if "slave" in one.flags]

    def primary_of(self, key_or_slot: str | bytes | int) -> Node:
        """The node that owns the slot of a key, or a slot."""
        slot = key_or_slot if isinstance(key_or_slot, int) else slot_of(key_or_slot)
        for one in self.view():
            if any(slot in part for part in one.slots):
                return self._node_at(one.port)
        raise Unavailable(f"nobody owns slot {slot}")

    def replica_of(self, node: Node) -> Node:
        """A replica of `node`, one that is up if there is any. Raises: Unavailable if it has none."""
        view = self.view()
        own = next((one.id for one in view if one.port == node.port), "")
        found = [one for one in view if one.primary == own and "slave" in one.flags]
        for one in sorted(found, key=lambda one: "fail" in one.flags):
            return self._node_at(one.port)
        raise Unavailable(f"{node.name} has no replica")

    def _node_at(self, port: int) -> Node:
        for node in self.nodes:
            if node.port == port:
                return node
        raise Unavailable(f"there is no node of this lab at port {port}")

    # --- what can happen ---

    def failover(self, replica: Node) -> None:
        """Ask `replica` to take its primary's place (CLUSTER FAILOVER) and return when it has begun."""
        replica.ask("CLUSTER", "FAILOVER")

    def await_failover(self, old: Node, timeout: Duration = "30s") -> Node:
        """The node that owns the slots of `old` now; all primaries that are up agree, and serve again.

        Raises: Unavailable if there is none within `timeout`.
        """
        own = next((one.slots for one in self.view() if one.port == old.port), ())
        slot = own[0].start if own else self._shares.get(old.port, -1)  # it may have happened already
        self.until(lambda: self._not_succeeded(old, slot), time.monotonic() + seconds(timeout, "timeout"))
        new = self.primary_of(slot)
        self._shares[new.port] = slot
        return new

    def _not_succeeded(self, old: Node, slot: int) -> str:
        new = self.primary_of(slot)
        if new is old:
            return f"{old.name} still owns its slots"
        for node in self.primaries:
            if node is old or node.is_cut_off:
                continue
            state = admin.facts(node.ask("CLUSTER", "INFO", wait=_ASIDE))["cluster_state"]
            owner = [one.port for one in seen_by(node) if any(slot in part for part in one.slots)]
            if state != "ok" or owner != [new.port]:
                return f"{node.name} is {state} and sees {owner} in the place of {old.name}"
        return ""

    # --- moving slots ---

    def begin_move(self, slot: int, to: Node) -> None:
        """Announce that `slot` moves to `to`: from now on its owner answers ASK for keys it does not have."""
        source = self.primary_of(slot)
        if source is to:
            raise ConfigurationError(f"slot={slot} is at {to.name} already")
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.ask("CLUSTER", "MYID"))

    def move_keys(self, slot: int, to: Node, limit: int | None = None) -> int:
        """Move the keys of `slot` that are there now, at most `limit`; how many have moved."""
        source, moved = self.primary_of(slot), 0
        while limit is None or moved < limit:
            batch = _BATCH if limit is None else min(_BATCH, limit - moved)
            keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, batch)
            if not keys:
                break
            auth = ["AUTH", self.password] if self.password else []
            raw = [key.encode("utf-8", "surrogateescape") for key in keys]
            target = (to.host, to.port, "", 0, _MOVE)
            source.ask("MIGRATE", *target, *auth, "KEYS", *raw, wait=2 * _MOVE / 1000)
            moved += len(keys)
        return moved

    def finish_move(self, slot: int, to: Node) -> None:
        """Move what is left of `slot`, give it to `to`, and return when every primary knows."""
        source = self.primary_of(slot)
        self.move_keys(slot, to)
        new = to.ask("CLUSTER", "MYID")
        others = [node for node in self.primaries if node not in (to, source)]
        for node in (to, source, *others):  # the new owner first: a crash in between loses no slot
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", new, wait=2 * _MOVE / 1000)

    def move_slot(self, slot: int, to: Node) -> None:
        """Move `slot` with its keys to `to`, while clients may use it."""
        self.begin_move(slot, to)
        self.finish_move(slot, to)

    # --- whole ---

    def amiss(self) -> str:
        """What is wrong with the nodes or with what they know of each other; "" if nothing is."""
        primaries, replicas = self._counts
        for node in self.nodes:
            if "[" in node.ask("CLUSTER", "NODES"):
                return f"{node.name} has a slot under way"
            info = admin.facts(node.ask("CLUSTER", "INFO"))
            if info["cluster_state"] != "ok" or info["cluster_slots_ok"] != str(SLOTS):
                return f"{node.name} is {info['cluster_state']}, {info['cluster_slots_ok']} slots are well"
            view = seen_by(node)
            up = [one for one in view if one.flags.isdisjoint({"fail", "fail?", "handshake", "noaddr"})]
            owners = sum(bool(one.slots) for one in up)
            followers = sum("slave" in one.flags for one in up)
            if len(up) != len(view) or (owners, followers) != (primaries, primaries * replicas):
                return f"{node.name} sees {owners} primaries, {followers} replicas, {len(view)} nodes"
            about = node.info("replication")
            if about["role"] == "slave" and about["master_link_status"] != "up":
                return f"{node.name} has no link to its primary"
        return ""

    # --- forming ---

    def form(self, give_up: float) -> None:
        """Start all nodes at once and make them a cluster, without waiting for gossip to spread the news."""
        primaries, replicas = self._counts
        self.wish.progress(f"starting {primaries} primaries, each with {replicas} replicas")
        seats = self.seats((f"node-{i + 1}" for i in range(primaries * (1 + replicas))), bus=True)
        nodes = self.boot([self._part(seat) for seat in seats], give_up)
        leaders = nodes[:primaries]
        for i, node in enumerate(leaders):
            self._shares[node.port] = first = i * SLOTS // primaries
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, (i + 1) * SLOTS // primaries - 1)
        for i, node in enumerate(nodes):  # before they meet: equal epochs have to be settled first
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        together(lambda node: self._meet(node, seats), nodes)
        self.until(lambda: _strangers(nodes), give_up)
        self.wish.progress(f"{len(nodes)} nodes know each other")
        ids = [node.ask("CLUSTER", "MYID") for node in leaders]
        for i, node in enumerate(nodes[primaries:]):
            node.ask("CLUSTER", "REPLICATE", ids[i % primaries])
        self.wish.progress("every replica has its primary; waiting until all slots are served")

    def _part(self, seat: Seat) -> Part:
        conf = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(self._node_timeout),
            "cluster-port": str(seat.bus),
        }
        if self.wish.papers is not None:
            conf["tls-cluster"] = "yes"
        if self.wish.cuttable:
            name = "cluster-announce-tls-port" if self.wish.papers is not None else "cluster-announce-port"
            conf |= {"cluster-announce-ip": HOST, name: str(seat.door)}
            conf["cluster-announce-bus-port"] = str(seat.bus_door)
        return Part(
            seat=seat,
            password=self.wish.password,
            conf=conf | announce(seat) | secured(self.wish.password),
            config=self.wish.config,
        )

    @staticmethod
    def _meet(node: Node, seats: Sequence[Seat]) -> None:
        for seat in seats:
            if seat.door != node.port:
                node.ask("CLUSTER", "MEET", HOST, seat.door, seat.bus_door)


def seen_by(node: Node) -> list[Seen]:
    """The cluster as `node` sees it."""
    seen: list[Seen] = []
    for line in node.ask("CLUSTER", "NODES", wait=_ASIDE).splitlines():
        id, where, flags, primary, *rest = line.split()
        port = int(where.partition("@")[0].rpartition(":")[2] or 0)
        slots = [part.partition("-") for part in rest[4:] if not part.startswith("[")]
        ranges = tuple(range(int(first), int(last or first) + 1) for first, _, last in slots)
        seen.append(Seen(id, port, frozenset(flags.split(",")), primary, ranges))
    return seen


def _strangers(nodes: Sequence[Node]) -> str:
    for node in nodes:
        view = seen_by(node)
        if len(view) != len(nodes) or any("handshake" in one.flags for one in view):
            return f"{node.name} knows {len(view)} of {len(nodes)} nodes"
    return ""
