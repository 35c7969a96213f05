"""Pending operations, without any I/O: what they promise, and every decision that is taken.

    with ops.run("account:7", payment_id, {"amount": 500}) as op:
        if "charged" not in op.checkpoints:
            op.checkpoint("charged", charge(op.data, key=op.id))
        op.complete({"status": "paid"})

An operation is recorded before its body begins, and settled by `complete` or `fail`. While the body runs, its
lease is renewed. If the process dies, the lease ends; then a sweep (`recover`, `watch`), or the next `run` of
the same id, takes the operation up where its last checkpoint is. Each attempt has a fence, an integer that
only grows, and every write compares it.

Promised:

* What has begun ends completed or dead, whoever is killed in between, as long as somebody sweeps: it is found
  by its place in an index by the end of its lease, on the server's clock. A ttl cleans up; nothing is
  recovered by it, and no pending operation ends by `ttl`.
* At one moment one attempt is the operation's. Whoever was frozen, and finds it taken up by another, can
  write nothing more to it: heartbeat, checkpoint, complete and fail are refused (OperationLost), and in
  asyncio its body is cancelled. At most one attempt completes it, and then nobody begins it again for `ttl`.
* A crash uses up an attempt, and so does a failure. With the last one it is dead, is told as OperationDied,
  and waits in `dead()` until somebody says `retry` or `discard`.
* Claiming is one step of the server: attempt, fence and lease, for whatever is due. Two sweeps never take the
  same attempt.
* Every request can be repeated when its reply is lost: the same attempt is found again, the same answer is
  given.
* The index heals: a heartbeat puts its operation back, a sweep compares its two halves (`due` and `names`),
  and `repair()` walks over the records themselves.
* An idempotent call with the same key runs once at a time, and its result is replayed for `ttl`. Another
  request under the same key is a ConflictError.

Not promised:

* That the body runs once. It runs at least once: one that was killed behind its effect and before its
  checkpoint is run again. Effects need a key of their own (`op.id`, or `op.fence` where only order counts) at
  whoever they happen; or say `interrupted="raise"` for idempotent calls, and have a person look.
* That a frozen body stops before the next one begins. Its writes to the operation are refused; what it does
  elsewhere only a check of the fence can refuse.
* A failover to a replica that had not received a write: `durability=Durability(replicas=1)` waits for the
  replica. Nor the crash of a server without AOF. A fence still grows then, if clocks agree to the time since
  the last one.
* An order of recovery, beyond "what is due longest first" within a partition.
* That `complete` which raised Unavailable has failed: its answer may be what was lost. It is sent again in
  the background, and until it arrives the operation may be taken up once more.
* That a `run` which raised Unavailable, or was cancelled while it began, has not begun. What it may have
  begun is undone in the background; if this process ends before that, it counts as interrupted, and is
  recovered.
* A result for a duplicate that comes later than `ttl`: it is a new operation then.
* Anything about time if the server's clock is set back: leases then end up to one lease late.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError

ABANDON = Script.load(__package__, "abandon")
BEAT = Script.load(__package__, "beat")
BEGIN = Script.load(__package__, "begin")
CHECKPOINT = Script.load(__package__, "checkpoint")
CLAIM = Script.load(__package__, "claim")
COMPLETE = Script.load(__package__, "complete")
FAIL = Script.load(__package__, "fail")
FORGET = Script.load(__package__, "forget")
ORPHANS = Script.load(__package__, "orphans")
REPAIR = Script.load(__package__, "repair")
RETRY = Script.load(__package__, "retry")

OURS: Final = 1  # what beat.lua, checkpoint.lua and complete.lua answer
BURIED: Final = 2  # what fail.lua answers when that was the last attempt

SAFETY_POLL = 2.0  # seconds after which who waits looks although nobody has pushed
CROWD = 0.05  # seconds over which the sweeps of a fleet spread that wake at the same moment
STRAY_MS = 60_000  # for which a request that nobody waits for any more may still come
LATE = 0.002  # seconds after the end of a lease: the server counts in milliseconds
AWAY = 0.2  # seconds between two questions while the server is away
STUMBLE = 1.0  # seconds of rest after an unexpected error
LAST_WORDS = 1.0  # seconds that handlers may take to end once they are cancelled
PAGE = 200  # records in one request of repair() and of lists


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationInterrupted(Signal):
    """The lease of an attempt had ended without a word of its `holder`; attempt `attempt` follows it."""

    level = "warning"
    operations: str
    resource: str
    id: str
    holder: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFailed(Signal):
    """An attempt failed; the next one is due in `rest` seconds."""

    level = "warning"
    operations: str
    resource: str
    id: str
    attempt: int
    error: str
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDied(Signal):
    """An operation had its last attempt; it waits in `dead()` for a person."""

    level = "error"
    operations: str
    resource: str
    id: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRejected(Signal):
    """The server refused `what` of an attempt of this process, since the operation is not its any more."""

    level = "warning"
    operations: str
    resource: str
    id: str
    fence: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStumbled(Signal):
    """An unexpected error (a bug) in a sweep of the background; it goes on."""

    level = "error"
    operations: str
    cause: str


# --- decisions ----------------------------------------------------------------------------------------------


def cause_of(answer: int) -> str:
    """Why a write was refused, in the words of LockLost."""
    return "vanished" if answer == 0 else "taken"


def park(rests: list[int], longest: float, dice: float) -> float:
    """Seconds for which a sweep may sleep: `rests` are milliseconds until something is due, -1 for never.

    At most SAFETY_POLL and one lease: an operation that begins meanwhile, with a shorter lease than ours, is
    not told. When many sleep until the same moment, `dice` spreads them.
    """
    due = min((rest / 1000 for rest in rests if rest >= 0), default=SAFETY_POLL)
    return min(due + dice * min(CROWD, longest / 20), SAFETY_POLL, longest)


def dice(number: float) -> float:
    """The part of a rest that is rested: at least half of it."""
    return 0.5 + number / 2


def scored(reply: Any) -> list[tuple[bytes, float]]:
    """Names and scores in the reply to ZRANGE ... WITHSCORES, whichever protocol made it."""
    if not reply:
        return []
    if isinstance(reply[0], list | tuple):
        return [(name, float(score)) for name, score in reply]
    return [(name, float(score)) for name, score in zip(reply[::2], reply[1::2], strict=True)]


def described(error: BaseException) -> str:
    """`error` in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def check_count(name: str, wanted: int, found: bytes | None) -> None:
    """Raises: ConfigurationError if `found`, the server's number of partitions, is another than `wanted`."""
    if found is not None and found != str(wanted).encode():
        raise ConfigurationError(
            f"operations {name!r}: partitions={wanted}, but they were begun with "
            f"partitions={found.decode()}; all clients must say the same, and it cannot "
            f"be changed while operations are pending"
        )


def no_aof(name: str) -> str:
    """The consequence of a server without AOF."""
    return (
        f"off: if the server dies, operations {name!r} lose what has begun, and was completed, since its "
        f"last snapshot, and may run it again or not at all; set appendonly yes"
    )


def takes(handler: Callable[..., Any]) -> None:
    """Raises: ConfigurationError if `handler` cannot be called with an operation."""
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        raise ConfigurationError(f"handler {handler!r} must take one argument, the operation") from None
    except ValueError:  # written in C: it says so itself
        return
