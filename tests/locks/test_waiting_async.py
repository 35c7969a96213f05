# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Who waits asks next to nothing, is woken in order, and loses no wake-up.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, LockTimeout
from holdfast._compat import asleep
from tests.cache.crowd import AsyncCrowd

WAITERS = 200


async def stats(hf: AsyncHoldfast, *names: str) -> int:
    """How many commands called `names` the server has executed."""
    reply = await hf.execute("INFO", "commandstats")
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    found = 0
    for line in text.split():
        name, _, rest = line.partition(":calls=")
        if name.removeprefix("cmdstat_") in names:
            found += int(rest.partition(",")[0])
    return found


async def waiting(hf: AsyncHoldfast, name: str, count: int) -> None:
    """Return when so many wait."""
    await AsyncCrowd.until(lambda: hf.lock(name).stats().waiting >= count)


@pytest.mark.parametrize("fair", [False, True])
async def test_many_who_wait_ask_no_more_than_one(own_server, namespace: str, fair: bool):
    """found: everybody asking every SAFETY seconds; a subscription each. A fair one has its own channel."""
    async with (
        AsyncHoldfast(own_server.url, namespace=namespace) as hf,
        AsyncHoldfast(own_server.url, namespace=namespace) as holder,
        AsyncCrowd() as crowd,
    ):
        lease = await holder.lock("x", ttl="60s").acquire()
        order: list[int] = []

        async def work(number: int) -> None:
            async with hf.lock("x", ttl="60s", wait="50s", fair=fair):
                order.append(number)

        jobs = []
        for number in range(WAITERS if not fair else 60):
            jobs.append(crowd.start(lambda number=number: work(number)))
        await waiting(hf, "x", len(jobs))
        await asleep(0.4)
        asked = await stats(hf, "evalsha", "eval")
        subscribed = await stats(hf, "ssubscribe")
        assert subscribed == (len(jobs) if fair else 1)
        await asleep(1.1)
        assert await stats(hf, "evalsha", "eval") - asked <= 3  # SAFETY is 2 s, and a renewal
        asked = await stats(hf, "evalsha", "eval")
        await lease.release()
        for job in jobs:
            await job.result()
        # Each asks once, or twice where its turn came while it was not looking, and gives it back.
        assert await stats(hf, "evalsha", "eval") - asked <= 4 * len(jobs)
        assert sorted(order) == list(range(len(jobs)))
        assert await stats(hf, "ssubscribe") == subscribed


async def test_those_of_one_process_come_in_their_order(ahf: AsyncHoldfast):
    """found: a queue that wakes its youngest."""
    lease = await ahf.lock("x").acquire()
    order: list[int] = []

    async def work(number: int) -> None:
        async with ahf.lock("x", wait="30s"):
            order.append(number)

    async with AsyncCrowd() as crowd:
        jobs = []
        for number in range(12):
            jobs.append(crowd.start(lambda number=number: work(number)))
            await waiting(ahf, "x", number + 1)
            await asleep(0.01)
        await lease.release()
        for job in jobs:
            await job.result()
    assert order == list(range(12))


async def test_no_hand_over_is_forgotten(ahf: AsyncHoldfast, place, namespace: str):
    """A hundred times from client to client, with no time in between; a lost wake-up would cost 2 s each.

    found: no look after the subscription is confirmed.
    """
    begun = time.monotonic()
    async with AsyncHoldfast(place.url, namespace=namespace) as second:

        async def work(hf: AsyncHoldfast) -> None:
            for _ in range(50):
                async with hf.lock("x", wait="30s"):
                    pass

        async with AsyncCrowd() as crowd:
            jobs = [crowd.start(lambda hf=hf: work(hf)) for hf in (ahf, second)]
            for job in jobs:
                await job.result()
    assert time.monotonic() - begun < 20


