"""TLS below both transports: contexts, a blocking socket that can be polled, and errors that name their fix.

Python's own SSLSocket cannot serve here. It ignores the kernel's time-outs that the pool lives by, knows no
MSG_DONTWAIT, and keeps what it has decrypted to itself, so that poll() sleeps while a message waits. So
`TlsSocket` runs TLS in memory beside a plain socket: whatever the kernel had is decrypted at once and handed
over whole. asyncio has its own way and needs the context only.

Sessions are not resumed: connections are few and live long.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
from pathlib import Path
from time import monotonic
from typing import Any

from holdfast._wire.transport import WireFailure
from holdfast._wire.url import Target, Tls, with_tls
from holdfast.errors import ConfigurationError

_RECORD = 1 << 14  # the most that one record of TLS carries
_CHUNK = 4 * _RECORD  # what is encrypted at once


def secured(target: Target, given: Any) -> Target:
    """`target` with the argument `tls=` of a client: a Tls, an ssl.SSLContext, True, or None for the URL's.

    Raises: ConfigurationError.
    """
    if given is None or (given is False and target.tls is None):
        return target
    if given is True:
        given = target.tls or Tls()
    elif isinstance(given, ssl.SSLContext):
        given = Tls(context=given, name=target.tls.name if target.tls else None)
    elif given is False:
        raise ConfigurationError(f"tls=False contradicts {target}; write redis:// for a server without TLS")
    elif not isinstance(given, Tls):
        raise ConfigurationError(f"tls={given!r} must be a Tls, an ssl.SSLContext, True or None")
    if given.context is not None and not isinstance(given.context, ssl.SSLContext):
        raise ConfigurationError(f"Tls(context={given.context!r}) must be an ssl.SSLContext")
    return with_tls(target, given)


def context(tls: Tls) -> ssl.SSLContext:
    """The context for `tls`, made once; a file that was renewed on disk counts from the next connection on.

    Raises: ConfigurationError that names the file that cannot be read.
    """
    if tls.context is not None:
        own: ssl.SSLContext = tls.context
        return own
    return _made(tls, tuple(_age(file) for file in (tls.ca, tls.cert, tls.key)))


def server_name(target: Target) -> str:
    """What the certificate of the server must be made out to."""
    assert target.tls is not None
    return target.tls.name or target.host.rstrip(".")  # a final dot is for the resolver only


def _age(file: str | None) -> tuple[int, int] | None:
    if file is None:
        return None
    try:
        about = Path(file).stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_ino


@functools.lru_cache(maxsize=32)
def _made(tls: Tls, ages: tuple[Any, ...]) -> ssl.SSLContext:  # noqa: ARG001 (a part of the cache's key)
    try:
        made = ssl.create_default_context(cafile=tls.ca)
    except OSError as error:
        raise ConfigurationError(f"tls_ca={tls.ca!r} {_unreadable(error)}") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.verify != "full":
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE if tls.verify == "none" else ssl.CERT_REQUIRED
    if tls.cert is not None:
        _show(made, tls.cert, tls.key)
    return made


def _show(made: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Have `made` show the certificate in the file `cert`."""
    names = f"tls_cert={cert!r}" if key is None else f"tls_cert={cert!r} with tls_key={key!r}"

    def locked() -> str:  # OpenSSL would ask at the terminal
        raise ConfigurationError(
            f"{names}: the key is encrypted; load it into an ssl.SSLContext, and pass that as tls="
        )

    for file, name in ((cert, "tls_cert"), (key, "tls_key")):
        try:
            if file is not None:
                with Path(file).open("rb"):
                    pass
        except OSError as error:  # OpenSSL does not say which of the two
            raise ConfigurationError(f"{name}={file!r} {_unreadable(error)}") from error
    try:
        made.load_cert_chain(cert, key, locked)
    except OSError as error:
        raise ConfigurationError(f"{names} {_unreadable(error)}") from error


