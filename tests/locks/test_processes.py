"""Holders and waiters that are killed, frozen and forked, in processes of their own.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from holdfast import Holdfast, LockTimeout
from tests.embedded.lab import until
from tests.locks.actors import actor
from tests.wire.lab import child_status

LATE = 5.0  # seconds by which a busy machine may be late
HOLD = """
lease = hf.lock("x", ttl=sys.argv[3] if len(sys.argv) > 3 else "1s", fair=%s).acquire()
say(lease.fence)
"""

forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_a_holder_that_is_killed_has_it_for_its_ttl_at_most(hf: Holdfast, server, namespace: str):
    """found: nothing; without the bound on the wait by the ttl it would take two seconds more."""
    with actor(server, namespace, HOLD % False + "time.sleep(60)") as holder:
        fence = int(holder.hear())
        time.sleep(0.8)
        assert hf.lock("x").try_acquire() is None  # it was renewed
        with pytest.raises(LockTimeout):
            hf.lock("x").acquire(wait="300ms")
        holder.signal(signal.SIGKILL)
        holder.process.wait()
        begun = time.monotonic()
        lease = hf.lock("x").acquire(wait="20s")
        assert time.monotonic() - begun < 1.0 + 1.5
        assert lease.fence > fence
        lease.release()


def test_a_holder_that_is_frozen_finds_out_and_writes_nothing(hf: Holdfast, server, namespace: str):
    """The sleeper's write, the case of every essay about locks. found: a guard that only looks here."""
    code = """
lease = hf.lock("x", ttl="500ms").acquire()
row = lease.key("row")
with hf.transaction(guard=lease) as tx:
    tx.set(row, "mine")
last_words = lease.guard().transaction([("SET", row, "late")])
say("about to write")
hear()
try:
    hf.execute(*last_words)
    say("written")
except Refused as error:
    say(error.code)

def late():
    try:
        with hf.transaction(guard=lease):
            return "made"
    except LockLost as error:
        return error.cause

lease.lost.wait(10)
say(lease.cause, late(), lease.remaining())
os._exit(0)
"""
    with actor(server, namespace, code) as sleeper:
        assert sleeper.hear() == "about to write"
        sleeper.signal(signal.SIGSTOP)
        lease = hf.lock("x").acquire(wait="20s")
        hf.execute("SET", lease.key("row"), "theirs")
        sleeper.say()
        sleeper.signal(signal.SIGCONT)
        assert sleeper.hear() == "LEASELOST"
        cause, late, left = sleeper.hear().split()
        assert cause in ("expired", "taken", "unreachable") and late == cause and float(left) == 0.0
        assert hf.execute("GET", lease.key("row")) == b"theirs"
        lease.release()


def test_a_process_that_stood_still_says_so(hf: Holdfast, server, namespace: str):
    """found: "unreachable", although the server was there all the time."""
    code = """
lease = hf.lock("x", ttl="1s").acquire()
time.sleep(0.5)
say("held")
hear()
try:
    lease.ensure()
    say("ours")
except LockLost as error:
    say(error.cause)
"""
    with actor(server, namespace, code) as sleeper:
        assert sleeper.hear() == "held"
        sleeper.signal(signal.SIGSTOP)
        time.sleep(1.3)
        sleeper.say()
        sleeper.signal(signal.SIGCONT)
        assert sleeper.hear() in ("expired", "unreachable")  # the latter if it was frozen while it asked


def test_a_waiter_that_is_killed_takes_no_wake_up_along(hf: Holdfast, server, namespace: str):
    lease = hf.lock("x").acquire()
    code = 'say("waits")\nhf.lock("x", wait=None).acquire()\nsay("got it")\ntime.sleep(60)'
    with actor(server, namespace, code) as dead, actor(server, namespace, code) as alive:
        for one in (dead, alive):
            assert one.hear() == "waits"
        time.sleep(0.3)
        dead.signal(signal.SIGKILL)
        dead.process.wait()
        begun = time.monotonic()
        lease.release()
        assert alive.hear() == "got it"
        assert time.monotonic() - begun < 1.5


# --- forks --------------------------------------------------------------------------------------------------


def in_child(work: Any) -> int:
    """How `work()` ended in the child of a fork: 0 if it returned true."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return child_status(child, 30.0)


@forks
def test_the_child_of_a_fork_holds_nothing_and_may_acquire(hf: Holdfast):
    """found: a child that renews, or gives back, what its parent holds."""
    with hf.lock("x", ttl="900ms") as lease:

        def child() -> bool:
            try:
                lease.ensure()
                return False
            except Exception as error:
                assert getattr(error, "cause", "") == "forked"
            try:
                lease.release()
                return False
            except Exception as error:
                assert getattr(error, "cause", "") == "forked"
            assert lease.lost.is_set() and lease.remaining() == 0.0
            assert hf.lock("x").try_acquire() is None
            with hf.lock("y") as other:
                other.ensure()
            try:
                hf.lock("x").acquire(wait="200ms")
            except LockTimeout as error:
                return seen is not None and error.holder == seen.owner  # it waits, as any other process
            return False

        seen = hf.lock("x").inspect()
        assert seen is not None and seen.pid == os.getpid()
        assert in_child(child) == 0
        time.sleep(1.2)
        lease.ensure()
        assert hf.lock("y").inspect() is None
    assert hf.lock("x").inspect() is None


@forks
def test_a_child_that_leaves_the_body_gives_nothing_back(hf: Holdfast):
    def child() -> bool:
        try:
            context.__exit__(None, None, None)
        except Exception as error:
            return getattr(error, "cause", "") == "forked"
        return False

    context = hf.lock("x", ttl="10s")
    context.__enter__()
    assert in_child(child) == 0
    assert hf.lock("x").try_acquire() is None
    context.__exit__(None, None, None)


@forks
@pytest.mark.parametrize("fair", [False, True])
def test_a_fork_while_others_wait(hf: Holdfast, fair: bool):
    """In the child nobody waits; in the parent they get it. found: queues that the child inherits."""
    lease = hf.lock("x", ttl="10s").acquire()
    got: list[int] = []

    def wait() -> None:
        with hf.lock("x", ttl="10s", fair=fair, wait="20s") as mine:
            got.append(mine.fence)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert until(lambda: hf.lock("x").stats().waiting == 3)
    time.sleep(0.2)

    child = os.fork()
    if not child:
        status = 1
        try:
            assert not hf._locks.lines._all  # else nobody would say for it that it is alive
            with hf.lock("free", fair=fair):
                pass
            with hf.lock("x", ttl="10s", fair=fair, wait="15s") as mine:
                mine.ensure()
            status = 0
        finally:
            os._exit(status)
    time.sleep(0.3)
    begun = time.monotonic()
    lease.release()
    for thread in threads:
        thread.join(20)
    assert len(got) == 3 and got == sorted(got)
    assert child_status(child, 30.0) == 0
    assert time.monotonic() - begun < 10


@forks
def test_a_child_that_acquires_does_not_confuse_its_parent(hf: Holdfast):
    """Parent and child by turns, on what was one client; nobody is inside twice."""
    key = hf.key("inside")
    hf.execute("SET", key, 0)

    def work() -> bool:
        for _ in range(20):
            with hf.lock("x", ttl="10s", wait="20s"):
                if hf.execute("INCR", key) != 1:
                    return False
                hf.execute("DECR", key)
        return True

    child = os.fork()
    if not child:
        os._exit(0 if work() else 2)
    assert work()
    assert child_status(child, 30.0) == 0
