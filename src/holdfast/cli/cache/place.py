"""The client that a command talks through, a cache by its name, and that cache's keys."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from holdfast import L1, Cache, Holdfast
from holdfast._wire.transport import Command, Reply
from holdfast.cache import rules
from holdfast.cache.behind.journal import Layout
from holdfast.cli.cache import walk
from holdfast.errors import HoldfastError

_GLANCE = 20_000  # keys looked at to see whether there is such a cache


@contextmanager
def client(asked: argparse.Namespace) -> Iterator[Holdfast]:
    """A connected client: the command line wins over the config file, that over the environment.

    Raises: ConfigurationError, Unavailable.
    """
    told: dict[str, Any] = {
        name: getattr(asked, name) for name in ("url", "namespace") if getattr(asked, name) is not None
    }
    hf = Holdfast(**told) if asked.config is None else Holdfast.from_config(asked.config, **told)
    with hf:
        yield hf


class Place:
    """The cache `name`, as far as it is known from the server alone: not its type, nor its options."""

    def __init__(self, hf: Holdfast, name: str) -> None:
        self.hf = hf
        self.name = name
        self.keys = hf._wire.keys
        # Copies that do not hear of changes from the server hear of them from us; we keep none ourselves.
        told = L1(max_staleness=0, via="pubsub")
        self.cache: Cache[Any] = hf.cache(name, ttl="1h", l1=told)
        store = self.cache._store
        self.prefix = store.prefix
        self.epochs = store.epochs
        self.layout = self._layout()
        if self.layout is not None:
            layout = self.layout
            store.entry = lambda tag: layout.of(tag).entry(tag)  # type: ignore[method-assign]

    def _layout(self) -> Layout | None:
        """Where the entries of a cache that is written behind are; None if it is not."""
        count = self.hf.execute("GET", Layout(self.keys, self.name, 1).count)
        return Layout(self.keys, self.name, int(count)) if count else None

    def ask(self, commands: list[Command]) -> list[Reply]:
        """The replies to reading `commands`. Raises: Unavailable, Refused."""
        return self.hf._wire.execute_many(commands, retry="safe")

    def drive(self, questions: walk.Questions[walk.T]) -> walk.T:
        """The result of `questions`."""
        return walk.drive(self.ask, questions)

    def entry(self, tag: str) -> str:
        """The key of the entry with `tag`."""
        return self.cache._store.entry(tag)

    def tag_key(self, name: str) -> str:
        """The key of a tag's version."""
        return self.cache._store.tags.key(name)

    @property
    def is_off(self) -> bool:
        """Does the fleet go without it?"""
        return is_off(self.hf, self.name)

    @property
    def is_known(self) -> bool:
        """Was anything of a cache of this name seen?"""
        if self.layout is not None or any(self.hf._wire.mget(self.epochs)):
            return True
        seen: list[str] = []  # a cache that was cleared has no epochs

        def take(key: str) -> bool:
            seen.append(key)
            return True

        self.drive(walk.walk(walk.pattern(self.prefix), 1, take, lambda _: None, further=_GLANCE))
        return bool(seen)


def is_off(hf: Holdfast, name: str) -> bool:
    """Does the fleet go without the cache `name`? The epochs say so too, where the switch was evicted."""
    make = partial(hf._wire.keys.make, "cache", name)
    epochs = [make(f"#{shard}", ":e") for shard in range(rules.SHARDS)]
    switch, *found = hf._wire.mget([make("#", ":switch"), *epochs])
    return switch is not None or rules.OFF in found


def database_size(hf: Holdfast) -> int:
    """How many keys there are, of whomever; 0 if that may not be known."""
    try:
        return int(hf.execute("DBSIZE"))
    except HoldfastError:
        return 0
