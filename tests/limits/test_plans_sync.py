# Generated from test_plans_async.py by tools/unasync.py. Do not edit.
"""Limits that change while the fleet runs: plans, and limits of a subject's own.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, Limit
from holdfast._compat import sleep
from holdfast.errors import Refused
from holdfast.limits import plans
from holdfast.limits._limiter_sync import Limiter
from holdfast.limits.options import LimiterOptions
from tests.cache.crowd import Crowd
from tests.topics.world import Observer

HOUR = (Limit(2, "1h"),)
PRO = (Limit(5, "1h"),)
MORE = (Limit(9, "1h"),)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer plans are looked for sooner, so that this is seen sooner."""
    monkeypatch.setattr(plans, "EVERY", 0.1)


def limiter_of(hf: Holdfast, **options: Any) -> Limiter:
    """A limiter; not the client's own, so that a test can have several with one name. It may be slow."""
    options = {"limits": HOUR, "deadline": "20s", "on_error": "deny", **options}
    return Limiter(hf._wire, "api", LimiterOptions(**options))


def left(limiter: Limiter, subject: str = "ann", plan: str | None = None) -> int:
    return (limiter.peek(subject, plan=plan)).remaining


def left_by_checks(limiter: Limiter, plan: str) -> int:
    """What a check says; it charges another subject each time."""
    limiter.__dict__["n"] = number = limiter.__dict__.get("n", 0) + 1
    return (limiter.check(("check", number), plan=plan)).remaining + 1


@pytest.mark.everywhere
def test_a_plan_is_changed_for_the_whole_fleet(
    hf: Holdfast, place, namespace: str, transport: str
):
    """In the process that changes it at once, elsewhere soon. found: `known` that never looks again."""
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        here, there = limiter_of(hf, plans={"pro": PRO}), limiter_of(second, plans={"pro": PRO})
        assert left_by_checks(there, "pro") == 5
        assert (here.check("ann", 3, plan="pro")).remaining == 2
        assert here.set_plan("pro", MORE)
        decision = here.check("ann", plan="pro")
        assert decision.remaining == 5, "what was used counts on"
        assert decision.limit == MORE[0]
        Crowd.until(lambda: left_by_checks(there, "pro"), 9)
        assert left(there, "bob") == 2, "who has no plan is not concerned"
        assert there.plans() == {"pro": MORE}
        assert here.set_plan("pro", None)
        assert left(here, "bob", "pro") == 5, "the options are in force again"
        assert not here.set_plan("pro", None)
        Crowd.until(lambda: left_by_checks(there, "pro"), 5)


def test_a_plan_that_only_others_know(hf: Holdfast, place, namespace: str):
    """found: a plan that was looked for beside the check: the first one raised."""
    with Holdfast(place.url, namespace=namespace) as second:
        here, there = limiter_of(hf), limiter_of(second)
        for call in (there.check, there.peek, there.refund):
            with pytest.raises(ConfigurationError, match="limiter 'api' has no plan 'pro'; there are none"):
                call("ann", plan="pro")
        here.set_plan("pro", PRO)
        assert (there.check("ann", plan="pro")).remaining == 4
        here.set_plan("max", MORE)
        with there.hold("ann", plan="max") as decision:
            assert decision.limit == MORE[0]
        with pytest.raises(ConfigurationError, match="no plan 'nix'; there are 'max', 'pro'"):
            there.check("ann", plan="nix")
        with pytest.raises(ConfigurationError, match="plan='a b' must be"):
            there.check("ann", plan="a b")


def test_a_check_costs_no_round_trip_more(hf: Holdfast, faults, namespace: str, monkeypatch):
    """found: `known` that awaits: each check asked twice."""
    monkeypatch.setattr(plans, "EVERY", 600.0)
    with Holdfast(faults.url, namespace=namespace) as second:
        limiter = limiter_of(second, plans={"pro": MORE})
        limiter.check("nobody", plan="pro")
        Crowd.until(lambda: len(faults.commands("HGET")), 1)
        faults.reset_counts()
        for _ in range(9):
            assert limiter.check("ann", plan="pro")
        assert len(faults.commands()) == 9


def test_what_does_not_change_is_not_read_again(hf: Holdfast, faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace) as second:
        limiter = limiter_of(second, plans={"pro": MORE})
        limiter_of(hf).set_plan("pro", PRO)
        Crowd.until(lambda: left_by_checks(limiter, "pro"), 5)
        table = limiter._desk.tables["pro"]
        faults.reset_counts()
        Crowd.until(lambda: looked(limiter, faults))
        assert faults.commands("HGETALL") == []
        limiter_of(hf).set_plan("max", MORE)
        Crowd.until(lambda: left_by_checks(limiter, "max"), 9)
        assert limiter._desk.tables["pro"] is table, "and what is known of it stays"


def looked(limiter: Limiter, faults: Any) -> bool:
    left_by_checks(limiter, "pro")
    return len(faults.commands("HGET")) > 2


