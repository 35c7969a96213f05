# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""One writer per partition, its fence, the server it stands on, and replies that are lost.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, UnsafeServer
from holdfast._compat import asleep
from holdfast.cache.behind import rules
from holdfast.cache.behind.rules import NOTHING
from holdfast.testing import FaultProxy
from tests.cache.behind.test_behind_async import AsyncPrices, crew_of, lease_of, until
from tests.cache.behind.world import LONG, Watcher, envelope

# --- one writer, and its fence ------------------------------------------------------------------------------


async def test_who_comes_second_writes_nothing_until_the_first_leaves(ahf: AsyncHoldfast):
    """Found with release.lua pushing nothing: the second waited for the end of the lease."""
    async with AsyncPrices(ahf, delay=0, lease="10m") as prices:
        await prices.put("a", 1)
        await prices.behind.flush()
        await until(lambda: all(post.hold for post in crew_of(prices.behind)._posts))
        other = prices.another(ahf)
        await other.put("a", "a", envelope(2), LONG)
        await other.flush()
        assert all(not post.hold for post in crew_of(other)._posts)
        first = prices.memory.fences["prices:" + str(prices.behind._layout.of("a").number)][-1]
        await prices.behind.close(1.0)
        await until(lambda: all(post.hold for post in crew_of(other)._posts))  # woken, not after the lease
        await other.put("a", "a", envelope(3), LONG)
        await other.flush()
        fences = prices.memory.fences["prices:" + str(prices.behind._layout.of("a").number)]
        assert fences[-1] > first and fences == sorted(fences) and prices.memory.rows == {"a": 3}
        await other.close(0)


async def test_a_writer_whose_lease_was_taken_writes_no_more(ahf: AsyncHoldfast):
    """Found with take.lua not looking at the lease: 2 was saved."""
    async with AsyncPrices(ahf, delay=0) as prices:
        await prices.put("a", 1)
        await prices.behind.flush()
        await asleep(0.2)  # so that the crew does not look by chance
        lease = lease_of(prices, "a")
        await ahf.execute("SET", lease, "ab:1", "PX", LONG)
        await prices.put("a", 2)
        await asleep(0.3)
        assert prices.memory.rows == {"a": 1}
        await ahf.execute("DEL", lease)
        await ahf.execute("SPUBLISH", lease, "free")
        await prices.behind.flush()
        assert prices.memory.rows == {"a": 2}


async def test_a_writer_that_lost_its_lease_in_the_source_acknowledges_nothing(ahf: AsyncHoldfast):
    """Found with ack.lua not looking at the lease: nothing waited any more."""
    async with AsyncPrices(ahf, delay=0, lease="600ms") as prices:
        prices.memory.go.clear()
        await prices.put("a", 1)
        await asleep(0.1)  # it hangs in the source
        lease = lease_of(prices, "a")
        await ahf.execute("SET", lease, "ab:1", "PX", LONG)
        prices.memory.go.set()
        await until(lambda: prices.memory.rows)
        await asleep(0.1)
        assert await prices.pending("a") == 1
        await ahf.execute("DEL", lease)
        await prices.behind.flush()
        assert prices.memory.saved == ["a", "a"]  # the same once more, which does no harm


async def test_nobody_of_this_process_writes_beside_a_writer_that_hangs_without_a_lease(ahf: AsyncHoldfast):
    """Found with a crew that takes the free lease at once: two calls were in the source."""
    async with AsyncPrices(ahf, delay=0, lease="300ms", partitions=1) as prices:
        prices.memory.go.clear()
        await prices.put("a", 1)
        await until(lambda: prices.table.inside)
        lease = lease_of(prices, "a")
        await ahf.execute("SET", lease, "ab:1", "PX", LONG)
        await asleep(0.2)  # the crew has seen it
        await ahf.execute("DEL", lease)
        await ahf.execute("SPUBLISH", lease, "free")
        await asleep(0.3)
        prices.memory.go.set()
        await prices.behind.flush()
        assert prices.memory.rows == {"a": 1} and prices.table.most == 1


async def test_a_writer_that_hangs_in_the_source_keeps_its_lease(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay=0, lease="300ms") as prices:
        prices.memory.go.clear()
        await prices.put("a", 1)
        await asleep(0.1)
        lease = lease_of(prices, "a")
        held = await ahf.execute("GET", lease)
        await asleep(0.6)
        assert held and await ahf.execute("GET", lease) == held


