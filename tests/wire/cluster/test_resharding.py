"""Many slots move while clients of both flavours write, count and read: nothing is lost or done twice."""

import time

import pytest

from holdfast._wire.cluster.slots import slot_of
from tests.wire.cluster.fleet import Counter, Fleet, Register


@pytest.mark.parametrize(("flavour", "transport"), [("threads", "native"), ("tasks", "native")])
def test_resharding_under_load(lab, flavour, transport):
    registers = [Register(f"r{flavour}{n}") for n in range(8)]
    counters = [Counter(f"c{flavour}{n}") for n in range(8)]
    sums = []

    async def batches(fleet):
        """MGET across slots, and pipelines of INCR that must not be repeated."""
        keys = [f"b{flavour}{n}" for n in range(6)]
        done = 0
        while not fleet.stopping.is_set():
            many = fleet.client._wire.execute_many([("INCR", key) for key in keys])
            replies = many if flavour == "threads" else await many
            done += 1
            assert replies == [done] * 6
            assert await fleet.ask("MGET", *reversed(keys)) == [b"%d" % done] * 6
            sums.append(done)
            await fleet.rest()

    work = [*registers, *counters, batches]
    slots = {slot_of(key) for one in (*registers, *counters) for key in [one.key]}
    slots |= {slot_of(f"b{flavour}{n}") for n in range(6)}
    with Fleet(lab.url, flavour, transport=transport, timeout=10) as fleet:
        for one in work:
            fleet.begin(one)
        end = time.monotonic() + 1.5
        moves = 0
        while time.monotonic() < end or moves < len(slots):
            for slot in slots:
                here = lab.primary_of(slot)
                lab.move_slot(slot, next(node for node in lab.primaries if node is not here))
                moves += 1
        fleet.finish()
        assert fleet.errors == []
        for counter in counters:
            counter.check(int(fleet.now("GET", counter.key)))
            assert counter.refused == []
            assert counter.unclear == 0
            assert counter.confirmed
        for register in registers:
            assert register.wrong == []
            assert register.failures == []
            assert int(fleet.now("GET", register.key)) == register.confirmed > 0
        assert sums
