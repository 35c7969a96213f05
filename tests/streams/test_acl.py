"""The rights that streams need: with exactly those nothing is refused, and none of them is given in vain.

Static where that is complete (what the scripts call), at work where it is not (what the client sends).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import holdfast.streams
from holdfast import Holdfast, NoPermission, Refused
from holdfast.streams.options import Backoff, Retention
from holdfast.streams.rules import Reject
from tests.cache.crowd import Crowd
from tests.locks.test_acl import CONNECTING, called, refusals, used, user

ROOT = Path(holdfast.streams.__file__).parent

PUBLISHING = {
    "eval", "evalsha", "time", "get", "set", "del", "hget", "hset", "hdel", "pexpire", "zadd", "zrem", "xadd",
    "spublish",
}  # fmt: skip
CONSUMING = PUBLISHING | {
    "exists", "hexists", "hkeys", "type", "zcard", "zrange", "zrangebyscore", "zremrangebyscore", "zscore",
    "xack", "xclaim", "xdel", "xgroup|create", "xgroup|delconsumer", "xinfo|consumers", "xinfo|groups",
    "xinfo|stream", "xlen", "xpending", "xrange", "xreadgroup", "xtrim", "ssubscribe", "sunsubscribe",
    "client|tracking",
}  # fmt: skip
MEASURING = {"memory|usage"}  # for Retention.limits(max_bytes=)
LOOKING = {
    "unlink",
    "xrevrange",
    "xgroup|setid",
    "xgroup|destroy",
}  # dead letters, lag, seek, deleting groups
AT_TIMES = {"xtrim", "hkeys", "client|tracking"}  # called from time to time only
EFFECTS = {"incrby", "hincrby"}
IN_CLUSTER = {"cluster|slots", "cluster|info", "asking", "readonly"}


def containers(rights: set[str]) -> set[str]:
    """The commands, without their subcommands."""
    return {one.partition("|")[0] for one in rights}


def test_every_command_that_a_script_calls_is_among_the_rights():
    """Without it a branch that no test takes would be refused to somebody in production."""
    assert called(ROOT) - containers(CONSUMING | EFFECTS | MEASURING | LOOKING | CONNECTING) == set()


def publish(hf: Holdfast) -> None:
    """What those do who only publish."""
    numbers = hf.stream("numbers", key=key_of)
    numbers.publish(1)
    numbers.publish(1, id="x")
    numbers.publish(1, id="x")
    numbers.publish_many(range(5))
    numbers.cancel(numbers.publish(9, delay="1h").id)
    numbers.publish(3, delay="50ms")


def key_of(number: int) -> int:
    return number % 3


def consume(hf: Holdfast, missing: Callable[[], set[str]] = set) -> None:
    """What workers do, until none of the rights that they should need is `missing`."""
    numbers = hf.stream("numbers", key=key_of)
    other = hf.stream("other", partitions=2, retention=Retention.work_queue())
    seen: list[int] = []
    ended: set[str] = set()

    @numbers.subscriber("keyed", retry=Backoff("20ms"), max_deliveries=2, lease="6s")
    def keyed(number: int, message: Any) -> None:
        if number == 2:
            raise ValueError
        with message.effects() as fx:
            fx.set(message.key("s"), 1)
            fx.incrby(message.key("n"))
            fx.hset(message.key("h"), "f", 1)
            fx.hincrby(message.key("h"), "n")
            fx.delete(message.key("d"))
            fx.publish(other, number)
        ended.add("keyed")

    @numbers.subscriber("any", order="none", retry=Backoff("20ms"), start="new")
    def plain(number: int, message: Any) -> None:
        if number == 2 and message.deliveries == 1:
            raise ValueError
        if number == 4:
            raise Reject
        seen.append(number)

    @other.subscriber("other")
    def handle(number: int) -> None:
        time.sleep(0.05)
        ended.add("other")

    hf.run(until="idle")
    with Crowd() as crowd:
        running = crowd.start(hf.run)
        publish(hf)
        crowd.until(lambda: 3 in seen and ended == {"keyed", "other"})
        hf.execute("DEL", numbers._desk.layout.parts[0].stream)
        numbers.publish(7)
        crowd.until(lambda: 7 in seen)
        crowd.until(lambda: missing() - {"sunsubscribe"}, set())  # they tidy up after seconds only
        hf.stop()
        running.result()
        crowd.until(missing, set())


def test_the_rights_are_enough_for_those_who_publish(own_server: Any):
    with Holdfast(own_server.url) as admin, user(admin.execute, "clerk", "shop", PUBLISHING | CONNECTING):
        with Holdfast(f"redis://clerk:secret@127.0.0.1:{own_server.port}/0", namespace="shop") as hf:
            publish(hf)
        assert admin.execute("ACL", "LOG") == []


def test_the_rights_are_enough_for_workers_and_none_is_given_in_vain(own_server: Any):
    """Without it the page of operations would list what somebody once believed."""
    rights = CONSUMING | EFFECTS | CONNECTING
    with Holdfast(own_server.url) as admin, user(admin.execute, "worker", "shop", rights):
        admin.execute("CONFIG", "RESETSTAT")
        with Holdfast(f"redis://worker:secret@127.0.0.1:{own_server.port}/0", namespace="shop") as hf:
            hf._wire.hub._watches._linger = 0.05  # type: ignore[attr-defined]  # channels are left at once
            consume(hf, lambda: (CONSUMING | EFFECTS) - used(admin) - AT_TIMES)
        assert admin.execute("ACL", "LOG") == []


@pytest.mark.parametrize("right", ["evalsha", "xadd"])
def test_a_right_that_is_taken_away_is_missed(own_server: Any, right: str):
    """Without it the tests above might say that nothing was refused because nothing is refused ever."""
    rights = (PUBLISHING | CONNECTING) - {right}
    with (
        Holdfast(own_server.url) as admin,
        user(admin.execute, "clerk", "shop", rights),
        Holdfast(f"redis://clerk:secret@127.0.0.1:{own_server.port}/0", namespace="shop") as hf,
    ):
        with pytest.raises((NoPermission, Refused)):
            hf.stream("numbers").publish(1)
        assert admin.execute("ACL", "LOG")


def test_the_rights_are_enough_in_a_cluster(cluster_lab: Any, namespace: str):
    """Without it a stream could work on one server, and be refused what it sends to a Cluster."""
    rights = CONSUMING | EFFECTS | CONNECTING | IN_CLUSTER
    with ExitStack() as stack:
        for node in cluster_lab.nodes:
            stack.enter_context(user(node.ask, namespace, namespace, rights))
        scheme, _, rest = cluster_lab.url.partition("://")
        url = f"{scheme}://{namespace}:secret@{rest.rpartition('@')[2]}"
        with Holdfast(url, namespace=namespace, timeout="20s") as hf:
            consume(hf)
        assert [line for node in cluster_lab.nodes for line in refusals(node, namespace)] == []
