# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Let a request in, or not: ask its limiters, and settle when it is answered."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from holdfast._compat import arun
from holdfast._wire._async import AsyncWire
from holdfast.contrib.limits.asked import Answered, Asked
from holdfast.contrib.limits.policy import LimitRule
from holdfast.contrib.limits.visit import Decided, Entry, Visit, wait_of
from holdfast.errors import LockError, RateLimited, Refused, Unavailable
from holdfast.limits._limiter_async import AsyncLimiter
from holdfast.limits._together_async import check_all
from holdfast.limits.rules import MOST_COST

_LOG = logging.getLogger("holdfast.contrib")


class _Wanted(NamedTuple):
    """What one rule asks its limiter for."""

    rule: LimitRule
    subject: str
    cost: int
    plan: str | None


async def enter(visit: Visit, rules: Sequence[LimitRule], asked: Asked) -> AsyncPassage | None:
    """Ask the limiters of `rules` to let a request in; None: refused, and `visit.refusal` says why. Then
    nothing stays charged.

    Raises: ConfigurationError if a key or cost function returned nonsense; Closed; not because a server is
    away.
    """
    passage = AsyncPassage(visit, asked)
    wanted = _wanted(rules, asked)
    if not wanted:
        return passage
    inside = False
    try:
        inside = await passage.obtain(wanted)
    finally:
        if not inside:
            await passage.undo()
    return passage if inside else None


def _wanted(rules: Sequence[LimitRule], asked: Asked) -> list[_Wanted]:
    found: dict[Any, _Wanted] = {}
    for rule in rules:
        if rule.counts(asked) and (subject := rule.subject_of(asked)) is not None:
            cost, plan = rule.cost_of(asked), rule.plan_of(asked)
            # Two rules that count by the same are one question, for the sum of both.
            same = (id(rule.limiter), subject, plan) if rule.settle is None else id(rule)
            known = found[same].cost if same in found and not rule.is_concurrency else 0
            if cost >= 1:
                found[same] = _Wanted(rule, subject, min(MOST_COST, known + cost), plan)
    return list(found.values())


def _wire_of(wanted: Sequence[_Wanted]) -> AsyncWire | None:
    """Of limiters that can be asked at once; None if these cannot."""
    limiters = [one.rule.limiter for one in wanted if one.plan is None]
    if len(wanted) < 2 or len(limiters) < len(wanted):
        return None
    if not all(isinstance(one, AsyncLimiter) for one in limiters):
        return None
    wires = [one._desk.wire for one in limiters]
    return wires[0] if all(wire is wires[0] for wire in wires) else None


class AsyncPassage:
    """A request that was let in, until it is answered."""

    def __init__(self, visit: Visit, asked: Asked) -> None:
        self._visit = visit
        self._asked = asked
        self._charged: list[_Wanted] = []
        self._estimates: list[tuple[LimitRule, Any]] = []
        self._slots: list[Any] = []

    @property
    def is_open(self) -> bool:
        """Is there anything to do when it is answered?"""
        return bool(self._estimates or self._slots)

    async def obtain(self, wanted: Sequence[_Wanted]) -> bool:
        """Ask for all of it; False as soon as one says no."""
        plain = [one for one in wanted if one.rule.settle is None and not one.rule.is_concurrency]
        if plain and not await self._check(plain):
            return False
        for one in wanted:
            if one.rule.settle is not None and not await self._reserve(one):
                return False
        for one in wanted:
            if one.rule.is_concurrency and not await self._acquire(one):
                return False
        return True

    async def leave(self, answered: Answered) -> None:
        """Settle what it did cost, and give slots back; also if whoever asks is cancelled meanwhile."""
        if self.is_open:
            await arun(self._leave(answered))

    async def undo(self) -> None:
        """Give back what was charged; also if whoever asks is cancelled meanwhile."""
        if self._charged or self.is_open:
            await arun(self._undo())

    async def _check(self, wanted: Sequence[_Wanted]) -> bool:
        wire = _wire_of(wanted)
        if wire is not None:
            items = [(one.rule.limiter, one.subject, one.cost) for one in wanted]
            together = await check_all(wire, items)
            # None: it was not asked, since another one had denied already.
            both = zip(wanted, together.decisions, strict=True)
            decisions = [(one, decision) for one, decision in both if decision is not None]
            self._tell(decisions)
            if not together.allowed:
                return self._no([decision for _, decision in decisions if not decision.allowed])
            self._charged += [one for one, decision in decisions if not decision.degraded]
            return True
        for one in wanted:
            decision = await one.rule.limiter.check(one.subject, one.cost, plan=one.plan)
            self._tell([(one, decision)])
            if not decision.allowed:
                return self._no([decision])
            if not decision.degraded:  # nor is it given back then: the server may not know of it
                self._charged.append(one)
        return True

    async def _reserve(self, wanted: _Wanted) -> bool:
        reserved = wanted.rule.limiter.reserve(wanted.subject, wanted.cost, plan=wanted.plan)
        try:
            estimate = await reserved.__aenter__()
        except RateLimited as error:
            self._tell([(wanted, error.decision)])
            return self._no([error.decision])
        self._estimates.append((wanted.rule, estimate))
        self._tell([(wanted, estimate.decision)])
        return True

    async def _acquire(self, wanted: _Wanted) -> bool:
        try:
            slot = await wanted.rule.limiter.acquire(wanted.subject, plan=wanted.plan)
        except RateLimited as error:
            self._tell([(wanted, error.decision)])
            return self._no([error.decision])
        self._slots.append(slot)
        self._tell([(wanted, slot.decision)])
        return True

    def _tell(self, decisions: Sequence[tuple[_Wanted, Decided]]) -> None:
        now = time.time()
        self._visit.entries += [
            Entry(one.rule.limiter.name, one.subject, decision, now, one.rule.unit)
            for one, decision in decisions
        ]

    def _no(self, denials: Sequence[Decided]) -> bool:
        longest = max(denials, key=lambda decision: decision.retry_after)
        self._visit.refuse(longest, wait_of(longest, longest.retry_after), random.random())
        return False

    async def _leave(self, answered: Answered) -> int:
        estimates, self._estimates = self._estimates, []
        slots, self._slots = self._slots, []
        for slot in slots:
            await _quietly(slot.release)
        for rule, estimate in estimates:
            assert rule.settle is not None
            actual = rule.settle(self._asked, answered)
            if actual is not None:
                await _quietly(estimate.settle, max(0, actual))
        return len(estimates) + len(slots)

    async def _undo(self) -> int:
        charged, self._charged = self._charged, []
        estimates, self._estimates = self._estimates, []
        slots, self._slots = self._slots, []
        for one in charged:
            await _quietly(partial(one.rule.limiter.refund, plan=one.plan), one.subject, one.cost)
        for _, estimate in estimates:
            await _quietly(estimate.cancel)
        for slot in slots:
            await _quietly(slot.release)
        return len(charged) + len(estimates) + len(slots)


class AsyncCall(Protocol):
    """A method of a limiter, of an estimate or of a slot."""

    async def __call__(self, *args: Any) -> Any:
        """Do it."""


async def _quietly(call: AsyncCall, *args: Any) -> None:
    """Call it. The answer is decided already, so trouble with the server does not become its trouble."""
    try:
        await call(*args)
    except (Unavailable, Refused, LockError) as error:
        _LOG.debug("a limit was not settled: %s", error)
