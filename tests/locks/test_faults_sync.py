# Generated from test_faults_async.py by tools/unasync.py. Do not edit.
"""What a lock does when replies are lost, links are cut, and the server forgets.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import time

import pytest

import holdfast
from holdfast import Holdfast, LockTimeout, Unavailable
from holdfast._compat import sleep
from holdfast.locks import rules
from tests.cache.crowd import Crowd, Observer

LATE = 5.0  # seconds by which a busy machine may be late


def free_soon(hf: Holdfast, name: str, within: float = LATE) -> None:
    """Make sure that nobody has it any more; of ttls of a minute."""
    lease = hf.lock(name).acquire(wait=within)
    lease.release()


# --- lost replies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fair", [False, True])
def test_a_lost_reply_of_an_acquire_is_a_grant(hf: Holdfast, faults, namespace: str, fair: bool):
    """found: acquire.lua that does not know its own token waited for itself until the timeout."""
    with Holdfast(faults.url, namespace=namespace) as mine:
        lock = mine.lock("x", ttl="60s", fair=fair)
        script = rules.FAIR if fair else rules.ACQUIRE
        (lock.acquire()).release()
        for lost in (1, 2):
            faults.drop_replies(lost, match=script.digest.encode())
            begun = time.monotonic()
            lease = lock.acquire(wait="20s")
            assert (
                time.monotonic() - begun < 1.9
            )  # of the deadline of one call, 2 s, after which it is asked anew
            lease.ensure()
            seen = hf.lock("x").inspect()
            assert seen is not None and seen.fence == lease.fence
            lease.release()
            assert hf.lock("x").inspect() is None


def test_a_lost_reply_of_a_release_is_a_release(hf: Holdfast, faults, namespace: str):
    """found: Unconfirmed that is passed on, or the second answer, "not ours", taken for a loss."""
    with Holdfast(faults.url, namespace=namespace) as mine:
        lock = mine.lock("x", ttl="60s")
        for _ in range(3):
            lease = lock.acquire(wait=0)
            faults.drop_replies(1, match=rules.RELEASE.digest.encode())
            lease.release()
            assert lease.cause is None


def test_a_release_that_cannot_be_sent_is_done_by_the_hub(hf: Holdfast, faults, namespace: str):
    """found: without leaving it to the hub the lock stayed for its whole ttl."""
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as mine:
        with mine.lock("x", ttl="60s"):
            faults.refuse()
            faults.cut()
        assert hf.lock("x").inspect() is not None
        faults.heal()
        free_soon(hf, "x")


# --- nobody answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fair", [False, True])
def test_one_deadline_holds_while_nobody_answers(faults, namespace: str, fair: bool):
    """Found: the first acquire of a client asked for the server's settings first, for two seconds."""
    faults.blackhole()
    hf = Holdfast(faults.url, namespace=namespace, require_server=False)
    try:
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises((Unavailable, LockTimeout)):
                hf.lock("x", fair=fair).acquire(wait="300ms")
            assert time.monotonic() - begun < 1.2
    finally:
        faults.heal()
        hf.close(drain=0)


def test_waiting_goes_on_while_the_server_is_away(hf: Holdfast, faults, namespace: str):
    """found: Unavailable that ends the waiting."""
    lease = hf.lock("x").acquire()
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as mine:
        with Crowd() as crowd:
            jobs = [
                crowd.start(lambda fair=fair: mine.lock("x", fair=fair, ttl="5s").acquire(wait="20s"))
                for fair in (False, True)
            ]
            sleep(0.2)
            faults.refuse()
            faults.cut()
            sleep(0.5)
            lease.release()  # nobody can tell
            sleep(0.2)
            faults.heal()
            for job in sorted(jobs, key=lambda job: not job.done):
                Crowd.until(lambda: any(one.done for one in jobs))
            first = next(job for job in jobs if job.done)
            (first.result()).release()
            second = next(job for job in jobs if job is not first)
            (second.result()).release()


def test_a_lost_subscription_is_no_lost_wake_up(hf: Holdfast, faults, namespace: str):
    """found: without the firing at a loss and at every confirmation it slept for 2 s."""
    with Holdfast(faults.url, namespace=namespace) as mine:
        waits = []
        for _ in range(3):
            lease = hf.lock("x").acquire()
            with Crowd() as crowd:
                job = crowd.start(lambda: mine.lock("x").acquire(wait="20s"))
                sleep(0.2)
                faults.cut()
                begun = time.monotonic()
                lease.release()
                theirs = job.result()
                waits.append(time.monotonic() - begun)
                theirs.release()
        assert min(waits) < 1.0


# --- a server that forgets ----------------------------------------------------------------------------------


def test_flushall_is_heard_and_fences_go_on_growing(own_server, namespace: str):
    """found: a fence of the counter alone began anew at 1."""
    with Holdfast(own_server.url, namespace=namespace) as mine:
        lock = mine.lock("x", ttl="60s")
        fences = []
        for _ in range(3):
            lease = lock.acquire()
            fences.append(lease.fence)
            Crowd.until(lambda lease=lease: lock.stats().renewals >= len(fences))
            begun = time.monotonic()
            mine.execute("FLUSHALL")
            Crowd.until(lease.lost.is_set)
            assert time.monotonic() - begun < LATE and lease.cause == "vanished"
        assert fences == sorted(set(fences))


def test_a_server_that_starts_again_empty_has_no_leases(own_server, namespace: str):
    with holdfast.Holdfast(own_server.url, namespace=namespace) as admin:
        with Holdfast(own_server.url, namespace=namespace) as mine:
            lease = mine.lock("x", ttl="20s").acquire()
            Crowd.until(lambda: mine.lock("x").stats().renewals > 0)
            begun = time.monotonic()
            own_server.kill()
            own_server.restart(empty=True)
            Crowd.until(lambda: lease.cause is not None)
            assert lease.cause == "vanished" and time.monotonic() - begun < 10
            theirs = mine.lock("x").acquire(wait="10s")
            assert theirs.fence > lease.fence
            theirs.release()
        assert admin.lock("x").inspect() is None


def test_an_eviction_policy_is_warned_of_once(own_server, namespace: str):
    """found: no warning."""
    with holdfast.Holdfast(own_server.url) as admin:
        admin.execute("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    observer = Observer()
    hf = Holdfast(own_server.url, namespace=namespace)
    hf.observers.add(observer)
    for _ in range(2):
        (hf.lock("x").acquire()).release()
    hf.close()
    warnings = [one for one in observer.seen if "drop a lock" in getattr(one, "consequence", "")]
    assert [one.setting for one in warnings] == ["maxmemory-policy"]
