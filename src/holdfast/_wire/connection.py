"""One blocking connection: how it is made, asked, and known to be good. For the pool's threads and the hub.

Not promised: the deadline in a main thread whose signal handlers run more often than the deadline is long.
After each of them Python waits anew, with the kernel's whole time-out; keeping time would cost every call.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import weakref
from collections.abc import Callable
from time import monotonic

import hiredis

from holdfast._wire import handshake, tls
from holdfast._wire.transport import Command, HandshakeRefused, Reply, ReplyError, WireFailure, WrongRole
from holdfast._wire.url import Target

_Push = hiredis.PushNotification
_MORE = object()  # hiredis' default for "incomplete" is False, which RESP3 also uses as a reply
_CHUNK = 1 << 16
_NUMBER = (int, float)  # a tuple: `int | float` would be made anew for every argument


def pack(command: Command) -> bytes:
    """`command` as the server reads it. Raises: TypeError for an argument that is no str, bytes, int or
    float.
    """
    for arg in command:
        if type(arg) is not str and type(arg) is not bytes:
            # Numbers become text here: hiredis crashes where a signal handler raises while it does that
            # itself.
            command = tuple(str(one) if isinstance(one, _NUMBER) else one for one in command)
            break
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub errs
    return packed


def reason(error: OSError | UnicodeError) -> str:
    """Why a socket failed, in the system's words: asyncio puts its own in their place."""
    if isinstance(error, ssl.SSLError):
        return tls.why(error)
    number = getattr(error, "errno", None)
    return os.strerror(number) if number and number > 0 else str(error)


class Connection:
    """One blocking connection: send requests, read replies in order. Not for two threads at once."""

    def __init__(self, sock: socket.socket | tls.TlsSocket) -> None:
        self._sock = sock
        self._reader = hiredis.Reader(protocolError=WireTrouble, replyError=ReplyError, notEnoughData=_MORE)
        self._patience = -1.0
        self._owed = 0  # replies not read yet
        self._patience_asked = 0.0
        self.suspicious_after = float("inf")  # seconds of silence after which `on_quiet` is called
        self.on_quiet: Callable[[], None] = _nothing
        self.may_be_quiet = False  # a blocking command is silent on purpose: wonder less often
        self.rested_since = monotonic()
        self.target: Target | None = None
        self.place: weakref.ref[Connection] | None = None  # in a pool
        self.doomed = ""  # why it must not be used any more, if so

    def fileno(self) -> int:
        """The socket's number, for select."""
        return self._sock.fileno()

    def send(self, packed: bytes, timeout: float | None = None) -> None:
        """Send requests. Raises: WireFailure."""
        give_up = None
        if timeout is not None:
            give_up = monotonic() + timeout
            self._be_patient(min(timeout, self.suspicious_after))
        try:
            sent = self._send_some(packed, give_up)
            rest = memoryview(packed)[sent:] if sent < len(packed) else None
            while rest:
                # The kernel's time-out is for each part: without a look at the clock a large request would
                # have many.
                if give_up is not None:
                    if monotonic() >= give_up:
                        raise BlockingIOError
                    self._be_patient(min(give_up - monotonic(), self.suspicious_after))
                rest = rest[self._send_some(rest, give_up) :]
        except BlockingIOError:
            raise WireFailure("the server does not read; the request was cut off", sent=True) from None
        except OSError as error:
            # A partial request is never executed, but whether all of it had left is not known.
            raise WireFailure(
                self.doomed or f"connection lost while sending ({reason(error)})", sent=True, hung_up=True
            ) from error

    def _send_some(self, data: bytes | memoryview, give_up: float | None) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            if give_up is None or monotonic() >= give_up - 0.001:
                raise
            self.on_quiet()
            return 0

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
                why = f"connection lost ({reason(error)})"
                raise WireFailure(why, sent=True, hung_up=not tls.says_why(error)) from error
            if data:
                self._reader.feed(data)
                if (reply := self._parsed()) is not _MORE:
                    return reply
            elif data is not None:  # TLS has news that are no data
                why = self.doomed or "connection closed by the server"
                raise WireFailure(why, sent=True, hung_up=not self.doomed)
            left = deadline - monotonic()
            if left > 0:
                self._be_patient(left)
            elif timeout > 0:
                raise TimeoutError

    def _parsed(self) -> Reply:
        try:
            return self._reader.gets()
        except WireTrouble as error:
            raise WireFailure(f"not the protocol of Redis ({error})", sent=True, hung_up=True) from error

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
        self.post(packed, count, deadline)
        return self.collect(deadline)

    def post(self, packed: bytes, count: int, deadline: float) -> None:
        """Send requests that will be owed `count` replies; `collect` fetches these. Raises: WireFailure."""
        left = deadline - monotonic()
        if left <= 0:
            raise WireFailure("the deadline had passed before it was sent", sent=False)
        if self.doomed:  # before anything was written: nobody need wonder whether it was executed
            raise WireFailure(f"connection lost: {self.doomed}", sent=False)
        if self._owed:  # an earlier question was given up: what comes next is its answer, not ours
            raise WireFailure("connection lost: an earlier reply is still owed", sent=False)
        self._owed = count
        self._patience_asked = left
        self.send(packed, left)

    def collect(self, deadline: float) -> list[Reply]:
        """The replies that are owed. Raises: WireFailure."""
        try:
            replies = [self._answer(deadline) for _ in range(self._owed)]
        except TimeoutError:
            raise WireFailure(f"no reply within {self._patience_asked:.3g} s", sent=True) from None
        self._owed = 0
        return replies

    def doom(self, cause: str) -> None:
        """Make this connection useless, from any thread: whoever waits on it is told at once."""
        self.doomed = cause
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _answer(self, deadline: float) -> Reply:
        suspicious_after = self.suspicious_after
        while True:
            left = max(deadline - monotonic(), 0.001)
            try:
                reply = self.read(min(left, suspicious_after))
            except TimeoutError:
                if left <= suspicious_after:
                    raise
                if self.may_be_quiet:
                    suspicious_after = min(8.0, 2 * suspicious_after)
                self.on_quiet()  # perhaps the server has been replaced; then this connection is doomed soon
                continue
            if type(reply) is not _Push:
                return reply  # who asks has not subscribed to anything; a server may still tell

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


