"""One blocking connection: how it is made, asked, and known to be good. For the pool's threads and the hub.

Not promised: the deadline in a main thread whose signal handlers run more often than the deadline is long.
After each of them Python waits anew, with the kernel's whole time-out; keeping time would cost every call.
"""

from __future__ import annotations

import os
import socket
import struct
from time import monotonic

import hiredis

from holdfast._wire import handshake
from holdfast._wire.transport import Command, HandshakeRefused, Reply, ReplyError, WireFailure
from holdfast._wire.url import Target

_Push = hiredis.PushNotification
_MORE = object()  # hiredis' default for "incomplete" is False, which RESP3 also uses as a reply
_CHUNK = 1 << 16


def pack(command: Command) -> bytes:
    """`command` as the server reads it. Raises: TypeError for an argument that is no str, bytes, int or
    float.
    """
    for arg in command:
        if type(arg) is not str and type(arg) is not bytes:
            # Numbers become text here: hiredis crashes where a signal handler raises while it does that
            # itself.
            command = tuple(str(one) if isinstance(one, int | float) else one for one in command)
            break
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub errs
    return packed


def reason(error: OSError | UnicodeError) -> str:
    """Why a socket failed, in the system's words: asyncio puts its own in their place."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number and number > 0 else str(error)


class Connection:
    """One blocking connection: send requests, read replies in order. Not for two threads at once."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = hiredis.Reader(protocolError=WireTrouble, replyError=ReplyError, notEnoughData=_MORE)
        self._patience = -1.0
        self._owed = 0  # replies not read yet
        self.rested_since = monotonic()

    def fileno(self) -> int:
        """The socket's number, for select."""
        return self._sock.fileno()

    def send(self, packed: bytes, timeout: float | None = None) -> None:
        """Send requests. Raises: WireFailure."""
        if timeout is not None:
            self._be_patient(timeout)
        try:
            sent = self._sock.send(packed)
            if sent < len(packed):
                self._send_rest(memoryview(packed)[sent:], timeout)
        except BlockingIOError:
            raise WireFailure("the server does not read; the request was cut off", sent=True) from None
        except OSError as error:
            # A partial request is never executed, but whether all of it had left is not known.
            raise WireFailure(
                f"connection lost while sending ({error.strerror or error})", sent=True
            ) from error

    def _send_rest(self, rest: memoryview, timeout: float | None) -> None:
        # The kernel's time-out is for each part: without a look at the clock a large request would have many.
        give_up = None if timeout is None else monotonic() + timeout
        while rest:
            if give_up is not None:
                if monotonic() >= give_up:
                    raise BlockingIOError
                self._be_patient(give_up - monotonic())
            rest = rest[self._sock.send(rest) :]

    def read(self, timeout: float) -> Reply:
        """The next reply; with `timeout` 0 only what has arrived.

        Raises: TimeoutError if none came within `timeout` seconds, WireFailure if the connection is lost.
        """
        if (reply := self._parsed()) is not _MORE:
            return reply
        deadline = monotonic() + timeout
        flags = 0
        if timeout > 0:
            self._be_patient(timeout)
        else:
            flags = socket.MSG_DONTWAIT  # the kernel rounds the shortest time-out up to some milliseconds
        while True:
            try:
                data = self._sock.recv(_CHUNK, flags)
            except BlockingIOError:
                raise TimeoutError from None
            except OSError as error:
                raise WireFailure(f"connection lost ({reason(error)})", sent=True) from error
            if not data:
                raise WireFailure("connection closed by the server", sent=True)
            self._reader.feed(data)
            if (reply := self._parsed()) is not _MORE:
                return reply
            left = deadline - monotonic()
            if left > 0:
                self._be_patient(left)
            elif timeout > 0:
                raise TimeoutError

    def _parsed(self) -> Reply:
        try:
            return self._reader.gets()
        except WireTrouble as error:
            raise WireFailure(f"not the protocol of Redis ({error})", sent=True) from error

    def _be_patient(self, timeout: float) -> None:
        # Within 2 % the old setting will do; the common call then needs no system call for it.
        if not 0.98 * timeout <= self._patience <= 1.02 * timeout:
            timeout = max(timeout, 0.001)  # zero would mean "for ever"
            whole = int(timeout)
            value = struct.pack("ll", whole, int((timeout - whole) * 1e6))
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
            self._patience = timeout

    def ask(self, packed: bytes, count: int, deadline: float) -> list[Reply]:
        """`count` replies to the requests in `packed`. Raises: WireFailure."""
        left = deadline - monotonic()
        if left <= 0:
            raise WireFailure("the deadline had passed before it was sent", sent=False)
        if self._owed:  # an earlier question was given up: what comes next is its answer, not ours
            raise WireFailure("connection lost: an earlier reply is still owed", sent=False)
        self._owed = count
        self.send(packed, left)
        try:
            if count == 1:
                replies = [self._answer(left)]
            else:
                replies = [self._answer(max(deadline - monotonic(), 0.001)) for _ in range(count)]
            self._owed = 0
            return replies
        except TimeoutError:
            raise WireFailure(f"no reply within {left:.3g} s", sent=True) from None

    def _answer(self, timeout: float) -> Reply:
        while type(reply := self.read(timeout)) is _Push:
            pass  # who asks has not subscribed to anything; a server may still tell
        return reply

    @property
    def is_in_step(self) -> bool:
        """Has every question its answer, and is no answer left over?"""
        return not self._owed and not self._reader.has_data()

    def is_alive(self) -> bool:
        """Is an idle connection still good? Anything to read now is its end, or a reply nobody waits for."""
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def __del__(self) -> None:
        # A client that was dropped without close() leaves no warning of an unclosed socket behind.
        self._sock.close()


class WireTrouble(Exception):
    """Bytes that are not the server's protocol."""


def connect(target: Target, timeout: float) -> Connection:
    """A new connection, introduced and ready, within `timeout` seconds.

    Raises: WireFailure (`sent` is False), HandshakeRefused, ConfigurationError if the server is too old.
    """
    deadline = monotonic() + timeout
    try:
        if target.kind == "unix":
            sock = _connect_unix(target.path, timeout)
        else:
            sock = socket.create_connection((target.host, target.port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except (OSError, UnicodeError) as error:  # a host name with an empty or an overlong label
        why = f"no answer within {timeout:.3g} s" if isinstance(error, TimeoutError) else reason(error)
        raise WireFailure(f"cannot connect: {why}", sent=False) from error
    sock.settimeout(None)
    connection = Connection(sock)
    try:
        first = handshake.commands(target)
        handshake.check(target, connection.ask(b"".join(map(pack, first)), len(first), deadline))
    except HandshakeRefused:
        connection.close()
        raise
    except WireFailure as failure:
        connection.close()
        raise WireFailure(f"connected, but {failure}", sent=False) from failure
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_unix(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
