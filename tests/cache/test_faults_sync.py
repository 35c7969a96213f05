# Generated from test_faults_async.py by tools/unasync.py. Do not edit.
"""What a cache does when others come between, and when the server or the network fails.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import MISSING, Holdfast, Overloaded
from holdfast._compat import Signal
from holdfast.cache import rules
from tests.cache.crowd import Crowd, Observer
from tests.cache.test_cache_sync import Counting, Table


class Gate:
    """A loader that waits, once it has read the database, until it is let go."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.calls = self.now = self.most = 0
        self.reading = Signal()
        self.go = Signal()

    def __call__(self) -> Any:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        value = self.value
        self.reading.fire()
        assert self.go.wait(20)
        self.now -= 1
        if isinstance(value, Exception):
            raise value
        return value


def until(condition, crowd: Crowd) -> None:
    for _ in range(400):
        if condition():
            return
        crowd.settle()
    raise AssertionError("it never happened")


# --- fenced fills -------------------------------------------------------------------------------------------


@pytest.mark.everywhere
@pytest.mark.parametrize("event", ["invalidate", "set", "expire", "clear", "unlink", "put", "remove"])
def test_an_older_load_is_not_stored(hf: Holdfast, server, namespace: str, event: str):
    """Found with fill.lua storing without looking at the lease: the old value was back, in every case but
    `clear`, where the epoch of before the load keeps it out.
    """
    with Holdfast(server.url, namespace=namespace) as second:
        source = Table()
        other = (
            second.cache("users", ttl="1h", source=source, write="through")
            if event in ("put", "remove")
            else None
        )
        cache, gate = hf.cache("users", ttl="1h"), Gate("old")
        cache.get("warm")
        plain: Any = other or second.cache("users", ttl="1h")
        with Crowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert gate.reading.wait(20)
            if event == "unlink":
                key = f"{namespace}:1:cache:users:{{k}}"
                hf.execute("UNLINK", key, f"{key}:f")
            elif event == "clear":
                plain.clear()
            elif event in ("set", "put"):
                getattr(plain, event)("k", "new")
            else:
                getattr(plain, event)("k")
            gate.go.fire()
            assert job.result() == "old"  # it asked before
        expected = "new" if event in ("set", "put") else MISSING
        assert cache.get("k") == expected
        if event != "clear":
            assert cache.stats().refused == {"invalidated": 1}


def test_a_reader_who_comes_after_gets_no_older_load(hf: Holdfast, server, namespace: str):
    """Found with may_share() always true: the second reader was handed "old" after the invalidation."""
    with Holdfast(server.url, namespace=namespace) as second:
        cache, gate, new = hf.cache("users", ttl="1h"), Gate("old"), Counting("new")
        with Crowd() as crowd:
            early = crowd.start(lambda: cache.get_or_set("k", gate))
            assert gate.reading.wait(20)
            assert second.cache("users", ttl="1h").invalidate("k")
            late = crowd.start(lambda: cache.get_or_set("k", new))
            crowd.settle()
            gate.go.fire()
            assert (early.result(), late.result()) == ("old", "new")
        assert cache.get("k") == "new"


def test_a_lease_that_ended_stores_nothing(hf: Holdfast, server, namespace: str):
    """Found with fill.lua storing without looking at the lease: the slow, older load won."""
    watcher = Observer()
    hf.observers.add(watcher)
    with Holdfast(server.url, namespace=namespace) as second:
        cache, gate = hf.cache("users", ttl="1h", lease="50ms"), Gate("slow")
        other = second.cache("users", ttl="1h", lease="50ms")
        with Crowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert gate.reading.wait(20)
            assert (
                other.get_or_set("k", Counting("quick")) == "quick"
            )  # after waiting for the lease
            gate.go.fire()
            assert job.result() == "slow"
        assert cache.get("k") == "quick"
        assert cache.stats().refused == {"lease_ended": 1}
        assert other.stats().waits == 1
        assert "SlowLoad" in watcher.names()


def test_overlapping_puts_store_nothing(hf: Holdfast, server, namespace: str):
    """They may reach the source in one order and the cache in the other.

    Found with begin.lua that took the lease over without a trace: the cache kept what the source had lost.
    """

    class Slow(Table):
        def __init__(self) -> None:
            super().__init__()
            self.gate = Gate()

        def save_many(self, mapping):
            if self.gate.calls == 0:
                self.gate()
            super().save_many(mapping)

    slow = Slow()
    with Holdfast(server.url, namespace=namespace) as second:
        a = hf.cache("prices", ttl="1h", source=slow, write="through")
        b = second.cache("prices", ttl="1h", source=slow, write="through")
        with Crowd() as crowd:
            first = crowd.start(lambda: a.put("k", 1))
            assert slow.gate.reading.wait(20)
            b.put("k", 2)
            assert b.peek("k") is MISSING
            slow.gate.go.fire()
            first.result()
        assert a.peek("k") is MISSING
        assert b.get("k") == 1 == slow.rows["k"]
        b.put("k", 3)  # and nothing of it stays behind
        found = a.peek("k")
        assert found and found.value == 3


