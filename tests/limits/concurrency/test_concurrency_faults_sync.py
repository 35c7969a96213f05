# Generated from test_concurrency_faults_async.py by tools/unasync.py. Do not edit.
"""Slots of a concurrency limiter when the server, the network or a client fails.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time

import pytest

from holdfast import Holdfast, LockLost
from holdfast._compat import sleep
from holdfast._signals import BreakerChanged
from holdfast.errors import Closed, RateLimited
from holdfast.limits.concurrency import rules
from holdfast.limits.concurrency._bid_sync import Bid
from holdfast.limits.concurrency._concurrency_sync import ConcurrencyLimiter
from holdfast.limits.concurrency._slot_sync import Slot
from tests.cache.crowd import Crowd
from tests.limits.concurrency.test_concurrency_sync import left, limiter_of, waiting
from tests.topics.world import Observer

SHORT = "300ms"  # a timeout that a server which is away lets pass


def known(limiter: ConcurrencyLimiter) -> None:
    """Have its scripts known, and a connection made."""
    (limiter.acquire("nobody", 0)).release()
    limiter.peek("nobody")


def hurry(limiter: ConcurrencyLimiter, deadline: float = 0.3) -> None:
    """The same, and have no more patience from then on."""
    known(limiter)
    limiter._desk.deadline = deadline


def test_a_lost_reply_of_an_acquire(hf: Holdfast, faults, namespace: str):
    """It is granted when it is repeated. found: a take.lua that does not know its own token."""
    with Holdfast(faults.url, namespace=namespace, timeout="10s") as second:
        one = limiter_of(second, 1, ttl="60s")
        known(one)
        faults.drop_replies(match=b"{ann}")
        slot = one.acquire("ann")
        slot.ensure()
        assert not slot.degraded and slot._stray
        assert limiter_of(hf, 1).try_acquire("ann") is None
        slot.release()
        args = (slot._token, 60_000, 1, 0, -1)
        late = hf._wire.run(rules.TAKE, slot._names.attempt(slot._token), args)
        assert late == [-1], "the first request comes after all"
        assert left(hf, "ann") == []


def test_a_lost_reply_of_a_release(hf: Holdfast, faults, namespace: str):
    """It was given back: no error. found: `_give_back` that takes the second answer, 0, for a loss."""
    with Holdfast(faults.url, namespace=namespace, timeout="10s") as second:
        one = limiter_of(second, 1, ttl="60s")
        known(one)
        for stray in (False, True):
            slot = one.acquire("ann")
            slot._stray = stray
            faults.drop_replies(match=slot._token.encode())
            slot.release()
            assert slot.cause is None and left(hf, "ann") == []


def test_a_release_while_the_server_is_away_is_made_up_for(hf: Holdfast, faults, namespace: str):
    """found: without _leave_it_to_the_hub it stayed for its ttl."""
    with Holdfast(faults.url, namespace=namespace, timeout=SHORT) as second:
        slot = limiter_of(second, 1, ttl="60s").acquire("ann")
        faults.refuse()
        faults.cut()
        slot.release()
        assert left(hf, "ann") != []
        faults.accept()
        Crowd.until(lambda: left(hf, "ann"), [])


def test_an_acquire_that_is_not_answered_leaves_nothing(hf: Holdfast, faults, namespace: str):
    """It may have been executed. found: give_up() that does not abandon: a slot was gone for its ttl."""
    with Holdfast(faults.url, namespace=namespace) as second:
        one = limiter_of(second, 1, ttl="60s", breaker=1_000)
        hurry(one)
        faults.swallow_replies()
        with pytest.raises(RateLimited, match="the server is away, and on_error says") as caught:
            one.acquire("ann")
        assert caught.value.decision.degraded and not caught.value.decision
        assert caught.value.decision.violated == () and caught.value.retry_after == 1.0
        with pytest.raises(RateLimited):
            one.acquire("ann", "500ms")
        assert one.try_acquire("ann") is None
        assert (one.peek("ann"))[:6] == (False, 0, 1.0, 0.0, (), True)
        faults.heal()
        Crowd.until(lambda: left(hf, "ann"), [])


def test_allow_lets_everybody_in(hf: Holdfast, faults, namespace: str):
    """In the time of one deadline, and with nothing left behind. found: without the give_up() of a degraded
    one, what the server had heard of stayed for its ttl.
    """
    with Holdfast(faults.url, namespace=namespace, timeout="30s") as second:
        one = limiter_of(second, 1, ttl="60s", on_error="allow", wait="60s")
        hurry(one)
        faults.swallow_replies()
        begun = time.monotonic()
        with one.hold("ann") as first, one.hold("ann") as other:
            assert first.degraded and other.degraded and first.decision.degraded
            assert first.remaining() == float("inf") and first.cause is None
            first.ensure()
        assert time.monotonic() - begun < 25, "not the client's timeout, nor the wait"
        assert (one.peek("ann"))[:6] == (True, 1, 0.0, 0.0, (), True)
        slot = one.acquire("ann")
        slot.release()
        slot.release()
        assert one.stats().degraded == 3 and one.stats().held == 0
        faults.heal()
        Crowd.until(lambda: left(hf, "ann"), [])


def test_local_counts_in_this_process(hf: Holdfast, faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="30s") as second:
        four = limiter_of(second, 4, ttl="60s", on_error="local", local_share=0.5)
        hurry(four)
        faults.swallow_replies()
        slots = [four.acquire("ann") for _ in range(2)]
        assert all(slot.degraded for slot in slots)
        assert four.try_acquire("ann") is None
        with pytest.raises(RateLimited, match="all slots are in use here") as caught:
            four.acquire("ann")
        assert caught.value.decision.degraded
        bob = four.acquire("bob")
        with Crowd() as crowd:
            job = crowd.start(lambda: four.acquire("ann", "60s"))
            crowd.settle()
            assert not job.done
            slots[0].release()
            (job.result()).release()
        for slot in (bob, *slots):
            slot.release()
        for slot in [four.acquire("ann") for _ in range(2)]:
            slot.release()
        faults.heal()


def test_deny_goes_on_waiting(hf: Holdfast, faults, namespace: str):
    """found: an acquire that gave up with the first question that was not answered."""
    with Holdfast(faults.url, namespace=namespace, timeout="30s") as second:
        one = limiter_of(second, 1, ttl="60s", wait="60s")
        hurry(one)
        faults.swallow_replies()
        with Crowd() as crowd:
            job = crowd.start(lambda: one.acquire("ann"))
            sleep(0.7)
            assert not job.done
            one._desk.deadline = 20.0
            faults.heal()
            slot = job.result()
            assert not slot.degraded
            slot.release()
        Crowd.until(lambda: left(hf, "ann"), [])


def test_the_breaker_spares_the_callers_the_deadline(hf: Holdfast, faults, namespace: str):
    """found: without breaker.allow each of a hundred waited for the deadline."""
    with Holdfast(faults.url, namespace=namespace, timeout="30s") as second:
        seen = Observer(second)
        one = limiter_of(second, 1, on_error="allow", breaker=1)
        hurry(one, 1.0)
        faults.swallow_replies()
        begun = time.monotonic()
        for _ in range(100):
            (one.acquire("ann")).release()
        assert time.monotonic() - begun < 90
        one._desk.deadline = 20.0
        faults.heal()
        Crowd.until(lambda: is_counted(one))
        assert [one.state for one in seen.of(BreakerChanged)][:1] == ["open"]
        assert [one.state for one in seen.of(BreakerChanged)][-1:] == ["closed"]


def is_counted(limiter: ConcurrencyLimiter) -> bool:
    with limiter.hold("bob") as slot:
        return not slot.degraded


def test_a_slot_that_cannot_be_renewed_is_lost(faults, namespace: str):
    """found: without the end by our own clock (Keeping) nobody was told."""
    with Holdfast(faults.url, namespace=namespace, timeout=SHORT) as second:
        one = limiter_of(second, 1, ttl="800ms", on_error="deny")
        slot = one.acquire("ann", "20s")
        sleep(0.3)  # its thread has a connection: one that is just being made may get past the cut
        faults.refuse()
        faults.cut()
        Crowd.until(slot.lost.is_set)
        assert slot.cause in {"unreachable", "expired"} and slot.remaining() == 0.0
        with pytest.raises(LockLost, match="was lost"):
            slot.ensure()
        assert sum(one.stats().lost.values()) == 1
        faults.accept()


def test_or_degraded_where_others_are_let_in_too(faults, namespace: str):
    """The body goes on. found: `_lost` of Held: fail-open stopped all that was under way."""
    with Holdfast(faults.url, namespace=namespace, timeout=SHORT) as second:
        seen = Observer(second)
        one = limiter_of(second, 2, ttl="2s", on_error="local", local_share=0.5)
        with one.hold("ann", wait="20s") as slot:
            sleep(0.3)
            faults.refuse()
            faults.cut()
            one._desk.deadline = 0.3
            Crowd.until(lambda: slot.degraded)
            slot.ensure()
            assert slot.cause is None and not slot.lost.is_set() and slot.remaining() == float("inf")
            assert one.try_acquire("ann") is None, "it counts here"
        with one.hold("ann") as other:
            assert other.degraded
        faults.accept()
        assert [(told.name, told.subject) for told in seen.of(rules.SlotDegraded)] == [("exports", "ann")]
        assert one.stats().lost == {} and one.stats().held == 0


@pytest.mark.parametrize(
    ("cause", "warned", "bears"),
    [
        ("unreachable", False, True),
        ("expired", True, True),  # it was in danger before, so it was not we who stood still
        ("expired", False, False),
        ("vanished", True, False),
        ("closed", False, False),
    ],
)
def test_what_a_body_bears(hf: Holdfast, cause: str, warned: bool, bears: bool):
    """Only that the server is away. found: a process that had stood still went on without its slot."""
    for on_error in ("allow", "local", "deny"):
        slot = limiter_of(hf, 1, on_error, on_error=on_error, ttl="60s").acquire("ann")
        slot._keeping.warned = warned
        slot._keeping.lose(cause)
        if bears and on_error != "deny":
            assert slot.degraded and slot.cause is None
            slot.ensure()
            slot.release()
            continue
        assert not slot.degraded and slot.cause == cause
        Crowd.until(slot.lost.is_set)
        for call in (slot.ensure, slot.ensure):
            with pytest.raises(LockLost):
                call()
        with pytest.raises(LockLost):
            slot.release()


def test_who_holds_is_told_of_a_flush(own_server, namespace: str):
    """found: keep.lua that makes anew what is gone."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        one = limiter_of(hf, 1, ttl="6s", wait="60s")
        slot = one.acquire("ann")
        sleep(0.5)  # looked at once
        hf.execute("FLUSHALL")
        Crowd.until(slot.lost.is_set)
        assert slot.cause == "vanished"
        with one.hold("ann") as second:
            second.ensure()


