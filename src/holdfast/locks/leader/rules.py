"""What a leader is, without any I/O: one of many processes works, until it falls silent.

A candidate campaigns for a lock with a ttl; whoever has it leads, for a term. The term is shorter than the
ttl: a leader that could not renew it for two thirds of the ttl is told (its function is cancelled) while
nobody else can have been elected; the last third is there for it to stop.

Promised, beside what a lock promises (`holdfast.locks.rules`):

* On one server that keeps its data, at most one candidate leads at a time. `fn` is called within a term, and
  is told to stop a third of the ttl before the server lets anybody else in: cancelled (async), or `term.lost`
  is set and `term.ensure()` raises (sync). What it does within that third overlaps with nobody.
* Who crashed, froze or was cut off is succeeded within one ttl. Who steps down or is stopped hands over at
  once, but only after `fn` has ended.
* `term.fence` grows from term to term. What is written with `guard=term` is refused by the server once the
  term is over, also for a leader that was paused and knows nothing of it.
* Candidates go on campaigning while the server is away or refuses, with backoff.
* Observers hear of every leader that stays for longer than a look takes, and of every end; by a push, and
  where none comes (a crash) at the end of its ttl, at the latest after `SAFETY` seconds more.

Not promised:

* That `fn` stops in time. A thread that does not look at `term.lost`, or a coroutine that blocks its event
  loop or takes longer than a third of the ttl to clean up, may overlap with its successor; the fence makes
  that harmless.
* That a leader works. A thread of its own renews the term, so one whose `fn` hangs leads on, until somebody
  calls `request_step_down` or ends the process.
* That a failover or FLUSHALL does not make a second leader: the first is told within a round trip of our
  noticing.
* That `fn` is called again by the same process, or at all: others may always win.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.locks.holder import Holder

TELL = Script.load(__package__, "tell")

ROOM: Final = "leader"  # so that `hf.lock` of the same name is something else
TERM = 2 / 3  # part of the ttl after which a leader that was not renewed stops
LEAST_TTL = 0.3  # seconds; a third of it is what `fn` has to stop
STEP_BACK = 1.0  # seconds for which one that stepped down leaves the field to others, at most
LATE_FOR = frozenset({"unreachable", "expired", "max_hold"})  # losses after which it may still be ours


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElected(Signal):
    """This process leads `name` from now on."""

    name: str
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFailing(Signal):
    """The server refuses the campaign for `name`; it goes on. Told once until it works again."""

    level = "warning"
    name: str
    error: str


def step_back(ttl: float) -> float:
    """Seconds that one who stepped down waits before it campaigns again."""
    return min(STEP_BACK, ttl / 3)


def is_news(known: Holder | None, found: Holder | None) -> bool:
    """Is `found` another leader than the one `known`?"""
    return (None if known is None else known.value) != (None if found is None else found.value)
