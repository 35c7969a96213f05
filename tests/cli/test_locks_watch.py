"""`holdfast locks watch`: what it sees, what it costs, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.cli.__main__ import main
from holdfast.cli.locks import find, rooms, watching
from holdfast.cli.locks.changes import Change
from holdfast.cli.locks.live import Objects, Plain
from holdfast.cli.locks.rooms import Named
from holdfast.cli.locks.sight import Sight
from holdfast.cli.locks.watching import Eye
from holdfast.errors import Unavailable

everywhere_once = pytest.mark.parametrize("topology", ["single", "cluster"])

SECONDS = 30  # for whatever has to happen at some time


@pytest.fixture
def eye(hf: Holdfast) -> Iterator[Callable[..., Eye]]:
    """An Eye that hears what changes; `deaf=True`: one that does not."""
    with contextlib.ExitStack() as stack:

        def make(pattern: str | None = None, limit: int = 1000, *, deaf: bool = False) -> Eye:
            made = Eye(hf, pattern, limit)
            for prefix in () if deaf else rooms.prefixes(hf._wire.keys):
                stack.enter_context(hf._wire.hub.track(prefix, made))
            assert deaf or made.hears.wait(SECONDS)
            made.look()
            return made

        yield make


def told(eye: Eye, count: int) -> list[str]:
    """`event name` of the first `count` changes that it sees."""
    happened: list[Change] = []
    give_up = time.monotonic() + SECONDS
    while len(happened) < count:
        assert time.monotonic() < give_up, happened
        happened += eye.look()
        time.sleep(0.01)
    return [f"{one.event} {one.now.named.name}" for one in happened]


# --- what it sees -------------------------------------------------------------------------------------------


@everywhere_once
def test_it_sees_who_gets_and_who_gives(hf: Holdfast, eye: Callable[..., Eye]):
    """Without it one would look at a picture that stands still."""
    seen = eye()
    lease = hf.lock("order:1").acquire()
    assert told(seen, 1) == ["held order:1"]
    assert hf.lock("order:1").request_release("deploy")
    assert told(seen, 1) == ["wanted order:1"]
    lease.release()
    assert told(seen, 1) == ["free order:1"]
    assert seen.seen() == []


def test_it_sees_one_after_the_other_as_handed_over(hf: Holdfast, eye: Callable[..., Eye]):
    """Without it a lock that never rests would look as if one process had it for ever."""
    seen = eye()
    old = hf.lock("order:1").acquire()
    assert told(seen, 1) == ["held order:1"]
    old.release()
    new = hf.lock("order:1").acquire()
    (change,) = seen.look() or [pytest.fail("nothing was seen")]
    assert change.event == "handed" and 0 <= (change.lasted or -1) < SECONDS
    assert "went from" in change.text()
    new.release()


def test_it_sees_what_is_there_already_and_what_ends_by_itself(hf: Holdfast, eye: Callable[..., Eye]):
    """Without it a lock that expires would stay in the picture."""
    hf.execute("SET", hf.lock("a").key, "theirs", "PX", 150)
    seen = eye(deaf=True)
    assert [one.named.name for one in seen.seen()] == ["a"]
    assert told(seen, 1) == ["free a"]


def test_it_sees_those_that_are_called_by_their_key(hf: Holdfast, eye: Callable[..., Eye], namespace: str):
    """Without it the end of such a lock would not be seen: its key is not among ours."""
    seen = eye()
    key = f"{namespace}:job"
    lease = hf.lock("j", key=key).acquire()
    assert told(seen, 1) == [f"held {key}"]
    lease.release()
    assert told(seen, 1) == [f"free {key}"]


def test_it_sees_only_what_is_wanted(hf: Holdfast, eye: Callable[..., Eye]):
    """Without it one lock could not be watched among a thousand."""
    seen = eye("order")
    leases = [hf.lock(name).acquire() for name in ("other", "order:1")]
    assert told(seen, 1) == ["held order:1"]
    for lease in leases:
        lease.release()
    assert told(seen, 1) == ["free order:1"]


def test_without_tracking_it_walks(hf: Holdfast, eye: Callable[..., Eye], monkeypatch: pytest.MonkeyPatch):
    """Without it a server that forbids tracking would show the first picture for ever."""
    monkeypatch.setattr(watching, "_WALK", 0.05)
    seen = eye(deaf=True)
    lease = hf.lock("order:1").acquire()
    assert told(seen, 1) == ["held order:1"]
    lease.release()
    assert told(seen, 1) == ["free order:1"]


def test_what_was_missed_while_nothing_was_heard_is_sought(hf: Holdfast, eye: Callable[..., Eye]):
    """Without it a connection that broke would leave holes in the picture for good."""
    seen = eye(deaf=True)
    seen.found()
    seen.look()  # the walk after `found`; from now on nothing is walked
    lease = hf.lock("order:1").acquire()
    assert seen.look() == []
    seen.lost()
    seen.found()
    assert [one.event for one in seen.look()] == ["held"]
    other = hf.lock("order:2").acquire()
    assert seen.look() == []
    seen.invalidated(None)  # a flush: whatever was there may be gone, and whatever is there is new
    assert [one.now.named.name for one in seen.look()] == ["order:2"]
    lease.release()
    other.release()


def test_what_could_not_be_looked_at_is_looked_at_later(
    hf: Holdfast, eye: Callable[..., Eye], monkeypatch: pytest.MonkeyPatch
):
    """Without it a change that fell into an outage of a second would never be seen."""
    seen = eye(deaf=True)
    seen.found()
    seen.look()
    lease = hf.lock("order:1").acquire()
    seen.invalidated([lease.lock.key.encode()])

    def fail(*_: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as broken, pytest.raises(Unavailable):
        broken.setattr(watching, "see", fail)
        seen.look()
    assert [one.event for one in seen.look()] == ["held"]
    lease.release()


def test_more_changes_than_can_be_remembered_become_a_walk(
    hf: Holdfast, eye: Callable[..., Eye], monkeypatch: pytest.MonkeyPatch
):
    """Without it a watch of a busy fleet would grow without a bound, or miss what it forgot."""
    monkeypatch.setattr(watching, "_REMEMBERED", 10)
    seen = eye(deaf=True)
    seen.found()
    seen.look()
    hf.execute("SET", hf.lock("a").key, "x", "PX", 60_000)
    seen.invalidated([hf.lock(f"n{number}").key.encode() for number in range(11)])
    assert not seen._heard
    assert [one.now.named.name for one in seen.look()] == ["a"]


# --- what it costs ------------------------------------------------------------------------------------------


def test_a_round_looks_at_so_many_and_no_more(
    hf: Holdfast, eye: Callable[..., Eye], monkeypatch: pytest.MonkeyPatch
):
    """Without it a storm of locks would make the watcher part of the storm."""
    monkeypatch.setattr(watching, "_MOST", 20)
    asked: list[int] = []

    def count(hf: Holdfast, some: list[Named]) -> list[Sight]:
        asked.append(len(some))
        return find.see(hf, some)

    monkeypatch.setattr(watching, "see", count)
    seen = eye(deaf=True)
    for number in range(50):
        hf.execute("SET", hf.lock(f"n{number}").key, "x", "PX", 60_000)
    seen.invalidated([hf.lock(f"n{number}").key.encode() for number in range(50)])
    for _ in range(3):
        seen.look()
    assert asked == [0, 20, 20, 20]
    assert len(seen.seen()) == 50
    # Then those that were not looked at for longest.
    hf.execute("DEL", *(hf.lock(f"n{number}").key for number in range(50)))
    gone = [one.now.named.name for _ in range(3) for one in seen.look()]
    assert sorted(gone) == sorted(f"n{number}" for number in range(50))


def test_it_rests_ten_times_as_long_as_it_asks(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Without it a slow server would be asked without a pause."""
    rests: list[float] = []

    def sleep(pause: float) -> None:
        rests.append(pause)
        if len(rests) == 2:
            raise KeyboardInterrupt

    ticks = iter(range(1000))
    monkeypatch.setattr(watching, "_HEAR", 0.01)
    monkeypatch.setattr(time, "sleep", sleep)
    made = Eye.__init__

    def with_slow_clock(self: Eye, *args: Any) -> None:
        made(self, *args, clock=lambda: float(next(ticks)))

    monkeypatch.setattr(Eye, "__init__", with_slow_clock)
    with pytest.raises(KeyboardInterrupt):
        watching._watch(hf, None, 100, 0.5, Objects())
    assert all(pause >= 10 for pause in rests)


