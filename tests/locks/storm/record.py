"""What a storm writes down of each hold, and how it is judged.

A hold begins with the call of an acquire. Times are those of `boottime`, the same in all processes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from holdfast._compat import boottime
from holdfast.testing.histories import (
    Event,
    FencedMutex,
    Grant,
    Permits,
    ReadersWriter,
    check,
    fence_faults,
    overlaps,
)

PERMITS = 3
MODELS: dict[str, Any] = {
    "lock": FencedMutex(),
    "fair": FencedMutex(),
    "rwlock": ReadersWriter(),
    "semaphore": Permits(PERMITS),
}


@dataclass
class Hold:
    """One acquire and what became of it; None: not (yet)."""

    who: str
    key: str
    op: str = "acquire"  # or "read", "write"
    call: float = field(default_factory=boottime)
    refused: float | None = None  # told that somebody else has it
    holder: str = ""  # who had it, by what it was told
    ended: float | None = None  # the acquire failed otherwise
    failed: str | None = None  # the acquire's outcome is unknown
    granted: float | None = None
    fence: int = 0
    until: float = 0.0  # the latest certain end that it knew
    looked: float = 0.0  # when it was last told that it is its own
    release: float | None = None  # called
    released: float | None = None  # returned
    lost: float | None = None  # noticed
    cause: str | None = None
    killed: float | None = None  # its process ended

    def got(self, lease: Any) -> None:
        """The acquire has returned."""
        self.granted = boottime()
        self.fence = getattr(lease, "fence", 0) or 0
        self.look(lease)

    def look(self, lease: Any) -> bool:
        """Note how long it is certain; False if it is not any more."""
        now = boottime()
        if lease.cause is not None or (left := lease.remaining()) <= 0:
            if self.lost is None:
                self.lost, self.cause = now, lease.cause or "expired"
            return False
        self.until, self.looked = max(self.until, now + left), now
        return True

    @property
    def end(self) -> float:
        """When it stopped relying on it."""
        return min(
            self.until, *(at for at in (self.release, self.lost, self.killed) if at is not None), math.inf
        )

    @property
    def client(self) -> str:
        """Whose it was: `who` is the client, a letter for the task, and a number."""
        return self.who.rstrip("0123456789")[:-1]

    def grant(self) -> Grant:
        """For the exact checks."""
        assert self.granted is not None
        return Grant(
            key=self.key,
            who=self.who,
            asked=self.call,
            granted=self.granted,
            until=self.end,
            fence=self.fence,
            shared=self.op == "read",
        )

    def events(self, *, fenced: bool, lasting: bool) -> Iterable[Event]:
        """For the search. `lasting`: the server never forgot anything."""
        key, who = self.key, self.who
        if self.granted is None:
            if self.refused is None:  # it may have been granted, and then it was given up by its client
                yield Event(who=who, op=self.op, key=key, call=self.call)
                yield Event(who=who, op="release", key=key, call=self.call)
            return
        fence = (self.fence or None) if fenced and self.op != "read" else None
        yield Event(who=who, op=self.op, key=key, value=fence, call=self.call, done=self.granted)
        yield Event(who=who, op="expire", key=key, call=self.until)
        if self.release is None:
            return
        if self.released is None:
            yield Event(who=who, op="release", key=key, call=self.release)
        else:
            sure = True if lasting and self.released < self.until and self.lost is None else None
            yield Event(who=who, op="release", key=key, value=sure, call=self.release, done=self.released)

    def line(self) -> str:
        """For a file that survives its process."""
        return json.dumps(asdict(self)) + "\n"


def read(text: str) -> list[Hold]:
    """The holds of a file, each as it was told last; a line that was cut short is left out."""
    holds: dict[str, Hold] = {}
    for line in text.splitlines():
        try:
            hold = Hold(**json.loads(line))
        except ValueError:
            continue
        holds[hold.who] = hold
    return list(holds.values())


@dataclass
class Wipe:
    """A time in which the server forgot, or may have forgotten, what it knew."""

    begin: float
    end: float
    sure: bool = True


@dataclass
class Judgement:
    """What a storm showed. `double`: pairs that relied on the lock at once, though no wipe explains it;
    `excused`: those that one does.
    """

    verdict: str
    story: str
    holds: int
    operations: int
    double: list[tuple[Grant, Grant]]
    excused: list[tuple[Grant, Grant]]
    fences: list[tuple[Grant, Grant]]
    causes: Counter[str]
    false_alarms: list[Hold]
    learned: list[float]
    deaf: list[Hold]
    ended_by_time: set[str]
    stall: float
    own: list[Hold]
    crowd: int

    @property
    def faults(self) -> list[str]:
        """Everything that must not be; empty if all is well."""
        out = [f"relied on at once:\n  {one}\n  {other}" for one, other in self.double]
        out += [f"fences do not grow:\n  {one}\n  {other}" for one, other in self.fences]
        out += [f"lost without a reason: {hold}" for hold in self.false_alarms]
        out += [
            f"relied on longer than a ttl after the server had forgotten it: {hold}" for hold in self.deaf
        ]
        out += [f"told to wait for itself: {hold}" for hold in self.own]
        if self.verdict == "broken":
            out.append(self.story)
        return out


def judge(
    what: str, holds: list[Hold], wipes: Iterable[Wipe] = (), *, ttl: float, steps: int = 300_000
) -> Judgement:
    """Judge the holds of a storm on locks of one kind. `wipes`: what was done to the server."""
    wipes, fenced = list(wipes), what != "semaphore"
    got = [hold for hold in holds if hold.granted is not None]
    grants = [hold.grant() for hold in got]
    double, excused = _double(grants, 1 if fenced else PERMITS, wipes)
    events = [event for hold in holds for event in hold.events(fenced=fenced, lasting=not wipes)]
    events += [
        Event(who="server", op="wipe", key=None, call=one.begin, done=one.end, maybe=not one.sure)
        for one in wipes
    ]
    report = check(events, MODELS[what], max_steps=steps, seconds=20)
    return Judgement(
        verdict=report.verdict,
        story=str(report),
        holds=len(got),
        operations=sum(1 + (hold.release is not None) for hold in holds),
        double=double,
        excused=excused,
        fences=fence_faults([one for one in grants if not one.shared]) if fenced else [],
        causes=Counter(hold.cause for hold in got if hold.cause),
        false_alarms=[hold for hold in got if _alarmed(hold, wipes)],
        learned=_learned(got, wipes),
        ended_by_time={hold.key for hold in got if hold.cause in {"unreachable", "expired"}},
        stall=_stall(holds),
        crowd=_crowd(holds),
        own=[hold for hold in holds if _waited_for_itself(hold, holds)],
        deaf=[
            hold
            for hold in got
            for wipe in wipes
            if wipe.sure and (hold.granted or 0) < wipe.begin and hold.looked > wipe.end + ttl
        ],
    )


def _double(
    grants: list[Grant], permits: int, wipes: list[Wipe]
) -> tuple[list[tuple[Grant, Grant]], list[tuple[Grant, Grant]]]:
    """Pairs that were relied on at once; those that a wipe between them explains are told apart."""
    double, excused = [], []
    for pair in overlaps(grants, permits):
        late = pair[1]
        beside = [
            one
            for one in grants
            if one.key == late.key
            and one.who != late.who
            and one.granted <= late.granted < one.until
            and not (one.shared and late.shared)
        ]
        known = [
            one
            for one in beside
            # Whose reply was heard first need not have been granted first.
            if not any(
                wipe.begin <= late.granted and wipe.end >= min(one.asked, late.asked) for wipe in wipes
            )
        ]
        if len(known) >= permits:
            double.append((known[-1], late))
        else:
            excused.append(pair)
    return double, excused


def _waited_for_itself(hold: Hold, holds: list[Hold]) -> bool:
    """Was it told that it has the lock itself? What another waiter of its client was told says nothing: it
    may be out of date.
    """
    if not hold.holder.endswith(f":{hold.who}"):
        return False
    end = hold.refused or hold.call
    return not any(
        other.client == hold.client
        and other.who != hold.who
        and other.call < end
        and (other.refused or other.ended or other.released or math.inf) > hold.call
        for other in holds
    )


def _crowd(holds: list[Hold]) -> int:
    """How many wanted or had a lock at once, at most: where they came one by one, nothing was shown."""
    changes = []
    for hold in holds:
        end = hold.released or hold.refused or hold.ended or hold.lost or hold.looked or hold.call
        changes += [(hold.key, hold.call, 1), (hold.key, end, -1)]
    most: Counter[str] = Counter()
    now: Counter[str] = Counter()
    for key, _, change in sorted(changes):
        now[key] += change
        most[key] = max(most[key], now[key])
    return max(most.values(), default=0)


def _stall(holds: list[Hold]) -> float:
    """The longest time in which nobody had a lock, though somebody waited for it all the while."""
    worst = 0.0
    for key in {hold.key for hold in holds}:
        part = [hold for hold in holds if hold.key == key]
        had = [(hold.granted, hold.end) for hold in part if hold.granted is not None]
        for hold in part:
            at, end = hold.call, hold.granted or hold.refused or hold.call
            for begun, over in sorted(had):
                if begun >= end:
                    break
                if over > at:
                    worst, at = max(worst, begun - at), over
            worst = max(worst, end - at)
    return worst


def _alarmed(hold: Hold, wipes: list[Wipe]) -> bool:
    """Was it told of a loss that was none? After its time is over, any cause is true."""
    if hold.cause not in {"vanished", "taken"} or hold.lost is None or hold.lost >= hold.until:
        return False
    return not any(wipe.begin <= hold.lost and wipe.end >= hold.call for wipe in wipes)


def _learned(holds: list[Hold], wipes: list[Wipe]) -> list[float]:
    """Seconds from a wipe until those who held a lock then knew that they had lost it."""
    out = []
    for wipe in (wipe for wipe in wipes if wipe.sure):
        for hold in holds:
            assert hold.granted is not None
            if hold.granted < wipe.begin and hold.lost is not None and hold.lost > wipe.begin:
                out.append(max(0.0, hold.lost - wipe.end))
    return out
