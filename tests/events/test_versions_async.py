# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Projections: several runners, several versions side by side, and what happens when something is gone."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, ConflictError
from holdfast.events import rules
from holdfast.events.options import PositionTrimmed
from holdfast.events.rules import ProjectionReplaced
from tests.events.crew import AsyncCrew
from tests.events.test_log_async import make
from tests.events.test_projection_async import expire, number, totals, until
from tests.events.world import Observer, ns

# --- several runners ---------------------------------------------------------------------------------------


async def test_two_runners_at_once_do_not_double_anything(ahf: AsyncHoldfast):
    """Both believe that it is theirs, again and again: the position in the commit decides."""
    log, other = make(ahf), make(ahf)
    one, two = totals(log, batch=3), totals(other, batch=5)
    await log.append("a", ns(*[1] * 100))
    one.start()
    two.start()
    for _ in range(40):
        await log.append("b", ns(*[1] * 5))
        await expire(one)
    appended = await log.append("b", ns(1))
    await one.wait(appended)
    assert await number(one) == 301
    assert len(one.seen) + len(two.seen) >= 301
    await one.close(5.0)
    await two.close(5.0)


async def test_whoever_closes_hands_over_at_once(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Without giving the lease back, and saying so, the next one would wait until it ends."""
    monkeypatch.setattr(rules, "SAFETY_POLL", 1000.0)
    log, other = make(ahf), make(ahf)
    one, two = totals(log, lease="1m"), totals(other, lease="1m")
    one.start()
    await one.wait(await log.append("a", ns(1)))
    two.start()
    await AsyncCrew.rest(0.2)  # it is asleep
    await one.close(5.0)
    lease = log._desk.layout.parts[0].lease("totals:1")

    async def taken() -> bool:
        return await ahf.execute("GET", lease) == two._projector._holder.encode()

    await until(taken)
    appended = await log.append("a", ns(2))
    await two.wait(appended, wait="10s")
    assert await number(one) == 3 and two.seen[-1][0] == 2
    await two.close(5.0)


async def test_a_runner_that_is_silent_is_succeeded_after_its_lease(ahf: AsyncHoldfast):
    log = make(ahf)
    part = log._desk.layout.parts[0]
    await ahf.execute("SET", part.lease("totals:1"), "a dead process", "PX", 400, retry="safe")
    projection = totals(log, lease="400ms")
    appended = await log.append("a", ns(1))
    projection.start()
    await projection.wait(appended, wait="10s")
    assert await number(projection) == 1
    await projection.close(5.0)


# --- versions ----------------------------------------------------------------------------------------------


async def test_a_new_version_is_built_beside_the_old_one_and_replaces_it(ahf: AsyncHoldfast):
    log = make(ahf)
    observer = Observer(ahf)
    old = totals(log, lease="300ms")
    old.start()
    await old.wait(await log.append("a", ns(*[1] * 50)))
    assert await number(old) == 50
    new = totals(log, version=2, batch=7, lease="300ms")
    gate = [True]

    async def slowly(fx: Any, event: Any) -> None:
        while gate[0]:
            await AsyncCrew.rest(0.005)
        fx.incrby(fx.key("sum"), 2 * event.value["n"])
        new.seen.append((event.value["n"], fx.replaying))

    new.handler = slowly
    new.start()
    await old.wait(await log.append("a", ns(1)))
    assert await number(new) == 51  # the old one is read until the new one is level
    gate[0] = False

    async def replaced() -> bool:
        return bool(observer.of(ProjectionReplaced))

    for _ in range(20):
        await log.append("a", ns(1))
    await until(replaced)
    appended = await log.append("a", ns(1))
    await new.wait(appended)
    assert await number(new) == await number(old) == 2 * 72
    assert int(await ahf.execute("GET", old.key("sum"))) == len(old.seen)
    # Each event was no replay for exactly one of the two.
    assert [one for one, _ in new.seen] == [1] * 72
    live = [replaying for _, replaying in old.seen].count(False) + [one for _, one in new.seen].count(False)
    first = [replaying for _, replaying in old.seen].count(True)
    assert first + live == 72
    statuses = {one.version: one for one in await new.status()}
    assert statuses[2].active and statuses[1].replaced and await old.is_idle()
    assert old.alive and old.failure is None
    await old.close(5.0)
    with pytest.raises(ConfigurationError, match="active"):
        await new.drop(2)
    assert await new.drop(1) == 3
    assert [one.version for one in await new.status()] == [2]
    assert await ahf.execute("GET", old.key("sum")) is None
    await new.close(5.0)


async def test_a_version_is_idle_once_it_has_seen_all_and_is_read(ahf: AsyncHoldfast):
    """`hf.run(until="idle")` would end before it has begun, or before it has replaced the older one."""
    log = make(ahf)
    old, new = totals(log), totals(log, version=2)
    appended = await log.append("a", ns(1, 2))
    assert not await old.is_idle()  # nobody has looked at it yet
    old.start()
    await old.wait(appended)
    await old.close(5.0)
    assert await old.is_idle()
    desk, part = log._desk, log._desk.layout.parts[0]
    await ahf.execute("SET", part.lease("totals:1"), "a process", retry="safe")  # it runs the old one
    turn = await desk.turn(part, "totals", 2, "us", 60_000, 1)
    assert (turn.at, turn.goal) == (0, appended.position)
    await desk.commit(part, ("totals", 2, "us", 60_000), (0, appended.position), [])
    assert not await new.is_idle()
    assert await desk.turn(part, "totals", 2, "us", 60_000, 1) == (0, 60_000)  # held, it has not said so yet
    await ahf.execute("DEL", part.lease("totals:1"), retry="safe")
    await desk.turn(part, "totals", 2, "us", 60_000, 1)
    assert await new.is_idle() and await old.is_idle()


async def test_a_word_of_an_earlier_hold_counts_no_more(ahf: AsyncHoldfast):
    """The older version had said that it waits, and has gone on since: both would have the same events."""
    log = make(ahf)
    await log.append("a", ns(1, 2))
    desk, part = log._desk, log._desk.layout.parts[0]

    async def turn(version: int) -> Any:
        return await desk.turn(part, "totals", version, f"r{version}", 60_000, 100)

    assert (await turn(1)).goal == -1
    assert (await turn(2))[0] == 0  # the older one is held
    assert (await turn(1))[0] == 0  # and says that it waits
    await ahf.execute("HSET", part.active, "held:totals", 1, retry="safe")  # the newer one was away too long
    assert (await turn(1)).goal == -1  # it goes on
    assert (await turn(2))[0] == 0  # and has to say so again
    assert (await turn(1))[0] == 0
    assert (await turn(2)).goal == -1
    assert await turn(1) == (rules.REFUSED, 2)


async def test_the_older_version_can_be_made_the_active_one_again(ahf: AsyncHoldfast):
    log = make(ahf)
    old, new = totals(log, lease="300ms"), totals(log, version=2, lease="300ms")
    old.start()
    await old.wait(await log.append("a", ns(1)))
    new.start()

    async def replaced() -> bool:
        return any(one.active and one.version == 2 for one in await new.status())

    await until(replaced)
    await new.wait(await log.append("a", ns(2)))
    assert [one for one, _ in old.seen] == [1]
    await new.activate(1)
    await old.wait(await log.append("a", ns(4)))
    assert await number(old) == 7
    assert [one for one, _ in old.seen] == [1, 2, 4]
    assert [one for _, one in old.seen[1:]] == [True, False]  # the newer one has had 2
    assert [one for one, _ in new.seen] == [1, 2]
    await new.activate(2)
    await new.wait(await log.append("a", ns(8)))
    assert await number(new) == 15 and [one for _, one in new.seen[2:]] == [True, False]
    with pytest.raises(ConfigurationError, match="no version 3"):
        await new.activate(3)
    await old.close(5.0)
    await new.close(5.0)


# --- what is gone ------------------------------------------------------------------------------------------


async def test_a_flushed_server_starts_it_anew(own_server, namespace: str):
    """Its position is gone with the events: nothing of the new history may be skipped."""
    async with AsyncHoldfast(own_server.url, namespace=namespace) as ahf:
        log = make(ahf)
        projection = totals(log)
        projection.start()
        await projection.wait(await log.append("a", ns(*[1] * 30)))
        await ahf.execute("FLUSHALL", retry="safe")
        await projection.wait(await log.append("a", ns(1, 2)))
        assert await number(projection) == 3
        await projection.close(5.0)


async def test_events_are_not_archived_before_every_projection_has_seen_them(ahf: AsyncHoldfast):
    log = make(ahf)
    projection = totals(log)
    projection.start()
    await projection.wait(await log.append("a", ns(1)))
    await projection.close(5.0)
    await log.append("a", ns(2))
    await log.snapshot("a", 3, version=2)
    with pytest.raises(ConflictError, match="totals"):
        await log.archive("a")
    projection.start()
    await until(projection.is_idle)
    assert await log.archive("a") == 2
    await projection.close(5.0)
    # A version that is built later cannot be right, and says so.
    new = totals(log, version=2)
    new.start()

    async def failed() -> bool:
        return not new.alive

    await until(failed)
    assert isinstance(new.failure, PositionTrimmed) and await number(new) == 3
    await new.close(5.0)


async def test_a_lost_reply_of_a_commit_does_not_double_it(faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace) as ahf:
        log = make(ahf)
        projection = totals(log)
        projection.start()
        await projection.wait(await log.append("a", ns(1)))
        for round in range(3):
            faults.drop_replies(match=rules.COMMIT.digest.encode())
            await projection.wait(await log.append("a", ns(1)))
            assert await number(projection) == 2 + round
        assert len(projection.seen) == 4
        await projection.close(5.0)


async def test_it_goes_on_when_the_server_is_back(faults, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as ahf:
        log = make(ahf)
        projection = totals(log)
        projection.start()
        await projection.wait(await log.append("a", ns(1)))
        faults.refuse()
        faults.cut()
        await AsyncCrew.rest(0.6)
        faults.accept()
        await until_appended(log, projection)
        assert await number(projection) == 3 and projection.failure is None
        await projection.close(5.0)


async def until_appended(log: Any, projection: Any) -> None:
    appended = await log.append("a", ns(2), expected=1)
    await projection.wait(appended)
