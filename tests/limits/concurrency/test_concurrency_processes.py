"""Slots across processes: killed, frozen and forked ones, and tasks that are cancelled at any moment.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Holdfast, LockLost
from holdfast._coord.naming import text
from holdfast.errors import RateLimited
from holdfast.limits.concurrency._concurrency_async import AsyncConcurrencyLimiter
from holdfast.limits.concurrency._concurrency_sync import ConcurrencyLimiter
from holdfast.limits.concurrency.options import ConcurrencyOptions
from holdfast.limits.concurrency.rules import Names
from tests.embedded.lab import until
from tests.locks.actors import Actor, actor

PRELUDE = """
from holdfast.limits.concurrency._concurrency_sync import ConcurrencyLimiter
from holdfast.limits.concurrency.options import ConcurrencyOptions

def limiter_of(limit, **options):
    options = {"deadline": "20s", "on_error": "deny", "wait": "60s", **options}
    return ConcurrencyLimiter(hf._wire, "exports", ConcurrencyOptions(limit=limit, **options))

say("ready")
hear()
"""
IMPATIENT = """
from holdfast._coord import _line_sync
from holdfast.limits.concurrency import rules
rules.PATIENCE_MS, _line_sync.SAFETY = 1500, 0.5
"""


def started(actors: list[Actor]) -> None:
    """Let all of them begin, at the same time."""
    for one in actors:
        assert one.hear() == "ready"
    for one in actors:
        one.say()


def limiter_of(hf: Holdfast, limit: int, **options: Any) -> ConcurrencyLimiter:
    options = {"deadline": "20s", "on_error": "deny", "wait": "60s", **options}
    return ConcurrencyLimiter(hf._wire, "exports", ConcurrencyOptions(limit=limit, **options))


def clean(hf: Holdfast, subject: str) -> bool:
    """Has nobody a slot, and does nobody wait?"""
    return hf.execute("EXISTS", *Names(hf._wire.keys, "exports", text(subject)).all) == 0


def test_a_killed_holder_has_its_slot_for_its_ttl_at_most(hf: Holdfast, server, namespace: str):
    """found: take.lua that does not clear what has ended."""
    code = PRELUDE + 'slot = limiter_of(1, ttl="1s").acquire("ann")\nsay("has it")\ntime.sleep(60)'
    one = limiter_of(hf, 1, ttl="1s")
    with actor(server, namespace, code) as holder:
        started([holder])
        assert holder.hear() == "has it"
        holder.signal(signal.SIGKILL)
        begun = time.monotonic()
        with one.hold("ann", wait="50s") as slot:
            slot.ensure()
        assert time.monotonic() - begun < 30
    assert clean(hf, "ann")


def test_a_frozen_holder_is_told_that_it_was_lost(hf: Holdfast, server, namespace: str):
    """It wakes up after its ttl and must not take its slot for its own."""
    code = (
        PRELUDE
        + """
slot = limiter_of(1, ttl="1s").acquire("ann")
say("has it")
hear()
time.sleep(0.5)
try:
    slot.ensure()
    say("ours")
except LockLost as error:
    say("lost")
"""
    )
    with actor(server, namespace, code) as holder:
        started([holder])
        assert holder.hear() == "has it"
        time.sleep(0.5)
        holder.signal(signal.SIGSTOP)
        with limiter_of(hf, 1, ttl="10s").hold("ann") as slot:
            holder.say()
            holder.signal(signal.SIGCONT)
            assert holder.hear() == "lost"
            slot.ensure()


def test_who_died_waiting_is_passed_over(hf: Holdfast, server, namespace: str):
    """found: a queue without beats: those behind a dead waiter waited for ever."""
    code = (
        PRELUDE + IMPATIENT + 'say("waits")\nlimiter_of(1, ttl="20s").acquire("ann")\nsay("got it")\nhear()'
    )
    one = limiter_of(hf, 1, ttl="20s")
    slot = one.acquire("ann")
    with ExitStack() as stack:
        dead, alive = (stack.enter_context(actor(server, namespace, code)) for _ in range(2))
        for place, waiter in enumerate((dead, alive)):
            started([waiter])
            assert waiter.hear() == "waits"
            assert until(lambda place=place: one.peek("ann").waiting == place + 1)
        dead.signal(signal.SIGKILL)
        slot.release()
        assert alive.hear() == "got it"


def test_the_order_holds_across_processes(hf: Holdfast, server, namespace: str):
    """found: a queue of its own for each process, which served its own first."""
    code = (
        PRELUDE
        + """
for line in iter(hear, "end"):
    def work(name=line):
        with limiter_of(1, ttl="20s").hold("ann"):
            say(name)
            time.sleep(0.01)
    threading.Thread(target=work, daemon=True).start()
