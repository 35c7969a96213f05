"""`holdfast cache`, through the command line's main function, and each command once as a process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from holdfast import L1, MISSING, AsyncHoldfast, Cache, Holdfast
from holdfast._coord.naming import text
from holdfast.cache.auditing import difference
from holdfast.cli.__main__ import main
from holdfast.cli.cache import invalidating, inverse, value, walk, words
from holdfast.cli.cache.place import Place
from holdfast.cli.cache.walk import Sample, drive, named
from holdfast.testing.proxy import FaultProxy

Run = Callable[..., Any]


class Table:
    """A source."""

    def __init__(self, rows: dict[Any, Any]) -> None:
        self.rows = rows
        self.calls: list[list[Any]] = []
        self.during: Callable[[], object] = bool

    def load_many(self, keys):
        self.calls.append(list(keys))
        found = {key: self.rows[key] for key in keys if key in self.rows}
        self.during()
        return found

    def save_many(self, mapping):
        self.rows.update(mapping)

    def delete_many(self, keys):
        for key in keys:
            self.rows.pop(key, None)


class AsyncTable:
    """A source for asyncio."""

    def __init__(self, rows: dict[Any, Any]) -> None:
        self.rows = rows

    async def load_many(self, keys):
        return {key: self.rows[key] for key in keys if key in self.rows}


class Colour(Enum):
    RED = 1


@pytest.fixture
def cli(place: Any, namespace: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command against this test's server; what --json printed, or the text if `text=True`."""

    def run(*words: str, code: int = 0, text: bool = False, where: bool = True) -> Any:
        told = ["--url", place.url, "--namespace", namespace] if where else []
        capsys.readouterr()
        assert main(["cache", *words, *told, *([] if text else ["--json"])]) == code
        out = capsys.readouterr().out
        return out if text or not out else json.loads(out)

    return run


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A module of the user's, called `shop`, to put things into."""
    module = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "shop_under_test", module)  # type: ignore[arg-type]
    return module


everywhere_once = pytest.mark.parametrize("topology", ["single", "cluster"])


# --- off and on ---------------------------------------------------------------------------------------------


@everywhere_once
def test_off_bypasses_the_cache_in_other_processes_within_a_second(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="1h", l1=L1(max_staleness="2s"))
    while users.stats().l1_hits == 0:  # a copy in this process, which no read of the server would ask for
        users.get_or_set("k", lambda: "old")
        time.sleep(0.005)
    told = cli("off", "users")
    assert told == {"cache": "users", "on": False, "was_on": True, "known": True}
    begun = time.monotonic()
    while users.get_or_set("k", lambda: "new") == "old":
        assert time.monotonic() < begun + 1
    assert users.get_or_set("k", lambda: "newer") == "newer"
    assert "already" in cli("off", "users", text=True)
    assert cli("on", "users")["was_on"] is False
    assert users.get_or_set("k", lambda: "stored") == "stored"
    assert users.get_or_set("k", lambda: "loaded again") == "stored"


def test_on_changes_nothing_where_it_is_on(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="1h")
    users.set("k", 1)
    assert "nothing was changed" in cli("on", "users", text=True)
    assert users.get("k") == 1


def test_an_evicted_switch_is_seen_by_the_epochs(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="1h")
    users.set("k", 1)
    cli("off", "users")
    hf.execute("DEL", users._store._switch)
    assert cli("list")["caches"][0]["on"] is False
    assert cli("on", "users")["was_on"] is False
    users.set("k", 2)
    assert users.get("k") == 2


def test_a_name_that_nobody_uses_is_switched_all_the_same_but_said(hf: Holdfast, cli: Run):
    hf.cache("users", ttl="1h").set("k", 1)
    assert "holdfast cache list" in cli("off", "user", text=True)
    assert "holdfast cache list" not in cli("off", "users", text=True)
    hf.cache("users", ttl="1h").clear()
    assert cli("on", "users")["known"] is True


