"""Many at once: a hundred who submit side by side, in threads and in tasks, and a failover under way."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Durability, Holdfast, HoldfastError
from holdfast._wire.cluster.slots import slot_of
from tests.cache.crowd import Crowd
from tests.leaderboards.world import aboard_of, board_of, check_beside

WORKERS, TURNS, MEMBERS = 100, 10, 20


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
def test_a_hundred_threads_lose_nothing(hf: Holdfast, ties: str):
    """found: reading and writing in two steps; turns that are given twice."""
    sums, best = board_of(hf, "sums", ties=ties), board_of(hf, "best", ties=ties, mode="best", max_size=10)
    rng = random.Random(7)
    plans = [[(rng.randrange(MEMBERS), rng.randrange(50)) for _ in range(TURNS)] for _ in range(WORKERS)]
    todo, mutex = iter(plans), threading.Lock()

    def work() -> None:
        with mutex:
            plan = next(todo)
        for member, score in plan:
            sums.increment(f"m{member}", score)
            best.submit(f"m{member}", score)

    with Crowd() as crowd:
        crowd.all(WORKERS, work)
    expected: dict[str, int] = {}
    for plan in plans:
        for member, score in plan:
            expected[f"m{member}"] = expected.get(f"m{member}", 0) + score
    assert {row.member: row.score for row in sums.top(100)} == expected
    assert best.count() == 10
    for board in (sums, best):
        check_beside(hf, board)


async def test_a_hundred_tasks_lose_nothing(ahf: AsyncHoldfast, hf: Holdfast, namespace: str):
    board = aboard_of(ahf, ties="first", periods=("day", "all"), type=int)

    async def work(number: int) -> None:
        for turn in range(TURNS):
            await board.increment(f"m{number % MEMBERS}")
            await board.submit_many([(f"n{number}", turn), (f"m{number % MEMBERS}", 1)], "add")

    await asyncio.gather(*(work(number) for number in range(WORKERS)))
    rows = await board.top(200)
    assert len(rows) == MEMBERS + WORKERS
    assert {row.score for row in rows if row.member.startswith("m")} == {2 * TURNS * WORKERS // MEMBERS}
    assert sorted(row.rank for row in rows) == [*range(1, len(rows) + 1)]
    check_beside(hf, board_of(hf, ties="first"))


def submitted(board: Any, confirmed: list[int], enough: threading.Event) -> int:
    """Add 1 again and again; how often. Whether a request in doubt counted is not known."""
    turns = 0
    while not enough.is_set():
        turns += 1
        try:
            board.increment("bob")
        except HoldfastError:
            continue
        confirmed.append(1)
    return turns


@pytest.mark.parametrize("topology_", ["sentinel", "cluster"])
def test_a_failover_doubles_nothing_and_loses_nothing_that_was_replicated(
    request: Any, namespace: str, topology_: str
):
    lab = request.getfixturevalue(f"own_{topology_}_lab")
    with Holdfast(lab.url, namespace=namespace, timeout="5s") as hf, Crowd() as crowd:
        periods = ("all", "day")
        replicated = Durability(replicas=1, within="2s")
        board = board_of(hf, ties="dense", periods=periods, durability=replicated)
        confirmed: list[int] = []
        enough = threading.Event()
        workers = [crowd.start(lambda: submitted(board, confirmed, enough)) for _ in range(4)]
        crowd.until(lambda: len(confirmed) >= 40)
        old = lab.primary if topology_ == "sentinel" else lab.primary_of(board._desk.key(":all"))
        old.kill()
        lab.await_failover(old)
        enough.set()
        turns = sum(worker.result() for worker in workers)
        later = board_of(hf, ties="dense", periods=periods)
        row = later.rank("bob")
        assert row is not None and len(confirmed) <= row.score <= turns
        assert later.rank("bob", period="day") == row
        assert later.increment("bob").score == row.score + 1


def test_a_slot_that_moves_takes_the_whole_board_along(own_cluster_lab: Any, namespace: str):
    """found: keys that are made in the script: they would be looked for where they are no more."""
    lab = own_cluster_lab
    with Holdfast(lab.url, namespace=namespace, timeout="10s") as hf, Crowd() as crowd:
        board = board_of(hf, ties="first", periods=("day", "all"))
        confirmed: list[int] = []
        enough = threading.Event()
        worker = crowd.start(lambda: submitted(board, confirmed, enough))
        crowd.until(lambda: len(confirmed) >= 20)
        slot = slot_of(board._desk.key(":all"))
        lab.move_slot(slot, next(one for one in lab.primaries if one is not lab.primary_of(slot)))
        moved = len(confirmed)
        crowd.until(lambda: len(confirmed) >= moved + 20)
        enough.set()
        assert worker.result() == len(confirmed), "nobody had to hear of it"
        row = board.rank("bob", period="all")
        assert row is not None and row.score == len(confirmed)
