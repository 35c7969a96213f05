"""What redis-py 8.1 does when Sentinel replaces a primary, beside Holdfast, on the same lab at the same time.

These are facts about another library, kept as tests so that the documentation may state them: a version of
redis-py in which one of them is no longer true fails here, and the sentence goes. Each is a relation to what
Holdfast did in the same run, never a time.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from holdfast import Holdfast
from holdfast._compat import Signal
from holdfast.testing.servers import start_lab

PATIENCE = 30.0
LONGER = 3  # times as long as Holdfast took is what redis-py gets


@pytest.fixture
def lab():
    """Nodes at their own ports: to a dead one, connections are refused."""
    with start_lab("sentinel", down_after="1500ms") as own:
        yield own


@pytest.fixture
def hf(lab):
    with Holdfast(lab.url, timeout=PATIENCE) as client:
        yield client


def until(what):
    """Wait until `what()` is true, and return what it said."""
    end = time.monotonic() + PATIENCE
    while not (said := what()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)
    return said


class End(Exception):
    """The test is over."""


class Patient(ExponentialWithJitterBackoff):
    """What is commonly advised, except that it ends with the test."""

    over = threading.Event()  # of the class: redis-py makes copies of what it is given

    def __init__(self):
        super().__init__(base=0.05, cap=0.5)

    def compute(self, failures):
        if self.over.is_set():
            raise End
        return super().compute(failures)


# Told not to wait for sentinels that do not answer.
QUICK = {"socket_timeout": 0.3, "retry": Retry(NoBackoff(), 0)}


@pytest.fixture
def redis_py(lab):
    """Makes clients of the primary, as redis-py documents it; `asking`: how the sentinels are asked."""
    with ExitStack() as stack:

        def make(asking=None, **settings):
            places = [(one.host, one.port) for one in lab.sentinels]
            asked = {"password": lab.sentinel_password, **(asking or {})}
            finder = Sentinel(places, sentinel_kwargs=asked, password=lab.password)
            for one in finder.sentinels:
                stack.callback(one.close)
            client = finder.master_for(lab.name, **settings)
            stack.callback(client.connection_pool.disconnect)
            return client

        yield make


@contextmanager
def daemon(work):
    """`work(over)` in a thread, until the test is over."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        Patient.over.set()
        thread.join(PATIENCE)


def ours_is_back(hf, begun):
    """Seconds after `begun` until Holdfast has written again, without an error."""
    hf.execute("SET", "ours", 1, retry="safe")
    return time.monotonic() - begun


def test_the_first_sentinel_is_frozen_and_all_is_well_otherwise(lab, redis_py):
    """Its clients of sentinels wait 5 s, ten times over, before they ask the next."""
    lab.sentinels[0].freeze()
    theirs = ThreadPoolExecutor(1)
    try:
        begun = time.monotonic()
        with Holdfast(lab.url, timeout=PATIENCE) as hf:
            hf.execute("SET", "ours", 1)
        took = time.monotonic() - begun
        stuck = theirs.submit(redis_py().set, "theirs", 1)
        time.sleep(10 * LONGER * took)
        assert not stuck.done()
        assert lab.primary.ask("EXISTS", "theirs") == 0
    finally:
        lab.sentinels[0].resume()
        theirs.shutdown()


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_a_retry_sticks_to_the_address_and_a_subscription_to_the_dead(lab, hf, redis_py, fault):
    """A command that is repeated inside redis-py connects to the address that it had; a subscription that is
    watched by health checks does so for ever. (redis-py#3874)
    """
    Patient.over.clear()
    settings = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": Retry(Patient(), 60)}
    stubborn = redis_py(QUICK, **settings)
    stubborn.set("theirs", 1)
    few = {**settings, "retry": Retry(Patient(), 3)}
    listening = redis_py(QUICK, health_check_interval=1, **few)
    subscription = listening.pubsub()
    subscription.subscribe("news")
    heard = []

    def listen(over):
        while not over.is_set():
            try:
                message = subscription.get_message(timeout=0.2)
            except (End, RedisError, OSError):
                over.wait(0.05)
                continue
            if message and message["type"] == "message":
                heard.append(message["data"])

    woken, written = Signal(), threading.Event()

    def write(over):
        try:
            while not over.is_set():
                stubborn.set("theirs", 2)
                if fell.is_set():
                    written.set()
        except (End, RedisError, OSError):
            pass

    fell = threading.Event()
    watch = hf._hub.watch("news", woken)
    with watch, daemon(listen), daemon(write):
        assert woken.wait(PATIENCE)
        old = lab.primary
        until(lambda: old.ask("PUBSUB", "NUMSUB", "news") == ["news", 1])
        begun = time.monotonic()
        getattr(old, fault)()
        fell.set()
        ours_is_back(hf, begun)
        new = lab.await_failover(old)
        until(lambda: new.ask("PUBSUB", "SHARDNUMSUB", "news") == ["news", 1] and watch.pushing)
        took = time.monotonic() - begun
        time.sleep((LONGER - 1) * took)
        woken.clear()
        assert new.ask("PUBLISH", "news", "x") == 0
        until(lambda: lab.primary.ask("SPUBLISH", "news", "x") == 1)
        assert woken.wait(PATIENCE)
        assert not heard
        if fault == "freeze":
            assert not written.is_set()


def test_a_zombie_takes_the_writes_of_who_stayed_connected_and_throws_them_away(lab, hf, redis_py):
    """It was frozen for a few seconds, as by a snapshot of its machine: shorter than redis-py's time-out."""
    theirs = redis_py()
    acked: dict[str, set[str]] = {"theirs": set(), "ours": set()}

    def writer(name, write):
        def work(over):
            number = 0
            while not over.is_set():
                number += 1
                try:
                    write(f"{name}:{number}")
                except (RedisError, OSError):
                    over.wait(0.01)
                else:
                    acked[name].add(f"{name}:{number}")
                over.wait(0.001)

        return daemon(work)

    with (
        writer("theirs", lambda key: theirs.set(key, 1)),
        writer("ours", lambda key: hf.execute("SET", key, 1, retry="safe")),
    ):
        until(lambda: all(len(one) > 50 for one in acked.values()))
        old = lab.primary
        old.freeze()
        new = lab.await_failover(old)
        before = {name: set(keys) for name, keys in acked.items()}
        until(lambda: len(acked["ours"] - before["ours"]) > 20)
        assert acked["theirs"] == before["theirs"]  # it waits
        old.resume()
        until(lambda: len(acked["theirs"] - before["theirs"]) > 20)
    # What the new primary does not have now it will never have: the old one becomes its copy.
    since = {name: keys - before[name] for name, keys in acked.items()}
    lost = {name: len(keys) - new.ask("EXISTS", *keys) for name, keys in since.items()}
    assert lost["ours"] == 0
    assert lost["theirs"] > 0
