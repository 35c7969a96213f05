"""Keys of every kind for the tests of keys, with a liking for those that look like another one."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Colour(Enum):
    RED = 1
    GREEN = 2


class Fruit(StrEnum):
    RED = "red"


class Size(IntEnum):
    S = 1


class Right(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: Any
    y: Any


class Pair(NamedTuple):
    x: Any
    y: Any


class Markup(str):
    __slots__ = ()

    def __str__(self):
        return "<shown>"

    def __format__(self, spec):
        return "<shown>"


nasty = st.text(
    alphabet=st.sampled_from("ab:%{}\"'(),. \t\n\x00\x7f0123456789-+eTrueNoneif[]/é→\u00a0\u2028"), max_size=8
)
lookalikes = st.sampled_from(
    [
        "",
        "%",
        "1",
        "01",
        "-1",
        "1.0",
        "1e5",
        "nan",
        "inf",
        "-inf",
        "True",
        "None",
        "none",
        "null",
        '""',
        '"1"',
        "%31",
    ]
    + [
        "int(1)",
        "%int(1)",
        "bytes(61)",
        "tuple()",
        "tuple(a)",
        "date(2026-02-28)",
        "enum(Colour,RED)",
        "a,b",
        "a%2Cb",
    ]
)
whole = st.integers() | st.sampled_from([0, 1, -1, 2**63, -(2**63)])
fraction = st.floats() | st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf])
scalars = (
    nasty
    | lookalikes
    | st.text(max_size=5)
    | whole
    | st.booleans()
    | st.none()
    | fraction
    | st.binary(max_size=4)
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.sampled_from([UTC, timezone(timedelta(hours=3))]))
    | st.decimals(allow_nan=False)
    | st.sampled_from(
        [Decimal(1), Decimal("1.0"), Decimal("1.00"), *Colour, *Fruit, *Size, *Right, ~Right.READ]
    )
)
keys = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.builds(Point, inner, inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=5,
)


def identity(value: Any) -> Any:
    """What makes two keys different: the type, and the value as repr shows it: -0.0 is not 0.0."""
    if isinstance(value, tuple):
        return type(value), tuple(map(identity, value))
    if isinstance(value, datetime):
        return type(value), value.isoformat()
    return type(value), repr(value)
