"""What can go wrong around a lock, one probe each: `await probe(kind, stage)` says how a library takes it.

Each plays with locks of its own and may run beside the others. Word of a loss counts as soon as whoever holds
the lock could know without asking: an event, or the cancellation of its task.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.locks.actors import Actor
from benchmarks.locks.stage import (
    NOTHING,
    Stage,
    Verdict,
    another_process,
    can_jump,
    elsewhere,
    jumping,
)
from holdfast.testing import FaultProxy

Kind = type[Actor]
Probe = Callable[[Kind, Stage], Awaitable[Verdict]]
PATIENCE = 1.0  # seconds that word of a loss may take


@dataclass(frozen=True)
class Mishap:
    """A probe and what it asks."""

    name: str
    question: str
    probe: Probe


MISHAPS: list[Mishap] = []


def mishap(name: str, question: str) -> Callable[[Probe], Probe]:
    """Put a probe on the list."""

    def remember(probe: Probe) -> Probe:
        MISHAPS.append(Mishap(name, question, probe))
        return probe

    return remember


@asynccontextmanager
async def through_faults(kind: Kind, stage: Stage) -> AsyncIterator[tuple[FaultProxy, Actor]]:
    """An actor behind a network that fails on demand; its connection and its scripts are there."""
    with FaultProxy(stage.url) as faults:
        async with kind(faults.url) as actor:
            await actor.give(await actor.take(actor.lock(stage.name("first")), 5))
            yield faults, actor


async def is_told(actor: Actor, grip: Any, patience: float = PATIENCE) -> float | None:
    """Milliseconds until it knows of the loss; None if it does not get to know."""
    begun = time.monotonic()
    while not actor.told(grip):
        if time.monotonic() > begun + patience:
            return None
        await asyncio.sleep(0.001)
    return 1e3 * (time.monotonic() - begun)


async def parting(actor: Actor, grip: Any) -> str:
    """What the library says when a lock is released that is not ours any more."""
    try:
        await actor.give(grip)
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        return type(error).__name__
    return "nothing"


# --- replies that are lost ----------------------------------------------------------------------------------


@mishap("acquire's reply lost", "The server granted the lock, but its reply is lost: who has it?")
async def lost_acquire(kind: Kind, stage: Stage) -> Verdict:
    """The key is there with our token: whoever repeats the question must recognise it."""
    name = stage.name("acquire")
    async with through_faults(kind, stage) as (faults, actor):
        faults.drop_replies(match=actor.acquire_mark(name))
        begun = time.monotonic()
        try:
            grip = await actor.take(actor.lock(name, ttl=20), 2)
        except Exception as error:  # noqa: BLE001 - whatever the library raises
            left = stage.aside.exists(actor.key(name))
            return Verdict(not left, f"{type(error).__name__}{', key left' * left}")
        took = f"{time.monotonic() - begun:.2f} s"
        if grip is None:
            left = stage.aside.exists(actor.key(name))
            return Verdict(False, "waits for itself" if left else "refused", took)
        held = stage.aside.exists(actor.key(name))
        return Verdict(bool(held), "ok" if held else "granted, no key", took)


@mishap("release's reply lost", "The server released the lock, but its reply is lost: is that an error?")
async def lost_release(kind: Kind, stage: Stage) -> Verdict:
    """What was released is not ours any more: who repeats the question must not take that for a loss."""
    name = stage.name("release")
    async with through_faults(kind, stage) as (faults, actor):
        grip = await actor.take(actor.lock(name), 5)
        await asyncio.sleep(0.3)  # what the library does after an acquire is over
        faults.drop_replies(match=actor.release_mark(name))
        said = await parting(actor, grip)
        if stage.aside.exists(actor.key(name)):
            return Verdict(False, "not released", said)
        return Verdict(said == "nothing", "ok" if said == "nothing" else "released, yet raises", said)


# --- what is left behind ------------------------------------------------------------------------------------


@mishap("cancelled while acquiring", "Tasks are cancelled while they acquire, 1 ms from the server.")
async def cancelled(kind: Kind, stage: Stage) -> Verdict:
    """A lock whose owner never learned that it has it keeps everybody out for a ttl."""
    if not kind.tasks:
        return NOTHING
    dice = random.Random(7)
    async with through_faults(kind, stage) as (faults, actor):
        faults.delay(0.001)
        keys = []
        for _ in range(stage.cancels):
            name = stage.name("cancel")
            task = asyncio.create_task(actor.take(actor.lock(name), 5))
            await asyncio.sleep(dice.uniform(0, 0.004))
            if task.done():
                await actor.give(task.result())
                continue
            task.cancel()
            try:
                await actor.give(await task)
            except asyncio.CancelledError:
                keys.append(actor.key(name))
        await asyncio.sleep(PATIENCE)
    left = stage.aside.exists(*keys) if keys else 0
    return Verdict(not left, f"{left} of {len(keys)} left" if left else "ok", f"{len(keys)} cancelled")


@mishap("defaults: a ttl", "A lock of which only the name is said: does it end if its holder dies?")
async def default_ttl(kind: Kind, stage: Stage) -> Verdict:
    """Whoever forgets the ttl must not stop the fleet for ever."""
    name = stage.name("default")
    async with kind(stage.url) as actor:
        grip = await actor.take(actor.plain(name), 5)
        left = stage.aside.pttl(actor.key(name))
        await actor.give(grip)
    return Verdict(left > 0, "ok" if left > 0 else "held for ever", f"pttl {left}")


# --- who may enter ------------------------------------------------------------------------------------------


@mishap("with, while held", "Somebody else has it: does `with` let the body run?")
async def entering(kind: Kind, stage: Stage) -> Verdict:
    """An object that says "not acquired" is easily overlooked; an exception is not."""
    name = stage.name("with")
    async with kind(stage.url) as actor:
        stage.aside.set(actor.key(name), "somebody", px=20_000)
        inside = await actor.enters(name, 0.3)
    return Verdict(not inside, "enters" if inside else "ok")


@mishap(
    "one object, two callers",
    "The lease of the first is over and the second has the lock: what does a release do?",
)
async def shared(kind: Kind, stage: Stage) -> Verdict:
    """A token that belongs to the object, not to the holding of it, releases what is somebody else's."""
    name = stage.name("shared")
    async with kind(stage.url) as first:
        lock = first.lock(name, ttl=2)
        grip = await first.take(lock, 1)
        await asyncio.sleep(2.2)
        async with first.second() as other:
            theirs = await asyncio.create_task(other.take(lock, 1))
            before = stage.aside.get(first.key(name))
            said = await parting(first, grip)
            after = stage.aside.get(first.key(name))
            await parting(other, theirs)
    safe = before is not None and before == after
    return Verdict(safe, "ok" if safe else "releases the other's", said)