# --- no stampede --------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_one_load_for_a_crowd(hf: Holdfast, server, namespace: str):
    with Holdfast(server.url, namespace=namespace) as second:
        caches = [client.cache("users", ttl="1h") for client in (hf, second)]
        gate = Gate("value")
        with Crowd() as crowd:
            jobs = [crowd.start(lambda cache=cache: cache.get_or_set("k", gate)) for cache in caches * 20]
            assert gate.reading.wait(20)
            until(lambda: sum(cache.stats().waits for cache in caches) == 1, crowd)
            gate.go.fire()
            assert {job.result() for job in jobs} == {"value"}
        assert gate.calls == 1


def test_waiting_is_not_polling(hf: Holdfast, faults, namespace: str):
    """Found with a watch that never fires: the waiter slept until the lease had ended."""
    with Holdfast(faults.url, namespace=namespace) as second:
        cache, other = hf.cache("users", ttl="1h", lease="60s"), second.cache("users", ttl="1h", lease="60s")
        other.get("warm")
        gate = Gate("value")
        with Crowd() as crowd:
            loading = crowd.start(lambda: cache.get_or_set("k", gate))
            assert gate.reading.wait(20)
            waiting = crowd.start(lambda: other.get_or_set("k", Counting("no")))
            until(lambda: other.stats().waits == 1, crowd)
            until(lambda: len(faults.commands("SSUBSCRIBE")) == 1, crowd)
            for _ in range(10):
                crowd.settle()
            gate.go.fire()
            assert [loading.result(), waiting.result()] == ["value", "value"]
        assert len(faults.commands("MGET")) <= 6


def test_a_dead_loader_is_replaced_when_its_lease_ends(hf: Holdfast, namespace: str):
    cache = hf.cache("users", ttl="1h")
    hf.execute("SET", f"{namespace}:1:cache:users:{{k}}:f", "F:dead", "PX", 150)
    assert cache.get_or_set("k", Counting("value")) == "value"
    assert cache.get("k") == "value"


def test_waiting_has_an_end(hf: Holdfast, namespace: str):
    cache = hf.cache("users", ttl="1h", wait="100ms")
    hf.execute("SET", f"{namespace}:1:cache:users:{{k}}:f", "F:somebody", "PX", 60000)
    with pytest.raises(Overloaded) as caught:
        cache.get_or_set("k", Counting("value"))
    assert caught.value.retry_after
    assert cache.stats().overloaded == 1


def test_who_waits_too_long_for_a_load_here_is_told(hf: Holdfast):
    cache, gate = hf.cache("users", ttl="1h", wait="100ms"), Gate("value")
    with Crowd() as crowd:
        leader = crowd.start(lambda: cache.get_or_set("k", gate))
        assert gate.reading.wait(20)
        with pytest.raises(Overloaded):
            cache.get_or_set("k", Counting("no"))
        gate.go.fire()
        assert leader.result() == "value"


def test_max_loads(hf: Holdfast):
    cache = hf.cache("users", ttl="1h", max_loads=2, wait="200ms")
    gates = [Gate(n) for n in range(2)]
    with Crowd() as crowd:
        jobs = [crowd.start(lambda gate=gate: cache.get_or_set(gate.value, gate)) for gate in gates]
        for gate in gates:
            assert gate.reading.wait(20)
        refused = Counting("no")
        with pytest.raises(Overloaded, match="max_loads"):
            cache.get_or_set("third", refused)
        assert refused.calls == 0
        for gate in gates:
            gate.go.fire()
        assert [job.result() for job in jobs] == [0, 1]
        assert cache.get_or_set("third", Counting("now")) == "now"


