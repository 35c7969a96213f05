"""Events on a server that gives few rights, and on a Cluster that is being changed."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

import holdfast.events
from holdfast import Holdfast, NoPermission
from holdfast._wire.cluster.slots import slot_of
from tests.events.actor import log_of, totals
from tests.events.world import add, ns, until

CONNECTING = {"ping", "hello", "select", "client|setname", "info", "command|info", "config|get"}
PAGE = Path(__file__).parents[2] / "docs" / "events.md"
RIGHTS = {
    one.lower()
    for one in re.findall(r"[A-Z|]{3,}", PAGE.read_text("utf-8").rpartition("## Rights")[2].partition(";")[0])
}
DROPPING = {"scan", "unlink"}


def test_every_command_of_the_scripts_is_among_the_rights():
    """Without it a branch that no test takes would be refused to somebody in production."""
    text = "".join(one.read_text("utf-8") for one in Path(holdfast.events.__file__).parent.glob("*.lua"))
    called = {one.lower() for one in re.findall(r"redis\.p?call\(\s*['\"](\w+)['\"]", text)}
    assert {one for one in called if one != "xinfo"} - RIGHTS == set() and "xinfo|stream" in RIGHTS


def use(hf: Holdfast) -> None:
    """What a service does with events, until every command was needed once."""
    assert hf.health()["ok"]
    log = log_of(hf)
    log.append("a", ns(1, 2), expected=0)
    log.append("a", ns(3), id="x")
    log.append("a", ns(4))
    part = log._desk.layout.parts[0]
    assert len(log.read("a")) == 4 and len(log.read("a", backward=True)) == 4
    hf.execute("HDEL", part.versions, "a")  # its counter is found again
    assert log.append("a", ns(5)).last == 5
    log.snapshot("a", 15, version=5)
    assert log.load("a", add, 0).version == 5
    with log.subscribe() as events:
        assert next(events).version == 1

    def handle(fx: Any, event: Any) -> None:
        fx.set(fx.key("string"), 1)
        fx.incrby(fx.key("count"), 1)
        fx.hset(fx.key("hash"), {"a": 1, "b": 2})
        fx.hincrby(fx.key("hash"), "c", 1)
        fx.hdel(fx.key("hash"), "b")
        fx.sadd(fx.key("set"), "a")
        fx.srem(fx.key("set"), "b")
        fx.zadd(fx.key("zset"), {"a": 1})
        fx.zincrby(fx.key("zset"), "c", 1)
        fx.zrem(fx.key("zset"), "b")
        fx.delete(fx.key("gone"))

    for version in (1, 2):
        projection = log.projection("p", version=version)(handle)
        projection.start()
        until(lambda: projection.is_idle())  # noqa: B023
        assert log._desk.turn(part, "p", version, "another", 1000, 1)[0] == 0
        projection.close()
    assert projection.query("GET", "count") == b"5" and projection.parked() == []
    projection.activate(1)
    assert projection.drop(2) == 5
    assert log.archive("a") == 5


def test_the_rights_on_the_page_are_enough_and_none_is_given_in_vain(own_server: Any):
    """Without it the page would list what somebody once believed."""
    rights = RIGHTS | CONNECTING | DROPPING
    with Holdfast(own_server.url) as admin:
        admin.execute("ACL", "SETUSER", "teller", "reset", "on", ">secret", "~shop:*", "&shop:*",
                      *(f"+{one}" for one in rights))  # fmt: skip
        admin.execute("ACL", "LOG", "RESET")
        admin.execute("CONFIG", "RESETSTAT")
        with Holdfast(f"redis://teller:secret@127.0.0.1:{own_server.port}/0", namespace="shop") as hf:
            hf._wire.hub._watches._linger = 0.01  # type: ignore[attr-defined]  # channels are left at once
            use(hf)
            until(lambda: not hf._wire.hub._watches._channels)  # type: ignore[attr-defined]
            with pytest.raises(NoPermission):
                hf.execute("FLUSHALL")
        told = admin.execute("INFO", "commandstats").decode()
        used = {*re.findall(r"^cmdstat_([^:]+):calls=[1-9]", told, re.MULTILINE)}
        assert rights - {"select"} - used == set()
        (refused,) = admin.execute("ACL", "LOG")
        assert b"flushall" in (refused.values() if isinstance(refused, dict) else refused)


def test_slots_that_move_lose_and_double_nothing(cluster_lab: Any, namespace: str):
    """Scripts find some of their keys on the one node and some on the other, and must not take that for an
    empty log.
    """
    with Holdfast(cluster_lab.url, namespace=namespace, timeout="20s") as hf:
        log = log_of(hf)
        projection = totals(log)
        projection.start()
        over = threading.Event()
        seen: list[int] = []
        count = [0]

        def append() -> None:
            while not over.is_set():
                log.append("a", ns(1), expected=count[0])
                count[0] += 1

        def read() -> None:
            with log.subscribe() as events:
                for event in events:
                    seen.append(event.version)
                    if event.stream == "end":
                        return

        threads = [threading.Thread(target=one, daemon=True) for one in (append, read)]
        for thread in threads:
            thread.start()
        key = log._desk.layout.parts[0].log
        for _ in range(4):
            here = cluster_lab.primary_of(key)
            there = next(node for node in cluster_lab.primaries if node is not here)
            cluster_lab.move_slot(slot_of(key), there)
        over.set()
        threads[0].join(30)
        last = log.append("end", ns(1))
        threads[1].join(30)
        assert count[0] > 20, "nothing was put to the test"
        assert seen == [*range(1, count[0] + 1), 1]
        assert [one.version for one in log.read("a")] == seen[:-1]
        projection.wait(last)
        assert int(projection.query("GET", "sum")) == count[0] + 1
        projection.close(5.0)
