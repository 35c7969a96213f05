# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a Redlock makes of servers that were restarted, with or without what they had granted, or replaced.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from holdfast import LockTimeout, NoQuorum
from holdfast._compat import asleep, boottime
from holdfast.locks.redlock import rules
from tests.cache.crowd import AsyncCrowd
from tests.locks.redlock.some import AsyncOver, left, tombs


async def grab(lock: Any) -> Any:
    """What an attempt finds: a lease, or an error. The first ones notice that connections are lost."""
    for _ in range(10):
        try:
            return await lock.acquire(wait=0)
        except (NoQuorum, LockTimeout) as error:
            found = error
            if "unreachable" not in str(error) and "too slow" not in str(error):
                break
    return found


async def test_a_node_that_was_restarted_empty_does_not_count_within_the_longest_lease(
    forgetful, namespace: str
):
    """The classic story: A has a lease, a majority of the nodes forgets it, B asks.

    found: without the rule, B had it too, while A was sure of its lease.
    """
    short: dict[str, Any] = {"ttl": "1s", "node_timeout": "300ms", "renew": False}
    async with (
        AsyncOver(forgetful, namespace, **short) as one,
        AsyncOver(forgetful, namespace, **short) as two,
    ):
        async with two:
            pass
        lease = await one.acquire()
        for node in forgetful.nodes[:2]:
            node.restart(empty=True)
        found = await grab(two)
        assert isinstance(found, NoQuorum), found
        assert "2 too young" in str(found) and "restarted since" in str(found)
        assert found.retry_after is not None and 1 <= found.retry_after <= 2
        async with two as later:
            assert later.fence > lease.fence
        assert lease.remaining() == 0


async def test_without_the_restart_rule_two_have_it_at_once(forgetful, namespace: str, monkeypatch):
    """What the rule is for: its removal, here by hand, is seen."""
    short: dict[str, Any] = {"ttl": "1s", "node_timeout": "300ms", "renew": False}
    async with (
        AsyncOver(forgetful, namespace, **short) as one,
        AsyncOver(forgetful, namespace, **short) as two,
    ):
        for node in (*one._nodes, *two._nodes):
            monkeypatch.setattr(node, "claim", partial(claim_without_the_rule, node))
        for _ in range(5):  # a restart may take longer than the lease, on a busy machine
            lease = await one.acquire()
            for node in forgetful.nodes[:2]:
                node.restart(empty=True)
            found = await grab(two)
            if lease.remaining() > 0 and not isinstance(found, Exception):
                await found.release()
                return
        raise AssertionError(f"not seen: {found!r}")


async def claim_without_the_rule(node: Any, names: Any, token: str, owner: str) -> Any:
    """As AsyncNode.claim, and a node may be as young as it likes."""
    args = (token, node._ttl_ms, -10_000, "", owner)
    found = await node._ask(rules.CLAIM, names.claim(token), args)
    return found if isinstance(found, rules.Answer) else rules.claimed(found)


async def test_a_node_that_syncs_every_write_counts_at_once(lab, namespace: str):
    """It remembers what it granted."""
    async with AsyncOver(lab, namespace) as one, AsyncOver(lab, namespace) as two:
        async with one as lease:
            for node in lab.nodes:
                node.kill()
            for node in lab.nodes:
                node.restart()
            found = await grab(two)
            assert isinstance(found, LockTimeout), found
            await AsyncCrowd.until(lambda: left(lab, one), [0, 1, 2])
            lease.ensure()
        async with two as later:
            assert later.fence > lease.fence


async def test_where_config_is_forbidden_it_is_not_believed(lab, namespace: str):
    for node in lab.nodes:
        node.ask("ACL", "SETUSER", "shy", "on", ">secret", "~*", "&*", "+@all", "-config")
    urls = [f"redis://shy:secret@127.0.0.1:{node.port}" for node in lab.nodes]
    async with AsyncOver(urls, namespace) as lock:
        with pytest.raises(NoQuorum, match="3 too young"):
            await lock.acquire(wait="10ms")
    for node in lab.nodes:
        node.ask("ACL", "SETUSER", "shy", "-info")
    async with AsyncOver(urls, namespace) as lock:
        with pytest.raises(NoQuorum, match="INFO is forbidden"):
            await lock.acquire(wait="10ms")
    assert tombs(lab, namespace) == 0


async def test_a_server_may_call_itself_a_second_older_than_it_is(forgetful, namespace: str):
    """Both ends of its uptime are cut to whole seconds.

    found: without MARGIN in claim.lua, a node that was 0.2 s old counted for a longest lease of 1 s.
    """
    async with AsyncOver(forgetful, namespace, ttl="1s", node_timeout="300ms") as lock:
        async with lock:
            pass
        node = forgetful.nodes[0]
        for _ in range(20):
            await asleep((0.75 - time.time()) % 1)  # late in a second
            node.restart(empty=True)
            begun = time.monotonic()
            while int(node.info("server")["uptime_in_seconds"]) < 1:
                await asleep(0.005)
            if time.monotonic() - begun < 0.6:
                break
        seen = [one for one in await lock.inspect() if one.server == lock._nodes[0].name]
        while seen[0].error:  # the first question finds the connection lost
            seen = [one for one in await lock.inspect() if one.server == lock._nodes[0].name]
        assert time.monotonic() - begun < 1, "a busy machine: nothing was shown"
        assert seen[0].uptime == 1 and not seen[0].counts
        lease = await lock.acquire()
        await AsyncCrowd.until(lambda: left(forgetful, lock), [1, 2])
        await lease.release()


def replaced(node: Any) -> None:
    """Make a client believe that it knew another server at this place, a moment ago."""
    node._known.met("f" * 40, 1000, boottime())


async def test_a_server_that_took_over_does_not_count_however_old_it_is(lab, namespace: str):
    """A replica that became the primary may lack what its predecessor had granted.

    found: without `is_new` in claim it was granted; without it in the post, a renewal made it count.
    """
    await AsyncCrowd.until(
        lambda: all(int(node.info("server")["uptime_in_seconds"]) >= 3 for node in lab.nodes)
    )
    async with AsyncOver(lab, namespace, ttl="1500ms") as lock:
        for node in lock._nodes[:2]:
            replaced(node)
        with pytest.raises(NoQuorum, match="2 too young .*taken over"):
            await lock.acquire(wait=0)
        await AsyncCrowd.until(lambda: left(lab, lock), [])
        async with lock:  # once the longest lease has passed
            pass
        replaced(lock._nodes[0])
        lease = await lock.acquire()
        await asleep(0.9)
        assert lease._deadlines._of[0] < 0 < lease._deadlines._of[1]
        await lease.release()
        await AsyncCrowd.until(lambda: left(lab, lock), [])
