"""Every order in which several callers of the real cache can take their steps, on a real server.

The callers are tasks of one event loop, each a process of its own with its own `AsyncCache`. Whatever one of
them asks the server, or a loader asks the database, is a step: it waits for its turn, and one at a time gets
it. So a schedule is a list of choices, and depth-first search through all of them is every schedule there is
(stateless model checking: Godefroid, VeriSoft, POPL 1997). `switches` bounds how often somebody is
interrupted who could have gone on; without it there is no bound.

Nothing here depends on time: the loop's clock stands still and is put forward when nobody can go on.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Coroutine, Hashable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from holdfast import Holdfast
from holdfast._compat import monotonic
from holdfast._wire._async import AsyncWire
from holdfast._wire.hub_ledger import AnyTracking, AnyWatch, Holder, State, Waker
from holdfast._wire.script import Script
from holdfast._wire.transport import AsyncConversation, Command, Reply, ReplyError
from holdfast.cache import rules

PATIENCE = 10_000  # turns after which a schedule is taken to be endless
ACTOR: contextvars.ContextVar[int] = contextvars.ContextVar("ACTOR", default=-1)  # also of what it starts


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until it is put forward."""

    _ready: Any
    _scheduled: list[Any]
    now = 0.0

    def time(self) -> float:
        return self.now

    async def settle(self) -> None:
        """Return when nobody can go on."""
        while True:
            await asyncio.sleep(0)
            if not self._ready:
                return

    def skip(self) -> bool:
        """Put the clock forward to the next timer; False if there is none."""
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if due:
            self.now = max(self.now, min(due))
        return bool(due)


class Stage:
    """Where one schedule is played: `choices` say who goes on, as far as they go; then the first who can."""

    def __init__(self, loop: Loop, choices: Sequence[int], switches: int | None = None) -> None:
        self.loop = loop
        self.taken: list[int] = []
        self.options: list[int] = []
        self._trace: list[tuple[int, Any]] = []
        self._choices = choices
        self._waiting: list[tuple[tuple[int, int], Any, asyncio.Future[None]]] = []
        self._switches = switches
        self._last = -1
        self._numbers: list[
            weakref.ref[Any]
        ] = []  # of tasks: those of one actor in the order of their first steps
        self._tasks: list[asyncio.Task[Any]] = []
        self.on_first_step: Callable[[int], None] = lambda _: None
        self._begun: set[int] = set()

    async def turn(self, what: str | Sequence[Command]) -> None:
        """Wait for one's turn to do `what`."""
        task = weakref.ref(asyncio.current_task())
        if task not in self._numbers:
            self._numbers.append(task)
        mine: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(((ACTOR.get(), self._numbers.index(task)), what, mine))
        await mine

    async def play(self, *actors: Coroutine[Any, Any, Any]) -> list[Any]:
        """Let `actors` take their steps until all have ended; what they return."""
        for place, actor in enumerate(actors):
            context = contextvars.copy_context()
            context.run(ACTOR.set, place)
            self._tasks.append(self.loop.create_task(actor, context=context))
        await self._direct()
        return [await task for task in self._tasks]

    async def _direct(self) -> None:
        for _ in range(PATIENCE):
            await self.loop.settle()
            if self._waiting:
                (self._last, _), what, future = self._waiting.pop(self._choose())
                if self._last not in self._begun:
                    self._begun.add(self._last)
                    self.on_first_step(self._last)
                self._trace.append((self._last, what))
                future.set_result(None)
            elif all(task.done() for task in self._tasks):
                return
            elif not self.loop.skip():
                raise AssertionError(f"nobody can go on: {self.story()}")
        raise AssertionError(f"no end: {self.story()}")

    def story(self) -> list[str]:
        """Who did what, in order."""
        return [f"{who}: {what if isinstance(what, str) else described(what)}" for who, what in self._trace]

    def _choose(self) -> int:
        # Whoever went last comes first, so that every later choice is an interruption.
        self._waiting.sort(key=lambda one: (one[0][0] != self._last, one[0]))
        interrupts = self._waiting[0][0][0] == self._last
        count = len(self._waiting)
        if interrupts and self._switches is not None and self._switches <= 0:
            count = 1
        place = len(self.taken)
        pick = self._choices[place] if place < len(self._choices) else 0
        assert pick < count, "the same choices led elsewhere: a schedule depends on chance"
        if interrupts and pick and self._switches is not None:
            self._switches -= 1
        self.taken.append(pick)
        self.options.append(count)
        return pick


