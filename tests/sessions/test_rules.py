"""What is decided about sessions without a server: options, ids, pieces, seals, generations."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import CodecError, ConfigurationError
from holdfast.sessions import ids, rules
from holdfast.sessions.options import Counters, SessionsOptions, SessionsStats
from holdfast.sessions.record import Record
from holdfast.sessions.seal import Seal
from holdfast.sessions.shape import NOTHING, Shape
from tests.sessions.world import Ring

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DATA = st.dictionaries(st.text(), PLAIN, max_size=5)
RECORD = Record(1, 2, 3, 4, 5, 6, 1, 7, "ann", {"device": "x"}, b"s" * 16, {})


class Point(NamedTuple):
    x: int


class Row(msgspec.Struct, array_like=True):
    x: int = 0


class Needy(msgspec.Struct):
    x: int


# --- options -----------------------------------------------------------------------------------------------


def test_what_is_nonsense_is_refused_with_a_sentence():
    refused: list[dict[str, Any]] = [
        {"idle": 0},
        {"idle": "1us"},
        {"idle": "2h", "absolute": "1h"},
        {"absolute": None},
        {"overlap": "11s"},
        {"overlap": -1},
        {"touch": "16m"},
        {"touch": -1},
        {"renew_after": 0},
        {"deadline": 0},
        {"version": 0},
        {"version": 2, "upcast": {3: dict}},
        {"cipher": object()},
        {"type": list},
        {"type": int},
        {"type": Point},
        {"type": Row},
        {"type": dict[int, str]},
        {"type": Any},
        {"type": object},
    ]
    for options in refused:
        with pytest.raises(ConfigurationError) as told:
            SessionsOptions(**options)
        assert any(name in str(told.value) for name in options), told.value


def test_what_is_not_said_is_chosen():
    assert SessionsOptions().touch == 60 and SessionsOptions(idle="1m").touch == 6
    assert SessionsOptions(touch=0).touch == 0
    assert SessionsOptions().difference(SessionsOptions(idle=1800)) == ""
    told = SessionsOptions().difference(SessionsOptions(idle="5m", type=dict[str, int]))
    assert "idle=1800.0, not 300.0" in told and "type" in told
    names = {one.name for one in dataclasses.fields(SessionsStats)}
    counters = Counters()
    for name in names:
        setattr(counters, name, 1)
    assert dataclasses.asdict(counters.snapshot()) == dict.fromkeys(names, 1)


# --- ids ---------------------------------------------------------------------------------------------------


def test_an_id_is_128_random_bits_and_at_rest_only_its_hash():
    for user in (None, "ann", "ü" * 200):
        hint = ids.hint_of("web", user)
        made = {ids.make(secrets.token_bytes(ids.RANDOM), hint).id for _ in range(100)}
        assert len(made) == 100 and ids.RANDOM == 16
        for id in made:
            assert re.fullmatch(r"[\w-]{22}" + (r"\.[\w-]{11}" if user else ""), id)
            asked = ids.parse(id)
            assert asked == (id, ids.handle_of(id), hint) and asked is not None
            assert ids.is_handle(asked.handle) and ids.parse(asked.handle) is None
            assert hashlib.sha256(id.encode()).digest()[:3].hex() == _hex(asked.handle)[:6]
    assert ids.hint_of("web", "ann") != ids.hint_of("web", "bob") != ids.hint_of("admin", "bob")
    assert ids.fits("", "web", None) and not ids.fits("", "web", "ann")
    assert ids.fits(ids.hint_of("web", "ann"), "web", "ann") and not ids.fits(
        ids.hint_of("web", "ann"), "web", None
    )
    # The bounds between name and user are no matter of taste.
    assert ids.hint_of("a\0b", "c") == ids.hint_of("a\0b", "c")


def _hex(handle: str) -> str:
    import base64

    return base64.urlsafe_b64decode(handle + "=").hex()


@given(st.text())
def test_whatever_comes_as_an_id_is_parsed_or_not(text: str):
    found = ids.parse(text)
    assert found is None or found.id == text


# --- pieces ------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(DATA, DATA)
def test_a_delta_leads_from_one_value_to_the_other(one: dict[str, Any], two: dict[str, Any]):
    shape: Shape[dict[str, Any]] = Shape(dict)
    pieces = shape.split(one)
    assert shape.join(pieces, 1) == one and not shape.delta(pieces, 1, one)
    delta = shape.delta(pieces, 1, two)
    record = RECORD._replace(pieces=pieces)
    assert shape.join(rules.merged(record, delta), 1) == two
    assert set(delta.written) <= set(two) and set(delta.removed) == set(one) - set(two)
    for name in set(one) & set(two):
        if shape.split({name: one[name]}) == shape.split({name: two[name]}):
            assert name not in delta.written


def test_the_pieces_of_types():
    plain: Shape[dict[str, Any]] = Shape(dict)
    assert not NOTHING and plain.delta({}, 1, {}) is NOTHING
    with pytest.raises(ConfigurationError, match="give data="):
        Shape(Needy).empty()
    assert plain.empty() == {} and plain.empty() is not plain.empty()
    shape: Shape[Needy] = Shape(Needy, 2, {1: lambda old: {"x": old["y"]}})
    assert shape.join({"y": b"\x07"}, 1) == Needy(7)
    assert not shape.delta({"y": b"\x07"}, 1, Needy(7))
    delta = shape.delta({"y": b"\x07", "z": b"\x01"}, 1, Needy(8))
    assert delta == ({"x": b"\x08"}, ("y", "z"), True)
    for payload in ({"x": b"\xa1x"}, {}):
        with pytest.raises(CodecError):
            shape.join(payload, 2)


def test_models_of_pydantic():
    class Cart(pydantic.BaseModel):
        items: list[int] = []
        note: str = ""

    shape: Shape[Any] = Shape(Cart)
    cart = shape.empty()
    pieces = shape.split(cart)
    cart.items.append(1)
    assert dict(shape.delta(pieces, 1, cart).written) == {"items": b"\x91\x01"}


# --- seals -------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(DATA)
def test_what_is_sealed_opens_at_its_place_only(data: dict[str, Any]):
    shape: Shape[dict[str, Any]] = Shape(dict)
    record = RECORD._replace(pieces=shape.split(data))
    for seal in (Seal(None), Seal(Ring(b"key1"))):
        flat = [
            *(b"c", b"1", b"b", b"2", b"l", b"3", b"e", b"4", b"i", b"5"),
            *(_bytes(one) for one in seal.meta("key", record)),
            *(_bytes(one) for one in seal.fields("key", record.salt, record.pieces)),
        ]
        expected = record if seal.is_on else record._replace(salt=b"")
        assert seal.read("key", flat) == expected
        if seal.is_on:
            with pytest.raises(CodecError):
                seal.read("other", flat)
            with pytest.raises(CodecError):
                Seal(None).read("key", flat)
        else:
            with pytest.raises(CodecError):
                Seal(Ring(b"key1")).read("key", flat)
        for harmed in (flat[:-1], flat[2:], [*flat, b"u", b"\xff"], []):
            with pytest.raises(CodecError):
                seal.read("key", harmed)


def _bytes(one: str | bytes) -> bytes:
    return one.encode() if isinstance(one, str) else one


# --- generations -------------------------------------------------------------------------------------------


def test_who_lives():
    lineage = rules.Lineage.of([b"5", b"kept", b"4"])
    assert lineage.holds("any", 5) and lineage.holds("any", b"5") and lineage.holds("kept", 4)
    for handle, carried in (("any", 4), ("kept", 3), ("kept", 6), ("any", 0), ("any", b""), ("other", b"4")):
        assert not lineage.holds(handle, carried)
    nothing = rules.Lineage.of([None, None, None])
    assert not nothing.holds("", 0) and not nothing.holds("", b"") and nothing == rules.NOBODY
    assert not rules.Lineage.of([b"5", None, None]).holds("", b"")


def test_the_version_stays_behind_when_others_have_saved():
    record = RECORD._replace(pieces={"a": b"1"})
    same = rules.saved(record, NOTHING, 9, 2, 10, 7)
    assert (same.version, same.idle, same.schema, same.last) == (7, 9, 2, 10)
    assert rules.saved(record, NOTHING, 9, 2, 10, 8).version == 6
    assert not rules.is_due(record, 10, 0) and rules.is_due(record, 10, 8) and not rules.is_due(record, 10, 9)
