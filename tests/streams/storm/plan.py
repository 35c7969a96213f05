"""What a storm is made of, and the streams that it blows over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from holdfast.streams.options import Backoff, Retention

CALM = ("kill", "stop", "term", "drop", "cut", "delay", "blackhole", "swallow", "refuse")
KINDS: dict[str, tuple[str, ...]] = {  # of each kind: what happens, the rare ones once each
    "weather": CALM,
    "restart": (*CALM, "restart"),
    "groups": ("kill", "stop", "term", "drop", "groups"),
    "flush": ("kill", "stop", "term", "drop", "cut", "flush"),
    "failover": ("kill", "stop", "term", "failover"),
    "reshard": ("kill", "stop", "term", "reshard"),
    "cluster": ("kill", "stop", "term", "reshard", "failover"),
}
TOPOLOGY = {"failover": "sentinel", "reshard": "cluster", "cluster": "cluster"}
RARE = {"restart": 3.0, "groups": 1.5, "flush": 3.0, "failover": 6.0, "reshard": 0.7}  # seconds in between


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One storm. Times are seconds."""

    seed: int = 1
    kind: str = "weather"
    lasting: float = 8.0
    workers: int = 3
    producers: int = 2
    rate: float = 300.0  # messages a second that each producer tries
    lease: float = 1.0
    calm: float = 0.35  # seconds between two strikes, about
    keys: int = 12
    concurrency: int = 3
    deliveries: int = 30
    timeout: float = 1.0

    @property
    def topology(self) -> str:
        return TOPOLOGY.get(self.kind, "single")


class Course(NamedTuple):
    """A stream of the storm, and its groups."""

    name: str
    options: dict[str, Any]
    order: str
    groups: tuple[str, ...]  # "billing" has effects, "audit" has none


def key_of(value: Any) -> str:
    return str(value["key"])


COURSES = (
    Course("free", {"partitions": 2}, "none", ("billing", "audit")),
    Course("keyed", {"partitions": 4, "key": key_of}, "key", ("billing", "audit")),
    Course("queue", {"retention": Retention.work_queue()}, "none", ("billing",)),
)
RESULTS: dict[str, Any] = {"partitions": 2, "key": lambda found: str(found["key"])}


def chosen(plan: Plan, order: str) -> dict[str, Any]:
    """The options of a subscriber."""
    return {
        "max_deliveries": plan.deliveries, "retry": Backoff(0.01, 0.03), "lease": plan.lease,
        "concurrency": plan.concurrency, "order": order,
    }  # fmt: skip
