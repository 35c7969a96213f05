# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What limiters decide while the server is away, too slow, full, empty, or forbids it."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast, NoPermission
from holdfast._compat import asleep, monotonic
from holdfast._signals import BreakerChanged
from holdfast.errors import RateLimited, Unavailable
from holdfast.limits.options import Limit
from tests.limits.world import Observer, left

SLOW = "20s"  # the deadline of tests: a machine may be slow
SOON = "50ms"
HOUR = Limit(3, "1h")


async def again(limiter: Any, subject: str = "ann") -> Any:
    """A decision that the server has made, at last."""
    give_up = monotonic() + 30
    while (decision := await limiter.check(subject)).degraded:
        assert monotonic() < give_up, "the server was never asked again"
        await asleep(0.01)
    return decision


async def test_a_server_that_stands_still_keeps_nobody_waiting(own_server: Any, namespace: str):
    """It stands still until the end: who waited for it would wait for a minute."""
    async with AsyncHoldfast(own_server.url, namespace=namespace, timeout="60s") as hf:
        limiters: dict[Any, Any] = {
            how: hf.limiter(how, HOUR, on_error=how, deadline=SOON) for how in ("allow", "deny", "local")
        }
        for limiter in limiters.values():
            await again(limiter)
        own_server.freeze()
        begun = monotonic()
        try:
            decisions = {how: [await one.check("ann") for _ in range(5)] for how, one in limiters.items()}
            peeked = await limiters["local"].peek("ann")
            with pytest.raises(RateLimited) as denied:
                async with limiters["deny"].hold("ann"):
                    pass
            with pytest.raises(RateLimited):
                async with limiters["deny"].reserve("ann", 1):
                    pass
            async with limiters["allow"].hold("ann") as held:
                pass
            async with limiters["local"].reserve("ben", 2) as reservation:
                assert await reservation.settle(1)
            assert (await limiters["local"].peek("ben")).remaining == 2
            assert await hf.check_all([(limiters["allow"], "cat", 1), (limiters["local"], "cat", 1)])
            assert not await hf.check_all([(limiters["local"], "cat", 1), (limiters["deny"], "cat", 1)])
            assert (await limiters["local"].peek("cat")).remaining == 2, "what another denies is given back"
            assert monotonic() - begun < 30
        finally:
            own_server.resume()
        assert all(one.degraded for all_of_one in decisions.values() for one in all_of_one)
        assert [one.allowed for one in decisions["allow"]] == [True] * 5
        assert [one.allowed for one in decisions["deny"]] == [False] * 5
        assert [one.allowed for one in decisions["local"]] == [True] * 3 + [False] * 2
        assert decisions["deny"][0].retry_after >= 1
        assert decisions["deny"][0].violated == ()
        assert decisions["local"][-1].violated == ("1h",)
        assert not peeked.allowed
        assert held.degraded
        assert denied.value.decision.degraded
        assert limiters["allow"].stats().degraded >= 5
        for limiter in limiters.values():
            assert not (await again(limiter, "dan")).degraded


async def test_the_deadline_holds_for_all_who_were_asked_together(own_server: Any, namespace: str):
    """It would be the client's timeout, for ever, for a limiter that is never the first of them."""
    async with AsyncHoldfast(own_server.url, namespace=namespace, timeout="60s") as hf:
        first, second = (hf.limiter(name, HOUR, deadline=SOON) for name in ("first", "second"))
        both = [(first, "ann", 1), (second, "ann", 1)]
        give_up = monotonic() + 30
        while any(one.degraded for one in (await hf.check_all(both)).decisions if one is not None):
            assert monotonic() < give_up, "the server was never asked again"
        own_server.freeze()
        begun = monotonic()
        try:
            together = await hf.check_all([(first, "bob", 1), (second, "bob", 1)])
            assert [one.degraded for one in together.decisions if one is not None] == [True, True]
            assert monotonic() - begun < 30
        finally:
            own_server.resume()


