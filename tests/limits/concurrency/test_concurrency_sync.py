# Generated from test_concurrency_async.py by tools/unasync.py. Do not edit.
"""What a concurrency limiter promises to one who uses it. The orders of its steps: test_concurrency_model.py.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, LockLost
from holdfast._compat import sleep
from holdfast._coord import _line_sync
from holdfast._coord.naming import text
from holdfast.errors import RateLimited
from holdfast.limits.concurrency import rules
from holdfast.limits.concurrency._concurrency_sync import ConcurrencyLimiter
from holdfast.limits.concurrency.options import ConcurrencyDecision, ConcurrencyOptions
from holdfast.limits.concurrency.rules import Names
from tests.cache.crowd import Crowd


def limiter_of(
    hf: Holdfast, limit: int, name: str = "exports", **options: Any
) -> ConcurrencyLimiter:
    """A limiter; not the client's own, so that a test can have several with one name. It may be slow."""
    options = {"deadline": "20s", "on_error": "deny", **options}
    return ConcurrencyLimiter(hf._wire, name, ConcurrencyOptions(limit=limit, **options))


def left(hf: Holdfast, subject: str, name: str = "exports") -> list[str]:
    """What of a subject is on the server, by the part of its key; tombs do no harm."""
    names = Names(hf._wire.keys, name, text(subject))
    return [key for key in names.all if hf.execute("EXISTS", key)]


@pytest.mark.everywhere
def test_so_many_and_no_more_in_the_order_of_their_coming(
    hf: Holdfast, place, namespace: str, transport: str
):
    """found: take.lua that grants `out + rank <= limit`: four at once inside."""
    inside: list[int] = []
    most: list[int] = []
    order: list[int] = []
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        limiters = (limiter_of(hf, 3, wait="25s"), limiter_of(second, 3, wait="25s"))
        first = [limiters[0].acquire("ann") for _ in range(3)]

        def work(number: int) -> None:
            with limiters[number % 2].hold("ann"):
                order.append(number)
                inside.append(1)
                sleep(0.005)
                most.append(len(inside))
                inside.pop()

        with Crowd() as crowd:
            jobs = []
            for number in range(12):
                jobs.append(crowd.start(lambda number=number: work(number)))
                Crowd.until(lambda: waiting(limiters[0], "ann"), number + 1)
            assert order == []
            with limiters[1].hold("bob") as other:
                other.ensure()
            for slot in first:
                slot.release()
            for job in jobs:
                job.result()
    assert 1 <= max(most) <= 3, most
    # Three at a time: who came before may be overtaken by the two that came next, on his way here.
    assert all(abs(place - number) < 6 for place, number in enumerate(order)), order
    assert left(hf, "ann") == []


def waiting(limiter: ConcurrencyLimiter, subject: str) -> int:
    return (limiter.peek(subject)).waiting


@pytest.mark.everywhere
def test_a_life(hf: Holdfast):
    two = limiter_of(hf, 2, ttl="20s")
    assert two.peek("ann") == ConcurrencyDecision(True, 2, 0.0, 0.0, limit=2)
    with two.hold("ann") as first:
        assert 15 < first.remaining() < 20
        first.ensure()
        assert first.decision[:3] == (True, 1, 0.0) and first.decision.in_use == 1
        second = two.try_acquire("ann")
        assert second is not None and second.subject == "ann" and not second.degraded
        assert two.try_acquire("ann") is None
        with pytest.raises(RateLimited, match="'exports', subject 'ann': 2 of 2 slots are in use") as caught:
            two.acquire("ann")
        denied = caught.value.decision
        assert not denied and denied.violated == ("exports",) and not denied.degraded
        assert (denied.remaining, denied.limit, denied.in_use, denied.waiting) == (0, 2, 2, 0)
        assert 0 < denied.retry_after <= denied.reset_after <= 20
        assert caught.value.retry_after == denied.retry_after
        seen = two.peek("ann")
        assert seen._replace(retry_after=0.0, reset_after=0.0) == denied._replace(
            retry_after=0.0, reset_after=0.0
        )
        assert 0 < seen.retry_after <= seen.reset_after <= 20
        other = two.try_acquire("bob")
        assert other is not None
        other.release()
        second.release()
        second.release()
        assert (two.peek("ann")).remaining == 1
    assert left(hf, "ann") == []
    with pytest.raises(LockLost, match="given back"):
        first.ensure()
    stats = two.stats()
    assert (stats.acquired, stats.denied, stats.degraded, stats.held) == (3, 2, 0, 0)