def every_order(
    loop: Loop, scene: Callable[[Stage], Coroutine[Any, Any, Any]], switches: int | None = None
) -> Iterator[tuple[Stage, Any]]:
    """Play `scene` once for every schedule; yields the stage and what the scene returned."""
    choices: list[int] = []
    while True:
        stage = Stage(loop, choices, switches)
        yield stage, loop.run_until_complete(scene(stage))
        choices, options = stage.taken, stage.options
        while choices and choices[-1] + 1 == options[-1]:
            choices.pop()
            options.pop()
        if not choices:
            return
        choices[-1] += 1


class Transport:
    """Asks the server of `hf`, one step per write, when `stage` says so."""

    stage: Stage | None = None

    def __init__(self, hf: Holdfast, hub: Hub) -> None:
        self._below = hf._wire._transport
        self._hub = hub

    async def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`."""
        await self._turn((command,))
        reply = self._below.execute(command, deadline)
        self._hub.happened((command,))
        return reply

    async def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`."""
        await self._turn(commands)
        replies = self._below.execute_many(commands, deadline)
        self._hub.happened(commands)
        return replies

    async def _turn(self, commands: Sequence[Command]) -> None:
        if self.stage is not None:
            await self.stage.turn(commands)

    def conversation(self, deadline: float) -> AbstractAsyncContextManager[AsyncConversation]:
        """Not needed."""
        raise NotImplementedError

    def doubt(self) -> bool:
        """There is one server."""
        return False

    async def aclose(self) -> None:
        """Not ours."""


def scripts() -> dict[str, Script]:
    """Those of a cache, by name."""
    return {name: one for name, one in vars(rules).items() if isinstance(one, Script)}


def described(commands: Sequence[Command]) -> str:
    """What a step does, in a word."""
    names = {one.digest: name for name, one in scripts().items()}
    return "+".join(names.get(str(one[-1 if len(one) < 2 else 1]), str(one[0])) for one in commands[:3])


class Hub:
    """Wakes who waits for a lease at once when a script has published there, and delivers at once."""

    def __init__(self, hf: Holdfast) -> None:
        self._below = hf._wire._transport
        self._watches: dict[_Watch, str] = {}

    def happened(self, commands: Sequence[Command]) -> None:
        """`commands` were executed."""
        for command in commands:
            if command[0] in {"EVALSHA", "EVAL"} and command[1] not in {rules.LEASE.digest, rules.LEASE.text}:
                for watch, channel in list(self._watches.items()):
                    if channel in command:
                        watch.signal.fire()

    def watch(self, channel: str, signal: Waker) -> _Watch:
        """Fire `signal` when something happens to the lease `channel`."""
        watch = _Watch(self, signal)
        self._watches[watch] = channel
        signal.fire()  # as if it were confirmed just now
        return watch

    def forget(self, watch: _Watch) -> None:
        """Nobody waits any more."""
        self._watches.pop(watch, None)

    def deliver(self, name: Hashable, command: Command, done: Callable[[], object]) -> None:
        """Run `command`."""
        reply = self._below.execute(command, 1e12)
        assert not isinstance(reply, ReplyError), reply
        self.happened((command,))
        done()

    def track(self, prefix: str, holder: Holder, every: float = 0.5, channel: str = "") -> AnyTracking:
        """Everything is heard, but it never gets here."""
        holder.found()
        return _Tracking()

    def listen(self, channel: str, listener: object) -> AnyWatch:
        """No topics here."""
        raise NotImplementedError

    def keep(self, keeping: object) -> None:
        """No leases here."""
        raise NotImplementedError

    def undelivered(self) -> int:
        """None."""
        return 0

    def close(self, drain: float = 10.0) -> list[Hashable]:
        """Nothing is left."""
        return []


class _Tracking:
    is_refused = False

    @property
    def as_of(self) -> float:
        return monotonic()

    def close(self) -> None:
        """Nothing to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Watch:
    pushing = True
    state = State.ON

    def __init__(self, hub: Hub, signal: Waker) -> None:
        self._hub = hub
        self.signal = signal

    def close(self) -> None:
        self._hub.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wire_to(hf: Holdfast) -> tuple[AsyncWire, Transport]:
    """An asynchronous wire to the server of `hf`, and the transport whose steps are taken in turn."""
    for script in scripts().values():
        hf.execute("SCRIPT", "LOAD", script.text)  # so that every call is one step, the first one too
    hub = Hub(hf)
    transport = Transport(hf, hub)
    below = hf._wire
    wire = AsyncWire(
        transport, name=below.name, keys=below.keys, hub=hub, observer=below.observer, timeout=below.timeout
    )
    return wire, transport
