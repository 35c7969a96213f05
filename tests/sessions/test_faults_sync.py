# Generated from test_faults_async.py by tools/unasync.py. Do not edit.
"""Sessions over a network that fails, and a server that is away, empty, full, or takes no writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import (
    Holdfast,
    ConflictError,
    Durability,
    NotDurable,
    OutOfMemory,
    ReadOnly,
    Unavailable,
)
from holdfast.errors import SessionGone
from holdfast.sessions import rules
from holdfast.sessions._sessions_sync import Sessions
from holdfast.sessions.options import SessionsOptions
from tests.sessions.world import Ring, dump


def make(hf: Holdfast, name: str = "web", **options: Any) -> Sessions[Any]:
    return Sessions(hf._wire, name, SessionsOptions(**options))


def known(sessions: Sessions[Any], session: Any) -> Any:
    """The session as it is in the server."""
    found = sessions.load(session.id)
    assert found is not None
    return found


def use_all(sessions: Sessions[Any]) -> None:
    """Have the server know every script."""
    session = sessions.create("ann", {"a": 1})
    session.data["a"] = 2
    sessions.save(session)
    sessions.pop(session, "a")
    sessions.touch(session)
    session = sessions.rotate(session)
    sessions.list("ann")
    sessions.revoke(session)
    sessions.revoke_all("ann")


def test_whose_reply_is_lost_has_done_it_once(hf: Holdfast, faults: Any, namespace: str):
    """found: revoke, rotate and pop that took their own trace for another's; strict saves in conflict with
    themselves; a version that counted twice.
    """
    near = make(hf)
    with Holdfast(faults.url, namespace=namespace, timeout="20s") as far:
        sessions = make(far)
        use_all(sessions)

        def lose(script: Any) -> None:
            faults.drop_replies(1, match=script.digest.encode())

        lose(rules.CREATE)
        session = sessions.create("ann", {"a": 1, "b": 1})
        assert (known(near, session)).data == {"a": 1, "b": 1} and len(near.list("ann")) == 1
        lose(rules.ENTER)
        other = sessions.create("ann")
        assert len(near.list("ann")) == 2 and (near.load(session.id)) is not None
        lose(rules.LOAD)
        assert (known(sessions, session)).data == {"a": 1, "b": 1}
        for strict in (True, False):
            session.data["a"] += 1
            lose(rules.SAVE)
            assert sessions.save(session, strict=strict)
            assert (known(near, session)).version == session.version
        assert session.version == 3 and session.data["a"] == 3
        lose(rules.POP)
        assert sessions.pop(session, "b") == 1 and session.version == 4
        lose(rules.TOUCH)
        assert sessions.touch(session)
        lose(rules.ROTATE)
        new = sessions.rotate(session)
        assert not new.superseded and (known(near, new)).data == {"a": 3}
        assert (known(near, session)).handle == new.handle
        lose(rules.LOOK)
        assert {one.handle for one in sessions.list("ann")} == {new.handle, other.handle}
        lose(rules.REVOKE)
        assert sessions.revoke(new) and near.load(new.id) is None
        lose(rules.REVOKE_ALL)
        first = near.generation("ann")
        generation = sessions.revoke_all("ann", keep=other)
        assert near.generation("ann") == generation > first
        assert (known(near, other)).user == "ann" and faults.connections > 10


def test_a_server_that_is_away_is_waited_for_no_longer_than_the_deadline(
    hf: Holdfast, faults: Any, namespace: str
):
    with Holdfast(faults.url, namespace=namespace, timeout="30s") as far:
        sessions = make(far, deadline="60ms")
        session = make(hf).create("ann", {"a": 1})
        mine = make(far).load(session.id)
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
                call()
        assert mine.data == {"a": 2} and mine.changed
        faults.heal()


def test_an_empty_server_has_no_sessions(own_server: Any):
    with Holdfast(own_server.url) as client:
        sessions = make(client)
        session, nobody = sessions.create("ann", {"a": 1}), sessions.create(data={"a": 1})
        client.execute("FLUSHALL")
        for one in (session, nobody):
            assert sessions.load(one.id) is None and not sessions.touch(one)
            one.data["a"] = 2
            for call in (sessions.save, sessions.rotate):
                with pytest.raises(SessionGone):
                    call(one)
            with pytest.raises(SessionGone):
                sessions.pop(one, "a")
            assert not sessions.revoke(one)
        assert sessions.list("ann") == [] and client.execute("DBSIZE") in {0, 1, 2, 3}
        assert sessions.revoke_all("ann", keep=session) > 0
        again = sessions.create("ann")
        assert [one.handle for one in sessions.list("ann")] == [again.handle]
        assert sessions.load(session.id) is None


def test_a_full_server_still_signs_out_and_lets_in(own_server: Any):
    """found: a save that wrote one half; a load that fails because it cannot note the use."""
    with Holdfast(own_server.url) as client:
        sessions = make(client, touch=0)
        use_all(sessions)
        session, other = sessions.create("ann", {"a": 1, "b": 1}), sessions.create("ann")
        client.execute("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        found = known(sessions, session)
        assert found.data == {"a": 1, "b": 1}
        del found.data["b"]
        found.data["a"] = 2
        with pytest.raises(OutOfMemory):
            sessions.save(found)
        with pytest.raises(OutOfMemory):
            sessions.rotate(found)
        with pytest.raises(OutOfMemory):
            sessions.create()
        assert (known(sessions, session)).data == {"a": 1, "b": 1}
        assert sessions.touch(found) and sessions.pop(found, "b") == 1
        assert sessions.revoke(session) and sessions.load(session.id) is None
        assert sessions.load(other.id) is not None
        sessions.revoke_all("ann")
        assert sessions.load(other.id) is None


def test_a_server_that_takes_no_writes_is_read(own_server: Any):
    with Holdfast(own_server.url, timeout="5s") as client:
        sessions = make(client, touch=0)
        session = sessions.create("ann", {"a": 1})
        client.execute("CONFIG", "SET", "min-replicas-to-write", "1")
        before = sessions.stats().touched
        assert (known(sessions, session)).data == {"a": 1} and sessions.stats().touched == before
        session.data["a"] = 2
        for call in (sessions.save, sessions.touch, sessions.revoke, sessions.rotate):
            with pytest.raises((ReadOnly, Unavailable)):
                call(session)
        assert (known(sessions, session)).data == {"a": 1}


def test_durability_is_asked_for_where_sessions_end(hf: Holdfast):
    sessions = make(hf, durability=Durability(replicas=1, within="1ms"))
    session, other = sessions.create("ann"), sessions.create("ann")
    with pytest.raises(NotDurable):
        sessions.revoke(session)
    assert sessions.load(session.id) is None
    with pytest.raises(NotDurable):
        sessions.rotate(other)
    with pytest.raises(NotDurable):
        sessions.revoke_all("ann")
    assert sessions.list("ann") == []


def test_what_is_at_rest_gives_nobody_away(own_server: Any):
    """found: ids in keys, fields or memos; names of keys, users, `about` or data in clear beside a cipher."""
    secrets = [b"4111-1111", b"ann@example.com", b"card number", b"my phone", b"flash"]
    for cipher in (None, Ring(b"key1", b"key2")):
        with Holdfast(own_server.url, namespace="rest") as client:
            client.execute("FLUSHALL")
            sessions = make(client, cipher=cipher)
            user, data = "ann@example.com", {"card number": "4111-1111", "flash": "4111-1111"}
            first = sessions.create(data=data)
            second = sessions.rotate(first, user=user, about={"device": "my phone"})
            third = sessions.rotate(second)
            sessions.pop(third, "flash")
            third.data["more"] = "4111-1111"
            sessions.save(third, strict=True)
            fourth = sessions.create(user, data)
            sessions.revoke(fourth)
            sessions.revoke_all(user, keep=third)
            own = sessions.create(user, data)
        found = dump(own_server.url, "rest")
        assert len(found) >= 6
        rest = b"\n".join([*found, *(word for parts in found.values() for word in parts)])
        for session in (first, second, third, fourth, own):
            for part in (session.id, session.id[:22], session.id[:16]):
                assert part.encode() not in rest
        for secret in secrets:
            assert (secret in rest) is (cipher is None), secret


def test_a_stuck_request_that_arrives_late_changes_nothing(hf: Holdfast):
    """found: a create that begins a revoked session anew; a save over a later one; a rotation back."""
    sessions = make(hf)
    wire, sent = hf._wire, []

    class Tape:
        """Remembers what is run."""

        def __getattr__(self, name: str) -> Any:
            return getattr(wire, name)

        def run(self, script: Any, keys: Any, args: Any = (), *rest: Any) -> Any:
            sent.append((script, keys, args))
            return wire.run(script, keys, args, *rest)

    sessions._desk.wire = Tape()  # type: ignore[assignment]
    session = sessions.create(data={"a": 1})
    one, two = known(sessions, session), known(sessions, session)
    one.data["a"] = 2
    sessions.save(one)
    two.data["a"] = 3
    sessions.save(two)
    for late in list(sent):
        wire.run(*late)
    assert (known(sessions, session)).data == {"a": 3}
    new = sessions.rotate(two)
    for late in list(sent):
        wire.run(*late)
    assert (known(sessions, new)).data == {"a": 3} and (known(sessions, session)).superseded
    sessions.revoke(new)
    for late in list(sent):
        wire.run(*late)
    for dead in (session, new):
        assert sessions.load(dead.id) is None


def test_a_busy_session_can_be_rotated_or_says_so(hf: Holdfast, monkeypatch: Any):
    """Somebody saves between the copy and the pointer, each time."""
    sessions = make(hf)
    desk, times = sessions._desk, [3]
    end = desk.end
    session = sessions.create(data={"n": 0, "mine": 0})

    def interrupted(script: Any, *rest: Any) -> Any:
        if script is rules.ROTATE and times[0] > 0:
            times[0] -= 1
            other = known(sessions, session)
            other.data["n"] += 1
            sessions.save(other)
        return end(script, *rest)

    monkeypatch.setattr(desk, "end", interrupted)
    session.data["mine"] = 1
    signed = sessions.rotate(session, user="ann")
    assert signed.data == {"n": 3, "mine": 1} and (known(sessions, signed)).data == signed.data
    assert len(sessions.list("ann")) == 1
    times[0] = 100
    session = sessions.create(data={"n": 0})
    with pytest.raises(ConflictError):
        sessions.rotate(session, user="ann")
    assert (known(sessions, session)).data == {"n": 8}
    keys = hf.execute("KEYS", f"{hf._wire.keys.prefix('session', 'web')}*")
    ours = [key for key in keys if b"{u:" not in key]
    assert len(ours) == 1 + 1 + 1  # the signed one, its pointer, this one: no copies are left