@everywhere_once
def test_list_names_caches_however_they_are_written(hf: Holdfast, cli: Run):
    for name in ("users", "a:b {c} %", "[x]*?"):
        hf.cache(name, ttl="1h").set_many({"a": 1, "b": 2}, tags=["t"])
    hf.execute("SET", hf.key("mine"), 1)
    cli("off", "users")
    found = cli("list")
    assert found["complete"] is True
    assert {one["cache"]: (one["entries"], one["tags"], one["on"]) for one in found["caches"]} == {
        "users": (2, 1, False),
        "a:b {c} %": (2, 1, True),
        "[x]*?": (2, 1, True),
    }
    assert cli("stats", "[x]*?")["entries"] == 2


# --- inspect ------------------------------------------------------------------------------------------------


@everywhere_once
def test_inspect_tells_what_is_there(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="1h", jitter=0, stale="10m")
    users.set("ann b", {"name": "Ann"}, tags=["org:7", "admins"], version=7)
    users.invalidate_tags("admins")
    found = cli("inspect", "users", "ann b")
    assert (found["present"], found["state"], found["codec"], found["version"]) == (
        True,
        "invalidated",
        "msgpack",
        7,
    )
    assert found["tags"] == {"org:7": True, "admins": False}
    assert 3590 < found["ttl_left"] <= 3600 and found["grace_left"] == 600
    assert found["value"] == "{'name': 'Ann'}"
    assert (found["lease"], found["hold"], found["variants"], found["off"]) == (None, None, [], False)
    shown = cli("inspect", "users", "ann b", text=True)
    assert "10 m of grace" in shown and "invalidated since" in shown


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (42, ["42", "--int"]),
        (42, ["%int(42)"]),
        ("42", ["42"]),
        ("%int(42)", ["%int(42)", "--text"]),
        ((1, "a"), ["%tuple(1,a)"]),
        (Colour.RED, ["%enum(Colour,RED)"]),
        (UUID(int=5), ["%uuid(00000000-0000-0000-0000-000000000005)"]),
        ("", [""]),
    ],
)
def test_inspect_finds_every_kind_of_key(hf: Holdfast, cli: Run, key: Any, told: list[str]):
    hf.cache("users", ttl="1h").set(key, "this one")
    assert cli("inspect", "users", *told)["value"] == "'this one'"


def test_inspect_says_clearly_that_nothing_is_there(cli: Run):
    assert cli("inspect", "users", "ann")["present"] is False
    assert "nothing is stored" in cli("inspect", "users", "ann", text=True)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda users: users.expire("k"), "expired"),
        (lambda users: users.clear(), "cleared"),
        (lambda users: users.switch_off(), "off"),
    ],
)
def test_inspect_tells_the_state(hf: Holdfast, cli: Run, change: Callable[[Cache[Any]], object], state: str):
    users = hf.cache("users", ttl="1h")
    users.set("k", 1)
    change(users)
    assert cli("inspect", "users", "k")["state"] == state


def test_inspect_of_stale_negative_big_and_broken_entries(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="1h", stale="1h", negative_ttl="1h", chunk_above="1KiB")
    users.set("stale", 1, ttl="1ms")
    users.get_or_set("negative", lambda: MISSING)
    users.set("big", b"x" * 5000)
    hf.execute("SET", users._store.entry("broken"), b"not ours")
    time.sleep(0.01)
    assert cli("inspect", "users", "stale")["state"] == "stale"
    negative = cli("inspect", "users", "negative")
    assert (negative["state"], negative["flags"], negative["value"]) == ("fresh", ["negative"], None)
    big = cli("inspect", "users", "big")
    assert (big["flags"], big["chunks"]) == (["chunked"], "5 of 5 chunks there")
    assert big["size"] > 5000
    broken = cli("inspect", "users", "broken")
    assert (broken["state"], broken["trouble"]) == ("unreadable", "foreign")
    assert "foreign" in cli("inspect", "users", "broken", text=True)


def test_inspect_does_not_show_what_is_sealed(hf: Holdfast, cli: Run):
    class Rot:
        def encrypt(self, data: bytes, associated: bytes, /) -> bytes:
            return bytes(255 - byte for byte in data)

        decrypt = encrypt

    hf.cache("secrets", ttl="1h", cipher=Rot()).set("k", "open sesame")
    found = cli("inspect", "secrets", "k")
    assert (found["flags"], found["value"]) == (["sealed"], None)
    assert found["value_hidden"] == "sealed: only the application can open it"


