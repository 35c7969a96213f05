"""Was that history of messages possible? Exact checks of what a stream promises, for any broker.

Recorded is what publishers were told (`Sent`), what handlers did (`Handled`), what their effects have left
behind (`Effect`), and who became a dead letter (`Dead`). Times are seconds of one clock; an `entry` is a
place in the order of the stream, which the broker gives. `Forgot` tells of what the broker may have lost
meanwhile (a failover, a flush): what that explains is counted apart.

    report = judge_messages(sent, handled, effects, dead, promises={"billing": Promise(effects=True)})
    assert not report.faults, report

Found: what is lost, doubled, out of order, wrongly dead or wrongly alive, both dead and done. Not found: what
nobody recorded. Killed recorders are no trouble: a handler that left no end counts as one that did not end.
O(n log n).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Entry = tuple[int, ...]  # a place in the order of a stream; larger is later


class Sent(NamedTuple):
    """A publish: `done` is when it was acknowledged, infinite if it never was."""

    id: str
    call: float
    done: float = math.inf
    poison: bool = False  # no handler will take it


class Handled(NamedTuple):
    """One run of a handler; `done` is when it was about to return, infinite if it failed or never ended."""

    group: str
    id: str
    entry: Entry
    key: str | None
    begin: float
    done: float = math.inf


class Effect(NamedTuple):
    """What a handler left behind together with its acknowledgement, in the order of the list."""

    group: str
    id: str
    entry: Entry
    key: str | None
    at: float


class Dead(NamedTuple):
    """A dead letter, and when it became one."""

    group: str
    id: str
    entry: Entry
    key: str | None
    at: float


class Forgot(NamedTuple):
    """From `begin` to `end` the broker may have lost something of `group` (None: of everybody).

    messages  what was acknowledged to publishers from `since` on
    acks      acknowledgements, although not what happened together with them
    """

    begin: float
    end: float
    since: float = -math.inf
    group: str | None = None
    messages: bool = False
    acks: bool = False

    def covers(self, group: str, before: float, after: float) -> bool:
        """Could it have made `group` forget what happened at `before`, so that it happened again?"""
        return self.acks and self.group in (None, group) and before <= self.end and after >= self.begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a group promises: `effects`: each message has one effect; `ordered`: by key."""

    effects: bool = False
    ordered: bool = False