async def test_an_end_that_nobody_tells_is_waited_for_no_longer_than_the_ttl(
    ahf: AsyncHoldfast, place, namespace: str
):
    """Found: the next of a process slept two seconds, whatever the ttl of the one before it."""
    lock = ahf.lock("x", ttl="400ms", renew=False, wait="20s")
    got: list[float] = []

    async def work() -> Any:
        lease = await lock.acquire()
        got.append(time.monotonic())
        return lease

    async with AsyncHoldfast(place.url, namespace=namespace) as second:
        leases = [await second.lock("x", ttl="400ms", renew=False).acquire()]
        got.append(time.monotonic())
        async with AsyncCrowd() as crowd:
            for job in [crowd.start(work) for _ in range(3)]:
                leases.append(await job.result())
        for lease in leases:  # in threads, they are not in the order of the grants
            await AsyncCrowd.until(lease.lost.is_set)
    pauses = [later - earlier for earlier, later in zip(got, got[1:], strict=False)]
    assert min(pauses) > 0.3 and sorted(pauses)[1] < 1.2, pauses


async def test_who_gives_up_leaves_his_place_to_the_next(ahf: AsyncHoldfast):
    """found: a turn that is not given back, a deadline that begins anew with each turn."""
    lease = await ahf.lock("x").acquire()
    async with AsyncCrowd() as crowd:
        begun = time.monotonic()
        impatient = [crowd.start(lambda: ahf.lock("x").acquire(wait="300ms")) for _ in range(5)]
        await waiting(ahf, "x", 5)
        patient = crowd.start(lambda: ahf.lock("x").acquire(wait="30s"))
        for job in impatient:
            with pytest.raises(LockTimeout):
                await job.result()
        assert time.monotonic() - begun < 2.0  # and not five times that
        begun = time.monotonic()
        await lease.release()
        await (await patient.result()).release()
        assert time.monotonic() - begun < 1.5
    assert ahf.lock("x").stats().waiting == 0
    assert not ahf._locks.waiting.queues.busy(ahf.lock("x").key)


async def test_it_goes_on_where_pubsub_is_forbidden(own_server, namespace: str):
    """found: whoever may not subscribe waited for a push that never came."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as admin:
        await admin.execute(
            "ACL", "SETUSER", "deaf", "on", ">pw", "~*", "resetchannels", "+@all", "-ssubscribe"
        )
        url = own_server.url.split("@")[-1]
        async with AsyncHoldfast(f"redis://deaf:pw@{url}", namespace=namespace) as deaf:
            waits = []
            for fair in (False, True):
                lease = await admin.lock("x").acquire()
                async with AsyncCrowd() as crowd:
                    job = crowd.start(lambda fair=fair: deaf.lock("x", fair=fair).acquire(wait="20s"))
                    await asleep(0.4)
                    begun = time.monotonic()
                    await lease.release()
                    theirs = await job.result()
                    waits.append(time.monotonic() - begun)
                    await theirs.release()
            assert min(waits) < 0.8 and max(waits) < 1.5  # a rest is at most half a second
            asked = await stats(admin, "evalsha")
            lease = await admin.lock("x").acquire()
            with pytest.raises(LockTimeout):
                await deaf.lock("x").acquire(wait="600ms")
            assert await stats(admin, "evalsha") - asked < 40  # it rests in between
            await lease.release()


@pytest.mark.parametrize("missing", ["client|tracking", "info", "publish"])
async def test_it_works_with_fewer_rights(own_server, namespace: str, missing: str):
    """Without tracking, a loss is found at the next renewal. found: a refused CLIENT TRACKING taken for a
    renewal's answer.
    """
    refused = ["-publish", "-spublish"] if missing == "publish" else [f"-{missing}"]
    async with AsyncHoldfast(own_server.url, namespace=namespace) as admin:
        await admin.execute("ACL", "SETUSER", "poor", "on", ">pw", "~*", "&*", "+@all", *refused)
        url = own_server.url.split("@")[-1]
        async with AsyncHoldfast(f"redis://poor:pw@{url}", namespace=namespace) as poor:
            lock = poor.lock("x", ttl="600ms")
            lease = await lock.acquire()
            await asleep(0.8)
            lease.ensure()
            await lease.release()
            lease = await lock.acquire()
            await asleep(0.3)
            assert await admin.lock("x").force_release()
            await AsyncCrowd.until(lease.lost.is_set)
            assert lease.cause == "vanished"
            theirs = await admin.lock("x").acquire()
            async with AsyncCrowd() as crowd:
                job = crowd.start(lambda: lock.acquire(wait="20s"))
                await asleep(0.1)
                await theirs.release()
                await (await job.result()).release()
