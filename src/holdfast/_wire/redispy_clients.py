"""Which server a user's redis-py client talks to, one of either flavour. Imports redis-py.

Of a client of one server its pool's settings are used as they are, connection class included. Of a client of
Sentinel or Cluster only addresses, credentials and TLS are taken: finding the primary, and the way through a
Cluster, are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from holdfast._wire import redispy_tls
from holdfast._wire.url import Target, Tls
from holdfast.errors import ConfigurationError

_PLAIN = (redis.ConnectionPool, redis.asyncio.ConnectionPool)
_SENTINEL = (redis.sentinel.SentinelConnectionPool, redis.asyncio.sentinel.SentinelConnectionPool)
_CLUSTER = (redis.RedisCluster, redis.asyncio.RedisCluster)
_TLS = (redis.SSLConnection, redis.asyncio.SSLConnection)
_KNOWN = (
    redis.Connection,
    redis.UnixDomainSocketConnection,
    redis.asyncio.Connection,
    redis.asyncio.UnixDomainSocketConnection,
    *_TLS,
)


def target_of(client: Any, package: str) -> Target:
    """The server that `client` talks to; `package` is "redis" or that of the other flavour.

    Raises: ConfigurationError if it is no redis-py client of this flavour, or of a kind not supported.
    """
    pool = getattr(client, "connection_pool", None)
    kind = type(client)
    is_async = isinstance(client, redis.asyncio.Redis | redis.asyncio.RedisCluster)
    is_known = isinstance(client, (redis.Redis, redis.asyncio.Redis, *_CLUSTER))
    if not is_known or is_async != (package != "redis"):
        raise ConfigurationError(f"client={kind.__module__}.{kind.__name__} must be a {package}.Redis")
    if isinstance(client, _CLUSTER):
        return _of_cluster(client)
    if isinstance(pool, _SENTINEL):
        return _of_sentinel(pool)
    if not isinstance(pool, _PLAIN) or pool.connection_class not in _KNOWN:
        used = getattr(pool, "connection_class", type(pool)).__name__
        fix = "use TCP, TLS or a unix socket"
        raise ConfigurationError(f"client= uses {used}, which is not supported; {fix}")
    known = pool.connection_kwargs
    return Target(
        kind="unix" if "path" in known else "tcp",
        path=known.get("path", ""),
        host=known.get("host", "localhost"),
        port=int(known.get("port", 6379)),
        db=int(known.get("db") or 0),
        username=known.get("username"),
        password=known.get("password"),
        tls=_tls(known, pool.connection_class),
    )


def _of_sentinel(pool: Any) -> Target:
    if not pool.is_master:
        fix = "use master_for, and max_staleness= where a replica may answer"
        raise ConfigurationError(f"client= reads from replicas (slave_for); {fix}")
    known = pool.connection_kwargs
    sentinels = [one.connection_pool for one in pool.sentinel_manager.sentinels]
    theirs = sentinels[0].connection_kwargs
    return Target(
        kind="sentinel",
        nodes=tuple((one.connection_kwargs["host"], int(one.connection_kwargs["port"])) for one in sentinels),
        service=pool.service_name,
        db=int(known.get("db") or 0),
        username=_given(known).get("username"),
        password=known.get("password"),
        tls=_tls(known, pool.connection_class),
        sentinel_username=_given(theirs).get("username"),
        sentinel_password=theirs.get("password"),
        sentinel_tls=_tls(theirs, sentinels[0].connection_class),
    )


def _of_cluster(client: Any) -> Target:
    known = getattr(client, "connection_kwargs", None) or client.nodes_manager.connection_kwargs
    nodes = client.nodes_manager.startup_nodes.values()
    return Target(
        kind="cluster",
        nodes=tuple((str(node.host), int(node.port)) for node in nodes),
        username=_given(known).get("username"),
        password=known.get("password"),
        tls=_tls(known, known.get("connection_class")),
    )


def _given(known: Mapping[str, Any]) -> Mapping[str, Any]:
    if known.get("credential_provider") is not None:
        raise ConfigurationError(
            "client= takes its password from a credential provider, which is supported for one server only; "
            "use a URL with user and password"
        )
    return known


def _tls(known: Mapping[str, Any], connection_class: Any) -> Tls | None:
    secure = known.get("ssl") or (isinstance(connection_class, type) and issubclass(connection_class, _TLS))
    return redispy_tls.of_client(known) if secure else None
