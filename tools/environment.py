#!/usr/bin/env python3
"""Makes the virtual environment that a make target needs, once: run by make with whatever python3 there is.

    tools/environment.py .venv test        make .venv if it is not there, and install what `make test` needs

Nothing is taken for granted but Python: uv is used where it is installed, else venv and pip. A stamp in the
environment says for which pyproject.toml and constraints.txt it was made. This file must run, and complain,
on any Python 3 still about, so it is written for 3.6.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Tuple

ROOT = Path(__file__).resolve().parent.parent
LEAST = (3, 11)
OTHERS = ("python3.13", "python3.12", "python3.11", "python3.14")  # tried in this order if python3 is too old
EVERY_EXTRA = (
    "demo,embedded,yaml,cli,prometheus,fastapi,starlette,flask,uvloop,tls,sqlalchemy,django,"
    "zstd,eventsourcing"
)  # target: (extras of the package, dependency groups)
SETS: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "demo": ("demo", ()),
    "test": (EVERY_EXTRA, ("test",)),
    "lint": (EVERY_EXTRA, ("test", "lint", "bench")),
    "docs": (EVERY_EXTRA, ("docs",)),
    "bench": (EVERY_EXTRA, ("bench",)),
}


def main(name: str, target: str) -> None:
    """Make the environment `name` ready for `target`."""
    os.chdir(str(ROOT))
    venv = Path(name)
    python = str(venv / "bin" / "python")
    if not runs(python):
        make(venv)
    stamp, wanted = venv / f"installed-{target}", fingerprint()
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"installing what `make {target}` needs into {name}; this is done once")
        install(python, *SETS[target])
        stamp.write_text(wanted)


def make(venv: Path) -> None:
    """Make an empty environment, with the interpreter in $PYTHON or the first that is new enough."""
    asked = os.environ.get("PYTHON")
    candidates = (asked,) if asked else (sys.executable, *OTHERS)
    base = next((one for one in candidates if runs(one)), "")
    if not base:
        least = ".".join(map(str, LEAST))
        tried = " nor ".join(candidates)
        fail(f"this needs Python {least}, which is not {tried}; name one: make ... PYTHON=/path/to/python3")
    say(f"making {venv} with {base}")
    shutil.rmtree(str(venv), ignore_errors=True)
    if subprocess.call([base, "-m", "venv", str(venv)]) == 0:
        return
    shutil.rmtree(str(venv), ignore_errors=True)
    uv = shutil.which("uv")  # Debian ships Python without venv
    if uv is None or subprocess.call([uv, "venv", "--seed", "--python", base, str(venv)]) != 0:
        fail(f"{base} cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv")


def install(python: str, extras: str, groups: Tuple[str, ...]) -> None:
    """Install the package in place with `extras`, and `groups`, in the versions of constraints.txt."""
    what = ["-c", "constraints.txt", "-e", f".[{extras}]"]
    for group in groups:
        what += ["--group", group]
    uv = shutil.which("uv")
    if uv is not None:
        if subprocess.call([uv, "pip", "install", "--python", python, *what]) == 0:
            return
        say("uv could not (it may not know this machine's mirror): trying pip")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    for arguments in (
        ["-q", "-c", "constraints.txt", "pip>=25.1"],
        what,
    ):  # a new Python may bring an old pip
        if subprocess.call(pip + arguments) != 0:
            fail("the installation failed; what pip says above tells why")


def runs(python: str) -> bool:
    """Is `python` there, does it start (a shim may not), and is it new enough?"""
    probe = f"import sys; sys.exit(sys.version_info < {LEAST})"
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.call([python, "-c", probe], stdout=nowhere, stderr=nowhere) == 0
    except OSError:
        return False


def fingerprint() -> str:
    """What an environment depends on, as a digest."""
    names = ("pyproject.toml", "constraints.txt", "tools/environment.py")
    return hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in names)).hexdigest()


def say(text: str) -> None:
    """Tell the user what takes so long."""
    print(f"==> {text}", flush=True)


def fail(text: str) -> None:
    """Stop, with one sentence."""
    sys.exit(f"==> {text}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in SETS:
        fail(f"usage: tools/environment.py VENV {'|'.join(SETS)}")
    main(*sys.argv[1:])
