"""The guardian: a small process that owns one server and surely ends it.

Why a process of its own? What an owner does at its exit is not done when it is killed with -9 or crashes. The
kernel's "signal me when my parent dies" follows the *thread* that started the child, so a server started in a
thread pool would die with that thread. A process that waits for the end of a connection has neither flaw: the
kernel closes the connection of a dead owner, however it died.

  * Each owner holds one connection: the first one's is our standard input, later ones come through a socket.
    The end of the last connection is the end of the server and of us: no counter that a crash could leave
    wrong.
  * The server dies with us (Linux): our only thread started it, so "when my parent dies" means what it says.
  * Commands are lines of JSON, each answered by the server's state. An owner never signals a process by
    number; only we do, and no other process gets that number before we have reaped ours.
  * A file lock, held as long as we live, says that a directory is in use. The kernel frees it when we die:
    what a crash leaves behind is litter, never an obstacle.

Run as `python -I -S guardian.py` by line.py. It imports nothing of Holdfast, so it is up in a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

LOCK = "holdfast.lock"
INFO = "holdfast.json"
LOG = "server.log"
CONTROL = "control.sock"
RUN_NAME = re.compile(r"holdfast-[0-9a-f]{12}")

POLITE = 10.0  # seconds a server with data gets for flushing its log before it is killed
ANSWER = 5.0  # seconds an owner may take to read an answer; a frozen one must not stop us
LITTER = 60.0  # seconds; a younger directory without a guardian may just be coming up


class Refusal(Exception):
    """Something the owner has to be told; `busy` means that another guardian owns the directory."""

    def __init__(self, text: str, *, busy: bool = False) -> None:
        super().__init__(text)
        self.busy = busy


class Guardian:
    """One server, its owners, and the directories it lives in.

    `plan`: binary, home (for data), run (for sockets and settings; we make and remove it), config (text),
    kept (is there data to keep?), wipe (what an empty restart removes), arguments (of the program), files
    (texts to write beside the settings, by name), and whatever else owners shall learn from `state`.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.home = Path(plan["home"])
        self.run = Path(plan["run"])
        self.owners: dict[socket.socket, bytes] = {}
        self.selector = selectors.DefaultSelector()
        self.locks: list[int] = []
        self.server: subprocess.Popen[bytes]
        self.tie = death_of_parent()

    # --- life ---

    def live(self, first: socket.socket) -> None:
        """Start the server and keep it until the last owner is gone."""
        self.run.mkdir(0o700)
        try:
            self.locks.append(lock(self.run / LOCK))
            if self.home != self.run:
                self.locks.append(lock(self.home / LOCK))
            for name, text in self.plan.pop("files", {}).items():  # owners need not be told
                self.write(self.run / name, text)
            self.spawn("wb")
            self.open_doors(first)
            while self.owners:
                for key, _ in self.selector.select():
                    key.data(key.fileobj)
        finally:
            self.end()
            sweep(self.run.parent)

    def end(self) -> None:
        """End the server, then remove what was made for it; the locks go with the process."""
        if self.home != self.run and len(self.locks) == 2:
            with contextlib.suppress(OSError):
                (self.home / INFO).unlink()  # first: nobody new shall knock
        if hasattr(self, "server"):
            self.end_server()
        shutil.rmtree(self.run, ignore_errors=True)

    def open_doors(self, first: socket.socket) -> None:
        """Listen to the first owner, to newcomers, and to the end of the server (which has to be reaped)."""
        control = str(self.run / CONTROL)
        door = socket.socket(socket.AF_UNIX)
        door.bind(control)
        door.listen(64)
        self.selector.register(door, selectors.EVENT_READ, self.welcome)
        awake, wake = socket.socketpair()
        for end in (awake, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self.wake = wake  # a socket nobody refers to is closed
        self.selector.register(awake, selectors.EVENT_READ, self.reap)
        if self.home != self.run:
            self.write(self.home / INFO, json.dumps({"control": control, "guardian": os.getpid()}))
        self.adopt(first)

    def write(self, path: Path, text: str) -> None:
        """Write a file that is seen whole or not at all."""
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)

    # --- owners ---

    def welcome(self, door: socket.socket) -> None:
        """A process knocks."""
        with contextlib.suppress(OSError):
            self.adopt(door.accept()[0])

    def adopt(self, owner: socket.socket) -> None:
        """Count `owner` in and answer its first command."""
        owner.settimeout(ANSWER)
        self.owners[owner] = b""
        self.selector.register(owner, selectors.EVENT_READ, self.hear)

    def hear(self, owner: socket.socket) -> None:
        """An owner speaks, or is gone."""
        try:
            chunk = owner.recv(65536)
            *lines, rest = (self.owners[owner] + chunk).split(b"\n")
            self.owners[owner] = rest
            for line in lines:
                owner.sendall(json.dumps(self.answer(json.loads(line))).encode() + b"\n")
        except (OSError, ValueError):  # it died in mid-sentence, stopped reading, or talks nonsense
            chunk = b""
        if not chunk:
            del self.owners[owner]
            self.selector.unregister(owner)
            if self.owners:
                owner.close()
            else:
                self.last = owner  # closes with our exit: so this owner, if alive, learns that all is done

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked and return the state after it."""
        do: Callable[..., None] | None = VERBS.get(command.pop("do", ""))
        if do is None:
            return {"error": "unknown command"}
        try:
            do(self, **command)
        except Exception as error:  # noqa: BLE001 (told to the owner, who can do something about it)
            return {"error": f"{type(error).__name__}: {error}"}
        return self.state()

    def state(self) -> dict[str, Any]:
        """What an owner may know: the plan, and how the server is."""
        code = self.server.poll()
        return {
            **self.plan,
            "guardian": os.getpid(),
            "pid": self.server.pid if code is None else None,
            "exit": code,
        }

    # --- the server ---

    def spawn(self, mode: str = "ab") -> None:
        """Start the server, tied to our life where the kernel can."""
        settings = self.run / "server.conf"
        if not settings.exists():  # a sentinel's holds what it has learnt, so it lasts unless it is wiped
            self.write(settings, self.plan["config"])
        with (self.home / LOG).open(mode) as log:
            self.server = subprocess.Popen(
                [self.plan["binary"], settings, *self.plan.get("arguments", ())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                preexec_fn=self.tie,  # noqa: PLW1509 (safe: we have one thread)
            )

    def end_server(self) -> None:
        """End the server: with data, politely at first; without, at once."""
        if self.plan["kept"] and self.server.poll() is None:
            self.server.send_signal(signal.SIGCONT)  # a frozen one would never hear the request
            self.server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(POLITE)
        self.kill()

    def reap(self, awake: socket.socket) -> None:
        """A child has ended: take note at once, so that no zombie looks like a server."""
        with contextlib.suppress(BlockingIOError):
            awake.recv(4096)
        self.server.poll()

    def status(self) -> None:
        """Change nothing."""

    def kill(self) -> None:
        """End the server without warning, and wait until it is gone."""
        self.server.kill()
        self.server.wait()

    def freeze(self) -> None:
        """Stop the server in its tracks: it keeps its connections and answers nothing."""
        if self.server.poll() is not None:
            raise Refusal("it does not run")
        self.server.send_signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # the signal takes a moment to arrive
            os.waitid(os.P_PID, self.server.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self.server.send_signal(signal.SIGCONT)

    def start(self) -> None:
        """Start the server again if it does not run."""
        if self.server.poll() is not None:
            self.spawn()

    def restart(self, *, empty: bool = False) -> None:
        """End the server if it runs, remove its data if asked to, start it at the same addresses."""
        self.end_server()
        for path in [place / name for name in self.plan["wipe"] for place in (self.home, self.run)] * empty:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.spawn()


VERBS: dict[str, Callable[..., None]] = {
    "status": Guardian.status,
    "kill": Guardian.kill,
    "freeze": Guardian.freeze,
    "resume": Guardian.resume,
    "start": Guardian.start,
    "restart": Guardian.restart,
}


def lock(path: Path) -> int:
    """Lock the file at `path` for as long as this process lives."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Refusal(f"{path} is locked", busy=True) from None
    return fd


