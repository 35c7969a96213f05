# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Write-behind as users meet it: `hf.cache(..., source=..., write="behind")`."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from holdfast import MISSING, AsyncHoldfast, Backlog, Behind, ConfigurationError, OutOfMemory, Unavailable
from holdfast._compat import ASignal, asleep
from holdfast.testing import FaultProxy
from tests.cache.behind.test_behind_async import AsyncTable, until
from tests.cache.crowd import AsyncCrowd


def caches(hf: AsyncHoldfast, **options: Any) -> tuple[Any, AsyncTable]:
    table = AsyncTable()
    return hf.cache("prices", ttl="5m", source=table, write=Behind(**options)), table


@pytest.mark.everywhere
async def test_put_get_remove_flush_backlog(ahf: AsyncHoldfast):
    prices, table = caches(ahf)
    table.memory.rows.update({7: "old", 8: "old"})
    assert await prices.get(7) == "old"
    table.memory.go.clear()
    await prices.put(7, 19.99)
    await prices.put(9, [1, {"a": None}])
    await prices.remove(8)
    assert await prices.get(7) == 19.99 and await prices.get(8) is MISSING
    assert await prices.get_many([7, 8, 9, 10]) == {7: 19.99, 9: [1, {"a": None}]}
    assert (await prices.backlog()).entries == 3
    table.memory.go.set()
    await prices.flush()
    assert table.memory.rows == {7: 19.99, 9: [1, {"a": None}]}
    assert await prices.backlog() == Backlog(0, 0.0, 0)
    assert await prices.get(7) == 19.99 and await prices.get(8) is MISSING


class Seal:
    """A stand-in for AES-GCM: bytes open only for the name they were sealed for."""

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        return hashlib.sha256(associated).digest() + data[::-1]

    def decrypt(self, data: bytes, associated: bytes) -> bytes:
        assert data[:32] == hashlib.sha256(associated).digest()
        return data[:31:-1]


async def test_what_waits_is_sealed_and_opened(ahf: AsyncHoldfast):
    """Found with envelopes opened for no name at all: every value ended as a dead letter."""
    table = AsyncTable()
    prices: Any = ahf.cache("sealed", ttl="5m", source=table, write=Behind(delay="1h"), cipher=Seal())
    await prices.put("tea", "dear")
    assert b"dear" not in await ahf.execute("GET", prices._store.entry("tea"))
    await prices.invalidate("tea")
    assert await prices.get("tea") == "dear"
    await prices.flush()
    assert table.memory.rows == {"tea": "dear"} and await prices.dead_letters().list() == []


@pytest.mark.parametrize("how", ["invalidate", "expire", "clear", "unlink"])
async def test_a_reader_finds_what_waits_whatever_became_of_the_entry(ahf: AsyncHoldfast, how: str):
    """Found with a loader that asks the source only: it got "old" from there."""
    prices, table = caches(ahf, delay="1h")
    table.memory.rows.update(a="old", b="old")
    await prices.put("a", "new")
    await prices.remove("b")
    if how == "unlink":
        await ahf.execute("UNLINK", prices._store.entry("a"))
        await ahf.execute("UNLINK", prices._store.entry("b"))
    elif how == "clear":
        await prices.clear()
    else:
        await getattr(prices, how)("a", "b")
    assert await prices.get("a") == "new" and await prices.get("b") is MISSING
    assert await prices.get("a") == "new"
    await prices.flush()
    assert table.memory.rows == {"a": "new"}


async def test_a_load_that_began_before_a_put_does_not_hide_it(ahf: AsyncHoldfast):
    prices, table = caches(ahf, delay="1h")
    table.memory.rows["a"] = "old"
    reading, go = ASignal(), ASignal()
    load = table.load_many

    async def slowly(keys: Any) -> Any:
        found = await load(keys)
        reading.fire()
        assert await go.wait(20)
        return found

    table.load_many = slowly  # type: ignore[method-assign]
    async with AsyncCrowd() as crowd:
        early = crowd.start(lambda: prices.get("a"))
        assert await reading.wait(20)
        await prices.put("a", "new")
        go.fire()
        assert await early.result() == "old"
    assert await prices.get("a") == "new"


async def test_another_client_sees_it_and_applies_what_a_closed_one_left(
    ahf: AsyncHoldfast, server, namespace: str
):
    async with AsyncHoldfast(server.url, namespace=namespace) as other:
        theirs, table = caches(other, delay="1h")
        ours, mine = caches(ahf, delay="1h")
        await theirs.put("a", 1)
        assert await ours.get("a") == 1
        await other.close(drain=0)
        assert table.memory.rows == {}
        await ours.flush()
        assert mine.memory.rows == {"a": 1}


async def test_closing_the_client_brings_what_waits_to_the_source(server, namespace: str):
    async with AsyncHoldfast(server.url, namespace=namespace) as client:
        prices, table = caches(client, delay="1h")
        for key in range(30):
            await prices.put(key, key)
    assert table.memory.rows == {key: key for key in range(30)}


