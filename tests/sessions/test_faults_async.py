# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Sessions over a network that fails, and a server that is away, empty, full, or takes no writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import (
    AsyncHoldfast,
    ConflictError,
    Durability,
    NotDurable,
    OutOfMemory,
    ReadOnly,
    Unavailable,
)
from holdfast.errors import SessionGone
from holdfast.sessions import rules
from holdfast.sessions._sessions_async import AsyncSessions
from holdfast.sessions.options import SessionsOptions
from tests.sessions.world import Ring, dump


def make(ahf: AsyncHoldfast, name: str = "web", **options: Any) -> AsyncSessions[Any]:
    return AsyncSessions(ahf._wire, name, SessionsOptions(**options))


async def known(sessions: AsyncSessions[Any], session: Any) -> Any:
    """The session as it is in the server."""
    found = await sessions.load(session.id)
    assert found is not None
    return found


async def use_all(sessions: AsyncSessions[Any]) -> None:
    """Have the server know every script."""
    session = await sessions.create("ann", {"a": 1})
    session.data["a"] = 2
    await sessions.save(session)
    await sessions.pop(session, "a")
    await sessions.touch(session)
    session = await sessions.rotate(session)
    await sessions.list("ann")
    await sessions.revoke(session)
    await sessions.revoke_all("ann")


async def test_whose_reply_is_lost_has_done_it_once(ahf: AsyncHoldfast, faults: Any, namespace: str):
    """found: revoke, rotate and pop that took their own trace for another's; strict saves in conflict with
    themselves; a version that counted twice.
    """
    near = make(ahf)
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="20s") as far:
        sessions = make(far)
        await use_all(sessions)

        async def lose(script: Any) -> None:
            faults.drop_replies(1, match=script.digest.encode())

        await lose(rules.CREATE)
        session = await sessions.create("ann", {"a": 1, "b": 1})
        assert (await known(near, session)).data == {"a": 1, "b": 1} and len(await near.list("ann")) == 1
        await lose(rules.ENTER)
        other = await sessions.create("ann")
        assert len(await near.list("ann")) == 2 and (await near.load(session.id)) is not None
        await lose(rules.LOAD)
        assert (await known(sessions, session)).data == {"a": 1, "b": 1}
        for strict in (True, False):
            session.data["a"] += 1
            await lose(rules.SAVE)
            assert await sessions.save(session, strict=strict)
            assert (await known(near, session)).version == session.version
        assert session.version == 3 and session.data["a"] == 3
        await lose(rules.POP)
        assert await sessions.pop(session, "b") == 1 and session.version == 4
        await lose(rules.TOUCH)
        assert await sessions.touch(session)
        await lose(rules.ROTATE)
        new = await sessions.rotate(session)
        assert not new.superseded and (await known(near, new)).data == {"a": 3}
        assert (await known(near, session)).handle == new.handle
        await lose(rules.LOOK)
        assert {one.handle for one in await sessions.list("ann")} == {new.handle, other.handle}
        await lose(rules.REVOKE)
        assert await sessions.revoke(new) and await near.load(new.id) is None
        await lose(rules.REVOKE_ALL)
        first = await near.generation("ann")
        generation = await sessions.revoke_all("ann", keep=other)
        assert await near.generation("ann") == generation > first
        assert (await known(near, other)).user == "ann" and faults.connections > 10


async def test_a_server_that_is_away_is_waited_for_no_longer_than_the_deadline(
    ahf: AsyncHoldfast, faults: Any, namespace: str
):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="30s") as far:
        sessions = make(far, deadline="60ms")
        session = await make(ahf).create("ann", {"a": 1})
        mine = await make(far).load(session.id)
        assert mine is not None
        mine.data["a"] = 2
        faults.blackhole()
        calls: list[Callable[[], Any]] = [
            lambda: sessions.create("ann"),
            lambda: sessions.load(session.id),
            lambda: sessions.save(mine),
            lambda: sessions.touch(mine),
            lambda: sessions.pop(mine, "a"),
            lambda: sessions.rotate(mine),
            lambda: sessions.revoke(mine),
            lambda: sessions.revoke_handle("ann", mine.handle),
            lambda: sessions.revoke_all("ann", keep=mine),
            lambda: sessions.generation("ann"),
            lambda: sessions.list("ann"),
        ]
        for call in calls:
            with pytest.raises(Unavailable):
                await call()
        assert mine.data == {"a": 2} and mine.changed
        faults.heal()


