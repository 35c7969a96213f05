"""Every order in which those who wait for a lock, in one process and in several, can take their steps.

The real AsyncWaiting on a real server. As in tests/cache/schedules.py, one step is one request; here a
message of the channel and the confirmation of a subscription are steps too, taken whenever they like. Time
stands still and is put forward only when nobody can go on, so a lost wake-up shows as time that went by.
Every guard of the waiting is removed once, and must be missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._coord import _wait_async
from holdfast._coord._wait_async import AsyncWaiting, Busy
from holdfast._coord.queue import Queue
from holdfast._wire.hub_ledger import Waker
from holdfast.locks import rules
from tests.cache.schedules import Loop, Stage, every_order

TTL = 1.0  # seconds of every lease
MOST = 12_000  # orders of one scene


async def turn(stage: Stage, what: str) -> None:
    """Wait for one's turn; who is cancelled meanwhile does not get it."""
    try:
        await stage.turn(what)
    except asyncio.CancelledError:
        stage._waiting[:] = [one for one in stage._waiting if not one[2].cancelled()]
        raise


class Courier:
    """A hub that confirms subscriptions and delivers messages when it is their turn."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.watches: list[Watch] = []
        self.on_the_way: set[asyncio.Task[None]] = set()

    def watch(self, channel: str, signal: Waker) -> Watch:
        """A watch that is confirmed by and by."""
        watch = Watch(self, signal)
        self.watches.append(watch)
        self.carry("confirms", watch)
        return watch

    def publish(self) -> None:
        """A message for all whose subscription stands."""
        for watch in self.watches:
            if watch.stands:
                self.carry("delivers", watch)

    def carry(self, what: str, watch: Watch) -> None:
        task = self._stage.loop.create_task(self._carry(what, watch))
        self.on_the_way.add(task)
        task.add_done_callback(self.on_the_way.discard)

    async def _carry(self, what: str, watch: Watch) -> None:
        await turn(self._stage, what)
        if what == "confirms":
            watch.stands = True
        if watch in self.watches:
            watch.signal.fire()


class Watch:
    pushing = True

    def __init__(self, courier: Courier, signal: Waker) -> None:
        self.signal = signal
        self.stands = False
        self._courier = courier

    def close(self) -> None:
        if self in self._courier.watches:
            self._courier.watches.remove(self)


class Wire:
    timeout = 2.0

    def __init__(self, courier: Courier) -> None:
        self.hub = courier


class World:
    """One lock on the server, several processes with several waiters, and what happened to them."""

    def __init__(self, hf: Holdfast, stage: Stage, processes: int) -> None:
        self._hf = hf
        self.stage = stage
        self.names = rules.Names(hf._wire.keys, "x")
        hf.execute("DEL", self.names.key)
        self.couriers = [Courier(stage) for _ in range(processes)]
        self.waitings = [AsyncWaiting(Wire(courier)) for courier in self.couriers]  # type: ignore[arg-type]
        self.got: list[str] = []
        self.holders: set[str] = set()
        self.ends: dict[str, float] = {}

    def take(self, who: str) -> bool:
        """acquire.lua, by the loop's clock: a lease that is not renewed ends after TTL."""
        token = f"{who.encode().hex():0>32}"
        held: Any = self._hf.execute("GET", self.names.key)
        if held is not None and self.ends.get(held[:32].decode(), 1e9) <= self.stage.loop.time() + 1e-9:
            self._hf.execute("DEL", self.names.key)
        args = (token, 600_000, "h:1:", rules.HISTORY_MS, "1", "0")
        return bool(self._hf._wire.run(rules.ACQUIRE, self.names.acquire(token), args)[0] == 1)

    def give(self, who: str) -> None:
        """release.lua."""
        token = f"{who.encode().hex():0>32}"
        assert self._hf._wire.run(rules.RELEASE, self.names.terms(token).release_keys, (token,)) == 1
        for courier in self.couriers:
            courier.publish()

    async def attempt(self, who: str) -> Any:
        await turn(self.stage, f"{who} asks")
        granted = self.take(who)
        await turn(self.stage, f"{who} hears")
        return Granted() if granted else Busy(ttl=float("inf"))

    async def waiter(self, who: str, process: int, *, crashes: bool = False) -> None:
        """Wait, hold, give back; or crash while holding it."""
        await self.waitings[process].obtain(
            lambda timeout: self.attempt(who),
            key="x",
            channel="x",
            give_up=1e9,
            timed_out=lambda busy: TimeoutError(),
        )
        self.got.append(who)
        if crashes:
            self.ends[f"{who.encode().hex():0>32}"] = self.stage.loop.time() + TTL
            return
        await turn(self.stage, f"{who} releases")
        self.give(who)

    async def cancelled(self, who: str, process: int) -> None:
        """Wait, and be cancelled at any moment; what was granted is given back, as the lock does."""
        task = asyncio.current_task()
        assert task is not None
        inner = self.stage.loop.create_task(self.waiter(who, process))
        await turn(self.stage, f"{who} is cancelled")
        if not inner.done():
            inner.cancel()
        await asyncio.wait([inner])
        token = f"{who.encode().hex():0>32}"
        held: Any = self._hf.execute("GET", self.names.key)
        if held is not None and held[:32].decode() == token:
            self.give(who)


class Granted:
    """Without an end that anybody could know."""

    ttl = float("inf")


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