def test_who_waits_in_vain_leaves_nothing(hf: Holdfast, monkeypatch):
    """found: without give_up() the next in the queue had to wait for the dead, PATIENCE long."""
    monkeypatch.setattr(rules, "PATIENCE_MS", 600_000)
    one = limiter_of(hf, 1, ttl="60s")
    slot = one.acquire("ann")
    begun = time.monotonic()
    with pytest.raises(RateLimited, match=r"none was free for us within 0\.\d") as caught:
        one.acquire("ann", "100ms")
    assert time.monotonic() - begun >= 0.1
    assert caught.value.retry_after > 1
    Crowd.until(lambda: waiting(one, "ann"), 0)
    slot.release()
    Crowd.until(lambda: left(hf, "ann"), [])


def test_who_waits_is_woken_by_the_release(hf: Holdfast, monkeypatch):
    """Not by a poll. found: free.lua without SPUBLISH: nobody came."""
    monkeypatch.setattr(_line_sync, "SAFETY", 600.0)
    monkeypatch.setattr(rules, "PATIENCE_MS", 600_000)
    two = limiter_of(hf, 2, ttl="60s", wait="60s")
    slots = [two.acquire("ann") for _ in range(2)]

    def work() -> None:
        with two.hold("ann"):
            sleep(0.001)

    with Crowd() as crowd:
        jobs = [crowd.start(work) for _ in range(8)]
        Crowd.until(lambda: waiting(two, "ann"), 8)
        assert two.stats().waiting == 8
        for slot in slots:
            slot.release()
        for job in jobs:
            job.result()
    assert two.stats().wait_seconds > 0


def test_nobody_overtakes_those_who_wait(hf: Holdfast):
    """found: take.lua that does not count those who wait: whoever came last got it."""
    one = limiter_of(hf, 1, ttl="60s", wait="60s")
    slot = one.acquire("ann")
    with Crowd() as crowd:
        job = crowd.start(lambda: one.acquire("ann"))
        Crowd.until(lambda: waiting(one, "ann"), 1)
        names = one._desk.wire.keys.make("slots", "exports", "ann")
        hf.execute("DEL", names)  # free, and nobody was told
        assert one.try_acquire("ann") is None
        (job.result()).release()
    with pytest.raises(LockLost):
        slot.release()


def test_a_queue_that_is_full(hf: Holdfast):
    """found: max_queue that is looked at here only: each process had a queue of its own."""
    one, none = (
        limiter_of(hf, 1, wait="60s", max_queue=1),
        limiter_of(hf, 1, "none", wait="60s", max_queue=0),
    )
    with none.hold():
        with pytest.raises(RateLimited, match=r"as many wait as max_queue allows \(0\)"):
            none.acquire()
    slot = one.acquire()
    with Crowd() as crowd:
        job = crowd.start(one.acquire)
        Crowd.until(lambda: waiting(one, ""), 1)
        begun = time.monotonic()
        with pytest.raises(RateLimited, match=r"as many wait as max_queue allows \(1\)") as caught:
            limiter_of(hf, 1, wait="60s", max_queue=1).acquire()
        assert time.monotonic() - begun < 30
        assert caught.value.decision.waiting == 1
        slot.release()
        (job.result()).release()
    Crowd.until(lambda: left(hf, ""), [])


def test_each_goes_by_the_limit_of_his_plan(hf: Holdfast):
    limiter = limiter_of(hf, 1, plans={"pro": 3, "max": 4}, ttl="60s")
    slots = [limiter.acquire("ann"), limiter.acquire("ann", plan="pro")]
    assert limiter.try_acquire("ann") is None
    assert (limiter.peek("ann", plan="pro")).remaining == 1
    assert (limiter.peek("ann")).remaining == 0
    slots += [limiter.acquire("ann", plan="pro")]
    assert limiter.try_acquire("ann", plan="pro") is None
    with limiter.hold("ann", plan="max") as last:
        assert last.decision.limit == 4 and last.decision.remaining == 0
    for slot in slots[:2]:
        slot.release()
    assert limiter.try_acquire("ann") is None  # one is out still
    slots[2].release()
    with pytest.raises(
        ConfigurationError, match="plan='free' is no plan of this limiter; it has 'pro', 'max'"
    ):
        limiter.hold("ann", plan="free")