def test_an_error_is_shared_with_who_came_before_it(hf: Holdfast):
    cache, gate = hf.cache("users", ttl="1h"), Gate(LookupError("gone"))
    with Crowd() as crowd:
        leader = crowd.start(lambda: cache.get_or_set("k", gate))
        assert gate.reading.wait(20)
        late = crowd.start(lambda: cache.get_or_set("k", Counting("fine")))
        crowd.settle()
        gate.go.fire()
        with pytest.raises(LookupError):
            leader.result()
        assert late.result() == "fine"


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
def test_a_lost_reply(hf: Holdfast, faults, namespace: str, script: Any, call: str, found: Any):
    """Found with fill.lua not looking for its own stamp: a stored fill was counted as refused."""
    table = Table()
    with Holdfast(faults.url, namespace=namespace) as client:
        through = client.cache("users", ttl="1h", lease="60s", source=table, write="through")
        cache = client.cache("plain", ttl="1h", lease="60s") if call == "set" else through
        cache.get_or_set("k", Counting(1))
        if call in ("get_or_set", "fail"):
            cache.invalidate("k")
        faults.drop_replies(match=script.digest.encode() if script else b"UNLINK")
        if call == "get_or_set":
            assert cache.get_or_set("k", Counting(1)) == 1
        elif call == "fail":
            with pytest.raises(OSError):
                cache.get_or_set("k", Counting(OSError()))
        elif call == "set":
            assert cache.set("k", 2) is True
        elif call == "put":
            cache.put("k", 3)
        else:
            assert getattr(cache, call)("k") in (True, None)
        assert not faults.heal()
        reader = hf.cache(cache.name, ttl="1h", wait="5s")
        assert reader.get("k") == found
        assert cache.stats().refused_fills == 0
        assert cache.stats().undelivered == 0
        loader = Counting("next")
        expected = "next" if found is MISSING else found
        assert reader.get_or_set("k", loader) == expected  # at once: no lease was left behind


def test_script_flush(hf: Holdfast):
    cache = hf.cache("users", ttl="1h")
    for value in range(3):
        hf.execute("SCRIPT", "FLUSH")
        assert cache.set("k", value)
        hf.execute("SCRIPT", "FLUSH")
        cache.expire("k")
        hf.execute("SCRIPT", "FLUSH")
        assert cache.get_or_set("k", Counting(value + 10)) == value + 10
        assert cache.get("k") == value + 10


def test_a_server_that_comes_back_empty_during_a_load(own_server):
    with Holdfast(own_server.url) as client:
        cache, gate = client.cache("users", ttl="1h"), Gate("before")
        with Crowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert gate.reading.wait(20)
            own_server.restart(empty=True)
            gate.go.fire()
            assert job.result() == "before"
        assert cache.get("k") is MISSING  # the lease was gone, so nothing was stored
        assert cache.get_or_set("k", Counting("after")) == "after"
        assert cache.get("k") == "after"


# --- Redis away ---------------------------------------------------------------------------------------------


def test_away_and_back(own_server):
    with Holdfast(own_server.url, timeout="300ms") as client:
        watcher = Observer()
        client.observers.add(watcher)
        table = Table()
        cache = client.cache("users", ttl="1h")
        through = client.cache("prices", ttl="1h", source=table, write="through")
        cache.set("k", "stored")
        own_server.kill()
        assert cache.get("k", "default") == "default"
        assert cache.peek("k") is MISSING
        gate = Gate("loaded")
        with Crowd() as crowd:
            jobs = [crowd.start(lambda: cache.get_or_set("k", gate)) for _ in range(20)]
            assert gate.reading.wait(20)
            until(lambda: cache.stats().bypassed >= 21, crowd)
            gate.go.fire()
            assert {job.result() for job in jobs} == {"loaded"}
        assert gate.most == 1  # one load of a key at a time; found without the flight
        assert cache.set("k", "lost") is False
        through.put(1, "written")
        assert through.get(1) == "written"
        through.remove(1)
        assert table.rows == {}
        assert cache.invalidate("second") is False
        assert cache.expire("third") is False
        assert cache.stats().undelivered == 3
        assert cache.stats().bypassed >= 21
        own_server.restart()
        with Crowd() as crowd:
            until(lambda: cache.stats().undelivered == through.stats().undelivered == 0, crowd)
        loader = Counting("fresh")
        for _ in range(50):
            assert cache.get_or_set("k", loader) == "fresh"
            if cache.get("k") == "fresh":
                break
            crowd.settle()
        assert cache.get("k") == "fresh"
        names = watcher.names()
        for name in ("BreakerChanged", "InvalidationKept", "InvalidationDelivered"):
            assert name in names


