"""Names whose keys are, or are not, in one slot of a Cluster."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from holdfast._wire.cluster.slots import slot_of


def key_of(hf: Any, name: str) -> str:
    """The key of the lock `name`."""
    return hf.lock(name).key


def neighbours(hf: Any, name: str) -> str:
    """Another name in the slot of `name`."""
    wanted = slot_of(key_of(hf, name))
    return next(other for place in count() if slot_of(key_of(hf, other := f"n{place}")) == wanted)


def ascending(hf: Any, names: Sequence[str]) -> list[str]:
    """`names` in the order of their slots."""
    return sorted(names, key=lambda name: (slot_of(key_of(hf, name)), key_of(hf, name)))
