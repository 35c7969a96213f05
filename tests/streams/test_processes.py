"""Workers that are killed, stopped, woken and forked: what they had is handled by others, once by effects."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.streams._stream_sync import Stream
from holdfast.streams.options import Backoff
from tests.streams.actors import worker

PATIENCE = 30.0


def until(ask: Callable[[], Any], wanted: Any = True) -> None:
    give_up = time.monotonic() + PATIENCE
    while (answer := ask()) != wanted:
        assert time.monotonic() < give_up, f"still {answer!r}, not {wanted!r}"
        time.sleep(0.005)


def key_of(number: int) -> int:
    return number % 4


def numbers_of(hf: Holdfast) -> Stream[Any]:
    return hf.stream("numbers", key=key_of)


def counted(hf: Holdfast) -> dict[int, int]:
    """What effects have written."""
    key = numbers_of(hf)._desk.layout.parts[0].user("sums")
    flat = hf.execute("HGETALL", key)
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {int(name): int(count) for name, count in pairs}


def buried(hf: Holdfast) -> list[tuple[bytes, bytes, bytes]]:
    """Dead letters: value, deliveries, error."""
    found = []
    for _, flat in hf.execute("XRANGE", numbers_of(hf)._desk.layout.parts[0].group("g").dead, "-", "+"):
        named = dict(zip(flat[::2], flat[1::2], strict=True))
        found.append((named[b"data"], named[b"~deliveries"], named[b"~error"]))
    return found


COUNTING = """
@numbers.subscriber("g", lease="500ms", retry=Backoff(0), order=ORDER, concurrency=2, max_deliveries=50)
def handle(number, message):
    with message.effects() as fx:
        fx.hincrby(message.key("sums"), str(number))
    time.sleep(0.002)
say("ready")
hf.run()
say("ended")
"""


@pytest.mark.parametrize("order", ["none", "key"])
def test_killed_workers_lose_and_double_nothing(hf: Holdfast, server: Any, namespace: str, order: str):
    """Without leases what a dead worker had stayed with it; without the owner check effects came twice."""
    code = COUNTING.replace("ORDER", repr(order))
    numbers = numbers_of(hf)
    with worker(server, namespace, code) as survivor:
        assert survivor.hear() == "ready"
        with worker(server, namespace, code) as victim:
            assert victim.hear() == "ready"
            numbers.publish_many(range(60))
            until(lambda: len(counted(hf)) > 20)
            victim.signal(signal.SIGKILL)
        until(lambda: counted(hf), dict.fromkeys(range(60), 1))
        until(lambda: hf.execute("XPENDING", numbers._desk.layout.parts[0].stream, "g")[0], 0)
        survivor.say("stop")
        assert survivor.hear() == "ended"
    assert buried(hf) == []


@pytest.mark.parametrize("order", ["none", "key"])
def test_a_worker_that_slept_finds_that_others_have_what_it_had(
    hf: Holdfast, server: Any, namespace: str, order: str
):
    """Its effects and acknowledgements are refused; what is new it handles again as before."""
    code = """
@numbers.subscriber("g", lease="500ms", retry=Backoff(0), order=ORDER)
def handle(number, message):
    say("has", number, message.deliveries)
    if number == 0 and message.deliveries == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.05)
    try:
        with message.effects() as fx:
            fx.hincrby(message.key("sums"), str(number))
    except LockLost as error:
        say("lost", number, error.cause)
        raise
say("ready")
hf.run()
say("ended", numbers.stats()["g"].in_flight)
""".replace("ORDER", repr(order))
    numbers = numbers_of(hf)
    with worker(server, namespace, code) as sleeper:
        assert sleeper.hear() == "ready"
        numbers.publish_many([0, 4, 1])
        assert sleeper.hear() == "has 0 1"
        with worker(server, namespace, code) as other:
            assert other.hear() == "ready"
            until(lambda: counted(hf), {0: 1, 4: 1, 1: 1})
            sleeper.signal(signal.SIGCONT)
            assert sleeper.hear().startswith("lost 0")
            other.say("stop")
            while (line := other.hear()) != "ended 0":
                assert line.startswith("has"), line
        numbers.publish(8)
        while (line := sleeper.hear()) != "has 8 1":
            assert line.split()[1] != "8", line  # of the others it may begin one, until it knows
        sleeper.say("stop")
        assert sleeper.hear() == "ended 0"
    assert counted(hf) == {0: 1, 4: 1, 1: 1, 8: 1}


def test_a_message_that_kills_its_process_dies_and_no_other_with_it(
    hf: Holdfast, server: Any, namespace: str
):
    """Without a limit it killed one worker after the other for ever; without handing suspects out alone, all
    that were in flight beside it became dead letters too.
    """
    code = """
@numbers.subscriber("g", lease="300ms", max_deliveries=2)
def handle(number, message):
    if number == 7:
        os._exit(1)
    with message.effects() as fx:
        fx.hincrby(message.key("sums"), str(number))
say("ready")
hf.run()
say("ended")
"""
    numbers = numbers_of(hf)
    numbers.publish_many(range(16))
    lives = 0
    while len(counted(hf)) < 15 or not buried(hf):
        lives += 1
        assert lives < 12
        with worker(server, namespace, code) as victim:
            until(lambda: len(counted(hf)) == 15 and buried(hf) != [] or victim.process.poll() is not None)
    assert buried(hf) == [(b"\x07", b"2", b"interrupted 2 times")]
    assert counted(hf) == {number: 1 for number in range(16) if number != 7}
    assert lives <= 4


def test_a_forked_child_publishes_messages_of_its_own(hf: Holdfast, server: Any, namespace: str):
    """Without a token of its own the child's requests were taken for repetitions of the parent's: lost."""
    code = """
