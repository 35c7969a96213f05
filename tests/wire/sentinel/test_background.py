"""What goes on while nobody calls: wake-ups, kept commands, events; and what is left at the end."""

import asyncio
import gc
import logging
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor as Pool

import psutil
import pytest
from prometheus_client import CollectorRegistry

from holdfast import AsyncHoldfast
from holdfast._compat import Signal
from holdfast.observe import prometheus, structured_logs
from tests.wire.lab import child_status

from .lab import KINDS, PATIENCE, Client, clients, load, moved, until

# --- the hub -----------------------------------------------------------------


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_wake_ups_and_kept_commands_find_the_new_primary(own_lab, fault):
    """A freeze breaks no connection: waiting for that would be waiting for ever."""
    with clients(own_lab.url) as some:
        signals = [Signal() for _ in some]
        watches = [
            one.hf._hub.watch(f"news:{one.name}", woken) for one, woken in zip(some, signals, strict=True)
        ]
        assert all(woken.wait(PATIENCE) for woken in signals)  # confirmed
        old = own_lab.primary
        for woken in signals:
            woken.clear()
        getattr(old, fault)()
        done = {one.name: threading.Event() for one in some}
        for one in some:
            command = ("SET", f"kept:{one.name}", 1)
            one.hf._hub.deliver("a", command, done[one.name].set)
        took, new = moved(own_lab, old)
        begun = time.monotonic()
        assert all(one.wait(took) for one in done.values())
        assert all(new.ask("GET", f"kept:{one.name}") == "1" for one in some)
        assert all(woken.wait(took) for woken in signals)  # something may have been missed
        news = [f"news:{one.name}" for one in some]
        until(lambda: new.ask("PUBSUB", "SHARDNUMSUB", *news)[1::2] == [1] * len(news))
        assert time.monotonic() - begun < took / 2  # told of it; by itself it would have waited for an answer
        until(lambda: all(one.pushing for one in watches))
        time.sleep(0.1)  # the confirmation fires too
        for one, woken in zip(some, signals, strict=True):
            woken.clear()
            new.ask("SPUBLISH", f"news:{one.name}", "x")
            assert woken.wait(PATIENCE / 4), one.name
        for watch in watches:
            watch.close()


# --- events -----------------------------------------------------------------


def test_what_sentinels_say_is_seen_logged_and_counted(own_lab, caplog):
    """First a failover that succeeds, then one for which there is nobody left."""
    with Client(own_lab.url) as one:
        registry = CollectorRegistry()
        structured_logs(one.hf)
        prometheus(one.hf, registry=registry)
        one.execute("SET", "a", 1)
        old = own_lab.primary
        with caplog.at_level(logging.WARNING, "holdfast"):
            own_lab.failover()
            until(lambda: one.seen.named("PrimaryMoved"))
            new = own_lab.await_failover(old)
            for node in own_lab.nodes:
                node.kill()
            wanted = {"+switch-master", "+sdown", "+odown", "+try-failover", "-failover-abort-no-good-slave"}
            until(lambda: wanted <= {fields.get("channel") for fields in logged(caplog)})
        (move,) = one.seen.named("PrimaryMoved")
        places = (f"{old.host}:{old.port}", f"{new.host}:{new.port}")
        assert (move.old, move.new) == places
        events = one.seen.named("SentinelEvent")
        assert {event.sentinel for event in events} <= {
            f"{node.host}:{node.port}" for node in own_lab.sentinels
        }
        assert any(event.channel == "+odown" and event.instance == f"master {places[1]}" for event in events)
        assert {fields["event"] for fields in logged(caplog)} >= {"sentinel_event", "primary_moved"}
        lines = [record.getMessage() for record in caplog.records]
        assert any(line.startswith("primary moved") and places[1] in line for line in lines)
        assert any("-failover-abort-no-good-slave" in line for line in lines)
        until(lambda: counted(registry, "sentinel_event") >= len(events))
        assert counted(registry, "primary_moved") == 1


def logged(caplog):
    """The fields of every signal in the log."""
    return [record.holdfast for record in list(caplog.records) if hasattr(record, "holdfast")]


def counted(registry, name):
    """How many signals of this name Prometheus is told."""
    return registry.get_sample_value("holdfast_signals_total", {"type": name}) or 0


