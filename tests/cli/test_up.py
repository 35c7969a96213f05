"""`holdfast up` as a user starts it: what it tells, what works meanwhile, and that nothing is left."""

from __future__ import annotations

import json
import os
import pty
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from holdfast import Holdfast
from holdfast.cli.__main__ import main
from holdfast.cli.up import screen
from holdfast.cli.up.arguments import split
from holdfast.cli.up.pages import table
from holdfast.cli.up.screen import Lines, Part, Terminal
from holdfast.cli.up.sights import Sight, changes

PATIENCE = 30.0
MARK = "HOLDFAST_TEST_MARK"
SMALL = ("sentinel", "--replicas", "1", "--sentinels", "1")


class Run:
    """A `holdfast up` in a process of its own, with a mark on everything it starts and a folder for its
    files. `terminal`: give it one, for its standard input and output.
    """

    def __init__(self, folder: Path, *arguments: str, terminal: bool = False) -> None:
        self.mark = secrets.token_hex(8)
        self.folder = folder
        self.screen, theirs = pty.openpty() if terminal else (-1, subprocess.PIPE)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.cli", "up", *arguments],
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs if terminal else subprocess.PIPE,
            env={**os.environ, MARK: self.mark, "TMPDIR": str(folder), "TERM": "xterm", "COLUMNS": "200"},
            preexec_fn=lambda: _before(terminal),
        )
        if terminal:
            os.close(theirs)

    def ready(self) -> Any:
        """What --json prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read().decode()
        return json.loads(line)

    def end(self, *signals: int) -> tuple[int, str, str]:
        """Send signals to it, and wait for its end."""
        for number in signals:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, (out or b"").decode(), (err or b"").decode()

    def type(self, line: str) -> None:
        """Type `line` at its terminal."""
        os.write(self.screen, f"{line}\n".encode())

    def await_text(self, *patterns: str) -> str:
        """Read its terminal until all `patterns` have been there; what it showed, without colours."""
        seen, give_up = "", time.monotonic() + PATIENCE
        while not all(re.search(pattern, seen) for pattern in patterns):
            assert time.monotonic() < give_up, f"it never showed {patterns}, but {seen}"
            if select.select([self.screen], [], [], 0.1)[0]:
                seen += re.sub(
                    r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(self.screen, 65536).decode(errors="replace")
                )
        return seen

    def left(self) -> list[str]:
        """What is still running or lying about, once everything had the time to end."""
        give_up = time.monotonic() + PATIENCE
        while (found := self.here()) and time.monotonic() < give_up:
            time.sleep(0.02)
        return found

    def here(self) -> list[str]:
        """What is running or lying about at this moment."""
        found = [str(path) for path in self.folder.glob("holdfast-*")]
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


def _before(terminal: bool) -> None:
    # A suite started in the background of a shell ignores Ctrl-C, and its children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if terminal:  # the terminal becomes the one that Ctrl-C comes from
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def up(folder: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs, and ends those that a failed test has forgotten."""
    runs: list[Run] = []

    def start(*arguments: str, terminal: bool = False) -> Run:
        runs.append(Run(folder, *arguments, terminal=terminal))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.communicate()
        if run.screen >= 0:
            os.close(run.screen)


# --- topologies ---

ROLES = {
    "single": {"primary": 1},
    "sentinel": {"primary": 1, "replica": 2, "sentinel": 3},
    "cluster": {"primary": 3, "replica": 3},
    "redlock": {"primary": 5},
}


@pytest.mark.parametrize("topology", ROLES)
def test_each_topology_serves_until_it_is_told_to_end(topology: str, up: Callable[..., Run]):
    run = up(topology, "--json")
    about = run.ready()
    assert Counter(node["role"].split()[0] for node in about["nodes"]) == ROLES[topology]
    assert about["pids"] == [node["pid"] for node in about["nodes"]]
    assert all(psutil.pid_exists(pid) for pid in about["pids"])
    assert len({node["port"] for node in about["nodes"]}) == len(about["nodes"])
    assert about["url"] == about["urls"][0]
    assert len(about["urls"]) == (5 if topology == "redlock" else 1)
    assert all(url in about["config"] for url in about["urls"])
    for url in about["urls"]:
        with Holdfast(url, timeout="10s") as hf:
            hf.execute("SET", "a", url)
            assert hf.execute("GET", "a") == url.encode()
    assert run.end(signal.SIGTERM) == (0, "", "")
    assert run.left() == []