async def test_all_questions_of_a_check_have_one_deadline(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Of a plan that is not known yet there are three, and one more where the script needs another form."""
    limiter = ahf.limiter("api", HOUR, deadline=SLOW)
    await again(limiter)
    await limiter.set_plan("pro", Limit(5, "1h"))
    limiter._desk.tables.clear()
    limiter._plans._version = None
    wire, given = limiter._desk.wire, []
    run, execute = wire.run, wire.execute

    async def timed_run(script: Any, keys: Any, args: Any = (), timeout: Any = None) -> Any:
        given.append(timeout)
        if len(given) == 3:
            return [-3]
        return await run(script, keys, args, timeout)

    async def timed_execute(*args: Any, timeout: Any = None, **more: Any) -> Any:
        given.append(timeout)
        return await execute(*args, timeout=timeout, **more)

    monkeypatch.setattr(wire, "run", timed_run)
    monkeypatch.setattr(wire, "execute", timed_execute)
    assert (await limiter.check("ann", plan="pro")).limit == Limit(5, "1h")
    assert len(given) == 4
    assert given == sorted(given, reverse=True)
    assert given[3] < given[2] < given[1] < given[0] == 20.0


async def test_the_first_check_may_take_the_time_to_connect(faults: Any, namespace: str):
    hf = AsyncHoldfast(faults.url, namespace=namespace, timeout="30s", connect_timeout="30s")
    faults.delay(0.1)  # longer than the deadline
    limiter = hf.limiter("api", HOUR, deadline=SOON)
    first, second = await limiter.check("ann"), await limiter.check("ann")
    assert (first.degraded, second.degraded) == (False, True)
    await hf.close()


async def test_a_server_that_was_never_there_is_waited_for_once(own_server: Any, namespace: str):
    own_server.freeze()
    hf = AsyncHoldfast(own_server.url, namespace=namespace, timeout="300ms", connect_timeout="30s")
    limiter = hf.limiter("api", HOUR, deadline="1ms", breaker=1000)
    begun = monotonic()
    assert (await limiter.check("ann")).degraded
    assert monotonic() - begun > 0.25, "it has had its chance"
    assert limiter._desk.deadline == 0.001
    assert (await limiter.check("ann")).degraded
    own_server.resume()
    await hf.close()


async def test_after_some_failures_the_server_is_left_alone(faults: Any, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout=SLOW) as hf:
        observer = Observer(hf)
        limiter = hf.limiter("api", HOUR, deadline="30ms", breaker=2)
        await limiter.check("ann")
        faults.blackhole()
        for _ in range(2):
            assert (await limiter.check("ann")).degraded
        assert [one.state for one in observer.of(BreakerChanged)] == ["open"]
        asked = len(faults.commands("EVALSHA"))
        for _ in range(100):
            assert (await limiter.check("ann")).degraded
        assert len(faults.commands("EVALSHA")) - asked < 50
        faults.heal()
        await again(limiter)
        assert [one.state for one in observer.of(BreakerChanged)][-1] == "closed"


async def test_a_lost_reply_is_not_asked_for_again(faults: Any, namespace: str, ahf: AsyncHoldfast):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout=SLOW) as hf:
        limiter = hf.limiter("api", Limit(10, "1d"), deadline=SLOW)
        await limiter.check("ann")
        for count in (2, 3):
            faults.drop_replies(1, match=b"EVALSHA")
            decision = await limiter.check("ann")
            assert (decision.allowed, decision.degraded) == (True, True)
            same = ahf.limiter("api", Limit(10, "1d"), deadline=SLOW)
            assert left(await same.peek("ann")) == [10 - count], "charged once"
        async with limiter.reserve("ann", 4) as reservation:
            faults.drop_replies(1, match=b"EVALSHA")
            assert not await reservation.settle(1)
            assert reservation.charged == 4
        assert limiter.stats().unsettled == 1


async def test_no_connection_is_made_while_a_check_waits(faults: Any, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout=SLOW) as hf:
        limiter = hf.limiter("api", HOUR, deadline=SOON, breaker=1000)
        await limiter.check("ann")
        faults.refuse()
        faults.cut()
        give_up = monotonic() + 20
        while limiter.stats().degraded < 3:
            assert monotonic() < give_up
            await limiter.check("ann")
        faults.accept()
        while not faults.commands("EXISTS"):
            assert monotonic() < give_up, "nobody looked whether it is back"
            await asleep(0.01)
        await again(limiter)


async def test_a_server_that_was_restarted_empty(own_server: Any, namespace: str):
    async with AsyncHoldfast(own_server.url, namespace=namespace, timeout=SLOW) as hf:
        limiter = hf.limiter("api", HOUR, deadline=SLOW)
        assert await limiter.check("ann", 3)
        own_server.kill()
        own_server.restart(empty=True)
        decision = await again(limiter)
        assert left(decision) == [2]


async def test_a_full_server_is_as_good_as_away(own_server: Any, namespace: str):
    async with AsyncHoldfast(own_server.url, namespace=namespace, timeout=SLOW) as hf:
        limiter = hf.limiter("api", HOUR, deadline=SLOW, on_error="deny", breaker=1)
        assert await limiter.check("ann")
        await hf.execute("CONFIG", "SET", "maxmemory", "1")
        assert [(await limiter.check("ann")).degraded for _ in range(3)] == [True] * 3
        await hf.execute("CONFIG", "SET", "maxmemory", "0")
        assert await limiter.check("ann"), "at once: it was never away"


async def test_who_may_not_is_told_so(own_server: Any, namespace: str):
    async with AsyncHoldfast(own_server.url, namespace=namespace, timeout=SLOW) as hf:
        await hf.execute("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@all", "-set")
    url = own_server.url.partition("@")
    poor = f"redis://poor:pw@{url[2]}" if url[1] else own_server.url.replace("redis://", "redis://poor:pw@")
    async with AsyncHoldfast(poor, namespace=namespace, timeout=SLOW, require_server=False) as hf:
        with pytest.raises(NoPermission):
            await hf.limiter("api", HOUR, deadline=SLOW).check("ann")


async def test_counting_here_one_can_wait(faults: Any, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout=SLOW) as hf:
        limiter = hf.limiter("jobs", Limit(10, "100ms", burst=1), on_error="local", deadline=SOON, breaker=1)
        await limiter.check("ann")
        faults.blackhole()
        for _ in range(5):
            async with limiter.hold("ann", wait=SLOW) as decision:
                assert decision.degraded
        with pytest.raises(RateLimited):
            async with limiter.hold("ann", 2, wait=SLOW):
                pass
        with pytest.raises(Unavailable):
            await hf.execute("PING", timeout=0.05)
