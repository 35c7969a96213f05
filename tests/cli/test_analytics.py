"""`holdfast analytics`, through the command line's main function."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.analytics._analytics_sync import Analytics
from holdfast.analytics.options import AnalyticsOptions
from holdfast.cli.__main__ import main
from holdfast.cli.analytics import drawing
from tests.cli.locks_stage import everywhere_once

Run = Callable[..., Any]


@pytest.fixture
def analytics(place: Any, namespace: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command against this test's server; what --json printed, or the text if `text=True`."""

    def run(*words: str, code: int = 0, text: bool = False) -> Any:
        capsys.readouterr()
        told = ["--url", place.url, "--namespace", namespace, *([] if text else ["--json"])]
        assert main(["analytics", *words, *told]) == code
        printed = capsys.readouterr()
        out = printed.out + (printed.err if text else "")
        return out if text or not out else json.loads(out)

    return run


@contextmanager
def counted(hf: Holdfast, name: str = "shop", **options: Any) -> Iterator[Analytics]:
    """Analytics whose events are written when this is left."""
    hits = Analytics(hf._wire, name, AnalyticsOptions(**options))
    try:
        yield hits
    finally:
        hits._aclose(10.0)


def now(hf: Holdfast) -> datetime:
    seconds, _ = hf.execute("TIME")
    return datetime.fromtimestamp(int(seconds), UTC)


def fill(hf: Holdfast, name: str = "shop") -> datetime:
    end = now(hf)
    with counted(hf, name) as hits:
        for hours, n in ((0, 3), (2, 5), (5, 40)):
            at = end - timedelta(hours=hours)
            hits.count("signup", n, tags={"plan": "pro"}, at=at)
            hits.count("signup", 1, tags={"plan": "free"}, at=at)
            for number in range(n):
                hits.unique("visitors", f"user{number}", at=at)
                hits.active("users", number, tags={"plan": "pro"}, at=at)
                hits.observe("latency", 0.01 * (number + 1), at=at)
            hits.top("searches", "boots", n, at=at)
        hits.top("searches", "hats", 7)
    return end


@everywhere_once
def test_list_shows_every_metric_of_all_analytics(hf: Holdfast, analytics: Run):
    """Without it nobody would know what there is."""
    assert "nothing was counted in the namespace" in analytics("list", text=True)
    fill(hf)
    with counted(hf, "a:{b} c") as hits:
        hits.count("signup")
    found = analytics("list")["metrics"]
    assert [(one["analytics"], one["metric"], one["kinds"], one["last_day"]) for one in found] == [
        ("a:{b} c", "signup", ["counter"], 1),
        ("shop", "latency", ["quantile"], 48),
        ("shop", "searches", ["top"], None),
        ("shop", "signup", ["counter"], 51),
        ("shop", "users", ["active"], None),
        ("shop", "visitors", ["unique"], None),
    ]
    assert sum(found[3]["hours"]) == 51 and len(found[3]["hours"]) in (24, 25)
    shown = analytics(text=True)
    assert "signup" in shown and "this hour" in shown and "6 metrics" in shown and "█" in shown
    assert len(analytics("list", "--of", "shop")["metrics"]) == 5


@everywhere_once
def test_show_tells_a_figure_for_each_bucket_and_zero_for_a_gap(hf: Holdfast, analytics: Run):
    end = fill(hf)
    found = analytics("show", "signup", "--since", "6h", "--resolution", "1h")
    assert (found["analytics"], found["kind"], found["resolution"], found["total"]) == (
        "shop", "counter", "1h", 51,
    )  # fmt: skip
    values = [one["value"] for one in found["points"]]
    assert len(values) == 7 and values.count(0) == 4 and values[-1] == 4
    assert datetime.fromisoformat(found["points"][-1]["start"]) == end.replace(minute=0, second=0)
    some = analytics("show", "signup", "--since", "6h", "--tag", "plan=pro")
    assert (some["total"], some["tags"]) == (48, {"plan": "pro"})
    split = analytics("show", "signup", "--since", "6h", "--resolution", "1h", "--by", "plan")
    assert [(one["value"], one["total"]) for one in split["groups"]] == [("pro", 48), ("free", 3)]
    assert analytics("show", "visitors", "--since", "6h")["total"] in (39, 40, 41)
    users = analytics("show", "users", "--since", "6h", "--by", "plan")["groups"]
    assert [(one["value"], one["total"]) for one in users] == [("pro", 40)]
    spread = analytics("show", "latency", "--since", "6h")["distribution"]
    assert (spread["count"], spread["lowest"], spread["highest"]) == (48, 0.01, 0.4)
    assert analytics("show", "searches", "--since", "6h", "--top", "1")["items"] == [
        {"item": "boots", "count": 48, "error": 0}
    ]
    past = (end - timedelta(hours=3)).replace(tzinfo=None).isoformat()
    assert analytics("show", "signup", "--since", past, "--resolution", "1h")["total"] == 10