@dataclass(slots=True)
class MessageReport:
    """What was wrong, as sentences, and what was counted."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, what: str, sentence: str) -> None:
        """One more fault of the kind `what`."""
        self.counts[what] += 1
        self.faults.append(f"{what}: {sentence}")

    def __str__(self) -> str:
        more = [] if len(self.faults) <= 20 else [f"... and {len(self.faults) - 20} more"]
        return "\n".join([str(dict(self.counts)), *self.faults[:20], *more])


def judge_messages(
    sent: Iterable[Sent],
    handled: Sequence[Handled] = (),
    effects: Sequence[Effect] = (),
    dead: Sequence[Dead] = (),
    forgot: Sequence[Forgot] = (),
    *,
    promises: Mapping[str, Promise],
) -> MessageReport:
    """Hold what happened against what each of the groups in `promises` promises.

    Counted in `counts`: sent, handled, effects, dead; repeated (handlings of a message after its first
    successful one); forgotten (messages lost by a `Forgot`), redone (effects repeated after one); and the
    faults: lost, doubled, unordered, overtaken, wrongly dead, not dead, dead twice, dead and done, unknown.
    """
    report = MessageReport()
    known = _merged(sent)
    report.counts["sent"] = sum(one.done < math.inf for one in known.values())
    for group, promise in promises.items():
        mine = _Group(
            group,
            promise,
            [one for one in handled if one.group == group],
            [one for one in effects if one.group == group],
            [one for one in dead if one.group == group],
        )
        _judge_ends(report, mine, known, forgot)
        _judge_effects(report, mine, forgot)
        _judge_dead(report, mine, known, forgot)
        if promise.ordered:
            _judge_order(report, mine, forgot)
    for what in ("lost", "doubled", "unordered", "overtaken"):
        report.counts[what] += 0  # told also when there are none
    return report


@dataclass(slots=True)
class _Group:
    name: str
    promise: Promise
    handled: list[Handled]
    effects: list[Effect]
    dead: list[Dead]

    @property
    def done(self) -> dict[str, float]:
        """When each message that is done was done first."""
        found: dict[str, float] = {}
        ends = self.effects if self.promise.effects else [one for one in self.handled if one.done < math.inf]
        for one in ends:
            at = one.at if isinstance(one, Effect) else one.done
            found[one.id] = min(at, found.get(one.id, math.inf))
        return found


def _merged(sent: Iterable[Sent]) -> dict[str, Sent]:
    """One for each id: the last that was acknowledged, else any."""
    known: dict[str, Sent] = {}
    for one in sent:
        before = known.get(one.id)
        if before is None or (one.done < math.inf and (before.done == math.inf or one.call > before.call)):
            known[one.id] = one
    return known


def _may_be_gone(one: Sent, forgot: Sequence[Forgot]) -> bool:
    return any(loss.messages and one.call < loss.end and one.done >= loss.since for loss in forgot)


def _judge_ends(
    report: MessageReport, group: _Group, known: Mapping[str, Sent], forgot: Sequence[Forgot]
) -> None:
    done, dead = group.done, {one.id for one in group.dead}
    seen = Counter(one.id for one in group.handled if one.done < math.inf)
    report.counts["handled"] += len(group.handled)
    report.counts["repeated"] += sum(seen.values()) - len(seen)
    for one in known.values():
        if one.done == math.inf or one.id in done or one.id in dead:
            continue
        if _may_be_gone(one, forgot):
            report.counts["forgotten"] += 1
        elif not one.poison:  # what is to die and has not is told by another check
            report.add("lost", f"{group.name}: {one.id}, acknowledged at {one.done:.3f}")
    for id in sorted(done.keys() - known.keys()):
        report.add("unknown", f"{group.name} has done {id}, which nobody has sent")


def _judge_effects(report: MessageReport, group: _Group, forgot: Sequence[Forgot]) -> None:
    report.counts["effects"] += len(group.effects)
    before: dict[str, Effect] = {}
    for one in group.effects:
        earlier = before.get(one.id)
        before[one.id] = one
        if earlier is None:
            continue
        first, last = sorted((earlier.at, one.at))
        if any(loss.covers(group.name, first, last) for loss in forgot):
            report.counts["redone"] += 1
        else:
            times = f"{earlier.at:.3f} and {one.at:.3f}"
            report.add("doubled", f"{group.name}: {one.id} had its effect at {times}")


def _judge_dead(
    report: MessageReport, group: _Group, known: Mapping[str, Sent], forgot: Sequence[Forgot]
) -> None:
    report.counts["dead"] += len(group.dead)
    done, before = group.done, dict[str, Dead]()
    for one in group.dead:
        told = f"{group.name}: {one.id}"
        earlier, before[one.id] = before.get(one.id), one
        if earlier is not None:
            first, last = sorted((earlier.at, one.at))
            if not any(loss.covers(group.name, first, last) for loss in forgot):
                report.add("dead twice", told)
        if one.id not in known:
            report.add("unknown", f"{told} died, and nobody has sent it")
        elif not known[one.id].poison:
            report.add("wrongly dead", told)
        if one.id in done and not any(loss.acks and loss.group in (None, group.name) for loss in forgot):
            report.add("dead and done", told)
    for sent in known.values():
        if sent.poison and sent.done < math.inf and sent.id not in before and not _may_be_gone(sent, forgot):
            report.add("not dead", f"{group.name}: {sent.id}")


def _judge_order(report: MessageReport, group: _Group, forgot: Sequence[Forgot]) -> None:
    """Effects of a key follow the order of the stream; and nothing begins before what is ahead is done."""
    last: dict[str | None, Effect] = {}
    for one in group.effects:
        ahead = last.get(one.key)
        last[one.key] = one
        if ahead is None or one.entry >= ahead.entry:
            continue
        first, second = sorted((ahead.at, one.at))
        if not any(loss.covers(group.name, first, second) for loss in forgot):
            report.add("unordered", f"{group.name}, key {one.key}: {one.id} had its effect after {ahead.id}")
    if not group.promise.effects:  # whose ends are the server's, and exact
        _judge_begins(report, group)


def _judge_begins(report: MessageReport, group: _Group) -> None:
    """Of each key: nothing begins before every earlier entry that is ever done was done once."""
    begins: dict[tuple[Any, Entry], Handled] = {}
    ends: dict[tuple[Any, Entry], float] = {}
    for one in group.handled:
        place = (one.key, one.entry)
        if one.done < math.inf:
            ends[place] = min(one.done, ends.get(place, math.inf))
        if place not in begins or one.begin < begins[place].begin:
            begins[place] = one
    keys: defaultdict[str | None, list[Handled]] = defaultdict(list)
    for one in begins.values():
        keys[one.key].append(one)
    for key, of_key in keys.items():
        latest, whose = -math.inf, ""
        for one in sorted(of_key, key=lambda one: one.entry):
            if one.begin < latest:
                early = f"{(latest - one.begin) * 1000:.1f} ms before the end of {whose}"
                report.add("overtaken", f"{group.name}, key {key}: {one.id} began {early}")
            end = ends.get((key, one.entry), -math.inf)
            if end > latest:
                latest, whose = end, one.id
