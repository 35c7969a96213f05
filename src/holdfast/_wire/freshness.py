"""How far behind a replica can be at most, proved from replication offsets. Pure.

The primary is asked how far it is; every write that it acknowledged before it was asked is covered by its
answer. A replica that has come that far, in the same history, has all of these writes: what it answers is at
most as old as our question. No clock but ours is needed, and none is compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from holdfast._wire import reply

Address = tuple[str, int]

_REPLICA = re.compile(r"slave\d+")


@dataclass(frozen=True, slots=True)
class Sample:
    """How far a server was: `asked_at` is our monotonic time before the question left."""

    asked_at: float
    is_primary: bool
    history: str  # the id of the sequence of writes that `offset` counts in
    offset: int
    replicas: tuple[Address, ...] = ()


def sample(info: Any, asked_at: float) -> Sample | None:
    """The sample in the reply to INFO replication; None if it cannot be read."""
    told = reply.info(info)
    try:
        is_primary = told["role"] == "master"
        offset = int(told["master_repl_offset" if is_primary else "slave_repl_offset"])
        return Sample(asked_at, is_primary, told["master_replid"], offset, _replicas(told))
    except (KeyError, ValueError):
        return None


def _replicas(told: dict[str, str]) -> tuple[Address, ...]:
    found: list[Address] = []
    for name, about in told.items():
        if _REPLICA.fullmatch(name):
            fields = dict(part.split("=", 1) for part in about.split(",") if "=" in part)
            if fields.get("state") == "online":
                found.append((fields["ip"], int(fields["port"])))
    return tuple(found)


def as_of(primary: Iterable[Sample], replica: Sample) -> float:
    """The time as of which the replica has everything: that of the latest question to the primary whose
    answer the replica had reached; minus infinity if it has reached none.
    """
    return max(
        (
            one.asked_at
            for one in primary
            if one.is_primary and one.history == replica.history and one.offset <= replica.offset
        ),
        default=float("-inf"),
    )