# Whoever waits is woken, in each library's way, and finds that somebody else was faster.
_PASS_ON = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', 20000)
redis.call('DEL', KEYS[2])
redis.call('LPUSH', KEYS[2], 1)
redis.call('PEXPIRE', KEYS[2], 1000)
redis.call('SPUBLISH', KEYS[1], 'free')
"""


@mishap("acquire(timeout=1)", "It changes hands every 0.5 s, and others are faster: when does it give up?")
async def deadline(kind: Kind, stage: Stage) -> Verdict:
    """A timeout that begins anew whenever the lock was nearly ours is none."""
    name = stage.name("deadline")
    async with kind(stage.url) as actor:
        keys = [actor.key(name), f"lock-signal:{name}"]

        def pass_on(number: int) -> None:
            stage.aside.eval(_PASS_ON, 2, *keys, f"{number:032x}:{number}:0:host:1:")

        pass_on(0)
        begun = time.monotonic()
        waiting = asyncio.create_task(actor.take(actor.lock(name, ttl=20), 1))
        for number in range(1, 9):
            if (await asyncio.wait([waiting], timeout=0.5))[0]:
                break
            pass_on(number)
        took = time.monotonic() - begun
        stage.aside.delete(*keys)
        stage.aside.lpush(keys[1], 1)
        with suppress(Exception):
            await asyncio.wait_for(waiting, 5)
        stage.aside.delete(*keys)
    return Verdict(took < 3, "ok" if took < 3 else f"waits on after {took:.0f} s", f"{took:.2f} s")


# --- who is told --------------------------------------------------------------------------------------------


@mishap("deleted while held", "An operator deletes the lock: does the section get to know?")
async def deleted(kind: Kind, stage: Stage) -> Verdict:
    """Until then two work at once."""
    name = stage.name("deleted")
    async with kind(stage.url) as actor:
        grip = await actor.take(actor.lock(name, renew=actor.renews), 5)
        await asyncio.sleep(0.5)
        stage.aside.delete(actor.key(name))
        told = await is_told(actor, grip)
        said = await parting(actor, grip)
    if told is None:
        return Verdict(False, "untold", f"release: {said}")
    return Verdict(True, "ok", f"told after {told:.1f} ms")


@mishap("link broken for 1.2 s", "While a lock with a ttl of 3 s is renewed: is it still ours after 5 s?")
async def broken_link(kind: Kind, stage: Stage) -> Verdict:
    """One failed attempt to renew is no reason to stop renewing."""
    name = stage.name("link")
    async with through_faults(kind, stage) as (faults, actor), kind(stage.url) as rival:
        grip = await actor.take(actor.lock(name, ttl=3, renew=actor.renews), 5)
        since = time.monotonic()

        async def breaking() -> None:
            await asyncio.sleep(1.4)  # after a renewal, and before the next
            faults.refuse()
            faults.cut()
            await asyncio.sleep(1.2)
            faults.accept()

        task = asyncio.create_task(breaking())
        theirs, other = rival.lock(name, ttl=3), None
        while other is None and time.monotonic() < since + 5:
            await asyncio.sleep(0.1)
            other = await rival.take(theirs, 0)
        after, told = time.monotonic() - since, actor.told(grip)
        await task
        await parting(actor, grip)
        await parting(rival, other)
    if other is None:
        return Verdict(not told, "ok" if not told else "held, told lost")
    if not kind.renews:
        return Verdict(False, "no renewal", f"two holders after {after:.1f} s")
    return Verdict(False, "lost, told" if told else "two holders, untold", f"after {after:.1f} s")


@mishap("process frozen", "Longer than its lease, and somebody else has the lock: what does it know then?")
async def frozen(kind: Kind, stage: Stage) -> Verdict:
    """A pause of the machine or of the garbage collector is no rarity."""
    name = stage.name("frozen")
    async with elsewhere(another_process(kind.__name__, stage.url, name, "1")) as other:
        assert await other.line() == "held"
        other.freeze()
        try:
            await asyncio.sleep(1.5)
            async with kind(stage.url) as actor:
                await actor.give(await actor.take(actor.lock(name), 3))
        finally:
            other.resume()
        told, _, after = (await other.line()).partition(" ")
        said = await other.line()
    if told == "told":
        return Verdict(True, "ok", f"told after {after} ms")
    return Verdict(False, "untold", f"release: {said}")


@mishap(
    "server's clock jumps",
    "Ahead by a minute, past the ttl, and somebody else has it: is the first told?",
)
async def clock_jumps(kind: Kind, stage: Stage) -> Verdict:
    """No lock with a ttl survives that; all that one can do is say so."""
    if not can_jump():
        return Verdict(None, "not tried")
    name = stage.name("clock")
    async with elsewhere(jumping()) as clock, kind(clock.url) as actor, kind(clock.url) as rival:
        grip = await actor.take(actor.lock(name, renew=actor.renews), 5)
        clock.ahead(60)
        other = await rival.take(rival.lock(name), 2)
        told = await is_told(actor, grip)
        said = await parting(actor, grip)
        await parting(rival, other)
    if other is None:
        return Verdict(True, "ok", "not granted twice")
    if told is None:
        return Verdict(False, "two holders, untold", f"release: {said}")
    return Verdict(True, "ok", f"granted twice, told within {told:.1f} ms")
