"""The demo's PostgreSQL ends with its owner, and with its guardian."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from holdfast.cli.demo.postgres import Postgres
from holdfast.errors import Unavailable

PATIENCE = 20.0


def served_from(home: Path) -> list[psutil.Process]:
    """Every process that works for the database in `home`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in word for word in process.info["cmdline"] or ()):
            found.append(process)
    return found


def test_stop_returns_when_it_is_gone_with_its_files():
    with Postgres() as postgres:
        home = postgres.home
        with psycopg.connect(postgres.dsn) as connection:
            assert connection.info.server_version >= 180_000
        assert served_from(home)
    assert not served_from(home)
    assert not home.exists()


@pytest.mark.parametrize("_", [0] if sys.platform == "linux" else [])
def test_it_dies_with_its_guardian(_: int):
    """Planted: without the death signal the database outlives its guardian."""
    postgres = Postgres()
    home = postgres.home
    os.kill(postgres._guardian.pid, signal.SIGKILL)
    give_up = time.monotonic() + PATIENCE
    while served_from(home) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not served_from(home)
    postgres.stop()
    assert not home.exists()


def test_a_database_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    broken = tmp_path / "bin"
    broken.mkdir()
    monkeypatch.setattr("holdfast.cli.demo.postgres._programs", lambda: broken)
    with pytest.raises(Unavailable, match="initdb|postgres"):
        Postgres()
