"""What a hostile reader of the cache found, each still findable: undo the guard and the test fails."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import MISSING, AsyncHoldfast, Holdfast, OutOfMemory
from holdfast._compat import ASemaphore
from holdfast._coord.breaker import Breaker

if TYPE_CHECKING:
    from somewhere import Session  # type: ignore[import-not-found]


def test_loads_that_need_a_common_key_do_not_wait_for_each_other(hf):
    """Pages hold every place, a direct reader leads the load of what they all need. Found: all of them waited
    in vain.
    """
    cache = hf.cache("pages", ttl="1h", max_loads=2, wait="5s")
    inside = threading.Barrier(3)
    values = {}

    def page(name):
        def load():
            inside.wait(10)  # both pages are under way, and hold both places
            asked.wait(10)
            return name + cache.get_or_set("config", lambda: "!")

        values[name] = cache.get_or_set(name, load)

    asked = threading.Event()
    pages = [threading.Thread(target=page, args=(name,)) for name in ("a", "b")]
    for thread in pages:
        thread.start()
    inside.wait(10)
    direct = threading.Thread(target=lambda: values.update(config=cache.get_or_set("config", lambda: "!")))
    direct.start()
    while not cache._loads._slots._queue:
        assert direct.is_alive()
    asked.set()
    for thread in (*pages, direct):
        thread.join(20)

    assert values == {"a": "a!", "b": "b!", "config": "!"}
    assert cache.stats().overloaded == 0


async def test_a_task_begun_inside_a_loader_has_no_place_once_that_has_ended(ahf):
    """Found: it inherited the loader's context, and with it a way past `max_loads` for ever."""
    cache = ahf.cache("users", ttl="1h", max_loads=2)
    under_way, most = 0, 0

    async def load():
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return 1

    async def refresher():
        await ended.wait()
        await asyncio.gather(*(cache.get_or_set(f"k{n}", load) for n in range(20)))

    async def begin():
        tasks.append(asyncio.create_task(refresher()))
        return 0

    tasks: list[asyncio.Task[None]] = []
    ended = asyncio.Event()
    await cache.get_or_set("first", begin)
    ended.set()
    await tasks[0]

    assert most == 2


def test_a_breaker_gives_a_slow_server_more_time_after_a_while():
    """Found: a server that answers in 0.3 s was never found again by probes of 0.25 s."""
    breaker = Breaker(dice=lambda: 0.5)
    now = 0.0
    for _ in range(20):
        if breaker.allow(now):
            breaker.failure(now)
        now += 1.0

    assert breaker.probes_slowly
    breaker.success()
    assert not breaker.probes_slowly


async def test_cancelled_loads_of_an_outage_leave_nothing_to_deliver(own_server):
    """Found: one undeliverable command for each, and a close() that took its whole drain."""
    async with AsyncHoldfast(own_server.url, timeout="200ms") as hf:
        cache = hf.cache("users", ttl="1h")
        await cache.set("a", 1)
        own_server.kill()
        assert await cache.get("a") is MISSING

        async def never():
            await asyncio.sleep(60)

        tasks = [asyncio.create_task(cache.get_or_set(f"k{n}", never)) for n in range(30)]
        await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert hf._hub.undelivered() <= 2
        await hf.close(drain="0.1s")


def test_a_full_server_can_be_cleared(own_server):
    """Found: clear() wrote, a full server refused, and what it meant to remove was served on."""
    with Holdfast(own_server.url) as hf:
        cache = hf.cache("users", ttl="1h")
        cache.set("a", 1)
        hf.execute("CONFIG", "SET", "maxmemory", 1)
        cache.clear()

        assert cache.get("a") is MISSING
        try:
            hf.execute("SET", "b", 1)
        except OutOfMemory:
            pass
        else:
            raise AssertionError("the server was not full")


def test_a_key_of_another_type_is_a_miss(hf):
    """Found: WRONGTYPE out of get_or_set and expire."""
    cache = hf.cache("users", ttl="1h")
    entry = cache._store.lookup("a")[0]
    hf.execute("RPUSH", entry, "not ours")

    assert cache.get("a") is MISSING
    assert cache.expire("a") is True
    assert cache.get_or_set("a", lambda: 1) == 1
    assert cache.get("a") == 1


def test_a_parameter_annotated_for_checkers_only_is_no_obstacle(hf: Holdfast):
    """Found: the first call failed, for an annotation that has nothing to do with the value."""
    cache = hf.cache("users", ttl="1h")

    @cache.cached("user:{user_id}", exclude=["db"])
    def get_user(user_id: int, db: Session | None = None) -> int:
        return user_id

    assert get_user(7) == 7
    assert get_user.peek(7).value == 7


@dataclass
class Org:
    """What the name `DefinedLater` will stand for."""

    id: int


def test_a_return_type_that_is_defined_later_is_resolved_once(hf: Holdfast, monkeypatch):
    """Found: anew on every call of a method, at ten times the cost of the hit."""
    cache = hf.cache("users", ttl="1h")

    class Repository:
        @cache.cached("org:{org_id}")
        def org(self, org_id: int) -> DefinedLater:  # type: ignore[name-defined]  # noqa: F821
            return Org(org_id)

    monkeypatch.setitem(globals(), "DefinedLater", Org)
    assert Repository().org(1) == Org(1)
    monkeypatch.delitem(globals(), "DefinedLater")

    assert Repository().org(1) == Org(1)


async def test_places_are_not_lost_with_an_event_loop():
    """Found: a permit was handed to a waiter whose loop had ended, and was gone for good."""
    permits = ASemaphore(1)
    assert await permits.acquire(1)

    async def wait():
        await permits.acquire(60)

    def loop_that_ends_with_a_waiter():
        loop = asyncio.new_event_loop()
        task = loop.create_task(wait())
        loop.run_until_complete(asyncio.sleep(0.01))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()

    await asyncio.to_thread(loop_that_ends_with_a_waiter)
    permits.release()

    assert await permits.acquire(1)


def test_a_lease_key_of_another_type_is_no_lease(hf: Holdfast):
    """Found: WRONGTYPE out of get_or_set, for as long as the foreign key lived."""
    cache = hf.cache("users", ttl="1h")
    hf.execute("RPUSH", f"{cache._store.lookup('a')[0]}:f", "not ours")

    assert cache.get_or_set("a", lambda: 1) == 1
    assert cache.get("a") == 1


async def test_a_lookup_counts_once(ahf: AsyncHoldfast):
    """Found: whoever waited for another's load counted as a miss and as a hit."""
    cache = ahf.cache("users", ttl="1h")

    async def load():
        await asyncio.sleep(0.05)
        return 1

    first = asyncio.create_task(cache.get_or_set("a", load))
    await asyncio.sleep(0.02)
    await asyncio.gather(first, *(cache.get_or_set("a", load) for _ in range(20)))
    stats = cache.stats()

    assert stats.l2_hits + stats.misses + stats.bypassed == 21
    assert stats.loads == 1
