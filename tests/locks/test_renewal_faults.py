"""What renewals do when replies are lost, links are cut, and the server is silent or forgets.

The keeper is a thread of its own, the same for both flavours. Guards were removed by hand; "found:" says what
was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import Holdfast, LockLost
from holdfast._compat import sleep
from holdfast.locks import rules
from tests.cache.crowd import Crowd
from tests.locks.test_faults_sync import LATE, free_soon


def test_lost_replies_of_renewals_cost_nothing(faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace) as mine:
        lease = mine.lock("x", ttl="1200ms").acquire()
        for _ in range(4):
            faults.drop_replies(1, match=rules.KEEP.digest.encode())
            sleep(0.3)
            lease.ensure()
        lease.release()


def test_cut_links_cost_nothing(faults, namespace: str):
    """found: a keeper that waits for the next interval after it has lost its connection."""
    with Holdfast(faults.url, namespace=namespace) as mine:
        lease = mine.lock("x", ttl="1s").acquire()
        for _ in range(6):
            faults.cut()
            sleep(0.2)
            lease.ensure()
        lease.release()


@pytest.mark.parametrize("how", ["blackhole", "refuse"])
def test_unreachable_is_told_before_the_server_gives_it_away(hf: Holdfast, faults, namespace: str, how: str):
    """Whenever the key is gone, the holder knew before. found: a deadline counted from the reply, or one that
    is looked at only when an answer comes.
    """
    told: list[Any] = []
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as mine:
        lease = mine.lock("x", ttl="900ms", on_danger=told.append).acquire()
        sleep(0.4)
        getattr(faults, how)()
        if how == "refuse":
            faults.cut()
        key = hf.lock("x").key
        while hf.execute("EXISTS", key):
            sleep(0.001)
        assert lease.remaining() == 0.0
        Crowd.until(lambda: lease.cause is not None)
        assert lease.cause == "unreachable"
        assert told == [lease]
        with pytest.raises(LockLost):
            lease.release()
        faults.heal()
        free_soon(hf, "x")


def test_a_short_outage_is_no_loss(faults, namespace: str):
    """found: a line that waits for an answer that will not come longer than a part of the ttl."""
    with Holdfast(faults.url, namespace=namespace, connect_timeout="200ms") as mine:
        lease = mine.lock("x", ttl="2s").acquire()
        sleep(0.4)
        faults.blackhole()
        sleep(0.7)
        faults.cut()
        faults.heal()
        sleep(1.0)
        lease.ensure()
        assert lease.remaining() > 0.5
        lease.release()


def test_scripts_that_the_server_forgot_are_sent_again(own_server, namespace: str):
    """found: NOSCRIPT taken for a refusal by the keeper: lost after its ttl."""
    with Holdfast(own_server.url, namespace=namespace) as mine:
        lock = mine.lock("x", ttl="600ms")
        lease = lock.acquire()
        for _ in range(3):
            mine.execute("SCRIPT", "FLUSH")
            sleep(0.25)
            lease.ensure()
        mine.execute("SCRIPT", "FLUSH")
        lease.release()
        mine.execute("SCRIPT", "FLUSH")
        (lock.acquire()).release()


def test_a_frozen_server_is_survived_while_the_ttl_lasts(own_server, namespace: str):
    with Holdfast(own_server.url, namespace=namespace) as mine:
        short = mine.lock("short", ttl="600ms").acquire()
        long = mine.lock("long", ttl="20s").acquire()
        sleep(0.3)
        own_server.freeze()
        begun = time.monotonic()
        Crowd.until(lambda: short.cause is not None)
        assert short.cause == "unreachable" and time.monotonic() - begun < 0.6 + LATE
        own_server.resume()
        renewals = mine.lock("long").stats().renewals
        Crowd.until(lambda: mine.lock("long").stats().renewals > renewals)
        long.ensure()
        long.release()


def test_the_connection_of_the_leases_may_be_killed(own_server, namespace: str):
    """found: a keeper that does not track anew on its next connection: the DEL was heard 20 s later."""
    with Holdfast(own_server.url, namespace=namespace) as mine:
        lock = mine.lock("x", ttl="60s")
        lease = lock.acquire()
        for _ in range(3):
            renewals = lock.stats().renewals
            mine.execute("CLIENT", "KILL", "TYPE", "normal")
            Crowd.until(lambda renewals=renewals: lock.stats().renewals > renewals)
        lease.ensure()
        begun = time.monotonic()
        lock.force_release()
        Crowd.until(lease.lost.is_set)
        assert time.monotonic() - begun < LATE
