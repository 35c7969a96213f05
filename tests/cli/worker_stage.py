"""What the tests of `holdfast worker` have in common."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from holdfast.cli.worker.options import Options
from holdfast.cli.worker.supervisor import Supervisor
from holdfast.embedded import Server

PATIENCE = 30.0
APP = Path(__file__).with_name("worker_app.py")


def until(found: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What `found` returns, once that is something."""
    give_up = time.monotonic() + patience
    while not (result := found()):
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.01)
    return result


class Worker:
    """A `holdfast worker` in a process of its own; its program is in `folder`."""

    def __init__(self, folder: Path, url: str, *arguments: str, **environment: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.cli", "worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "HOLDFAST_URL": url, "COLUMNS": "200", **environment},
        )

    def said(self, what: str) -> list[int]:
        """The processes that have said `what`, in this order."""
        file = self.folder / "said"
        lines = file.read_text().splitlines() if file.exists() else []
        return [int(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == what]

    def await_said(self, what: str, times: int = 1) -> list[int]:
        """As `said`, once it was said so often."""
        until(lambda: len(self.said(what)) >= times or self.process.poll() not in {None, -signal.SIGKILL})
        assert len(self.said(what)) == times, self.process.poll() is not None and self.process.communicate()
        return self.said(what)

    def finish(self) -> None:
        """Let what is in work end."""
        (self.folder / "done").touch()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: the exit code, what it wrote, its log."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def close(self) -> None:
        """End it, and whatever it has left."""
        self.process.kill()
        for pid in set(self.said("imported")) & children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ValueError):  # it was read to its end already
            self.process.communicate()


def children() -> set[int]:
    """Every process that a supervisor has started."""
    found = set()
    for one in psutil.process_iter(["pid", "cmdline", "status"]):
        about = one.info
        if (
            "holdfast.cli.worker.child" in (about["cmdline"] or ())
            and about["status"] != psutil.STATUS_ZOMBIE
        ):
            found.add(about["pid"])
    return found


def answer(url: str) -> tuple[int, Any]:
    """The status of a GET, and its body."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as reply:
            code, text = reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            code, text = error.code, error.read().decode()
    return code, json.loads(text) if text.startswith("{") else text


def port(out: Any) -> str:
    """Where the health of a worker is answered, as its first lines say."""
    for line in out:
        if "http://" in line:
            return str(line.split()[-1]).removesuffix("/health")
    raise AssertionError("it never said where")


def prepared(folder: Path) -> Path:
    """Puts the program into `folder`."""
    shutil.copy(APP, folder / "shop.py")
    return folder


def supervised(folder: Path, monkeypatch: pytest.MonkeyPatch, server: Server, **options: Any) -> Supervisor:
    """A supervisor in this process, so that its patience can be set."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOLDFAST_URL", server.url)
    return Supervisor(Options(target="shop:hf", processes=2, **options), lambda _: None)
