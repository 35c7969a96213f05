# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a cache does when others come between, and when the server or the network fails.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import MISSING, AsyncHoldfast, Overloaded
from holdfast._compat import ASignal
from holdfast.cache import rules
from tests.cache.crowd import AsyncCrowd, Observer
from tests.cache.test_cache_async import AsyncCounting, AsyncTable


class AsyncGate:
    """A loader that waits, once it has read the database, until it is let go."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.calls = self.now = self.most = 0
        self.reading = ASignal()
        self.go = ASignal()

    async def __call__(self) -> Any:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        value = self.value
        self.reading.fire()
        assert await self.go.wait(20)
        self.now -= 1
        if isinstance(value, Exception):
            raise value
        return value


async def until(condition, crowd: AsyncCrowd) -> None:
    for _ in range(400):
        if condition():
            return
        await crowd.settle()
    raise AssertionError("it never happened")


# --- fenced fills -------------------------------------------------------------------------------------------


@pytest.mark.everywhere
@pytest.mark.parametrize("event", ["invalidate", "set", "expire", "clear", "unlink", "put", "remove"])
async def test_an_older_load_is_not_stored(ahf: AsyncHoldfast, server, namespace: str, event: str):
    """Found with fill.lua storing without looking at the lease: the old value was back, in every case but
    `clear`, where the epoch of before the load keeps it out.
    """
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        source = AsyncTable()
        other = (
            second.cache("users", ttl="1h", source=source, write="through")
            if event in ("put", "remove")
            else None
        )
        cache, gate = ahf.cache("users", ttl="1h"), AsyncGate("old")
        await cache.get("warm")
        plain: Any = other or second.cache("users", ttl="1h")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert await gate.reading.wait(20)
            if event == "unlink":
                key = f"{namespace}:1:cache:users:{{k}}"
                await ahf.execute("UNLINK", key, f"{key}:f")
            elif event == "clear":
                await plain.clear()
            elif event in ("set", "put"):
                await getattr(plain, event)("k", "new")
            else:
                await getattr(plain, event)("k")
            gate.go.fire()
            assert await job.result() == "old"  # it asked before
        expected = "new" if event in ("set", "put") else MISSING
        assert await cache.get("k") == expected
        if event != "clear":
            assert cache.stats().refused == {"invalidated": 1}


async def test_a_reader_who_comes_after_gets_no_older_load(ahf: AsyncHoldfast, server, namespace: str):
    """Found with may_share() always true: the second reader was handed "old" after the invalidation."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        cache, gate, new = ahf.cache("users", ttl="1h"), AsyncGate("old"), AsyncCounting("new")
        async with AsyncCrowd() as crowd:
            early = crowd.start(lambda: cache.get_or_set("k", gate))
            assert await gate.reading.wait(20)
            assert await second.cache("users", ttl="1h").invalidate("k")
            late = crowd.start(lambda: cache.get_or_set("k", new))
            await crowd.settle()
            gate.go.fire()
            assert (await early.result(), await late.result()) == ("old", "new")
        assert await cache.get("k") == "new"


async def test_a_lease_that_ended_stores_nothing(ahf: AsyncHoldfast, server, namespace: str):
    """Found with fill.lua storing without looking at the lease: the slow, older load won."""
    watcher = Observer()
    ahf.observers.add(watcher)
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        cache, gate = ahf.cache("users", ttl="1h", lease="50ms"), AsyncGate("slow")
        other = second.cache("users", ttl="1h", lease="50ms")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert await gate.reading.wait(20)
            assert (
                await other.get_or_set("k", AsyncCounting("quick")) == "quick"
            )  # after waiting for the lease
            gate.go.fire()
            assert await job.result() == "slow"
        assert await cache.get("k") == "quick"
        assert cache.stats().refused == {"lease_ended": 1}
        assert other.stats().waits == 1
        assert "SlowLoad" in watcher.names()


