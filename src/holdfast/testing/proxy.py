"""A network that fails on demand: a proxy between a client and a real server.

    with FaultProxy(server.url) as faults, Holdfast(faults.url) as hf:
        faults.drop_replies(match=b"EVALSHA")      # the script runs, its reply is lost
        ...

It listens on the loopback interface. Each connection has three daemon threads (requests, replies, and
delivery of replies that are late on purpose), because threads with blocking sockets pass on the peers'
back-pressure unchanged.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import hiredis

_CHUNK = 65536
_REMEMBERED = 10_000  # commands; a long storm shall not fill the memory
_PATIENCE = 5.0  # seconds for connecting to the server behind

Rewrite = Callable[[bytes], bytes]


class FaultProxy:
    """A proxy in front of the server at `upstream` (a URL, or anything with `.url`), with switches for
    faults.

    The switches act at once, also on connections that stand, and may be used from any thread. Counted is what
    clients sent: `connections`, `writes` (chunks as they arrived), `bytes`, and `commands()`.
    """

    def __init__(self, upstream: Any) -> None:
        self._upstream = urlsplit(getattr(upstream, "url", upstream))
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._open = threading.Event()
        self._open.set()
        self._closed = False
        self._doomed: list[bytes] = []
        self._readers: dict[_Link, Any] = {}
        self.mute = False
        self.lag = 0.0
        self.rewriter: Rewrite | None = None
        self.reset_counts()
        self._door = _listener(0)
        self.port: int = self._door.getsockname()[1]
        self._door.listen()
        self._serve(self._door)

    @property
    def url(self) -> str:
        """What to give a client instead of the server's URL; user, password and database are the same."""
        who, at, _ = self._upstream.netloc.rpartition("@")
        tail = "" if self._upstream.scheme == "unix" else self._upstream.path
        query = f"?{self._upstream.query}" if self._upstream.query else ""
        return f"redis://{who}{at}127.0.0.1:{self.port}{tail}{query}"

    # --- faults ---

    def drop_replies(self, n: int = 1, *, match: bytes = b"") -> None:
        """Lose the replies to the next `n` writes that contain `match`.

        The server gets each of them and executes it; its connection is cut before the client hears of it.
        """
        with self._lock:
            self._doomed += [match] * n

    def swallow_replies(self) -> None:
        """Keep connections open and discard what the server says, until `heal`, which then cuts them: after
        a reply that is missing, every later one would be taken for another's.
        """
        self.mute = True

    def delay(self, seconds: float) -> None:
        """Deliver every reply `seconds` after it arrived; 0 ends it."""
        self.lag = seconds

    def rewrite(self, change: Rewrite | None) -> None:
        """Replace each chunk the server sends by `change(chunk)`; None ends it."""
        self.rewriter = change

    def cut(self) -> None:
        """Reset every connection that stands; new ones are welcome."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def refuse(self) -> None:
        """Refuse new connections, until `accept` or `heal`. Those that stand stay; see `cut`."""
        with self._lock:
            old = self._door
            if old.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                _hang_up(old)
                self._door = _listener(self.port)  # bound, but not listening: keeps the port for us

    def accept(self) -> None:
        """Welcome new connections again."""
        with self._lock:
            if not self._closed and not self._door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self._door.listen()
                self._serve(self._door)

    def blackhole(self) -> None:
        """Let nothing through in either direction, until `heal`; what was sent meanwhile then arrives.

        As in a partition between hosts, except that new connections seem to succeed; they stay silent.
        """
        self._open.clear()

    def heal(self) -> None:
        """End every fault. Connections that were cut stay cut."""
        with self._lock:
            self._doomed.clear()
        if self.mute:
            self.cut()
        self.mute, self.lag, self.rewriter = False, 0.0, None
        self._open.set()
        self.accept()

    # --- what clients sent ---

    def reset_counts(self) -> None:
        """Count and record from here."""
        with self._lock:
            self.connections = self.writes = self.bytes = 0
            self._commands: deque[tuple[bytes, ...]] = deque(maxlen=_REMEMBERED)

    def commands(self, name: str = "") -> list[tuple[bytes, ...]]:
        """The commands received, in order, connection set-up included; only those called `name`, if given."""
        with self._lock:
            return [one for one in self._commands if not name or one[0].upper() == name.upper().encode()]

    def _note(self, link: _Link, chunk: bytes) -> bool:
        """Record `chunk`; True if its reply is to be lost."""
        with self._lock:
            self.writes += 1
            self.bytes += len(chunk)
            self._parse(link, chunk)
            if self._doomed and self._doomed[0] in chunk:
                del self._doomed[0]
                return True
            return False

    def _parse(self, link: _Link, chunk: bytes) -> None:
        reader = self._readers.setdefault(link, hiredis.Reader())
        reader.feed(chunk)
        while isinstance(command := reader.gets(), list):
            self._commands.append(tuple(command))

    # --- connections ---

    def close(self) -> None:
        """Close everything; the server does not notice more than lost connections."""
        self._closed = True
        self._open.set()
        with self._lock:
            _hang_up(self._door)
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, door: socket.socket) -> None:
        threading.Thread(target=self._welcome, args=(door,), name="fault-proxy", daemon=True).start()

    def _welcome(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the door was closed
            while True:
                client = door.accept()[0]
                try:
                    link = _Link(self, client, self._connect())
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self.connections += 1
                    self._links.add(link)
                link.start()
                if self._closed:
                    link.close()

    def _connect(self) -> socket.socket:
        if self._upstream.scheme == "unix":
            server = socket.socket(socket.AF_UNIX)
            server.settimeout(_PATIENCE)
            try:
                server.connect(unquote(self._upstream.path))
            except OSError:
                server.close()
                raise
        else:
            address = (self._upstream.hostname or "127.0.0.1", self._upstream.port or 6379)
            server = socket.create_connection(address, _PATIENCE)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.settimeout(None)
        return server

    def _forget(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)
            self._readers.pop(link, None)


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._late: queue.SimpleQueue[tuple[float, bytes] | None] = queue.SimpleQueue()
        self._doomed = False
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Carry bytes until one side closes."""
        for work in (self._requests, self._replies, self._deliver):
            threading.Thread(target=self._until_closed, args=(work,), name="fault-proxy", daemon=True).start()

    def close(self) -> None:
        """Reset both sides; their threads end."""
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _hang_up(side)
        self._late.put(None)
        self._proxy._forget(self)

    def _until_closed(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            work()
        self.close()

    def _requests(self) -> None:
        while chunk := self._client.recv(_CHUNK):
            self._proxy._open.wait()
            if self._proxy._note(self, chunk):
                self._doomed = True
            self._server.sendall(chunk)

    def _replies(self) -> None:
        while chunk := self._server.recv(_CHUNK):
            if self._doomed:
                return
            if not self._proxy.mute:
                self._late.put((time.monotonic() + self._proxy.lag, chunk))

    def _deliver(self) -> None:
        while late := self._late.get():
            due, chunk = late
            time.sleep(max(0.0, due - time.monotonic()))
            self._proxy._open.wait()
            change = self._proxy.rewriter
            self._client.sendall(change(chunk) if change else chunk)


def _listener(port: int) -> socket.socket:
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", port))
    return door


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it; closing alone would not
    sock.close()
