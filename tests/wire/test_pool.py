"""The threads' pool: a socket per busy thread, fork-safe, and never a late reply for the next question."""

import os
import threading
from contextlib import contextmanager
from time import monotonic

import pytest

from holdfast._wire.endpoint import Endpoint
from holdfast._wire.pool import Pool
from holdfast._wire.transport import WireFailure
from holdfast._wire.url import parse


@contextmanager
def opened(url, max_connections=8):
    """A pool on the server at `url`."""
    pool = Pool(
        Endpoint(url, parse(url)),
        connect_timeout=2.0,
        max_connections=max_connections,
        notify=lambda signal: None,
    )
    try:
        yield pool
    finally:
        pool.close()


def soon(seconds=5.0):
    """A deadline."""
    return monotonic() + seconds


def test_threads_get_their_own_replies(faults):
    """Eight threads, at most eight sockets."""
    with opened(faults.url) as pool:
        wrong = []

        def ask(thread):
            for n in range(200):
                text = f"{thread}:{n}".encode()
                if pool.execute(("ECHO", text), soon()) != text:
                    wrong.append(text)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        assert wrong == []
        assert 1 <= faults.connections <= 8


def test_one_thread_uses_one_socket(faults):
    """The warm one, again and again."""
    with opened(faults.url) as pool:
        for n in range(50):
            assert pool.execute(("ECHO", n), soon()) == b"%d" % n

        assert faults.connections == 1


def test_a_late_reply_never_answers_the_next_question(faults):
    """A socket on which a deadline passed is dropped. Found: reusing it gave "late" for "next"."""
    with opened(faults.url) as pool:
        pool.execute(("PING",), soon())
        faults.delay(0.2)
        with pytest.raises(WireFailure) as caught:
            pool.execute(("ECHO", "late"), soon(0.05))
        assert caught.value.sent
        faults.delay(0)

        assert pool.execute(("ECHO", "next"), soon()) == b"next"


def test_the_cap_is_waited_for_within_the_deadline(server):
    """The thread too many gets the connection that comes back first, or a clear error."""
    with opened(server.url, max_connections=1) as pool:
        with pool.conversation(soon()), pytest.raises(WireFailure, match="max_connections") as caught:
            pool.execute(("PING",), soon(0.05))
        assert not caught.value.sent

        replies = []
        with pool.conversation(soon()):
            waiting = threading.Thread(target=lambda: replies.append(pool.execute(("PING",), soon())))
            waiting.start()
        waiting.join(5)

        assert replies == [b"PONG"]


def test_the_child_of_a_fork_starts_afresh(faults):
    """Parent and child talk at once and both get their own replies. Found: sharing sockets mixed them up."""
    with opened(faults.url) as pool:
        pool.execute(("PING",), soon())
        child = os.fork()
        if child == 0:
            good = all(pool.execute(("ECHO", f"child{n}"), soon()) == b"child%d" % n for n in range(200))
            os._exit(0 if good else 1)
        good = all(pool.execute(("ECHO", f"parent{n}"), soon()) == b"parent%d" % n for n in range(200))
        _, status = os.waitpid(child, 0)

        assert good
        assert os.waitstatus_to_exitcode(status) == 0
        assert faults.connections == 2


def test_a_fork_while_other_threads_are_at_it(server):
    """Locks that other threads held at the moment of the fork do not hang the child."""
    with opened(server.url) as pool:
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                pool.execute(("PING",), soon())

        threads = [threading.Thread(target=busy) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                child = os.fork()
                if child == 0:
                    os._exit(0 if pool.execute(("PING",), soon(3)) == b"PONG" else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join(5)


def test_a_restarted_server_costs_a_reconnect_only(own_server):
    """A rested socket is looked at before use, so that "was it executed?" does not arise."""
    with opened(own_server.url) as pool:
        for n in range(3):
            assert pool.execute(("INCR", f"n{n}"), soon()) == 1
            own_server.restart(empty=True)


def test_big_values(server, namespace):
    """Larger than any buffer, both ways."""
    with opened(server.url) as pool:
        value = os.urandom(5_000_000)
        pool.execute(("SET", namespace, value), soon())

        assert pool.execute(("GET", namespace), soon()) == value


def test_a_question_given_up_in_a_conversation_spoils_nothing(faults):
    """Found: the pool went on with the shifted connection, and every later reply was somebody else's."""
    with opened(faults.url) as pool:
        for name in "abc":
            pool.execute(("SET", name, f"value of {name}"), soon())
        with pool.conversation(soon()) as conversation:
            faults.delay(0.2)
            with pytest.raises(WireFailure):
                conversation.execute(("GET", "a"), soon(0.05))
            faults.delay(0)
            with pytest.raises(WireFailure, match="owed"):
                conversation.execute(("GET", "b"), soon())

        assert [pool.execute(("GET", name), soon()) for name in "abc"] == [
            f"value of {n}".encode() for n in "abc"
        ]


def test_nobody_waits_in_vain_beside_a_healthy_server(server):
    """Connections go to who waits longest. Found: newcomers were quicker, and waiters ran into their
    deadline.
    """
    with opened(server.url, max_connections=2) as pool:
        failed = []

        def busy():
            for _ in range(150):
                try:
                    pool.execute(("PING",), soon(3))
                except WireFailure as failure:
                    failed.append(failure)

        threads = [threading.Thread(target=busy) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert failed == []


def test_a_write_that_nobody_reads_ends_at_the_deadline(own_server):
    """Found: each part of a large request had the whole time-out anew."""
    with opened(own_server.url) as pool:
        pool.execute(("PING",), soon())
        own_server.freeze()
        begun = monotonic()
        with pytest.raises(WireFailure):
            pool.execute(("SET", "big", b"x" * 30_000_000), soon(0.3))
        own_server.resume()

        assert monotonic() - begun < 3  # the deadline is the promise