async def test_overlapping_puts_store_nothing(ahf: AsyncHoldfast, server, namespace: str):
    """They may reach the source in one order and the cache in the other.

    Found with begin.lua that took the lease over without a trace: the cache kept what the source had lost.
    """

    class AsyncSlow(AsyncTable):
        def __init__(self) -> None:
            super().__init__()
            self.gate = AsyncGate()

        async def save_many(self, mapping):
            if self.gate.calls == 0:
                await self.gate()
            await super().save_many(mapping)

    slow = AsyncSlow()
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        a = ahf.cache("prices", ttl="1h", source=slow, write="through")
        b = second.cache("prices", ttl="1h", source=slow, write="through")
        async with AsyncCrowd() as crowd:
            first = crowd.start(lambda: a.put("k", 1))
            assert await slow.gate.reading.wait(20)
            await b.put("k", 2)
            assert await b.peek("k") is MISSING
            slow.gate.go.fire()
            await first.result()
        assert await a.peek("k") is MISSING
        assert await b.get("k") == 1 == slow.rows["k"]
        await b.put("k", 3)  # and nothing of it stays behind
        found = await a.peek("k")
        assert found and found.value == 3


# --- no stampede --------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_one_load_for_a_crowd(ahf: AsyncHoldfast, server, namespace: str):
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        caches = [client.cache("users", ttl="1h") for client in (ahf, second)]
        gate = AsyncGate("value")
        async with AsyncCrowd() as crowd:
            jobs = [crowd.start(lambda cache=cache: cache.get_or_set("k", gate)) for cache in caches * 20]
            assert await gate.reading.wait(20)
            await until(lambda: sum(cache.stats().waits for cache in caches) == 1, crowd)
            gate.go.fire()
            assert {await job.result() for job in jobs} == {"value"}
        assert gate.calls == 1


