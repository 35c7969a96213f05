"""A query is cached, a row changes, and nobody reads the old one again: python examples/quickstart.py"""

import sqlite3
from dataclasses import dataclass

from holdfast import Holdfast


@dataclass
class User:
    id: int
    name: str


db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
db.execute("INSERT INTO users VALUES (42, 'Ann')")

with Holdfast("embedded://") as hf:  # a real server, started for you; in production redis://...
    users = hf.cache("users", ttl="10m")

    @users.cached("user:{user_id}")
    def get_user(user_id: int) -> User | None:
        print("  (asking the database)")
        row = db.execute("SELECT id, name FROM users WHERE id = ?", (user_id,)).fetchone()
        return User(*row) if row else None

    def rename(user_id: int, name: str) -> None:
        with db:
            db.execute("UPDATE users SET name = ? WHERE id = ?", (name, user_id))
        get_user.invalidate(user_id)  # after the commit: loads that began before it are not stored

    print(get_user(42), get_user(42))  # one query
    rename(42, "Bea")
    print(get_user(42))  # Bea, in every process
    print(get_user(7), get_user(7))  # None is an answer, and is remembered too