def test_a_denial_under_the_older_plan_is_not_remembered(hf: Holdfast):
    """found: set_plan without drop_all: denied for a second more."""
    limiter = limiter_of(hf, plans={"pro": PRO}, deny_cache="1h")
    assert limiter.check("ann", 5, plan="pro")
    assert not limiter.check("ann", plan="pro")
    limiter.set_plan("pro", MORE)
    assert limiter.check("ann", plan="pro")


def test_the_plans_known_last_stay_while_the_server_is_away(hf: Holdfast, faults, namespace: str):
    """And one that nobody knows is taken for none. found: ConfigurationError because the server was away."""
    with Holdfast(faults.url, namespace=namespace) as second:
        limiter = limiter_of(second, on_error="local", breaker=10_000)
        limiter_of(hf).set_plan("pro", PRO)
        assert (limiter.check("bob", plan="pro")).remaining == 4
        limiter._desk.deadline = 0.2
        faults.swallow_replies()
        decision = limiter.check("ann", plan="pro")
        assert decision.degraded and decision.remaining == 4
        decision = limiter.check("ann", plan="max")
        assert decision.degraded and decision.remaining == 1
        faults.heal()


def test_a_flush_brings_the_options_back(own_server, namespace: str):
    """found: a version that counts: after the flush the new one had the number of the old one."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        one, two = limiter_of(hf, plans={"pro": PRO}), limiter_of(hf)
        one.set_plan("pro", MORE)
        Crowd.until(lambda: left_by_checks(two, "pro"), 9)
        hf.execute("FLUSHALL")
        two.set_plan("pro", HOUR)
        Crowd.until(lambda: left_by_checks(one, "pro"), 2)
        hf.execute("FLUSHALL")
        Crowd.until(lambda: left_by_checks(one, "pro"), 5)


def test_a_plan_that_cannot_be_read_is_told(hf: Holdfast):
    seen, limiter = Observer(hf), limiter_of(hf, plans={"pro": PRO})
    limiter.set_plan("pro", MORE)
    hf.execute("HSET", plans.key_of(hf._wire.keys, "api"), "pro", "?", "", "1")
    assert limiter.plans() == {"pro": MORE}
    assert [(told.limiter, told.plan) for told in seen.of(plans.PlanUnreadable)] == [("api", "pro")]


def test_limits_of_a_subjects_own(hf: Holdfast, place, namespace: str):
    """In force everywhere with the next check, whatever the plan. found: an override in a map of its own."""
    with Holdfast(place.url, namespace=namespace) as second:
        here, there = limiter_of(hf, deny_cache="1h"), limiter_of(second, plans={"pro": PRO})
        assert here.check("ann", 2)
        assert not here.check("ann")
        here.override("ann", Limit(4, "1h"))
        for plan in (None, "pro"):
            decision = there.check("ann", plan=plan)
            assert decision and decision.limit == Limit(4, "1h")
        assert here.overridden("ann") == (Limit(4, "1h"),)
        assert here.overridden("bob") is None
        assert not here.check("ann"), "what was used before counts on"
        assert left(there, "bob") == 2
        here.override("ann")
        assert here.overridden("ann") is None
        assert (there.peek("ann")).limit == HOUR[0]


def test_the_limits_of_a_plan_as_ones_own(hf: Holdfast, place, namespace: str):
    with Holdfast(place.url, namespace=namespace) as second:
        limiter_of(second).set_plan("max", MORE)
        limiter = limiter_of(hf)
        limiter.override("ann", plan="max", ttl="1h")
        assert left(limiter) == 9
        life: Any = hf.execute("PTTL", f"{limiter._desk.key('ann')}:o")
        assert 0 < life <= 3_600_000
        limiter.override("ann", plan="max")
        assert hf.execute("PTTL", f"{limiter._desk.key('ann')}:o") == -1
        with pytest.raises(ConfigurationError, match="no plan 'nix'"):
            limiter.override("ann", plan="nix")


def test_one_that_is_to_end_does(hf: Holdfast):
    limiter = limiter_of(hf)
    limiter.override("ann", Limit(4, "1h"), ttl="50ms")
    sleep(0.06)
    assert left(limiter) == 2


def test_what_makes_no_limits_is_refused(hf: Holdfast):
    limiter = limiter_of(hf, plans={"pro": PRO})
    wrong: Any = 7
    with pytest.raises(ConfigurationError, match="say the same; leave one out"):
        limiter.override("ann", PRO, plan="pro")
    with pytest.raises(ConfigurationError, match="no calendar"):
        limiter.override("ann", Limit(1, "month"))
    for limits in ((), wrong, [wrong]):
        with pytest.raises((ConfigurationError, TypeError)):
            limiter.set_plan("pro", limits)
        with pytest.raises((ConfigurationError, TypeError)):
            limiter.override("ann", limits)
    with pytest.raises(ConfigurationError, match="plan=7 must be"):
        limiter.set_plan(wrong, PRO)
    hf.execute("SET", f"{limiter._desk.key('ann')}:o", "?")
    with pytest.raises(Refused, match="was not written by us"):
        limiter.overridden("ann")
