"""What can be chosen about a concurrency limiter, and what it hands out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple, TypedDict, get_args

from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError
from holdfast.limits.options import OnError, check_plan

LEAST_TTL: Final = 0.05  # seconds; below it, the way to the server takes a good part of it
MOST: Final = 1_000_000  # slots


class ConcurrencyKeywords(TypedDict, total=False):
    """What `hf.concurrency_limiter(...)` takes besides the name and the limit; see ConcurrencyOptions."""

    plans: Mapping[str, int] | None
    ttl: Duration
    wait: Duration
    max_queue: int | None
    on_error: OnError
    deadline: Duration
    local_share: float
    breaker: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConcurrencyOptions:
    """The settings of a concurrency limiter. Durations may be given as people write them; they are kept as
    seconds.

    limit           how many slots a subject may have at a time.
    plans           other limits by name, for `hold(subject, plan=...)`.
    ttl             how long a holder that says nothing has its slot; it is renewed while it is held.
    wait            how long to wait for a slot, unless a call says otherwise.
    max_queue       how many may wait for a slot of one subject, in the whole fleet; whoever comes then is
                    refused at once. None: as many as want to.
    on_error        what happens when the server is away or too slow: "allow": everybody gets a slot that
                    nobody counts (`slot.degraded`); "deny": nobody does, and who waits goes on waiting;
                    "local": this process counts by itself, with `local_share` of the limit.
    deadline        how long one question to the server may take; then `on_error` decides. Not the very first,
                    which may have to connect: that one has the client's timeout.
    local_share     of the limit, with on_error="local", but at least one slot.
    breaker         after so many questions in a row that got no answer, the server is left alone for a
                    moment, and `on_error` decides at once.
    """

    limit: int
    plans: Mapping[str, int] | None = None
    ttl: Duration = "60s"
    wait: Duration = "0s"
    max_queue: int | None = None
    on_error: OnError = "allow"
    deadline: Duration = "250ms"
    local_share: float = 1.0
    breaker: int = 3

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        _whole("limit", self.limit, 1)
        plans = {} if self.plans is None else dict(self.plans)
        for name, limit in plans.items():
            check_plan(name)
            _whole(f"plans[{name!r}]", limit, 1)
        put(self, "plans", plans)
        put(self, "ttl", seconds(self.ttl, "ttl"))
        put(self, "wait", seconds(self.wait, "wait", zero=True))
        put(self, "deadline", seconds(self.deadline, "deadline"))
        if seconds(self.ttl) < LEAST_TTL:
            raise ConfigurationError(f"ttl={self.ttl!r} must be at least {LEAST_TTL} s")
        if self.max_queue is not None:
            _whole("max_queue", self.max_queue, 0)
        if self.on_error not in get_args(OnError):
            known = ", ".join(f'"{one}"' for one in get_args(OnError))
            raise ConfigurationError(f"on_error={self.on_error!r} must be one of {known}")
        share = self.local_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise ConfigurationError(f"local_share={share!r} must be more than 0 and at most 1")
        _whole("breaker", self.breaker, 1)

    def limit_of(self, plan: str | None) -> int:
        """The limit under `plan`; None: the limiter's own. Raises: ConfigurationError if there is no such."""
        if plan is None:
            return self.limit
        found = self.plans.get(plan) if self.plans else None
        if found is None:
            known = ", ".join(repr(one) for one in self.plans or ()) or "none"
            raise ConfigurationError(f"plan={plan!r} is no plan of this limiter; it has {known}")
        return found

    def difference(self, other: ConcurrencyOptions) -> str:
        """What `other` wants otherwise, in words; "" if both describe the same limiter."""
        return ", ".join(
            f"{one.name}={getattr(self, one.name)!r}, not {getattr(other, one.name)!r}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(other, one.name)
        )


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        raise ConfigurationError(f"{name}={value!r} must be a whole number from {least} to {MOST}")


class ConcurrencyDecision(NamedTuple):
    """How many slots of a subject are in use; to be read as the Decision of a rate limit.

    - `allowed`: there is a slot. `bool(occupancy)` says so too.
    - `remaining`: slots that are left; those that somebody waits for already are not.
    - `retry_after`: seconds until one is free if nobody renews his slot or gives it back sooner; 0.0 if there
      is one. A hint: who lives renews.
    - `reset_after`: the same for all slots that are in use.
    - `violated`: the limiter's name, if there is no slot.
    - `degraded`: the server was not asked, or gave no answer in time: `on_error` decided.
    - `limit`: how many there are.
    - `in_use`: how many are in use, and how many wait for one (`waiting`); 0 where nobody knows.
    """

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: float
    violated: tuple[str, ...] = ()
    degraded: bool = False
    limit: int = 0
    in_use: int = 0
    waiting: int = 0

    def __bool__(self) -> bool:
        return self.allowed
