"""The near cache by itself: when it trusts, what it keeps, what it makes of news."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast._coord.naming import text
from holdfast._wire.keys import Keys, escape_name
from holdfast.cache.behind.journal import Layout
from holdfast.cache.near import CHECKS, Cell, Copy, Near, Ticket
from holdfast.cache.options import L1
from holdfast.cache.stats import Counters
from holdfast.errors import ConfigurationError

PREFIX = "ns:1:cache:users:{"
LONG = 1e9


class Tracking:
    def __init__(self) -> None:
        self.as_of = 0.0
        self.is_refused = False
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Hub:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.tracking = Tracking()

    def track(self, prefix: str, holder: Any, every: float, *_: Any) -> Tracking:
        self.asked.append((prefix, holder, every))
        return self.tracking


def near_with(**options: Any) -> tuple[Near, Hub]:
    """One that hears everything, as of 0."""
    hub = Hub()
    near = Near(L1(**options), PREFIX, "", Counters())
    near.listen(hub)  # type: ignore[arg-type]
    near.found()
    return near, hub


def kept(near: Near, key: str, *cells: Cell, weight: int = 1) -> bool:
    ticket = near.begin(key)
    assert ticket is not None
    return near.keep(Copy(key, weight, None, key, LONG, cells, None), ticket)


def cell_of(near: Near, tag: str, version: bytes = b"version1") -> Cell:
    found = near.cell(tag, version, Ticket(near._epoch, near._tags))
    assert found is not None
    return found


# --- trust --------------------------------------------------------------------------------------------------


@given(staleness=st.floats(0.001, 1000), as_of=st.floats(-1e6, 1e6), later=st.floats(0, 2000))
def test_it_trusts_as_long_as_it_heard_everything_but_the_last_moments(
    staleness: float, as_of: float, later: float
):
    near, hub = near_with(max_staleness=staleness)
    hub.tracking.as_of = as_of
    now = as_of + later
    assert near.trusts(now) is (now < as_of + near.max_staleness)


def test_trust_grows_with_proofs_and_never_with_time():
    """found: trusted_until counted from now (planted)."""
    near, hub = near_with(max_staleness=2)
    assert near.trusts(0.0) and near.trusts(1.99) and not near.trusts(2.0)
    hub.tracking.as_of = 1.5
    assert near.trusts(2.0) and near.trusts(3.49) and not near.trusts(3.5)
    near.lost()
    assert not near.trusts(1.0)
    assert near.why_not() == "deaf"
    near.found()
    assert near.trusts(3.4) and not near.trusts(3.5)
    assert near.why_not() == "outdated"
    hub.tracking.is_refused = True
    near.lost()
    assert near.why_not() == "refused"


def test_trust_that_was_lost_while_it_was_looked_up_is_not_given():
    """found: trusted_until set from an `as_of` of before the connection was lost (planted)."""
    for change in (lambda near: near.lost(), lambda near: (near.lost(), near.found())):
        near, hub = near_with(max_staleness=2)

        class Lost(Tracking):
            as_of = property(lambda _: float(bool(change(near))) * 0, lambda *_: None)  # type: ignore[assignment]

        near._tracking = Lost()  # type: ignore[assignment]
        assert not near.trusts(1.0)
        assert near.trusted_until < 0


def test_it_listens_once_and_asks_for_proofs_in_time():
    near, hub = near_with(max_staleness=1)
    near.listen(hub)  # type: ignore[arg-type]
    assert hub.asked == [(PREFIX, near, 1 / CHECKS)]
    slow, other = near_with(max_staleness="1h")
    assert other.asked == [(PREFIX, slow, 0.5)]


def test_who_may_not_be_stale_at_all_holds_nothing():
    hub = Hub()
    near = Near(L1(max_staleness=0), PREFIX, "", Counters())
    near.listen(hub)  # type: ignore[arg-type]
    assert hub.asked == []
    assert near.begin("k") is None and not near.trusts(0.0) and near.why_not() == "deaf"


def test_closed_it_holds_nothing():
    near, hub = near_with()
    assert kept(near, "k")
    near.close()
    near.close()
    assert hub.tracking.closed == 1
    assert not near.nodes and near.begin("k") is None and not near.trusts(0.0)


# --- tickets ------------------------------------------------------------------------------------------------


def test_a_ticket_is_good_once():
    near, _ = near_with()
    ticket = near.begin("k")
    assert ticket is not None and near.begin("k") is ticket  # of all that read at this moment
    copy = Copy("k", 1, None, 1, LONG, (), None)
    assert near.keep(copy, ticket) and not near.keep(copy, ticket)
    assert near.begin("k") is not ticket
    assert near.nodes["k"] is copy


@pytest.mark.parametrize(
    "change",
    [
        lambda near: near.forget("k"),
        lambda near: near.forget_all(),
        lambda near: near.lost(),
        lambda near: (near.lost(), near.found()),
        lambda near: near.found(),
        lambda near: near.invalidated(None),
        lambda near: near.invalidated([b"ns:1:cache:users:{k}"]),
        lambda near: near.invalidated([b"ns:1:cache:users:{k}:s00000001"]),
        lambda near: near.invalidated([b"ns:1:cache:users:{#7}:e"]),
        lambda near: near.invalidated([b"ns:1:cache:users:{other}", b"ns:1:cache:users:{k}"]),
        lambda near: near.close(),
    ],
)
def test_whatever_happens_to_a_key_tears_its_ticket_up(change: Any):
    near, _ = near_with()
    ticket = near.begin("k")
    assert ticket is not None
    change(near)
    assert not near.keep(Copy("k", 1, None, 1, LONG, (), None), ticket)
    assert not near.nodes and not near._pending


@pytest.mark.parametrize(
    "key", [b"{k}:f", b"{k}:v", b"{k}:c0", b"{other}", b"{#3}:g", b"{#3}:t:t", b"{#}:switch", b"{kk}", b"{}"]
)
def test_what_is_no_change_of_an_entry_leaves_it(key: bytes):
    """Leases, holds, chunks and guards come and go, and would make every load a reason to forget."""
    near, _ = near_with()
    assert kept(near, "k")
    ticket = near.begin("l")
    assert ticket is not None
    near.invalidated([PREFIX[:-1].encode() + key])
    assert "k" in near.nodes
    assert near.keep(Copy("l", 1, None, 1, LONG, (), None), ticket)


@given(key=st.text(min_size=1) | st.integers() | st.tuples(st.text(), st.integers()))
def test_news_find_the_copy_whatever_its_key_is(key: Any):
    tag = text(key)
    near, _ = near_with()
    assert kept(near, tag)
    near.invalidated([f"{PREFIX}{tag}}}".encode()])
    assert not near.nodes


def test_news_find_the_copy_of_what_is_written_behind():
    """Its key has the partition in braces, and its own behind it."""
    near, _ = near_with()
    layout = Layout(Keys("ns"), "users", 3)
    for tag in ("k", text("a{b}c"), text((1, "x"))):
        assert kept(near, tag)
        ticket = near.begin("other")
        near.invalidated([layout.of(tag).entry(tag).encode()])
        assert tag not in near.nodes and near.begin("other") is ticket


@given(tag=st.text(min_size=1, max_size=20))
def test_news_find_the_cell_whatever_its_tag_is(tag: str):
    try:
        name = escape_name(tag)
        key = Keys("ns").make("cache", "users", "#3", f":t:{name}")
        key.encode()
    except (ConfigurationError, UnicodeError):
        return
    near, _ = near_with()
    cell = cell_of(near, name)
    assert kept(near, "k", cell)
    near.invalidated([key.encode()])
    assert not cell.alive


def test_giving_up_leaves_nothing_behind():
    near, _ = near_with()
    mine = near.begin("k")
    assert mine is not None
    near.forget("k")
    other = near.begin("k")
    near.give_up("k", mine)  # was torn up: the other reader's is not touched
    assert near.begin("k") is other is not None
    near.give_up("k", other)
    assert not near._pending


# --- cells --------------------------------------------------------------------------------------------------


def test_all_copies_of_a_tag_die_with_its_cell():
    """found: cells taken out, but left alive (planted)."""
    near, _ = near_with()
    for key in ("a", "b"):
        assert kept(near, key, cell_of(near, "t"))
    assert kept(near, "c", cell_of(near, "u"))
    near.invalidated([b"ns:1:cache:users:{#3}:t:t"])
    assert [all(cell.alive for cell in near.nodes[key].cells) for key in "abc"] == [False, False, True]
    assert "t" not in near.cells and near.cells["u"].version == b"version1"


def test_a_cell_is_made_only_of_what_was_read_since_the_last_change_of_a_tag():
    """found: any of the two comparisons left out (planted)."""
    for change in (
        lambda near: near.forget_tag("t"),
        lambda near: near.forget_tag("another"),  # which one, is not remembered
        lambda near: near.forget_all(),
        lambda near: (near.lost(), near.found()),
    ):
        near, _ = near_with()
        ticket = near.begin("k")
        assert ticket is not None
        change(near)
        assert near.cell("t", b"version1", ticket) is None
        assert "t" not in near.cells


def test_a_cell_that_dies_before_the_copy_is_kept_keeps_it_out():
    near, _ = near_with()
    ticket = near.begin("k")
    assert ticket is not None
    cell = near.cell("t", b"version1", ticket)
    assert cell is not None
    near.forget_tag("t")
    assert not near.keep(Copy("k", 1, None, 1, LONG, (cell,), None), ticket)


def test_another_version_of_a_tag_ends_the_older_one():
    near, _ = near_with()
    cell = cell_of(near, "t")
    assert cell_of(near, "t") is cell
    assert kept(near, "k", cell)
    newer = cell_of(near, "t", b"version2")
    assert newer is not cell and newer.alive and not cell.alive


def test_cells_live_no_longer_than_what_they_are_for():
    near, _ = near_with()
    assert kept(near, "k", cell_of(near, "t"))
    gc.collect()
    assert "t" in near.cells
    near.forget("k")
    gc.collect()
    assert "t" not in near.cells


# --- bounds and counts --------------------------------------------------------------------------------------


def test_it_holds_no_more_than_it_may():
    near, _ = near_with(max_entries=10)
    for number in range(100):
        assert kept(near, str(number))
    assert len(near.shelf) <= 10
    small, _ = near_with(max_bytes="10KiB")
    for number in range(100):
        kept(small, str(number), weight=1000)
    assert 0 < small.shelf.weight <= 10 * 1024
    assert not small._pending


def test_what_is_counted():
    near, _ = near_with()
    counts: Any = near._counts
    near.invalidated([b"ns:1:cache:users:{k}", b"ns:1:cache:users:{k}:f", b"ns:1:cache:users:{l}:s00000001"])
    assert (counts.l1_invalidations, counts.l1_resets) == (2, 0)
    near.invalidated(None)
    near.invalidated([b"ns:1:cache:users:{#1}:e"])
    near.lost()
    assert (counts.l1_invalidations, counts.l1_resets) == (2, 3)


def test_threads_that_read_write_and_hear_leave_nothing_old():
    """A stand-in for the server is changed, then told; at the end nothing that was replaced is held."""
    near, _ = near_with(max_entries=50)
    rows = dict.fromkeys(map(str, range(20)), 0)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for key in rows:
                ticket = near.begin(key)
                if ticket is not None:
                    near.keep(Copy(key, 1, None, rows[key], LONG, (), None), ticket)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(1, 100):
        for key in rows:
            rows[key] = turn
            near.invalidated([f"{PREFIX}{key}}}".encode()])
            copy = near.nodes.get(key)
            assert copy is None or copy.value == turn
        if turn % 10 == 0:
            near.lost()
            near.found()
    stop.set()
    for reader in readers:
        reader.join()
    assert all(copy.value == 99 for copy in near.nodes.values())