def test_an_undelivered_invalidation_is_not_served(
    hf: Holdfast, faults, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """Found without the dirty keys: once Redis answered again, "old" was served before its removal."""
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as client:
        kept: list[Any] = []
        monkeypatch.setattr(client._hub, "deliver", lambda *delivery: kept.append(delivery))  # a slow hub
        cache, other = client.cache("users", ttl="1h"), hf.cache("users", ttl="1h")
        table = Table()
        through = client.cache("prices", ttl="1h", source=table, write="through")
        cache.set("k", "old")
        through.put(1, "old")
        faults.refuse()
        faults.cut()
        assert cache.invalidate("k") is False
        through.put(1, "new")
        assert table.rows == {1: "new"}
        assert other.get("k") == "old"  # as promised: other processes may still see it
        faults.accept()
        with Crowd() as crowd:
            while other.get("elsewhere") is MISSING:
                cache.get_or_set("elsewhere", Counting(1))
                crowd.settle()
        assert cache.get("elsewhere") == 1  # Redis is back
        assert cache.get("k") is MISSING
        assert cache.peek("k") is MISSING
        assert through.get(1) == "new"
        assert cache.get_or_set("k", Counting("new")) == "new"
        assert cache.set("k", "x") is False
        assert other.get("k") == "old"
        assert cache.stats().undelivered == 1
        for _, command, done in kept:
            hf.execute(*command)
            done()
        assert cache.get_or_set("k", Counting("newer")) == "newer"
        assert cache.get("k") == other.get("k") == "newer"
        assert cache.stats().undelivered == 0


def test_the_breaker_spares_the_timeout(faults, namespace: str):
    """Found without it: all 60 calls asked, each for its whole timeout."""
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as client:
        cache = client.cache("users", ttl="1h")
        cache.get("k")
        faults.swallow_replies()
        faults.reset_counts()
        for _ in range(60):
            assert cache.get_or_set("k", Counting(1)) == 1
            assert cache.get("k") is MISSING
        assert len(faults.commands("MGET")) < 20
        faults.heal()


def test_a_load_that_outlives_the_outage_stores_nothing_stale(
    hf: Holdfast, faults, namespace: str
):
    """A load under way, an invalidation that does not arrive, then Redis is back before the load ends.

    Found with both of its guards removed, the lease in fill.lua and the dirty keys: "old" was stored.
    """
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as client:
        cache, gate = client.cache("users", ttl="1h"), Gate("old")
        with Crowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert gate.reading.wait(20)
            faults.refuse()
            faults.cut()
            assert cache.invalidate("k") is False
            faults.accept()
            gate.go.fire()
            assert job.result() == "old"
            until(lambda: cache.stats().undelivered == 0, crowd)
        assert hf.cache("users", ttl="1h").get("k") is MISSING


# --- a server that refuses ----------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_out_of_memory(own_server):
    """Lookups go on; what cannot be stored is not, and the older value goes all the same."""
    with Holdfast(own_server.url) as client:
        table = Table()
        cache = client.cache("users", ttl="1h")
        through = client.cache("prices", ttl="1h", source=table, write="through")
        cache.set("k", "old")
        cache.set("e", "old")
        through.put(1, "old")
        client.execute("CONFIG", "SET", "maxmemory", "1")
        assert cache.get("k") == "old"
        assert cache.get_or_set("new", Counting("loaded")) == "loaded"
        assert cache.stats().refused == {"out_of_memory": 1}
        assert cache.expire("e") is True
        assert cache.get("e") is MISSING
        assert cache.set("k", "new") is False
        through.put(1, "new")
        with Crowd() as crowd:
            until(lambda: cache.stats().undelivered == through.stats().undelivered == 0, crowd)
        assert cache.get("k") is MISSING
        assert through.get(1) == "new" == table.rows[1]
        client.execute("CONFIG", "SET", "maxmemory", "0")
        assert cache.get_or_set("new", Counting("loaded")) == "loaded"
        assert cache.get("new") == "loaded"


def test_a_fill_refused_for_lack_of_memory(own_server):
    """The lease was granted while there was room."""
    with Holdfast(own_server.url) as client:
        cache, gate = client.cache("users", ttl="1h", lease="60s", wait="5s"), Gate("loaded")
        with Crowd() as crowd:
            job = crowd.start(lambda: cache.get_or_set("k", gate))
            assert gate.reading.wait(20)
            client.execute("CONFIG", "SET", "maxmemory", "1")
            gate.go.fire()
            assert job.result() == "loaded"
        assert cache.stats().refused == {"out_of_memory": 1}
        client.execute("CONFIG", "SET", "maxmemory", "0")
        assert (
            cache.get_or_set("k", Counting("again")) == "again"
        )  # at once: the lease was given back


@pytest.mark.everywhere
def test_read_only(own_server):
    with Holdfast(own_server.url) as client:
        cache = client.cache("users", ttl="1h")
        cache.set("k", "old")
        client.execute("REPLICAOF", "127.0.0.1", "1")
        client.execute("CONFIG", "SET", "replica-serve-stale-data", "yes")
        assert cache.get("k") == "old"
        assert cache.get_or_set("new", Counting("loaded")) == "loaded"
        assert cache.stats().refused == {"read_only": 1}
        assert cache.set("k", "new") is False
        assert cache.invalidate("k") is False
        assert cache.get("k") is MISSING  # not served here until it is delivered
        client.execute("REPLICAOF", "NO", "ONE")
        with Crowd() as crowd:
            until(lambda: cache.stats().undelivered == 0, crowd)
        assert cache.get_or_set("k", Counting("fresh")) == "fresh"
