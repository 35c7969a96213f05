# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""check_all: several limiters at once; all of them allow it, or nothing is charged anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from holdfast._compat import arun, monotonic
from holdfast._coord.naming import Key, text
from holdfast._wire._async import AsyncWire
from holdfast._wire.cluster.slots import slot_of
from holdfast._wire.transport import Arg
from holdfast.errors import ConfigurationError, HoldfastError, Unavailable
from holdfast.limits import rules
from holdfast.limits._desk_async import TRIES, AsyncDesk
from holdfast.limits._limiter_async import AsyncLimiter
from holdfast.limits.decision import Decision, Together
from holdfast.limits.rules import Table

MOST = 64  # items; a script that looks at more keeps everybody waiting


class Item(NamedTuple):
    """One of the items, checked."""

    limiter: AsyncLimiter
    desk: AsyncDesk
    table: Table
    subject: Key
    tag: str
    cost: int
    key: str


async def check_all(wire: AsyncWire, items: Sequence[tuple[AsyncLimiter, Key, int]]) -> Together:
    """May all of `items` (limiter, subject, cost) be done? See `AsyncHoldfast.check_all`.

    Raises: ConfigurationError, Closed, NoPermission.
    """
    chosen = _chosen(items)
    now = monotonic()
    for place, one in enumerate(chosen):
        denial = one.desk.denials.find(one.tag, one.cost, None, now)
        if denial is not None:
            one.desk.counters.denied_here += 1
            decision = one.desk.count(rules.aged(denial.decision, now - denial.asked))
            return Together(False, (*[None] * place, decision, *[None] * (len(chosen) - place - 1)))
    first = chosen[0].desk
    if not first.breaker.allow(now):
        return _without(chosen)
    try:
        if len({slot_of(one.key) for one in chosen}) > 1 and (await wire.facts()).mode == "cluster":
            return await _one_by_one(chosen)
        decisions = await _at_once(chosen)
    except HoldfastError as error:
        first.failed(error, chosen[0].key)
        for one in chosen:
            one.desk.begun()
        return _without(chosen)
    for one in chosen:
        one.desk.answered()
    allowed = all(decisions)
    for one, decision in zip(chosen, decisions, strict=True):
        if not decision.allowed and one.desk.remembers:
            one.desk.denials.put(one.tag, one.cost, None, decision, decision.retry_after, now)
        if allowed or not decision.allowed:
            one.desk.count(decision)
    return Together(allowed, tuple(decisions))


def _chosen(items: Any) -> list[Item]:
    """Raises: ConfigurationError."""
    chosen: list[Item] = []
    for item in items:
        try:
            limiter, subject, cost = item
            desk = limiter._desk
        except (TypeError, ValueError, AttributeError):
            raise ConfigurationError(f"{item!r:.80} is no (limiter, subject, cost)") from None
        rules.check_cost(cost)
        tag = text(subject)
        chosen.append(Item(limiter, desk, desk.default, subject, tag, cost, desk.key(tag)))
    if not 1 <= len(chosen) <= MOST:
        raise ConfigurationError(f"check_all takes 1 to {MOST} items, not {len(chosen)}")
    if len({one.key for one in chosen}) < len(chosen):
        raise ConfigurationError("check_all got one subject of one limiter twice; add the costs up")
    return chosen


async def _at_once(chosen: Sequence[Item]) -> list[Decision]:
    """In one script. Raises: as the wire does."""
    deadline = max(one.desk.deadline for one in chosen)
    keys = [key for one in chosen for key in (one.key, f"{one.key}:o")]
    give_up = monotonic() + deadline
    for _ in range(TRIES):
        args: list[Arg] = [arg for one in chosen for arg in (one.table.quiet, str(one.cost))]
        left = max(0.001, give_up - monotonic())
        reply = await chosen[0].desk.wire.run(rules.TOGETHER, keys, args, left)
        if reply[0] > rules.STALE:
            return [one.table.each(report) for one, report in zip(chosen, reply[1:], strict=True)]
        chosen[reply[2] - 1].table.is_outdated(reply)
    raise Unavailable("the limits change all the time")


async def _one_by_one(chosen: Sequence[Item]) -> Together:
    """In a Cluster: in their order, until one denies; then what was charged is given back."""
    decisions: list[Decision] = []
    try:
        for one in chosen:
            decisions.append(await one.limiter.check(one.subject, one.cost))
            if not decisions[-1].allowed:
                break
    except BaseException:
        await arun(_give_back(chosen, decisions))
        raise
    if decisions[-1].allowed:
        return Together(True, tuple(decisions))
    await arun(_give_back(chosen, decisions[:-1]))
    return Together(False, (*decisions, *[None] * (len(chosen) - len(decisions))))


async def _give_back(chosen: Sequence[Item], decisions: Sequence[Decision]) -> bool:
    """What was charged. If the server is not told, it stays charged: nobody gets too much."""
    for one, decision in zip(chosen, decisions, strict=False):
        if decision.degraded:
            _give_back_here(one)
        else:
            with suppress(HoldfastError):
                await one.limiter.refund(one.subject, one.cost)
    return True


def _give_back_here(one: Item) -> None:
    if one.table.local is not None:
        one.table.local.refund(one.tag, one.cost, monotonic())


def _without(chosen: Sequence[Item]) -> Together:
    """What `on_error` of each limiter decides."""
    decisions = [one.desk.without(one.table, one.tag, one.cost) for one in chosen]
    allowed = all(decisions)
    for one, decision in zip(chosen, decisions, strict=True):
        if allowed or not decision.allowed:
            one.desk.count(decision)
        else:
            _give_back_here(one)
    return Together(allowed, tuple(decisions))