def _unreadable(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"cannot be read: {error.strerror or error}"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "do not belong together"
    return "is no file of certificates in PEM"


class TlsSocket:
    """A blocking socket that speaks TLS, with the few methods that a Connection needs.

    Unlike those of a plain socket: `recv` may return None, when something came that is no data; after a
    BlockingIOError, or a 0, `send` must be called again with the same data; the time-outs of the plain socket
    hold for each call.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._unsent = b""  # encrypted
        self._written = 0  # bytes of data in `_unsent` that nobody was told have been sent
        self._ended = False

    def introduce(self, deadline: float) -> None:
        """Do the handshake. Raises: OSError (ssl.SSLError among them), TimeoutError."""
        try:
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self._sock.settimeout(max(0.001, deadline - monotonic()))
                    self._sock.sendall(self._outgoing.read())
                    self._sock.settimeout(max(0.001, deadline - monotonic()))
                    if data := self._sock.recv(_CHUNK):
                        self._incoming.write(data)
                    else:
                        self._incoming.write_eof()
        finally:
            with contextlib.suppress(OSError):  # the alert that tells the server why not; our last word
                self._sock.sendall(self._outgoing.read())
        self._sock.settimeout(None)

    def recv(self, size: int, flags: int = 0) -> bytes | None:
        """All that has come, decrypted: b"" at the end, None if it was no data (tickets, half a record).

        Raises: OSError, BlockingIOError if nothing came in time. With MSG_PEEK, None never, and what is seen
        is gone.
        """
        if flags & socket.MSG_PEEK:
            while (data := self.recv(_CHUNK, flags & ~socket.MSG_PEEK)) is None:
                pass
            return data
        if self._ended:
            return b""
        if self._incoming.pending and (data := self._decrypted()) is not None:
            return data  # it came together with the end of the handshake
        raw = self._sock.recv(size, flags)
        if not raw:
            return b""
        self._incoming.write(raw)
        return self._decrypted()

    def _decrypted(self) -> bytes | None:
        """Everything that can be decrypted: what is left would be seen by no poll()."""
        parts: list[bytes] = []
        try:
            while part := self._tls.read(_RECORD):
                parts.append(part)
                if not self._incoming.pending and not self._tls.pending():
                    break  # saves the exception at the end of nearly every reply
            else:
                self._ended = True
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts) if parts or self._ended else None

    def send(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` have left. Raises: OSError, BlockingIOError if the time is over."""
        if not self._written:
            self._written = self._tls.write(data[:_CHUNK])
        self._unsent += self._outgoing.read()  # and the answer to new keys, if the server has changed them
        self._unsent = self._unsent[self._sock.send(self._unsent) :]
        if self._unsent:
            return 0
        written, self._written = self._written, 0
        return written

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Set an option of the plain socket."""
        self._sock.setsockopt(level, option, value)

    def fileno(self) -> int:
        """The plain socket's number, for poll."""
        return self._sock.fileno()

    def shutdown(self, how: int) -> None:
        """End the plain socket, from any thread."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close, without a word: the parent of a fork may still use it."""
        self._sock.close()


# --- errors -----------------------------------------------------------------------------------------------

# Reasons that OpenSSL gives for a certificate: X509_V_ERR_...
_UNKNOWN = {2, 18, 19, 20, 21, 27}
_OTHER_NAME = {62, 63, 64}
_TIME = {9: "is not valid yet", 10: "has expired"}

_SHOW = "name one, and its key, with tls_cert and tls_key"
_ALERTS = {
    "WRONG_VERSION_NUMBER": "the answer is not TLS; does the server speak it on this port? If not: redis://",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"the server wants a certificate of ours: {_SHOW}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": f"the server refused; if it wants a certificate of ours, {_SHOW}",
    "TLSV1_ALERT_UNKNOWN_CA": "the server does not know the authority of our certificate (tls_cert)",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the server does not accept our certificate (tls_cert)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired: renew the file tls_cert",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server does not speak TLS 1.2 or newer",
}
_ALERTS["RECORD_LAYER_FAILURE"] = _ALERTS["PACKET_LENGTH_TOO_LONG"] = _ALERTS["WRONG_VERSION_NUMBER"]


def why(error: ssl.SSLError) -> str:
    """What OpenSSL complains of, and the fix."""
    if isinstance(error, ssl.SSLEOFError):
        return "the server hung up"
    known = _ALERTS.get(error.reason or "")
    return known or (error.reason or str(error)).replace("_", " ").lower()


def says_why(error: BaseException | None) -> bool:
    """Did the other end tell what is wrong, so that nobody has to guess?"""
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)


def refused(target: Target, error: ssl.SSLError) -> Exception:
    """What a failed handshake of TLS means: ConfigurationError for a certificate, which no waiting heals."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return WireFailure(f"TLS failed: {why(error)}", sent=False, hung_up=not says_why(error))
    code = error.verify_code
    said = _TIME.get(code) or f"is not trusted ({error.verify_message})"
    fix = "check it with: openssl s_client -connect"
    if code in _UNKNOWN:
        fix = "name the file of the authority that signed it with tls_ca"
    elif code in _OTHER_NAME:
        said = f"is not made out to {server_name(target)!r}"
        fix = "name what it is made out to with tls_name"
    elif code in _TIME:
        fix = "renew it, or set the clock of this machine right"
    where = f"{target.host}:{target.port}"
    fix = f"{fix} {where}" if fix.endswith("-connect") else fix
    return ConfigurationError(f"cannot connect: the certificate of {where} {said}; {fix}")


def silence(target: Target | None) -> str:
    """What may be behind it that nothing came back, to be added to an error."""
    return "" if target is None or target.tls is None else "; does the server speak TLS on this port?"


def hint(target: Target, failure: WireFailure) -> str:
    """`failure`, which ended an introduction, with what may be behind it if the server just hung up."""
    text = str(failure)
    if not failure.hung_up or target.kind != "tcp":
        return text
    if target.tls is None:
        return f"{text}; if it wants TLS, write rediss://"
    if target.tls.cert is None and target.tls.context is None:
        return f"{text}; if it wants a certificate of ours, {_SHOW}; if it speaks no TLS, write redis://"
    return text
