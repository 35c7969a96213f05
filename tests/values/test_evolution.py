"""Payloads of older versions become values of today's type."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic
import pytest

from holdfast._values.codecs import codec_for
from holdfast._values.evolution import Evolution
from holdfast.errors import CodecError, ConfigurationError


@dataclass
class User:
    first: str
    last: str
    cents: int


class Model(pydantic.BaseModel):
    id: uuid.UUID
    first: str


def split(old: dict[str, Any]) -> dict[str, Any]:
    first, last = old.pop("name").split()
    return {**old, "first": first, "last": last}


def cents(old: dict[str, Any]) -> dict[str, Any]:
    return {**old, "cents": old.pop("euros") * 100}


@pytest.mark.parametrize("format", ["msgpack", "json"])
def test_an_old_payload_goes_through_every_step(format: Any) -> None:
    users: Evolution[User] = Evolution(3, {1: split, 2: cents}, type=User, format=format)
    plain = codec_for(Any, format)

    assert users.decode(plain.encode({"name": "Ann Lee", "euros": 7}), 1) == User("Ann", "Lee", 700)
    assert users.decode(plain.encode({"first": "Ann", "last": "Lee", "euros": 7}), 2) == User(
        "Ann", "Lee", 700
    )


def test_the_newest_version_meets_no_upcaster() -> None:
    users: Evolution[User] = Evolution(3, {1: split, 2: cents}, type=User)
    payload = users.encode(User("Ann", "Lee", 1))

    assert users.decode(payload, 3) == User("Ann", "Lee", 1)


def test_a_newer_version_is_refused_and_says_so() -> None:
    users: Evolution[User] = Evolution(2, {1: split}, type=User)

    with pytest.raises(CodecError, match="version 3.*up to 2") as refused:
        users.decode(users.encode(User("Ann", "Lee", 1)), 3)
    assert refused.value.reason == "version"


def test_a_version_before_the_first_upcaster_is_refused_and_says_so() -> None:
    users: Evolution[User] = Evolution(3, {2: cents}, type=User)

    with pytest.raises(CodecError, match="upcast={1"):
        users.decode(codec_for(Any).encode({}), 1)


@pytest.mark.parametrize(
    ("version", "upcast", "words"),
    [
        (4, {1: split, 3: cents}, "nothing leads from version 2 to 3"),
        (3, {1: split}, "nothing leads from version 2 to 3"),
        (1, {1: split}, "say version=2"),
        (2, {0: split, 1: split}, "0"),
        (2, {"1": split}, "'1'"),
        (2, {1: "split"}, "must be a plain function"),
        (0, {}, "version=0"),
        (True, {}, "version=True"),
    ],
)
def test_a_chain_that_leads_nowhere_is_refused_at_once(version: Any, upcast: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Evolution(version, upcast)


def test_an_upcaster_that_nobody_would_await_is_refused() -> None:
    async def split(old: Any) -> Any:
        return old

    with pytest.raises(ConfigurationError, match="plain function"):
        Evolution(2, {1: split})


def test_bytes_have_no_structure_to_change() -> None:
    with pytest.raises(ConfigurationError, match="msgpack"):
        Evolution(2, {1: split}, type=bytes, format="raw")
    assert Evolution(2, {}, type=bytes, format="raw").decode(b"x", 2) == b"x"


def test_a_failing_upcaster_is_named() -> None:
    users: Evolution[User] = Evolution(3, {1: split, 2: cents}, type=User)

    with pytest.raises(CodecError, match="from version 2 failed") as failed:
        users.decode(codec_for(Any).encode({"name": "Ann Lee"}), 1)
    assert failed.value.reason == "upcast"
    assert isinstance(failed.value.__cause__, KeyError)


def test_broken_bytes_of_an_old_version_are_told_as_such() -> None:
    users: Evolution[User] = Evolution(3, {1: split, 2: cents}, type=User)

    with pytest.raises(CodecError) as broken:
        users.decode(b"\xc1", 1)
    assert broken.value.reason == "corrupt"


def test_what_the_chain_ends_with_must_be_of_the_type() -> None:
    users: Evolution[User] = Evolution(2, {1: lambda _: {"first": 5}}, type=User)

    with pytest.raises(CodecError) as refused:
        users.decode(codec_for(Any).encode({}), 1)
    assert refused.value.reason == "schema"


def test_an_upcaster_may_make_the_value_itself_also_a_model() -> None:
    id = uuid.uuid4()
    models: Evolution[Model] = Evolution(2, {1: lambda old: Model(id=id, first=old["name"])}, type=Model)

    assert models.decode(codec_for(Any).encode({"name": "Ann"}), 1) == Model(id=id, first="Ann")


def test_plain_values_keep_what_msgpack_can_say() -> None:
    class Seen(msgspec.Struct):
        at: datetime
        raw: bytes

    now = datetime.now(UTC)
    seen: Evolution[Seen] = Evolution(2, {1: lambda old: {**old, "raw": old["raw"] + b"!"}}, type=Seen)
    old = codec_for(Any).encode({"at": now, "raw": b"x"})

    assert seen.decode(old, 1) == Seen(at=now, raw=b"x!")
