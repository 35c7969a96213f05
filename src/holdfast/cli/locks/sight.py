"""A lock as it stands on the server: who has it, who waits, and since when. Pure: questions and answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from holdfast._wire.keys import Keys
from holdfast._wire.script import Script
from holdfast._wire.transport import Command, Reply
from holdfast.cli.cache.walk import pages
from holdfast.cli.locks.rooms import Named
from holdfast.locks import holder, rules
from holdfast.locks.holder import FOREIGN, Holder
from holdfast.locks.rwlock import rules as rwlock
from holdfast.locks.semaphore import rules as semaphore

SEE = Script.load(__package__, "see")

_PAGE = 100  # locks asked about in one write: some milliseconds of the server's time
TICKETS = 50  # of a fair queue, told one by one

Questions = Generator[list[Command], list[Reply], list["Sight"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Somebody who stands in the queue of a fair lock. `age`: seconds. `alive`: has he said so lately?"""

    token: str
    age: float
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A lock, or something else of the family, at one moment.

    `holders`: who has it, the longest first; none: it is free, or (`kind` says so) its key is no lock's.
    `count`: how many have it; `limit`: of how many. `part`: what they are to it: reader, writer, holder.
    `raw`: what stands under a lock's key. `fence`: the last one given. `listeners`: processes that wait for a
    push (None: that may not be known). `queued`: tickets of a fair lock, and `tickets` the first of them.
    `at`: the server's clock, in seconds.
    """

    named: Named
    key: str
    at: float
    holders: Sequence[Holder] = ()
    count: int = 0
    limit: int | None = None
    part: str = ""
    kind: str = "string"
    raw: bytes = b""
    fence: int | None = None
    contended: int | None = None
    listeners: int | None = None
    queued: int = 0
    tickets: Sequence[Ticket] = ()

    @property
    def holder(self) -> Holder | None:
        """Who has it, or has had it for longest."""
        return self.holders[0] if self.holders else None

    @property
    def held(self) -> float | None:
        """Seconds for which it has been held; None where nobody knows."""
        return None if self.holder is None else self.held_by(self.holder)

    def held_by(self, who: Holder) -> float | None:
        """Seconds for which `who` has had it; None where nobody knows."""
        return None if who.since is None else max(0.0, self.at - who.since.timestamp())

    @property
    def waiting(self) -> int | None:
        """How many wait: processes that wait for a push, and those who stand in a queue on the server."""
        return self.queued + self.listeners if self.listeners is not None else self.queued or None

    @property
    def ttl(self) -> float | None:
        """Seconds until it is free if nobody renews anything; None: it never is."""
        left = [who.ttl for who in self.holders]
        return None if None in left else max((one for one in left if one is not None), default=0.0)

    @property
    def is_endless(self) -> bool:
        """Does it stay until somebody removes it?"""
        return self.is_odd or self.ttl is None

    @property
    def is_foreign(self) -> bool:
        """Is it held by a program that is not Holdfast's, or by something that is no lock?"""
        return self.is_odd or (self.holder is not None and self.holder.owner == FOREIGN)

    @property
    def is_odd(self) -> bool:
        """Does something stand there that no lock would put there?"""
        return self.kind not in {"string", "none"}

    @property
    def in_use(self) -> bool:
        """Does anybody have it, or does anything stand there?"""
        return bool(self.holders) or self.is_odd

    @property
    def owner(self) -> str:
        """Who has it, in a word."""
        if self.is_odd:
            return f"a key of type {self.kind}"
        first = self.holder.owner if self.holder is not None else "nobody"
        if self.count > 1:
            return f"{self.count:,} {self.part}s, {first} first"
        return (
            f"{first} ({self.part})"
            if self.part in {"reader", "writer"} and self.holder is not None
            else first
        )

    def same_grant(self, other: Sight) -> bool:
        """Is it the same lease, or the same leases, only later?"""
        mine, theirs = ([who.value for who in one.holders] for one in (self, other))
        return (self.kind, self.raw, mine) == (other.kind, other.raw, theirs)


def names(keys: Keys, one: Named) -> rules.Names:
    """The keys of a lock, a leader, or a redlock on this server.

    Raises: ConfigurationError if the name is a key that cannot be a lock's.
    """
    return rules.Names(keys, one.name, one.name if one.by_key else None, room=one.room)


def look(keys: Keys, some: Sequence[Named], tickets: int = 0) -> Questions:
    """What is to be seen of `some`, also of those that are free; of so many tickets each."""
    seen: list[Sight] = []
    for page in pages(some, _PAGE):
        asked = [_ASK[one.room](keys, one, tickets) for one in page]
        replies = yield [question for question, _ in asked]
        seen += [read(reply) for (_, read), reply in zip(asked, replies, strict=True)]
    return seen


