"""redis-py's connections: when the server moves, none of them stays behind."""

import asyncio
import threading
from time import monotonic
from typing import Any

import pytest

from holdfast._wire._redispy_async import AsyncRedisPy
from holdfast._wire._redispy_sync import RedisPy
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.transport import WireFailure
from holdfast._wire.url import parse

TIMES: dict[str, Any] = {"connect_timeout": 2.0, "max_connections": 8, "timeout": 30.0}
POP = ("BLPOP", "nothing", "30")


class Moving(Endpoint):
    """A place that moves when the test says so."""

    moved = False

    def is_current(self, target):
        return not self.moved


def soon(seconds=30.0):
    return monotonic() + seconds


def test_a_thread_that_notices_the_move_first_does_not_hide_the_others(server, namespace):
    """It took the pool away, and whoever was to break its connections did not find them any more."""
    place = Moving(server.url, parse(server.url))
    ends: list[float] = []
    transport = RedisPy(place, None, **TIMES)

    def pop():
        with pytest.raises(WireFailure), transport.conversation(soon()) as mine:
            waiting.set()
            mine.execute(POP, soon())
        ends.append(monotonic())

    waiting = threading.Event()
    thread = threading.Thread(target=pop, daemon=True)
    with transport.conversation(soon()) as noticing:
        thread.start()
        assert waiting.wait(10)
        noticing.execute(("PING",), soon())
        place.moved = True
    place.tell_moved("a test")
    thread.join(10)
    assert ends
    transport.close()


async def test_a_task_that_notices_the_move_first_does_not_hide_the_others(server, namespace):
    """As with threads."""
    place = Moving(server.url, parse(server.url))
    transport = AsyncRedisPy(place, None, **TIMES)

    async def pop():
        async with transport.conversation(soon()) as mine:
            waiting.set()
            await mine.execute(POP, soon())

    waiting = asyncio.Event()
    async with transport.conversation(soon()) as noticing:
        task = asyncio.create_task(pop())
        async with asyncio.timeout(10):
            await waiting.wait()
        await noticing.execute(("PING",), soon())
        place.moved = True
    place.tell_moved("a test")
    async with asyncio.timeout(10):
        with pytest.raises(WireFailure):
            await task
    await transport.aclose()