def test_inspect_tells_who_is_at_it(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="1h", lease="30s")
    seen: list[Any] = []
    users.get_or_set("k", lambda: seen.append(cli("inspect", "users", "k")))
    assert seen[0]["lease"]["state"] == "loading" and 20 < seen[0]["lease"]["left"] <= 30
    prices = hf.cache("prices", ttl="1h", source=Table({}), write="through")
    prices.options.source.save_many = lambda _: seen.append(cli("inspect", "prices", "k"))
    prices.put("k", 1)
    assert seen[1]["lease"]["state"] == "putting"
    users.invalidate("k", version=3, hold="9s")
    hold = cli("inspect", "users", "k")["hold"]
    assert (hold["version"], hold["strict"]) == (3, True) and 5 < hold["left"] <= 9


def test_inspect_finds_variants(hf: Holdfast, cli: Run, place: Any, namespace: str):
    hf.execute("FLUSHDB")  # variants are looked for among a bounded number of keys
    hf.cache("users", ttl="1h", type=list[int]).set("k", [1])
    with Holdfast(place.url, namespace=namespace) as other:
        other.cache("users", ttl="1h", type=dict[str, int]).get_or_set("k", lambda: {"a": 1})
    assert [len(one) for one in cli("inspect", "users", "k")["variants"]] == [8]


# --- stats and tags -----------------------------------------------------------------------------------------


@everywhere_once
def test_stats_counts_by_state(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="30m", jitter=0, stale="1h")
    users.set_many({n: n for n in range(20)})
    users.set_many({f"t{n}": n for n in range(10)}, tags=["org:1", "gone"])
    users.set("stale", 1, ttl="1ms")
    users.get_or_set("no", lambda: MISSING)
    users.expire(3)
    users.invalidate_tags("gone")
    time.sleep(0.01)
    found = cli("stats", "users")
    assert (found["entries"], found["complete"], found["entries_estimate"]) == (32, True, None)
    assert found["states"] == {"fresh": 20, "invalidated": 10, "stale": 1, "expired": 1}
    assert (found["tags"], found["tagged"], found["negative"], found["sampled"]) == (1, 10, 1, 32)
    assert found["ttl_left"]["10 m - 1 h"] == 20
    assert 32 * 60 < found["bytes"] < 32 * 400
    shown = cli("stats", "users", text=True)
    assert "31 % invalidated" in shown and "10 m - 1 h" in shown


def test_stats_is_bounded_and_says_so(hf: Holdfast, cli: Run):
    hf.execute("FLUSHDB")  # the limit is on what is looked at
    hf.cache("users", ttl="30m").set_many(dict.fromkeys(range(3000), 1))
    found = cli("stats", "users", "--limit", "500", "--sample", "50")
    assert 400 <= found["entries"] < 2000  # epochs count as well
    assert (found["complete"], found["sampled"]) == (False, 50)
    assert found["entries_estimate"] > found["entries"]
    assert "at least" in cli("stats", "users", "--limit", "500", text=True)


def test_a_key_that_comes_twice_counts_once(hf: Holdfast, cli: Run, monkeypatch: pytest.MonkeyPatch):
    hf.cache("users", ttl="30m").set_many({"a": 1, "b": 2})
    real = Place.ask

    def twice(self: Place, commands: list[Any]) -> list[Any]:
        replies = real(self, commands)
        return [[reply[0], reply[1] * 2] for reply in replies] if commands[0][0] == "SCAN" else replies

    monkeypatch.setattr(Place, "ask", twice)
    found = cli("stats", "users")
    assert (found["entries"], found["sampled"]) == (2, 2)


def test_nothing_but_bounded_commands_is_sent(hf: Holdfast, cli: Run):
    hf.cache("users", ttl="30m").set_many({"a": 1}, tags=["t"])
    hf.execute("CONFIG", "RESETSTAT")
    cli("stats", "users")
    cli("tags", "users")
    cli("list")
    told = hf.execute("INFO", "commandstats").decode()
    assert "cmdstat_scan" in told and "cmdstat_keys:" not in told


