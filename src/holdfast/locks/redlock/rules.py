"""Redlock, without any I/O: a lock that a majority of independent servers grants, and what it promises.

The algorithm is the one of the Redis documentation (S. Sanfilippo): the same key with the same random value
on every node, asked for at the same time, each within a time much shorter than the ttl; ours if a quorum said
yes and the ttl, counted from before the first request, is not over; given back everywhere if not. To that we
add the restart rule, which the document asks for and leaves to the operator, and a fence.

Promised, as long as the assumptions below hold:

* Two leases of one lock never overlap, whatever minority of the nodes is dead, frozen, slow, cut off, or was
  restarted empty. A node counts for a grant only if it has been up for `longest_lease`, so whatever it forgot
  is over; or if it says that it syncs every write.
* A lease is ours until the latest moment for which a quorum of nodes are certainly ours, each counted from
  before its request was sent, less 1 % and 2 ms. Renewing never makes anew what is gone. Once fewer than a
  quorum are ours, it is lost, and its holder told.
* `lease.fence` grows from grant to grant. Each node keeps the greatest fence written to it (a max-register).
  A grant takes one more than the greatest that a quorum of nodes knows, or than their clocks in microseconds,
  and has it written to a quorum, where the lock is still ours, before it counts. Two quorums share a node, so
  the later grant saw the earlier one's fence. If just that node has forgotten it, the clock takes over: then
  it grows if the clocks of the nodes differ by less than `longest_lease`.
* A frozen node costs an acquire or a release hardly more than the others take to answer.
* An acquire that was cancelled, or failed, leaves nothing behind on any node: what is not answered is undone
  in the background, and a request that arrives up to a minute late finds a tombstone.
* Errors tell apart: LockTimeout (somebody else has it, `.holder`), NoQuorum (too few nodes gave an answer
  that counts), TooSlow (a quorum said yes too late).

Assumed, and so not promised where it does not hold:

* Clocks of client and nodes run at nearly the same speed (1 %), and those of the nodes do not jump: neither
  the ttl nor the uptime survives a clock that is set. This is the timing assumption for which Redlock was
  criticised (M. Kleppmann, 2016), and no lease does without it.
* `longest_lease` is at least the longest ttl that anybody uses with this name. It defaults to our own ttl.
* A node is one server with its own memory. If it is a primary with replicas, a failover that loses the grant
  is a node that forgets without being young; a client that knew the old one notices and waits, another does
  not.
* `appendfsync always`, where a node says so, was in force before it was restarted as well.

Not promised:

* That a paused process stops in time. It finds out with `lease.ensure()`; a resource that must not be written
  twice checks the fence. `hf.transaction(guard=lease)` cannot work here: no single server knows who holds it.
* A turn in order, or a push. Who waits asks again after a random, growing rest (exponential backoff with full
  jitter); callers that share one Redlock object go first come, first served.
* Semaphores, or a lock for readers and writers. With 3 nodes and 2 permits, A may have one on nodes 1 and 2,
  B on 2 and 3, C on 1 and 3: three holders, each with a majority. So there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from holdfast._wire.keys import Keys
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError, LockTimeout, NoQuorum, TooSlow
from holdfast.locks import holder
from holdfast.locks.terms import STRAY_MS

CLAIM = Script.load(__package__, "claim").once()
CONFIRM = Script.load(__package__, "confirm").once()
RELEASE = Script.load(__package__, "release")
LOOK = Script.load(__package__, "look")

LEAST_NODES = 3
MARGIN: Final = 1.0  # seconds by which a server may overstate its uptime
GRACE = 0.01  # seconds; a healthy node may answer that much later than the others
REASONS = 0.05  # seconds for which those are waited for who can only tell why it did not work
SYNCED = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite")


def quorum(nodes: int) -> int:
    """How many of so many nodes are a majority; with an even number one more than half."""
    return nodes // 2 + 1


def check_count(nodes: int) -> None:
    """Raises: ConfigurationError if so few nodes make no sense."""
    if nodes < LEAST_NODES:
        why = "one server is what hf.lock() is for" if nodes == 1 else "with two, both have to be there"
        why = "there must be some" if nodes == 0 else why
        raise ConfigurationError(
            f"Redlock over {nodes} nodes: {why}; give at least {LEAST_NODES} independent servers, better 5"
        )


class Names:
    """The keys of one lock, the same on every node."""

    __slots__ = ("_tomb", "fence", "key", "wanted")

    def __init__(self, keys: Keys, name: str) -> None:
        self.key = keys.tagged("redlock", name)
        self.fence, self.wanted, self._tomb = self.key + ":f", self.key + ":v", self.key + ":x:"

    def claim(self, token: str) -> tuple[str, ...]:
        """What CLAIM is told."""
        return self.key, self.fence, self._tomb + token

    def confirm(self) -> tuple[str, ...]:
        """What CONFIRM is told."""
        return self.key, self.fence

    def release(self, token: str) -> tuple[str, ...]:
        """What RELEASE is told."""
        return self.key, self._tomb + token

    def undo(self, token: str) -> tuple[str | int, ...]:
        """The command that releases, for whoever sends it later."""
        return ("EVAL", RELEASE.text, 2, *self.release(token), token, STRAY_MS)


# --- what a node answers ------------------------------------------------------------------------------------


class Said(Enum):
    """What came of asking one node."""

    YES = "granted"
    BUSY = "contended"
    YOUNG = "too young"
    NO = "lost again"  # what we had there is not ours any more
    SLOW = "too slow"
    AWAY = "unreachable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of asking one node. `stray`: the request may still be executed, or was, unheard."""

    said: Said
    told: int = 0
    run_id: str = ""
    uptime: int = -1
    holder: str = ""
    why: str = ""
    stray: bool = False


