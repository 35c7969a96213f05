# Generated from test_sessions_async.py by tools/unasync.py. Do not edit.
"""Sessions: create, load, save, rotate, revoke, list. What is promised stands in rules.py."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypedDict

import msgspec
import pytest

from holdfast import Holdfast, CodecError, ConfigurationError, ConflictError
from holdfast._compat import gather
from holdfast._signals import ServerWarning
from holdfast.errors import SessionGone
from holdfast.sessions import ids
from holdfast.sessions._sessions_sync import Sessions
from holdfast.sessions.options import SessionsOptions
from holdfast.sessions.rules import SessionReused, SessionUnreadable
from tests.sessions.world import Observer, Ring


def make(hf: Holdfast, name: str = "web", **options: Any) -> Sessions[Any]:
    return Sessions(hf._wire, name, SessionsOptions(**options))


def fields(sessions: Any, session: Any) -> dict[bytes, bytes]:
    """What the server has of it."""
    flat = sessions._desk.wire.execute("HGETALL", sessions._desk.layout.session(session.handle))
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {bytes(name): bytes(value) for name, value in pairs}


def backdate(sessions: Any, session: Any, **ms: int) -> None:
    """Move times of it into the past."""
    key, wire = sessions._desk.layout.session(session.handle), sessions._desk.wire
    for name, by in ms.items():
        wire.execute("HINCRBY", key, name, -by, retry="safe")


# --- the contract ------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_the_life_of_a_session(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create(data={"cart": [1], "lang": "de"})
    assert session.is_new and session.user is None and session.data == {"cart": [1], "lang": "de"}
    assert len(session.id) == 22 and session.id not in repr(session) and session.version == 1
    found = sessions.load(session.id)
    assert found is not None and found.data == session.data and not found.is_new and not found.changed
    found.data["cart"].append(2)
    assert found.changed and sessions.save(found) and not found.changed
    assert not sessions.save(found)
    signed = sessions.rotate(found, user="ann", about={"device": "phone"})
    assert signed.user == "ann" and signed.id != session.id and signed.data == {"cart": [1, 2], "lang": "de"}
    assert sessions.load(session.id) is None
    again = sessions.load(signed.id)
    assert again is not None and (again.user, again.data) == ("ann", signed.data)
    (info,) = sessions.list("ann")
    assert (info.handle, info.user, info.about) == (signed.handle, "ann", {"device": "phone"})
    assert info.created_at <= info.last_seen < info.expires_at == info.last_seen + timedelta(minutes=30)
    assert sessions.revoke(signed.id) and not sessions.revoke(signed.id)
    assert sessions.load(signed.id) is None and sessions.list("ann") == []
    with pytest.raises(SessionGone):
        sessions.rotate(again)
    again.data["late"] = True
    with pytest.raises(SessionGone):
        sessions.save(again)
    assert not sessions.touch(again) and sessions.load(signed.id) is None


@pytest.mark.everywhere
def test_an_id_that_was_replaced_leads_to_the_session_for_a_while(hf: Holdfast):
    sessions = make(hf)
    old = sessions.create("ann", {"a": 1})
    other = sessions.load(old.id)
    assert other is not None
    new = sessions.rotate(old)
    late = sessions.load(old.id)
    assert late is not None and late.superseded and late.id == old.id and late.handle == new.handle
    assert not new.superseded and new.data == late.data == {"a": 1}
    late.data["b"] = 2
    assert sessions.save(late)
    other.data["c"] = 3  # it was loaded before
    assert sessions.save(other) and other.superseded
    found = sessions.load(new.id)
    assert found is not None and found.data == {"a": 1, "b": 2, "c": 3}
    loser = sessions.rotate(sessions.load(old.id))  # type: ignore[arg-type]
    assert loser.superseded and loser.id == old.id
    assert [one.handle for one in sessions.list("ann")] == [new.handle]
    assert sessions.revoke(old.id) and sessions.load(new.id) is None


@pytest.mark.everywhere
def test_all_sessions_of_a_user_end_at_once(hf: Holdfast):
    sessions = make(hf)
    one, two = sessions.create("ann"), sessions.create("ann")
    bob, nobody = sessions.create("bob"), sessions.create()
    before = sessions.generation("ann")
    assert len(sessions.list("ann")) == 2
    generation = sessions.revoke_all("ann", keep=two)
    assert generation > before and generation == sessions.generation("ann")
    assert sessions.load(one.id) is None and not sessions.revoke(one.id)
    kept = sessions.load(two.id)
    assert kept is not None and [info.handle for info in sessions.list("ann")] == [two.handle]
    for other in (bob, nobody):
        assert sessions.load(other.id) is not None
    for call in (sessions.save, sessions.rotate):
        one.data["x"] = 1
        with pytest.raises(SessionGone):
            call(one)
    assert not sessions.touch(one)
    with pytest.raises(SessionGone):  # his password was checked before
        sessions.create("ann", generation=before)
    third = sessions.create("ann", generation=generation)
    renewed = sessions.rotate(kept)
    sessions.revoke_all("ann", keep=one)  # it is dead, and stays so
    for session in (one, two, third, renewed):
        assert sessions.load(session.id) is None
    assert sessions.list("ann") == []


@pytest.mark.everywhere
def test_only_ids_of_the_server_are_sessions(hf: Holdfast):
    sessions = make(hf)
    ann = sessions.create("ann", {"a": 1})
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
        assert sessions.load(id) is None and not sessions.revoke(id)
        assert sessions.load(id) is None
    assert sessions.stats().missing == 2 * len(strangers)
    junk = ["", "x", ann.id + " ", ann.id + "\n", f"{ann.id}.{hint}", ann.handle, "é" * 22, None, 7]
    for text in junk:
        assert sessions.load(text) is None and not sessions.revoke(text)  # type: ignore[arg-type]
    assert sessions.stats().missing == 2 * len(strangers)
    other = make(hf, "admin")
    assert other.load(ann.id) is None
    assert sessions.load(ann.id) is not None


@pytest.mark.everywhere
def test_requests_side_by_side(hf: Holdfast):
    """Ten requests of one session, each with a key of its own; three of them want a new id."""
    sessions = make(hf)
    first = sessions.create("ann", {"n": 0})
    kept: set[str] = set()

    def request(number: int) -> Any:
        session = sessions.load(first.id)
        assert session is not None
        session.data[f"k{number}"] = number
        if number % 4 == 1:
            session = sessions.rotate(session)
            if not session.superseded:
                kept.add(session.id)
        else:
            sessions.save(session)

    gather([functools.partial(request, number) for number in range(10)])
    (id,) = kept
    found = sessions.load(id)
    assert found is not None and found.data == {"n": 0} | {f"k{number}": number for number in range(10)}
    assert [one.handle for one in sessions.list("ann")] == [found.handle]


# --- saving ------------------------------------------------------------------------------------------------


def test_requests_that_change_different_keys_lose_nothing(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create(data={"a": 1, "b": [1], "c": {"x": 1}})
    one, two = sessions.load(session.id), sessions.load(session.id)
    assert one is not None and two is not None
    one.data["b"].append(2)
    del one.data["a"]
    two.data["c"]["x"] = 2
    two.data["d"] = None
    assert sessions.save(one) and sessions.save(two)
    found = sessions.load(session.id)
    assert found is not None and found.data == {"b": [1, 2], "c": {"x": 2}, "d": None}
    assert found.version == 3
    one.data["b"] = "later"
    sessions.save(one)
    two.data["b"] = "last"
    sessions.save(two)
    assert (sessions.load(session.id)).data["b"] == "last"  # type: ignore[union-attr]


def test_a_strict_save_sees_every_other_one(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create(data={"a": 1})
    one, two = sessions.load(session.id), sessions.load(session.id)
    assert one is not None and two is not None
    one.data["a"] = 2
    assert sessions.save(one, strict=True)
    two.data["b"] = 1
    with pytest.raises(ConflictError) as told:
        sessions.save(two, strict=True)
    assert (told.value.expected, told.value.actual) == (1, 2) and two.changed
    assert sessions.save(two)  # it does not know what `one` has done
    two.data["b"] = 2
    with pytest.raises(ConflictError):
        sessions.save(two, strict=True)
    one.data["a"] = 3
    with pytest.raises(ConflictError):
        sessions.save(one, strict=True)
    fresh = sessions.load(session.id)
    assert fresh is not None and fresh.data == {"a": 2, "b": 1}
    for number in range(20):
        fresh.data["a"] = number
        assert sessions.save(fresh, strict=True)
    assert fresh.version == 23 and sessions.stats().conflicts == 3
    assert (fields(sessions, fresh))[b"q"].count(b"=") == 4


def test_what_did_not_change_is_not_written(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create(data={"a": {"b": [1, {"c": 2}]}, "t": "x"})
    found = sessions.load(session.id)
    assert found is not None
    found.data["a"]["b"][1]["c"] = 2
    assert (
        not found.changed and not sessions.save(found) and not sessions.save(found, strict=True)
    )
    found.data = {"t": "x", "a": {"b": [1, {"c": 2}]}}
    assert not found.changed
    before = fields(sessions, found)
    found.data["t"] = "y"
    assert sessions.save(found)
    after = fields(sessions, found)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {b":t", b"v", b"l", b"q"} and b":t" in changed
    assert sessions.stats().unchanged == 2


def test_what_was_given_is_not_shared(hf: Holdfast):
    """found: defaults of a program, in which one user's data ended up in another's session."""
    sessions = make(hf)
    defaults: dict[str, Any] = {"cart": []}
    one, two = sessions.create(data=defaults), sessions.create(data=defaults)
    one.data["cart"].append("mine")
    sessions.save(one)
    assert two.data == defaults == {"cart": []} and not two.changed
    typed = make(hf, type=Cart)
    first, second = typed.create(), typed.create()
    first.data.items.append(1)
    assert second.data == Cart()


def test_big_data_and_odd_keys(hf: Holdfast):
    sessions = make(hf)
    data = {f"key {number}": number for number in range(2500)} | {
        "": 1,
        ":": 2,
        "é\n": b"\x00",
        "v": 3,
        "e": 4,
    }
    session = sessions.create(data=data)
    found = sessions.load(session.id)
    assert found is not None and found.data == data
    found.data = {f"other {number}": "x" for number in range(2500)}
    sessions.save(found)
    again = sessions.load(session.id)
    assert again is not None and again.data == found.data
    assert (sessions.rotate(again)).data == found.data


def test_data_that_cannot_be_kept_is_refused_and_nothing_is_written(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create(data={"a": 1})
    for data in ({"a": object()}, {1: 2}, {"a": {1, 2}}, [1], {"a": timedelta(1)}, {"\ud800": 1}):
        session.data = data
        for call in (sessions.save, sessions.rotate):
            with pytest.raises(CodecError):
                call(session)
        with pytest.raises(CodecError):
            sessions.create(data=data)
    found = sessions.load(session.id)
    assert found is not None and found.data == {"a": 1} and found.version == 1
    with pytest.raises(CodecError):
        sessions.create("ann", about={"x": object()})
    for user in ("", "x" * 513, 7, "\ud800", b"ann"):
        with pytest.raises(ConfigurationError):
            sessions.create(user)  # type: ignore[arg-type]


def test_one_request_only_takes_a_message(hf: Holdfast):
    for cipher in (None, Ring(b"key1")):
        sessions = make(hf, f"flash {cipher}", cipher=cipher)
        session = sessions.create("ann", {"flash": ["saved"], "a": None})
        one, two = sessions.load(session.id), sessions.load(session.id)
        assert one is not None and two is not None
        assert sessions.pop(one, "flash") == ["saved"] and "flash" not in one.data
        assert sessions.pop(two, "flash", "nothing") == "nothing" and "flash" not in two.data
        assert sessions.pop(one, "a", "nothing") is None
        assert not one.changed and not sessions.save(one)
        two.data["b"] = 1
        with pytest.raises(ConflictError):
            sessions.save(two, strict=True)
        sessions.save(two)
        found = sessions.load(session.id)
        assert found is not None and found.data == {"b": 1}
        renewed = sessions.rotate(found)
        assert sessions.pop(two, "b") == 1 and two.superseded
        assert (sessions.load(renewed.id)).data == {}  # type: ignore[union-attr]
        sessions.revoke(renewed)
        with pytest.raises(SessionGone):
            sessions.pop(two, "b")


# --- times -------------------------------------------------------------------------------------------------


def test_a_session_ends_by_itself(hf: Holdfast):
    sessions = make(hf, idle="10m", absolute="1h", touch="1m")
    session = sessions.create("ann", {"a": 1})
    assert session.expires_at - session.created_at == timedelta(minutes=10)
    assert session.ends_at - session.created_at == timedelta(hours=1)
    backdate(sessions, session, l=400_000)
    found = sessions.load(session.id)  # a use: it begins anew
    assert found is not None and sessions.stats().touched == 1
    backdate(sessions, session, l=20_000)
    seen = (sessions.load(session.id)).last_seen  # type: ignore[union-attr]
    assert sessions.stats().touched == 1 and seen < found.last_seen  # not so soon
    assert sessions.touch(found) and found.last_seen > seen
    other = sessions.create("ann", {"a": 1})
    backdate(sessions, session, l=600_000)
    backdate(sessions, other, c=3_600_000, e=3_600_000)
    assert sessions.list("ann") == []
    for one in (found, other):  # too long unused; too old
        one.data["a"] = 2
        for call in (sessions.save, sessions.rotate):
            with pytest.raises(SessionGone):
                call(one)
        with pytest.raises(SessionGone):
            sessions.pop(one, "a")
        assert sessions.load(one.id) is None and not sessions.touch(one)
        assert not sessions.revoke(one)


def test_a_clock_that_is_set_back_delays_the_end_by_so_much_at_most(hf: Holdfast):
    sessions = make(hf, idle="10m", touch="1m")
    session = sessions.create()
    backdate(sessions, session, l=-3_600_000)  # it seems to have been used in an hour
    found = sessions.load(session.id)
    assert found is not None and found.last_seen - session.last_seen < timedelta(minutes=30)
    assert sessions.stats().touched == 1


def test_the_server_forgets_a_session_when_it_ends(hf: Holdfast):
    sessions = make(hf, idle="10m", absolute="15m", touch=0)
    session = sessions.create("ann")
    key, (generation, index) = (
        sessions._desk.layout.session(session.handle),
        sessions._desk.layout.user(session.id[23:]),
    )
    wire = hf._wire
    first = int(wire.execute("PEXPIRETIME", key))
    assert first == int((fields(sessions, session))[b"l"]) + 600_000
    assert sessions.load(session.id) is not None
    assert first <= int(wire.execute("PEXPIRETIME", key))
    backdate(sessions, session, e=400_000)
    found = sessions.load(session.id)
    assert found is not None
    ends = int((fields(sessions, session))[b"e"])
    assert int(wire.execute("PEXPIRETIME", key)) == ends
    for call in (sessions.touch, sessions.save):
        wire.execute("PEXPIRE", key, 100_000, retry="safe")
        found.data["a"] = 1
        call(found)
        assert int(wire.execute("PEXPIRETIME", key)) == ends
    for theirs in (generation, index):  # longer than any session of his
        assert int(wire.execute("PEXPIRETIME", theirs)) > ends + 3_600_000
    long = sessions.create("ann", absolute="300d", idle="30d")
    sessions.revoke_all("ann")
    stays = int(wire.execute("PEXPIRETIME", generation))
    assert stays > int((fields(sessions, long))[b"e"])
    sessions.revoke(session)
    assert 0 < int(wire.execute("PTTL", key)) <= 60_000


def test_idle_and_absolute_of_one_session(hf: Holdfast):
    sessions = make(hf)
    stay = sessions.create("ann", idle="7d", absolute="30d")
    assert (stay.idle, stay.ends_at - stay.created_at) == (7 * 86400, timedelta(days=30))
    found = sessions.load(stay.id)
    assert found is not None and found.idle == 7 * 86400
    found.idle = "5m"
    assert found.changed and found.expires_at - found.last_seen == timedelta(minutes=5)
    assert sessions.save(found) and not found.changed
    assert (sessions.load(stay.id)).idle == 300  # type: ignore[union-attr]
    found.idle = timedelta(minutes=6)
    renewed = sessions.rotate(found)
    assert renewed.idle == 360 and renewed.ends_at == stay.ends_at and renewed.created_at == stay.created_at
    again = sessions.rotate(renewed, idle="1m", absolute="2d", about={"device": "tv"})
    assert (again.idle, again.about) == (60, {"device": "tv"})
    assert timedelta(days=1) < again.ends_at - again.created_at < timedelta(days=3)
    assert (sessions.load(again.id)).about == {"device": "tv"}  # type: ignore[union-attr]
    for bad in (0, -1, "x", None):
        with pytest.raises(ConfigurationError):
            found.idle = bad  # type: ignore[assignment]


def test_an_id_grows_old(hf: Holdfast):
    sessions = make(hf, renew_after="1h")
    session = sessions.create("ann")
    assert not (sessions.load(session.id)).rotation_due  # type: ignore[union-attr]
    backdate(sessions, session, b=3_600_000)
    old = sessions.load(session.id)
    assert old is not None and old.rotation_due
    new = sessions.rotate(old)
    assert not (sessions.load(new.id)).rotation_due  # type: ignore[union-attr]
    assert not (sessions.load(session.id)).rotation_due  # type: ignore[union-attr] # superseded


# --- rotating ----------------------------------------------------------------------------------------------


def test_signing_in_begins_anew_and_kills_the_old_id_at_once(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create(data={"cart": [1]})
    backdate(sessions, session, c=3_600_000, e=3_600_000)
    other = sessions.load(session.id)
    assert other is not None
    signed = sessions.rotate(other, user="ann", absolute="1h")
    assert signed.ends_at - signed.created_at == timedelta(hours=1) and signed.created_at > other.created_at
    assert sessions.load(session.id) is None
    session.data["x"] = 1
    with pytest.raises(SessionGone):
        sessions.save(session)
    for user in ("ann", "bob"):
        with pytest.raises(SessionGone):  # somebody else was faster
            sessions.rotate(session, user=user)
    for wrong in ("bob", None):
        with pytest.raises(ConfigurationError, match="revoke it"):
            sessions.rotate(signed, user=wrong)
    same = sessions.rotate(signed, user="ann")
    assert same.created_at == signed.created_at and (sessions.load(signed.id)) is not None
    assert not sessions.revoke(session)
    assert sessions.load(same.id) is not None


def test_a_login_that_began_before_everybody_was_signed_out_fails(hf: Holdfast):
    sessions = make(hf)
    begun, nobody = sessions.generation("ann"), sessions.create(data={"cart": [1]})
    now = sessions.revoke_all("ann")
    with pytest.raises(SessionGone):
        sessions.rotate(nobody, user="ann", generation=begun)
    with pytest.raises(SessionGone):
        sessions.create("ann", generation=begun)
    assert sessions.list("ann") == [] and sessions.load(nobody.id) is not None
    signed = sessions.rotate(nobody, user="ann", generation=now)
    assert (sessions.load(signed.id)).data == {"cart": [1]}  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError):
        sessions.create(generation=now)


def test_a_rotation_carries_what_others_save_meanwhile(hf: Holdfast):
    for cipher in (None, Ring(b"key1")):
        sessions = make(hf, f"merge {cipher}", cipher=cipher)
        session = sessions.create(data={"a": 1, "b": 1, "c": 1})
        other = sessions.load(session.id)
        assert other is not None
        other.data |= {"a": 2, "d": 2}
        del other.data["c"]
        sessions.save(other)
        session.data["b"] = 3
        data = session.data
        signed = sessions.rotate(session, user="ann")
        assert signed.data == {"a": 2, "b": 3, "d": 2} and signed.data is data
        found = sessions.load(signed.id)
        assert found is not None and found.data == signed.data and found.version == signed.version == 3
        assert not signed.changed and not found.changed


def test_signing_in_follows_an_id_that_was_replaced(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create(data={"a": 1})
    other = sessions.load(session.id)
    assert other is not None
    renewed = sessions.rotate(other)
    renewed.data["b"] = 2
    sessions.save(renewed)
    session.data["c"] = 3
    signed = sessions.rotate(session, user="ann")
    assert not signed.superseded and signed.data == {"a": 1, "b": 2, "c": 3} and signed.user == "ann"
    for id in (session.id, renewed.id):
        assert sessions.load(id) is None
    assert (sessions.load(signed.id)).data == signed.data  # type: ignore[union-attr]


def test_a_slow_request_can_sign_out_after_the_overlap(hf: Holdfast):
    sessions = make(hf)
    for user in ("ann", None):
        session = sessions.create(user)
        slow = sessions.load(session.id)
        assert slow is not None
        again = sessions.rotate(session)
        key = sessions._desk.layout.session(session.handle)
        hf._wire.execute("HINCRBY", key, "x", -10_000, retry="safe")
        assert sessions.revoke(slow)
        assert sessions.load(again.id) is None
    session = sessions.create()
    signed = sessions.rotate(session, user="ann")  # but nobody signs out who has signed in since
    assert not sessions.revoke(session)
    assert sessions.load(signed.id) is not None


def test_a_slow_request_gives_no_alarm(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create(data={"a": 1})
    slow, slower = sessions.load(session.id), sessions.load(session.id)
    assert slow is not None and slower is not None
    sessions.rotate(session, user="ann")
    key = sessions._desk.layout.session(session.handle)
    hf._wire.execute("HINCRBY", key, "x", -10_000, retry="safe")
    slow.data["b"] = 1
    with pytest.raises(SessionGone):
        sessions.save(slow)
    with pytest.raises(SessionGone):
        sessions.pop(slow, "a")
    with pytest.raises(SessionGone):
        sessions.rotate(slower, user="ann")
    assert not sessions.touch(slow)
    assert sessions.stats().reused == 0
    assert sessions.load(session.id) is None  # but whoever comes with that id now does
    assert sessions.stats().reused == 1


def test_the_overlap_can_be_chosen_and_ends(hf: Holdfast):
    sessions = make(hf, overlap="9s")
    observer = Observer(hf)
    session = sessions.create("ann")
    once = sessions.rotate(session, overlap=0)
    assert sessions.load(session.id) is None and sessions.stats().reused == 0  # a moment ago
    key = sessions._desk.layout.session(session.handle)
    hf._wire.execute("HINCRBY", key, "x", -10_000, retry="safe")
    assert sessions.load(session.id) is None
    (signal,) = observer.of(SessionReused)
    assert signal.handle == session.handle[:8] and sessions.stats().reused == 1
    twice = sessions.rotate(once)
    key = sessions._desk.layout.session(once.handle)
    flat = fields(sessions, once)
    assert flat[b"o"] == b"9000" and set(flat) == {b"t", b"x", b"o"}
    assert sessions.load(once.id) is not None
    hf._wire.execute("HINCRBY", key, "x", 60_000, retry="safe")  # the clock was set back
    assert sessions.load(once.id) is None
    hf._wire.execute("HINCRBY", key, "x", -70_000, retry="safe")
    assert sessions.load(once.id) is None and sessions.load(twice.id) is not None
    assert 60_000 < int(hf._wire.execute("PTTL", key)) <= 600_000
    for bad in ("11s", -1, "x"):
        with pytest.raises(ConfigurationError):
            sessions.rotate(twice, overlap=bad)


# --- whose they are ----------------------------------------------------------------------------------------


def test_my_sessions(hf: Holdfast):
    sessions = make(hf, cipher=Ring(b"key1"))
    made = [sessions.create("ann", about={"device": str(number)}) for number in range(110)]
    bob = sessions.create("bob")
    backdate(sessions, made[7], l=-5000)  # it was used last
    infos = sessions.list("ann")
    assert len(infos) == 110 and infos[0].handle == made[7].handle and infos[0].about == {"device": "7"}
    assert not sessions.revoke_handle("ann", bob.handle)
    assert not sessions.revoke_handle("bob", made[0].handle)
    assert not sessions.revoke_handle("ann", "x") and not sessions.revoke_handle("ann", "A" * 43)
    assert sessions.revoke_handle("ann", made[0].handle) and sessions.revoke(infos[0])
    assert sessions.load(made[0].id) is None and sessions.load(made[7].id) is None
    assert len(sessions.list("ann")) == 108 and sessions.load(bob.id) is not None
    for wrong in (None, ""):
        with pytest.raises(ConfigurationError):
            sessions.list(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        sessions.revoke_all("ann", keep=bob)
    with pytest.raises(ConfigurationError):
        sessions.revoke_all("ann", keep="x")
    sessions.revoke_all("ann", keep=made[1].id)
    assert [one.handle for one in sessions.list("ann")] == [made[1].handle]
    sessions.revoke_all("ann")
    assert sessions.load(made[1].id) is None and sessions.list("ann") == []
    assert hf._wire.execute("EXISTS", sessions._desk.layout.user(made[1].id[23:])[1]) == 0


def test_the_index_is_cleaned_and_stays_small(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create("ann")
    generation, index = sessions._desk.layout.user(session.id[23:])
    wire = hf._wire
    for _ in range(3):
        session = sessions.rotate(session)
    assert len(sessions.list("ann")) == 1
    assert wire.execute("ZCARD", index) == 4  # a login may be under way: it is in there first
    wire.execute("HINCRBY", generation, "n", -60_000, retry="safe")
    assert len(sessions.list("ann")) == 1
    assert wire.execute("ZCARD", index) == 1
    old = {f"old {number}": 10 + number for number in range(10)}
    wire.execute("ZADD", index, *(word for name, ms in old.items() for word in (ms, name)))
    sessions.create("ann")
    assert wire.execute("ZCARD", index) == 2
    many = [word for number in range(600) for word in (1.9e12 + number, f"many {number}")]
    wire.execute("ZADD", index, *many)
    last = sessions.create("ann", absolute="18000d")
    assert wire.execute("ZCARD", index) == 500
    assert [one.handle for one in sessions.list("ann")] == [last.handle]


def test_a_lost_generation_lets_nobody_in(hf: Holdfast):
    sessions = make(hf)
    session = sessions.create("ann")
    generation, _ = sessions._desk.layout.user(session.id[23:])
    hf._wire.execute("DEL", generation)
    assert sessions.load(session.id) is None
    for call in (sessions.save, sessions.rotate):
        session.data["x"] = 1
        with pytest.raises(SessionGone):
            call(session)
    other = sessions.create("ann")
    assert sessions.load(session.id) is None and sessions.load(other.id) is not None
    key = sessions._desk.layout.session(other.handle)
    hf._wire.execute("HDEL", key, "g")
    assert sessions.load(other.id) is None


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
def test_typed_data(hf: Holdfast, kind: Any):
    sessions = make(hf, type=kind)
    session = sessions.create()
    reads = isinstance(session.data, dict)
    if reads:
        session.data["items"] = [1]
    else:
        session.data.items.append(1)
    assert sessions.save(session)
    one, two = sessions.load(session.id), sessions.load(session.id)
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
    assert sessions.save(one) and sessions.save(two)
    found = sessions.load(session.id)
    assert found is not None and not found.changed
    values = found.data if reads else {key: getattr(found.data, key) for key in ("items", name)}
    assert values == {"items": [1, 2], name: "x"}
    with pytest.raises(ConfigurationError):
        sessions.pop(session, "items") if kind is not dict else None


def test_releases_side_by_side(hf: Holdfast):
    """A field that one of them does not know is not touched, and one that it adds is no change."""
    older, newer = make(hf, type=Cart), make(hf, type=NewerCart)
    session = newer.create(data=NewerCart([1], gift=True, tags={"a", "b", "c"}))
    seen = older.load(session.id)
    assert seen is not None and not seen.changed and not older.save(seen)
    seen.data.items.append(2)
    assert older.save(seen)
    again = newer.load(session.id)
    assert again is not None and again.data == NewerCart([1, 2], gift=True, tags={"a", "b", "c"})
    old = older.create(data=Cart([1]))
    seen2 = newer.load(old.id)
    assert seen2 is not None and not seen2.changed and not seen2.data.gift
    carried = older.rotate(older.load(session.id))  # type: ignore[arg-type]
    assert (newer.load(carried.id)).data.gift  # type: ignore[union-attr]


def test_versions_of_the_type(hf: Holdfast):
    first = make(hf)
    second = make(hf, version=2, upcast={1: lambda old: {"full": old["name"], "n": old.get("n", 0)}})
    observer = Observer(hf)
    session = first.create(data={"name": "Ann", "n": 1})
    seen = second.load(session.id)
    assert seen is not None and seen.data == {"full": "Ann", "n": 1} and not seen.changed
    late = first.load(session.id)
    assert late is not None
    seen.data["n"] = 2
    assert second.save(seen)
    assert set(fields(first, seen)) >= {b":full", b":n"} and b":name" not in fields(first, seen)
    assert first.load(session.id) is None  # it cannot read what is newer
    (signal,) = observer.of(SessionUnreadable)
    assert signal.reason == "version" and first.stats().unreadable == 1
    late.data["n"] = 3
    with pytest.raises(ConflictError):
        first.save(late)
    with pytest.raises(ConflictError):
        first.rotate(late)
    assert (second.load(session.id)).data == {"full": "Ann", "n": 2}  # type: ignore[union-attr]
    other = first.create(data={"name": "Bob", "flash": 1, "n": 5})
    rotated = second.rotate(second.load(other.id), user="bob")  # type: ignore[arg-type]
    assert rotated.data == {"full": "Bob", "n": 5} and not rotated.changed
    read = second.load(rotated.id)
    assert read is not None and read.data == rotated.data
    assert second.pop(read, "n") == 5
    assert (second.load(rotated.id)).data == {"full": "Bob"}  # type: ignore[union-attr]


# --- at rest -----------------------------------------------------------------------------------------------


def test_sealed_and_plain_sessions_are_not_mistaken_for_each_other(hf: Holdfast):
    plain, sealed = make(hf), make(hf, cipher=Ring(b"key1"))
    one, two = plain.create("ann", {"a": 1}), sealed.create("ann", {"a": 1})
    assert sealed.load(one.id) is None and plain.load(two.id) is None
    assert [info.handle for info in sealed.list("ann")] == [two.handle]
    assert sealed.stats().unreadable == 2
    empty, shut = plain.create(), sealed.create()
    assert sealed.load(empty.id) is None and plain.load(shut.id) is None
    turned = make(hf, cipher=Ring(b"key1", b"key2"))
    found = turned.load(two.id)
    assert found is not None and found.data == {"a": 1}
    found.data["a"] = 2
    assert turned.save(found)
    assert sealed.load(two.id) is None  # it has not got the new key
    wire = hf._wire
    first = turned.create("ann", {"a": 1, "b": 2})
    second = turned.create("ann", {"a": 1, "b": 2})
    keys = [turned._desk.layout.session(session.handle) for session in (first, second)]
    names = [name for name in fields(turned, first) if name.startswith(b":")]
    theirs = [name for name in fields(turned, second) if name.startswith(b":")]
    assert not set(names) & set(theirs)
    moved = wire.execute("HGET", keys[0], names[0])
    wire.execute("HSET", keys[1], names[0], moved)  # from another session
    assert turned.load(second.id) is None
    other = wire.execute("HGET", keys[0], names[1])
    wire.execute("HSET", keys[0], names[0], other)  # from another place
    assert turned.load(first.id) is None


def test_what_is_no_session_signs_out(hf: Holdfast):
    sessions = make(hf)
    observer = Observer(hf)
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
        session = sessions.create("ann", {"a": 1}, about={"b": 1})
        hf._wire.execute(command, sessions._desk.layout.session(session.handle), *rest)
        assert sessions.load(session.id) is None, (command, rest)
    assert len(observer.of(SessionUnreadable)) == len(harms) == sessions.stats().unreadable


def test_it_counts(hf: Holdfast):
    sessions = make(hf, touch=0)
    session = sessions.create("ann")
    sessions.load(session.id)
    sessions.load("x")
    sessions.load("A" * 22)
    session.data["a"] = 1
    sessions.save(session)
    sessions.save(session)
    sessions.touch(session)
    other = sessions.rotate(session)
    sessions.rotate(session)
    sessions.revoke(other)
    sessions.revoke_all("ann")
    with pytest.raises(SessionGone):
        sessions.rotate(other)
    stats = sessions.stats()
    assert (stats.created, stats.loaded, stats.missing, stats.refused) == (1, 1, 1, 1)
    assert (stats.saved, stats.unchanged, stats.touched) == (1, 1 + 1, 2)
    assert (stats.rotated, stats.superseded, stats.revoked, stats.revoked_all, stats.gone) == (1, 1, 1, 1, 1)


def test_an_evicting_server_is_told_once(own_server: Any):
    with Holdfast(own_server.url) as admin:
        admin.execute("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    with Holdfast(own_server.url) as client:
        observer, sessions = Observer(client), make(client)
        for _ in range(2):
            assert sessions.load((sessions.create()).id) is not None
        assert [one.setting for one in observer.of(ServerWarning)].count("maxmemory-policy") == 1
