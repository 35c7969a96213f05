# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""One of many that works. "found:" says what was seen when the bug was planted by hand."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, LockLost
from holdfast._compat import asleep
from tests.cache.crowd import AsyncCrowd
from tests.locks.leader.work import AsyncWorking, Diary

SOON = 1.0  # seconds; of a ttl that is longer, or of the 2 s after which one looks although nothing was heard


async def leads(diary: Diary, who: str) -> None:
    """Wait until `who` is at work."""
    await AsyncCrowd.until(lambda: diary.at_work == [who])


class AsyncOnce:
    """Returns what it is told to, or raises it."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    async def __call__(self, term: Any) -> Any:
        term.ensure()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


# --- everywhere --------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_a_leadership_from_hand_to_hand(ahf: AsyncHoldfast, place, namespace: str, transport: str):
    """found: without the release in `hand_over` the next one came only after the ttl."""
    diary = Diary()
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        one, two = ahf.leader("x", ttl="20s", label="one"), second.leader("x", ttl="20s", label="two")
        async with AsyncCrowd() as crowd:
            first = crowd.start(lambda: one.run(AsyncWorking(diary, "one")))
            await leads(diary, "one")
            other = crowd.start(lambda: two.run(AsyncWorking(diary, "two")))
            await asleep(0.1)
            holder = await two.current()
            assert holder is not None and holder.label == "one" and holder.name == "x"
            assert not two.step_down()
            begun = time.monotonic()
            assert one.step_down()
            await leads(diary, "two")
            assert time.monotonic() - begun < SOON
            holder = await one.current()
            assert holder is not None and holder.label == "two"
            assert holder.fence is not None and holder.fence > diary.spans[0].fence
            async with ahf.lock("x", wait=0):
                pass  # a lock of that name is something else
            one.stop()
            two.stop()
            assert await first.result() is None and await other.result() is None
        assert await one.current() is None
    diary.check()
    assert [(span.who, span.cause) for span in diary.spans] == [("one", "stepped_down"), ("two", "stopped")]


async def test_one_that_stepped_down_leads_again_when_the_others_are_gone(ahf: AsyncHoldfast):
    """And the others wait until it has ended. found: given back when it was asked, two led at once."""
    diary = Diary()
    one, two = (ahf.leader("x", ttl="20s") for _ in range(2))
    async with AsyncCrowd() as crowd:
        first = crowd.start(lambda: one.run(AsyncWorking(diary, "one", slow=0.3)))
        await leads(diary, "one")
        other = crowd.start(lambda: two.run(AsyncWorking(diary, "two")))
        await asleep(0.3)
        assert one.step_down()
        await leads(diary, "two")
        await asleep(1.3)  # until it campaigns again
        begun = time.monotonic()
        two.stop()
        await other.result()
        await leads(diary, "one")
        assert time.monotonic() - begun < SOON
        one.stop()
        await first.result()
    diary.check()


# --- fn ----------------------------------------------------------------------------------------------------


async def test_what_fn_returns_ends_the_run(ahf: AsyncHoldfast):
    leader = ahf.leader("x", ttl="20s")
    assert await leader.run(AsyncOnce(7)) == 7
    assert await leader.current() is None
    assert await leader.run(AsyncOnce(8)) == 8  # it may run again


async def test_an_exception_of_fn_propagates_and_others_may_lead(ahf: AsyncHoldfast):
    leader = ahf.leader("x", ttl="20s")
    for error in (ZeroDivisionError("fn's own"), LockLost("another lock", name="other", cause="taken")):
        with pytest.raises(type(error)) as caught:
            await leader.run(AsyncOnce(error))
        assert caught.value is error
        assert await leader.current() is None


async def test_what_is_guarded_by_a_term_is_written_within_it_only(ahf: AsyncHoldfast):
    terms: list[Any] = []

    class AsyncGuarded:
        async def __call__(self, term: Any) -> str:
            terms.append(term)
            assert 15 < term.remaining() < 20 and term.cause is None and not term.lost.is_set()
            async with ahf.transaction(guard=term) as tx:
                tx.set(term.key("a"), 1)
            assert await ahf.leader("x").request_step_down("")
            await AsyncCrowd.until(term.lost.is_set)
            return "not what it wanted"

    leader = ahf.leader("x", ttl="30s")
    async with AsyncCrowd() as crowd:
        run = crowd.start(lambda: leader.run(AsyncGuarded()))
        await AsyncCrowd.until(lambda: len(terms), 2)  # was asked to step down, and campaigned again
        leader.stop()
        await run.result()
    assert terms[0].cause == "stepped_down"
    assert await ahf.execute("GET", terms[0].key("a")) == b"1"
    with pytest.raises(LockLost):
        terms[0].ensure()
    with pytest.raises(LockLost):
        ahf.transaction(guard=terms[0])
    assert terms[0].remaining() == 0.0 and terms[0].fence < terms[1].fence


async def test_what_cannot_lead_is_refused(ahf: AsyncHoldfast):
    for options, match in (
        ({"ttl": "200ms"}, "ttl='200ms'"),
        ({"label": 3}, "label=3"),
        ({"fair": True}, "fair"),
        ({"replicas": -1}, "replicas=-1"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            ahf.leader("x", **options)
    with pytest.raises(ConfigurationError, match="non-empty str"):
        ahf.leader("")
    with pytest.raises(ConfigurationError, match="run\\(\\) takes"):
        await ahf.leader("x").run("nothing to call")  # type: ignore[arg-type]


# --- how a term ends ---------------------------------------------------------------------------------------


async def test_one_that_is_cut_off_stops_before_another_begins(faults, server, namespace: str):
    """A third of the ttl before. found: with TERM = 1, 20 ms before; with a lease that is released when it is
    lost, after the other had begun.
    """
    diary, ttl = Diary(), 2.4
    async with (
        AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as cut,
        AsyncHoldfast(server.url, namespace=namespace) as second,
    ):
        one, two = cut.leader("x", ttl=ttl), second.leader("x", ttl=ttl)
        async with AsyncCrowd() as crowd:
            first = crowd.start(lambda: one.run(AsyncWorking(diary, "one")))
            await leads(diary, "one")
            other = crowd.start(lambda: two.run(AsyncWorking(diary, "two")))
            await asleep(1.0)
            assert diary.at_work == ["one"]  # it is renewed
            faults.blackhole()
            await AsyncCrowd.until(lambda: diary.at_work, [])
            await leads(diary, "two")
            two.stop()
            await other.result()
            faults.heal()
            await leads(diary, "one")  # it campaigns again
            one.stop()
            await first.result()
    diary.check()
    before, after = diary.spans[0], diary.spans[1]
    assert (before.who, before.cause, after.who) == ("one", "unreachable", "two")
    assert after.begun - before.ended > ttl / 6


async def test_a_leader_that_needs_time_to_stop_has_a_third_of_the_ttl(faults, server, namespace: str):
    """Also where the server can be reached again meanwhile. found: with a lease that was given back when it
    was lost, two led at once.
    """
    diary, ttl = Diary(), 3.0
    async with (
        AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as cut,
        AsyncHoldfast(server.url, namespace=namespace) as second,
    ):
        one, two = cut.leader("x", ttl=ttl), second.leader("x", ttl=ttl)
        async with AsyncCrowd() as crowd:
            first = crowd.start(lambda: one.run(AsyncWorking(diary, "one", told=faults.heal, slow=0.5)))
            await leads(diary, "one")
            other = crowd.start(lambda: two.run(AsyncWorking(diary, "two")))
            await asleep(0.3)
            faults.blackhole()
            await AsyncCrowd.until(lambda: len(diary.spans), 1)
            one.stop()
            await first.result()
            await leads(diary, "two")
            two.stop()
            await other.result()
    assert diary.spans[0].cause == "unreachable"
    diary.check()


async def test_what_is_left_of_a_term_that_was_lost_is_given_back(faults, namespace: str):
    """As soon as `fn` has ended and the server is there again. found: without the hub, after a third of the
    ttl.
    """
    diary, ttl = Diary(), 4.5
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        leader = hf.leader("x", ttl=ttl)
        async with AsyncCrowd() as crowd:
            run = crowd.start(lambda: leader.run(AsyncWorking(diary, "one", last=faults.heal)))
            await leads(diary, "one")
            await asleep(0.3)
            faults.blackhole()
            await AsyncCrowd.until(lambda: len(diary.spans), 1)
            await leads(diary, "one")
            leader.stop()
            await run.result()
    assert diary.spans[1].begun - diary.spans[0].ended < ttl / 3 - 0.3
    diary.check()


async def test_whose_key_is_deleted_is_told_and_campaigns_again(ahf: AsyncHoldfast):
    diary = Diary()
    leader = ahf.leader("x", ttl="20s")
    async with AsyncCrowd() as crowd:
        run = crowd.start(lambda: leader.run(AsyncWorking(diary, "one")))
        await leads(diary, "one")
        await asleep(0.4)
        await ahf.execute("DEL", leader.key)
        await AsyncCrowd.until(lambda: len(diary.spans), 1)
        await leads(diary, "one")
        leader.stop()
        await run.result()
    assert [span.cause for span in diary.spans] == ["vanished", "stopped"]
    diary.check()


async def test_nobody_leads_twice_whatever_happens(ahf: AsyncHoldfast, faults, namespace: str):
    """Four candidates of two clients, one of which is cut off now and then."""
    diary, dice = Diary(), random.Random(3)
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as cut:
        leaders = [hf.leader("x", ttl="900ms") for hf in (ahf, cut) * 2]
        async with AsyncCrowd() as crowd:
            runs = [
                crowd.start(lambda leader=leader, who=str(who): leader.run(AsyncWorking(diary, who)))
                for who, leader in enumerate(leaders)
            ]
            for _ in range(30):
                await asleep(dice.uniform(0.02, 0.25))
                dice.choice(leaders).step_down()
                if dice.random() < 0.15:
                    faults.blackhole()
                    await asleep(1.0)
                    faults.heal()
            for leader in leaders:
                leader.stop()
            for run in runs:
                assert await run.result() is None
    diary.check()
    assert len(diary.spans) > 3
