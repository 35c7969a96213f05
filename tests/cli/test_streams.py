"""`holdfast streams`, through the command line's main function."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.cli.__main__ import main
from holdfast.cli.streams import values
from holdfast.cli.streams.grouping import _spans
from holdfast.streams.rules import Reject
from tests.cli.locks_stage import everywhere_once, until
from tests.streams.hands import hands

Run = Callable[..., Any]


@pytest.fixture
def streams(place: Any, namespace: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command against this test's server; what --json printed, or the text if `text=True`."""

    def run(*words: str, code: int = 0, text: bool = False) -> Any:
        capsys.readouterr()
        told = ["--url", place.url, "--namespace", namespace, *([] if text else ["--json"])]
        assert main(["streams", *words, *told]) == code
        printed = capsys.readouterr()
        out = printed.out + (printed.err if text else "")
        return out if text or not out else json.loads(out)

    return run


def buried(hf: Holdfast, *values: Any, partitions: int = 1) -> Any:
    """The stream `orders` whose group `billing` could not handle these."""
    stream = hf.stream("orders", partitions=partitions)
    for value in values:
        stream.publish(value, key=f"k{value}" if isinstance(value, int) else None)

    @stream.subscriber(group="billing", max_deliveries=1)
    def bill(value: Any) -> None:
        raise ValueError(f"timeout of {value}") if value != 2 else Reject("nonsense")

    hf.run(until="idle")
    return stream


# --- list ---------------------------------------------------------------------------------------------------


@everywhere_once
def test_list_shows_every_stream_and_what_is_in_it(hf: Holdfast, streams: Run):
    """Without it nobody would know what there is."""
    stream = hf.stream("orders", partitions=3)
    stream.publish_many(range(6))
    stream.publish(7, delay="1h")
    hf.stream("a:{b} c").publish(1)
    hf.execute(*hands(stream).begin())
    found = streams("list")
    assert found["complete"] is True
    assert [one["name"] for one in found["streams"]] == ["a:{b} c", "orders"]
    one = found["streams"][1]
    assert (one["entries"], one["delayed"], one["groups"]) == (6, 1, ["billing"])
    assert [part["entries"] for part in one["partitions"]] == [2, 2, 2] and one["bytes"] > 0
    shown = streams("list", "ord*", text=True)
    assert (
        "orders" in shown and "billing" in shown and "a:{b}" not in shown and "1 stream, 6 entries" in shown
    )


def test_list_says_if_there_is_none_or_not_all(hf: Holdfast, streams: Run):
    """Without it an empty table would have to be interpreted."""
    assert "there is no stream in the namespace" in streams("list", text=True)
    hf.stream("orders").publish(1)
    assert "that fits x*" in streams("list", "x*", text=True)


# --- lag ----------------------------------------------------------------------------------------------------


@everywhere_once
def test_lag_shows_all_groups_those_furthest_behind_first(hf: Holdfast, streams: Run):
    """Without it an operator would have to know where to look."""
    one, two = hf.stream("orders", partitions=2), hf.stream("mails")
    one.publish_many(range(4))
    time.sleep(0.02)
    two.publish(1)
    for part in one._desk.layout.parts:
        hf.execute("XGROUP", "CREATE", part.stream, "billing", "0")
    hf.execute(*hands(two, "send").begin())
    hf.execute(*hands(two, "send").take(1))
    found = streams("lag")["groups"]
    assert [(row["stream"], row["group"]) for row in found] == [("orders", "billing"), ("mails", "send")]
    assert (found[0]["entries"], found[0]["exact"], found[0]["pending"], found[0]["members"]) == (
        4,
        True,
        0,
        0,
    )
    assert (found[1]["entries"], found[1]["pending"]) == (0, 1)
    shown = streams("lag", text=True)
    assert "2 groups" in shown and "2 behind, and nobody consumes" in shown
    assert [row["group"] for row in streams("lag", "mails")["groups"]] == ["send"]


def test_lag_ends_with_1_if_a_limit_is_exceeded(hf: Holdfast, streams: Run):
    """Without it a monitor could not ask."""
    stream = hf.stream("orders")
    stream.publish_many(range(3))
    hf.execute(*hands(stream).begin())
    hf.execute(*hands(stream).take(1))
    time.sleep(0.02)
    asked = ("lag", "orders", "billing")
    assert streams(*asked, "--max-age", "1h", "--max-entries", "3")["groups"][0]["exceeded"] == []
    assert streams(*asked, "--max-age", "10ms", code=1)["groups"][0]["exceeded"] == ["age"]
    assert streams(*asked, "--max-entries", "2", code=1)["groups"][0]["exceeded"] == ["entries"]
    assert "1 beyond the limit" in streams(*asked, "--max-entries", "2", text=True, code=1)
    hf.execute(*hands(stream).take(3))
    assert streams(*asked, "--max-age", "10ms", code=1)["groups"][0]["entries"] == 0  # but pending


