"""What this server is and can do, read once per connection target. Pure.

Three of the questions (INFO, COMMAND, CONFIG) may be forbidden to our user. A missing answer never fails the
connection: it becomes "unknown", with one warning that says what is assumed instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from holdfast._wire import reply
from holdfast.errors import ConfigurationError, UnsafeServer

OLDEST = {"redis": (7, 0), "valkey": (7, 2)}

# Newer commands that some room prefers to its Lua equivalent.
PROBED = ("DELIFEQ", "DELEX", "XACKDEL", "MSETEX", "HSETEX", "WAITAOF")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """One server as it introduced itself. None means unknown: we were not allowed to ask."""

    product: str
    version: tuple[int, ...]
    mode: str
    role: str
    eviction_policy: str | None = None
    maxmemory: int | None = None
    aof: bool | None = None
    rdb: bool | None = None
    run_id: str | None = None
    commands: frozenset[str] = field(default_factory=frozenset)
    warnings: tuple[tuple[str, str], ...] = ()

    @property
    def version_text(self) -> str:
        """For example "valkey 9.1.2"."""
        return f"{self.product} {'.'.join(map(str, self.version))}"

    def require_keeping(self, room: str, *, accept_loss: bool = False) -> None:
        """Make sure that the server does not throw away the only copy that `room` keeps.

        Raises: UnsafeServer if the eviction policy may drop keys and `accept_loss` is not set.
        """
        if accept_loss or self.eviction_policy in {None, "noeviction"}:
            return
        raise UnsafeServer(
            f"{room} keeps the only copy of its data, and maxmemory-policy={self.eviction_policy} lets "
            f"{self.version_text} evict it; set maxmemory-policy noeviction (CONFIG SET, or in the server's "
            f"configuration), or pass accept_loss=True"
        )


def facts(hello: Any, info: Any | None, commands: Any | None, save: Any | None) -> ServerFacts:
    """What HELLO, INFO, COMMAND INFO and CONFIG GET save said; None for an answer that was refused."""
    greeting = reply.mapping(hello) if hello is not None else {}
    told = reply.info(info) if info is not None else {}
    product = reply.text(greeting.get("server", "redis"))
    version = reply.text(greeting.get("version", told.get("redis_version", "0")))
    if product != "valkey" and told.get("server_name") == "valkey":  # in its Redis-compatible disguise
        product, version = "valkey", told.get("valkey_version", version)
    return ServerFacts(
        product=product,
        version=tuple(int(part) for part in re.findall(r"\d+", version)[:3]),
        mode=reply.text(greeting.get("mode", told.get("redis_mode", "standalone"))),
        role=reply.text(greeting.get("role", told.get("role", "master"))),
        eviction_policy=told.get("maxmemory_policy"),
        maxmemory=int(told["maxmemory"]) if "maxmemory" in told else None,
        aof=told["aof_enabled"] == "1" if "aof_enabled" in told else None,
        rdb=bool(reply.mapping(save).get("save")) if save is not None else None,
        run_id=told.get("run_id"),
        commands=_known(commands),
        warnings=_warnings(info, commands, save),
    )


def _known(commands: Any | None) -> frozenset[str]:
    if commands is None:
        return frozenset()
    entries = commands.values() if isinstance(commands, dict) else commands
    return frozenset(reply.text(entry[0]).upper() for entry in entries if entry)


def _warnings(info: Any | None, commands: Any | None, save: Any | None) -> tuple[tuple[str, str], ...]:
    found = []
    if info is None:
        found.append(
            (
                "INFO",
                "not permitted: version, eviction policy and persistence are unknown and taken to be safe",
            )
        )
    if commands is None:
        found.append(("COMMAND", "not permitted: newer commands stay unused, Lua does their work"))
    if save is None:
        found.append(("CONFIG", "not permitted: whether the server saves snapshots (RDB) is unknown"))
    return tuple(found)


def check_age(known: ServerFacts, server: str) -> None:
    """Make sure that the server is one that Holdfast supports.

    Raises: ConfigurationError if it is too old.
    """
    oldest = OLDEST.get(known.product, (0,))
    if known.version[:2] < oldest and known.version != (0,):
        raise ConfigurationError(
            f"{server} is {known.version_text}; Holdfast needs Redis 7.0 or Valkey 7.2, or newer: upgrade it"
        )
