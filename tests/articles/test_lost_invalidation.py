"""A `DEL` that fails is logged and forgotten; the old value lives on."""

from __future__ import annotations

import logging
import time

import redis

from holdfast import Holdfast

log = logging.getLogger(__name__)


def rename(r, db, user_id, name):
    db.save(user_id, name)
    try:
        r.delete(f"name:{user_id}")
    except redis.ConnectionError:
        log.warning("cache unavailable")


def get_name(r, db, user_id):
    cached = r.get(f"name:{user_id}")
    if cached is None:
        cached = db.load(user_id)
        r.set(f"name:{user_id}", cached, ex=3600)
    return cached


def test_the_old_name_is_back_when_redis_is(faults, db):
    db.rows[42] = "Ann"
    with redis.Redis.from_url(faults.url, decode_responses=True) as r:
        get_name(r, db, 42)

        faults.refuse()
        faults.cut()
        rename(r, db, 42, "Bea")
        faults.heal()

        assert get_name(r, db, 42) == "Ann"
        r.delete("name:42")


def test_with_holdfast_the_invalidation_is_kept_and_delivered(faults, namespace, db):
    db.rows[42] = "Ann"
    with Holdfast(faults.url, namespace=namespace) as hf:
        names = hf.cache("names", ttl="1h", timeout="200ms")
        names.get_or_set(42, lambda: db.load(42))

        faults.refuse()
        faults.cut()
        db.save(42, "Bea")
        assert names.invalidate(42) is False  # not confirmed, and therefore kept
        assert names.get_or_set(42, lambda: db.load(42)) == "Bea"
        faults.heal()

        while names.stats().undelivered:
            time.sleep(0.01)
        assert names.get(42) != "Ann"  # nor does anybody else get it
