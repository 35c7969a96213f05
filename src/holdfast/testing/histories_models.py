"""What is legal for a lock, a semaphore or a register, one event after the other.

Operations of the locks (`who` is a grant, with a name of its own for each logical acquire):

    acquire    it was granted; value: the fence if there is one (None: unknown), for Permits how many
    release    value True: it was given back; False: it was not ours any more; None: one of both
    busy       an attempt was refused because somebody else had it
    expire     environment: the lease of `who` ended by itself. Put it in from the certain end of the lease
               on (`call`), with `done` infinite: it may happen then, or never
    wipe       environment: the server forgot everything (FLUSHALL), or may have (`maybe=True`: failover)

ReadersWriter has `read` and `write` for acquire, `busy_read` and `busy_write` for busy.

The fenced models ask for more than exclusion: each fence is larger than all before, also after a `wipe`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from holdfast.testing.histories_search import Event, No

Held = tuple[Hashable, int]  # who has the lock (None: nobody), the last fence


class Mutex:
    """A lock that knows its owner: granted only while free, released only by whom it was granted to."""

    def start(self) -> Held:
        """Free."""
        return None, 0

    def step(self, state: Held, event: Event) -> Any:
        """Who has it after `event`."""
        owner, fence = state
        match event.op:
            case "acquire":
                return self._grant(fence, event) if owner is None else No(f"{owner} has it")
            case "release":
                return _released(owner == event.who, event, state, (None, fence))
            case "expire":
                return (None, fence) if owner == event.who else No("it is not his")
            case "busy":
                return _busy(owner is not None, owner == event.who, state)
            case "wipe":
                return None, fence
        return _unknown(self, event)

    def _grant(self, fence: int, event: Event) -> Held | No:
        return event.who, fence

    def tell(self, state: Held) -> str:
        """Who has it."""
        owner, fence = state
        return ("free" if owner is None else f"held by {owner}") + (f", last fence {fence}" if fence else "")


class FencedMutex(Mutex):
    """A Mutex whose every grant has a larger fence than all before it."""

    def _grant(self, fence: int, event: Event) -> Held | No:
        if event.value is None:
            return event.who, fence
        return (event.who, event.value) if event.value > fence else No(f"fence {fence} was given before")


Shared = tuple[Hashable, frozenset[Hashable], int]  # the writer, the readers, the last fence of a writer


class ReadersWriter:
    """Many readers or one writer. Writers have growing fences, where the events tell them."""

    def start(self) -> Shared:
        """Free."""
        return None, frozenset(), 0

    def step(self, state: Shared, event: Event) -> Any:
        """Who is in after `event`."""
        writer, readers, fence = state
        mine = writer == event.who or event.who in readers
        without = (None if writer == event.who else writer, readers - {event.who}, fence)
        match event.op:
            case "read":
                if mine:
                    return No("he is in already")
                return (None, readers | {event.who}, fence) if writer is None else No(f"{writer} writes")
            case "write":
                if writer is not None or readers:
                    return No(f"it is {self.tell(state)}")
                if event.value is not None and event.value <= fence:
                    return No(f"fence {fence} was given before")
                return event.who, readers, event.value or fence
            case "release":
                return _released(mine, event, state, without)
            case "expire":
                return without if mine else No("he is not in")
            case "busy_read":
                return _busy(writer is not None, mine, state)
            case "busy_write":
                return _busy(writer is not None or bool(readers), mine, state)
            case "wipe":
                return None, frozenset(), fence
        return _unknown(self, event)

    def tell(self, state: Shared) -> str:
        """Who is in."""
        writer, readers, _ = state
        if writer is not None:
            return f"held by the writer {writer}"
        return f"held by the readers {', '.join(sorted(map(str, readers)))}" if readers else "free"


@dataclass(frozen=True)
class Permits:
    """A semaphore: at most `permits` are out at a time. An acquire may take several (`value`)."""

    permits: int

    def start(self) -> frozenset[tuple[Hashable, int]]:
        """All there."""
        return frozenset()

    def step(self, state: frozenset[tuple[Hashable, int]], event: Event) -> Any:
        """Who has how many after `event`."""
        out = sum(count for _, count in state)
        mine = frozenset(one for one in state if one[0] == event.who)
        match event.op:
            case "acquire":
                wanted = event.value or 1
                if mine:
                    return No("he has some already")
                if out + wanted > self.permits:
                    return No(f"{out} of {self.permits} are out")
                return state | {(event.who, wanted)}
            case "release":
                return _released(bool(mine), event, state, state - mine)
            case "expire":
                return state - mine if mine else No("he has none")
            case "busy":
                return _busy(out + (event.value or 1) > self.permits, bool(mine), state)
            case "wipe":
                return frozenset()
        return _unknown(self, event)

    def tell(self, state: frozenset[tuple[Hashable, int]]) -> str:
        """Who has how many."""
        return "out to " + (", ".join(sorted(f"{who} ({count})" for who, count in state)) or "nobody")


@dataclass(frozen=True)
class Register:
    """One value. `read` (value: what came back), `write` (value), `cas` (value: (expected, new)) and
    `cas_failed`: it was another value than expected.
    """

    initial: Hashable = None

    def start(self) -> Hashable:
        """Its first value."""
        return self.initial

    def step(self, state: Hashable, event: Event) -> Any:
        """Its value after `event`."""
        match event.op:
            case "read":
                return state if state == event.value else No(f"it was {state}")
            case "write":
                return event.value
            case "cas":
                return event.value[1] if state == event.value[0] else No(f"it was {state}")
            case "cas_failed":
                return state if state != event.value[0] else No(f"it was {state}")
        return _unknown(self, event)

    def tell(self, state: Hashable) -> str:
        """Its value."""
        return repr(state)


def _released(mine: bool, event: Event, state: Any, without: Any) -> Any:
    if event.value is not None and event.value != mine:
        return No("it was not his any more" if event.value else "it was still his")
    return without if mine else state


def _busy(taken: bool, mine: bool, state: Any) -> Any:
    if mine:
        return No("he was refused because of himself")
    return state if taken else No("there was room for him")


def _unknown(model: object, event: Event) -> No:
    raise ValueError(f"{type(model).__name__} knows no operation {event.op!r}")
