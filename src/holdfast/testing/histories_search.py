"""Linearizability: the search for an order of a history's events that explains what everybody saw.

After Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the memory of Lowe ("Testing for
Linearizability", 2017), one key at a time. Ours are the events that may never have happened. They make a
search explode, because each doubles the number of sets; so what is remembered for a state and the events that
must have happened are the smallest sets of the others that led there: who needed fewer can go on as well.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

Verdict = Literal["linearizable", "broken", "unknown"]

_LOOK = 1024  # steps between two looks at the clock
_SHOWN = 8  # events of the order found that a story tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that took effect at one moment between `call` and `done`, in seconds of one clock.

    `who`: for locks one grant, not one process: each logical acquire has a name of its own. `value`: what was
    given or came back, as the model says. `done` infinite: nobody knows the outcome; it took effect at some
    time after `call`, or never. `maybe`: it took effect in its time, or never. `key` None: it concerns all
    keys.
    """

    who: Hashable
    op: str
    key: str | None = ""
    value: Any = None
    call: float
    done: float = math.inf
    maybe: bool = False

    @property
    def optional(self) -> bool:
        """May it never have happened?"""
        return self.maybe or self.done == math.inf

    def tell(self, origin: float = 0.0) -> str:
        """One line for a person, with times in milliseconds since `origin`."""
        end = "?" if self.done == math.inf else f"{(self.done - origin) * 1000:.3f}"
        what = self.op if self.value is None else f"{self.op} {self.value}"
        return f"{(self.call - origin) * 1000:10.3f} .. {end:>10}  {self.who!s:<12} {what}"


class Call:
    """A call that was begun. What became of it is told later; until then, or for ever, nobody knows."""

    def __init__(self, event: Event, clock: Callable[[], float]) -> None:
        self.event: Event | None = event
        self._begun = event
        self._clock = clock

    def done(self, value: Any = None, *, op: str = "") -> None:
        """It returned `value` just now (None: as given at its beginning); `op` if it became another one."""
        now, begun = self._clock(), self._begun
        self.event = replace(
            begun, op=op or begun.op, value=begun.value if value is None else value, done=now
        )

    def never(self) -> None:
        """It certainly had no effect and told nothing: the history forgets it."""
        self.event = None


