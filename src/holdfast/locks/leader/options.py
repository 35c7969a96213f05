"""What can be chosen about a leader. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from holdfast._wire.durability import Durability
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError
from holdfast.locks.leader.rules import LEAST_TTL
from holdfast.locks.options import LockOptions


class LeaderKeywords(TypedDict, total=False):
    """The arguments of a leader beside its name."""

    ttl: Duration
    label: str
    replicas: int
    durability: Durability | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderOptions:
    """What can be chosen about a leader.

    `ttl`: after so long a leader that says nothing is succeeded; it is told to stop after two thirds of that.
    `label`: for whoever looks who leads. `replicas`, `durability`: a candidate is elected only when so many
    replicas know of it.

    Raises: ConfigurationError that names the option and its value.
    """

    ttl: Duration = "15s"
    label: str = ""
    replicas: int = 0
    durability: Durability | None = None

    def __post_init__(self) -> None:
        if seconds(self.ttl, "ttl") < LEAST_TTL:
            raise ConfigurationError(
                f"ttl={self.ttl!r} must be at least {LEAST_TTL} s: a third of it is what a leader has to stop"
            )
        _ = self.seat

    @property
    def seat(self) -> LockOptions:
        """The options of the lock that makes the leader."""
        return LockOptions(
            ttl=self.ttl, wait=None, label=self.label, replicas=self.replicas, durability=self.durability
        )