async def test_waiting_is_not_polling(ahf: AsyncHoldfast, faults, namespace: str):
    """Found with a watch that never fires: the waiter slept until the lease had ended."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as second:
        cache, other = ahf.cache("users", ttl="1h", lease="60s"), second.cache("users", ttl="1h", lease="60s")
        await other.get("warm")
        gate = AsyncGate("value")
        async with AsyncCrowd() as crowd:
            loading = crowd.start(lambda: cache.get_or_set("k", gate))
            assert await gate.reading.wait(20)
            waiting = crowd.start(lambda: other.get_or_set("k", AsyncCounting("no")))
            await until(lambda: other.stats().waits == 1, crowd)
            await until(lambda: len(faults.commands("SSUBSCRIBE")) == 1, crowd)
            for _ in range(10):
                await crowd.settle()
            gate.go.fire()
            assert [await loading.result(), await waiting.result()] == ["value", "value"]
        assert len(faults.commands("MGET")) <= 6


async def test_a_dead_loader_is_replaced_when_its_lease_ends(ahf: AsyncHoldfast, namespace: str):
    cache = ahf.cache("users", ttl="1h")
    await ahf.execute("SET", f"{namespace}:1:cache:users:{{k}}:f", "F:dead", "PX", 150)
    assert await cache.get_or_set("k", AsyncCounting("value")) == "value"
    assert await cache.get("k") == "value"


async def test_waiting_has_an_end(ahf: AsyncHoldfast, namespace: str):
    cache = ahf.cache("users", ttl="1h", wait="100ms")
    await ahf.execute("SET", f"{namespace}:1:cache:users:{{k}}:f", "F:somebody", "PX", 60000)
    with pytest.raises(Overloaded) as caught:
        await cache.get_or_set("k", AsyncCounting("value"))
    assert caught.value.retry_after
    assert cache.stats().overloaded == 1


async def test_who_waits_too_long_for_a_load_here_is_told(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("users", ttl="1h", wait="100ms"), AsyncGate("value")
    async with AsyncCrowd() as crowd:
        leader = crowd.start(lambda: cache.get_or_set("k", gate))
        assert await gate.reading.wait(20)
        with pytest.raises(Overloaded):
            await cache.get_or_set("k", AsyncCounting("no"))
        gate.go.fire()
        assert await leader.result() == "value"


async def test_max_loads(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h", max_loads=2, wait="200ms")
    gates = [AsyncGate(n) for n in range(2)]
    async with AsyncCrowd() as crowd:
        jobs = [crowd.start(lambda gate=gate: cache.get_or_set(gate.value, gate)) for gate in gates]
        for gate in gates:
            assert await gate.reading.wait(20)
        refused = AsyncCounting("no")
        with pytest.raises(Overloaded, match="max_loads"):
            await cache.get_or_set("third", refused)
        assert refused.calls == 0
        for gate in gates:
            gate.go.fire()
        assert [await job.result() for job in jobs] == [0, 1]
        assert await cache.get_or_set("third", AsyncCounting("now")) == "now"


async def test_an_error_is_shared_with_who_came_before_it(ahf: AsyncHoldfast):
    cache, gate = ahf.cache("users", ttl="1h"), AsyncGate(LookupError("gone"))
    async with AsyncCrowd() as crowd:
        leader = crowd.start(lambda: cache.get_or_set("k", gate))
        assert await gate.reading.wait(20)
        late = crowd.start(lambda: cache.get_or_set("k", AsyncCounting("fine")))
        await crowd.settle()
        gate.go.fire()
        with pytest.raises(LookupError):
            await leader.result()
        assert await late.result() == "fine"


# --- lost replies, forgotten scripts, restarts --------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "call", "found"),
    [
        (rules.LEASE, "get_or_set", 1),
        (rules.FILL, "get_or_set", 1),
        (rules.SET, "set", 2),
        (rules.EXPIRE, "expire", MISSING),
        (rules.BEGIN, "put", 3),
        (rules.FILL, "put", 3),
        (rules.FINISH, "remove", MISSING),
        (rules.ABANDON, "fail", MISSING),
        (None, "invalidate", MISSING),
    ],
    ids="lease fill set expire begin fill-of-put finish abandon unlink".split(),
)
async def test_a_lost_reply(ahf: AsyncHoldfast, faults, namespace: str, script: Any, call: str, found: Any):
    """Found with fill.lua not looking for its own stamp: a stored fill was counted as refused."""
    table = AsyncTable()
    async with AsyncHoldfast(faults.url, namespace=namespace) as client:
        through = client.cache("users", ttl="1h", lease="60s", source=table, write="through")
        cache = client.cache("plain", ttl="1h", lease="60s") if call == "set" else through
        await cache.get_or_set("k", AsyncCounting(1))
        if call in ("get_or_set", "fail"):
            await cache.invalidate("k")
        faults.drop_replies(match=script.digest.encode() if script else b"UNLINK")
        if call == "get_or_set":
            assert await cache.get_or_set("k", AsyncCounting(1)) == 1
        elif call == "fail":
            with pytest.raises(OSError):
                await cache.get_or_set("k", AsyncCounting(OSError()))
        elif call == "set":
            assert await cache.set("k", 2) is True
        elif call == "put":
            await cache.put("k", 3)
        else:
            assert await getattr(cache, call)("k") in (True, None)
        assert not faults.heal()
        reader = ahf.cache(cache.name, ttl="1h", wait="5s")
        assert await reader.get("k") == found
        assert cache.stats().refused_fills == 0
        assert cache.stats().undelivered == 0
        loader = AsyncCounting("next")
        expected = "next" if found is MISSING else found
        assert await reader.get_or_set("k", loader) == expected  # at once: no lease was left behind


async def test_script_flush(ahf: AsyncHoldfast):
    cache = ahf.cache("users", ttl="1h")
    for value in range(3):
        await ahf.execute("SCRIPT", "FLUSH")
        assert await cache.set("k", value)
        await ahf.execute("SCRIPT", "FLUSH")
        await cache.expire("k")
        await ahf.execute("SCRIPT", "FLUSH")
        assert await cache.get_or_set("k", AsyncCounting(value + 10)) == value + 10
        assert await cache.get("k") == value + 10


async def test_a_server_that_comes_back_empty_during_a_load(own_server):
    async with AsyncHoldfast(own_server.url) as client:
        cache, gate = client.cache("users", ttl="1h"), AsyncGate("before")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert await gate.reading.wait(20)
            own_server.restart(empty=True)
            gate.go.fire()
            assert await job.result() == "before"
        assert await cache.get("k") is MISSING  # the lease was gone, so nothing was stored
        assert await cache.get_or_set("k", AsyncCounting("after")) == "after"
        assert await cache.get("k") == "after"


# --- Redis away ---------------------------------------------------------------------------------------------


async def test_away_and_back(own_server):
    async with AsyncHoldfast(own_server.url, timeout="300ms") as client:
        watcher = Observer()
        client.observers.add(watcher)
        table = AsyncTable()
        cache = client.cache("users", ttl="1h")
        through = client.cache("prices", ttl="1h", source=table, write="through")
        await cache.set("k", "stored")
        own_server.kill()
        assert await cache.get("k", "default") == "default"
        assert await cache.peek("k") is MISSING
        gate = AsyncGate("loaded")
        async with AsyncCrowd() as crowd:
            jobs = [crowd.start(lambda: cache.get_or_set("k", gate)) for _ in range(20)]
            assert await gate.reading.wait(20)
            await until(lambda: cache.stats().bypassed >= 21, crowd)
            gate.go.fire()
            assert {await job.result() for job in jobs} == {"loaded"}
        assert gate.most == 1  # one load of a key at a time; found without the flight
        assert await cache.set("k", "lost") is False
        await through.put(1, "written")
        assert await through.get(1) == "written"
        await through.remove(1)
        assert table.rows == {}
        assert await cache.invalidate("second") is False
        assert await cache.expire("third") is False
        assert cache.stats().undelivered == 3
        assert cache.stats().bypassed >= 21
        own_server.restart()
        async with AsyncCrowd() as crowd:
            await until(lambda: cache.stats().undelivered == through.stats().undelivered == 0, crowd)
        loader = AsyncCounting("fresh")
        for _ in range(50):
            assert await cache.get_or_set("k", loader) == "fresh"
            if await cache.get("k") == "fresh":
                break
            await crowd.settle()
        assert await cache.get("k") == "fresh"
        names = watcher.names()
        for name in ("BreakerChanged", "InvalidationKept", "InvalidationDelivered"):
            assert name in names


async def test_an_undelivered_invalidation_is_not_served(
    ahf: AsyncHoldfast, faults, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """Found without the dirty keys: once Redis answered again, "old" was served before its removal."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as client:
        kept: list[Any] = []
        monkeypatch.setattr(client._hub, "deliver", lambda *delivery: kept.append(delivery))  # a slow hub
        cache, other = client.cache("users", ttl="1h"), ahf.cache("users", ttl="1h")
        table = AsyncTable()
        through = client.cache("prices", ttl="1h", source=table, write="through")
        await cache.set("k", "old")
        await through.put(1, "old")
        faults.refuse()
        faults.cut()
        assert await cache.invalidate("k") is False
        await through.put(1, "new")
        assert table.rows == {1: "new"}
        assert await other.get("k") == "old"  # as promised: other processes may still see it
        faults.accept()
        async with AsyncCrowd() as crowd:
            while await other.get("elsewhere") is MISSING:
                await cache.get_or_set("elsewhere", AsyncCounting(1))
                await crowd.settle()
        assert await cache.get("elsewhere") == 1  # Redis is back
        assert await cache.get("k") is MISSING
        assert await cache.peek("k") is MISSING
        assert await through.get(1) == "new"
        assert await cache.get_or_set("k", AsyncCounting("new")) == "new"
        assert await cache.set("k", "x") is False
        assert await other.get("k") == "old"
        assert cache.stats().undelivered == 1
        for _, command, done in kept:
            await ahf.execute(*command)
            done()
        assert await cache.get_or_set("k", AsyncCounting("newer")) == "newer"
        assert await cache.get("k") == await other.get("k") == "newer"
        assert cache.stats().undelivered == 0