def test_sizes_and_the_password_of_all_nodes_are_what_was_asked_for(up: Callable[..., Run]):
    nodes = up(*SMALL, "--password", "same", "--json").ready()["nodes"]
    assert [node["role"] for node in nodes] == ["primary", "replica", "sentinel"]
    for node in nodes:
        with redis.Redis(port=node["port"], password="same") as client:
            assert client.ping()


def test_the_end_comes_by_itself(up: Callable[..., Run]):
    run = up("--json", "--for", "0.2")
    run.ready()
    assert run.end() == (0, "", "")
    assert run.left() == []


def test_tls(up: Callable[..., Run]):
    run = up("--tls", "--json")
    url = run.ready()["url"]
    assert url.startswith("rediss://")
    with Holdfast(url) as hf:
        assert hf.execute("PING") == b"PONG"
    with pytest.raises(redis.RedisError), redis.Redis.from_url(f"redis{url[6:]}".partition("?")[0]) as plain:
        plain.ping()
    run.end(signal.SIGTERM)
    assert run.left() == []


@pytest.mark.parametrize(
    ("arguments", "password"), [(["--password", "s3 cr:et@ü"], "s3 cr:et@ü"), (["--no-password"], None)]
)
def test_the_password_is_the_one_that_was_given(
    arguments: list[str], password: str | None, up: Callable[..., Run]
):
    node = up(*arguments, "--json").ready()["nodes"][0]
    with redis.Redis(port=node["port"], password=password) as client:
        assert client.ping()
    if password:
        with pytest.raises(redis.AuthenticationError), redis.Redis(port=node["port"]) as client:
            client.ping()


def test_data_is_kept_for_the_next_time(folder: Path, up: Callable[..., Run]):
    keep = folder / "data"
    for found in (None, b"kept"):
        run = up("--keep", str(keep), "--json")
        with Holdfast(run.ready()["url"]) as hf:
            assert hf.execute("GET", "a") == found
            hf.execute("SET", "a", "kept")
        assert run.end(signal.SIGTERM)[0] == 0
        assert run.left() == []


def test_sentinels_nodes_leave_their_data_and_want_a_new_directory(
    folder: Path, up: Callable[..., Run], capsys: pytest.CaptureFixture[str]
):
    keep = folder / "data"
    run = up(*SMALL, "--keep", str(keep), "--json")
    run.ready()
    assert run.end(signal.SIGTERM)[0] == 0
    assert (keep / "node-1" / "server.log").exists()
    assert main(["up", *SMALL, "--keep", str(keep)]) == 2
    assert "is not empty" in capsys.readouterr().err


# --- a command ---


def test_a_command_finds_the_servers_and_its_exit_code_is_ours(up: Callable[..., Run]):
    code = "import os, sys; print(os.environ['HOLDFAST_URL'], os.environ['HOLDFAST_URLS']); sys.exit(7)"
    run = up("redlock", "--count", "3", "--password", "x", "--", sys.executable, "-c", code)
    exit_code, out, err = run.end()
    assert exit_code == 7
    assert "redlock is ready in" in err
    first, *urls = out.split()
    assert len(urls) == 3
    assert first == urls[0]
    assert run.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_handed_to_the_command_and_its_end_is_ours(number: int, up: Callable[..., Run]):
    code = """
import os, signal, sys, time, holdfast
def end(number, frame):
    with holdfast.Holdfast() as hf:  # the server is still there
        print(number, hf.execute("PING"), flush=True)
    sys.exit(40 + number)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
os.write(1, b"waits\\n")  # not print: the handler prints, perhaps in the middle of it
time.sleep(60)
"""
    run = up("--", sys.executable, "-c", code)
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == b"waits\n"
    exit_code, out, err = run.end(number)
    assert (exit_code, out) == (40 + number, f"{int(number)} b'PONG'\n")
    assert "Traceback" not in err
    assert run.left() == []


