"""Write-through, cache first: readers get what the database refused. Database first is no cure by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.articles.conftest import Database


def set_price_cache_first(r, db, item, price):
    r.set(f"price:{item}", price, ex=300)
    db.save(item, price)


def set_price_database_first(r, db, item, price, pause=lambda: None):
    db.save(item, price)
    pause()
    r.set(f"price:{item}", price, ex=300)


def test_readers_get_a_price_that_never_was(r, db):
    db.rows["tea"] = 3.0
    db.broken = True

    with pytest.raises(ConnectionError):
        set_price_cache_first(r, db, "tea", 9.0)

    assert db.rows["tea"] == 3.0
    assert float(r.get("price:tea")) == 9.0


def test_database_first_with_two_writers_leaves_the_older_price(r, db):
    def somebody_else():
        set_price_database_first(r, db, "tea", 4.0)

    set_price_database_first(r, db, "tea", 3.5, pause=somebody_else)

    assert db.rows["tea"] == 4.0
    assert float(r.get("price:tea")) == 3.5


class Overtaken(Database):
    """A database on whose way back another writer comes and goes."""

    overtake: Callable[[], None] | None = None

    def save_many(self, mapping):
        super().save_many(mapping)
        overtake, self.overtake = self.overtake, None
        if overtake:
            overtake()


def test_with_holdfast_a_refused_price_is_not_cached(hf, db):
    db.rows["tea"] = 3.0
    prices = hf.cache("prices", ttl="5m", source=db, write="through")
    assert prices.get("tea") == 3.0
    db.broken = True

    with pytest.raises(ConnectionError):
        prices.put("tea", 9.0)

    assert prices.get("tea") == 3.0


def test_with_holdfast_two_writers_leave_the_price_of_the_database(hf, other):
    db = Overtaken()
    prices = hf.cache("prices", ttl="5m", source=db, write="through")
    elsewhere = other.cache("prices", ttl="5m", source=db, write="through")
    db.overtake = lambda: elsewhere.put("tea", 4.0)

    prices.put("tea", 3.5)

    assert db.rows["tea"] == 4.0
    assert prices.get("tea") == elsewhere.get("tea") == 4.0
