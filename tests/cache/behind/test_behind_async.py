# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What write-behind promises, one by one, with a source in memory.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import pytest

from holdfast import MISSING, AsyncHoldfast, Closed, Overloaded
from holdfast._compat import asleep, monotonic
from holdfast._coord.naming import text
from holdfast.cache.behind import rules
from holdfast.cache.behind._async import AsyncWriteBehind
from holdfast.cache.behind._crew_async import AsyncCrew
from holdfast.cache.behind.options import Backlog, Behind, NotFlushed
from holdfast.cache.behind.rules import NOTHING
from tests.cache.behind.world import LONG, Memory, Watcher, envelope, read
from tests.cache.crowd import AsyncCrowd


class AsyncTable:
    """A Memory as a source."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.inside = self.most = 0

    async def load_many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        return self.memory.load(keys)

    async def save_many(self, mapping: dict[Any, Any], *, fence: int, partition: str) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            while not self.memory.go.is_set():
                await asleep(0.005)
            self.memory.save(mapping, fence, partition)
        finally:
            self.inside -= 1

    async def delete_many(self, keys: list[Any]) -> None:
        while not self.memory.go.is_set():
            await asleep(0.005)
        self.memory.delete(keys)


class AsyncPrices:
    """A cache in front of it, in a few lines."""

    def __init__(self, hf: AsyncHoldfast, wait: float | None = 20.0, **options: Any) -> None:
        self.table = AsyncTable()
        self.memory = self.table.memory
        self._hf = hf
        self._options = options
        self._wait = wait
        self.behind = self.another(hf)

    def another(self, hf: AsyncHoldfast, **options: Any) -> AsyncWriteBehind:
        """As another client of the same cache would make it."""
        chosen = Behind(**{**self._options, **options})
        return AsyncWriteBehind(hf._wire, "prices", chosen, self.table, read, wait=self._wait)

    async def put(self, key: Any, value: Any, lives: int = LONG) -> None:
        await self.behind.put(key, text(key), envelope(value), lives)

    async def remove(self, key: Any) -> None:
        await self.behind.remove(key, text(key), envelope(None), 0)

    async def pending(self, key: Any) -> Any:
        return await self.behind.pending(text(key))

    async def entry(self, key: Any) -> Any:
        raw = await self._hf.execute("GET", self.behind.entry(text(key)))
        return None if raw is None else read(raw)

    async def dead(self) -> dict[Any, Any]:
        return {letter.key: letter for letter in await self.behind.dead_letters().list()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.memory.go.set()
        await self.behind.close(0)


async def until(condition: Callable[[], Any]) -> None:
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, "it never happened"
        await asleep(0.005)


def crew_of(behind: AsyncWriteBehind) -> AsyncCrew:
    assert behind._crew is not None
    return behind._crew


def lease_of(prices: AsyncPrices, key: Any) -> str:
    return prices.behind._layout.of(text(key)).lease


# --- contract -----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_what_was_put_is_seen_at_once_and_reaches_the_source(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf) as prices:
        prices.memory.go.clear()
        for key in range(40):
            await prices.put(key, key * 10)
        assert prices.memory.rows == {}
        assert [await prices.pending(key) for key in range(40)] == [key * 10 for key in range(40)]
        assert [await prices.entry(key) for key in range(40)] == [key * 10 for key in range(40)]
        assert await ahf.execute("PTTL", prices.behind.entry(text(7))) == -1
        waiting = await prices.behind.backlog()
        assert (waiting.entries, waiting.dead) == (40, 0) and waiting.oldest_age > 0
        prices.memory.go.set()
        await prices.behind.flush()
        assert prices.memory.rows == {key: key * 10 for key in range(40)}
        assert await prices.behind.backlog() == Backlog(0, 0.0, 0)
        assert await prices.pending(7) is NOTHING
        assert 0 < await ahf.execute("PTTL", prices.behind.entry(text(7))) <= LONG


@pytest.mark.everywhere
async def test_the_last_of_put_and_remove_wins(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="1h") as prices:
        prices.memory.rows.update(a="old", b="old")
        await prices.put("a", 1)
        await prices.remove("a")
        await prices.remove("b")
        await prices.put("b", 2)
        assert (await prices.pending("a"), await prices.pending("b")) == (MISSING, 2)
        assert (await prices.entry("a"), await prices.entry("b")) == (None, 2)
        assert (await prices.behind.backlog()).entries == 2
        await prices.behind.flush()
        assert prices.memory.rows == {"b": 2}


@pytest.mark.everywhere
async def test_a_refused_record_ends_as_a_dead_letter_and_can_come_back(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, retry=("1ms", "5ms"), attempts=3) as prices:
        prices.memory.refuse = lambda keys: ValueError("too dear") if "bad" in keys else None
        for key in ("bad", "a", "b", "c", "d"):
            await prices.put(key, 1)
        await prices.behind.flush()
        assert sorted(prices.memory.rows) == ["a", "b", "c", "d"]
        (letter,) = (await prices.dead()).values()
        assert (letter.key, letter.value, letter.removed, letter.attempts) == ("bad", 1, False, 3)
        assert letter.error == "ValueError: too dear" and letter.since.tzinfo is not None
        assert await prices.behind.backlog() == Backlog(0, 0.0, 1)
        assert (await prices.pending("bad"), await prices.entry("bad")) == (NOTHING, None)
        prices.memory.refuse = lambda keys: None
        assert await prices.behind.dead_letters().replay("a", "bad") == 1
        assert await prices.pending("bad") in (1, NOTHING)
        await prices.behind.flush()
        assert prices.memory.rows["bad"] == 1 and await prices.dead() == {}


# --- coalescing and order -----------------------------------------------------------------------------------


async def test_puts_of_one_key_within_the_delay_are_one_save(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="1h") as prices:
        for value in range(20):
            await prices.put("a", value)
        await prices.behind.flush()
        assert prices.memory.saved == ["a"] and prices.memory.rows == {"a": 19}


async def test_what_comes_within_the_delay_goes_in_one_call(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="300ms", partitions=1, batch=7) as prices:
        for key in range(20):
            await prices.put(key, key)
        await until(lambda: len(prices.memory.rows) == 20)
        assert prices.memory.calls == [7, 7, 6]


async def test_a_put_while_its_predecessor_is_being_saved_is_not_forgotten(ahf: AsyncHoldfast):
    """Found with ack.lua not comparing the number: 2 never reached the source."""
    async with AsyncPrices(ahf, delay=0) as prices, AsyncCrowd() as crowd:
        prices.memory.go.clear()
        await prices.put("a", 1)
        await until(lambda: prices.behind._crew is not None)
        await asleep(0.1)  # it hangs in the source
        await prices.put("a", 2)
        assert await prices.pending("a") == 2
        flushed = crowd.start(lambda: prices.behind.flush())
        prices.memory.go.set()
        await flushed.result()
        assert prices.memory.rows == {"a": 2} and prices.memory.saved == ["a", "a"]


async def test_a_flush_waits_for_what_took_the_place_of_what_was_put_before(ahf: AsyncHoldfast):
    """Found with ack.lua giving `order` the newest number: the flush returned although only 1 was saved."""
    async with AsyncPrices(ahf, delay=0) as prices, AsyncCrowd() as crowd:
        prices.memory.go.clear()
        await prices.put("a", 1)
        await asleep(0.1)  # 1 hangs in the source
        await prices.put("a", 2)
        flushed = crowd.start(lambda: prices.behind.flush())
        await asleep(0.1)
        await prices.put("a", 3)
        prices.memory.refuse = lambda keys: ConnectionError("away") if prices.memory.saved else None
        prices.memory.go.set()
        await until(lambda: len(prices.memory.calls) >= 2)
        assert not flushed.done and prices.memory.rows == {"a": 1}
        prices.memory.refuse = lambda keys: None
        await flushed.result()
        assert prices.memory.rows == {"a": 3}


async def test_keys_that_python_takes_for_one_reach_the_source_all(ahf: AsyncHoldfast):
    """Found with one mapping per batch: of 1, True and 1.0 the source got one."""
    async with AsyncPrices(ahf, delay="1h", partitions=1) as prices:
        for key in (1, True, 1.0, "1"):
            await prices.put(key, repr(key))
        await prices.behind.flush()
        assert len(prices.memory.saved) == 4


async def test_a_put_wakes_its_writer(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rules, "SAFETY_POLL", 3600.0)
    async with AsyncPrices(ahf, partitions=1) as prices:
        for value in range(5):
            await prices.put("a", value)
            await until(lambda value=value: prices.memory.rows == {"a": value})  # type: ignore[misc]
            await asleep(0.05)  # it sleeps again


# --- readers ------------------------------------------------------------------------------------------------


async def test_what_waits_is_found_although_the_entry_is_gone(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="1h") as prices:
        await prices.put("a", 1)
        await prices.put("b", 2, lives=0)
        await prices.remove("c")
        await ahf.execute("UNLINK", prices.behind.entry("a"))
        assert await prices.entry("a") is None and await prices.entry("b") is None
        found = await prices.behind.pending_many(["a", "b", "c", "d"])
        assert found == {"a": 1, "b": 2, "c": MISSING, "d": NOTHING}
        assert await prices.behind.pending_many([]) == {}


async def test_a_put_refuses_the_fills_under_way(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="1h") as prices:
        fill = f"{prices.behind.entry('a')}:f"
        await ahf.execute("SET", fill, "F:1")
        await prices.put("a", 1)
        assert await ahf.execute("EXISTS", fill) == 0


async def test_an_entry_that_somebody_replaced_keeps_its_own_end(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="1h") as prices:
        await prices.put("a", 1)
        await ahf.execute("SET", prices.behind.entry("a"), envelope(1), "PX", 10 * LONG)
        await prices.behind.flush()
        assert await ahf.execute("PTTL", prices.behind.entry("a")) > LONG


# --- the source fails ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ConnectionError("away"), RuntimeError("no idea")])
async def test_an_outage_loses_nothing_and_makes_no_dead_letters(ahf: AsyncHoldfast, error: Exception):
    """Found with every failure counted as an attempt: all 30 were dead."""
    async with AsyncPrices(ahf, delay="100ms", retry=("1ms", "5ms"), attempts=2, partitions=2) as prices:
        watcher = Watcher()
        ahf.observers.add(watcher)
        prices.memory.refuse = lambda keys: error
        for key in range(30):
            await prices.put(key, key)
        await until(lambda: len(watcher.named("SourceFailed")) >= 12)
        assert await prices.dead() == {} and (await prices.behind.backlog()).entries == 30
        prices.memory.refuse = lambda keys: None
        await prices.behind.flush()
        assert prices.memory.rows == {key: key for key in range(30)}


async def test_a_lone_refused_record_dies_but_not_where_the_source_is_away(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, retry=("1ms", "5ms"), attempts=3) as prices:
        away: list[Any] = []
        prices.memory.refuse = lambda keys: ConnectionError("away")
        prices.memory.load = lambda keys: away[0] if away else {}  # type: ignore[method-assign]
        await prices.put("bad", 1)
        await until(lambda: len(prices.memory.calls) > 8)
        assert await prices.dead() == {}
        prices.memory.refuse = lambda keys: ValueError("too dear")
        await prices.behind.flush()
        assert (await prices.dead())["bad"].attempts == 3


async def test_a_source_that_answers_no_reads_counts_no_attempts(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, retry=("1ms", "5ms"), attempts=2) as prices:
        prices.memory.rows = None  # type: ignore[assignment]
        prices.memory.refuse = lambda keys: ValueError("down")
        await prices.put("a", 1)
        await until(lambda: len(prices.memory.calls) > 6)
        assert await prices.dead() == {}
        prices.memory.rows = {}
        prices.memory.refuse = lambda keys: None
        await prices.behind.flush()
        assert prices.memory.rows == {"a": 1}


async def test_a_batch_full_of_refused_records_is_no_outage_for_ever(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="1h", retry=("1ms", "5ms"), attempts=2, partitions=1) as prices:
        prices.memory.refuse = lambda keys: ValueError("no") if any(key < 60 for key in keys) else None
        for key in range(63):
            await prices.put(key, key)
        await prices.behind.flush()
        assert sorted(prices.memory.rows) == [60, 61, 62]
        assert sorted(await prices.dead()) == list(range(60))


async def test_several_refused_records_die_although_each_is_alone_in_its_partition(ahf: AsyncHoldfast):
    """Found with evidence only from the same batch: each failed alone, so that it looked like an outage."""
    async with AsyncPrices(ahf, delay=0, retry=("1ms", "5ms"), attempts=3, partitions=64) as prices:
        prices.memory.refuse = lambda keys: ValueError("no") if any(key < 3 for key in keys) else None
        for key in range(12):
            await prices.put(key, key)
        await prices.behind.flush()
        assert sorted(await prices.dead()) == [0, 1, 2] and sorted(prices.memory.rows) == list(range(3, 12))


async def test_a_newer_put_takes_the_place_of_a_dead_letter(ahf: AsyncHoldfast):
    """Found with put.lua leaving the dead letter: its replay brought 1 back."""
    async with AsyncPrices(ahf, retry=("1ms", "2ms"), attempts=1) as prices:
        prices.memory.refuse = lambda keys: ValueError("no")
        await prices.put("a", 1)
        await prices.behind.flush()
        assert list(await prices.dead()) == ["a"]
        prices.memory.refuse = lambda keys: None
        await prices.put("a", 2)
        assert await prices.dead() == {} and await prices.behind.dead_letters().replay() == 0
        await prices.behind.flush()
        assert prices.memory.rows == {"a": 2}


async def test_dead_letters_can_be_purged_and_replayed_all(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, retry=("1ms", "2ms"), attempts=1) as prices:
        prices.memory.refuse = lambda keys: ValueError("no") if set(keys) & {1, 2, 3} else None
        for key in range(6):
            await prices.put(key, key)
        await prices.behind.flush()
        letters = prices.behind.dead_letters()
        assert sorted(await prices.dead()) == [1, 2, 3] and len(await letters.list(limit=2)) == 2
        assert await letters.purge(2) == 1
        assert sorted(await prices.dead()) == [1, 3]
        assert await letters.replay() == 2
        await prices.behind.flush()
        assert sorted(await prices.dead()) == [1, 3]  # once more
        assert await letters.purge() == 2 and await letters.list() == []


async def test_a_value_that_cannot_be_read_ends_as_a_dead_letter(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, retry=("1ms", "2ms"), attempts=2) as prices:
        await prices.behind.put("odd", "odd", bytes(16) + b"\xc1", LONG)
        await prices.put("a", 1)
        await prices.behind.flush()
        letter = (await prices.dead())["odd"]
        assert (
            letter.value is MISSING
            and letter.error.startswith("CodecError")
            and prices.memory.rows == {"a": 1}
        )


# --- back-pressure ------------------------------------------------------------------------------------------


async def test_a_full_backlog_holds_puts_back(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, wait=0.2, max_backlog=3, partitions=1) as prices, AsyncCrowd() as crowd:
        prices.memory.go.clear()
        for key in range(3):
            await prices.put(key, key)
        with pytest.raises(Overloaded, match="max_backlog=3") as caught:
            await prices.put(3, 3)
        assert caught.value.retry_after
        await prices.put(2, "newer")  # takes no room
        await prices.remove(1)
        assert await prices.pending(3) is NOTHING
        prices.behind._wait = 20.0
        waiting = crowd.start(lambda: prices.put(4, 4))
        await crowd.settle()
        assert not waiting.done
        prices.memory.go.set()
        await waiting.result()
        await prices.behind.flush()
        assert prices.memory.rows == {0: 0, 2: "newer", 4: 4}


async def test_a_flush_says_how_many_are_left(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, retry=("1ms", "5ms")) as prices:
        prices.memory.refuse = lambda keys: ConnectionError("away")
        for key in range(9):
            await prices.put(key, key)
        with pytest.raises(NotFlushed, match="9 keys") as caught:
            await prices.behind.flush(0.1)
        assert caught.value.left == 9 and isinstance(caught.value, TimeoutError)


# --- life ---------------------------------------------------------------------------------------------------


async def test_closing_applies_what_it_can_and_gives_the_partitions_back(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="1h") as prices:
        for key in range(20):
            await prices.put(key, key)
        await prices.behind.close(5.0)
        assert prices.memory.rows == {key: key for key in range(20)}
        leases = [part.lease for part in prices.behind._layout.partitions]
        assert [await ahf.execute("EXISTS", lease) for lease in leases] == [0] * 8
        with pytest.raises(Closed):
            await prices.put("late", 1)
        await prices.behind.close(5.0)


async def test_what_is_left_at_closing_waits_for_others(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, delay="1h") as prices:
        for key in range(20):
            await prices.put(key, key)
        await prices.behind.close(0)
        assert prices.memory.rows == {}
        other = prices.another(ahf)
        await other.flush()
        assert prices.memory.rows == {key: key for key in range(20)}
        await other.close(0)


async def test_a_source_that_fails_does_not_hold_up_the_closing(ahf: AsyncHoldfast):
    async with AsyncPrices(ahf, retry=("1ms", "5ms")) as prices:
        prices.memory.refuse = lambda keys: ConnectionError("away")
        await prices.put("a", 1)
        begun = monotonic()
        await prices.behind.close(0.3)
        assert monotonic() - begun < 5
        assert not crew_of(prices.behind).alive
        assert await ahf.execute("EXISTS", lease_of(prices, "a")) == 0
        prices.behind = prices.another(ahf)
        prices.memory.refuse = lambda keys: None
        await prices.behind.flush()
        assert prices.memory.rows == {"a": 1}
