"""A table, and an engine for each flavour; what differs between the twins of its tests."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, Numeric, create_engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Price(Base):
    __tablename__ = "prices"
    item: Mapped[str] = mapped_column(primary_key=True)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2), server_default="0")
    note: Mapped[str] = mapped_column(server_default="-")


PRICES: Any = Price.__table__


class Shop:
    """A database, and what a test does with it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def at(cls, url: str) -> Shop:
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        return cls(engine)

    @classmethod
    def nowhere(cls, url: str) -> Shop:
        return cls(create_engine(url))

    def run_sync(self, connection: Connection, work: Callable[[Connection], None]) -> None:
        work(connection)

    def stop(self) -> None:
        self.engine.dispose()


class AsyncShop:
    """A database, and what a test does with it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @classmethod
    async def at(cls, url: str) -> AsyncShop:
        engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        return cls(engine)

    @classmethod
    async def nowhere(cls, url: str) -> AsyncShop:
        return cls(create_async_engine(url))

    async def run_sync(self, connection: AsyncConnection, work: Callable[[Connection], None]) -> None:
        await connection.run_sync(work)

    async def stop(self) -> None:
        await self.engine.dispose()
