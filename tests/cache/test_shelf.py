"""The bounded map of the near cache: its bounds, its books, and that it keeps what is read again."""

from __future__ import annotations

import gc
import linecache
import os
import random
import signal
import sys
import threading
import time
import weakref
from collections import OrderedDict
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from holdfast._wire.mutex import MUTEX
from holdfast.cache import shelf as shelf_module
from holdfast.cache.shelf import PATIENCE, SHARE, Node, Shelf

KEYS = st.sampled_from([f"k{number}" for number in range(12)])


class Item(Node):
    __slots__ = ("__weakref__", "value")

    def __init__(self, key: str, weight: int = 1, value: Any = None) -> None:
        super().__init__(key, weight)
        self.value = value


def read(shelf: Shelf[Item], key: str, weight: int = 1) -> bool:
    """What a near cache does: a hit bumps, a miss puts."""
    node = shelf.nodes.get(key)
    if node is None:
        shelf.put(Item(key, weight))
        return False
    node.uses += 1
    return True


def check_books(shelf: Shelf[Item]) -> None:
    """Queues, nodes, weight and ghosts tell the same story."""
    queued = {**shelf._small.nodes, **shelf._main.nodes}
    assert queued == shelf.nodes
    assert len(shelf) == len(shelf._small.nodes) + len(shelf._main.nodes)
    assert shelf.weight == sum(node.weight for node in shelf.nodes.values())
    assert len(shelf) <= shelf._max_entries
    assert shelf._max_bytes is None or shelf.weight <= shelf._max_bytes
    assert len(shelf._ghosts) <= shelf._max_entries
    assert not {hash(key) for key in shelf.nodes} & shelf._ghosts.keys()


# --- a model ------------------------------------------------------------------------------------------------


class Team(RuleBasedStateMachine):
    """`last` is the node that was put last under each key, None when it was discarded since."""

    @initialize(entries=st.integers(1, 8), size=st.one_of(st.none(), st.integers(5, 60)))
    def start(self, entries: int, size: int | None) -> None:
        self.shelf: Shelf[Item] = Shelf(entries, size)
        self.size = size
        self.last: dict[str, Item | None] = {}
        self.went = 0

    @rule(key=KEYS, weight=st.integers(0, 70))
    def put(self, key: str, weight: int) -> None:
        was = self.shelf.nodes.get(key)
        before, evicted = len(self.shelf) - (was is not None), self.shelf.evictions
        node = self.last[key] = Item(key, weight)
        self.shelf.put(node)
        kept = self.shelf.nodes.get(key)
        assert kept in (node, None)
        if self.size is None or weight * SHARE <= self.size or (was is not None and weight <= self.size):
            assert kept is node
        if self.size is not None and weight > self.size:
            assert kept is None
        assert before + (kept is not None) - len(self.shelf) == self.shelf.evictions - evicted

    @rule(keys=st.lists(KEYS, max_size=6))
    def hit(self, keys: list[str]) -> None:
        for key in keys:
            node = self.shelf.nodes.get(key)
            if node is not None:
                node.uses += 1

    @rule(keys=st.lists(KEYS, max_size=12))
    def read(self, keys: list[str]) -> None:
        for key in keys:
            read(self.shelf, key)
            self.last[key] = self.shelf.nodes.get(key)

    @rule(key=KEYS)
    def discard(self, key: str) -> None:
        was = self.shelf.nodes.get(key)
        assert self.shelf.discard(key) is was
        self.last[key] = None
        assert key not in self.shelf.nodes

    @rule()
    def clear(self) -> None:
        self.shelf.clear()
        self.last.clear()
        assert len(self.shelf) == self.shelf.weight == len(self.shelf._ghosts) == 0

    @invariant()
    def nothing_old_is_here(self) -> None:
        for key, node in self.shelf.nodes.items():
            assert self.last[key] is node

    @invariant()
    def the_books_are_right(self) -> None:
        check_books(self.shelf)