NO_ANSWER = Answer(said=Said.SLOW, why="no answer yet when the others had decided it", stray=True)
Answers = Sequence[Answer | None]  # by node; None: not answered so far


def claimed(reply: Any) -> Answer:
    """What the reply to CLAIM means."""
    if reply[0] == 1:
        return Answer(said=Said.YES, told=int(reply[1]), run_id=reply[2].decode(), uptime=reply[3])
    if reply[0] == 0:
        return Answer(said=Said.BUSY, holder=holder.owner(reply[1])[0])
    if reply[0] == 2:
        return Answer(said=Said.YOUNG, uptime=reply[1], run_id=reply[2].decode())
    return Answer(said=Said.NO)


def is_synced(config: Any) -> bool:
    """Does the reply to CONFIG GET say that a write is on disk before it is confirmed?"""
    told = config if isinstance(config, dict) else dict(zip(config[::2], config[1::2], strict=False))
    values = [told.get(name.encode(), b"") for name in SYNCED]
    return values == [b"yes", b"always", b"no"]


class Acquaintance:
    """What a client remembers of a node: which process it is, and since when that answers there.

    A server that is older than our last contact with its predecessor was not restarted, it took over. What it
    lacks nobody knows, so it counts for us only after `longest`.
    """

    __slots__ = ("_moved", "_seen", "run_id", "synced", "unsynced")

    def __init__(self) -> None:
        self.run_id = ""
        self.synced = ""  # run id of which we know that it syncs every write
        self.unsynced = ""  # of which we know that it does not
        self._seen = 0.0
        self._moved = float("-inf")

    def met(self, run_id: str, uptime: int, now: float) -> bool:
        """It answered at `now`; True if it is another process than the one we knew."""
        other = bool(self.run_id) and run_id != self.run_id
        if other and uptime - MARGIN > now - self._seen:
            self._moved = now
        self.run_id, self._seen = run_id, now
        return other

    def is_new(self, longest: float, now: float) -> bool:
        """Has it taken over so lately that it must not count?"""
        return now - self._moved < longest


# --- what a round of answers means --------------------------------------------------------------------------


def decided(answers: Answers, asked: int, needed: int) -> float | None:
    """Seconds for which to wait for more at least, once it is certain whether `needed` of the `asked` nodes
    say yes; None while it is not.
    """
    if count(answers) >= needed:
        return GRACE
    heard = sum(1 for one in answers if one is not None)
    return REASONS if count(answers) + asked - heard < needed else None