@everywhere_once
def test_stats_counts_who_listens(hf: Holdfast, cli: Run):
    before = cli("stats", "users")["listeners"]
    users = hf.cache("users", ttl="30m", l1=L1())
    while users.stats().l1_hits == 0:
        users.get_or_set("k", lambda: 1)
        time.sleep(0.005)
    assert cli("stats", "users")["listeners"] > before


def test_who_may_not_see_everything_sees_the_rest(
    hf: Holdfast, place: Any, namespace: str, capsys: pytest.CaptureFixture[str]
):
    hf.cache("users", ttl="30m").set_many({"a": 1, "b": 2})
    rights = ("~*", "&*", "+@all", "-memory", "-client|list", "-dbsize")
    hf.execute("ACL", "SETUSER", namespace, "on", ">secret", *rights)
    url = re.sub(r"//[^@/]*@", f"//{namespace}:secret@", place.url)
    try:
        assert main(["cache", "stats", "users", "--url", url, "--namespace", namespace, "--json"]) == 0
    finally:
        hf.execute("ACL", "DELUSER", namespace)
    found = json.loads(capsys.readouterr().out)
    assert (found["entries"], found["sampled"], found["listeners"]) == (2, 2, None)
    assert found["bytes_each"] > 50


def test_a_cache_that_is_written_behind(hf: Holdfast, cli: Run, shop: SimpleNamespace):
    table = Table({})
    prices = hf.cache("prices", ttl="1h", source=table, write="behind")
    prices.put(7, 1.5)
    prices.flush()
    found = cli("inspect", "prices", "7", "--int")
    assert (found["present"], found["value"], found["waits_for_source"]) == (True, "1.5", False)
    assert cli("stats", "prices")["backlog"] == {"entries": 0, "dead": 0, "oldest_age": 0.0}
    assert cli("stats", "prices")["entries"] == 1
    table.rows[7] = 2.5
    assert cli("invalidate", "prices", "7", "--int")["confirmed"] is True
    assert prices.get(7) == 2.5
    table.rows[7] = 3.5
    shop.prices = prices
    found = cli("audit", "shop_under_test:prices", "--delay", "50ms", code=1, where=False)
    assert [one["difference"] for one in found["findings"]] == ["2.5, source 3.5"]


@everywhere_once
def test_tags_and_who_carries_them(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="30m")
    users.set_many({n: n for n in range(4)}, tags=["org:1", "a b:%"])
    users.set_many({f"t{n}": n for n in range(3)}, tags=["org:2"])
    users.invalidate_tags("org:2")
    found = cli("tags", "users")
    assert {(one["tag"], one["exists"], one["carried"], one["current"]) for one in found["tags"]} == {
        ("org:1", True, 4, 4),
        ("a b:%", True, 4, 4),
        ("org:2", False, 3, 0),
    }
    one = cli("tags", "users", "org:1")
    assert [row["key"] for row in one["entries"]] == [f"%int({n})" for n in range(4)]
    assert "none of 7 sampled entries" in cli("tags", "users", "org:9", text=True)


# --- invalidate ---------------------------------------------------------------------------------------------


@everywhere_once
def test_invalidate_keys_tags_and_all(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="30m")
    users.set_many({"a": 1, "b": 2, 3: 3})
    users.set_many({"t1": 1, "t2": 2}, tags=["org:1"])
    assert cli("invalidate", "users", "a", "%int(3)")["confirmed"] is True
    assert users.get_many(["a", "b", 3]) == {"b": 2}
    assert cli("invalidate", "users", "--tag", "org:1")["confirmed"] is True
    assert users.get_many(["b", "t1", "t2"]) == {"b": 2}
    assert "confirmed" in cli("invalidate", "users", "--all", "--yes", text=True)
    assert users.get("b") is MISSING


