"""The fault proxy: each fault happens, is the fault it says, and ends."""

import threading
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from holdfast.embedded import start
from holdfast.testing import FaultProxy

LAG = 0.15


def client(url, timeout=5.0):
    return redis.Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=timeout, decode_responses=True
    )


@pytest.fixture
def through(faults):
    with client(faults.url) as one:
        one.ping()
        faults.reset_counts()
        yield one


@pytest.fixture
def key(namespace):
    return f"{namespace}:n"


def test_without_a_fault_everything_passes_also_what_is_large(through, key):
    value = "x" * 5_000_000
    through.set(key, value)
    assert through.get(key) == value
    through.delete(key)


def test_a_dropped_reply_means_the_command_was_executed_and_nobody_heard(through, faults, server, key):
    faults.drop_replies()
    with pytest.raises(redis.ConnectionError):
        through.incr(key)
    assert through.get(key) == "1"


def test_only_the_replies_to_matching_commands_are_dropped_as_often_as_asked(through, faults, key):
    faults.drop_replies(2, match=b"INCR")
    through.set(key, 0)
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            through.incr(key)
    assert through.incr(key) == 3


def test_swallowed_replies_leave_the_connection_open_and_silent(faults, key):
    with client(faults.url, timeout=LAG) as impatient:
        impatient.ping()
        faults.swallow_replies()
        with pytest.raises(redis.TimeoutError):
            impatient.incr(key)
        faults.heal()
        assert impatient.get(key) == "1"


def test_a_delay_adds_to_every_reply_but_not_up(through, faults, key):
    before = time.monotonic()
    through.get(key)
    alone = time.monotonic() - before
    faults.delay(LAG)
    before = time.monotonic()
    through.get(key)
    assert time.monotonic() - before >= LAG
    faults.heal()
    before = time.monotonic()
    through.get(key)
    assert time.monotonic() - before < LAG + alone


def test_delayed_replies_of_one_connection_travel_together(faults):
    """Ten requests a moment apart take one delay, not ten: the proxy is a long cable, not a slow one."""
    faults.delay(LAG)
    with client(faults.url) as one:
        connection = one.connection_pool.get_connection()
        before = time.monotonic()
        for _ in range(10):
            connection.send_command("PING")
            time.sleep(0.005)
        for _ in range(10):
            connection.read_response()
        assert time.monotonic() - before < 5 * LAG
        one.connection_pool.release(connection)


def test_cut_ends_connections_and_new_ones_are_welcome(through, faults):
    connection = through.connection_pool.get_connection()
    connection.send_command("BLPOP", "nothing", 5)
    faults.cut()
    with pytest.raises(redis.ConnectionError):
        connection.read_response()
    through.connection_pool.release(connection)
    assert through.ping()


def test_refused_connections_until_accept_while_those_that_stand_go_on(through, faults):
    faults.refuse()
    faults.refuse()
    assert through.ping()
    with client(faults.url) as other:
        with pytest.raises(redis.ConnectionError, match="refused"):
            other.ping()
        faults.accept()
        assert other.ping()
        faults.refuse()
        faults.heal()
        faults.cut()
        assert other.ping()


def test_what_falls_into_the_black_hole_arrives_when_it_heals(through, faults, server, key):
    faults.blackhole()
    heard = []
    thread = threading.Thread(target=lambda: heard.append(through.incr(key)))
    thread.start()
    time.sleep(LAG)
    with client(server.url) as direct:
        assert direct.get(key) is None
    assert not heard
    faults.heal()
    thread.join()
    assert heard == [1]


def test_replies_can_be_rewritten(through, faults, key):
    through.set(key, "true")
    faults.rewrite(lambda chunk: chunk.replace(b"true", b"lie!"))
    assert through.get(key) == "lie!"
    faults.rewrite(None)
    assert through.get(key) == "true"


def test_what_clients_sent_is_counted_and_recorded(through, faults, key):
    through.set(key, "a")
    with through.pipeline(transaction=False) as pipe:
        pipe.get(key).get(key)
        pipe.execute()
    assert faults.writes == 2
    assert faults.bytes > 20
    assert faults.connections == 0
    assert faults.commands() == [(b"SET", key.encode(), b"a"), *[(b"GET", key.encode())] * 2]
    assert faults.commands("set") == faults.commands()[:1]
    faults.reset_counts()
    assert (faults.writes, faults.commands()) == (0, [])


def test_a_server_that_only_has_a_socket_can_stand_behind_it_too(key):
    with start(password="p@ss") as behind, FaultProxy(behind) as faults, client(faults.url) as one:
        assert one.set(key, 1)
        behind.kill()
        with pytest.raises(redis.ConnectionError):
            one.get(key)
        behind.restart()
        assert one.get(key) is None


def test_closing_ends_its_threads(server):
    before = set(threading.enumerate())
    faults = FaultProxy(server)
    with client(faults.url) as one:
        one.ping()
        faults.blackhole()
        faults.close()
        with pytest.raises(redis.ConnectionError):
            one.ping()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