def test_ctrl_c_at_a_terminal_reaches_the_command_once(up: Callable[..., Run]):
    """Planted: handed on in every case, it comes twice, and a pytest would give up tidying."""
    code = """
import signal, time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print("waits", flush=True)
while not got:
    time.sleep(0.01)
time.sleep(0.3)
print(f"got {len(got)}.")
"""
    run = up("--", sys.executable, "-c", code, terminal=True)
    run.await_text("waits")
    os.write(run.screen, b"\x03")
    run.await_text("got 1[.]")
    assert run.process.wait(PATIENCE) == 0


def test_a_command_that_is_killed_ends_as_a_shell_would_say_it(up: Callable[..., Run]):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert up("--", sys.executable, "-c", code).end()[0] == 128 + signal.SIGKILL


# --- the end ---


def test_kill_9_leaves_nothing(up: Callable[..., Run]):
    run = up(*SMALL, "--json")
    pids = run.ready()["pids"]
    run.end(signal.SIGKILL)
    assert run.left() == []
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_ctrl_c_ends_everything_and_twice_makes_no_mess(up: Callable[..., Run]):
    """Planted: with open ears, the second one leaves the end half done."""
    run = up("--json")
    guardian = psutil.Process(psutil.Process(run.ready()["pids"][0]).ppid())
    guardian.suspend()  # so the end takes as long as we like
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    guardian.resume()
    code, _, err = run.end()
    assert (code, err) == (130, "holdfast: stopped; nothing is left running\n")
    assert run.here() == []  # at once: it waits for them


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_may_be_ended_while_it_starts(number: int, code: int, up: Callable[..., Run]):
    run = up("redlock")
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == b"- starting 5 servers\n"
    exit_code, _, err = run.end(number)
    assert exit_code == code
    assert "Traceback" not in err
    assert run.left() == []


# --- what people see ---


def test_plain_lines_where_there_is_no_terminal(up: Callable[..., Run]):
    code, out, err = up("--for", "0.1", "--password", "pass").end()
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    lines = out.splitlines()
    (url,) = [line for line in lines if line.startswith("redis://:pass@127.0.0.1:")]
    assert f"export HOLDFAST_URL={url}" in lines
    assert f'url: "{url}"' in lines
    assert lines[-1] == "ended; nothing is left running"


def test_what_happens_is_told_and_what_is_typed_is_done(up: Callable[..., Run]):
    run = up(*SMALL, terminal=True)
    run.await_text(r"ready in \d", "1  node-1 +primary", "\n> ")
    run.type("kill 1")
    run.await_text(r"node-1 \(127.0.0.1:\d+\) is gone", r"node-2 \(127.0.0.1:\d+\) is now the primary")
    run.type("freeze node-1")
    run.await_text("node-1 does not run; restart it first")
    run.type("restart node-1")
    run.await_text(r"node-1 .* is back, with pid \d+")
    run.type("freeze 2")
    run.await_text(r"node-2 .* is frozen")
    run.type("list")
    run.await_text("2  node-2 .* frozen")
    run.type("resume 2")
    run.await_text("node-2 .* answers again")
    run.type("help")
    run.await_text("without warning", "so does Ctrl-C")
    run.type("kill 9")
    run.await_text("kill which one[?] 1 to 3")
    run.type("dance")
    run.await_text("'dance' is nothing I know")
    run.type("quit")
    run.await_text("ended; nothing is left running")
    assert run.process.wait(PATIENCE) == 0
    assert run.left() == []


def test_who_stops_a_node_from_elsewhere_sees_it_and_that_all_is_well_again(up: Callable[..., Run]):
    run = up(terminal=True)
    pid = int(re.findall(r"server +primary +127.0.0.1:\d+ +(\d+)", run.await_text("\n> "))[0])
    os.kill(pid, signal.SIGSTOP)
    run.await_text("server .* does not answer")
    os.kill(pid, signal.SIGCONT)
    run.await_text("server .* answers again", "all is well again")
    os.write(run.screen, b"\x03")  # Ctrl-C
    run.await_text("holdfast: stopped; nothing is left running")
    assert run.process.wait(PATIENCE) == 130


