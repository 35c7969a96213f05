"""What one process counts by itself while the server is away."""

import gc
import os

from holdfast.limits.concurrency.counters import LocalSlots
from holdfast.limits.concurrency.rules import local_limit


class Slot:
    pass


def test_so_many_and_no_more_for_each_subject() -> None:
    local, slots = LocalSlots(), [Slot() for _ in range(4)]
    assert local.take("ann", slots[0], 2)
    assert local.take("ann", slots[1], 2)
    assert not local.take("ann", slots[2], 2)
    assert local.take("bob", slots[2], 2)
    local.give_back("ann", slots[0])
    local.give_back("ann", slots[0])
    assert local.take("ann", slots[3], 2)
    assert not local.take("ann", slots[0], 2)


def test_one_that_was_forgotten_is_free_again() -> None:
    """found: a plain count, from which a forgotten slot was missing for ever."""
    local, kept = LocalSlots(), Slot()
    assert local.take("ann", Slot(), 1)
    gc.collect()
    assert local.take("ann", kept, 1)


def test_nothing_is_kept_of_whom_has_no_slot() -> None:
    local, slot = LocalSlots(), Slot()
    local.take("ann", slot, 1)
    local.give_back("ann", slot)
    local.give_back("ann", slot)
    assert not local._out


def test_the_child_of_a_fork_has_slots_of_its_own() -> None:
    local, parents, childs = LocalSlots(), Slot(), Slot()
    assert local.take("ann", parents, 1)
    child = os.fork()
    if not child:
        status = 1
        try:
            ours = local.take("ann", childs, 1)
            local.give_back("ann", parents)
            status = 0 if ours and not local.take("ann", Slot(), 1) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not local.take("ann", childs, 1)


def test_a_share_is_one_slot_at_least() -> None:
    assert local_limit(10, 0.25) == 2
    assert local_limit(10, 0.01) == 1
    assert local_limit(1, 1.0) == 1
