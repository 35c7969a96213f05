"""Write-behind when processes are killed, frozen and forked, servers die, and event loops come and go."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from benchmarks.write_behind_storm import Storm, append
from holdfast import AsyncHoldfast, Behind, Durability, Holdfast, HoldfastError, embedded
from holdfast.embedded import SentinelLab
from tests.cache.behind.frozen import Rows, cache
from tests.cache.behind.test_behind_async import AsyncTable
from tests.cache.behind.test_behind_sync import Table
from tests.cache.behind.world import until

ROOT = Path(__file__).parents[3]


def storm(*arguments: str) -> dict[str, Any]:
    """What the benchmark's storm found; it forks, so it wants a process without threads."""
    command = [sys.executable, "-m", "benchmarks.write_behind_storm", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_short_storm_loses_and_reorders_nothing():
    """Found with take.lua taking the records away: 19 keys were lost."""
    found = storm("--rounds", "6", "--server", "--calm", "0.15")
    assert (found["lost"], found["reordered"]) == (0, 0)
    assert found["acknowledged"] > 100 and found["killed"] >= 6 and found["servers_killed"] == 1


def test_the_storm_would_notice(tmp_path: Path):
    seen = Storm(tmp_path, seed=1)
    append(
        seen.told,
        "tried a 1 1\nacked a 1 1\ntried a 2 2\nacked a 2 2\ntried b 3 3\nacked b 3 3\ntried b 4 -\n",
    )
    append(seen.source, "a 2\nb 3\n")
    assert (seen.lost(), seen.reordered()) == ([], [])
    append(seen.source, "b -\n")  # tried, and perhaps taken
    assert (seen.lost(), seen.reordered()) == ([], [])
    append(seen.source, "a 1\n")
    assert (seen.lost(), seen.reordered()) == (["a"], [("a", 1)])


@pytest.mark.soak
def test_a_storm_of_two_hundred_rounds_loses_and_reorders_nothing():
    found = storm("--rounds", "200", "--server")
    assert (found["lost"], found["reordered"]) == (0, 0)


@pytest.mark.parametrize("fenced", [True, False])
def test_a_writer_frozen_before_its_commit_cannot_undo_a_newer_one(
    server, namespace: str, tmp_path: Path, fenced: bool
):
    """Without a look at the fence it does, which shows that the fence is what helps."""
    rows = Rows(str(tmp_path / "rows.db"), fenced=fenced)
    script = str(Path(__file__).with_name("frozen.py"))
    word = "fenced" if fenced else "bare"
    frozen = subprocess.Popen(
        [sys.executable, script, server.url, namespace, str(tmp_path / "rows.db"), word]
    )
    try:
        until(lambda: os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT))
        with Holdfast(server.url, namespace=namespace) as hf:
            ours = cache(hf, rows)
            ours.put("a", 2)
            ours.flush()  # its lease has ended; ours has a higher fence
            assert rows.seen() == [2]
            frozen.send_signal(signal.SIGCONT)
            if fenced:
                ours.put("a", 3)
                ours.flush()
                assert rows.seen() == [2, 3]
            else:
                until(lambda: rows.seen() == [2, 1])
    finally:
        frozen.kill()
        frozen.wait()


# --- the server ---------------------------------------------------------------------------------------------


def test_a_killed_server_with_aof_loses_nothing(tmp_path: Path, namespace: str):
    with embedded.start(str(tmp_path / "server")) as server:
        with Holdfast(server.url, namespace=namespace, timeout="5s") as hf:
            table = Table()
            prices = hf.cache("prices", ttl="1h", source=table, write=Behind(delay="1h"))
            for key in range(50):
                prices.put(key, key)
            server.kill()
            server.restart()
            assert prices.backlog().entries == 50
            assert prices.get(7) == 7
            prices.flush()
            assert table.memory.rows == {key: key for key in range(50)}