def test_a_dry_run_says_what_would_go_and_changes_nothing(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="30m")
    users.set_many({"a": 1, "b": 2})
    users.set_many({"t1": 1, "t2": 2, "x y": 3}, tags=["org:1"])
    users.set("old", 1, tags=["org:1", "org:2"])
    users.invalidate_tags("org:2")
    keys = cli("invalidate", "users", "a", "none", "--dry-run")
    assert ([one["key"] for one in keys["entries_seen"]], keys["absent"]) == (["a"], ["none"])
    tagged = cli("invalidate", "users", "--tag", "org:1", "--dry-run")
    assert [one["key"] for one in tagged["entries_seen"]] == ["t1", "t2", "x y"]
    assert cli("invalidate", "users", "--all", "--dry-run")["about"] == 5
    assert users.get_many(["a", "b", "t1", "t2"]) == {"a": 1, "b": 2, "t1": 1, "t2": 2}


def test_invalidate_reaches_copies_that_only_listen_on_a_channel(hf: Holdfast, cli: Run):
    users = hf.cache("users", ttl="30m", l1=L1(via="pubsub"))
    while users.stats().l1_hits == 0:
        users.get_or_set("k", lambda: "old")
        time.sleep(0.005)
    cli("invalidate", "users", "k")
    begun = time.monotonic()
    while users.get_or_set("k", lambda: "new") == "old":
        assert time.monotonic() < begun + 1


def test_all_is_asked_for(hf: Holdfast, cli: Run, monkeypatch: pytest.MonkeyPatch):
    users = hf.cache("users", ttl="30m")
    users.set("a", 1)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    cli("invalidate", "users", "--all", code=2, text=True)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    asked: list[str] = []

    def say_no(text: str) -> str:
        asked.append(text)
        return "n"

    monkeypatch.setattr("builtins.input", say_no)
    cli("invalidate", "users", "--all", code=2, text=True)
    assert users.get("a") == 1 and "users" in asked[0]
    monkeypatch.setattr("builtins.input", lambda _: "y")
    cli("invalidate", "users", "--all", text=True)
    assert users.get("a") is MISSING


@pytest.mark.parametrize(
    "words", [["users"], ["users", "a", "--tag", "t"], ["users", "a", "--all"], ["users", "x", "--int"]]
)
def test_what_makes_no_sense_is_refused(cli: Run, words: list[str]):
    cli("invalidate", *words, code=2, text=True)


def test_what_is_not_confirmed_is_said(
    faults: FaultProxy, namespace: str, capsys: pytest.CaptureFixture[str]
):
    class Away:
        def _invalidate(self, tags: list[str]) -> bool:
            return False

    def broken(hf: Holdfast, name: str) -> Any:
        place = Place(hf, name)
        place.cache = Away()  # type: ignore[assignment]
        return place

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invalidating, "Place", broken)
        assert main(["cache", "invalidate", "users", "a", "--url", faults.url, "--namespace", namespace]) == 1
    assert "not confirmed" in capsys.readouterr().out


# --- audit --------------------------------------------------------------------------------------------------


@everywhere_once
def test_audit_finds_what_was_written_without_an_invalidation(hf: Holdfast, cli: Run, shop: SimpleNamespace):
    table = Table({n: {"id": n, "price": n * 2} for n in range(50)})
    shop.prices = hf.cache("prices", ttl="1h", source=table, write="through")
    shop.prices.get_many(range(50))
    time.sleep(0.05)
    table.rows[7] = {"id": 7, "price": 1}
    del table.rows[8]
    shop.prices.put(9, {"id": 9, "price": 3})
    found = cli("audit", "shop_under_test:prices", "--delay", "50ms", code=1, where=False)
    assert (found["sampled"], found["equal"], found["stale"], found["not_comparable"]) == (50, 48, 2, 0)
    assert {one["key"]: one["difference"] for one in found["findings"]} == {
        "%int(7)": "price: 14, source 1",
        "%int(8)": "{'id': 8, 'price': 16}, source nothing",
    }
    assert all(0.1 <= one["age"] < 20 for one in found["findings"])
    shown = cli("audit", "shop_under_test:prices", "--delay", "50ms", code=1, where=False, text=True)
    assert "2 stale" in shown and "price: 14, source 1" in shown


