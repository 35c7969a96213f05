# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Sessions: create, load, save, rotate, revoke, list. What is promised stands in rules.py."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypedDict

import msgspec
import pytest

from holdfast import AsyncHoldfast, CodecError, ConfigurationError, ConflictError
from holdfast._compat import agather
from holdfast._signals import ServerWarning
from holdfast.errors import SessionGone
from holdfast.sessions import ids
from holdfast.sessions._sessions_async import AsyncSessions
from holdfast.sessions.options import SessionsOptions
from holdfast.sessions.rules import SessionReused, SessionUnreadable
from tests.sessions.world import Observer, Ring


def make(ahf: AsyncHoldfast, name: str = "web", **options: Any) -> AsyncSessions[Any]:
    return AsyncSessions(ahf._wire, name, SessionsOptions(**options))


async def fields(sessions: Any, session: Any) -> dict[bytes, bytes]:
    """What the server has of it."""
    flat = await sessions._desk.wire.execute("HGETALL", sessions._desk.layout.session(session.handle))
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {bytes(name): bytes(value) for name, value in pairs}


async def backdate(sessions: Any, session: Any, **ms: int) -> None:
    """Move times of it into the past."""
    key, wire = sessions._desk.layout.session(session.handle), sessions._desk.wire
    for name, by in ms.items():
        await wire.execute("HINCRBY", key, name, -by, retry="safe")


# --- the contract ------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_the_life_of_a_session(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create(data={"cart": [1], "lang": "de"})
    assert session.is_new and session.user is None and session.data == {"cart": [1], "lang": "de"}
    assert len(session.id) == 22 and session.id not in repr(session) and session.version == 1
    found = await sessions.load(session.id)
    assert found is not None and found.data == session.data and not found.is_new and not found.changed
    found.data["cart"].append(2)
    assert found.changed and await sessions.save(found) and not found.changed
    assert not await sessions.save(found)
    signed = await sessions.rotate(found, user="ann", about={"device": "phone"})
    assert signed.user == "ann" and signed.id != session.id and signed.data == {"cart": [1, 2], "lang": "de"}
    assert await sessions.load(session.id) is None
    again = await sessions.load(signed.id)
    assert again is not None and (again.user, again.data) == ("ann", signed.data)
    (info,) = await sessions.list("ann")
    assert (info.handle, info.user, info.about) == (signed.handle, "ann", {"device": "phone"})
    assert info.created_at <= info.last_seen < info.expires_at == info.last_seen + timedelta(minutes=30)
    assert await sessions.revoke(signed.id) and not await sessions.revoke(signed.id)
    assert await sessions.load(signed.id) is None and await sessions.list("ann") == []
    with pytest.raises(SessionGone):
        await sessions.rotate(again)
    again.data["late"] = True
    with pytest.raises(SessionGone):
        await sessions.save(again)
    assert not await sessions.touch(again) and await sessions.load(signed.id) is None


@pytest.mark.everywhere
async def test_an_id_that_was_replaced_leads_to_the_session_for_a_while(ahf: AsyncHoldfast):
    sessions = make(ahf)
    old = await sessions.create("ann", {"a": 1})
    other = await sessions.load(old.id)
    assert other is not None
    new = await sessions.rotate(old)
    late = await sessions.load(old.id)
    assert late is not None and late.superseded and late.id == old.id and late.handle == new.handle
    assert not new.superseded and new.data == late.data == {"a": 1}
    late.data["b"] = 2
    assert await sessions.save(late)
    other.data["c"] = 3  # it was loaded before
    assert await sessions.save(other) and other.superseded
    found = await sessions.load(new.id)
    assert found is not None and found.data == {"a": 1, "b": 2, "c": 3}
    loser = await sessions.rotate(await sessions.load(old.id))  # type: ignore[arg-type]
    assert loser.superseded and loser.id == old.id
    assert [one.handle for one in await sessions.list("ann")] == [new.handle]
    assert await sessions.revoke(old.id) and await sessions.load(new.id) is None