# --- several loops, several processes -----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_client_in_two_event_loops_moves_in_both(own_lab):
    async def work(hf, key, begun, after):
        while not after.is_set():
            await hf.execute("SET", "before", 1, retry="safe")
            begun.set()
            await asyncio.sleep(0.005)
        await hf.execute("INCR", key)

    some = [AsyncHoldfast(own_lab.url, transport=one, timeout=PATIENCE) for one in ("native", "redis-py")]
    keys = [f"moved:{number}" for number in range(4)]
    begun, after = {key: threading.Event() for key in keys}, threading.Event()
    with Pool(len(keys)) as pool:
        loops = [
            pool.submit(asyncio.run, work(hf, key, begun[key], after))
            for hf, key in zip(some * 2, keys, strict=True)
        ]
        assert all(one.wait(PATIENCE) for one in begun.values())
        old = own_lab.primary
        old.freeze()
        _, new = moved(own_lab, old)
        after.set()
        for one in loops:
            one.result(PATIENCE)
    assert [new.ask("GET", key) for key in keys] == ["1"] * len(keys)
    for hf in some:
        asyncio.run(hf.close(drain=0))
    del some, hf, loops
    gc.collect()  # the loops have ended without closing their connections: asyncio says so here, not later


def test_the_child_of_a_fork_listens_for_itself(own_lab):
    """The parent's threads are not there, and its connections are not the child's to break."""
    kinds = [("sync", "native"), ("sync", "redis-py")]
    with clients(own_lab.url, kinds) as some, load(some) as parents:
        until(lambda: all(len(one.safe) > 5 for one in parents))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
            child = os.fork()
        if not child:
            os._exit(follow(some))
        old = own_lab.primary
        until(lambda: old.ask("EXISTS", *(f"child:0:{one.name}" for one in some)) == len(some))
        own_lab.failover()
        assert child_status(child) == 0
        until(lambda: all(one.acked.get(1) for one in parents))
        assert old.ask("ROLE")[0] == "master"
        moved_keys = [f"child:1:{one.name}" for one in some]
        assert old.ask("EXISTS", *moved_keys) == 0
        new = own_lab.await_failover(old)
        assert new.ask("EXISTS", *moved_keys) == len(some)
        for one in parents:
            one.stop()
            one.check(new)


def follow(some):
    """Write before the move and after it; how the process ends."""
    try:
        for one in some:
            one.seen.all.clear()
            one.execute("SET", f"child:0:{one.name}", 1, retry="safe")
        for one in some:
            until(lambda one=one: one.seen.named("PrimaryMoved"))
            one.execute("SET", f"child:1:{one.name}", 1, retry="safe")
    except BaseException:
        return 1
    return 0


# --- the end -----------------------------------------------------------------


def threads():
    """The threads of clients."""
    names = ("holdfast-sentinel", "holdfast-survey", "holdfast-hub")
    return {one for one in threading.enumerate() if one.name.startswith(names)}


def sockets(lab):
    """The sockets of this process that lead to a node of `lab`, also those that are only hung up."""
    ports = {node.port for node in [*lab.nodes, *lab.sentinels]}
    return [one for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port in ports]


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("is_one_frozen", [False, True], ids=["", "a-sentinel-is-frozen"])
def test_a_client_that_was_closed_leaves_nothing(lab, kind, is_one_frozen):
    """Not even until a sentinel that is frozen would have answered."""
    long = 3 * PATIENCE
    if is_one_frozen:
        lab.sentinels[1].freeze()
    try:
        before = threads()
        with Client(lab.url, *kind, connect_timeout=long, timeout=long) as one:
            signal_ = Signal()
            one.execute("GET", "a")
            with one.hf._hub.watch("x", signal_):
                assert signal_.wait(PATIENCE)
            assert len(threads() - before) >= 3
            assert len(sockets(lab)) >= 4
            one.hf._place.doubt()  # a survey is under way
        until(lambda: threads() <= before, PATIENCE / 4, f"left over: {threads() - before}")
        until(lambda: not sockets(lab), PATIENCE / 4, "sockets are left over")
    finally:
        lab.sentinels[1].resume()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of redis-py's connections, which complain
def test_a_client_that_was_forgotten_leaves_nothing(lab, kind):
    before = threads()
    one = Client(lab.url, *kind)
    one.execute("GET", "a")
    assert threads() - before
    one.forget()
    until(lambda: gc.collect() >= 0 and threads() <= before, PATIENCE / 4, f"left: {threads() - before}")
    until(lambda: not sockets(lab), PATIENCE / 4, "sockets are left over")
