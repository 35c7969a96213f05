"""Keys: different keys never share a text, and a text can stand inside a tag."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast._coord.naming import text
from holdfast._wire.keys import Keys, escape_tag
from holdfast.errors import ConfigurationError
from tests.cache.any_key import Colour, Fruit, Markup, Pair, Point, Right, Size, identity, keys, nasty


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("user:42", "user:42"),
        ("", "%"),
        ("a b%{c}\n", "a%20b%25%7Bc%7D%0A"),
        ("Zürich", "Zürich"),
        (42, "%int(42)"),
        (-1, "%int(-1)"),
        (True, "%bool(True)"),
        (None, "%none(None)"),
        (1.0, "%float(1.0)"),
        (-0.0, "%float(-0.0)"),
        (b"\x00a", "%bytes(0061)"),
        (UUID(int=1), "%uuid(00000000-0000-0000-0000-000000000001)"),
        (date(2026, 2, 28), "%date(2026-02-28)"),
        (datetime(2026, 2, 28, 12), "%datetime(2026-02-28T12:00:00)"),  # noqa: DTZ001
        (datetime(2026, 2, 28, 12, tzinfo=UTC), "%datetime(2026-02-28T12:00:00+00:00)"),
        (Decimal("1.00"), "%decimal(1.00)"),
        (Colour.RED, "%enum(Colour,RED)"),
        (Fruit.RED, "%enum(Fruit,RED)"),
        (Size.S, "%enum(Size,S)"),
        (Right.READ | Right.WRITE, "%enum(Right,3)"),
        ((), "%tuple()"),
        (("acme", 7, "7", None, "", "a,b (c)"), '%tuple(acme,7,"7",None,"",a%2Cb%20%28c%29)'),
        (("a", ("b", ())), "%tuple(a,tuple(b,tuple()))"),
        (Point(1, "a"), "%named(Point,1,a)"),
    ],
    ids=repr,
)
def test_the_text_of_a_key(key, expected):
    """These texts are names on a server: while N and N+1 run side by side, both must write the same."""
    assert text(key) == expected


@given(keys, keys)
@example("%int(1)", 1)
@example(("a", "b"), ("a,b",))
@example(("a,b",), ("a%2Cb",))
@example(((), ""), ("tuple()", ""))
@example(1, True)
@example(0.0, -0.0)
@example(Decimal("1.0"), Decimal("1.00"))
@example(Fruit.RED, "red")
@example(Point(1, 2), Pair(1, 2))
def test_two_keys_never_share_a_text(one, other):
    """found, each planted by hand: a bool written as an int, commas and brackets not escaped in tuples, strs
    never quoted, -0.0 as 0.0, named tuples as tuples, `%` let through by the hot path.
    """
    assert (text(one) == text(other)) is (identity(one) == identity(other))


@given(keys)
def test_a_text_is_the_inside_of_a_tag(key):
    """What stands between the first two braces decides the slot; a blank would end a word in redis-cli."""
    result = text(key)
    assert re.search(r"[{}\s\x00-\x1f\x7f-\x9f]", result) is None
    assert result
    result.encode()


@given(nasty | st.text())
def test_a_str_is_written_as_keys_make_would(key):
    """The hot path must not know other characters than `_wire/keys.py` does."""
    keys = Keys("shop")
    assert text(key) == escape_tag(key)
    assert keys.make_escaped("cache", "users", text(key)) == keys.make("cache", "users", key)
    assert unquote(text(key)) == (key or "%")


def test_a_subclass_counts_as_its_base():
    class Money(int):
        def __repr__(self):
            return "money"

    assert text(Markup("a b")) == text("a b")
    assert type(text(Markup("ab"))) is str
    assert text((Markup("a"),)) == text(("a",))
    assert text(Money(3)) == text(3)
    assert text(type("Ratio", (float,), {})(0.5)) == text(0.5)


@pytest.mark.parametrize(
    "key",
    [[1], {"a": 1}, {1}, object(), bytearray(b"x"), 1j, ("a", [1]), timedelta(1), len],
    ids=lambda key: type(key).__name__,
)
def test_any_other_type_is_refused_with_the_fix(key):
    with pytest.raises(ConfigurationError, match="makes no key; a key is a str, int, .* or a tuple of these"):
        text(key)


@pytest.mark.parametrize("key", ["\ud800", "user:\udfff", ("a", "\ud800"), f"{'x' * 5000}\ud800"], ids=ascii)
def test_a_lone_surrogate_is_refused(key):
    with pytest.raises(ConfigurationError, match="lone surrogate"):
        text(key)


@pytest.mark.parametrize("size", [4096, 4097, 32 * 1024 - 1])
def test_a_long_key_is_a_key(size):
    assert text("x" * size) == "x" * size


@pytest.mark.parametrize(
    "key", ["x" * 32 * 1024, "%" * 11_000, "é" * 16_384, ("x" * 40_000,), 10**5000], ids=type
)
def test_a_key_of_32_kib_is_refused(key):
    with pytest.raises(ConfigurationError, match="digest"):
        text(key)
