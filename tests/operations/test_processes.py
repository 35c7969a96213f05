"""Operations when processes are killed, frozen and forked, and when replies are lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast import AlreadyDone, Holdfast, Unavailable
from holdfast.operations import rules
from holdfast.operations._sync import Operations
from holdfast.operations.options import OperationLost, OperationsOptions
from tests.operations import storm
from tests.operations.actor import OPTIONS, REFUSED
from tests.operations.test_operations_sync import Clerk, make
from tests.operations.world import until

ROOT = Path(__file__).parents[2]


@contextmanager
def actor(url: str, namespace: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has begun an operation, has kept a checkpoint, and has stopped itself."""
    script = str(Path(__file__).with_name("actor.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script, url, namespace], env=environment)
    try:
        until(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), 20)
        yield process
    finally:
        process.kill()
        process.wait()


def test_what_a_killed_process_had_begun_is_recovered_after_its_lease(server, namespace: str, hf: Holdfast):
    ops: Any = Operations(hf._wire, "actors", OPTIONS)
    clerk = Clerk()
    with actor(server.url, namespace) as process:
        process.kill()
        process.wait()
        with ops.watch(clerk):
            until(lambda: ops.stats().completed)
    assert clerk.seen == [("r", "1", "data", 2, {"half": 1})]
    (failure,) = ops.inspect("r", "1").failures
    assert "interrupted" in failure.error and str(process.pid) in failure.error


def test_a_frozen_process_is_refused_when_it_thaws(server, namespace: str, hf: Holdfast):
    ops: Any = Operations(hf._wire, "actors", OPTIONS)
    with actor(server.url, namespace) as process:
        with ops.watch(Clerk("in time")):
            until(lambda: ops.stats().completed)
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == REFUSED
    status = ops.inspect("r", "1")
    assert (status.result, dict(status.checkpoints)) == ("in time", {"half": 1})


def test_the_child_of_a_fork_holds_nothing(hf: Holdfast):
    """It has the parent's fence: without this it could complete the parent's operation."""
    ops = make(hf)
    with ops.run("r", "1") as op:
        child = os.fork()
        if not child:
            status = 1
            try:
                op.complete("the child's")
            except OperationLost as error:
                status = 0 if error.cause == "forked" else 2
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(ended) == 0
        op.complete("the parent's")
    assert ops.inspect("r", "1").result == "the parent's"


# --- lost replies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["BEGIN", "CHECKPOINT", "COMPLETE"])
def test_a_lost_reply_changes_nothing(faults, namespace: str, script: str):
    """The request is repeated, and finds what the first one did."""
    with Holdfast(faults.url, namespace=namespace) as hf:
        ops = make(hf)
        with ops.run("r", "0") as op:  # the scripts are known now
            op.checkpoint("a")
            op.complete()
        faults.drop_replies(match=getattr(rules, script).digest.encode())
        with ops.run("r", "1") as op:
            assert op.attempt == 1
            op.checkpoint("a", 1)
            op.complete("done")
        assert not faults.heal()
        status = ops.inspect("r", "1")
        assert (status.state, status.attempt, dict(status.checkpoints)) == ("done", 1, {"a": 1})


def test_a_lost_reply_of_a_failure_and_of_a_claim_use_up_one_attempt(faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace) as hf:
        ops = make(hf, retry=(0, 0))
        for id in ("0", "1"):
            with ops.run("r", id) as op:
                if id == "1":
                    faults.drop_replies(match=rules.FAIL.digest.encode())
                op.fail("once")
        time.sleep(0.02)
        assert ops.recover(Clerk()) == 2
        with ops.run("r", "2") as op:
            op.fail("once")
        faults.drop_replies(match=rules.CLAIM.digest.encode())
        clerk = Clerk()
        until(lambda: ops.recover(clerk))
        assert not faults.heal()
        assert [one[3] for one in clerk.seen] == [2]


def test_what_was_done_while_the_server_was_away_is_told_later(faults, namespace: str, monkeypatch):
    """And it is not said to have failed, although the body ends with an exception."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("said to have failed")

    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        ops = make(hf)
        monkeypatch.setattr(ops._desk, "fail", never)
        with pytest.raises(Unavailable), ops.run("r", "1") as op:
            faults.refuse()
            faults.cut()
            op.complete("done")
        faults.accept()
        until(lambda: ops.inspect("r", "1").state == "done")
        with pytest.raises(AlreadyDone) as told, ops.run("r", "1"):
            raise AssertionError("entered")
        assert told.value.result == "done"


def test_what_began_without_anybody_hearing_of_it_is_undone(faults, namespace: str):
    """Else the key would be busy for a whole lease, and a handler would recover what the caller gave up."""
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        ops = make(hf)
        ops.pending()
        with ops.run("r", "0") as op:
            op.complete()
        faults.swallow_replies()
        with pytest.raises(Unavailable), ops.run("r", "1"):
            raise AssertionError("entered")
        faults.heal()
        until(lambda: hf._hub.undelivered() == 0)
        assert ops.inspect("r", "1") is None and ops.pending() == []


def test_a_duplicate_waits_on_while_the_server_is_away(faults, server, namespace: str):
    with (
        Holdfast(faults.url, namespace=namespace, timeout="200ms") as hf,
        Holdfast(server.url, namespace=namespace) as other,
    ):
        results: list[object] = []

        def wait() -> None:
            with pytest.raises(AlreadyDone) as told, make(hf).run("r", "1", wait="20s"):
                raise AssertionError("entered")
            results.append(told.value.result)

        waiter = threading.Thread(target=wait)
        with make(other).run("r", "1") as op:
            waiter.start()
            until(lambda: faults.commands("SSUBSCRIBE"))
            faults.refuse()
            faults.cut()
            op.complete("done")
            time.sleep(0.6)
        faults.accept()
        waiter.join(20)
    assert results == ["done"]


def test_a_body_learns_that_the_server_is_away_before_anybody_else_can_have_it(
    faults, server, namespace: str
):
    with Holdfast(faults.url, namespace=namespace) as hf, Holdfast(server.url, namespace=namespace) as other:
        ops, theirs = make(hf, lease="600ms"), make(other, lease="600ms")
        seen: list[str] = []
        with pytest.raises(OperationLost) as told, ops.run("r", "1") as op:
            faults.refuse()
            faults.cut()

            def recovered(theirs_op: Any) -> None:
                seen.append("lost" if op.lost.is_set() else "held")
                theirs_op.complete()

            with theirs.watch(recovered):
                until(lambda: seen)
            op.ensure()
        assert seen == ["lost"] and told.value.cause == "unreachable"


# --- storms ------------------------------------------------------------------------------------------------


def blow(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.operations.storm", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def check(found: dict[str, Any], count: int) -> None:
    assert (found["done"], found["done_twice"], found["begun_after_done"]) == (count, 0, 0), found
    assert (found["pending"], found["dead"], found["left"], found["crashed"]) == (0, 0, 0, 0), found


def test_a_short_storm_completes_each_operation_once(server):
    options = ("--workers", "3", "--calm", "0.4", "--lease", "0.5", "--body", "0.15")
    found = blow("--operations", "100", "--url", server.url, *options)
    check(found, 100)
    assert found["killed"] + found["frozen"] > 0


@pytest.mark.soak
def test_a_storm_of_ten_thousand_completes_each_operation_once():
    check(blow("--operations", "10000", "--body", "0.3"), 10_000)


def test_the_storm_would_notice(hf: Holdfast):
    ops = make(hf, ttl="1h")
    for id in range(3):
        with ops.run(storm.resource(id), id) as op:
            op.complete(op.fence)
    fences = [ops.inspect(storm.resource(id), id).result for id in range(3)]
    lines = [f"began {id} {fence} 1\ndone {id} {fence}" for id, fence in enumerate(fences)]
    good = "\n".join(lines).splitlines()
    assert [storm.judge(ops, 3, good)[what] for what in ("done", "done_twice", "begun_after_done")] == [
        3,
        0,
        0,
    ]
    assert storm.judge(ops, 3, [*good, f"done 1 {fences[1] - 1}"])["done_twice"] == 1
    assert storm.judge(ops, 3, [*good, f"began 1 {fences[1] + 1} 2"])["begun_after_done"] == 1
    assert storm.judge(ops, 4, good)["done"] == 3


# --- many at once -------------------------------------------------------------------------------------------


def test_threads_that_come_at_the_same_moment_run_it_once(hf: Holdfast):
    ops: Operations[Any] = Operations(hf._wire, "threads", OperationsOptions(lease="1m"))
    calls: list[int] = []

    @ops.idempotent("{key}")
    def once(key: str) -> int:
        calls.append(1)
        time.sleep(0.2)
        return len(calls)

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(once("k"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [1] * 20
