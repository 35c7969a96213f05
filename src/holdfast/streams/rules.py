"""What a stream promises, and its decisions, without any I/O.

Promise
* Published means stored: `publish` returns once the server has the entry (and, with `durability`, so many
  replicas). A repeated request after a lost reply adds nothing; nor does a second publish with the same `id`
  within `dedup`.
* Each group handles every entry that is published after it began at least once, whatever dies in between: a
  worker, this process, the connection. A message is done only when its handler returned, and an
  acknowledgement counts only from whoever has the message now: never that of a worker which was given up.
* What a handler writes through `message.effects()` happens together with the acknowledgement or not at all:
  so its effect happens exactly once.
* A message that fails comes again after the pauses of `retry`, and becomes a dead letter after
  `max_deliveries`; one whose worker dies each time, too. Dead letters are kept until they are replayed or
  purged; every message ends as acknowledged or as a dead letter, never as both.
* With order "key", messages of one key are handled one after the other in the order of their publishing, over
  failures and changes of workers too; only what one process was still doing when it lost the partition, and
  was told so, can overlap with its successor. Its acknowledgements and effects are refused.
* What a group has not acknowledged is never removed (unless `drop_unread=True` asks for it).
* Whoever finds nothing sleeps, and is woken by a push; a process that dies is succeeded at the end of its
  lease. A blocked event loop or a slow handler costs no lease.

Not promised
* Exactly-once for what a handler does elsewhere (mail, another database): it may be repeated. `message.id` is
  the same each time; an inbox (holdfast.contrib.sqlalchemy) makes it harmless in SQL.
* Order between keys, or in any group with order "none".
* What a failover loses: Redis and Valkey answer before their replicas have a write. `durability=` waits for
  them. A stream that was flushed or lost is made anew, and its groups begin with its first entry.
* That other keys go on for ever beside one that rests: what is behind it is in flight too, and at most
  `max_in_flight` are.
* That a message which was replayed or retried comes before younger ones of another key.

How: consumers of a group are its members, each under one lease (beat.lua) instead of one for each message;
what a dead member had pending is taken by whoever comes next (turn.lua). Reads do not block on the server, so
nothing is delivered to a connection that nobody reads any more; what a lost reply of `turn` had taken is
found by mine.lua. After Kafka's consumer groups and share groups (KIP-932), and JetStream's
acknowledgements.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.errors import CodecError, ConfigurationError

BEAT = Script.load(__package__, "beat")
CANCEL = Script.load(__package__, "cancel")
EFFECTS = Script.load(__package__, "effects")
LEAVE = Script.load(__package__, "leave")
MINE = Script.load(__package__, "mine")
PUBLISH = Script.load(__package__, "publish")
SETTLE = Script.load(__package__, "settle")
SHARE = Script.load(__package__, "share")
TURN = Script.load(__package__, "turn")

SAFETY_POLL = 1.0  # seconds after which who waits looks although nobody has pushed
REQUESTS_MS = 60_000  # for which a repeated request is recognised
CHUNK = 500  # entries of one publish request
AHEAD = 0.1  # seconds of work that a process takes in advance
ACK_WITHIN = 0.01  # seconds after which an acknowledgement leaves, at the latest
SLOW = 0.005  # seconds of a handler after which its acknowledgement does not wait for others
AWAY = 0.2  # seconds between two questions while the server is away
STUMBLE = 1.0  # seconds of rest after an unexpected error
LAST_WORDS = 1.0  # seconds that handlers may take to end once they are cancelled
PAGE = 200  # entries in one request of mine.lua and of lists

DONE: Final = 1
FENCED: Final = 0
GONE: Final = -1


class Reject(Exception):
    """Raise it in a handler: this message is of no use, and becomes a dead letter at once."""


class Retry(Exception):
    """Raise it in a handler: try this message again, `after` a duration (None: as `retry` says)."""

    def __init__(self, message: str = "", *, after: Any = None) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDied(Signal):
    """A message became a dead letter of `group`; it waits for a person."""

    level = "error"
    stream: str
    group: str
    id: str
    deliveries: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFailed(Signal):
    """A handler failed; the message comes again in `rest` seconds."""

    level = "warning"
    stream: str
    group: str
    id: str
    deliveries: int
    error: str
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLost(Signal):
    """A message was taken away from this process (`cause`); what its handler still does does not count."""

    level = "warning"
    stream: str
    group: str
    id: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHealed(Signal):
    """The server had lost a group that was in use (flushed, evicted, deleted); it was made anew."""

    level = "error"
    stream: str
    group: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMoved(Signal):
    """This process has got a partition to itself (`taken`), or given it up or lost it (`cause`)."""

    stream: str
    group: str
    partition: int
    taken: bool
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerStumbled(Signal):
    """A bug, or something unexpected, in a consumer's background work; it goes on after a rest."""

    level = "error"
    stream: str
    group: str
    cause: str


