# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Limits that change while the fleet runs: plans, and limits of a subject's own.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, Limit
from holdfast._compat import asleep
from holdfast.errors import Refused
from holdfast.limits import plans
from holdfast.limits._limiter_async import AsyncLimiter
from holdfast.limits.options import LimiterOptions
from tests.cache.crowd import AsyncCrowd
from tests.topics.world import Observer

HOUR = (Limit(2, "1h"),)
PRO = (Limit(5, "1h"),)
MORE = (Limit(9, "1h"),)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer plans are looked for sooner, so that this is seen sooner."""
    monkeypatch.setattr(plans, "EVERY", 0.1)


def limiter_of(hf: AsyncHoldfast, **options: Any) -> AsyncLimiter:
    """A limiter; not the client's own, so that a test can have several with one name. It may be slow."""
    options = {"limits": HOUR, "deadline": "20s", "on_error": "deny", **options}
    return AsyncLimiter(hf._wire, "api", LimiterOptions(**options))


async def left(limiter: AsyncLimiter, subject: str = "ann", plan: str | None = None) -> int:
    return (await limiter.peek(subject, plan=plan)).remaining


async def left_by_checks(limiter: AsyncLimiter, plan: str) -> int:
    """What a check says; it charges another subject each time."""
    limiter.__dict__["n"] = number = limiter.__dict__.get("n", 0) + 1
    return (await limiter.check(("check", number), plan=plan)).remaining + 1


@pytest.mark.everywhere
async def test_a_plan_is_changed_for_the_whole_fleet(
    ahf: AsyncHoldfast, place, namespace: str, transport: str
):
    """In the process that changes it at once, elsewhere soon. found: `known` that never looks again."""
    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as second:
        here, there = limiter_of(ahf, plans={"pro": PRO}), limiter_of(second, plans={"pro": PRO})
        assert await left_by_checks(there, "pro") == 5
        assert (await here.check("ann", 3, plan="pro")).remaining == 2
        assert await here.set_plan("pro", MORE)
        decision = await here.check("ann", plan="pro")
        assert decision.remaining == 5, "what was used counts on"
        assert decision.limit == MORE[0]
        await AsyncCrowd.until(lambda: left_by_checks(there, "pro"), 9)
        assert await left(there, "bob") == 2, "who has no plan is not concerned"
        assert await there.plans() == {"pro": MORE}
        assert await here.set_plan("pro", None)
        assert await left(here, "bob", "pro") == 5, "the options are in force again"
        assert not await here.set_plan("pro", None)
        await AsyncCrowd.until(lambda: left_by_checks(there, "pro"), 5)


async def test_a_plan_that_only_others_know(ahf: AsyncHoldfast, place, namespace: str):
    """found: a plan that was looked for beside the check: the first one raised."""
    async with AsyncHoldfast(place.url, namespace=namespace) as second:
        here, there = limiter_of(ahf), limiter_of(second)
        for call in (there.check, there.peek, there.refund):
            with pytest.raises(ConfigurationError, match="limiter 'api' has no plan 'pro'; there are none"):
                await call("ann", plan="pro")
        await here.set_plan("pro", PRO)
        assert (await there.check("ann", plan="pro")).remaining == 4
        await here.set_plan("max", MORE)
        async with there.hold("ann", plan="max") as decision:
            assert decision.limit == MORE[0]
        with pytest.raises(ConfigurationError, match="no plan 'nix'; there are 'max', 'pro'"):
            await there.check("ann", plan="nix")
        with pytest.raises(ConfigurationError, match="plan='a b' must be"):
            await there.check("ann", plan="a b")


async def test_a_check_costs_no_round_trip_more(ahf: AsyncHoldfast, faults, namespace: str, monkeypatch):
    """found: `known` that awaits: each check asked twice."""
    monkeypatch.setattr(plans, "EVERY", 600.0)
    async with AsyncHoldfast(faults.url, namespace=namespace) as second:
        limiter = limiter_of(second, plans={"pro": MORE})
        await limiter.check("nobody", plan="pro")
        await AsyncCrowd.until(lambda: len(faults.commands("HGET")), 1)
        faults.reset_counts()
        for _ in range(9):
            assert await limiter.check("ann", plan="pro")
        assert len(faults.commands()) == 9


async def test_what_does_not_change_is_not_read_again(ahf: AsyncHoldfast, faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace) as second:
        limiter = limiter_of(second, plans={"pro": MORE})
        await limiter_of(ahf).set_plan("pro", PRO)
        await AsyncCrowd.until(lambda: left_by_checks(limiter, "pro"), 5)
        table = limiter._desk.tables["pro"]
        faults.reset_counts()
        await AsyncCrowd.until(lambda: looked(limiter, faults))
        assert faults.commands("HGETALL") == []
        await limiter_of(ahf).set_plan("max", MORE)
        await AsyncCrowd.until(lambda: left_by_checks(limiter, "max"), 9)
        assert limiter._desk.tables["pro"] is table, "and what is known of it stays"


async def looked(limiter: AsyncLimiter, faults: Any) -> bool:
    await left_by_checks(limiter, "pro")
    return len(faults.commands("HGET")) > 2


