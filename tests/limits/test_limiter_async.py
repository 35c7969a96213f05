# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""A limiter as its callers see it. What is promised stands in holdfast.limits.rules."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Closed, ConfigurationError
from holdfast.errors import RateLimited
from holdfast.limits import rules
from holdfast.limits._together_async import _chosen, _one_by_one
from holdfast.limits.options import Limit
from tests.limits.world import labels, left

SLOW = "20s"  # the deadline of tests: a machine may be slow


# --- contracts ----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_all_limits_are_charged_or_none(
    ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str
):
    limits = [
        Limit(3, "1h"),
        Limit(5, "1d", algorithm="sliding"),
        Limit(9, "1h", algorithm="log", name="log"),
    ]
    limiter = ahf.limiter("api", limits, deadline=SLOW, deny_cache=0)
    for count in (1, 2):
        decision = await limiter.check("ann")
        assert decision
        assert left(decision) == [3 - count, 5 - count, 9 - count]
    denied = await limiter.check("ann", 2)
    assert not denied
    assert denied.violated == ("1h",)
    assert denied.limit is limits[0]
    assert 0 < denied.retry_after <= 1200
    assert left(denied) == [1, 3, 7], "nothing was charged"
    assert await limiter.check("ben", 3), "another subject"
    assert (await limiter.peek("ann")).allowed
    assert await limiter.refund("ann", 2)
    assert left(await limiter.peek("ann")) == [3, 5, 9]
    never = await limiter.check("ann", 4)
    assert never.retry_after == inf
    assert await limiter.reset("ben")
    assert left(await limiter.peek("ben")) == [3, 5, 9]
    assert not await limiter.refund("nobody")


@pytest.mark.everywhere
async def test_a_place_in_the_queue(ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str):
    limits = [Limit(20, "1s", burst=1), Limit(2, "100ms", algorithm="log", name="log")]
    limiter = ahf.limiter("jobs", limits, deadline=SLOW)
    for _ in range(5):
        async with limiter.hold("x", wait=SLOW) as decision:
            assert decision.allowed
    with pytest.raises(RateLimited) as found:
        async with limiter.hold("x", 3, wait=SLOW):
            pass
    assert found.value.retry_after == inf
    assert limiter.stats().allowed == 5


@pytest.mark.everywhere
async def test_several_subjects_together(ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str):
    one = ahf.limiter("user", Limit(3, "1h"), deadline=SLOW)
    two = ahf.limiter("address", Limit(2, "1h"), deadline=SLOW)
    for _ in range(2):
        both = await ahf.check_all([(one, "ann", 1), (two, "10.0.0.1", 1)])
        assert both
        assert all(both.decisions)
    neither = await ahf.check_all([(one, "ann", 1), (two, "10.0.0.1", 1)])
    assert not neither
    assert neither.decisions[1] is not None
    assert neither.decisions[1].violated == ("1h",)
    assert left(await one.peek("ann")) == [1], "nothing was charged, or it was given back"
    again = await ahf.check_all([(two, "10.0.0.1", 1), (one, "ann", 1)])
    assert not again
    assert again.decisions[1] is None, "it was denied here"
    for wrong in ([], [(one, "ann", 1), (one, "ann", 1)], [(one, "ann", 0)], [("api", "ann", 1)], [(one,)]):
        with pytest.raises(ConfigurationError):
            await ahf.check_all(wrong)  # type: ignore[arg-type]


async def test_another_cost_is_told_its_own_wait(ahf: AsyncHoldfast):
    limiter = ahf.limiter("api", Limit(2, "1h"), deadline=SLOW)
    assert await limiter.check("ann", 2)
    denied, never = [await limiter.check("ann", cost) for cost in (1, 3)]
    assert 0 < denied.retry_after < inf
    assert never.retry_after == inf, "not what was said of the smaller cost"


