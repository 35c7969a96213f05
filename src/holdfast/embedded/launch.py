"""Starting an embedded server, or joining the one that runs already."""

from __future__ import annotations

import os
import random
import secrets
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.durations import Duration, seconds
from holdfast.embedded import certificates
from holdfast.embedded import line as lines
from holdfast.embedded.binary import find, find_tls
from holdfast.embedded.guardian import LOCK
from holdfast.embedded.server import Server
from holdfast.embedded.settings import settings, text
from holdfast.errors import ConfigurationError, Unavailable

_LONGEST = 100  # bytes of a socket's address: some systems allow 103 and cut off the rest in silence
_PORTS = range(10_000, 32_000)  # below those that systems hand out to clients
_PORT_TRIES = 20
_PAUSES = (0.005, 0.1)  # seconds, least and most, between two attempts to reach a guardian that comes or goes
DATA = ("appendonlydir", "appendonly.aof", "dump.rdb", "nodes.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What the caller asked for."""

    home: str | None
    config: Mapping[str, str]
    port: bool | int
    password: str | None
    binary: str
    tls: bool = False

    def plan(self) -> dict[str, Any]:
        """What a guardian needs to know to make the server, and what others who join will be told."""
        run = private_directory()
        port = free_port() if self.port is True else int(self.port)
        password = self.password if self.password is not None else secrets.token_urlsafe(24) if port else ""
        conf = settings(kept=self.home is not None, port=port, password=password, extra=self.config)
        also: dict[str, Any] = {}
        if self.tls:
            papers = certificates.issue()
            conf |= papers.settings(run, port)
            also = {"tls": True, "files": papers.files}
        return draw(conf, binary=self.binary, run=run, home=self.home, port=port, password=password, **also)

    def check(self, state: dict[str, Any]) -> None:
        """Refuse a server that is not what the caller asked for."""
        have = state["settings"]
        differing = [name for name, value in self.config.items() if have.get(name.lower()) != (value or '""')]
        if self.password is not None and self.password != state["password"]:
            differing.append("password")
        if self.port is not False and not (
            state["port"] if self.port is True else self.port == state["port"]
        ):
            differing.append("port")
        if self.tls and not state.get("tls"):
            differing.append("tls")
        if differing:
            raise ConfigurationError(
                f"the server of {self.home} runs already, with another {', '.join(differing)}"
            )


def start(
    path: str | os.PathLike[str] | None = None,
    *,
    config: Mapping[str, str] | None = None,
    port: bool | int = False,
    password: str | None = None,
    binary: str | os.PathLike[str] | None = None,
    tls: bool = False,
    timeout: Duration = "30s",
) -> Server:
    """Start a server, or join the one of the directory `path`, and return when it answers.

    `path`: where its data is kept, made if missing; None for a private server without persistence. `config`:
    lines of its configuration file, values as they stand there. `port`: listen on the loopback interface too,
    True for any free port. `password`: by default, a server with a port gets a random one, and one that has
    only its socket needs none, because nobody else may open that. `binary`: the program, see `find`. `tls`:
    talk TLS at that port, with certificates made for the server. `timeout`: seconds until it answers, with
    its data loaded.

    Who joins gets the server as it is; asking for something else is an error.

    Raises: ConfigurationError for what cannot work; Unavailable if there is no answer within `timeout`.
    """
    if tls and port is False:
        raise ConfigurationError("tls=True is for a server with a port: add port=True")
    wish = _Wish(
        home=None if path is None else directory(path),
        config=config or {},
        port=port,
        password=password,
        binary=find_tls(binary) if tls else find(binary),
        tls=tls,
    )
    patience = seconds(timeout, "timeout")
    give_up = time.monotonic() + patience
    ports, pause = _PORT_TRIES, _PAUSES[0]
    while time.monotonic() < give_up:
        server = _join(wish) or _found(wish)
        if server is None:
            time.sleep(pause)  # the directory's guardian is just coming up, or going
            pause = min(2 * pause, _PAUSES[1])
            continue
        try:
            server.await_ready(give_up)
            return server
        except Unavailable as error:
            server.stop()
            if "CONFIG FILE ERROR" in str(error):
                raise ConfigurationError(str(error)) from error
            if "already in use" not in str(error) or port is not True or not (ports := ports - 1):
                raise
    raise Unavailable(
        f"{wish.home} is in use, and the server there does not answer (waited {patience:g} s): "
        "does it belong to another host or container?"
    )


def draw(
    conf: Mapping[str, str],
    *,
    binary: str,
    run: str,
    home: str | None,
    port: int,
    password: str,
    more: str = "",
    **also: Any,
) -> dict[str, Any]:
    """The plan of a server for its guardian. `more`: lines whose names stand more than once; `also`: what few
    servers need.
    """
    address = f"{run}/server.sock"
    return {
        "binary": binary,
        "home": home or run,
        "run": run,
        "kept": home is not None,
        "wipe": DATA,
        "config": text(conf, home=home or run, socket_path=address) + more,
        "settings": dict(conf),
        "socket": address,
        "port": port,
        "password": password,
        **also,
    }


def _join(wish: _Wish) -> Server | None:
    """The server of the directory, if it has a guardian."""
    line = lines.join(wish.home) if wish.home else None
    if line is None:
        return None
    try:
        state = line.ask("start")
    except Unavailable:  # it is about to end
        return None
    try:
        wish.check(state)
    except ConfigurationError:
        line.leave()
        raise
    return Server(line, state)


def _found(wish: _Wish) -> Server | None:
    """A new server; None if somebody was faster."""
    line = lines.found(wish.plan())
    try:
        return Server(line, line.ask("status"))
    except lines.Busy:
        return None


def directory(path: str | os.PathLike[str]) -> str:
    """The directory `path` as an absolute name, made if missing.

    Raises: ConfigurationError if it cannot be written.
    """
    home = str(Path(path).absolute())
    try:
        Path(home).mkdir(mode=0o700, parents=True, exist_ok=True)
        with Path(home, LOCK).open("a"):  # tried, because permissions alone do not tell
            pass
    except OSError as error:
        raise ConfigurationError(f"embedded://{home}: cannot be written: {error.strerror}") from error
    return home


def private_directory() -> str:
    """A name for the directory of sockets, short enough for the kernel; the guardian makes it."""
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 (the name is random, and an existing one is refused)
        name = f"{base}/holdfast-{secrets.token_hex(6)}"
        if len(os.fsencode(name)) + len("/control.sock") < _LONGEST and os.access(base, os.W_OK):
            return name
    raise ConfigurationError(
        f"no place for a socket: {tempfile.gettempdir()!r} is too long for one, and /tmp cannot be "
        "written; set TMPDIR"
    )


def free_port() -> int:
    """A port that is free at this moment; should the server find it taken, `start` tries another."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