"""
    )
    one = limiter_of(hf, 1, ttl="20s")
    slot = one.acquire("ann")
    with ExitStack() as stack:
        actors = [stack.enter_context(actor(server, namespace, code)) for _ in range(3)]
        started(actors)
        for number in range(9):
            actors[number % 3].say(str(number))
            assert until(lambda number=number: one.peek("ann").waiting == number + 1)
        order: list[str] = []
        slot.release()
        for number in range(9):
            order.append(actors[number % 3].hear())
        assert order == [str(number) for number in range(9)]
        assert until(lambda: clean(hf, "ann"))


def test_eight_processes_are_never_more_than_the_limit(hf: Holdfast, server, namespace: str):
    """Judged by the server, where whoever enters is counted in a key of its own.

    found: `out + rank <= limit` in take.lua.
    """
    code = (
        PRELUDE
        + """
three = limiter_of(3, ttl="20s")
count, most = hf.key("count"), 0
def work():
    global most
    for _ in range(15):
        with three.hold("ann"):
            most = max(most, hf.execute("INCR", count))
            time.sleep(0.001)
            hf.execute("DECR", count)
threads = [threading.Thread(target=work) for _ in range(2)]
for one in threads: one.start()
for one in threads: one.join()
say(most, three.stats().acquired, three.stats().degraded)
"""
    )
    with ExitStack() as stack:
        actors = [stack.enter_context(actor(server, namespace, code)) for _ in range(8)]
        started(actors)
        told = [[int(word) for word in one.hear().split()] for one in actors]
    assert max(most for most, _, _ in told) <= 3
    assert sum(acquired for _, acquired, _ in told) == 240
    assert sum(degraded for _, _, degraded in told) == 0
    assert clean(hf, "ann")


def test_the_child_of_a_fork_has_nothing_and_takes_nothing_away(hf: Holdfast):
    """found: a child that gives back, or renews, what its parent holds."""
    one = limiter_of(hf, 1, ttl="10s")
    slot = one.acquire("ann")
    hold = one.hold("bob")
    hold.__enter__()
    child = os.fork()
    if not child:
        status = 1
        try:
            assert slot.cause == "forked" and slot.remaining() == 0.0
            for call in (slot.ensure, slot.release, lambda: hold.__exit__(None, None, None)):
                with pytest.raises(LockLost):
                    call()
            assert one.try_acquire("ann") is None
            with pytest.raises(RateLimited):
                one.acquire("ann", "200ms")
            with one.hold("eve") as other:
                other.ensure()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    slot.ensure()
    assert one.try_acquire("ann") is None and one.try_acquire("bob") is None
    slot.release()
    hold.__exit__(None, None, None)


def test_a_fork_while_others_wait(hf: Holdfast):
    """In the child nobody waits; in the parent they get it. found: lines that the child inherits."""
    one = limiter_of(hf, 1, ttl="20s")
    slot = one.acquire("ann")
    got: list[int] = []

    def wait() -> None:
        with one.hold("ann"):
            got.append(1)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert until(lambda: one.peek("ann").waiting == 3)
    child = os.fork()
    if not child:
        status = 1
        try:
            assert not one._desk.lines._all
            with one.hold("ann", wait="50s") as mine:
                mine.ensure()
            status = 0
        finally:
            os._exit(status)
    slot.release()
    for thread in threads:
        thread.join(50)
    assert len(got) == 3
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_what_is_cancelled_at_any_moment_leaves_nothing(ahf: AsyncHoldfast, hf: Holdfast):
    """found: an acquire without give_up(): a slot was gone for its ttl, two minutes."""
    options = ConcurrencyOptions(limit=2, ttl="120s", wait="20s", deadline="20s", on_error="deny")
    two = AsyncConcurrencyLimiter(ahf._wire, "exports", options)
    rng, granted = random.Random(7), 0

    async def once() -> None:
        nonlocal granted
        how = rng.random()

        async def work() -> None:
            nonlocal granted
            if how < 0.5:
                async with two.hold("ann"):
                    granted += 1
                    await asyncio.sleep(0.002)
            else:
                slot = await (two.acquire("ann") if how < 0.8 else two.try_acquire("ann"))
                if slot is not None:
                    granted += 1
                    await slot.release()

        task = asyncio.create_task(work())
        await asyncio.sleep(rng.uniform(0, 0.02))
        task.cancel()
        await asyncio.wait([task], timeout=30)
        assert task.done()
        if not task.cancelled():
            task.result()

    for _ in range(8):
        await asyncio.gather(*(once() for _ in range(40)))
    assert granted > 0
    assert await asyncio.to_thread(until, lambda: clean(hf, "ann"))
    slots = [await two.acquire("ann", 0) for _ in range(2)]
    for slot in slots:
        await slot.release()
    assert two.stats().waiting == 0