def test_who_waits_hears_of_a_flush(own_server, namespace: str):
    """Who waits stands in the queue again, at the latest when he asks by himself."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        one = limiter_of(hf, 1, ttl="60s", wait="60s")
        slot = one.acquire("ann")
        with Crowd() as crowd:
            job = crowd.start(lambda: one.acquire("ann"))
            Crowd.until(lambda: waiting(one, "ann"), 1)
            hf.execute("FLUSHALL")
            (job.result()).release()
        with pytest.raises(LockLost):
            slot.release()


def test_the_first_question_may_have_to_connect(place, namespace: str):
    """found: each process began with slots that nobody counted."""
    second = Holdfast(place.url, namespace=namespace, timeout="30s")
    one = limiter_of(second, 1, on_error="allow", deadline=0.000001)
    slot = one.acquire("ann")
    assert not slot.degraded
    assert one._desk.timeout < 0.001, "from then on the deadline counts"
    slot.release()
    second.close()


def test_a_server_that_was_never_there(faults, namespace: str):
    """The first question ends by the client's timeout, the others by the deadline."""
    faults.refuse()
    second = Holdfast(faults.url, namespace=namespace, timeout=SHORT)
    one = limiter_of(second, 1, on_error="allow", deadline=0.001, breaker=1_000)
    begun = time.monotonic()
    assert (one.acquire("ann")).degraded
    assert time.monotonic() - begun > 0.1
    begun = time.monotonic()
    for _ in range(20):
        assert (one.acquire("ann")).degraded
    assert time.monotonic() - begun < 5.0
    assert (one.peek("ann")).degraded
    faults.accept()
    second.close()


