"""The nodes of a Redlock as they are given: URLs, clients of ours, clients of redis-py."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from holdfast._wire.keys import Keys
from holdfast.errors import ConfigurationError
from holdfast.locks.redlock import rules

_FLAVOURS = {"Holdfast", "AsyncHoldfast"}


def gathered(nodes: object, namespace: str | None, flavour: str) -> tuple[list[Any], list[Any]]:
    """The clients for `nodes`, of the class called `flavour`; and those of them that were made here, and are
    to be closed here.

    Raises: ConfigurationError that names what is wrong.
    """
    if isinstance(nodes, str) or not isinstance(nodes, Sequence):
        raise ConfigurationError(
            f'Redlock({nodes!r}): give a list of URLs or clients, as in ["redis://a", ...]'
        )
    rules.check_count(len(nodes))
    for place, one in enumerate(nodes):
        if any(one is before or (isinstance(one, str) and one == before) for before in nodes[:place]):
            raise ConfigurationError(f"Redlock: {one!r} is there twice; it would have two votes")
    # By name, and only now: a client stands above the rooms, and takes long to import.
    kind = getattr(importlib.import_module("holdfast"), flavour)
    space = {} if namespace is None else {"namespace": namespace}
    clients: list[Any] = []
    made: list[Any] = []
    for one in nodes:
        if type(one).__name__ in _FLAVOURS - {flavour}:
            raise ConfigurationError(f"Redlock: {one!r} is of the other flavour; this one needs a {flavour}")
        client = one
        if not isinstance(one, kind):
            client = kind(one, **space) if isinstance(one, str) else kind(client=one, **space)
            made.append(client)
        clients.append(client)
    return clients, made


def keys_of(clients: Sequence[Any], namespace: str | None) -> Keys:
    """The keys that all nodes share. Raises: ConfigurationError if the clients differ about them."""
    if namespace is not None:
        return Keys(namespace)
    spaces = {client._wire.keys.namespace for client in clients}
    if len(spaces) > 1:
        raise ConfigurationError(
            f"Redlock: its clients have the namespaces {', '.join(sorted(map(repr, spaces)))}, but the key "
            f"must be the same on every node: pass namespace="
        )
    keys: Keys = clients[0]._wire.keys
    return keys


def has_disk(client: Any) -> bool:
    """Is it always the same server? Not where a replica, which may lack something, can take its place."""
    return client._settings.target.kind not in {"sentinel", "cluster"}
