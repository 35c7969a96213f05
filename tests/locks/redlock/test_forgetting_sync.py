# Generated from test_forgetting_async.py by tools/unasync.py. Do not edit.
"""What a Redlock makes of servers that were restarted, with or without what they had granted, or replaced.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from holdfast import LockTimeout, NoQuorum
from holdfast._compat import sleep, boottime
from holdfast.locks.redlock import rules
from tests.cache.crowd import Crowd
from tests.locks.redlock.some import Over, left, tombs


def grab(lock: Any) -> Any:
    """What an attempt finds: a lease, or an error. The first ones notice that connections are lost."""
    for _ in range(10):
        try:
            return lock.acquire(wait=0)
        except (NoQuorum, LockTimeout) as error:
            found = error
            if "unreachable" not in str(error) and "too slow" not in str(error):
                break
    return found


def test_a_node_that_was_restarted_empty_does_not_count_within_the_longest_lease(
    forgetful, namespace: str
):
    """The classic story: A has a lease, a majority of the nodes forgets it, B asks.

    found: without the rule, B had it too, while A was sure of its lease.
    """
    short: dict[str, Any] = {"ttl": "1s", "node_timeout": "300ms", "renew": False}
    with (
        Over(forgetful, namespace, **short) as one,
        Over(forgetful, namespace, **short) as two,
    ):
        with two:
            pass
        lease = one.acquire()
        for node in forgetful.nodes[:2]:
            node.restart(empty=True)
        found = grab(two)
        assert isinstance(found, NoQuorum), found
        assert "2 too young" in str(found) and "restarted since" in str(found)
        assert found.retry_after is not None and 1 <= found.retry_after <= 2
        with two as later:
            assert later.fence > lease.fence
        assert lease.remaining() == 0


def test_without_the_restart_rule_two_have_it_at_once(forgetful, namespace: str, monkeypatch):
    """What the rule is for: its removal, here by hand, is seen."""
    short: dict[str, Any] = {"ttl": "1s", "node_timeout": "300ms", "renew": False}
    with (
        Over(forgetful, namespace, **short) as one,
        Over(forgetful, namespace, **short) as two,
    ):
        for node in (*one._nodes, *two._nodes):
            monkeypatch.setattr(node, "claim", partial(claim_without_the_rule, node))
        for _ in range(5):  # a restart may take longer than the lease, on a busy machine
            lease = one.acquire()
            for node in forgetful.nodes[:2]:
                node.restart(empty=True)
            found = grab(two)
            if lease.remaining() > 0 and not isinstance(found, Exception):
                found.release()
                return
        raise AssertionError(f"not seen: {found!r}")


def claim_without_the_rule(node: Any, names: Any, token: str, owner: str) -> Any:
    """As Node.claim, and a node may be as young as it likes."""
    args = (token, node._ttl_ms, -10_000, "", owner)
    found = node._ask(rules.CLAIM, names.claim(token), args)
    return found if isinstance(found, rules.Answer) else rules.claimed(found)


def test_a_node_that_syncs_every_write_counts_at_once(lab, namespace: str):
    """It remembers what it granted."""
    with Over(lab, namespace) as one, Over(lab, namespace) as two:
        with one as lease:
            for node in lab.nodes:
                node.kill()
            for node in lab.nodes:
                node.restart()
            found = grab(two)
            assert isinstance(found, LockTimeout), found
            Crowd.until(lambda: left(lab, one), [0, 1, 2])
            lease.ensure()
        with two as later:
            assert later.fence > lease.fence


def test_where_config_is_forbidden_it_is_not_believed(lab, namespace: str):
    for node in lab.nodes:
        node.ask("ACL", "SETUSER", "shy", "on", ">secret", "~*", "&*", "+@all", "-config")
    urls = [f"redis://shy:secret@127.0.0.1:{node.port}" for node in lab.nodes]
    with Over(urls, namespace) as lock:
        with pytest.raises(NoQuorum, match="3 too young"):
            lock.acquire(wait="10ms")
    for node in lab.nodes:
        node.ask("ACL", "SETUSER", "shy", "-info")
    with Over(urls, namespace) as lock:
        with pytest.raises(NoQuorum, match="INFO is forbidden"):
            lock.acquire(wait="10ms")
    assert tombs(lab, namespace) == 0


def test_a_server_may_call_itself_a_second_older_than_it_is(forgetful, namespace: str):
    """Both ends of its uptime are cut to whole seconds.

    found: without MARGIN in claim.lua, a node that was 0.2 s old counted for a longest lease of 1 s.
    """
    with Over(forgetful, namespace, ttl="1s", node_timeout="300ms") as lock:
        with lock:
            pass
        node = forgetful.nodes[0]
        for _ in range(20):
            sleep((0.75 - time.time()) % 1)  # late in a second
            node.restart(empty=True)
            begun = time.monotonic()
            while int(node.info("server")["uptime_in_seconds"]) < 1:
                sleep(0.005)
            if time.monotonic() - begun < 0.6:
                break
        seen = [one for one in lock.inspect() if one.server == lock._nodes[0].name]
        while seen[0].error:  # the first question finds the connection lost
            seen = [one for one in lock.inspect() if one.server == lock._nodes[0].name]
        assert time.monotonic() - begun < 1, "a busy machine: nothing was shown"
        assert seen[0].uptime == 1 and not seen[0].counts
        lease = lock.acquire()
        Crowd.until(lambda: left(forgetful, lock), [1, 2])
        lease.release()


def replaced(node: Any) -> None:
    """Make a client believe that it knew another server at this place, a moment ago."""
    node._known.met("f" * 40, 1000, boottime())


def test_a_server_that_took_over_does_not_count_however_old_it_is(lab, namespace: str):
    """A replica that became the primary may lack what its predecessor had granted.

    found: without `is_new` in claim it was granted; without it in the post, a renewal made it count.
    """
    Crowd.until(
        lambda: all(int(node.info("server")["uptime_in_seconds"]) >= 3 for node in lab.nodes)
    )
    with Over(lab, namespace, ttl="1500ms") as lock:
        for node in lock._nodes[:2]:
            replaced(node)
        with pytest.raises(NoQuorum, match="2 too young .*taken over"):
            lock.acquire(wait=0)
        Crowd.until(lambda: left(lab, lock), [])
        with lock:  # once the longest lease has passed
            pass
        replaced(lock._nodes[0])
        lease = lock.acquire()
        sleep(0.9)
        assert lease._deadlines._of[0] < 0 < lease._deadlines._of[1]
        lease.release()
        Crowd.until(lambda: left(lab, lock), [])
