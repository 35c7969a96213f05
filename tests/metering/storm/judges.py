"""Holds what was written down against what each room promises. Pure.

A fact has the time at which it was asked for and the time at which it was answered: what happened at the
server lies in between. A fault is told only if it is one wherever in between that was.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from holdfast import Limit
from holdfast.durations import seconds
from holdfast.testing.histories_grants import Grant, overlaps
from tests.metering.storm.diary import Fact
from tests.metering.storm.plan import BOARDS, LIMITS, SLOTS, WAIT

Diaries = Mapping[str, Sequence[Fact]]
Faults = list[str]
SLACK = 0.0005  # seconds: clocks are read to the microsecond, and written to less
LATE = 12.0  # seconds: a check that takes so long was not only slow because the machine is


class Loss(NamedTuple):
    """From `begin` to `end` the server may have lost what it was told since `since`: everything (`whole`), or
    the last of it.
    """

    begin: float
    end: float
    since: float
    whole: bool


# --- limits -------------------------------------------------------------------------------------------------


class Charge(NamedTuple):
    """What was admitted (`cost` > 0), or may have been given back (< 0), at some time in between."""

    begin: float
    end: float
    cost: float


def most(limit: Limit, length: float) -> float:
    """What may be admitted within `length` seconds."""
    per = seconds(limit.per)
    if limit.algorithm == "log":
        return limit.quota * (1 + length // per)
    return (limit.burst or limit.quota) + limit.quota * length / per


def too_much(limit: Limit, charges: Sequence[Charge]) -> str:
    """The worst window in which more was admitted than `limit` allows; "" if there is none."""
    taken = sorted((one for one in charges if one.cost > 0), key=lambda one: one.end)
    given = [one for one in charges if one.cost < 0]
    worst, words = 0.0, ""
    for start in sorted({one.begin for one in taken}):
        sum_ = 0.0
        for one in taken:
            if one.begin < start:
                continue
            sum_ += one.cost
            over = sum_ - most(limit, one.end - start + SLACK)
            if over <= worst:
                continue
            over += sum(back.cost for back in given if back.begin <= one.end and back.end >= start)
            if over > max(worst, 1e-6):
                worst, words = over, f"{sum_:g} within {one.end - start:.4f} s, {over:.3f} too many"
    return words


def judge_limits(told: Diaries, losses: Sequence[Loss], frozen: Sequence[tuple[float, float]]) -> Faults:
    faults: Faults = []
    charges: dict[str, list[Charge]] = defaultdict(list)
    for one in told["checked"]:
        begin, end = one["at"]
        if one["ok"] and not one["degraded"]:
            charges[one["key"]].append(Charge(begin, end, one["cost"]))
        if end - begin > LATE:
            faults.append(f"late: a check took {end - begin:.1f} s")
        still = any(since + 0.01 < begin and end < until for since, until in frozen)
        if still and not one["degraded"] and not one["cached"]:
            faults.append(f"not degraded: {one['key']} at {begin:.3f}, while the server stood still")
    for one in told["entered"]:
        if not one["degraded"]:
            begin, end = one["at"]
            charges[one["key"]].append(Charge(begin, end, one["cost"]))
    ends = {one["id"]: one["at"][1] for one in told["refunded"]}
    for one in told["refunding"]:
        charges[one["key"]].append(Charge(one["at"][0], ends.get(one["id"], math.inf), -one["cost"]))
    for key, of_key in charges.items():
        limit = LIMITS[key.partition("/")[0]]
        # Whoever has booked a moment comes then, also if the server has forgotten that meanwhile.
        booked = WAIT if key.startswith("queue/") else 0.0
        lost = [
            Charge(one.since, one.end + booked, -most(limit, booked) if one.whole else -math.inf)
            for one in losses
        ]
        if words := too_much(limit, [*of_key, *lost]):
            faults.append(f"admitted: {key}: {words}")
    faults += _out_of_order(told["booked"], losses)
    faults += ["denied: after a reset" for one in told["fresh"] if not one["ok"]]
    faults += _crowded(told["occupied"], losses)
    return faults


def _out_of_order(booked: Iterable[Fact], losses: Sequence[Loss]) -> Faults:
    """Who has asked after another was answered stands behind him."""
    faults: Faults = []
    rows = sorted(booked, key=lambda one: float(one["at"][0]))
    for at, one in enumerate(rows):
        for other in rows[at + 1 : at + 60]:
            apart = any(loss.end >= one["at"][0] and loss.begin <= other["at"][1] for loss in losses)
            if not apart and one["at"][1] < other["at"][0] and one["moment"] >= other["moment"]:
                faults.append(f"order: {one['moment']} was booked before {other['moment']}")
    return faults


def _crowded(occupied: Iterable[Fact], losses: Sequence[Loss]) -> Faults:
    grants = []
    for one in occupied:
        until = min(
            [one["until"], *(loss.since for loss in losses
                             if one["asked"] <= loss.end and one["until"] >= loss.since)]
        )  # fmt: skip
        grants.append(Grant(who=one["id"], asked=one["asked"], granted=one["granted"], until=until))
    return [f"crowded: {pair[0]} and {pair[1]}" for pair in overlaps(grants, SLOTS)]


# --- sessions -----------------------------------------------------------------------------------------------


def judge_sessions(told: Diaries, losses: Sequence[Loss]) -> Faults:
    """A session is known by its root: the number under which it was created, whatever its ids were."""
    faults: Faults = ["let in: an id that nobody has given out"] * len(told["let_in"])
    partial = [one for one in losses if not one.whole]  # who has lost everything lets nobody in

    def apart(before: float, after: float) -> bool:
        return any(one.since <= after and one.end >= before for one in partial)

    users: dict[str, set[str | None]] = defaultdict(set)
    logins: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for one in told["created"]:
        users[one["root"]].add(one["user"])
        if one["user"]:
            logins[one["root"]].append((one["user"], one["at"][1]))
    for one in told["signing"]:
        users[one["root"]].add(one["user"])
    for one in told["signed"]:
        logins[one["root"]].append((one["user"], one["at"][1]))
    gone: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in told["revoked"]:
        gone[one["root"]].append(one["at"])
    for one in told["revoked_all"]:
        for root, some in logins.items():
            if any(user == one["user"] and at < one["at"][0] for user, at in some):
                gone[root].append(one["at"])
    wanted: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for one in told["saved"]:
        wanted[one["root"], one["name"]].append(one)
    for one in told["loaded"]:
        root, (asked, answered) = one["root"], one["at"]
        if one["found"] != root:
            faults.append(f"another's: {one['found']} instead of {root}")
        if one["user"] not in users[root]:
            faults.append(f"another's: {root} is of {one['user']}, not of {users[root]}")
        for begin, end in gone[root]:
            if end < asked and not apart(begin, answered):
                faults.append(f"came back: {root}, {asked - end:.3f} s after it was revoked at {end:.3f}")
        for (of_root, name), saves in wanted.items() if one["numbers"] else ():
            if of_root != root:
                continue
            need = [s["n"] for s in saves if s["at"][1] < asked and not apart(s["at"][0], answered)]
            if need and one["numbers"].get(name, -1) < max(need):
                faults.append(f"lost update: {root} {name}: {max(need)}, not {one['numbers'].get(name)}")
    faults += _winners(told["rotated"], apart)
    return faults


def _winners(rotated: Iterable[Fact], apart: Any) -> Faults:
    by_old: dict[str, list[Fact]] = defaultdict(list)
    for one in rotated:
        by_old[one["old"]].append(one)
    return [
        f"two winners: {old}"
        for old, some in by_old.items()
        if len({one["new"] for one in some}) > 1
        and not apart(min(one["at"][0] for one in some), max(one["at"][1] for one in some))
    ]


# --- leaderboards -------------------------------------------------------------------------------------------


def reachable(sure: Iterable[int], doubtful: Iterable[int]) -> set[int]:
    """The sums that are possible if each of the doubtful counts once or not at all."""
    bits = 1 << sum(sure)
    for one in doubtful:
        bits |= bits << one
    return {at for at in range(bits.bit_length()) if bits >> at & 1}


def judge_sums(told: Diaries, losses: Sequence[Loss], scores: Mapping[str, Mapping[str, int]]) -> Faults:
    """`scores`: what each board holds at the end."""
    ends = {one["id"]: one["at"] for one in told["added"]}
    sure: dict[tuple[str, str], list[int]] = defaultdict(list)
    doubtful: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in told["adding"]:
        at = ends.get(one["id"])
        if at and any(loss.whole and at[1] < loss.begin for loss in losses):
            continue  # gone
        doubt = at is None or any(at[0] <= loss.end and at[1] >= loss.since for loss in losses)
        for member, by in one["pairs"]:
            (doubtful if doubt else sure)[one["board"], member].append(by)
    faults: Faults = []
    for board in BOARDS:
        for member in {name for of, name in sure.keys() | doubtful.keys() if of == board}:
            found, key = scores[board].get(member, 0), (board, member)
            if found not in reachable(sure[key], doubtful[key]):
                words = f"{sum(sure[key])} and {len(doubtful[key])} in doubt ({sum(doubtful[key])})"
                faults.append(f"sum: {board} {member}: {found}, not {words}")
    for one in told["read"]:
        faults += judge_ranks(one["board"], one["rows"])
    return faults


def judge_ranks(board: str, rows: Sequence[Sequence[int]]) -> Faults:
    """Rows of (score, rank) from the first on, against a recomputation."""
    scores = [score for score, _ in rows]
    distinct = sorted(set(scores), reverse=True)
    rank = {
        "competition": lambda at: scores.index(scores[at]) + 1,
        "dense": lambda at: distinct.index(scores[at]) + 1,
        "first": lambda at: at + 1,
    }[board]
    expected = [(score, rank(at)) for at, score in enumerate(scores)]
    if sorted(scores, reverse=True) != scores or expected != [(score, rank) for score, rank in rows]:
        return [f"ranks: {board}: {rows}"]
    return []


# --- analytics ----------------------------------------------------------------------------------------------


def judge_counts(told: Diaries, losses: Sequence[Loss], total: int, found: Mapping[str, int]) -> Faults:
    """`found`: the events of each process, as counted at the server; `total`: of all of them."""
    faults: Faults = []
    if total != sum(found.values()):
        faults.append(f"total: {total}, but {sum(found.values())} by process")
    begun: dict[str, list[Fact]] = defaultdict(list)
    flushed: dict[str, list[Fact]] = defaultdict(list)
    for one in told["counting"]:
        begun[one["who"]].append(one)
    for one in told["flushed"]:
        flushed[one["who"]].append(one)

    def at_most(who: str, until: float = math.inf) -> int:
        return max((one["total"] for one in begun[who] if one["at"][0] <= until), default=0)

    def at_least(who: str, until: float = math.inf) -> int:
        return max((one["total"] for one in flushed[who] if one["at"][1] < until), default=0)

    for who in begun:
        low, high = at_least(who), at_most(who)
        for loss in losses:
            low = min(
                low, at_least(who) - at_most(who, loss.end) + (0 if loss.whole else at_least(who, loss.since))
            )
            if loss.whole:
                high = min(high, at_most(who) - at_least(who, loss.begin))
        if not low <= found.get(who, 0) <= high:
            faults.append(f"counted: {who}: {found.get(who, 0)}, not {low} to {high}")
    return faults + [f"counted: {who}, whom nobody knows" for who in found if who not in begun]


def kinds(faults: Iterable[str]) -> Counter[str]:
    return Counter(one.partition(": ")[0] for one in faults)
