"""Eight processes with many tasks each get exactly what is there; and cancelled tasks give back what they
had booked.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Holdfast
from holdfast.limits import _hold_sync
from holdfast.limits.options import Limit
from tests.limits.world import left

WORKER = """
import asyncio, sys
from holdfast import AsyncHoldfast
from holdfast.limits.options import Limit

async def main(url, namespace, quota):
    async with AsyncHoldfast(url, namespace=namespace, timeout="60s") as hf:
        kinds = ("gcra", "sliding", "fixed", "log")
        limits = [Limit(quota, "365d", algorithm=one, name=one) for one in kinds]
        limiter = hf.limiter("crowd", limits, deadline="60s", deny_cache=0, on_error="deny")

        async def ask():
            taken = 0
            for cost in (1, 2, 3, 1, 1) * 3:
                taken += cost * (await limiter.check("all", cost)).allowed
            return taken

        print(sum(await asyncio.gather(*[ask() for _ in range(10)])))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.mark.timeout(240)
def test_eight_processes_get_exactly_what_is_there(server: Any, namespace: str):
    quota = 701
    command = [sys.executable, "-c", WORKER, server.url, namespace, str(quota)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    try:
        taken = [int(worker.communicate(timeout=200)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert sum(taken) == quota


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await true():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("algorithm", ["gcra", "sliding", "fixed", "log"])
async def test_a_cancelled_task_gives_its_place_back(ahf: AsyncHoldfast, algorithm: Any):
    limiter = ahf.limiter("jobs", Limit(1, "1h", algorithm=algorithm), deadline="20s")
    assert await limiter.check("ann")
    before = await limiter.peek("ann")

    async def wait() -> None:
        async with limiter.hold("ann", wait="3h"):
            pytest.fail("its moment has not come")

    waiting = asyncio.create_task(wait())

    async def booked() -> bool:
        return (await limiter.peek("ann")).retry_after > before.retry_after

    async def free() -> bool:
        return not await booked()

    await until(booked)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(free)
    assert limiter.stats().given_up == 1
    assert await limiter.refund("ann")
    assert await limiter.check("ann")


def test_an_interrupted_thread_gives_its_place_back(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    limiter = hf.limiter("jobs", Limit(1, "1h"), deadline="20s")
    assert limiter.check("ann")

    def interrupted(delay: float) -> None:
        assert 0 < delay <= 3600
        assert limiter.peek("ann").retry_after > 3600, "it is booked"
        raise KeyboardInterrupt

    monkeypatch.setattr(_hold_sync, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt), limiter.hold("ann", wait="2h"):
        pytest.fail("its moment has not come")
    assert limiter.peek("ann").retry_after <= 3600
    assert limiter.refund("ann")
    assert left(limiter.peek("ann")) == [1]


async def test_first_come_first_served(ahf: AsyncHoldfast):
    limiter = ahf.limiter("jobs", Limit(50, "1s", burst=1), deadline="20s")
    order: list[int] = []

    async def take(number: int) -> None:
        async with limiter.hold("ann", wait="20s"):
            order.append(number)

    tasks = []
    for number in range(8):
        tasks.append(asyncio.create_task(take(number)))
        await asyncio.sleep(0)  # it asks: the requests of one connection arrive in their order
    await asyncio.gather(*tasks)
    assert order == sorted(order)
