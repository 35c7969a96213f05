"""Which node serves which slot, as one node of the Cluster told it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from zlib import crc32

from holdfast._wire import reply
from holdfast._wire.cluster.slots import SLOTS

Address = tuple[str, int]


@dataclass(frozen=True)
class Layout:
    """The Cluster at one moment. `epoch` is its logical clock: of two layouts the one with the higher is
    newer.
    """

    table: tuple[Address | None, ...]  # of the slot's primary
    replicas: dict[Address, tuple[Address, ...]] = field(default_factory=dict)
    epoch: int = 0

    @cached_property
    def primaries(self) -> tuple[Address, ...]:
        """Every node that serves a slot, in order of address."""
        return tuple(sorted({address for address in self.table if address is not None}))

    @property
    def is_complete(self) -> bool:
        """Has every slot a node?"""
        return None not in self.table

    @cached_property
    def mark(self) -> int:
        """A number, not 0, that differs wherever a slot has another node."""
        return crc32(repr(self.table).encode()) or 1

    def with_slot(self, slot: int, address: Address) -> Layout:
        """The same, but for one slot that a node said has moved."""
        table = list(self.table)
        table[slot] = address
        return Layout(tuple(table), self.replicas, self.epoch)


def read(slots: Any, info: Any | None, asked: Address) -> Layout | None:
    """The layout in the replies to CLUSTER SLOTS and CLUSTER INFO (None: not permitted); None if there is
    none.

    `asked` is the node's address as we know it: a node that does not know its own host leaves it empty.
    """
    table: list[Address | None] = [None] * SLOTS
    replicas: dict[Address, tuple[Address, ...]] = {}
    if not isinstance(slots, list):
        return None
    for first, last, primary, *others in slots:
        node = _address(primary, asked)
        table[int(first) : int(last) + 1] = [node] * (int(last) - int(first) + 1)
        replicas[node] = tuple(_address(other, asked) for other in others)
    epoch = reply.info(info).get("cluster_current_epoch", "0") if info is not None else "0"
    return Layout(tuple(table), replicas, int(epoch)) if replicas else None


def _address(node: Sequence[Any], asked: Address) -> Address:
    host = reply.text(node[0]) if node[0] is not None else ""
    return (asked[0] if host in {"", "?"} else host, int(node[1]))


def newest(layouts: Iterable[Layout]) -> Layout:
    """The one to believe: the newest, and of equals the most complete."""
    return max(layouts, key=lambda one: (one.epoch, sum(address is not None for address in one.table)))
