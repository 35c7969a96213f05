"""The cache server: our own, which is killed in the last third of a phase, or the user's, which is not."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self, cast

import redis

from holdfast import ConfigurationError, Holdfast, embedded
from holdfast.cli.demo.messages import Go

_KILLED_AFTER = 2 / 3  # of a phase
_AWAY = 0.12  # of a phase,
_AWAY_LEAST = 0.4  # but at least so many seconds
_BATCH = 500


class CacheServer:
    """Where the caches are; a context manager. `url` is for Holdfast, `plain_url` for redis-py.

    All our keys start with `namespace`. `ours`: the server we started, None if it is the user's.
    """

    def __init__(self, url: str | None) -> None:
        self._exit = ExitStack()
        self.namespace = f"holdfast-demo-{secrets.token_hex(4)}"
        self.ours: embedded.Server | None = None
        if url is None:
            self.ours = self._exit.enter_context(embedded.start())
            self.url = self.ours.url
        elif url.startswith("embedded:"):
            raise ConfigurationError(f"--url {url}: leave it out and the demo starts a server of its own")
        else:
            self.url = url
        self.plain_url = self.url.replace("valkey", "redis", 1) if self.url.startswith("valkey") else self.url
        try:
            self.name = self._name()
        except BaseException:
            self._exit.close()
            raise

    def _name(self) -> str:
        """What it is. Raises: what is wrong with it, in words."""
        if self.ours is not None:
            return f"{self.ours.kind.capitalize()} {self.ours.version}"
        with Holdfast(self.url, namespace=self.namespace) as hf:
            name = hf.facts().version_text.capitalize()
        self._exit.callback(self._tidy)
        return f"{name}, yours"

    def _tidy(self) -> None:
        """Remove our keys from the user's server."""
        with redis.Redis.from_url(self.plain_url) as client:
            keys = cast("list[bytes]", list(client.scan_iter(match=f"{self.namespace}*", count=_BATCH)))
            for at in range(0, len(keys), _BATCH):
                client.unlink(*keys[at : at + _BATCH])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()


class Accident:
    """kill -9 in the last third of a phase, and the restart, empty. Nothing happens to a user's server.

    `began`, `ended`: from the kill until it answers again; infinite while that has not happened.
    """

    def __init__(self, server: embedded.Server | None, go: Go, tell: Callable[[str], None]) -> None:
        length = go.stop - go.start
        self._server = server
        self._tell = tell
        self._kill_at = go.start + length * _KILLED_AFTER
        self._back_at = self._kill_at + max(_AWAY_LEAST, length * _AWAY)
        self.began = self.ended = float("inf")

    @property
    def happened(self) -> bool:
        """Was it killed, and is it back?"""
        return self.ended < float("inf")

    def advance(self, now: float) -> None:
        """Do what is due."""
        if self._server is None:
            return
        if now >= self._kill_at and self.began == float("inf"):
            pid = self._server.pid
            self.began = time.monotonic()
            self._server.kill()
            self._tell(f"kill -9 {pid}: the cache server is gone")
        elif now >= self._back_at and not self.happened:
            self._server.restart(empty=True)
            self.ended = time.monotonic()
            self._tell(f"restarted, empty, after {self.ended - self.began:.1f} s")
