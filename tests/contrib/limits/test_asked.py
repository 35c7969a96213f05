"""By what a request is counted, and which rules are about it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast.contrib.limits import (
    Answered,
    LimitPolicy,
    LimitRule,
    by_address,
    by_header,
    by_path,
    by_route,
    by_user,
    combined,
    content_bytes,
    content_sent,
    everyone,
)
from holdfast.contrib.limits.asked import needs_user, subject
from tests.contrib.limits.pretend import Plain
from tests.contrib.limits.test_headers import Limiter


def rule(**told: Any) -> LimitRule:
    return LimitRule(Limiter(), **told)


def test_by_what():
    ann = Plain(user="ann", route="/items/{id}", path="/items/5", peer="2001:db8:1:2:3::4")
    anyone = Plain({"X-Key": "secret"})
    assert by_address(ann) == "ip:2001:db8:1:2::/64"
    assert by_user(ann) == "user:ann"
    assert by_user(anyone) == "ip:192.0.2.1"
    assert by_route(ann) == "route:/items/{id}"
    assert by_route(anyone) == "route:"
    assert by_path(ann) == "path:/items/5"
    assert everyone(ann) == everyone(anyone)
    key = by_header("x-key")
    assert key(ann) == "ip:2001:db8:1:2::/64"
    assert key(anyone) == key(Plain({"X-KEY": "secret"})) != key(Plain({"X-Key": "secreT"}))
    assert "secret" not in str(key(anyone))
    assert combined(by_route, by_user)(ann) == "17,route:/items/{id}|8,user:ann"
    assert combined(by_route, lambda _: None)(ann) is None


@given(st.lists(st.lists(st.text(max_size=8), max_size=4), min_size=2, max_size=2, unique_by=tuple))
def test_combinations_of_different_parts_are_different(parts: list[list[str]]):
    """Nobody may call himself what another one's combination reads like."""
    one, other = ([(lambda _, text=text: text) for text in many] for many in parts)
    assert combined(*one)(Plain()) != combined(*other)(Plain())


@given(
    st.lists(
        st.tuples(st.text(max_size=120), st.none() | st.text(max_size=120)),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_subjects_are_short_and_different(two: list[tuple[str, str | None]]):
    (one, where), (other, elsewhere) = two
    first, second = subject(f"user:{one}", where), subject(f"user:{other}", elsewhere)
    assert max(len(first), len(second)) <= 2 * 3 * 96 + 1
    assert first.isprintable()
    if (where or "-") != (elsewhere or "-") or one != other:
        assert first != second or (where is None) != (elsewhere is None)


def test_a_scope_of_its_own_for_each_route():
    routed = rule(scope="route")
    one, other = Plain(route="/a", path="/a/1"), Plain(route="/b", path="/a/1")
    assert routed.subject_of(one) == "/a ip:192.0.2.1" != routed.subject_of(other)
    assert rule().subject_of(one) == rule().subject_of(other)
    # There is no end of paths without a route: they are one.
    assert routed.subject_of(Plain(path="/x")) == routed.subject_of(Plain(path="/y")) == "- ip:192.0.2.1"


def test_rules_are_about_routes_and_methods():
    about = rule(routes=["/items/{id}", "/admin/*"], methods=["post"])
    assert about.counts(Plain(method="POST", route="/items/{id}", path="/items/5"))
    assert about.counts(Plain(method="POST", route="/admin/users", path="/admin/users"))
    assert about.counts(Plain(method="post", path="/admin/x\ny"))
    assert not about.counts(Plain(method="GET", route="/items/{id}"))
    assert not about.counts(Plain(method="POST", route="/items", path="/items/{id}"))
    assert not about.counts(Plain(method="POST", route="/xadmin/", path="/admin/"))
    assert not rule(routes=[]).counts(Plain())


def test_exemptions():
    policy = LimitPolicy(exempt=["/health", "/static/*"], exempt_methods=["options"])
    assert policy.exempts(Plain(path="/health"))
    assert policy.exempts(Plain(path="/static/a/b.css"))
    assert policy.exempts(Plain(method="OPTIONS"))
    assert not policy.exempts(Plain(path="/healthy"))
    assert not policy.exempts(Plain(path="/health", route="/{page}"))
    assert LimitPolicy(exempt=lambda asked: asked.user == "root").exempts(Plain(user="root"))
    assert not LimitPolicy().exempts(Plain(method="OPTIONS"))


def test_bytes_are_counted_as_announced():
    cost = content_bytes(unknown=5000, least=10)
    assert cost(Plain({"Content-Length": "70000"}, method="POST")) == 70000
    assert cost(Plain({"Content-Length": "3"}, method="POST")) == 10
    assert cost(Plain(method="GET")) == 10
    for headers in (
        {},
        {"Content-Length": "-5"},
        {"Content-Length": "5, 5"},
        {"Content-Length": "\u0665"},
        {"Content-Length": "9" * 20},
    ):
        assert cost(Plain(headers, method="POST")) == 5000
    assert cost(Plain({"Transfer-Encoding": "chunked"}, method="GET")) == 5000
    assert content_sent(Plain(), Answered(200, 77)) == 77
    assert content_sent(Plain(), Answered(204, 0)) == 1
    assert content_sent(Plain(), Answered(200, seen=False)) is None


def test_functions_that_return_nonsense_are_named():
    with pytest.raises(ConfigurationError, match="no text"):
        rule(key=lambda asked: 5).subject_of(Plain())
    with pytest.raises(ConfigurationError, match="no whole number"):
        rule(cost=lambda asked: 1.5).cost_of(Plain())


def test_which_keys_need_a_user():
    assert needs_user(by_user)
    assert needs_user(combined(by_route, combined(by_user)))
    assert not needs_user(combined(by_route, by_address))


def test_plans():
    assert rule().plan_of(Plain()) is None
    assert rule(plan="pro").plan_of(Plain()) == "pro"
    assert rule(plan=lambda asked: asked.user).plan_of(Plain(user="gold")) == "gold"
