"""Event sourcing, without any I/O: what it promises, and its decisions.

    log = hf.events("orders", type=Placed | Paid)
    log.append("order-1", [Placed(...)], expected=0)      # ConflictError if somebody was quicker
    log.read("order-1")                                   # versions 1, 2, 3, ...
    for event in log.all(): ...                           # of all streams, in the order of their appending

A *stream* is what happened to one thing (an order); its events have the versions 1, 2, 3, ... A *log* is all
streams of one name, spread over partitions by the names of the streams; each event of a partition has a
*position* there, one more than that of the event before it.

Promised:

* A batch is appended as a whole or not at all; so are batches for several streams of a partition. The
  versions of a stream have no gaps and are never given twice, whoever appends at the same time: `expected` is
  compared in the step that appends, with a counter that no trimming changes.
* A repeated append adds nothing: not the same request, sent again because its reply was lost, and not
  another one with the same `id`, however much later. Both are answered as the first was.
* The order of a partition is that in which appends happened. Who has read up to a position has seen all that
  was appended before it: nothing appears later at a lower position, as it may with the sequences of SQL.
* Nothing is skipped in silence. Who reads on from an event whose successor was archived, deleted or flushed
  gets PositionTrimmed.
* What a projection writes, and the position that it has reached, change in one step, which compares the
  position: each event has its effect once, whoever is killed, frozen or doubled.
* A new version of a projection is built beside the older one and replaces it when both are at the same
  position. `fx.replaying` is false for exactly one of them at each event. The older one is kept until it is
  dropped.
* A subscriber or a waiter that has nothing to do is woken by a push.

Not promised:

* An order between partitions, or an append to several of them as one.
* What a failover loses: Redis and Valkey answer before their replicas have a write; `durability=` waits for
  them. Who has read an event that was lost is told (PositionTrimmed), unless as many others were appended
  before he reads on. Nor the crash of a server without AOF.
* That a handler of a projection runs once. Its effects count once; what it does elsewhere may be repeated
  when its process dies before they are written, or when it takes longer than `lease`.
* That an append without `id=` which raised Unavailable has not happened: append with the same `expected`, or
  use an id. One with `id=`, `expected="exists"` or none is recognised if its request comes late by up to a
  minute; one that expects a version, for ever.
* That what was appended under one id is what comes with it the next time: events are not compared.
* Anything about a snapshot, which is a shortcut; unless `archive` made it the only copy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError, ConflictError
from holdfast.events.options import Appended, Expected

ACTIVATE = Script.load(__package__, "activate")
APPEND = Script.load(__package__, "append")
ARCHIVE = Script.load(__package__, "archive")
COMMIT = Script.load(__package__, "commit")
LOAD = Script.load(__package__, "load")
PAGE = Script.load(__package__, "page")
QUERY = Script.load(__package__, "query")
READ = Script.load(__package__, "read")
RELEASE = Script.load(__package__, "release")
SNAPSHOT = Script.load(__package__, "snapshot")
TURN = Script.load(__package__, "turn")

DONE: Final = 1  # what append.lua and commit.lua answer
AGAIN: Final = 2
REFUSED: Final = 2

MOST_EVENTS = 2_000  # in one append: the server does nothing else meanwhile, for about 10 ms
MOST_BYTES = 16 * 2**20
MEMO_MS = 60_000  # for which a request may be repeated, or come late
SIZE = 500  # events in one reply
SAFETY_POLL = 1.0  # seconds after which who waits looks although nobody has pushed
AWAY = 0.2  # seconds between two questions while the server is away
STUMBLE = 1.0  # seconds of rest after the server has refused
LAST_WORDS = 1.0  # seconds that a handler may take to end once it is cancelled
MOST_WRITES = 2_000  # of a projection in one step
PARKED = "%parked"  # no key that a user names is written so: `%` is escaped


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionStumbled(Signal):
    """A handler failed at the event at `position`; it is tried again in `rest` seconds."""

    level = "warning"
    projection: str
    partition: int
    position: int
    attempt: int
    error: str
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionStopped(Signal):
    """A projection goes no further: its handler cannot handle the event behind `position`."""

    level = "error"
    projection: str
    partition: int
    position: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventParked(Signal):
    """A projection has put the event at `position` aside and goes on without it."""

    level = "error"
    projection: str
    partition: int
    position: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionReplaced(Signal):
    """Another version of this projection is the active one; the one of this process ends."""

    projection: str
    version: int
    partition: int
    by: int


# --- decisions ----------------------------------------------------------------------------------------------


def expectation(expected: Any) -> Expected:
    """`expected` of an append. Raises: ConfigurationError."""
    if expected is None or expected == "exists":
        return expected  # type: ignore[no-any-return]
    if isinstance(expected, bool) or not isinstance(expected, int) or not 0 <= expected < 2**53:
        raise ConfigurationError(
            f'expected={expected!r} must be a version (0: no such stream), "exists", or None for any'
        )
    return expected


def check_size(events: int, size: int) -> None:
    """Raises: ConfigurationError for what one append cannot take."""
    if not events:
        raise ConfigurationError("events=[]: there is nothing to append")
    if events > MOST_EVENTS or size > MOST_BYTES:
        raise ConfigurationError(
            f"{events} events of {size} bytes are too much for one append; the most are {MOST_EVENTS} events "
            f"and {MOST_BYTES} bytes: append them in parts"
        )


def conflict(stream: str, expected: Expected, actual: int) -> ConflictError:
    """Why a batch was not appended."""
    wanted = "some events" if expected == "exists" else f"version {expected}"
    return ConflictError(
        f"stream {stream!r} has version {actual}, not {wanted}; load it again, decide anew, and append with "
        f"the version that you have seen",
        expected=expected,
        actual=actual,
    )


def check_position(after: Any) -> None:
    """Raises: ConfigurationError if `after` is no position."""
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < 2**53:
        raise ConfigurationError(f"after={after!r} must be a position, 0 (from the first event) or more")


def position_of(told: Any, partition: Any) -> tuple[int, int]:
    """Position and partition to wait for. Raises: ConfigurationError."""
    if isinstance(told, Appended):
        return told.position, told.partition
    position = getattr(told, "position", told)
    partition = getattr(told, "partition", partition)
    if isinstance(position, bool) or not isinstance(position, int) or position < 0:
        raise ConfigurationError(
            f"position={told!r:.80} must be a position, an event, or what append returned"
        )
    return position, partition


def check_count(name: str, wanted: int, found: bytes | None) -> None:
    """Raises: ConfigurationError if `found`, the server's number of partitions, is another than `wanted`."""
    if found is not None and found != str(wanted).encode():
        raise ConfigurationError(
            f"events {name!r}: partitions={wanted}, but the log was begun with partitions={found.decode()}; "
            f"all clients must say the same, and it cannot be changed: streams would not be found"
        )


def no_aof(name: str) -> str:
    """The consequence of a server without AOF."""
    return (
        f"off: if the server dies, events {name!r} lose what was appended since its last snapshot; "
        f"set appendonly yes"
    )


def described(error: BaseException) -> str:
    """`error` in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def takes(handler: Callable[..., Any]) -> None:
    """Raises: ConfigurationError if `handler` cannot be called with effects and an event."""
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        raise ConfigurationError(f"projection {handler!r} must take two arguments: fx and event") from None
    except ValueError:  # written in C: it says so itself
        return
