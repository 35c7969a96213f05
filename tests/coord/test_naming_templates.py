"""Templates: different calls never share a key, equal calls always do, and a careless template is refused."""

from __future__ import annotations

import inspect
import itertools
from datetime import date
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from holdfast._coord.naming import Template, text
from holdfast._wire.keys import escape_tag
from holdfast.errors import ConfigurationError
from tests.cache.any_key import Colour, Fruit, Markup, Size, identity, keys, lookalikes, nasty


def template(pattern, function, exclude=()):
    return Template(pattern, inspect.signature(function), exclude)


def key(pattern, function, *args, **kwargs):
    return template(pattern, function).bind(args, kwargs)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (42, "user:42"),
        (-42, "user:-42"),
        ("42", 'user:"42"'),
        ("", 'user:""'),
        ("ann", "user:ann"),
        ("3f2a-9", "user:3f2a-9"),
        ("ann smith", "user:ann smith"),
        ("acme:1", "user:acme%3A1"),
        ("100%", "user:100%25"),
        ('"42"', 'user:""42""'),
        ('say "hi"', 'user:say "hi"'),
        ("None", 'user:"None"'),
        ("date(x)", 'user:"date(x)"'),
        (None, "user:None"),
        (True, "user:True"),
        (1.5, "user:1.5"),
        (b"a", "user:bytes(61)"),
        (date(2026, 2, 28), "user:date(2026-02-28)"),
        (Colour.RED, "user:enum(Colour,RED)"),
        (Fruit.RED, "user:enum(Fruit,RED)"),
        (("a", 1), "user:tuple(a,1)"),
        (Markup("a"), "user:a"),
    ],
    ids=repr,
)
def test_the_key_of_a_call(value, expected):
    assert key("user:{user_id}", lambda user_id: 0, value) == expected


def two(a, b):
    pass


def defaulted(a, b=None, *, c=""):
    pass


def mixed(a, /, b, c=1, *, d, e=None):
    pass


def gathering(a, *rest, b=0):
    pass


@given(
    st.sampled_from(
        ["{a}:{b}", "{a}-{b}", "{a}.{b}", "{a}x{b}", "{a}({b})", "{a}, {b}", "{a}→{b}", "x{b}:{a}y"]
    ),
    keys,
    keys,
    keys,
    keys,
)
@example("{a}:{b}", "acme:1", "7", "acme", "1:7")
@example("{a}:{b}", "a", '":"', 'a":"', "")
@example("{a}-{b}", 1, -1, "1-", 1)
@example("{a}x{b}", "x", "x", "xx", "")
@example("{a}x{b}", "axb", "c", "a", "bxc")
@example("{a}e{b}", 1.0, 22, "1.0", 22)
@example("{a}.{b}", 1.5, 2, 1, 5.2)
@example("{a}:{b}", "None", 1, None, 1)
@example("{a}, {b}", ("a", "b"), "c", "tuple(a", "b), c")
def test_two_calls_never_share_a_key(pattern, a, b, other_a, other_b):
    """found, each planted by hand: `:` escaped but not the separator of the template, strs never quoted,
    quoted ones not quoted again, the fast path of a str letting the separator pass.
    """
    pair = template(pattern, two)
    same = identity((a, b)) == identity((other_a, other_b))
    assert (pair.bind((a, b), {}) == pair.bind((other_a, other_b), {})) is same


@given(keys, keys)
def test_a_key_of_a_call_is_a_key(a, b):
    """Through both escapes: what two calls keep apart, `text` keeps apart."""
    pair = template("{a}:{b}", two)
    assert text(pair.bind((a, b), {})) == escape_tag(pair.bind((a, b), {}))


@given(
    nasty | lookalikes | st.text(),
    st.sampled_from(["{a}:{b}", "{a}e{b}", "{a}_{b}", "{a}-{b}", "{a}]{b}", "{a}\\{b}"]),
)
def test_the_fast_path_of_a_str_writes_what_the_slow_one_does(value, pattern):
    """A subclass of str takes the slow path. found: "nan" and "inf" passed bare (planted by hand)."""
    pair = template(pattern, two)
    assert pair.bind((value, 1), {}) == pair.bind((Markup(value), 1), {})


CALLS = {
    two: "{a}:{b}",
    defaulted: "{a}:{b}:{c}",
    mixed: "{a}:{b}:{c}:{d}:{e}",
    gathering: "{a}:{rest}:{b}",
}


