"""`if cached:` takes an empty answer for no answer, so the cheapest answers are asked for again and again."""

from __future__ import annotations

import json

import pytest

EMPTY = [[], {}, "", 0, False, None]


def find_orders(r, db, user_id):
    cached = json.loads(r.get(f"orders:{user_id}") or "null")
    if cached:
        return cached
    orders = db.load(user_id)
    r.set(f"orders:{user_id}", json.dumps(orders), ex=300)
    return orders


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
def test_the_database_is_asked_each_time(r, db, empty):
    db.rows[42] = empty

    for _ in range(3):
        assert find_orders(r, db, 42) == empty

    assert db.reads == 3


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
def test_with_holdfast_it_is_asked_once(hf, db, empty):
    db.rows[42] = empty
    orders = hf.cache("orders", ttl="5m", negative_ttl="30s")

    for _ in range(3):
        assert orders.get_or_set(42, lambda: db.load(42)) == empty

    assert db.reads == 1


def test_with_holdfast_none_is_a_value_and_absence_is_not(hf):
    orders = hf.cache("orders", ttl="5m", negative_ttl="30s")

    assert orders.get(42, default="nothing cached") == "nothing cached"
    orders.set(42, None)
    assert orders.get(42, default="nothing cached") is None