async def test_the_fence_grows_after_a_failure_and_after_flushall(own_server, namespace: str):
    """A late effect of the call that failed must not pass; found with claim.lua counting from 1 again."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        async with AsyncPrices(ahf, delay=0, partitions=1, retry=("1ms", "2ms"), lease="300ms") as prices:
            await prices.put("a", 1)
            await prices.behind.flush()
            (first,) = prices.memory.fences["prices:0"]
            answers = [ConnectionError("lost")]
            prices.memory.refuse = lambda keys: answers.pop() if answers else None
            await prices.put("a", 2)
            await prices.behind.flush()
            _, second, third = prices.memory.fences["prices:0"]
            assert first == second < third
            await ahf.execute("FLUSHALL")
            await prices.put("a", 3)
            await until(lambda: prices.memory.rows == {"a": 3})
            assert prices.memory.fences["prices:0"][-1] > third


# --- the server ---------------------------------------------------------------------------------------------


async def test_scripts_come_back_after_a_script_flush(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay=0) as prices:
        for key in range(10):
            await ahf.execute("SCRIPT", "FLUSH")
            await prices.put(key, key)
        await ahf.execute("SCRIPT", "FLUSH")
        await prices.behind.flush()
        assert prices.memory.rows == {key: key for key in range(10)}


async def test_other_partitions_are_refused(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf) as prices:
        await prices.put("a", 1)
        other = prices.another(ahf, partitions=4)
        for attempt in (
            lambda: other.put("a", "a", envelope(1), LONG),
            lambda: other.pending("a"),
            lambda: other.flush(),
        ):
            with pytest.raises(ConfigurationError, match="partitions=4.*partitions=8"):
                await attempt()


async def test_a_server_that_evicts_is_refused_and_one_without_aof_warned_of(own_server, namespace: str):
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        watcher = Watcher()
        ahf.observers.add(watcher)
        await ahf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        async with AsyncPrices(ahf) as prices:
            with pytest.raises(UnsafeServer, match="allkeys-lru"):
                await prices.put("a", 1)
            assert await prices.pending("a") is NOTHING
            careless = prices.another(ahf, accept_loss=True)
            await careless.put("a", "a", envelope(1), LONG)
            await ahf.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
            await prices.put("b", 1)
            await careless.close(0)
        warnings = [one for one in watcher.named("ServerWarning") if one.setting == "appendonly"]
        assert len(warnings) == 2 and "snapshot" in warnings[0].consequence


# --- lost replies -------------------------------------------------------------------------------------------

SCRIPTS = [rules.PUT, rules.TAKE, rules.ACK, rules.CLAIM, rules.HASTEN]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
async def test_a_lost_reply_changes_nothing(server, faults: FaultProxy, namespace: str, script: Any):
    async with AsyncHoldfast(faults.url, namespace=namespace) as ahf:
        async with AsyncPrices(ahf, delay=0, partitions=1) as prices:
            await prices.put("warm", 0)
            await prices.behind.flush()
            for key in range(3):
                faults.drop_replies(2, match=script.digest.encode())
                await prices.put(key, key)
                await prices.put(key, -key)
                await prices.behind.flush()
            assert prices.memory.rows == {"warm": 0, **{key: -key for key in range(3)}}
            assert (await prices.behind.backlog()).entries == 0


async def test_a_put_whose_reply_was_lost_does_not_overtake_a_later_one(
    server, faults: FaultProxy, namespace: str
):
    """Found without the ids in put.lua: the first was repeated, and stood above the second."""
    async with (
        AsyncHoldfast(faults.url, namespace=namespace) as ahf,
        AsyncHoldfast(server.url, namespace=namespace) as other,
        AsyncPrices(ahf, delay="1h") as prices,
    ):
        second = prices.another(other)
        await prices.put("a", 0)
        run = ahf._wire.run

        async def lose(*args: Any) -> Any:
            await run(*args)  # executed; its reply is lost
            await second.put("a", "a", envelope("second"), LONG)
            return await run(*args)  # repeated

        prices.behind._wire = Losing(lose)  # type: ignore[assignment]
        await prices.put("a", "first")
        assert await second.pending("a") == "second"
        await second.close(0)


class Losing:
    def __init__(self, run: Any) -> None:
        self.run = run


async def test_a_failure_whose_reply_was_lost_is_counted_once(server, faults: FaultProxy, namespace: str):
    """Found without the id in fail.lua: the record was dead after two calls."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as ahf:
        async with AsyncPrices(ahf, delay=0, partitions=1, retry=("1ms", "2ms"), attempts=4) as prices:
            prices.memory.refuse = lambda keys: ValueError("no")
            await prices.put("warm", 0)  # so that the server knows the script, and executes what it is sent
            await prices.behind.flush()
            prices.memory.calls.clear()
            faults.drop_replies(2, match=rules.FAIL.digest.encode())
            await prices.put("bad", 1)
            await prices.behind.flush()
            assert (await prices.dead())["bad"].attempts == len(prices.memory.calls) == 4


async def test_writers_do_not_outlive_a_client_that_was_forgotten(ahf: AsyncHoldfast):
    prices = AsyncPrices(ahf, delay=0)
    await prices.put("a", 1)
    await prices.behind.flush()
    crew = crew_of(prices.behind)
    del prices
    gc.collect()
    await until(lambda: not crew.alive)
    assert not [one for one in threading.enumerate() if one.name.startswith("holdfast-behind-prices-")]
