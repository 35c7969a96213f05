"""Headers and problems: what a client is told of limits."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast.contrib.limits import LimitPolicy, LimitRule, by_user
from holdfast.contrib.limits.fields import MOST
from holdfast.contrib.limits.visit import QUOTA_EXCEEDED, REDUCED_CAPACITY, Entry, Visit
from holdfast.errors import RateLimited
from holdfast.limits.decision import Decision, LimitState
from holdfast.limits.options import Limit
from tests.contrib.limits.pretend import Plain, decided
from tests.contrib.limits.structured import read

SECOND, HOUR = Limit(10, "1s"), Limit(1000, "1h")


def visit(
    *decisions: Decision, unit: str = "requests", subject: str = "ip:192.0.2.1", **policy: Any
) -> Visit:
    """A request of which limiters said this."""
    made = Visit(LimitPolicy(**policy), Plain())
    for number, decision in enumerate(decisions):
        made.entries.append(Entry(f"limiter{number}", subject, decision, 1_700_000_000.25, unit))
    return made


def told(made: Visit) -> dict[str, str]:
    headers = made.headers()
    assert len(dict(headers)) == len(headers), "a header twice"
    return dict(headers)


def refused(made: Visit, dice: float = 0.0) -> Any:
    decision = made.entries[-1].decision
    return made.refuse(decision, decision.retry_after, dice)


def why(made: Visit) -> Any:
    assert made.refusal is not None
    return made.refusal


def test_on_success_every_limit_is_told_of():
    headers = told(visit(decided(SECOND, HOUR, remaining=5, reset=3.5)))
    assert read(headers["RateLimit-Policy"]) == [("1s", {"q": 10, "w": 1}), ("1h", {"q": 1000, "w": 3600})]
    assert read(headers["RateLimit"]) == [("1s", {"r": 5, "t": 4}), ("1h", {"r": 5, "t": 4})]
    assert "Retry-After" not in headers


def test_parameters_that_are_not_always_there():
    burst = Limit(10, "1500ms", burst=40, name="bytes")
    made = visit(decided(burst), unit="content-bytes", partition_secret=b"0123456789abcdef")
    ((name, policy),) = read(told(made)["RateLimit-Policy"])
    key = policy.pop("pk")
    assert (name, policy) == ("bytes", {"q": 10, "qu": "content-bytes", "w": 2, "holdfast-burst": 40})
    assert read(told(made)["RateLimit"])[0][1]["pk"] == key
    assert len(key) == 12


def test_a_partition_key_says_nothing_of_who_it_is():
    secret: dict[str, Any] = {"partition_secret": "0123456789abcdef"}
    keys = {
        read(told(visit(decided(SECOND), subject=subject, **more))["RateLimit"])[0][1]["pk"]
        for subject in ("user:ann", "user:bob")
        for more in (secret, {"partition_secret": b"another secret of us"})
    }
    assert len(keys) == 4  # nor can it be found by hashing all addresses
    assert b"ann" not in b"".join(keys)
    assert "pk" not in read(told(visit(decided(SECOND)))["RateLimit"])[0][1]
    assert "0123456789" not in repr(LimitPolicy(**secret))


def test_a_refusal_names_what_was_violated_and_when_to_come_back():
    made = visit(decided(SECOND, HOUR, violated=["1s"], wait=0.25, remaining=40, reset=1800))
    problem = refused(made)
    answer, headers = made.answer(), told(made)
    assert (problem.status, problem.type, problem.violated) == (429, QUOTA_EXCEEDED, ("1s",))
    assert json.loads(answer.body)["violated-policies"] == ["1s"]
    assert json.loads(answer.body)["type"].endswith("#quota-exceeded")
    assert json.loads(answer.body)["status"] == answer.status == 429
    assert ("content-type", "application/problem+json") in answer.headers
    assert headers["Retry-After"] == "1"
    # The hour is not used up, so its window must not keep the client away.
    assert read(headers["RateLimit"]) == [("1s", {"r": 0, "t": 1}), ("1h", {"r": 40})]


def test_what_never_can_be_allowed_has_no_retry_after():
    made = visit(decided(SECOND, violated=["1s"], wait=math.inf))
    assert refused(made, 0.5).retry_after is None
    assert "Retry-After" not in told(made)
    assert read(told(made)["RateLimit"]) == [("1s", {"r": 0})]
    assert "X-RateLimit-Reset" not in dict(
        visit(decided(SECOND, violated=["1s"], wait=math.inf), headers="legacy").headers()
    )
    assert "ever allowed" in json.loads(made.answer().body)["detail"]


def test_away_is_503():
    away = Decision(allowed=False, remaining=0, retry_after=2.5, reset_after=0.0, degraded=True)
    made = visit(away, show_degraded=True)
    problem = refused(made)
    assert (problem.status, problem.type) == (503, REDUCED_CAPACITY)
    assert told(made) == {"Retry-After": "3", "X-RateLimit-Degraded": "1"}
    assert json.loads(made.answer().body)["violated-policies"] == []


def test_a_local_limit_is_429_though_degraded():
    made = visit(decided(SECOND, violated=["1s"], wait=1, degraded=True))
    assert refused(made).status == 429
    assert "X-RateLimit-Degraded" not in told(made)  # unless asked for


def test_degraded_and_allowed_can_be_seen():
    allowed = Decision(allowed=True, remaining=0, retry_after=0.0, reset_after=0.0, degraded=True)
    assert told(visit(allowed)) == {}
    assert told(visit(allowed, show_degraded=True, headers="both")) == {"X-RateLimit-Degraded": "1"}


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ("draft", {"RateLimit-Policy", "RateLimit"}),
        ("legacy", {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}),
        (
            "both",
            {
                "RateLimit-Policy",
                "RateLimit",
                "X-RateLimit-Limit",
                "X-RateLimit-Remaining",
                "X-RateLimit-Reset",
            },
        ),
        (None, set()),
    ],
)
def test_which_headers_can_be_chosen(headers: Any, names: set[str]):
    made = visit(decided(SECOND), headers=headers)
    assert set(told(made)) == names
    denied = visit(decided(SECOND, violated=["1s"], wait=1), headers=headers)
    refused(denied)
    assert set(told(denied)) == names | {"Retry-After"}


def test_legacy_headers_are_those_of_the_tightest_limit():
    states = (LimitState(SECOND, 7, 0.0, 0.3), LimitState(HOUR, 3, 0.0, 1800.0))
    loose = Decision(True, 3, 0.0, 1800.0, limit=HOUR, states=states)
    assert told(visit(loose, headers="legacy")) == {
        "X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1800",
    }  # fmt: skip
    epoch = told(visit(loose, headers="legacy", reset="epoch"))
    assert epoch["X-RateLimit-Reset"] == "1700001801"
    both = visit(loose, decided(SECOND, violated=["1s"], wait=0.5), headers="legacy")
    refused(both)
    assert told(both) == {
        "X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1", "Retry-After": "1",
    }  # fmt: skip


def test_limits_in_shadow_mode_are_not_seen():
    shadow = Limit(1, "1m", shadow=True, name="new")
    made = visit(decided(SECOND, shadow, violated=["1s"], wait=1), headers="both")
    refused(made)
    assert "new" not in str(made.headers()) + str(made.answer())
    assert told(visit(decided(shadow))) == {}


def test_limits_of_one_label_are_told_apart():
    made = visit(decided(SECOND, HOUR), decided(SECOND, violated=["1s"], wait=1))
    refused(made)
    names = [name for name, _ in read(told(made)["RateLimit"])]
    assert names == ["limiter0:1s", "1h", "limiter1:1s"]
    assert why(made).violated == ("limiter1:1s",)
    twice = visit(decided(SECOND), decided(SECOND))
    twice.entries[1] = twice.entries[1]._replace(limiter="limiter0")
    assert [name for name, _ in read(told(twice)["RateLimit"])] == ["limiter0:1s:1", "limiter0:1s:2"]


def test_jitter_only_adds():
    found = set()
    for dice in (0.0, 0.3, 0.999):
        made = visit(decided(SECOND, violated=["1s"], wait=4.2), jitter="10s")
        refused(made, dice)
        found.add(int(told(made)["Retry-After"]))
        assert read(told(made)["RateLimit"])[0][1]["t"] == 5
    assert found == {5, 8, 15}


LIMITS = st.builds(
    lambda quota, per, name: Limit(quota, per, name=name),
    st.integers(0, 10**6), st.sampled_from(["10ms", "1s", "1h", "1d"]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:/#*+-]{0,20}", fullmatch=True),
)  # fmt: skip


@given(
    st.lists(LIMITS, min_size=1, max_size=4, unique_by=lambda limit: limit.label),
    st.data(), st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_headers_are_well_formed_and_agree_with_each_other(
    limits: list[Limit], data: st.DataObject, dice: float
):
    """Retry-After is not before the end of any window; names agree; integers fit."""
    times = st.one_of(st.floats(0, 1e6), st.just(math.inf), st.floats(1e14, 1e20))
    states = tuple(
        LimitState(limit, data.draw(st.integers(0, 10**18)), data.draw(times), data.draw(times))
        for limit in limits
    )
    violated = tuple(data.draw(st.sets(st.sampled_from([limit.label for limit in limits]))))
    wait = max((state.retry_after for state in states if state.limit.label in violated), default=0.0)
    decision = Decision(not violated, 0, wait, 0.0, violated=violated, states=states)
    made = visit(decision, headers="both", jitter=data.draw(st.sampled_from([0, "3s"])))
    if violated:
        refused(made, dice)
    headers = told(made)
    policies, current = read(headers["RateLimit-Policy"]), read(headers["RateLimit"])
    assert (
        [name for name, _ in policies] == [name for name, _ in current] == [limit.label for limit in limits]
    )
    assert all(one["w"] >= 1 and 0 <= one["q"] <= MOST for _, one in policies)
    assert all(0 <= one["r"] <= MOST and 0 <= one.get("t", 0) <= MOST for _, one in current)
    windows = [one["t"] for _, one in current if "t" in one]
    if violated and math.isfinite(wait):
        assert int(headers["Retry-After"]) >= max([1, *windows])
        assert int(headers["Retry-After"]) >= min(wait, MOST)
    else:
        assert "Retry-After" not in headers
    assert set(made.refusal.violated if made.refusal else ()) == set(violated)


def test_a_view_that_was_told_no_is_answered_alike():
    made = visit()
    made.overtaken(
        RateLimited("x", decision=decided(SECOND, violated=["1s"], wait=2), retry_after=2.0), 0.0, 0.0
    )
    assert why(made).violated == ("1s",)
    assert told(made)["Retry-After"] == "2"
    bare = visit()
    bare.overtaken(RateLimited("x", retry_after=1.5), 0.0, 0.0)
    assert (why(bare).status, told(bare)) == (429, {"Retry-After": "2"})


class Limiter:
    """What passes for one."""

    name = "x"

    def check(self) -> None: ...


@pytest.mark.parametrize(
    "options",
    [
        {"headers": "rfc"},
        {"reset": "date"},
        {"jitter": -1},
        {"partition_secret": "short"},
        {"exempt": "/x"},
        {"exempt": [5]},
        {"exempt_methods": "GET"},
        {"denied": 5},
        {"trusted": "10.0.0.0/8"},
        {"trusted": ["x"]},
        {"proxy_header": "a b"},
        {"ipv6_prefix": 200},
        {"ipv4_prefix": -1},
    ],
)
def test_bad_policies_are_named(options: Any):
    (name,) = options
    with pytest.raises(ConfigurationError, match=name) as caught:
        LimitPolicy(**options)
    assert "short" not in str(caught.value)  # a secret is not shown


@pytest.mark.parametrize(
    "options",
    [
        {"key": "ip"},
        {"cost": 0},
        {"cost": True},
        {"cost": "1"},
        {"scope": "path"},
        {"routes": "/x"},
        {"methods": "GET"},
        {"unit": "Bytes"},
        {"unit": ""},
        {"settle": 5},
        {"limiter": "api"},
    ],
)
def test_bad_rules_are_named(options: Any):
    (name,) = options
    with pytest.raises(ConfigurationError, match=name):
        LimitRule(**{"limiter": Limiter(), "key": by_user, **options})
