"""The rights that locks need: with exactly those on the page of operations nothing is refused, and none of
them is given in vain.

Static where that is complete (what the scripts call), at work where it is not (what the client sends).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import holdfast.locks
from holdfast import Durability, Holdfast, LockTimeout, NoPermission
from holdfast.cli.__main__ import main
from holdfast.locks.rwlock._sync import RwLock
from holdfast.locks.rwlock.options import RwLockOptions

ROOT = Path(holdfast.locks.__file__).parent

CONNECTING = {"ping", "hello", "select", "client|setname", "info", "command|info", "config|get"}
LOCKS = {
    "get", "set", "del", "exists", "pttl", "pexpire", "incr", "time",
    "zadd", "zrem", "zcard", "zrange", "zrangebyscore", "zscore",
    "eval", "evalsha", "spublish", "ssubscribe", "sunsubscribe", "client|tracking",
}  # fmt: skip
FAMILY = {
    "multilock": set[str](),
    "leader": set[str](),
    "redlock": set[str](),
    "rwlock": {"hget", "hset", "hdel", "zcount", "zremrangebyscore", "pexpireat"},
    "semaphore": {"hget", "hset", "hdel", "zcount", "pexpireat"},
    "latch": {"hget", "hset", "hlen", "hmget", "rename"},
    "register": {"hget", "hset", "persist"},
}
GUARDS = {"multi", "exec"}
IN_CLUSTER = {"cluster|slots", "cluster|info", "asking", "readonly"}
LOOKING = {
    "type", "scan", "dbsize", "pubsub|shardnumsub", "get", "set", "del", "pttl", "time", "eval", "evalsha",
    "zcard", "zrange", "zscore", "zcount", "zrangebyscore", "hget", "spublish", "ssubscribe", "sunsubscribe",
    "client|tracking",
}  # fmt: skip
NOT_OURS = {"acl|setuser", "acl|log", "acl|deluser", "config|resetstat"}  # the test's own


def called(folder: Path) -> set[str]:
    """The commands that the scripts of `folder` call, in whichever of their branches."""
    text = "".join(one.read_text(encoding="utf-8") for one in folder.glob("*.lua"))
    return {one.lower() for one in re.findall(r"redis\.p?call\(\s*['\"](\w+)['\"]", text)}


def test_every_command_that_a_lock_s_scripts_call_is_among_the_rights():
    """Without it a branch that no test takes would be refused to somebody in production."""
    assert called(ROOT) - LOCKS - CONNECTING == set()


@pytest.mark.parametrize("member", [one.name for one in sorted(ROOT.iterdir()) if any(one.glob("*.lua"))])
def test_every_member_of_the_family_needs_what_is_written_and_no_more(member: str):
    """Without it the list for rwlocks, semaphores and latches would age unseen."""
    assert called(ROOT / member) - LOCKS - CONNECTING == FAMILY[member]


# --- at work ------------------------------------------------------------------------------------------------


def use(hf: Holdfast) -> None:
    """What a service does with locks, until every command was needed once."""
    hf.health()
    with hf.lock("a", ttl="5s") as lease:
        assert hf.lock("a").try_acquire() is None
        waiting = later(lambda: hf.lock("a", wait="20s").acquire().release())
        time.sleep(0.5)  # looked at by the thread that renews it, and waited for
        lease.ensure()
    waiting()
    with hf.lock("f", fair=True):
        waiting = later(lambda: hf.lock("f", wait="20s", fair=True).acquire().release())
        later(lambda: missed(hf))()
    waiting()
    strict = hf.lock("s", fence="strict")
    strict.begin_fences()
    strict.acquire().release()
    lock = hf.lock("b")
    lease = lock.acquire()
    assert lock.inspect() is not None
    assert lock.request_release("a test")
    assert lock.force_release()
    assert lease.lost.wait(20)
    hf._wire.hub.deliver("stray", ("EVAL", holdfast.locks.rules.ABANDON.text, 4, *names(hf), "t", 1000), bool)
    give_up = time.monotonic() + 20
    while hf._wire.hub.undelivered() and time.monotonic() < give_up:
        time.sleep(0.01)


def missed(hf: Holdfast) -> None:
    """Stand in the queue, and give up."""
    with pytest.raises(LockTimeout):
        hf.lock("f", wait="100ms", fair=True).acquire()


def names(hf: Holdfast) -> tuple[str, ...]:
    return holdfast.locks.rules.Names(hf._wire.keys, "a").terms("t").abandon_keys


def later(call: Callable[[], object]) -> Callable[[], None]:
    """Have `call` done by another thread; the result waits for that, and raises what it raised."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join() -> None:
        thread.join(30)
        assert not thread.is_alive() and not failed, failed

    return join


def used(admin: Any) -> set[str]:
    """The commands that were called, by whomever, also by scripts, since the last CONFIG RESETSTAT."""
    told = admin.execute("INFO", "commandstats").decode()
    return {*re.findall(r"^cmdstat_([^:]+):", told, re.MULTILINE)} - NOT_OURS


@contextmanager
def user(ask: Callable[..., Any], name: str, namespace: str, rights: set[str]) -> Iterator[None]:
    """A user who has `rights` over the keys and channels of `namespace`."""
    ask("ACL", "SETUSER", name, "reset", "on", ">secret", f"~{namespace}:*", f"&{namespace}:*",
        *(f"+{one}" for one in rights))  # fmt: skip
    ask("ACL", "LOG", "RESET")
    try:
        yield
    finally:
        ask("ACL", "DELUSER", name)


