"""How plans are written and which are in force, and who is charged for a call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import ConfigurationError
from holdfast.limits import plans
from holdfast.limits.options import Limit
from holdfast.limits.subjects import Subjects

PRO, FREE, OLD = (Limit(100, "1s"),), (Limit(1, "1m", name="slow"),), (Limit(7, "1h"),)

LIMITS = st.lists(
    st.one_of(
        st.builds(
            Limit,
            st.integers(1, 1_000),
            st.sampled_from(["1s", 0.000001, "90s", "7d", 1 / 3]),
            burst=st.none() | st.integers(1, 5_000),
            shadow=st.booleans(),
            name=st.none() | st.sampled_from(["a", "b:c", "x/1"]),
        ),
        st.builds(
            Limit,
            st.integers(0, 1_000),
            st.sampled_from(["1s", "1h"]),
            algorithm=st.sampled_from(["sliding", "fixed", "log"]),
        ),
        st.builds(Limit, st.integers(0, 9), st.just("month"), tz=st.sampled_from(["UTC", "Europe/Berlin"])),
    ),
    min_size=1,
    max_size=3,
)


@given(LIMITS)
def test_what_is_written_is_read(limits: list[Limit]) -> None:
    """found: a plan without its tz: a month began in UTC after a restart."""
    assert plans.read(plans.written(limits).encode()) == tuple(limits)


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"7", b"[]", b"{}", b"[1]", b"[[1]]", b'[["x","1s",null,"gcra",null,false,"UTC"]]']
)
def test_what_somebody_else_wrote_is_no_plan(text: bytes) -> None:
    assert plans.read(text) is None


def test_the_servers_plan_takes_the_place_of_that_of_the_options() -> None:
    stored = {b"": b"17", b"pro": plans.written(OLD).encode(), b"new": plans.written(FREE).encode()}
    found, unreadable = plans.in_force({"pro": PRO, "free": FREE}, {}, stored)
    assert found == {"pro": OLD, "free": FREE, "new": FREE}
    assert unreadable == []
    assert plans.in_force({"pro": PRO}, found, {}) == ({"pro": PRO}, [])


def test_one_that_cannot_be_read_changes_nothing() -> None:
    """found: a plan of a newer version made the older processes go by their options."""
    stored = {b"pro": b"?", b"free": b"?", b"new": b"?"}
    found, unreadable = plans.in_force({"pro": PRO, "free": FREE}, {"pro": OLD}, stored)
    assert found == {"pro": OLD, "free": FREE}
    assert unreadable == ["pro", "free", "new"]


class User:
    def __init__(self, name: str) -> None:
        self.name = name


def export(user: Any, what: Any = "all", *rest: Any, **more: Any) -> None:
    """Something that is limited."""


@pytest.mark.parametrize(
    ("template", "args", "kwargs", "subject"),
    [
        ("user:{user}", (42,), {}, "user:42"),
        ("user:{user}", ("ann", "x", 1, 2), {"z": 3}, "user:ann"),
        ("user:{user}", (), {"what": "y", "user": "ann"}, "user:ann"),
        ("user:{user.name}", (User("ann"),), {}, "user:ann"),
        ("user:{user[0]}", (["ann"],), {}, "user:ann"),
        ("{what}:{user}", ("ann",), {}, "all:ann"),
        ("user:{user}", ("a:b",), {}, "user:a%3Ab"),
        ("user:{user}", ("7",), {}, 'user:"7"'),
        ("everybody", ("ann",), {}, "everybody"),
    ],
)
def test_who_is_charged(template: str, args: Any, kwargs: Any, subject: str) -> None:
    assert Subjects(template, export).of(args, kwargs) == subject


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("user:{id}", "no parameter 'id'; the function has user, what, rest, more"),
        ("user:{user}{what}", "put a separator"),
        ("user:{more}", r"\*\*more makes no key"),
        ("user:{user!r}", "without a format or a conversion"),
        ("user:{user", "a brace is written twice"),
        ("", "makes no key"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(template: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Subjects(template, export)


def test_two_subjects_never_meet() -> None:
    """found: str.format: ("a", "b:c") and ("a:b", "c") were one subject."""
    subjects = Subjects("{what}:{user}", export)
    assert subjects.of(("b:c", "a"), {}) != subjects.of(("c", "a:b"), {})
    with pytest.raises(TypeError):
        subjects.of((), {})
