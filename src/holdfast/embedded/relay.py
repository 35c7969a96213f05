"""The network of a cuttable lab: relays in front of its nodes, which a cut makes into black holes.

Why relays? Cutting a real network needs root. Here every node announces the address of its relay, so peers
and clients alike come that way, and binds its own calls to a loopback address that no other node has
(127.0.1.n): the relay in front of a peer so recognises who calls. A link is dark while either of its ends is
cut off: it stays open and passes nothing, and so does each new one, as in a partition between hosts. Healing
resets what was dark, since what was swallowed cannot be brought back.

Not imitated: a connection to a dead node is accepted, then reset, where the kernel would refuse it; MIGRATE
calls as a client does, so it is stopped on the side of the node that is cut off only.

One thread serves all relays of a lab. A system call each to wait, to receive and to send is all that a chunk
costs; nothing is copied unless the receiver does not keep up, and then its sender has to wait.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import selectors
import socket
import struct
import threading
import weakref
from collections import deque
from collections.abc import Callable

from holdfast.errors import Unavailable

_CHUNK = 1 << 16
_PORTS = range(10_000, 32_000)
_PATIENCE = 5.0  # seconds for the relays' thread to carry out an order
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing then sends a reset
_OURS = "127.0.1."
_UNDER_WAY = (0, errno.EINPROGRESS)


def address(node: int) -> str:
    """The address from which `node` (from 0) calls others."""
    return f"{_OURS}{node + 1}"


class _Door:
    """A listening socket in front of the port `behind` of `node`."""

    def __init__(self, node: int, behind: int) -> None:
        self.node, self.behind = node, behind
        self.sock = _listener()
        self.port: int = self.sock.getsockname()[1]


class _Link:
    """One connection through a relay.

    `near` is the caller's end, `far` the node's (None where it was dark from the start), `ends` are the nodes
    at them.
    """

    __slots__ = ("ends", "near", "far", "ended", "unsent")

    def __init__(self, near: socket.socket, ends: tuple[int, ...]) -> None:
        self.near, self.ends = near, ends
        self.far: socket.socket | None = None
        self.ended: socket.socket | None = None  # the end that hung up while the other had bytes to come
        self.unsent: dict[socket.socket, bytes] = {}  # by receiver

    def other(self, sock: socket.socket) -> socket.socket | None:
        """The end that is not `sock`."""
        return self.far if sock is self.near else self.near


class Relay:
    """The relays of a lab and their thread. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._orders: deque[Callable[[], None]] = deque()
        self._awake, self._wake = socket.socketpair()
        self._awake.setblocking(False)
        self._doors: list[_Door] = []
        self._links: set[_Link] = set()
        self._cut: set[int] = set()
        self._closed = False
        self._selector.register(self._awake, selectors.EVENT_READ, self._obey)
        _RELAYS.add(self)
        threading.Thread(target=self._serve, name="holdfast-relay", daemon=True).start()

    def open(self, node: int, behind: int) -> int:
        """Put a relay in front of the port `behind` of `node`; the port to announce instead."""
        door = _Door(node, behind)

        def begin() -> None:
            self._doors.append(door)
            self._selector.register(door.sock, selectors.EVENT_READ, lambda: self._welcome(door))

        self._do(begin)
        return door.port

    def cut(self, node: int) -> None:
        """Let nothing pass to or from `node`, until `heal`."""
        self._do(lambda: self._darken(node))

    def heal(self, node: int) -> None:
        """End the cut of `node`, and reset what was dark on its account."""
        self._do(lambda: self._lighten(node))

    def is_cut(self, node: int) -> bool:
        """Is `node` cut off?"""
        return node in self._cut

    def close(self) -> None:
        """Reset every link and close every door; the thread ends."""
        with contextlib.suppress(Unavailable):
            self._do(self._shut)

    # --- the thread ---

    def _do(self, order: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            try:
                order()
            finally:
                done.set()

        if self._closed:
            raise Unavailable("the lab was stopped, and its relays with it")
        self._orders.append(run)
        with contextlib.suppress(OSError):
            self._wake.send(b"!")
        if not done.wait(_PATIENCE):
            raise Unavailable("the relays of the lab do not answer; a forked child does not own them")

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._awake.recv(_CHUNK)
        while self._orders:
            self._orders.popleft()()

    def _serve(self) -> None:
        while not self._closed:
            for key, events in self._selector.select():
                now = self._selector.get_map().get(key.fd)
                if now is None or now.data is not key.data:
                    continue  # an earlier event of this round closed it; the number may serve another
                if events & selectors.EVENT_WRITE and isinstance(key.data, _Link):
                    self._writable(key.data, key.fileobj)  # type: ignore[arg-type]
                elif isinstance(key.data, _Link):
                    self._readable(key.data, key.fileobj)  # type: ignore[arg-type]
                else:
                    key.data()
        self._selector.close()

    def _shut(self) -> None:
        self._closed = True
        for link in list(self._links):
            self._drop(link, reset=True)
        self.abandon()

    def abandon(self) -> None:
        """Close this process's copies of all sockets, without a word to the other ends."""
        self._closed = True
        for door in self._doors:
            door.sock.close()
        for link in self._links:
            for sock in (link.near, link.far):
                if sock is not None:
                    sock.close()
        self._awake.close()
        self._wake.close()

    # --- links ---

    def _welcome(self, door: _Door) -> None:
        try:
            near, (caller, _) = door.sock.accept()
        except OSError:  # it has gone already, or we are out of files
            return
        near.setblocking(False)
        ends: tuple[int, ...] = (door.node,)
        if caller.startswith(_OURS):
            ends = (door.node, int(caller.rpartition(".")[2]) - 1)
        link = _Link(near, ends)
        self._links.add(link)
        if self._is_dark(link):  # kept, and read from so that its end is noticed; nothing is passed on
            self._watch(link, near)
            return
        link.far = far = socket.socket()
        far.setblocking(False)
        link.unsent[far] = b""  # to be told when it is connected
        if far.connect_ex(("127.0.0.1", door.behind)) not in _UNDER_WAY:
            self._drop(link, reset=True)
            return
        self._watch(link, far)

    def _is_dark(self, link: _Link) -> bool:
        return bool(self._cut) and not self._cut.isdisjoint(link.ends)

    def _darken(self, node: int) -> None:
        self._cut.add(node)
        for link in self._links:
            if link.far is not None and node in link.ends:
                self._ignore(link.near)
                self._ignore(link.far)

    def _lighten(self, node: int) -> None:
        if node not in self._cut:
            return
        self._cut.discard(node)
        for link in list(self._links):
            if node in link.ends:
                self._drop(link, reset=True)

    def _readable(self, link: _Link, source: socket.socket) -> None:
        sink = link.other(source)
        try:
            data = source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._drop(link, reset=True)
            return
        if data and sink is not None:
            self._pass_on(link, source, sink, data)
        elif not data and link.unsent:
            link.ended = source
            self._watch(link, source)
        elif not data:
            self._drop(link)

    def _pass_on(self, link: _Link, source: socket.socket, sink: socket.socket, data: bytes) -> None:
        try:
            sent = sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(link, reset=True)
            return
        if sent < len(data):
            link.unsent[sink] = data[sent:]
            self._watch(link, sink)
            self._watch(link, source)

    def _writable(self, link: _Link, sink: socket.socket) -> None:
        if sink not in link.unsent:  # the event is older than the change
            return
        data = link.unsent[sink]
        if not data and sink is link.far:
            if sink.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._drop(link, reset=True)
                return
            for sock in (link.near, sink):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            rest = data[sink.send(data) :] if data else b""
        except BlockingIOError:
            return
        except OSError:
            self._drop(link, reset=True)
            return
        if rest:
            link.unsent[sink] = rest
            return
        del link.unsent[sink]
        source = link.other(sink)
        if source is None or link.ended is source:
            self._drop(link)
            return
        self._watch(link, sink)
        self._watch(link, source)

    def _watch(self, link: _Link, sock: socket.socket) -> None:
        """Wait for what `sock` is good for now: to be read unless its receiver is behind, to be written to
        if it is.
        """
        events = selectors.EVENT_WRITE if sock in link.unsent else 0
        if link.ended is not sock and link.other(sock) not in link.unsent:
            events |= selectors.EVENT_READ
        if events == 0:
            self._ignore(sock)
        elif sock in self._selector.get_map():
            self._selector.modify(sock, events, link)
        else:
            self._selector.register(sock, events, link)

    def _ignore(self, sock: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(sock)

    def _drop(self, link: _Link, *, reset: bool = False) -> None:
        self._links.discard(link)
        for sock in (link.near, link.far):
            if sock is not None:
                self._ignore(sock)
                if reset:
                    with contextlib.suppress(OSError):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()


def _listener() -> socket.socket:
    while True:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", random.choice(_PORTS)))
            sock.listen(512)
        except OSError:
            sock.close()
            continue
        sock.setblocking(False)
        return sock


_RELAYS: weakref.WeakSet[Relay] = weakref.WeakSet()


def _in_child() -> None:
    # The thread is not there: a door that stays open in the child would take calls and never answer.
    for relay in list(_RELAYS):
        relay.abandon()
        relay._selector.close()


os.register_at_fork(after_in_child=_in_child)
