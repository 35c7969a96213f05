"""What is pure about tags, about what a loader may say of its load, and about who shares a copy."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import MISSING, ConfigurationError, current_load
from holdfast.cache import tags
from holdfast.cache.isolation import cannot_change, opener
from holdfast.cache.loading import CURRENT, Load
from holdfast.cache.tags import TagTemplates

# --- tags ---------------------------------------------------------------------------------------------------


def test_tags_are_kept_once_and_in_order():
    assert tags.check(["b", "a", "b"]) == ("b", "a")
    assert tags.check(iter(("é" * 512,))) == ("é" * 512,)
    assert tags.check(()) == ()


@pytest.mark.parametrize(
    "wrong", ["org:1", [""], [None], [5], [b"t"], ["t" * 1025], ["é" * 513], ["a", ""], [("a",)]], ids=repr
)
def test_what_is_no_tag(wrong: Any):
    """found: a lone str taken for its letters; characters counted for bytes (planted)."""
    with pytest.raises(ConfigurationError, match="tag"):
        tags.check(wrong)


@given(st.lists(st.text(min_size=1), max_size=40))
def test_every_tag_has_one_guard(names: list[str]):
    found = tags.by_shard(names)
    assert sorted(name for mine in found.values() for name in mine) == sorted(names)
    for shard, mine in found.items():
        assert 0 <= shard < tags.SHARDS
        assert all(tags.shard(name) == shard for name in mine)


def test_guards_share_the_work():
    counts = [len(mine) for mine in tags.by_shard(f"org:{number}" for number in range(1600)).values()]
    assert len(counts) == tags.SHARDS and min(counts) > 50


def test_which_guard_is_the_same_in_every_process():
    """Servers hold guards while versions N and N+1 run side by side."""
    assert [tags.shard(name) for name in ("org:1", "é", "t", "\ud800")] == [0, 14, 8, 0]


# --- templates ----------------------------------------------------------------------------------------------


def templates(*names: str) -> TagTemplates:
    def function(user_id: int, org: Any = None) -> None: ...

    return TagTemplates(names, inspect.signature(function))


def test_arguments_tell_tags_before_the_load_and_the_result_afterwards():
    made = templates("user:{user_id}", "org:{result.org_id}", "all", "{result[name]}:{org[0]}")
    assert made
    assert made.early((7, ["x"])) == ("user:7", "all")
    late = made.late((7, ["x"]))
    assert late is not None

    class Row(SimpleNamespace):
        def __getitem__(self, name: str) -> Any:
            return getattr(self, name)

    assert late(Row(org_id=3, name="ann")) == ("org:3", "ann:x")
    assert late(None) == ()


def test_without_a_result_nothing_is_late():
    assert not templates()
    assert templates("user:{user_id}").late((7, None)) is None
    assert templates("user:{user_id}").early((7, None)) == ("user:7",)


def test_a_template_names_the_tag_that_an_f_string_names():
    for user_id in (7, -1, "a:b", "{x}", None, 1.5, UUID(int=5)):
        assert templates("user:{user_id}").early((user_id, None)) == (f"user:{user_id}",)
    assert templates("{{{user_id:03d}}}").early((7, None)) == ("{007}",)
    assert templates("{user_id!r}").early(("x", None)) == ("'x'",)


@pytest.mark.parametrize(
    "wrong",
    ["user:{id}", "{}", "{0}", "{user_id", "user_id}", "{results.org}", "{user_id}{nobody}"],
)
def test_a_template_that_cannot_work_is_refused_when_it_is_made(wrong: str):
    with pytest.raises(ConfigurationError, match="tag"):
        templates(wrong)


def test_a_part_that_is_not_there_names_the_template():
    with pytest.raises(ConfigurationError, match=r"org:\{result.org_id\}.*AttributeError"):
        late = templates("org:{result.org_id}").late((7, None))
        assert late is not None
        late(5)
    for template in ("{org[x]}", "{org.x}", "{user_id:zz}"):
        with pytest.raises(ConfigurationError, match="leads nowhere"):
            templates(template).early((7, {}))


# --- what a loader may say ----------------------------------------------------------------------------------


def test_outside_of_a_load_there_is_none():
    with pytest.raises(ConfigurationError, match="current_load"):
        copy_context().run(current_load)


def test_the_current_load_is_the_loaders_own():
    load = Load("k")
    token = CURRENT.set(load)
    try:
        assert current_load() is load
        assert copy_context().run(current_load) is load
    finally:
        CURRENT.reset(token)


def test_not_modified_gives_the_previous_value_back():
    assert Load("k", 5, "etag").not_modified() == 5
    assert Load("k", None).not_modified() is None  # a value like any other
    with pytest.raises(ConfigurationError, match="not_modified"):
        Load("k").not_modified()


def test_what_a_loader_says_is_checked():
    load = Load("k")
    load.set_ttl("5m")
    assert load.ttl == 300
    load.set_ttl(0)  # do not store it
    assert load.ttl == 0
    load.add_tags("a", "b")
    load.add_tags("b", "c")
    assert load.checked(["x", "a"]) == ("x", "a", "b", "c")
    for wrong in (-1, "soon"):
        with pytest.raises(ConfigurationError, match="ttl"):
            load.set_ttl(wrong)
    with pytest.raises(ConfigurationError, match="tag"):
        load.add_tags("")
    assert load.tags == ("a", "b", "c")


@pytest.mark.parametrize(
    ("name", "wrong"), [("version", 0), ("version", True), ("etag", b"x"), ("etag", "e" * 1025)]
)
def test_nonsense_set_by_a_loader_is_named(name: str, wrong: Any):
    load = Load("k")
    setattr(load, name, wrong)
    with pytest.raises(ConfigurationError, match=f"{name}="):
        load.checked(())


# --- who shares a copy --------------------------------------------------------------------------------------


class Colour(Enum):
    RED = 1


class Frozen(msgspec.Struct, frozen=True):
    x: Any = 1


class Thawed(msgspec.Struct):
    x: Any = 1


@dataclass(frozen=True)
class Fixed:
    x: Any = 1


@dataclass(frozen=True, slots=True)
class Slotted:
    x: Any = 1
    y: Any = field(default=None)


@dataclass
class Loose:
    x: int = 1


class Pair(NamedTuple):
    a: Any
    b: Any


CHANGES: list[Any] = [
    [], {}, set(), bytearray(b"x"), Thawed(), Loose(), object(), SimpleNamespace(), (1, [2]), (1, (2, {})),
    Pair(1, []), Fixed([]), Fixed(Fixed([])), Frozen(Thawed()), Slotted(1, {}), (Loose(),), ((([],),),),
]  # fmt: skip
STAYS: list[Any] = [
    None, True, 1, 1.5, 1j, "x", b"x", Colour.RED, UUID(int=1), Decimal(1), date(2026, 1, 1), time(1),
    datetime(2026, 1, 1, tzinfo=UTC), timedelta(1), UTC, (), (1, ("x", None)), frozenset([1, (2,)]), MISSING,
    Pair(1, "x"), Fixed(), Fixed((1, Fixed())), Frozen(), Frozen(Fixed("x")), Slotted(1, (2,)),
]  # fmt: skip


@pytest.mark.parametrize("value", CHANGES, ids=lambda value: repr(value)[:30])
def test_what_can_be_changed_is_not_shared(value: Any):
    """found: a tuple or a frozen class taken for fixed, whatever is in it (planted)."""
    assert not cannot_change(value)
    assert opener("auto", value, lambda: 5) is not None


@pytest.mark.parametrize("value", STAYS, ids=lambda value: repr(value)[:30])
def test_what_cannot_be_changed_is_shared(value: Any):
    assert cannot_change(value)
    assert opener("auto", value, lambda: 5) is None


@pytest.mark.parametrize("value", [[1, [2]], {"a": {"b": 1}}, Loose(), (1, [2])], ids=repr)
def test_each_isolation_does_what_it_says(value: Any):
    def decode() -> Any:
        return "decoded"

    before = copy.deepcopy(value)
    assert opener("share", value, decode) is None
    assert opener("encode", value, decode) is decode
    assert opener("encode", 5, decode) is decode
    assert opener("auto", value, decode) is decode
    opened: Callable[[], Any] | None = opener("copy", value, decode)
    assert opened is not None
    one, two = opened(), opened()
    assert one == two == before and one is not two and one is not value
    if isinstance(one, list):
        one[1].append(3)
        value[1].append(4)  # by the one who loaded it
        assert opened() == two == before
