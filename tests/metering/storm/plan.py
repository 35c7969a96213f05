"""What a storm over limits, sessions, leaderboards and analytics is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast import Limit
from holdfast.leaderboards.options import Season
from tests.streams.storm.plan import CALM, RARE

ROOMS = ("limits", "sessions", "leaderboards", "analytics")
KINDS: dict[str, tuple[str, ...]] = {  # of each kind: what happens, the rare ones now and then
    "weather": (*CALM, "freeze"),
    "empty": ("kill", "stop", "term", "drop", "cut", "freeze", "restart", "flush", "empty"),
    "failover": ("kill", "stop", "term", "failover"),
    "reshard": ("kill", "stop", "term", "reshard"),
    "cluster": ("kill", "stop", "term", "reshard", "failover"),
}
TOPOLOGY = {"failover": "sentinel", "reshard": "cluster", "cluster": "cluster"}
SECONDS = RARE | {"empty": 3.0}  # between two of the rare ones


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One storm. Times are seconds."""

    seed: int = 1
    kind: str = "weather"
    rooms: tuple[str, ...] = ROOMS
    lasting: float = 8.0
    workers: int = 3
    producers: int = 0
    hands: int = 2  # of each process in each room
    lease: float = 1.0
    calm: float = 0.35  # between two strikes, about
    pause: float = 0.02  # of a hand after each thing it does, at most
    timeout: float = 1.0
    musts: tuple[str, ...] = ()  # strikes that are not left to the dice

    @property
    def topology(self) -> str:
        return TOPOLOGY.get(self.kind, "single")


# --- what the rooms are used with ---------------------------------------------------------------------------

LIMITS: dict[str, Limit] = {
    "bucket": Limit(6, "1s", burst=6),
    "log": Limit(4, "500ms", algorithm="log"),
    "queue": Limit(25, "1s", burst=1),
}
WAIT = 0.4  # seconds that one holds on for in the queue, at most
OWN = Limit(3, "1h")  # of a subject that only one process knows
SLOTS = 3
SUBJECTS = 2
DEADLINE = 0.25
ALL_TIME = Season("storm", datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
BOARDS: dict[str, dict[str, Any]] = {
    ties: {"ties": ties, "periods": ("all", ALL_TIME)} for ties in ("competition", "dense", "first")
}
MEMBERS = 12
USERS = 5
SESSIONS: dict[str, Any] = {"overlap": "500ms"}
ANALYTICS: dict[str, Any] = {"flush": "200ms", "max_series": 10_000}
