"""Limiters that say what a test wants, and remember what they were asked."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

from holdfast.contrib.limits import Asked, LimitPolicy
from holdfast.errors import RateLimited
from holdfast.limits.concurrency.options import ConcurrencyDecision
from holdfast.limits.decision import Decision, LimitState
from holdfast.limits.options import Limit


def decided(
    *limits: Limit,
    remaining: int = 5,
    wait: float = 0.0,
    reset: float = 3.5,
    violated: Sequence[str] = (),
    degraded: bool = False,
    allowed: bool | None = None,
) -> Decision:
    """A decision. `wait`: of the limits that are violated."""
    states = tuple(
        LimitState(
            one,
            0 if one.label in violated else remaining,
            wait if one.label in violated else 0.0,
            reset if math.isfinite(wait) or one.label not in violated else math.inf,
        )
        for one in limits
    )
    return Decision(
        allowed=not violated if allowed is None else allowed,
        remaining=min((one.remaining for one in states), default=0),
        retry_after=wait,
        reset_after=reset,
        violated=tuple(violated),
        degraded=degraded,
        limit=limits[0] if limits else None,
        states=states,
    )


class Plain(Asked):
    """A request of no framework."""

    def __init__(self, headers: dict[str, str] | None = None, **told: Any) -> None:
        policy = LimitPolicy(trusted=told.pop("trusted", ()))
        self._told = {"peer": "192.0.2.1", "user": None, "route": None, **told}
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}
        super().__init__(self._told.get("method", "GET"), self._told.get("path", "/"), None, policy.clients)

    def header(self, name: str) -> str | None:
        return self._headers.get(name.lower())

    @property
    def peer(self) -> str | None:
        return self._told["peer"]

    @property
    def user(self) -> str | None:
        return self._told["user"]

    def find_route(self) -> str | None:
        return self._told["route"]


class Counted:
    """What a limiter of this process has been asked, and what it says. `quota`: for each subject."""

    def __init__(self, quota: int = 3, name: str = "api", **limit: Any) -> None:
        self.name = name
        self.limit = Limit(quota, "1h", **limit)
        self.used: dict[str, int] = {}
        self.asked: list[tuple[str, int, str | None]] = []
        self.settled: list[Any] = []
        self.away: Decision | None = None
        self._lock = threading.Lock()

    def decide(self, subject: str, cost: int, plan: str | None) -> Decision:
        self.asked.append((subject, cost, plan))
        if self.away is not None:
            return self.away
        with self._lock:
            used = self.used.get(subject, 0)
            fits = used + cost <= self.limit.quota
            self.used[subject] = used + cost * fits
            left = self.limit.quota - self.used[subject]
        if fits:
            return decided(self.limit, remaining=left, reset=1200.0)
        return decided(self.limit, violated=[self.limit.label], wait=60.0, remaining=left)

    def give_back(self, subject: str, cost: int) -> None:
        self.used[subject] -= cost


class Limiter(Counted):
    """For threads."""

    def check(self, subject: str, cost: int = 1, *, plan: str | None = None) -> Decision:
        return self.decide(subject, cost, plan)

    def refund(self, subject: str, cost: int = 1, *, plan: str | None = None) -> None:
        self.give_back(subject, cost)

    def reserve(self, subject: str, cost: int, *, plan: str | None = None) -> Reserve:
        return Reserve(self, subject, cost, plan)


class AsyncLimiter(Counted):
    """For asyncio."""

    async def check(self, subject: str, cost: int = 1, *, plan: str | None = None) -> Decision:
        return self.decide(subject, cost, plan)

    async def refund(self, subject: str, cost: int = 1, *, plan: str | None = None) -> None:
        self.give_back(subject, cost)

    def reserve(self, subject: str, cost: int, *, plan: str | None = None) -> AsyncReserve:
        return AsyncReserve(self, subject, cost, plan)


class Estimate:
    """An estimate, for either."""

    def __init__(self, limiter: Counted, subject: str, cost: int, plan: str | None) -> None:
        self.limiter, self.subject, self.cost, self.plan = limiter, subject, cost, plan

    def enter(self) -> Any:
        self.decision = self.limiter.decide(self.subject, self.cost, self.plan)
        if not self.decision:
            raise RateLimited("no", decision=self.decision, retry_after=self.decision.retry_after)
        return self

    def set(self, actual: int) -> bool:
        self.limiter.settled.append(actual)
        self.limiter.used[self.subject] += actual - self.cost
        return True


class Reserve(Estimate):
    """For threads."""

    def __enter__(self) -> Any:
        return self.enter()

    def settle(self, actual: int) -> bool:
        return self.set(actual)

    def cancel(self) -> bool:
        return self.set(0)


class AsyncReserve(Estimate):
    """For asyncio."""

    async def __aenter__(self) -> Any:
        return self.enter()

    async def settle(self, actual: int) -> bool:
        return self.set(actual)

    async def cancel(self) -> bool:
        return self.set(0)


class Slots:
    """A limiter of what runs at the same time, of either flavour."""

    def __init__(self, limit: int = 1, name: str = "slots") -> None:
        self.name, self.limit, self.held, self.most = name, limit, 0, 0

    def take(self) -> None:
        self.decision = ConcurrencyDecision(
            self.held < self.limit, self.limit - self.held - 1, 0.0, 0.0, limit=self.limit
        )
        if self.held == self.limit:
            self.decision = ConcurrencyDecision(False, 0, 55.0, 55.0, (self.name,), limit=self.limit)
            raise RateLimited("full", decision=self.decision, retry_after=55.0)
        self.held += 1
        self.most = max(self.most, self.held)


class SyncSlots(Slots):
    """For threads."""

    def try_acquire(self, subject: str = "") -> Any: ...

    def acquire(self, subject: str = "", wait: Any = None, *, plan: str | None = None) -> Any:
        self.take()
        return self

    def release(self) -> None:
        self.held -= 1


class AsyncSlots(Slots):
    """For asyncio."""

    async def try_acquire(self, subject: str = "") -> Any: ...

    async def acquire(self, subject: str = "", wait: Any = None, *, plan: str | None = None) -> Any:
        self.take()
        return self

    async def release(self) -> None:
        self.held -= 1


async def handshake(app: Any, path: str, *, extended: bool) -> list[Any]:
    """What an application answers to the handshake of a WebSocket. `extended`: it may answer as with HTTP."""
    scope = {
        "type": "websocket", "path": path, "headers": [], "client": ("1.2.3.4", 1), "query_string": b"",
        "subprotocols": [], "extensions": {"websocket.http.response": {}} if extended else {},
    }  # fmt: skip
    seen: list[Any] = []

    async def send(message: Any) -> None:
        seen.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await app(scope, receive, send)
    return seen