def test_a_failover_loses_nothing_that_a_replica_has(own_sentinel_lab: SentinelLab, namespace: str):
    with Holdfast(own_sentinel_lab.url, namespace=namespace, timeout="10s") as hf:
        table = Table()
        table.memory.go.clear()
        behind = Behind(delay=0, partitions=2, lease="1s", durability=Durability(replicas=1, within="5s"))
        prices = hf.cache("prices", ttl="1h", source=table, write=behind)
        acknowledged = {}
        for key in range(10):
            prices.put(key, key)
            acknowledged[key] = key
        own_sentinel_lab.primary.kill()
        for key in range(10, 20):
            for _ in range(30):
                try:
                    prices.put(key, key)
                except HoldfastError:
                    time.sleep(0.2)
                    continue
                acknowledged[key] = key
                break
        table.memory.go.set()
        prices.flush()
        assert table.memory.rows == acknowledged and len(acknowledged) == 20


# --- places -------------------------------------------------------------------------------------------------


def test_writers_move_to_the_event_loop_that_is_left(server, namespace: str):
    """Found with writers that stay where they were begun: nothing was ever applied."""
    table = AsyncTable()
    client = AsyncHoldfast(server.url, namespace=namespace)
    prices = client.cache("prices", ttl="1h", source=table, write=Behind(delay="20ms", lease="300ms"))

    async def put(first: int) -> None:
        for key in range(first, first + 10):
            await prices.put(key, key)

    async def end() -> None:
        await prices.flush()
        await client.close()

    loops = [asyncio.new_event_loop() for _ in range(3)]
    for loop, work in zip(loops, (put(0), put(10), end()), strict=True):
        loop.run_until_complete(work)  # then it stands still, before its writers have done anything
    assert table.memory.rows == {key: key for key in range(20)}
    for loop in loops:
        loop.run_until_complete(asyncio.sleep(0.02))  # hears that the client was closed
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_two_event_loops_at_once(server, namespace: str):
    table = AsyncTable()
    client = AsyncHoldfast(server.url, namespace=namespace)
    prices = client.cache("prices", ttl="1h", source=table, write=Behind(delay="5ms", lease="300ms"))
    gate, over = threading.Barrier(2), threading.Event()

    async def put(first: int) -> None:
        gate.wait(20)
        for key in range(first, first + 30):
            await prices.put(key, key)
        await prices.flush()

    async def elsewhere() -> None:
        await put(100)
        await asyncio.to_thread(over.wait, 20)  # a loop that ends closes no connection: the client does

    async def here() -> None:
        await put(0)
        while len(table.memory.rows) < 60:
            await asyncio.sleep(0.01)
        await client.close()
        over.set()

    other = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    other.start()
    asyncio.run(here())
    other.join()
    assert sorted(table.memory.rows) == [*range(30), *range(100, 130)]


async def test_a_blocked_event_loop_does_not_write_when_it_wakes(ahf: AsyncHoldfast, namespace: str, server):
    """Its lease has ended meanwhile, and somebody else has written."""
    table = AsyncTable()
    behind = Behind(delay="30ms", lease="200ms", partitions=1)
    prices = ahf.cache("prices", ttl="1h", source=table, write=behind)
    await prices.put("warm", 0)
    await prices.flush()
    fence = table.memory.fences["prices:0"][-1]
    await prices.put("a", 1)
    seen: list[Any] = []

    def other() -> None:
        with Holdfast(server.url, namespace=namespace) as hf:
            free = Table()
            theirs = hf.cache("prices", ttl="1h", source=free, write=behind)
            theirs.put("a", 2)
            theirs.flush()
            seen.append(dict(free.memory.rows))

    busy = threading.Thread(target=other)
    busy.start()
    busy.join()  # on purpose in the event loop
    assert seen == [{"a": 2}]
    await prices.put("b", 3)
    await prices.flush()
    assert "a" not in table.memory.rows and table.memory.fences["prices:0"][-1] > fence


def test_the_child_of_a_fork_has_writers_of_its_own(server, namespace: str, tmp_path: Path):
    with Holdfast(server.url, namespace=namespace) as hf:
        rows = Rows(str(tmp_path / "rows.db"))
        ours = cache(hf, rows)
        ours.put("a", 1)
        ours.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that we have threads is the point
            child = os.fork()
        if child == 0:
            try:
                ours.put("a", 2)
                ours.flush(20)
                os._exit(0)
            except BaseException:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        ours.put("a", 3)
        ours.flush()
        assert rows.seen() == [1, 2, 3]
