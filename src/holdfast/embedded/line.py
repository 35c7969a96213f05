"""The line from an owner to the guardian of its server: as long as it is open, the server lives.

A forked child does not own what its parent started: the line is closed in the child, so a worker that
outlives its parent cannot keep a server alive that nobody will stop. The child may *use* the server by its
address while the parent lives; to own one, it starts one itself (the same path joins the same server).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from holdfast.embedded.guardian import INFO
from holdfast.errors import ConfigurationError, HoldfastError, Unavailable

_GUARDIAN = str(Path(__file__).with_name("guardian.py"))
_ANSWER = 20.0  # seconds; a restart may wait for a polite end
_LEAVE = 15.0


class Busy(HoldfastError):
    """Another guardian has the directory: join it."""


class Line:
    """One owner's connection to a guardian. Thread-safe; closed with its last reference at the latest."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(_ANSWER)
        self._sock = sock
        self._turn = threading.Lock()
        _OPEN.add(sock)
        weakref.finalize(self, _shut, sock)

    @property
    def closed(self) -> bool:
        """Did this process give up its line, or never have it, being a fork of the one that did?"""
        return self._sock.fileno() < 0

    def tell(self, message: dict[str, Any]) -> None:
        """Send `message`."""
        try:
            self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise Unavailable(f"the guardian of the server is gone: {error}") from error

    def ask(self, do: str, **how: Any) -> dict[str, Any]:
        """The state of the server after the guardian did `do`.

        Raises: Busy; Unavailable if it could not, or is gone.
        """
        if self.closed:  # in a fork, the turn may belong to a thread that is not there
            raise Unavailable(
                "this process does not own the server: it was stopped, or started before a fork"
            )
        with self._turn:
            self.tell({"do": do, **how})
            answer = self._hear()
        if answer.get("busy"):
            raise Busy(answer["error"])
        if "error" in answer:
            raise Unavailable(f"the guardian could not {do} the server: {answer['error']}")
        return answer

    def _hear(self) -> dict[str, Any]:
        heard = b""
        try:
            while not heard.endswith(b"\n") and (chunk := self._sock.recv(65536)):
                heard += chunk
        except OSError as error:
            raise Unavailable(f"the guardian of the server does not answer: {error}") from error
        if not heard.endswith(b"\n"):
            raise Unavailable("the guardian of the server is gone")
        answer: dict[str, Any] = json.loads(heard)
        return answer

    def leave(self) -> None:
        """Stop owning the server; if nobody else does, return when it is gone, and its private files."""
        if self.closed:
            return
        with self._turn:
            try:
                self._sock.shutdown(socket.SHUT_WR)
                self._sock.settimeout(_LEAVE)
                while self._sock.recv(65536):  # the guardian's exit closes it
                    pass
            except TimeoutError as error:
                raise Unavailable(f"the server did not end within {_LEAVE:g} s") from error
            except OSError:
                return  # the guardian is gone, and its server with it
            finally:
                _shut(self._sock)


# To a fork in another thread, opening a line and noting it are one step, and so are closing it and forgetting
# it: a copy that the child does not know of would keep the server alive. Nothing slow happens in such a step,
# so a fork waits no longer than a system call takes. Re-entrant, because garbage collection may close a line
# anywhere.
_STEP = threading.RLock()
_OPEN: set[socket.socket] = set()


def _shut(sock: socket.socket) -> None:
    with _STEP:
        sock.close()
        _OPEN.discard(sock)


def _before_fork() -> None:
    _STEP.acquire()


def _in_parent() -> None:
    _STEP.release()


def _in_child() -> None:
    global _STEP  # noqa: PLW0603 (the old one may belong to a thread that is not there)
    _STEP = threading.RLock()
    for sock in list(_OPEN):
        _shut(sock)


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


def found(plan: dict[str, Any]) -> Line:
    """A line to a new guardian that carries out `plan`. It may turn out to be `Busy`."""
    python = interpreter()
    with _STEP:
        ours, theirs = socket.socketpair()
        line = Line(ours)
        _OPEN.add(theirs)
    standard = [
        (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:  # subprocess would wait for every child that another thread forks meanwhile: they inherit its pipe
        pid = os.posix_spawn(python, [python, "-I", "-S", _GUARDIAN], os.environ, file_actions=standard)
    finally:
        _shut(theirs)
    with contextlib.suppress(ChildProcessError):  # somebody else reaps the children of this process
        os.waitpid(pid, 0)  # ends at once: the guardian lets its own child take over
    line.tell(plan)
    return line


def join(home: str) -> Line | None:
    """A line to the guardian of the directory `home`; None if there is none, or just a dead one's files."""
    try:
        address = json.loads(Path(home, INFO).read_text(encoding="utf-8"))["control"]
    except PermissionError as error:
        raise ConfigurationError(f"{home} belongs to a server of another user: {error}") from error
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with _STEP:
        sock = socket.socket(socket.AF_UNIX)
        line = Line(sock)
    try:
        sock.connect(address)
    except (OSError, TypeError):
        _shut(sock)
        return None
    return line


def interpreter() -> str:
    """A Python to run the guardian with; where a program embeds Python, `sys.executable` is that program.

    Raises: ConfigurationError if there is none.
    """
    ours = None if getattr(sys, "frozen", False) else sys.executable  # a frozen program is no Python
    beside = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    for path in (ours, str(beside)):
        if path and Path(path).name.lower().startswith(("python", "pypy")) and os.access(path, os.X_OK):
            return path
    raise ConfigurationError(
        "embedded:// runs a small Python process beside the server, and this program brings no Python of "
        "its own; start a server yourself and name it: redis://..."
    )
