"""Several processes, and a minority of bad nodes that changes: no two at once, fences in order."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from typing import Any

WORKER = """
import json, random, sys, time
from holdfast import HoldfastError
from holdfast._compat import boottime
from holdfast.locks.redlock._sync import Redlock

urls, namespace, seconds, seed = json.loads(sys.argv[1])
dice = random.Random(seed)
lock = Redlock(urls, "x", ttl="1500ms", wait="10s", node_timeout="200ms", namespace=namespace)
held, errors = [], []
print("ready", flush=True)
sys.stdin.readline()
end = time.time() + seconds
while time.time() < end:
    try:
        lease = lock.acquire()
        begun = boottime()
        time.sleep(dice.uniform(0, 0.01))
        sure = begun + lease.remaining() if lease.cause is None else begun
        over = boottime()
        held.append((begun, min(over, sure), lease.fence))
        lease.release()
    except HoldfastError as error:
        errors.append(type(error).__name__)
lock.close(drain="1s")
print(json.dumps([held, errors]))
"""
SECONDS = 4.0


def test_no_two_processes_hold_it_at_once(lab, namespace: str):
    """found: with `quorum(nodes) = 1`, intervals that overlap and fences out of order."""
    dice = random.Random(3)
    asked = [json.dumps([lab.urls, namespace, SECONDS, seed]) for seed in range(3)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, one], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for one in asked
    ]
    try:
        assert [worker.stdout and worker.stdout.readline() for worker in workers] == ["ready\n"] * 3
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        end = time.time() + SECONDS
        while time.time() < end - 0.5:
            node = dice.choice(lab.nodes)  # one at a time: a minority
            what = dice.choice(["freeze", "kill", "cut_off"])
            getattr(node, what)()
            time.sleep(dice.uniform(0.1, 0.4))
            getattr(node, {"freeze": "resume", "kill": "restart", "cut_off": "heal"}[what])()
            time.sleep(0.05)
        told = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    held: list[Any] = sorted(one for grants, _ in told for one in grants)
    assert len(held) > 5, told  # hundreds where the machine has nothing else to do
    for (_, over, fence), (begun, _, later) in zip(held, held[1:], strict=False):
        assert over <= begun, "two at once"
        assert fence < later, "a fence that does not grow"
    assert {error for _, errors in told for error in errors} <= {"LockLost", "NoQuorum", "LockTimeout"}
