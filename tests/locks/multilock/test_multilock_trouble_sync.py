# Generated from test_multilock_trouble_async.py by tools/unasync.py. Do not edit.
"""What can go wrong with several names at once: lost replies, late requests, and several slots of a Cluster.

"found:" says what was seen when the bug was planted by hand.
"""

from __future__ import annotations

import pytest

from holdfast import Holdfast, LockTimeout
from holdfast._compat import sleep
from holdfast._coord.owner import token
from holdfast.locks.multilock import rules
from tests.cache.crowd import Crowd
from tests.locks.multilock.names import ascending, key_of
from tests.locks.multilock.test_multilock_sync import is_free

# --- what gets lost on the way -----------------------------------------------------------------------------


@pytest.mark.parametrize("script", [rules.ACQUIRE, rules.RELEASE], ids=["acquire", "release"])
def test_a_lost_reply_changes_nothing(faults, namespace: str, script):
    """found: an acquire.lua that does not know its own token waited for itself."""
    with Holdfast(faults.url, namespace=namespace) as hf:
        (hf.multilock(["a", "b"]).acquire()).release()
        faults.drop_replies(1, match=script.digest.encode())
        lease = hf.multilock(["a", "b"], wait="10s", ttl="60s").acquire()
        lease.ensure()
        lease.release()
        assert is_free(hf, "a", "b")


def test_a_repetition_that_finds_some_taken_keeps_none(hf: Holdfast):
    """found: without giving back, `a` stayed held by nobody until its ttl."""
    lock = hf.multilock(["a", "b"])
    (group,) = rules.groups(lock._locks, spread=False)
    ours, args = token(), (30_000, "us:1:", 60_000, "1", 0, 0)
    run = hf._wire.run
    reply = run(rules.ACQUIRE, group.acquire(ours), (ours, *args))
    fence = rules.granted(reply)
    assert fence and run(rules.ACQUIRE, group.acquire(ours), (ours, *args)) == [1, fence]
    assert hf.lock(group.names[1]).force_release()
    again = rules.granted(run(rules.ACQUIRE, group.acquire(ours), (ours, *args)))
    assert again and again > fence  # it was nobody's: all ours once more, and a later grant
    assert hf.lock(group.names[1]).force_release()
    theirs = hf.lock(group.names[1]).acquire()
    reply = run(rules.ACQUIRE, group.acquire(ours), (ours, *args))
    assert rules.granted(reply) is None and reply[3] == 2
    assert is_free(hf, group.names[0])
    theirs.release()


def test_of_several_that_are_held_the_one_that_is_waited_for_is_named(hf: Holdfast):
    """Else whoever waits for one of two that are held would go from one to the other and back."""
    lock = hf.multilock(["a", "b"])
    (group,) = rules.groups(lock._locks, spread=False)
    theirs = hf.multilock(["a", "b"]).acquire()
    for waited, named in ((0, 1), (1, 1), (2, 2)):
        args = (token(), 30_000, "us:1:", 60_000, "1", 0, waited)
        assert (hf._wire.run(rules.ACQUIRE, group.acquire(args[0]), args))[3] == named
    theirs.release()


def test_a_request_that_comes_too_late_is_refused(hf: Holdfast):
    """found: without the tomb of release.lua it took both, for nobody."""
    lock = hf.multilock(["a", "b"])
    (group,) = rules.groups(lock._locks, spread=False)
    ours = token()
    assert hf._wire.run(rules.RELEASE_AGAIN, group.release(ours), (ours, 5_000)) == 0
    args = (ours, 30_000, "us:1:", 60_000, "1", 0, 0)
    assert hf._wire.run(rules.ACQUIRE, group.acquire(ours), args) == [-1]
    assert is_free(hf, "a", "b")


# --- several slots -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["cluster"])
def test_what_was_taken_is_kept_while_the_rest_is_waited_for(hf: Holdfast, topology: str):
    """And given back when the wait ends. found: without `leases.keep` in `__call__` the lower name ended."""
    low, high = ascending(hf, ["a", "b"])
    theirs = hf.lock(high).acquire()
    with Crowd() as crowd:
        job = crowd.start(lambda: hf.multilock(["a", "b"], ttl="500ms", wait="1500ms").acquire())
        Crowd.until(lambda: is_free(hf, low), False)
        value = hf.execute("GET", key_of(hf, low))
        sleep(1.0)
        assert hf.execute("GET", key_of(hf, low)) == value
        with pytest.raises(LockTimeout):
            job.result()
        Crowd.until(lambda: is_free(hf, low))
        # The reverse: whoever waits for the lower name holds nothing.
        theirs.release()
        theirs = hf.lock(low).acquire()
        job = crowd.start(lambda: hf.multilock(["a", "b"], wait="20s").acquire())
        sleep(0.2)
        assert is_free(hf, high)
        theirs.release()
        (job.result()).release()


@pytest.mark.parametrize("topology", ["cluster"])
@pytest.mark.parametrize("renew", [True, False])
def test_what_is_lost_while_waiting_is_taken_anew(hf: Holdfast, topology: str, renew: bool):
    """found: without the look at the parts in `_begin` it was handed out, and lost a moment later."""
    low, high = ascending(hf, ["a", "b"])
    theirs = hf.lock(high, ttl="60s").acquire()
    with Crowd() as crowd:
        lock = hf.multilock(["a", "b"], ttl="3s", wait="20s", renew=renew)
        job = crowd.start(lock.acquire)
        Crowd.until(lambda: is_free(hf, low), False)
        sleep(0.4)
        hf.execute("DEL", key_of(hf, low))
        sleep(0.4)
        theirs.release()
        lease = job.result()
        for name in (low, high):
            holder = hf.lock(name).inspect()
            assert holder is not None and holder.fence == lease.fences[name]
        lease.ensure()
        assert lease.remaining() > 1.5  # also of the lower one, and without renewal
        lease.release()
        Crowd.until(lambda: is_free(hf, low, high))


@pytest.mark.parametrize("topology", ["cluster"])
def test_without_renewal_all_parts_end_together(hf: Holdfast, topology: str):
    """found: without `_level` the part that was renewed while waiting was renewed for ever."""
    low, high = ascending(hf, ["a", "b"])
    theirs = hf.lock(high).acquire()
    with Crowd() as crowd:
        job = crowd.start(lambda: hf.multilock(["a", "b"], ttl="900ms", wait="20s", renew=False).acquire())
        sleep(1.2)
        theirs.release()
        lease = job.result()
        assert lease.remaining() > 0.4
        Crowd.until(lease.lost.is_set)
        assert lease.cause == "expired"
        Crowd.until(lambda: is_free(hf, low, high))
