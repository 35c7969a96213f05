"""Leases whose slot moves, and whose primary fails."""

from __future__ import annotations

import time

import pytest

from holdfast import Holdfast, LockTimeout
from holdfast._wire.cluster.slots import slot_of
from holdfast.embedded import ClusterLab
from holdfast.embedded.node import Node
from tests.cache.crowd import Crowd
from tests.embedded.lab import until

WITHIN = 40.0


def elsewhere(lab: ClusterLab, slot: int) -> Node:
    """A primary that does not own `slot`."""
    owner = lab.primary_of(slot)
    return next(node for node in lab.primaries if node is not owner)


def renewed(hf: Holdfast, name: str, count: int = 1) -> bool:
    """Has it been renewed again?"""
    before = hf.lock(name).stats().renewals
    return until(lambda: hf.lock(name).stats().renewals >= before + count, WITHIN)


def test_renewals_follow_the_slot(cluster_lab: ClusterLab, namespace: str):
    """There and back again. found: renewals that are refused (MOVED) until the ttl is over."""
    lab = cluster_lab
    with Holdfast(lab.url, namespace=namespace) as hf, Holdfast(lab.url, namespace=namespace) as other:
        lock = hf.lock("moves", ttl="1500ms")
        slot = slot_of(lock.key)
        home = lab.primary_of(slot)
        with lock as lease:
            for to in (elsewhere(lab, slot), home):
                lab.move_slot(slot, to)
                assert renewed(hf, "moves", 3)
                time.sleep(1.0)
                lease.ensure()
                with pytest.raises(LockTimeout):
                    other.lock("moves").acquire(wait="50ms")
        other.lock("moves").acquire(wait="20s").release()


@pytest.mark.parametrize("moved", [False, True])
def test_a_slot_that_moves_slowly_costs_no_lease(cluster_lab: ClusterLab, namespace: str, moved: bool):
    """Longer than the ttl, with the key still there, or gone ahead (ASK). Found: every renewal named a second
    key, which mostly is not there, and was refused (TRYAGAIN) for as long as the slot moved.
    """
    lab = cluster_lab
    with Holdfast(lab.url, namespace=namespace) as hf:
        name = f"slow {moved}"
        lock = hf.lock(name, ttl="1500ms")
        slot = slot_of(lock.key)
        home, to = lab.primary_of(slot), elsewhere(lab, slot)
        lease = lock.acquire()
        time.sleep(0.5)
        lab.begin_move(slot, to)
        try:
            if moved:
                lab.move_keys(slot, to)
            time.sleep(3.0)
            lease.ensure()
        finally:
            lab.finish_move(slot, to)
        assert renewed(hf, name)
        lease.ensure()
        lease.release()
        lab.move_slot(slot, home)


def test_who_waits_follows_the_slot(cluster_lab: ClusterLab, namespace: str):
    lab = cluster_lab
    with (
        Holdfast(lab.url, namespace=namespace) as hf,
        Holdfast(lab.url, namespace=namespace) as other,
        Crowd() as crowd,
    ):
        lock = hf.lock("waited", ttl="20s")
        slot = slot_of(lock.key)
        home = lab.primary_of(slot)
        lease = lock.acquire()
        jobs = [crowd.start(lambda: other.lock("waited", ttl="20s").acquire(wait=WITHIN)) for _ in range(2)]
        time.sleep(0.3)
        lab.move_slot(slot, elsewhere(lab, slot))
        assert renewed(hf, "waited")
        lease.release()
        assert until(lambda: any(job.done for job in jobs), WITHIN)
        for job in sorted(jobs, key=lambda job: not job.done):
            job.result().release()
        lab.move_slot(slot, home)


def test_a_primary_that_fails_costs_no_lease_that_its_replica_has(
    own_cluster_lab: ClusterLab, namespace: str
):
    lab = own_cluster_lab
    with Holdfast(lab.url, namespace=namespace) as hf:
        leases = {f"n{number}": hf.lock(f"n{number}", ttl="15s").acquire() for number in range(9)}
        old = lab.primary_of(hf.lock("n0").key)
        time.sleep(1.0)
        old.kill()
        lab.await_failover(old)
        before = {name: hf.lock(name).stats().renewals for name in leases}
        for name, lease in leases.items():
            assert until(lambda name=name: hf.lock(name).stats().renewals > before[name], WITHIN), name
            lease.ensure()
        for lease in leases.values():
            lease.release()
        again = hf.lock("n0").acquire(wait=WITHIN)
        assert again.fence > leases["n0"].fence
        again.release()