def test_any_order_of_calls():
    run_state_machine_as_test(
        Team, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


# --- what stays ---------------------------------------------------------------------------------------------


def trace(length: int, seed: int) -> list[str]:
    """Zipf over 3,000 rows whose ranks keep shifting; now and then a scan of 400 that never come again."""
    dice = random.Random(seed)
    weights = list(accumulate(1 / rank**0.9 for rank in range(1, 3001)))
    requests: list[str] = []
    scanned = 0
    while len(requests) < length:
        ranks = dice.choices(range(3000), cum_weights=weights, k=1000)
        requests += [str((rank * 7 + len(requests) // 4000) % 3000) for rank in ranks]
        if dice.random() < 0.4:
            requests += [f"scan{scanned + row}" for row in range(400)]
            scanned += 400
    return requests[:length]


def lru(requests: list[str], size: int) -> float:
    cache: OrderedDict[str, None] = OrderedDict()
    hits = 0
    for key in requests:
        if key in cache:
            hits += 1
            cache.move_to_end(key)
        else:
            if len(cache) == size:
                cache.popitem(last=False)
            cache[key] = None
    return hits / len(requests)


@pytest.mark.parametrize(("size", "more"), [(30, 0.05), (300, 0.02)])
def test_it_keeps_more_of_what_is_read_again_than_lru(size: int, more: float):
    requests = trace(100_000, seed=1)
    shelf: Shelf[Item] = Shelf(size)
    ours = sum(read(shelf, key) for key in requests) / len(requests)
    assert ours > lru(requests, size) + more
    check_books(shelf)


def test_a_scan_does_not_flush_what_is_popular():
    shelf: Shelf[Item] = Shelf(100)
    popular = [f"popular{number}" for number in range(60)]
    for _ in range(3):
        for key in popular:
            read(shelf, key)
    for number in range(10_000):
        read(shelf, f"scan{number}")
    assert sum(key in shelf.nodes for key in popular) >= 58  # one after each PATIENCE that are promoted


def test_what_comes_back_soon_is_popular():
    """Evicted unused, then asked for again: from now on a scan does it no harm."""
    shelf: Shelf[Item] = Shelf(10)
    for number in range(11):
        read(shelf, f"first{number}")
    assert "first0" not in shelf.nodes
    read(shelf, "first0")
    for number in range(100):
        read(shelf, f"scan{number}")
    assert "first0" in shelf.nodes


def test_what_is_invalidated_comes_back_as_popular_as_it_was():
    shelf: Shelf[Item] = Shelf(10)
    for _ in range(2):
        for number in range(8):
            read(shelf, f"popular{number}")
    for number in range(10):
        read(shelf, f"scan{number}")
    shelf.discard("popular3")
    read(shelf, "popular3")
    for number in range(100):
        read(shelf, f"later{number}")
    assert "popular3" in shelf.nodes


def test_a_fresh_copy_keeps_its_place():
    """A near cache puts a copy over one that is too old: a hit in all but name."""
    shelf: Shelf[Item] = Shelf(10)
    read(shelf, "popular")
    for number in range(100):
        if number % 5 == 0:
            shelf.put(Item("popular"))
        read(shelf, f"scan{number}")
    assert "popular" in shelf.nodes


# --- bytes --------------------------------------------------------------------------------------------------


def test_one_huge_entry_flushes_nothing():
    shelf: Shelf[Item] = Shelf(1000, 1000)
    for number in range(100):
        shelf.put(Item(f"k{number}", 10))
    shelf.put(Item("huge", 900))
    assert len(shelf) == 100
    assert "huge" not in shelf.nodes
    shelf.put(Item("huge", 900))  # it comes back, so it is worth it
    assert "huge" in shelf.nodes
    check_books(shelf)


def test_newcomers_take_a_fifth_of_the_bytes_at_most():
    shelf: Shelf[Item] = Shelf(1000, 1000)
    for _ in range(2):
        for number in range(PATIENCE):
            read(shelf, f"popular{number}", 800 // PATIENCE)
    for number in range(500):
        read(shelf, f"heavy{number}", 1 + number % 200)
        assert shelf.weight <= 1000
    assert sum(key.startswith("popular") for key in shelf.nodes) == PATIENCE


def test_too_heavy_is_not_kept_and_neither_is_what_was_there():
    shelf: Shelf[Item] = Shelf(10, 100)
    shelf.put(Item("k", 10))
    for _ in range(3):
        shelf.put(Item("k", 101))
        assert len(shelf) == shelf.weight == 0


# --- costs --------------------------------------------------------------------------------------------------


def test_a_put_looks_at_a_few_nodes_only_even_if_all_are_hot():
    shelf: Shelf[Item] = Shelf(1000)
    for _ in range(9):
        for number in range(1000):
            read(shelf, str(number))
    before = {key: node.uses for key, node in shelf.nodes.items()}
    shelf.put(Item("new"))
    touched = [key for key, node in shelf.nodes.items() if key != "new" and node.uses != before[key]]
    assert len(touched) == PATIENCE
    assert len(shelf) == 1000


def test_discarding_costs_the_same_however_many_there_are():
    """Picked from all over: a walk over what is there would take a hundred times as long."""

    def cost(entries: int) -> float:
        shelf: Shelf[Item] = Shelf(entries)
        for number in range(entries):
            shelf.put(Item(str(number)))
        doomed = [str(number) for number in range(0, entries, entries // 200)][:200]
        begun = time.thread_time()
        for key in doomed:
            assert shelf.discard(key) is not None
        return time.thread_time() - begun

    assert min(cost(20_000) for _ in range(5)) < 30 * min(cost(200) for _ in range(5))


def test_evicting_costs_the_same_however_many_went_before():
    """The first key of a plain dict is found by a walk over all that were deleted before it."""

    def cost(entries: int) -> float:
        shelf: Shelf[Item] = Shelf(2 * entries, 10_000)
        for number in range(entries):
            shelf.put(Item(str(number), 0))
        for number in range(100):
            shelf.put(Item(f"last{number}", 100))
        for number in range(entries):
            shelf.discard(str(number))
        begun = time.thread_time()
        for number in range(90):
            shelf.put(Item(f"new{number}", 100))
        assert shelf.evictions == 90
        return time.thread_time() - begun

    assert min(cost(40_000) for _ in range(3)) < 4 * min(cost(200) for _ in range(5))


# --- garbage ------------------------------------------------------------------------------------------------


def test_values_are_freed_at_once():
    """Without the help of the garbage collector, however their node went."""
    shelf: Shelf[Item] = Shelf(2)
    gc.collect()
    gc.disable()
    try:
        items = [Item(key) for key in ("discarded", "replaced", "evicted", "x", "y")]
        seen = [weakref.ref(item) for item in items]
        for item in items[:2]:
            shelf.put(item)
        del item
        shelf.discard("discarded")
        shelf.put(Item("replaced"))
        for item in items[2:]:
            shelf.put(item)
        del item, items
        assert [ref() is None for ref in seen] == [True, True, True, True, False]
        shelf.clear()
        assert all(ref() is None for ref in seen)
    finally:
        gc.enable()


def test_values_are_freed_outside_of_the_lock():
    """A user's `__del__` may take long, and what it calls may wait for a thread that needs the lock."""
    free: list[bool] = []

    class Value:
        def __del__(self) -> None:
            def attempt() -> None:
                got = MUTEX.acquire(timeout=2)
                free.append(got)
                if got:
                    MUTEX.release()

            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()

    shelf: Shelf[Item] = Shelf(1)
    shelf.put(Item("evicted", value=Value()))
    shelf.put(Item("replaced", value=Value()))
    shelf.put(Item("replaced", value=Value()))
    shelf.discard("replaced")
    shelf.put(Item("cleared", value=Value()))
    shelf.clear()
    assert free == [True] * 4


def test_what_was_cleared_lives_until_its_box_is_let_go():
    shelf: Shelf[Item] = Shelf(2)
    shelf.put(Item("k"))
    seen, nodes = weakref.ref(shelf.nodes["k"]), shelf.nodes
    box = shelf.clear()
    assert seen() is not None
    del box
    assert seen() is None
    assert shelf.nodes is nodes  # a hot path may hold it


# --- threads, forks, interrupts -----------------------------------------------------------------------------


def test_many_threads():
    shelf: Shelf[Item] = Shelf(50, 2000)
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def work(seed: int) -> None:
        dice = random.Random(seed)
        start.wait()
        try:
            for _ in range(6000):
                key = str(dice.randrange(120))
                if dice.random() < 0.2:
                    shelf.discard(key)
                elif dice.random() < 0.002:
                    shelf.clear()
                else:
                    read(shelf, key, dice.randrange(100))
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    check_books(shelf)


@pytest.mark.parametrize("change", ["put", "discard", "clear"])
def test_changes_wait_for_each_other(change: str):
    shelf: Shelf[Item] = Shelf(5)
    first = Item("k")
    shelf.put(first)
    calls = {"put": lambda: shelf.put(Item("k")), "discard": lambda: shelf.discard("k"), "clear": shelf.clear}
    thread = threading.Thread(target=calls[change])
    with MUTEX:
        thread.start()
        thread.join(0.05)
        assert shelf.nodes.get("k") is first
    thread.join()
    assert shelf.nodes.get("k") is not first


class Slow(Item):
    """Its weight takes a while to be told: whoever asks is in the middle of a put."""

    asked = threading.Event()

    @property
    def weight(self) -> int:  # type: ignore[override]
        if not Slow.asked.is_set():
            Slow.asked.set()
            time.sleep(0.1)
        return 1

    @weight.setter
    def weight(self, value: int) -> None: ...


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_put():
    shelf: Shelf[Item] = Shelf(5, 100)
    Slow.asked.clear()
    thread = threading.Thread(target=lambda: shelf.put(Slow("slow")))
    thread.start()
    assert Slow.asked.wait(10)
    child = os.fork()
    if child == 0:
        good = False
        try:
            signal.alarm(3)  # ends a child that hangs
            check_books(shelf)
            shelf.put(Item("child"))
            good = shelf.discard("slow") is not None and shelf.nodes.keys() == {"child"}
        finally:
            os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
    assert shelf.nodes.keys() == {"slow"}


def test_an_exception_out_of_a_signal_handler_anywhere():
    """It strikes at every line once; afterwards the bounds hold, and nothing is stuck in the shelf."""

    def interrupted_at(line: int) -> bool:
        shelf: Shelf[Item] = Shelf(6, 60)
        seen = 0

        def local(frame: Any, event: str, argument: Any) -> Any:
            nonlocal seen
            # On its way out of a `with` the interpreter looks for no signal before the lock is let go.
            if event != "line" or "with MUTEX" in linecache.getline(shelf_module.__file__, frame.f_lineno):
                return local
            seen += 1
            if seen == line:
                raise KeyboardInterrupt
            return local

        def everywhere(frame: Any, event: str, argument: Any) -> Any:
            return local if frame.f_code.co_filename == shelf_module.__file__ else None

        for number in (*range(6), *range(6)):
            read(shelf, f"k{number}", 9)
        struck = False
        before = sys.gettrace()
        sys.settrace(everywhere)
        try:
            shelf.put(Item("k2", 9))
            shelf.put(Item("new", 9))
            shelf.put(Item("heavy", 30))
            shelf.put(Item("heavy", 30))
            shelf.discard("k4")
            shelf.clear()
        except KeyboardInterrupt:
            struck = True
        finally:
            sys.settrace(before)
        queued = [*shelf._small.nodes.values(), *shelf._main.nodes.values()]
        assert all(any(node is one for one in queued) for node in shelf.nodes.values())
        old = set(shelf.nodes)
        for number in range(120):
            read(shelf, f"later{number // 2}", 12)
            assert len(shelf) <= 6
            assert sum(node.weight for node in shelf.nodes.values()) <= 60
        assert not old & shelf.nodes.keys()
        for key in list(shelf.nodes):
            shelf.discard(key)
        for weight in (12, 50):
            shelf.put(Item("last", weight))  # there is room, whatever was counted twice
            assert "last" in shelf.nodes
        return struck

    line = 1
    while interrupted_at(line):
        line += 1
    assert line > 100  # the storm went through all of it
    free: list[bool] = []

    def look() -> None:
        free.append(MUTEX.acquire(timeout=5))
        MUTEX.release()

    other = threading.Thread(target=look)
    other.start()
    other.join()
    assert free == [True]
