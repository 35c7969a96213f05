"""What both flavours of the client share: their settings, checked, and the parts that suit the kind of
server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from holdfast._signals import Observers
from holdfast._wire import mux, pool, url
from holdfast._wire._replicas_async import AsyncReplicaReads
from holdfast._wire._replicas_sync import ReplicaReads
from holdfast._wire.cluster._async import AsyncClusterTransport
from holdfast._wire.cluster._sync import ClusterTransport
from holdfast._wire.cluster.atlas import Atlas
from holdfast._wire.cluster.hub import ClusterHub
from holdfast._wire.endpoint import EmbeddedEndpoint, Endpoint, RunningServer
from holdfast._wire.hub import Hub
from holdfast._wire.hub_ledger import AnyHub
from holdfast._wire.hub_line import Here, Router
from holdfast._wire.keys import Keys
from holdfast._wire.replicas import Replicas
from holdfast._wire.sentinel.endpoint import SentinelEndpoint
from holdfast._wire.tls import secured
from holdfast._wire.transport import AsyncNodeTransport, AsyncTransport, NodeTransport, Transport
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
    tls: Any = None,
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
    if client is not None and tls is not None:
        raise ConfigurationError("tls= and client= exclude each other: TLS is the affair of your client")
    transport = transport or ("native" if client is None else "redis-py")
    if transport not in TRANSPORTS:
        raise ConfigurationError(f"transport={transport!r} must be one of {', '.join(map(repr, TRANSPORTS))}")
    if isinstance(max_connections, bool) or max_connections < 1:
        raise ConfigurationError(f"max_connections={max_connections!r} must be a whole number, 1 or more")
    return Settings(
        target=secured(target, tls),
        keys=Keys(namespace),
        timeout=seconds(timeout, "timeout"),
        connect_timeout=seconds(connect_timeout, "connect_timeout"),
        max_connections=max_connections,
        # Of a client of Sentinel or Cluster only the addresses and credentials are used.
        client=None if target.kind in {"sentinel", "cluster"} else client,
        transport=transport,
    )


def find_place(settings: Settings, observers: Observers) -> Endpoint | Atlas:
    """Where the server is, or which servers there are. Nothing is sent yet."""
    target = settings.target
    if target.kind == "cluster":
        return Atlas(target, notify=observers.notify, connect_timeout=settings.connect_timeout)
    if target.kind == "sentinel":
        return SentinelEndpoint(target, notify=observers.notify, connect_timeout=settings.connect_timeout)
    if target.kind == "embedded":
        return EmbeddedEndpoint(target, _start_embedded)
    return Endpoint(str(target), target)


def open_hub(
    settings: Settings, place: Endpoint | Atlas, observers: Observers, name: str = "holdfast-hub"
) -> AnyHub:
    """A background thread of one client (in a Cluster: one for each node), not started yet."""

    def hub_of(endpoint: Endpoint, router: Router) -> Hub:
        hub = Hub(
            endpoint.connect,
            observers,
            server=endpoint.name,
            connect_timeout=settings.connect_timeout,
            router=router,
            name=name,
        )
        endpoint.on_move(hub.start_over)
        return hub

    return ClusterHub(place, hub_of) if isinstance(place, Atlas) else hub_of(place, Here(place))


def open_transport(settings: Settings, place: Endpoint | Atlas, observers: Observers) -> Transport:
    """The transport of threads. Nothing is sent yet."""
    to_node = partial(_node, settings, observers)
    return ClusterTransport(place, to_node) if isinstance(place, Atlas) else to_node(place)


def aopen_transport(settings: Settings, place: Endpoint | Atlas, observers: Observers) -> AsyncTransport:
    """The transport of tasks. Nothing is sent yet."""
    to_node = partial(_anode, settings, observers)
    return AsyncClusterTransport(place, to_node) if isinstance(place, Atlas) else to_node(place)


def open_replicas(settings: Settings, place: Endpoint | Atlas, observers: Observers) -> ReplicaReads:
    """Reads from replicas, for threads. Nothing is sent yet."""
    replicas = Replicas(place, settings.target, settings.connect_timeout)
    return ReplicaReads(place, replicas, partial(_node, settings, observers))


def aopen_replicas(settings: Settings, place: Endpoint | Atlas, observers: Observers) -> AsyncReplicaReads:
    """Reads from replicas, for tasks. Nothing is sent yet."""
    replicas = Replicas(place, settings.target, settings.connect_timeout)
    return AsyncReplicaReads(place, replicas, partial(_anode, settings, observers))


def _node(settings: Settings, observers: Observers, endpoint: Endpoint) -> NodeTransport:
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


def _anode(settings: Settings, observers: Observers, endpoint: Endpoint) -> AsyncNodeTransport:
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
