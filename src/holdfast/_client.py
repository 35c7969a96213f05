"""What both flavours of the client share: their settings, checked, and the choice of a transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast._signals import Observers
from holdfast._wire import connection, mux, pool, url
from holdfast._wire.endpoint import Endpoint, RunningServer
from holdfast._wire.hub import Hub
from holdfast._wire.keys import Keys
from holdfast._wire.transport import AsyncTransport, Transport
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError

TRANSPORTS = ("native", "redis-py")
URL_VARIABLE = "HOLDFAST_URL"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of a client, checked; times in seconds."""

    target: url.Target
    keys: Keys
    timeout: float
    connect_timeout: float
    max_connections: int
    client: Any
    transport: str

    def endpoint(self) -> Endpoint:
        """Where the server is."""
        return Endpoint(self.target, _start_embedded)

    def hub(self, endpoint: Endpoint, observers: Observers) -> Hub:
        """The background thread of one client, not started yet."""
        return Hub(
            lambda timeout: connection.connect(endpoint.target or endpoint.resolve(), timeout),
            observers,
            server=endpoint.name,
            connect_timeout=self.connect_timeout,
        )


def check(
    target: url.Target | None,
    *,
    named: str | None,
    namespace: str,
    timeout: Duration,
    connect_timeout: Duration,
    max_connections: int,
    client: Any,
    transport: str | None,
    environment: Mapping[str, str],
) -> Settings:
    """The settings that the arguments of a client stand for; `target` is the one of `client`, if there is
    one.

    Raises: ConfigurationError that names the value and the fix.
    """
    if client is not None and named is not None:
        raise ConfigurationError("url= and client= both name a server; pass one of them")
    if client is None and named is None:
        named = environment.get(URL_VARIABLE) or None
    if target is None:
        if named is None:
            raise ConfigurationError(url.NO_URL)
        target = url.parse(named)
    transport = transport or ("native" if client is None else "redis-py")
    if transport not in TRANSPORTS:
        raise ConfigurationError(f"transport={transport!r} must be one of {', '.join(map(repr, TRANSPORTS))}")
    if isinstance(max_connections, bool) or max_connections < 1:
        raise ConfigurationError(f"max_connections={max_connections!r} must be a whole number, 1 or more")
    return Settings(
        target=target,
        keys=Keys(namespace),
        timeout=seconds(timeout, "timeout"),
        connect_timeout=seconds(connect_timeout, "connect_timeout"),
        max_connections=max_connections,
        client=client,
        transport=transport,
    )


def open_transport(settings: Settings, endpoint: Endpoint, observers: Observers) -> Transport:
    """The transport of threads. Nothing is sent yet."""
    if settings.transport == "redis-py":
        from holdfast._wire import _redispy_sync  # redis-py takes long to import: only who asks for it waits

        return _redispy_sync.RedisPy(
            endpoint,
            settings.client,
            connect_timeout=settings.connect_timeout,
            max_connections=settings.max_connections,
            timeout=settings.timeout,
        )
    return pool.Pool(
        endpoint,
        connect_timeout=settings.connect_timeout,
        max_connections=settings.max_connections,
        notify=observers.notify,
    )


def aopen_transport(settings: Settings, endpoint: Endpoint, observers: Observers) -> AsyncTransport:
    """The transport of tasks. Nothing is sent yet."""
    if settings.transport == "redis-py":
        from holdfast._wire import _redispy_async

        return _redispy_async.AsyncRedisPy(
            endpoint,
            settings.client,
            connect_timeout=settings.connect_timeout,
            max_connections=settings.max_connections,
            timeout=settings.timeout,
        )
    return mux.Mux(
        endpoint,
        connect_timeout=settings.connect_timeout,
        max_connections=settings.max_connections,
        silence=max(1.0, 2 * settings.timeout),
        notify=observers.notify,
    )


def _start_embedded(path: str) -> RunningServer:
    from holdfast import embedded

    server: RunningServer = embedded.start(path or None)
    return server
