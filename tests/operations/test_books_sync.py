# Generated from test_books_async.py by tools/unasync.py. Do not edit.
"""Looking at operations and mending them; what is kept, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import (
    Holdfast,
    ConfigurationError,
    Durability,
    HoldfastError,
    OperationBusy,
    OperationDead,
    OperationError,
    UnsafeServer,
)
from holdfast._compat import sleep
from holdfast.operations.options import OperationsOptions
from tests.operations.test_operations_sync import QUICK, Clerk, leave, make

# --- looking and mending -----------------------------------------------------------------------------------


def test_pending_lists_one_resource_or_all(hf: Holdfast):
    ops = make(hf, partitions=1)
    for resource in ("a", "a:b", "a;"):
        for id in ("2", "1"):
            leave(ops, resource, id)
    assert [(one.resource, one.id) for one in ops.pending("a")] == [("a", "1"), ("a", "2")]
    assert [one.id for one in ops.pending("a", limit=1)] == ["1"]
    assert len(ops.pending()) == 6
    assert len(ops.pending(limit=4)) == 4
    assert ops.pending("c") == []


def test_discard_frees_the_id_of_what_is_settled(hf: Holdfast):
    ops = make(hf)
    with ops.run("r", "1") as op:
        assert ops.discard("r", "1") is False
        op.complete()
    assert ops.discard("r", "1") is True
    assert ops.discard("r", "1") is False
    assert ops.inspect("r", "1") is None
    with ops.run("r", "1") as op:
        assert op.attempt == 1
        op.complete()


@pytest.mark.everywhere
def test_a_lost_index_is_repaired(hf: Holdfast):
    ops = make(hf, partitions=2)
    for id in range(5):
        leave(ops, f"r{id}", id)
    with ops.run("r", "dead") as op:
        op.fail(retry=False)
    with ops.run("r", "done") as op:
        op.complete()
    for part in ops._desk.layout.parts():
        for key in (part.due, part.names, part.dead, part.done):
            hf.execute("UNLINK", key)
    assert ops.pending() == [] and ops.recover(Clerk()) == 0
    assert ops.repair() == 7
    assert ops.repair() == 0
    assert len(ops.pending()) == 5 and len(ops.dead()) == 1 and len(ops.done()) == 1
    assert ops.recover(Clerk()) == 5


@pytest.mark.parametrize("half", ["due", "names"])
def test_half_an_index_is_healed_by_a_sweep(hf: Holdfast, half: str):
    ops = make(hf, partitions=1)
    for id in range(3):
        leave(ops, "r", id)
    (part,) = ops._desk.layout.parts()
    hf.execute("UNLINK", getattr(part, half))
    assert ops.recover(Clerk()) == 3


def test_waiting_for_somebody_elses_result(hf: Holdfast):
    ops = make(hf, **QUICK)
    with pytest.raises(OperationError, match="does not exist"):
        ops.wait("r", "1")
    with ops.run("r", "1") as op:
        with pytest.raises(OperationBusy) as told:
            ops.wait("r", "1", wait=0)
        assert told.value.holder
        op.complete("done")
    assert ops.wait("r", "1") == "done"
    with ops.run("r", "2") as op:
        op.fail("for good", retry=False)
    with pytest.raises(OperationDead, match="for good"):
        ops.wait("r", "2")


# --- keeping ------------------------------------------------------------------------------------------------


def test_a_ttl_ends_results_and_nothing_that_is_pending(hf: Holdfast):
    ops = make(hf, ttl="100ms")
    leave(ops, "r", "pending")
    with ops.run("r", "1") as op:
        op.complete("x")
    sleep(0.3)
    assert ops.inspect("r", "1") is None
    assert (ops.inspect("r", "pending")).state == "interrupted"
    with ops.run("r", "1") as op:
        assert op.attempt == 1
        assert ops.done() == []  # although the index may still know the earlier one
        op.complete()
    assert (ops.backlog()).done <= 1  # the index forgets them as well
    (part,) = {ops._desk.layout.of("r")}
    assert hf.execute("ZCARD", part.done) == 1


def test_pending_operations_are_kept_for_ever_if_asked_to(hf: Holdfast):
    kept, ended = make(hf, keep=None), make(hf, "other", keep="10m")
    for ops, least in ((kept, -1), (ended, 500_000)):
        op = leave(ops)
        assert hf.execute("PTTL", op._place.record) == -1 or least > 0
        assert hf.execute("PTTL", op._place.record) >= least
        with ops.run("r", "1") as op:
            op.fail("x")
        assert (hf.execute("PTTL", op._place.record) == -1) is (least < 0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"lease": "1ms"}, "lease"),
        ({"ttl": 0}, "ttl"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"partitions": 0}, "partitions"),
        ({"partitions": 5000}, "partitions"),
        ({"retry": ("2s", "1s")}, "retry"),
        ({"retry": "1s"}, "retry"),
        ({"keep": "1m"}, "keep"),
        ({"slot": 7}, "slot"),
        ({"wait": -1}, "wait"),
    ],
)
def test_nonsense_is_refused_with_its_name(options: dict[str, Any], named: str):
    with pytest.raises(ConfigurationError, match=named):
        OperationsOptions(**{"lease": "1m", **options})


def test_another_number_of_partitions_is_refused(hf: Holdfast):
    ops, other = make(hf, partitions=2), make(hf, partitions=3)
    ops.pending()
    with pytest.raises(ConfigurationError, match="partitions=3"):
        other.pending()


def test_a_server_that_evicts_is_refused(own_server, namespace: str):
    with Holdfast(own_server.url, namespace=namespace) as hf:
        hf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnsafeServer, match="allkeys-lru"):
            with make(hf).run("r", "1"):
                raise AssertionError("entered")
        with make(hf, accept_loss=True).run("r", "1") as op:
            op.complete()


def test_what_too_few_replicas_have_is_told(hf: Holdfast):
    ops = make(hf, durability=Durability(replicas=3, within="20ms"))
    with pytest.raises(HoldfastError, match="replicas"):
        with ops.run("r", "1"):
            raise AssertionError("entered")
