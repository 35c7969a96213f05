# Generated from test_behind_async.py by tools/unasync.py. Do not edit.
"""What write-behind promises, one by one, with a source in memory.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import pytest

from holdfast import MISSING, Holdfast, Closed, Overloaded
from holdfast._compat import sleep, monotonic
from holdfast._coord.naming import text
from holdfast.cache.behind import rules
from holdfast.cache.behind._sync import WriteBehind
from holdfast.cache.behind._crew_sync import Crew
from holdfast.cache.behind.options import Backlog, Behind, NotFlushed
from holdfast.cache.behind.rules import NOTHING
from tests.cache.behind.world import LONG, Memory, Watcher, envelope, read
from tests.cache.crowd import Crowd


class Table:
    """A Memory as a source."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.inside = self.most = 0

    def load_many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        return self.memory.load(keys)

    def save_many(self, mapping: dict[Any, Any], *, fence: int, partition: str) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            while not self.memory.go.is_set():
                sleep(0.005)
            self.memory.save(mapping, fence, partition)
        finally:
            self.inside -= 1

    def delete_many(self, keys: list[Any]) -> None:
        while not self.memory.go.is_set():
            sleep(0.005)
        self.memory.delete(keys)


class Prices:
    """A cache in front of it, in a few lines."""

    def __init__(self, hf: Holdfast, wait: float | None = 20.0, **options: Any) -> None:
        self.table = Table()
        self.memory = self.table.memory
        self._hf = hf
        self._options = options
        self._wait = wait
        self.behind = self.another(hf)

    def another(self, hf: Holdfast, **options: Any) -> WriteBehind:
        """As another client of the same cache would make it."""
        chosen = Behind(**{**self._options, **options})
        return WriteBehind(hf._wire, "prices", chosen, self.table, read, wait=self._wait)

    def put(self, key: Any, value: Any, lives: int = LONG) -> None:
        self.behind.put(key, text(key), envelope(value), lives)

    def remove(self, key: Any) -> None:
        self.behind.remove(key, text(key), envelope(None), 0)

    def pending(self, key: Any) -> Any:
        return self.behind.pending(text(key))

    def entry(self, key: Any) -> Any:
        raw = self._hf.execute("GET", self.behind.entry(text(key)))
        return None if raw is None else read(raw)

    def dead(self) -> dict[Any, Any]:
        return {letter.key: letter for letter in self.behind.dead_letters().list()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.memory.go.set()
        self.behind.close(0)


def until(condition: Callable[[], Any]) -> None:
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, "it never happened"
        sleep(0.005)


def crew_of(behind: WriteBehind) -> Crew:
    assert behind._crew is not None
    return behind._crew


def lease_of(prices: Prices, key: Any) -> str:
    return prices.behind._layout.of(text(key)).lease


# --- contract -----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_what_was_put_is_seen_at_once_and_reaches_the_source(hf: Holdfast):
    with Prices(hf) as prices:
        prices.memory.go.clear()
        for key in range(40):
            prices.put(key, key * 10)
        assert prices.memory.rows == {}
        assert [prices.pending(key) for key in range(40)] == [key * 10 for key in range(40)]
        assert [prices.entry(key) for key in range(40)] == [key * 10 for key in range(40)]
        assert hf.execute("PTTL", prices.behind.entry(text(7))) == -1
        waiting = prices.behind.backlog()
        assert (waiting.entries, waiting.dead) == (40, 0) and waiting.oldest_age > 0
        prices.memory.go.set()
        prices.behind.flush()
        assert prices.memory.rows == {key: key * 10 for key in range(40)}
        assert prices.behind.backlog() == Backlog(0, 0.0, 0)
        assert prices.pending(7) is NOTHING
        assert 0 < hf.execute("PTTL", prices.behind.entry(text(7))) <= LONG


@pytest.mark.everywhere
def test_the_last_of_put_and_remove_wins(hf: Holdfast):
    with Prices(hf, delay="1h") as prices:
        prices.memory.rows.update(a="old", b="old")
        prices.put("a", 1)
        prices.remove("a")
        prices.remove("b")
        prices.put("b", 2)
        assert (prices.pending("a"), prices.pending("b")) == (MISSING, 2)
        assert (prices.entry("a"), prices.entry("b")) == (None, 2)
        assert (prices.behind.backlog()).entries == 2
        prices.behind.flush()
        assert prices.memory.rows == {"b": 2}


@pytest.mark.everywhere
def test_a_refused_record_ends_as_a_dead_letter_and_can_come_back(hf: Holdfast):
    with Prices(hf, retry=("1ms", "5ms"), attempts=3) as prices:
        prices.memory.refuse = lambda keys: ValueError("too dear") if "bad" in keys else None
        for key in ("bad", "a", "b", "c", "d"):
            prices.put(key, 1)
        prices.behind.flush()
        assert sorted(prices.memory.rows) == ["a", "b", "c", "d"]
        (letter,) = (prices.dead()).values()
        assert (letter.key, letter.value, letter.removed, letter.attempts) == ("bad", 1, False, 3)
        assert letter.error == "ValueError: too dear" and letter.since.tzinfo is not None
        assert prices.behind.backlog() == Backlog(0, 0.0, 1)
        assert (prices.pending("bad"), prices.entry("bad")) == (NOTHING, None)
        prices.memory.refuse = lambda keys: None
        assert prices.behind.dead_letters().replay("a", "bad") == 1
        assert prices.pending("bad") in (1, NOTHING)
        prices.behind.flush()
        assert prices.memory.rows["bad"] == 1 and prices.dead() == {}


# --- coalescing and order -----------------------------------------------------------------------------------


def test_puts_of_one_key_within_the_delay_are_one_save(hf: Holdfast):
    with Prices(hf, delay="1h") as prices:
        for value in range(20):
            prices.put("a", value)
        prices.behind.flush()
        assert prices.memory.saved == ["a"] and prices.memory.rows == {"a": 19}


def test_what_comes_within_the_delay_goes_in_one_call(hf: Holdfast):
    with Prices(hf, delay="300ms", partitions=1, batch=7) as prices:
        for key in range(20):
            prices.put(key, key)
        until(lambda: len(prices.memory.rows) == 20)
        assert prices.memory.calls == [7, 7, 6]


def test_a_put_while_its_predecessor_is_being_saved_is_not_forgotten(hf: Holdfast):
    """Found with ack.lua not comparing the number: 2 never reached the source."""
    with Prices(hf, delay=0) as prices, Crowd() as crowd:
        prices.memory.go.clear()
        prices.put("a", 1)
        until(lambda: prices.behind._crew is not None)
        sleep(0.1)  # it hangs in the source
        prices.put("a", 2)
        assert prices.pending("a") == 2
        flushed = crowd.start(lambda: prices.behind.flush())
        prices.memory.go.set()
        flushed.result()
        assert prices.memory.rows == {"a": 2} and prices.memory.saved == ["a", "a"]


def test_a_flush_waits_for_what_took_the_place_of_what_was_put_before(hf: Holdfast):
    """Found with ack.lua giving `order` the newest number: the flush returned although only 1 was saved."""
    with Prices(hf, delay=0) as prices, Crowd() as crowd:
        prices.memory.go.clear()
        prices.put("a", 1)
        sleep(0.1)  # 1 hangs in the source
        prices.put("a", 2)
        flushed = crowd.start(lambda: prices.behind.flush())
        sleep(0.1)
        prices.put("a", 3)
        prices.memory.refuse = lambda keys: ConnectionError("away") if prices.memory.saved else None
        prices.memory.go.set()
        until(lambda: len(prices.memory.calls) >= 2)
        assert not flushed.done and prices.memory.rows == {"a": 1}
        prices.memory.refuse = lambda keys: None
        flushed.result()
        assert prices.memory.rows == {"a": 3}


def test_keys_that_python_takes_for_one_reach_the_source_all(hf: Holdfast):
    """Found with one mapping per batch: of 1, True and 1.0 the source got one."""
    with Prices(hf, delay="1h", partitions=1) as prices:
        for key in (1, True, 1.0, "1"):
            prices.put(key, repr(key))
        prices.behind.flush()
        assert len(prices.memory.saved) == 4


def test_a_put_wakes_its_writer(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rules, "SAFETY_POLL", 3600.0)
    with Prices(hf, partitions=1) as prices:
        for value in range(5):
            prices.put("a", value)
            until(lambda value=value: prices.memory.rows == {"a": value})  # type: ignore[misc]
            sleep(0.05)  # it sleeps again


# --- readers ------------------------------------------------------------------------------------------------


def test_what_waits_is_found_although_the_entry_is_gone(hf: Holdfast):
    with Prices(hf, delay="1h") as prices:
        prices.put("a", 1)
        prices.put("b", 2, lives=0)
        prices.remove("c")
        hf.execute("UNLINK", prices.behind.entry("a"))
        assert prices.entry("a") is None and prices.entry("b") is None
        found = prices.behind.pending_many(["a", "b", "c", "d"])
        assert found == {"a": 1, "b": 2, "c": MISSING, "d": NOTHING}
        assert prices.behind.pending_many([]) == {}


def test_a_put_refuses_the_fills_under_way(hf: Holdfast):
    with Prices(hf, delay="1h") as prices:
        fill = f"{prices.behind.entry('a')}:f"
        hf.execute("SET", fill, "F:1")
        prices.put("a", 1)
        assert hf.execute("EXISTS", fill) == 0


def test_an_entry_that_somebody_replaced_keeps_its_own_end(hf: Holdfast):
    with Prices(hf, delay="1h") as prices:
        prices.put("a", 1)
        hf.execute("SET", prices.behind.entry("a"), envelope(1), "PX", 10 * LONG)
        prices.behind.flush()
        assert hf.execute("PTTL", prices.behind.entry("a")) > LONG


# --- the source fails ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ConnectionError("away"), RuntimeError("no idea")])
def test_an_outage_loses_nothing_and_makes_no_dead_letters(hf: Holdfast, error: Exception):
    """Found with every failure counted as an attempt: all 30 were dead."""
    with Prices(hf, delay="100ms", retry=("1ms", "5ms"), attempts=2, partitions=2) as prices:
        watcher = Watcher()
        hf.observers.add(watcher)
        prices.memory.refuse = lambda keys: error
        for key in range(30):
            prices.put(key, key)
        until(lambda: len(watcher.named("SourceFailed")) >= 12)
        assert prices.dead() == {} and (prices.behind.backlog()).entries == 30
        prices.memory.refuse = lambda keys: None
        prices.behind.flush()
        assert prices.memory.rows == {key: key for key in range(30)}


def test_a_lone_refused_record_dies_but_not_where_the_source_is_away(hf: Holdfast):
    with Prices(hf, retry=("1ms", "5ms"), attempts=3) as prices:
        away: list[Any] = []
        prices.memory.refuse = lambda keys: ConnectionError("away")
        prices.memory.load = lambda keys: away[0] if away else {}  # type: ignore[method-assign]
        prices.put("bad", 1)
        until(lambda: len(prices.memory.calls) > 8)
        assert prices.dead() == {}
        prices.memory.refuse = lambda keys: ValueError("too dear")
        prices.behind.flush()
        assert (prices.dead())["bad"].attempts == 3


def test_a_source_that_answers_no_reads_counts_no_attempts(hf: Holdfast):
    with Prices(hf, retry=("1ms", "5ms"), attempts=2) as prices:
        prices.memory.rows = None  # type: ignore[assignment]
        prices.memory.refuse = lambda keys: ValueError("down")
        prices.put("a", 1)
        until(lambda: len(prices.memory.calls) > 6)
        assert prices.dead() == {}
        prices.memory.rows = {}
        prices.memory.refuse = lambda keys: None
        prices.behind.flush()
        assert prices.memory.rows == {"a": 1}


def test_a_batch_full_of_refused_records_is_no_outage_for_ever(hf: Holdfast):
    with Prices(hf, delay="1h", retry=("1ms", "5ms"), attempts=2, partitions=1) as prices:
        prices.memory.refuse = lambda keys: ValueError("no") if any(key < 60 for key in keys) else None
        for key in range(63):
            prices.put(key, key)
        prices.behind.flush()
        assert sorted(prices.memory.rows) == [60, 61, 62]
        assert sorted(prices.dead()) == list(range(60))


def test_several_refused_records_die_although_each_is_alone_in_its_partition(hf: Holdfast):
    """Found with evidence only from the same batch: each failed alone, so that it looked like an outage."""
    with Prices(hf, delay=0, retry=("1ms", "5ms"), attempts=3, partitions=64) as prices:
        prices.memory.refuse = lambda keys: ValueError("no") if any(key < 3 for key in keys) else None
        for key in range(12):
            prices.put(key, key)
        prices.behind.flush()
        assert sorted(prices.dead()) == [0, 1, 2] and sorted(prices.memory.rows) == list(range(3, 12))


def test_a_newer_put_takes_the_place_of_a_dead_letter(hf: Holdfast):
    """Found with put.lua leaving the dead letter: its replay brought 1 back."""
    with Prices(hf, retry=("1ms", "2ms"), attempts=1) as prices:
        prices.memory.refuse = lambda keys: ValueError("no")
        prices.put("a", 1)
        prices.behind.flush()
        assert list(prices.dead()) == ["a"]
        prices.memory.refuse = lambda keys: None
        prices.put("a", 2)
        assert prices.dead() == {} and prices.behind.dead_letters().replay() == 0
        prices.behind.flush()
        assert prices.memory.rows == {"a": 2}


def test_dead_letters_can_be_purged_and_replayed_all(hf: Holdfast):
    with Prices(hf, retry=("1ms", "2ms"), attempts=1) as prices:
        prices.memory.refuse = lambda keys: ValueError("no") if set(keys) & {1, 2, 3} else None
        for key in range(6):
            prices.put(key, key)
        prices.behind.flush()
        letters = prices.behind.dead_letters()
        assert sorted(prices.dead()) == [1, 2, 3] and len(letters.list(limit=2)) == 2
        assert letters.purge(2) == 1
        assert sorted(prices.dead()) == [1, 3]
        assert letters.replay() == 2
        prices.behind.flush()
        assert sorted(prices.dead()) == [1, 3]  # once more
        assert letters.purge() == 2 and letters.list() == []


def test_a_value_that_cannot_be_read_ends_as_a_dead_letter(hf: Holdfast):
    with Prices(hf, retry=("1ms", "2ms"), attempts=2) as prices:
        prices.behind.put("odd", "odd", bytes(16) + b"\xc1", LONG)
        prices.put("a", 1)
        prices.behind.flush()
        letter = (prices.dead())["odd"]
        assert (
            letter.value is MISSING
            and letter.error.startswith("CodecError")
            and prices.memory.rows == {"a": 1}
        )


# --- back-pressure ------------------------------------------------------------------------------------------


def test_a_full_backlog_holds_puts_back(hf: Holdfast):
    with Prices(hf, wait=0.2, max_backlog=3, partitions=1) as prices, Crowd() as crowd:
        prices.memory.go.clear()
        for key in range(3):
            prices.put(key, key)
        with pytest.raises(Overloaded, match="max_backlog=3") as caught:
            prices.put(3, 3)
        assert caught.value.retry_after
        prices.put(2, "newer")  # takes no room
        prices.remove(1)
        assert prices.pending(3) is NOTHING
        prices.behind._wait = 20.0
        waiting = crowd.start(lambda: prices.put(4, 4))
        crowd.settle()
        assert not waiting.done
        prices.memory.go.set()
        waiting.result()
        prices.behind.flush()
        assert prices.memory.rows == {0: 0, 2: "newer", 4: 4}


def test_a_flush_says_how_many_are_left(hf: Holdfast):
    with Prices(hf, retry=("1ms", "5ms")) as prices:
        prices.memory.refuse = lambda keys: ConnectionError("away")
        for key in range(9):
            prices.put(key, key)
        with pytest.raises(NotFlushed, match="9 keys") as caught:
            prices.behind.flush(0.1)
        assert caught.value.left == 9 and isinstance(caught.value, TimeoutError)


# --- life ---------------------------------------------------------------------------------------------------


def test_closing_applies_what_it_can_and_gives_the_partitions_back(hf: Holdfast):
    with Prices(hf, delay="1h") as prices:
        for key in range(20):
            prices.put(key, key)
        prices.behind.close(5.0)
        assert prices.memory.rows == {key: key for key in range(20)}
        leases = [part.lease for part in prices.behind._layout.partitions]
        assert [hf.execute("EXISTS", lease) for lease in leases] == [0] * 8
        with pytest.raises(Closed):
            prices.put("late", 1)
        prices.behind.close(5.0)


def test_what_is_left_at_closing_waits_for_others(hf: Holdfast):
    with Prices(hf, delay="1h") as prices:
        for key in range(20):
            prices.put(key, key)
        prices.behind.close(0)
        assert prices.memory.rows == {}
        other = prices.another(hf)
        other.flush()
        assert prices.memory.rows == {key: key for key in range(20)}
        other.close(0)


def test_a_source_that_fails_does_not_hold_up_the_closing(hf: Holdfast):
    with Prices(hf, retry=("1ms", "5ms")) as prices:
        prices.memory.refuse = lambda keys: ConnectionError("away")
        prices.put("a", 1)
        begun = monotonic()
        prices.behind.close(0.3)
        assert monotonic() - begun < 5
        assert not crew_of(prices.behind).alive
        assert hf.execute("EXISTS", lease_of(prices, "a")) == 0
        prices.behind = prices.another(hf)
        prices.memory.refuse = lambda keys: None
        prices.behind.flush()
        assert prices.memory.rows == {"a": 1}