def test_the_rights_are_enough_for_locks_and_none_is_given_in_vain(own_server: Any):
    """Without it the page of operations would list what somebody once believed."""
    with (
        Holdfast(own_server.url) as admin,
        user(admin.execute, "locker", "shop", LOCKS | CONNECTING),
    ):
        admin.execute("CONFIG", "RESETSTAT")
        with Holdfast(f"redis://locker:secret@127.0.0.1:{own_server.port}/1", namespace="shop") as hf:
            hf._wire.hub._watches._linger = 0.05  # type: ignore[attr-defined]  # channels are left at once
            use(hf)
        assert admin.execute("ACL", "LOG") == []
        assert used(admin) == LOCKS | CONNECTING


def test_a_transaction_with_a_guard_needs_two_more(own_server: Any):
    """Without it nobody could tell which rights a guarded write needs."""
    with (
        Holdfast(own_server.url) as admin,
        user(admin.execute, "locker", "shop", LOCKS | CONNECTING | GUARDS),
        Holdfast(f"redis://locker:secret@127.0.0.1:{own_server.port}/0", namespace="shop") as hf,
    ):
        admin.execute("CONFIG", "RESETSTAT")
        with hf.lock("a") as lease, hf.transaction(guard=lease) as tx:
            tx.set(lease.key("done"), 1)
        assert admin.execute("ACL", "LOG") == []
        assert used(admin) >= GUARDS


@pytest.mark.parametrize("right", ["evalsha", "zadd", "incr"])
def test_a_right_that_is_taken_away_is_missed(own_server: Any, right: str):
    """Without it the test above might say that nothing was refused because nothing is refused ever."""
    with (
        Holdfast(own_server.url) as admin,
        user(admin.execute, "locker", "shop", (LOCKS | CONNECTING) - {right}),
        Holdfast(f"redis://locker:secret@127.0.0.1:{own_server.port}/0", namespace="shop") as hf,
    ):
        with pytest.raises((NoPermission, holdfast.Refused)), hf.lock("a", fair=True):
            hf.lock("a", fair=True).try_acquire()
        assert admin.execute("ACL", "LOG")


@pytest.mark.parametrize("gone", ["client|tracking", "ssubscribe", "spublish"])
def test_without_the_right_to_be_told_locks_still_work(own_server: Any, gone: str):
    """Without it a server that grants no pub/sub or no tracking would hang its waiters."""
    with (
        Holdfast(own_server.url) as admin,
        user(admin.execute, "locker", "shop", (LOCKS | CONNECTING) - {gone}),
        Holdfast(f"redis://locker:secret@127.0.0.1:{own_server.port}/0", namespace="shop") as hf,
    ):
        with hf.lock("a", ttl="1s") as lease:
            waiting = later(lambda: hf.lock("a", wait="20s").acquire().release())
            time.sleep(1.2)  # beyond its ttl
            lease.ensure()
        waiting()


def test_the_rights_are_enough_in_a_cluster(cluster_lab: Any, namespace: str):
    """Without it a lock could work on one server, and be refused what it sends to a Cluster."""
    rights = LOCKS | CONNECTING | IN_CLUSTER | {"wait"}
    with ExitStack() as stack:
        for node in cluster_lab.nodes:
            stack.enter_context(user(node.ask, namespace, namespace, rights))
        scheme, _, rest = cluster_lab.url.partition("://")
        url = f"{scheme}://{namespace}:secret@{rest.rpartition('@')[2]}"
        with Holdfast(url, namespace=namespace, timeout="20s") as hf:
            use(hf)
            hf.lock("r", durability=Durability(replicas=1, within="10s")).acquire().release()
        refused = [line for node in cluster_lab.nodes for line in refusals(node, namespace)]
    assert refused == []


def refusals(node: Any, name: str) -> list[str]:
    """What the ACL of `node` has refused to the user `name`."""
    lines = [list(one.items() if isinstance(one, dict) else one) for one in node.ask("ACL", "LOG")]
    return [str(one) for one in lines if name in str(one)]


def test_the_command_line_needs_a_few_more_to_look(own_server: Any, capsys: pytest.CaptureFixture[str]):
    """Without it an operator's user would be a guess."""
    url = f"redis://watcher:secret@127.0.0.1:{own_server.port}/0"
    told = ["--url", url, "--namespace", "shop", "--json"]
    with (
        Holdfast(own_server.url) as admin,
        user(admin.execute, "watcher", "shop", LOOKING | CONNECTING),
        Holdfast(own_server.url, namespace="shop") as hf,
    ):
        lease = hf.lock("a").acquire()
        hf.execute("ZADD", f"{hf.lock('a').key}:q", 1, "a ticket")
        reader = RwLock(hf._locks, "a", RwLockOptions()).read().acquire()
        admin.execute("CONFIG", "RESETSTAT")
        for words in (
            ["list"],
            ["show", "a"],
            ["break", "a", "--ask", "x", "--wait", "0s"],
            ["break", "a", "--yes"],
        ):
            main(["locks", *words, *told])
        assert admin.execute("ACL", "LOG") == []
        assert lease.lost.wait(20)
        assert used(admin) - CONNECTING >= LOOKING - {"client|tracking", "ssubscribe", "sunsubscribe"}
        reader.release()
    assert capsys.readouterr().err == ""


def test_the_page_of_operations_gives_these_rights():
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.search(r"ACL SETUSER locker (.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    told = {
        one.strip("'")[1:] for one in found[1].replace("\\\n", "").split() if one.strip("'").startswith("+")
    }
    assert told == LOCKS | CONNECTING
