"""An empty server for each article, a redis-py client of it, and a database that can be watched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from holdfast import Holdfast
from holdfast.embedded import Server


class Database:
    """Rows by id, and how often they were read. What an article's `db` stands for."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.reads = 0
        self.broken = False

    def load(self, key: Any) -> Any:
        self.reads += 1
        return self.rows.get(key)

    def save(self, key: Any, value: Any) -> None:
        if self.broken:
            raise ConnectionError("the database is away")
        self.rows[key] = value

    # The same three, as a Source of Holdfast.

    def load_many(self, keys: Any) -> dict[Any, Any]:
        self.reads += 1
        return {key: self.rows[key] for key in keys if key in self.rows}

    def save_many(self, mapping: Any) -> None:
        for key, value in mapping.items():
            self.save(key, value)

    def delete_many(self, keys: Any) -> None:
        for key in keys:
            self.rows.pop(key, None)


@pytest.fixture
def db() -> Database:
    return Database()


@pytest.fixture
def r(server: Server) -> Iterator[redis.Redis]:
    """redis-py as an article makes it, on an empty server: articles choose plain keys."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def other(server: Server, namespace: str) -> Iterator[Holdfast]:
    """Another process of the same service, as far as the server can tell."""
    with Holdfast(server.url, namespace=namespace) as client:
        yield client
