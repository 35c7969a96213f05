"""Places among readers, the writer's, and permits: what only processes and tasks can do to them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Holdfast, LockLost
from tests.locks import test_members_faults_async as of_tasks
from tests.locks import test_members_faults_sync as of_threads
from tests.locks.rwlock.test_rwlock_async import rwlock

KINDS = of_threads.KINDS

HOLDER = """
    import sys, time
    from holdfast import Holdfast
    from tests.locks.test_members_faults_sync import member
    url, namespace, kind, ttl = sys.argv[1:]
    with Holdfast(url, namespace=namespace) as hf:
        lease = member(hf, kind, ttl=ttl).acquire()
        print("has it", flush=True)
        time.sleep(60)
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_killed_process_has_it_for_its_ttl_at_most(hf: Holdfast, server, namespace: str, kind: str):
    """It was renewed until it was killed; then others get it, before twice its ttl has passed."""
    script = textwrap.dedent(HOLDER)
    arguments = [sys.executable, "-c", script, server.url, namespace, kind, "1s"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"has it\n"
            time.sleep(1.5)
            assert of_threads.rival(hf, kind).try_acquire() is None
            process.send_signal(signal.SIGKILL)
            begun = time.monotonic()
            lease = of_threads.rival(hf, kind, wait="20s").acquire()
            assert time.monotonic() - begun < 10
            lease.release()
        finally:
            process.kill()


def test_a_frozen_process_is_told_that_it_was_lost(hf: Holdfast, server, namespace: str, kind: str):
    """It wakes up after its ttl and must not take its lease for its own. Checked by what it says."""
    told = "sys.stdin.readline(); time.sleep(0.5); print(lease.cause or 'still ours')"
    script = textwrap.dedent(HOLDER).replace("time.sleep(60)", told)
    arguments = [sys.executable, "-c", script, server.url, namespace, kind, "1s"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdin is not None
            assert process.stdout.readline() == b"has it\n"
            process.send_signal(signal.SIGSTOP)
            lease = of_threads.rival(hf, kind, wait="20s").acquire()
            process.send_signal(signal.SIGCONT)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline().strip() in {b"expired", b"unreachable", b"vanished", b"taken"}
            lease.ensure()
            lease.release()
        finally:
            process.kill()


def test_the_child_of_a_fork_has_nothing_and_takes_nothing_away(hf: Holdfast, kind: str):
    """found: a child that released what its parent holds."""
    mine = of_threads.member(hf, kind, ttl="60s")
    lease = mine.acquire()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            try:
                lease.ensure()
            except LockLost as lost:
                code = 0 if lost.cause == "forked" else 2
            try:
                lease.release()
            except LockLost:
                pass
            if of_threads.rival(hf, kind).try_acquire() is not None:
                code = 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    lease.ensure()
    assert of_threads.rival(hf, kind).try_acquire() is None
    lease.release()
    assert of_threads.left(hf, mine) == []


async def test_cancelled_at_any_moment_leaves_nothing(ahf: AsyncHoldfast, server, namespace: str, kind: str):
    """At every step of the event loop, free or held. found: without give_up() it was held by nobody."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        mine, theirs = of_tasks.member(ahf, kind, ttl="60s"), of_tasks.rival(second, kind, ttl="60s")
        await (await mine.acquire()).release()
        for is_held in (False, True):
            for steps in range(1, 40):
                lease = await theirs.acquire() if is_held else None
                task = asyncio.ensure_future(mine.acquire())
                for _ in range(steps):
                    await asyncio.sleep(0 if steps < 30 else 0.0005)
                task.cancel()
                found: Any = (await asyncio.gather(task, return_exceptions=True))[0]
                if lease is not None:
                    await lease.release()
                if not isinstance(found, BaseException):
                    await found.release()
                async with asyncio.timeout(20):
                    while await of_tasks.left(second, mine):
                        await asyncio.sleep(0.001)


async def test_a_body_is_cancelled_when_its_lease_is_lost(ahf: AsyncHoldfast, kind: str):
    mine = of_tasks.member(ahf, kind, ttl="60s")
    with pytest.raises(LockLost) as caught:
        async with asyncio.timeout(20), mine:
            await asyncio.sleep(0.5)
            await ahf.execute("DEL", *(mine.key + part for part in ("", ":r", ":h")))
            await (rwlock(ahf, "faulty") if kind != "permit" else mine).force_release()
            await asyncio.sleep(60)
    assert caught.value.cause in {"vanished", "taken"}
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


def test_two_event_loops_share_one_client(server, namespace: str, kind: str):
    """Each in a thread of its own, one waits for the other."""
    client = AsyncHoldfast(server.url, namespace=namespace)
    fences: list[int] = []
    both = threading.Barrier(2)
    over = threading.Event()

    async def work() -> None:
        await asyncio.to_thread(both.wait, 20)
        for _ in range(10):
            async with asyncio.timeout(30), of_tasks.member(client, kind, wait="20s") as lease:
                fences.append(lease.fence)
                await asyncio.sleep(0.002)
        if await asyncio.to_thread(both.wait, 20) == 0:
            await client.close()
            over.set()
        await asyncio.to_thread(over.wait, 20)  # a loop that ends closes no connection: the client does

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(fences) == 20
    assert kind == "read" or len(set(fences)) == 20
