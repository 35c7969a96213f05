"""Answers that only the wrong server gives: the sentinels are asked again, and the request is repeated."""

import time
from concurrent.futures import ThreadPoolExecutor as Pool
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from holdfast.errors import ReadOnly, Refused, Unavailable

from .lab import KINDS, PATIENCE, Client, clients, make_lab, timed, together, until

SHORT = 1.0


@contextmanager
def without_replicas(lab):
    """The primary lacks replicas: NOREPLICAS."""
    lab.primary.ask("CONFIG", "SET", "min-replicas-to-write", 5)
    try:
        yield
    finally:
        lab.primary.ask("CONFIG", "SET", "min-replicas-to-write", 0)


@contextmanager
def demoted(lab):
    """The primary is a replica of somebody, and the sentinels do not know it: READONLY."""
    primary = lab.primary
    with asleep(lab):
        primary.ask("REPLICAOF", "127.0.0.1", 1)
        try:
            yield
        finally:
            primary.ask("REPLICAOF", "NO", "ONE")


@contextmanager
def masterless(lab):
    """The same, and it does not show what it has: MASTERDOWN, for reads too."""
    primary = lab.primary
    with asleep(lab):
        primary.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
        primary.ask("REPLICAOF", "127.0.0.1", 1)
        try:
            yield
        finally:
            primary.ask("REPLICAOF", "NO", "ONE")
            primary.ask("CONFIG", "SET", "replica-serve-stale-data", "yes")


@contextmanager
def asleep(lab):
    """The sentinels are frozen, or they would put things right."""
    for node in lab.sentinels:
        node.freeze()
    try:
        yield
    finally:
        for node in lab.sentinels:
            node.resume()


def asked(lab):
    """How many have connected to the sentinels; each survey does, those who only listen do not."""
    return sum(int(node.info("stats")["total_connections_received"]) for node in lab.sentinels)


@pytest.mark.parametrize(
    ("trouble", "error", "command"),
    [
        (without_replicas, ReadOnly, "INCR"),
        (demoted, ReadOnly, "INCR"),
        (masterless, Unavailable, "GET"),
    ],
)
def test_it_is_repeated_until_the_deadline_and_what_is_mended_in_time_nobody_hears_of(
    lab, trouble, error, command
):
    """Also what must run once: the server said that it did not run it, and then it runs once."""
    with clients(lab.url) as some, Pool(len(some)) as pool:
        for one in some:
            one.execute("SET", f"n:{one.name}", 0)
        with trouble(lab):
            for said, took in together(*(partial(timed, partial(ask, one, command, SHORT)) for one in some)):
                assert type(said) is error, said
                assert SHORT / 2 < took < SHORT * 2
            waiting = [pool.submit(ask, one, command) for one in some]
            time.sleep(SHORT / 2)
            assert not any(one.done() for one in waiting)
        assert {int(one.result()) for one in waiting} == {1 if command == "INCR" else 0}


def ask(client, command="INCR", timeout=None):
    """INCR is never repeated without need."""
    return client.execute(command, f"n:{client.name}", timeout=timeout)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_the_sentinels_are_asked_again(lab, kind):
    """Again and again while it lasts."""
    with Client(lab.url, *kind) as one:
        one.execute("SET", f"n:{one.name}", 0)
        counts = []
        for command in ("GET", "INCR"):  # reads are answered by a primary that lacks replicas
            before = asked(lab)
            with without_replicas(lab), suppress(ReadOnly):
                ask(one, command, SHORT / 2)
            counts.append(asked(lab) - before)
        assert counts[1] >= counts[0] + 2 * len(lab.sentinels)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_who_waits_in_a_blocking_command_is_told_of_the_demotion(lab, kind):
    """By the server (UNBLOCKED), not by the end of its own time."""
    with Client(lab.url, *kind) as one, Pool(1) as pool:
        popping = pool.submit(timed, lambda: one.execute("BLPOP", "nothing", PATIENCE))
        until(lambda: int(lab.primary.info("clients")["blocked_clients"]) == 1)
        with demoted(lab):
            said, took = popping.result()
        assert type(said) is Unavailable, said
        assert "no primary any more" in str(said)
        assert took < PATIENCE / 4


def test_a_primary_that_loads_its_data_is_waited_for():
    """It is a millisecond for each key."""
    slow = {"key-load-delay": "1000", "loading-process-events-interval-bytes": "1024"}
    with make_lab(down_after="60s", replicas=0, sentinels=1, config=slow) as lab, clients(lab.url) as some:
        primary = lab.primary
        primary.ask("EVAL", "for i = 1, 1000 do redis.call('SET', 'k' .. i, i) end", 0)
        primary.ask("SAVE")
        primary.kill()
        with Pool(1 + len(some)) as pool:
            coming = pool.submit(primary.restart)
            until(lambda: is_loading(primary))
            waiting = [pool.submit(ask, one) for one in some]
            until(coming.done)
            assert [one.result() for one in waiting] == [1] * len(some)


def is_loading(node):
    """Does it say LOADING?"""
    try:
        node.ask("GET", "a")
    except Unavailable:
        return False
    except Refused as error:
        return error.code == "LOADING"
    return False


@pytest.mark.parametrize(
    "message",
    ["READONLY seat map", "NOREPLICAS left", "LOADING truck is full", "MASTERDOWN too", "UNBLOCKED by hand"],
)
def test_a_script_that_answers_in_such_words_is_not_run_twice(lab, message):
    """It has run. Only the server's own sentences say that nothing did."""
    text = f"-- x: y\n-- retry: never\nredis.call('INCR', KEYS[1]) return redis.error_reply('{message}')"
    with clients(lab.url) as some:
        for one in some:
            with pytest.raises(Refused) as said:
                one.wait(one.hf.script("x", text=text).run([f"ran:{message}:{one.name}"]))
            assert said.value.code == message.split()[0]
            assert lab.primary.ask("GET", f"ran:{message}:{one.name}") == "1"
