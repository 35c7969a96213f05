"""What can be chosen about a multilock. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from holdfast.durations import Duration
from holdfast.locks.options import HoldOptions


class MultiLockKeywords(TypedDict, total=False):
    """The arguments of a multilock beside its names."""

    ttl: Duration
    wait: Duration | None
    renew: bool
    max_hold: Duration | None
    label: str
    on_lost: Callable[[Any], object] | None
    on_danger: Callable[[Any], object] | None
    on_wanted: Callable[[Any], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLockOptions(HoldOptions):
    """What can be chosen about a multilock: what HoldOptions says, for all of its names alike.

    In a Cluster `on_danger` may be called once for each slot.
    """
