# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Consumers that nobody is any more do not pile up."""

import time

from holdfast import AsyncHoldfast
from holdfast._compat import asleep
from holdfast.streams._tidy_async import AsyncTidy


async def test_a_consumer_that_read_once_more_after_it_had_left_is_removed(ahf: AsyncHoldfast):
    """found: a read on its way when its member left made its consumer anew, for ever."""
    jobs = ahf.stream("jobs")
    jobs.subscriber("work")(_nothing)
    await jobs.publish(1)
    await ahf.run(until="idle")
    part = jobs._desk.layout.parts[0]
    await ahf.execute("XGROUP", "CREATECONSUMER", part.stream, "work", "ghost")
    await ahf.execute("ZADD", part.group("work").members, 10**15, "member")
    await ahf.execute("XGROUP", "CREATECONSUMER", part.stream, "work", "member")
    tidy = AsyncTidy(jobs._desk, "work", lease=0.01)
    give_up = time.monotonic() + 20
    while "ghost" in (names := await _consumers(ahf, part.stream)):
        assert time.monotonic() < give_up, names
        await tidy.part(part)
        await asleep(0.02)
    assert "member" in names


async def _consumers(ahf: AsyncHoldfast, stream: str) -> str:
    return repr(await ahf.execute("XINFO", "CONSUMERS", stream, "work"))


async def _nothing(value: object) -> None:
    """Handle it."""