def sweep(folder: Path) -> None:
    """Remove what killed guardians left in `folder`: directories of ours whose lock is free."""
    for path in folder.glob("holdfast-*"):
        with contextlib.suppress(OSError, Refusal):
            about = path.lstat()
            old = stat.S_ISDIR(about.st_mode) and about.st_mtime < time.time() - LITTER
            if old and about.st_uid == os.geteuid() and RUN_NAME.fullmatch(path.name):
                os.close(lock(path / LOCK))
                shutil.rmtree(path, ignore_errors=True)


def death_of_parent() -> Callable[[], None] | None:
    """What the server does between fork and exec so that it dies with us; None where the kernel cannot."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (ImportError, OSError, AttributeError):
        return None  # the connections alone then guard the server
    parent = os.getpid()

    def tie() -> None:
        prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # we died before the kernel was told
            os._exit(1)

    return tie


def main() -> NoReturn:
    """Take the plan from the first owner, become nobody's child, and guard."""
    first = socket.socket(fileno=0)
    first.setblocking(True)  # a deadline in the process that made it has made it non-blocking
    if os.fork():
        os._exit(0)  # so the owner has no child to reap, and no SIGCHLD when we end
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what the owner let its children inherit is not for us
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the owner's thread may have blocked what we need
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(name, lambda *_: None)  # not SIG_IGN: the server would inherit that and be deaf too
    try:
        with first.makefile(
            "rb", buffering=0
        ) as lines:  # unbuffered: what follows the plan is not ours to take
            plan = json.loads(lines.readline() or b"null")
        if plan is not None:
            Guardian(plan).live(first)
    except Exception as error:  # noqa: BLE001 (there is no other place to report it)
        word = {"error": f"{type(error).__name__}: {error}", "busy": getattr(error, "busy", False)}
        with contextlib.suppress(OSError):
            first.sendall(json.dumps(word).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