async def test_the_breaker_spares_the_timeout(faults, namespace: str):
    """Found without it: all 60 calls asked, each for its whole timeout."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as client:
        cache = client.cache("users", ttl="1h")
        await cache.get("k")
        faults.swallow_replies()
        faults.reset_counts()
        for _ in range(60):
            assert await cache.get_or_set("k", AsyncCounting(1)) == 1
            assert await cache.get("k") is MISSING
        assert len(faults.commands("MGET")) < 20
        faults.heal()


async def test_a_load_that_outlives_the_outage_stores_nothing_stale(
    ahf: AsyncHoldfast, faults, namespace: str
):
    """A load under way, an invalidation that does not arrive, then Redis is back before the load ends.

    Found with both of its guards removed, the lease in fill.lua and the dirty keys: "old" was stored.
    """
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as client:
        cache, gate = client.cache("users", ttl="1h"), AsyncGate("old")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert await gate.reading.wait(20)
            faults.refuse()
            faults.cut()
            assert await cache.invalidate("k") is False
            faults.accept()
            gate.go.fire()
            assert await job.result() == "old"
            await until(lambda: cache.stats().undelivered == 0, crowd)
        assert await ahf.cache("users", ttl="1h").get("k") is MISSING


# --- a server that refuses ----------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_out_of_memory(own_server):
    """Lookups go on; what cannot be stored is not, and the older value goes all the same."""
    async with AsyncHoldfast(own_server.url) as client:
        table = AsyncTable()
        cache = client.cache("users", ttl="1h")
        through = client.cache("prices", ttl="1h", source=table, write="through")
        await cache.set("k", "old")
        await cache.set("e", "old")
        await through.put(1, "old")
        await client.execute("CONFIG", "SET", "maxmemory", "1")
        assert await cache.get("k") == "old"
        assert await cache.get_or_set("new", AsyncCounting("loaded")) == "loaded"
        assert cache.stats().refused == {"out_of_memory": 1}
        assert await cache.expire("e") is True
        assert await cache.get("e") is MISSING
        assert await cache.set("k", "new") is False
        await through.put(1, "new")
        async with AsyncCrowd() as crowd:
            await until(lambda: cache.stats().undelivered == through.stats().undelivered == 0, crowd)
        assert await cache.get("k") is MISSING
        assert await through.get(1) == "new" == table.rows[1]
        await client.execute("CONFIG", "SET", "maxmemory", "0")
        assert await cache.get_or_set("new", AsyncCounting("loaded")) == "loaded"
        assert await cache.get("new") == "loaded"


async def test_a_fill_refused_for_lack_of_memory(own_server):
    """The lease was granted while there was room."""
    async with AsyncHoldfast(own_server.url) as client:
        cache, gate = client.cache("users", ttl="1h", lease="60s", wait="5s"), AsyncGate("loaded")
        async with AsyncCrowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert await gate.reading.wait(20)
            await client.execute("CONFIG", "SET", "maxmemory", "1")
            gate.go.fire()
            assert await job.result() == "loaded"
        assert cache.stats().refused == {"out_of_memory": 1}
        await client.execute("CONFIG", "SET", "maxmemory", "0")
        assert (
            await cache.get_or_set("k", AsyncCounting("again")) == "again"
        )  # at once: the lease was given back


@pytest.mark.everywhere
async def test_read_only(own_server):
    async with AsyncHoldfast(own_server.url) as client:
        cache = client.cache("users", ttl="1h")
        await cache.set("k", "old")
        await client.execute("REPLICAOF", "127.0.0.1", "1")
        await client.execute("CONFIG", "SET", "replica-serve-stale-data", "yes")
        assert await cache.get("k") == "old"
        assert await cache.get_or_set("new", AsyncCounting("loaded")) == "loaded"
        assert cache.stats().refused == {"read_only": 1}
        assert await cache.set("k", "new") is False
        assert await cache.invalidate("k") is False
        assert await cache.get("k") is MISSING  # not served here until it is delivered
        await client.execute("REPLICAOF", "NO", "ONE")
        async with AsyncCrowd() as crowd:
            await until(lambda: cache.stats().undelivered == 0, crowd)
        assert await cache.get_or_set("k", AsyncCounting("fresh")) == "fresh"
