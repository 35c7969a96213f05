"""A server that speaks TLS, and the papers to meet it with: good ones, and every kind of bad one."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path
from typing import Any

import trustme

from holdfast.embedded.launch import free_port
from holdfast.testing.servers import available
from tests.wire.lab import Lab, until

NAMES = ("localhost", "127.0.0.1")
PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Papers:
    """Certificates in files: `ca`, `server`, `client`, `expired`, `stranger` (made out to another name), and
    `other_ca`, which signed none of them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(self.path("ca"))
        trustme.CA().cert_pem.write_to_path(self.path("other_ca"))
        self.issue("server", *NAMES)
        self.issue("client", "client.test")
        self.issue("stranger", "stranger.test")
        self.issue("expired", *NAMES, not_before=PAST, not_after=PAST + dt.timedelta(days=1))

    def issue(self, who: str, *names: str, **when: Any) -> None:
        """Make a certificate, and its key, for `who`."""
        paper = self.authority.issue_cert(*names, **when)
        for number, part in enumerate(paper.cert_chain_pems):
            part.write_to_path(self.path(who), append=number > 0)
        paper.private_key_pem.write_to_path(self.path(who, "key"))

    def path(self, who: str, kind: str = "pem") -> str:
        """The file."""
        return str(self.home / f"{who}.{kind}")


class TlsLab(Lab):
    """A Redis on a port with TLS, on one without, and on a unix socket for those who look behind it."""

    def __init__(self, home: Path, papers: Papers, *, server: str = "server", clients: str = "no") -> None:
        self.papers = papers
        self.port, self.plain_port = free_port(), free_port()
        self._server, self._clients = server, clients
        super().__init__(home)

    def start(self) -> None:
        settings = {
            "port": self.plain_port,
            "tls-port": self.port,
            "unixsocket": self.socket,
            "tls-ca-cert-file": self.papers.path("ca"),
            "tls-cert-file": self.papers.path(self._server),
            "tls-key-file": self.papers.path(self._server, "key"),
            "tls-auth-clients": self._clients,
            "save": "",
            "appendonly": "no",
            "dir": str(self._home),
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen([available()["redis"], *words], stdout=subprocess.DEVNULL)
        until(self._is_ready)

    def url(self, *, host: str = "localhost", ca: str | None = "ca", **options: str) -> str:
        """How to meet it."""
        if ca is not None:
            options["tls_ca"] = self.papers.path(ca)
        return f"rediss://{host}:{self.port}/0?" + "&".join(
            f"{key}={value}" for key, value in options.items()
        )

    def client_files(self) -> dict[str, str]:
        """The options that show a certificate of ours."""
        return {"tls_cert": self.papers.path("client"), "tls_key": self.papers.path("client", "key")}
