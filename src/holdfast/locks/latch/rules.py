"""What a latch is, without any I/O.

Promised:

* `wait` returns only after `count` different parties have arrived in one round, one that was not over when
  the waiting began, whoever crashed in between. A reset does not take an opening back from those who waited
  for it.
* A party counts once per round, however often it arrives, and however often a request was repeated: also one
  that was executed, not heard of, and repeated after a reset.
* A latch that is open stays so until it is reset, or until `ttl` after its last arrival or reset; then
  nothing is left.
* Who waits is woken by a push.
* Callers that await different counts are told so, as long as the latch lasts.

Not promised:

* That a party is still alive once it has arrived; or anything of a round once its `ttl` has passed: who waits
  then waits for the next.
* That a request which was stuck for the time of two resets is recognized.
* What FLUSHALL or a failover takes: parties that have arrived before have to arrive again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast._wire.keys import Keys
from holdfast._wire.script import Script
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError, ConflictError
from holdfast.locks.rules import milliseconds

ARRIVE = Script.load(__package__, "arrive")
LOOK = Script.load(__package__, "look")
RESET = Script.load(__package__, "reset")


class Names:
    """The keys of one latch; all of them in one slot."""

    __slots__ = ("before", "key", "parties")

    def __init__(self, keys: Keys, name: str) -> None:
        self.key = base = keys.tagged("latch", name)
        self.parties, self.before = base + ":p", base + ":o"

    def all(self) -> tuple[str, ...]:
        """What ARRIVE and RESET are told."""
        return self.key, self.parties, self.before

    def look(self) -> tuple[str, ...]:
        """What LOOK is told."""
        return self.key, self.parties


@dataclass(frozen=True, slots=True, kw_only=True)
class LatchOptions:
    """What can be chosen about a latch.

    `count`: how many different parties it awaits. `ttl`: how long it outlives the last of them. `wait`: how
    long a wait waits at most (None: for ever).

    Raises: ConfigurationError that names the option and its value.
    """

    count: int
    ttl: Duration = "1h"
    wait: Duration | None = "30s"

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise ConfigurationError(f"count={self.count!r} must be a whole number, at least 1")
        seconds(self.ttl, "ttl")
        optional_seconds(self.wait, "wait", zero=True)

    @property
    def ttl_ms(self) -> int:
        """`ttl` in milliseconds."""
        return milliseconds(seconds(self.ttl))


@dataclass(frozen=True, slots=True, kw_only=True)
class LatchState:
    """How a latch stands. `count`: parties awaited; `arrived`: in this round. `generation`: a number that
    grows with every round, 0 where nobody has arrived yet; `opened`: the last that opened, 0 if none.
    """

    count: int
    arrived: int
    generation: int
    opened: int

    @property
    def missing(self) -> int:
        """How many parties are still missing."""
        return max(0, self.count - self.arrived)

    @property
    def is_open(self) -> bool:
        """Have all arrived?"""
        return self.generation > 0 and self.opened == self.generation


def state(name: str, count: int, reply: Any) -> LatchState:
    """What the reply to LOOK says. Raises: ConflictError if it was made for another count."""
    found, generation, opened, arrived = reply
    if found is None:  # nobody has arrived, or its ttl has passed
        return LatchState(count=count, arrived=0, generation=0, opened=0)
    check_count(name, count, found)
    return LatchState(count=count, arrived=arrived, generation=generation, opened=opened)


def missing(name: str, count: int, reply: Any) -> int:
    """How many are missing, by the reply to ARRIVE. Raises: ConflictError, as `state`."""
    if reply[0] < 0:
        check_count(name, count, reply[1])
    return int(reply[0])


def check_count(name: str, count: int, found: int) -> None:
    """Raises: ConflictError if the latch is there with another count than ours."""
    if found != count:
        raise ConflictError(
            f"latch {name!r} awaits {found} parties, and here it is said to await {count}: all have to say "
            f"the same until it has ended",
            expected=count,
            actual=found,
        )


def opened_since(since: int, now: LatchState) -> bool:
    """Has it been open at any time since the generation was `since`?"""
    return now.opened > 0 and now.opened >= since
