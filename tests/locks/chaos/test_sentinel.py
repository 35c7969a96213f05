"""Leases and fences when another server takes over."""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import FenceHistoryLost, Holdfast, LockLost, LockTimeout, NotDurable, Unavailable
from holdfast.embedded import SentinelLab
from tests.cache.crowd import Crowd
from tests.embedded.lab import until

WITHIN = 40.0  # seconds for a failover on a busy machine


def client(lab: SentinelLab, namespace: str) -> Holdfast:
    return Holdfast(lab.url, namespace=namespace, timeout="3s")


def everywhere(lab: SentinelLab, key: str) -> bool:
    """Has every replica the key?"""
    return all(node.ask("EXISTS", key) == 1 for node in lab.replicas)


def test_a_lease_that_the_replica_has_survives(own_sentinel_lab: SentinelLab, namespace: str):
    """found: renewals that go on asking the old primary."""
    lab = own_sentinel_lab
    with client(lab, namespace) as hf:
        lock = hf.lock("x", ttl="15s")
        with lock as lease:
            assert until(lambda: everywhere(lab, lock.key))
            old = lab.primary
            old.kill()
            lab.await_failover(old)
            renewals = lock.stats().renewals
            assert until(lambda: lock.stats().renewals > renewals, 25)
            lease.ensure()
            assert until(lambda: hf.lock("x").inspect() is not None)
            with hf.transaction(guard=lease) as tx:
                tx.set(lease.key("row"), 1)
        later = hf.lock("x").acquire(wait=WITHIN)
        assert later.fence > lease.fence
        later.release()


def test_a_lease_that_no_replica_has_is_lost_and_the_next_fence_is_greater(
    own_sentinel_lab: SentinelLab, namespace: str
):
    """found: a fence that only counts: the second holder had the number of the first."""
    lab = own_sentinel_lab
    with client(lab, namespace) as hf:
        (hf.lock("x").acquire()).release()
        old = lab.primary
        with Holdfast(old.url, namespace=namespace) as direct:
            replicas = lab.replicas
            for node in replicas:
                node.cut_off()  # a frozen one would find the write in its socket
            lease = hf.lock("x", ttl="60s").acquire()
            assert direct.lock("x").inspect() is not None
            old.kill()
        for node in replicas:
            node.heal()
        lab.await_failover(old)
        assert until(lambda: lease.cause is not None, WITHIN)
        assert lease.cause == "vanished"
        with pytest.raises(LockLost):
            lease.release()
        theirs = hf.lock("x").acquire(wait=WITHIN)
        assert theirs.fence > lease.fence
        theirs.release()


def test_strict_fences_end_with_the_server_that_gave_them(own_sentinel_lab: SentinelLab, namespace: str):
    """found: a grant of the new primary, which cannot know how far the old one had come."""
    lab = own_sentinel_lab
    with client(lab, namespace) as hf:
        lock = hf.lock("x", fence="strict", ttl="5s")
        with pytest.raises(FenceHistoryLost):
            lock.acquire()
        lock.begin_fences(above=5)
        fences = []
        for _ in range(3):
            with lock as lease:
                fences.append(lease.fence)
        assert fences == sorted(set(fences)) and fences[0] > 5
        old = lab.primary
        assert until(lambda: everywhere(lab, lock._names.history))
        old.kill()
        lab.await_failover(old)

        def refused() -> bool:
            try:
                lease: Any = lock.try_acquire()
            except FenceHistoryLost as error:
                return error.name == "x"
            assert lease is None, "granted by a server that cannot know"
            return False

        assert until(refused, WITHIN)
        for fair in (False, True):
            with pytest.raises(FenceHistoryLost):
                hf.lock("x", fence="strict", fair=fair).acquire(wait=WITHIN)
        above = 2**52
        lock.begin_fences(above=above)
        with lock as lease:
            assert lease.fence > above
        with hf.lock("x") as lease:  # the plain kind goes on from there
            assert lease.fence > above + 1


def test_a_grant_that_too_few_replicas_have_is_given_back(own_sentinel_lab: SentinelLab, namespace: str):
    """found: a lock that nobody has, for its whole ttl."""
    lab = own_sentinel_lab
    with client(lab, namespace) as hf:
        safe = hf.lock("x", ttl="60s", replicas=2)
        with safe as lease:
            assert everywhere(lab, safe.key)
            lease.ensure()
        for node in lab.replicas:
            node.freeze()
        with pytest.raises(NotDurable) as caught:
            safe.acquire(wait="5s")
        assert (caught.value.confirmed, caught.value.wanted) == (0, 2)
        lease = hf.lock("x", ttl="5s").acquire(wait=10)
        lease.release()
        for node in lab.replicas:
            node.resume()
        assert until(lambda: acquired(safe), WITHIN)


def acquired(lock: Any) -> bool:
    try:
        lock.acquire(wait="2s").release()
    except (NotDurable, LockTimeout, Unavailable):
        return False
    return True


def test_who_waits_goes_on_waiting_at_the_new_primary(own_sentinel_lab: SentinelLab, namespace: str):
    lab = own_sentinel_lab
    with client(lab, namespace) as hf, client(lab, namespace) as other:
        lease = hf.lock("x", ttl="15s").acquire()
        assert until(lambda: everywhere(lab, hf.lock("x").key))

        with Crowd() as crowd:
            jobs = [
                crowd.start(lambda fair=fair: other.lock("x", ttl="9s", fair=fair).acquire(wait=50))
                for fair in (False, True)
            ]
            time.sleep(0.3)
            old = lab.primary
            old.kill()
            lab.await_failover(old)
            renewals = hf.lock("x").stats().renewals
            assert until(lambda: hf.lock("x").stats().renewals > renewals, 30)
            lease.release()
            assert until(lambda: any(job.done for job in jobs), WITHIN)
            first = next(job for job in jobs if job.done)
            first.result().release()
            next(job for job in jobs if job is not first).result().release()