def test_show_draws_what_people_can_read(hf: Holdfast, analytics: Run):
    fill(hf)
    shown = analytics("show", "signup", "--since", "6h", "--resolution", "1h", text=True)
    assert "signup, " in shown and "51 in all" in shown and "█" in shown and "counter" in shown
    assert "\x1b" not in shown, "colours only on a terminal"
    assert all(len(line) <= 100 for line in shown.splitlines())
    shown = analytics("show", "signup", "--since", "6h", "--resolution", "1m", "--rows", "5", text=True)
    assert "the last 5 of 361 buckets: --rows shows more" in shown
    assert "pro" in analytics("show", "signup", "--by", "plan", text=True)
    assert "nothing with the tag land" in analytics(
        "show", "signup", "--by", "land", "--tag", "land=x", text=True
    )
    assert "40 different ids" in analytics("show", "users", "--since", "6h", text=True)
    assert "p99" in analytics("show", "latency", text=True)
    assert "boots" in analytics("show", "searches", text=True)
    assert "nothing was counted" in analytics("show", "searches", "--since", "9h", "--until", "8h", text=True)


def test_what_is_not_there_is_said_with_what_is_like_it(hf: Holdfast, analytics: Run):
    """Without it a slip of the pen would look like a quiet day."""
    assert "nothing was counted yet" in analytics("show", "x", code=2, text=True)
    fill(hf)
    assert "there is signup" in analytics("show", "singup", code=2, text=True)
    assert "see: holdfast analytics list" in analytics("show", "zzzz", code=2, text=True)
    assert "there is shop" in analytics("list", "--of", "shpo", code=2, text=True)
    fill(hf, "other")
    assert "is in other and shop; say which: --of other" in analytics("show", "signup", code=2, text=True)
    assert analytics("show", "signup", "--of", "shop")["total"] == 51
    for words, told in (
        (("signup", "--top"), "has no figures of the kind top; it has: counter"),
        (("signup", "--resolution", "7m"), "resolution='7m'"),
        (("signup", "--since", "yesterday"), "--since"),
        (("signup", "--since", "1h", "--until", "2h"), "is not before"),
        (("signup", "--tag", "plan"), "--tag plan=pro"),
        (("searches", "--by", "plan"), "leave them out"),
    ):
        assert told in analytics("show", *words, "--of", "shop", code=2, text=True)


def test_looking_changes_nothing(hf: Holdfast, analytics: Run):
    """found: an index that is tidied with the retention of the defaults; scratch that is left behind."""
    fill(hf)
    with counted(hf, resolutions={"1d": "20y"}) as hits:
        hits.count("old", at=now(hf) - timedelta(days=365 * 9))

    def everything() -> tuple[set[bytes], dict[bytes, bytes]]:
        keys = hf.execute("KEYS", f"{hf._wire.keys.namespace}:*")
        # A HyperLogLog remembers in its head what it was asked for last.
        return set(keys), {key: hf.execute("DUMP", key) for key in keys if b":unique:" not in key}

    before = everything()
    for metric in ("signup", "users", "latency", "searches", "visitors"):
        analytics("show", metric)
    analytics("list")
    assert everything() == before


