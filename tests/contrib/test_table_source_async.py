# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
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

from holdfast import MISSING, AsyncHoldfast, Behind, ConfigurationError, ConflictError, Unavailable
from holdfast.contrib.sqlalchemy import AsyncTableSource, Fences
from tests.contrib.tables import PRICES, AsyncShop, Price


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def shop(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    url = f"sqlite:///{tmp_path}/shop.db"
    if request.param == "postgres":
        url = request.getfixturevalue("database")
    shop = await AsyncShop.at(url)
    yield shop
    await shop.stop()


async def everything(shop: AsyncShop) -> list[tuple[Any, ...]]:
    async with shop.engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(select(PRICES).order_by(PRICES.c.item))]


async def test_one_column(shop: AsyncShop):
    source = AsyncTableSource(shop.engine, PRICES, key="item", value="price")
    await source.save_many({"tea": Decimal("3.50"), "milk": Decimal("1.00")})
    await source.save_many({"tea": Decimal("4.00")})
    assert await source.load_many(["tea", "milk", "none", "tea"]) == {
        "tea": Decimal("4.00"),
        "milk": Decimal("1.00"),
    }
    await source.delete_many(["milk", "none"])
    assert await source.load_many(iter(["milk", "tea"])) == {"tea": Decimal("4.00")}
    assert await source.load_many([]) == {}
    await source.save_many({})
    await source.delete_many([])


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
async def test_whole_rows(shop: AsyncShop, type: Any, table: Any):
    source = AsyncTableSource(shop.engine, table, key="item", type=type)
    row = {"item": "tea", "price": Decimal("3.50"), "note": "green"}
    value = row if type is None else type(**row)
    await source.save_many({"tea": value})
    assert await source.load_many(["tea"]) == {"tea": value}


async def test_columns_that_are_not_named_keep_their_values(shop: AsyncShop):
    """Planted: with one INSERT for all rows, the second lost its note."""
    source = AsyncTableSource(shop.engine, PRICES, key="item")
    await source.save_many({"tea": {"price": Decimal(3), "note": "a"}, "milk": {"price": Decimal(1)}})
    await source.save_many({"tea": {"price": Decimal(4)}, "milk": {"note": "b"}, "egg": {}})
    found = [(item, note) for item, _, note in await everything(shop)]
    assert found == [("egg", "-"), ("milk", "b"), ("tea", "a")]


async def test_more_keys_than_one_statement_takes(shop: AsyncShop):
    source = AsyncTableSource(shop.engine, PRICES, key="item", value="price")
    many = {f"item-{number}": Decimal(number) for number in range(1201)}
    await source.save_many(many)
    assert await source.load_many(many) == many
    await source.delete_many(many)
    assert await everything(shop) == []


async def test_a_writer_that_was_replaced_writes_nothing(shop: AsyncShop):
    """Planted: with `<` for `<=` a writer could write once; without the check the old one won."""
    async with shop.engine.begin() as connection:
        await shop.run_sync(connection, Fences().create)
    source = AsyncTableSource(shop.engine, PRICES, key="item", value="price")
    await source.save_many({"tea": Decimal(1)}, fence=7, partition=0)
    await source.save_many({"tea": Decimal(2)}, fence=7, partition=0)
    await source.save_many({"tea": Decimal(3)}, fence=8, partition=0)
    for write in (
        lambda: source.save_many({"tea": Decimal(9), "new": Decimal(9)}, fence=7, partition=0),
        lambda: source.delete_many(["tea"], fence=7, partition=0),
    ):
        with pytest.raises(ConflictError) as caught:
            await write()
        assert (caught.value.expected, caught.value.actual) == (7, 8)
    assert await source.load_many(["tea", "new"]) == {"tea": Decimal(3)}
    await source.delete_many(["tea"], fence=1, partition=1)
    await source.save_many({"tea": Decimal(4)}, fence=1)
    other = AsyncTableSource(shop.engine, PRICES, key="item", value="price", name="other")
    await other.save_many({"tea": Decimal(5)}, fence=1, partition=0)
    await source.save_many({"tea": Decimal(6)})
    assert await source.load_many(["tea"]) == {"tea": Decimal(6)}


async def test_a_write_that_fails_raises_no_fence(shop: AsyncShop):
    """Planted: with the fence in a transaction of its own, the failed writer had replaced the other."""
    async with shop.engine.begin() as connection:
        await shop.run_sync(connection, Fences().create)
    source = AsyncTableSource(shop.engine, PRICES, key="item")
    with pytest.raises(Exception, match="(?i)null"):
        await source.save_many({"tea": {"price": None, "note": None}}, fence=8, partition=0)
    await source.save_many({"tea": {"price": Decimal(1)}}, fence=7, partition=0)


async def test_under_a_cache(shop: AsyncShop, ahf: AsyncHoldfast):
    source = AsyncTableSource(shop.engine, PRICES, key="item", type=Struct)
    prices = ahf.cache("prices", ttl="5m", type=Struct, source=source, write="through")
    assert await prices.get("tea") is MISSING
    await prices.put("tea", Struct("tea", Decimal("3.5"), "x"))
    assert await prices.get("tea") == Struct("tea", Decimal("3.5"), "x")
    assert len(await everything(shop)) == 1
    await prices.remove("tea")
    assert await prices.get("tea") is MISSING


async def test_under_write_behind(shop: AsyncShop, ahf: AsyncHoldfast):
    fences = Fences()
    async with shop.engine.begin() as connection:
        await shop.run_sync(connection, fences.create)
    source = AsyncTableSource(shop.engine, PRICES, key="item", value="price")
    prices = ahf.cache("prices", ttl="5m", type=Decimal, source=source, write=Behind(delay="10ms"))
    await prices.put("tea", Decimal("3.50"))
    await prices.put("milk", Decimal("1.00"))
    await prices.remove("milk")
    await prices.flush()
    assert [row[:2] for row in await everything(shop)] == [("tea", Decimal("3.50"))]
    async with shop.engine.connect() as connection:
        shown = {row.partition: row.fence for row in await connection.execute(select(fences.table))}
    assert shown and all(name.startswith("prices/prices:") and fence > 0 for name, fence in shown.items())


async def test_a_database_that_is_away(tmp_path: Any):
    """Write-behind waits for such a one, and makes no dead letters."""
    away = await AsyncShop.nowhere(f"postgresql+psycopg://nobody@/none?host={tmp_path}")
    source = AsyncTableSource(away.engine, PRICES, key="item", value="price")
    for call in (
        lambda: source.load_many(["tea"]),
        lambda: source.save_many({"tea": Decimal(1)}),
        lambda: source.delete_many(["tea"]),
    ):
        with pytest.raises(Unavailable, match="prices"):
            await call()
    await away.stop()


async def test_mistakes(shop: AsyncShop):
    wrong: tuple[dict[str, Any], ...] = ({"key": "nonsense"}, {"key": "item", "value": "nonsense"})
    for options in wrong:
        with pytest.raises(ConfigurationError, match="no column 'nonsense'"):
            AsyncTableSource(shop.engine, PRICES, **options)
    with pytest.raises(ConfigurationError, match="neither a Table nor a mapped class"):
        AsyncTableSource(shop.engine, "prices")
    with pytest.raises(ConfigurationError, match="one column"):
        AsyncTableSource(shop.engine, PRICES, key="item", value="price", type=Struct)
    source = AsyncTableSource(shop.engine, PRICES, key="item")
    for value in ({"item": "milk"}, {"colour": 1}, 5):
        with pytest.raises(ConfigurationError):
            await source.save_many({"tea": value})
