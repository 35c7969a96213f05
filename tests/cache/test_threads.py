"""What only threads and processes can do to a cache: interrupts, forks, kills, and real races."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from typing import Any

import pytest

from holdfast import MISSING, ConfigurationError, Holdfast
from tests.cache.crowd import Crowd
from tests.cache.test_cache_sync import Counting
from tests.cache.test_faults_sync import Gate


def test_an_interrupt_in_a_loader_is_nobody_elses(hf: Holdfast, namespace: str):
    """Found with the flight's decisive step left standing: the follower was handed None."""
    cache = hf.cache("users", ttl="1h", lease="60s", wait="10s")
    hf.execute("SET", f"{namespace}:1:cache:users:{{k}}:f", "F:somebody", "PX", 400)

    def loader() -> Any:
        raise KeyboardInterrupt

    with Crowd() as crowd:
        leader = crowd.start(lambda: cache.get_or_set("k", loader))
        while cache.stats().waits == 0:
            time.sleep(0.001)
        follower = crowd.start(lambda: cache.get_or_set("k", Counting("value")))  # comes before the load
        with pytest.raises(KeyboardInterrupt):
            leader.result()
        assert follower.result() == "value"  # and the lease was given back: it lasts for 60 s


def test_functions_of_the_wrong_kind(hf: Holdfast):
    cache: Any = hf.cache("users", ttl="1h")

    async def function() -> int:
        return 1

    with pytest.raises(ConfigurationError, match="`def`"):
        cache.cached("k")(function)
    with pytest.raises(ConfigurationError, match="`def`"):
        cache.get_or_set("k", function)
    with pytest.raises(ConfigurationError, match="await"):
        cache.get_or_set("k", lambda: function())

    class Coroutines:
        async def load_many(self, keys):
            return {}

    with pytest.raises(ConfigurationError, match="`def`"):
        hf.cache("prices", ttl="1h", source=Coroutines())  # type: ignore[arg-type]


def test_races_of_loads_against_invalidations(hf: Holdfast, server, namespace: str):
    """Four readers and a writer: a read that starts after `invalidate` returned sees nothing older.

    Found with fill.lua storing unconditionally: stale reads.
    """
    rows = dict.fromkeys("abc", 0)
    floor = dict.fromkeys("abc", 0)
    stale: list[tuple[str, int, int]] = []
    stop = threading.Event()
    with Holdfast(server.url, namespace=namespace) as second, Crowd() as crowd:
        caches = [client.cache("rows", ttl="1h") for client in (hf, second)]

        def load(key: str) -> int:
            value = rows[key]
            time.sleep(random.random() * 0.002)
            return value

        def read(cache: Any) -> None:
            while not stop.is_set():
                key = random.choice("abc")
                least = floor[key]
                value = cache.get_or_set(key, lambda: load(key))
                if value < least:
                    stale.append((key, least, value))

        for cache in caches * 2:
            crowd.start(lambda cache=cache: read(cache))
        try:
            for round in range(400):
                key = random.choice("abc")
                rows[key] += 1
                assert caches[round % 2].invalidate(key)
                floor[key] = rows[key]
                time.sleep(random.random() * 0.002)
        finally:
            stop.set()
    assert stale == []
    assert sum(cache.stats().refused_fills for cache in caches) > 0  # the guard had work to do
    assert sum(cache.stats().l2_hits for cache in caches) > 0


# --- processes ----------------------------------------------------------------------------------------------

spawn = multiprocessing.get_context("spawn")


def _stampede(url: str, namespace: str, start: Any, results: Any) -> None:
    with Holdfast(url, namespace=namespace) as client, Crowd() as crowd:
        cache = client.cache("users", ttl="1h")
        cache.get("warm")
        start.wait(30)

        def load() -> int:
            client.execute("INCR", client.key("loads"))
            time.sleep(0.2)
            return os.getpid()

        results.put(crowd.all(50, lambda: cache.get_or_set("cold", load)))


def test_one_load_for_four_processes_of_fifty(hf: Holdfast, server, namespace: str):
    start, results = spawn.Barrier(4), spawn.Queue()
    arguments = (server.url, namespace, start, results)
    processes = [spawn.Process(target=_stampede, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    values = [value for _ in processes for value in results.get(timeout=40)]
    for process in processes:
        process.join(20)
    assert len(values) == 200 and len(set(values)) == 1
    assert hf.execute("GET", hf.key("loads")) == b"1"


def _load_for_ever(url: str, namespace: str) -> None:
    with Holdfast(url, namespace=namespace) as client:

        def load() -> int:
            client.execute("SET", client.key("loading"), 1)
            time.sleep(60)
            return 0

        client.cache("users", ttl="1h", lease="1s").get_or_set("k", load)


def test_a_killed_loader_is_replaced_when_its_lease_ends(hf: Holdfast, server, namespace: str):
    process = spawn.Process(target=_load_for_ever, args=(server.url, namespace))
    process.start()
    try:
        while not hf.execute("EXISTS", hf.key("loading")):
            time.sleep(0.01)
    finally:
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
    cache = hf.cache("users", ttl="1h", lease="1s")
    assert cache.get_or_set("k", Counting("value")) == "value"
    assert cache.stats().waits == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_load(hf: Holdfast):
    """Found without after_fork(): the child waited for a flight whose thread it does not have."""
    cache, gate = hf.cache("users", ttl="1h", max_loads=1, wait="5s"), Gate("parent")
    with Crowd() as crowd:
        job = crowd.start(lambda: cache.get_or_set("k", gate))
        assert gate.reading.wait(20)
        hf.execute("UNLINK", *(key for key in hf.execute("KEYS", "*:cache:users:*") if b"{k}" in key))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writer, str(cache.get_or_set("k", lambda: "child")).encode())
            finally:
                os._exit(0)
        os.close(writer)
        assert os.read(reader, 100) == b"child"
        os.close(reader)
        os.waitpid(child, 0)
        gate.go.fire()
        assert job.result() == "parent"
    assert cache.get("k") == "child"
    assert cache.get("other") is MISSING
