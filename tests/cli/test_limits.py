"""`holdfast limits`, through the command line's main function."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import ConfigurationError, Holdfast, Limit
from holdfast.cli.__main__ import main
from holdfast.cli.limits.changing import limit_of
from holdfast.cli.limits.find import find
from holdfast.limits._limiter_sync import Limiter
from holdfast.limits.options import LimiterOptions
from tests.cli.locks_stage import everywhere_once

Run = Callable[..., Any]


@pytest.fixture
def limits(place: Any, namespace: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command against this test's server; what --json printed, or the text if `text=True`."""

    def run(*words: str, code: int = 0, text: bool = False) -> Any:
        capsys.readouterr()
        told = ["--url", place.url, "--namespace", namespace, *([] if text else ["--json"])]
        assert main(["limits", *words, *told]) == code
        printed = capsys.readouterr()
        out = printed.out + (printed.err if text else "")
        return out if text or not out else json.loads(out)

    return run


def limiter(hf: Holdfast, name: str = "api", *limits: Limit) -> Limiter:
    chosen = limits or (Limit(10, "1h", name="hourly"), Limit(1000, "1d"))
    return Limiter(hf._wire, name, LimiterOptions(limits=chosen, deny_cache="0s", deadline="10s"))


@everywhere_once
def test_list_shows_the_busiest_subjects_of_all_limiters(hf: Holdfast, limits: Run):
    """Without it an operator would have to know whom to look at."""
    assert "nobody has used a limiter lately" in limits("list", text=True)
    api, mails = limiter(hf), limiter(hf, "a:{b} c", Limit(4, "1h", algorithm="sliding"))
    api.check("user:1", 10)
    api.check("user:2", 2)
    api.check(42, 5)
    mails.check("ann", 1)
    found = limits("list")
    assert found["complete"] and found["limiters"] == {"a:{b} c": 1, "api": 3}
    assert [(one["limiter"], one["subject"]) for one in found["subjects"]] == [
        ("api", "user:1"), ("api", "%int(42)"), ("a:{b} c", "ann"), ("api", "user:2"),
    ]  # fmt: skip
    first = found["subjects"][0]
    assert first["used"] == 1 and 0 < first["retry_after"] <= 360
    assert [(one["label"], one["left"], one["most"]) for one in first["limits"]] == [
        ("hourly", 0, 10), ("1d", 990, 1000),
    ]  # fmt: skip
    shown = limits("list", text=True)
    assert "4 subjects of 2 limiters; 1 would be denied now" in shown and "hourly 0/10, 1d 990/1,000" in shown
    assert list(limits("list", "api")["limiters"]) == ["api"]
    assert "the 1 busiest are shown" in limits("list", "--rows", "1", text=True)
    assert "there is api" in limits("list", "apu", code=2, text=True)


@pytest.mark.parametrize("algorithm", ["gcra", "sliding", "fixed", "log"])
def test_peek_says_what_a_check_would(hf: Holdfast, limits: Run, algorithm: Any):
    """found: another limit than the one that is in force; a look that is charged for."""
    api = limiter(hf, "api", Limit(5, "1h", algorithm=algorithm))
    api.check("ann", 3)
    for _ in range(2):
        found = limits("peek", "api", "ann", "--cost", "2")
        assert (found["allowed"], found["limits"][0]["left"], found["limits"][0]["most"]) == (True, 2, 5)
        assert found["limits"][0]["algorithm"] == algorithm
    found = limits("peek", "api", "ann", "--cost", "3", code=1)
    assert not found["allowed"] and found["retry_after"] > 0
    assert limits("peek", "api", "ann", "--cost", "6", code=1)["retry_after"] is None, "never"
    assert "a check that costs 3 is denied" in limits("peek", "api", "ann", "--cost", "3", code=1, text=True)
    assert "is allowed" in limits("peek", "api", "ann", text=True)
    assert api.peek("ann").remaining == 2
    assert "nothing is known of it, so nothing is used" in limits("peek", "api", "bob", text=True)