@pytest.mark.everywhere
async def test_all_sessions_of_a_user_end_at_once(ahf: AsyncHoldfast):
    sessions = make(ahf)
    one, two = await sessions.create("ann"), await sessions.create("ann")
    bob, nobody = await sessions.create("bob"), await sessions.create()
    before = await sessions.generation("ann")
    assert len(await sessions.list("ann")) == 2
    generation = await sessions.revoke_all("ann", keep=two)
    assert generation > before and generation == await sessions.generation("ann")
    assert await sessions.load(one.id) is None and not await sessions.revoke(one.id)
    kept = await sessions.load(two.id)
    assert kept is not None and [info.handle for info in await sessions.list("ann")] == [two.handle]
    for other in (bob, nobody):
        assert await sessions.load(other.id) is not None
    for call in (sessions.save, sessions.rotate):
        one.data["x"] = 1
        with pytest.raises(SessionGone):
            await call(one)
    assert not await sessions.touch(one)
    with pytest.raises(SessionGone):  # his password was checked before
        await sessions.create("ann", generation=before)
    third = await sessions.create("ann", generation=generation)
    renewed = await sessions.rotate(kept)
    await sessions.revoke_all("ann", keep=one)  # it is dead, and stays so
    for session in (one, two, third, renewed):
        assert await sessions.load(session.id) is None
    assert await sessions.list("ann") == []


@pytest.mark.everywhere
async def test_only_ids_of_the_server_are_sessions(ahf: AsyncHoldfast):
    sessions = make(ahf)
    ann = await sessions.create("ann", {"a": 1})
    random, _, hint = ann.id.partition(".")
    made_up = "A" * 22
    strangers = [
        made_up,
        f"{made_up}.{hint}",
        random,
        f"{random}.{ids.hint_of('web', 'bob')}",
        ann.handle[:22],
    ]
    for id in strangers:
        assert await sessions.load(id) is None and not await sessions.revoke(id)
        assert await sessions.load(id) is None
    assert sessions.stats().missing == 2 * len(strangers)
    junk = ["", "x", ann.id + " ", ann.id + "\n", f"{ann.id}.{hint}", ann.handle, "é" * 22, None, 7]
    for text in junk:
        assert await sessions.load(text) is None and not await sessions.revoke(text)  # type: ignore[arg-type]
    assert sessions.stats().missing == 2 * len(strangers)
    other = make(ahf, "admin")
    assert await other.load(ann.id) is None
    assert await sessions.load(ann.id) is not None


@pytest.mark.everywhere
async def test_requests_side_by_side(ahf: AsyncHoldfast):
    """Ten requests of one session, each with a key of its own; three of them want a new id."""
    sessions = make(ahf)
    first = await sessions.create("ann", {"n": 0})
    kept: set[str] = set()

    async def request(number: int) -> Any:
        session = await sessions.load(first.id)
        assert session is not None
        session.data[f"k{number}"] = number
        if number % 4 == 1:
            session = await sessions.rotate(session)
            if not session.superseded:
                kept.add(session.id)
        else:
            await sessions.save(session)

    await agather([functools.partial(request, number) for number in range(10)])
    (id,) = kept
    found = await sessions.load(id)
    assert found is not None and found.data == {"n": 0} | {f"k{number}": number for number in range(10)}
    assert [one.handle for one in await sessions.list("ann")] == [found.handle]


# --- saving ------------------------------------------------------------------------------------------------