# --- how it looks, and how it ends --------------------------------------------------------------------------


def command(url: str, namespace: str, *words: str) -> list[str]:
    told = ["--url", url, "--namespace", namespace, "--every", "100ms"]
    return [sys.executable, "-m", "holdfast.cli", "locks", "watch", *words, *told]


def lines(watch: Any, count: int) -> list[bytes]:
    """So many lines of what it prints."""
    killer = time.monotonic() + SECONDS
    found: list[bytes] = []
    while len(found) < count:
        ready, _, _ = select.select([watch.stdout], [], [], max(0.0, killer - time.monotonic()))
        assert ready, found
        found.append(watch.stdout.readline())
    return found


def test_json_is_a_line_for_each_change_until_ctrl_c(hf: Holdfast, place: Any, namespace: str):
    """Without it no program could follow what happens."""
    with subprocess.Popen(
        command(place.url, namespace, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as watch:
        with hf.lock("order:1", label="a"):
            (held,) = (json.loads(one) for one in lines(watch, 1))
        (free,) = (json.loads(one) for one in lines(watch, 1))
        watch.send_signal(signal.SIGINT)
        assert watch.wait(SECONDS) == 0
        assert watch.stderr is not None and watch.stderr.read() == b""
    assert (held["event"], held["name"], held["label"]) == ("held", "order:1", "a")
    assert (free["event"], free["held"]) == ("free", False)
    assert free["before"].endswith(":a") and free["lasted"] >= 0
    assert datetime.fromisoformat(free["at"]) >= datetime.fromisoformat(held["at"])


def test_it_ends_when_nobody_reads_any_more(hf: Holdfast, place: Any, namespace: str):
    """Without it `watch | head` would end with a traceback."""
    hf.execute("SET", hf.lock("a").key, "x")
    with subprocess.Popen(
        command(place.url, namespace), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as watch:
        assert b"a is held by another program" in lines(watch, 1)[0]
        assert watch.stdout is not None and watch.stderr is not None
        watch.stdout.close()
        hf.execute("DEL", hf.lock("a").key)
        assert watch.wait(SECONDS) == 0
        assert watch.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_on_a_terminal_it_is_a_table_that_changes(
    hf: Holdfast, place: Any, namespace: str, number: signal.Signals, code: int
):
    """Without it people would see lines run by, or be left without a cursor."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.execv(sys.executable, command(place.url, namespace))
    try:
        with hf.lock("order:1", label="a"):
            until_seen(terminal, r"1 lock held[\s\S]*ttl left[\s\S]*:a +order:1")
        until_seen(terminal, r"0 locks held[\s\S]*order:1 is free[\s\S]*Ctrl-C ends")
        os.kill(pid, number)
        rest = b""
        with contextlib.suppress(OSError):  # what Linux says at the end of a terminal
            while more := os.read(terminal, 65536):
                rest += more
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
        assert b"\x1b[?25h" in rest  # the cursor is back
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)


def until_seen(terminal: int, wanted: str) -> None:
    seen, give_up = "", time.monotonic() + SECONDS
    while not re.search(wanted, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)):
        ready, _, _ = select.select([terminal], [], [], max(0.0, give_up - time.monotonic()))
        assert ready, seen
        seen = (seen + os.read(terminal, 65536).decode("utf-8", "replace"))[-10_000:]


def test_a_server_that_goes_away_is_said_once_and_waited_for(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Without it a watch through a failover would end in the moment it is wanted most."""
    answers: list[Any] = [[], Unavailable("away"), Unavailable("away"), [], KeyboardInterrupt()]

    def look(_: Eye) -> list[Change]:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return list(answer)

    monkeypatch.setattr(Eye, "look", look)
    monkeypatch.setattr(watching, "_HEAR", 0.01)
    with pytest.raises(KeyboardInterrupt):
        watching._watch(hf, None, 100, 0.001, Plain(None))
    told = [line[10:] for line in capsys.readouterr().out.splitlines()]
    assert told == [
        "no lock is held; waiting for one",
        "the server does not answer; still trying: away",
        "the server answers again",
    ]


def test_a_rate_that_would_hammer_the_server_is_refused(place: Any, capsys: pytest.CaptureFixture[str]):
    """Without it `--every 0.001s` would do as it says."""
    assert main(["locks", "watch", "--url", place.url, "--every", "10ms"]) == 2
    assert "--every 10ms" in capsys.readouterr().err
