# Generated from test_behind_writers_async.py by tools/unasync.py. Do not edit.
"""One writer per partition, its fence, the server it stands on, and replies that are lost.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, UnsafeServer
from holdfast._compat import sleep
from holdfast.cache.behind import rules
from holdfast.cache.behind.rules import NOTHING
from holdfast.testing import FaultProxy
from tests.cache.behind.test_behind_sync import Prices, crew_of, lease_of, until
from tests.cache.behind.world import LONG, Watcher, envelope

# --- one writer, and its fence ------------------------------------------------------------------------------


def test_who_comes_second_writes_nothing_until_the_first_leaves(hf: Holdfast):
    """Found with release.lua pushing nothing: the second waited for the end of the lease."""
    with Prices(hf, delay=0, lease="10m") as prices:
        prices.put("a", 1)
        prices.behind.flush()
        until(lambda: all(post.hold for post in crew_of(prices.behind)._posts))
        other = prices.another(hf)
        other.put("a", "a", envelope(2), LONG)
        other.flush()
        assert all(not post.hold for post in crew_of(other)._posts)
        first = prices.memory.fences["prices:" + str(prices.behind._layout.of("a").number)][-1]
        prices.behind.close(1.0)
        until(lambda: all(post.hold for post in crew_of(other)._posts))  # woken, not after the lease
        other.put("a", "a", envelope(3), LONG)
        other.flush()
        fences = prices.memory.fences["prices:" + str(prices.behind._layout.of("a").number)]
        assert fences[-1] > first and fences == sorted(fences) and prices.memory.rows == {"a": 3}
        other.close(0)


def test_a_writer_whose_lease_was_taken_writes_no_more(hf: Holdfast):
    """Found with take.lua not looking at the lease: 2 was saved."""
    with Prices(hf, delay=0) as prices:
        prices.put("a", 1)
        prices.behind.flush()
        sleep(0.2)  # so that the crew does not look by chance
        lease = lease_of(prices, "a")
        hf.execute("SET", lease, "ab:1", "PX", LONG)
        prices.put("a", 2)
        sleep(0.3)
        assert prices.memory.rows == {"a": 1}
        hf.execute("DEL", lease)
        hf.execute("SPUBLISH", lease, "free")
        prices.behind.flush()
        assert prices.memory.rows == {"a": 2}


def test_a_writer_that_lost_its_lease_in_the_source_acknowledges_nothing(hf: Holdfast):
    """Found with ack.lua not looking at the lease: nothing waited any more."""
    with Prices(hf, delay=0, lease="600ms") as prices:
        prices.memory.go.clear()
        prices.put("a", 1)
        sleep(0.1)  # it hangs in the source
        lease = lease_of(prices, "a")
        hf.execute("SET", lease, "ab:1", "PX", LONG)
        prices.memory.go.set()
        until(lambda: prices.memory.rows)
        sleep(0.1)
        assert prices.pending("a") == 1
        hf.execute("DEL", lease)
        prices.behind.flush()
        assert prices.memory.saved == ["a", "a"]  # the same once more, which does no harm


def test_nobody_of_this_process_writes_beside_a_writer_that_hangs_without_a_lease(hf: Holdfast):
    """Found with a crew that takes the free lease at once: two calls were in the source."""
    with Prices(hf, delay=0, lease="300ms", partitions=1) as prices:
        prices.memory.go.clear()
        prices.put("a", 1)
        until(lambda: prices.table.inside)
        lease = lease_of(prices, "a")
        hf.execute("SET", lease, "ab:1", "PX", LONG)
        sleep(0.2)  # the crew has seen it
        hf.execute("DEL", lease)
        hf.execute("SPUBLISH", lease, "free")
        sleep(0.3)
        prices.memory.go.set()
        prices.behind.flush()
        assert prices.memory.rows == {"a": 1} and prices.table.most == 1


def test_a_writer_that_hangs_in_the_source_keeps_its_lease(hf: Holdfast):
    with Prices(hf, delay=0, lease="300ms") as prices:
        prices.memory.go.clear()
        prices.put("a", 1)
        sleep(0.1)
        lease = lease_of(prices, "a")
        held = hf.execute("GET", lease)
        sleep(0.6)
        assert held and hf.execute("GET", lease) == held


def test_the_fence_grows_after_a_failure_and_after_flushall(own_server, namespace: str):
    """A late effect of the call that failed must not pass; found with claim.lua counting from 1 again."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        with Prices(hf, delay=0, partitions=1, retry=("1ms", "2ms"), lease="300ms") as prices:
            prices.put("a", 1)
            prices.behind.flush()
            (first,) = prices.memory.fences["prices:0"]
            answers = [ConnectionError("lost")]
            prices.memory.refuse = lambda keys: answers.pop() if answers else None
            prices.put("a", 2)
            prices.behind.flush()
            _, second, third = prices.memory.fences["prices:0"]
            assert first == second < third
            hf.execute("FLUSHALL")
            prices.put("a", 3)
            until(lambda: prices.memory.rows == {"a": 3})
            assert prices.memory.fences["prices:0"][-1] > third