def _question(script: Script, told: Sequence[str], args: Sequence[Any]) -> Command:
    # The text goes with it: a node of a Cluster may not know the digest, and one refusal ends the page.
    return "EVAL", script.text, len(told), *told, *args


def _ask_lock(keys: Keys, one: Named, tickets: int) -> tuple[Command, Callable[[Any], Sight]]:
    its = names(keys, one)
    told = (its.key, its.fence, its.wanted, its.queue, its.beats, its.count)
    return _question(SEE, told, (tickets,)), partial(_lock, one, its.key)


def _lock(one: Named, key: str, reply: Any) -> Sight:
    kind, value, left, fence, wanted, queued, contended, told, listeners, now_ms = reply
    found = holder.of(one.name, (value, left, fence, wanted, queued, contended, now_ms))
    tickets = [
        Ticket(
            token=token.decode("ascii", "replace"),
            age=max(0.0, now_ms / 1e3 - float(arrival) / 1e6),
            alive=until is not None and float(until) > now_ms,
        )
        for token, arrival, until in zip(told[::3], told[1::3], told[2::3], strict=True)
    ]
    return Sight(
        named=one, key=key, at=now_ms / 1e3, kind=kind.decode(), raw=value or b"",
        holders=() if found is None else (found,), count=int(found is not None),
        fence=None if fence is None else int(fence), contended=contended,
        listeners=None if listeners < 0 else listeners, queued=queued, tickets=tickets,
    )  # fmt: skip


def _ask_rwlock(keys: Keys, one: Named, _: int) -> tuple[Command, Callable[[Any], Sight]]:
    its = rwlock.Names(keys, one.name)
    return _question(*its.look()), partial(_rwlock, one, its.key)


def _rwlock(one: Named, key: str, reply: Any) -> Sight:
    found = rwlock.occupancy(one.name, reply)
    writes = found.writer is not None
    return Sight(
        named=one, key=key, at=reply[-1] / 1e3, part="writer" if writes else "reader",
        holders=(found.writer,) if found.writer is not None else _longest(found.readers),
        count=1 if writes else found.reading, fence=found.fence, listeners=0,
        queued=found.waiting_writers + found.waiting_readers,
    )  # fmt: skip


def _ask_semaphore(keys: Keys, one: Named, _: int) -> tuple[Command, Callable[[Any], Sight]]:
    its = semaphore.Names(keys, one.name)
    return _question(*its.look()), partial(_semaphore, one, its.key)


def _semaphore(one: Named, key: str, reply: Any) -> Sight:
    found = semaphore.permits(one.name, reply)
    return Sight(
        named=one, key=key, at=reply[-1] / 1e3, part="holder",
        holders=_longest(found.holders), count=found.out, limit=found.limit,
    )  # fmt: skip


def _longest(some: Sequence[Holder]) -> Sequence[Holder]:
    return sorted(some, key=lambda who: who.since.timestamp() if who.since is not None else float("inf"))


_ASK = {
    "lock": _ask_lock,
    "leader": _ask_lock,
    "redlock": _ask_lock,
    "rwlock": _ask_rwlock,
    "semaphore": _ask_semaphore,
}


def by_age(seen: Sequence[Sight]) -> list[Sight]:
    """`seen`, the longest held first; last those of which nobody knows since when."""
    return sorted(seen, key=lambda one: (one.held is None, -(one.held or 0.0), one.named))


def as_data(one: Sight) -> dict[str, Any]:
    """`one` for programs; times are seconds, points in time ISO 8601 in UTC."""
    who = one.holder
    found: dict[str, Any] = {
        "name": one.named.name, "room": one.named.room, "by_key": one.named.by_key, "key": one.key,
        "held": one.in_use,
    }  # fmt: skip
    if one.in_use:
        found |= {"owner": one.owner, **_holder(one, who), "ttl": one.ttl, "foreign": one.is_foreign}
    if one.part:
        found |= {"part": one.part, "count": one.count, "limit": one.limit}
        found |= {
            "holders": [{"owner": its.owner, **_holder(one, its), "ttl": its.ttl} for its in one.holders]
        }
    return found | {
        "last_fence": one.fence, "waiting": one.waiting, "waiting_processes": one.listeners,
        "tickets": one.queued, "contended": one.contended,
    }  # fmt: skip


def _holder(one: Sight, who: Holder | None) -> dict[str, Any]:
    if who is None:
        return dict.fromkeys(("host", "pid", "label", "since", "held_for", "fence", "wanted"))
    return {
        "host": who.host or None, "pid": who.pid, "label": who.label or None,
        "since": None if who.since is None else iso(who.since), "held_for": one.held_by(who),
        "fence": who.fence, "wanted": who.wanted,
    }  # fmt: skip


def iso(when: datetime) -> str:
    """`when` to the millisecond."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")
