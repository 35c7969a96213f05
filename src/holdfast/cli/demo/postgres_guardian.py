"""The guardian of the demo's PostgreSQL: makes it, owns it, ends it with its owner, and removes its files.

Our standard input is a socket to the owner. Its end is the end of the database, however the owner died: an
exit handler would not run under kill -9. If we are killed ourselves, the kernel ends the database (Linux).

    owner -> guardian   {"bin": folder of the programs, "home": folder to make}
    guardian -> owner   {"ready": true} or {"error": text}, then nothing more

PostgreSQL refuses to run as root; then it runs as `nobody`, from a copy of the programs if `nobody` cannot
read the installed ones (a virtual environment below /root).

Run as `python -I -S`; imports nothing of Holdfast.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 30.0  # seconds for initdb, and for the start
POLITE = 3.0  # seconds for an immediate shutdown, before SIGKILL

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # the data is thrown away with the demo
    "shared_buffers": "64MB",
    "max_connections": "150",
    "autovacuum": "off",  # no other work while we measure
    "log_min_messages": "warning",
}


def main() -> None:
    """Carry out the owner's plan until the owner is gone."""
    owner = socket.socket(fileno=0)
    for deaf in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(deaf, lambda *_: None)  # not SIG_IGN: PostgreSQL would inherit that
    with owner.makefile("rb") as lines:
        plan = json.loads(lines.readline() or b"null")
    if plan is None:
        return
    home = Path(plan["home"])
    server = None
    try:
        server = begin(Path(plan["bin"]), home)
        tell(owner, {"ready": True})
        while owner.recv(4096):
            pass
    except Exception as error:  # noqa: BLE001 (the owner is the place to report it)
        tell(owner, {"error": f"{type(error).__name__}: {error}"})
    finally:
        if server is not None:
            end(server)
        shutil.rmtree(home, ignore_errors=True)


def tell(owner: socket.socket, word: dict[str, Any]) -> None:
    """Tell the owner, if it is still there."""
    with contextlib.suppress(OSError):
        owner.sendall(json.dumps(word).encode() + b"\n")


def begin(programs: Path, home: Path) -> subprocess.Popen[Any]:
    """Make a database in `home` and return when it answers."""
    home.mkdir(0o700)
    who = whose(home)
    if who and not open_to_all(programs):
        programs = copied(programs, home / "programs")
    log = home / "log"
    data = home / "data"
    how: dict[str, Any] = {"cwd": home, "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, **who}
    with log.open("wb") as out:
        make: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
        ]
        make += ["--locale=C", "--no-sync", "--no-instructions"]
        if subprocess.run(make, stdout=out, timeout=PATIENCE, check=False, **how).returncode != 0:
            raise RuntimeError(f"initdb failed:\n{log.read_text(errors='replace')}")
        command: list[str | Path] = [programs / "postgres", "-D", data, "-k", home]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        server = subprocess.Popen(command, stdout=out, preexec_fn=die_with_us(), **how)  # noqa: PLW1509
    try:
        await_ready(server, data / "postmaster.pid", log)
    except BaseException:
        end(server)
        raise
    return server


def whose(home: Path) -> dict[str, Any]:
    """As whom PostgreSQL runs: as we do, or as `nobody` if we are root. `home` will be theirs."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def open_to_all(programs: Path) -> bool:
    """May everybody run the programs, through all the folders above them?"""
    path = (programs / "postgres").resolve()
    return all(one.stat().st_mode & 0o001 for one in (path, *path.parents))


def copied(programs: Path, to: Path) -> Path:
    """The programs where everybody can read them, with the libraries that their wheel keeps beside them."""
    install, package = programs.parent, programs.parent.parent
    site = package.parent
    for folder in ("bin", "lib", "share"):
        source = install / folder
        if source.is_dir():
            shutil.copytree(source, to / source.relative_to(site), symlinks=True)
    for libraries in (*site.glob(f"{package.name}.libs"), *package.glob(".dylibs")):
        shutil.copytree(libraries, to / libraries.relative_to(site))
    for path in (to, *to.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    return to / programs.relative_to(site)


def await_ready(server: subprocess.Popen[Any], state: Path, log: Path) -> None:
    """Return when the server's own note of its state ends with "ready"."""
    give_up = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            if state.read_text().rstrip().endswith("ready"):
                return
        if server.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.01)


def end(server: subprocess.Popen[Any]) -> None:
    """End the server at once, but let it give back its shared memory."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        server.send_signal(signal.SIGQUIT)
        server.wait(POLITE)
    server.kill()
    server.wait()


def die_with_us() -> Callable[[], None] | None:
    """What the server does before it starts, so that it dies with us; None where the kernel cannot."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG; a change of user would reset it, and came before
        if os.getppid() != parent:
            os._exit(1)

    return tie


if __name__ == "__main__":
    main()