def test_the_end_of_the_terminal_is_the_end_of_it(up: Callable[..., Run]):
    run = up(terminal=True)
    run.await_text("\n> ")
    os.close(run.screen)
    run.screen = -1
    assert run.process.wait(PATIENCE) == 0
    assert run.left() == []


@pytest.mark.parametrize(("rich", "kind"), [(object(), Terminal), (None, Lines)])
def test_without_rich_a_terminal_gets_plain_lines(rich: Any, kind: type, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(screen, "find_spec", lambda _: rich)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert type(screen.for_people()) is kind


def sight(state: Any = "up", role: str = "replica", pid: int | None = 1) -> Sight:
    return Sight("127.0.0.1:1", role, None if state == "gone" else pid, state)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (sight(), sight(), []),
        (sight(), sight("gone"), ["a (127.0.0.1:1) is gone"]),
        (sight("gone"), sight("gone", role="primary without slots"), []),
        (sight("gone"), sight(pid=2), ["a (127.0.0.1:1) is back, with pid 2"]),
        (sight(pid=1), sight(pid=2), ["a (127.0.0.1:1) was restarted, with pid 2"]),
        (sight(), sight("silent"), ["a (127.0.0.1:1) does not answer"]),
        (sight("silent"), sight("frozen"), ["a (127.0.0.1:1) is frozen"]),
        (sight("frozen"), sight(), ["a (127.0.0.1:1) answers again"]),
        (sight(), sight(role="primary"), ["a (127.0.0.1:1) is now the primary"]),
        (sight(role="primary"), sight(role="replica of b"), ["a (127.0.0.1:1) is now a replica of b"]),
    ],
)
def test_changes_in_sentences(before: Sight, after: Sight, said: list[str]):
    assert changes({"a": before}, {"a": after}) == said


def test_columns_are_aligned_and_the_dead_have_no_pid():
    sights = {f"node-{i}": sight("gone" if i == 9 else "up", pid=10**i) for i in range(12)}
    lines = [
        "".join(part.text if isinstance(part, Part) else part for part in line) for line in table(sights)
    ]
    assert len({len(line) for line in lines}) == 1
    assert len({line.index("127.0.0.1") for line in lines[1:]}) == 1
    assert lines[10].rstrip().endswith("-  gone")


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--replicas", "2"], "--replicas 2 is for sentinel and cluster, not for single"),
        (["cluster", "--sentinels", "3"], "--sentinels 3 is for sentinel, not for cluster"),
        (["redlock", "--primaries", "3"], "--primaries 3 is for cluster, not for redlock"),
        (["sentinel", "--count", "5"], "--count 5 is for redlock, not for sentinel"),
        (["cluster", "--keep", "here"], "`single` goes on with the data that is there"),
        (["sentinel", "--keep", "/"], "is not empty"),
        (["cluster", "--primaries", "2"], "primaries=2 must be a number from 3"),
        (["--for", "0"], "--for 0: it takes seconds, more than 0"),
        (["--for", "nan"], "--for nan"),
        (["--for", "1", "--", "true"], "a command behind -- ends by itself"),
        (["--json", "--", "true"], "HOLDFAST_URL"),
        (["--"], "there is no command behind --"),
        (["--", "no-such-program"], "'no-such-program': there is no such program"),
        (["--binary", "/no/such"], "there is no such program"),
        (["sentinel", "--password", "a b"], "sentinels cannot keep blanks"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["up", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sentinal"], "invalid choice: 'sentinal'"),
        (["--password", "a", "--no-password"], "not allowed with"),
        (["cluster", "pytest"], "unrecognized arguments: pytest"),
    ],
)
def test_what_argparse_refuses(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(["up", *arguments])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"]])
def test_help_names_the_topologies(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert "sentinel" in capsys.readouterr().out


def test_what_stands_behind_two_dashes_is_the_commands():
    assert split(["up", "--", "pytest", "--", "-x"]) == (["up"], ("pytest", "--", "-x"))
    assert split(["up", "--tls"]) == (["up", "--tls"], None)