def test_days_are_those_of_the_program_that_counts(hf: Holdfast, analytics: Run):
    """found: the resolutions and the time zone of the defaults."""
    with counted(hf, resolutions={"6h": "30d", "1d": "30d"}, tz="Asia/Kolkata") as hits:
        hits.count("signup")
    found = analytics("show", "signup", "--resolution", "1d")
    assert {one["start"][10:] for one in found["points"]} == {"T00:00:00+05:30"}
    assert analytics("show", "signup")["resolution"] == "6h"
    since = now(hf).replace(tzinfo=None) - timedelta(days=2)  # of their clock, if nothing else is said
    assert analytics("show", "signup", "--since", since.isoformat())["since"].endswith("+05:30")


def test_options_may_stand_before_the_command_too(
    hf: Holdfast, place: Any, capsys: pytest.CaptureFixture[str]
):
    fill(hf)
    told = ["--url", place.url, "--namespace", hf._wire.keys.namespace, "--json"]
    for words in (["analytics", *told], ["analytics", *told, "list"], ["analytics", *told, "show", "signup"]):
        capsys.readouterr()
        assert main(words) == 0
        assert json.loads(capsys.readouterr().out)


# --- drawing ------------------------------------------------------------------------------------------------


def test_a_sparkline_shows_the_least_and_fits():
    assert drawing.sparkline([0, 1, 50, 100]) == "▁▂▅█"
    assert drawing.sparkline([0, 0]) == "▁▁"
    assert drawing.sparkline([]) == ""
    assert drawing.sparkline([0, 1, 100], blocks=False) == "_.#"
    assert drawing.sparkline([5], most=10) == "▅"
    assert drawing.squeezed([1, 2, 3, 4, 5], 2) == [3, 12]
    assert drawing.squeezed([1, 2, 3, 4, 5], 2, max) == [2, 5]
    assert drawing.squeezed([1, 2], 5) == [1, 2]
    assert sum(drawing.squeezed(range(1000), 77)) == sum(range(1000))
    assert drawing.bar(5, 10, 10) == "█████" and drawing.bar(1, 1000, 10) == "█"
    assert drawing.bar(0, 10, 10) == drawing.bar(1, 0, 10) == ""


def test_figures_are_short():
    assert [drawing.figure(one) for one in (0, 1234567, 0.012345, 1234.5, 1e20)] == [
        "0", "1,234,567", "0.01235", "1,234.5", "1e+20",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "can"), [("utf-8", True), ("ascii", False), ("nonsense", False), (None, False)]
)
def test_blocks_are_drawn_only_where_they_can_be_written(encoding: str | None, *, can: bool):
    assert drawing.drawable(encoding) is can


def test_a_terminal_without_blocks_gets_plain_marks(
    hf: Holdfast, place: Any, monkeypatch: pytest.MonkeyPatch
):
    fill(hf)
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    told = ["--url", place.url, "--namespace", hf._wire.keys.namespace]
    assert main(["analytics", "show", "signup", *told]) == 0
    out.seek(0)
    assert "#" in out.read()


def test_a_terminal_gets_colours_and_lines_that_fit(
    hf: Holdfast, place: Any, monkeypatch: pytest.MonkeyPatch
):
    fill(hf)

    class Tty(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    for columns in (60, 120):
        monkeypatch.setattr(
            "shutil.get_terminal_size", lambda columns=columns: os.terminal_size((columns, 24))
        )
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.delenv("NO_COLOR", raising=False)
        out = Tty()
        monkeypatch.setattr(sys, "stdout", out)
        told = ["--url", place.url, "--namespace", hf._wire.keys.namespace]
        assert main(["analytics", "show", "signup", "--since", "24h", "--resolution", "1m", *told]) == 0
        assert "\x1b[" in out.getvalue()
        lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
        assert max(map(len, lines)) < columns and any("█" in line for line in lines)


def test_the_distribution_is_that_of_the_buckets_which_are_shown(hf: Holdfast, analytics: Run):
    """found: 509 observations in the points, 503 in the distribution, which began some minutes later."""
    end = now(hf)
    with counted(hf) as hits:
        for minutes in range(0, 300, 7):
            hits.observe("latency", 0.1, at=end - timedelta(minutes=minutes))
    shown = analytics("show", "latency", "--since", "150m", "--resolution", "1h")
    assert shown["total"] == shown["distribution"]["count"] > 20
    assert isinstance(shown["total"], int)