def _nothing() -> None:
    """Nobody wants to know."""


class WireTrouble(Exception):
    """Bytes that are not the server's protocol."""


def connect(target: Target, timeout: float, begun: Callable[[Connection], None] | None = None) -> Connection:
    """A new connection, introduced and ready, within `timeout` seconds.

    `begun` is told of it as soon as its socket stands, so that `doom` can end the introduction.
    Raises: WireFailure (`sent` is False), HandshakeRefused, ConfigurationError if the server is too old, or
    its certificate cannot be trusted.
    """
    deadline = monotonic() + timeout
    context = None if target.tls is None else tls.context(target.tls)
    sock = _dial(target, timeout)
    secure = None if context is None else tls.TlsSocket(sock, context, tls.server_name(target))
    connection = Connection(secure or sock)
    try:
        if begun is not None:
            begun(connection)
        if secure is not None:
            _shake_hands(secure, target, deadline)
        first = handshake.commands(target)
        handshake.check(target, connection.ask(b"".join(map(pack, first)), len(first), deadline))
    except (HandshakeRefused, WrongRole):
        connection.close()
        raise
    except WireFailure as failure:
        connection.close()
        text = connection.doomed or tls.hint(target, failure)
        raise WireFailure(f"connected, but {text}", sent=False) from failure
    except BaseException:
        connection.close()
        raise
    return connection


def _dial(target: Target, timeout: float) -> socket.socket:
    """A socket that is connected. Raises: WireFailure."""
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
    return sock


def _shake_hands(secure: tls.TlsSocket, target: Target, deadline: float) -> None:
    """Agree on keys. Raises: WireFailure, ConfigurationError."""
    begun = monotonic()
    try:
        secure.introduce(deadline)
    except TimeoutError:
        why = f"no answer to the handshake within {deadline - begun:.3g} s"
        raise WireFailure(f"{why}{tls.silence(target)}", sent=False) from None
    except ssl.SSLError as error:
        raise tls.refused(target, error) from error
    except OSError as error:
        raise WireFailure(f"connection lost ({reason(error)})", sent=False, hung_up=True) from error


def _connect_unix(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