@given(
    st.sampled_from(list(CALLS)),
    st.lists(st.integers(0, 3), max_size=6),
    st.dictionaries(st.sampled_from("abcdex"), st.integers(4, 9), max_size=5),
)
def test_a_call_is_bound_as_python_binds_it(function, args, kwargs):
    """The quick ways of binding, against `Signature.bind`: equal keys, or TypeError from both.

    found: defaults of the wrong parameters, one plan for all orders of the same names (both planted by hand).
    """
    made = template(CALLS[function], function)
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        for _ in range(2):
            with pytest.raises(TypeError):
                made.bind(tuple(args), kwargs)
        return
    bound.apply_defaults()
    expected = ":".join(made_text(value) for value in bound.arguments.values())
    for again in (kwargs, kwargs, dict(reversed(kwargs.items()))):  # a plan is made, used, and not used
        assert made.bind(tuple(args), again) == expected


def made_text(value):
    return key("{value}", lambda value: 0, value)


def test_equal_calls_share_a_key():
    made = template("{a}:{b}:{c}", defaulted)
    calls = [
        ((1,), {}),
        ((), {"a": 1}),
        ((1, None), {}),
        ((1,), {"b": None, "c": ""}),
        ((), {"c": "", "a": 1}),
    ]
    assert {made.bind(args, kwargs) for args, kwargs in calls} == {'1:None:""'}


def test_strangers_cannot_fill_the_memory_with_orders_of_names():
    names = "abcdef"
    made = template(":".join(f"{{{name}}}" for name in names), lambda a, b, c, d, e, f: 0)
    for order in itertools.permutations(names):
        assert made.bind((), {name: names.index(name) for name in order}) == "0:1:2:3:4:5"
    assert len(made._plans) <= 256


def test_methods_count_self_only_where_it_is_named():
    class Users:
        def get(self, user_id):
            pass

        def of(self, user_id):
            pass

        @classmethod
        def find(cls, user_id):
            pass

    users, shop = Users(), SimpleNamespace(tenant="acme")
    assert key("user:{user_id}", Users.get, users, 7) == "user:7"
    assert key("user:{user_id}", Users.get, users, user_id=7) == "user:7"
    assert key("user:{user_id}", vars(Users)["find"].__func__, Users, 7) == "user:7"
    assert key("user:{self.tenant}:{user_id}", Users.get, shop, 7) == "user:acme:7"
    with pytest.raises(ConfigurationError, match=r"field \{self\}: a Users makes no key"):
        key("user:{self}:{user_id}", Users.get, users, 7)
    with pytest.raises(ConfigurationError, match="leaves out the argument 'self'"):
        template("user:{user_id}", lambda user_id, self: 0)


def test_parts_of_an_argument():
    user = SimpleNamespace(id=7, org=SimpleNamespace(name="a:b"))
    assert key("{user.id}", lambda user: 0, user) == "7"
    assert key("{user.id}:{user.org.name}", lambda user: 0, user) == "7:a%3Ab"
    assert key("{row[id]}:{row[0]}:{row[b][1]}", lambda row: 0, {"id": "x", 0: 1, "b": [2, "3"]}) == 'x:1:"3"'
    assert key("{{{a}}}", lambda a: 0, 1) == "{1}"
    assert key("100%:{a}:%s", lambda a: 0, 1) == "100%:1:%s"
    assert key("all", lambda: 0) == "all"


@pytest.mark.parametrize("user", [None, SimpleNamespace(), SimpleNamespace(org=None)], ids=repr)
def test_a_part_that_is_not_there_names_the_field(user):
    with pytest.raises(ConfigurationError, match=r"field \{user\.org\.id\} leads nowhere: AttributeError"):
        key("{user.org.id}", lambda user: 0, user)
    with pytest.raises(ConfigurationError, match=r"field \{row\[id\]\} leads nowhere"):
        key("{row[id]}", lambda row: 0, user and {})


