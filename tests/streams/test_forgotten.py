"""A failover that has forgotten a delivery, and a client that was closed."""

import asyncio

import pytest

from holdfast import AsyncHoldfast, Closed


async def test_an_entry_that_is_in_work_is_not_begun_again_because_the_server_forgot_it(ahf: AsyncHoldfast):
    """found: a promoted replica delivered anew what was in work; its key went on in the wrong order."""
    jobs, begun, go = ahf.stream("jobs"), [], asyncio.Event()

    @jobs.subscriber("work", concurrency=2)
    async def work(job: int) -> None:
        begun.append(job)
        if job == 1:
            await asyncio.wait_for(go.wait(), 20)

    first = await jobs.publish(1)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(ahf.run())
        while 1 not in begun:
            await asyncio.sleep(0.01)
        stream = jobs._desk.layout.parts[0].stream
        await ahf.execute("XACK", stream, "work", first.id)
        await ahf.execute("XGROUP", "SETID", stream, "work", "0")
        await jobs.publish(2)
        while 2 not in begun:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        go.set()
        while (await jobs.group("work").lag()).pending:
            await asyncio.sleep(0.01)
        ahf.stop()
        await running
    assert begun == [1, 2]


async def test_a_closed_client_runs_nothing(server, namespace: str):
    """Without it the run ended with the news that a consumer had died of itself."""
    hf = AsyncHoldfast(server.url, namespace=namespace)
    hf.stream("jobs").subscriber("work")(_nothing)
    await hf.close()
    with pytest.raises(Closed):
        await hf.run()


async def _nothing(job: object) -> None:
    """Handle it."""
