"""TLS over redis-py's connections: both flavours by hand, because they wrap their sockets differently.

redis-py makes a context from a dozen arguments, and adds the system's authorities to
the one that was named. Ours is taken instead, so that both transports trust the same certificates.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import RedisSSLContext
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from holdfast._wire import tls
from holdfast._wire.transport import WireFailure
from holdfast._wire.url import Target, Tls
from holdfast.errors import ConfigurationError

# The arguments of redis-py's SSLConnection that make a context; there are more, for OCSP, which stay its own.
_ARGUMENTS = {
    "ssl_keyfile": "keyfile",
    "ssl_certfile": "certfile",
    "ssl_cert_reqs": "cert_reqs",
    "ssl_include_verify_flags": "include_verify_flags",
    "ssl_exclude_verify_flags": "exclude_verify_flags",
    "ssl_ca_certs": "ca_certs",
    "ssl_ca_data": "ca_data",
    "ssl_ca_path": "ca_path",
    "ssl_check_hostname": "check_hostname",
    "ssl_min_version": "min_version",
    "ssl_ciphers": "ciphers",
    "ssl_password": "password",
}


class AsyncTlsConnection(redis.asyncio.Connection):
    """A connection of redis-py, for tasks, with a context of ours."""

    def __init__(self, *, secure: ssl.SSLContext, server_name: str, **known: Any) -> None:
        self._secure, self._server_name = secure, server_name
        super().__init__(**known)

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {
            **super()._connection_arguments(),
            "ssl": self._secure,
            "server_hostname": self._server_name,
        }


class TlsConnection(redis.Connection):
    """A connection of redis-py, for threads, with a context of ours."""

    def __init__(self, *, secure: ssl.SSLContext, server_name: str, **known: Any) -> None:
        self._secure, self._server_name = secure, server_name
        super().__init__(**known)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        sock = super()._connect()  # type: ignore[no-untyped-call]
        try:
            sock.settimeout(self.socket_connect_timeout)  # its own one, for replies, may be much longer
            secure = self._secure.wrap_socket(sock, server_hostname=self._server_name)
            secure.settimeout(self.socket_timeout)
            return secure
        except BaseException:
            sock.close()
            raise


def arguments(target: Target) -> dict[str, Any]:
    """What such a connection needs to know about TLS. Raises: ConfigurationError for an unreadable file."""
    assert target.tls is not None
    return {"secure": tls.context(target.tls), "server_name": tls.server_name(target)}


def of_client(known: Mapping[str, Any]) -> Tls:
    """What a user's client was told about TLS, for connections that are not redis-py's (the hub's).

    Raises: ConfigurationError if it cannot work.
    """
    told = {ours: known[theirs] for theirs, ours in _ARGUMENTS.items() if theirs in known}
    try:
        made = RedisSSLContext(**{"cert_reqs": "required", "check_hostname": True, **told}).get()
    except (OSError, ValueError, RedisError) as error:
        raise ConfigurationError(f"client= has arguments for TLS that cannot work: {error}") from error
    return Tls(context=made)


def explained(target: Target, error: Exception) -> Exception:
    """Why no connection could be made, in our words: redis-py wraps what it was in errors of its own."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            known = tls.refused(target, cause)
            if isinstance(known, WireFailure):
                return WireFailure(f"connected, but {tls.hint(target, known)}", sent=False)
            return known
    if any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in causes):
        lost = WireFailure("connection lost", sent=False, hung_up=True)
        return WireFailure(f"connected, but {tls.hint(target, lost)}", sent=False)
    doubt = tls.silence(target) if isinstance(error, RedisTimeoutError) else ""
    return WireFailure(f"cannot connect: {error}{doubt}", sent=False)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 20:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1
