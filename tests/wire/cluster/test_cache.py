"""The cache on a Cluster: one load for the whole fleet, waiters woken on the node of their key, and
invalidations that arrive although their node did not.
"""

import threading
import time

import pytest

from holdfast import Holdfast
from holdfast._wire.cluster.slots import slot_of
from tests.wire.cluster.fleet import FLAVOURS, Fleet, until


def test_one_load_for_all(lab):
    """Whichever node the key is at; who waits is woken by the push, long before a poll."""
    loads, took = [], []

    def load():
        loads.append(1)
        time.sleep(0.3)
        loaded_at.append(time.monotonic())
        return "value"

    def read(client, key):
        assert client.cache("c", ttl="1m").get_or_set(key, load) == "value"
        took.append(time.monotonic())

    clients = [Holdfast(lab.url, timeout=10) for _ in range(3)]
    for n in range(4):
        loaded_at = []
        loads.clear()
        took.clear()
        readers = [
            threading.Thread(target=read, args=(client, f"k{n}")) for client in clients for _ in range(3)
        ]
        for one in readers:
            one.start()
        for one in readers:
            one.join(20)
        assert len(took) == 9
        assert loads == [1]
        assert max(took) - loaded_at[0] < 0.4
    for client in clients:
        client.close()


@pytest.mark.parametrize("flavour", ["threads"])
def test_an_invalidation_outlives_its_node(lab, flavour):
    """It is kept while nobody can take it, and delivered to whoever serves the key afterwards."""
    with Holdfast(lab.url, timeout=10) as reader, Fleet(lab.url, flavour, timeout="300ms") as fleet:
        cache = fleet.client.cache("c", ttl="1m")
        seen = reader.cache("c", ttl="1m")
        entry = cache._store.lookup("k")[0]
        victim = lab.primary_of(slot_of(entry))

        async def call(method, *args):
            result = method(*args)
            return result if flavour == "threads" else await result

        fleet.do(call(cache.set, "k", "old"))
        assert seen.get("k") == "old"
        until(lambda: victim.ask("WAIT", 1, 100) >= 1 or True)
        victim.freeze()
        assert fleet.do(call(cache.invalidate, "k")) is False
        assert fleet.client._hub.undelivered() == 1
        lab.await_failover(victim)
        until(lambda: fleet.client._hub.undelivered() == 0)
        assert seen.get("k", "nothing") == "nothing"
        victim.resume()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_who_closes_during_a_failover_still_delivers(lab, flavour):
    """What is kept follows its key to the new primary, also while the client is being closed."""
    with Holdfast(lab.url, timeout=10) as reader, Fleet(lab.url, flavour, timeout="300ms") as fleet:
        fleet.now("SET", "k", 1)
        victim = lab.primary_of("k")
        time.sleep(0.05)  # replicated
        victim.freeze()
        done = []
        fleet.client._hub.deliver("d", ("UNLINK", "k"), lambda: done.append(1))
        begun = time.monotonic()
        assert fleet.client._hub.close(20) == []
        assert time.monotonic() - begun < 10
        assert done == [1]
        assert reader.execute("EXISTS", "k") == 0
        victim.resume()
