"""A write-through that forgets the TTL: SET removes the one there was, and an error stays for ever."""

from __future__ import annotations

import pytest

from holdfast import ConfigurationError


def get_price(r, db, item):
    cached = r.get(f"price:{item}")
    if cached is not None:
        return float(cached)
    price = db.load(item)
    r.set(f"price:{item}", price, ex=300)
    return price


def set_price(r, db, item, price):
    db.save(item, price)
    r.set(f"price:{item}", price)


def test_what_the_cache_missed_is_wrong_for_ever(r, db):
    db.rows["tea"] = 3.0
    get_price(r, db, "tea")
    assert r.ttl("price:tea") > 290  # five minutes: an error would heal

    set_price(r, db, "tea", 3.5)
    assert r.ttl("price:tea") == -1  # SET without EX has removed the end

    db.rows["tea"] = 4.0  # a migration, an admin, another service
    assert get_price(r, db, "tea") == 3.5  # until somebody notices


def test_with_holdfast_every_entry_has_an_end(hf, db):
    prices = hf.cache("prices", ttl="5m", source=db, write="through")

    prices.put("tea", 3.5)

    assert db.rows["tea"] == 3.5
    entry = prices.peek("tea")
    assert entry and 0 < entry.ttl <= 300


def test_with_holdfast_a_cache_without_a_ttl_is_refused(hf):
    with pytest.raises(ConfigurationError, match="needs ttl="):
        hf.cache("prices")
