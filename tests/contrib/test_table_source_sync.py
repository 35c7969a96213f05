# Generated from test_table_source_async.py by tools/unasync.py. Do not edit.
"""A table as a source: on SQLite and on PostgreSQL, in both flavours."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest
import pytest_asyncio
from sqlalchemy import select

from holdfast import MISSING, Holdfast, Behind, ConfigurationError, ConflictError, Unavailable
from holdfast.contrib.sqlalchemy import TableSource, Fences
from tests.contrib.tables import PRICES, Shop, Price


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    url = f"sqlite:///{tmp_path}/shop.db"
    if request.param == "postgres":
        url = request.getfixturevalue("database")
    shop = Shop.at(url)
    yield shop
    shop.stop()


def everything(shop: Shop) -> list[tuple[Any, ...]]:
    with shop.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(PRICES).order_by(PRICES.c.item))]


def test_one_column(shop: Shop):
    source = TableSource(shop.engine, PRICES, key="item", value="price")
    source.save_many({"tea": Decimal("3.50"), "milk": Decimal("1.00")})
    source.save_many({"tea": Decimal("4.00")})
    assert source.load_many(["tea", "milk", "none", "tea"]) == {
        "tea": Decimal("4.00"),
        "milk": Decimal("1.00"),
    }
    source.delete_many(["milk", "none"])
    assert source.load_many(iter(["milk", "tea"])) == {"tea": Decimal("4.00")}
    assert source.load_many([]) == {}
    source.save_many({})
    source.delete_many([])


@dataclasses.dataclass
class Data:
    item: str
    price: Decimal
    note: str = ""


class Struct(msgspec.Struct):
    item: str
    price: Decimal
    note: str = ""


class Model(pydantic.BaseModel):
    item: str
    price: Decimal
    note: str = ""


@pytest.mark.parametrize("type", [None, Data, Struct, Model])
@pytest.mark.parametrize("table", [PRICES, Price])
def test_whole_rows(shop: Shop, type: Any, table: Any):
    source = TableSource(shop.engine, table, key="item", type=type)
    row = {"item": "tea", "price": Decimal("3.50"), "note": "green"}
    value = row if type is None else type(**row)
    source.save_many({"tea": value})
    assert source.load_many(["tea"]) == {"tea": value}


def test_columns_that_are_not_named_keep_their_values(shop: Shop):
    """Planted: with one INSERT for all rows, the second lost its note."""
    source = TableSource(shop.engine, PRICES, key="item")
    source.save_many({"tea": {"price": Decimal(3), "note": "a"}, "milk": {"price": Decimal(1)}})
    source.save_many({"tea": {"price": Decimal(4)}, "milk": {"note": "b"}, "egg": {}})
    found = [(item, note) for item, _, note in everything(shop)]
    assert found == [("egg", "-"), ("milk", "b"), ("tea", "a")]


def test_more_keys_than_one_statement_takes(shop: Shop):
    source = TableSource(shop.engine, PRICES, key="item", value="price")
    many = {f"item-{number}": Decimal(number) for number in range(1201)}
    source.save_many(many)
    assert source.load_many(many) == many
    source.delete_many(many)
    assert everything(shop) == []


def test_a_writer_that_was_replaced_writes_nothing(shop: Shop):
    """Planted: with `<` for `<=` a writer could write once; without the check the old one won."""
    with shop.engine.begin() as connection:
        shop.run_sync(connection, Fences().create)
    source = TableSource(shop.engine, PRICES, key="item", value="price")
    source.save_many({"tea": Decimal(1)}, fence=7, partition=0)
    source.save_many({"tea": Decimal(2)}, fence=7, partition=0)
    source.save_many({"tea": Decimal(3)}, fence=8, partition=0)
    for write in (
        lambda: source.save_many({"tea": Decimal(9), "new": Decimal(9)}, fence=7, partition=0),
        lambda: source.delete_many(["tea"], fence=7, partition=0),
    ):
        with pytest.raises(ConflictError) as caught:
            write()
        assert (caught.value.expected, caught.value.actual) == (7, 8)
    assert source.load_many(["tea", "new"]) == {"tea": Decimal(3)}
    source.delete_many(["tea"], fence=1, partition=1)
    source.save_many({"tea": Decimal(4)}, fence=1)
    other = TableSource(shop.engine, PRICES, key="item", value="price", name="other")
    other.save_many({"tea": Decimal(5)}, fence=1, partition=0)
    source.save_many({"tea": Decimal(6)})
    assert source.load_many(["tea"]) == {"tea": Decimal(6)}


def test_a_write_that_fails_raises_no_fence(shop: Shop):
    """Planted: with the fence in a transaction of its own, the failed writer had replaced the other."""
    with shop.engine.begin() as connection:
        shop.run_sync(connection, Fences().create)
    source = TableSource(shop.engine, PRICES, key="item")
    with pytest.raises(Exception, match="(?i)null"):
        source.save_many({"tea": {"price": None, "note": None}}, fence=8, partition=0)
    source.save_many({"tea": {"price": Decimal(1)}}, fence=7, partition=0)


def test_under_a_cache(shop: Shop, hf: Holdfast):
    source = TableSource(shop.engine, PRICES, key="item", type=Struct)
    prices = hf.cache("prices", ttl="5m", type=Struct, source=source, write="through")
    assert prices.get("tea") is MISSING
    prices.put("tea", Struct("tea", Decimal("3.5"), "x"))
    assert prices.get("tea") == Struct("tea", Decimal("3.5"), "x")
    assert len(everything(shop)) == 1
    prices.remove("tea")
    assert prices.get("tea") is MISSING


def test_under_write_behind(shop: Shop, hf: Holdfast):
    fences = Fences()
    with shop.engine.begin() as connection:
        shop.run_sync(connection, fences.create)
    source = TableSource(shop.engine, PRICES, key="item", value="price")
    prices = hf.cache("prices", ttl="5m", type=Decimal, source=source, write=Behind(delay="10ms"))
    prices.put("tea", Decimal("3.50"))
    prices.put("milk", Decimal("1.00"))
    prices.remove("milk")
    prices.flush()
    assert [row[:2] for row in everything(shop)] == [("tea", Decimal("3.50"))]
    with shop.engine.connect() as connection:
        shown = {row.partition: row.fence for row in connection.execute(select(fences.table))}
    assert shown and all(name.startswith("prices/prices:") and fence > 0 for name, fence in shown.items())


def test_a_database_that_is_away(tmp_path: Any):
    """Write-behind waits for such a one, and makes no dead letters."""
    away = Shop.nowhere(f"postgresql+psycopg://nobody@/none?host={tmp_path}")
    source = TableSource(away.engine, PRICES, key="item", value="price")
    for call in (
        lambda: source.load_many(["tea"]),
        lambda: source.save_many({"tea": Decimal(1)}),
        lambda: source.delete_many(["tea"]),
    ):
        with pytest.raises(Unavailable, match="prices"):
            call()
    away.stop()


def test_mistakes(shop: Shop):
    wrong: tuple[dict[str, Any], ...] = ({"key": "nonsense"}, {"key": "item", "value": "nonsense"})
    for options in wrong:
        with pytest.raises(ConfigurationError, match="no column 'nonsense'"):
            TableSource(shop.engine, PRICES, **options)
    with pytest.raises(ConfigurationError, match="neither a Table nor a mapped class"):
        TableSource(shop.engine, "prices")
    with pytest.raises(ConfigurationError, match="one column"):
        TableSource(shop.engine, PRICES, key="item", value="price", type=Struct)
    source = TableSource(shop.engine, PRICES, key="item")
    for value in ({"item": "milk"}, {"colour": 1}, 5):
        with pytest.raises(ConfigurationError):
            source.save_many({"tea": value})
