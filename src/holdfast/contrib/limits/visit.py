"""One request: what limits have said to it, and what is answered. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from holdfast.contrib.limits import headers
from holdfast.contrib.limits.asked import Asked
from holdfast.contrib.limits.fields import plain
from holdfast.contrib.limits.headers import Header, Line
from holdfast.contrib.limits.policy import LimitPolicy
from holdfast.errors import RateLimited
from holdfast.limits.concurrency.options import ConcurrencyDecision
from holdfast.limits.decision import Decision

Decided = Decision | ConcurrencyDecision

KEPT: Final = "holdfast.limits"
"""Where a request carries its Visit from the outer middleware to what is inside of it."""

SLOT_WAIT: Final = 1.0  # seconds

_TYPES: Final = "https://iana.org/assignments/http-problem-types#"
QUOTA_EXCEEDED: Final = f"{_TYPES}quota-exceeded"
REDUCED_CAPACITY: Final = f"{_TYPES}temporary-reduced-capacity"

_TITLES: Final = {
    QUOTA_EXCEEDED: "Request cannot be satisfied as assigned quota has been exceeded",
    REDUCED_CAPACITY: "Request cannot be satisfied due to temporary server capacity constraints",
}


class Answer(NamedTuple):
    """An answer that does not come from the view."""

    status: int
    headers: list[Header]
    body: bytes


class Entry(NamedTuple):
    """What one limiter has said. `limiter`: its name, "" if it is not known. `at`: seconds since 1970, when
    it was.
    """

    limiter: str
    subject: str
    decision: Decided
    at: float
    unit: str = "requests"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served.

    status       429: too much was asked for. 503: the server of the limits is away, and on_error="deny".
    type, title, detail    of the problem (RFC 9457), as the draft has registered them.
    violated     the policies that said no, as they are called in headers.
    retry_after  seconds; None: it will never pass, since it is more than a limit ever lets through at once.
    decision     what the limiter has said; None if it was no limiter of ours.
    """

    status: int
    type: str
    title: str
    detail: str
    violated: tuple[str, ...]
    retry_after: int | None
    decision: Decided | None = field(default=None, compare=False)

    def answer(self) -> Answer:
        """It as problem+json, without the headers of limits; with Retry-After."""
        told: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "violated-policies": list(self.violated),
        }
        return Answer(self.status, [("content-type", "application/problem+json")], json.dumps(told).encode())


def wait_of(decision: Decided | None, seconds: float) -> float:
    """After how long to come back. A slot is free as soon as somebody is done, which is sooner than after the
    seconds for which its holder may be silent.
    """
    return min(seconds, SLOT_WAIT) if isinstance(decision, ConcurrencyDecision) else seconds


