"""A cache-aside whose first miss returns null: the value is stored, the empty variable returned."""

from __future__ import annotations


def get_name(r, db, user_id):
    cached = r.get(f"name:{user_id}")
    if cached is None:
        name = db.load(user_id)
        r.set(f"name:{user_id}", name, ex=300)
    return cached


def test_the_first_caller_gets_none(r, db):
    db.rows[42] = "Ann"

    assert get_name(r, db, 42) is None  # "no such user", in production, once per TTL
    assert get_name(r, db, 42) == "Ann"  # which is why nobody can reproduce it


def test_with_holdfast_there_is_one_way_out(hf, db):
    db.rows[42] = "Ann"
    names = hf.cache("names", ttl="5m")

    assert names.get_or_set(42, lambda: db.load(42)) == "Ann"
    assert names.get_or_set(42, lambda: db.load(42)) == "Ann"