@pytest.mark.parametrize("how", ["json", "text"])
def test_lag_can_be_watched(hf: Holdfast, place: Any, namespace: str, how: str):
    """Without it whoever waits for a backlog to shrink would have to ask again and again."""
    stream = hf.stream("orders")
    stream.publish_many(range(3))
    hf.execute(*hands(stream).begin())
    words = ["lag", "orders", "--watch", "--every", "100ms", *(["--json"] if how == "json" else [])]
    with started(place, namespace, *words) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if how == "json":
            assert json.loads(line)["groups"][0]["entries"] == 3
        hf.execute(*hands(stream).take(2))
        until(
            process.stdout.readline,
            lambda line: '"entries": 1' in line if how == "json" else "billing" in line,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


class started:  # noqa: N801 (reads as a function)
    """A command that goes on; it is ended at the latest when this is left."""

    def __init__(self, place: Any, namespace: str, *words: str) -> None:
        told = ["--url", place.url, "--namespace", namespace]
        self.command = [sys.executable, "-u", "-m", "holdfast.cli", "streams", *words, *told]

    def __enter__(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        self.limit = threading.Timer(60, self.process.kill)
        self.limit.start()
        return self.process

    def __exit__(self, *_: object) -> None:
        self.limit.cancel()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


# --- groups, tail -------------------------------------------------------------------------------------------


def test_groups_shows_who_consumes(hf: Holdfast, streams: Run):
    """Without it the process that has a message could not be found."""
    stream = hf.stream("orders", partitions=2)
    stream.publish_many(range(4))
    part = stream._desk.layout.parts[0]
    hf.execute(*hands(stream).begin())
    hf.execute(*hands(stream).take(1, "web-1:77:abc"))
    hf.execute(*hands(stream).take(1, "theirs"))
    now = int(hf.execute("TIME")[0]) * 1000
    hf.execute("ZADD", part.group("billing").members, now + 60_000, "web-1:77:abc")
    (group,) = streams("groups", "orders")["groups"]
    assert (group["name"], group["lag"]["pending"], group["dead"]) == ("billing", 2, 0)
    theirs, ours = group["members"]
    assert (ours["host"], ours["pid"], ours["partitions"], ours["pending"]) == ("web-1", 77, [0], 1)
    assert 0 < ours["lease"] <= 60 and theirs["lease"] is None
    shown = streams("groups", "orders", "billing", text=True)
    assert "web-1:77:abc" in shown and "another program" in shown


def test_partitions_are_shown_as_spans():
    """Without it 1,024 of them would fill the screen."""
    assert _spans((3, 0, 1, 2, 7, 9, 8)) == "0-3, 7-9"
    assert _spans(()) == ""


def test_tail_shows_the_last_entries(hf: Holdfast, streams: Run):
    """Without it nobody could see what is published without a program of his own."""
    stream = hf.stream("orders", partitions=2)
    for value in range(5):
        stream.publish({"n": value, b"x": b"\xff"}, key=f"k{value}")
        time.sleep(0.003)
    shown = streams("tail", "orders", "-n", "3", "--once", text=True).splitlines()
    assert len(shown) == 3 and all(
        f"k{n}" in line and f'"n": {n}' in line for n, line in zip((2, 3, 4), shown, strict=True)
    )


@everywhere_once
def test_tail_follows(hf: Holdfast, place: Any, namespace: str):
    """Without it what happens now would be seen only afterwards."""
    stream = hf.stream("orders", partitions=3)
    stream.publish("first")
    with started(place, namespace, "tail", "orders", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["value"] == "first"
        stream.publish_many(["second", "third"])
        told = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert {one["value"] for one in told} == {"second", "third"}
        stream.publish("fourth")
        assert json.loads(process.stdout.readline())["value"] == "fourth"  # and none of them again
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM


# --- dead, replay, purge ------------------------------------------------------------------------------------


@everywhere_once
def test_dead_shows_what_failed_and_replay_has_it_handled_again(hf: Holdfast, streams: Run):
    """Without it a repaired handler would not get back what it missed."""
    stream = buried(hf, 1, 2, 3, partitions=2)
    found = streams("dead", "orders", "billing")
    assert found["count"] == 3
    assert {(one["value"], one["error"]) for one in found["dead"]} == {
        (1, "ValueError: timeout of 1"),
        (2, "Reject: nonsense"),
        (3, "ValueError: timeout of 3"),
    }
    shown = streams("dead", "orders", "billing", "--error", "TIMEOUT", text=True)
    assert "2 dead letters that fit of 3" in shown and "timeout of 3" in shown and "nonsense" not in shown
    assert streams("replay", "orders", "billing", "--error", "timeout", "--since", "1h")["count"] == 2
    assert stream.group("billing").lag().entries == 2
    assert [one["value"] for one in streams("dead", "orders", "billing")["dead"]] == [2]


def test_replay_and_purge_take_ids_and_filters(hf: Holdfast, streams: Run):
    """Without it one message could not be treated otherwise than the rest."""
    stream = buried(hf, 1, 2, 3, 4)
    letters = {one.value: one.id for one in stream.dead_letters("billing").list()}
    assert streams("replay", "orders", "billing", letters[1], "--dry-run") == {"count": 1, "done": False}
    assert streams("purge", "orders", "billing", "--key", "k2", "--dry-run")["count"] == 1
    assert stream.dead_letters("billing").count() == 4
    assert streams("replay", "orders", "billing", letters[1])["count"] == 1
    assert "not there" in streams("replay", "orders", "billing", letters[1], text=True, code=1)
    assert streams("purge", "orders", "billing", "--key", "k2", "--yes")["count"] == 1
    assert "2 dead letters thrown away" in streams("purge", "orders", "billing", "--yes", text=True)
    assert streams("dead", "orders", "billing", "--since", "1h")["dead"] == []


def test_purge_asks_before_it_throws_away(hf: Holdfast, streams: Run, monkeypatch: pytest.MonkeyPatch):
    """Without it a slip of the hand would be the end of messages."""
    stream = buried(hf, 1)
    assert "say --yes" in streams("purge", "orders", "billing", text=True, code=2)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for said in ("", "n"):
        monkeypatch.setattr("builtins.input", lambda _, said=said: said)
        assert "nothing was changed" in streams("purge", "orders", "billing", text=True, code=2)
    assert stream.dead_letters("billing").count() == 1
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    streams("purge", "orders", "billing", text=True)
    assert stream.dead_letters("billing").count() == 0


# --- what is wrong ------------------------------------------------------------------------------------------


def test_what_is_not_there_is_told_with_what_is(hf: Holdfast, streams: Run):
    """Without it a typing error would look like a stream that is in order."""
    stream = hf.stream("orders")
    stream.publish(1)
    hf.execute(*hands(stream).begin())
    assert "there is orders" in streams("lag", "order", text=True, code=2)
    assert "holdfast streams list" in streams("tail", "zzz", text=True, code=2)
    for words in (("lag", "orders", "biling"), ("dead", "orders", "biling"), ("groups", "orders", "biling")):
        assert "it has billing" in streams(*words, text=True, code=2)
    assert "at least" in streams("lag", "--watch", "--every", "1ms", text=True, code=2)
    assert "not both" in streams("replay", "orders", "billing", "0:1-1", "--key", "k", text=True, code=2)


def test_looking_makes_no_stream(hf: Holdfast, streams: Run):
    """Without it a typing error would become a stream of its own, with one partition."""
    streams("lag", "orders", text=True, code=2)
    assert streams("list")["streams"] == []


def test_values_of_any_codec_are_shown(hf: Holdfast, streams: Run) -> None:
    """Without it a value of another type would end the command."""
    stream = hf.stream("orders", codec="json")
    stream.publish({"a": [1, None]})
    hf.execute("XADD", hands(stream).stream, "*", "data", b"\xc1", "version", "9")
    hf.execute("XADD", hands(stream).stream, "*", "theirs", "\x1b[2J")
    shown = streams("tail", "orders", "--once", text=True)
    assert '{"a": [1, null]}' in shown and "\x1b" not in shown
    assert values.text("\x9b\u202e", 100) == r'"\x9b\u202e"'
    assert values.text({1: b"\xff", "t": (1,)}, 100) == '{"1": "\\\\xff", "t": [1]}'