async def test_a_dead_letter_leaves_readers_with_what_the_source_has(ahf: AsyncHoldfast):
    prices, table = caches(ahf, retry=("1ms", "2ms"), attempts=2)
    table.memory.rows["a"] = "old"
    table.memory.refuse = lambda keys: ValueError("no")
    await prices.put("a", "new")
    assert await prices.get("a") == "new"
    await prices.flush()
    assert (await prices.backlog()).dead == 1
    assert await prices.get("a") == "old"
    (letter,) = await prices.dead_letters().list()
    assert (letter.key, letter.value) == ("a", "new")
    table.memory.refuse = lambda keys: None
    assert await prices.dead_letters().replay() == 1
    await prices.flush()
    assert await prices.get("a") == "new" and table.memory.rows == {"a": "new"}


async def test_entries_end_after_they_were_applied(ahf: AsyncHoldfast):
    table = AsyncTable()
    prices = ahf.cache("prices", ttl="200ms", jitter=0, source=table, write=Behind(delay=0))
    table.memory.go.clear()
    await prices.put("a", 1)
    await asleep(0.3)
    assert await ahf.execute("EXISTS", prices._store.entry("a")) == 1
    table.memory.go.set()
    await prices.flush()
    for _ in range(400):
        if not await ahf.execute("EXISTS", prices._store.entry("a")):
            break
        await asleep(0.01)
    else:
        raise AssertionError("it never ended")


@pytest.mark.parametrize("options", [{"compress_above": 100}, {"codec": "json"}, {"chunk_above": 1024}])
async def test_values_survive_the_journal_however_they_are_written(ahf: AsyncHoldfast, options: Any):
    table = AsyncTable()
    prices = ahf.cache("prices", ttl="5m", source=table, write="behind", **options)
    value = "long " * 2000
    table.memory.go.clear()
    await prices.put("a", value)
    assert await prices.get("a") == value
    await ahf.execute("UNLINK", prices._store.entry("a"))
    assert await prices.get("a") == value
    table.memory.go.set()
    await prices.flush()
    assert table.memory.rows == {"a": value}


async def test_what_does_not_fit_together_is_refused(ahf: AsyncHoldfast):
    with pytest.raises(ConfigurationError, match="source"):
        ahf.cache("prices", ttl="5m", write="behind")
    with pytest.raises(ConfigurationError, match="sideways"):
        ahf.cache("prices", ttl="5m", source=AsyncTable(), write="sideways")  # type: ignore[call-overload]
    plain = ahf.cache("plain", ttl="5m")
    for method in ("flush", "backlog"):
        with pytest.raises(ConfigurationError, match="behind"):
            await getattr(plain, method)()
    prices, _ = caches(ahf)
    assert ahf.cache("prices", ttl="5m", source=prices.options.source, write=Behind()) is prices
    with pytest.raises(ConfigurationError, match="batch=7"):
        ahf.cache("prices", ttl="5m", source=prices.options.source, write=Behind(batch=7))
    with pytest.raises(ConfigurationError, match="source"):
        await prices.set("a", 1)


async def test_a_new_client_takes_over_without_being_asked(ahf: AsyncHoldfast, server, namespace: str):
    async with AsyncHoldfast(server.url, namespace=namespace) as other:
        theirs, _ = caches(other, delay="1h")
        await theirs.put("a", 1)
        await other.close(drain=0)
    prices, table = caches(ahf, delay=0)
    await prices.get("b")  # any use
    await until(lambda: table.memory.rows == {"a": 1})


async def test_with_redis_away_a_put_says_so_and_the_writers_come_back(
    server, faults: FaultProxy, namespace: str
):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as client:
        prices, table = caches(client, delay=0, lease="1s")
        await prices.put("a", 1)
        await prices.flush()
        faults.refuse()
        faults.cut()
        with pytest.raises(Unavailable):
            await prices.put("a", 2)
        faults.heal()
        await prices.put("a", 3)
        await prices.flush()
        assert table.memory.rows == {"a": 3}


async def test_a_full_server_takes_no_puts_but_lets_the_writers_work(own_server, namespace: str):
    """Found with ack.lua lacking its flag: what was saved stayed in the journal."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as client:
        prices, table = caches(client, delay="1h")
        for key in range(20):
            await prices.put(key, key)
        await client.execute("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(OutOfMemory):
            await prices.put("more", 1)
        assert (await prices.backlog()).entries == 20
        await prices.flush()
        assert table.memory.rows == {key: key for key in range(20)}
        assert (await prices.backlog()).entries == 0
        await client.execute("CONFIG", "SET", "maxmemory", "0")
        await prices.put("more", 1)
        await prices.flush()
        assert table.memory.rows["more"] == 1
