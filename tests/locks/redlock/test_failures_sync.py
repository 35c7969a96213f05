# Generated from test_failures_async.py by tools/unasync.py. Do not edit.
"""What a Redlock promises when its servers die, freeze, are cut off, answer late, or come back empty.

The failures are those that were found in other libraries. Guards were removed by hand to see a test fail;
"found:" says what was seen then.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Self

import pytest

from holdfast import LockLost, NoQuorum, TooSlow
from holdfast._compat import sleep
from holdfast.testing import FaultProxy
from tests.cache.crowd import Crowd
from tests.locks.redlock.some import Over, left


class Proxies:
    """A fault proxy in front of every node."""

    def __init__(self, lab: Any) -> None:
        self._stack = ExitStack()
        self.all = [self._stack.enter_context(FaultProxy(node.url)) for node in lab.nodes]

    @property
    def urls(self) -> list[str]:
        """What to give a client."""
        return [one.url for one in self.all]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


# --- nodes that are away ------------------------------------------------------------------------------------


def test_a_dead_minority_changes_nothing(lab, namespace: str):
    """Elsewhere an error of one node was raised although the quorum had been reached, and the lock was kept
    by nobody.
    """
    with Over(lab, namespace) as lock:
        lab.nodes[1].kill()
        for _ in range(3):
            with lock as lease:
                lease.ensure()
                assert [place for place in (0, 2) if lab.nodes[place].ask("EXISTS", lock.key)] == [0, 2]
        assert [bool(one.error) for one in lock.inspect()] == [False, True, False]
        lab.nodes[1].restart()


def test_a_dead_majority_is_told_from_contention(lab, namespace: str):
    with Over(lab, namespace) as lock:
        for node in lab.nodes[:2]:
            node.kill()
        begun = time.monotonic()
        with pytest.raises(NoQuorum, match="1 granted, 2 unreachable.*a quorum is 2 of 3"):
            lock.acquire(wait="200ms")
        assert time.monotonic() - begun < 10
        with pytest.raises(NoQuorum):
            lock.try_acquire()
        assert lab.nodes[2].ask("EXISTS", lock.key) == 0
        with pytest.raises(NoQuorum, match="may still be held"):
            lock.force_release()
        for node in lab.nodes[:2]:
            node.restart()
        with lock:
            pass


def test_a_frozen_node_costs_less_than_its_timeout(lab, namespace: str):
    """found: without `decided`, each acquire and each release took 10 s."""
    with Over(lab, namespace, node_timeout="10s") as lock:
        with lock:
            pass
        lab.nodes[0].freeze()
        begun = time.monotonic()
        for _ in range(3):
            (lock.acquire()).release()
        assert time.monotonic() - begun < 10
        lab.nodes[0].resume()


def test_a_frozen_node_is_not_asked_more_and_more(lab, namespace: str):
    """found: without STUCK, 80 questions were under way, each with a connection, and a thread, of its own."""
    with Over(lab, namespace, node_timeout="10s") as lock:
        with lock:
            pass
        lab.nodes[0].freeze()
        for _ in range(40):
            (lock.acquire()).release()
        assert len(lock._nodes[0]._open) <= 9
        assert lock._clients[0]._wire.hub.undelivered() <= 50
        lab.nodes[0].resume()
        Crowd.until(lambda: len(lock._nodes[0]._open), 0)

        def granted_by() -> list[int]:
            with lock:
                sleep(0.05)  # a quorum was enough
                return left(lab, lock)

        Crowd.until(granted_by, [0, 1, 2])


def test_frozen_nodes_are_told_from_dead_ones(lab, namespace: str):
    with Over(lab, namespace, node_timeout="300ms") as lock:
        for node in lab.nodes[:2]:
            node.freeze()
        with pytest.raises(NoQuorum, match="2 too slow .*no answer within 300 ms"):
            lock.acquire(wait="50ms")
        for node in lab.nodes[:2]:
            node.resume()
        Crowd.until(lambda: left(lab, lock), [])  # what had waited in their sockets was undone


def test_what_a_node_granted_in_its_sleep_is_given_back(lab, namespace: str):
    """found: without the tombstone, or with a release only where a claim was answered, the key was on it for
    the whole ttl.
    """
    with Over(lab, namespace) as lock, Over(lab, namespace) as other:
        with lock:
            pass
        for _ in range(5):
            lab.nodes[0].freeze()
            lease = lock.acquire()
            lease.release()
            lab.nodes[0].resume()
            Crowd.until(lambda: all(one._wire.hub.undelivered() == 0 for one in lock._clients))
            sleep(0.02)  # if a claim is executed behind its release, it is now
            Crowd.until(lambda: left(lab, lock), [])
        sleep(0.05)
        assert left(lab, lock) == []
        theirs = other.try_acquire()
        assert theirs is not None
        theirs.release()


def test_a_late_grant_of_a_node_is_renewed_like_the_others(lab, namespace: str):
    """A node that answered after the decision is one more that may be ours: then another one may die."""
    with Over(lab, namespace, ttl="1200ms") as lock:
        with lock:
            pass
        lab.nodes[0].freeze()
        lease = lock.acquire()
        lab.nodes[0].resume()
        Crowd.until(lambda: lease._deadlines._of[0] > 0)
        lab.nodes[1].kill()
        sleep(2.5)
        lease.ensure()
        lab.nodes[1].restart()
        lease.release()


def test_cut_off_nodes_are_a_minority_or_not(lab, namespace: str):
    with Over(lab, namespace, node_timeout="300ms") as lock:
        lab.nodes[2].cut_off()
        with lock:
            pass
        lab.nodes[1].cut_off()
        with pytest.raises(NoQuorum):
            lock.acquire(wait="50ms")
        lab.nodes[1].heal()
        lab.nodes[2].heal()
        with lock:
            pass


# --- answers that are lost or late --------------------------------------------------------------------------


def test_a_lost_reply_of_a_minority_changes_nothing(lab, namespace: str):
    with Proxies(lab) as proxies:
        with Over(proxies.urls, namespace) as lock:
            with lock:
                pass
            proxies.all[0].drop_replies(match=b"EVALSHA")
            with lock as lease:
                lease.ensure()
            Crowd.until(lambda: left(lab, lock), [])


def test_lost_replies_of_a_majority_leave_nothing_behind(lab, namespace: str):
    """Elsewhere a key whose SET was executed, and not heard of, kept its own caller out for its whole ttl."""
    with Proxies(lab) as proxies:
        with Over(proxies.urls, namespace) as lock:
            with lock:
                pass
            for proxy in proxies.all[:2]:
                proxy.drop_replies(match=b"EVALSHA")
            with pytest.raises(NoQuorum, match="2 unreachable"):
                lock.try_acquire()
            Crowd.until(lambda: left(lab, lock), [])
            for proxy in proxies.all[:2]:
                proxy.drop_replies(match=b"EVALSHA")
            with lock:  # the next attempt, which has a token of its own
                pass


def test_a_lost_reply_to_a_release_is_a_release(lab, namespace: str):
    with Proxies(lab) as proxies:
        with Over(proxies.urls, namespace) as lock:
            lease = lock.acquire()
            for proxy in proxies.all:
                proxy.drop_replies(match=b"EVAL")
            lease.release()
            Crowd.until(lambda: left(lab, lock), [])


def test_a_quorum_that_answers_too_late_is_told_as_such(lab, namespace: str):
    """found: without the look at the clock, a lease was handed out whose time was over."""
    with Proxies(lab) as proxies:
        with Over(proxies.urls, namespace, ttl="600ms", node_timeout="500ms") as lock:
            with lock:
                pass
            for proxy in proxies.all:
                proxy.delay(0.35)  # once for the claim, once to confirm
            with pytest.raises(TooSlow, match="3 granted.*ttl was over"):
                lock.acquire(wait="10ms")
            with pytest.raises(TooSlow):
                lock.try_acquire()
            for proxy in proxies.all:
                proxy.delay(0)
            Crowd.until(lambda: left(lab, lock), [])


def test_an_acquire_that_breaks_off_leaves_nothing_behind(lab, namespace: str, monkeypatch):
    """As a KeyboardInterrupt does, in the middle of a round: what is under way is undone by the hubs.

    found: without `undo`, three keys for 30 s.
    """
    with Over(lab, namespace) as lock:
        real = lock._fan.ask
        for interrupted in (1, 2):  # claims, confirmations
            rounds: list[Any] = []

            def ask(calls: Any, decided: Any) -> Any:
                rounds.append(calls)
                answers = real(calls, decided)
                if len(rounds) == interrupted:
                    raise KeyboardInterrupt
                return answers

            monkeypatch.setattr(lock._fan, "ask", ask)
            with pytest.raises(KeyboardInterrupt):
                lock.acquire()
            Crowd.until(lambda: left(lab, lock), [])


# --- holding it ---------------------------------------------------------------------------------------------


def test_a_frozen_minority_loses_nothing(lab, namespace: str):
    with Over(lab, namespace, ttl="900ms") as lock, lock as lease:
        lab.nodes[0].freeze()
        sleep(2)
        lease.ensure()
        lab.nodes[0].resume()


def test_a_frozen_majority_loses_it_in_time(lab, namespace: str):
    """found: with the latest of the deadlines instead of that of a quorum, it was never lost."""
    told: list[Any] = []
    with Over(lab, namespace, ttl="900ms", on_danger=told.append) as lock:
        lease = lock.acquire()
        for node in lab.nodes[1:]:
            node.freeze()
        begun = time.monotonic()
        Crowd.until(lambda: lease.remaining() == 0)
        assert time.monotonic() - begun < 0.9 + 0.5
        Crowd.until(lease.lost.is_set)
        assert lease.cause in {"unreachable", "expired"}
        Crowd.until(lambda: told, [lease])
        for node in lab.nodes[1:]:
            node.resume()
        Crowd.until(lambda: left(lab, lock), [])


def test_a_majority_that_forgets_loses_it_at_once_and_is_never_made_anew(lab, namespace: str):
    """Elsewhere an extension set the key again, over whatever had happened meanwhile.

    found: with a keep that makes the key anew, it was not lost.
    """
    with Over(lab, namespace) as lock:
        lease = lock.acquire()
        sleep(0.5)  # until its keys are tracked
        lab.nodes[0].ask("DEL", lock.key)
        sleep(0.3)
        lease.ensure()
        Crowd.until(lambda: left(lab, lock), [1, 2])
        lab.nodes[1].ask("DEL", lock.key)
        Crowd.until(lease.lost.is_set)
        assert lease.cause == "vanished"
        Crowd.until(lambda: left(lab, lock), [])  # the rest is given back
        with pytest.raises(LockLost):
            lease.ensure()


def test_a_lost_majority_stops_the_body(lab, namespace: str):
    with Over(lab, namespace) as lock:
        with pytest.raises(LockLost):
            with lock as lease:
                sleep(0.5)
                for node in lab.nodes[:2]:
                    node.ask("FLUSHALL")
                Crowd.until(lease.lost.is_set)
                sleep(0.01)
