"""The demo as a user starts it: what it reports, and that it leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from holdfast import embedded

PATIENCE = 20.0
MARK = "HOLDFAST_TEST_MARK"


class Run:
    """A demo in a process of its own, with a mark on everything it starts and a folder for its files."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.mark = secrets.token_hex(8)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.cli", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: self.mark, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
            # A suite started in the background of a shell ignores Ctrl-C, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=50)
        return self.process.returncode, out, err

    def await_line(self, part: str) -> None:
        """Read what it prints up to a line with `part`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if part in line:
                return
        raise AssertionError(
            f"it never printed {part!r}: {self.process.stderr and self.process.stderr.read()}"
        )

    def left(self) -> list[str]:
        """What is still running or lying about, once everything had the time to end."""
        give_up = time.monotonic() + PATIENCE
        while (found := self.here()) and time.monotonic() < give_up:
            time.sleep(0.05)
        return found

    def here(self) -> list[str]:
        """What is running or lying about at this moment."""
        return [*self.running(), *(str(path) for path in self.folder.iterdir())]

    def running(self) -> list[str]:
        """The command lines of every process with our mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because sockets are made in it, and open, because PostgreSQL runs as another user under root."""
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def check_holdfast(phase: dict[str, Any]) -> None:
    assert phase["way"] == "holdfast"
    assert (phase["stale"], phase["errors"], phase["lies"]) == (0, 0, [])
    assert phase["reads"] > phase["loads"] > 0
    assert phase["updates"] > 0


def test_a_short_demo(folder: Path):
    run = Run(folder, "--seconds", "7.5", "--processes", "2", "--json")
    code, out, err = run.end()
    assert (code, err) == (0, "")
    report = json.loads(out)
    database, textbook, holdfast = report["phases"]
    check_holdfast(holdfast)
    assert report["ok"]
    assert report["speedup"] == holdfast["reads_per_second"] / database["reads_per_second"] > 1
    assert (database["stale"], database["errors"], database["hit_ratio"]) == (0, 0, None)
    assert database["connections"] == 8  # two processes, four threads
    assert textbook["errors"] == 0
    assert textbook["updates"] > 0
    assert 0 < textbook["hit_ratio"] < 1
    for lie in textbook["lies"]:
        assert lie["newer"] == lie["served"] + 1
        assert lie["committed"] <= lie["since"] < lie["until"] <= time.time()
    assert textbook["stale"] == sum(lie["reads"] for lie in textbook["lies"])
    outage = holdfast["outage"]
    assert outage["reads"] > 0
    assert (outage["stale"], outage["errors"]) == (0, 0)
    assert outage["connections"] <= outage["limit"] == 4
    assert run.left() == []


def test_on_a_server_of_the_user_which_is_not_killed_and_not_littered(folder: Path):
    with embedded.start(port=True) as server, redis.Redis.from_url(server.url) as client:
        client.set("holdfast", "the user's own")
        pid = server.pid
        run = Run(folder, "--seconds", "3", "--processes", "1", "--url", server.url)
        code, out, err = run.end()
        assert (code, err) == (0, "")
        assert "Your server was not killed" in out
        assert "pages = hf.cache(" in out
        assert server.pid == pid
        assert client.keys() == [b"holdfast"]
    assert run.left() == []


def test_ctrl_c_ends_everything(folder: Path):
    run = Run(folder, "--seconds", "60")
    run.await_line("database only")
    assert any("postgres" in name for name in run.running())
    run.process.send_signal(signal.SIGINT)
    code, _, err = run.end()
    assert code == 130
    assert "Traceback" not in err
    assert run.here() == []  # at once: it waits for them


def test_kill_9_ends_everything_too(folder: Path):
    run = Run(folder, "--seconds", "60")
    run.await_line("database only")
    assert any("cli.demo.worker" in name for name in run.running())
    run.process.kill()
    run.end()
    assert run.left() == []


def test_kill_9_of_a_worker_ends_the_demo_with_a_word(folder: Path):
    run = Run(folder, "--seconds", "60", "--processes", "1")
    run.await_line("database only")
    workers = [
        one for one in psutil.Process(run.process.pid).children() if "cli.demo.worker" in str(one.cmdline())
    ]
    workers[0].kill()
    code, _, err = run.end()
    assert code == 1
    assert "a worker process ended" in err
    assert run.left() == []