Scene = Callable[[World], list[Coroutine[Any, Any, Any]]]

SCENES: dict[str, tuple[int, int, Scene]] = {  # processes, interruptions
    "two of one process": (1, 3, lambda w: [w.waiter("h", 0), w.waiter("a", 0)]),
    "two processes": (2, 3, lambda w: [w.waiter("h", 0), w.waiter("a", 1)]),
    "three": (2, 2, lambda w: [w.waiter("h", 0), w.waiter("a", 1), w.waiter("b", 1)]),
    "one is cancelled": (2, 2, lambda w: [w.waiter("h", 0), w.cancelled("a", 1), w.waiter("b", 1)]),
}


def play(hf: Holdfast, loop: Loop, monkeypatch: pytest.MonkeyPatch, name: str, more: int = 0) -> int:
    """Play a scene in every order. Raises: AssertionError where somebody was not told. Returns how many
    orders.
    """
    monkeypatch.setattr(_wait_async, "monotonic", loop.time)
    processes, switches, make = SCENES[name]
    orders = 0

    async def scene(stage: Stage) -> float:
        loop.now = 0.0
        world = World(hf, stage, processes)
        await stage.play(*make(world))
        for courier in world.couriers:
            for task in courier.on_the_way:
                task.cancel()
        assert {"h", "b", "a"} & set(world.got)
        for waiting in world.waitings:
            assert not waiting.queues.busy("x"), stage.story()
        return loop.now

    for stage, late in every_order(loop, scene, switches + more):
        orders += 1
        assert late < 0.5, f"nobody told: {late} s went by in {stage.story()}"
        assert orders < MOST
    return orders


@pytest.mark.parametrize("name", SCENES)
def test_whatever_the_order_nobody_waits_in_vain(
    hf: Holdfast, loop: Loop, monkeypatch: pytest.MonkeyPatch, name: str
):
    assert play(hf, loop, monkeypatch, name) > 10


def without_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look after the subscription is confirmed: what was released before it is never heard of."""
    whole = Courier._carry

    async def carry(courier: Courier, what: str, watch: Watch) -> None:
        if what == "confirms":
            await turn(courier._stage, what)
            watch.stands = True
        else:
            await whole(courier, what, watch)

    monkeypatch.setattr(Courier, "_carry", carry)


def news_that_are_lost_with_the_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What had come for one that is cancelled while he asks is taken for heard."""
    whole = AsyncWaiting._try_as_first

    async def ask(waiting: AsyncWaiting, queue: Queue, attempt: Any, give_up: float) -> Any:
        try:
            return await whole(waiting, queue, attempt, give_up)
        except BaseException:
            queue.news = False
            raise

    monkeypatch.setattr(AsyncWaiting, "_try_as_first", ask)


def news_that_are_forgotten_after_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that comes while he asks is taken for answered by the answer."""
    whole = AsyncWaiting._try_as_first

    async def ask(waiting: AsyncWaiting, queue: Queue, attempt: Any, give_up: float) -> Any:
        found = await whole(waiting, queue, attempt, give_up)
        queue.news = False
        return found

    monkeypatch.setattr(AsyncWaiting, "_try_as_first", ask)


def a_turn_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is cancelled in his turn keeps it."""
    from holdfast._compat import ASemaphore

    whole = ASemaphore.release
    monkeypatch.setattr(
        ASemaphore,
        "release",
        lambda one: None if asyncio.current_task().cancelling() else whole(one),  # type: ignore[union-attr]
    )


def nobody_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next to be first is not the one who is woken."""
    monkeypatch.setattr(Queue, "take_front", lambda queue, signal: None)


PLANTED = [
    (without_confirmation, "two processes"),
    (news_that_are_lost_with_the_cancelled, "one is cancelled"),
    (news_that_are_forgotten_after_asking, "two processes"),
    (a_turn_that_is_kept, "one is cancelled"),
    (nobody_in_front, "two processes"),
]


@pytest.mark.parametrize(("plant", "name"), PLANTED, ids=lambda one: getattr(one, "__name__", ""))
def test_every_guard_is_missed(
    hf: Holdfast, loop: Loop, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Any], None], name: str
):
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        play(hf, loop, monkeypatch, name, more=1)


def test_an_end_that_nobody_tells_costs_its_ttl(hf: Holdfast, loop: Loop, monkeypatch: pytest.MonkeyPatch):
    """The holder crashes; the next asks when the ttl is over by what it was told. found: parks without a
    bound.
    """
    monkeypatch.setattr(_wait_async, "monotonic", loop.time)

    async def scene(stage: Stage) -> float:
        loop.now = 0.0
        world = World(hf, stage, 1)

        async def attempt(who: str) -> Any:
            await turn(stage, f"{who} asks")
            if world.take(who):
                return Lease()
            return Busy(ttl=max(0.0, min(world.ends.values(), default=TTL) - loop.time()))

        monkeypatch.setattr(world, "attempt", attempt)
        await stage.play(world.waiter("h", 0, crashes=True), world.waiter("a", 0), world.waiter("b", 0))
        return loop.now

    for stage, late in every_order(loop, scene, 1):
        assert late < TTL + 0.1, stage.story()


class Lease:
    rest = TTL


def test_news_that_come_between_two_who_are_first_are_kept():
    """found: fire() that looks for somebody to tell before it notes that there is news."""
    queue = Queue(None)
    queue.fire()
    assert queue.news