class Visit:
    """A request on its way through limits: those of a middleware, of a route, of a view."""

    __slots__ = ("asked", "entries", "policy", "refusal")

    def __init__(self, policy: LimitPolicy, asked: Asked) -> None:
        self.policy = policy
        self.asked = asked
        self.entries: list[Entry] = []
        self.refusal: Refusal | None = None

    def refuse(self, decision: Decided | None, retry_after: float, dice: float) -> Refusal:
        """Say no. `dice`: a random number from 0 to 1, for the jitter."""
        lines = self.lines()
        violated = tuple(plain(line.name) for line in lines if line.refused)
        away = decision is not None and decision.degraded and not decision.violated
        seconds = headers.retry_after(lines, retry_after, self.policy.spread * dice)
        kind = REDUCED_CAPACITY if away else QUOTA_EXCEEDED
        self.refusal = Refusal(
            status=503 if away else 429,
            type=kind,
            title=_TITLES[kind],
            detail=_detail(seconds, away=away),
            violated=violated,
            retry_after=seconds,
            decision=decision,
        )
        return self.refusal

    def overtaken(self, error: RateLimited, now: float, dice: float) -> None:
        """Say no because a view was told no: by `hold`, or by a decorated function."""
        decision = error.decision if isinstance(error.decision, Decided) else None
        if decision is not None and not any(one.decision is decision for one in self.entries):
            self.entries.append(Entry("", "", decision, now))
        self.refuse(decision, wait_of(decision, error.retry_after), dice)

    def answer(self) -> Any:
        """To a request that was refused: the user's own answer, or a problem. Without headers of limits."""
        assert self.refusal is not None
        own = self.policy.denied(self.asked, self.refusal) if self.policy.denied else None
        return self.refusal.answer() if own is None else own

    def headers(self) -> list[Header]:
        """What an answer says of limits, whether the request was refused or not."""
        policy, refused = self.policy, self.refusal is not None
        told: list[Header] = []
        lines = self.lines() if policy.headers is not None else []
        if policy.headers in ("draft", "both"):
            told += headers.draft(lines, refused=refused)
        if policy.headers in ("legacy", "both"):
            since = max((one.at for one in self.entries), default=0.0) if policy.reset == "epoch" else None
            told += headers.legacy(lines, since=since)
        if policy.show_degraded and any(one.decision.degraded for one in self.entries):
            told.append(("X-RateLimit-Degraded", "1"))
        if self.refusal is not None and self.refusal.retry_after is not None:
            told.append(("Retry-After", str(self.refusal.retry_after)))
        return told

    def lines(self) -> list[Line]:
        """Each limit that headers may tell of."""
        found = [(entry, line) for entry in self.entries for line in _lines(entry, self.policy.secret)]
        names = _names([(entry.limiter, line.name) for entry, line in found])
        return [line._replace(name=name) for (_, line), name in zip(found, names, strict=True)]


def _lines(entry: Entry, secret: bytes | None) -> list[Line]:
    decision = entry.decision
    if isinstance(decision, ConcurrencyDecision):
        return [_slots(entry, decision, secret)]
    whose = _partition(entry, secret)
    return [
        Line(
            name=state.limit.label,
            quota=state.limit.quota,
            window=state.limit.window,
            most=state.limit.most,
            remaining=state.remaining,
            retry_after=state.retry_after,
            reset_after=state.reset_after,
            refused=not decision.allowed and state.limit.label in decision.violated,
            unit=None if entry.unit == "requests" else entry.unit,
            partition=whose,
        )
        for state in decision.states
        if not state.limit.shadow
    ]


def _slots(entry: Entry, decision: ConcurrencyDecision, secret: bytes | None) -> Line:
    """A limit of what runs at the same time. It has no window: how long others run is not known."""
    name = entry.limiter or (decision.violated[0] if decision.violated else "concurrency")
    return Line(
        name=name,
        quota=decision.limit,
        window=None,
        most=decision.limit,
        remaining=decision.remaining,
        retry_after=math.inf,
        reset_after=math.inf,
        refused=not decision.allowed and bool(decision.violated),
        unit="concurrent-requests",
        partition=_partition(entry, secret),
    )


def _partition(entry: Entry, secret: bytes | None) -> bytes | None:
    if secret is None or not entry.limiter:
        return None
    return headers.partition(secret, entry.limiter, entry.subject)


def _names(found: Sequence[tuple[str, str]]) -> list[str]:
    """One name for each: its label, and its limiter's before it where several have that label."""
    labels = [label for _, label in found]
    names = [
        label if labels.count(label) == 1 or not limiter else f"{limiter}:{label}" for limiter, label in found
    ]
    return [
        name if names.count(name) == 1 else f"{name}:{names[:index].count(name) + 1}"
        for index, name in enumerate(names)
    ]


def _detail(seconds: int | None, *, away: bool) -> str:
    if seconds is None:
        return "It asks for more than is ever allowed at once."
    when = f"Try again in {seconds} second{'' if seconds == 1 else 's'}."
    return f"How much was asked for before cannot be looked up at the moment. {when}" if away else when
