"""Invalidation by pattern: KEYS looks at every key there is, and `user:1*` is more users than one."""

from __future__ import annotations

from holdfast import MISSING, Holdfast
from holdfast.testing import FaultProxy


def forget_user(r, user_id):
    for key in r.keys(f"user:{user_id}*"):
        r.delete(key)


def test_one_user_is_meant_and_twelve_are_forgotten(r):
    for user_id in range(1, 101):
        r.set(f"user:{user_id}", "...", ex=300)

    forget_user(r, 1)

    assert 100 - r.dbsize() == 12  # 1, 10 to 19, and 100


def test_with_holdfast_a_key_is_a_key(hf):
    users = hf.cache("users", ttl="5m")
    for user_id in range(1, 101):
        users.set(user_id, "...")

    users.invalidate(1)

    assert [user_id for user_id in range(1, 101) if users.get(user_id) is MISSING] == [1]


def test_with_holdfast_clearing_costs_the_same_for_any_number_of_entries(faults: FaultProxy, namespace):
    with Holdfast(faults.url, namespace=namespace) as hf:
        users = hf.cache("users", ttl="5m")
        for user_id in range(100):
            users.set(user_id, "...")
        faults.reset_counts()

        users.clear()

        assert {name for name, *_ in faults.commands()} == {b"UNLINK"}
        assert len(faults.commands()) == 16  # the cache's epochs; entries of an older one are misses
        assert all(users.get(user_id) is MISSING for user_id in range(100))
