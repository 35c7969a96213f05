# Generated from test_members_faults_async.py by tools/unasync.py. Do not edit.
"""Places among readers, the writer's, and permits, when the server, the network or a client fails.

What they have in common is written once, in `holdfast/locks/_member_sync.py`; so are these.
Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import Holdfast, LockLost, LockTimeout, Unavailable
from holdfast._compat import sleep
from holdfast.locks._attempt_sync import Attempt
from tests.cache.crowd import Crowd
from tests.locks.rwlock.test_rwlock_sync import rwlock
from tests.locks.semaphore.test_semaphore_sync import semaphore

KINDS = ("read", "write", "permit")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def member(hf: Holdfast, kind: str, **options: Any) -> Any:
    if kind == "permit":
        return semaphore(hf, "faulty", 1, **options)
    return getattr(rwlock(hf, "faulty", **options), kind)()


def rival(hf: Holdfast, kind: str, **options: Any) -> Any:
    """What cannot be had beside it."""
    return member(hf, {"read": "write"}.get(kind, kind), **options)


def left(hf: Holdfast, one: Any) -> list[str]:
    """What of it is on the server, by the part of its key; fences, limits and tombs do no harm."""
    parts = ("", ":r", ":h", ":i", ":q", ":b")
    return [part for part in parts if hf.execute("EXISTS", one.key + part)]


def test_a_lost_reply_of_an_acquire(hf: Holdfast, faults, namespace: str, kind: str):
    """It is granted when it is repeated. found: scripts that do not know their own token."""
    with Holdfast(faults.url, namespace=namespace, timeout="10s") as second:
        mine = member(second, kind, ttl="60s", wait="10s")
        (mine.acquire()).release()  # so that its scripts are known
        faults.drop_replies(match=b":label")
        lease = member(second, kind, ttl="60s", wait="10s", label="label").acquire()
        lease.ensure()
        assert rival(hf, kind).try_acquire() is None
        lease.release()
        stray = Attempt(mine, waits=True)
        stray.token = lease.token
        late = hf._wire.run(*mine._request(stray))  # the first request comes after all
        assert late == [-1]
        theirs = rival(hf, kind).try_acquire()
        assert theirs is not None and (kind == "read" or theirs.fence > lease.fence)
        theirs.release()
        assert left(hf, mine) == []


def test_a_lost_reply_of_a_release(hf: Holdfast, faults, namespace: str, kind: str):
    """It was given back: no error. found: `_give_back` that takes the second answer, 0, for a loss."""
    with Holdfast(faults.url, namespace=namespace, timeout="10s") as second:
        mine = member(second, kind, ttl="60s")
        (mine.acquire()).release()
        for stray in (False, True):
            lease = mine.acquire()
            lease._stray = stray
            faults.drop_replies(match=lease.token.encode())
            lease.release()
            assert lease.cause is None and left(hf, mine) == []


def test_a_release_while_the_server_is_away_is_made_up_for(
    hf: Holdfast, faults, namespace: str, kind: str
):
    """found: without _leave_it_to_the_hub it stayed for its ttl."""
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as second:
        mine = member(second, kind, ttl="60s")
        lease = mine.acquire()
        faults.refuse()
        faults.cut()
        lease.release()
        assert left(hf, mine) != []
        faults.accept()
        Crowd.until(lambda: left(hf, mine), [])


def test_an_acquire_that_is_not_answered_leaves_nothing(
    hf: Holdfast, faults, namespace: str, kind: str
):
    """It may have been executed. found: give_up() that does not abandon: nobody had it for a ttl."""
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as second:
        mine = member(second, kind, ttl="60s", wait="200ms")
        (mine.acquire()).release()
        faults.swallow_replies()
        for call in (mine.acquire, mine.try_acquire):
            with pytest.raises((Unavailable, LockTimeout)):
                call()
        faults.heal()
        Crowd.until(lambda: left(hf, mine), [])
        lease = rival(hf, kind).try_acquire()
        assert lease is not None
        lease.release()


def test_who_gives_up_leaves_nothing(hf: Holdfast, kind: str):
    """found: for places of an rwlock, without leaves_a_trace: intents and claims stayed for PATIENCE."""
    lease = rival(hf, kind, ttl="60s").acquire()
    for wait in ("0s", "50ms"):
        with pytest.raises(LockTimeout):
            member(hf, kind).acquire(wait=wait)
    lease.release()
    begun = time.monotonic()
    Crowd.until(lambda: left(hf, lease.lock), [])
    assert time.monotonic() - begun < 4.0  # of PATIENCE, 6 s


def test_a_server_that_is_away_too_long_is_a_loss(
    hf: Holdfast, faults, namespace: str, kind: str
):
    """found: without the end by our own clock (Keeping) nobody was told."""
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as second:
        lease = member(second, kind, ttl="800ms").acquire()
        sleep(0.3)  # its thread has a connection: one that is just being made may get past the cut
        faults.refuse()
        faults.cut()
        begun = time.monotonic()
        Crowd.until(lease.lost.is_set)
        assert time.monotonic() - begun < 10
        assert lease.cause in {"unreachable", "expired"} and lease.remaining() == 0.0
        with pytest.raises(LockLost):
            lease.ensure()
        faults.accept()


def test_flushed(own_server, namespace: str, kind: str):
    """Who has it is told, and the next fence is greater. found: fences that begin at 1."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        mine = member(hf, kind, ttl="60s")
        lease = mine.acquire()
        sleep(0.5)
        begun = time.monotonic()
        hf.execute("FLUSHALL")
        Crowd.until(lease.lost.is_set)
        assert lease.cause == "vanished"
        assert time.monotonic() - begun < 10  # of a third of the ttl, 20 s
        later = mine.acquire()
        assert later.fence > lease.fence
        later.release()


def test_a_closed_client_has_nothing_any_more(hf: Holdfast, server, namespace: str, kind: str):
    with Holdfast(server.url, namespace=namespace) as second:
        lease = member(second, kind, ttl="60s").acquire()
    assert lease.cause == "closed"
    with pytest.raises(LockLost):
        lease.ensure()
