"""Cache-aside as every article prints it: a slow reader puts the old value back after the invalidation."""

from __future__ import annotations

import json


def get_user(r, db, user_id):
    cached = r.get(f"user:{user_id}")
    if cached is not None:
        return json.loads(cached)
    user = db.load(user_id)
    r.set(f"user:{user_id}", json.dumps(user), ex=3600)
    return user


def rename(r, db, user_id, name):
    db.save(user_id, {"name": name})
    r.delete(f"user:{user_id}")


class Interrupted:
    """A database whose next read is overtaken by somebody else's write, after the row was read."""

    def __init__(self, db, write):
        self.db = db
        self.write = write

    def load(self, key):
        row = self.db.load(key)
        write, self.write = self.write, None
        if write:
            write()
        return row


def test_the_old_name_is_served_for_an_hour(r, db):
    db.rows[42] = {"name": "Ann"}
    overtaken = Interrupted(db, lambda: rename(r, db, 42, "Bea"))

    get_user(r, overtaken, 42)

    assert db.rows[42] == {"name": "Bea"}  # committed, and the cache was told
    assert get_user(r, db, 42) == {"name": "Ann"}  # by everybody,
    assert r.ttl("user:42") > 3590  # for an hour


def test_with_holdfast_the_late_value_is_not_stored(hf, other, db):
    db.rows[42] = {"name": "Ann"}
    users, elsewhere = hf.cache("users", ttl="1h"), other.cache("users", ttl="1h")

    def rename(user_id, name):
        db.save(user_id, {"name": name})
        elsewhere.invalidate(user_id)

    overtaken = Interrupted(db, lambda: rename(42, "Bea"))

    users.get_or_set(42, lambda: overtaken.load(42))  # this caller began before the write: Ann is right

    assert users.get_or_set(42, lambda: db.load(42)) == {"name": "Bea"}
    assert users.stats().refused == {"invalidated": 1}
