# Generated from test_redlock_async.py by tools/unasync.py. Do not edit.
"""What a Redlock promises to one who uses it, while its servers are there.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from holdfast import Holdfast, Closed, ConfigurationError, LockError, LockLost, LockTimeout, NoQuorum
from holdfast._compat import sleep
from holdfast.locks.redlock._sync import Redlock
from tests.cache.crowd import Crowd
from tests.locks.redlock.some import Over, left


def test_one_holds_it_at_a_time_and_fences_grow(lab, namespace: str):
    """found: claim.lua that does not look who has it: several at once inside."""
    inside: list[int] = []
    most: list[int] = []
    fences: list[int] = []

    def work(lock: Any) -> None:
        with lock as lease:
            fences.append(lease.fence)
            inside.append(1)
            sleep(0.002)
            most.append(len(inside))
            inside.pop()

    with Over(lab, namespace) as one, Over(lab, namespace) as two, Crowd() as crowd:
        for job in [crowd.start(lambda lock=lock: work(lock)) for lock in (one, two) * 6]:
            job.result()
        assert max(most) == 1
        assert fences == sorted(set(fences)) and len(fences) == 12  # in the order of the grants
        Crowd.until(lambda: left(lab, one), [])


def seen_by(lock: Any) -> set[int]:
    """The fences that an operator sees on the nodes; one that answered late may not have been told."""
    return {one.holder.fence for one in lock.inspect() if one.holder and one.holder.fence}


def test_who_has_it_is_named(lab, namespace: str):
    with Over(lab, namespace, label="the first") as one, Over(lab, namespace) as two:
        with one as lease:
            assert two.try_acquire() is None
            with pytest.raises(LockTimeout) as caught:
                two.acquire(wait="100ms")
            assert caught.value.holder.endswith("the first") and caught.value.name == "x"
            assert "3 contended" in str(caught.value)
            Crowd.until(lambda: seen_by(two), {lease.fence})
            assert [(one.counts, one.error) for one in two.inspect()] == [
                (False, "")
            ] * 3  # young so far
        Crowd.until(lambda: seen_by(two), set())
        again = two.try_acquire()
        assert again is not None
        again.release()
        assert sum(one.counts for one in two.inspect()) >= 2


def test_a_release_leaves_nothing_but_the_fence(lab, namespace: str):
    with Over(lab, namespace) as lock:
        lease = lock.acquire()
        Crowd.until(lambda: left(lab, lock), [0, 1, 2])
        assert len(left(lab, lock, ":f")) >= 2
        lease.release()
        lease.release()
        assert {post.keeping.state for post in lease._posts} == {"over"}
        Crowd.until(lambda: left(lab, lock), [])
        with pytest.raises(LockLost):
            lease.ensure()


def test_the_fence_stands_on_a_quorum_before_the_grant(lab, namespace: str):
    """found: confirm.lua that writes no fence: the next one was the same, where clocks stand still."""
    with Over(lab, namespace) as lock:
        far = 9_000_000_000_000_000  # beyond every clock
        for node in lab.nodes[1:]:  # any quorum has one of them
            node.ask("SET", lock.key + ":f", far)
        with lock as lease:
            assert lease.fence == far + 1
            written = [int(node.ask("GET", lock.key + ":f") or 0) for node in lab.nodes]
            assert written.count(far + 1) >= 2
        lab.nodes[1].ask("DEL", lock.key + ":f")
        with lock as lease:
            assert lease.fence == far + 2


def test_a_claim_that_comes_after_its_release_is_refused(lab, namespace: str):
    """As one does that sat in a buffer. found: without the tombstone, or the look at it, it was granted."""
    with Over(lab, namespace) as lock:
        node, token = lock._nodes[0], "0" * 32
        assert (node.release(lock._names, token)).said.value == "lost again"
        assert (node.claim(lock._names, token, "a:1:")).said.value == "lost again"
        assert left(lab, lock) == []
        assert (node.claim(lock._names, "1" * 32, "a:1:")).said.value == "granted"
        assert (node.release(lock._names, token)).said.value == "lost again"
        assert left(lab, lock) == [0]  # it is another attempt's


def test_a_confirmation_never_lowers_a_fence(lab, namespace: str):
    """found: confirm.lua that writes what it is told."""
    with Over(lab, namespace) as lock, lock as lease:
        Crowd.until(lambda: left(lab, lock), [0, 1, 2])
        lab.nodes[0].ask("SET", lock.key + ":f", 9_000_000_000_000_000)
        answer = lock._nodes[0].confirm(lock._names, lease.token, lease.fence)
        assert answer.said.value == "granted"
        assert int(lab.nodes[0].ask("GET", lock.key + ":f")) == 9_000_000_000_000_000


def test_it_is_renewed_while_it_is_held(lab, namespace: str):
    """found: without posts, it was lost after a ttl."""
    with Over(lab, namespace, ttl="600ms") as lock, lock as lease:
        for _ in range(15):
            sleep(0.1)
            lease.ensure()
        assert 0 < lease.remaining() < 0.6
        Crowd.until(lambda: left(lab, lock), [0, 1, 2])


def test_without_renewal_it_ends(lab, namespace: str):
    with Over(lab, namespace, ttl="300ms", renew=False) as lock:
        lease = lock.acquire()
        assert 0 < lease.remaining() <= 0.3 - 0.3 * 0.01 - 0.002
        Crowd.until(lease.lost.is_set)
        assert lease.cause == "expired" and lease.remaining() == 0
        with pytest.raises(LockLost):
            lease.release()
        Crowd.until(lambda: left(lab, lock), [])


def test_max_hold_ends_it(lab, namespace: str):
    told: list[Any] = []
    with Over(lab, namespace, ttl="400ms", max_hold="700ms", on_lost=told.append) as lock:
        lease = lock.acquire()
        Crowd.until(lease.lost.is_set)
        assert lease.cause == "max_hold"
        Crowd.until(lambda: told, [lease])
        assert {post.keeping.state for post in lease._posts} == {"over"}
        Crowd.until(lambda: left(lab, lock), [])  # nobody renews it any more


def test_taken_away_by_force_its_holder_is_told(lab, namespace: str):
    with Over(lab, namespace) as one, Over(lab, namespace) as two:
        lease = one.acquire()
        sleep(0.5)  # until its keys are tracked
        assert two.force_release() is True
        Crowd.until(lease.lost.is_set)
        assert lease.cause == "vanished"
        assert two.force_release() is False
        with pytest.raises(LockLost):
            lease.release()


def test_a_loss_that_nobody_has_noticed_is_told_at_the_release(lab, namespace: str):
    with Over(lab, namespace, renew=False) as lock:
        lease = lock.acquire()
        Crowd.until(lambda: left(lab, lock), [0, 1, 2])
        lab.nodes[0].ask("DEL", lock.key)
        lease.release()  # a quorum was ours
        lease = lock.acquire()
        Crowd.until(lambda: left(lab, lock), [0, 1, 2])
        for node in lab.nodes[:2]:
            node.ask("DEL", lock.key)
        with pytest.raises(LockLost):
            lease.release()
        Crowd.until(lambda: left(lab, lock), [])


def test_a_body_under_it_cannot_take_it_again(lab, namespace: str):
    with Over(lab, namespace) as lock, lock:
        with pytest.raises(LockError, match="would wait for itself"):
            lock.acquire()


def test_a_wait_is_over_in_time_for_those_who_share_an_object(lab, namespace: str):
    with Over(lab, namespace) as one, Over(lab, namespace) as two, Crowd() as crowd:
        lease = one.acquire()
        first = crowd.start(lambda: two.acquire())
        crowd.settle()
        with pytest.raises(LockTimeout):
            two.acquire(wait="100ms")
        lease.release()
        (first.result()).release()


def test_of_those_who_share_an_object_one_asks_at_a_time(lab, namespace: str):
    """found: without a turn, all of them took nodes from each other."""
    with Over(lab, namespace) as one, Over(lab, namespace) as two, Crowd() as crowd:
        asking: list[int] = []
        most: list[int] = [0]
        real = two._try

        def counted() -> Any:
            asking.append(1)
            most.append(len(asking))
            try:
                return real()
            finally:
                asking.pop()

        two._try = counted  # type: ignore[method-assign]
        with one:
            jobs = [crowd.start(lambda: two.acquire(wait="400ms")) for _ in range(6)]
            for job in jobs:
                with pytest.raises(LockTimeout):
                    job.result()
        assert max(most) == 1 and len(most) > 3


# --- clients ------------------------------------------------------------------------------------------------


def test_nodes_may_be_clients_of_ours_or_of_redis_py(lab, namespace: str):
    """Those of ours stay open, those that were made here are closed."""
    url = urlsplit(lab.urls[2])
    theirs = redis.Redis(host=url.hostname, port=url.port, password=url.password)
    with Holdfast(lab.urls[0], namespace=namespace) as ours:
        lock = Redlock(
            [ours, lab.urls[1], theirs], "x", ttl="30s", node_timeout="1s", namespace=namespace
        )
        with lock:
            Crowd.until(lambda: left(lab, lock), [0, 1, 2])
        lock.close()
        lock.close()
        assert ours.execute("PING") == b"PONG"
        with pytest.raises(Closed):
            lock.acquire()
    theirs.close()


def test_what_cannot_be_a_set_of_nodes_is_refused(lab, namespace: str):
    for few in range(3):
        with pytest.raises(ConfigurationError, match="at least 3"):
            Redlock(lab.urls[:few], "x")
    with pytest.raises(ConfigurationError, match="twice"):
        Redlock([*lab.urls[:2], lab.urls[0]], "x")
    with pytest.raises(ConfigurationError, match="list"):
        Redlock(lab.urls[0], "x")
    ours = [Holdfast(url, namespace=f"{namespace}{place}") for place, url in enumerate(lab.urls)]
    with pytest.raises(ConfigurationError, match="namespaces"):
        Redlock(ours, "x")
    assert Redlock(ours, "x", namespace=namespace).key == f"{namespace}:1:redlock:{{x}}"


def test_one_server_under_two_names_has_no_two_votes(lab, namespace: str):
    """found: without the look at run ids, one server of two alone was a quorum of three."""
    twice = [lab.urls[0], lab.urls[0].replace("127.0.0.1", "localhost"), lab.urls[1]]
    with Over(twice, namespace) as lock:
        with pytest.raises(ConfigurationError, match="one server"):
            lock.acquire()
        Crowd.until(lambda: left(lab, lock), [])


def test_four_nodes_need_three(lab, namespace: str):
    nobody = "redis://127.0.0.1:1"
    with Over([*lab.urls, nobody], namespace) as lock:
        with lock:
            pass
        lab.nodes[0].kill()
        with pytest.raises(NoQuorum, match="2 granted, 2 unreachable.*a quorum is 3 of 4"):
            lock.acquire(wait="50ms")
        lab.nodes[0].restart()


def test_options_that_make_no_sense_are_refused(lab):
    for wrong in (
        {"ttl": "1s", "longest_lease": "500ms"},
        {"ttl": "1s", "node_timeout": "1s"},
        {"on_wanted": print},
        {"fair": True},
    ):
        with pytest.raises(ConfigurationError, match=next(name for name in wrong if name != "ttl")):
            Redlock(lab.urls, "x", **wrong)
    with pytest.raises(ConfigurationError, match="guard"):
        with Over(lab, "guarded") as lock, lock as lease:
            lease.guard()