TOLD = {Said.YES, Said.NO, Said.BUSY}  # an answer of the node itself


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt came to, if not to a lease. `too_late`: there was a quorum, but its time was over."""

    answers: Sequence[Answer]
    names: Sequence[str] = field(repr=False)
    longest: float
    too_late: bool = False

    @property
    def counts(self) -> dict[Said, int]:
        """How many nodes said what."""
        return dict(Counter(one.said for one in self.answers))

    @property
    def is_contended(self) -> bool:
        """Did a quorum answer, and somebody else have it?"""
        counts = self.counts
        # What was ours and is not any more was taken away, or has ended: its time was too short.
        held = sum(counts.get(one, 0) for one in (Said.BUSY, Said.NO))
        return held > 0 and held + counts.get(Said.YES, 0) >= quorum(len(self.answers))

    @property
    def holder(self) -> str:
        """Who has it on most nodes, as far as it is known."""
        known = Counter(one.holder for one in self.answers if one.holder)
        return known.most_common(1)[0][0] if known else ""

    def error(self, what: str, name: str, waited: str) -> Exception:
        """What tells it to the caller."""
        size = len(self.answers)
        text = f"{what} was not acquired {waited}: {self.described()}; a quorum is {quorum(size)} of {size}"
        if self.too_late:
            return TooSlow(f"{text}, and had answered only when the ttl was over", name=name)
        if self.is_contended:
            return LockTimeout(text, name=name, holder=self.holder)
        return NoQuorum(text, retry_after=self.retry_after)

    @property
    def retry_after(self) -> float | None:
        """Seconds until young nodes are old enough, if they are what was missing."""
        ages = [one.uptime for one in self.answers if one.said is Said.YOUNG and one.uptime >= 0]
        return max(0.0, self.longest + MARGIN - max(ages)) if ages else None

    def described(self) -> str:
        """How many nodes said what, and why."""
        parts = []
        for said in Said:
            these = [
                (name, one) for name, one in zip(self.names, self.answers, strict=True) if one.said is said
            ]
            if these:
                why = "; ".join(dict.fromkeys(self._why(name, one) for name, one in these))
                parts.append(f"{len(these)} {said.value}" + (f" ({why})" if why else ""))
        return ", ".join(parts)

    def _why(self, name: str, one: Answer) -> str:
        if one.said is Said.BUSY:
            return f"held by {one.holder}"
        if one.said is Said.YOUNG:
            age = f"up for {one.uptime} s" if one.uptime >= 0 else "does not tell its age, INFO is forbidden"
            return f"{name} {one.why or age}, the longest lease is {self.longest:.4g} s"
        return f"{name}: {one.why}" if one.why else ""


def fence(answers: Answers) -> int:
    """The fence of a grant whose claims were answered like this."""
    return max(one.told for one in answers if one is not None and one.said is Said.YES) + 1


def same_server(answers: Answers, names: Sequence[str]) -> tuple[str, str] | None:
    """Two nodes that are one server, if there are such: it would have two votes."""
    known: dict[str, str] = {}
    for name, one in zip(names, answers, strict=True):
        if one is not None and one.run_id:
            if one.run_id in known:
                return known[one.run_id], name
            known[one.run_id] = name
    return None


def count(answers: Answers) -> int:
    """How many said yes."""
    return sum(1 for one in answers if one is not None and one.said is Said.YES)


def says_no(answer: Answer | None) -> bool:
    """Is it certain that the lock was not ours there?"""
    return answer is not None and answer.said is Said.NO


def merged(claims: Sequence[Answer], confirmed: Answers) -> list[Answer]:
    """What the nodes said in the end: where a claim was granted, what came of confirming it."""
    return [
        first if first.said is not Said.YES else second or NO_ANSWER
        for first, second in zip(claims, confirmed, strict=True)
    ]


def took_over(answer: Answer) -> Answer:
    """A node that has claimed for us, and does not count: we may have to give it back."""
    why = f"up for {answer.uptime} s, but it has taken over from the server we knew"
    return replace(answer, said=Said.YOUNG, why=why, stray=True)


def restarted(answer: Answer) -> Answer:
    """A node that is too young, and was another process when we saw it last."""
    return replace(answer, why=f"restarted since we saw it, up for {answer.uptime} s")