class History:
    """Events as they happen, recorded by any number of threads and tasks of this process.

    `clock`: seconds that never go back. Those of several processes of one machine are comparable.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls: list[Call] = []

    def begin(self, who: Hashable, op: str, key: str = "", value: Any = None) -> Call:
        """Note that a call begins now."""
        call = Call(Event(who=who, op=op, key=key, value=value, call=self._clock()), self._clock)
        self._calls.append(call)
        return call

    def add(self, event: Event) -> None:
        """Put in an event that was recorded elsewhere, or one of the environment, as `expire` and `wipe`."""
        self._calls.append(Call(event, self._clock))

    @property
    def events(self) -> list[Event]:
        """All events so far."""
        return [call.event for call in list(self._calls) if call.event is not None]


@dataclass(frozen=True, slots=True)
class No:
    """What a model answers to an event that is impossible in a state, and why."""

    why: str


class Model(Protocol):
    """What is legal. States are hashable, and never changed in place."""

    def start(self) -> Hashable:
        """The state before the first event."""
        ...

    def step(self, state: Any, event: Event) -> Any:
        """The state after `event`, or No."""
        ...

    def tell(self, state: Any) -> str:
        """The state in words."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `check` found; true if there is an order that explains everything.

    `verdict`: "linearizable", "broken", or "unknown" if the steps or the time did not suffice. `key` and
    `order`: the worst key, and the longest order of its events that was found. `story`: that for a person.
    """

    verdict: Verdict
    key: str = ""
    events: int = 0
    steps: int = 0
    order: tuple[Event, ...] = ()
    story: str = ""

    def __bool__(self) -> bool:
        return self.verdict == "linearizable"

    def __str__(self) -> str:
        return self.story or f"{self.verdict}: {self.events} events, {self.steps} steps"


def check(
    events: Iterable[Event], model: Model, *, max_steps: int = 2_000_000, seconds: float = 30.0
) -> Report:
    """Search each key's history for an order of its events that `model` allows and that respects time: what
    had returned before another was called comes first.

    `max_steps`, `seconds`: bounds for all keys together; beyond them a key's verdict is "unknown". One
    broken key breaks the whole.
    """
    give_up = time.monotonic() + seconds
    total = steps = 0
    worst: Report | None = None
    for key, part in _by_key(events).items():
        search = _Search(part, model, max_steps - steps, give_up)
        verdict = search.run()
        total, steps = total + len(part), steps + search.steps
        if verdict == "broken" or (verdict == "unknown" and worst is None):
            worst = search.report(verdict, key)
        if verdict == "broken":
            break
    if worst is None:
        return Report(verdict="linearizable", events=total, steps=steps)
    return replace(worst, events=total, steps=steps)


def _by_key(events: Iterable[Event]) -> dict[str, list[Event]]:
    keys: defaultdict[str, list[Event]] = defaultdict(list)
    common = []
    for event in events:
        if event.done < event.call:
            raise ValueError(f"this event was done before it was called: {event}")
        if event.key is None:
            common.append(event)
        else:
            keys[event.key].append(event)
    for part in keys.values():
        part.extend(common)
    return keys


@dataclass(slots=True)
class _Place:
    """A place in the search: what has been ordered, what came out, and what is still to be tried there."""

    must: int  # bits of the events that happened for certain
    perhaps: int  # bits of the others
    state: Any
    latest: float  # the latest call among those ordered: who was done before it cannot come any more
    first: int  # all that must happen before this index are ordered
    left: Iterator[int]  # indices; those of optional events come after the others


class _Search:
    def __init__(self, events: list[Event], model: Model, max_steps: int, give_up: float) -> None:
        events = sorted(events, key=lambda event: (event.optional, event.call, event.done))
        self._events = events
        self._sure = sum(not event.optional for event in events)
        self._model = model
        self._max_steps, self._give_up = max_steps, give_up
        self._seen: dict[tuple[int, Any], list[int]] = {}
        self.steps = 0
        self.longest: tuple[int, list[int], Any] = (-1, [], model.start())

    def run(self) -> Verdict:
        path: list[int] = []
        places = [self._place(0, 0, self._model.start(), -math.inf, 0, path)]
        everything = (1 << self._sure) - 1
        while places:
            here = places[-1]
            if here.must == everything:
                return "linearizable"
            if self.steps >= self._max_steps or (
                self.steps % _LOOK == _LOOK - 1 and time.monotonic() > self._give_up
            ):
                return "unknown"
            index = next(here.left, None)
            if index is None:
                places.pop()
                if path:
                    path.pop()
                continue
            event = self._events[index]
            self.steps += 1
            state = self._model.step(here.state, event)
            if isinstance(state, No):
                continue
            sure = index < self._sure
            must = here.must | (1 << index) * sure
            perhaps = here.perhaps | (1 << index - self._sure if not sure else 0)
            if self._is_new(must, perhaps, state):
                path.append(index)
                places.append(
                    self._place(must, perhaps, state, max(here.latest, event.call), here.first, path)
                )
        return "broken"

    def _place(
        self, must: int, perhaps: int, state: Any, latest: float, first: int, path: list[int]
    ) -> _Place:
        while first < self._sure and must >> first & 1:
            first += 1
        if (count := must.bit_count()) > self.longest[0]:
            self.longest = (count, path.copy(), state)
        left = iter(list(self._next(must, perhaps, latest, first)))
        return _Place(must, perhaps, state, latest, first, left)

    def _next(self, must: int, perhaps: int, latest: float, first: int) -> Iterator[int]:
        """The events that may come next: nothing that is left was done before their call."""
        bound, among = math.inf, []
        for index in range(first, self._sure):
            event = self._events[index]
            if event.call > bound:
                break
            if not must >> index & 1:
                among.append(index)
                bound = min(bound, event.done)
        yield from (index for index in among if self._events[index].call <= bound)
        for index in range(self._sure, len(self._events)):
            event = self._events[index]
            if event.call > bound:
                break
            if not perhaps >> index - self._sure & 1 and event.done >= latest:
                yield index

    def _is_new(self, must: int, perhaps: int, state: Any) -> bool:
        smallest = self._seen.setdefault((must, state), [])
        if any(other & perhaps == other for other in smallest):
            return False
        smallest[:] = [other for other in smallest if other & perhaps != perhaps]
        smallest.append(perhaps)
        return True

    def report(self, verdict: Verdict, key: str) -> Report:
        count, path, state = self.longest
        order = tuple(self._events[index] for index in path)
        origin = min((event.call for event in self._events), default=0.0)
        head = f"{verdict}: key {key!r}, {type(self._model).__name__}, {self.steps} steps: {count} of"
        lines = [
            f"{head} {self._sure} sure events can be put in order (milliseconds since the first call)",
            *(["  nobody knows the rest: the bound on steps or time was reached"] * (verdict == "unknown")),
            *(["  ..."] if len(order) > _SHOWN else []),
            *(f"  {event.tell(origin)}" for event in order[-_SHOWN:]),
            f"  then it is {self._model.tell(state)}, and next would come one of",
            *(f"  {event.tell(origin)}   <- {why}" for event, why in self._refused(path, state)),
        ]
        return Report(verdict=verdict, key=key, order=order, story="\n".join(lines))

    def _refused(self, path: list[int], state: Any) -> Iterator[tuple[Event, str]]:
        must = sum(1 << index for index in path if index < self._sure)
        for index in self._next(must, 0, math.inf, 0):
            if index < self._sure:
                answer = self._model.step(state, self._events[index])
                yield self._events[index], answer.why if isinstance(answer, No) else "leads nowhere"
