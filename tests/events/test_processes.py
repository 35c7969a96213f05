"""Appenders and projections in several processes and threads, killed ones, and lost replies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast import Holdfast, Unavailable
from holdfast.events import rules
from tests.events.actor import append, log_of, totals
from tests.events.world import ns, until

ROOT = Path(__file__).parents[2]


@contextmanager
def actor(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of actor.py."""
    script = str(Path(__file__).with_name("actor.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, script, *arguments], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_appenders_of_several_processes_and_threads_leave_no_gap(server, namespace: str, hf: Holdfast):
    """Each decides on the version it has seen; none may overwrite another, and the order has no holes."""
    log = log_of(hf)
    log.append("shared", ns(0))
    with actor("append", server.url, namespace, "shared", "60") as other:
        with ThreadPoolExecutor(4) as pool:
            told = [pool.submit(append, log, "shared", 40) for _ in range(3)]
            told.append(pool.submit(append, log, "own", 40))
            conflicts = sum(one.result(30) for one in told)
        output, _ = other.communicate(timeout=30)
        conflicts += int(output)
    assert conflicts, "nobody was in anybody's way: this shows nothing"
    events = log.read("shared")
    assert [one.version for one in events] == list(range(1, 1 + 1 + 60 + 3 * 40))
    everything = list(log.all())
    assert [one.position for one in everything] == list(
        range(everything[0].position, everything[0].position + len(everything))
    )
    assert sorted(one for one in everything if one.stream == "shared") == events
    assert len(everything) == len(events) + 40
    numbers = [one.value["n"] for one in everything if one.stream == "own"]
    assert numbers == list(range(40))


def test_a_killed_runner_is_succeeded_and_every_effect_counts_once(server, namespace: str, hf: Holdfast):
    log = log_of(hf)
    log.append("a", ns(*[1] * 200))
    mine = totals(log)
    for _ in range(4):
        with actor("project", server.url, namespace) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            before = int(mine.query("GET", "sum") or 0)
            log.append("b", ns(*[1] * 50))
            until(lambda: int(mine.query("GET", "sum") or 0) > before)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.wait()
    with actor("project", server.url, namespace) as process:
        mine.start()
        appended = log.append("a", ns(1))
        mine.wait(appended)
        mine.close(5.0)
    assert int(mine.query("GET", "sum")) == 401
    assert mine.query("HGET", "by stream", "a") == b"201"


@pytest.mark.parametrize("expected", [True, None, "exists", "id"])
def test_a_lost_reply_appends_nothing_twice(faults, namespace: str, expected: Any):
    with Holdfast(faults.url, namespace=namespace) as hf:
        log = log_of(hf)
        log.append("a", ns(0))
        for number in range(1, 4):
            how = {"id": f"command-{number}"} if expected == "id" else {"expected": expected}
            if expected is True:
                how = {"expected": number}
            faults.drop_replies(match=rules.APPEND.digest.encode())
            appended = log.append("a", ns(number), **how)
            assert (appended.first, appended.last, appended.duplicate) == (number + 1, number + 1, True)
        assert [one.value["n"] for one in log.read("a")] == [0, 1, 2, 3]
        assert len(list(log.all())) == 4


def test_an_append_that_is_in_doubt_is_settled_by_its_id(faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        log = log_of(hf)
        log.append("a", ns(0))
        faults.swallow_replies()
        with pytest.raises(Unavailable):
            log.append("a", ns(1), id="command-1")
        faults.heal()
        assert log.append("a", ns(1), id="command-1").last == 2
        assert log.version("a") == 2


def test_the_child_of_a_fork_runs_nothing(hf: Holdfast):
    log = log_of(hf)
    mine = totals(log)
    mine.start()
    mine.wait(log.append("a", ns(1)))
    child = os.fork()
    if not child:
        os._exit(1 if mine.alive else 0)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
    mine.close(5.0)
