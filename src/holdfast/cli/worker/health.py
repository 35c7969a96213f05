"""Where others ask how the worker is: GET /health, /alive and /metrics."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Protocol, Self

from holdfast.cli.worker import rules
from holdfast.errors import ConfigurationError

log = logging.getLogger("holdfast.worker")

PATIENCE = 3.0  # seconds that a process, or its server, has to answer
_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Watched(Protocol):
    """Who can be asked: one process, or the supervisor of several."""

    def processes(self) -> list[Mapping[str, Any]]:
        """How each process is; `status` says it in a word."""

    def metrics(self) -> str | None:
        """In Prometheus' text format; None without prometheus_client."""


class Health:
    """Answers while it is entered; a context manager. Without a port it does nothing.

    /health is 200 while every process is well: the server answers, all subscribers are alive. /alive does not
    ask the server: a probe that restarts whatever cannot reach it would only add to an outage.
    """

    def __init__(self, host: str, port: int | None, watched: Watched) -> None:
        """Raises: ConfigurationError if the port is taken."""
        self._server: ThreadingHTTPServer | None = None
        if port is None:
            return
        try:
            self._server = _Server((host, port), type("Bound", (_Answers,), {"watched": watched}))
        except OSError as error:
            raise ConfigurationError(f"--health-port {port} at {host}: {error.strerror or error}") from error

    @property
    def url(self) -> str:
        """Where it answers; nothing if it does not."""
        if self._server is None:
            return ""
        host, port = self._server.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}/health"

    def __enter__(self) -> Self:
        if self._server is not None:
            threading.Thread(
                target=self._server.serve_forever, args=(0.1,), name="holdfast-worker-health", daemon=True
            ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # whoever asks and does not read must not hold up the end

    def __init__(self, address: tuple[str, int], answers: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, answers)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask the DNS for our name

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request
        error = sys.exc_info()[1]
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR  # OSError: it did not wait
        log.log(level, "no answer to %s: %r", client_address, error)


class _Answers(BaseHTTPRequestHandler):
    watched: Watched
    timeout = 10.0  # seconds a client may take to ask
    server_version, sys_version = "holdfast", ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health":
            ok, told = rules.overall(self.watched.processes())
            self._answer(200 if ok else 503, _JSON, json.dumps(told, default=str))
        elif path == "/alive":
            self._answer(200, _JSON, json.dumps({"status": "ok"}))
        elif path == "/metrics":
            text = self.watched.metrics()
            if text is None:
                self._answer(404, _METRICS, '/metrics needs: pip install "holdfast[prometheus]"\n')
            else:
                self._answer(200, _METRICS, text)
        else:
            self._answer(404, _JSON, json.dumps({"error": "there are /health, /alive and /metrics"}))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds: nothing worth a line."""


def has_prometheus() -> bool:
    """Is prometheus_client installed?"""
    return find_spec("prometheus_client") is not None