def test_an_argument_that_makes_no_key_names_the_field_and_the_fix():
    with pytest.raises(ConfigurationError) as caught:
        key("rows:{a}:{b}", two, 1, [2])
    for part in ("rows:{a}:{b}", "{b}", "a list makes no key", "{b.id}", "exclude"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "function", "words"),
    [
        ("", lambda: 0, "makes no key"),
        ("{a", lambda a: 0, "a brace is written twice"),
        ("a}", lambda a: 0, "a brace is written twice"),
        ("{}", lambda a: 0, "must be a parameter"),
        ("{0}", lambda a: 0, "must be a parameter"),
        ("{a!r}", lambda a: 0, "without a format or a conversion"),
        ("{a:>5}", lambda a: 0, "without a format or a conversion"),
        ("{a:{b}}", two, "without a format or a conversion"),
        ("{a.}", lambda a: 0, "must be a parameter"),
        ("{a[]}", lambda a: 0, "must be a parameter"),
        ("{a b}", lambda a: 0, "must be a parameter"),
        ("{a}{b}", two, "put a separator such as ':' behind {a}"),
        ("{a}1{b}", two, "put a separator"),
        ("{a}A{b}", two, "put a separator"),
        ("{a}%{b}", two, "put a separator"),
        ('{a}"{b}', two, "put a separator"),
        ("{c}", two, "no parameter 'c'; the function has a, b"),
        ("{a}", lambda: 0, "the function has none"),
        ("{result.id}", two, "{result} is for tags"),
        ("{a}", two, "leaves out the argument 'b'"),
        ("all", two, "leaves out the argument 'a'"),
        ("{a}", lambda a, *args: 0, "leaves out the argument 'args'"),
        ("{a}", lambda a, **kwargs: 0, "leaves out the argument 'kwargs'"),
        ("{a}:{kwargs}", lambda a, **kwargs: 0, "**kwargs makes no key"),
    ],
    ids=str,
)
def test_a_template_that_cannot_tell_calls_apart_is_refused_at_once(pattern, function, words):
    with pytest.raises(ConfigurationError) as caught:
        template(pattern, function)
    assert words in str(caught.value)
    assert repr(pattern) in str(caught.value) or not pattern


def test_exclude():
    made = template("{a}", lambda a, b=0, *args, **kwargs: 0, exclude=["b", "args", "kwargs"])
    assert made.bind((1, 2, 3), {"x": 4}) == made.bind((1,), {}) == "1"
    assert template("{a}", two, exclude="b").bind((1, 2), {}) == "1"
    with pytest.raises(ConfigurationError, match="no parameter 'bb'"):
        template("{a}", two, exclude=["bb"])
    with pytest.raises(ConfigurationError, match="'b' is both named and excluded"):
        template("{a}:{b}", two, exclude=["b"])


def test_what_gathers_arguments():
    assert key("{a}:{rest}:{b}", gathering, 1, 2, "3") == '1:tuple(2,"3"):0'
    assert key("{a}:{rest}:{b}", gathering, 1) == "1:tuple():0"


# --- collisions of other caches (research R12): each was reproduced -----------------------------------------


def test_a_separator_inside_an_argument_reaches_no_other_tenant():
    """cashews and py-cachify: "doc:{tenant}:{doc}"."""
    calls = [("acme:1", "7"), ("acme", "1:7"), ("acme:1:7", ""), ("acme", "1%3A7")]
    assert len({key("doc:{a}:{b}", two, *call) for call in calls}) == len(calls)


def test_none_empty_and_absent_are_three():
    """cashews: n(None) and n("")."""
    assert len({key("n:{a}", lambda a: 0, value) for value in (None, "", "None", "none", (), b"")}) == 6


def test_a_number_is_not_its_text():
    """cashews and dogpile: t(1) and t("1")."""
    values = [1, "1", True, "True", 1.0, "1.0", b"1", Decimal(1), Size.S]
    assert len({key("t:{a}", lambda a: 0, value) for value in values}) == len(values)


def test_a_default_is_an_argument_like_any_other():
    """cashews: g(a=1) and g(a=1, b="") although b defaults to None."""
    made = template("g:{a}:{b}:{c}", defaulted)
    assert made.bind((), {"a": 1}) != made.bind((), {"a": 1, "b": ""})
    assert made.bind((), {"a": 1}) == made.bind((1,), {"b": None})


def test_a_blank_between_arguments_is_not_one_inside():
    """dogpile joins with a blank: ("a b", "c") and ("a", "b c")."""
    assert key("{a} {b}", two, "a b", "c") != key("{a} {b}", two, "a", "b c")
    assert text(("a b", "c")) != text(("a", "b c"))


@given(nasty, nasty, nasty, nasty)
def test_two_tenants_never_share_a_document(tenant, doc, other_tenant, other_doc):
    assume((tenant, doc) != (other_tenant, other_doc))
    made = template("doc:{a}:{b}", two)
    assert text(made.bind((tenant, doc), {})) != text(made.bind((other_tenant, other_doc), {}))