async def test_a_denial_under_the_older_plan_is_not_remembered(ahf: AsyncHoldfast):
    """found: set_plan without drop_all: denied for a second more."""
    limiter = limiter_of(ahf, plans={"pro": PRO}, deny_cache="1h")
    assert await limiter.check("ann", 5, plan="pro")
    assert not await limiter.check("ann", plan="pro")
    await limiter.set_plan("pro", MORE)
    assert await limiter.check("ann", plan="pro")


async def test_the_plans_known_last_stay_while_the_server_is_away(ahf: AsyncHoldfast, faults, namespace: str):
    """And one that nobody knows is taken for none. found: ConfigurationError because the server was away."""
    async with AsyncHoldfast(faults.url, namespace=namespace) as second:
        limiter = limiter_of(second, on_error="local", breaker=10_000)
        await limiter_of(ahf).set_plan("pro", PRO)
        assert (await limiter.check("bob", plan="pro")).remaining == 4
        limiter._desk.deadline = 0.2
        faults.swallow_replies()
        decision = await limiter.check("ann", plan="pro")
        assert decision.degraded and decision.remaining == 4
        decision = await limiter.check("ann", plan="max")
        assert decision.degraded and decision.remaining == 1
        faults.heal()


async def test_a_flush_brings_the_options_back(own_server, namespace: str):
    """found: a version that counts: after the flush the new one had the number of the old one."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as hf:
        one, two = limiter_of(hf, plans={"pro": PRO}), limiter_of(hf)
        await one.set_plan("pro", MORE)
        await AsyncCrowd.until(lambda: left_by_checks(two, "pro"), 9)
        await hf.execute("FLUSHALL")
        await two.set_plan("pro", HOUR)
        await AsyncCrowd.until(lambda: left_by_checks(one, "pro"), 2)
        await hf.execute("FLUSHALL")
        await AsyncCrowd.until(lambda: left_by_checks(one, "pro"), 5)


async def test_a_plan_that_cannot_be_read_is_told(ahf: AsyncHoldfast):
    seen, limiter = Observer(ahf), limiter_of(ahf, plans={"pro": PRO})
    await limiter.set_plan("pro", MORE)
    await ahf.execute("HSET", plans.key_of(ahf._wire.keys, "api"), "pro", "?", "", "1")
    assert await limiter.plans() == {"pro": MORE}
    assert [(told.limiter, told.plan) for told in seen.of(plans.PlanUnreadable)] == [("api", "pro")]


async def test_limits_of_a_subjects_own(ahf: AsyncHoldfast, place, namespace: str):
    """In force everywhere with the next check, whatever the plan. found: an override in a map of its own."""
    async with AsyncHoldfast(place.url, namespace=namespace) as second:
        here, there = limiter_of(ahf, deny_cache="1h"), limiter_of(second, plans={"pro": PRO})
        assert await here.check("ann", 2)
        assert not await here.check("ann")
        await here.override("ann", Limit(4, "1h"))
        for plan in (None, "pro"):
            decision = await there.check("ann", plan=plan)
            assert decision and decision.limit == Limit(4, "1h")
        assert await here.overridden("ann") == (Limit(4, "1h"),)
        assert await here.overridden("bob") is None
        assert not await here.check("ann"), "what was used before counts on"
        assert await left(there, "bob") == 2
        await here.override("ann")
        assert await here.overridden("ann") is None
        assert (await there.peek("ann")).limit == HOUR[0]


async def test_the_limits_of_a_plan_as_ones_own(ahf: AsyncHoldfast, place, namespace: str):
    async with AsyncHoldfast(place.url, namespace=namespace) as second:
        await limiter_of(second).set_plan("max", MORE)
        limiter = limiter_of(ahf)
        await limiter.override("ann", plan="max", ttl="1h")
        assert await left(limiter) == 9
        life: Any = await ahf.execute("PTTL", f"{limiter._desk.key('ann')}:o")
        assert 0 < life <= 3_600_000
        await limiter.override("ann", plan="max")
        assert await ahf.execute("PTTL", f"{limiter._desk.key('ann')}:o") == -1
        with pytest.raises(ConfigurationError, match="no plan 'nix'"):
            await limiter.override("ann", plan="nix")


async def test_one_that_is_to_end_does(ahf: AsyncHoldfast):
    limiter = limiter_of(ahf)
    await limiter.override("ann", Limit(4, "1h"), ttl="50ms")
    await asleep(0.06)
    assert await left(limiter) == 2


async def test_what_makes_no_limits_is_refused(ahf: AsyncHoldfast):
    limiter = limiter_of(ahf, plans={"pro": PRO})
    wrong: Any = 7
    with pytest.raises(ConfigurationError, match="say the same; leave one out"):
        await limiter.override("ann", PRO, plan="pro")
    with pytest.raises(ConfigurationError, match="no calendar"):
        await limiter.override("ann", Limit(1, "month"))
    for limits in ((), wrong, [wrong]):
        with pytest.raises((ConfigurationError, TypeError)):
            await limiter.set_plan("pro", limits)
        with pytest.raises((ConfigurationError, TypeError)):
            await limiter.override("ann", limits)
    with pytest.raises(ConfigurationError, match="plan=7 must be"):
        await limiter.set_plan(wrong, PRO)
    await ahf.execute("SET", f"{limiter._desk.key('ann')}:o", "?")
    with pytest.raises(Refused, match="was not written by us"):
        await limiter.overridden("ann")
