"""What can go wrong between a message and its handler, one probe each: `await probe(stage)` says how a
library takes it. A stage has a server and a stream of its own, for one library.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.streams.crew import PAUSE, TRIES
from benchmarks.streams.stage import STARTS, Line, Stage, Verdict
from holdfast.testing import FaultProxy

Probe = Callable[[Stage], Awaitable[Verdict]]


@dataclass(frozen=True)
class Mishap:
    """A probe and what it asks."""

    name: str
    question: str
    probe: Probe


ALL: list[Mishap] = []


def mishap(name: str, question: str) -> Callable[[Probe], Probe]:
    """Put a probe on the list."""

    def remember(probe: Probe) -> Probe:
        ALL.append(Mishap(name, question, probe))
        return probe

    return remember


# --- workers die, sleep, and work for long ------------------------------------------------------------------


@mishap("worker killed", "kill -9 in the middle of a handler: when is its message handled again?")
async def killed(stage: Stage) -> Verdict:
    """A message that only a dead process knows of is lost."""
    play = stage.crew(longest=3)
    async with play.on(2):
        await play.ready()
        await play.crew.publish("slow:3:x")
        first = (await play.until(lambda: play.of("slow:3:x"), STARTS))[0]
        play.hand(first.hand).signal(signal.SIGKILL)
        since = time.monotonic()
        again = await play.until(lambda: play.of("slow:3:x")[1:], play.crew.again + 3)
        by_itself = bool(again)
        if not again:
            async with play.traffic():
                again = await play.until(lambda: play.of("slow:3:x")[1:], play.crew.again + 3)
    if not again:
        return Verdict(False, "never")
    after = again[0].at - since
    text = f"after {after:.0f} s" if by_itself else "only when others come"
    return Verdict(by_itself, text, f"{after:.3f}")


@mishap(
    "handler takes long", "Three times as long as the idle time, another worker is free: is it run twice?"
)
async def long(stage: Stage) -> Verdict:
    """An idle time that ends under a living handler makes two of it."""
    takes = 3 * stage.idle
    text = f"slow:{takes}:x"
    play = stage.crew(longest=takes + 1)
    async with play.on(2):
        await play.ready()
        await play.crew.publish(text)
        async with play.traffic():
            await play.until(lambda: play.of(text, "end"), STARTS + takes)
            await asyncio.sleep(stage.idle / 2)
        times = len(play.of(text))
    return Verdict(times == 1, "ok" if times == 1 else f"run {times} times")


@mishap(
    "frozen worker wakes up", "Its message is being handled by another one: does its acknowledgement count?"
)
async def stale(stage: Stage) -> Verdict:
    """If it does, and the other one dies, what the other one did not finish is not done again."""
    takes = 3 * stage.idle + 2
    text = f"slow:{takes}:x"
    play = stage.crew(longest=takes + 1)
    async with play.on(2), play.traffic():
        await play.ready()
        await play.crew.publish(text)
        first = (await play.until(lambda: play.of(text), STARTS))[0]
        play.hand(first.hand).signal(signal.SIGSTOP)
        second = await play.until(lambda: play.of(text)[1:], play.crew.again + 5)
        play.hand(first.hand).signal(signal.SIGCONT)
        if not second:
            return Verdict(False, "nobody else has it")

        def theirs(of: Line) -> list[Line]:
            return [one for one in play.of(text, "end") if one.hand == of.hand]

        await play.until(lambda: theirs(first), max(0.5, first.at + takes - time.monotonic() + 0.5))
        await asyncio.sleep(stage.idle / 4)  # it acknowledges
        if theirs(second[0]):
            return Verdict(False, "too late to tell")
        play.hand(second[0].hand).signal(signal.SIGKILL)
        since = time.monotonic()
        third = await play.until(
            lambda: [one for one in play.of(text) if one.at > since], play.crew.again + 3
        )
    return Verdict(bool(third), "ok" if third else "it counts")


@mishap("SIGTERM", "In the middle of a handler of 1.5 s: is it finished, and not run again elsewhere?")
async def drained(stage: Stage) -> Verdict:
    """Every deployment is one."""
    play = stage.crew(longest=3)
    async with play.on():
        await play.ready()
        await play.crew.publish("slow:1.5:x")
        hand = play.hand((await play.until(lambda: play.of("slow:1.5:x"), STARTS))[0].hand)
        hand.signal(signal.SIGTERM)
        over = await hand.ends(10)
        finished = len(play.of("slow:1.5:x", "end"))
        await play.hire()
        await play.until(lambda: play.of("slow:1.5:x")[1:], play.crew.again)
        times = len(play.of("slow:1.5:x"))
    if not over:
        return Verdict(False, "does not end")
    if finished and times == 1:
        return Verdict(True)
    return Verdict(False, "cut off" if not finished else f"run {times} times", f"begun {times} times")


# --- messages that fail -------------------------------------------------------------------------------------


@mishap("poison", "A message kills every process that handles it: when is it given up?")
async def poison(stage: Stage) -> Verdict:
    """Who counts failures only never hears of this one."""
    most = TRIES + 2
    play = stage.crew()
    async with play.on(), play.traffic():
        await play.crew.publish("die:x")
        quiet = time.monotonic()
        while len(play.of("die:x")) < most and time.monotonic() < quiet + play.crew.again + STARTS / 2:
            if play.hands[-1].is_dead:
                await play.hire()
            quiet = max([quiet, *(one.at for one in play.of("die:x"))])
            await asyncio.sleep(0.05)
        times = len(play.of("die:x"))
        kept = await play.crew.dead()
    if times >= most:
        return Verdict(False, "never", f"{times} processes")
    if not times:
        return Verdict(False, "never handled")
    return Verdict(bool(kept), f"after {times}, {'kept' if kept else 'not kept'}", f"{times} processes")


@mishap("handler fails", f"{TRIES} attempts, with pauses: is it tried again later, and kept if all fail?")
async def failing(stage: Stage) -> Verdict:
    """Without a pause it fails for the same reason; what is dropped is not there when the reason is gone."""
    play = stage.crew()
    async with play.on():
        await play.ready()
        await play.crew.publish("fail:x")
        await play.until(lambda: len(play.of("fail:x")) > TRIES + 1, TRIES * (stage.idle + 1.5) + 3)
        at = [one.at for one in play.of("fail:x")]
        kept = await play.crew.dead()
    if len(at) > TRIES + 1:
        return Verdict(False, "again and again", f"{at[1] - at[0]:.2f} s between")
    if len(at) < TRIES:
        return Verdict(False, f"tried {len(at)} times")
    least = min(later - one for one, later in itertools.pairwise(at))
    pause = "later" if least >= PAUSE else "at once"
    text = f"again {pause}, {'kept' if kept else 'not kept'}"
    return Verdict(least >= PAUSE and bool(kept), text, f"{len(at)} attempts, {least:.2f} s between")


# --- the server, and what is left on it ---------------------------------------------------------------------


@mishap("FLUSHALL", "While a worker waits for messages: does it handle the next one?")
async def flushed(stage: Stage) -> Verdict:
    """A worker that is up and does nothing is noticed late."""
    play = stage.crew()
    async with play.on():
        await play.ready()
        await asyncio.sleep(0.3)
        stage.aside.flushall()
        await asyncio.sleep(0.7)
        await play.crew.publish("ok:after")
        went_on = await play.until(lambda: play.of("ok:after", "end"), play.crew.again + 3)
        dead = play.hands[0].is_dead
    return Verdict(bool(went_on), "ok" if went_on else "stops, ends" if dead else "stops, stays up")


@mishap("workers come and go", "Three are killed, one works on: how many consumers does the server know?")
async def names(stage: Stage) -> Verdict:
    """Each deployment leaves some, for ever."""
    play = stage.crew()
    async with play.on(0):
        for _ in range(3):
            hand = await play.hire()
            await play.ready()
            hand.signal(signal.SIGKILL)
            await hand.ends(STARTS)
        await play.hire()
        await play.crew.publish("ok:x")
        await play.until(lambda: play.of("ok:x", "end"), play.crew.again + 3)

        def known() -> int:
            return sum(group["consumers"] for _, group in play.groups())

        await play.until(lambda: known() <= 2, play.crew.again)
        count = known()
    return Verdict(count <= 2, "ok" if count <= 2 else f"{count} known", f"{count}")


@mishap("200 acknowledged", "All are handled: how many are still on the server?")
async def kept(stage: Stage) -> Verdict:
    """What is never deleted fills the server."""
    play = stage.crew()
    async with play.on():
        await play.ready()
        for number in range(200):
            await play.crew.publish(f"ok:{number}")
        await play.until(lambda: play.of("ok:199", "end"), 2 * STARTS)
        await asyncio.sleep(0.5)
        left = sum(stage.aside.xlen(key) for key, _ in play.groups())
    return Verdict(left == 0, "none" if not left else "all" if left >= 200 else f"{left}", f"{left}")


# --- publishing ---------------------------------------------------------------------------------------------


@mishap("published twice", "With the same id, once more after it was handled: how often is it handled?")
async def twice(stage: Stage) -> Verdict:
    """Who publishes and does not hear the answer publishes again."""
    play = stage.crew()
    if not play.crew.ids:
        return Verdict(False, "no ids")
    async with play.on():
        await play.ready()
        for _ in range(2):
            await play.crew.publish("ok:x", id=play.crew.name)
        await play.until(lambda: play.of("ok:x", "end"), STARTS)
        await asyncio.sleep(0.3)
        before = len(play.of("ok:x"))
        await play.crew.publish("ok:x", id=play.crew.name)
        await play.until(lambda: play.of("ok:x", "end")[before:], 1.5)
        times = len(play.of("ok:x"))
    again = "twice" if before > 1 else "again, once it was handled"
    return Verdict(times == 1, "once" if times == 1 else again, f"{times} times")


@mishap("publish's reply lost", "The server has the message, the reply is lost: how often is it handled?")
async def lost_reply(stage: Stage) -> Verdict:
    """redis-py repeats every command whose reply is lost."""
    play = stage.crew()
    async with play.on():
        await play.ready()
        with FaultProxy(stage.url) as faults:
            there = type(play.crew)(faults.url, play.crew.name, stage.idle, 1)
            faults.drop_replies(match=b"ok:lost")
            said = ""
            try:
                await there.publish("ok:lost")
            except Exception as error:  # noqa: BLE001 - whatever the library raises
                said = f", raises {type(error).__name__}"
        await play.until(lambda: play.of("ok:lost", "end"), STARTS)
        await play.until(lambda: play.of("ok:lost", "end")[1:], 1)
        times = len(play.of("ok:lost"))
    how = {0: "never", 1: "once", 2: "twice"}.get(times, f"{times} times")
    return Verdict(times == 1 and not said, f"{how}{said}")
