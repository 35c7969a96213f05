"""Models of pydantic, and the classes of others, in every format that takes them."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import pathlib
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from pydantic import Field

from holdfast._values.codecs import codec_for
from holdfast.errors import CodecError, ConfigurationError

NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)
T = TypeVar("T")


class Colour(Enum):
    RED = "r"


class Model(pydantic.BaseModel):
    id: int


class Frozen(pydantic.BaseModel, frozen=True):
    id: int
    at: datetime = NOON


class Box(pydantic.BaseModel, Generic[T]):
    item: T


class Page(pydantic.BaseModel):
    rows: list[Model]
    by_id: dict[int, Model] = {}
    first: Model | None = None
    price: Decimal = Decimal("1.00")
    spent: timedelta = timedelta(seconds=1.5)
    id: UUID = UUID(int=7)
    tags: frozenset[str] = frozenset({"a"})
    colour: Colour = Colour.RED


class Tree(pydantic.BaseModel):
    children: list[Tree] = []


class Root(pydantic.RootModel[list[int]]):
    pass


class Computed(pydantic.BaseModel, extra="forbid"):
    id: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.id


class Open(pydantic.BaseModel, extra="allow"):
    id: int


class Strict(pydantic.BaseModel, strict=True):
    """What a strict model wants are a UUID and a set, not the str and the list that the bytes hold."""

    id: UUID
    at: datetime
    price: Decimal
    tags: set[int]
    pair: tuple[int, str]
    colour: Colour
    count: int = Field(default=1, strict=True)


class Network(pydantic.BaseModel):
    home: pydantic.HttpUrl
    database: pydantic.PostgresDsn
    host: ipaddress.IPv4Address
    net: ipaddress.IPv6Network
    file: pathlib.PurePosixPath


class Aliased(pydantic.BaseModel):
    user_name: str = Field(alias="userName")


class ByName(pydantic.BaseModel, populate_by_name=True):
    user_name: str = Field(alias="userName")
    x: int = Field(default=0, validation_alias="in_x")


class Read(pydantic.BaseModel):
    x: int = Field(validation_alias="in_x")


class Written(pydantic.BaseModel):
    x: int = Field(serialization_alias="out_x")


class Both(pydantic.BaseModel):
    x: int = Field(validation_alias="in_x", serialization_alias="out_x")
    user: Aliased | None = None


class Choice(pydantic.BaseModel):
    x: int = Field(validation_alias=pydantic.AliasChoices("in_x", "inx"))


class Nowhere(pydantic.BaseModel):
    x: int = Field(validation_alias=pydantic.AliasPath("a", 0))


class Outer(pydantic.BaseModel):
    inner: list[Both | None]


class Card(pydantic.BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Transfer(pydantic.BaseModel):
    kind: Literal["transfer"] = "transfer"
    iban: str


@pydantic.dataclasses.dataclass(frozen=True)
class Line:
    id: int
    price: Decimal = Decimal("1.00")
    at: datetime | None = None


@dataclasses.dataclass
class Holder:
    model: Model
    rows: list[Model]
    line: Line | None = None


@dataclasses.dataclass
class GenericData(Generic[T]):
    item: T


class Struct(msgspec.Struct, tag="struct", frozen=True, rename="camel"):
    the_model: Model
    the_line: Line


class GenericStruct(msgspec.Struct, Generic[T]):
    item: T


class Tuple(NamedTuple):
    model: Model
    x: int = 0


class Dict(TypedDict):
    model: Model


M = Model(id=1)
STRICT = Strict(
    id=UUID(int=1), at=NOON, price=Decimal("1.0"), tags={1, 2}, pair=(1, "a"), colour=Colour.RED
)  # fmt: skip
NETWORK = Network.model_validate({
    "home": "https://example.com/a?b=ü", "database": "postgres://u:p@h:5/db", "host": "127.0.0.1",
    "net": "2001:db8::/32", "file": "/a/b",
})  # fmt: skip
BY_NAME = ByName.model_validate({"user_name": "a"})
BOTH = Both.model_validate({"in_x": 1, "user": {"userName": "a"}})
CARD, TRANSFER = Card(number="1"), Transfer(iban="DE1")

VALUES = [
    (Model, M),
    (Frozen, Frozen(id=1)),
    (Box[int], Box[int](item=1)),
    (Box[Model], Box[Model](item=M)),
    (Box[list[datetime]], Box[list[datetime]](item=[NOON])),
    (Page, Page(rows=[M, M], by_id={1: M}, first=M)),
    (Tree, Tree(children=[Tree(), Tree(children=[Tree()])])),
    (Root, Root([1, 2])),
    (Computed, Computed(id=2)),
    (Open, Open.model_validate({"id": 1, "more": [1]})),
    (Strict, STRICT),
    (Network, NETWORK),
    (list[Model], [M, M]),
    (dict[str, list[Model]], {"a": [M]}),
    (dict[int, Model], {1: M}),
    (tuple[Model, int], (M, 2)),
    (Model | None, M),
    (Aliased, Aliased(userName="ann")),
    (ByName, BY_NAME),
    (Read, Read.model_validate({"in_x": 1})),
    (Written, Written(x=1)),
    (Both, BOTH),
    (Choice, Choice.model_validate({"inx": 1})),
    (Nowhere, Nowhere.model_validate({"a": [1]})),
    (Outer, Outer(inner=[BOTH, None])),
    (Line, Line(1, Decimal("2.50"), NOON)),
    (Holder, Holder(M, [M], Line(1))),
    (GenericData[Model], GenericData(M)),
    (Struct, Struct(M, Line(1))),
    (GenericStruct[Model], GenericStruct(M)),
    (Tuple, Tuple(M)),
    (Dict, {"model": M}),
    (Card | Transfer, CARD),
    (Card | Transfer, TRANSFER),
    (Card | Transfer | None, TRANSFER),
    (Annotated[Card | Transfer, Field(discriminator="kind")], TRANSFER),
    (list[Card | Transfer], [CARD, TRANSFER]),
    (dict[str, Card | int], {"a": CARD, "b": 2}),
    (Model | int, 7),
    (Both | Aliased, BOTH),
    (Box[int] | Aliased, Aliased(userName="ann")),
    (Strict | Model, STRICT),
]


@pytest.mark.parametrize("format", ["msgpack", "json"])
@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda item: str(item)[:40])
def test_what_is_written_is_read(kind, value, format):
    codec = codec_for(kind, format)
    back = codec.decode(codec.encode(value))
    assert back == value
    assert type(back) is type(value)
    assert codec.decode(codec.encode(None)) is None


def test_a_model_is_written_by_its_aliases_unless_one_is_not_read():
    """The bytes of models whose aliases work do not change, since servers hold such bytes."""
    assert codec_for(Aliased, "json").encode(Aliased(userName="a")) == b'{"userName":"a"}'
    assert codec_for(ByName, "json").encode(BY_NAME) == b'{"userName":"a","x":0}'
    assert codec_for(Both, "json").encode(BOTH) == b'{"x":1,"user":{"user_name":"a"}}'


class Secret(pydantic.BaseModel):
    name: str
    password: str = Field(default="", exclude=True)


class Team(pydantic.BaseModel):
    members: dict[str, list[Secret]] = {}


@pytest.mark.parametrize("kind", [Secret, Team, list[Secret], Team | int, Secret | Model], ids=str)
def test_a_field_that_is_never_dumped_is_refused_at_once(kind):
    """The caller that fills would see the password, the one that hits the default.

    found: nothing said so, and the field was lost (before it was refused).
    """
    with pytest.raises(ConfigurationError, match=r"Secret\.password would be lost"):
        codec_for(kind)


class Hidden(pydantic.BaseModel):
    password: pydantic.SecretStr


class Bent(pydantic.BaseModel):
    x: int

    @pydantic.field_serializer("x")
    def bend(self, value: int) -> str:
        return f"<{value}>"


class Alike(pydantic.BaseModel):
    id: int


@pytest.mark.parametrize("format", ["msgpack", "json"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Hidden, Hidden(password=pydantic.SecretStr("secret"))),
        (Bent, Bent(x=1)),
        (Model, Frozen(id=1).model_construct(id="one")),
        (Model | Alike, Alike(id=1)),
        (Model | int, "text"),
        (Card | Transfer, M),
        (Card | float, math.nan),
        (dict[str, Card | int], {1: CARD}),
    ],
    ids=str,
)
def test_what_would_come_back_as_something_else_is_refused(kind, value, format):
    """found: unions without the comparison gave a Model for an Alike (planted by hand)."""
    with pytest.raises(CodecError) as caught:
        codec_for(kind, format).encode(value)
    assert caught.value.reason == "unencodable"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("format", ["msgpack", "json"])
def test_a_union_of_models_says_schema_or_corrupt(format):
    codec = codec_for(Card | Transfer, format)
    for payload, reason in (
        (codec_for(Any, format).encode({"kind": "card"}), "schema"),
        (codec_for(Any, format).encode(1), "schema"),
        (b"", "corrupt"),
        (b"\xc1", "corrupt"),
    ):
        with pytest.raises(CodecError) as caught:
            codec.decode(payload)
        assert caught.value.reason == reason


def test_the_fingerprint_of_a_union_sees_its_members():
    schemas = {
        codec_for(kind).schema for kind in (Card | Transfer, Card | Model, Card | int, list[Card | int])
    }
    assert len(schemas) == 4
    assert codec_for(Card | Transfer).schema == codec_for(Card | Transfer, "json").schema


class Opaque:
    pass


class UserStruct(msgspec.Struct):
    id: int


@pytest.mark.parametrize("kind", [Card | Opaque, list[Card | UserStruct], Opaque | int, "Card"], ids=str)
def test_a_union_that_nobody_knows_is_refused_with_the_fix(kind):
    with pytest.raises(ConfigurationError, match="use builtins, a dataclass"):
        codec_for(kind)


def test_pydantic_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    assert codec_for(UserStruct).decode(codec_for(UserStruct).encode(UserStruct(1))) == UserStruct(1)
    with pytest.raises(ConfigurationError, match="use builtins"):
        codec_for(Opaque | int)


def test_evolution_of_models():
    class Plus(pydantic.BaseModel):
        id: int
        more: str = "none"

    assert codec_for(Plus).decode(codec_for(Model).encode(M)) == Plus(id=1)
    assert codec_for(Model).decode(codec_for(Plus).encode(Plus(id=1, more="x"))) == M
    assert codec_for(Plus).schema != codec_for(Model).schema