# --- the server ---------------------------------------------------------------------------------------------


def test_scripts_come_back_after_a_script_flush(hf: Holdfast):
    with Prices(hf, delay=0) as prices:
        for key in range(10):
            hf.execute("SCRIPT", "FLUSH")
            prices.put(key, key)
        hf.execute("SCRIPT", "FLUSH")
        prices.behind.flush()
        assert prices.memory.rows == {key: key for key in range(10)}


def test_other_partitions_are_refused(hf: Holdfast):
    with Prices(hf) as prices:
        prices.put("a", 1)
        other = prices.another(hf, partitions=4)
        for attempt in (
            lambda: other.put("a", "a", envelope(1), LONG),
            lambda: other.pending("a"),
            lambda: other.flush(),
        ):
            with pytest.raises(ConfigurationError, match="partitions=4.*partitions=8"):
                attempt()


def test_a_server_that_evicts_is_refused_and_one_without_aof_warned_of(own_server, namespace: str):
    with Holdfast(own_server.url, namespace=namespace) as hf:
        watcher = Watcher()
        hf.observers.add(watcher)
        hf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with Prices(hf) as prices:
            with pytest.raises(UnsafeServer, match="allkeys-lru"):
                prices.put("a", 1)
            assert prices.pending("a") is NOTHING
            careless = prices.another(hf, accept_loss=True)
            careless.put("a", "a", envelope(1), LONG)
            hf.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
            prices.put("b", 1)
            careless.close(0)
        warnings = [one for one in watcher.named("ServerWarning") if one.setting == "appendonly"]
        assert len(warnings) == 2 and "snapshot" in warnings[0].consequence


# --- lost replies -------------------------------------------------------------------------------------------

SCRIPTS = [rules.PUT, rules.TAKE, rules.ACK, rules.CLAIM, rules.HASTEN]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_lost_reply_changes_nothing(server, faults: FaultProxy, namespace: str, script: Any):
    with Holdfast(faults.url, namespace=namespace) as hf:
        with Prices(hf, delay=0, partitions=1) as prices:
            prices.put("warm", 0)
            prices.behind.flush()
            for key in range(3):
                faults.drop_replies(2, match=script.digest.encode())
                prices.put(key, key)
                prices.put(key, -key)
                prices.behind.flush()
            assert prices.memory.rows == {"warm": 0, **{key: -key for key in range(3)}}
            assert (prices.behind.backlog()).entries == 0


def test_a_put_whose_reply_was_lost_does_not_overtake_a_later_one(
    server, faults: FaultProxy, namespace: str
):
    """Found without the ids in put.lua: the first was repeated, and stood above the second."""
    with (
        Holdfast(faults.url, namespace=namespace) as hf,
        Holdfast(server.url, namespace=namespace) as other,
        Prices(hf, delay="1h") as prices,
    ):
        second = prices.another(other)
        prices.put("a", 0)
        run = hf._wire.run

        def lose(*args: Any) -> Any:
            run(*args)  # executed; its reply is lost
            second.put("a", "a", envelope("second"), LONG)
            return run(*args)  # repeated

        prices.behind._wire = Losing(lose)  # type: ignore[assignment]
        prices.put("a", "first")
        assert second.pending("a") == "second"
        second.close(0)


class Losing:
    def __init__(self, run: Any) -> None:
        self.run = run


def test_a_failure_whose_reply_was_lost_is_counted_once(server, faults: FaultProxy, namespace: str):
    """Found without the id in fail.lua: the record was dead after two calls."""
    with Holdfast(faults.url, namespace=namespace) as hf:
        with Prices(hf, delay=0, partitions=1, retry=("1ms", "2ms"), attempts=4) as prices:
            prices.memory.refuse = lambda keys: ValueError("no")
            prices.put("warm", 0)  # so that the server knows the script, and executes what it is sent
            prices.behind.flush()
            prices.memory.calls.clear()
            faults.drop_replies(2, match=rules.FAIL.digest.encode())
            prices.put("bad", 1)
            prices.behind.flush()
            assert (prices.dead())["bad"].attempts == len(prices.memory.calls) == 4


def test_writers_do_not_outlive_a_client_that_was_forgotten(hf: Holdfast):
    prices = Prices(hf, delay=0)
    prices.put("a", 1)
    prices.behind.flush()
    crew = crew_of(prices.behind)
    del prices
    gc.collect()
    until(lambda: not crew.alive)
    assert not [one for one in threading.enumerate() if one.name.startswith("holdfast-behind-prices-")]
