# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Campaigning and observing. "found:" says what was seen when the bug was planted by hand."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Closed
from holdfast._compat import asleep
from tests.cache.crowd import AsyncCrowd, Observer
from tests.locks.leader.test_leader_async import SOON, leads
from tests.locks.leader.work import AsyncWorking, Diary

# --- the campaign ------------------------------------------------------------------------------------------


async def test_a_server_that_is_away_ends_no_campaign(faults, namespace: str):
    diary = Diary()
    faults.refuse()
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms", require_server=False) as hf:
        leader = hf.leader("x", ttl="5s")
        async with AsyncCrowd() as crowd:
            run = crowd.start(lambda: leader.run(AsyncWorking(diary, "one")))
            await asleep(0.8)
            assert not run.done
            faults.accept()
            await leads(diary, "one")
            leader.stop()
            await run.result()


async def test_a_server_that_refuses_ends_no_campaign(own_server, namespace: str):
    """It is said once. found: with Refused not caught, the run raised."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as hf:
        diary, watcher = Diary(), Observer()
        hf.observers.add(watcher)
        await hf.execute("CONFIG", "SET", "min-replicas-to-write", 1)
        leader = hf.leader("x", ttl="5s")
        async with AsyncCrowd() as crowd:
            run = crowd.start(lambda: leader.run(AsyncWorking(diary, "one")))
            await asleep(0.8)
            assert not run.done
            await hf.execute("CONFIG", "SET", "min-replicas-to-write", 0)
            await leads(diary, "one")
            leader.stop()
            await run.result()
        told = watcher.names()
        assert told.count("CampaignFailing") == 1 and told.count("LeaderElected") == 1


async def test_a_campaign_can_be_stopped_from_another_thread(ahf: AsyncHoldfast):
    """While it waits, before it begins, and while it leads. found: without the queue of its own, only after
    the leader had gone.
    """
    diary = Diary()
    leading, patient, waiting, late = (ahf.leader("x", ttl="20s") for _ in range(4))
    async with AsyncCrowd() as crowd:
        first = crowd.start(lambda: leading.run(AsyncWorking(diary, "one")))
        await leads(diary, "one")
        before = crowd.start(lambda: patient.run(AsyncWorking(diary, "patient")))
        await asleep(0.2)
        others = [crowd.start(lambda: waiting.run(AsyncWorking(diary, "two"))) for _ in range(3)]
        await asleep(0.3)
        begun = time.monotonic()
        threading.Thread(target=waiting.stop).start()
        for other in others:
            assert await other.result() is None
        assert time.monotonic() - begun < SOON
        late.stop()
        await late.run(AsyncWorking(diary, "three"))
        assert diary.at_work == ["one"] and not before.done
        patient.stop()
        assert await before.result() is None
        threading.Thread(target=leading.stop).start()
        assert await first.result() is None


async def test_a_closed_client_ends_the_run(server, namespace: str):
    diary = Diary()
    hf = AsyncHoldfast(server.url, namespace=namespace)
    async with AsyncCrowd() as crowd:
        run = crowd.start(lambda: hf.leader("x", ttl="1s").run(AsyncWorking(diary, "one")))
        await leads(diary, "one")
        await hf.close()
        with pytest.raises(Closed):
            await run.result()
    assert diary.spans[0].cause == "closed"


# --- observing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["single", "cluster"])
async def test_observers_see_every_change(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    """found: without tell.lua an election was seen up to 2 s late."""
    diary, seen = Diary(), []
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        observation = second.leader("x").observe()

        async def watch() -> None:
            async with observation:
                async for holder in observation:
                    seen.append("" if holder is None else holder.label)

        async with AsyncCrowd() as crowd:
            watching = crowd.start(watch)
            await AsyncCrowd.until(lambda: seen, [""])
            for turn, who in enumerate("abc"):
                leader = ahf.leader("x", ttl="20s", label=who)
                run = crowd.start(lambda leader=leader, who=who: leader.run(AsyncWorking(diary, who)))
                await leads(diary, who)
                begun = time.monotonic()
                await AsyncCrowd.until(lambda: len(seen), 2 + 2 * turn)
                leader.stop()
                await run.result()
                await AsyncCrowd.until(lambda: len(seen), 3 + 2 * turn)
                assert time.monotonic() - begun < SOON
            observation.close()
            await watching.result()
    assert seen == ["", "a", "", "b", "", "c", ""]


async def test_an_observer_asks_little(faults, namespace: str):
    """Less than once in a second while nothing happens; and its end can be waited for."""
    diary, seen = Diary(), []
    async with AsyncHoldfast(faults.url, namespace=namespace) as hf:
        leader, observation = hf.leader("x", ttl="20s"), hf.leader("x").observe()

        async def watch() -> None:
            async for holder in observation:
                seen.append(holder)

        async with AsyncCrowd() as crowd:
            run = crowd.start(lambda: leader.run(AsyncWorking(diary, "one")))
            await leads(diary, "one")
            watching = crowd.start(watch)
            await AsyncCrowd.until(lambda: len(seen), 1)
            await asleep(0.5)
            faults.reset_counts()
            await asleep(2.0)
            assert len([one for one in faults.commands("EVALSHA") if leader.key.encode() in one]) <= 4
            begun = time.monotonic()
            observation.close()
            await watching.result()
            assert time.monotonic() - begun < SOON
            leader.stop()
            await run.result()
    assert len(seen) == 1


async def test_an_observer_hears_of_a_leader_that_fell_silent(ahf: AsyncHoldfast, server, namespace: str):
    """Nobody tells; its ttl does."""
    seen: list[Any] = []
    lost = await ahf.leader("x", ttl="700ms")._seat().try_acquire()
    assert lost is not None
    lost._keeping.close()  # as if its process had died
    async with ahf.leader("x").observe() as observation:
        async for holder in observation:
            seen.append(holder)
            if holder is None:
                break
    assert len(seen) == 2 and seen[0].fence == lost.fence
