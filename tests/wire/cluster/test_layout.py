"""Layouts: what nodes say, who is believed, and what is asked of whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast._wire.cluster import layout, slots
from holdfast._wire.cluster.layout import Layout
from holdfast._wire.cluster.plan import Plan
from holdfast._wire.hub_ledger import Kept, Outbox
from holdfast._wire.transport import ReplyError, WireFailure

A, B, C = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)
ASKED = ("known.example", 7000)


def thirds():
    """Three nodes, a third of the slots each."""
    table = [A] * 5461 + [B] * 5462 + [C] * 5461
    return Layout(tuple(table), {}, 1)


def test_reading_what_a_node_says():
    told = [
        [0, 8191, [b"10.0.0.1", 1, b"id", []], [b"10.0.0.9", 9, b"id", []]],
        [8192, 16382, [None, 2, b"id", []]],
        [16383, 16383, [b"", 3, b"id", []], [b"?", 4, b"id"]],
    ]
    read = layout.read(told, b"cluster_state:ok\r\ncluster_current_epoch:17\r\n", ASKED)
    assert read.table[0] == ("10.0.0.1", 1)
    assert read.table[8192] == ("known.example", 2)
    assert read.table[16383] == ("known.example", 3)
    assert read.replicas[("10.0.0.1", 1)] == (("10.0.0.9", 9),)
    assert read.replicas[("known.example", 3)] == (("known.example", 4),)
    assert read.epoch == 17
    assert read.is_complete
    assert layout.read([], b"", ASKED) is None
    assert layout.read(b"OK", b"", ASKED) is None
    partly = layout.read(told[:1], None, ASKED)
    assert (partly.epoch, partly.is_complete, partly.primaries) == (0, False, (("10.0.0.1", 1),))


def test_the_newest_is_believed_and_of_equals_the_most_complete():
    old, new = Layout((A,) * 4, {}, 1), Layout((B, None, B, B), {}, 2)
    whole = Layout((B,) * 4, {}, 2)
    assert layout.newest([old, new]) is new
    assert layout.newest([new, whole, old]) is whole


def test_a_mark_tells_tables_apart():
    one = thirds()
    assert one.mark == thirds().mark != 0
    assert one.with_slot(7, B).mark != one.mark
    assert one.with_slot(7, B).primaries == one.primaries


@given(st.lists(st.sampled_from([f"k{n}" for n in range(12)]), min_size=1, max_size=30))
def test_taken_apart_and_put_together(keys):
    """Whatever the keys, also with duplicates: every key is asked where it is, and the order is kept."""
    where = thirds()
    plan = Plan([("MGET", *keys), ("DEL", *keys), ("GET", keys[0])], where, A)
    told = []
    for question, address in zip(plan.questions, plan.addresses, strict=True):
        assert {where.table[slots.slot_of(key)] for key in question[1:]} == {address}
        if len(question) > 2:
            assert len({slots.slot_of(key) for key in question[1:]}) == 1
        told.append([f"of {key}" for key in question[1:]] if question[0] == "MGET" else len(question) - 1)
    got, deleted, _ = plan.replies(told)
    assert got == [f"of {key}" for key in keys]
    assert deleted == len(keys)


def test_what_has_no_key_goes_with_the_others():
    assert Plan([("PING",), ("GET", "k1"), ("TIME",)], thirds(), A).addresses == [C] * 3
    assert Plan([("PING",), ("TIME",)], thirds(), C).addresses == [C, C]


def test_a_slot_without_a_node_is_said():
    hole = Layout(thirds().table[:-1] + (None,), {}, 1)
    key = next(key for n in range(1 << 20) if slots.slot_of(key := f"k{n}") == slots.SLOTS - 1)
    with pytest.raises(WireFailure, match="no node serves slot 16383"):
        Plan([("GET", key)], hole, A)
    with pytest.raises(WireFailure, match="no node serves slot 16383"):
        Plan([("MGET", "a", key)], hole, A)


def test_what_was_done_in_part_is_not_called_undone():
    """Found: the refusal alone came back, the whole was sent again, and DEL ran twice."""
    plan = Plan([("DEL", "k1", "k2", "k3")], thirds(), A)
    later, never = ReplyError("CLUSTERDOWN The cluster is down"), ReplyError("NOPERM no")
    with pytest.raises(WireFailure, match="in part") as caught:
        plan.replies([1, later, 1])
    assert caught.value.sent
    assert plan.replies([later, later, later]) == [later]
    assert plan.replies([1, later, never]) == [never]


def test_a_walk_over_all_nodes():
    """Every node in turn, with its own cursors; a cursor from before a move is refused."""
    where = thirds()
    mine = {A: [5, 0], B: [0], C: [1 << 63, 7, 0]}
    cursor, pages = b"0", []
    while True:
        plan = Plan([("SCAN", cursor, "COUNT", 10)], where, B)
        ((_, own, *rest),) = plan.questions
        assert rest == ["COUNT", 10]
        (address,) = plan.addresses
        pages.append((address, own))
        ((cursor, page),) = plan.replies([[b"%d" % mine[address].pop(0), [b"key"]]])
        assert page == [b"key"]
        if cursor == b"0":
            break
        moved = Plan([("SCAN", cursor)], where.with_slot(1, C), B)
        assert moved.questions == []
        (refused,) = moved.replies([])
        assert "begin again" in str(refused)
    assert pages == [(A, 0), (A, 5), (B, 0), (C, 0), (C, 1 << 63), (C, 7)]


def test_of_one_name_the_later_one_stays():
    """Also when an outbox takes over the earlier one afterwards. Found: it took the later one's place."""
    early, late = Kept("name", ("SET", "a", 1), print), Kept("name", ("SET", "a", 2), print)
    outbox = Outbox()
    outbox.put(late)
    outbox.put(early)
    assert outbox.all() == outbox.take(9) == [late]
    for kept in (early, late):
        outbox.put(kept)
    assert outbox.all() == [late]
