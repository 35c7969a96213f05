"""First come, first served, across processes, whoever dies in between.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import Any

import pytest

from holdfast import Holdfast, LockTimeout
from holdfast._coord import _line_sync
from holdfast.locks import rules
from tests.cache.crowd import Crowd
from tests.embedded.lab import until
from tests.locks.actors import actor

PATIENCE, SAFETY = 1.5, 0.5  # seconds, in place of 6 and 2
WAIT = (
    f"""
from holdfast._coord import _line_sync
from holdfast.locks import rules
rules.PATIENCE_MS, _line_sync.SAFETY = {int(PATIENCE * 1000)}, {SAFETY}
"""
    """
for line in iter(hear, "end"):
    def work(name=line):
        with hf.lock("x", ttl="20s", wait="60s", fair=True):
            say(name)
            time.sleep(0.01)
    threading.Thread(target=work, daemon=True).start()
say("end")
"""
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead are passed over sooner, so that this is seen sooner."""
    monkeypatch.setattr(rules, "PATIENCE_MS", int(PATIENCE * 1000))
    monkeypatch.setattr(_line_sync, "SAFETY", SAFETY)


def queued(hf: Holdfast) -> int:
    """How many stand in the queue of the server."""
    found: Any = hf.execute("ZCARD", hf.lock("x")._names.queue)
    return int(found)


def clean(hf: Holdfast) -> bool:
    """Does nobody hold it, and is the queue empty?"""
    names = hf.lock("x")._names
    return hf.execute("EXISTS", names.key, names.queue, names.beats) == 0


def test_the_order_holds_across_processes(hf: Holdfast, server, namespace: str):
    """found: tickets by the client's process, so that each served its own first."""
    lease = hf.lock("x", ttl="20s").acquire()
    order: list[str] = []
    with ExitStack() as stack:
        actors = [stack.enter_context(actor(server, namespace, WAIT)) for _ in range(3)]
        for number in range(12):
            actors[number % 3].say(f"{number}")
            assert until(lambda number=number: queued(hf) == number + 1)
        begun = time.monotonic()
        lease.release()
        for number in range(12):
            order.append(actors[number % 3].hear())
        assert order == [f"{number}" for number in range(12)]
        assert time.monotonic() - begun < 8  # a push each, and not SAFETY, 2 s
        assert until(lambda: clean(hf))


def test_the_dead_are_passed_over(hf: Holdfast, server, namespace: str):
    """The head is killed, and another one, and a living one waits behind. found: beats that are not looked
    at.
    """
    lease = hf.lock("x", ttl="20s").acquire()
    with actor(server, namespace, WAIT) as dead, actor(server, namespace, WAIT) as alive:
        dead.say("a")
        assert until(lambda: queued(hf) == 1)
        alive.say("b")
        assert until(lambda: queued(hf) == 2)
        dead.say("c")
        assert until(lambda: queued(hf) == 3)
        dead.signal(signal.SIGKILL)
        dead.process.wait()
        begun = time.monotonic()
        lease.release()  # told to the head, who is dead
        assert alive.hear() == "b"
        assert time.monotonic() - begun < PATIENCE + SAFETY + 3  # and a busy machine


def test_one_speaks_for_all_of_a_process(own_server, namespace: str):
    """Thirty who wait longer than PATIENCE; none is taken to be dead. found: `others` that are not told."""
    with Holdfast(own_server.url, namespace=namespace) as hf, Crowd() as crowd:
        lease = hf.lock("x", ttl="60s").acquire()
        got: list[int] = []

        def work(number: int) -> None:
            with hf.lock("x", ttl="20s", wait="60s", fair=True):
                got.append(number)

        for number in range(30):
            crowd.start(lambda number=number: work(number))
            crowd.until(lambda number=number: queued(hf) == number + 1)
        time.sleep(PATIENCE + 0.7)
        assert queued(hf) == 30
        latecomer = hf.lock("x", fair=True)
        with pytest.raises(LockTimeout):
            latecomer.acquire(wait=0)
        assert until(lambda: queued(hf) == 30)
        lease.release()
        for job in crowd.jobs:
            job.result()
        assert got == list(range(30))
        assert until(lambda: clean(hf))
