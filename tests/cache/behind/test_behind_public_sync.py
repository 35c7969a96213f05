# Generated from test_behind_public_async.py by tools/unasync.py. Do not edit.
"""Write-behind as users meet it: `hf.cache(..., source=..., write="behind")`."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from holdfast import MISSING, Holdfast, Backlog, Behind, ConfigurationError, OutOfMemory, Unavailable
from holdfast._compat import Signal, sleep
from holdfast.testing import FaultProxy
from tests.cache.behind.test_behind_sync import Table, until
from tests.cache.crowd import Crowd


def caches(hf: Holdfast, **options: Any) -> tuple[Any, Table]:
    table = Table()
    return hf.cache("prices", ttl="5m", source=table, write=Behind(**options)), table


@pytest.mark.everywhere
def test_put_get_remove_flush_backlog(hf: Holdfast):
    prices, table = caches(hf)
    table.memory.rows.update({7: "old", 8: "old"})
    assert prices.get(7) == "old"
    table.memory.go.clear()
    prices.put(7, 19.99)
    prices.put(9, [1, {"a": None}])
    prices.remove(8)
    assert prices.get(7) == 19.99 and prices.get(8) is MISSING
    assert prices.get_many([7, 8, 9, 10]) == {7: 19.99, 9: [1, {"a": None}]}
    assert (prices.backlog()).entries == 3
    table.memory.go.set()
    prices.flush()
    assert table.memory.rows == {7: 19.99, 9: [1, {"a": None}]}
    assert prices.backlog() == Backlog(0, 0.0, 0)
    assert prices.get(7) == 19.99 and prices.get(8) is MISSING


class Seal:
    """A stand-in for AES-GCM: bytes open only for the name they were sealed for."""

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        return hashlib.sha256(associated).digest() + data[::-1]

    def decrypt(self, data: bytes, associated: bytes) -> bytes:
        assert data[:32] == hashlib.sha256(associated).digest()
        return data[:31:-1]


def test_what_waits_is_sealed_and_opened(hf: Holdfast):
    """Found with envelopes opened for no name at all: every value ended as a dead letter."""
    table = Table()
    prices: Any = hf.cache("sealed", ttl="5m", source=table, write=Behind(delay="1h"), cipher=Seal())
    prices.put("tea", "dear")
    assert b"dear" not in hf.execute("GET", prices._store.entry("tea"))
    prices.invalidate("tea")
    assert prices.get("tea") == "dear"
    prices.flush()
    assert table.memory.rows == {"tea": "dear"} and prices.dead_letters().list() == []


@pytest.mark.parametrize("how", ["invalidate", "expire", "clear", "unlink"])
def test_a_reader_finds_what_waits_whatever_became_of_the_entry(hf: Holdfast, how: str):
    """Found with a loader that asks the source only: it got "old" from there."""
    prices, table = caches(hf, delay="1h")
    table.memory.rows.update(a="old", b="old")
    prices.put("a", "new")
    prices.remove("b")
    if how == "unlink":
        hf.execute("UNLINK", prices._store.entry("a"))
        hf.execute("UNLINK", prices._store.entry("b"))
    elif how == "clear":
        prices.clear()
    else:
        getattr(prices, how)("a", "b")
    assert prices.get("a") == "new" and prices.get("b") is MISSING
    assert prices.get("a") == "new"
    prices.flush()
    assert table.memory.rows == {"a": "new"}


def test_a_load_that_began_before_a_put_does_not_hide_it(hf: Holdfast):
    prices, table = caches(hf, delay="1h")
    table.memory.rows["a"] = "old"
    reading, go = Signal(), Signal()
    load = table.load_many

    def slowly(keys: Any) -> Any:
        found = load(keys)
        reading.fire()
        assert go.wait(20)
        return found

    table.load_many = slowly  # type: ignore[method-assign]
    with Crowd() as crowd:
        early = crowd.start(lambda: prices.get("a"))
        assert reading.wait(20)
        prices.put("a", "new")
        go.fire()
        assert early.result() == "old"
    assert prices.get("a") == "new"


def test_another_client_sees_it_and_applies_what_a_closed_one_left(
    hf: Holdfast, server, namespace: str
):
    with Holdfast(server.url, namespace=namespace) as other:
        theirs, table = caches(other, delay="1h")
        ours, mine = caches(hf, delay="1h")
        theirs.put("a", 1)
        assert ours.get("a") == 1
        other.close(drain=0)
        assert table.memory.rows == {}
        ours.flush()
        assert mine.memory.rows == {"a": 1}


def test_closing_the_client_brings_what_waits_to_the_source(server, namespace: str):
    with Holdfast(server.url, namespace=namespace) as client:
        prices, table = caches(client, delay="1h")
        for key in range(30):
            prices.put(key, key)
    assert table.memory.rows == {key: key for key in range(30)}


def test_a_dead_letter_leaves_readers_with_what_the_source_has(hf: Holdfast):
    prices, table = caches(hf, retry=("1ms", "2ms"), attempts=2)
    table.memory.rows["a"] = "old"
    table.memory.refuse = lambda keys: ValueError("no")
    prices.put("a", "new")
    assert prices.get("a") == "new"
    prices.flush()
    assert (prices.backlog()).dead == 1
    assert prices.get("a") == "old"
    (letter,) = prices.dead_letters().list()
    assert (letter.key, letter.value) == ("a", "new")
    table.memory.refuse = lambda keys: None
    assert prices.dead_letters().replay() == 1
    prices.flush()
    assert prices.get("a") == "new" and table.memory.rows == {"a": "new"}


def test_entries_end_after_they_were_applied(hf: Holdfast):
    table = Table()
    prices = hf.cache("prices", ttl="200ms", jitter=0, source=table, write=Behind(delay=0))
    table.memory.go.clear()
    prices.put("a", 1)
    sleep(0.3)
    assert hf.execute("EXISTS", prices._store.entry("a")) == 1
    table.memory.go.set()
    prices.flush()
    for _ in range(400):
        if not hf.execute("EXISTS", prices._store.entry("a")):
            break
        sleep(0.01)
    else:
        raise AssertionError("it never ended")


@pytest.mark.parametrize("options", [{"compress_above": 100}, {"codec": "json"}, {"chunk_above": 1024}])
def test_values_survive_the_journal_however_they_are_written(hf: Holdfast, options: Any):
    table = Table()
    prices = hf.cache("prices", ttl="5m", source=table, write="behind", **options)
    value = "long " * 2000
    table.memory.go.clear()
    prices.put("a", value)
    assert prices.get("a") == value
    hf.execute("UNLINK", prices._store.entry("a"))
    assert prices.get("a") == value
    table.memory.go.set()
    prices.flush()
    assert table.memory.rows == {"a": value}


def test_what_does_not_fit_together_is_refused(hf: Holdfast):
    with pytest.raises(ConfigurationError, match="source"):
        hf.cache("prices", ttl="5m", write="behind")
    with pytest.raises(ConfigurationError, match="sideways"):
        hf.cache("prices", ttl="5m", source=Table(), write="sideways")  # type: ignore[call-overload]
    plain = hf.cache("plain", ttl="5m")
    for method in ("flush", "backlog"):
        with pytest.raises(ConfigurationError, match="behind"):
            getattr(plain, method)()
    prices, _ = caches(hf)
    assert hf.cache("prices", ttl="5m", source=prices.options.source, write=Behind()) is prices
    with pytest.raises(ConfigurationError, match="batch=7"):
        hf.cache("prices", ttl="5m", source=prices.options.source, write=Behind(batch=7))
    with pytest.raises(ConfigurationError, match="source"):
        prices.set("a", 1)


def test_a_new_client_takes_over_without_being_asked(hf: Holdfast, server, namespace: str):
    with Holdfast(server.url, namespace=namespace) as other:
        theirs, _ = caches(other, delay="1h")
        theirs.put("a", 1)
        other.close(drain=0)
    prices, table = caches(hf, delay=0)
    prices.get("b")  # any use
    until(lambda: table.memory.rows == {"a": 1})


def test_with_redis_away_a_put_says_so_and_the_writers_come_back(
    server, faults: FaultProxy, namespace: str
):
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as client:
        prices, table = caches(client, delay=0, lease="1s")
        prices.put("a", 1)
        prices.flush()
        faults.refuse()
        faults.cut()
        with pytest.raises(Unavailable):
            prices.put("a", 2)
        faults.heal()
        prices.put("a", 3)
        prices.flush()
        assert table.memory.rows == {"a": 3}


def test_a_full_server_takes_no_puts_but_lets_the_writers_work(own_server, namespace: str):
    """Found with ack.lua lacking its flag: what was saved stayed in the journal."""
    with Holdfast(own_server.url, namespace=namespace) as client:
        prices, table = caches(client, delay="1h")
        for key in range(20):
            prices.put(key, key)
        client.execute("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(OutOfMemory):
            prices.put("more", 1)
        assert (prices.backlog()).entries == 20
        prices.flush()
        assert table.memory.rows == {key: key for key in range(20)}
        assert (prices.backlog()).entries == 0
        client.execute("CONFIG", "SET", "maxmemory", "0")
        prices.put("more", 1)
        prices.flush()
        assert table.memory.rows["more"] == 1