def test_audit_does_not_report_what_is_invalidated_in_time(hf: Holdfast, cli: Run, shop: SimpleNamespace):
    table = Table({"a": 1, "b": 2})
    shop.prices = hf.cache("prices", ttl="1h", source=table)
    shop.prices.get_many(["a", "b"])
    table.rows["a"] = 10
    table.during = lambda: shop.prices.invalidate("a")
    found = cli("audit", "shop_under_test:prices", "--delay", "50ms", where=False)
    assert (found["equal"], found["stale"], found["gone"]) == (1, 0, 1)


def test_audit_reads_every_kind_of_key_and_counts_the_rest(hf: Holdfast, cli: Run, shop: SimpleNamespace):
    keys = [
        "a b", "", "%int(1)", 1, True, None, 2.5, b"\x00x", UUID(int=1), Decimal("1.10"), date(2024, 1, 2),
        datetime(2024, 1, 2, 3, tzinfo=UTC), (1, "a,b", (None, "1")), (),
    ]  # fmt: skip
    table = Table({**dict.fromkeys(keys, 1), Colour.RED: 1})
    shop.prices = hf.cache("prices", ttl="1h", source=table)
    for key in [*keys, Colour.RED]:
        shop.prices.get(key)
    table.calls.clear()
    found = cli("audit", "shop_under_test:prices", where=False)
    assert (found["equal"], found["not_comparable"]) == (len(keys), 1)
    assert {(type(key), key) for call in table.calls for key in call} == {(type(key), key) for key in keys}
    assert all(len(set(call)) == len(call) for call in table.calls)  # 1 and True are asked for one by one
    assert len(table.calls) == 2


def test_audit_of_a_source_that_fails(hf: Holdfast, cli: Run, shop: SimpleNamespace):
    table = Table({"a": 1})
    shop.prices = hf.cache("prices", ttl="1h", source=table)
    shop.prices.get("a")
    table.during = lambda: 1 / 0
    found = cli("audit", "shop_under_test:prices", where=False)
    assert (found["failed"], found["stale"]) == (1, 0)
    assert found["errors"] == ["ZeroDivisionError: division by zero"]


@everywhere_once
def test_audit_of_a_cache_for_asyncio(
    hf: Holdfast, cli: Run, shop: SimpleNamespace, place: Any, namespace: str
):
    hf.cache("prices", ttl="1h").set_many({n: n for n in range(20)})
    shop.client = AsyncHoldfast(place.url, namespace=namespace)
    shop.prices = shop.client.cache("prices", ttl="1h", source=AsyncTable({n: n % 19 for n in range(20)}))
    found = cli("audit", "shop_under_test:prices", "--delay", "50ms", code=1, where=False)
    assert (found["equal"], [one["key"] for one in found["findings"]]) == (19, ["%int(19)"])


def test_audit_of_a_function_reads_its_arguments_off_its_keys(hf: Holdfast, cli: Run, shop: SimpleNamespace):
    users = hf.cache("users", ttl="1h")
    rows: dict[Any, Any] = {}

    @users.cached("user:{user_id}:{lang}", exclude=["verbose"])
    def get_user(user_id: Any, lang: str = "en", *, verbose: bool = False) -> Any:
        return rows.get((user_id, lang), (user_id, lang))[1]

    shop.get_user = get_user
    for user_id, lang in [(1, "en"), ("1", "de"), ("a:b %", 'x"y'), (None, ""), (1.5, "True")]:
        get_user(user_id, lang)
    users.set("of somebody else", 1)
    rows["1", "de"] = (0, "changed")
    found = cli("audit", "shop_under_test:get_user", "--delay", "50ms", code=1, where=False)
    assert (found["equal"], found["stale"], found["not_comparable"]) == (4, 1, 1)
    assert [one["key"] for one in found["findings"]] == ['user:"1":de']