def test_after_close_there_is_no_slot(hf: Holdfast, place, namespace: str):
    """Whatever on_error says."""
    second = Holdfast(place.url, namespace=namespace)
    one = limiter_of(second, 1, on_error="allow", ttl="60s")
    slot = one.acquire("ann")
    second.close()
    assert slot.cause == "closed"
    for call in (one.acquire, one.try_acquire, one.peek):
        with pytest.raises(Closed):
            call("ann")


def test_who_waits_when_the_client_is_closed_hears_of_it(hf: Holdfast, place, namespace: str):
    slot = limiter_of(hf, 1, ttl="60s").acquire("ann")
    second = Holdfast(place.url, namespace=namespace)
    one = limiter_of(second, 1, wait="60s")
    with Crowd() as crowd:
        job = crowd.start(lambda: one.acquire("ann"))
        Crowd.until(lambda: waiting(one, "ann"), 1)
        second.close()
        with pytest.raises(Closed):
            job.result()
    slot.release()


def test_what_is_given_up_before_it_is_known_is_undone(hf: Holdfast):
    """found: a bid that forgets that an earlier question of it is in doubt."""
    one = limiter_of(hf, 1, ttl="60s")
    bid = Bid(one._desk, "ann", 1, waits=False)
    slot = bid(20.0)
    assert isinstance(slot, Slot)
    bid.give_up()
    Crowd.until(lambda: left(hf, "ann"), [])
    assert hf._wire.run(rules.TAKE, bid.names.attempt(bid.token), (bid.token, 60_000, 1, 0, -1)) == [
        -1
    ]