def check_count(name: str, wanted: int, found: bytes | None) -> None:
    """Make sure that everybody counts the same partitions. Raises: ConfigurationError."""
    if found is not None and int(found) != wanted:
        raise ConfigurationError(
            f"stream {name!r} has {int(found)} partitions on the server, not partitions={wanted}; use that, "
            f"or another name: what is there already would not be found"
        )


def no_aof(name: str) -> str:
    """The consequence of a server without AOF."""
    return (
        f"off: if the server dies, stream {name!r} loses what was published, and repeats what was "
        f"acknowledged, since its last snapshot; set appendonly yes"
    )


def described(error: BaseException) -> str:
    """An error in a line, as it is kept."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def takes(handler: Callable[..., Any], batch: bool) -> bool:
    """Does `handler` want the message (of a batch: the messages) beside the value?

    Raises: ConfigurationError if it takes neither one nor two arguments.
    """
    first, second = ("values", "messages") if batch else ("value", "message")
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except ValueError:  # written in C
        return False
    plain = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one for one in plain if one.default is one.empty]
    told = len(needed) == 2 or (len(plain) > 1 and plain[1].name == second)
    if (
        len(needed) > 2
        or not plain
        or any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters)
    ):
        name = getattr(handler, "__qualname__", repr(handler))
        raise ConfigurationError(f"subscriber {name} must take ({first}) or ({first}, {second})")
    return told


def is_hopeless(error: BaseException, deliveries: int, most: int | None) -> bool:
    """Is another delivery of no use? What a newer release wrote, another process may be able to read."""
    if isinstance(error, Reject) or (isinstance(error, CodecError) and error.reason != "version"):
        return True
    return most is not None and deliveries >= most


def ahead(average: float, concurrency: int, batch: int, most: int) -> int:
    """How many messages to have at hand, if a handler takes `average` seconds for each.

    Enough for AHEAD seconds: more would be kept from processes that have nothing to do.
    """
    least = concurrency * batch
    if average <= 0:
        return min(most, max(least, 16))
    return max(least, min(most, math.ceil(concurrency * AHEAD / average)))


def smooth(average: float, seconds: float, count: int) -> float:
    """The average, after `count` messages took `seconds` together."""
    weight = min(0.5, 0.05 * count)
    each = seconds / count
    return each if average <= 0 else average * (1 - weight) + each * weight


def share(partitions: int, members: int, rank: int) -> int:
    """How many partitions the `rank`th of `members` aims at."""
    return partitions // members + (1 if rank < partitions % members else 0)


def park(rest: int, dice: float) -> float:
    """Seconds until a partition is looked at again though nobody rings; `rest`: as turn.lua says it.

    Half a millisecond is added, since the server cuts them off; and dice, for those who wake together.
    """
    return (
        SAFETY_POLL * (0.75 + dice / 2) if rest < 0 else min(SAFETY_POLL, rest / 1000 + 0.0005 + dice / 500)
    )