def test_limits_of_the_calendar_and_in_shadow_mode_are_shown(hf: Holdfast, limits: Run):
    api = limiter(hf, "api", Limit(5, "month"), Limit(1, "1h", shadow=True))
    api.check("ann", 1)
    api.check("ann", 1)
    found = limits("peek", "api", "ann")
    assert found["allowed"], "a limit in shadow mode denies nobody"
    assert [(one["label"], one["left"], one["shadow"]) for one in found["limits"]] == [
        ("month", 3, False), ("1h", 0, True),
    ]  # fmt: skip
    assert "1h, in shadow mode" in limits("peek", "api", "ann", text=True)


@everywhere_once
def test_override_and_reset_are_in_force_at_once(hf: Holdfast, limits: Run):
    """Without it one customer could be helped only by deploying."""
    api = limiter(hf)
    assert api.check(42, 10) and not api.check(42)
    told = limits(
        "override", "api", "42", "--int", "--limit", "100/1h,burst=200", "--limit", "5000/1d", "--ttl", "1h"
    )
    assert (told["limits"], told["ttl"]) == (["100 per 1h", "5000 per 1d"], 3600)
    assert api.check(42)
    assert [str(one) for one in api.overridden(42) or ()] == ["100 per 1h", "5000 per 1d"]
    found = limits("peek", "api", "%int(42)")
    assert found["own"] and found["limits"][0]["most"] == 200
    assert "limits of its own" in limits("peek", "api", "42", "--int", text=True)
    assert limits("override", "api", "42", "--int", "--none")["limits"] == []
    assert api.overridden(42) is None
    api.check(42, 10)
    assert not api.check(42, 10)
    assert limits("reset", "api", "42", "--int")["reset"] and api.check(42, 10)
    assert "had used nothing" in limits("reset", "api", "nobody", text=True)
    api.set_plan("pro", Limit(7, "1s"))
    assert limits("override", "api", "ann", "--plan", "pro")["limits"] == ["7 per 1s"]
    assert "pro; give them by --limit" in limits("override", "api", "ann", "--plan", "prp", code=2, text=True)


def test_a_slip_of_the_pen_changes_nothing(hf: Holdfast, limits: Run):
    limiter(hf).check("ann")
    for words, told in (
        (("override", "apo", "ann", "--limit", "1/1s"), "there is api"),
        (("reset", "zzz", "ann"), "see: holdfast limits list"),
        (("override", "api", "ann"), "give either --limit"),
        (("override", "api", "ann", "--limit", "1/1s", "--none"), "give either --limit"),
        (("override", "api", "ann", "--none", "--ttl", "1h"), "--ttl"),
        (("override", "api", "ann", "--limit", "10"), "as 100/1s"),
        (("override", "api", "ann", "--limit", "10/1s,brust=3"), "'brust=3' is none of"),
        (("override", "api", "ann", "--limit", "10/month"), "calendar"),
        (("override", "api", "ann", "--limit", "10/1s", "--ttl", "soon"), "--ttl"),
    ):
        assert told in limits(*words, code=2, text=True)
    assert list(find(hf, None, 10).subjects) == ["api"] and limiter(hf).overridden("ann") is None
    limits("override", "later", "ann", "--limit", "1/1s", "--new")
    assert str((limiter(hf, "later").overridden("ann") or ())[0]) == "1 per 1s"


def test_what_others_have_written_is_passed_over(hf: Holdfast, limits: Run):
    limiter(hf).check("ann")
    keys = hf._wire.keys
    hf.execute("SET", keys.make("limit", "api", "odd"), "g x 1 2;|nonsense")
    hf.execute("SET", keys.make("limit", "api", "bob", ":o"), "nonsense")
    hf.execute("SET", keys.make("limit", "api", "bob", ":other"), "x")
    found = limits("list")
    assert {one["subject"]: len(one["limits"]) for one in found["subjects"]} == {"ann": 2, "odd": 0, "bob": 0}


def test_a_limit_is_read_as_it_is_written():
    assert limit_of("100/1s") == Limit(100, "1s")
    assert limit_of("9/1m,burst=20,name=fast,shadow") == Limit(9, "1m", burst=20, name="fast", shadow=True)
    assert limit_of("9/1h,algorithm=log") == Limit(9, "1h", algorithm="log")
    for odd in ("", "x/1s", "1/", "-1/1s", "1/1s,burst=x", "1/1s,name=", "1/1s,"):
        with pytest.raises(ConfigurationError):
            limit_of(odd)