def test_audit_of_a_method_of_an_instance(hf: Holdfast, cli: Run, shop: SimpleNamespace):
    users = hf.cache("users", ttl="1h")

    class Service:
        tenant = "t1"
        suffix = "x"

        @users.cached("{self.tenant}:{user_id}")
        def get_user(self, user_id: int) -> str:
            return f"{user_id}{self.suffix}"

    shop.service = Service()
    shop.Service = Service
    shop.service.get_user(1)
    users.set("t2:1", "of another tenant")
    assert cli("audit", "shop_under_test:service.get_user", where=False)["equal"] == 1
    shop.service.suffix = "y"
    found = cli("audit", "shop_under_test:service.get_user", "--delay", "50ms", code=1, where=False)
    assert (found["stale"], found["not_comparable"]) == (1, 1)
    cli("audit", "shop_under_test:Service.get_user", code=2, where=False, text=True)


def test_audit_of_an_asynchronous_function(
    hf: Holdfast, cli: Run, shop: SimpleNamespace, place: Any, namespace: str
):
    hf.cache("users", ttl="1h").set_many({"user:1": 10, "user:2": 20})
    shop.client = AsyncHoldfast(place.url, namespace=namespace)

    async def get_user(user_id: int) -> Any:
        return {1: 10, 2: 21}[user_id]

    shop.get_user = shop.client.cache("users", ttl="1h").cached("user:{user_id}")(get_user)
    found = cli("audit", "shop_under_test:get_user", "--delay", "50ms", code=1, where=False)
    assert (found["equal"], [one["key"] for one in found["findings"]]) == (1, ["user:2"])


def test_audit_of_a_function_whose_keys_tell_nothing_takes_calls(
    hf: Holdfast, cli: Run, shop: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = {1: "one", 2: "two"}

    @hf.cache("users", ttl="1h").cached("user:{row[id]}")
    def get_user(row: dict[str, int]) -> str:
        return rows[row["id"]]

    shop.get_user = get_user
    get_user({"id": 1})
    get_user({"id": 2})
    assert main(["cache", "audit", "shop_under_test:get_user"]) == 2
    assert "--args" in (said := capsys.readouterr().err) and "audit=0.01" in said
    calls = tmp_path / "calls"
    calls.write_text('[{"id": 1}]\n{"row": {"id": 2}}\n\n[{"id": 3}]\n')
    rows[2] = "zwei"
    arguments = ("audit", "shop_under_test:get_user", "--args", str(calls), "--delay", "50ms")
    found = cli(*arguments, code=1, where=False)
    assert (found["equal"], found["stale"], found["no_hit"]) == (1, 1, 1)
    calls.write_text("nonsense\n")
    cli(*arguments, code=2, where=False, text=True)


@pytest.mark.parametrize(
    "target", ["shop", "no_such_module:x", "json:nothing", "json:dumps", "shop_under_test:plain"]
)
def test_audit_says_what_it_cannot_audit(hf: Holdfast, cli: Run, shop: SimpleNamespace, target: str):
    shop.plain = hf.cache("plain", ttl="1h")
    cli("audit", target, code=2, where=False, text=True)


# --- as a process of its own --------------------------------------------------------------------------------

_MODULE = """
import os
from holdfast import Holdfast
hf = Holdfast(namespace=os.environ["NAMESPACE"])
class Table:
    def load_many(self, keys): return {key: 2 for key in keys}
prices = hf.cache("prices", ttl="1h", source=Table())
"""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["list"], 0, "prices"),
        (["inspect", "prices", "a"], 0, "fresh"),
        (["stats", "prices"], 0, "entries  1"),
        (["tags", "prices"], 0, "org:1"),
        (["audit", "mine:prices", "--delay", "10ms"], 1, "1, source 2"),
        (["invalidate", "prices", "a"], 0, "confirmed"),
        (["off", "prices"], 0, "is off"),
        (["on", "prices"], 0, "nothing was changed"),
    ],
)
def test_each_command_as_a_process(
    hf: Holdfast, place: Any, namespace: str, tmp_path: Path, words: list[str], code: int, said: str
):
    hf.cache("prices", ttl="1h").set("a", 1, tags=["org:1"])
    (tmp_path / "mine.py").write_text(_MODULE)
    (tmp_path / "holdfast.toml").write_text(f'url = "{place.url}"\nnamespace = "{namespace}"\n')
    where = [] if words[0] == "audit" else ["--config", "holdfast.toml"]
    environment = {**os.environ, "HOLDFAST_URL": place.url, "NAMESPACE": namespace}
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli", "cache", *words, *where],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")
    assert said in done.stdout
    assert "\x1b" not in done.stdout  # nobody sees colours in a file