async def test_one_after_the_other_gives_back_what_was_charged(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """As it is in a Cluster, where the subjects are on several servers."""
    one = ahf.limiter("user", Limit(3, "1h"), deadline=SLOW)
    two = ahf.limiter("address", Limit(1, "1h"), deadline=SLOW)
    chosen = _chosen([(one, "ann", 1), (two, "10.0.0.1", 1), (one, "ben", 1)])
    assert await _one_by_one(chosen)
    denied = await _one_by_one(chosen)
    assert not denied
    assert denied.decisions[2] is None
    assert left(await one.peek("ann")) == left(await one.peek("ben")) == [2]

    async def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(two, "check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await _one_by_one(chosen)
    assert left(await one.peek("ann")) == [2]


@pytest.mark.everywhere
async def test_an_estimate_is_settled(ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str):
    limiter = ahf.limiter("tokens", [Limit(1000, "1h"), Limit(5000, "1d", algorithm="fixed")], deadline=SLOW)
    async with limiter.reserve("ann", 600) as reservation:
        assert reservation.decision.remaining == 400
        assert await reservation.settle(250)
        assert reservation.charged == 250
    assert left(await limiter.peek("ann"))[1] == 4750
    async with limiter.reserve("ann", 100) as reservation:
        pass
    assert left(await limiter.peek("ann"))[1] == 4650, "what is not settled stays charged"
    assert await reservation.settle(2000), "later, too"
    assert left(await limiter.peek("ann")) == [0, 2750], "into debt"
    with pytest.raises(RateLimited) as found:
        async with limiter.reserve("ann", 1):
            pass
    assert found.value.decision.violated == ("1h",)
    assert await reservation.cancel()
    assert left(await limiter.peek("ann"))[1] == 4750


# --- what is decided ----------------------------------------------------------------------------------------


async def test_shadow_limits_count_and_tell(ahf: AsyncHoldfast):
    limits = [Limit(5, "1h"), Limit(2, "1d", shadow=True), Limit(1, "1w", algorithm="fixed", shadow=True)]
    limiter = ahf.limiter("try", limits, deadline=SLOW)
    shadowed = [(await limiter.check("ann")).shadowed for _ in range(4)]
    assert shadowed == [(), ("7d",), ("1d", "7d"), ("1d", "7d")]
    decision = await limiter.peek("ann")
    assert (decision.allowed, decision.remaining, decision.limit) == (True, 1, limits[0])
    assert limiter.stats().shadowed == 3


async def test_a_limiter_in_shadow_mode_denies_nothing(ahf: AsyncHoldfast):
    limiter = ahf.limiter("try", [Limit(2, "1h"), Limit(9, "1d")], deadline=SLOW, shadow=True)
    decisions = [await limiter.check("ann") for _ in range(4)]
    assert all(decisions)
    assert [one.shadowed for one in decisions] == [(), (), ("1h",), ("1h",)]
    assert [one.violated for one in decisions] == [()] * 4
    assert left(decisions[-1]) == [0, 7], "all or nothing, as if it were meant"
    assert all(state.limit.shadow for state in decisions[-1].states)
    async with limiter.hold("ann", wait=0) as decision:
        assert decision.shadowed == ("1h",)
    other = ahf.limiter("real", Limit(3, "1h"), deadline=SLOW)
    both = await ahf.check_all([(limiter, "ann", 1), (other, "ann", 1)])
    assert both
    assert both.decisions[0] is not None
    assert both.decisions[0].shadowed == ("1h",)


async def test_a_quota_of_nothing(ahf: AsyncHoldfast):
    for place, algorithm in enumerate(("gcra", "sliding", "fixed", "log")):
        limiter = ahf.limiter(f"closed{place}", Limit(0, "1h", algorithm=algorithm), deadline=SLOW)  # type: ignore[arg-type]
        decision = await limiter.check("ann")
        assert (decision.allowed, decision.retry_after, decision.remaining) == (False, inf, 0)


async def test_a_denied_subject_costs_no_round_trip(ahf: AsyncHoldfast):
    limiter = ahf.limiter("api", Limit(1, "1h"), deadline=SLOW, deny_cache="1h")
    assert await limiter.check("ann")
    first = await limiter.check("ann")
    second = await limiter.check("ann")
    assert not second
    assert second.retry_after <= first.retry_after
    assert (second.violated, second.degraded) == (("1h",), False)
    stats = limiter.stats()
    assert (stats.checks, stats.denied, stats.denied_here) == (3, 2, 1)
    assert await limiter.refund("ann")
    assert await limiter.check("ann"), "what was given back counts at once"
    assert not await limiter.check("ann")
    assert await limiter.reset("ann")
    assert await limiter.check("ann")


@pytest.mark.parametrize("period", ["day", "week", "month", "year"])
async def test_a_window_of_the_calendar(ahf: AsyncHoldfast, period: str):
    limiter = ahf.limiter(period, [Limit(2, period, tz="Asia/Kathmandu"), Limit(9, "1s")], deadline=SLOW)
    assert left(await limiter.check("ann"))[0] == 1
    begin, end = int(limiter._desk.default.text.split()[2]), int(limiter._desk.default.text.split()[3])
    assert begin < end
    assert await limiter.check("ann")
    denied = await limiter.check("ann")
    assert denied.violated == (period,)
    assert 0 < denied.retry_after <= (end - begin) / rules.MICROS
    with pytest.raises(RateLimited):
        async with limiter.hold("ann", wait="1d"):
            pass
    limiter._desk.default._turn(rules._LONG_AGO)  # as if it had become a new one while we were away
    assert left(await limiter.peek("ann"))[0] == 0


# --- states -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["gcra", "sliding", "fixed", "log"])
async def test_a_subject_that_is_idle_vanishes(ahf: AsyncHoldfast, algorithm: Any):
    limiter = ahf.limiter("api", Limit(2, "200s", algorithm=algorithm), deadline=SLOW)
    decision = await limiter.check("ann")
    key = limiter._desk.key("ann")
    for one in (key, f"{key}:l:200s") if algorithm == "log" else (key,):
        left_ms = await ahf.execute("PTTL", one)
        assert 0 < left_ms <= decision.reset_after * 1000 + 2


DAMAGE: list[tuple[Any, ...]] = [
    ("SET", "{key}", "rubbish"),
    ("SET", "{key}", ""),
    ("SET", "{key}", "g 1h 1 1 1 1;|"),
    ("SET", "{key}", "g 1h 1 1 1 1;|" + "x" * 32),
    ("RPUSH", "{key}", "a"),
    ("HSET", "{key}", "a", "b"),
    ("APPEND", "{key}", "x"),
    ("SETRANGE", "{key}", 40, b"\xff" * 60),
    ("SET", "{key}:o", "rubbish"),
    ("HSET", "{key}:o", "a", "b"),
    ("SET", "{key}:l:1h", "a"),
    ("RPUSH", "{key}:l:1h", "a"),
    ("DEL", "{key}:l:1h"),
]


@pytest.mark.parametrize("algorithm", ["gcra", "sliding", "fixed", "log"])
@pytest.mark.parametrize("damage", DAMAGE, ids=str)
async def test_what_is_none_of_ours_is_replaced(ahf: AsyncHoldfast, algorithm: Any, damage: Any):
    limiter = ahf.limiter("api", Limit(3, "1h", algorithm=algorithm), deadline=SLOW, deny_cache=0)
    assert await limiter.check("ann")
    key = limiter._desk.key("ann")
    if damage[0] in ("RPUSH", "HSET") or damage[1].endswith(":l:1h"):
        await ahf.execute("DEL", damage[1].format(key=key))
    await ahf.execute(*[one.format(key=key) if isinstance(one, str) else one for one in damage])
    decisions = [await limiter.check("ann") for _ in range(4)]
    assert sum(one.allowed for one in decisions) in (2, 3)
    assert not decisions[-1].degraded
    assert not await limiter.check("ann")


async def test_limits_of_its_own_that_are_none_of_ours(ahf: AsyncHoldfast):
    limiter = ahf.limiter("api", Limit(3, "1h"), deadline=SLOW, deny_cache=0)
    await ahf.execute("SET", f"{limiter._desk.key('ann')}:o", "g x 1 1000000000 1 2000000000;|nonsense")
    decisions = [await limiter.check("ann") for _ in range(3)]
    assert [one.allowed for one in decisions] == [True, True, False]
    assert [one.remaining for one in decisions] == [1, 0, 0]
    assert 0 < decisions[-1].retry_after <= 1000


async def test_limits_that_change_keep_what_was_used(ahf: AsyncHoldfast):
    kinds: list[Any] = ["gcra", "sliding", "fixed", "log"]
    for old in kinds:
        for new in kinds:
            before = ahf.limiter(f"{old}-{new}", Limit(10, "1d", algorithm=old, name="x"), deadline=SLOW)
            assert await before.check("ann", 6)
            table = rules.Table((Limit(20, "2d", algorithm=new, name="x"), Limit(5, "1h")))
            before._desk.default = table
            decision = await before.check("ann")
            assert left(decision) == [13, 4], (old, new)
            before._desk.default = rules.Table((Limit(3, "1d", algorithm=old, name="x"),))
            denied = await before.check("ann")
            assert not denied
            assert denied.retry_after < 2 * 86400, "no longer than a full one"


async def test_another_algorithm_in_the_state_is_found_out(ahf: AsyncHoldfast):
    limiter = ahf.limiter("api", Limit(10, "1h", algorithm="fixed"), deadline=SLOW)
    await limiter.check("ann", 4)
    limiter._desk.default = rules.Table((Limit(10, "1h"),))
    assert left(await limiter.check("ann")) == [5]
    async with limiter.hold("ann"):
        pass
    assert left(await limiter.peek("ann")) == [4]


# --- what is refused ----------------------------------------------------------------------------------------


async def test_nonsense_is_refused(ahf: AsyncHoldfast):
    limiter = ahf.limiter("api", Limit(3, "1h"), deadline=SLOW)
    for cost in (0, -1, 1.5, True, "1", 1 << 60):
        for ask in (limiter.check, limiter.peek, limiter.refund):
            with pytest.raises(ConfigurationError, match="cost="):
                await ask("ann", cost)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cost="):
        limiter.hold("ann", 0)
    with pytest.raises(ConfigurationError, match="wait="):
        limiter.hold("ann", wait="2d")
    with pytest.raises(ConfigurationError, match="makes no key"):
        await limiter.check(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="plan"):
        await limiter.check("ann", plan="none")
    assert labels(await limiter.check(42)) == ["1h"]
    assert left(await limiter.peek("42")) == [3], "42 is not '42'"


async def test_a_closed_client_says_so(ahf: AsyncHoldfast):
    limiter = ahf.limiter("api", Limit(3, "1h"))
    await ahf.close()
    with pytest.raises(Closed):
        await limiter.check("ann")
