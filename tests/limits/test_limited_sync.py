# Generated from test_limited_async.py by tools/unasync.py. Do not edit.
"""Functions that run only as often as a limiter allows.

Guards were removed by hand to see a test fail; "found:" says what was seen then.
"""

from __future__ import annotations

import inspect
import time
from typing import Any

import pytest

from holdfast import Holdfast, ConfigurationError, Limit
from holdfast.errors import RateLimited
from holdfast.limits._limiter_sync import Limiter
from holdfast.limits.concurrency._concurrency_sync import ConcurrencyLimiter
from holdfast.limits.concurrency.options import ConcurrencyOptions
from holdfast.limits.options import LimiterOptions
from tests.cache.crowd import Crowd


def limiter_of(hf: Holdfast, *limits: Limit, **options: Any) -> Limiter:
    """A limiter that may be slow, so that none of its answers is a guess."""
    options = {"limits": limits, "deadline": "20s", "on_error": "deny", **options}
    return Limiter(hf._wire, "api", LimiterOptions(**options))


@pytest.mark.everywhere
def test_each_call_is_charged_to_its_subject(hf: Holdfast):
    """found: a wrapper that asks about the template itself: all were one."""
    limiter = limiter_of(hf, Limit(2, "1h"))
    called: list[Any] = []

    @limiter.limited("user:{user_id}")
    def export(user_id: int, what: str = "all") -> str:
        """Something that costs."""
        called.append((user_id, what))
        return what

    assert export(42) == "all"
    assert export(42, "x") == "x"
    with pytest.raises(RateLimited, match=r"limiter 'api' denies 'user:42': 2 per 1h \(1h\)") as caught:
        export(user_id=42, what="y")
    assert caught.value.decision.violated == ("1h",)
    assert 0 < caught.value.retry_after <= 3600
    assert export(7, what="z") == "z"
    assert called == [(42, "all"), (42, "x"), (7, "z")], "who is denied does not run"
    assert export.subject(42, "x") == "user:42"
    assert (limiter.peek("user:42")).remaining == 0
    assert (export.__name__, export.__doc__) == ("export", "Something that costs.")
    assert list(inspect.signature(export).parameters) == ["user_id", "what"]
    assert repr(export).startswith("<limited ") and repr(export).endswith("export by 'user:{user_id}'>")


def test_cost_and_plan_may_depend_on_the_call(hf: Holdfast):
    limiter = limiter_of(hf, Limit(10, "1h"), plans={"pro": Limit(100, "1h")})

    @limiter.limited("{user}", cost=lambda user, items: len(items), plan=lambda user, items: user[1:] or None)
    def add(user: str, items: list[int]) -> int:
        return sum(items)

    assert add("a", [1, 2, 3]) == 6
    assert (limiter.peek("a")).remaining == 7
    with pytest.raises(RateLimited):
        add("a", [1] * 8)
    assert (limiter.peek("a")).remaining == 7
    assert add("apro", [1] * 80) == 80
    with pytest.raises(ConfigurationError, match="cost=0 must be a whole number"):
        add("a", [])
    with pytest.raises(ConfigurationError, match="no plan 'nix'"):
        add("anix", [1])


def test_an_error_of_the_function_is_its_own(hf: Holdfast):
    """And the call stays charged."""
    limiter = limiter_of(hf, Limit(2, "1h"))

    @limiter.limited("all")
    def fail() -> None:
        raise ValueError("mine")

    for _ in range(2):
        with pytest.raises(ValueError, match="mine"):
            fail()
    with pytest.raises(RateLimited):
        fail()


def test_methods(hf: Holdfast):
    """found: a wrapper without __get__: self was missing."""
    limiter = limiter_of(hf, Limit(2, "1h"))

    class Service:
        def __init__(self, name: str) -> None:
            self.name = name

        @limiter.limited("{self.name}:{user}")
        def export(self, user: str) -> str:
            return f"{self.name} {user}"

        @limiter.limited("any:{user}")
        def other(self, user: str) -> str:
            return user

        @staticmethod
        @limiter.limited("static:{user}")
        def alone(user: str) -> str:
            return user

    one, two = Service("one"), Service("two")
    assert one.export("ann") == "one ann"
    assert one.export("ann") == "one ann"
    with pytest.raises(RateLimited, match="'one:ann'"):
        one.export("ann")
    assert two.export("ann") == "two ann"
    assert one.export.subject("bob") == "one:bob"
    assert one.other("ann") == two.other("ann") == "ann"
    with pytest.raises(RateLimited):
        one.other("ann")
    assert Service.alone("ann") == "ann"
    assert isinstance(Service.export, type(one.export))


def test_wait_holds_the_call(hf: Holdfast):
    """found: a check in place of a hold: the third one was refused."""
    limiter = limiter_of(hf, Limit(20, "1s", burst=1))

    @limiter.limited("all", wait="60s")
    def work() -> float:
        return time.monotonic()

    begun = time.monotonic()
    times = [work() for _ in range(5)]
    assert times[-1] - begun >= 0.19

    @limiter_of(hf, Limit(1, "1h")).limited("slow", wait="1s")
    def slow() -> None:
        """Once an hour."""

    slow()
    with pytest.raises(RateLimited):
        slow()


def test_so_many_at_a_time(hf: Holdfast):
    options = ConcurrencyOptions(limit=2, plans={"one": 1}, deadline="20s", on_error="deny", wait="60s")
    two = ConcurrencyLimiter(hf._wire, "exports", options)
    inside: list[int] = []
    most: list[int] = []

    @two.limited("user:{user}")
    def export(user: str) -> str:
        inside.append(1)
        most.append(len(inside))
        assert (two.peek(f"user:{user}")).in_use >= 1
        inside.pop()
        return user

    with Crowd() as crowd:
        assert crowd.all(8, lambda: export("ann")) == ["ann"] * 8
    assert max(most) <= 2

    @two.limited("user:{user}", wait=0, plan=lambda user: "one")
    def alone(user: str) -> None:
        """Not beside another one."""

    alone("ann")
    with two.hold("user:ann"):
        with pytest.raises(RateLimited, match="1 of 1 slots are in use"):
            alone("ann")
    assert (two.peek("user:ann")).in_use == 0


def test_what_cannot_be_limited_is_refused(hf: Holdfast):
    limiter = limiter_of(hf, Limit(2, "1h"))
    two = ConcurrencyLimiter(hf._wire, "exports", ConcurrencyOptions(limit=2))
    wrong: Any = "many"

    def work(user: str) -> None:
        """Something."""

    with pytest.raises(ConfigurationError, match="cost='many' must be"):
        limiter.limited("{user}", cost=wrong)
    with pytest.raises(ConfigurationError, match="cost=0 must be"):
        limiter.limited("{user}", cost=0)
    with pytest.raises(ConfigurationError, match="wait='many' is no duration"):
        limiter.limited("{user}", wait="many")
    with pytest.raises(ConfigurationError, match="wait='many' is no duration"):
        two.limited("{user}", wait="many")
    with pytest.raises(ConfigurationError, match="plan='many' is no plan"):
        two.limited("{user}", plan="many")
    with pytest.raises(ConfigurationError, match="plan='a b' must be"):
        limiter.limited("{user}", plan="a b")
    with pytest.raises(ConfigurationError, match="no parameter 'id'"):
        limiter.limited("{id}")(work)
    static: Any = staticmethod(work)
    with pytest.raises(ConfigurationError, match="put @staticmethod above @limited"):
        limiter.limited("{user}")(static)
