# Generated from test_strict_async.py by tools/unasync.py. Do not edit.
"""Strict fences: granted only where it is certain that the fence grows.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import pytest

from holdfast import Holdfast, Closed, FenceHistoryLost
from holdfast._compat import sleep
from tests.cache.crowd import Crowd


@pytest.mark.parametrize("fair", [False, True])
def test_nothing_is_granted_where_the_history_is_gone(hf: Holdfast, fair: bool):
    """found: a counter that is gone taken for 0; each of the two keys has to be there."""
    lock = hf.lock("x", fence="strict", fair=fair)
    names = lock._names
    with pytest.raises(FenceHistoryLost, match="begin_fences"):
        lock.acquire()
    fences = []
    for lost in (names.fence, names.history):
        lock.begin_fences(above=7)
        for _ in range(2):
            with lock as lease:
                fences.append(lease.fence)
        hf.execute("DEL", lost)
        for ask in (lock.acquire, lock.try_acquire):
            with pytest.raises(FenceHistoryLost) as caught:
                ask()
            assert caught.value.name == "x"
        assert lock.inspect() is None
    assert fences == sorted(set(fences)) and fences[0] > 7
    Crowd.until(lambda: hf._wire.hub.undelivered(), 0)
    assert hf.execute("EXISTS", names.key, names.queue) == 0


def test_the_history_has_no_end_and_begins_no_lower(hf: Holdfast):
    """found: begin.lua that sets what it is told, even if that is less."""
    lock = hf.lock("x", fence="strict")
    above = 2**52
    lock.begin_fences(above=above)
    lock.begin_fences(above=3)
    with lock as lease:
        assert lease.fence > above
    assert hf.execute("PTTL", lock._names.fence) == -1
    assert hf.execute("PTTL", lock._names.history) == -1


def test_another_server_is_not_believed(own_server, namespace: str):
    """It has the same data, and starts anew: is that all? Nobody knows. found: no look at who it is."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        lock = hf.lock("x", fence="strict")
        lock.begin_fences()
        with lock:
            pass
        hf.execute("SAVE")
        own_server.kill()
        own_server.restart()
        with pytest.raises(FenceHistoryLost):
            lock.acquire(wait="20s")
        with hf.lock("x", wait="20s"):  # the other kind does not ask
            pass


def test_a_server_that_does_not_tell_who_it_is_grants_nothing(own_server, namespace: str):
    """found: a refused INFO taken for an answer."""
    with Holdfast(own_server.url, namespace=namespace) as admin:
        admin.lock("x", fence="strict").begin_fences()
        admin.execute("ACL", "SETUSER", "poor", "on", ">pw", "~*", "&*", "+@all", "-info")
        url = own_server.url.split("@")[-1]
        with Holdfast(f"redis://poor:pw@{url}", namespace=namespace) as poor:
            with pytest.raises(FenceHistoryLost):
                poor.lock("x", fence="strict").acquire()
            with pytest.raises(FenceHistoryLost, match="does not tell"):
                poor.lock("y", fence="strict").begin_fences()


@pytest.mark.parametrize("fair", [False, True])
def test_who_waits_is_told_that_the_client_was_closed(
    server, hf: Holdfast, namespace: str, fair: bool
):
    """found: nobody woke it: it slept for SAFETY, or for ever."""
    lease = hf.lock("x").acquire()
    mine = Holdfast(server.url, namespace=namespace)
    with Crowd() as crowd:
        jobs = [crowd.start(lambda: mine.lock("x", fair=fair).acquire(wait="30s")) for _ in range(3)]
        Crowd.until(lambda: mine.lock("x").stats().waiting == 3)
        sleep(0.1)
        mine.close(drain=1)
        for job in jobs:
            with pytest.raises(Closed):
                job.result()
    lease.release()
    (hf.lock("x").acquire(wait="1s")).release()