def test_who_waits_under_another_plan_is_woken_too(hf: Holdfast):
    """He stands behind one whose limit is reached. found: free.lua that wakes the first only."""
    limiter = limiter_of(hf, 1, plans={"pro": 4}, ttl="60s", wait="60s")
    slots = [limiter.acquire("ann", plan="pro") for _ in range(4)]
    with Crowd() as crowd:
        small = crowd.start(lambda: limiter.acquire("ann"))
        Crowd.until(lambda: waiting(limiter, "ann"), 1)
        great = crowd.start(lambda: limiter.acquire("ann", plan="pro"))
        Crowd.until(lambda: waiting(limiter, "ann"), 2)
        slots[0].release()  # small counts as if he had it: he came before
        slots[1].release()
        (great.result()).release()
        assert not small.done
        for slot in slots[2:]:
            slot.release()
        (small.result()).release()
    assert left(hf, "ann") == []


def test_a_slot_is_renewed_while_it_is_held(hf: Holdfast):
    one = limiter_of(hf, 1, ttl="3s")
    with one.hold("ann") as slot:
        sleep(3.2)
        slot.ensure()
        assert one.try_acquire("ann") is None
    assert left(hf, "ann") == []


def test_one_that_is_forgotten_ends_by_itself(hf: Holdfast):
    one = limiter_of(hf, 1, ttl="2s")
    with pytest.warns(ResourceWarning, match="slot of concurrency limiter 'exports' for 'ann' was forgotten"):
        one.acquire("ann")
    assert one.stats().held == 0
    with limiter_of(hf, 1, ttl="60s").hold("ann", wait="30s") as slot:
        slot.ensure()


def test_reset_takes_all_slots_away(hf: Holdfast):
    """found: reset.lua without the alarm: they were told at their next renewal, minutes later."""
    two = limiter_of(hf, 2, ttl="600s", wait="60s")
    slots = [two.acquire("ann") for _ in range(2)]
    sleep(0.5)  # looked at once, and tracked from then on
    with Crowd() as crowd:
        job = crowd.start(lambda: two.acquire("ann"))
        Crowd.until(lambda: waiting(two, "ann"), 1)
        assert two.reset("ann") == 2
        third = job.result()
    for slot in slots:
        Crowd.until(slot.lost.is_set)
        assert slot.cause == "vanished"
        with pytest.raises(LockLost, match="vanished|not on the server any more"):
            slot.release()
    third.ensure()
    third.release()
    assert two.stats().lost == {"vanished": 2}
    assert two.reset("ann") == 0


def test_what_is_no_argument_is_refused(hf: Holdfast):
    one = limiter_of(hf, 1)
    wrong: Any
    for wrong in ([], object(), {}):
        with pytest.raises(ConfigurationError, match="makes no key"):
            one.hold(wrong)
        with pytest.raises(ConfigurationError, match="makes no key"):
            one.acquire(wrong)
        with pytest.raises(ConfigurationError, match="makes no key"):
            one.peek(wrong)
    with pytest.raises(ConfigurationError, match="wait='soon'"):
        one.hold("ann", wait="soon")
    with pytest.raises(ConfigurationError, match="wait=-1"):
        one.acquire("ann", -1)
    with pytest.raises(ConfigurationError, match="a concurrency limiter needs a name"):
        limiter_of(hf, 1, "")
    assert repr(one).endswith("ConcurrencyLimiter('exports', 1)")


def test_a_client_has_one_of_each_name(hf: Holdfast):
    one = hf.concurrency_limiter("exports", 2, deadline="20s")
    assert hf.concurrency_limiter("exports", 2, deadline=20.0) is one
    assert hf.concurrency_limiter("exports") is one
    with pytest.raises(ConfigurationError, match="limit=2, not 3"):
        hf.concurrency_limiter("exports", 3, deadline="20s")
    with one.hold("ann") as slot:
        slot.ensure()


def test_names_and_subjects_do_not_meet(hf: Holdfast):
    slots = [
        limiter_of(hf, 1, name).acquire(subject)
        for name in ("a", "a:b", "a:{b}")
        for subject in ("", "%", "x:y", "{x}", "x y", "}", 7, ("a", 7), None)
    ]
    for slot in slots:
        slot.release()