numbers.publish(0)
pid = os.fork()
for n in range(5):
    numbers.publish(n + (10 if pid else 20))
if not pid:
    os._exit(0)
os.waitpid(pid, 0)
say("done")
"""
    with worker(server, namespace, code) as parent:
        assert parent.hear() == "done"
    entries = hf.execute("XRANGE", numbers_of(hf)._desk.layout.parts[0].stream, "-", "+")
    assert sorted(flat[1][0] for _, flat in entries) == [0, *range(10, 15), *range(20, 25)]


def test_a_child_of_a_running_worker_neither_takes_nor_holds_anything(
    hf: Holdfast, server: Any, namespace: str
):
    code = """
@numbers.subscriber("g", lease="500ms")
def handle(number, message):
    say("parent" if os.getpid() == me else "child", number)
me = os.getpid()
def fork():
    time.sleep(0.3)
    if not os.fork():
        alive = [one.alive for one in numbers.runnables()]
        numbers.publish(1)
        time.sleep(0.3)
        say("alive", alive, numbers.stats()["g"].running)
        os._exit(0)
    os.wait()
    numbers.publish(2)
threading.Thread(target=fork, daemon=True).start()
hf.run()
say("ended")
"""
    with worker(server, namespace, code) as parent:
        heard = sorted(parent.hear() for _ in range(3))
        assert heard == ["alive [False] 0", "parent 1", "parent 2"]
        parent.say("stop")
        assert parent.hear() == "ended"


def test_sigterm_lets_the_handler_end_and_gives_the_rest_back(hf: Holdfast, server: Any, namespace: str):
    """Without it a deploy would count a delivery of, or hold up, everything that was in flight."""
    code = """
@numbers.subscriber("g", lease="20s", order=ORDER)
def handle(number, message):
    say("began", number)
    time.sleep(0.3)
    say("did", number)
hf.run()
say("ended")
"""
    numbers = numbers_of(hf)
    numbers.publish_many([0, 4, 8, 1])
    with worker(server, namespace, code.replace("ORDER", "'key'")) as one:
        assert one.hear() == "began 0"
        one.signal(signal.SIGTERM)
        assert one.hear() == "did 0" and one.hear() == "ended"
    seen: list[tuple[int, int]] = []

    @numbers.subscriber("g")
    def handle(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))

    hf.run(until="idle")
    assert sorted(seen) == [(1, 1), (4, 1), (8, 1)]


def test_an_event_loop_that_is_blocked_longer_than_the_lease_keeps_its_messages(
    hf: Holdfast, server: Any, namespace: str
):
    """Without a thread of its own for the lease another worker would have taken them."""
    code = """
import asyncio
from holdfast import AsyncHoldfast
async def main():
    async with AsyncHoldfast(sys.argv[1], namespace=sys.argv[2]) as ahf:
        numbers = ahf.stream("numbers", key=lambda number: number % 4)
        @numbers.subscriber("g", lease="400ms")
        async def handle(number, message):
            say("began", number, message.deliveries)
            time.sleep(1.5)
            message.ensure()
            ahf.stop()
        await ahf.run()
        say("ended", numbers.stats()["g"].handled, numbers.stats()["g"].lost)
asyncio.run(main())
"""
    numbers = numbers_of(hf)
    seen: list[int] = []

    @numbers.subscriber("g", order="none", lease="400ms")
    def handle(number: int) -> None:
        seen.append(number)
        hf.stop()

    numbers.publish(1)
    with worker(server, namespace, code) as blocked:
        assert blocked.hear() == "began 1 1"
        begun = time.monotonic()
        hf.run(until="idle")
        assert time.monotonic() - begun > 0.5
        assert blocked.hear() == "ended 1 0"
    assert seen == [] and os.getpid()


def ended(hf: Holdfast, part: Any) -> bool:
    """Are the leases of all members over?"""
    text = "return redis.call('ZCOUNT', KEYS[1], redis.call('TIME')[1] * 1000, '+inf')"
    return bool(hf.execute("EVAL", text, 1, part.group("g").members) == 0)


def test_clients_of_a_failed_process_leave_no_consumer_behind(hf: Holdfast, server: Any, namespace: str):
    """Without the hand-over each start of a worker would leave a consumer in the group for ever."""
    code = COUNTING.replace("ORDER", "'none'")
    numbers = numbers_of(hf)
    for number in range(2):
        with worker(server, namespace, code) as victim:
            numbers.publish(number)
            until(lambda so_far=number: len(counted(hf)), number + 1)
            victim.signal(signal.SIGKILL)
    part = numbers._desk.layout.parts[0]

    @numbers.subscriber("g", order="none", retry=Backoff(0))
    def handle(number: int) -> None: ...

    until(lambda: ended(hf, part))
    hf.run(until="idle")
    names = [one[b"name"] for one in hf.execute("XINFO", "CONSUMERS", part.stream, "g")]
    assert set(names) <= {b"~later"}
    keys = part.group("g")
    assert hf.execute("EXISTS", keys.members, keys.turns) == 0