async def test_requests_that_change_different_keys_lose_nothing(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create(data={"a": 1, "b": [1], "c": {"x": 1}})
    one, two = await sessions.load(session.id), await sessions.load(session.id)
    assert one is not None and two is not None
    one.data["b"].append(2)
    del one.data["a"]
    two.data["c"]["x"] = 2
    two.data["d"] = None
    assert await sessions.save(one) and await sessions.save(two)
    found = await sessions.load(session.id)
    assert found is not None and found.data == {"b": [1, 2], "c": {"x": 2}, "d": None}
    assert found.version == 3
    one.data["b"] = "later"
    await sessions.save(one)
    two.data["b"] = "last"
    await sessions.save(two)
    assert (await sessions.load(session.id)).data["b"] == "last"  # type: ignore[union-attr]


async def test_a_strict_save_sees_every_other_one(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create(data={"a": 1})
    one, two = await sessions.load(session.id), await sessions.load(session.id)
    assert one is not None and two is not None
    one.data["a"] = 2
    assert await sessions.save(one, strict=True)
    two.data["b"] = 1
    with pytest.raises(ConflictError) as told:
        await sessions.save(two, strict=True)
    assert (told.value.expected, told.value.actual) == (1, 2) and two.changed
    assert await sessions.save(two)  # it does not know what `one` has done
    two.data["b"] = 2
    with pytest.raises(ConflictError):
        await sessions.save(two, strict=True)
    one.data["a"] = 3
    with pytest.raises(ConflictError):
        await sessions.save(one, strict=True)
    fresh = await sessions.load(session.id)
    assert fresh is not None and fresh.data == {"a": 2, "b": 1}
    for number in range(20):
        fresh.data["a"] = number
        assert await sessions.save(fresh, strict=True)
    assert fresh.version == 23 and sessions.stats().conflicts == 3
    assert (await fields(sessions, fresh))[b"q"].count(b"=") == 4


async def test_what_did_not_change_is_not_written(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create(data={"a": {"b": [1, {"c": 2}]}, "t": "x"})
    found = await sessions.load(session.id)
    assert found is not None
    found.data["a"]["b"][1]["c"] = 2
    assert (
        not found.changed and not await sessions.save(found) and not await sessions.save(found, strict=True)
    )
    found.data = {"t": "x", "a": {"b": [1, {"c": 2}]}}
    assert not found.changed
    before = await fields(sessions, found)
    found.data["t"] = "y"
    assert await sessions.save(found)
    after = await fields(sessions, found)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {b":t", b"v", b"l", b"q"} and b":t" in changed
    assert sessions.stats().unchanged == 2


async def test_what_was_given_is_not_shared(ahf: AsyncHoldfast):
    """found: defaults of a program, in which one user's data ended up in another's session."""
    sessions = make(ahf)
    defaults: dict[str, Any] = {"cart": []}
    one, two = await sessions.create(data=defaults), await sessions.create(data=defaults)
    one.data["cart"].append("mine")
    await sessions.save(one)
    assert two.data == defaults == {"cart": []} and not two.changed
    typed = make(ahf, type=Cart)
    first, second = await typed.create(), await typed.create()
    first.data.items.append(1)
    assert second.data == Cart()


async def test_big_data_and_odd_keys(ahf: AsyncHoldfast):
    sessions = make(ahf)
    data = {f"key {number}": number for number in range(2500)} | {
        "": 1,
        ":": 2,
        "é\n": b"\x00",
        "v": 3,
        "e": 4,
    }
    session = await sessions.create(data=data)
    found = await sessions.load(session.id)
    assert found is not None and found.data == data
    found.data = {f"other {number}": "x" for number in range(2500)}
    await sessions.save(found)
    again = await sessions.load(session.id)
    assert again is not None and again.data == found.data
    assert (await sessions.rotate(again)).data == found.data


async def test_data_that_cannot_be_kept_is_refused_and_nothing_is_written(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create(data={"a": 1})
    for data in ({"a": object()}, {1: 2}, {"a": {1, 2}}, [1], {"a": timedelta(1)}, {"\ud800": 1}):
        session.data = data
        for call in (sessions.save, sessions.rotate):
            with pytest.raises(CodecError):
                await call(session)
        with pytest.raises(CodecError):
            await sessions.create(data=data)
    found = await sessions.load(session.id)
    assert found is not None and found.data == {"a": 1} and found.version == 1
    with pytest.raises(CodecError):
        await sessions.create("ann", about={"x": object()})
    for user in ("", "x" * 513, 7, "\ud800", b"ann"):
        with pytest.raises(ConfigurationError):
            await sessions.create(user)  # type: ignore[arg-type]


async def test_one_request_only_takes_a_message(ahf: AsyncHoldfast):
    for cipher in (None, Ring(b"key1")):
        sessions = make(ahf, f"flash {cipher}", cipher=cipher)
        session = await sessions.create("ann", {"flash": ["saved"], "a": None})
        one, two = await sessions.load(session.id), await sessions.load(session.id)
        assert one is not None and two is not None
        assert await sessions.pop(one, "flash") == ["saved"] and "flash" not in one.data
        assert await sessions.pop(two, "flash", "nothing") == "nothing" and "flash" not in two.data
        assert await sessions.pop(one, "a", "nothing") is None
        assert not one.changed and not await sessions.save(one)
        two.data["b"] = 1
        with pytest.raises(ConflictError):
            await sessions.save(two, strict=True)
        await sessions.save(two)
        found = await sessions.load(session.id)
        assert found is not None and found.data == {"b": 1}
        renewed = await sessions.rotate(found)
        assert await sessions.pop(two, "b") == 1 and two.superseded
        assert (await sessions.load(renewed.id)).data == {}  # type: ignore[union-attr]
        await sessions.revoke(renewed)
        with pytest.raises(SessionGone):
            await sessions.pop(two, "b")


# --- times -------------------------------------------------------------------------------------------------


async def test_a_session_ends_by_itself(ahf: AsyncHoldfast):
    sessions = make(ahf, idle="10m", absolute="1h", touch="1m")
    session = await sessions.create("ann", {"a": 1})
    assert session.expires_at - session.created_at == timedelta(minutes=10)
    assert session.ends_at - session.created_at == timedelta(hours=1)
    await backdate(sessions, session, l=400_000)
    found = await sessions.load(session.id)  # a use: it begins anew
    assert found is not None and sessions.stats().touched == 1
    await backdate(sessions, session, l=20_000)
    seen = (await sessions.load(session.id)).last_seen  # type: ignore[union-attr]
    assert sessions.stats().touched == 1 and seen < found.last_seen  # not so soon
    assert await sessions.touch(found) and found.last_seen > seen
    other = await sessions.create("ann", {"a": 1})
    await backdate(sessions, session, l=600_000)
    await backdate(sessions, other, c=3_600_000, e=3_600_000)
    assert await sessions.list("ann") == []
    for one in (found, other):  # too long unused; too old
        one.data["a"] = 2
        for call in (sessions.save, sessions.rotate):
            with pytest.raises(SessionGone):
                await call(one)
        with pytest.raises(SessionGone):
            await sessions.pop(one, "a")
        assert await sessions.load(one.id) is None and not await sessions.touch(one)
        assert not await sessions.revoke(one)


async def test_a_clock_that_is_set_back_delays_the_end_by_so_much_at_most(ahf: AsyncHoldfast):
    sessions = make(ahf, idle="10m", touch="1m")
    session = await sessions.create()
    await backdate(sessions, session, l=-3_600_000)  # it seems to have been used in an hour
    found = await sessions.load(session.id)
    assert found is not None and found.last_seen - session.last_seen < timedelta(minutes=30)
    assert sessions.stats().touched == 1


async def test_the_server_forgets_a_session_when_it_ends(ahf: AsyncHoldfast):
    sessions = make(ahf, idle="10m", absolute="15m", touch=0)
    session = await sessions.create("ann")
    key, (generation, index) = (
        sessions._desk.layout.session(session.handle),
        sessions._desk.layout.user(session.id[23:]),
    )
    wire = ahf._wire
    first = int(await wire.execute("PEXPIRETIME", key))
    assert first == int((await fields(sessions, session))[b"l"]) + 600_000
    assert await sessions.load(session.id) is not None
    assert first <= int(await wire.execute("PEXPIRETIME", key))
    await backdate(sessions, session, e=400_000)
    found = await sessions.load(session.id)
    assert found is not None
    ends = int((await fields(sessions, session))[b"e"])
    assert int(await wire.execute("PEXPIRETIME", key)) == ends
    for call in (sessions.touch, sessions.save):
        await wire.execute("PEXPIRE", key, 100_000, retry="safe")
        found.data["a"] = 1
        await call(found)
        assert int(await wire.execute("PEXPIRETIME", key)) == ends
    for theirs in (generation, index):  # longer than any session of his
        assert int(await wire.execute("PEXPIRETIME", theirs)) > ends + 3_600_000
    long = await sessions.create("ann", absolute="300d", idle="30d")
    await sessions.revoke_all("ann")
    stays = int(await wire.execute("PEXPIRETIME", generation))
    assert stays > int((await fields(sessions, long))[b"e"])
    await sessions.revoke(session)
    assert 0 < int(await wire.execute("PTTL", key)) <= 60_000


async def test_idle_and_absolute_of_one_session(ahf: AsyncHoldfast):
    sessions = make(ahf)
    stay = await sessions.create("ann", idle="7d", absolute="30d")
    assert (stay.idle, stay.ends_at - stay.created_at) == (7 * 86400, timedelta(days=30))
    found = await sessions.load(stay.id)
    assert found is not None and found.idle == 7 * 86400
    found.idle = "5m"
    assert found.changed and found.expires_at - found.last_seen == timedelta(minutes=5)
    assert await sessions.save(found) and not found.changed
    assert (await sessions.load(stay.id)).idle == 300  # type: ignore[union-attr]
    found.idle = timedelta(minutes=6)
    renewed = await sessions.rotate(found)
    assert renewed.idle == 360 and renewed.ends_at == stay.ends_at and renewed.created_at == stay.created_at
    again = await sessions.rotate(renewed, idle="1m", absolute="2d", about={"device": "tv"})
    assert (again.idle, again.about) == (60, {"device": "tv"})
    assert timedelta(days=1) < again.ends_at - again.created_at < timedelta(days=3)
    assert (await sessions.load(again.id)).about == {"device": "tv"}  # type: ignore[union-attr]
    for bad in (0, -1, "x", None):
        with pytest.raises(ConfigurationError):
            found.idle = bad  # type: ignore[assignment]


async def test_an_id_grows_old(ahf: AsyncHoldfast):
    sessions = make(ahf, renew_after="1h")
    session = await sessions.create("ann")
    assert not (await sessions.load(session.id)).rotation_due  # type: ignore[union-attr]
    await backdate(sessions, session, b=3_600_000)
    old = await sessions.load(session.id)
    assert old is not None and old.rotation_due
    new = await sessions.rotate(old)
    assert not (await sessions.load(new.id)).rotation_due  # type: ignore[union-attr]
    assert not (await sessions.load(session.id)).rotation_due  # type: ignore[union-attr] # superseded


# --- rotating ----------------------------------------------------------------------------------------------


async def test_signing_in_begins_anew_and_kills_the_old_id_at_once(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create(data={"cart": [1]})
    await backdate(sessions, session, c=3_600_000, e=3_600_000)
    other = await sessions.load(session.id)
    assert other is not None
    signed = await sessions.rotate(other, user="ann", absolute="1h")
    assert signed.ends_at - signed.created_at == timedelta(hours=1) and signed.created_at > other.created_at
    assert await sessions.load(session.id) is None
    session.data["x"] = 1
    with pytest.raises(SessionGone):
        await sessions.save(session)
    for user in ("ann", "bob"):
        with pytest.raises(SessionGone):  # somebody else was faster
            await sessions.rotate(session, user=user)
    for wrong in ("bob", None):
        with pytest.raises(ConfigurationError, match="revoke it"):
            await sessions.rotate(signed, user=wrong)
    same = await sessions.rotate(signed, user="ann")
    assert same.created_at == signed.created_at and (await sessions.load(signed.id)) is not None
    assert not await sessions.revoke(session)
    assert await sessions.load(same.id) is not None


async def test_a_login_that_began_before_everybody_was_signed_out_fails(ahf: AsyncHoldfast):
    sessions = make(ahf)
    begun, nobody = await sessions.generation("ann"), await sessions.create(data={"cart": [1]})
    now = await sessions.revoke_all("ann")
    with pytest.raises(SessionGone):
        await sessions.rotate(nobody, user="ann", generation=begun)
    with pytest.raises(SessionGone):
        await sessions.create("ann", generation=begun)
    assert await sessions.list("ann") == [] and await sessions.load(nobody.id) is not None
    signed = await sessions.rotate(nobody, user="ann", generation=now)
    assert (await sessions.load(signed.id)).data == {"cart": [1]}  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError):
        await sessions.create(generation=now)


async def test_a_rotation_carries_what_others_save_meanwhile(ahf: AsyncHoldfast):
    for cipher in (None, Ring(b"key1")):
        sessions = make(ahf, f"merge {cipher}", cipher=cipher)
        session = await sessions.create(data={"a": 1, "b": 1, "c": 1})
        other = await sessions.load(session.id)
        assert other is not None
        other.data |= {"a": 2, "d": 2}
        del other.data["c"]
        await sessions.save(other)
        session.data["b"] = 3
        data = session.data
        signed = await sessions.rotate(session, user="ann")
        assert signed.data == {"a": 2, "b": 3, "d": 2} and signed.data is data
        found = await sessions.load(signed.id)
        assert found is not None and found.data == signed.data and found.version == signed.version == 3
        assert not signed.changed and not found.changed


async def test_signing_in_follows_an_id_that_was_replaced(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create(data={"a": 1})
    other = await sessions.load(session.id)
    assert other is not None
    renewed = await sessions.rotate(other)
    renewed.data["b"] = 2
    await sessions.save(renewed)
    session.data["c"] = 3
    signed = await sessions.rotate(session, user="ann")
    assert not signed.superseded and signed.data == {"a": 1, "b": 2, "c": 3} and signed.user == "ann"
    for id in (session.id, renewed.id):
        assert await sessions.load(id) is None
    assert (await sessions.load(signed.id)).data == signed.data  # type: ignore[union-attr]


async def test_a_slow_request_can_sign_out_after_the_overlap(ahf: AsyncHoldfast):
    sessions = make(ahf)
    for user in ("ann", None):
        session = await sessions.create(user)
        slow = await sessions.load(session.id)
        assert slow is not None
        again = await sessions.rotate(session)
        key = sessions._desk.layout.session(session.handle)
        await ahf._wire.execute("HINCRBY", key, "x", -10_000, retry="safe")
        assert await sessions.revoke(slow)
        assert await sessions.load(again.id) is None
    session = await sessions.create()
    signed = await sessions.rotate(session, user="ann")  # but nobody signs out who has signed in since
    assert not await sessions.revoke(session)
    assert await sessions.load(signed.id) is not None


async def test_a_slow_request_gives_no_alarm(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create(data={"a": 1})
    slow, slower = await sessions.load(session.id), await sessions.load(session.id)
    assert slow is not None and slower is not None
    await sessions.rotate(session, user="ann")
    key = sessions._desk.layout.session(session.handle)
    await ahf._wire.execute("HINCRBY", key, "x", -10_000, retry="safe")
    slow.data["b"] = 1
    with pytest.raises(SessionGone):
        await sessions.save(slow)
    with pytest.raises(SessionGone):
        await sessions.pop(slow, "a")
    with pytest.raises(SessionGone):
        await sessions.rotate(slower, user="ann")
    assert not await sessions.touch(slow)
    assert sessions.stats().reused == 0
    assert await sessions.load(session.id) is None  # but whoever comes with that id now does
    assert sessions.stats().reused == 1


async def test_the_overlap_can_be_chosen_and_ends(ahf: AsyncHoldfast):
    sessions = make(ahf, overlap="9s")
    observer = Observer(ahf)
    session = await sessions.create("ann")
    once = await sessions.rotate(session, overlap=0)
    assert await sessions.load(session.id) is None and sessions.stats().reused == 0  # a moment ago
    key = sessions._desk.layout.session(session.handle)
    await ahf._wire.execute("HINCRBY", key, "x", -10_000, retry="safe")
    assert await sessions.load(session.id) is None
    (signal,) = observer.of(SessionReused)
    assert signal.handle == session.handle[:8] and sessions.stats().reused == 1
    twice = await sessions.rotate(once)
    key = sessions._desk.layout.session(once.handle)
    flat = await fields(sessions, once)
    assert flat[b"o"] == b"9000" and set(flat) == {b"t", b"x", b"o"}
    assert await sessions.load(once.id) is not None
    await ahf._wire.execute("HINCRBY", key, "x", 60_000, retry="safe")  # the clock was set back
    assert await sessions.load(once.id) is None
    await ahf._wire.execute("HINCRBY", key, "x", -70_000, retry="safe")
    assert await sessions.load(once.id) is None and await sessions.load(twice.id) is not None
    assert 60_000 < int(await ahf._wire.execute("PTTL", key)) <= 600_000
    for bad in ("11s", -1, "x"):
        with pytest.raises(ConfigurationError):
            await sessions.rotate(twice, overlap=bad)


# --- whose they are ----------------------------------------------------------------------------------------


async def test_my_sessions(ahf: AsyncHoldfast):
    sessions = make(ahf, cipher=Ring(b"key1"))
    made = [await sessions.create("ann", about={"device": str(number)}) for number in range(110)]
    bob = await sessions.create("bob")
    await backdate(sessions, made[7], l=-5000)  # it was used last
    infos = await sessions.list("ann")
    assert len(infos) == 110 and infos[0].handle == made[7].handle and infos[0].about == {"device": "7"}
    assert not await sessions.revoke_handle("ann", bob.handle)
    assert not await sessions.revoke_handle("bob", made[0].handle)
    assert not await sessions.revoke_handle("ann", "x") and not await sessions.revoke_handle("ann", "A" * 43)
    assert await sessions.revoke_handle("ann", made[0].handle) and await sessions.revoke(infos[0])
    assert await sessions.load(made[0].id) is None and await sessions.load(made[7].id) is None
    assert len(await sessions.list("ann")) == 108 and await sessions.load(bob.id) is not None
    for wrong in (None, ""):
        with pytest.raises(ConfigurationError):
            await sessions.list(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        await sessions.revoke_all("ann", keep=bob)
    with pytest.raises(ConfigurationError):
        await sessions.revoke_all("ann", keep="x")
    await sessions.revoke_all("ann", keep=made[1].id)
    assert [one.handle for one in await sessions.list("ann")] == [made[1].handle]
    await sessions.revoke_all("ann")
    assert await sessions.load(made[1].id) is None and await sessions.list("ann") == []
    assert await ahf._wire.execute("EXISTS", sessions._desk.layout.user(made[1].id[23:])[1]) == 0


async def test_the_index_is_cleaned_and_stays_small(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create("ann")
    generation, index = sessions._desk.layout.user(session.id[23:])
    wire = ahf._wire
    for _ in range(3):
        session = await sessions.rotate(session)
    assert len(await sessions.list("ann")) == 1
    assert await wire.execute("ZCARD", index) == 4  # a login may be under way: it is in there first
    await wire.execute("HINCRBY", generation, "n", -60_000, retry="safe")
    assert len(await sessions.list("ann")) == 1
    assert await wire.execute("ZCARD", index) == 1
    old = {f"old {number}": 10 + number for number in range(10)}
    await wire.execute("ZADD", index, *(word for name, ms in old.items() for word in (ms, name)))
    await sessions.create("ann")
    assert await wire.execute("ZCARD", index) == 2
    many = [word for number in range(600) for word in (1.9e12 + number, f"many {number}")]
    await wire.execute("ZADD", index, *many)
    last = await sessions.create("ann", absolute="18000d")
    assert await wire.execute("ZCARD", index) == 500
    assert [one.handle for one in await sessions.list("ann")] == [last.handle]


async def test_a_lost_generation_lets_nobody_in(ahf: AsyncHoldfast):
    sessions = make(ahf)
    session = await sessions.create("ann")
    generation, _ = sessions._desk.layout.user(session.id[23:])
    await ahf._wire.execute("DEL", generation)
    assert await sessions.load(session.id) is None
    for call in (sessions.save, sessions.rotate):
        session.data["x"] = 1
        with pytest.raises(SessionGone):
            await call(session)
    other = await sessions.create("ann")
    assert await sessions.load(session.id) is None and await sessions.load(other.id) is not None
    key = sessions._desk.layout.session(other.handle)
    await ahf._wire.execute("HDEL", key, "g")
    assert await sessions.load(other.id) is None


# --- typed data --------------------------------------------------------------------------------------------


class Cart(msgspec.Struct):
    items: list[int] = []
    coupon: str | None = None
    tags: set[str] = set()


class NewerCart(msgspec.Struct):
    items: list[int] = []
    coupon: str | None = None
    tags: set[str] = set()
    gift: bool = False


@dataclass
class Basket:
    items: list[int] = field(default_factory=list)
    note: str = ""


class Bag(TypedDict, total=False):
    items: list[int]
    note: str


@pytest.mark.parametrize("kind", [Cart, Basket, Bag, dict[str, Any]])
async def test_typed_data(ahf: AsyncHoldfast, kind: Any):
    sessions = make(ahf, type=kind)
    session = await sessions.create()
    reads = isinstance(session.data, dict)
    if reads:
        session.data["items"] = [1]
    else:
        session.data.items.append(1)
    assert await sessions.save(session)
    one, two = await sessions.load(session.id), await sessions.load(session.id)
    assert (
        one is not None
        and two is not None
        and one.data == session.data
        and type(one.data) is type(session.data)
    )
    name = {Cart: "coupon"}.get(kind, "note")
    if reads:
        one.data["items"].append(2)
        two.data[name] = "x"
    else:
        one.data.items.append(2)
        setattr(two.data, name, "x")
    assert await sessions.save(one) and await sessions.save(two)
    found = await sessions.load(session.id)
    assert found is not None and not found.changed
    values = found.data if reads else {key: getattr(found.data, key) for key in ("items", name)}
    assert values == {"items": [1, 2], name: "x"}
    with pytest.raises(ConfigurationError):
        await sessions.pop(session, "items") if kind is not dict else None


async def test_releases_side_by_side(ahf: AsyncHoldfast):
    """A field that one of them does not know is not touched, and one that it adds is no change."""
    older, newer = make(ahf, type=Cart), make(ahf, type=NewerCart)
    session = await newer.create(data=NewerCart([1], gift=True, tags={"a", "b", "c"}))
    seen = await older.load(session.id)
    assert seen is not None and not seen.changed and not await older.save(seen)
    seen.data.items.append(2)
    assert await older.save(seen)
    again = await newer.load(session.id)
    assert again is not None and again.data == NewerCart([1, 2], gift=True, tags={"a", "b", "c"})
    old = await older.create(data=Cart([1]))
    seen2 = await newer.load(old.id)
    assert seen2 is not None and not seen2.changed and not seen2.data.gift
    carried = await older.rotate(await older.load(session.id))  # type: ignore[arg-type]
    assert (await newer.load(carried.id)).data.gift  # type: ignore[union-attr]


async def test_versions_of_the_type(ahf: AsyncHoldfast):
    first = make(ahf)
    second = make(ahf, version=2, upcast={1: lambda old: {"full": old["name"], "n": old.get("n", 0)}})
    observer = Observer(ahf)
    session = await first.create(data={"name": "Ann", "n": 1})
    seen = await second.load(session.id)
    assert seen is not None and seen.data == {"full": "Ann", "n": 1} and not seen.changed
    late = await first.load(session.id)
    assert late is not None
    seen.data["n"] = 2
    assert await second.save(seen)
    assert set(await fields(first, seen)) >= {b":full", b":n"} and b":name" not in await fields(first, seen)
    assert await first.load(session.id) is None  # it cannot read what is newer
    (signal,) = observer.of(SessionUnreadable)
    assert signal.reason == "version" and first.stats().unreadable == 1
    late.data["n"] = 3
    with pytest.raises(ConflictError):
        await first.save(late)
    with pytest.raises(ConflictError):
        await first.rotate(late)
    assert (await second.load(session.id)).data == {"full": "Ann", "n": 2}  # type: ignore[union-attr]
    other = await first.create(data={"name": "Bob", "flash": 1, "n": 5})
    rotated = await second.rotate(await second.load(other.id), user="bob")  # type: ignore[arg-type]
    assert rotated.data == {"full": "Bob", "n": 5} and not rotated.changed
    read = await second.load(rotated.id)
    assert read is not None and read.data == rotated.data
    assert await second.pop(read, "n") == 5
    assert (await second.load(rotated.id)).data == {"full": "Bob"}  # type: ignore[union-attr]


# --- at rest -----------------------------------------------------------------------------------------------


async def test_sealed_and_plain_sessions_are_not_mistaken_for_each_other(ahf: AsyncHoldfast):
    plain, sealed = make(ahf), make(ahf, cipher=Ring(b"key1"))
    one, two = await plain.create("ann", {"a": 1}), await sealed.create("ann", {"a": 1})
    assert await sealed.load(one.id) is None and await plain.load(two.id) is None
    assert [info.handle for info in await sealed.list("ann")] == [two.handle]
    assert sealed.stats().unreadable == 2
    empty, shut = await plain.create(), await sealed.create()
    assert await sealed.load(empty.id) is None and await plain.load(shut.id) is None
    turned = make(ahf, cipher=Ring(b"key1", b"key2"))
    found = await turned.load(two.id)
    assert found is not None and found.data == {"a": 1}
    found.data["a"] = 2
    assert await turned.save(found)
    assert await sealed.load(two.id) is None  # it has not got the new key
    wire = ahf._wire
    first = await turned.create("ann", {"a": 1, "b": 2})
    second = await turned.create("ann", {"a": 1, "b": 2})
    keys = [turned._desk.layout.session(session.handle) for session in (first, second)]
    names = [name for name in await fields(turned, first) if name.startswith(b":")]
    theirs = [name for name in await fields(turned, second) if name.startswith(b":")]
    assert not set(names) & set(theirs)
    moved = await wire.execute("HGET", keys[0], names[0])
    await wire.execute("HSET", keys[1], names[0], moved)  # from another session
    assert await turned.load(second.id) is None
    other = await wire.execute("HGET", keys[0], names[1])
    await wire.execute("HSET", keys[0], names[0], other)  # from another place
    assert await turned.load(first.id) is None


async def test_what_is_no_session_signs_out(ahf: AsyncHoldfast):
    sessions = make(ahf)
    observer = Observer(ahf)
    harms: list[tuple[Any, ...]] = [
        ("HSET", "v", "x"),
        ("HDEL", "s"),
        ("HSET", ":a", b"\xc1"),
        ("HSET", "a", b"\xc1"),
        ("HSET", "u", "bob"),
        ("HSET", "u", b"\xff"),
        ("HSET", "u", ""),
        ("HDEL", "u"),
        ("HSET", b":\xff", b"\x01"),
    ]
    for command, *rest in harms:
        session = await sessions.create("ann", {"a": 1}, about={"b": 1})
        await ahf._wire.execute(command, sessions._desk.layout.session(session.handle), *rest)
        assert await sessions.load(session.id) is None, (command, rest)
    assert len(observer.of(SessionUnreadable)) == len(harms) == sessions.stats().unreadable


async def test_it_counts(ahf: AsyncHoldfast):
    sessions = make(ahf, touch=0)
    session = await sessions.create("ann")
    await sessions.load(session.id)
    await sessions.load("x")
    await sessions.load("A" * 22)
    session.data["a"] = 1
    await sessions.save(session)
    await sessions.save(session)
    await sessions.touch(session)
    other = await sessions.rotate(session)
    await sessions.rotate(session)
    await sessions.revoke(other)
    await sessions.revoke_all("ann")
    with pytest.raises(SessionGone):
        await sessions.rotate(other)
    stats = sessions.stats()
    assert (stats.created, stats.loaded, stats.missing, stats.refused) == (1, 1, 1, 1)
    assert (stats.saved, stats.unchanged, stats.touched) == (1, 1 + 1, 2)
    assert (stats.rotated, stats.superseded, stats.revoked, stats.revoked_all, stats.gone) == (1, 1, 1, 1, 1)


async def test_an_evicting_server_is_told_once(own_server: Any):
    async with AsyncHoldfast(own_server.url) as admin:
        await admin.execute("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    async with AsyncHoldfast(own_server.url) as client:
        observer, sessions = Observer(client), make(client)
        for _ in range(2):
            assert await sessions.load((await sessions.create()).id) is not None
        assert [one.setting for one in observer.of(ServerWarning)].count("maxmemory-policy") == 1
