"""Cache-aside as articles teach it: look, load, set; delete after the commit."""

from __future__ import annotations

import json
from typing import cast

import redis

from holdfast.cli.demo.pages import Database, Page


class Textbook:
    """Pages through redis-py."""

    def __init__(self, url: str, prefix: str, database: Database) -> None:
        self.redis = redis.Redis.from_url(url)
        self.prefix = prefix
        self.database = database

    def page(self, code: str) -> Page:
        """The page of the airport `code`."""
        cached = self.redis.get(f"{self.prefix}:{code}")
        if cached:
            return cast(Page, json.loads(cast(bytes, cached)))
        page = self.database.page(code)
        self.redis.set(f"{self.prefix}:{code}", json.dumps(page), ex=300)
        return page

    def update(self, code: str, notice: str) -> bool:
        """Change the airport, then delete its page from the cache."""
        self.database.update(code, notice)
        self.redis.delete(f"{self.prefix}:{code}")
        return True

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()
