# Generated from test_interop_async.py by tools/unasync.py. Do not edit.
"""A lock's key is a plain string: any program that does SET key token NX PX ttl excludes us, and we exclude
it.

redis-py's own Lock is such a program. It publishes nothing when it releases, so whoever waits for it asks.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from holdfast import Holdfast, LockLost, LockTimeout
from holdfast._compat import sleep
from holdfast.locks.holder import FOREIGN
from tests.cache.crowd import Crowd


def test_both_ways(hf: Holdfast, server, namespace: str):
    """found: a key with a prefix of ours."""
    key = f"{namespace}-job"
    lock = hf.lock("job", key=key, ttl="20s")
    assert lock.key == key
    client: Any = redis.Redis.from_url(server.url)
    theirs = client.lock(key, timeout=20)
    with lock as lease:
        value: Any = hf.execute("GET", key)
        assert value.startswith(f"{lease.token}:{lease.fence}:".encode())
        assert theirs.acquire(blocking=False) is False
    assert theirs.acquire(blocking=False) is True
    assert lock.try_acquire() is None
    with pytest.raises(LockTimeout) as caught:
        lock.acquire(wait="100ms")
    assert caught.value.holder == FOREIGN
    seen = lock.inspect()
    assert seen is not None and seen.owner == FOREIGN and seen.ttl is not None and 10 < seen.ttl <= 20
    assert (seen.fence, seen.pid, seen.since, seen.label) == (None, None, None, "")
    theirs.release()
    with lock as again:
        assert again.fence > lease.fence
    client.close()


def test_who_waits_gets_it_soon_although_nobody_tells(hf: Holdfast, server, namespace: str):
    """found: waiting for a push that never comes: the whole two seconds of SAFETY."""
    key = f"{namespace}-job"
    client: Any = redis.Redis.from_url(server.url)
    waits = []
    for fair in (False, True, False, True):
        theirs = client.lock(key, timeout=20)
        assert theirs.acquire()
        with Crowd() as crowd:
            job = crowd.start(lambda fair=fair: hf.lock("job", key=key, fair=fair).acquire(wait="20s"))
            sleep(0.3)
            begun = time.monotonic()
            theirs.release()
            lease = job.result()
            waits.append(time.monotonic() - begun)
            lease.release()
    assert max(waits) < 1.5 and min(waits) < 0.8  # a rest is at most 0.5 s
    client.close()


def test_one_without_an_end_is_waited_for(hf: Holdfast):
    """found: a pttl of -1 taken for a time that is over: it asked without a rest."""
    lock = hf.lock("job", wait="300ms")
    hf.execute("SET", lock.key, "for ever")
    before = calls(hf)
    with pytest.raises(LockTimeout):
        lock.acquire()
    assert calls(hf) - before < 30
    seen = lock.inspect()
    assert seen is not None and seen.ttl is None


def test_one_that_is_no_string_is_an_error_and_not_a_grant(hf: Holdfast):
    lock = hf.lock("job", wait="300ms")
    hf.execute("HSET", lock.key, "a", "b")
    with pytest.raises(Exception, match="is no lock"):
        lock.acquire()
    assert hf.execute("HGET", lock.key, "a") == b"b"


def test_a_lease_that_another_program_overwrote_is_lost(hf: Holdfast):
    lock = hf.lock("job", ttl="300ms")
    with pytest.raises(LockLost) as caught:
        with lock:
            hf.execute("SET", lock.key, "theirs")
            sleep(0.5)
    assert caught.value.cause == "taken"
    assert hf.execute("GET", lock.key) == b"theirs"


def calls(hf: Holdfast) -> int:
    """How many scripts the server has run."""
    reply = hf.execute("INFO", "commandstats")
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in text.split() if "evalsha:" in line)