def test_a_server_that_is_away_is_said(capsys: pytest.CaptureFixture[str]):
    assert main(["cache", "stats", "users", "--url", "redis://127.0.0.1:1"]) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


# --- without a server ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.85, "850 ms"),
        (1.5, "1.5 s"),
        (12, "12 s"),
        (200, "3 m 20 s"),
        (3600, "1 h"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, said: str):
    assert words.duration(seconds) == said


@pytest.mark.parametrize(("count", "said"), [(34, "34 B"), (1234, "1.2 KiB"), (5 << 20, "5.0 MiB")])
def test_sizes(count: int, said: str):
    assert words.size(count) == said


def test_what_could_move_the_cursor_is_escaped():
    assert words.safe("a\x1b[2Jb") == "a\\x1b[2Jb"


def test_which_key_is_what():
    prefix = "ns:1:cache:users:{"
    kinds = {
        "ann}": "entry", "a:b}": "entry", "a:b}:f": "lease", "ann}:v": "hold", "ann}:s0123abcd": "variant",
        "ann}:c12": "chunk", "#3}:t:org%3A7": "tag", "#3}:e": "epoch", "#}:switch": "other", "#3}": "entry",
        "users:2}{ann}": "entry", "users:2}{ann}:f": "lease", "users:2}:pending": "journal",
    }  # fmt: skip
    assert {rest: named(prefix + rest, prefix).kind for rest in kinds} == kinds
    assert named(prefix + "#3}:t:org%3A7", prefix).label == "org:7"
    assert named(prefix + "users:2}{ann}", prefix).label == "ann"


def test_a_walk_ends_in_a_database_full_of_other_keys():
    asked: list[Any] = []

    def endless(commands: list[Any]) -> list[Any]:
        asked.extend(commands)
        return [[b"7", []]]

    found = drive(endless, walk.walk("x*", 10, lambda _: True, lambda _: None))
    assert not found.complete and len(asked) == 2
    assert all(command[0] == "SCAN" for command in asked)


def test_a_sample_is_random_and_bounded():
    import random

    hits = [0] * 10
    dice = random.Random(1)
    for _ in range(2000):
        sample: Sample[int] = Sample(3, dice)
        for item in range(10):
            sample.add(item)
        assert len(sample.items) == 3
        for item in sample.items:
            hits[item] += 1
    assert all(500 < count < 700 for count in hits)


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "",
        "%",
        "ü b{}",
        "%int(3)",
        3,
        -3,
        1 << 70,
        True,
        None,
        1.0,
        float("inf"),
        b"",
        ("a", ("1", 1, None), 'q"'),
    ],
)
def test_a_key_comes_back_from_its_text(key: Any):
    back = inverse.key(text(key))
    assert (type(back), back) == (type(key), key)
    assert inverse.tag_of(inverse.shown(text(key)), is_text=key == "%int(3)") == text(key)


@pytest.mark.parametrize(
    "tag", ["%enum(Colour,RED)", "%named(P,1)", "%int(01)", "%int(x)", "%bytes(0)", "%date(1)", "a b"]
)
def test_what_cannot_come_back_is_refused(tag: str):
    with pytest.raises(inverse.NoWayBack):
        inverse.key(tag)


def test_a_difference_is_told_by_fields():
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == "b: 2, source 3; c: nothing, source 4"
    assert difference([1], [2]) == "[1], source [2]"
    assert difference(1, MISSING) == "1, source nothing"
    long = difference({str(n): n for n in range(9)}, {})
    assert long.endswith("and 6 more") and len(long) < 120


def test_a_value_that_cannot_be_decoded_is_said(hf: Holdfast):
    from holdfast._values.envelope import MSGPACK, Envelope

    entry = Envelope(MSGPACK, 0, 0, b"s" * 8, b"e" * 8, 0, 1, None, 0, (), b"\xc1")
    assert re.match("cannot be decoded", value.shown(entry)[1])