async def test_an_empty_server_has_no_sessions(own_server: Any):
    async with AsyncHoldfast(own_server.url) as client:
        sessions = make(client)
        session, nobody = await sessions.create("ann", {"a": 1}), await sessions.create(data={"a": 1})
        await client.execute("FLUSHALL")
        for one in (session, nobody):
            assert await sessions.load(one.id) is None and not await sessions.touch(one)
            one.data["a"] = 2
            for call in (sessions.save, sessions.rotate):
                with pytest.raises(SessionGone):
                    await call(one)
            with pytest.raises(SessionGone):
                await sessions.pop(one, "a")
            assert not await sessions.revoke(one)
        assert await sessions.list("ann") == [] and await client.execute("DBSIZE") in {0, 1, 2, 3}
        assert await sessions.revoke_all("ann", keep=session) > 0
        again = await sessions.create("ann")
        assert [one.handle for one in await sessions.list("ann")] == [again.handle]
        assert await sessions.load(session.id) is None


async def test_a_full_server_still_signs_out_and_lets_in(own_server: Any):
    """found: a save that wrote one half; a load that fails because it cannot note the use."""
    async with AsyncHoldfast(own_server.url) as client:
        sessions = make(client, touch=0)
        await use_all(sessions)
        session, other = await sessions.create("ann", {"a": 1, "b": 1}), await sessions.create("ann")
        await client.execute("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        found = await known(sessions, session)
        assert found.data == {"a": 1, "b": 1}
        del found.data["b"]
        found.data["a"] = 2
        with pytest.raises(OutOfMemory):
            await sessions.save(found)
        with pytest.raises(OutOfMemory):
            await sessions.rotate(found)
        with pytest.raises(OutOfMemory):
            await sessions.create()
        assert (await known(sessions, session)).data == {"a": 1, "b": 1}
        assert await sessions.touch(found) and await sessions.pop(found, "b") == 1
        assert await sessions.revoke(session) and await sessions.load(session.id) is None
        assert await sessions.load(other.id) is not None
        await sessions.revoke_all("ann")
        assert await sessions.load(other.id) is None


async def test_a_server_that_takes_no_writes_is_read(own_server: Any):
    async with AsyncHoldfast(own_server.url, timeout="5s") as client:
        sessions = make(client, touch=0)
        session = await sessions.create("ann", {"a": 1})
        await client.execute("CONFIG", "SET", "min-replicas-to-write", "1")
        before = sessions.stats().touched
        assert (await known(sessions, session)).data == {"a": 1} and sessions.stats().touched == before
        session.data["a"] = 2
        for call in (sessions.save, sessions.touch, sessions.revoke, sessions.rotate):
            with pytest.raises((ReadOnly, Unavailable)):
                await call(session)
        assert (await known(sessions, session)).data == {"a": 1}


async def test_durability_is_asked_for_where_sessions_end(ahf: AsyncHoldfast):
    sessions = make(ahf, durability=Durability(replicas=1, within="1ms"))
    session, other = await sessions.create("ann"), await sessions.create("ann")
    with pytest.raises(NotDurable):
        await sessions.revoke(session)
    assert await sessions.load(session.id) is None
    with pytest.raises(NotDurable):
        await sessions.rotate(other)
    with pytest.raises(NotDurable):
        await sessions.revoke_all("ann")
    assert await sessions.list("ann") == []


async def test_what_is_at_rest_gives_nobody_away(own_server: Any):
    """found: ids in keys, fields or memos; names of keys, users, `about` or data in clear beside a cipher."""
    secrets = [b"4111-1111", b"ann@example.com", b"card number", b"my phone", b"flash"]
    for cipher in (None, Ring(b"key1", b"key2")):
        async with AsyncHoldfast(own_server.url, namespace="rest") as client:
            await client.execute("FLUSHALL")
            sessions = make(client, cipher=cipher)
            user, data = "ann@example.com", {"card number": "4111-1111", "flash": "4111-1111"}
            first = await sessions.create(data=data)
            second = await sessions.rotate(first, user=user, about={"device": "my phone"})
            third = await sessions.rotate(second)
            await sessions.pop(third, "flash")
            third.data["more"] = "4111-1111"
            await sessions.save(third, strict=True)
            fourth = await sessions.create(user, data)
            await sessions.revoke(fourth)
            await sessions.revoke_all(user, keep=third)
            own = await sessions.create(user, data)
        found = dump(own_server.url, "rest")
        assert len(found) >= 6
        rest = b"\n".join([*found, *(word for parts in found.values() for word in parts)])
        for session in (first, second, third, fourth, own):
            for part in (session.id, session.id[:22], session.id[:16]):
                assert part.encode() not in rest
        for secret in secrets:
            assert (secret in rest) is (cipher is None), secret


async def test_a_stuck_request_that_arrives_late_changes_nothing(ahf: AsyncHoldfast):
    """found: a create that begins a revoked session anew; a save over a later one; a rotation back."""
    sessions = make(ahf)
    wire, sent = ahf._wire, []

    class Tape:
        """Remembers what is run."""

        def __getattr__(self, name: str) -> Any:
            return getattr(wire, name)

        async def run(self, script: Any, keys: Any, args: Any = (), *rest: Any) -> Any:
            sent.append((script, keys, args))
            return await wire.run(script, keys, args, *rest)

    sessions._desk.wire = Tape()  # type: ignore[assignment]
    session = await sessions.create(data={"a": 1})
    one, two = await known(sessions, session), await known(sessions, session)
    one.data["a"] = 2
    await sessions.save(one)
    two.data["a"] = 3
    await sessions.save(two)
    for late in list(sent):
        await wire.run(*late)
    assert (await known(sessions, session)).data == {"a": 3}
    new = await sessions.rotate(two)
    for late in list(sent):
        await wire.run(*late)
    assert (await known(sessions, new)).data == {"a": 3} and (await known(sessions, session)).superseded
    await sessions.revoke(new)
    for late in list(sent):
        await wire.run(*late)
    for dead in (session, new):
        assert await sessions.load(dead.id) is None


async def test_a_busy_session_can_be_rotated_or_says_so(ahf: AsyncHoldfast, monkeypatch: Any):
    """Somebody saves between the copy and the pointer, each time."""
    sessions = make(ahf)
    desk, times = sessions._desk, [3]
    end = desk.end
    session = await sessions.create(data={"n": 0, "mine": 0})

    async def interrupted(script: Any, *rest: Any) -> Any:
        if script is rules.ROTATE and times[0] > 0:
            times[0] -= 1
            other = await known(sessions, session)
            other.data["n"] += 1
            await sessions.save(other)
        return await end(script, *rest)

    monkeypatch.setattr(desk, "end", interrupted)
    session.data["mine"] = 1
    signed = await sessions.rotate(session, user="ann")
    assert signed.data == {"n": 3, "mine": 1} and (await known(sessions, signed)).data == signed.data
    assert len(await sessions.list("ann")) == 1
    times[0] = 100
    session = await sessions.create(data={"n": 0})
    with pytest.raises(ConflictError):
        await sessions.rotate(session, user="ann")
    assert (await known(sessions, session)).data == {"n": 8}
    keys = await ahf.execute("KEYS", f"{ahf._wire.keys.prefix('session', 'web')}*")
    ours = [key for key in keys if b"{u:" not in key]
    assert len(ours) == 1 + 1 + 1  # the signed one, its pointer, this one: no copies are left
